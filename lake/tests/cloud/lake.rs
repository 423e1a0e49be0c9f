//! A lake on an object store: the contract, death at every call, death by SIGKILL, and writers that only slept.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowaudit_lake::cloud::Objects;
use flowaudit_lake::cloud::credentials::{Chain, Clock, Credentials};
use flowaudit_lake::cloud::oss::{Address, Oss};
use flowaudit_lake::store::{FailAt, Failure, Store, contract};
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::{Conflict, Lake, LakeError, Partition, Table, read};
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::{Rng, SeedableRng};

use crate::bucket::{BUCKET, bare, fresh, quick};
use crate::fake_oss::{FakeOss, Fault, KEY_ID, REGION, SECRET};
use crate::numbers::{
    HOUR, check_whole, edge, fill, flows_due, flows_in, go_on_for_ever, ingest, read_up_to,
};

fn in_memory() -> Objects {
    let prefix = Path::from("lakes/one");
    Objects::new(
        Arc::new(InMemory::new()),
        prefix,
        "memory".to_string(),
        Clock::system(),
    )
}

fn on_oss(oss: Oss, clock: Clock) -> Objects {
    Objects::on_oss(oss, Path::from("lakes/one"), clock)
}

/// Keys in the bucket as they really lie there.
fn really_there(fake: &FakeOss, below: &str) -> Vec<String> {
    let prefix = format!("lakes/one/{below}");
    fake.bucket(BUCKET, |bucket| {
        let keys = bucket
            .objects
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix));
        keys.map(|key| format!("{below}{key}")).collect()
    })
}

fn in_log(lake: &Lake, table: Table) -> Vec<String> {
    let snapshot = lake.snapshot().unwrap();
    let mut keys: Vec<_> = snapshot
        .files(table)
        .map(|file| file.path.clone())
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn objects_keep_the_contract() {
    contract::all(in_memory);
    let mut fakes = Vec::new();
    contract::all(|| {
        let (fake, oss) = fresh();
        fakes.push(fake);
        on_oss(oss, Clock::system())
    });
}

#[test]
fn the_contract_holds_on_a_shaky_connection() {
    let mut fakes = Vec::new();
    contract::all(|| {
        let (fake, oss) = fresh();
        let count = AtomicU64::new(0);
        // Every fourth request; creations are refused only where it is sure that nothing was done.
        fake.fail(
            Fault::Refused(503, "ServiceUnavailable"),
            0,
            u64::MAX,
            move |_| count.fetch_add(1, Ordering::SeqCst).is_multiple_of(4),
        );
        fakes.push(fake);
        on_oss(oss, Clock::system())
    });
}

/// One batch adds flows of three hours and replaces the edges of one.
fn change(store: Arc<dyn Store>) -> Result<Option<LakeError>, LakeError> {
    let lake = Lake::open_on(store)?;
    let mut batch = lake.batch("both")?;
    fill(&mut batch, "0", 30, 80)?;
    batch.replace(Table::Edges, Partition::Hour(HOUR));
    batch.write_rows(Partition::Hour(HOUR), &[edge(HOUR, 2), edge(HOUR, 3)])?;
    Ok(batch.publish()?.leftover)
}

fn prepare(store: Arc<dyn Store>) {
    let lake = Lake::create_or_open_on(store).unwrap();
    ingest(&lake, "0", 0, 30).unwrap();
    let mut batch = lake.batch("analyze").unwrap();
    batch.replace(Table::Edges, Partition::Hour(HOUR));
    batch
        .write_rows(Partition::Hour(HOUR), &[edge(HOUR, 1)])
        .unwrap();
    batch.publish().unwrap();
}

/// The lake opens with all of the change or with none of it. Returns which.
#[track_caller]
fn check_whole_or_without(store: Arc<dyn Store>, told_done: bool) -> bool {
    let lake = Lake::open_on(store.clone()).unwrap();
    check_whole(&lake);
    let snapshot = lake.snapshot().unwrap();
    let edges = read::rows::<EdgeRow>(&lake, &snapshot).unwrap();
    let mut records: Vec<i64> = edges.iter().map(|edge| edge.records).collect();
    records.sort_unstable();
    let there = match (read_up_to(&snapshot, "0"), records.as_slice()) {
        (80, [2, 3]) => true,
        (30, [1]) => false,
        other => panic!("half of it is there: {other:?}"),
    };
    assert!(
        there || !told_done,
        "the writer was told that it is published"
    );
    assert_eq!(store.list("_staging/", "").unwrap(), Vec::<String>::new());
    assert_eq!(
        store.list("flows/", "").unwrap(),
        in_log(&lake, Table::Flows)
    );
    there
}

fn run_all(mut fresh: impl FnMut() -> Objects, failure: Failure) {
    let (mut with, mut without) = (0, 0);
    for n in 0.. {
        let store = fresh();
        prepare(Arc::new(store.clone()));
        let failing = FailAt::new(store.clone(), n, failure);
        let result = change(Arc::new(failing.clone()));
        if !failing.has_failed() {
            assert!(result.unwrap().is_none());
            break;
        }
        if check_whole_or_without(Arc::new(store.clone()), result.is_ok()) {
            with += 1;
        } else {
            without += 1;
            // The same work can be done again.
            change(Arc::new(store.clone())).unwrap();
            assert!(check_whole_or_without(Arc::new(store), true));
        }
    }
    assert!(
        with > 5 && without > 15,
        "{failure:?}: {with} with, {without} without"
    );
}

#[test]
fn killed_at_any_call_on_an_object_store() {
    for failure in [Failure::KilledBefore, Failure::KilledAfter] {
        run_all(in_memory, failure);
    }
    let mut fakes = Vec::new();
    let on_fake = || {
        let (fake, oss) = fresh();
        fakes.push(fake);
        on_oss(oss, Clock::system())
    };
    run_all(on_fake, Failure::KilledAfter);
}

#[test]
fn every_request_may_fail_or_lose_its_answer() {
    for fault in [
        Fault::Refused(403, "AccessDenied"),
        Fault::DoneAndRefused(500),
        Fault::AnswerLost,
    ] {
        let mut n = 0;
        loop {
            let (fake, oss) = fresh();
            let store = on_oss(oss, Clock::system());
            prepare(Arc::new(store.clone()));
            // It stays so for as long as one request is tried.
            let tries = u64::from(quick().attempts);
            fake.fail(fault, n, tries, |_| true);
            let result = change(Arc::new(store.clone()));
            let unused = fake.calm();
            if unused == tries {
                assert!(result.unwrap().is_none());
                break;
            }
            let told = result.is_ok();
            if !check_whole_or_without(Arc::new(store.clone()), told) {
                change(Arc::new(store.clone())).unwrap();
                assert!(check_whole_or_without(Arc::new(store), true));
            }
            n += 2;
        }
        assert!(n > 20, "{fault:?}: {n}");
    }
}

/// Every creation is done and its answer lost: stage, files and record are known for one's own, and published once.
#[test]
fn a_writer_is_not_refused_because_of_itself() {
    for fault in [Fault::AnswerLost, Fault::DoneAndRefused(503)] {
        let (fake, oss) = fresh();
        let store: Arc<dyn Store> = Arc::new(on_oss(oss, Clock::system()));
        prepare(store.clone());
        let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
        fake.fail(fault, 0, u64::MAX, move |request| {
            request.method == "PUT" && seen.lock().unwrap().insert(request.path.clone())
        });
        assert!(change(store.clone()).unwrap().is_none());
        fake.calm();
        assert!(check_whole_or_without(store, true));
    }
}

#[test]
fn a_file_of_many_parts() {
    use std::io::Write;
    let (fake, oss) = fresh();
    let store = on_oss(oss, Clock::system());
    let batch = flowaudit_lake::layout::BatchId::new("big", 0, 1);
    let key = flowaudit_lake::layout::file_key(Table::Flows, Partition::Hour(HOUR), &batch, 0);
    let mut stage = store.stage(&batch).unwrap();
    let mut sink = stage.create(&key).unwrap();
    let whole: Vec<u8> = (0..20_000_003u32).map(|n| (n % 251) as u8).collect();
    for piece in whole.chunks(1_000_000) {
        sink.write_all(piece).unwrap();
    }
    assert_eq!(sink.finish().unwrap(), whole.len() as u64);
    let tag = fake.bucket(BUCKET, |bucket| {
        bucket.objects[&format!("lakes/one/{key}")].e_tag.clone()
    });
    assert!(tag.ends_with("-3\""), "{tag}");
    let reader = store.open(&key).unwrap();
    let mut part = vec![0; 3_000_000];
    reader.read_exact_at(&mut part, 7_000_001).unwrap();
    assert_eq!(part, whole[7_000_001..10_000_001]);
    fake.take_log();
    let mut few = [0; 10];
    for at in (0..2_000_000).step_by(1000) {
        reader.read_exact_at(&mut few, at).unwrap();
        assert_eq!(few, whole[at as usize..at as usize + 10]);
    }
    assert!(fake.take_log().len() <= 3, "small reads share blocks");
    // A file that nobody finishes leaves no parts behind.
    let mut sink = stage.create(&key.replace("0000.p", "0001.p")).unwrap();
    sink.write_all(&whole).unwrap();
    assert_eq!(fake.bucket(BUCKET, |bucket| bucket.open_uploads()), 1);
    drop(sink);
    assert_eq!(fake.bucket(BUCKET, |bucket| bucket.open_uploads()), 0);
}

#[test]
fn a_bucket_with_versions_is_not_written_to() {
    let (fake, oss) = fresh();
    let lake = Lake::create_or_open_on(Arc::new(on_oss(oss.clone(), Clock::system()))).unwrap();
    ingest(&lake, "0", 0, 30).unwrap();
    for status in ["Enabled", "Suspended"] {
        fake.bucket(BUCKET, |bucket| bucket.versioning = Some(status));
        let lake = Lake::open_on(Arc::new(on_oss(oss.clone(), Clock::system()))).unwrap();
        assert_eq!(flows_in(&lake, &lake.snapshot().unwrap()).len(), 30);
        let before = fake.bucket(BUCKET, |bucket| bucket.objects.len());
        let error = ingest(&lake, "0", 30, 40).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            cause.contains(&format!(
                "versioning of the bucket is {}",
                status.to_lowercase()
            )),
            "{cause}"
        );
        assert!(error.help().unwrap().contains("without versioning"));
        assert_eq!(fake.bucket(BUCKET, |bucket| bucket.objects.len()), before);
    }
    // And where that cannot be told, neither.
    let (fake, oss) = fresh();
    fake.fail(
        Fault::Refused(403, "AccessDenied"),
        0,
        u64::MAX,
        |request| request.query.contains("versioning"),
    );
    let error = Lake::create_or_open_on(Arc::new(on_oss(oss, Clock::system()))).unwrap_err();
    assert!(
        error.help().unwrap().contains("oss:GetBucketVersioning"),
        "{error:?}"
    );
}

/// As one that speaks S3 but does not know the condition.
#[test]
fn a_store_that_creates_what_is_there_is_not_written_to() {
    let as_s3 = |oss: Oss| {
        let name = "s3://flow-bucket".to_string();
        let objects = Objects::on_s3(
            Arc::new(oss),
            Path::from("lakes/one"),
            name,
            Clock::system(),
        );
        Arc::new(objects)
    };
    let (fake, oss) = fresh();
    let lake = Lake::create_or_open_on(as_s3(oss.clone())).unwrap();
    ingest(&lake, "0", 0, 30).unwrap();
    // What was created for the trial serves whoever opens it next, and is no stranger.
    let asked = || really_there(&fake, "_flowaudit/trial").len();
    let again = Lake::create_or_open_on(as_s3(oss.clone())).unwrap();
    ingest(&again, "1", 0, 10).unwrap();
    assert_eq!(asked(), 1);
    assert_eq!(again.verify().unwrap(), []);
    fake.bucket(BUCKET, |bucket| bucket.versioning = Some("Enabled"));
    let lake = Lake::open_on(as_s3(oss)).unwrap();
    assert_eq!(flows_in(&lake, &lake.snapshot().unwrap()).len(), 40);
    let error = ingest(&lake, "0", 30, 40).unwrap_err();
    assert!(error.help().unwrap().contains("If-None-Match"), "{error:?}");
    assert_eq!(read_up_to(&lake.snapshot().unwrap(), "0"), 30);
}

#[test]
fn whoever_wakes_up_after_being_given_up_changes_nothing() {
    let (fake, oss) = fresh();
    let sleeper = Lake::create_or_open_on(Arc::new(on_oss(oss.clone(), Clock::system()))).unwrap();
    ingest(&sleeper, "0", 0, 30).unwrap();
    let mut asleep = sleeper.batch("ingest").unwrap();
    fill(&mut asleep, "0", 30, 60).unwrap();
    // Another process of this machine: it lives, and is left alone.
    let other = Lake::open_on(Arc::new(on_oss(oss.clone(), Clock::system()))).unwrap();
    assert_eq!(other.snapshot().unwrap().number, 1);
    assert!(!really_there(&fake, "_staging/").is_empty());
    // Two hours later.
    let later = Clock::from_fn(|| Clock::system().now() + 2 * 3600);
    let other = Lake::open_on(Arc::new(on_oss(oss.clone(), later))).unwrap();
    assert_eq!(other.snapshot().unwrap().number, 2);
    assert_eq!(really_there(&fake, "_staging/"), Vec::<String>::new());
    ingest(&other, "1", 0, 10).unwrap();
    let error = asleep.publish().unwrap_err();
    assert!(
        matches!(
            &error,
            LakeError::Refused {
                cause: Conflict::Abandoned,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.help().unwrap().contains("nothing was lost"));
    ingest(&sleeper, "0", 30, 60).unwrap();
    check_whole(&sleeper);
    check_whole(&Lake::open_on(Arc::new(on_oss(oss, Clock::system()))).unwrap());
    assert_eq!(
        really_there(&fake, "flows/"),
        in_log(&sleeper, Table::Flows)
    );
}

#[test]
fn a_sleeper_whose_record_came_first_has_won() {
    // Dies at the very moment after its record: its files are still marked.
    let died_after_its_record = |at: u64| {
        let (fake, oss) = fresh();
        let store = on_oss(oss.clone(), Clock::system());
        let lake = Lake::create_or_open_on(Arc::new(store.clone())).unwrap();
        ingest(&lake, "0", 0, 30).unwrap();
        let failing = FailAt::new(store, at, Failure::KilledAfter);
        let _ = Lake::open_on(Arc::new(failing)).and_then(|lake| ingest(&lake, "0", 30, 60));
        let record = really_there(&fake, "_flowaudit/commits/00000000000000000002");
        (!record.is_empty()).then_some((fake, oss))
    };
    let (fake, oss) = (0..).find_map(died_after_its_record).unwrap();
    assert!(really_there(&fake, "_staging/").len() > 1);
    let later = Clock::from_fn(|| Clock::system().now() + 2 * 3600);
    let other = Lake::open_on(Arc::new(on_oss(oss, later))).unwrap();
    let snapshot = other.snapshot().unwrap();
    assert_eq!((snapshot.number, read_up_to(&snapshot, "0")), (2, 60));
    check_whole(&other);
    assert_eq!(really_there(&fake, "_staging/"), Vec::<String>::new());
}

const ENDPOINT: &str = "LAKE_TEST_OSS_ENDPOINT";
const SEED: u64 = 20_261_124;
const KILLS: u64 = 40;
/// A busy machine needs more of them to meet as many batches under way.
const KILLS_MAX: u64 = 4 * KILLS;

fn lake_at(endpoint: &str) -> Result<Lake, LakeError> {
    let address = Address::new(BUCKET, endpoint, None, Some(REGION)).unwrap();
    let chain = Chain::given(Credentials::lasting(KEY_ID, SECRET), bare());
    let oss = Oss::new(address, chain, Clock::system(), quick()).unwrap();
    Lake::create_or_open_on(Arc::new(on_oss(oss, Clock::system())))
}

/// Runs in the child: goes on where the checkpoint says, batch by batch, until it is killed.
#[test]
fn child() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        return;
    };
    let lake = lake_at(&endpoint).unwrap();
    go_on_for_ever(&lake);
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    let (fake, _) = fresh();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let (mut before, mut unsettled) = (0, 0);
    for kill in 0..KILLS_MAX {
        if kill >= KILLS && before > 100 && unsettled > KILLS / 10 {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["lake::child", "--exact", "--test-threads=1"])
            .env(ENDPOINT, &fake.endpoint)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(random.random_range(20_000..250_000)));
        let died = child.try_wait().unwrap();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(died.is_none(), "the child failed by itself: {said}");
        unsettled += u64::from(!really_there(&fake, "_staging/").is_empty());
        let lake = lake_at(&fake.endpoint).unwrap();
        let snapshot = lake.snapshot().unwrap();
        assert_eq!(flows_in(&lake, &snapshot), flows_due(&snapshot));
        let now = read_up_to(&snapshot, "0");
        assert!(now >= before, "a published batch is gone, seed {SEED}");
        before = now;
        let edges = read::rows::<EdgeRow>(&lake, &snapshot).unwrap();
        let numbers: Vec<_> = edges.iter().map(|edge| edge.records as u64).collect();
        assert_eq!(numbers, if now == 0 { vec![] } else { vec![now] });
        // The dead process is known to be dead, and what it left is gone.
        assert_eq!(really_there(&fake, "_staging/"), Vec::<String>::new());
        for table in [Table::Flows, Table::Edges] {
            assert_eq!(
                really_there(&fake, &format!("{table}/")),
                in_log(&lake, table)
            );
        }
    }
    assert!(before > 100, "only {before} rows were written");
    assert!(
        unsettled > KILLS / 10,
        "only {unsettled} kills met a batch under way"
    );
    assert_eq!(lake_at(&fake.endpoint).unwrap().verify().unwrap(), []);
}
