//! The one loop of a bucket: list what is new, read it object by object, publish rows and positions together.

mod catch_up;
mod object;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use flowaudit_lake::Lake;
use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::cloud::oss::Oss;
use flowaudit_lake::table::gaps::GapRow;
use tokio::runtime::Runtime;

use self::catch_up::KeptRejects;
use super::error::OssReadError;
use super::events::{BatchReport, Event, PullSummary};
use super::fetch::AHEAD_BYTES;
use super::layout::PathFormat;
use super::position::{Reached, WATERMARK, object_of};
use crate::decode::Format;
use crate::decode::compressed::Compression;
use crate::decode::text::Layout;
use crate::error::IngestError;
use crate::settings::{Settings, quarter};
use crate::source::{Problem, Severity};
use crate::stop::{Stop, on_signals, runtime};
use crate::summary::Counts;
use crate::write::Writer;

/// Bytes that the key of a record takes while it is remembered.
const KEY_BYTES: u64 = 20;
/// The longest wait for a bucket that cannot be read.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Where a prefix begins that was never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest object.
    Begin,
    /// With what is written from now on.
    End,
    /// With what was written at this time.
    At(DateTime<Utc>),
}

/// How the objects are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// In one of the formats that the beginning of an object tells.
    Recognised,
    /// In this one.
    Lines(Format),
    /// As Parquet.
    Parquet,
}

/// How a bucket is read.
#[derive(Debug, Clone)]
pub struct PullSettings {
    /// What the keys of all objects begin with.
    pub prefix: String,
    /// What follows.
    pub path_format: PathFormat,
    /// How objects are written.
    pub form: Form,
    /// How they are packed, where it is not to be recognised.
    pub packing: Option<Compression>,
    /// The order of space-separated values.
    pub fields: Option<Layout>,
    /// Where a prefix begins that was never read.
    pub start: Start,
    /// Up to what was written before this.
    pub until: Option<DateTime<Utc>>,
    /// Whether to go on for ever; otherwise up to what is there now.
    pub follow: bool,
    /// For so long objects of an earlier time may still appear.
    pub look_back: TimeDelta,
    /// Once more from so long ago on, however far it was read: finds what came later than the look-back. Not with `follow`.
    pub catch_up: Option<TimeDelta>,
    /// Keys that are given up: what they held becomes a gap.
    pub skip: BTreeSet<String>,
    /// What the run may hold in memory, in bytes.
    pub memory_bytes: u64,
    /// Objects fetched at a time.
    pub parallel: usize,
    /// A batch is published when it has this many rows.
    pub batch_rows_max: usize,
    /// Or after this long.
    pub batch_pause: Duration,
    /// A longer record is a reject, in bytes.
    pub record_bytes_max: usize,
    /// The bucket is listed this often.
    pub list_pause: Duration,
    /// Whether SIGTERM and Ctrl-C end the run.
    pub signals: bool,
}

impl PullSettings {
    /// The defaults below a prefix.
    #[must_use]
    pub fn new(prefix: &str, path_format: PathFormat) -> Self {
        PullSettings {
            prefix: prefix.to_owned(),
            path_format,
            form: Form::Recognised,
            packing: None,
            fields: None,
            start: Start::Begin,
            until: None,
            follow: false,
            look_back: TimeDelta::hours(6),
            catch_up: None,
            skip: BTreeSet::new(),
            memory_bytes: 512 << 20,
            parallel: 8,
            batch_rows_max: 500_000,
            batch_pause: Duration::from_secs(30),
            record_bytes_max: 1 << 20,
            list_pause: Duration::from_secs(60),
            signals: false,
        }
    }
}

/// Reads the objects below a prefix into the lake: up to now, up to a time, or until it is told to stop.
///
/// Killed at any instant and run again, nothing is lost and nothing doubled.
pub fn pull(
    lake: &Lake,
    oss: &Oss,
    settings: &PullSettings,
    events: &mut dyn FnMut(Event<'_>),
    stop: &Stop,
) -> Result<PullSummary, IngestError> {
    let runtime = runtime()?;
    if settings.signals {
        runtime.spawn(on_signals(stop.clone()));
    }
    let writing = writing(settings);
    let mut pulling = Pulling {
        lake,
        oss,
        settings,
        source: format!("oss:{}/{}", oss.address().bucket(), settings.prefix),
        parallel: parallel(settings),
        runtime: &runtime,
        writer: Writer::new(lake, &writing, Utc::now()),
        events,
        stop,
        known: BTreeMap::new(),
        watermark: None,
        held: None,
        kept_rejects: KeptRejects::default(),
        told: BTreeSet::new(),
        refused: BTreeMap::new(),
        batch: BatchReport::default(),
        begun: Instant::now(),
        summary: PullSummary::default(),
    };
    let ended = pulling.run();
    let mut summary = pulling.summary;
    summary.counts = pulling.writer.published();
    summary.failed = pulling.refused.len() as u64;
    runtime.shutdown_background();
    ended.map(|()| summary)
}

/// Between nothing and a half, so that several ingesters do not come back at once.
fn jitter(tries: u32) -> f64 {
    (RandomState::new().hash_one(tries) % 1000) as f64 / 2000.0
}

/// What was added to the counts.
fn since(counts: Counts, before: Counts) -> Counts {
    Counts {
        records: counts.records - before.records,
        flows: counts.flows - before.flows,
        gaps: counts.gaps - before.gaps,
        rejects: counts.rejects - before.rejects,
        duplicates: counts.duplicates - before.duplicates,
    }
}

/// A quarter of the memory for bytes ahead of need, a quarter for rows, a quarter for keys, and the rest for writing.
fn writing(settings: &PullSettings) -> Settings {
    let quarter = quarter(settings.memory_bytes);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        batch_rows_max: settings.batch_rows_max,
        batch_bytes_max: size(quarter),
        recent_keys_max: size(quarter / KEY_BYTES),
        record_bytes_max: settings.record_bytes_max,
        ..Settings::default()
    }
}

fn parallel(settings: &PullSettings) -> usize {
    let room = quarter(settings.memory_bytes) / AHEAD_BYTES;
    settings
        .parallel
        .min(usize::try_from(room).unwrap_or(usize::MAX))
        .max(1)
}

struct Pulling<'p> {
    lake: &'p Lake,
    oss: &'p Oss,
    settings: &'p PullSettings,
    source: String,
    parallel: usize,
    runtime: &'p Runtime,
    writer: Writer<'p>,
    events: &'p mut dyn FnMut(Event<'_>),
    stop: &'p Stop,
    /// What the lake knows of each object: by key, its ETags and how far each was read.
    known: BTreeMap<String, BTreeMap<String, Reached>>,
    /// Nothing before this time is listed, in Unix seconds; `None` until it is decided where to start.
    watermark: Option<i64>,
    /// The time of the oldest object of this scan that could not be read.
    held: Option<i64>,
    /// Rejects that the lake may have of objects it remembers no longer.
    kept_rejects: KeptRejects,
    /// What was told of once already.
    told: BTreeSet<String>,
    /// Shards that could not be read, which are not tried again by this run.
    refused: BTreeMap<String, i64>,
    batch: BatchReport,
    begun: Instant,
    summary: PullSummary,
}

impl Pulling<'_> {
    fn run(&mut self) -> Result<(), IngestError> {
        let (mut wait, mut tries) = (Duration::from_secs(1), 0);
        let retries = *self.oss.retries();
        loop {
            match self.scan() {
                Ok(()) => (wait, tries) = (Duration::from_secs(1), 0),
                Err(IngestError::Oss(error)) => {
                    // What was read so far is published all the same.
                    self.publish()?;
                    tries += 1;
                    let again = match self.settings.follow {
                        true => error.passes(),
                        // What the client could try again it has.
                        false => error.is_altered() && tries < retries.attempts,
                    };
                    if !again || self.stop.is_stopped() {
                        return Err(error.into());
                    }
                    (self.events)(Event::Waiting(&error.to_string()));
                    match self.settings.follow {
                        true => {
                            self.pause(wait / 2 + wait.mul_f64(jitter(tries)));
                            wait = (wait * 2).min(WAIT_MAX);
                        }
                        false => self.pause(retries.wait(tries)),
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.publish()?;
            if !self.settings.follow || self.stop.is_stopped() {
                return Ok(());
            }
            self.pause(self.settings.list_pause);
            if self.stop.is_stopped() {
                return Ok(());
            }
        }
    }

    fn pause(&self, pause: Duration) {
        let stop = self.stop.clone();
        self.runtime.block_on(async move {
            let _ = tokio::time::timeout(pause, stop.stopped()).await;
        });
    }

    /// Learns from the lake what was read.
    fn learn(&mut self) -> Result<(), IngestError> {
        let snapshot = self.lake.snapshot()?;
        self.known.clear();
        for (shard, position) in snapshot.checkpoints().shards(&self.source) {
            if shard == WATERMARK {
                self.watermark = i64::try_from(position.at).ok();
                continue;
            }
            let Some((key, e_tag)) = object_of(shard) else {
                continue;
            };
            let reached = Reached::read(position).ok_or_else(|| {
                let text = format!(
                    "`{shard}` of `{}` was last read by a newer version of flowaudit",
                    self.source
                );
                IngestError::Newer(text)
            })?;
            let e_tags = self.known.entry(key.to_owned()).or_default();
            e_tags.insert(e_tag.to_owned(), reached);
        }
        Ok(())
    }

    /// Publishes what is collected, under the watermark it was read under.
    fn publish(&mut self) -> Result<(), IngestError> {
        let watermark = self.watermark;
        self.publish_moving(watermark, &[])
    }

    /// The same, with a later watermark and without the shards that it leaves behind.
    fn publish_moving(&mut self, to: Option<i64>, forgotten: &[String]) -> Result<(), IngestError> {
        let position = |at: i64| Position::at(u64::try_from(at).unwrap_or_default());
        let moves = to != self.watermark;
        if self.writer.is_empty() && !moves && forgotten.is_empty() {
            return Ok(());
        }
        if let Some(to) = to {
            let from = position(self.watermark.unwrap_or(to));
            // Also where it does not move: who read under an older one is refused.
            self.writer
                .advance(&self.source, WATERMARK, &from, position(to));
        }
        for shard in forgotten {
            self.writer.forget(&self.source, shard);
        }
        let before = self.writer.published();
        self.writer.publish()?;
        let counts = self.writer.published();
        if !counts.add_up() {
            return Err(IngestError::Unaccounted { counts });
        }
        self.watermark = to;
        let mut batch = std::mem::take(&mut self.batch);
        let now = Instant::now();
        batch.spent = now - std::mem::replace(&mut self.begun, now);
        batch.counts = since(counts, before);
        self.summary.objects += batch.objects;
        self.summary.packed_bytes += batch.packed_bytes;
        if batch.objects > 0 || batch.counts.records > 0 {
            self.summary.batches += 1;
            (self.events)(Event::Batch(&batch));
        }
        Ok(())
    }

    fn tell(&mut self, problem: Problem) {
        (self.events)(Event::Problem(&problem));
    }

    /// A stretch of traffic that nobody will see: what was written at `at` is at most about an hour old.
    fn missed(&mut self, key: &str, at: i64, reason: &str) {
        let us = |s: i64| s.saturating_mul(1_000_000);
        self.writer.missed(GapRow {
            eni_id: None,
            from_us: us(at.saturating_sub(3600)),
            to_us: us(at.saturating_add(self.settings.path_format.step_s())),
            reason: reason.to_owned(),
            source: self.place(key),
            source_position: 0,
        });
        self.summary.missed += 1;
    }

    /// An object as a person would name it.
    fn place(&self, key: &str) -> String {
        format!("{}/{key}", self.oss)
    }
}
