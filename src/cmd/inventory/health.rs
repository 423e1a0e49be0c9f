//! `inventory health`: how old the inventory is, what it rests on, where it has holes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::Args;
use flowaudit_ingest::inventory::health::{self, OfCluster};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, counted};
use crate::settings::{Everywhere, Typed};
use crate::when::{in_words, rfc3339};

/// Tells how old the inventory is, what it rests on, where it has holes and contradictions, which engine was found, and what flow logs cannot
/// contain.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit inventory health
  flowaudit inventory health -o json")]
pub(crate) struct Health {}

#[derive(Serialize)]
struct Report {
    newest_flow: Option<String>,
    /// Records whose ends are both identified, of all that were analysed.
    identified: i64,
    records: i64,
    by_outcome: BTreeMap<String, i64>,
    /// What flow logs cannot contain.
    unlogged: Vec<String>,
    clusters: Vec<Cluster>,
}

#[derive(Serialize)]
struct Cluster {
    cluster: String,
    last_seen: Option<String>,
    /// How long before the newest record of the log the inventory ends, in seconds.
    behind_flows_s: Option<i64>,
    snapshots: u64,
    /// Kinds that a live watch follows, or followed, by name.
    watched: BTreeMap<String, Watched>,
    engine: Option<String>,
    addresses: BTreeMap<String, u64>,
    last_seen_by: BTreeMap<String, String>,
    gaps: Vec<Gap>,
    contradictions: usize,
}

#[derive(Serialize)]
struct Watched {
    /// When it was last heard; absent where it never could be had.
    heard: Option<String>,
    /// Why it cannot be had since.
    lost: Option<String>,
}

#[derive(Serialize)]
struct Gap {
    from: String,
    to: String,
    what: String,
}

/// Gaps shown one by one.
const GAPS_TOLD: usize = 5;

impl Health {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let health = health::health(&settings.open_lake()?)?;
        let report = Report {
            newest_flow: health.newest_flow_us.map(rfc3339),
            identified: health.identified.0,
            records: health.identified.1,
            by_outcome: health.by_outcome,
            unlogged: health.unlogged,
            clusters: health
                .clusters
                .into_iter()
                .map(|(name, of)| cluster(name, of, health.newest_flow_us))
                .collect(),
        };
        let now = Utc::now();
        output::one(settings.output, &report, || said(&report, now))?;
        Ok(Exit::Clean)
    }
}

fn cluster(cluster: String, of: OfCluster, newest_flow_us: Option<i64>) -> Cluster {
    let behind = newest_flow_us
        .zip(of.last_seen_us)
        .map(|(flow, seen)| flow.saturating_sub(seen).max(0) / 1_000_000);
    Cluster {
        cluster,
        last_seen: of.last_seen_us.map(rfc3339),
        behind_flows_s: behind,
        snapshots: of.snapshots,
        engine: of.engine.map(|engine| engine.to_string()),
        addresses: of.addresses,
        last_seen_by: of
            .evidence
            .into_iter()
            .map(|(by, at)| (by, rfc3339(at)))
            .collect(),
        watched: of
            .watched
            .into_iter()
            .map(|(kind, of)| {
                let watched = Watched {
                    heard: of.heard_us.map(rfc3339),
                    lost: of.lost,
                };
                (kind, watched)
            })
            .collect(),
        gaps: of
            .gaps
            .into_iter()
            .map(|gap| Gap {
                from: rfc3339(gap.from_us),
                to: rfc3339(gap.to_us),
                what: gap.what,
            })
            .collect(),
        contradictions: of.contradictions.len(),
    }
}

fn said(report: &Report, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    if report.clusters.is_empty() {
        text += "no inventory: bring it in with `flowaudit inventory import`\n";
    }
    for one in &report.clusters {
        text += &match one.cluster.as_str() {
            "" => "the cloud: ".to_owned(),
            name => format!("cluster {name}: "),
        };
        text += &match &one.last_seen {
            Some(at) => format!("last seen {at}{}", age(at, now)),
            None => "never seen".to_owned(),
        };
        if let Some(behind) = one.behind_flows_s.filter(|behind| *behind > 0) {
            text += &format!(", {} before the newest record of the log", in_words(behind));
        }
        text.push('\n');
        if !one.cluster.is_empty() {
            let engine = one.engine.as_deref().unwrap_or("not found");
            text += &format!("  engine      {engine}\n");
        }
        let addresses = one.addresses.iter();
        let addresses: Vec<String> = addresses
            .map(|(kind, number)| format!("{kind} {number}"))
            .collect();
        text += &format!("  addresses   {}\n", addresses.join(" · "));
        for (by, at) in &one.last_seen_by {
            text += &format!("  evidence    {by}, last {at}\n");
        }
        text += &format!("  snapshots   {}\n", one.snapshots);
        let heard = one.watched.values().filter(|kind| kind.lost.is_none());
        let heard: Vec<&String> = heard.filter_map(|kind| kind.heard.as_ref()).collect();
        if let Some(since) = heard.iter().min() {
            let kinds = counted(heard.len() as u64, "kind", "kinds");
            text += &format!("  watched     {kinds}, all heard up to {since}\n");
        }
        for (kind, watched) in &one.watched {
            let Some(why) = &watched.lost else {
                continue;
            };
            let heard = watched.heard.as_deref().unwrap_or("never");
            text += &format!("  lost        {kind}, last heard {heard}: {why}\n");
        }
        if one.gaps.is_empty() {
            text += "  gaps        none known\n";
        }
        for gap in one.gaps.iter().rev().take(GAPS_TOLD) {
            let what = match gap.what.as_str() {
                "" => "everything",
                what => what,
            };
            text += &format!(
                "  gap         {} to {}: {what} not watched\n",
                gap.from, gap.to
            );
        }
        if let Some(more) = one
            .gaps
            .len()
            .checked_sub(GAPS_TOLD)
            .filter(|more| *more > 0)
        {
            text += &format!("  gaps        {more} more before these\n");
        }
        if one.contradictions > 0 {
            let number = counted(one.contradictions as u64, "address", "addresses");
            text += &format!(
                "  contradicts {number}: two holders at one time, or one whose network was gone\n"
            );
        }
    }
    for limit in &report.unlogged {
        text += &format!("not logged: {limit}\n");
    }
    if report.records > 0 {
        let share = report.identified as f64 * 100.0 / report.records as f64;
        text += &format!(
            "both ends identified of {share:.2} % of {} analysed\n",
            counted(report.records.unsigned_abs(), "record", "records")
        );
    }
    text
}

/// How long ago, in words.
fn age(at: &str, now: DateTime<Utc>) -> String {
    match at.parse::<DateTime<Utc>>() {
        Ok(at) if at <= now => format!(", {} ago", in_words((now - at).num_seconds())),
        _ => String::new(),
    }
}
