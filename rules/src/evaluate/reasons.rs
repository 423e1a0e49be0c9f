//! Why a side says what it says: the same walk as [`side`](super::side), with words.

use super::case::{Case, End, Who};
use super::side::{Standing, View, standing};
use super::words;
use crate::cluster::{Cluster, Labels, NAME_LABEL, Pod};
use crate::dialect::network_policy::{Direction, NetworkPolicy, Peer, Rule};
use crate::reading::{Reader, Readings};
use crate::verdict::{NearMiss, Reason, Tier};

/// What is explained of a side.
#[derive(Default)]
pub(super) struct Explained {
    pub(super) isolated: bool,
    pub(super) tier: Tier,
    pub(super) reasons: Vec<Reason>,
}

/// Explains one side of `case` under the first reading of every point.
pub(super) fn explain(
    direction: Direction,
    case: &Case<'_>,
    cluster: &Cluster,
    reader: Reader,
    backends: usize,
) -> Explained {
    let readings = &mut Readings::new(reader);
    let subject = match direction {
        Direction::Egress => &case.client,
        Direction::Ingress => &case.server,
    };
    let mut explained = match standing(direction, case, readings) {
        Standing::NoPod => Explained {
            reasons: vec![match subject.who {
                Who::HostPod(pod) => Reason::HostNetwork { pod: pod.key() },
                _ => Reason::NotAPod {
                    party: subject.name(),
                },
            }],
            ..Explained::default()
        },
        Standing::NotIsolated(pod) => Explained {
            tier: Tier::Default,
            reasons: vec![Reason::NotIsolated {
                pod: pod.key(),
                direction,
            }],
            isolated: false,
        },
        Standing::Exempt(pod) => Explained {
            isolated: true,
            tier: Tier::Exempt,
            reasons: vec![exemption(pod, case)],
        },
        Standing::Isolated(pod, policies) => {
            let view = View {
                direction,
                case,
                cluster,
                policies,
            };
            Explained {
                isolated: true,
                tier: Tier::Policy,
                reasons: by_policies(&view, pod, readings),
            }
        }
    };
    if direction == Direction::Ingress
        && let (Some(service), Who::Pod(pod) | Who::HostPod(pod)) = (case.service, case.server.who)
    {
        let backend = Reason::Backend {
            service: service.key(),
            pod: pod.key(),
            port: case.port,
            backends,
        };
        explained.reasons.insert(0, backend);
    }
    explained
}

fn exemption(pod: &Pod, case: &Case<'_>) -> Reason {
    let node = match case.client.who {
        Who::Node(node) => Some(&node.name),
        Who::HostPod(host) => host.node.as_ref(),
        _ => None,
    };
    match node {
        Some(node) if !case.is_loopback() => Reason::OwnNode {
            pod: pod.key(),
            node: node.clone(),
        },
        _ => Reason::Loopback { pod: pod.key() },
    }
}

/// Every rule that admits, then every policy that took part without admitting.
fn by_policies(view: &View<'_, '_>, pod: &Pod, readings: &mut Readings) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut silent = Vec::new();
    for policy in view.policies {
        let before = reasons.len();
        for (index, rule) in policy
            .rules(view.direction)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            if view.rule_admits(policy, rule, readings) {
                reasons.push(Reason::Rule {
                    policy: policy.key(),
                    direction: view.direction,
                    rule: index,
                    admits: words::rule(policy, rule).to_string(),
                });
            }
        }
        if reasons.len() == before {
            silent.push(policy);
        }
    }
    let is_denied = reasons.is_empty();
    for policy in silent {
        reasons.push(Reason::NoRule {
            policy: policy.key(),
            pod: pod.key(),
            direction: view.direction,
            rules: policy.rules(view.direction).unwrap_or_default().len(),
            nearest: if is_denied {
                near_miss(view, policy, readings)
            } else {
                None
            },
        });
    }
    reasons
}

/// The rule of `policy` that comes nearest: one whose peers match, else one whose ports do, else the first.
fn near_miss(
    view: &View<'_, '_>,
    policy: &NetworkPolicy,
    readings: &mut Readings,
) -> Option<NearMiss> {
    let rules = policy
        .rules(view.direction)
        .unwrap_or_default()
        .iter()
        .enumerate();
    let (index, rule, peers_match, ports_match) = rules
        .map(|(index, rule)| {
            let peers_match = view.peers_match(policy, rule, readings);
            (index, rule, peers_match, view.ports_match(rule, readings))
        })
        .min_by_key(|(_, _, peers_match, ports_match)| (!peers_match, !ports_match))?;
    let (admits, instead) = match (peers_match, ports_match) {
        (true, _) => (words::ports(rule).to_string(), port_instead(view)),
        (false, true) => (
            words::peers(policy, rule).to_string(),
            peer_instead(view, policy, rule),
        ),
        (false, false) => (words::rule(policy, rule).to_string(), String::new()),
    };
    Some(NearMiss {
        rule: index,
        admits,
        instead,
    })
}

/// `the connection uses TCP 80`.
fn port_instead(view: &View<'_, '_>) -> String {
    match view.case.protocol.has_ports() {
        true => format!(
            "the connection uses {} {}",
            view.case.protocol, view.case.port
        ),
        false => format!("the connection uses protocol {}", view.case.protocol),
    }
}

/// `the client has app=cart`, by the labels that the rule speaks of.
fn peer_instead(view: &View<'_, '_>, policy: &NetworkPolicy, rule: &Rule) -> String {
    let role = match view.direction {
        Direction::Ingress => "client",
        Direction::Egress => "server",
    };
    let other: &End<'_> = view.other();
    let pod = match other.who {
        Who::Pod(pod) => pod,
        Who::HostPod(pod) => return format!("the {role} {} uses its node's network", pod.key()),
        Who::External => return format!("the {role} is {}", other.name()),
        Who::Node(_) | Who::Service(_) => {
            return format!("the {role} is {} and no pod", other.name());
        }
    };
    let is_block = |peer: &Peer| matches!(peer, Peer::Block(_));
    if rule.peers.iter().all(is_block) {
        return match other.address {
            Some(address) => format!("the {role} has the address {address}"),
            None => format!("the address of the {role} is not known"),
        };
    }
    let keys = words::keys(rule);
    let mut parts = Vec::new();
    if !keys.of_pods.is_empty() {
        parts.push(format!("has {}", spoken_of(&pod.labels, &keys.of_pods)));
    }
    if pod.namespace != policy.namespace || !keys.of_namespaces.is_empty() {
        let mut part = format!("is in namespace {}", pod.namespace);
        let unnamed: Vec<&str> = keys
            .of_namespaces
            .into_iter()
            .filter(|key| *key != NAME_LABEL)
            .collect();
        if let (Some(namespace), false) =
            (view.cluster.namespace(&pod.namespace), unnamed.is_empty())
        {
            part.push_str(&format!(" with {}", spoken_of(&namespace.labels, &unnamed)));
        }
        parts.push(part);
    }
    if let (true, Some(address)) = (rule.peers.iter().any(is_block), other.address) {
        parts.push(format!("has the address {address}"));
    }
    format!("the {role} {}", parts.join(" and "))
}

/// Those of `labels` whose keys are spoken of: `app=cart`, or `no app`.
fn spoken_of(labels: &Labels, keys: &[&str]) -> String {
    let shown = keys.iter().map(|key| match labels.get(*key) {
        Some(value) => format!("{key}={value}"),
        None => format!("no {key}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
