//! What every store promises. Each function is one promise and takes a store that holds nothing.
//!
//! A new store runs [`all`] in its own tests, and so does every wrapper.

use std::io::{ErrorKind, Write};

use super::{Put, Stage, Store};
use crate::layout::{BatchId, Hour, Partition, file_key};
use crate::table::Table;

/// Runs every promise, each on a store made by `fresh`.
pub fn all<S: Store>(mut fresh: impl FnMut() -> S) {
    a_new_store_is_fresh(&fresh());
    what_was_put_is_read_back(&fresh());
    the_second_to_put_changes_nothing(&fresh());
    only_one_of_many_threads_creates(&fresh());
    reading_is_bounded(&fresh());
    what_is_absent_is_not_found(&fresh());
    keys_are_listed_in_order(&fresh());
    deleting_twice_is_no_failure(&fresh());
    a_staged_file_is_hidden_until_revealed(&fresh());
    ranges_are_exact(&fresh());
    revealing_twice_is_no_failure(&fresh());
    a_discarded_stage_leaves_nothing(&fresh());
    a_batch_is_staged_once(&fresh());
    a_living_stage_is_no_orphan(&fresh());
    an_orphan_can_be_rolled_forward(&fresh());
    an_orphan_can_be_discarded(&fresh());
    an_unfinished_file_is_not_revealed(&fresh());
}

fn batch(token: u64) -> BatchId {
    BatchId::new("contract", 0, token)
}

fn key(token: u64, n: usize) -> String {
    file_key(Table::Flows, Partition::Hour(Hour(0)), &batch(token), n)
}

#[track_caller]
fn good<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => broken(&format!("{error:?}")),
    }
}

#[expect(
    clippy::panic,
    reason = "this is a test suite: a broken promise must stop it"
)]
#[track_caller]
fn broken(what: &str) -> ! {
    panic!("the store breaks its contract: {what}")
}

#[track_caller]
fn write(stage: &mut dyn Stage, key: &str, bytes: &[u8]) {
    let mut sink = good(stage.create(key));
    good(sink.write_all(bytes));
    assert_eq!(good(sink.finish()), bytes.len() as u64);
}

#[track_caller]
fn content(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    match store.open(key) {
        Ok(reader) => {
            let mut bytes = vec![0; reader.size() as usize];
            good(reader.read_exact_at(&mut bytes, 0));
            Some(bytes)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => broken(&format!("{error:?}")),
    }
}

/// An empty store is fresh, and one with an object of somebody else is not.
pub fn a_new_store_is_fresh(store: &dyn Store) {
    assert!(good(store.is_fresh()));
    good(store.put_if_absent("photos/cat.jpg", b"meow"));
    assert!(!good(store.is_fresh()));
}

/// An object comes back as it was put, empty ones and those with odd names too.
pub fn what_was_put_is_read_back(store: &dyn Store) {
    for (key, bytes) in [
        ("a/b.json", b"{}".as_slice()),
        ("empty", b""),
        ("a/ünïcode 名", &[0, 255]),
    ] {
        assert_eq!(good(store.put_if_absent(key, bytes)), Put::Created);
        assert_eq!(good(store.get(key, 100)), bytes);
    }
}

/// The first to create an object wins, the content of the second is dropped.
pub fn the_second_to_put_changes_nothing(store: &dyn Store) {
    assert_eq!(good(store.put_if_absent("k/1", b"first")), Put::Created);
    assert_eq!(
        good(store.put_if_absent("k/1", b"second, and longer")),
        Put::Exists
    );
    assert_eq!(good(store.get("k/1", 100)), b"first");
}

/// Of many that create the same object at the same time exactly one wins, and its content is whole.
pub fn only_one_of_many_threads_creates(store: &dyn Store) {
    let contents: Vec<Vec<u8>> = (0..8u8).map(|n| vec![n; 10_000]).collect();
    let won: Vec<bool> = std::thread::scope(|scope| {
        let put = |bytes: &Vec<u8>| good(store.put_if_absent("k/1", bytes)) == Put::Created;
        let threads: Vec<_> = contents
            .iter()
            .map(|bytes| scope.spawn(move || put(bytes)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().is_ok_and(|won| won))
            .collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = won.iter().position(|won| *won);
    assert_eq!(
        Some(good(store.get("k/1", 100_000))),
        winner.map(|n| contents[n].clone())
    );
}

/// An object larger than asked for is refused instead of read.
pub fn reading_is_bounded(store: &dyn Store) {
    good(store.put_if_absent("k", &[7; 100]));
    assert_eq!(good(store.get("k", 100)).len(), 100);
    let kind = store.get("k", 99).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::FileTooLarge));
}

/// Reading and opening what is not there says so.
pub fn what_is_absent_is_not_found(store: &dyn Store) {
    let read = store.get("no/such", 10).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::NotFound));
    assert!(
        store
            .open("no/such")
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    );
    assert!(content(store, &key(1, 0)).is_none());
}

/// A folder lists what is in and below it, in order, after a key, and nothing else.
pub fn keys_are_listed_in_order(store: &dyn Store) {
    assert_eq!(good(store.list("a/", "")), Vec::<String>::new());
    for key in ["a/2", "a/10", "a/b/c", "ab/1", "b/1"] {
        good(store.put_if_absent(key, b""));
    }
    assert_eq!(good(store.list("a/", "")), ["a/10", "a/2", "a/b/c"]);
    assert_eq!(good(store.list("a/", "a/10")), ["a/2", "a/b/c"]);
    assert_eq!(good(store.list("a/", "a/z")), Vec::<String>::new());
}

/// A deleted object is gone, and deleting it again is no failure.
pub fn deleting_twice_is_no_failure(store: &dyn Store) {
    good(store.put_if_absent("k/1", b"x"));
    good(store.delete("k/1"));
    good(store.delete("k/1"));
    good(store.delete("never/was"));
    assert!(store.get("k/1", 10).is_err());
    assert_eq!(good(store.put_if_absent("k/1", b"y")), Put::Created);
}

/// A file is listed only when it is revealed, yet whoever knows its key can read it before: the record may exist
/// already.
pub fn a_staged_file_is_hidden_until_revealed(store: &dyn Store) {
    let (first, second) = (key(1, 0), key(1, 1));
    let mut stage = good(store.stage(&batch(1)));
    write(stage.as_mut(), &first, b"one");
    write(stage.as_mut(), &second, b"two");
    good(stage.seal());
    assert_eq!(good(stage.keys()), [first.clone(), second.clone()]);
    assert_eq!(good(store.list("flows/", "")), Vec::<String>::new());
    assert_eq!(content(store, &first).as_deref(), Some(b"one".as_slice()));
    good(stage.reveal(std::slice::from_ref(&first)));
    assert_eq!(good(store.list("flows/", "")), std::slice::from_ref(&first));
    good(stage.reveal(std::slice::from_ref(&second)));
    good(stage.discard());
    assert_eq!(good(store.list("flows/", "")), [first.clone(), second]);
    assert_eq!(content(store, &first).as_deref(), Some(b"one".as_slice()));
}

/// Ranges are read exactly; what reaches past the end is an error.
pub fn ranges_are_exact(store: &dyn Store) {
    let mut stage = good(store.stage(&batch(1)));
    write(stage.as_mut(), &key(1, 0), b"0123456789");
    good(stage.seal());
    good(stage.reveal(&[key(1, 0)]));
    let reader = good(store.open(&key(1, 0)));
    assert_eq!(reader.size(), 10);
    let mut three = [0; 3];
    good(reader.read_exact_at(&mut three, 7));
    assert_eq!(&three, b"789");
    good(reader.read_exact_at(&mut three, 0));
    assert_eq!(&three, b"012");
    assert!(reader.read_exact_at(&mut three, 8).is_err());
    assert!(reader.read_exact_at(&mut three, u64::MAX).is_err());
}

/// A roll forward that is repeated finds its files in place.
pub fn revealing_twice_is_no_failure(store: &dyn Store) {
    let mut stage = good(store.stage(&batch(1)));
    write(stage.as_mut(), &key(1, 0), b"one");
    good(stage.reveal(&[key(1, 0)]));
    good(stage.reveal(&[key(1, 0)]));
    assert_eq!(
        content(store, &key(1, 0)).as_deref(),
        Some(b"one".as_slice())
    );
    assert!(stage.reveal(&[key(1, 1)]).is_err());
}

/// A discarded batch leaves nothing to read, list or sweep.
pub fn a_discarded_stage_leaves_nothing(store: &dyn Store) {
    let mut stage = good(store.stage(&batch(1)));
    write(stage.as_mut(), &key(1, 0), b"one");
    good(stage.discard());
    assert!(content(store, &key(1, 0)).is_none());
    assert!(good(store.orphans()).is_empty());
}

/// No two writers share a stage.
pub fn a_batch_is_staged_once(store: &dyn Store) {
    let stage = good(store.stage(&batch(1)));
    assert!(store.stage(&batch(1)).is_err());
    good(stage.discard());
}

/// Nobody takes the stage of a living writer.
pub fn a_living_stage_is_no_orphan(store: &dyn Store) {
    let mut stage = good(store.stage(&batch(1)));
    write(stage.as_mut(), &key(1, 0), b"one");
    assert!(good(store.orphans()).is_empty());
    good(stage.seal());
    assert!(good(store.orphans()).is_empty());
}

/// A dead writer's files can be put in place by another.
pub fn an_orphan_can_be_rolled_forward(store: &dyn Store) {
    let mut stage = good(store.stage(&batch(1)));
    write(stage.as_mut(), &key(1, 0), b"one");
    write(stage.as_mut(), &key(1, 1), b"two");
    good(stage.seal());
    good(stage.reveal(&[key(1, 1)]));
    drop(stage);
    let mut orphans = good(store.orphans());
    assert_eq!(orphans.len(), 1);
    // Held now: a second sweep does not get it.
    assert!(good(store.orphans()).is_empty());
    let mut orphan = orphans.remove(0);
    assert_eq!(orphan.batch(), &batch(1));
    assert_eq!(good(orphan.keys()), [key(1, 0)]);
    good(orphan.reveal(&[key(1, 0), key(1, 1)]));
    good(orphan.discard());
    assert_eq!(
        content(store, &key(1, 0)).as_deref(),
        Some(b"one".as_slice())
    );
    assert_eq!(
        content(store, &key(1, 1)).as_deref(),
        Some(b"two".as_slice())
    );
    assert!(good(store.orphans()).is_empty());
}

/// A dead writer's files can be removed by another, and one that dies doing so leaves an orphan again.
pub fn an_orphan_can_be_discarded(store: &dyn Store) {
    let mut stage = good(store.stage(&batch(1)));
    write(stage.as_mut(), &key(1, 0), b"one");
    drop(stage);
    drop(good(store.orphans()));
    let orphans = good(store.orphans());
    assert_eq!(orphans.len(), 1);
    orphans
        .into_iter()
        .for_each(|orphan| good(orphan.discard()));
    assert!(content(store, &key(1, 0)).is_none());
    assert!(good(store.orphans()).is_empty());
}

/// A file that was begun and not finished goes away with its stage.
pub fn an_unfinished_file_is_not_revealed(store: &dyn Store) {
    let mut stage = good(store.stage(&batch(1)));
    let mut sink = good(stage.create(&key(1, 0)));
    good(sink.write_all(b"half"));
    drop(sink);
    good(stage.discard());
    assert!(content(store, &key(1, 0)).is_none());
    assert_eq!(good(store.list("flows/", "")), Vec::<String>::new());
}
