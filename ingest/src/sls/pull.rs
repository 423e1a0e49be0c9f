//! The one loop of a logstore: take what the shards hand over, turn it into rows, publish rows and positions together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::{Conflict, Lake, LakeError};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::calls::Place;
use super::client::Client;
use super::cut::PartMax;
use super::decode::{LogDecoder, Malformed, NotARecord, groups, logs, to_json};
use super::error::SlsError;
use super::group::{Consumer, Control, GroupSettings};
use super::limits::Limits;
use super::position::Reached;
use super::shard::{Chunk, Message, Reading};
use super::shards::{ShardsError, Starting, read_all};
use super::unpack::Packing;
use crate::decode::split::KEPT_BYTES_MAX;
use crate::error::IngestError;
use crate::normalize::{Entry, normalize};
use crate::settings::{Settings, quarter};
use crate::stop::{Stop, on_signals, runtime};
use crate::summary::Counts;
use crate::write::{At, Writer};

/// Why a stretch was missed, as the lake writes it.
const EXPIRED: &str = "cursor-expired";
/// The user hears of what a run waits for this often.
const WORD_PAUSE: Duration = Duration::from_secs(30);
/// Bytes that the key of a record takes while it is remembered.
const KEY_BYTES: u64 = 20;

/// How a logstore is read.
#[derive(Debug, Clone)]
pub struct PullSettings {
    /// Whether to go on for ever; otherwise up to what is there now.
    pub follow: bool,
    /// Up to what the service received before this.
    pub until: Option<DateTime<Utc>>,
    /// Where a logstore begins that was never read.
    pub start: Place,
    /// An SPL statement that the service applies before it sends.
    pub query: Option<String>,
    /// How replies are packed.
    pub packing: Packing,
    /// What the run may hold in memory, in bytes.
    pub memory_bytes: u64,
    /// A batch is published when it has this many rows.
    pub batch_rows_max: usize,
    /// Or after this long.
    pub batch_pause: Duration,
    /// The list of shards is asked for this often.
    pub list_pause: Duration,
    /// Shares the logstore with other consumers.
    pub group: Option<GroupSettings>,
    /// Shortens the waits at the end of a shard; tests set it below 1.
    pub wait_factor: f64,
    /// Whether SIGTERM and Ctrl-C end the run.
    pub signals: bool,
}

impl Default for PullSettings {
    fn default() -> Self {
        PullSettings {
            follow: false,
            until: None,
            start: Place::Begin,
            query: None,
            packing: Packing::Lz4,
            memory_bytes: 512 << 20,
            batch_rows_max: 500_000,
            batch_pause: Duration::from_secs(30),
            list_pause: Duration::from_secs(60),
            group: None,
            wait_factor: 1.0,
            signals: false,
        }
    }
}

/// One published batch.
#[derive(Debug, Clone, Default)]
pub struct BatchReport {
    /// What became of its records.
    pub counts: Counts,
    /// Bytes as they came.
    pub packed_bytes: u64,
    /// Bytes unpacked.
    pub bytes: u64,
    /// How long it took since the batch before.
    pub spent: Duration,
    /// How far behind each shard is, in seconds, as far as this run reads it.
    pub lags: BTreeMap<u32, u64>,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'e> {
    /// A batch was published.
    Batch(&'e BatchReport),
    /// A stretch that will never be read.
    Missed {
        /// The shard.
        shard: u32,
        /// From when, by receive time.
        from: DateTime<Utc>,
        /// Until when.
        to: DateTime<Utc>,
    },
    /// The service could not apply the query to some records, and left them out.
    LeftOut {
        /// The shard.
        shard: u32,
        /// How many records.
        records: u64,
    },
    /// A call is tried again and again.
    Waiting(&'e str),
    /// The clock of this machine was corrected by so many seconds.
    Clock(i64),
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct PullSummary {
    /// What became of the records.
    pub counts: Counts,
    /// Rejects by cause.
    pub reject_kinds: BTreeMap<&'static str, u64>,
    /// Batches published.
    pub batches: u64,
    /// Shards that records came from, or that were looked at.
    pub shards: usize,
    /// Stretches that will never be read.
    pub missed: u64,
    /// Records that the service could not apply the query to.
    pub left_out: u64,
    /// Bytes as they came.
    pub packed_bytes: u64,
    /// Bytes unpacked.
    pub bytes: u64,
    /// How often the service throttled.
    pub throttled: u64,
}

/// Reads a logstore into the lake: up to now, up to a time, or until it is told to stop.
///
/// Killed at any instant and run again, nothing is lost and nothing doubled.
pub fn pull(
    lake: &Lake,
    client: &Client,
    settings: &PullSettings,
    events: &mut dyn FnMut(Event<'_>),
    stop: &Stop,
) -> Result<PullSummary, IngestError> {
    let runtime = runtime()?;
    let writing = writing(settings);
    client.keep_up_to(settings.memory_bytes / 16);
    let (messages, received) = unbounded_channel();
    let (control, controlled) = unbounded_channel();
    let starting = Starting {
        lake: lake.clone(),
        source: client.source(),
        reading: Reading {
            client: client.clone(),
            limits: Arc::new(Limits::new(quarter(settings.memory_bytes))),
            messages,
            generation: 0,
            query: settings.query.clone(),
            packing: settings.packing,
            part_max: part_max(settings.memory_bytes),
            follow: settings.follow,
            wait_factor: settings.wait_factor,
        },
        start: settings.start,
        until: settings.until.map(|until| until.timestamp()),
        list_pause: settings.list_pause,
    };
    if settings.signals {
        runtime.spawn(on_signals(stop.clone()));
    }
    let shards = match &settings.group {
        None => runtime.spawn(read_all(starting, stop.clone())),
        Some(group) => {
            let consumer = Consumer::new(starting, group.clone(), controlled);
            runtime.spawn(consumer.run(stop.clone()))
        }
    };
    let mut pulling = Pulling {
        client,
        settings,
        source: client.source(),
        writer: Writer::new(lake, &writing, Utc::now()),
        generation: 0,
        control,
        events,
        moved: BTreeMap::new(),
        batch: BatchReport::default(),
        lags: BTreeMap::new(),
        begun: Instant::now(),
        said: Instant::now(),
        clock_s: 0,
        summary: PullSummary::default(),
    };
    let ended = pulling.run(&runtime, received, shards, stop);
    let mut summary = pulling.summary;
    summary.counts = pulling.writer.published();
    summary.shards = pulling.lags.len();
    summary.throttled = client.throttled();
    runtime.shutdown_background();
    ended.map(|()| summary)
}

/// What is taken into a batch before it is looked at whether that is full, beside a quarter of the memory for rows.
fn part_max(memory_bytes: u64) -> PartMax {
    let bytes = usize::try_from(memory_bytes / 32).unwrap_or(usize::MAX);
    PartMax {
        records: (memory_bytes / 4096).clamp(1024, 64 * 1024),
        bytes: bytes.max(256 * 1024),
    }
}

/// A quarter of the memory for replies, a quarter for rows, a quarter for keys, and the rest for writing files.
fn writing(settings: &PullSettings) -> Settings {
    let quarter = quarter(settings.memory_bytes);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        batch_rows_max: settings.batch_rows_max,
        batch_bytes_max: size(quarter),
        recent_keys_max: size(quarter / KEY_BYTES),
        ..Settings::default()
    }
}

struct Pulling<'p> {
    client: &'p Client,
    settings: &'p PullSettings,
    source: String,
    writer: Writer<'p>,
    generation: u64,
    control: UnboundedSender<Control>,
    events: &'p mut dyn FnMut(Event<'_>),
    /// How far each shard is in the batch.
    moved: BTreeMap<u32, Reached>,
    batch: BatchReport,
    lags: BTreeMap<u32, u64>,
    begun: Instant,
    said: Instant,
    clock_s: i64,
    summary: PullSummary,
}

impl Pulling<'_> {
    fn run(
        &mut self,
        runtime: &Runtime,
        mut received: UnboundedReceiver<Message>,
        shards: JoinHandle<Result<(), ShardsError>>,
        stop: &Stop,
    ) -> Result<(), IngestError> {
        let mut failure: Option<SlsError> = None;
        loop {
            let pause = self
                .settings
                .batch_pause
                .saturating_sub(self.begun.elapsed());
            let wait = tokio::time::Duration::min(pause, Duration::from_secs(5));
            let next =
                runtime.block_on(async { tokio::time::timeout(wait, received.recv()).await });
            match next {
                Ok(None) => break,
                Ok(Some(Message::Chunk(chunk))) => self.take(chunk)?,
                Ok(Some(Message::Idle(shard))) => drop(self.lags.insert(shard, 0)),
                Ok(Some(Message::Flush(shards))) => {
                    self.publish()?;
                    let _ = self.control.send(Control::Flushed(shards));
                }
                Ok(Some(Message::Failed(error))) => {
                    // What was read so far is published all the same.
                    failure.get_or_insert(error);
                    stop.stop();
                }
                Err(_) => {}
            }
            if self.writer.is_full() || self.begun.elapsed() >= self.settings.batch_pause {
                self.publish()?;
            }
            self.tell();
        }
        self.publish()?;
        match (failure, runtime.block_on(shards)) {
            (Some(error), _) | (None, Ok(Err(ShardsError::Sls(error)))) => Err(error.into()),
            (None, Ok(Err(ShardsError::Lake(error)))) => Err(error.into()),
            (None, Ok(Err(error @ ShardsError::Newer { .. }))) => {
                Err(IngestError::Newer(error.to_string()))
            }
            (None, Ok(Ok(()) | Err(ShardsError::Ended))) => Ok(()),
            // A mistake of ours, and no reason to call a half-read logstore a clean end.
            (None, Err(ended)) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(()),
            },
        }
    }

    /// Takes what a shard handed over into the batch.
    fn take(&mut self, chunk: Chunk) -> Result<(), IngestError> {
        if chunk.generation != self.generation {
            return Ok(());
        }
        if self.writer.is_empty() {
            self.writer.at(Utc::now());
        }
        self.take_records(&chunk)?;
        if chunk.generation != self.generation {
            // While its records were published in parts another consumer turned out to have them.
            return Ok(());
        }
        if chunk.failed_lines > 0 {
            self.summary.left_out += chunk.failed_lines;
            (self.events)(Event::LeftOut {
                shard: chunk.shard,
                records: chunk.failed_lines,
            });
        }
        let shard = chunk.shard.to_string();
        let (from, to) = (chunk.from.to_position(), chunk.to.to_position());
        match chunk.missed {
            None => self.writer.advance(&self.source, &shard, &from, to),
            Some((from_s, to_s)) => {
                self.writer.advance(&self.source, &shard, &to, to.clone());
                self.writer.missed(GapRow {
                    eni_id: None,
                    from_us: from_s.saturating_mul(1_000_000),
                    to_us: to_s.saturating_mul(1_000_000),
                    reason: EXPIRED.to_owned(),
                    source: self.source.clone(),
                    source_position: i64::try_from(chunk.from.at).unwrap_or(i64::MAX),
                });
                self.summary.missed += 1;
                let time = |s| DateTime::from_timestamp(s, 0).unwrap_or_default();
                (self.events)(Event::Missed {
                    shard: chunk.shard,
                    from: time(from_s),
                    to: time(to_s),
                });
            }
        }
        self.lags.insert(chunk.shard, chunk.lag_s);
        self.batch.packed_bytes += chunk.packed_bytes;
        self.moved.insert(chunk.shard, chunk.to);
        // The rows have copied what they need. After the last part the next reply may be fetched.
        if let Ok(list) = Arc::try_unwrap(chunk.list) {
            self.batch.bytes += list.len() as u64;
            self.client.keep(list);
        }
        drop(chunk.held);
        match chunk.settle {
            true => self.publish(),
            false => Ok(()),
        }
    }

    fn damaged(&self, chunk: &Chunk, error: Malformed) -> IngestError {
        let shard = Some(chunk.shard);
        IngestError::Sls(self.client.error("PullLogs", shard, error.into()))
    }

    /// Takes the records of a chunk, unless its generation passes meanwhile.
    fn take_records(&mut self, chunk: &Chunk) -> Result<(), IngestError> {
        let mut decoder = LogDecoder::default();
        // Those of this reply come after.
        let mut settled = self.writer.rejects();
        let Some(part) = &chunk.part else {
            for (number, group) in (0..).zip(groups(&chunk.list)) {
                let group = group.map_err(|error| self.damaged(chunk, error))?;
                self.take_group(chunk, number, group, &mut decoder, &mut settled)?;
            }
            return Ok(());
        };
        for stretch in &part.stretches {
            let group = chunk.list.get(stretch.bytes.clone()).unwrap_or_default();
            self.take_group(chunk, stretch.group, group, &mut decoder, &mut settled)?;
        }
        Ok(())
    }

    fn take_group<'c>(
        &mut self,
        chunk: &'c Chunk,
        number: u64,
        group: &'c [u8],
        decoder: &mut LogDecoder<'c>,
        settled: &mut usize,
    ) -> Result<(), IngestError> {
        let position = chunk.first.map_or(chunk.from.at, |first| first + number);
        for log in logs(group) {
            if chunk.generation != self.generation {
                break;
            }
            let log = log.map_err(|error| self.damaged(chunk, error))?;
            let at = At {
                source: &self.source,
                position,
            };
            let refused = match decoder.record(log) {
                Ok(record) => match normalize(record) {
                    Ok(Entry::Flow(flow)) => {
                        self.writer.flow(&flow, at);
                        None
                    }
                    Ok(Entry::Gap(gap)) => {
                        self.writer.gap(&gap, at);
                        None
                    }
                    Err(refused) => Some((refused.kind(), refused.to_string())),
                },
                Err(NotARecord::Unreadable(error)) => Some((error.kind(), error.to_string())),
                Err(NotARecord::Malformed(error)) => return Err(self.damaged(chunk, error)),
            };
            if let Some((kind, reason)) = refused {
                *self.summary.reject_kinds.entry(kind).or_default() += 1;
                let line = to_json(log, KEPT_BYTES_MAX);
                self.writer.reject(line.as_bytes(), reason, at);
            }
            if self.writer.is_scattered() {
                // Records of very many hours in one reply would open a file each. They are published before the
                // position of their shard is; read again after a crash they are known as duplicates.
                self.publish_within(*settled)?;
                *settled = 0;
            }
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), IngestError> {
        self.publish_within(self.writer.rejects())
    }

    /// Publishes all but the rejects after the first `settled`.
    fn publish_within(&mut self, settled: usize) -> Result<(), IngestError> {
        let spent = self.begun.elapsed();
        self.begun = Instant::now();
        if self.writer.is_empty() {
            return Ok(());
        }
        let before = self.writer.published();
        let moved = std::mem::take(&mut self.moved);
        let mut batch = std::mem::take(&mut self.batch);
        match self.writer.publish_within(settled) {
            Ok(()) => {}
            Err(LakeError::Refused {
                cause: Conflict::Checkpoint(_),
                ..
            }) if self.settings.group.is_some() => {
                // Another consumer has these records in the lake already.
                self.writer.discard();
                self.generation += 1;
                let _ = self.control.send(Control::Restart(self.generation));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let counts = self.writer.published();
        if !counts.add_up() {
            return Err(IngestError::Unaccounted { counts });
        }
        let _ = self.control.send(Control::Committed(moved));
        batch.counts = Counts {
            records: counts.records - before.records,
            flows: counts.flows - before.flows,
            gaps: counts.gaps - before.gaps,
            rejects: counts.rejects - before.rejects,
            duplicates: counts.duplicates - before.duplicates,
        };
        batch.spent = spent;
        batch.lags = self.lags.clone();
        self.summary.batches += 1;
        self.summary.packed_bytes += batch.packed_bytes;
        self.summary.bytes += batch.bytes;
        (self.events)(Event::Batch(&batch));
        Ok(())
    }

    /// What the user should hear meanwhile.
    fn tell(&mut self) {
        let clock_s = self.client.clock_offset().num_seconds();
        if clock_s != self.clock_s {
            self.clock_s = clock_s;
            (self.events)(Event::Clock(clock_s));
        }
        if self.said.elapsed() >= WORD_PAUSE {
            self.said = Instant::now();
            if let Some(words) = self.client.waiting_for() {
                (self.events)(Event::Waiting(&words));
            }
        }
    }
}
