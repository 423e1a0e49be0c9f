//! Rules, peers and ports that admit nothing that others do not admit anyway.
//!
//! Policies add up: what one rule admits, no other takes back. So a rule may go when another one covers it for at least
//! the same pods. Only what [`include`] can prove is reported, whatever pods and namespaces there are, and all that is
//! reported may go at once: nothing is covered by something that is itself reported and was counted on.

use std::collections::{BTreeMap, BTreeSet};

use super::include::{self, Proof};
use super::world::{Declared, World, peer_list, rule_field};
use super::{Finding, Found, Lint, Needs, Severity, advice, words};
use crate::dialect::network_policy::{Direction, Peer, Rule};
use crate::reading::Engine;
use crate::verdict::Unspecified;

pub(super) const DUPLICATE_RULE: Lint = Lint {
    id: "duplicate-rule",
    severity: Severity::Low,
    finds: "A rule that says the same as another one for the same pods.",
    matters: "Whoever changes one of them wonders why nothing changes; and each costs every node.",
    wrong: "Never: it is reported only where it is proved. The rules may be kept apart for their owners.",
    fix: "Remove one of them.",
    needs: Needs::Policies,
};

pub(super) const SHADOWED_RULE: Lint = Lint {
    id: "shadowed-rule",
    severity: Severity::Low,
    finds: "A rule of which another rule, of this policy or of one that selects at least the same pods, admits everything.",
    matters: "It looks like the limit and is none: the broader rule decides.",
    wrong: "Never: it is reported only where it is proved. Where the proof depends on the engine, the finding says so.",
    fix: "Remove it; or narrow the broader rule, if this one was meant as the limit.",
    needs: Needs::Policies,
};

pub(super) const SHADOWED_PEER: Lint = Lint {
    id: "shadowed-peer",
    severity: Severity::Low,
    finds: "An entry of `from` or `to` that another entry of the same rule covers, or repeats.",
    matters: "It looks like a limit and is none: entries are alternatives.",
    wrong: "Never: it is reported only where it is proved.",
    fix: "Remove it; or narrow the broader entry.",
    needs: Needs::Policies,
};

pub(super) const SHADOWED_PORT: Lint = Lint {
    id: "shadowed-port",
    severity: Severity::Low,
    finds: "An entry of `ports` that another entry of the same rule covers, or repeats.",
    matters: "It looks like a limit and is none: entries are alternatives.",
    wrong: "Never: it is reported only where it is proved. Where the proof depends on the engine, the finding says so.",
    fix: "Remove it; or narrow the broader entry.",
    needs: Needs::Policies,
};

const ALL: [&Lint; 4] = [
    &DUPLICATE_RULE,
    &SHADOWED_RULE,
    &SHADOWED_PEER,
    &SHADOWED_PORT,
];

/// One rule and where it stands.
struct Place<'w, 'a> {
    declared: &'w Declared<'a>,
    index: usize,
    rule: &'w Rule,
}

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    let mut by_namespace: BTreeMap<(&str, Direction), Vec<Place<'_, '_>>> = BTreeMap::new();
    for declared in &world.policies {
        for direction in [Direction::Ingress, Direction::Egress] {
            let rules = declared.policy.rules(direction).unwrap_or_default();
            let key = (declared.policy.namespace.as_str(), direction);
            let places = by_namespace.entry(key).or_default();
            places.extend(rules.iter().enumerate().map(|(index, rule)| Place {
                declared,
                index,
                rule,
            }));
        }
    }
    for ((_, direction), places) in &by_namespace {
        if shadowed_rules(world, found, *direction, places).is_none() {
            return found.stopped(
                &ALL,
                "the input holds too many rules to hold against each other",
            );
        }
    }
}

/// `None` when there are too many.
fn shadowed_rules(
    world: &World<'_>,
    found: &mut Found,
    direction: Direction,
    places: &[Place<'_, '_>],
) -> Option<()> {
    let mut removed: BTreeSet<usize> = BTreeSet::new();
    // From the last to the first, so that of two that say the same the first stays.
    for (at, inner) in places.iter().enumerate().rev() {
        if inner.declared.places.is_none() {
            continue;
        }
        let mut best: Option<(&Place<'_, '_>, Proof)> = None;
        for (other, outer) in places.iter().enumerate() {
            if other == at || removed.contains(&other) {
                continue;
            }
            let cost = 1
                + inner.rule.peers.len() * outer.rule.peers.len()
                + inner.rule.ports.len() * outer.rule.ports.len();
            if !world.may_compare(cost) {
                return None;
            }
            let Some(proof) = covers(world, inner, outer) else {
                continue;
            };
            // The surest proof, and one from the same policy before one from another.
            let rank = |place: &Place<'_, '_>, proof: &Proof| {
                (proof.unless.len(), !is_same(place.declared, inner.declared))
            };
            let is_better = best
                .as_ref()
                .is_none_or(|(place, known)| rank(outer, &proof) < rank(place, known));
            if is_better {
                best = Some((outer, proof));
            }
        }
        match best {
            Some((outer, proof)) => {
                removed.insert(at);
                report_rule(world, found, direction, inner, outer, proof);
            }
            None => shadowed_entries(world, found, direction, inner)?,
        }
    }
    Some(())
}

fn is_same(a: &Declared<'_>, b: &Declared<'_>) -> bool {
    std::ptr::eq(a.policy, b.policy)
}

/// Whether `outer` admits all that `inner` admits, for all pods for which `inner` does.
fn covers(world: &World<'_>, inner: &Place<'_, '_>, outer: &Place<'_, '_>) -> Option<Proof> {
    let (policy, by) = (inner.declared.policy, outer.declared.policy);
    if !is_same(inner.declared, outer.declared)
        && (world.has_ordered_policies
            || !include::selector(&policy.pod_selector, &by.pod_selector))
    {
        return None;
    }
    include::rule(inner.rule, outer.rule, &policy.namespace)
}

fn report_rule(
    world: &World<'_>,
    found: &mut Found,
    direction: Direction,
    inner: &Place<'_, '_>,
    outer: &Place<'_, '_>,
    proof: Proof,
) {
    let (policy, by) = (inner.declared.policy, outer.declared.policy);
    let is_same_policy = is_same(inner.declared, outer.declared);
    let same_subject = is_same_policy || include::selector(&by.pod_selector, &policy.pod_selector);
    let is_duplicate = same_subject
        && proof.unless.is_empty()
        && include::rule(outer.rule, inner.rule, &policy.namespace)
            .is_some_and(|back| back.unless.is_empty());
    let name = format!("{direction} rule {}", outer.index);
    let whose = match is_same_policy {
        true => name,
        false => format!("{name} of {}", outer.declared.object.title()),
    };
    let subject = match (is_same_policy, same_subject) {
        (true, _) => String::new(),
        (_, true) => ", which selects the same pods,".to_owned(),
        _ => format!(
            ", which selects {} and so all of these,",
            words::subject(by)
        ),
    };
    let (lint, message) = if is_duplicate {
        let message = format!("says the same as {whose}{subject}");
        (&DUPLICATE_RULE, message.trim_end_matches(',').to_owned())
    } else {
        let why = why(
            inner.rule,
            outer.rule,
            &policy.namespace,
            peer_list(direction),
        );
        (
            &SHADOWED_RULE,
            format!("{whose}{subject} admits all of it: {why}"),
        )
    };
    let field = rule_field(direction, inner.index);
    report(world, found, lint, (inner.declared, &field), message, proof);
}

/// The proof in words.
fn why(inner: &Rule, outer: &Rule, namespace: &str, list: &str) -> String {
    let peers = if outer.peers.is_empty() {
        format!("it has no `{list}`, so everyone is admitted")
    } else {
        within(
            &inner.peers,
            &outer.peers,
            "the peers are the same",
            |a, b| include::peer(a, b, namespace),
            |peer| words::peer(peer, namespace),
        )
    };
    let ports = if outer.ports.is_empty() {
        "it has no `ports`, so any port is".to_owned()
    } else {
        within(
            &inner.ports,
            &outer.ports,
            "the ports are the same",
            include::port,
            words::port,
        )
    };
    format!("{peers}; {ports}")
}

/// Which entry is within which.
fn within<T: PartialEq>(
    inner: &[T],
    outer: &[T],
    same: &str,
    covers: impl Fn(&T, &T) -> Option<Proof>,
    words: impl Fn(&T) -> String,
) -> String {
    const SHOWN: usize = 3;
    let pairs = inner.iter().filter_map(|entry| {
        let by = outer.iter().filter_map(|by| Some((by, covers(entry, by)?)));
        let (by, _) = by.min_by_key(|(_, proof)| proof.unless.len())?;
        (entry != by).then(|| format!("{} (part of {})", words(entry), words(by)))
    });
    let pairs: Vec<String> = pairs.collect();
    match pairs.is_empty() {
        true => same.to_owned(),
        false => words::list(&pairs, SHOWN),
    }
}

/// Entries of one rule that others of it cover.
fn shadowed_entries(
    world: &World<'_>,
    found: &mut Found,
    direction: Direction,
    place: &Place<'_, '_>,
) -> Option<()> {
    let namespace = &place.declared.policy.namespace;
    let field = rule_field(direction, place.index);
    let list = peer_list(direction);
    let (peers, ports) = (&place.rule.peers, &place.rule.ports);
    if !world.may_compare(peers.len() * peers.len() + ports.len() * ports.len()) {
        return None;
    }
    let is_someone = |peer: &Peer| match peer {
        // One that selects nothing is within anything; that is another lint's matter.
        Peer::Pods { namespaces, pods } => [namespaces, pods]
            .into_iter()
            .flatten()
            .all(|selector| include::contradiction(selector).is_none()),
        Peer::Block(_) => true,
    };
    let covered = covered(peers, |a, b| {
        is_someone(a)
            .then(|| include::peer(a, b, namespace))
            .flatten()
    });
    for (at, by, proof) in covered {
        let entry = format!("{field}.{list}[{at}]");
        let message = message(peers, at, by, |peer| words::peer(peer, namespace));
        report(
            world,
            found,
            &SHADOWED_PEER,
            (place.declared, &entry),
            message,
            proof,
        );
    }
    for (at, by, proof) in self::covered(ports, include::port) {
        let entry = format!("{field}.ports[{at}]");
        let message = message(ports, at, by, words::port);
        report(
            world,
            found,
            &SHADOWED_PORT,
            (place.declared, &entry),
            message,
            proof,
        );
    }
    Some(())
}

/// Which entries are covered by which: from the last, so that of two that say the same the first stays.
fn covered<T>(
    entries: &[T],
    covers: impl Fn(&T, &T) -> Option<Proof>,
) -> Vec<(usize, usize, Proof)> {
    let mut removed = BTreeSet::new();
    let mut covered = Vec::new();
    for (at, entry) in entries.iter().enumerate().rev() {
        let others = entries.iter().enumerate();
        let proofs = others
            .filter(|(other, _)| *other != at && !removed.contains(other))
            .filter_map(|(other, by)| Some((other, covers(entry, by)?)));
        if let Some((by, proof)) = proofs.min_by_key(|(_, proof)| proof.unless.len()) {
            removed.insert(at);
            covered.push((at, by, proof));
        }
    }
    covered
}

fn message<T: PartialEq>(
    entries: &[T],
    at: usize,
    by: usize,
    words: impl Fn(&T) -> String,
) -> String {
    match (entries.get(at), entries.get(by)) {
        (Some(entry), Some(other)) if entry == other => format!("repeats entry {by}"),
        (Some(entry), Some(other)) => {
            format!(
                "entry {by} covers it: {} (part of {})",
                words(entry),
                words(other)
            )
        }
        _ => String::new(),
    }
}

fn report(
    world: &World<'_>,
    found: &mut Found,
    lint: &'static Lint,
    at: (&Declared<'_>, &str),
    mut message: String,
    proof: Proof,
) {
    // Felix knows endPort, judges ICMP by rules without ports, and takes host-network pods for nodes.
    let depends_on: Vec<Unspecified> = match world.engine {
        Engine::Felix => Vec::new(),
        _ => proof.unless.into_iter().collect(),
    };
    for point in &depends_on {
        message.push_str(match point {
            Unspecified::EndPort => "; unless an engine takes only the first port of a range",
            Unspecified::OtherProtocol => {
                "; mind that on Cilium ICMP is denied as long as any rule has ports"
            }
            Unspecified::HostNetwork => {
                "; unless an engine admits host-network pods by a namespaceSelector alone"
            }
            _ => "",
        });
    }
    let before = found.findings.len();
    found.add(lint, at, message, advice(lint));
    for finding in found.findings.iter_mut().skip(before) {
        let finding: &mut Finding = finding;
        finding.depends_on.clone_from(&depends_on);
    }
}
