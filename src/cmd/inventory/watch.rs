//! `inventory watch`: what a cluster's API server says, as it comes, into the lake.

use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use clap::Args;
use flowaudit_ingest::Stop;
use flowaudit_ingest::inventory::live::{Recorder, RecorderSettings};
use flowaudit_ingest::kubernetes::{
    Event, Missing, Record, Report, WatchSummary, check_login, watch,
};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::output::{self, count, counted};
use crate::settings::{self, Everywhere, Settings, Typed};
use crate::when::in_words;

/// Between two lines of progress.
const PAUSE: Duration = Duration::from_secs(60);
/// A kind of which nothing was heard for longer is named; bookmarks come about every minute.
const SILENT: Duration = Duration::from_secs(150);

/// Watches a cluster and keeps who held which address when, and what was declared.
///
/// Pods, namespaces, nodes, Services, EndpointSlices, owners, every kind of policy that is served, and what Terway writes
/// of addresses: listed once, then watched for ever. SIGTERM and Ctrl-C end it after a last commit. What happens while
/// nothing watches is not guessed: the next list closes what disappeared, between the last that was heard and then.
/// docs/inventory-watch.md shows how to run it in the cluster, with the rights it needs and no others.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit inventory watch --cluster prod --lake oss://audit/lake
  flowaudit inventory watch --cluster prod --kubeconfig ~/.kube/config --context prod --no-lease
  flowaudit inventory watch --cluster prod --once --no-lease
  flowaudit inventory watch --cluster prod --every 1m --lease flowaudit-prod --lease-namespace audit

Exit codes:
  0  it was told to end, or listed everything
  2  settings, kubeconfig or arguments cannot be used: nothing was read or written
  3  refused, or the server or the lake failed; with --once also if a right is missing. What was committed is good")]
pub(crate) struct Watch {
    /// List everything, commit and end
    #[arg(long)]
    once: bool,
    /// Write without a Lease: only if no second one writes of this cluster
    #[arg(long, conflicts_with_all = ["lease", "lease_namespace"])]
    no_lease: bool,
    #[command(flatten)]
    watch: settings::Watch,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Whose>,
}

/// What was done, for programs.
#[derive(Serialize)]
struct Done<'s> {
    cluster: &'s str,
    kinds: usize,
    listed: u64,
    events: u64,
    commits: u64,
    relisted: u64,
    left_out: u64,
    missing: Vec<MissingRight<'s>>,
}

#[derive(Serialize)]
struct MissingRight<'s> {
    right: &'s str,
    why: &'s str,
    cost: &'s str,
}

impl Watch {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?
            .cluster(&self.cluster.0)
            .watch(&self.watch)
            .check()?;
        let watching = settings.watch.settings(self.once, !self.no_lease);
        check_login(&watching.login)?;
        let lake = settings.create_or_open_lake()?;
        let recording = RecorderSettings {
            cluster: settings.cluster.clone(),
            vpc: settings.vpc.clone(),
        };
        // Whenever the lease becomes ours: another one may have written meanwhile.
        let mut open = || {
            let recorder = Recorder::open(&lake, &recording)?;
            Ok(Box::new(recorder) as Box<dyn Record + '_>)
        };
        let mut telling = Telling::new(&settings);
        let mut events = |event: Event<'_>| telling.tell(event);
        let summary = watch(&mut open, &watching, &mut events, &Stop::default())?;
        let done = Done {
            cluster: &settings.cluster,
            kinds: summary.kinds,
            listed: summary.listed,
            events: summary.events,
            commits: summary.commits,
            relisted: summary.relisted,
            left_out: summary.left_out,
            missing: summary.missing.iter().map(MissingRight::from).collect(),
        };
        output::one(settings.output, &done, || said(&settings.cluster, &summary))?;
        let is_whole = summary.missing.is_empty() && summary.left_out == 0;
        match self.once && !is_whole {
            true => Ok(Exit::Failed),
            false => Ok(Exit::Clean),
        }
    }
}

impl<'s> From<&'s Missing> for MissingRight<'s> {
    fn from(missing: &'s Missing) -> Self {
        MissingRight {
            right: &missing.right,
            why: &missing.why,
            cost: missing.cost,
        }
    }
}

/// What a run tells on standard error while it goes on.
struct Telling<'s> {
    settings: &'s Settings,
    /// When the last line of progress was told.
    told: Option<Instant>,
    /// What has happened since.
    events: u64,
    commits: u64,
    lag: Duration,
}

impl<'s> Telling<'s> {
    fn new(settings: &'s Settings) -> Self {
        Telling {
            settings,
            told: None,
            events: 0,
            commits: 0,
            lag: Duration::ZERO,
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        let settings = self.settings;
        match event {
            Event::Connected { server, kinds } => {
                let kinds = counted(kinds as u64, "kind", "kinds");
                settings.tell(format!("{} connected to {server}: {kinds}", now()));
            }
            Event::Leading => settings.tell(format!("{} the lease is ours: recording", now())),
            Event::Standby { holder } => {
                settings.tell(format!("{} `{holder}` holds the lease: standing by", now()));
            }
            Event::LeaseLost => {
                say(
                    Word::Warning,
                    "the lease is not ours any more: recording has stopped, and what was not committed is left to whoever holds it",
                );
            }
            Event::Listed { kind, objects } => {
                settings.tell(format!("{} listed {kind}: {}", now(), count(objects)));
            }
            Event::Lost { kind, why } => say(
                Word::Warning,
                format!("{kind} is missed from now on ({why}) until it is listed anew"),
            ),
            Event::Missing(missing) => {
                let Missing { right, why, cost } = missing;
                say(Word::Warning, format!("{right}: {why}; without it, {cost}"));
                say(
                    Word::Help,
                    "allow `list` and `watch` as in docs/kubernetes/rbac.yaml; it is tried again every five minutes",
                );
            }
            Event::Unread { right, versions } => {
                let versions = versions.join(", ");
                say(
                    Word::Warning,
                    format!(
                        "{right}: the cluster serves it as {versions} only, which is not read; connections are judged without it"
                    ),
                );
            }
            Event::Issue(issue) => super::issues(std::slice::from_ref(issue)),
            Event::Committed(report) => self.committed(report),
            Event::Waiting(words) => say(Word::Warning, format!("{words}; trying on")),
        }
    }

    /// A line now and then, however often is committed.
    fn committed(&mut self, report: &Report) {
        self.events += report.events;
        self.commits += u64::from(report.commit.is_some());
        self.lag = self.lag.max(report.lag);
        if self.told.is_some_and(|told| told.elapsed() < PAUSE) {
            return;
        }
        self.told = Some(Instant::now());
        let (events, commits) = (
            counted(std::mem::take(&mut self.events), "event", "events"),
            counted(std::mem::take(&mut self.commits), "commit", "commits"),
        );
        let lag = std::mem::take(&mut self.lag).as_secs_f64();
        let mut line = format!(
            "{} {events}, {commits}; {} of {} watched, {} listed; at most {lag:.1} s behind",
            now(),
            count(report.watched as u64),
            counted(report.served as u64, "kind", "kinds"),
            counted(report.listed, "object", "objects"),
        );
        if !report.lost.is_empty() {
            let lost: Vec<String> = report.lost.iter().map(ToString::to_string).collect();
            line += &format!("; missed just now: {}", lost.join(", "));
        }
        if let Some((kind, silent)) = report.silent.as_ref().filter(|(_, is)| *is > SILENT) {
            let silent = in_words(i64::try_from(silent.as_secs()).unwrap_or(i64::MAX));
            line += &format!("; nothing of {kind} for {silent}");
        }
        self.settings.tell(line);
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What was done, for people.
fn said(cluster: &str, summary: &WatchSummary) -> String {
    let mut text = format!(
        "`{cluster}`: {}, {} listed, {}, {}\n",
        counted(summary.kinds as u64, "kind", "kinds"),
        counted(summary.listed, "object", "objects"),
        counted(summary.events, "event", "events"),
        counted(summary.commits, "commit", "commits"),
    );
    if summary.relisted > 0 {
        text += &format!(
            "  {:>10} because a watch could not be taken up again\n",
            counted(summary.relisted, "list", "lists")
        );
    }
    if summary.left_out > 0 {
        text += &format!(
            "  {:>10} left out\n",
            counted(summary.left_out, "object", "objects")
        );
    }
    for missing in &summary.missing {
        text += &format!("  missing: {}: {}\n", missing.right, missing.cost);
    }
    text
}
