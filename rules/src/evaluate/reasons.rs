//! Why a side says what it says: the same walk as [`side`](super::side), with words.

use super::case::{Case, End, Who};
use super::rule::View;
use super::side::{Matched, Standing, WalkEnd, is_in_force, standing, subject, walk};
use super::words;
use crate::cluster::{Cluster, Labels, NAME_LABEL};
use crate::policy::{self, Action, Direction, Policy, Rule, TierDefault};
use crate::reading::{Reader, Readings};
use crate::terway::is_exclusive_eni;
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
    let (subject, selected) = subject(direction, case);
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
        Standing::NotSelected => Explained {
            tier: Tier::Default,
            reasons: vec![not_isolated(direction, subject)],
            isolated: false,
        },
        Standing::Exempt => Explained {
            isolated: isolates(direction, selected, readings),
            tier: Tier::Exempt,
            reasons: exemption(subject, case),
        },
        Standing::Judged(policies) => {
            let view = View {
                direction,
                case,
                cluster,
                policies: &policies,
            };
            let mut explained = by_policies(&view, readings);
            if explained.tier.is_by_rule() {
                explained.reasons.extend(not_enforced(subject, cluster));
            }
            explained
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

/// Where policies select the pod and no engine runs (§4.2).
fn not_enforced(subject: &End<'_>, cluster: &Cluster) -> Option<Reason> {
    let pod = subject.who.pod()?;
    let node = cluster.node(pod.node.as_deref()?)?;
    is_exclusive_eni(node).then(|| Reason::NotEnforced {
        pod: pod.key(),
        node: node.name.clone(),
    })
}

fn not_isolated(direction: Direction, subject: &End<'_>) -> Reason {
    Reason::NotIsolated {
        pod: subject.name(),
        direction,
    }
}

/// Whether one of `policies` would deny what no rule matches.
fn isolates(direction: Direction, policies: &[&Policy], readings: &mut Readings) -> bool {
    let mut isolating = policies
        .iter()
        .filter(|policy| policy.tier.default == TierDefault::Deny && policy.isolates(direction));
    isolating.any(|policy| is_in_force(policy, readings))
}

fn exemption(subject: &End<'_>, case: &Case<'_>) -> Vec<Reason> {
    let Some(pod) = subject.who.pod() else {
        return Vec::new();
    };
    let node = match case.client.who {
        Who::Node(node) => Some(&node.name),
        Who::HostPod(host) => host.node.as_ref(),
        _ => None,
    };
    vec![match node {
        Some(node) if !case.is_loopback() => Reason::OwnNode {
            pod: pod.key(),
            node: node.clone(),
        },
        _ => Reason::Loopback { pod: pod.key() },
    }]
}

/// The rules that passed it on, then what decided.
fn by_policies(view: &View<'_, '_>, readings: &mut Readings) -> Explained {
    let walked = walk(view, readings);
    let mut reasons: Vec<Reason> = walked
        .passed
        .iter()
        .map(|matched| rule_reason(view, matched))
        .collect();
    let mut isolated = isolates(view.direction, view.policies, readings);
    let tier = match walked.end {
        WalkEnd::Nothing => {
            reasons.push(not_isolated(view.direction, view.own()));
            Tier::Default
        }
        WalkEnd::TierDefault(policies) => {
            for policy in policies {
                reasons.extend(silent(view, policy, true, readings));
            }
            tier_of(policies)
        }
        WalkEnd::Rule(decided, policies) => {
            let tier = tier_of(policies);
            isolated |= decided.action == Action::Deny;
            by_rules(view, decided, policies, &mut reasons, readings);
            tier
        }
    };
    Explained {
        isolated,
        tier,
        reasons,
    }
}

/// What outputs call the tier of these policies.
fn tier_of(policies: &[&Policy]) -> Tier {
    let Some(policy) = policies.first() else {
        return Tier::Default;
    };
    let known = [
        (policy::Tier::FIRST, Tier::First),
        (policy::Tier::ADMIN, Tier::Admin),
        (policy::Tier::DEFAULT, Tier::Policy),
        (policy::Tier::BASELINE, Tier::Baseline),
    ];
    let tier = known.into_iter().find(|(tier, _)| *tier == policy.tier);
    tier.map_or(Tier::Custom, |(_, tier)| tier)
}

/// The name of a tier that is the cluster's own.
fn own_tier(policy: &Policy) -> Option<String> {
    (tier_of(&[policy]) == Tier::Custom).then(|| policy.tier.name.clone().into_owned())
}

/// The rule that decided and those of the same mind that follow it: without all of them the outcome would be another.
/// Where they admit, every policy that took part without a rule that matches.
fn by_rules(
    view: &View<'_, '_>,
    decided: Matched<'_>,
    policies: &[&Policy],
    reasons: &mut Vec<Reason>,
    readings: &mut Readings,
) {
    let is_first = |policy: &&&Policy| std::ptr::eq(**policy, decided.policy);
    let mut quiet = Vec::new();
    let mut is_reached = false;
    'policies: for policy in policies {
        is_reached |= is_first(&policy);
        let skipped = if is_first(&policy) { decided.index } else { 0 };
        let mut any_matches = false;
        let rules = policy.rules(view.direction).iter().enumerate();
        for (index, rule) in rules.skip(skipped).filter(|_| is_reached) {
            let matches = rule.action != Action::Log
                && view.rule_matches(policy, rule, readings)
                && is_in_force(policy, readings);
            if !matches {
                continue;
            }
            any_matches = true;
            if rule.action != decided.action {
                break 'policies;
            }
            reasons.push(rule_reason(
                view,
                &Matched {
                    policy,
                    index,
                    action: rule.action,
                },
            ));
        }
        if !any_matches && decided.action == Action::Allow {
            quiet.push(policy);
        }
    }
    for policy in quiet {
        reasons.extend(silent(view, policy, false, readings));
    }
}

fn rule_reason(view: &View<'_, '_>, matched: &Matched<'_>) -> Reason {
    let rules = matched.policy.rules(view.direction);
    let words = rules.get(matched.index).map(words::rule);
    Reason::Rule {
        kind: matched.policy.id.kind,
        policy: matched.policy.id.key(),
        tier: own_tier(matched.policy),
        direction: view.direction,
        rule: matched.index,
        action: matched.action,
        admits: words.map(|words| words.to_string()).unwrap_or_default(),
    }
}

/// A policy that isolates the pod and none of whose rules matches.
fn silent(
    view: &View<'_, '_>,
    policy: &Policy,
    is_denied: bool,
    readings: &mut Readings,
) -> Option<Reason> {
    let isolates = policy.isolates(view.direction) && is_in_force(policy, readings);
    isolates.then(|| Reason::NoRule {
        kind: policy.id.kind,
        policy: policy.id.key(),
        tier: own_tier(policy),
        pod: view.own().name(),
        direction: view.direction,
        rules: policy.rules(view.direction).len(),
        nearest: if is_denied {
            near_miss(view, policy, readings)
        } else {
            None
        },
    })
}

/// The rule of `policy` that comes nearest to allowing: one whose peers match, else one whose ports do, else the first.
fn near_miss(view: &View<'_, '_>, policy: &Policy, readings: &mut Readings) -> Option<NearMiss> {
    let rules = policy.rules(view.direction).iter().enumerate();
    let (index, rule, peers_match, ports_match) = rules
        .filter(|(_, rule)| rule.action == Action::Allow)
        .map(|(index, rule)| {
            let peers_match = view.peers_match(policy, rule, readings);
            let ports_match = view.traffic_matches(policy, rule, readings);
            (index, rule, peers_match, ports_match)
        })
        .min_by_key(|(_, _, peers_match, ports_match)| (!peers_match, !ports_match))?;
    let (admits, instead) = match (peers_match, ports_match) {
        (true, false) => (words::ports(rule).to_string(), port_instead(view)),
        (false, true) => (
            words::peers(rule).to_string(),
            peer_instead(view, policy, rule),
        ),
        _ => (words::rule(rule).to_string(), String::new()),
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
fn peer_instead(view: &View<'_, '_>, policy: &Policy, rule: &Rule) -> String {
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
    let speaks_of = words::spoken_of(rule);
    if speaks_of.addresses && !speaks_of.others {
        return match other.address {
            Some(address) => format!("the {role} has the address {address}"),
            None => format!("the address of the {role} is not known"),
        };
    }
    let keys = words::keys(rule);
    let mut parts = Vec::new();
    if keys.of_accounts {
        let account = pod.service_account.as_deref().unwrap_or("default");
        parts.push(format!("uses service account {account}"));
    }
    if !keys.of_pods.is_empty() {
        parts.push(format!("has {}", shown_of(&pod.labels, &keys.of_pods)));
    }
    // A policy without a namespace speaks of namespaces only where it names their labels.
    let is_elsewhere = policy
        .id
        .namespace
        .as_ref()
        .is_some_and(|namespace| pod.namespace != *namespace);
    if is_elsewhere || !keys.of_namespaces.is_empty() {
        let mut part = format!("is in namespace {}", pod.namespace);
        let unnamed: Vec<&str> = keys
            .of_namespaces
            .into_iter()
            .filter(|key| *key != NAME_LABEL)
            .collect();
        if let (Some(namespace), false) =
            (view.cluster.namespace(&pod.namespace), unnamed.is_empty())
        {
            part.push_str(&format!(" with {}", shown_of(&namespace.labels, &unnamed)));
        }
        parts.push(part);
    }
    if let (true, Some(address)) = (speaks_of.addresses, other.address) {
        parts.push(format!("has the address {address}"));
    }
    if parts.is_empty() {
        parts.push(format!("is {}", other.name()));
    }
    format!("the {role} {}", parts.join(" and "))
}

/// Those of `labels` whose keys are spoken of: `app=cart`, or `no app`.
fn shown_of(labels: &Labels, keys: &[&str]) -> String {
    let shown = keys.iter().map(|key| match labels.get(*key) {
        Some(value) => format!("{key}={value}"),
        None => format!("no {key}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
