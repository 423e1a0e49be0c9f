//! Two writers: a lost race for a number is no obstacle, a contradiction is refused and changes nothing.

use std::sync::Arc;

use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::store::Memory;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::{Batch, Lake, LakeError, Partition, Table, read};

use crate::numbers::{HOUR, SOURCE, check_whole, edge, fill, ingest, read_up_to};

const PLACE: Partition = Partition::Hour(HOUR);

fn lake() -> (Lake, Memory) {
    let memory = Memory::default();
    (
        Lake::create_or_open_on(Arc::new(memory.clone())).unwrap(),
        memory,
    )
}

/// Publishes a batch that must be refused, and checks that nothing changed. Returns the sentence.
#[track_caller]
fn check_refused(lake: &Lake, batch: Batch) -> String {
    let before = lake.snapshot().unwrap().number;
    let error = batch.publish().unwrap_err();
    assert!(matches!(error, LakeError::Refused { .. }), "{error:?}");
    assert!(error.help().unwrap().contains("nothing was changed"));
    assert_eq!(lake.snapshot().unwrap().number, before);
    check_whole(lake);
    std::error::Error::source(&error).unwrap().to_string()
}

fn analyze(lake: &Lake, records: i64) -> Batch {
    let mut batch = lake.batch("analyze").unwrap();
    batch.replace(Table::Edges, PLACE);
    batch.write_rows(PLACE, &[edge(HOUR, records)]).unwrap();
    batch
}

fn records(lake: &Lake) -> Vec<i64> {
    let snapshot = lake.snapshot().unwrap();
    read::rows_in::<EdgeRow>(lake, &snapshot, PLACE)
        .unwrap()
        .iter()
        .map(|edge| edge.records)
        .collect()
}

#[test]
fn a_lost_race_without_contradiction_is_tried_again() {
    let (lake, memory) = lake();
    let other = Lake::open_on(Arc::new(memory)).unwrap();
    let mut first = lake.batch("ingest").unwrap();
    let mut second = other.batch("ingest").unwrap();
    fill(&mut first, "0", 0, 30).unwrap();
    fill(&mut second, "1", 0, 30).unwrap();
    assert_eq!(second.publish().unwrap().number, 1);
    assert_eq!(first.publish().unwrap().number, 2);
    check_whole(&lake);
    check_whole(&other);
    assert_eq!(read_up_to(&other.snapshot().unwrap(), "0"), 30);
}

#[test]
fn records_that_are_here_already_are_refused() {
    let (lake, memory) = lake();
    let other = Lake::open_on(Arc::new(memory)).unwrap();
    let mut late = lake.batch("ingest").unwrap();
    fill(&mut late, "0", 0, 30).unwrap();
    ingest(&other, "0", 0, 10).unwrap();
    let said = check_refused(&lake, late);
    assert_eq!(
        said,
        "`numbers` shard `0` was read up to 10 already, the batch begins at 0"
    );
}

#[test]
fn reading_backwards_is_refused() {
    let (lake, _) = lake();
    let mut batch = lake.batch("ingest").unwrap();
    batch.advance(SOURCE, "0", Position::at(10), Position::at(9));
    assert!(check_refused(&lake, batch).contains("backwards"));
}

#[test]
fn a_skipped_stretch_is_recorded() {
    let (lake, _) = lake();
    ingest(&lake, "0", 0, 10).unwrap();
    let mut batch = lake.batch("ingest").unwrap();
    batch.advance(SOURCE, "0", Position::at(15), Position::at(20));
    let commit = batch.publish().unwrap();
    assert_eq!((commit.gaps[0].from, commit.gaps[0].to), (10, 15));
    assert_eq!(lake.snapshot().unwrap().checkpoints().gaps(), commit.gaps);
    assert_eq!(lake.stats().unwrap().checkpoint_gaps, 1);
}

#[test]
fn two_analyses_of_one_hour_do_not_both_win() {
    let (lake, _) = lake();
    analyze(&lake, 1).publish().unwrap();
    let (first, second) = (analyze(&lake, 2), analyze(&lake, 3));
    first.publish().unwrap();
    let said = check_refused(&lake, second);
    assert_eq!(
        said,
        "partition `date=2026-11-24/hour=08` of edges was changed by commit 2, after the batch began at 1"
    );
    assert_eq!(records(&lake), [2]);
}

#[test]
fn two_first_analyses_of_one_hour_do_not_both_win() {
    let (lake, _) = lake();
    let (first, second) = (analyze(&lake, 2), analyze(&lake, 3));
    second.publish().unwrap();
    check_refused(&lake, first);
    assert_eq!(records(&lake), [3]);
}

#[test]
fn a_replaced_partition_that_got_a_new_file_is_refused() {
    let (lake, _) = lake();
    analyze(&lake, 1).publish().unwrap();
    let replacing = analyze(&lake, 2);
    let mut adding = lake.batch("other").unwrap();
    adding.write_rows(PLACE, &[edge(HOUR, 7)]).unwrap();
    adding.publish().unwrap();
    check_refused(&lake, replacing);
    assert_eq!(records(&lake), [1, 7]);
}

#[test]
fn other_partitions_do_not_disturb() {
    let (lake, _) = lake();
    let replacing = analyze(&lake, 1);
    ingest(&lake, "0", 0, 30).unwrap();
    let next = HOUR.next();
    let mut other = lake.batch("analyze").unwrap();
    other.replace(Table::Edges, Partition::Hour(next));
    other
        .write_rows(Partition::Hour(next), &[edge(next, 5)])
        .unwrap();
    other.publish().unwrap();
    replacing.publish().unwrap();
    assert_eq!(records(&lake), [1]);
}

#[test]
fn a_batch_computed_from_an_older_snapshot_is_held_to_it() {
    let (lake, _) = lake();
    let base = lake.snapshot().unwrap();
    analyze(&lake, 1).publish().unwrap();
    let mut late = lake.batch_on("analyze", base);
    late.replace(Table::Edges, PLACE);
    late.write_rows(PLACE, &[edge(HOUR, 2)]).unwrap();
    check_refused(&lake, late);
}

#[test]
fn what_a_batch_relies_on_must_not_have_changed() {
    let (lake, _) = lake();
    let mut relying = lake.batch("ingest").unwrap();
    fill(&mut relying, "1", 0, 10).unwrap();
    relying.expect_unchanged(Table::Flows, PLACE);
    ingest(&lake, "0", 0, 10).unwrap();
    assert!(check_refused(&lake, relying).contains("of flows was changed by commit 1"));
}

#[test]
fn a_file_is_removed_once() {
    let (lake, _) = lake();
    ingest(&lake, "0", 0, 10).unwrap();
    let file = lake
        .snapshot()
        .unwrap()
        .files(Table::Flows)
        .next()
        .unwrap()
        .clone();
    let remove = || {
        let mut batch = lake.batch("compact").unwrap();
        batch.remove(&file);
        batch
    };
    let (first, second) = (remove(), remove());
    let mut rest = lake.batch("compact").unwrap();
    rest.advance(SOURCE, "x", Position::at(0), Position::at(0));
    let commit = first.publish().unwrap();
    assert_eq!((commit.removed, commit.leftover.is_none()), (1, true));
    let before = lake.snapshot().unwrap().number;
    let error = second.publish().unwrap_err();
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .ends_with("was removed already")
    );
    assert_eq!(lake.snapshot().unwrap().number, before);
    assert_eq!(lake.verify().unwrap(), []);
}

#[test]
fn a_reader_of_a_replaced_file_is_told_to_look_again() {
    let (lake, _) = lake();
    analyze(&lake, 1).publish().unwrap();
    let old = lake.snapshot().unwrap();
    let file = old.files(Table::Edges).next().unwrap().clone();
    let opened = read::open(&lake, &file).unwrap();
    analyze(&lake, 2).publish().unwrap();
    for error in [
        read::open(&lake, &file).map(drop).unwrap_err(),
        opened.batches(&["hour_start"], 0).map(drop).unwrap_err(),
        read::rows::<EdgeRow>(&lake, &old).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, LakeError::Stale { .. }), "{error:?}");
    }
    assert_eq!(records(&lake), [2]);
}

#[test]
fn a_dropped_batch_leaves_nothing() {
    let (lake, memory) = lake();
    let mut batch = lake.batch("ingest").unwrap();
    fill(&mut batch, "0", 0, 100).unwrap();
    drop(batch);
    assert_eq!(lake.snapshot().unwrap().number, 0);
    assert!(
        flowaudit_lake::store::Store::orphans(&memory)
            .unwrap()
            .is_empty()
    );
    check_whole(&lake);
}

#[test]
fn an_empty_batch_makes_no_commit() {
    let (lake, _) = lake();
    ingest(&lake, "0", 0, 1).unwrap();
    let commit = lake.batch("ingest").unwrap().publish().unwrap();
    assert_eq!((commit.number, lake.snapshot().unwrap().number), (1, 1));
}

#[test]
fn many_threads_publish_and_every_row_is_there_once() {
    let (lake, _) = lake();
    std::thread::scope(|scope| {
        for shard in ["a", "b", "c", "d"] {
            let lake = lake.clone();
            scope.spawn(move || {
                for from in (0..200).step_by(25) {
                    ingest(&lake, shard, from, from + 25).unwrap();
                }
            });
        }
    });
    assert_eq!(lake.snapshot().unwrap().number, 32);
    check_whole(&lake);
}

#[test]
fn reopened_hours_are_analysed_again() {
    let (lake, _) = lake();
    let note = |at| {
        let mut batch = lake.batch("analyze").unwrap();
        batch.note_analysed(HOUR, at);
        batch.publish().unwrap().number
    };
    assert!(lake.snapshot().unwrap().is_open(HOUR));
    note(0);
    assert!(!lake.snapshot().unwrap().is_open(HOUR));
    let mut batch = lake.batch("inventory").unwrap();
    batch.reopen(HOUR.start_us() + 5, HOUR.start_us() + 6);
    let by = batch.publish().unwrap().number;
    let snapshot = lake.snapshot().unwrap();
    assert!(snapshot.is_open(HOUR) && snapshot.analysed(HOUR) == Some(0));
    assert_eq!(
        snapshot.reopened_since(by - 1),
        [(HOUR.start_us() + 5, HOUR.start_us() + 6)]
    );
    assert_eq!(snapshot.reopened_since(by), []);
    note(by);
    assert!(!lake.snapshot().unwrap().is_open(HOUR));
    // What lies beyond the hour's margin does not open it, what lies within does.
    let (start, end) = (HOUR.start_us(), HOUR.end_us());
    let reopen = |from_us, to_us| {
        let mut batch = lake.batch("inventory").unwrap();
        batch.reopen(from_us, to_us);
        let by = batch.publish().unwrap().number;
        (lake.snapshot().unwrap().is_open(HOUR), note(by)).0
    };
    assert!(!reopen(end + HOUR_MARGIN_US, end + HOUR_MARGIN_US + 1));
    assert!(reopen(end + HOUR_MARGIN_US - 1, end + HOUR_MARGIN_US));
    assert!(!reopen(start - HOUR_MARGIN_US - 1, start - HOUR_MARGIN_US));
    assert!(reopen(start - HOUR_MARGIN_US, start - HOUR_MARGIN_US + 1));
}
