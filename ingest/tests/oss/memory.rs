//! What the process holds stays below `memory`, whatever there is to read.

use std::process::Command;

use flowaudit_ingest::Stop;
use flowaudit_ingest::oss::{PullSettings, pull};
use flowaudit_lake::Table;

use crate::common::{Place, key, lake_in_bucket, owner, settings};
use crate::records::{gzip, lines};

const ENDPOINT: &str = "FLOWAUDIT_OSS_MEMORY_ENDPOINT";
const MEMORY: u64 = 64 << 20;

/// What the child process does; in an ordinary run of the tests there is no endpoint and nothing to do.
#[test]
fn child() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        return;
    };
    let settings = PullSettings {
        memory_bytes: MEMORY,
        ..settings()
    };
    let stop = Stop::default();
    pull(
        &lake_in_bucket(&endpoint),
        &owner(&endpoint),
        &settings,
        &mut |_| {},
        &stop,
    )
    .unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    eprintln!("{}", peak.unwrap());
}

#[test]
fn a_bucket_is_read_within_the_memory_that_is_allowed() {
    const OBJECTS: u64 = 20;
    const RECORDS: u64 = 10_000;
    let place = Place::new();
    for n in 0..OBJECTS {
        let text = lines(n * RECORDS..(n + 1) * RECORDS);
        match n % 3 {
            0 => place.put(&key(60 - n as i64, n, ".json"), text),
            1 => place.put(&key(60 - n as i64, n, ".json.gz"), gzip(text)),
            _ => {
                let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
                place.put(&key(60 - n as i64, n, ".json.zst"), packed);
            }
        }
    }
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "memory::child",
            "--test-threads=1",
            "--nocapture",
        ])
        .env(ENDPOINT, &place.fake.endpoint)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let peak = said.lines().find_map(|line| line.split_once("VmHWM:"));
    let kib = peak.unwrap().1.trim().trim_end_matches(" kB");
    let peak_kib: u64 = kib.parse().unwrap();
    println!("peak {} MiB", peak_kib >> 10);
    let rows = lake_in_bucket(&place.fake.endpoint)
        .snapshot()
        .unwrap()
        .rows(Table::Flows);
    assert_eq!(rows, OBJECTS * RECORDS);
    assert!(peak_kib << 10 < MEMORY, "{} MiB", peak_kib >> 10);
}
