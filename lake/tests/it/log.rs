//! The log: snapshots of it say the same as the records they stand for, and opening stays quick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::layout::{COMMITS, SNAPSHOTS};
use flowaudit_lake::store::{FailAt, Failure, Memory, Store};
use flowaudit_lake::{Hour, Lake, Partition, Table};

use crate::numbers::{START_US, check_whole, edge, ingest};

#[test]
fn a_long_log_is_opened_from_its_snapshot() {
    let memory = Memory::default();
    let lake = Lake::create_or_open_on(Arc::new(memory.clone())).unwrap();
    for n in 0..3000 {
        let mut batch = lake.batch("ingest").unwrap();
        batch.advance(
            "s",
            &format!("{}", n % 7),
            Position::at(n),
            Position::at(n + 1),
        );
        batch.publish().unwrap();
    }
    assert_eq!(memory.list(COMMITS, "").unwrap().len(), 3000);
    assert!(memory.list(SNAPSHOTS, "").unwrap().len() <= 2);
    // Dies at call 150: enough for a snapshot and what follows it, far from enough for 3000 records.
    let counted = FailAt::new(memory.clone(), 150, Failure::KilledBefore);
    let opened = Lake::open_on(Arc::new(counted)).unwrap();
    assert_eq!(opened.snapshot().unwrap().number, 3000);
    let (before, after) = (lake.snapshot().unwrap(), opened.snapshot().unwrap());
    assert_eq!(before.checkpoints(), after.checkpoints());
    assert_eq!(lake.verify().unwrap(), []);
}

#[test]
fn a_snapshot_says_what_the_records_say() {
    let memory = Memory::default();
    let lake = Lake::create_or_open_on(Arc::new(memory.clone())).unwrap();
    let start = Hour::of_us(START_US);
    for n in 0..70 {
        let hour = Hour(start.0 + n % 5);
        let mut batch = lake.batch("analyze").unwrap();
        batch.replace(Table::Edges, Partition::Hour(hour));
        batch
            .write_rows(Partition::Hour(hour), &[edge(hour, n)])
            .unwrap();
        batch.note_analysed(hour, batch.base().number);
        if n % 3 == 0 {
            batch.reopen(hour.start_us(), hour.start_us() + 7_200_000_000);
        }
        batch.publish().unwrap();
        ingest(&lake, "0", n as u64, n as u64 + 1).unwrap();
    }
    assert_eq!(memory.list(SNAPSHOTS, "").unwrap().len(), 2);
    // `verify` replays every record and holds the snapshots against that.
    check_whole(&lake);
    let opened = Lake::open_on(Arc::new(memory)).unwrap();
    let (a, b) = (lake.snapshot().unwrap(), opened.snapshot().unwrap());
    for table in Table::ALL {
        assert_eq!(
            a.files(table).collect::<Vec<_>>(),
            b.files(table).collect::<Vec<_>>()
        );
        for partition in a.partitions(table) {
            assert_eq!(
                a.changed_at(table, partition),
                b.changed_at(table, partition)
            );
        }
    }
    assert_eq!(a.reopened_since(0), b.reopened_since(0));
    for hour in a.hours(Table::Edges) {
        assert_eq!(
            (a.analysed(hour), a.is_open(hour)),
            (b.analysed(hour), b.is_open(hour))
        );
    }
}

#[test]
fn reopened_stretches_do_not_pile_up() {
    let lake = Lake::create_or_open_on(Arc::new(Memory::default())).unwrap();
    let hour = Hour::of_us(START_US);
    let open_before = AtomicU64::new(0);
    for _ in 0..200 {
        let mut batch = lake.batch("inventory").unwrap();
        batch.reopen(hour.start_us(), hour.end_us());
        batch.publish().unwrap();
        let mut batch = lake.batch("analyze").unwrap();
        batch.note_analysed(hour, batch.base().number);
        batch.publish().unwrap();
        open_before.fetch_max(
            lake.snapshot().unwrap().reopened_since(0).len() as u64,
            Ordering::Relaxed,
        );
    }
    assert!(open_before.into_inner() < 64);
}
