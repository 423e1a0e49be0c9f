//! `inventory import`: Kubernetes objects from files into the lake.

use chrono::Utc;
use clap::{Args, ValueEnum};
use flowaudit_ingest::Severity as ProblemSeverity;
use flowaudit_ingest::inventory::{Against, Coverage, ImportSettings, ImportSummary, import};
use flowaudit_rules::kubernetes::{Issue, Severity};
use serde::Serialize;

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
  flowaudit inventory import envs/staging --declared-from 2026-11-24T08:00:00Z --shows complete --cluster staging")]
pub(crate) struct Import {
    /// Files, directories, patterns, or `-` for standard input
    #[arg(required = true, value_name = "FILES")]
    inputs: Vec<String>,
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
        let import_settings = ImportSettings {
            cluster: settings.cluster.clone(),
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
        let inputs = inputs(&self.inputs)?;
        let lake = settings.create_or_open_lake()?;
        let summary = import(&lake, &inputs, &import_settings, now)?;
        told(&summary);
        let left_out = left_out(&summary);
        let report = ImportReport {
            files: summary.files,
            objects: summary.objects,
            snapshots: summary.snapshots.iter().map(|at| rfc3339(*at)).collect(),
            endpoints: summary.endpoints,
            versions: summary.versions,
            commit: summary.commit,
            left_out,
            contradictions: summary.contradictions.len(),
        };
        output::one(settings.output, &report, || said(&summary))?;
        if left_out > 0 {
            return Ok(Exit::Failed);
        }
        if summary.objects == 0 {
            say(Word::Error, "the inputs hold no Kubernetes object");
            say(
                Word::Help,
                "name files of `kubectl get -o yaml` or `-o json`, or folders in which such files end in .yaml, .yml, .json or .jsonl",
            );
            return Ok(Exit::Failed);
        }
        Ok(Exit::Clean)
    }
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
                format!("`{holder}` and `{other}` both held {addr} from {from} to {to}")
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
            "check that the times and the cluster of the snapshots are right; flows of that time are ambiguous",
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
