//! `ingest`: flow logs → lake.

use chrono::Utc;
use clap::Args;
use flowaudit_ingest::source::input::locate;
use flowaudit_ingest::{IngestError, Input, Problem, Progress as At, Severity, Summary, files};
use flowaudit_lake::Lake;
use serde::Serialize;

use super::ingest_source::{self, How};
use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::output::{self, count, counted};
use crate::progress::Progress;
use crate::settings::{self, Everywhere, Settings, Typed};
use crate::when::{Span, When};

/// Brings flow logs into the lake.
///
/// Files are JSON lines, CSV with a header, or space-separated; plain, gzip or zstd. With `--source` records come from a
/// source of the settings file instead, up to now or for ever. What was read before is not read again, what is there
/// twice is kept once, and what is no flow is kept in `rejects` with its reason.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit ingest logs/
  flowaudit ingest 'logs/**/*.json.gz'
  zcat old.gz | flowaudit ingest -
  flowaudit ingest --source prod --follow
  flowaudit ingest --source shipped --look-back 72h")]
pub(crate) struct Ingest {
    /// Files, directories, patterns, or `-` for standard input
    #[arg(
        required_unless_present = "source",
        conflicts_with = "source",
        value_name = "FILES"
    )]
    inputs: Vec<String>,
    /// A source of the settings file, by its name under `sources:`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Read the source up to what is there now, and end [default]
    #[arg(long, requires = "source", conflicts_with = "follow")]
    once: bool,
    /// Read the source for ever; SIGTERM and Ctrl-C end it after a last batch
    #[arg(long, requires = "source")]
    follow: bool,
    /// Read the source up to what was received before then: RFC 3339, or how long ago, as in `1h`
    #[arg(
        long,
        value_name = "TIME",
        requires = "source",
        conflicts_with = "follow"
    )]
    until: Option<When>,
    /// List a bucket once more from so long ago on, as in `72h`: finds what came later than the `look-back` of the source
    #[arg(
        long,
        value_name = "SPAN",
        requires = "source",
        conflicts_with = "follow"
    )]
    look_back: Option<Span>,
    /// Let the source be read over http, unencrypted
    #[arg(long, requires = "source")]
    insecure: bool,
    #[command(flatten)]
    ingest: settings::Ingest,
}

/// What became of the records, for programs.
#[derive(Serialize)]
struct Report<'s> {
    inputs: u64,
    unchanged: u64,
    bytes: u64,
    records: u64,
    flows: u64,
    gaps: u64,
    rejects: u64,
    duplicates: u64,
    reject_kinds: &'s std::collections::BTreeMap<&'static str, u64>,
}

impl Ingest {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.ingest(&self.ingest).check()?;
        if let Some(name) = &self.source {
            let how = How {
                follow: self.follow && !self.once,
                until: self.until.map(|until| until.seen_from(Utc::now())),
                look_back: self.look_back,
                insecure: self.insecure,
            };
            return ingest_source::run(&settings, name, how);
        }
        let inputs = inputs(&self.inputs)?;
        let lake = settings.create_or_open_lake()?;
        let summary = ingest(&lake, &inputs, &settings)?;
        let report = Report {
            inputs: summary.inputs,
            unchanged: summary.unchanged,
            bytes: summary.bytes,
            records: summary.counts.records,
            flows: summary.counts.flows,
            gaps: summary.counts.gaps,
            rejects: summary.counts.rejects,
            duplicates: summary.counts.duplicates,
            reject_kinds: &summary.reject_kinds,
        };
        output::one(settings.output, &report, || said(&summary))?;
        if summary.has_failures() {
            return Ok(Exit::Failed);
        }
        if summary.counts.records == 0 && summary.unchanged == 0 {
            say(Word::Error, "the inputs hold no record");
            say(
                Word::Help,
                "see that they are the flow logs you mean and not empty; run again when there is something to read",
            );
            return Ok(Exit::Failed);
        }
        Ok(Exit::Clean)
    }
}

/// Reads the inputs into the lake, with progress, and tells of problems.
pub(crate) fn ingest(
    lake: &Lake,
    inputs: &[Input],
    settings: &Settings,
) -> Result<Summary, Failure> {
    let mut progress = Progress::start(settings.quiet);
    let mut show = |at: &At| {
        // Inputs differ in size, and what comes is not yet opened: each counts for a thousand.
        let within = at.bytes_total.map_or(0, |total| {
            (at.bytes_read * 1000).checked_div(total).unwrap_or(0)
        });
        let done = at.number as u64 * 1000 + within.min(1000);
        progress.at(done, at.inputs as u64 * 1000, || {
            format!(
                "{} from {} of {}: {}",
                counted(at.records, "record", "records"),
                at.number + 1,
                at.inputs,
                at.input
            )
        });
    };
    let summary = files(lake, inputs, &settings.ingest, &mut show, Utc::now())?;
    drop(progress);
    problems(&summary.problems);
    Ok(summary)
}

/// The names as they were typed; a mistake in them is found before a lake is made.
pub(crate) fn inputs(names: &[String]) -> Result<Vec<Input>, Failure> {
    let inputs: Vec<Input> = names
        .iter()
        .map(|name| match name.as_str() {
            "-" => Input::Stdin,
            _ => Input::Named(name.clone()),
        })
        .collect();
    locate(&inputs, &|_| true).map_err(IngestError::from)?;
    Ok(inputs)
}

/// Tells of problems with single inputs.
pub(crate) fn problems(problems: &[Problem]) {
    for problem in problems {
        let word = match problem.severity {
            Severity::Failed => Word::Error,
            Severity::Note => Word::Note,
        };
        say(word, problem);
        if let Some(help) = problem.help() {
            say(Word::Help, help);
        }
    }
}

/// What became of the records, for people: the figures add up.
pub(crate) fn said(summary: &Summary) -> String {
    let counts = summary.counts;
    let mut text = format!(
        "{} from {}",
        counted(counts.records, "record", "records"),
        counted(summary.inputs, "input", "inputs"),
    );
    if summary.unchanged > 0 {
        text += &format!(" ({} unchanged)", count(summary.unchanged));
    }
    text += &format!(
        ": {}, {}, {}, {}\n",
        counted(counts.flows, "flow", "flows"),
        counted(counts.gaps, "gap", "gaps"),
        counted(counts.rejects, "reject", "rejects"),
        counted(counts.duplicates, "duplicate", "duplicates"),
    );
    for (kind, number) in &summary.reject_kinds {
        text += &format!("  {:>10} rejected: {kind}\n", count(*number));
    }
    text
}
