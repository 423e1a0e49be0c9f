//! Histories ⇄ rows of `endpoints` and `objects`. Pure.
//!
//! An address has one holder at a time. So the start of its next holder ends what a holder *possibly* held, and what a
//! holder surely held bounds the possible beginning of the next. Two cores of one address that overlap contradict each
//! other: by up to the skew of clocks the disputed stretch is taken from both cores; beyond that both stay, or the one of better
//! evidence, and it is reported ([`super::contradiction`], history 5.5). Pods on the host's network, nodes and load balancers share addresses by design.
//!
//! The `evidence` column holds what a row rests on, with all that is needed to merge it with later sightings.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_rules::cluster::Owners;
use flowaudit_rules::kubernetes::{self, Body};

use super::contradiction::{Against, Contradiction, disbelieve, settle};
use super::draft::{self, Draft};
use super::history::{By, Facts, History, Run};
use super::interfaces::Interfaces;
use super::ledger::{Covered, Ledger, Subject};
use super::past::MADE_UP;
use super::sighting::{self, Holder, HolderKind, Shape};
use super::span::Span;
use super::unseen;

/// The kind under which the ledger is kept in `objects`.
pub(crate) const LEDGER_GROUP: &str = "flowaudit";
pub(crate) const LEDGER_KIND: &str = "Snapshot";
/// The kind under which spans of a live watch are kept there.
pub(crate) const LEDGER_WATCH: &str = "Watch";

/// The kind under which what is known of holders is kept there that nobody has seen yet.
pub(crate) const LEDGER_UNSEEN: &str = "Unseen";

/// All that is known of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Snapshots taken.
    pub ledger: Ledger,
    /// Holders of addresses.
    pub holders: BTreeMap<Holder, History<Shape>>,
    /// Declared objects: canonical JSON of each version.
    pub objects: BTreeMap<Subject, History<String>>,
    /// Where each version was first read.
    pub origins: BTreeMap<(Subject, String), String>,
    /// When the networks of pods were gone, by uid.
    pub returned: BTreeMap<String, Returned>,
    /// Interfaces that are pods' own.
    pub interfaces: Interfaces,
    /// Rows that others wrote, security groups for instance; they stay as they are.
    pub others: (Vec<EndpointRow>, Vec<ObjectRow>),
}

/// A pod of which Terway says that its network was gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// When, microseconds since the epoch.
    pub at: i64,
}

impl Known {
    /// What the rows of one cluster say.
    #[must_use]
    pub fn from_rows(endpoints: &[EndpointRow], objects: &[ObjectRow]) -> Known {
        let mut known = Known::default();
        let (ledger, objects): (Vec<_>, Vec<_>) = objects.iter().partition(|row| is_ledger(row));
        for row in ledger {
            if known.restore_unseen(row).is_some() {
                continue;
            }
            match serde_json::from_str::<Covered>(&row.spec) {
                Ok(covered) if row.kind == LEDGER_KIND => {
                    known.ledger.add(row.valid_from_us, covered);
                    continue;
                }
                // It begins with a list, which would have shown everything as a snapshot does.
                Ok(covered) => known.ledger.add_list(row.valid_from_us, covered),
                Err(_) => {}
            }
            known.others.1.push(row.clone());
        }
        for row in endpoints {
            if known.restore_holder(row).is_none() {
                known.others.0.push(row.clone());
            }
        }
        for row in objects {
            if known.restore_object(row).is_none() {
                known.others.1.push(row.clone());
            }
        }
        known
    }

    fn restore_unseen(&mut self, row: &ObjectRow) -> Option<()> {
        let (holder, facts) = unseen::read_back(row)?;
        self.holders.entry(holder).or_default().learn(&facts);
        Some(())
    }

    fn restore_holder(&mut self, row: &EndpointRow) -> Option<()> {
        let (holder, run, facts) = draft::read_back(row)?;
        if let Some(claim) = draft::claim_of(row) {
            self.interfaces.claim(holder.clone(), claim);
        }
        if draft::is_further(&run) || draft::is_unlabelled(row) {
            // The one is made anew of what is known of its pod, the other of the row after.
            return Some(());
        }
        let covering = self.ledger.covering(&holder.subject);
        let history = self.holders.entry(holder).or_default();
        history.learn(&facts);
        history.restore(run, &covering);
        Some(())
    }

    fn restore_object(&mut self, row: &ObjectRow) -> Option<()> {
        // What an object says of its own age is in its text.
        let mut facts = match row.spec == sighting::UNKNOWN {
            true => Facts::default(),
            false => {
                let manifest = kubernetes::read("", &row.spec);
                manifest.objects.first().and_then(sighting::declared)?.1
            }
        };
        let subject = subject_of(row);
        let covering = self.ledger.covering(&subject);
        let last = row.valid_to_us.unwrap_or(row.valid_from_us);
        let by_its_word = facts.starts.contains(&row.valid_from_us) && row.valid_from_us < last;
        let first = match by_its_word {
            true => covering
                .iter()
                .copied()
                .find(|at| (row.valid_from_us..=last).contains(at))
                .unwrap_or(last),
            false => row.valid_from_us,
        };
        self.origins
            .insert((subject.clone(), row.spec.clone()), row.origin.clone());
        let is_undated = subject.uid.is_empty() || subject.uid.starts_with(MADE_UP);
        let history = self.objects.entry(subject).or_default();
        let is_first = history.runs().is_empty();
        let was_dated = row.from_slack_ms == Some(0) && history.facts().not_before.is_some();
        if is_undated && (is_first || was_dated) {
            // Its text does not say since when it is wanted, or there.
            let low = row
                .from_slack_ms
                .map(|slack| row.valid_from_us - slack * 1000);
            facts.not_before = facts.not_before.max(low);
        }
        let is_latest = history
            .runs()
            .last()
            .is_none_or(|latest| latest.last < last);
        if is_latest {
            // An earlier version's end is the beginning of the next.
            facts.gone = row.to_slack_ms.map(|slack| last + slack * 1000);
            history.forget_end();
        }
        history.learn(&facts);
        history.restore(
            Run {
                content: row.spec.clone(),
                first,
                last,
                by: BTreeSet::from([By::Snapshot]),
            },
            &covering,
        );
        Some(())
    }

    /// The rows of the cluster, and the contradictions in what is known of it.
    #[must_use]
    pub fn to_rows(&mut self, cluster: &str) -> Rows {
        let mut rows = Rows {
            objects: self.object_rows(cluster),
            ..Rows::default()
        };
        rows.objects.extend(self.ledger_rows(cluster));
        rows.contradictions = disbelieve(&mut self.holders);
        self.take_back();
        let unseen = self.holders.iter();
        let unseen = unseen.filter_map(|(holder, history)| unseen::row(holder, history, cluster));
        rows.objects.extend(unseen);
        let owners = self.owners();
        let further = self.further();
        let mut by_addr: BTreeMap<&str, Vec<Draft<'_>>> = BTreeMap::new();
        let shown = self.holders.iter();
        let shown = shown.map(|(holder, history)| (holder, history, self.interfaces.of(holder)));
        let further = further.iter();
        let further = further.map(|one| (&one.holder, &one.history, Some(&one.claim)));
        for (holder, history, claim) in shown.chain(further) {
            let covering = self.ledger.covering(&holder.subject);
            let drafts = by_addr.entry(&holder.addr).or_default();
            if let Some((from_us, to_us)) = history.returned_too_early() {
                rows.contradictions.push(Contradiction {
                    addr: holder.addr.clone(),
                    holder: holder.title(),
                    against: Against::Returned,
                    rests: Default::default(),
                    from_us,
                    to_us,
                });
            }
            drafts.extend(
                history
                    .intervals(&covering)
                    .into_iter()
                    .map(|interval| Draft::new(holder, history, interval, claim)),
            );
        }
        for (addr, mut drafts) in by_addr {
            rows.contradictions.extend(settle(addr, &mut drafts));
            rows.endpoints
                .extend(drafts.iter().flat_map(|draft| draft.rows(cluster, &owners)));
        }
        rows.endpoints.extend_from_slice(&self.others.0);
        rows.objects.extend_from_slice(&self.others.1);
        rows.endpoints.sort();
        rows.objects.sort();
        rows
    }

    /// What is known of networks that are gone, with whoever held an address by them.
    fn take_back(&mut self) {
        if self.returned.is_empty() {
            return;
        }
        for (holder, history) in &mut self.holders {
            let subject = &holder.subject;
            let returned = self.returned.get(&subject.uid).filter(|returned| {
                holder.kind == HolderKind::Pod
                    && subject.namespace.as_deref() == Some(&returned.namespace)
                    && subject.name == returned.name
            });
            if let Some(returned) = returned {
                history.learn(&Facts {
                    returned: Some(returned.at),
                    dated_by: [By::NodeRuntime].into(),
                    ..Facts::default()
                });
            }
        }
    }

    fn object_rows(&mut self, cluster: &str) -> Vec<ObjectRow> {
        let mut rows = Vec::new();
        let mut spans: BTreeMap<[&str; 4], Vec<(Span, &Subject, &String)>> = BTreeMap::new();
        for (subject, history) in &self.objects {
            let covering = self.ledger.covering(subject);
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            let name = [
                subject.group.as_str(),
                subject.kind.as_str(),
                namespace,
                subject.name.as_str(),
            ];
            let versions = history.intervals(&covering).into_iter();
            let versions =
                versions.map(|interval| (Span::of(&interval), subject, &interval.run.content));
            spans.entry(name).or_default().extend(versions);
        }
        for (_, mut versions) in spans {
            // A name belongs to one object at a time.
            versions.sort_by_key(|(span, subject, _)| (span.start, span.end, *subject));
            for index in 1..versions.len() {
                let (before, after) = versions.split_at_mut(index);
                let (Some(earlier), Some(later)) = (before.last_mut(), after.first_mut()) else {
                    continue;
                };
                if earlier.1 != later.1 {
                    earlier.0.followed_by(&mut later.0);
                }
            }
            for (span, subject, spec) in versions {
                let origin = self
                    .origins
                    .get(&(subject.clone(), spec.clone()))
                    .cloned()
                    .unwrap_or_default();
                rows.push(ObjectRow {
                    group: subject.group.clone(),
                    kind: subject.kind.clone(),
                    namespace: subject.namespace.clone(),
                    name: subject.name.clone(),
                    uid: some(&subject.uid),
                    valid_from_us: span.start,
                    valid_to_us: Some(span.end),
                    from_slack_ms: span.slack_before_ms(),
                    to_slack_ms: span.slack_after_ms(),
                    spec: spec.clone(),
                    origin,
                    cluster: cluster.to_owned(),
                });
            }
        }
        rows
    }

    fn ledger_rows(&self, cluster: &str) -> impl Iterator<Item = ObjectRow> {
        self.ledger.snapshots().map(move |(at, covered)| ObjectRow {
            group: LEDGER_GROUP.to_owned(),
            kind: LEDGER_KIND.to_owned(),
            namespace: None,
            name: text_of(at),
            uid: None,
            valid_from_us: at,
            valid_to_us: Some(at),
            from_slack_ms: Some(0),
            to_slack_ms: Some(0),
            spec: serde_json::to_string(covered).unwrap_or_default(),
            origin: String::new(),
            cluster: cluster.to_owned(),
        })
    }

    /// Every controller ever known: those that are gone still say whose their pods were.
    fn owners(&self) -> Owners {
        let mut owners = Owners::default();
        for (subject, history) in &self.objects {
            for run in history.runs() {
                // Cheaper than reading every policy to find that it is none.
                if matches!(
                    subject.kind.as_str(),
                    "NetworkPolicy" | "Namespace" | "Node" | "Service"
                ) {
                    continue;
                }
                for object in &kubernetes::read("", &run.content).objects {
                    if let Body::Controller(owner) = &object.body {
                        let namespace = object.namespace.as_deref().unwrap_or_default();
                        owners.insert(namespace, &object.kind, &object.name, owner.clone());
                    }
                }
            }
        }
        owners
    }
}

/// The rows of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// In order.
    pub endpoints: Vec<EndpointRow>,
    /// In order, with the ledger.
    pub objects: Vec<ObjectRow>,
    /// What cannot all be true.
    pub contradictions: Vec<Contradiction>,
}

pub(super) fn is_ledger(row: &ObjectRow) -> bool {
    let kinds = [LEDGER_KIND, LEDGER_WATCH, LEDGER_UNSEEN];
    row.group == LEDGER_GROUP && kinds.contains(&row.kind.as_str())
}

pub(super) fn subject_of(row: &ObjectRow) -> Subject {
    Subject {
        group: row.group.clone(),
        kind: row.kind.clone(),
        namespace: row.namespace.clone(),
        name: row.name.clone(),
        uid: row.uid.clone().unwrap_or_default(),
    }
}

pub(super) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn time(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or_default()
}

fn text_of(us: i64) -> String {
    time(us).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests;
