//! One side of one case under one combination of readings: the walk through the tiers (policy-semantics §0, §3.1).

use std::borrow::Cow;

use super::case::{Case, End, Who, runs_on};
use super::is_for_nodes;
use super::rule::View;
use crate::cluster::{Cluster, Pod};
use crate::policy::{Action, Direction, Kind, Policy, Tier, TierDefault};
use crate::reading::{Asking, Reading, Readings};
use crate::verdict::{Decision, Unspecified};

/// Where a side stands before any rule is looked at.
pub(super) enum Standing<'a> {
    /// Nothing is here that a policy could select.
    NoPod,
    /// No policy selects the pod: everything is allowed (§1.1).
    NotSelected,
    /// Policies select the pod, but not for this connection (§1.6).
    Exempt,
    /// These policies decide.
    Judged(Cow<'a, [&'a Policy]>),
}

/// What one side says.
pub(super) fn decide(
    direction: Direction,
    case: &Case<'_>,
    cluster: &Cluster,
    readings: &mut Readings,
) -> Decision {
    match standing(direction, case, readings) {
        Standing::NoPod | Standing::NotSelected | Standing::Exempt => Decision::Allowed,
        Standing::Judged(policies) => {
            let view = View {
                direction,
                case,
                cluster,
                policies: &policies,
            };
            walk(&view, readings).decision()
        }
    }
}

/// The end that policies of one direction select, and those that do.
pub(super) fn subject<'c, 'a>(
    direction: Direction,
    case: &'c Case<'a>,
) -> (&'c End<'a>, &'c [&'a Policy]) {
    match direction {
        Direction::Egress => (&case.client, &case.egress),
        Direction::Ingress => (&case.server, &case.ingress),
    }
}

/// Whether rules decide this side at all.
pub(super) fn standing<'a>(
    direction: Direction,
    case: &'a Case<'_>,
    readings: &mut Readings,
) -> Standing<'a> {
    let (subject, policies) = subject(direction, case);
    let policies = match subject.who {
        Who::Pod(_) if policies.is_empty() => return Standing::NotSelected,
        Who::Pod(_) => Cow::Borrowed(policies),
        Who::Service(_) | Who::External => return Standing::NoPod,
        Who::HostPod(_) | Who::Node(_) => {
            let any = |of_nodes: bool| policies.iter().any(|p| is_for_nodes(p) == of_nodes);
            let as_pod = any(false) && subject.as_pod(readings).is_some();
            let as_node =
                !as_pod && any(true) && readings.ask(Unspecified::HostPolicy) == Reading::Judged;
            if !as_pod && !as_node {
                return Standing::NoPod;
            }
            let kept = policies.iter().copied();
            Cow::Owned(kept.filter(|p| is_for_nodes(p) != as_pod).collect())
        }
    };
    match exemption(direction, subject.who.pod(), &policies, case, readings) {
        None => Standing::Judged(policies),
        Some(Exemption::FromAll) => Standing::Exempt,
        Some(Exemption::FromNetworkPolicy) => {
            let mut policies = policies.into_owned();
            policies.retain(|policy| !policy.id.kind.is_like_network_policy());
            match policies.is_empty() {
                true => Standing::Exempt,
                false => Standing::Judged(Cow::Owned(policies)),
            }
        }
    }
}

/// Which policies a connection is exempt from.
enum Exemption {
    FromAll,
    /// NetworkPolicy does not say, or says in words only; the other dialects do.
    FromNetworkPolicy,
}

/// The exemptions of §1.6, and protocols of which NetworkPolicy says nothing.
fn exemption(
    direction: Direction,
    pod: Option<&Pod>,
    policies: &[&Policy],
    case: &Case<'_>,
    readings: &mut Readings,
) -> Option<Exemption> {
    let pod = pod?;
    if case.is_loopback() {
        let point = match case.service {
            Some(_) => Unspecified::LoopbackThroughService,
            None => Unspecified::Loopback,
        };
        if readings.ask(point) == Reading::Exempt {
            return Some(Exemption::FromAll);
        }
    }
    // Asked last: it looks at every policy, and most connections are to neither node nor protocol without ports.
    let is_open = || {
        let mut policies = policies.iter();
        policies.any(|policy| policy.id.kind.is_like_network_policy())
    };
    let other = match direction {
        Direction::Egress => &case.server,
        Direction::Ingress => &case.client,
    };
    let is_own_node = matches!(other.who, Who::Node(_) | Who::HostPod(_))
        && (direction == Direction::Ingress || is_open())
        && other
            .as_node(readings)
            .is_some_and(|node| runs_on(pod, node, other.address));
    if is_own_node {
        if direction == Direction::Ingress {
            return Some(Exemption::FromAll);
        }
        if readings.ask(Unspecified::PodToOwnNode) == Reading::Exempt {
            return Some(Exemption::FromNetworkPolicy);
        }
    }
    let is_exempt = !case.protocol.has_ports()
        && is_open()
        && readings.ask(Unspecified::OtherProtocol) == Reading::Exempt;
    is_exempt.then_some(Exemption::FromNetworkPolicy)
}

/// Where a walk through the tiers ended.
pub(super) struct Walked<'v> {
    /// The rules that passed it on to the next tier, each with its place in its policy.
    pub(super) passed: Vec<Matched<'v>>,
    pub(super) end: WalkEnd<'v>,
}

/// A rule that matched.
#[derive(Clone, Copy)]
pub(super) struct Matched<'v> {
    pub(super) policy: &'v Policy,
    /// Counted from 0.
    pub(super) index: usize,
    pub(super) action: Action,
}

/// What ended a walk.
pub(super) enum WalkEnd<'v> {
    /// A rule that allows or denies, and the policies of its tier.
    Rule(Matched<'v>, &'v [&'v Policy]),
    /// The default of a tier that denies, and its policies.
    TierDefault(&'v [&'v Policy]),
    /// Nothing: everything is allowed.
    Nothing,
}

impl Walked<'_> {
    fn decision(&self) -> Decision {
        match &self.end {
            WalkEnd::Nothing => Decision::Allowed,
            WalkEnd::TierDefault(_) => Decision::Denied,
            WalkEnd::Rule(matched, _) => match matched.action {
                Action::Deny => Decision::Denied,
                _ => Decision::Allowed,
            },
        }
    }
}

/// Tier by tier, until one decides.
pub(super) fn walk<'v>(view: &View<'v, '_>, readings: &mut Readings) -> Walked<'v> {
    let mut passed = Vec::new();
    for tier in view.policies.chunk_by(|a, b| a.tier == b.tier) {
        match first_match(view, tier, readings) {
            Some(matched) if matched.action == Action::Pass => passed.push(matched),
            Some(matched) if is_skipped(view, matched, readings) => {}
            Some(matched) => {
                let end = WalkEnd::Rule(matched, tier);
                return Walked { passed, end };
            }
            None => {
                let denies = |policy: &&&Policy| {
                    policy.tier.default == TierDefault::Deny && policy.isolates(view.direction)
                };
                let mut isolating = tier.iter().filter(denies);
                if isolating.any(|policy| is_in_force(policy, readings)) {
                    let end = WalkEnd::TierDefault(tier);
                    return Walked { passed, end };
                }
            }
        }
    }
    let end = WalkEnd::Nothing;
    Walked { passed, end }
}

/// Whether the baseline tier is not asked, because a NetworkPolicy selects the pod for the other direction (§2).
fn is_skipped(view: &View<'_, '_>, matched: Matched<'_>, readings: &mut Readings) -> bool {
    matched.action == Action::Deny
        && matched.policy.tier == Tier::BASELINE
        && view.case.is_baseline_open(view.direction)
        && readings.ask(Unspecified::BaselineSkipped) == Reading::Exempt
}

/// The first rule of a tier that matches and does more than to log. Where nothing says which of several policies
/// goes first, each of them may.
fn first_match<'v>(
    view: &View<'v, '_>,
    tier: &'v [&'v Policy],
    readings: &mut Readings,
) -> Option<Matched<'v>> {
    let is_tie = |a: &&Policy, b: &&Policy| {
        a.order == b.order && a.id.kind.leaves_ties_open() && b.id.kind.leaves_ties_open()
    };
    for tied in tier.chunk_by(is_tie) {
        let mut found: Option<Matched<'v>> = None;
        for policy in tied {
            let Some(matched) = first_match_in(view, policy, readings) else {
                continue;
            };
            match found {
                None => found = Some(matched),
                Some(earlier) if earlier.action == matched.action => {}
                Some(earlier) => {
                    let asking = Asking::of(Unspecified::EqualPriority, earlier.policy);
                    if readings.ask(asking) == Reading::Matches {
                        break;
                    }
                    found = Some(matched);
                }
            }
        }
        if found.is_some() {
            return found;
        }
    }
    None
}

fn first_match_in<'v>(
    view: &View<'v, '_>,
    policy: &'v Policy,
    readings: &mut Readings,
) -> Option<Matched<'v>> {
    let rules = policy.rules(view.direction).iter().enumerate();
    for (index, rule) in rules.filter(|(_, rule)| rule.action != Action::Log) {
        if view.rule_matches(policy, rule, readings) && is_in_force(policy, readings) {
            return Some(Matched {
                policy,
                index,
                action: rule.action,
            });
        }
    }
    None
}

/// Whether a policy applies at all, where that cannot be told.
pub(super) fn is_in_force(policy: &Policy, readings: &mut Readings) -> bool {
    match policy.open {
        None => true,
        // How an engine behaves is one question for all of them.
        Some(point @ Unspecified::CiliumOnly) => readings.ask(point) == Reading::Matches,
        Some(point @ Unspecified::BothVersions) => {
            let is_newer = policy.id.kind == Kind::ClusterNetworkPolicy;
            match readings.ask(point) {
                Reading::OnlyNewer => is_newer,
                Reading::OnlyOlder => !is_newer,
                _ => true,
            }
        }
        Some(point) => readings.ask(Asking::of(point, policy)) == Reading::Matches,
    }
}
