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
use flowaudit_rules::cluster::{Owner, Owners, Pod, workload_of};
use flowaudit_rules::kubernetes::{self, Body};
use serde::{Deserialize, Serialize};

use super::contradiction::{Against, Contradiction, disbelieve, settle};
use super::history::{By, Facts, History, Interval, Run};
use super::interfaces::{Claim, Interface, Interfaces};
use super::ledger::{Covered, Ledger, Subject};
use super::past::MADE_UP;
use super::sighting::{self, Holder, HolderKind, Shape, us};
use super::span::Span;
use super::unseen::{self, Words};

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

/// What a row rests on.
#[derive(Debug, Serialize, Deserialize)]
struct Evidence {
    by: BTreeSet<By>,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    #[serde(flatten)]
    words: Words,
    /// When its interface was first and last seen to be its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// When it was gone, where nobody may have seen who had the address next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<DateTime<Utc>>,
    /// The VPC of its interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vpc: Option<String>,
    /// Kind and name of the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<(String, String)>,
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
        let (holder, run, facts) = read_back(row)?;
        let is_further = run.by.iter().eq([&By::PodEni]);
        if let Some(interface) = interface_of(row) {
            let evidence: Evidence = serde_json::from_str(&row.evidence).ok()?;
            let bound = evidence.bound.map(|(first, last)| (us(first), us(last)));
            let claim = Claim {
                interface,
                bound: bound.unwrap_or((run.first, run.last)),
                left: evidence.left.map(us).or(facts.gone.filter(|_| is_further)),
            };
            self.interfaces.claim(holder.clone(), claim);
        }
        if is_further {
            // It is made anew of what is known of its pod.
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
                .extend(drafts.iter().map(|draft| draft.row(cluster, &owners)));
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

/// One row of `endpoints` in the making.
pub(super) struct Draft<'k> {
    pub(super) holder: &'k Holder,
    pub(super) run: &'k Run<Shape>,
    pub(super) facts: Facts,
    pub(super) span: Span,
    pub(super) interface: Option<&'k Interface>,
    pub(super) bound: Option<(i64, i64)>,
}

impl<'k> Draft<'k> {
    fn new(
        holder: &'k Holder,
        history: &History<Shape>,
        interval: Interval<'k, Shape>,
        claim: Option<&'k Claim>,
    ) -> Self {
        Draft {
            holder,
            run: interval.run,
            facts: history.facts().clone(),
            span: Span::of(&interval),
            interface: claim.map(|claim| &claim.interface),
            bound: claim.map(|claim| claim.bound),
        }
    }

    /// The same at another time.
    pub(super) fn with_span(&self, span: Span) -> Self {
        Draft {
            span,
            facts: self.facts.clone(),
            ..*self
        }
    }

    /// Words for what it rests on.
    pub(super) fn rests_on(&self) -> String {
        let by = self.run.by.union(&self.facts.dated_by);
        by.map(|by| by.as_str()).collect::<Vec<_>>().join("+")
    }

    /// Whether no one else can hold the address at the same time.
    pub(super) fn is_exclusive(&self) -> bool {
        self.holder.kind == HolderKind::Pod && !self.run.content.host_network
    }

    pub(super) fn row(&self, cluster: &str, owners: &Owners) -> EndpointRow {
        let (
            Holder {
                kind,
                subject,
                addr,
            },
            shape,
        ) = (self.holder, &self.run.content);
        let workload = (*kind == HolderKind::Pod).then(|| {
            let labels = shape
                .labels
                .as_deref()
                .and_then(|labels| serde_json::from_str(labels).ok());
            let pod = Pod {
                namespace: subject.namespace.clone().unwrap_or_default(),
                name: subject.name.clone(),
                labels: labels.unwrap_or_default(),
                owner: shape.owner.clone().map(|(kind, name)| Owner { kind, name }),
                ..Pod::default()
            };
            workload_of(&pod, owners)
        });
        EndpointRow {
            addr: addr.clone(),
            vpc_id: self.interface.and_then(|interface| interface.vpc.clone()),
            valid_from_us: self.span.start,
            valid_to_us: Some(self.span.end),
            from_slack_ms: self.span.slack_before_ms(),
            to_slack_ms: self.span.slack_after_ms(),
            kind: kind.as_str().to_owned(),
            cluster: cluster.to_owned(),
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
            uid: some(&subject.uid),
            workload_kind: workload.as_ref().map(|workload| workload.kind.clone()),
            workload: workload.map(|workload| workload.name),
            labels: shape.labels.clone(),
            host_network: shape.host_network,
            node: shape.node.clone(),
            container_ports: shape.container_ports.clone(),
            service_account: shape.service_account.clone(),
            eni_id: self.interface.map(|interface| interface.id.clone()),
            evidence: self.evidence(),
        }
    }

    fn evidence(&self) -> String {
        let facts = &self.facts;
        let is_alone = self.bound.is_some() && self.run.by.iter().eq([&By::PodEni]);
        let gone = facts.gone.map(time);
        let mut words = Words::of(facts);
        words.gone = gone.filter(|_| !is_alone);
        let evidence = Evidence {
            by: self.run.by.clone(),
            first_seen: time(self.run.first),
            last_seen: time(self.run.last),
            words,
            left: gone.filter(|_| is_alone),
            bound: self.bound.map(|(first, last)| (time(first), time(last))),
            vpc: self.interface.and_then(|interface| interface.vpc.clone()),
            owner: self.run.content.owner.clone(),
        };
        serde_json::to_string(&evidence).unwrap_or_default()
    }
}

/// What a row of the inventory says; nothing where others wrote it.
pub(super) fn read_back(row: &EndpointRow) -> Option<(Holder, Run<Shape>, Facts)> {
    let evidence: Evidence = serde_json::from_str(&row.evidence).ok()?;
    let holder = holder_of(row)?;
    let content = Shape {
        labels: row.labels.clone(),
        host_network: row.host_network,
        node: row.node.clone(),
        container_ports: row.container_ports.clone(),
        service_account: row.service_account.clone(),
        owner: evidence.owner,
    };
    let facts = evidence.words.facts();
    let run = Run {
        content,
        first: us(evidence.first_seen),
        last: us(evidence.last_seen),
        by: evidence.by,
    };
    Some((holder, run, facts))
}

/// The interface that the holder of a row has to itself.
pub(super) fn interface_of(row: &EndpointRow) -> Option<Interface> {
    let id = row.eni_id.clone()?;
    let evidence: Option<Evidence> = serde_json::from_str(&row.evidence).ok();
    let vpc = evidence.and_then(|evidence| evidence.vpc);
    Some(Interface { id, vpc })
}

pub(super) fn is_ledger(row: &ObjectRow) -> bool {
    let kinds = [LEDGER_KIND, LEDGER_WATCH, LEDGER_UNSEEN];
    row.group == LEDGER_GROUP && kinds.contains(&row.kind.as_str())
}

fn holder_of(row: &EndpointRow) -> Option<Holder> {
    let kind = HolderKind::from_text(&row.kind)?;
    let subject = Subject {
        group: String::new(),
        kind: kind.object_kind().to_owned(),
        namespace: row.namespace.clone(),
        name: row.name.clone(),
        uid: row.uid.clone().unwrap_or_default(),
    };
    Some(Holder {
        kind,
        subject,
        addr: row.addr.clone(),
    })
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
