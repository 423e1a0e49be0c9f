//! A batch: files staged, then one record that makes them visible together with the checkpoints.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;

use crate::LakeError;
use crate::checkpoint::{CheckpointDelta, Gap, Position};
use crate::commit::{AnalysedHour, CommitRecord, FileEntry, ForgottenShard, Reopened, VERSION};
use crate::error::Conflict;
use crate::lake::Lake;
use crate::layout::{BatchId, Hour, Partition, commit_key};
use crate::log::read_record;
use crate::recover::settle;
use crate::state::{Claims, Snapshot};
use crate::store::{Put, Stage, StoreError, token};
use crate::table::{Row, Table};
use crate::write::Parts;

/// Rows and text that [`Batch::write_rows`] puts into one record batch at most.
const CHUNK_ROWS: usize = 64 * 1024;
const CHUNK_TEXT_BYTES: usize = 64 * 1024 * 1024;

/// What one writer wants to change, together or not at all.
///
/// Nothing is visible before [`publish`](Self::publish). A batch that is dropped leaves nothing behind.
#[derive(Debug)]
pub struct Batch {
    lake: Lake,
    id: BatchId,
    base: Snapshot,
    stage: Option<Box<dyn Stage>>,
    parts: Parts,
    removed: BTreeSet<String>,
    unchanged: BTreeSet<(Table, Partition)>,
    checkpoints: Vec<CheckpointDelta>,
    analysed: Vec<AnalysedHour>,
    reopened: Vec<Reopened>,
    abandoned: Vec<BatchId>,
    forgotten: Vec<ForgottenShard>,
    failed: bool,
}

/// What a batch changed.
#[derive(Debug)]
pub struct Commit {
    /// Number of the commit; of the head, when the batch was empty.
    pub number: u64,
    /// Files that became visible.
    pub added: Vec<FileEntry>,
    /// Number of files that are visible no longer.
    pub removed: usize,
    /// Positions that were skipped between what was read before and what this batch read.
    pub gaps: Vec<Gap>,
    /// What could not be tidied up. The commit holds; readers of ours see all of it, and the next open puts the
    /// files in place for the others.
    pub leftover: Option<LakeError>,
}

impl Batch {
    pub(crate) fn new(lake: Lake, writer: &str, base: Snapshot) -> Self {
        let id = BatchId::new(writer, base.number, token());
        Self {
            lake,
            base,
            stage: None,
            parts: Parts::new(id.clone()),
            id,
            removed: BTreeSet::new(),
            unchanged: BTreeSet::new(),
            checkpoints: Vec::new(),
            analysed: Vec::new(),
            reopened: Vec::new(),
            abandoned: Vec::new(),
            forgotten: Vec::new(),
            failed: false,
        }
    }

    /// The id of the batch, as records and file names carry it.
    pub fn id(&self) -> &BatchId {
        &self.id
    }

    /// What was visible when the batch began.
    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    /// Adds rows to a partition. They are written out as they come; several calls for one partition make one file.
    ///
    /// The batch must have the columns of the table. In tables cut by hour every row's time must lie in the hour.
    /// After a failure the batch can only be dropped.
    pub fn write(
        &mut self,
        table: Table,
        partition: Partition,
        rows: &RecordBatch,
    ) -> Result<(), LakeError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = crate::write::check(table, partition, rows)?;
        self.failed = true;
        self.ensure_stage()?;
        if let Some(stage) = self.stage.as_deref_mut() {
            self.parts.write(stage, table, partition, &rows)?;
        }
        self.failed = false;
        Ok(())
    }

    /// Ends the file of a partition, so that it needs no more memory; rows that come all the same make another file. The path of the
    /// file that was ended; nothing where nothing was written since the last one. After a failure the batch can only be dropped.
    pub fn end(&mut self, table: Table, partition: Partition) -> Result<Option<String>, LakeError> {
        let failed = std::mem::replace(&mut self.failed, true);
        let ended = self.parts.end((table, partition))?;
        self.failed = failed;
        Ok(ended)
    }

    /// Adds rows to a partition of their table, a bounded number at a time.
    pub fn write_rows<R: Row>(
        &mut self,
        partition: Partition,
        rows: &[R],
    ) -> Result<(), LakeError> {
        let mut from = 0;
        let mut text_bytes = 0;
        for (n, row) in rows.iter().enumerate() {
            text_bytes += row.text_bytes();
            let full = n + 1 - from == CHUNK_ROWS || text_bytes >= CHUNK_TEXT_BYTES;
            if full || n + 1 == rows.len() {
                self.write(R::TABLE, partition, &R::to_batch(&rows[from..=n]))?;
                from = n + 1;
                text_bytes = 0;
            }
        }
        Ok(())
    }

    /// Removes what is visible in a partition, to be replaced by what this batch writes there. Refused at
    /// publishing when the partition changed since the batch began.
    pub fn replace(&mut self, table: Table, partition: Partition) {
        let files = self.base.files_in(table, partition);
        self.removed
            .extend(files.iter().map(|file| file.path.clone()));
        self.expect_unchanged(table, partition);
    }

    /// Removes one file. Refused at publishing when it was removed already.
    pub fn remove(&mut self, file: &FileEntry) {
        self.removed.insert(file.path.clone());
    }

    /// Refuses to publish when the partition changed since the batch began, because what is written depends on
    /// what was there.
    pub fn expect_unchanged(&mut self, table: Table, partition: Partition) {
        self.unchanged.insert((table, partition));
    }

    /// Moves a checkpoint: the batch holds everything in `(from..to]` of the shard. Refused at publishing when the
    /// shard was read past `from` already, see [`Checkpoints::advance`](crate::checkpoint::Checkpoints::advance).
    pub fn advance(&mut self, source: &str, shard: &str, from: Position, to: Position) {
        let (source, shard) = (source.to_string(), shard.to_string());
        self.checkpoints.push(CheckpointDelta {
            source,
            shard,
            from,
            to,
        });
    }

    /// Lets the position of a shard be kept no longer, because it will never be read again; see [`ForgottenShard`].
    pub fn forget(&mut self, source: &str, shard: &str) {
        let (source, shard) = (source.to_string(), shard.to_string());
        self.forgotten.push(ForgottenShard { source, shard });
    }

    /// Notes that an hour was analysed on the snapshot with number `at_snapshot`.
    pub fn note_analysed(&mut self, hour: Hour, at_snapshot: u64) {
        self.analysed.push(AnalysedHour {
            hour,
            at: at_snapshot,
        });
    }

    /// Lets the analysed hours that touch a stretch be analysed again: half-open, in microseconds since the epoch.
    pub fn reopen(&mut self, from_us: i64, to_us: i64) {
        self.reopened.push(Reopened { from_us, to_us });
    }

    /// Gives up batches of others: once this is published they cannot be any more.
    pub(crate) fn abandon(&mut self, batches: impl IntoIterator<Item = BatchId>) {
        self.abandoned.extend(batches);
    }

    /// Makes everything visible at once. Another writer who was first is no obstacle unless the two contradict
    /// each other; then nothing is changed.
    pub fn publish(mut self) -> Result<Commit, LakeError> {
        if self.failed {
            return Err(LakeError::Incomplete {
                batch: self.id.to_string(),
            });
        }
        let added = self.parts.finish()?;
        let mut record = CommitRecord {
            version: VERSION,
            number: 0,
            batch: self.id.clone(),
            added,
            removed: self.removed.iter().cloned().collect(),
            checkpoints: std::mem::take(&mut self.checkpoints),
            analysed: std::mem::take(&mut self.analysed),
            reopened: std::mem::take(&mut self.reopened),
            abandoned: std::mem::take(&mut self.abandoned),
            forgotten: std::mem::take(&mut self.forgotten),
        };
        if record.is_empty() {
            let number = self.base.number;
            return Ok(Commit {
                number,
                added: Vec::new(),
                removed: 0,
                gaps: Vec::new(),
                leftover: None,
            });
        }
        // Even a batch without files needs its stage while it removes some: it is what a sweep finds.
        if !record.removed.is_empty() {
            self.ensure_stage()?;
        }
        if let Some(stage) = &mut self.stage {
            stage.seal()?;
        }
        let gaps = self.record(&mut record)?;
        let settled = match self.stage.take() {
            Some(stage) => settle(&self.lake, stage, &record),
            None => Ok(()),
        };
        let tidied = settled.and_then(|()| self.lake.snapshot().map(drop));
        let leftover = tidied
            .and_then(|()| self.lake.write_snapshot_if_due())
            .err();
        let removed = record.removed.len();
        Ok(Commit {
            number: record.number,
            added: record.added,
            removed,
            gaps,
            leftover,
        })
    }

    /// Creates the record under the next free number, looking at the head again whenever another was faster.
    fn record(&mut self, record: &mut CommitRecord) -> Result<Vec<Gap>, LakeError> {
        let claims = Claims {
            unchanged: self.unchanged.iter().copied().collect(),
            removed: record.removed.clone(),
        };
        loop {
            let head = self.lake.snapshot()?;
            let gaps = head.state().check(self.base.number, &claims, record);
            let gaps = gaps.map_err(|cause: Conflict| LakeError::Refused {
                batch: self.id.to_string(),
                cause,
            })?;
            record.number = head.number + 1;
            let put = self.put(record).map_err(|cause| {
                // The record may exist all the same. Then its files must stay, and the next open decides.
                self.stage = None;
                LakeError::Interrupted {
                    batch: self.id.to_string(),
                    cause,
                }
            })?;
            let ours = match put {
                Put::Created => true,
                // After a lost answer the one who was first may be ourselves.
                Put::Exists => self
                    .is_ours(record.number)
                    .inspect_err(|_| self.stage = None)?,
            };
            if ours {
                return Ok(gaps);
            }
        }
    }

    /// Tries twice: the second try also finds out whether the first one worked in spite of its failure.
    fn put(&self, record: &CommitRecord) -> Result<Put, StoreError> {
        let (key, bytes) = (commit_key(record.number), record.to_bytes());
        let store = self.lake.store();
        store
            .put_if_absent(&key, &bytes)
            .or_else(|_| store.put_if_absent(&key, &bytes))
    }

    fn is_ours(&self, number: u64) -> Result<bool, LakeError> {
        let first = read_record(self.lake.store(), number)?;
        // Something is there that cannot be read, such as a broken link.
        let first = first.ok_or_else(|| LakeError::HoleInLog {
            key: commit_key(number),
        })?;
        Ok(first.batch == self.id)
    }

    fn ensure_stage(&mut self) -> Result<(), LakeError> {
        if self.stage.is_none() {
            self.stage = Some(self.lake.store().stage(&self.id)?);
        }
        Ok(())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.parts.abandon();
        if let Some(stage) = self.stage.take() {
            // What stays behind is swept at the next open.
            let _ = stage.discard();
        }
    }
}

impl CommitRecord {
    fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.checkpoints.is_empty()
            && self.analysed.is_empty()
            && self.reopened.is_empty()
            && self.abandoned.is_empty()
            && self.forgotten.is_empty()
    }
}
