//! `inventory who`: who held an address at a time, and why that is said.

use std::net::IpAddr;

use chrono::Utc;
use clap::Args;
use flowaudit_analyze::hour::Inventory;
use flowaudit_analyze::identify::{Held, Stretch};
use flowaudit_ingest::inventory::over_time::Rests;
use flowaudit_ingest::inventory::who;
use flowaudit_lake::table::endpoints::EndpointRow;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::settings::{self, Everywhere, Typed};
use crate::when::{self, When, rfc3339};

/// Tells who held an address, as an analysis would: by what evidence, how sure, and who else may have.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit inventory who 10.0.3.7 --at 2026-11-23T08:00:00Z
  flowaudit inventory who 10.0.3.7 --at 2h -o json
  flowaudit inventory who 10.0.3.7 --vpc vpc-bp1cznkxxxxxxxxvv")]
pub(crate) struct Who {
    /// The address
    addr: IpAddr,
    /// When: RFC 3339, or how long ago [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<When>,
    /// The VPC in which the address is meant, where several use the same addresses
    #[arg(long, value_name = "VPC")]
    vpc: Option<String>,
    #[command(flatten)]
    analyze: settings::Heeds<settings::Identified>,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Ranges>,
}

/// What an analysis would say.
#[derive(Serialize)]
struct Answer {
    addr: String,
    at: String,
    /// `identified`, or why not.
    answer: &'static str,
    /// The same as a sentence.
    because: String,
    candidates: Vec<Candidate>,
}

/// One who held it, then or before or after.
#[derive(Serialize)]
struct Candidate {
    held: &'static str,
    kind: String,
    cluster: String,
    vpc: Option<String>,
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
    workload_kind: Option<String>,
    workload: Option<String>,
    node: Option<String>,
    valid_from: String,
    valid_to: Option<String>,
    from_slack_ms: Option<i64>,
    to_slack_ms: Option<i64>,
    evidence: String,
    last_seen: Option<String>,
}

impl Who {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let typed = Typed::new(everywhere)?.analyze(&self.analyze.0);
        let settings = typed.cluster(&self.cluster.0).check()?;
        let lake = settings.open_lake()?;
        let at = when::or_now(self.at, Utc::now());
        let at_us = at.timestamp_micros();
        let instant = Stretch {
            from: at_us,
            to: at_us,
        };
        let inventory = Inventory::read(&lake, &lake.snapshot()?, instant)?;
        let book = inventory.book(&settings.analyze);
        let addr = self.addr.to_canonical();
        let held = book.held(addr, self.vpc.as_deref(), instant);
        let (answer, because) = match &held {
            Held::By { identity, .. } => {
                let identity = book.identity(*identity);
                let name = match &identity.namespace {
                    Some(namespace) => format!("{namespace}/{}", identity.name),
                    None => identity.name.clone(),
                };
                ("identified", format!("{} {name} held it", identity.kind))
            }
            Held::Range { identity } => {
                let range = book.identity(*identity);
                let name = format!("it lies in {} {}", range.kind, range.name);
                ("identified", name)
            }
            Held::External => ("external", "no cluster has addresses there".to_owned()),
            Held::Unclear(doubt) => (doubt.as_str(), doubt.sentence().to_owned()),
        };
        let same_vpc = |row: &EndpointRow| match (row.vpc_id.as_deref(), self.vpc.as_deref()) {
            (Some(held), Some(asked)) => held == asked,
            _ => true,
        };
        let word = |surely| if surely { "surely" } else { "possibly" };
        let mut candidates: Vec<Candidate> = who::who(&lake, addr, at)?
            .into_iter()
            .filter(|held| same_vpc(&held.row))
            .map(|held| candidate(word(held.surely), held.row))
            .collect();
        let [before, after] = who::neighbours(&lake, addr, at)?;
        for (word, row) in [("before", before), ("after", after)] {
            let row = row.filter(same_vpc);
            candidates.extend(row.map(|row| candidate(word, row)));
        }
        let answer = Answer {
            addr: addr.to_string(),
            at: rfc3339(at_us),
            answer,
            because,
            candidates,
        };
        if settings.output != Format::Table {
            output::one(settings.output, &answer, String::new)?;
            return Ok(Exit::Clean);
        }
        output::print(&format!(
            "{} at {}: {}: {}\n",
            answer.addr, answer.at, answer.answer, answer.because
        ))?;
        let headers = [
            "held", "kind", "name", "workload", "node", "from", "to", "evidence",
        ];
        if !answer.candidates.is_empty() {
            output::list(settings.output, &answer.candidates, &headers, cells)?;
        }
        Ok(Exit::Clean)
    }
}

fn candidate(held: &'static str, row: EndpointRow) -> Candidate {
    let rests = Rests::of(&row);
    Candidate {
        held,
        evidence: rests.words(),
        last_seen: rests.last_seen.map(|at| rfc3339(at.timestamp_micros())),
        kind: row.kind,
        cluster: row.cluster,
        vpc: row.vpc_id,
        namespace: row.namespace,
        name: row.name,
        uid: row.uid,
        workload_kind: row.workload_kind,
        workload: row.workload,
        node: row.node,
        valid_from: rfc3339(row.valid_from_us),
        valid_to: row.valid_to_us.map(rfc3339),
        from_slack_ms: row.from_slack_ms,
        to_slack_ms: row.to_slack_ms,
    }
}

fn cells(row: &Candidate) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let workload = match (&row.workload_kind, &row.workload) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        _ => "-".to_owned(),
    };
    let name = match &row.namespace {
        Some(namespace) => format!("{namespace}/{}", row.name),
        None => row.name.clone(),
    };
    vec![
        row.held.to_owned(),
        row.kind.clone(),
        name,
        workload,
        or_dash(&row.node),
        with_slack(row.valid_from.clone(), row.from_slack_ms, '-'),
        with_slack(or_dash(&row.valid_to), row.to_slack_ms, '+'),
        row.evidence.clone(),
    ]
}

/// A time, and how much earlier or later it may have been.
pub(super) fn with_slack(time: String, slack_ms: Option<i64>, sign: char) -> String {
    match slack_ms {
        Some(0) => time,
        Some(ms) if ms < 1000 => format!("{time} {sign}{ms}ms"),
        Some(ms) => format!("{time} {sign}{}s", (ms + 999) / 1000),
        None if time == "-" => time,
        None => format!("{time} {sign}?"),
    }
}
