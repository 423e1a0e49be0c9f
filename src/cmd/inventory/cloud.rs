//! `inventory cloud`: what the cloud says of itself into the lake, asked or from saved answers.

use std::collections::BTreeMap;

use chrono::Utc;
use clap::Args;
use flowaudit_ingest::cloud::{CloudSummary, SavedSettings, ask, import};
use serde::Serialize;

use crate::cmd::ingest::{inputs, problems};
use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::output::{self, count, counted};
use crate::settings::{Everywhere, Typed};
use crate::when::When;

/// Brings interfaces, security groups, flow logs, NAT gateways and load balancers into the lake.
///
/// The control plane is asked, by calls that only read (docs/ram/inventory-cloud.json), with keys as everywhere. With
/// files their answers are taken instead: JSON as `aliyun ecs DescribeNetworkInterfaces` and its neighbours print it, one
/// answer or many in a file. Looks over time become intervals. What the flow logs cannot contain is said.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit inventory cloud --region cn-hangzhou
  flowaudit inventory cloud --region cn-hangzhou --vpc vpc-bp1cznkxxxxxxxxvv
  aliyun ecs DescribeNetworkInterfaces --MaxResults 500 > enis.json; flowaudit inventory cloud --region cn-hangzhou enis.json")]
pub(crate) struct Cloud {
    /// Files with saved answers, directories, patterns, or `-` for standard input
    #[arg(value_name = "FILES")]
    inputs: Vec<String>,
    /// The region that is asked, or that the answers are from [default: `cloud.region` of the settings file]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Ask about this VPC only; may be repeated
    #[arg(long, value_name = "VPC", conflicts_with = "inputs")]
    vpc: Vec<String>,
    /// When the answers were given, where names of files do not say so
    #[arg(long, value_name = "TIME", requires = "inputs")]
    at: Option<When>,
    /// The answers are all there was: whatever of their kinds is missing was gone by then
    #[arg(long, requires = "inputs")]
    complete: bool,
    /// Let endpoints be asked over http, unencrypted
    #[arg(long, conflicts_with = "inputs")]
    insecure: bool,
}

#[derive(Serialize)]
struct Report<'s> {
    region: &'s str,
    answers: u64,
    things: BTreeMap<&'static str, u64>,
    not_logged: &'s [String],
    endpoints: u64,
    versions: u64,
    commit: Option<u64>,
    failed: Vec<String>,
}

impl Cloud {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let region = settings.cloud.region(self.region.as_deref())?;
        let now = Utc::now();
        let summary = if self.inputs.is_empty() {
            let client = settings.cloud.client(&region, self.insecure)?;
            let lake = settings.create_or_open_lake()?;
            ask(&lake, &client, &self.vpc, now)?
        } else {
            let saved = SavedSettings {
                region: region.clone(),
                at: self.at.map(|at| at.seen_from(now)),
                complete: self.complete,
            };
            let inputs = inputs(&self.inputs)?;
            let lake = settings.create_or_open_lake()?;
            import(&lake, &inputs, &saved, now)?
        };
        problems(&summary.problems);
        super::issues(&summary.issues);
        for error in &summary.failed {
            say(Word::Error, error);
            if let Some(help) = error.help() {
                say(Word::Help, help);
            }
        }
        for limit in &summary.limits {
            say(Word::Warning, limit);
        }
        let report = Report {
            region: &region,
            answers: summary.answers,
            things: summary
                .counts
                .iter()
                .map(|(kind, number)| (kind.as_str(), *number))
                .collect(),
            not_logged: &summary.limits,
            endpoints: summary.endpoints,
            versions: summary.versions,
            commit: summary.commit,
            failed: summary.failed.iter().map(ToString::to_string).collect(),
        };
        output::one(settings.output, &report, || said(&region, &summary))?;
        if summary.has_failures() {
            return Ok(Exit::Failed);
        }
        if summary.answers == 0 {
            say(Word::Error, "the inputs hold no answer that is used");
            say(Word::Help, "docs/inventory-cloud.md lists the calls");
            return Ok(Exit::Failed);
        }
        Ok(Exit::Clean)
    }
}

/// What became of it, for people.
fn said(region: &str, summary: &CloudSummary) -> String {
    let answers = counted(summary.answers, "answer", "answers");
    let mut text = format!("{region}, {answers}");
    for (kind, number) in &summary.counts {
        text += &format!("\n  {:>10} {}", count(*number), kind.as_str());
    }
    match summary.commit {
        Some(_) => format!(
            "{text}\nthe lake knows {} of addresses and {} of what the cloud holds\n",
            counted(summary.endpoints, "holder", "holders"),
            counted(summary.versions, "version", "versions"),
        ),
        None => format!("{text}\nnothing of it is new\n"),
    }
}
