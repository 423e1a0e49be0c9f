//! Reads the log: the newest usable snapshot of it, then every record after that one by one.

use std::io::ErrorKind;

use crate::LakeError;
use crate::commit::{CommitRecord, FormatError};
use crate::layout::{COMMITS, SNAPSHOTS, commit_key, number_of, snapshot_key};
use crate::state::State;
use crate::store::{Store, StoreError};

/// Far above anything we write: a record of a million files has 300 MB.
const OBJECT_BYTES_MAX: u64 = 1 << 30;

/// A snapshot of the log is written when at least this many commits follow the last one …
const SNAPSHOT_COMMITS_MIN: u64 = 64;
/// … and at least one for every so many visible files, so that writing snapshots costs each commit about as
/// much as this many files, however large the lake is.
const SNAPSHOT_FILES_PER_COMMIT: u64 = 32;
/// Older snapshots are kept so that one damaged file does not make the next open slow.
const SNAPSHOTS_KEPT: usize = 2;

/// The state at the head of the log, and the number of the newest snapshot that was used.
pub(crate) fn load(store: &dyn Store) -> Result<(State, u64), LakeError> {
    let (mut state, snapshot) = newest_snapshot(store)?;
    catch_up(store, &mut state)?;
    // Numbers follow each other, so a later record without the next one means that somebody removed it. Going
    // on would let a writer fill the hole.
    let later = store.list(COMMITS, &commit_key(state.number))?;
    if later.iter().any(|key| number_of(key).is_some()) {
        // Unless it was written since.
        catch_up(store, &mut state)?;
        let end = commit_key(state.number);
        if later
            .iter()
            .any(|key| number_of(key).is_some() && *key > end)
        {
            return Err(LakeError::HoleInLog {
                key: commit_key(state.number + 1),
            });
        }
    }
    Ok((state, snapshot))
}

fn newest_snapshot(store: &dyn Store) -> Result<(State, u64), LakeError> {
    let keys = store.list(SNAPSHOTS, "")?;
    for key in keys.iter().rev() {
        let Some(number) = number_of(key) else {
            continue;
        };
        // A snapshot only saves time: one that cannot be used is left to `verify`.
        let Ok(bytes) = store.get(key, OBJECT_BYTES_MAX) else {
            continue;
        };
        let Ok(state) = State::parse(number, &bytes) else {
            continue;
        };
        if read_record(store, number)?.is_none() {
            return Err(LakeError::HoleInLog {
                key: commit_key(number),
            });
        }
        return Ok((state, number));
    }
    Ok((State::default(), 0))
}

/// Applies the records that follow `state`. Returns how many there were.
pub(crate) fn catch_up(store: &dyn Store, state: &mut State) -> Result<u64, LakeError> {
    let before = state.number;
    while let Some(record) = read_record(store, state.number + 1)? {
        apply(state, &record)?;
    }
    Ok(state.number - before)
}

pub(crate) fn apply(state: &mut State, record: &CommitRecord) -> Result<(), LakeError> {
    state
        .apply(record)
        .map(drop)
        .map_err(|error| LakeError::Inconsistent {
            key: commit_key(record.number),
            reason: error.to_string(),
        })
}

/// The record of a commit; `None` when it does not exist.
pub(crate) fn read_record(
    store: &dyn Store,
    number: u64,
) -> Result<Option<CommitRecord>, LakeError> {
    let key = commit_key(number);
    let Some(bytes) = get(store, &key)? else {
        return Ok(None);
    };
    let record = CommitRecord::parse(number, &bytes);
    record
        .map(Some)
        .map_err(|cause| LakeError::Format { key, cause })
}

/// A small object; `None` when it does not exist.
pub(crate) fn get(store: &dyn Store, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match store.get(key, OBJECT_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a snapshot file as [`load`] would use it.
pub(crate) fn read_snapshot(store: &dyn Store, number: u64) -> Result<State, LakeError> {
    let key = snapshot_key(number);
    let bytes = store.get(&key, OBJECT_BYTES_MAX)?;
    State::parse(number, &bytes).map_err(|cause: FormatError| LakeError::Format { key, cause })
}

/// Whether a snapshot of `state` is due when the last one was written at commit `last`.
pub(crate) fn is_snapshot_due(state: &State, last: u64) -> bool {
    let since = state.number.saturating_sub(last);
    since >= SNAPSHOT_COMMITS_MIN
        && since.saturating_mul(SNAPSHOT_FILES_PER_COMMIT) >= state.file_count() as u64
}

/// Writes a snapshot of the log and removes those that are not needed any more.
pub(crate) fn write_snapshot(store: &dyn Store, state: &State) -> Result<(), StoreError> {
    store.put_if_absent(&snapshot_key(state.number), &state.to_bytes())?;
    let keys = store.list(SNAPSHOTS, "")?;
    let old = keys.len().saturating_sub(SNAPSHOTS_KEPT);
    keys[..old].iter().try_for_each(|key| store.delete(key))
}
