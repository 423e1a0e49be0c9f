//! Why a side says what it says: the same walk as [`side`](super::side), with words.

use std::fmt;

use super::case::{Case, End, Who};
use super::instead::Instead;
use super::rule::View;
use super::side::{Matched, Standing, WalkEnd, is_in_force, standing, subject, walk};
use super::words;
use crate::cluster::{Cluster, Protocol};
use crate::policy::{self, Action, Direction, Policy, TierDefault};
use crate::reading::{Reader, Readings};
use crate::terway::is_exclusive_eni;
use crate::verdict::{NearMiss, Reason, Tier};

/// How reasons speak of what is another with each connection, although the same rules decide.
pub(super) trait Names {
    /// The end that policies select.
    fn own(&self, end: &End<'_>) -> String;

    /// What the connection has instead of the ports of a rule: `the connection uses TCP 80`.
    fn ports(&self, case: &Case<'_>) -> String;

    /// What the other end has instead of the peers of a rule.
    fn peers(&self, instead: Instead, other: &End<'_>, cluster: &Cluster) -> String;
}

/// As a person reads it.
pub(super) struct InFull;

impl Names for InFull {
    fn own(&self, end: &End<'_>) -> String {
        end.name()
    }

    fn ports(&self, case: &Case<'_>) -> String {
        ports_used(case.protocol, case.port).to_string()
    }

    fn peers(&self, instead: Instead, other: &End<'_>, cluster: &Cluster) -> String {
        let mut text = String::new();
        instead.write(other, cluster, &mut text);
        text
    }
}

/// `the connection uses TCP 80`.
pub(super) fn ports_used(protocol: Protocol, port: u16) -> impl fmt::Display {
    fmt::from_fn(move |f| match protocol.has_ports() {
        true => write!(f, "the connection uses {protocol} {port}"),
        false => write!(f, "the connection uses protocol {protocol}"),
    })
}

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
    names: &dyn Names,
) -> Explained {
    let readings = &mut Readings::new(reader);
    let (subject, selected) = subject(direction, case);
    let mut explained = match standing(direction, case, readings) {
        Standing::NoPod => Explained {
            reasons: vec![match subject.who {
                Who::HostPod(pod) => Reason::HostNetwork { pod: pod.key() },
                _ => Reason::NotAPod {
                    party: names.own(subject),
                },
            }],
            ..Explained::default()
        },
        Standing::NotSelected => Explained {
            tier: Tier::Default,
            reasons: vec![not_isolated(direction, names.own(subject))],
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
            let mut explained = by_policies(&view, names, readings);
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

fn not_isolated(direction: Direction, pod: String) -> Reason {
    Reason::NotIsolated { pod, direction }
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
fn by_policies(view: &View<'_, '_>, names: &dyn Names, readings: &mut Readings) -> Explained {
    let walked = walk(view, readings);
    let mut reasons: Vec<Reason> = walked
        .passed
        .iter()
        .map(|matched| rule_reason(view, matched))
        .collect();
    let mut isolated = isolates(view.direction, view.policies, readings);
    let tier = match walked.end {
        WalkEnd::Nothing => {
            reasons.push(not_isolated(view.direction, names.own(view.own())));
            Tier::Default
        }
        WalkEnd::TierDefault(policies) => {
            for policy in policies {
                reasons.extend(silent(view, policy, true, names, readings));
            }
            tier_of(policies)
        }
        WalkEnd::Rule(decided, policies) => {
            let tier = tier_of(policies);
            isolated |= decided.action == Action::Deny;
            by_rules(view, decided, policies, &mut reasons, names, readings);
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
    names: &dyn Names,
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
        reasons.extend(silent(view, policy, false, names, readings));
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
    names: &dyn Names,
    readings: &mut Readings,
) -> Option<Reason> {
    let isolates = policy.isolates(view.direction) && is_in_force(policy, readings);
    isolates.then(|| Reason::NoRule {
        kind: policy.id.kind,
        policy: policy.id.key(),
        tier: own_tier(policy),
        pod: names.own(view.own()),
        direction: view.direction,
        rules: policy.rules(view.direction).len(),
        nearest: if is_denied {
            near_miss(view, policy, names, readings)
        } else {
            None
        },
    })
}

/// The rule of `policy` that comes nearest to allowing: one whose peers match, else one whose ports do, else the first.
fn near_miss(
    view: &View<'_, '_>,
    policy: &Policy,
    names: &dyn Names,
    readings: &mut Readings,
) -> Option<NearMiss> {
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
        (true, false) => (words::ports(rule).to_string(), names.ports(view.case)),
        (false, true) => (
            words::peers(rule).to_string(),
            names.peers(
                Instead::of(view.direction, policy, rule),
                view.other(),
                view.cluster,
            ),
        ),
        _ => (words::rule(rule).to_string(), String::new()),
    };
    Some(NearMiss {
        rule: index,
        admits,
        instead,
    })
}
