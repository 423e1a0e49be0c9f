//! `inventory import`: Kubernetes objects from files into the lake.

use chrono::Utc;
use clap::{Args, ValueEnum};
use flowaudit_ingest::Severity as ProblemSeverity;
use flowaudit_ingest::inventory::{Against, Coverage, ImportSettings, ImportSummary, import};
use flowaudit_rules::kubernetes::{Issue, Severity};
use serde::Serialize;

use super::environments::{self, Environment};
use crate::cmd::ingest::{inputs, problems};
use crate::exit::Exit;
use crate::failure::{Failure, Word, say, tell};
use crate::output::{self, counted};
use crate::settings::{self, Everywhere, Typed};
use crate::when::{When, rfc3339};

/// Contradictions told one by one; a wrong `--at` makes thousands.
const CONTRADICTIONS_TOLD: usize = 10;

/// Brings Kubernetes objects into the lake.
///
/// A snapshot says who is there at its time: `--at`, or a time in the file's name such as `20261123T080000Z`, or else
/// when the file was written. Several over time become intervals, in whatever order they come. Audit logs (`audit.log`, exports of
/// the audit logstore) and events (`kubectl get events -o json`, exports of the event centre) tell of the time before, by times of their own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit inventory import snapshots/ audit.log events.json
  flowaudit inventory import cluster-info-dump/ --at 2026-11-24T08:00:00Z
  flowaudit inventory import envs/prod --declared-from 2026-11-24T08:00:00Z --shows complete --cluster prod
  flowaudit inventory import --environment prod=envs/prod --environment staging=envs/staging --declared-from 2026-11-24T08:00:00Z")]
pub(crate) struct Import {
    /// Files, directories, patterns, or `-` for standard input
    #[arg(required_unless_present = "environment", value_name = "FILES")]
    inputs: Vec<String>,
    /// An environment of a GitOps repository and its directory, as in `prod=envs/prod`; may be repeated, each is the cluster of its name
    #[arg(long, value_name = "NAME=PATH", requires = "declared_from", conflicts_with_all = ["inputs", "cluster-name", "cluster-vpc"])]
    environment: Vec<Environment>,
    /// When the snapshots were made, where they do not say themselves
    #[arg(long, value_name = "TIME")]
    at: Option<When>,
    /// The files are manifests, as a GitOps repository holds them: their policies are wanted from then on
    #[arg(long, value_name = "TIME", conflicts_with = "at")]
    declared_from: Option<When>,
    /// What the snapshots show: who is missing there is gone
    #[arg(long, value_enum, default_value_t = Shows::Detect)]
    shows: Shows,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Whose>,
}

/// Warnings told one by one; what is left out is always named.
const WARNINGS_TOLD: usize = 10;

/// What a snapshot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shows {
    /// Whatever its lists list
    Detect,
    /// Every kind in it, in all namespaces
    Complete,
    /// Only the objects in it
    Partial,
}

#[derive(Serialize)]
struct ImportReport {
    cluster: String,
    files: u64,
    objects: u64,
    snapshots: Vec<String>,
    endpoints: u64,
    versions: u64,
    commit: Option<u64>,
    left_out: usize,
    contradictions: usize,
}

impl Import {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.cluster(&self.cluster.0).check()?;
        let now = Utc::now();
        environments::checked(&self.environment)?;
        let wanted = match self.environment.is_empty() {
            true => vec![(settings.cluster.clone(), inputs(&self.inputs)?)],
            false => {
                let each = self.environment.iter();
                let each = each
                    .map(|one| Ok((one.name.clone(), inputs(std::slice::from_ref(&one.path))?)));
                each.collect::<Result<_, Failure>>()?
            }
        };
        let lake = settings.create_or_open_lake()?;
        let (mut reports, mut text, mut exit) = (Vec::new(), String::new(), Exit::Clean);
        for (cluster, inputs) in &wanted {
            let import_settings = ImportSettings {
                cluster: cluster.clone(),
                vpc: settings.vpc.clone(),
                at: self.at.map(|at| at.seen_from(now)),
                declared_from: self.declared_from.map(|from| from.seen_from(now)),
                coverage: match self.shows {
                    Shows::Detect => Coverage::Detect,
                    Shows::Complete => Coverage::Complete,
                    Shows::Partial => Coverage::Partial,
                },
                ..ImportSettings::default()
            };
            let summary = import(&lake, inputs, &import_settings, now)?;
            told(&summary);
            let report = report(cluster, &summary);
            if !self.environment.is_empty() {
                text += &format!("{cluster}: ");
            }
            text += &said(&summary);
            if report.left_out > 0 {
                exit = Exit::Failed;
            } else if summary.objects == 0 {
                nothing(cluster, !self.environment.is_empty());
                exit = Exit::Failed;
            }
            reports.push(report);
        }
        match (&reports[..], self.environment.is_empty()) {
            ([report], true) => output::one(settings.output, report, || text)?,
            _ => output::one(settings.output, &reports, || text)?,
        }
        Ok(exit)
    }
}

fn report(cluster: &str, summary: &ImportSummary) -> ImportReport {
    ImportReport {
        cluster: cluster.to_owned(),
        files: summary.files,
        objects: summary.objects,
        snapshots: summary.snapshots.iter().map(|at| rfc3339(*at)).collect(),
        endpoints: summary.endpoints,
        versions: summary.versions,
        commit: summary.commit,
        left_out: left_out(summary),
        contradictions: summary.contradictions.len(),
    }
}

fn nothing(cluster: &str, is_environment: bool) {
    let text = match is_environment {
        true => format!("environment `{cluster}` holds no Kubernetes object"),
        false => "the inputs hold no Kubernetes object".to_owned(),
    };
    say(Word::Error, text);
    say(
        Word::Help,
        "name files of `kubectl get -o yaml` or `-o json`, or folders in which such files end in .yaml, .yml, .json or .jsonl",
    );
}

/// Files and objects that are not in the lake.
fn left_out(summary: &ImportSummary) -> usize {
    let files = summary
        .problems
        .iter()
        .filter(|problem| problem.severity == ProblemSeverity::Failed);
    let objects = summary
        .issues
        .iter()
        .filter(|issue| issue.severity == Severity::Error);
    files.count() + objects.count()
}

/// Tells of files, objects and contradictions.
pub(crate) fn told(summary: &ImportSummary) {
    problems(&summary.problems);
    issues(&summary.issues);
    super::past::told(&summary.past);
    let contradictions = &summary.contradictions;
    for contradiction in contradictions.iter().take(CONTRADICTIONS_TOLD) {
        let (holder, addr) = (&contradiction.holder, &contradiction.addr);
        let [from, to] = [contradiction.from_us, contradiction.to_us].map(rfc3339);
        let told = match &contradiction.against {
            Against::Holder(other) => {
                let [one, two] = &contradiction.rests;
                format!(
                    "`{holder}` (by {one}) and `{other}` (by {two}) both held {addr} from {from} to {to}"
                )
            }
            Against::Better(other) => {
                let [one, two] = &contradiction.rests;
                format!(
                    "`{holder}` (by {one}) cannot have held {addr} from {from} to {to}: `{other}` (by {two}) did"
                )
            }
            Against::Gone => {
                format!(
                    "`{holder}` was gone by {from}, and what names it at {addr} up to {to} is not believed"
                )
            }
            Against::Returned => {
                format!(
                    "`{holder}` held {addr} until {to}, and a NodeRuntime says that it gave it back at {from}"
                )
            }
        };
        say(Word::Warning, told);
    }
    if let Some(more) = contradictions
        .len()
        .checked_sub(CONTRADICTIONS_TOLD)
        .filter(|more| *more > 0)
    {
        say(Word::Warning, format!("{more} more of that kind"));
    }
    if !contradictions.is_empty() {
        say(
            Word::Help,
            "check that the times and the cluster of the snapshots are right; flows of that time are ambiguous, unless one is believed",
        );
    }
}

/// Names each object that was left out, and some of those that are odd: the first word says which.
pub(crate) fn issues(issues: &[Issue]) {
    let is_error = |issue: &&Issue| issue.severity == Severity::Error;
    let warnings = issues.iter().filter(|issue| !is_error(issue));
    let more = warnings.clone().count().saturating_sub(WARNINGS_TOLD);
    let mut helped = None;
    for issue in warnings
        .take(WARNINGS_TOLD)
        .chain(issues.iter().filter(is_error))
    {
        tell(issue);
        let help = issue.help();
        // Advice is not repeated for each of a hundred objects.
        if let Some(help) = help.as_ref().filter(|_| help != helped) {
            say(Word::Help, help);
        }
        helped = help;
    }
    if more > 0 {
        say(Word::Warning, format!("{more} more objects are odd"));
    }
}

/// What an import did, for people.
pub(crate) fn said(summary: &ImportSummary) -> String {
    let text = format!(
        "{} in {}, {}",
        counted(summary.objects, "object", "objects"),
        counted(summary.files, "file", "files"),
        counted(summary.snapshots.len() as u64, "snapshot", "snapshots"),
    );
    said_known(summary, text + &super::past::said(&summary.past))
}

/// What the lake knows after an import that is told of so.
pub(crate) fn said_known(summary: &ImportSummary, text: String) -> String {
    match summary.commit {
        Some(_) => format!(
            "{text}: the lake knows {} of addresses and {} of objects\n",
            counted(summary.endpoints, "holder", "holders"),
            counted(summary.versions, "version", "versions"),
        ),
        None => format!("{text}: nothing of it is new\n"),
    }
}
