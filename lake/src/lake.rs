//! The lake: opening, creating, looking at it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::commit::{check_version, json};
use crate::layout::MARKER;
use crate::publish::Batch;
use crate::state::{Snapshot, State};
use crate::store::{Local, Store, StoreError};
use crate::table::Table;
use crate::{LakeError, log, recover};

/// The version of the layout as a whole.
const VERSION: u64 = 1;

/// A lake. Cheap to clone; clones share what they know of the log.
#[derive(Debug, Clone)]
pub struct Lake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    head: Mutex<Arc<State>>,
    last_snapshot: AtomicU64,
}

/// What makes a directory a lake.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    version: u64,
    format: String,
}

impl Lake {
    /// Opens the lake in the directory `root` and settles what interrupted writers left.
    ///
    /// Where the directory cannot be written to, the lake can still be read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, LakeError> {
        Self::open_on(Arc::new(Local::open(root.as_ref())?))
    }

    /// Opens the lake in the directory `root`; where nothing is, makes one.
    pub fn create_or_open(root: impl AsRef<Path>) -> Result<Self, LakeError> {
        Self::create_or_open_on(Arc::new(Local::create(root.as_ref())?))
    }

    /// Opens the lake on a store.
    pub fn open_on(store: Arc<dyn Store>) -> Result<Self, LakeError> {
        if !has_marker(store.as_ref())? {
            let root = store.name();
            let fresh = store.is_fresh()?;
            return Err(if fresh {
                LakeError::NoLake { root }
            } else {
                LakeError::Foreign { root }
            });
        }
        let (state, snapshot) = log::load(store.as_ref())?;
        let shared = Shared {
            store,
            head: Mutex::new(Arc::new(state)),
            last_snapshot: AtomicU64::new(snapshot),
        };
        let lake = Self {
            shared: Arc::new(shared),
        };
        match recover::sweep(&lake) {
            Err(LakeError::Store(error) | LakeError::Interrupted { cause: error, .. })
                if is_read_only(&error) => {}
            other => other?,
        }
        Ok(lake)
    }

    /// Opens the lake on a store; where nothing is, makes one.
    pub fn create_or_open_on(store: Arc<dyn Store>) -> Result<Self, LakeError> {
        if !has_marker(store.as_ref())? {
            if !store.is_fresh()? {
                return Err(LakeError::Foreign { root: store.name() });
            }
            let format = "flowaudit lake".to_string();
            store.put_if_absent(
                MARKER,
                &json(&Marker {
                    version: VERSION,
                    format,
                }),
            )?;
        }
        Self::open_on(store)
    }

    /// The place as a person would name it: the directory with links resolved.
    pub fn name(&self) -> String {
        self.shared.store.name()
    }

    /// What is visible now: reads the records that were added since the last look.
    pub fn snapshot(&self) -> Result<Snapshot, LakeError> {
        let mut head = self.head();
        // Without a new record the state is not touched; with one it is copied only if somebody holds it.
        if let Some(record) = log::read_record(self.store(), head.number + 1)? {
            let mut next = State::clone(&head);
            log::apply(&mut next, &record)?;
            let caught_up = log::catch_up(self.store(), &mut next);
            *head = Arc::new(next);
            caught_up?;
        }
        Ok(Snapshot::new(head.clone()))
    }

    /// Begins a batch on what is visible now. `writer` is for people who read the log: `ingest`, `analyze`.
    pub fn batch(&self, writer: &str) -> Result<Batch, LakeError> {
        Ok(self.batch_on(writer, self.snapshot()?))
    }

    /// Begins a batch whose content was computed from `base`: what it replaces or relies on must not have
    /// changed since.
    pub fn batch_on(&self, writer: &str, base: Snapshot) -> Batch {
        Batch::new(self.clone(), writer, base)
    }

    /// Sums over what is visible now.
    pub fn stats(&self) -> Result<Stats, LakeError> {
        let snapshot = self.snapshot()?;
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            let mut sums = TableStats::default();
            for file in snapshot.files(table) {
                sums.files += 1;
                sums.rows = sums.rows.saturating_add(file.rows);
                sums.bytes = sums.bytes.saturating_add(file.bytes);
                sums.min_us = sums.min_us.into_iter().chain(file.min_us).min();
                sums.max_us = sums.max_us.max(file.max_us);
            }
            sums.partitions = snapshot.partitions(table).count() as u64;
            tables.insert(table, sums);
        }
        Ok(Stats {
            commits: snapshot.number,
            tables,
            shards: snapshot.checkpoints().iter().count() as u64,
            checkpoint_gaps: snapshot.checkpoints().gaps().len() as u64,
        })
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.shared.store.as_ref()
    }

    fn head(&self) -> MutexGuard<'_, Arc<State>> {
        // The head is replaced as a whole, so it is sound even if a thread panicked while it held the lock.
        self.shared
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a snapshot of the log if one is due. It only saves time, so the caller may go on without it.
    pub(crate) fn write_snapshot_if_due(&self) -> Result<(), LakeError> {
        let state = self.head().clone();
        let last = self.shared.last_snapshot.load(Ordering::Relaxed);
        if log::is_snapshot_due(&state, last) {
            log::write_snapshot(self.store(), &state)?;
            self.shared
                .last_snapshot
                .store(state.number, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn has_marker(store: &dyn Store) -> Result<bool, LakeError> {
    let Some(bytes) = log::get(store, MARKER)? else {
        return Ok(false);
    };
    let checked = check_version(&bytes, VERSION);
    checked.map(drop).map_err(|cause| LakeError::Format {
        key: MARKER.to_string(),
        cause,
    })?;
    Ok(true)
}

fn is_read_only(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    )
}

/// Sums over a lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Number of commits.
    pub commits: u64,
    /// Sums of each table.
    pub tables: BTreeMap<Table, TableStats>,
    /// Shards, objects and files with a checkpoint.
    pub shards: u64,
    /// Stretches of positions that sources skipped.
    pub checkpoint_gaps: u64,
}

/// Sums over one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Visible files.
    pub files: u64,
    /// Partitions that hold files.
    pub partitions: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Smallest value of the time column in microseconds since the epoch.
    pub min_us: Option<i64>,
    /// Largest value of the time column in microseconds since the epoch.
    pub max_us: Option<i64>,
}
