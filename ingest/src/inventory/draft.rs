//! One holder at one address during one time ⇄ its row of `endpoints`. Pure.
//!
//! A pod that is first seen long after it began is taken to have had its labels since then, unless it says itself that somebody wrote labels
//! meanwhile. What they were before nobody knows: then it has two rows, and the first one has no labels. It is made anew of the second whenever
//! rows are written, so that whoever knows better what the labels were before takes its place.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_rules::cluster::{Owner, Owners, Pod, workload_of};
use serde::{Deserialize, Serialize};

use super::history::{By, Facts, History, Interval, Run};
use super::interfaces::{Claim, Interface};
use super::ledger::Subject;
use super::rows::{some, time};
use super::sighting::{Holder, HolderKind, Shape, UNKNOWN, us};
use super::span::Span;
use super::unseen::Words;

/// Kubernetes cuts its times to the second.
const CUT_US: i64 = 1_000_000;

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
    /// Nobody saw it before its labels were written; what it was like is in the row after.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unlabelled: bool,
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
    pub(super) fn new(
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

    /// Its row; two where nobody knows what its labels were when it began.
    pub(super) fn rows(
        &self,
        cluster: &str,
        owners: &Owners,
    ) -> impl Iterator<Item = EndpointRow> + use<> {
        let row = |span, is_unlabelled| self.row((span, is_unlabelled), cluster, owners);
        let (before, row) = match self.labels_since() {
            None => (None, row(self.span, false)),
            Some(since) => {
                let (before, after) = self.span.parted(since);
                (Some(row(before, true)), row(after, false))
            }
        };
        before.into_iter().chain([row])
    }

    /// Since when its labels are known, if it had the address before that: they were written after it began and before anybody saw it.
    fn labels_since(&self) -> Option<i64> {
        let first = self.run.first;
        let written = self.facts.labelled.range(..=first).next_back()?;
        let since = first.min(written.saturating_add(CUT_US)).min(self.span.end);
        (self.run.content.is_labelled() && self.span.start < since).then_some(since)
    }

    fn row(
        &self,
        (span, is_unlabelled): (Span, bool),
        cluster: &str,
        owners: &Owners,
    ) -> EndpointRow {
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
            valid_from_us: span.start,
            valid_to_us: Some(span.end),
            from_slack_ms: span.slack_before_ms(),
            to_slack_ms: span.slack_after_ms(),
            kind: kind.as_str().to_owned(),
            cluster: cluster.to_owned(),
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
            uid: some(&subject.uid),
            workload_kind: workload.as_ref().map(|workload| workload.kind.clone()),
            workload: workload.map(|workload| workload.name),
            labels: match is_unlabelled {
                true => Some(UNKNOWN.to_owned()),
                false => shape.labels.clone(),
            },
            host_network: shape.host_network,
            node: shape.node.clone(),
            container_ports: shape.container_ports.clone(),
            service_account: shape.service_account.clone(),
            eni_id: self.interface.map(|interface| interface.id.clone()),
            evidence: self.evidence(is_unlabelled),
        }
    }

    fn evidence(&self, unlabelled: bool) -> String {
        let facts = &self.facts;
        let is_alone = self.bound.is_some() && is_further(self.run);
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
            unlabelled,
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

/// Whether only a PodENI shows that address, and its pod another one.
pub(super) fn is_further(run: &Run<Shape>) -> bool {
    run.by.iter().eq([&By::PodEni])
}

/// What the holder of a row says of its interface, if it has one to itself.
pub(super) fn claim_of(row: &EndpointRow) -> Option<Claim> {
    let interface = interface_of(row)?;
    let evidence: Evidence = serde_json::from_str(&row.evidence).ok()?;
    let (_, run, facts) = read_back(row)?;
    let bound = evidence.bound.map(|(first, last)| (us(first), us(last)));
    Some(Claim {
        interface,
        bound: bound.unwrap_or((run.first, run.last)),
        left: evidence
            .left
            .map(us)
            .or(facts.gone.filter(|_| is_further(&run))),
    })
}

/// Whether it is the first of two rows of one holder, made of what the second one says.
pub(super) fn is_unlabelled(row: &EndpointRow) -> bool {
    let is_unlabelled = || {
        let evidence: Option<Evidence> = serde_json::from_str(&row.evidence).ok();
        evidence.is_some_and(|evidence| evidence.unlabelled)
    };
    row.labels.as_deref() == Some(UNKNOWN) && is_unlabelled()
}

/// The interface that the holder of a row has to itself.
pub(super) fn interface_of(row: &EndpointRow) -> Option<Interface> {
    let id = row.eni_id.clone()?;
    let evidence: Option<Evidence> = serde_json::from_str(&row.evidence).ok();
    let vpc = evidence.and_then(|evidence| evidence.vpc);
    Some(Interface { id, vpc })
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
