//! `ingest --source`: a source of the settings file → lake, once or for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::calls::check_group;
use flowaudit_ingest::sls::{BatchReport, Chain, Client, Event, PullSummary, pull};
use flowaudit_lake::Lake;
use flowaudit_lake::cloud::credentials::Surroundings;
use serde::Serialize;

use super::ingest_shipped;
use crate::exit::Exit;
use crate::failure::{Failure, Mistake, Word, say};
use crate::output::{self, count, counted};
use crate::settings::{Settings, Sls, Source};
use crate::when::Span;

/// What became of the records, for programs.
#[derive(Serialize)]
struct Report<'s> {
    source: &'s str,
    shards: usize,
    batches: u64,
    bytes_received: u64,
    bytes: u64,
    records: u64,
    flows: u64,
    gaps: u64,
    rejects: u64,
    duplicates: u64,
    stretches_missed: u64,
    throttled: u64,
    reject_kinds: &'s BTreeMap<&'static str, u64>,
}

/// How a source is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub(super) follow: bool,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) look_back: Option<Span>,
    pub(super) insecure: bool,
}

/// The source called `name`.
pub(super) fn source<'s>(settings: &'s Settings, name: &str) -> Result<&'s Source, Failure> {
    settings.sources.get(name).ok_or_else(|| {
        let names: Vec<&str> = settings.sources.keys().map(String::as_str).collect();
        let help = match names.is_empty() {
            true => "name sources under `sources:` in the settings file; docs/sls.md and docs/oss-source.md show how"
                .to_owned(),
            false => format!("the settings file names {}", names.join(", ")),
        };
        Failure::usage(Mistake(format!("there is no source `{name}`")), Some(help))
    })
}

/// Reads the source called `name`.
pub(super) fn run(settings: &Settings, name: &str, how: How) -> Result<Exit, Failure> {
    let sls = match source(settings, name)? {
        Source::Sls(sls) => sls,
        Source::Oss(shipped) => return ingest_shipped::run(settings, name, shipped, how),
    };
    if how.look_back.is_some() {
        let mistake = Mistake(format!(
            "`--look-back` is of buckets, and `{name}` is a logstore"
        ));
        let help = "a logstore is read in the order in which it received records: nothing comes late there";
        return Err(Failure::usage(mistake, Some(help.to_owned())));
    }
    let pulling = sls.pull(how.follow, how.until, Utc::now())?;
    if let Some(group) = &pulling.group {
        check_group(&group.group).map_err(|error| {
            let help = "lower-case letters, digits, `-` and `_` make the name of a consumer group";
            Failure::usage(error, Some(help.to_owned()))
        })?;
        if !how.follow {
            // Others of the group may have its shards at any time: nobody can say when all is read.
            let mistake = Mistake(format!(
                "`{name}` is shared by the consumer group `{}`, which never comes to an end",
                group.group
            ));
            let help = "add `--follow`; or leave `consumer-group` out for a run up to now";
            return Err(Failure::usage(mistake, Some(help.to_owned())));
        }
    }
    let client = client(sls, how.insecure, how.follow)?;
    let lake = settings.create_or_open_lake()?;
    let summary = read(&lake, &client, settings, &pulling)?;
    let counts = summary.counts;
    let report = Report {
        source: name,
        shards: summary.shards,
        batches: summary.batches,
        bytes_received: summary.packed_bytes,
        bytes: summary.bytes,
        records: counts.records,
        flows: counts.flows,
        gaps: counts.gaps,
        rejects: counts.rejects,
        duplicates: counts.duplicates,
        stretches_missed: summary.missed,
        throttled: summary.throttled,
        reject_kinds: &summary.reject_kinds,
    };
    output::one(settings.output, &report, || said(name, &summary))?;
    Ok(Exit::Clean)
}

pub(super) fn client(sls: &Sls, insecure: bool, follow: bool) -> Result<Client, Failure> {
    let settings = sls.client(insecure, follow);
    // The official chain of the SDKs, asked at the first request.
    let keys = Arc::new(Chain::new(Surroundings::of_process()));
    Client::new(settings, keys).map_err(|error| {
        let help = error.help();
        Failure::usage(error, help)
    })
}

fn read(
    lake: &Lake,
    client: &Client,
    settings: &Settings,
    pulling: &flowaudit_ingest::sls::PullSettings,
) -> Result<PullSummary, Failure> {
    let mut events = |event: Event<'_>| match event {
        Event::Batch(batch) => settings.tell(line(batch, Utc::now())),
        Event::Missed { shard, from, to } => {
            let (from, to) = (at(from), at(to));
            say(
                Word::Warning,
                format!(
                    "shard {shard}: what was received between {from} and {to} outlived the logstore's retention before it was read; the stretch is in `gaps`"
                ),
            );
        }
        Event::LeftOut { shard, records } => {
            let records = counted(records, "record", "records");
            say(
                Word::Warning,
                format!(
                    "shard {shard}: the service could not apply `query` to {records} and left them out"
                ),
            );
        }
        Event::Waiting(words) => say(Word::Warning, format!("{words}; trying on")),
        Event::Clock(seconds) => say(
            Word::Warning,
            format!(
                "the clock of this machine is {seconds} s off the service's; corrected for requests"
            ),
        ),
    };
    Ok(pull(lake, client, pulling, &mut events, &Stop::default())?)
}

pub(super) fn at(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// One batch on one line.
fn line(batch: &BatchReport, now: DateTime<Utc>) -> String {
    let counts = batch.counts;
    let mut line = format!(
        "{} {}: {}, {}, {}, {}; {} MiB in {:.1} s",
        at(now),
        counted(counts.records, "record", "records"),
        counted(counts.flows, "flow", "flows"),
        counted(counts.gaps, "gap", "gaps"),
        counted(counts.rejects, "reject", "rejects"),
        counted(counts.duplicates, "duplicate", "duplicates"),
        batch.packed_bytes >> 20,
        batch.spent.as_secs_f64(),
    );
    let behind = batch.lags.iter().filter(|(_, lag)| **lag > 0);
    if let Some((shard, lag)) = behind.max_by_key(|(_, lag)| **lag) {
        let shards = counted(batch.lags.len() as u64, "shard", "shards");
        line += &format!("; {shards}, furthest behind {shard} by {lag} s");
    }
    line
}

/// What became of the records, for people: the figures add up.
fn said(name: &str, summary: &PullSummary) -> String {
    let counts = summary.counts;
    let mut text = format!(
        "{} from `{name}` ({}, {}): {}, {}, {}, {}\n",
        counted(counts.records, "record", "records"),
        counted(summary.shards as u64, "shard", "shards"),
        counted(summary.batches, "batch", "batches"),
        counted(counts.flows, "flow", "flows"),
        counted(counts.gaps, "gap", "gaps"),
        counted(counts.rejects, "reject", "rejects"),
        counted(counts.duplicates, "duplicate", "duplicates"),
    );
    for (kind, number) in &summary.reject_kinds {
        text += &format!("  {:>10} rejected: {kind}\n", count(*number));
    }
    if summary.missed > 0 {
        text += &format!(
            "  {:>10} outlived the retention before they were read: see `gaps`\n",
            counted(summary.missed, "stretch", "stretches")
        );
    }
    text
}
