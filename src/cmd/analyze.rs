//! `analyze`: hours not yet analysed, or re-opened → edges, coverage, findings.

use std::collections::BTreeMap;

use chrono::Utc;
use clap::Args;
use flowaudit_analyze::coverage::{Coverage, Step};
use flowaudit_analyze::{Progress as At, Selection, Summary, run};
use flowaudit_lake::{Lake, Table};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::findings_view;
use crate::output::{self, count, counted};
use crate::progress::Progress;
use crate::settings::{self, Everywhere, Settings, Typed};
use crate::when::{Window, in_words, rfc3339};

/// Turns hours not yet analysed, or re-opened by late data or new inventory, into edges, coverage and findings.
///
/// Analysing an hour again replaces its rows and says the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit analyze
  flowaudit analyze --since 24h --fail-on high
  flowaudit analyze --again --engine felix")]
pub(crate) struct Analyze {
    /// Also hours that are analysed already and have not changed
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    fail: settings::Fail,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Placed>,
    #[command(flatten)]
    analyze: settings::Analyze,
}

/// What an analysis did, for programs.
#[derive(Serialize)]
struct Report {
    hours: Vec<String>,
    records: u64,
    edges: u64,
    coverage: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    findings: BTreeMap<String, u64>,
}

impl Analyze {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?
            .cluster(&self.cluster.0)
            .analyze(&self.analyze)
            .fail(&self.fail)
            .check()?;
        let (since_us, until_us) = self.window.us(Utc::now())?;
        let selection = Selection {
            since_us,
            until_us,
            again: self.again,
        };
        let lake = settings.open_lake()?;
        warn_of_what_is_missing(&lake)?;
        let summary = analyze(&lake, &settings, &selection)?;
        let report = Report {
            hours: summary
                .hours
                .iter()
                .map(|hour| rfc3339(hour.start_us()))
                .collect(),
            records: summary.records,
            edges: summary.edges,
            coverage: by_step(&summary.coverage),
            findings: by_detection(&summary),
        };
        output::one(settings.output, &report, || said(&summary))?;
        warn_of_what_is_old(&summary);
        let reached = summary
            .findings
            .iter()
            .any(|row| settings.fail_on.is_reached_by(&row.severity));
        Ok(match reached {
            true => Exit::Findings,
            false => Exit::Clean,
        })
    }
}

/// An analysis of half of what it needs looks like one that found nothing.
fn warn_of_what_is_missing(lake: &Lake) -> Result<(), Failure> {
    let snapshot = lake.snapshot()?;
    if snapshot.rows(Table::Flows) == 0 {
        say(
            Word::Warning,
            "the lake holds no flows, so there is nothing to analyse",
        );
        say(Word::Help, "bring them in with `flowaudit ingest FILES`");
    }
    if snapshot.rows(Table::Endpoints) == 0 {
        say(
            Word::Warning,
            "the lake holds no inventory, so nobody is known to have held any address: all count as external",
        );
        say(
            Word::Help,
            "bring it in with `flowaudit inventory import`, which has the hours it concerns analysed again",
        );
    }
    Ok(())
}

/// An inventory that ends long before the records names nobody after that.
fn warn_of_what_is_old(summary: &Summary) {
    // A cluster that is looked at every now and then is a little behind all the time.
    const BEHIND_US_MAX: i64 = 10 * 60 * 1_000_000;
    let Some(flows) = summary.flows_until_us else {
        return;
    };
    for (cluster, seen) in &summary.seen_until {
        let behind_us = flows.saturating_sub(*seen);
        if behind_us > BEHIND_US_MAX {
            let behind = in_words(behind_us / 1_000_000);
            say(
                Word::Warning,
                format!(
                    "the inventory of cluster `{cluster}` ends {behind} before the newest record: who held an address after that is not known"
                ),
            );
            say(
                Word::Help,
                "import a newer snapshot, which has the hours it concerns analysed again; `flowaudit inventory health` says more",
            );
        }
    }
}

/// How old the inventory is, in one line per cluster.
fn inventory(summary: &Summary) -> String {
    let line = |(cluster, seen): (&String, &i64)| {
        let behind = summary.flows_until_us.map(|flows| flows - seen);
        let behind = match behind.filter(|behind| *behind >= 1_000_000) {
            Some(us) => format!(", {} before the newest record", in_words(us / 1_000_000)),
            None => String::new(),
        };
        format!(
            "inventory: cluster {cluster} last seen {}{behind}\n",
            rfc3339(*seen)
        )
    };
    summary.seen_until.iter().map(line).collect()
}

/// Analyses what is due, with progress.
pub(crate) fn analyze(
    lake: &Lake,
    settings: &Settings,
    selection: &Selection,
) -> Result<Summary, Failure> {
    let mut progress = Progress::start(settings.quiet);
    let summary = run(lake, &settings.analyze, selection, |at: At| {
        progress.at(at.done as u64, at.hours as u64, || {
            format!(
                "hour {} ({} of {})",
                rfc3339(at.hour.start_us()),
                at.done + 1,
                at.hours
            )
        });
    })?;
    Ok(summary)
}

fn by_step(coverage: &Coverage) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let mut steps: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (step, outcome, records) in coverage.iter() {
        steps
            .entry(step.as_str())
            .or_default()
            .insert(outcome, records);
    }
    steps
}

fn by_detection(summary: &Summary) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    // A finding of several days is one finding.
    for row in findings_view::over_days(summary.findings.clone()) {
        *found.entry(row.detection).or_default() += 1;
    }
    found
}

/// What an analysis did, for people.
pub(crate) fn said(summary: &Summary) -> String {
    if summary.hours.is_empty() {
        return "nothing to analyse: no hour is new or re-opened (`--again` analyses them all)\n"
            .to_owned();
    }
    let mut text = format!(
        "{} in {}: {}\n",
        counted(summary.records, "record", "records"),
        counted(summary.hours.len() as u64, "hour", "hours"),
        counted(summary.edges, "edge", "edges"),
    );
    text += &inventory(summary);
    text += &coverage(&summary.coverage);
    let found = by_detection(summary);
    text += &format!(
        "findings of these days: {}\n",
        counted(found.values().sum(), "finding", "findings")
    );
    for (detection, number) in &found {
        text += &format!("  {:>10}  {detection}\n", count(*number));
    }
    text
}

/// What was and was not seen: each step accounts for every record.
pub(crate) fn coverage(coverage: &Coverage) -> String {
    const STEPS: [Step; 6] = [
        Step::Read,
        Step::Identify,
        Step::Orient,
        Step::Judge,
        Step::Observe,
        Step::Classify,
    ];
    let mut text = String::from("coverage, in records:\n");
    for step in STEPS {
        let total = coverage.total(step);
        let mut outcomes: Vec<(&str, u64)> = coverage
            .iter()
            .filter(|(of, _, _)| *of == step)
            .map(|(_, outcome, records)| (outcome, records))
            .collect();
        outcomes.sort_by_key(|(outcome, records)| (std::cmp::Reverse(*records), *outcome));
        let outcomes = outcomes
            .iter()
            .map(|(outcome, records)| format!("{outcome} {} %", percent(*records, total)));
        let outcomes: Vec<String> = outcomes.collect();
        text += &format!("  {:<9} {}\n", step.as_str(), outcomes.join(" · "));
    }
    text
}

/// With one digit; what is not nothing is never shown as nothing, and what is not all never as all.
fn percent(part: u64, whole: u64) -> String {
    let exact = part as f64 * 100.0 / whole.max(1) as f64;
    if part > 0 && exact < 0.05 {
        "<0.1".to_owned()
    } else if part < whole && exact >= 99.95 {
        ">99.9".to_owned()
    } else if part == whole {
        "100".to_owned()
    } else {
        format!("{exact:.1}")
    }
}
