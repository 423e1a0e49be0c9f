//! The real process, killed at random moments while it reads a bucket into a lake in a bucket: nothing is lost and
//! nothing doubled.
//!
//! `FLOWAUDIT_CRASH_RECORDS=2000000` makes it the size of a day.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flowaudit_ingest::Stop;
use flowaudit_ingest::oss::{PullSettings, pull};
use flowaudit_lake::read;

use crate::common::{Place, key, lake_in_bucket, owner, settings};
use crate::fake_oss::Fault;
use crate::records::{check_once, flows_of, gzip, lines};

const ENDPOINT: &str = "FLOWAUDIT_OSS_CRASH_ENDPOINT";
const SIZE: &str = "FLOWAUDIT_CRASH_RECORDS";
const KILLS: u64 = 50;

/// How many records there are; the child inherits the variable.
fn size() -> u64 {
    let size = std::env::var(SIZE).ok();
    size.map_or(100_000, |size| size.parse().unwrap())
}

/// Ten batches for every kill, so that a fast machine does not read everything before the last one.
fn small() -> PullSettings {
    PullSettings {
        batch_rows_max: (size() / KILLS / 10) as usize,
        memory_bytes: 64 << 20,
        ..settings()
    }
}

/// What the child process does; in an ordinary run of the tests there is no endpoint and nothing to do.
#[test]
fn child() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        return;
    };
    let oss = owner(&endpoint);
    pull(
        &lake_in_bucket(&endpoint),
        &oss,
        &small(),
        &mut |_| {},
        &Stop::default(),
    )
    .unwrap();
}

fn spawn(place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--test-threads=1"])
        .env(ENDPOINT, &place.fake.endpoint)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_while_it_reads_nothing_is_lost_and_nothing_doubled() {
    let records = size();
    let place = Place::new();
    let lake = lake_in_bucket(&place.fake.endpoint);
    let turn = std::sync::atomic::AtomicU64::new(1);
    place
        .fake
        .fail(Fault::CutAfter(30_000), 0, u64::MAX, move |request| {
            request.method == "GET"
                && request.path.contains("/sls/")
                && turn
                    .fetch_add(1, std::sync::atomic::Ordering::SeqCst)
                    .is_multiple_of(17)
        });
    let mut state = 0x51_5eed_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut put, mut cut_short, mut kill) = (0, 0, 0);
    while cut_short < KILLS {
        assert!(
            kill < 4 * KILLS,
            "only {cut_short} of {kill} runs were cut short: the kills show nothing"
        );
        // Some objects are several batches, some a part of one; some come under an earlier minute.
        let more = (records / KILLS).min(records - put);
        let mut from = put;
        while from < put + more {
            let to = (from + more / 7 + random(more / 2 + 1) + 1).min(put + more);
            let (bytes, minutes) = (lines(from..to), random(90) as i64);
            match random(2) {
                0 => place.put(&key(minutes, from, ".json"), bytes),
                _ => place.put(&key(minutes, from, ".json.gz"), gzip(bytes)),
            }
            from = to;
        }
        put += more;
        kill += 1;
        let mut child = spawn(&place);
        let (commits, wanted) = (lake.snapshot().unwrap().number, random(3));
        while lake.snapshot().unwrap().number < commits + wanted
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(random(30_000)));
        child.kill().unwrap();
        cut_short += u64::from(!child.wait().unwrap().success());
    }
    if put < records {
        place.put(&key(0, put, ".json"), lines(put..records));
    }
    let summary = pull(
        &lake,
        &place.oss,
        &PullSettings {
            look_back: chrono::TimeDelta::hours(6),
            ..small()
        },
        &mut |_| {},
        &Stop::default(),
    )
    .unwrap();
    assert_eq!((summary.missed, summary.failed), (0, 0));
    check_once(&flows_of(&lake), 0..records);
    let rejects: Vec<flowaudit_lake::table::rejects::RejectRow> =
        read::rows(&lake, &lake.snapshot().unwrap()).unwrap();
    assert_eq!(rejects.len(), 0);
    println!("{records} records, {kill} runs of which {cut_short} were killed, lost 0, doubled 0");
}
