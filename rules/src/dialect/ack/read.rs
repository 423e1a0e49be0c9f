//! From the tree to a GlobalNetworkPolicy.

use super::{GlobalNetworkPolicy, Peer, Rule};
use crate::dialect::network_policy::read::{self as network_policy, PolicyTypes};
use crate::kubernetes::Cause;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::metadata::Metadata;
use crate::kubernetes::selector::selector;
use crate::kubernetes::tree::{Value, shorten};

/// Reads a policy. What is returned is only good if nothing was noted as an error.
pub(crate) fn global_network_policy(
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> GlobalNetworkPolicy {
    let spec = root.get("spec");
    spec.expect_map(notes);
    let known = [
        "podSelector",
        "namespaceSelector",
        "policyTypes",
        "ingress",
        "egress",
    ];
    let has_unknown = has_unknown(&spec, &known, notes);
    let ingress = rules(&spec.get("ingress"), "from", notes);
    let egress = rules(&spec.get("egress"), "to", notes);
    let types = network_policy::policy_types(&spec.get("policyTypes"), notes);
    let types = types.unwrap_or(PolicyTypes {
        ingress: true,
        egress: !egress.is_empty(),
    });
    GlobalNetworkPolicy {
        name: common.name.clone(),
        pods: selector(&spec.get("podSelector"), notes),
        namespaces: selector(&spec.get("namespaceSelector"), notes),
        ingress: types.ingress.then_some(ingress),
        egress: types.egress.then_some(egress),
        has_unknown,
    }
}

/// Whether a map has fields beyond `known`; each is named.
fn has_unknown(field: &Field<'_, '_>, known: &[&str], notes: &mut Notes<'_>) -> bool {
    let Some(Value::Map(entries)) = field.value() else {
        return false;
    };
    let unknown = entries
        .iter()
        .filter(|(key, value)| !known.contains(&key.as_ref()) && *value != Value::Null);
    let mut any = false;
    for (key, _) in unknown {
        any = true;
        notes.warn_of(
            Cause::NotEvaluated,
            field,
            format!("the field `{}` is not evaluated", shorten(key)),
            Some("verdicts that depend on it are unspecified".to_owned()),
        );
    }
    any
}

fn rules(section: &Field<'_, '_>, peers: &str, notes: &mut Notes<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in section.items(notes) {
        entry.expect_map(notes);
        let mut rule = Rule {
            has_unknown: has_unknown(&entry, &[peers, "ports"], notes),
            ..Rule::default()
        };
        for field in entry.get(peers).items(notes) {
            rule.peers.extend(peer(&field, notes));
        }
        for field in entry.get("ports").items(notes) {
            rule.ports.extend(network_policy::port(&field, notes));
        }
        rules.push(rule);
    }
    rules
}

fn peer(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Peer> {
    let known = ["podSelector", "namespaceSelector", "ipBlock"];
    if has_unknown(entry, &known, notes) {
        return Some(Peer::Unknown);
    }
    network_policy::peer(entry, notes).map(Peer::Known)
}
