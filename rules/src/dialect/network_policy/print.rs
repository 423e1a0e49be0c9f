//! A NetworkPolicy as the API server would store it, its defaults written out.

use serde_json::{Value, json};

use super::{NetworkPolicy, Peer, Rule};
use crate::kubernetes::print::{prune, selector};
use crate::port::PortMatch;

/// The `spec` of a policy.
pub(crate) fn spec(policy: &NetworkPolicy) -> Value {
    let types = [("Ingress", &policy.ingress), ("Egress", &policy.egress)];
    let types: Vec<&str> = types
        .iter()
        .filter(|(_, rules)| rules.is_some())
        .map(|(name, _)| *name)
        .collect();
    let section = |rules: &Option<Vec<Rule>>, peers| {
        rules.as_ref().map(|rules| {
            rules
                .iter()
                .map(|rule| self::rule(rule, peers))
                .collect::<Vec<_>>()
        })
    };
    prune(json!({
        "podSelector": selector(&policy.pod_selector),
        "policyTypes": types,
        "ingress": section(&policy.ingress, "from"),
        "egress": section(&policy.egress, "to"),
    }))
}

fn rule(rule: &Rule, peers: &str) -> Value {
    let mut fields = serde_json::Map::new();
    if !rule.peers.is_empty() {
        fields.insert(peers.to_owned(), rule.peers.iter().map(peer).collect());
    }
    if !rule.ports.is_empty() {
        fields.insert("ports".to_owned(), rule.ports.iter().map(port).collect());
    }
    Value::Object(fields)
}

pub(crate) fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Pods { namespaces, pods } => prune(json!({
            "namespaceSelector": namespaces.as_ref().map(selector),
            "podSelector": pods.as_ref().map(selector),
        })),
        Peer::Block(block) => {
            let except: Vec<String> = block.except.iter().map(ToString::to_string).collect();
            let except = (!except.is_empty()).then_some(except);
            json!({ "ipBlock": prune(json!({ "cidr": block.cidr.to_string(), "except": except })) })
        }
    }
}

pub(crate) fn port(port: &PortMatch) -> Value {
    let protocol = port.protocol().to_string();
    match port {
        PortMatch::All(_) => json!({ "protocol": protocol }),
        PortMatch::Named { name, .. } => json!({ "protocol": protocol, "port": name }),
        PortMatch::Range { first, last, .. } if first == last => {
            json!({ "protocol": protocol, "port": first })
        }
        PortMatch::Range { first, last, .. } => {
            json!({ "protocol": protocol, "port": first, "endPort": last })
        }
    }
}
