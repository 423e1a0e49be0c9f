//! A GlobalNetworkPolicy in the common form: it adds up with NetworkPolicies.

use super::{GlobalNetworkPolicy, Peer, Rule};
use crate::dialect::network_policy;
use crate::label::LabelMatch;
use crate::policy::{
    self, Action, Kind, Namespaces, Order, Pods, Policy, PolicyId, Reach, Section,
};
use crate::policy::{Subject, Tier};
use crate::port::Traffic;
use crate::reading::Unspecified;

impl From<&GlobalNetworkPolicy> for Policy {
    fn from(policy: &GlobalNetworkPolicy) -> Self {
        let section = |rules: &Vec<Rule>| Section {
            rules: rules.iter().map(rule).collect(),
            isolates: true,
        };
        Self {
            id: PolicyId {
                kind: Kind::AckGlobalNetworkPolicy,
                namespace: None,
                name: policy.name.clone(),
            },
            tier: Tier::DEFAULT,
            order: Order::NETWORK_POLICY,
            subject: Subject::Pods(Pods {
                namespaces: Namespaces::Matching(LabelMatch::from(&policy.namespaces)),
                pods: LabelMatch::from(&policy.pods),
            }),
            ingress: policy.ingress.as_ref().map(section),
            egress: policy.egress.as_ref().map(section),
            open: policy.has_unknown.then_some(Unspecified::NotEvaluated),
        }
    }
}

fn rule(rule: &Rule) -> policy::Rule {
    policy::Rule {
        action: Action::Allow,
        peers: rule.peers.iter().map(peer).collect(),
        traffic: rule.ports.iter().map(Traffic::from).collect(),
        open: rule.has_unknown.then_some(Unspecified::NotEvaluated),
        ..policy::Rule::default()
    }
}

fn peer(peer: &Peer) -> policy::Peer {
    match peer {
        Peer::Unknown => policy::Peer::Open(Unspecified::NotEvaluated),
        Peer::Known(network_policy::Peer::Pods { namespaces, pods }) => {
            let lowered = |s: &Option<_>| s.as_ref().map(LabelMatch::from).unwrap_or_default();
            policy::Peer::Pods(Pods {
                namespaces: Namespaces::Matching(lowered(namespaces)),
                pods: lowered(pods),
            })
        }
        Peer::Known(network_policy::Peer::Block(block)) => policy::Peer::Addresses {
            block: block.clone(),
            reach: Reach::ByEngine,
        },
    }
}
