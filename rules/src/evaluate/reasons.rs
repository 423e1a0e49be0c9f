//! Why a side says what it says: the same walk as [`side`](super::side), with words.

use super::case::{Case, End, Who};
use super::side::{Standing, View, standing};
use crate::cluster::{Cluster, Pod};
use crate::dialect::network_policy::{Direction, NetworkPolicy, Peer, Rule};
use crate::reading::{Reader, Readings};
use crate::selector::{Selector, show_labels};
use crate::verdict::{NearMiss, Reason, Tier};

/// How many alternatives of a rule a sentence lists before it counts the rest.
const LISTED_MAX: usize = 4;

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
    match &pod.node {
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
                    admits: admits(policy, rule),
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
        (true, _) => (ports_words(rule), port_instead(view)),
        (false, true) => (peers_words(policy, rule), peer_instead(view, rule)),
        (false, false) => (admits(policy, rule), String::new()),
    };
    Some(NearMiss {
        rule: index,
        admits,
        instead,
    })
}

/// `pods app=checkout on TCP 6379`.
fn admits(policy: &NetworkPolicy, rule: &Rule) -> String {
    match (rule.peers.is_empty(), rule.ports.is_empty()) {
        (true, true) => "everything".to_owned(),
        (true, false) => format!("everyone on {}", ports_words(rule)),
        (false, true) => peers_words(policy, rule),
        (false, false) => format!("{} on {}", peers_words(policy, rule), ports_words(rule)),
    }
}

fn ports_words(rule: &Rule) -> String {
    if rule.ports.is_empty() {
        return "any port".to_owned();
    }
    listed(rule.ports.iter().map(ToString::to_string))
}

fn peers_words(policy: &NetworkPolicy, rule: &Rule) -> String {
    if rule.peers.is_empty() {
        return "everyone".to_owned();
    }
    listed(rule.peers.iter().map(|peer| peer_words(policy, peer)))
}

fn peer_words(policy: &NetworkPolicy, peer: &Peer) -> String {
    let words = |selector: &Option<Selector>| match selector {
        Some(selector) if !selector.is_empty() => Some(selector.to_string()),
        _ => None,
    };
    match peer {
        Peer::Block(block) if block.except.is_empty() => block.cidr.to_string(),
        Peer::Block(block) => {
            format!(
                "{} except {}",
                block.cidr,
                listed(block.except.iter().map(ToString::to_string))
            )
        }
        Peer::Pods { namespaces, pods } => {
            let pods = words(pods)
                .map_or_else(|| "pods".to_owned(), |selector| format!("pods {selector}"));
            match namespaces {
                None => format!("{pods} of namespace {}", policy.namespace),
                Some(selector) if selector.is_empty() => format!("{pods} of any namespace"),
                Some(selector) => format!("{pods} of namespaces {selector}"),
            }
        }
    }
}

fn listed(mut parts: impl ExactSizeIterator<Item = String>) -> String {
    let more = parts.len().saturating_sub(LISTED_MAX);
    let mut text = parts
        .by_ref()
        .take(LISTED_MAX)
        .collect::<Vec<_>>()
        .join(" or ");
    if more > 0 {
        text.push_str(&format!(" or {more} more"));
    }
    text
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

/// `the client has app=cart`, by the keys that the rule's selectors speak of.
fn peer_instead(view: &View<'_, '_>, rule: &Rule) -> String {
    let role = match view.direction {
        Direction::Ingress => "client",
        Direction::Egress => "server",
    };
    let other: &End<'_> = view.other();
    let pod = match other.who {
        Who::Pod(pod) => pod,
        Who::HostPod(pod) => return format!("the {role} {} uses its node's network", pod.key()),
        Who::Node(_) | Who::Service(_) | Who::External => {
            return match other.who {
                Who::External => format!("the {role} is {}", other.name()),
                _ => format!("the {role} is {} and no pod", other.name()),
            };
        }
    };
    let blocks_only = rule.peers.iter().all(|peer| matches!(peer, Peer::Block(_)));
    if blocks_only {
        return match other.address {
            Some(address) => format!("the {role} has the address {address}"),
            None => format!("the address of the {role} is not known"),
        };
    }
    let mut keys = Vec::new();
    let mut speaks_of_namespaces = false;
    for peer in &rule.peers {
        if let Peer::Pods { namespaces, pods } = peer {
            speaks_of_namespaces |= namespaces.is_some();
            keys.extend(pods.iter().flat_map(Selector::keys));
        }
    }
    let labels = show_labels(
        pod.labels
            .iter()
            .filter(|(key, _)| keys.contains(&key.as_str())),
    );
    let namespace = &pod.namespace;
    if speaks_of_namespaces {
        let of_namespace = view
            .cluster
            .namespace(namespace)
            .map(|ns| show_labels(&ns.labels))
            .unwrap_or_default();
        let pod_labels = if keys.is_empty() {
            String::new()
        } else {
            format!(" has {labels} and")
        };
        return format!("the {role}{pod_labels} is in namespace {namespace} ({of_namespace})");
    }
    let elsewhere = view
        .policies
        .first()
        .is_some_and(|policy| policy.namespace != *namespace);
    match (elsewhere, keys.is_empty()) {
        (true, true) => format!("the {role} is in namespace {namespace}"),
        (true, false) => format!("the {role} has {labels} and is in namespace {namespace}"),
        (false, _) => match labels.as_str() {
            "no labels" => format!("the {role} has no label {}", keys.join(" or ")),
            labels => format!("the {role} has {labels}"),
        },
    }
}
