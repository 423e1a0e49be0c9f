//! Who held which address when, and what was declared when: from Kubernetes objects in files.
//!
//! Files are read to snapshots and watches with their times ([`read`]), these to sightings ([`sighting`], [`watch`]),
//! these to histories ([`history`]), with what only Terway knows of interfaces ([`interfaces`]), and these to rows with a core and an outer
//! interval ([`rows`]); what cannot all be true is told ([`contradiction`]). Snapshots may come in any
//! order and over any number of imports; importing one again changes nothing. Only the hours for which something is
//! known differently are analysed again ([`change`]).

mod draft;
mod gathered;
pub mod history;
pub mod interfaces;
pub mod ledger;
pub mod sighting;
mod unpinned;
pub mod watch;

pub mod live;
pub mod past;

pub mod change;
pub mod contradiction;
pub mod rows;
mod span;

pub mod read;
mod rendered;
mod stand_in;
mod unseen;
mod wanted;

pub mod diff;
pub mod health;
pub mod over_time;
pub mod who;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::{DateTime, Utc};
use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Conflict, Lake, LakeError, Partition, Table};
use flowaudit_rules::kubernetes::{Body, Issue, Object};
use flowaudit_rules::terway::PodName;

pub use contradiction::{Against, Contradiction};
pub use ledger::Coverage;
pub use who::{HeldBy, who};

use self::gathered::Gathered;
use self::history::{By, Facts};
use self::interfaces::SeenEni;
use self::ledger::{Covered, Subject};
use self::past::quiet::Quiet;
use self::read::{Content, LeftOut, Part};
use self::rows::{Known, Returned, Rows};
use self::sighting::{Holder, us};
use crate::error::IngestError;
use crate::source::input;
use crate::source::{Input, Problem, Severity};

/// How often an import is repeated because another writer was faster.
const TRIES: usize = 8;

/// How inventory is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSettings {
    /// The cluster the objects are from.
    pub cluster: String,
    /// The VPC in which its addresses are meant; as known already where it is not set.
    pub vpc: Option<String>,
    /// When the files were made, where they do not say themselves.
    pub at: Option<DateTime<Utc>>,
    /// The files are manifests, and what they declare is wanted from this time on.
    pub declared_from: Option<DateTime<Utc>>,
    /// What the files are taken to cover.
    pub coverage: Coverage,
    /// A longer file is refused, in unpacked bytes.
    pub text_bytes_max: u64,
}

impl Default for ImportSettings {
    fn default() -> Self {
        ImportSettings {
            cluster: "default".to_owned(),
            vpc: None,
            at: None,
            declared_from: None,
            coverage: Coverage::Detect,
            text_bytes_max: 1 << 30,
        }
    }
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Files that were used.
    pub files: u64,
    /// Objects in them.
    pub objects: u64,
    /// Times of the snapshots, microseconds since the epoch.
    pub snapshots: BTreeSet<i64>,
    /// Rows of `endpoints` that the cluster has now.
    pub endpoints: u64,
    /// Versions of declared objects that the cluster has now.
    pub versions: u64,
    /// The commit, if anything changed.
    pub commit: Option<u64>,
    /// Since when something is known differently now, microseconds since the epoch; `i64::MIN` where that has no known
    /// beginning. What was analysed of that time is due again.
    pub changed_from: Option<i64>,
    /// What was left out of the files and what is odd, with file and line.
    pub issues: Vec<Issue>,
    /// What the user should know of whole files.
    pub problems: Vec<Problem>,
    /// What cannot all be true.
    pub contradictions: Vec<Contradiction>,
    /// What was read of audit logs and events.
    pub past: past::Tally,
    /// Rows of `endpoints` by what they rest on, as in `audit+event`.
    pub evidence: BTreeMap<String, u64>,
}

/// Brings Kubernetes objects from files, directories, patterns and standard input into the lake.
///
/// What is wrong with a file is a [`Problem`], what is wrong with an object an [`Issue`]; the others are used. `now`
/// is the time of standard input.
pub fn import(
    lake: &Lake,
    inputs: &[Input],
    settings: &ImportSettings,
    now: DateTime<Utc>,
) -> Result<ImportSummary, IngestError> {
    let (located, mut problems) = input::locate(inputs, &read::is_wanted)?;
    let (located, unrendered) = rendered::apart(inputs, located);
    problems.extend(unrendered);
    let mut summary = ImportSummary {
        problems,
        ..ImportSummary::default()
    };
    let mut parts = Vec::new();
    let mut past = past::Past::default();
    for located in &located {
        if let Some(part) = read::read(located, settings, now, &mut past, &mut summary.problems) {
            summary.issues.extend_from_slice(part.issues());
            match object_count(&part) {
                0 if part.issues().is_empty() => {
                    summary
                        .problems
                        .push(Problem::note(located.name(), "holds no Kubernetes object"));
                }
                objects => {
                    summary.files += 1;
                    summary.objects += objects as u64;
                }
            }
            parts.push(part);
        }
    }
    let coverage = whole(settings.coverage, &mut summary.problems);
    let mut moments = match settings.declared_from {
        None => moments(&parts, coverage),
        Some(from) => wanted::moments(&parts, us(from), coverage),
    };
    let told = past.finish();
    summary.past = told.tally;
    let undated = moments.entry(None).or_default();
    undated.gathered = told.moment.gathered;
    undated.declared.extend(told.moment.declared);
    undated.returned.extend(told.moment.returned);
    undated.interfaces.extend(told.moment.interfaces);
    publish(lake, settings, &moments, &told.quiet, &mut summary)?;
    Ok(summary)
}

/// What files are taken to cover: all of it only if all of it was read.
fn whole(coverage: Coverage, problems: &mut Vec<Problem>) -> Coverage {
    let lost = problems
        .iter()
        .find(|problem| problem.severity == Severity::Failed);
    match (coverage, lost) {
        (Coverage::Complete, Some(lost)) => {
            let message =
                "what is missing in it is not taken to be gone, for it was not read whole";
            problems.push(Problem::note(lost.input.clone(), message));
            Coverage::Detect
        }
        _ => coverage,
    }
}

/// Merges what was seen with what is known; again where another writer was faster.
fn publish(
    lake: &Lake,
    settings: &ImportSettings,
    moments: &BTreeMap<Option<i64>, Moment>,
    quiet: &Quiet,
    summary: &mut ImportSummary,
) -> Result<(), IngestError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match merge_into(lake, settings, (moments, quiet), summary) {
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

fn object_count(part: &Part) -> usize {
    match &part.content {
        Content::Snapshot(manifest) => manifest.objects.len(),
        Content::Watch(watch) => watch.events.len(),
        Content::Past { entries } => *entries,
    }
}

/// What was seen at one time, and what would have been.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    held: Vec<(sighting::Held, By)>,
    /// What logs say of holders, at whatever time.
    gathered: Gathered,
    declared: Vec<Declared>,
    covered: Covered,
    /// When networks of pods were gone.
    returned: Vec<(PodName, i64)>,
    /// PodENIs, and when they were seen.
    interfaces: Vec<(i64, SeenEni)>,
    /// Whatever else was wanted of these groups and kinds is so no longer.
    only: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Declared {
    subject: Subject,
    spec: String,
    origin: String,
    facts: Facts,
    by: By,
    at: Option<i64>,
}

/// The snapshots by their times; parts of the same time are one. What watches tell beside their end has no snapshot.
pub(crate) fn moments(parts: &[Part], coverage: Coverage) -> BTreeMap<Option<i64>, Moment> {
    let mut moments: BTreeMap<Option<i64>, Moment> = BTreeMap::new();
    for part in parts {
        match &part.content {
            Content::Snapshot(manifest) => {
                let Some(at) = part.at else { continue };
                let moment = moments.entry(Some(at)).or_default();
                for object in &manifest.objects {
                    moment.see(object, at, By::Snapshot);
                }
                moment.cover(&manifest.objects, &manifest.lists, &part.left_out, coverage);
            }
            Content::Past { .. } => {}
            Content::Watch(watch) => {
                let recorded = watch::recorded(&watch.events, part.at);
                for event in &watch.events {
                    moments.entry(None).or_default().take_back(&event.object);
                }
                for sighted in &recorded.sightings {
                    let moment = moments
                        .entry(part.at.filter(|end| *end == sighted.at))
                        .or_default();
                    let from = moment.held.len();
                    moment.see(sighted.object, sighted.at, By::Watch);
                    moment.note_coming(from, &sighted.had);
                }
                let undated = moments.entry(None).or_default();
                for gone in &recorded.gone {
                    let from = undated.held.len();
                    undated.end(gone.object, gone.by);
                    undated.note_coming(from, &gone.had);
                    let ended = undated.held.iter_mut().skip(from);
                    ended.for_each(|(held, _)| held.facts.watched_on = gone.watched_on);
                }
                if part.at.is_some() {
                    // Its end is a snapshot: whoever is not there then is gone.
                    let last: Vec<Object> = recorded
                        .last
                        .iter()
                        .map(|object| (*object).clone())
                        .collect();
                    let whole = 0..last.len();
                    moments.entry(part.at).or_default().cover(
                        &last,
                        &[whole],
                        &part.left_out,
                        coverage,
                    );
                }
            }
        }
    }
    moments
}

impl Moment {
    fn gather(&mut self, held: impl IntoIterator<Item = sighting::Held>, by: By) {
        held.into_iter()
            .for_each(|held| self.gathered.add(held, by));
    }

    fn see(&mut self, object: &Object, at: i64, by: By) {
        self.take_back(object);
        let seen = interfaces::seen(object).map(|seen| (at, seen));
        self.interfaces.extend(seen);
        self.held.extend(
            sighting::held(object, at)
                .into_iter()
                .map(|held| (held, by)),
        );
        self.declare(object, Some(at), by, None);
    }

    /// What Terway says of networks that are gone. It forgets them after minutes, so each of its words counts.
    fn take_back(&mut self, object: &Object) {
        if let Body::NodeRuntime(runtime) = &object.body {
            let returned = runtime.pods.iter();
            let returned = returned.filter_map(|(pod, at)| Some((pod.clone(), us((*at)?))));
            self.returned.extend(returned);
        }
    }

    fn end(&mut self, object: &Object, gone: Option<i64>) {
        self.held.extend(
            watch::ended(object, gone)
                .into_iter()
                .map(|held| (held, By::Watch)),
        );
        self.declare(object, None, By::Watch, gone);
    }

    /// Which of the holders from number `from` on came while a watch ran, until the beginning of which their object `had` addresses.
    fn note_coming(&mut self, from: usize, had: &BTreeSet<String>) {
        let held = self.held.get_mut(from..).unwrap_or_default().iter_mut();
        watch::note_coming(held.map(|(held, _)| held), had);
    }

    fn declare(&mut self, object: &Object, at: Option<i64>, by: By, gone: Option<i64>) {
        let Some((spec, facts)) = sighting::declared(object) else {
            return;
        };
        self.declared.push(Declared {
            subject: sighting::subject(object),
            spec,
            origin: object.origin.to_string(),
            at: at.or(facts.starts.first().copied()),
            facts: Facts { gone, ..facts },
            by,
        });
    }

    fn cover(
        &mut self,
        objects: &[Object],
        lists: &[Range<usize>],
        left_out: &LeftOut,
        coverage: Coverage,
    ) {
        let subjects: Vec<Subject> = objects.iter().map(sighting::subject).collect();
        let mut in_list = vec![coverage == Coverage::Complete; subjects.len()];
        let whole = 0..subjects.len();
        let lists = if coverage == Coverage::Complete {
            std::slice::from_ref(&whole)
        } else {
            lists
        };
        for list in lists {
            in_list.get_mut(list.clone()).unwrap_or_default().fill(true);
            let listed = subjects.get(list.clone()).unwrap_or_default();
            let (unsure, sure): (Vec<_>, Vec<_>) = listed
                .iter()
                .partition(|subject| left_out.may_hold(&subject.kind));
            self.covered.add(sure.into_iter(), true, coverage);
            self.covered
                .add(unsure.into_iter(), true, Coverage::Partial);
        }
        let alone = subjects
            .iter()
            .zip(&in_list)
            .filter(|(_, in_list)| !**in_list)
            .map(|(subject, _)| subject);
        self.covered.add(alone, false, coverage);
    }
}

/// Adds what was seen at one moment to what is known.
pub(crate) fn learn(known: &mut Known, at: Option<i64>, moment: &Moment) {
    let (mut holders, mut subjects) = (BTreeSet::<&Holder>::new(), BTreeSet::<&Subject>::new());
    for (held, by) in &moment.held {
        let covering = known.ledger.covering(&held.holder.subject);
        let history = known.holders.entry(held.holder.clone()).or_default();
        history.learn(&held.facts);
        if let Some(seen) = held.at {
            stand_in::see(history, seen, &held.shape, *by, &covering);
        }
        holders.insert(&held.holder);
    }
    for (holder, sightings) in moment.gathered.iter() {
        let covering = known.ledger.covering(&holder.subject);
        let history = known.holders.entry(holder.clone()).or_default();
        history.learn(&sightings.facts);
        for (at, shape, by) in &sightings.seen {
            stand_in::see(history, *at, shape, *by, &covering);
        }
        holders.insert(holder);
    }
    for declared in &moment.declared {
        let covering = known.ledger.covering(&declared.subject);
        let history = known.objects.entry(declared.subject.clone()).or_default();
        history.learn(&declared.facts);
        if let Some(seen) = declared.at {
            history.see(seen, declared.spec.clone(), declared.by, &covering);
        }
        let version = (declared.subject.clone(), declared.spec.clone());
        known
            .origins
            .entry(version)
            .or_insert_with(|| declared.origin.clone());
        subjects.insert(&declared.subject);
    }
    for (pod, returned) in &moment.returned {
        let known = known.returned.entry(pod.uid.clone());
        let known = known.or_insert_with(|| Returned {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            at: *returned,
        });
        known.at = known.at.max(*returned);
    }
    for (seen, pod_eni) in &moment.interfaces {
        known.interfaces.see(*seen, pod_eni);
    }
    let Some(at) = at else { return };
    let covered = wanted::covered(known, moment);
    for (holder, history) in &mut known.holders {
        if !holders.contains(holder) && covered.covers(&holder.subject) {
            history.miss(at, &known.ledger.covering(&holder.subject));
        }
    }
    for (subject, history) in &mut known.objects {
        if !subjects.contains(subject) && covered.covers(subject) {
            history.miss(at, &known.ledger.covering(subject));
        }
    }
    known.ledger.add(at, covered);
}

/// The VPC that all of a cluster's addresses were said to be in.
fn only_vpc(rows: &[EndpointRow]) -> Option<String> {
    // That of an interface is not the cluster's.
    let rows = rows.iter().filter(|row| row.eni_id.is_none());
    let mut vpcs = rows.filter_map(|row| row.vpc_id.as_ref());
    let first = vpcs.next()?;
    vpcs.all(|vpc| vpc == first).then(|| first.clone())
}

fn merge_into(
    lake: &Lake,
    settings: &ImportSettings,
    (moments, quiet): (&BTreeMap<Option<i64>, Moment>, &Quiet),
    summary: &mut ImportSummary,
) -> Result<(), LakeError> {
    let base = lake.snapshot()?;
    let is_of_cluster = |cluster: &str| cluster == settings.cluster;
    let (mut old_endpoints, other_endpoints): (Vec<EndpointRow>, Vec<EndpointRow>) =
        flowaudit_lake::read::rows::<EndpointRow>(lake, &base)?
            .into_iter()
            .partition(|row| is_of_cluster(&row.cluster));
    let (mut old_objects, other_objects): (Vec<ObjectRow>, Vec<ObjectRow>) =
        flowaudit_lake::read::rows::<ObjectRow>(lake, &base)?
            .into_iter()
            .partition(|row| is_of_cluster(&row.cluster));
    let mut known = Known::from_rows(&old_endpoints, &old_objects);
    for (at, moment) in moments {
        learn(&mut known, *at, moment);
    }
    quiet.hold(&mut known);
    let Rows {
        mut endpoints,
        objects,
        contradictions,
    } = known.to_rows(&settings.cluster);
    let vpc = settings.vpc.clone().or_else(|| only_vpc(&old_endpoints));
    let has_own = |row: &EndpointRow| row.eni_id.is_some() && row.vpc_id.is_some();
    for row in endpoints.iter_mut().filter(|row| !has_own(row)) {
        if vpc.is_some() {
            row.vpc_id.clone_from(&vpc);
        }
    }
    endpoints.sort();
    old_endpoints.sort();
    old_objects.sort();
    summary.snapshots = known
        .ledger
        .snapshots()
        .map(|(at, _)| at)
        .filter(|at| moments.contains_key(&Some(*at)))
        .collect();
    summary.endpoints = endpoints.len() as u64;
    summary.evidence.clear();
    for row in &endpoints {
        let words = over_time::Rests::of(row).words();
        *summary.evidence.entry(words).or_default() += 1;
    }
    summary.versions = objects.iter().filter(|row| !rows::is_ledger(row)).count() as u64;
    summary.contradictions = contradictions;
    let gaps = past::gaps::new(lake, &base, &settings.cluster, &summary.past.holes)?;
    if old_endpoints == endpoints && old_objects == objects && gaps.is_empty() {
        return Ok(());
    }
    let declared = |rows: &[ObjectRow]| {
        rows.iter()
            .filter(|row| !rows::is_ledger(row))
            .cloned()
            .collect::<Vec<_>>()
    };
    let changed_from = change::changed_from(
        (&old_endpoints, &endpoints),
        (&declared(&old_objects), &declared(&objects)),
    );
    let mut batch = lake.batch_on("inventory", base);
    if old_endpoints != endpoints {
        batch.replace(Table::Endpoints, Partition::None);
        batch.write_rows(Partition::None, &[other_endpoints, endpoints].concat())?;
    }
    if old_objects != objects {
        batch.replace(Table::Objects, Partition::None);
        batch.write_rows(Partition::None, &[other_objects, objects].concat())?;
    }
    past::gaps::write(&mut batch, &gaps)?;
    // What is read here rests on both tables as they were.
    batch.expect_unchanged(Table::Endpoints, Partition::None);
    batch.expect_unchanged(Table::Objects, Partition::None);
    if let Some(from) = changed_from {
        // An hour rests on records that begin within its margin, and these may last as long again.
        batch.reopen(from.saturating_sub(HOUR_MARGIN_US), i64::MAX);
    }
    summary.commit = Some(batch.publish()?.number);
    summary.changed_from = changed_from;
    Ok(())
}
