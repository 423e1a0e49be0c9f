//! Collects flows, gaps and rejects, and publishes them together with how far each input was read.
//!
//! A batch is bounded by rows, by bytes and by hours. What a batch holds is published whole or not at all; when another
//! writer changed an hour meanwhile, the batch is compared with the lake again and published anew.

use std::collections::BTreeMap;

use arrow_array::{BooleanArray, RecordBatch};
use chrono::{DateTime, Utc};
use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::layout::HOUR_MARGIN_US;

use flowaudit_lake::table::flows::{FlowRow, FlowsBuilder};
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::rejects::RejectRow;
use flowaudit_lake::{Batch, Conflict, Lake, LakeError, Partition, Snapshot, Table};

use crate::decode::split::KEPT_BYTES_MAX;
use crate::normalize::{Flow, Gap, GapReason};
use crate::recent::{Key, KeySet, Keys, Recent};
use crate::settings::Settings;
use crate::summary::Counts;

/// How often a batch is compared and published anew because another writer was faster.
///
/// Ingesters that share a logstore write into the same hours all the time.
const TRIES: usize = 64;

/// Rough size of a row in memory beside its text, in bytes.
const ROW_BYTES: usize = 160;

/// What the columns of a partition take before there are rows, in bytes.
const PARTITION_BYTES: usize = 64 * 1024;

/// Rows are held in pieces of this many: growing one large column costs more than filling small ones.
const PIECE_ROWS: usize = 64 * 1024;

/// What was read of one file or shard since the last publish.
#[derive(Debug, Clone)]
struct Advance {
    from: Position,
    to: Position,
}

/// The rows of one partition.
#[derive(Debug)]
struct Rows<B> {
    rows: B,
    keys: Vec<Key>,
    times: (i64, i64),
    /// Stretches whose analysis does not stand any longer when these rows come; half-open.
    reopens: Vec<(i64, i64)>,
}

/// Flows as they come: finished pieces and the one that grows.
#[derive(Debug, Default)]
struct FlowPieces {
    finished: Vec<RecordBatch>,
    growing: FlowsBuilder,
    grown: usize,
}

impl FlowPieces {
    fn push(&mut self, row: &FlowRow<'_>) {
        self.growing.push(row);
        self.grown += 1;
        if self.grown == PIECE_ROWS {
            self.finish_piece();
        }
    }

    fn finish_piece(&mut self) {
        self.finished.push(self.growing.finish());
        self.grown = 0;
    }

    fn finish(mut self) -> Vec<RecordBatch> {
        if self.grown > 0 {
            self.finish_piece();
        }
        self.finished
    }
}

impl<B: Default> Default for Rows<B> {
    fn default() -> Self {
        Rows {
            rows: B::default(),
            keys: Vec::new(),
            times: (i64::MAX, i64::MIN),
            reopens: Vec::new(),
        }
    }
}

impl<B> Rows<B> {
    fn note(&mut self, key: Key, time: i64) {
        self.keys.push(key);
        self.times = (self.times.0.min(time), self.times.1.max(time));
    }

    /// Lets what was analysed there be analysed again; stretches that touch become one.
    fn reopen(&mut self, from_us: i64, to_us: i64) {
        match self.reopens.last_mut() {
            Some(last) if from_us <= last.1 && last.0 <= to_us => {
                *last = (last.0.min(from_us), last.1.max(to_us));
            }
            _ => self.reopens.push((from_us, to_us)),
        }
    }
}

/// Stretches in order, those that touch as one.
fn joined(mut stretches: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    stretches.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// Where a record came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// The source, as the lake names it.
    pub(crate) source: &'a str,
    /// Position in it.
    pub(crate) position: u64,
}

/// Collects and publishes.
#[derive(Debug)]
pub(crate) struct Writer<'l> {
    lake: &'l Lake,
    settings: &'l Settings,
    ingest_us: i64,
    keys: Keys,
    recent: Recent,
    flows: BTreeMap<Partition, Rows<FlowPieces>>,
    gaps: BTreeMap<Partition, Rows<Vec<GapRow>>>,
    rejects: Vec<RejectRow>,
    /// Keys of this batch.
    seen: KeySet,
    /// By source and shard.
    advances: BTreeMap<(String, String), Vec<Advance>>,
    /// Stretches that a source knows it missed; no records, so not counted among them.
    missed: Vec<GapRow>,
    /// Sources and shards whose positions are kept no longer.
    forgotten: Vec<(String, String)>,
    rows: usize,
    bytes: usize,
    /// What is in this batch.
    pending: Counts,
    /// What was published.
    published: Counts,
}

impl<'l> Writer<'l> {
    /// Begins with nothing.
    pub(crate) fn new(lake: &'l Lake, settings: &'l Settings, now: DateTime<Utc>) -> Self {
        let keys = Keys::default();
        Writer {
            lake,
            settings,
            ingest_us: now.timestamp_micros(),
            recent: Recent::new(keys.clone(), settings.recent_keys_max),
            keys,
            flows: BTreeMap::new(),
            gaps: BTreeMap::new(),
            rejects: Vec::new(),
            seen: KeySet::default(),
            advances: BTreeMap::new(),
            missed: Vec::new(),
            forgotten: Vec::new(),
            rows: 0,
            bytes: 0,
            pending: Counts::default(),
            published: Counts::default(),
        }
    }

    /// Adds a flow, unless this batch holds it already.
    pub(crate) fn flow(&mut self, flow: &Flow<'_>, at: At<'_>) {
        self.pending.records += 1;
        let key = self.keys.flow(flow);
        if !self.seen.insert(key) {
            self.pending.duplicates += 1;
            return;
        }
        let partition = Partition::hour_of_us(flow.start_us);
        if !self.flows.contains_key(&partition) {
            self.bytes += PARTITION_BYTES;
        }
        let rows = self.flows.entry(partition).or_default();
        rows.note(key, flow.start_us);
        rows.rows.push(&FlowRow {
            start_us: flow.start_us,
            end_us: flow.end_us,
            ingest_us: self.ingest_us,
            eni_id: flow.eni_id,
            vm_id: flow.vm_id,
            vpc_id: flow.vpc_id,
            vswitch_id: flow.vswitch_id,
            account_id: flow.account_id,
            region: flow.region,
            direction: flow.direction.as_str(),
            src_addr: &flow.src_addr,
            src_port: flow.src_port.into(),
            dst_addr: &flow.dst_addr,
            dst_port: flow.dst_port.into(),
            protocol: flow.protocol.into(),
            packets: flow.packets,
            bytes: flow.bytes,
            tcp_flags: flow.tcp_flags.map(i32::from),
            action: flow.action.as_str(),
            log_status: "OK",
            traffic_path: flow.traffic_path,
            source: at.source,
            source_position: position(at),
        });
        // Texts are held once each; that all of them are new is the worst case.
        let texts = [
            Some(flow.eni_id),
            flow.vm_id,
            flow.vpc_id,
            flow.vswitch_id,
            flow.account_id,
            flow.region,
        ];
        let text_bytes: usize = texts.iter().flatten().map(|text| text.len()).sum();
        self.bytes += ROW_BYTES + text_bytes + flow.src_addr.len() + flow.dst_addr.len();
        self.rows += 1;
    }

    /// Adds a gap, unless this batch holds it already.
    pub(crate) fn gap(&mut self, gap: &Gap<'_>, at: At<'_>) {
        self.pending.records += 1;
        let key = self.keys.gap(gap);
        if !self.seen.insert(key) {
            self.pending.duplicates += 1;
            return;
        }
        let rows = self
            .gaps
            .entry(Partition::date_of_us(gap.from_us))
            .or_default();
        rows.note(key, gap.from_us);
        if gap.reason == GapReason::SkipData {
            // What looks unanswered near it may not have been.
            let from_us = gap.from_us.saturating_sub(HOUR_MARGIN_US);
            rows.reopen(from_us, gap.to_us.saturating_add(HOUR_MARGIN_US));
        }
        rows.rows.push(GapRow {
            eni_id: gap.eni_id.map(str::to_owned),
            from_us: gap.from_us,
            to_us: gap.to_us,
            reason: gap.reason.as_str().to_owned(),
            source: at.source.to_owned(),
            source_position: position(at),
        });
        self.bytes += ROW_BYTES + at.source.len() + gap.eni_id.map_or(0, str::len);
        self.rows += 1;
    }

    /// Keeps an input that could not become a flow.
    pub(crate) fn reject(&mut self, raw: &[u8], reason: String, at: At<'_>) {
        self.pending.records += 1;
        self.pending.rejects += 1;
        let kept = raw.get(..KEPT_BYTES_MAX.min(raw.len())).unwrap_or_default();
        let mut raw = String::from_utf8_lossy(kept).into_owned();
        if raw.len() > KEPT_BYTES_MAX {
            // A replaced byte takes three.
            raw.truncate(raw.floor_char_boundary(KEPT_BYTES_MAX));
        }
        self.bytes += ROW_BYTES + raw.len() + reason.len() + at.source.len();
        self.rows += 1;
        self.rejects.push(RejectRow {
            ingest_time_us: self.ingest_us,
            raw,
            reason,
            source: at.source.to_owned(),
            source_position: position(at),
        });
    }

    /// Counts an input that the lake keeps as a reject already.
    pub(crate) fn reject_again(&mut self) {
        self.pending.records += 1;
        self.pending.duplicates += 1;
    }

    /// Notes how far a shard of a source was read; published with what was read. Where `from` is not where the shard
    /// was left, the lake keeps the stretch between as a gap.
    pub(crate) fn advance(&mut self, source: &str, shard: &str, from: &Position, to: Position) {
        let place = (source.to_owned(), shard.to_owned());
        let advances = self.advances.entry(place).or_default();
        match advances.last_mut() {
            Some(advance) if advance.to == *from => advance.to = to,
            _ => {
                let from = from.clone();
                advances.push(Advance { from, to });
            }
        }
    }

    /// Notes a stretch of a source that will never be read.
    pub(crate) fn missed(&mut self, gap: GapRow) {
        self.missed.push(gap);
    }

    /// Lets the position of a shard be kept no longer: it will never be read again.
    pub(crate) fn forget(&mut self, source: &str, shard: &str) {
        self.forgotten.push((source.to_owned(), shard.to_owned()));
    }

    /// Forgets what is in this batch: another writer has read it already.
    pub(crate) fn discard(&mut self) {
        self.flows.clear();
        self.gaps.clear();
        self.clear();
    }

    fn clear(&mut self) {
        self.rejects.clear();
        self.missed.clear();
        self.forgotten.clear();
        self.seen.clear();
        self.advances.clear();
        self.pending = Counts::default();
        (self.rows, self.bytes) = (0, 0);
    }

    /// Whether the batch is as large as it may become.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= self.settings.batch_rows_max
            || self.bytes >= self.settings.batch_bytes_max
            || self.is_scattered()
    }

    /// Whether the batch touches as many hours and days as it may.
    pub(crate) fn is_scattered(&self) -> bool {
        self.flows.len() + self.gaps.len() >= self.settings.batch_partitions_max
    }

    /// The time of writing of what comes from now on.
    pub(crate) fn at(&mut self, now: DateTime<Utc>) {
        self.ingest_us = now.timestamp_micros();
    }

    /// Whether there is nothing to publish.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
            && self.advances.is_empty()
            && self.missed.is_empty()
            && self.forgotten.is_empty()
    }

    /// Records read so far, published or not.
    pub(crate) fn records(&self) -> u64 {
        self.published.records + self.pending.records
    }

    /// What was published so far.
    pub(crate) fn published(&self) -> Counts {
        self.published
    }

    /// Publishes the batch and begins the next one.
    pub(crate) fn publish(&mut self) -> Result<(), LakeError> {
        let flows: Vec<_> = std::mem::take(&mut self.flows)
            .into_iter()
            .map(|(partition, rows)| {
                (
                    partition,
                    Rows {
                        rows: rows.rows.finish(),
                        keys: rows.keys,
                        times: rows.times,
                        reopens: joined(rows.reopens),
                    },
                )
            })
            .collect();
        let gaps: Vec<_> = std::mem::take(&mut self.gaps)
            .into_iter()
            .map(|(partition, rows)| {
                (
                    partition,
                    Rows {
                        rows: vec![GapRow::to_batch(&rows.rows)],
                        keys: rows.keys,
                        times: rows.times,
                        reopens: joined(rows.reopens),
                    },
                )
            })
            .collect();
        let mut tries = 0;
        loop {
            tries += 1;
            match self.publish_once(&flows, &gaps) {
                Err(
                    LakeError::Refused {
                        cause: Conflict::Partition { .. },
                        ..
                    }
                    | LakeError::Stale { .. },
                ) if tries < TRIES => {}
                Err(error) => return Err(error),
                Ok(counts) => {
                    self.published += counts;
                    break;
                }
            }
        }
        self.clear();
        Ok(())
    }

    /// How many rejects there are.
    pub(crate) fn rejects(&self) -> usize {
        self.rejects.len()
    }

    /// Publishes the batch but for the rejects after the first `settled`, which stay for the next: what is read again
    /// before its position is published is known by its content if it is a flow or a gap, and a reject is not.
    pub(crate) fn publish_within(&mut self, settled: usize) -> Result<(), LakeError> {
        let kept = self.rejects.split_off(settled.min(self.rejects.len()));
        let count = kept.len() as u64;
        self.pending.records -= count;
        self.pending.rejects -= count;
        self.publish()?;
        self.pending.records += count;
        self.pending.rejects += count;
        self.rows += kept.len();
        let text =
            |reject: &RejectRow| reject.raw.len() + reject.reason.len() + reject.source.len();
        self.bytes += kept
            .iter()
            .map(|reject| ROW_BYTES + text(reject))
            .sum::<usize>();
        self.rejects = kept;
        Ok(())
    }

    fn publish_once(
        &mut self,
        flows: &[(Partition, Rows<Vec<RecordBatch>>)],
        gaps: &[(Partition, Rows<Vec<RecordBatch>>)],
    ) -> Result<Counts, LakeError> {
        let base = self.lake.snapshot()?;
        let mut batch = self.lake.batch_on("ingest", base.clone());
        let mut counts = self.pending;
        let mut wrote = BTreeMap::new();
        for (table, partitions) in [(Table::Flows, flows), (Table::Gaps, gaps)] {
            for (partition, rows) in partitions {
                let keys = self.write_new(&mut batch, &base, table, *partition, rows)?;
                batch.end(table, *partition)?;
                counts.duplicates += (rows.keys.len() - keys.len()) as u64;
                match table {
                    Table::Flows => counts.flows += keys.len() as u64,
                    _ => counts.gaps += keys.len() as u64,
                }
                if !keys.is_empty() {
                    reopen(&mut batch, *partition, rows);
                }
                wrote.insert((table, *partition), keys);
            }
        }
        batch.write_rows(Partition::date_of_us(self.ingest_us), &self.rejects)?;
        for gap in &self.missed {
            batch.write_rows(
                Partition::date_of_us(gap.from_us),
                std::slice::from_ref(gap),
            )?;
            let from_us = gap.from_us.saturating_sub(HOUR_MARGIN_US);
            batch.reopen(from_us, gap.to_us.saturating_add(HOUR_MARGIN_US));
        }
        for ((source, shard), advances) in &self.advances {
            for advance in advances {
                batch.advance(source, shard, advance.from.clone(), advance.to.clone());
            }
        }
        for (source, shard) in &self.forgotten {
            batch.forget(source, shard);
        }
        let commit = batch.publish()?;
        for entry in &commit.added {
            if let Some(keys) = wrote.get(&(entry.table, entry.partition)) {
                self.recent.wrote(entry, keys);
            }
        }
        Ok(counts)
    }

    /// Writes the rows that the lake does not hold; their keys.
    fn write_new(
        &mut self,
        batch: &mut Batch,
        base: &Snapshot,
        table: Table,
        partition: Partition,
        rows: &Rows<Vec<RecordBatch>>,
    ) -> Result<Vec<Key>, LakeError> {
        let held = self
            .recent
            .held(self.lake, base, table, partition, &rows.keys, rows.times)?;
        batch.expect_unchanged(table, partition);
        if held.is_empty() {
            for piece in &rows.rows {
                batch.write(table, partition, piece)?;
            }
            return Ok(rows.keys.clone());
        }
        let is_new: Vec<bool> = (0..rows.keys.len())
            .map(|row| !held.contains(&row))
            .collect();
        let keys = rows
            .keys
            .iter()
            .zip(&is_new)
            .filter(|(_, is_new)| **is_new)
            .map(|(key, _)| *key)
            .collect();
        let is_new = BooleanArray::from(is_new);
        let mut from = 0;
        for piece in &rows.rows {
            let is_new = is_new.slice(from, piece.num_rows());
            let new =
                arrow_select::filter::filter_record_batch(piece, &is_new).map_err(|error| {
                    LakeError::Damaged {
                        key: partition.to_string(),
                        reason: error.to_string(),
                    }
                })?;
            batch.write(table, partition, &new)?;
            from += piece.num_rows();
        }
        Ok(keys)
    }
}

/// Hours analysed already that rest on new rows: not only their own hour, which is due again anyway, but the one beside
/// it where they are near the border, and hours near a gap.
fn reopen(batch: &mut Batch, partition: Partition, rows: &Rows<Vec<RecordBatch>>) {
    for (from_us, to_us) in &rows.reopens {
        batch.reopen(*from_us, *to_us);
    }
    if let Partition::Hour(hour) = partition {
        let (from_us, to_us) = (rows.times.0, rows.times.1.saturating_add(1));
        if [hour.previous(), hour.next()]
            .into_iter()
            .any(|beside| beside.is_concerned_by(from_us, to_us))
        {
            batch.reopen(from_us, to_us);
        }
    }
}

fn position(at: At<'_>) -> i64 {
    i64::try_from(at.position).unwrap_or(i64::MAX)
}
