//! A dash too many: two peers where one was meant (policy-semantics §1.3).

use super::world::{Declared, World, peer_list};
use super::{Found, Lint, Needs, Severity, words};
use crate::dialect::network_policy::Peer;
use crate::selector::Selector;

pub(super) const AND_BECAME_OR: Lint = Lint {
    id: "and-became-or",
    severity: Severity::High,
    finds: "An entry with only a `namespaceSelector` beside one with only a `podSelector`: a dash too many makes two \
        peers of one.",
    matters: "Entries are alternatives. Instead of some pods of some namespaces, all pods of these namespaces may connect, \
        and so may those pods of the policy's own namespace.",
    wrong: "Both are meant: then the rule reads better as two rules. A list with several entries of either sort is taken \
        as meant and not reported.",
    fix: "Remove the dash before the second selector, so that both stand in one entry.",
    needs: Needs::Policies,
};

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    for declared in world.checked() {
        for (direction, field, rule) in declared.rules() {
            let list = peer_list(direction);
            for (index, pair) in rule.peers.windows(2).enumerate() {
                let [first, second] = pair else { continue };
                let Some((namespaces, pods)) = split(first, second) else {
                    continue;
                };
                let sorts = rule.peers.iter().filter_map(half);
                let is_list = sorts.clone().filter(|half| half.is_namespaces()).count() > 1
                    || sorts.filter(|half| !half.is_namespaces()).count() > 1;
                if !is_list {
                    let field = format!("{field}.{list}[{}]", index + 1);
                    report(world, found, (declared, &field), index, namespaces, pods);
                }
            }
        }
    }
}

/// A peer that looks like half of one.
enum Half<'p> {
    Namespaces(&'p Selector),
    /// Never empty: `podSelector: {}` alone is how one writes "my own namespace".
    Pods(&'p Selector),
}

impl Half<'_> {
    fn is_namespaces(&self) -> bool {
        matches!(self, Self::Namespaces(_))
    }
}

fn half(peer: &Peer) -> Option<Half<'_>> {
    match peer {
        Peer::Pods {
            namespaces: Some(namespaces),
            pods: None,
        } => Some(Half::Namespaces(namespaces)),
        Peer::Pods {
            namespaces: None,
            pods: Some(pods),
        } if !pods.is_empty() => Some(Half::Pods(pods)),
        _ => None,
    }
}

fn split<'p>(first: &'p Peer, second: &'p Peer) -> Option<(&'p Selector, &'p Selector)> {
    match (half(first)?, half(second)?) {
        (Half::Namespaces(namespaces), Half::Pods(pods))
        | (Half::Pods(pods), Half::Namespaces(namespaces)) => Some((namespaces, pods)),
        _ => None,
    }
}

fn report(
    world: &World<'_>,
    found: &mut Found,
    at: (&Declared<'_>, &str),
    index: usize,
    namespaces: &Selector,
    pods: &Selector,
) {
    let own = &at.0.policy.namespace;
    let selected = match namespaces.is_empty() {
        true => "all namespaces".to_owned(),
        false => format!("namespaces `{}`", words::short(namespaces)),
    };
    let labels = words::short(pods);
    let mut message = format!(
        "entries {index} and {} are alternatives: all pods of {selected} match, and so do pods `{labels}` of namespace \
         {own}; in one entry they would be pods `{labels}` of {selected}",
        index + 1
    );
    // Where the own namespace has such pods, both may well be meant.
    let has_own = world.select(own, pods).next().is_some();
    let severity = if has_own {
        Severity::Medium
    } else {
        Severity::High
    };
    if world.has_pods && !has_own {
        message.push_str(&format!("; namespace {own} has no such pods"));
    }
    let fix = "remove the dash before the second selector if both should hold at once; if either should do, write two rules";
    found.add_as(&AND_BECAME_OR, severity, at, message, fix);
}
