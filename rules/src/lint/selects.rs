//! Selectors that select nothing: by what they say, or by what the cluster holds.

use std::collections::BTreeSet;

use super::include::contradiction;
use super::world::{Declared, Group, World};
use super::{Found, Lint, Needs, Severity, advice, words};
use crate::cluster::Labels;
use crate::dialect::network_policy::Peer;
use crate::selector::Selector;

pub(super) const CONTRADICTS_ITSELF: Lint = Lint {
    id: "selector-contradicts-itself",
    severity: Severity::Medium,
    finds: "A selector that demands of one label what no label can be.",
    matters: "It selects nothing, in any cluster: a policy isolates no pod, a peer admits none.",
    wrong: "It is meant to switch the policy or the peer off.",
    fix: "Remove one of the requirements; where either should do, write two entries.",
    needs: Needs::Policies,
};

pub(super) const POLICY_SELECTS_NOTHING: Lint = Lint {
    id: "policy-selects-no-pod",
    severity: Severity::Medium,
    finds: "A policy whose `podSelector` selects none of the pods of its namespace.",
    matters: "It isolates nothing. Often a label is misspelt or has changed, and what should be protected is open.",
    wrong: "The pods are not there yet, are scaled to zero, or come and go: jobs. Only policies with a selector are \
        reported: a default for an empty namespace is good practice.",
    fix: "Correct the labels, or remove the policy.",
    needs: Needs::Pods,
};

pub(super) const PEER_SELECTS_NOTHING: Lint = Lint {
    id: "peer-selects-no-pod",
    severity: Severity::Medium,
    finds: "A peer that selects none of the cluster's pods.",
    matters: "It admits nobody: connections that it should admit are denied, or it outlived them.",
    wrong: "The pods are not there yet, are scaled to zero, or come and go: jobs.",
    fix: "Correct the labels or the namespace, or remove the entry.",
    needs: Needs::Pods,
};

pub(super) const NAMESPACES_MATCH_NOTHING: Lint = Lint {
    id: "namespace-selector-matches-nothing",
    severity: Severity::Medium,
    finds: "A `namespaceSelector` that no namespace matches.",
    matters: "It admits nobody. Namespaces are selected by label, not by name, and the label is often missing.",
    wrong: "The namespace is not there yet.",
    fix: "Label the namespace, or select it by `kubernetes.io/metadata.name`, which every namespace has.",
    needs: Needs::Namespaces,
};

/// The last word on labels that nobody has.
const FIX: &str =
    "correct the labels, or remove what they select; pods that are not there yet are no mistake";

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    for declared in world.checked() {
        subject(world, found, declared);
        for (_, field, peer) in declared.peers() {
            if !world.may_compare(0) {
                let lints = [
                    &POLICY_SELECTS_NOTHING,
                    &PEER_SELECTS_NOTHING,
                    &NAMESPACES_MATCH_NOTHING,
                ];
                return found.stopped(&lints, "the input holds too many policies and pods");
            }
            self::peer(world, found, declared, &field, peer);
        }
    }
}

/// Whom the policy selects.
fn subject(world: &World<'_>, found: &mut Found, declared: &Declared<'_>) {
    let policy = declared.policy;
    let selector = &policy.pod_selector;
    let at = (declared, "spec.podSelector");
    if contradicts(found, at, selector) || !world.has_pods || selector.is_empty() {
        return;
    }
    let mut selected = world.select(&policy.namespace, selector).peekable();
    let message = if selected.peek().is_none() {
        let groups = world.groups_of(&policy.namespace);
        let hint = hint(selector, groups.iter().map(|group| group.labels));
        format!(
            "no pod of namespace {} has `{}`{hint}",
            policy.namespace,
            words::short(selector)
        )
    } else if selected.all(|group| group.host_network) {
        "selects only pods of the host network, which no engine of ACK isolates".to_owned()
    } else {
        return;
    };
    found.add(&POLICY_SELECTS_NOTHING, at, message, FIX);
}

/// Whom one peer means.
fn peer(world: &World<'_>, found: &mut Found, declared: &Declared<'_>, field: &str, peer: &Peer) {
    let Peer::Pods { namespaces, pods } = peer else {
        return;
    };
    let namespaces_field = format!("{field}.namespaceSelector");
    let pods_field = format!("{field}.podSelector");
    let mut contradicted = false;
    for (selector, field) in [(namespaces, &namespaces_field), (pods, &pods_field)] {
        if let Some(selector) = selector {
            contradicted |= contradicts(found, (declared, field), selector);
        }
    }
    if contradicted {
        return;
    }
    if let Some(selector) = namespaces
        && world.namespaces(selector).next().is_none()
    {
        if world.knows_all_namespaces() {
            let labels = world.cluster.namespaces().values().map(|ns| &ns.labels);
            let hint = hint(selector, labels);
            let message = format!("no namespace has `{}`{hint}", words::short(selector));
            found.add(
                &NAMESPACES_MATCH_NOTHING,
                (declared, &namespaces_field),
                message,
                advice(&NAMESPACES_MATCH_NOTHING),
            );
        }
        // Whether it is the namespaces or their labels that are missing cannot be told.
        return;
    }
    if !world.has_pods {
        return;
    }
    let own = &declared.policy.namespace;
    let mut selected = world.pods_of_peer(own, peer).peekable();
    let message = if selected.peek().is_none() {
        // Labels of namespaces that are only known from pods may be anything.
        let by_labels = namespaces.as_ref().is_some_and(|s| !s.is_empty());
        if by_labels && !world.knows_all_namespaces() {
            return;
        }
        format!(
            "selects nothing: there are no {}",
            words_of(world, own, peer)
        )
    } else if selected.all(|group| group.host_network) {
        "selects only pods of the host network, which no engine of ACK admits by selector; use ipBlock for nodes".to_owned()
    } else {
        return;
    };
    found.add(&PEER_SELECTS_NOTHING, (declared, field), message, FIX);
}

/// The peer in words, and what is there instead.
fn words_of(world: &World<'_>, own: &str, peer: &Peer) -> String {
    let Peer::Pods { namespaces, pods } = peer else {
        return String::new();
    };
    let words = words::peer(peer, own);
    let words = words.strip_prefix("all ").unwrap_or(&words).to_owned();
    let Some(pods) = pods else { return words };
    // What the namespaces hold without regard to the pods' labels.
    let anyone = Peer::Pods {
        namespaces: namespaces.clone(),
        pods: None,
    };
    let groups: Vec<&Group<'_>> = world.pods_of_peer(own, &anyone).collect();
    let hint = hint(pods, groups.into_iter().map(|group| group.labels));
    format!("{words}{hint}")
}

fn contradicts(found: &mut Found, at: (&Declared<'_>, &str), selector: &Selector) -> bool {
    let Some(key) = contradiction(selector) else {
        return false;
    };
    let message = format!(
        "`{}` demands of the label `{key}` what no label can be, so it selects nothing",
        words::short(selector)
    );
    let fix = "remove one of the requirements; where either should do, write two entries";
    found.add(&CONTRADICTS_ITSELF, at, message, fix);
    true
}

/// What values the labels of `selector` do have: `; values of app there: cart, web`.
fn hint<'l>(selector: &Selector, labels: impl Iterator<Item = &'l Labels> + Clone) -> String {
    const VALUES_SHOWN: usize = 4;
    if labels.clone().next().is_none() {
        return "; there are no pods there".to_owned();
    }
    let [key] = selector.keys()[..] else {
        return String::new();
    };
    let values: BTreeSet<&str> = labels
        .filter_map(|labels| labels.get(key))
        .map(String::as_str)
        .collect();
    if values.is_empty() {
        return format!("; nothing there has the label `{key}`");
    }
    let values: Vec<String> = values
        .into_iter()
        .map(|value| format!("`{value}`"))
        .collect();
    format!(
        "; values of `{key}` there: {}",
        words::list(&values, VALUES_SHOWN)
    )
}
