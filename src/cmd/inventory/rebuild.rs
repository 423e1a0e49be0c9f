//! `inventory rebuild`: the past of a cluster from its audit logstore and its event centre.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use clap::Args;
use flowaudit_ingest::inventory::ImportSettings;
use flowaudit_ingest::inventory::past::rebuild::{
    Logstore, RebuildProgress, RebuildSettings, rebuild,
};
use serde::Serialize;

use super::{past, said_known, told};
use crate::cmd::ingest_source::{client, source};
use crate::exit::Exit;
use crate::failure::{Failure, Mistake, Word, say};
use crate::output::{self, bytes, counted};
use crate::progress::Progress;
use crate::settings::{self, Everywhere, Source, Typed};
use crate::when::When;

/// How far back is read where nothing is said.
const BACK: Duration = Duration::days(7);

/// Rebuilds who held which address and what was declared from the audit log and the event centre in the log service.
///
/// Reads logstores that the settings file names: `audit-<clusterid>`, and `k8s-event` of the event centre. What they tell is merged with what is
/// known, and marked with what it rests on. What was not written in that time is not in the log: import a snapshot of the
/// present first. Doing it again changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl get nodes,namespaces,pods,services,replicasets,jobs,networkpolicies -A -o yaml --show-managed-fields | flowaudit inventory import -
  flowaudit inventory rebuild --source audit --source events --from 14d
  flowaudit inventory rebuild --source audit --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --cluster prod")]
pub(crate) struct Rebuild {
    /// A source of the settings file that holds audit events or events; may be repeated
    #[arg(long, required = true, value_name = "NAME")]
    source: Vec<String>,
    /// From when on: RFC 3339, or how long ago, as in `14d` [default: 7d]
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// Up to when [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<When>,
    /// Let sources be read over http, unencrypted
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Whose>,
}

#[derive(Serialize)]
struct Report {
    entries: u64,
    bytes_received: u64,
    left_out: u64,
    stretches_missed: u64,
    past: past::Report,
    evidence: BTreeMap<String, u64>,
    endpoints: u64,
    versions: u64,
    commit: Option<u64>,
    contradictions: usize,
}

impl Rebuild {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.cluster(&self.cluster.0).check()?;
        let now = Utc::now();
        let seen =
            |when: Option<When>, or: DateTime<Utc>| when.map_or(or, |when| when.seen_from(now));
        let (from, to) = (seen(self.from, now - BACK), seen(self.to, now));
        if from >= to {
            let mistake = Mistake("`--from` is not before `--to`".to_owned());
            return Err(Failure::usage(mistake, None));
        }
        let mut logstores = Vec::new();
        for name in &self.source {
            let Source::Sls(sls) = source(&settings, name)? else {
                let mistake = Mistake(format!("`{name}` is a bucket, and no logstore"));
                let help = "files that were shipped to a bucket can be imported: `flowaudit inventory import FILES`";
                return Err(Failure::usage(mistake, Some(help.to_owned())));
            };
            let pulling = sls.pull(false, None, now)?;
            logstores.push(Logstore {
                client: client(sls, self.insecure, false)?,
                query: pulling.query,
                packing: pulling.packing,
            });
        }
        let rebuilding = RebuildSettings {
            cluster: ImportSettings {
                cluster: settings.cluster.clone(),
                vpc: settings.vpc.clone(),
                ..ImportSettings::default()
            },
            from_s: from.timestamp(),
            to_s: to.timestamp(),
            now_s: now.timestamp(),
        };
        let lake = settings.create_or_open_lake()?;
        let mut progress = Progress::start(settings.quiet);
        let length = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
        let mut tell = |at: RebuildProgress| {
            let (done, total) = (
                at.reached_s - from.timestamp(),
                to.timestamp() - from.timestamp(),
            );
            progress.at(length(done), length(total), || {
                let entries = counted(at.read.entries, "entry", "entries");
                format!("{entries}, {}", bytes(at.read.packed_bytes))
            });
        };
        let (summary, read) = rebuild(&lake, &logstores, &rebuilding, &mut tell)?;
        drop(progress);
        told(&summary);
        if read.missed > 0 {
            say(
                Word::Warning,
                "a part of the logstores outlived its retention while it was read",
            );
        }
        if read.left_out > 0 {
            let entries = counted(read.left_out, "entry", "entries");
            say(
                Word::Warning,
                format!("the service could not apply `query` to {entries} and left them out"),
            );
        }
        let report = Report {
            entries: read.entries,
            bytes_received: read.packed_bytes,
            left_out: read.left_out,
            stretches_missed: read.missed,
            past: past::report(&summary.past),
            evidence: summary.evidence.clone(),
            endpoints: summary.endpoints,
            versions: summary.versions,
            commit: summary.commit,
            contradictions: summary.contradictions.len(),
        };
        let text = || {
            let entries = counted(read.entries, "entry", "entries");
            let begun = format!(
                "{entries}, {}{}",
                bytes(read.packed_bytes),
                past::said(&summary.past)
            );
            let known = said_known(&summary, begun);
            known + &past::levels(&summary.past) + &past::evidence(&summary.evidence)
        };
        output::one(settings.output, &report, text)?;
        if summary.past.is_empty() {
            say(
                Word::Error,
                "the logstores hold no audit event and no event of that time",
            );
            say(
                Word::Help,
                "docs/inventory-history.md shows how they are named",
            );
            return Ok(Exit::Failed);
        }
        Ok(Exit::Clean)
    }
}
