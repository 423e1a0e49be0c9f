//! A GlobalNetworkPolicy as it would be stored. Fields that were not known are not kept, only that there were some.

use serde_json::{Map, Value, json};

use super::{GlobalNetworkPolicy, Peer, Rule};
use crate::dialect::network_policy::print as network_policy;
use crate::kubernetes::print::{prune, selector};

/// Stands for fields that were not known: it is not known either when it is read again.
const UNKNOWN: &str = "notEvaluated";

/// The `spec` of a policy.
pub(crate) fn spec(policy: &GlobalNetworkPolicy) -> Value {
    let types = [("Ingress", &policy.ingress), ("Egress", &policy.egress)];
    let types = types.iter().filter(|(_, rules)| rules.is_some());
    let section = |rules: &Option<Vec<Rule>>, peers| {
        let printed = |rules: &Vec<Rule>| rules.iter().map(|r| rule(r, peers)).collect::<Vec<_>>();
        rules.as_ref().map(printed)
    };
    prune(json!({
        "podSelector": selector(&policy.pods),
        "namespaceSelector": selector(&policy.namespaces),
        "policyTypes": types.map(|(name, _)| *name).collect::<Vec<_>>(),
        "ingress": section(&policy.ingress, "from"),
        "egress": section(&policy.egress, "to"),
        UNKNOWN: policy.has_unknown.then_some(true),
    }))
}

fn rule(rule: &Rule, peers: &str) -> Value {
    let mut fields = Map::new();
    if !rule.peers.is_empty() {
        fields.insert(peers.to_owned(), rule.peers.iter().map(peer).collect());
    }
    if !rule.ports.is_empty() {
        let ports = rule.ports.iter().map(network_policy::port);
        fields.insert("ports".to_owned(), ports.collect());
    }
    if rule.has_unknown {
        fields.insert(UNKNOWN.to_owned(), json!(true));
    }
    Value::Object(fields)
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Known(peer) => network_policy::peer(peer),
        Peer::Unknown => json!({ UNKNOWN: true }),
    }
}
