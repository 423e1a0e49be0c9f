//! What the cloud says of itself: interfaces, security groups, flow logs, NAT gateways, load balancers.
//!
//! ```text
//! signed calls (sign, client, calls)  or  saved answers
//!          → things as canonical JSON (reply) → histories (known) → endpoints and objects of the lake
//! ```
//!
//! A call is a snapshot: what it would have shown and did not is gone. A call that failed, or one for some VPCs only, says
//! nothing about what it did not show. Only the control plane is asked, and only what `Describe…` may.

pub mod sign;

mod calls;
mod client;
mod error;

pub mod addresses;
pub mod flow_logs;
mod known;
pub mod reply;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Conflict, Lake, LakeError, Partition, Table};
use flowaudit_rules::kubernetes::{Issue, Severity};

pub use self::client::{Client, ClientSettings};
pub use self::error::{Cause, CloudError, Refusal};
pub use self::reply::Kind;

use self::known::{CLUSTER, Known, Look};
use crate::error::IngestError;
use crate::inventory::change::changed_from;
use crate::inventory::read::{is_wanted, text_of, time_in_path};
use crate::source::{Input, Problem, Severity as ProblemSeverity, input};
use crate::stop::runtime;

/// How often a commit is repeated because another writer was faster.
const TRIES: usize = 8;
/// A longer file is refused, in unpacked bytes.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// How saved answers are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSettings {
    /// The region they are from.
    pub region: String,
    /// When they were saved, where neither names nor times of files are to be believed.
    pub at: Option<DateTime<Utc>>,
    /// Whether they are all there was: who is missing is gone.
    pub complete: bool,
}

/// What became of a look at the cloud.
#[derive(Debug, Default)]
pub struct CloudSummary {
    /// Answers that were used.
    pub answers: u64,
    /// Things, by kind.
    pub counts: BTreeMap<Kind, u64>,
    /// What flow logs cannot contain, a sentence each.
    pub limits: Vec<String>,
    /// Rows of `endpoints` that the cloud has now.
    pub endpoints: u64,
    /// Versions of things that the cloud has now.
    pub versions: u64,
    /// The commit, if anything changed.
    pub commit: Option<u64>,
    /// Calls that failed.
    pub failed: Vec<CloudError>,
    /// What is to be known of whole files.
    pub problems: Vec<Problem>,
    /// What could not be understood of security groups.
    pub issues: Vec<Issue>,
}

impl CloudSummary {
    /// Whether something of it is not in the lake.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let problem = |problem: &Problem| problem.severity == ProblemSeverity::Failed;
        let issue = |issue: &Issue| issue.severity == Severity::Error;
        !self.failed.is_empty()
            || self.problems.iter().any(problem)
            || self.issues.iter().any(issue)
    }
}

/// Asks the control plane, about the whole region or some of its VPCs, and brings what it says into the lake.
///
/// A call that is refused leaves the others be. `now` is when they were made.
pub fn ask(
    lake: &Lake,
    client: &Client,
    vpcs: &[String],
    now: DateTime<Utc>,
) -> Result<CloudSummary, IngestError> {
    let runtime = runtime()?;
    let fetched = runtime.block_on(calls::fetch(client, vpcs));
    let texts = fetched.replies.iter();
    let seen = reply::read(texts.map(|(name, text)| (name.as_str(), text.as_str())));
    let mut whole = fetched.whole;
    seen.keep_sure(&mut whole);
    let mut summary = CloudSummary {
        failed: fetched.failed,
        ..summary_of(&seen)
    };
    if seen.answers > 0 {
        let look = Look {
            region: client.region(),
            at: now.timestamp_micros(),
            objects: &seen.objects,
            whole: &whole,
            origin: "control plane",
        };
        commit(lake, &[look], &mut summary)?;
    }
    Ok(summary)
}

/// Brings answers from files, directories, patterns and standard input into the lake. `now` is the time of standard input.
pub fn import(
    lake: &Lake,
    inputs: &[Input],
    settings: &SavedSettings,
    now: DateTime<Utc>,
) -> Result<CloudSummary, IngestError> {
    let (located, mut problems) = input::locate(inputs, &is_wanted)?;
    // Files of one time are one look.
    let mut texts: BTreeMap<i64, Vec<(String, String)>> = BTreeMap::new();
    for located in &located {
        let name = located.name();
        match text_of(located, TEXT_BYTES_MAX) {
            Err(problem) => problems.push(problem),
            Ok((_, true, _)) => {
                let help = "save it again; nothing of it was used";
                problems.push(Problem::failed(name, "is cut off", help));
            }
            Ok((text, false, written)) => {
                let said = settings.at.or_else(|| time_in_path(located));
                let at = said.or(written).unwrap_or(now);
                let part = (name, text);
                texts.entry(at.timestamp_micros()).or_default().push(part);
            }
        }
    }
    let mut looks = Vec::new();
    for (at, texts) in &texts {
        let texts = texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        looks.push((*at, reply::read(texts)));
    }
    let mut summary = CloudSummary::default();
    let mut wholes = Vec::new();
    for (_, seen) in &looks {
        let own = summary_of(seen);
        summary.answers += own.answers;
        summary.problems.extend(own.problems);
        summary.issues.extend(own.issues);
        // Those of the latest look.
        summary.counts = own.counts;
        summary.limits = own.limits;
        let kinds = seen.objects.keys().map(|(kind, _)| *kind);
        let mut whole: BTreeSet<Kind> = kinds.filter(|_| settings.complete).collect();
        seen.keep_sure(&mut whole);
        wholes.push(whole);
    }
    summary.problems.extend(problems);
    let looks: Vec<Look<'_>> = looks
        .iter()
        .zip(&wholes)
        .map(|((at, seen), whole)| Look {
            region: &settings.region,
            at: *at,
            objects: &seen.objects,
            whole,
            origin: "saved answer",
        })
        .collect();
    if summary.answers > 0 {
        commit(lake, &looks, &mut summary)?;
    }
    Ok(summary)
}

fn summary_of(seen: &reply::Seen) -> CloudSummary {
    let mut counts = BTreeMap::new();
    for (kind, _) in seen.objects.keys() {
        *counts.entry(*kind).or_default() += 1;
    }
    CloudSummary {
        answers: seen.answers,
        counts,
        limits: flow_logs::limits(&seen.objects),
        problems: seen.problems.clone(),
        issues: seen.issues.clone(),
        ..CloudSummary::default()
    }
}

fn commit(lake: &Lake, looks: &[Look<'_>], summary: &mut CloudSummary) -> Result<(), IngestError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match commit_once(lake, looks, summary) {
            Err(
                LakeError::Refused {
                    cause: Conflict::Partition { .. } | Conflict::Removed { .. },
                    ..
                }
                | LakeError::Stale { .. },
            ) if tries < TRIES => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok(()),
        }
    }
}

fn commit_once(
    lake: &Lake,
    looks: &[Look<'_>],
    summary: &mut CloudSummary,
) -> Result<(), LakeError> {
    let base = lake.snapshot()?;
    let endpoints = flowaudit_lake::read::rows::<EndpointRow>(lake, &base)?;
    let (mut old_endpoints, other_endpoints): (Vec<_>, Vec<_>) = endpoints
        .into_iter()
        .partition(|row| row.cluster == CLUSTER);
    let objects = flowaudit_lake::read::rows::<ObjectRow>(lake, &base)?;
    let (mut old_objects, other_objects): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|row| row.cluster == CLUSTER);
    let mut known = Known::from_rows(&old_endpoints, &old_objects);
    for look in looks {
        known.learn(look);
    }
    let (endpoints, objects) = known.into_rows();
    old_endpoints.sort();
    old_objects.sort();
    summary.endpoints = endpoints.len() as u64;
    let versions = objects
        .iter()
        .filter(|row| Kind::from_text(&row.group, &row.kind).is_some());
    summary.versions = versions.count() as u64;
    if old_endpoints == endpoints && old_objects == objects {
        return Ok(());
    }
    // Nothing is analysed by the objects of the cloud yet; addresses are.
    let changed_from = changed_from((&old_endpoints, &endpoints), (&[], &[]));
    let mut batch = lake.batch_on("inventory", base);
    if old_endpoints != endpoints {
        batch.replace(Table::Endpoints, Partition::None);
        batch.write_rows(Partition::None, &[other_endpoints, endpoints].concat())?;
    }
    if old_objects != objects {
        batch.replace(Table::Objects, Partition::None);
        batch.write_rows(Partition::None, &[other_objects, objects].concat())?;
    }
    batch.expect_unchanged(Table::Endpoints, Partition::None);
    batch.expect_unchanged(Table::Objects, Partition::None);
    if let Some(from) = changed_from {
        batch.reopen(from.saturating_sub(HOUR_MARGIN_US), i64::MAX);
    }
    summary.commit = Some(batch.publish()?.number);
    Ok(())
}
