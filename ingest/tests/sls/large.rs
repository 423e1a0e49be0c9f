//! Replies of very many records, all of them legal: read in parts, each record once, in bounded memory.

use std::process::Command;
use std::sync::Arc;

use flowaudit_ingest::sls::calls::SHARDS_MAX;
use flowaudit_ingest::sls::{PullSettings, pull};
use flowaudit_ingest::{IngestError, Stop};
use flowaudit_lake::store::{FailAt, Failure, Local};
use flowaudit_lake::{Lake, Table};

use crate::common::{Place, RECEIVED, client, quick};
use crate::crash::client_of;
use crate::fake::records::{self, START};

const DIR: &str = "FLOWAUDIT_SLS_LARGE_DIR";
const PROXY: &str = "FLOWAUDIT_SLS_LARGE_PROXY";

/// A log group with so many logs without any field for each record.
fn group(records: u64, empty: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..records {
        bytes.extend_from_slice(&records::group(&[records::record(n)], START as u32));
        // Field 1 of length 0.
        bytes.extend(std::iter::repeat_n([0x0a, 0], empty).flatten());
    }
    bytes
}

fn rows(lake: &Lake, table: Table) -> u64 {
    lake.snapshot().unwrap().rows(table)
}

#[test]
fn one_log_group_of_many_records_is_kept_once_whenever_it_dies() {
    const FLOWS: u64 = 20;
    const EMPTY: usize = 500;
    let settings = PullSettings {
        // Parts of 1024 records.
        memory_bytes: 4 << 20,
        batch_rows_max: 2000,
        ..quick()
    };
    let (mut deaths, mut halfway) = (0, 0);
    for at in (0..).step_by(7) {
        let place = Place::new(1);
        let large = group(FLOWS, EMPTY);
        place.fake.world().put(&large, RECEIVED);
        place.put(FLOWS..FLOWS + 40);
        let store = Local::open(&place.lake_path()).unwrap();
        let store = FailAt::new(store, at, Failure::KilledAfter);
        let client = client(&place.fake);
        let read = |lake: &Lake| pull(lake, &client, &settings, &mut |_| {}, &Stop::default());
        let died = Lake::open_on(Arc::new(store))
            .map_err(IngestError::from)
            .and_then(|lake| read(&lake))
            .is_err();
        let lake = Lake::open(place.lake_path()).unwrap();
        let all = FLOWS * EMPTY as u64;
        halfway += u64::from((1..all).contains(&rows(&lake, Table::Rejects)));
        read(&place.lake).unwrap();
        let found = (
            rows(&place.lake, Table::Flows),
            rows(&place.lake, Table::Rejects),
        );
        assert_eq!(found, (FLOWS + 40, all), "died at call {at}");
        place.check(0..FLOWS + 40);
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(
        deaths > 5 && halfway > 3,
        "{deaths} deaths, {halfway} halfway"
    );
}

/// What the child process does; in an ordinary run of the tests there is no directory and nothing to do.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let lake = Lake::create_or_open(dir).unwrap();
    let client = client_of(std::env::var(PROXY).unwrap());
    let settings = PullSettings {
        memory_bytes: 64 << 20,
        batch_rows_max: 500_000,
        ..quick()
    };
    pull(&lake, &client, &settings, &mut |_| {}, &Stop::default()).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    eprintln!("{}", peak.unwrap());
}

/// Peak memory of a process that reads what the fake holds, in MiB.
fn peak_mib(place: &Place) -> u64 {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "large::child", "--test-threads=1", "--nocapture"])
        .env(DIR, place.lake_path())
        .env(PROXY, place.fake.proxy())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let peak = said.lines().find_map(|line| line.split_once("VmHWM:"));
    let kib = peak.unwrap().1.trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() / 1024
}

/// Many flows of many hours, of addresses that hardly repeat, over several shards.
#[test]
fn flows_of_many_hours_take_no_more_memory_than_allowed() {
    const RECORDS: u64 = 200_000;
    let place = Place::new(4);
    let record = |n: u64| {
        let mut pairs = records::record(n);
        let start = START + n % 40 * 3600;
        for (name, value) in &mut pairs {
            match *name {
                "start" => *value = start.to_string(),
                "end" => *value = (start + 60).to_string(),
                "srcaddr" => *value = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255),
                "eni-id" => *value = format!("eni-bp166tg9uk1r{:06}", n % 5000),
                _ => {}
            }
        }
        pairs
    };
    for from in (0..RECORDS).step_by(1000) {
        let group: Vec<_> = (from..from + 1000).map(record).collect();
        let group = records::group(&group, START as u32);
        place.fake.world().put(&group, RECEIVED);
    }
    let peak = peak_mib(&place);
    println!("peak {peak} MiB");
    assert_eq!(rows(&place.lake, Table::Flows), RECORDS);
    assert!(peak < 64, "{peak} MiB");
}

#[test]
fn a_logstore_of_more_shards_than_can_be_read_is_refused() {
    let place = Place::new(SHARDS_MAX as u32 + 1);
    let Err(IngestError::Sls(error)) = place.pull(&quick()) else {
        panic!("there are too many shards");
    };
    assert!(error.cause.to_string().contains("has 4097 shards"));
    assert!(error.help().unwrap().contains("merge shards"));
}

#[test]
fn a_million_records_without_a_field_take_no_more_memory_than_allowed() {
    let place = Place::new(1);
    place.fake.world().put(&group(100, 10_000), RECEIVED);
    let peak = peak_mib(&place);
    println!("peak {peak} MiB");
    assert!(peak < 64, "{peak} MiB");
    assert_eq!(rows(&place.lake, Table::Rejects), 1_000_000);
    place.check(0..100);
}
