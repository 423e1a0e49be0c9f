//! `ingest --source` of a bucket that a shipping job writes to.

use std::collections::BTreeMap;

use chrono::Utc;
use flowaudit_ingest::Stop;
use flowaudit_ingest::oss::{BatchReport, Event, PullSummary, pull};
use serde::Serialize;

use super::ingest::problems;
use super::ingest_source::{How, at};
use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::output::{self, count, counted};
use crate::settings::{Settings, Shipped};

/// What became of the records, for programs.
#[derive(Serialize)]
struct Report<'s> {
    source: &'s str,
    listed: u64,
    objects: u64,
    objects_changed: u64,
    objects_missed: u64,
    objects_failed: u64,
    objects_left_out: u64,
    batches: u64,
    bytes_received: u64,
    records: u64,
    flows: u64,
    gaps: u64,
    rejects: u64,
    duplicates: u64,
    reject_kinds: &'s BTreeMap<&'static str, u64>,
}

/// Reads the bucket.
pub(super) fn run(
    settings: &Settings,
    name: &str,
    shipped: &Shipped,
    how: How,
) -> Result<Exit, Failure> {
    let mut pulling = shipped.pull(how.follow, how.until, Utc::now())?;
    pulling.catch_up = how.look_back.map(|span| span.0);
    shipped.check_secure(how.insecure)?;
    let oss = shipped.bucket()?;
    let lake = settings.create_or_open_lake()?;
    let mut events = |event: Event<'_>| match event {
        Event::Batch(batch) => settings.tell(line(batch)),
        Event::Problem(problem) => problems(std::slice::from_ref(problem)),
        Event::Waiting(words) => say(Word::Warning, format!("{words}; trying on")),
    };
    let summary = pull(&lake, &oss, &pulling, &mut events, &Stop::default())?;
    let counts = summary.counts;
    let report = Report {
        source: name,
        listed: summary.listed,
        objects: summary.objects,
        objects_changed: summary.changed,
        objects_missed: summary.missed,
        objects_failed: summary.failed,
        objects_left_out: summary.foreign,
        batches: summary.batches,
        bytes_received: summary.packed_bytes,
        records: counts.records,
        flows: counts.flows,
        gaps: counts.gaps,
        rejects: counts.rejects,
        duplicates: counts.duplicates,
        reject_kinds: &summary.reject_kinds,
    };
    output::one(settings.output, &report, || said(name, &summary))?;
    if summary.failed > 0 {
        return Ok(Exit::Failed);
    }
    if summary.listed == 0 && summary.foreign > 0 {
        say(
            Word::Error,
            format!("none of the objects is one that `{name}` describes"),
        );
        say(
            Word::Help,
            "compare `prefix`, `path-format` and `time-zone` of the source with those of the shipping job",
        );
        return Ok(Exit::Failed);
    }
    Ok(Exit::Clean)
}

/// One batch on one line.
fn line(batch: &BatchReport) -> String {
    let counts = batch.counts;
    format!(
        "{} {}: {}, {}, {}, {}; {}, {} MiB in {:.1} s, {} s behind",
        at(Utc::now()),
        counted(counts.records, "record", "records"),
        counted(counts.flows, "flow", "flows"),
        counted(counts.gaps, "gap", "gaps"),
        counted(counts.rejects, "reject", "rejects"),
        counted(counts.duplicates, "duplicate", "duplicates"),
        counted(batch.objects, "object", "objects"),
        batch.packed_bytes >> 20,
        batch.spent.as_secs_f64(),
        batch.lag_s,
    )
}

/// What became of the records, for people: the figures add up.
fn said(name: &str, summary: &PullSummary) -> String {
    let counts = summary.counts;
    let mut text = format!(
        "{} from `{name}` ({} of {} listed, {}): {}, {}, {}, {}\n",
        counted(counts.records, "record", "records"),
        counted(summary.objects, "object", "objects"),
        count(summary.listed),
        counted(summary.batches, "batch", "batches"),
        counted(counts.flows, "flow", "flows"),
        counted(counts.gaps, "gap", "gaps"),
        counted(counts.rejects, "reject", "rejects"),
        counted(counts.duplicates, "duplicate", "duplicates"),
    );
    for (kind, number) in &summary.reject_kinds {
        text += &format!("  {:>10} rejected: {kind}\n", count(*number));
    }
    for (number, words) in [
        (
            summary.changed,
            "replaced since they were read, and read again",
        ),
        (summary.missed, "gone or given up: see `gaps`"),
        (
            summary.failed,
            "could not be read; the next run tries them again",
        ),
    ] {
        if number > 0 {
            let objects = counted(number, "object", "objects");
            text += &format!("  {objects:>10} {words}\n");
        }
    }
    text
}
