//! The state of a lake at one commit: what the log adds up to. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoints, Gap};
use crate::checksum::seal;
pub use crate::commit::FileEntry;
use crate::commit::{CommitRecord, FormatError, Reopened, check_entry, check_sealed};
use crate::layout::{BatchId, HOUR_MARGIN_US, Hour, Partition, parse_file_key};
use crate::table::Table;

/// The version of the snapshot files this program writes.
pub const VERSION: u64 = 2;

/// Reopened stretches are looked through every this many commits, and those dropped that concern no hour.
const PRUNE_EVERY: u64 = 64;

/// What is visible at one commit.
///
/// Cheap to clone; never changes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Number of the last commit it includes; 0 when there is none.
    pub number: u64,
    state: Arc<State>,
}

impl Snapshot {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self {
            number: state.number,
            state,
        }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The files of a table, by partition and then in the order they were added.
    pub fn files(&self, table: Table) -> impl Iterator<Item = &FileEntry> {
        self.state
            .partitions(table)
            .flat_map(|(_, files)| files.iter())
    }

    /// The files of one partition, in the order they were added.
    pub fn files_in(&self, table: Table, partition: Partition) -> &[FileEntry] {
        self.state
            .files
            .get(&(table, partition))
            .map_or(&[], |files| files.as_slice())
    }

    /// The partitions of a table that hold files, in order.
    pub fn partitions(&self, table: Table) -> impl Iterator<Item = Partition> {
        self.state.partitions(table).map(|(partition, _)| partition)
    }

    /// The hours of a table that hold files, in order; empty for tables that are not cut by hour.
    pub fn hours(&self, table: Table) -> Vec<Hour> {
        let hour = |partition| match partition {
            Partition::Hour(hour) => Some(hour),
            _ => None,
        };
        self.partitions(table).filter_map(hour).collect()
    }

    /// Rows of a table.
    pub fn rows(&self, table: Table) -> u64 {
        self.files(table)
            .fold(0, |sum, file| sum.saturating_add(file.rows))
    }

    /// How far every source was read.
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.state.checkpoints
    }

    /// The snapshot on which an hour was last analysed; `None` when it never was.
    pub fn analysed(&self, hour: Hour) -> Option<u64> {
        self.state.analysed.get(&hour).copied()
    }

    /// Number of the last commit that added or removed a file there; `None` when none ever did.
    pub fn changed_at(&self, table: Table, partition: Partition) -> Option<u64> {
        self.state.changed.get(&(table, partition)).copied()
    }

    /// Number of the last commit that changed a table at all.
    pub fn table_changed_at(&self, table: Table) -> Option<u64> {
        let changed = self.state.changed.range((table, Partition::None)..);
        changed
            .take_while(|((of, _), _)| *of == table)
            .map(|(_, number)| *number)
            .max()
    }

    /// The stretches that commits after `number` reopened, half-open in microseconds since the epoch. Stretches
    /// that concern no hour analysed before they were reopened may be left out.
    pub fn reopened_since(&self, number: u64) -> Vec<(i64, i64)> {
        let later = self
            .state
            .reopened
            .iter()
            .filter(|reopened| reopened.by > number);
        later
            .map(|reopened| (reopened.from_us, reopened.to_us))
            .collect()
    }

    /// Whether an hour, or a stretch within its margin ([`HOUR_MARGIN_US`](crate::layout::HOUR_MARGIN_US)), was
    /// reopened after it was last analysed, or never was analysed.
    pub fn is_open(&self, hour: Hour) -> bool {
        match self.analysed(hour) {
            None => true,
            Some(at) => self.state.reopened.iter().any(|reopened| {
                reopened.by > at && hour.is_concerned_by(reopened.from_us, reopened.to_us)
            }),
        }
    }
}

/// A reopened stretch with the commit that reopened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReopenedBy {
    by: u64,
    from_us: i64,
    to_us: i64,
}

/// What the log adds up to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub(crate) number: u64,
    files: BTreeMap<(Table, Partition), Arc<Vec<FileEntry>>>,
    changed: BTreeMap<(Table, Partition), u64>,
    pub(crate) checkpoints: Checkpoints,
    analysed: BTreeMap<Hour, u64>,
    reopened: Vec<ReopenedBy>,
    abandoned: BTreeSet<BatchId>,
}

/// Why a record does not follow from the state before it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is not the next one.
    #[error("it is commit {found}, not {expected}")]
    NotNext {
        /// Its number.
        found: u64,
        /// The number of the next one.
        expected: u64,
    },
    /// It removes a file that is not there.
    #[error("it removes `{0}`, which is not there")]
    NotThere(String),
    /// It adds a file that is there.
    #[error("it adds `{0}`, which is there already")]
    AddedTwice(String),
    /// Its checkpoints do not fit.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::StaleDelta),
    /// It names a file outside the tables.
    #[error(transparent)]
    Layout(#[from] crate::layout::LayoutError),
}

impl State {
    fn partitions(&self, table: Table) -> impl Iterator<Item = (Partition, &Arc<Vec<FileEntry>>)> {
        let tail = self.files.range((table, Partition::None)..);
        let own = tail.take_while(move |((of, _), _)| *of == table);
        own.map(|((_, partition), files)| (*partition, files))
    }

    /// Number of visible files.
    pub(crate) fn file_count(&self) -> usize {
        self.files.values().map(|files| files.len()).sum()
    }

    /// Every visible file.
    pub(crate) fn all_files(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.values().flat_map(|files| files.iter())
    }

    /// Whether a file is visible.
    pub(crate) fn holds(&self, key: &str) -> bool {
        let Ok(parsed) = parse_file_key(key) else {
            return false;
        };
        let files = self.files.get(&(parsed.table, parsed.partition));
        files.is_some_and(|files| files.iter().any(|file| file.path == key))
    }

    /// Number of the last commit that changed a partition.
    pub(crate) fn changed_at(&self, table: Table, partition: Partition) -> Option<u64> {
        self.changed.get(&(table, partition)).copied()
    }

    /// The state after a record, and the gaps its checkpoints leave. A refused record changes nothing.
    pub fn apply(&mut self, record: &CommitRecord) -> Result<Vec<Gap>, ApplyError> {
        let expected = self.number + 1;
        if record.number != expected {
            return Err(ApplyError::NotNext {
                found: record.number,
                expected,
            });
        }
        let mut touched: BTreeMap<(Table, Partition), Vec<FileEntry>> = BTreeMap::new();
        let before = |place: &(Table, Partition)| {
            self.files
                .get(place)
                .map_or(Vec::new(), |files| files.to_vec())
        };
        for key in &record.removed {
            let parsed = parse_file_key(key)?;
            let place = (parsed.table, parsed.partition);
            let files = touched.entry(place).or_insert_with(|| before(&place));
            let at = files.iter().position(|file| file.path == *key);
            files.remove(at.ok_or_else(|| ApplyError::NotThere(key.clone()))?);
        }
        for entry in &record.added {
            let place = (entry.table, entry.partition);
            let files = touched.entry(place).or_insert_with(|| before(&place));
            if files.iter().any(|file| file.path == entry.path) {
                return Err(ApplyError::AddedTwice(entry.path.clone()));
            }
            files.push(entry.clone());
        }
        let gaps = self.checkpoints.advance(&record.checkpoints)?;
        // Nothing below can fail.
        for forgotten in &record.forgotten {
            self.checkpoints.forget(&forgotten.source, &forgotten.shard);
        }
        for (place, files) in touched {
            self.changed.insert(place, record.number);
            if files.is_empty() {
                self.files.remove(&place);
            } else {
                self.files.insert(place, Arc::new(files));
            }
        }
        for analysed in &record.analysed {
            self.analysed.insert(analysed.hour, analysed.at);
        }
        let by = record.number;
        let reopened = record.reopened.iter();
        self.reopened
            .extend(reopened.map(|&Reopened { from_us, to_us }| ReopenedBy { by, from_us, to_us }));
        self.abandoned.extend(record.abandoned.iter().cloned());
        self.number = record.number;
        if self.number.is_multiple_of(PRUNE_EVERY) {
            self.prune_reopened();
        }
        Ok(gaps)
    }

    /// Drops stretches that no hour still waits for: hours analysed since have seen them, hours never analysed
    /// are open anyway. Depends on the log alone, so every replay comes to the same state.
    fn prune_reopened(&mut self) {
        let analysed = &self.analysed;
        self.reopened.retain(|reopened| {
            let (from_us, to_us) = (reopened.from_us, reopened.to_us);
            let first = Hour::of_us(from_us.saturating_sub(HOUR_MARGIN_US));
            let mut hours = analysed.range(first..);
            hours
                .by_ref()
                .take_while(|(hour, _)| hour.is_concerned_by(from_us, to_us))
                .any(|(_, at)| *at < reopened.by)
        });
    }

    /// The state as a snapshot file holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let changed = self.changed.iter();
        let bytes = crate::commit::json(&StateFile {
            version: VERSION,
            number: self.number,
            files: self.all_files().cloned().collect(),
            changed: changed
                .map(|((table, partition), by)| (*table, *partition, *by))
                .collect(),
            checkpoints: self.checkpoints.clone(),
            analysed: self
                .analysed
                .iter()
                .map(|(hour, at)| (*hour, *at))
                .collect(),
            reopened: self.reopened.clone(),
            abandoned: self.abandoned.iter().cloned().collect(),
        });
        seal(bytes)
    }

    /// Reads the snapshot file of commit `number`.
    pub fn parse(number: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let (_, bytes) = check_sealed(bytes, VERSION)?;
        let file: StateFile = serde_json::from_slice(&bytes).map_err(FormatError::Garbage)?;
        if file.number != number {
            let text = format!("it calls itself snapshot {}", file.number);
            return Err(FormatError::Contradiction(text));
        }
        let mut files: BTreeMap<_, Vec<FileEntry>> = BTreeMap::new();
        for entry in file.files {
            check_entry(&entry)?;
            files
                .entry((entry.table, entry.partition))
                .or_default()
                .push(entry);
        }
        Ok(Self {
            number,
            files: files
                .into_iter()
                .map(|(place, files)| (place, Arc::new(files)))
                .collect(),
            changed: file
                .changed
                .into_iter()
                .map(|(table, partition, by)| ((table, partition), by))
                .collect(),
            checkpoints: file.checkpoints,
            analysed: file.analysed.into_iter().collect(),
            reopened: file.reopened,
            abandoned: file.abandoned.into_iter().collect(),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    version: u64,
    number: u64,
    files: Vec<FileEntry>,
    changed: Vec<(Table, Partition, u64)>,
    checkpoints: Checkpoints,
    analysed: Vec<(Hour, u64)>,
    reopened: Vec<ReopenedBy>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    abandoned: Vec<BatchId>,
}

/// What a batch asks for beyond adding files; kept apart so that the rules can be read in one place.
#[derive(Debug, Default, Clone)]
pub(crate) struct Claims {
    /// Partitions that must not have changed since the batch began.
    pub(crate) unchanged: Vec<(Table, Partition)>,
    /// Files it removes.
    pub(crate) removed: Vec<String>,
}

impl State {
    /// Whether a batch that began at `base` may be published on this state.
    ///
    /// | meanwhile                                          | result  |
    /// |----------------------------------------------------|---------|
    /// | others added files to a partition it only adds to  | fine    |
    /// | a partition it replaces or relies on changed       | refused |
    /// | a file it removes was removed                      | refused |
    /// | a checkpoint it moves was moved past its beginning | refused |
    /// | its writer was taken for dead                      | refused |
    pub(crate) fn check(
        &self,
        base: u64,
        claims: &Claims,
        record: &CommitRecord,
    ) -> Result<Vec<Gap>, crate::error::Conflict> {
        use crate::error::Conflict;
        if self.abandoned.contains(&record.batch) {
            return Err(Conflict::Abandoned);
        }
        for &(table, partition) in &claims.unchanged {
            if let Some(by) = self.changed_at(table, partition).filter(|by| *by > base) {
                return Err(Conflict::Partition {
                    table,
                    partition,
                    by,
                    base,
                });
            }
        }
        if let Some(key) = claims.removed.iter().find(|key| !self.holds(key)) {
            return Err(Conflict::Removed { key: key.clone() });
        }
        let mut checkpoints = self.checkpoints.clone();
        Ok(checkpoints.advance(&record.checkpoints)?)
    }
}
