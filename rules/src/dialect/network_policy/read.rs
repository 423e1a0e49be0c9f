//! From the tree to a NetworkPolicy, refusing what the API server refuses (policy-semantics §1.7).

use ipnet::IpNet;

use super::{NetworkPolicy, Peer, Rule};
use crate::cidr::{self, Block};
use crate::kubernetes::Cause;
use crate::kubernetes::field::{Field, Notes, describe};
use crate::kubernetes::kinds::protocol;
use crate::kubernetes::metadata::Metadata;
use crate::kubernetes::selector::selector;
use crate::kubernetes::tree::{Value, shorten};
use crate::port::{PortMatch, is_port_name};

/// Reads a policy. What is returned is only good if nothing was noted as an error.
pub(crate) fn network_policy(
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> NetworkPolicy {
    network_policy_with(&[], common, root, notes)
}

/// Reads a policy of a kind whose spec has these fields as well.
pub(crate) fn network_policy_with(
    more_fields: &[&str],
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> NetworkPolicy {
    let spec = root.get("spec");
    spec.expect_map(notes);
    let mut fields = vec!["podSelector", "policyTypes", "ingress", "egress"];
    fields.extend(more_fields);
    spec.expect_keys(&fields, notes);
    let ingress = rules(&spec.get("ingress"), "from", notes);
    let egress = rules(&spec.get("egress"), "to", notes);
    let types = policy_types(&spec.get("policyTypes"), notes).unwrap_or(PolicyTypes {
        ingress: true,
        egress: !egress.is_empty(),
    });
    for (section, rules, in_effect) in [
        ("ingress", &ingress, types.ingress),
        ("egress", &egress, types.egress),
    ] {
        if !rules.is_empty() && !in_effect {
            notes.warn_of(
                Cause::NoEffect,
                &spec.get(section),
                "has no effect, because policyTypes does not list it".to_owned(),
                Some("add it to policyTypes, or remove the rules".to_owned()),
            );
        }
    }
    NetworkPolicy {
        namespace: common.namespace.clone().unwrap_or_default(),
        name: common.name.clone(),
        pod_selector: selector(&spec.get("podSelector"), notes),
        ingress: types.ingress.then_some(ingress),
        egress: types.egress.then_some(egress),
    }
}

pub(crate) struct PolicyTypes {
    pub(crate) ingress: bool,
    pub(crate) egress: bool,
}

/// `policyTypes`; `None` when absent or empty, so that the default applies (§1.1).
pub(crate) fn policy_types(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<PolicyTypes> {
    let mut types = PolicyTypes {
        ingress: false,
        egress: false,
    };
    let mut count = 0;
    for entry in field.items(notes) {
        count += 1;
        match entry.text(notes) {
            Some("Ingress") => types.ingress = true,
            Some("Egress") => types.egress = true,
            other => {
                let shown = shorten(other.unwrap_or_default());
                notes.error(
                    &entry,
                    format!("`{shown}` is not a policy type"),
                    Some("write Ingress or Egress".to_owned()),
                );
            }
        }
    }
    if count > 2 {
        notes.error(
            field,
            format!("has {count} entries, at most two are allowed"),
            Some("list Ingress and Egress once each".to_owned()),
        );
    }
    (count > 0).then_some(types)
}

fn rules(section: &Field<'_, '_>, peers: &str, notes: &mut Notes<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in section.items(notes) {
        entry.expect_map(notes);
        entry.expect_keys(&[peers, "ports"], notes);
        let mut rule = Rule::default();
        for field in entry.get(peers).items(notes) {
            rule.peers.extend(peer(&field, notes));
        }
        for field in entry.get("ports").items(notes) {
            rule.ports.extend(port(&field, notes));
        }
        rules.push(rule);
    }
    rules
}

pub(crate) fn peer(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Peer> {
    entry.expect_map(notes);
    entry.expect_keys(&["podSelector", "namespaceSelector", "ipBlock"], notes);
    let pods = entry.get("podSelector");
    let namespaces = entry.get("namespaceSelector");
    let ip_block = entry.get("ipBlock");
    if !ip_block.is_absent() {
        if !pods.is_absent() || !namespaces.is_absent() {
            notes.error(
                &ip_block,
                "must not stand beside a selector in one entry".to_owned(),
                Some("make two entries of it: then either may match".to_owned()),
            );
        }
        return block(&ip_block, notes).map(Peer::Block);
    }
    if pods.is_absent() && namespaces.is_absent() {
        notes.error(
            entry,
            "names no peer".to_owned(),
            Some("give podSelector, namespaceSelector or ipBlock; `podSelector: {}` is every pod of the namespace".to_owned()),
        );
        return None;
    }
    let read = |field: Field<'_, '_>, notes: &mut Notes<'_>| {
        (!field.is_absent()).then(|| selector(&field, notes))
    };
    Some(Peer::Pods {
        namespaces: read(namespaces, notes),
        pods: read(pods, notes),
    })
}

fn block(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Block> {
    field.expect_map(notes);
    field.expect_keys(&["cidr", "except"], notes);
    let cidr = net(&field.get("cidr"), notes);
    let mut except = Vec::new();
    for entry in field.get("except").items(notes) {
        let Some(exception) = net(&entry, notes) else {
            continue;
        };
        if let Some(cidr) = &cidr
            && !cidr::strictly_inside(&exception, cidr)
        {
            notes.error(
                &entry,
                format!("`{exception}` is not strictly inside `{cidr}`"),
                Some("an exception must be a smaller part of its own block".to_owned()),
            );
        }
        except.push(exception);
    }
    Some(Block {
        cidr: cidr?,
        except,
    })
}

pub(crate) fn net(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<IpNet> {
    if field.is_absent() {
        notes.error(
            field,
            "is missing".to_owned(),
            Some("write address/length, such as 10.0.0.0/8".to_owned()),
        );
        return None;
    }
    let text = field.text(notes)?;
    let parsed = cidr::parse(text);
    if parsed.is_none() {
        let shown = shorten(text);
        notes.error(
            field,
            format!("`{shown}` is not an address block"),
            Some(
                "write address/length, such as 10.0.0.0/8, or /32 for a single address".to_owned(),
            ),
        );
    }
    parsed
}

pub(crate) fn port(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<PortMatch> {
    entry.expect_map(notes);
    entry.expect_keys(&["protocol", "port", "endPort"], notes);
    let protocol = protocol(&entry.get("protocol"), notes)?;
    let port = entry.get("port");
    let end_port = entry.get("endPort");
    match port.value() {
        None => {
            if !end_port.is_absent() {
                let help = "give the first port of the range as `port`";
                notes.error(
                    &end_port,
                    "must not stand without a port".to_owned(),
                    Some(help.to_owned()),
                );
            }
            Some(PortMatch::All(protocol))
        }
        Some(Value::Text(name)) => {
            if !is_port_name(name) {
                let help = "a port name is 1 to 15 of a-z, 0-9 and -, with a letter; write a number without quotes";
                let shown = shorten(name);
                notes.error(
                    &port,
                    format!("`{shown}` is not a port name"),
                    Some(help.to_owned()),
                );
            }
            if !end_port.is_absent() {
                let help = "a range needs a number as `port`";
                notes.error(
                    &end_port,
                    "must not stand beside a named port".to_owned(),
                    Some(help.to_owned()),
                );
            }
            Some(PortMatch::Named {
                protocol,
                name: name.clone().into_owned(),
            })
        }
        Some(Value::Int(_)) => {
            let first = port.port(notes)?;
            if end_port.is_absent() {
                return Some(PortMatch::Range {
                    protocol,
                    first,
                    last: first,
                });
            }
            let last = end_port.port(notes)?;
            if last < first {
                let help = "the range is closed and goes upwards";
                notes.error(
                    &end_port,
                    format!("{last} is below the port {first}"),
                    Some(help.to_owned()),
                );
            }
            Some(PortMatch::Range {
                protocol,
                first,
                last,
            })
        }
        Some(other) => {
            notes.error(
                &port,
                format!("must be a number or a name, is {}", describe(other)),
                None,
            );
            None
        }
    }
}
