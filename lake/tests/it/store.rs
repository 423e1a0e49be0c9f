//! Every store keeps the contract.

use std::io::ErrorKind;

use flowaudit_lake::store::{FailAt, Failure, Local, Memory, Put, Store, contract};

struct Directories(Vec<tempfile::TempDir>);

impl Directories {
    fn fresh(&mut self) -> Local {
        self.0.push(tempfile::tempdir().unwrap());
        Local::open(self.0.last().unwrap().path()).unwrap()
    }
}

#[test]
fn memory_keeps_the_contract() {
    contract::all(Memory::default);
}

#[test]
fn a_directory_keeps_the_contract() {
    let mut directories = Directories(Vec::new());
    contract::all(|| directories.fresh());
}

#[test]
fn a_wrapper_keeps_the_contract() {
    contract::all(|| FailAt::new(Memory::default(), u64::MAX, Failure::KilledBefore));
    let mut directories = Directories(Vec::new());
    contract::all(|| FailAt::new(directories.fresh(), u64::MAX, Failure::KilledAfter));
}

#[test]
fn a_killed_store_stays_dead() {
    let memory = Memory::default();
    let store = FailAt::new(memory.clone(), 1, Failure::KilledBefore);
    store.put_if_absent("a", b"").unwrap();
    assert!(!store.has_failed());
    assert!(store.put_if_absent("b", b"").is_err());
    assert!(store.has_failed());
    assert!(store.put_if_absent("c", b"").is_err());
    assert!(memory.get("b", 10).is_err());
    let store = FailAt::new(memory.clone(), 0, Failure::KilledAfter);
    assert!(store.put_if_absent("b", b"").is_err());
    assert!(store.get("b", 10).is_err());
    memory.get("b", 10).unwrap();
}

#[test]
fn a_call_may_fail_once() {
    let store = FailAt::new(
        Memory::default(),
        0,
        Failure::OnceAfter(ErrorKind::TimedOut),
    );
    let failed = store.put_if_absent("a", b"").unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::TimedOut);
    assert_eq!(store.put_if_absent("a", b"").unwrap(), Put::Exists);
}

#[test]
fn temporary_files_of_dead_writers_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path()).unwrap();
    store.put_if_absent("a", b"").unwrap();
    let left = directory.path().join("_staging/.new/1-0000000000000000");
    std::fs::write(&left, b"half a rec").unwrap();
    assert!(store.orphans().unwrap().is_empty());
    assert!(!left.exists());
}
