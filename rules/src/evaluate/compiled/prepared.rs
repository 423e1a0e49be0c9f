//! A policy made ready to be walked: its selectors replaced by what they select, and what a question looks at close
//! together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::classes::Classes;
use super::peers::Peers;
use super::selections::Selections;
use crate::cluster::{Cluster, Protocol};
use crate::policy::{
    Action, Direction, Family, Kind, Order, Policy, Rule, Section, Subject, Tier, TierDefault,
};
use crate::port::{PortClause, Traffic};
use crate::verdict::Unspecified;

/// A policy, prepared.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) policy: Arc<Policy>,
    /// The selection that is its subject; `None` when it is for nodes.
    pub(super) subject: Option<u32>,
    /// Equal for policies of one tier.
    pub(super) tier: u32,
    pub(super) order: Order,
    pub(super) kind: Kind,
    /// As [`Policy::open`].
    pub(super) open: Option<Unspecified>,
    pub(super) ingress: PreparedSection,
    pub(super) egress: PreparedSection,
}

/// What it says of one direction.
#[derive(Debug, Default)]
pub(super) struct PreparedSection {
    /// Whether the tier denies what no rule matches.
    pub(super) denies: bool,
    /// In their order, without those that only log.
    pub(super) rules: Box<[PreparedRule]>,
}

/// A rule; `None` where it restricts nothing.
#[derive(Debug)]
pub(super) struct PreparedRule {
    pub(super) action: Action,
    pub(super) family: Option<Family>,
    pub(super) open: bool,
    pub(super) ports: Option<Box<[Ports]>>,
    pub(super) not_ports: Box<[Ports]>,
    pub(super) peers: Option<Peers>,
    pub(super) own: Option<Peers>,
}

/// As [`Traffic`].
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) protocol: Option<Protocol>,
    pub(super) clause: Clause,
}

#[derive(Debug)]
pub(super) enum Clause {
    Any,
    Range(u16, u16),
    Named(Box<str>),
}

impl Prepared {
    pub(super) fn new(
        policy: Arc<Policy>,
        tiers: &mut BTreeMap<Tier, u32>,
        selections: &mut Selections,
        classes: &Classes,
        cluster: &Cluster,
    ) -> Self {
        let subject = match &policy.subject {
            Subject::Pods(pods) => Some(selections.take(pods, classes, cluster)),
            Subject::Nodes(_) => None,
        };
        let next = tiers.len() as u32;
        let tier = *tiers.entry(policy.tier.clone()).or_insert(next);
        let mut prepare = |section: &Option<Section>| {
            let Some(section) = section else {
                return PreparedSection::default();
            };
            let rules = section.rules.iter();
            let rules = rules.filter(|rule| rule.action != Action::Log);
            PreparedSection {
                denies: section.isolates && policy.tier.default == TierDefault::Deny,
                rules: rules
                    .map(|rule| PreparedRule::new(rule, selections, classes, cluster))
                    .collect(),
            }
        };
        Self {
            subject,
            tier,
            order: policy.order,
            kind: policy.id.kind,
            open: policy.open,
            ingress: prepare(&policy.ingress),
            egress: prepare(&policy.egress),
            policy,
        }
    }

    pub(super) fn section(&self, direction: Direction) -> &PreparedSection {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// Gives every selector back.
    pub(super) fn give_back(&self, selections: &mut Selections) {
        for rule in self.ingress.rules.iter().chain(&self.egress.rules) {
            for peers in rule.peers.iter().chain(&rule.own) {
                peers.give_back(selections);
            }
        }
        if let Some(subject) = self.subject {
            selections.give_back(subject);
        }
    }
}

impl PreparedRule {
    fn new(rule: &Rule, selections: &mut Selections, classes: &Classes, cluster: &Cluster) -> Self {
        let ports = |traffic: &[Traffic]| traffic.iter().map(Ports::from).collect();
        let mut list = |peers| Peers::list(peers, selections, classes, cluster);
        Self {
            action: rule.action,
            family: rule.family,
            open: rule.open.is_some(),
            ports: (!rule.traffic.is_empty()).then(|| ports(&rule.traffic)),
            not_ports: ports(&rule.not_traffic),
            peers: list(&rule.peers),
            own: list(&rule.own),
        }
    }
}

impl From<&Traffic> for Ports {
    fn from(traffic: &Traffic) -> Self {
        Self {
            protocol: traffic.protocol,
            clause: match &traffic.port {
                None => Clause::Any,
                Some(PortClause::Range(first, last)) => Clause::Range(*first, *last),
                Some(PortClause::Named(name)) => Clause::Named(name.as_str().into()),
            },
        }
    }
}
