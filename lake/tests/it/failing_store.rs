//! Killed at any instant: for every n the n-th call to the store fails, and the lake opens whole or without.

use std::io::ErrorKind;
use std::sync::Arc;

use flowaudit_lake::layout::{BatchId, COMMITS};
use flowaudit_lake::store::{
    FailAt, Failure, Local, Memory, Put, ReadAt, Stage, Store, StoreError,
};
use flowaudit_lake::{Lake, LakeError, Partition, Table, read};

use crate::numbers::{HOUR, check_whole, edge, fill, ingest, read_up_to};
use flowaudit_lake::table::edges::EdgeRow;

/// The scenario: a lake with flows and edges; then one batch adds flows of three hours and replaces the edges of one.
fn prepare(store: Arc<dyn Store>) {
    let lake = Lake::create_or_open_on(store).unwrap();
    ingest(&lake, "0", 0, 30).unwrap();
    replace_edges(&lake, 1).unwrap();
}

fn replace_edges(lake: &Lake, records: i64) -> Result<(), LakeError> {
    let mut batch = lake.batch("analyze")?;
    batch.replace(Table::Edges, Partition::Hour(HOUR));
    batch.write_rows(Partition::Hour(HOUR), &[edge(HOUR, records)])?;
    batch.publish().map(drop)
}

fn change(store: Arc<dyn Store>) -> Result<Option<LakeError>, LakeError> {
    let lake = Lake::open_on(store)?;
    let mut batch = lake.batch("both")?;
    fill(&mut batch, "0", 30, 80)?;
    batch.replace(Table::Edges, Partition::Hour(HOUR));
    batch.write_rows(Partition::Hour(HOUR), &[edge(HOUR, 2), edge(HOUR, 3)])?;
    batch.note_analysed(HOUR, batch.base().number);
    Ok(batch.publish()?.leftover)
}

/// The lake opens with all of the change or with none of it. Returns which.
#[track_caller]
fn check_whole_or_without(store: Arc<dyn Store>, told_done: bool) -> bool {
    let lake = Lake::open_on(store.clone()).unwrap();
    check_whole(&lake);
    let snapshot = lake.snapshot().unwrap();
    let mut records: Vec<i64> = read::rows::<EdgeRow>(&lake, &snapshot)
        .unwrap()
        .iter()
        .map(|edge| edge.records)
        .collect();
    records.sort_unstable();
    let there = match (
        read_up_to(&snapshot, "0"),
        records.as_slice(),
        snapshot.analysed(HOUR),
    ) {
        (80, [2, 3], Some(2)) => true,
        (30, [1], None) => false,
        other => panic!("half of it is there: {other:?}"),
    };
    assert!(
        there || !told_done,
        "the writer was told that the batch is published"
    );
    // What other programs see is the same.
    let mut on_disk = store.list("flows/", "").unwrap();
    let mut in_log: Vec<_> = snapshot
        .files(Table::Flows)
        .map(|file| file.path.clone())
        .collect();
    on_disk.sort_unstable();
    in_log.sort_unstable();
    assert_eq!(on_disk, in_log);
    there
}

/// Tries every n over stores made by `fresh`; returns how often the batch was there and how often it was not.
fn run_all<S: Store + Clone + 'static>(
    mut fresh: impl FnMut() -> S,
    failure: Failure,
) -> (u64, u64) {
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
    (with, without)
}

#[test]
fn killed_at_any_call_in_memory() {
    for failure in [Failure::KilledBefore, Failure::KilledAfter] {
        let (with, without) = run_all(Memory::default, failure);
        assert!(
            with > 5 && without > 20,
            "{failure:?}: {with} with, {without} without"
        );
    }
}

#[test]
fn killed_at_any_call_on_disk() {
    let mut directories = Vec::new();
    let fresh = || {
        directories.push(tempfile::tempdir().unwrap());
        Local::open(directories.last().unwrap().path()).unwrap()
    };
    let (with, without) = run_all(fresh, Failure::KilledAfter);
    assert!(with > 5 && without > 20, "{with} with, {without} without");
}

#[test]
fn a_single_failed_call_loses_nothing() {
    for kind in [
        ErrorKind::StorageFull,
        ErrorKind::PermissionDenied,
        ErrorKind::TimedOut,
    ] {
        run_all(Memory::default, Failure::Once(kind));
        run_all(Memory::default, Failure::OnceAfter(kind));
    }
}

#[test]
fn a_full_disk_says_so() {
    let memory = Memory::default();
    prepare(Arc::new(memory.clone()));
    let mut told = 0;
    for n in 0..1000 {
        let failing = FailAt::new(memory.clone(), n, Failure::Once(ErrorKind::StorageFull));
        let result = change(Arc::new(failing.clone()));
        let Err(error) = result else { break };
        let mut chain = vec![error.to_string()];
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            chain.push(next.to_string());
            cause = next.source();
        }
        assert_eq!(chain.last().unwrap(), "no storage space", "{chain:?}");
        assert!(error.help().unwrap().contains("make room"), "{error:?}");
        told += 1;
    }
    assert!(told > 20);
}

#[test]
fn dying_while_settling_what_another_left_is_harmless() {
    for n in 0.. {
        let memory = Memory::default();
        prepare(Arc::new(memory.clone()));
        // Dies right after the record was created: everything is left to be settled.
        let record = flowaudit_lake::layout::commit_key(3);
        let mut dead = None;
        for at in 0.. {
            let failing = FailAt::new(memory.clone(), at, Failure::KilledAfter);
            let _ = change(Arc::new(failing));
            if memory.get(&record, 1 << 20).is_ok() {
                dead = Some(at);
                break;
            }
        }
        assert!(dead.is_some());
        let failing = FailAt::new(memory.clone(), n, Failure::KilledBefore);
        let opened = Lake::open_on(Arc::new(failing.clone()));
        if !failing.has_failed() {
            opened.unwrap();
            break;
        }
        assert!(check_whole_or_without(Arc::new(memory), true));
    }
}

/// Every answer to the creation of a commit record is lost on its way back.
#[derive(Debug)]
struct LostAnswers(Memory);

impl Store for LostAnswers {
    fn name(&self) -> String {
        self.0.name()
    }
    fn is_fresh(&self) -> Result<bool, StoreError> {
        self.0.is_fresh()
    }
    fn get(&self, key: &str, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.0.get(key, max_bytes)
    }
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        let put = self.0.put_if_absent(key, bytes)?;
        if key.starts_with(COMMITS) {
            return Err(StoreError::new("create", key, ErrorKind::TimedOut.into()));
        }
        Ok(put)
    }
    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, StoreError> {
        self.0.list(prefix, after)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key)
    }
    fn open(&self, key: &str) -> Result<Box<dyn ReadAt>, StoreError> {
        self.0.open(key)
    }
    fn stage(&self, batch: &BatchId) -> Result<Box<dyn Stage>, StoreError> {
        self.0.stage(batch)
    }
    fn orphans(&self) -> Result<Vec<Box<dyn Stage>>, StoreError> {
        self.0.orphans()
    }
}

#[test]
fn when_nobody_knows_whether_the_record_exists_its_files_stay() {
    let memory = Memory::default();
    prepare(Arc::new(memory.clone()));
    let error = change(Arc::new(LostAnswers(memory.clone()))).unwrap_err();
    assert!(matches!(error, LakeError::Interrupted { .. }), "{error:?}");
    assert!(error.help().unwrap().contains("nothing was lost"));
    assert!(check_whole_or_without(Arc::new(memory), true));
}
