//! A NetworkPolicy in the common form: rules that allow, in the tier that denies by default.

use super::{NetworkPolicy, Peer, Rule};
use crate::label::LabelMatch;
use crate::policy::{
    self, Action, Kind, Namespaces, Order, Pods, Policy, PolicyId, Reach, Section,
};
use crate::policy::{Subject, Tier};
use crate::port::Traffic;

impl From<&NetworkPolicy> for Policy {
    fn from(policy: &NetworkPolicy) -> Self {
        let section = |rules: &Vec<Rule>| Section {
            rules: rules.iter().map(|rule| self::rule(policy, rule)).collect(),
            isolates: true,
        };
        Self {
            id: PolicyId {
                kind: Kind::NetworkPolicy,
                namespace: Some(policy.namespace.clone()),
                name: policy.name.clone(),
            },
            tier: Tier::DEFAULT,
            order: Order::NETWORK_POLICY,
            subject: Subject::Pods(Pods {
                namespaces: Namespaces::Named(policy.namespace.clone()),
                pods: LabelMatch::from(&policy.pod_selector),
            }),
            ingress: policy.ingress.as_ref().map(section),
            egress: policy.egress.as_ref().map(section),
            open: None,
        }
    }
}

fn rule(policy: &NetworkPolicy, rule: &Rule) -> policy::Rule {
    policy::Rule {
        action: Action::Allow,
        peers: rule
            .peers
            .iter()
            .map(|peer| self::peer(policy, peer))
            .collect(),
        traffic: rule.ports.iter().map(Traffic::from).collect(),
        ..policy::Rule::default()
    }
}

fn peer(policy: &NetworkPolicy, peer: &Peer) -> policy::Peer {
    match peer {
        Peer::Pods { namespaces, pods } => policy::Peer::Pods(Pods {
            namespaces: match namespaces {
                // Without a namespaceSelector the policy's own namespace is meant (§1.3).
                None => Namespaces::Named(policy.namespace.clone()),
                Some(selector) => Namespaces::Matching(LabelMatch::from(selector)),
            },
            pods: pods.as_ref().map(LabelMatch::from).unwrap_or_default(),
        }),
        Peer::Block(block) => policy::Peer::Addresses {
            block: block.clone(),
            reach: Reach::ByEngine,
        },
    }
}
