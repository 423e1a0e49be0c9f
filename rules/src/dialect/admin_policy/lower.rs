//! The cluster-scoped policies in the common form: ordered rules in the tiers before and after NetworkPolicy.

use super::{AdminPolicy, AdminTier, Peer, PodGroup, Rule};
use crate::cidr::Block;
use crate::label::LabelMatch;
use crate::policy::{self, Action, Namespaces, Order, Pods, Policy, PolicyId, Reach, Section};
use crate::policy::{Subject, Tier};

impl From<&AdminPolicy> for Policy {
    fn from(policy: &AdminPolicy) -> Self {
        // There is no implicit deny in these kinds, and without rules they say nothing (§2).
        let section = |rules: &[Rule]| {
            (!rules.is_empty()).then(|| Section {
                rules: rules.iter().map(rule).collect(),
                isolates: false,
            })
        };
        Self {
            id: PolicyId {
                kind: policy.kind,
                namespace: None,
                name: policy.name.clone(),
            },
            tier: match policy.tier {
                AdminTier::Admin => Tier::ADMIN,
                AdminTier::Baseline => Tier::BASELINE,
            },
            order: Order(f64::from(policy.priority)),
            subject: Subject::Pods(pods(&policy.subject)),
            ingress: section(&policy.ingress),
            egress: section(&policy.egress),
            open: None,
        }
    }
}

fn rule(rule: &Rule) -> policy::Rule {
    let fails_closed = rule.peers.contains(&Peer::Unknown);
    let (action, peers, traffic) = match (fails_closed, rule.action) {
        // An unknown peer: rules that allow match nothing, all others deny everything (§2).
        (true, Action::Allow) => (Action::Allow, vec![policy::Peer::NOBODY], Vec::new()),
        (true, _) => (Action::Deny, Vec::new(), Vec::new()),
        (false, action) => {
            let peers = rule.peers.iter().flat_map(peer).collect();
            (action, peers, rule.ports.clone())
        }
    };
    policy::Rule {
        action,
        peers,
        traffic,
        ..policy::Rule::default()
    }
}

fn pods(group: &PodGroup) -> Pods {
    Pods {
        namespaces: Namespaces::Matching(LabelMatch::from(&group.namespaces)),
        pods: group
            .pods
            .as_ref()
            .map(LabelMatch::from)
            .unwrap_or_default(),
    }
}

fn peer(peer: &Peer) -> Vec<policy::Peer> {
    match peer {
        Peer::Pods(group) => vec![policy::Peer::Pods(pods(group))],
        Peer::Networks(networks) => {
            let block = |cidr| policy::Peer::Addresses {
                block: Block {
                    cidr,
                    except: Vec::new(),
                },
                reach: Reach::Everyone,
            };
            networks.iter().copied().map(block).collect()
        }
        Peer::Nodes(nodes) => vec![policy::Peer::Nodes(LabelMatch::from(nodes))],
        Peer::DomainNames(names) => vec![policy::Peer::Domains(names.clone())],
        Peer::Unknown => Vec::new(),
    }
}
