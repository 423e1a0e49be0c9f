//! A cluster-scoped policy as the API server would store it.

use serde_json::{Map, Value, json};

use super::{Action, AdminPolicy, AdminTier, Peer, PodGroup, Rule};
use crate::kubernetes::print::{prune, selector};
use crate::policy::Kind;
use crate::port::{PortClause, Traffic};

/// The `spec` of a policy.
pub(crate) fn spec(policy: &AdminPolicy) -> Value {
    let tier = match policy.tier {
        AdminTier::Admin => "Admin",
        AdminTier::Baseline => "Baseline",
    };
    let is_baseline = policy.kind == Kind::BaselineAdminNetworkPolicy;
    let rules = |rules: &[Rule], peers| {
        let printed = rules
            .iter()
            .map(|rule| self::rule(policy.kind, rule, peers));
        (!rules.is_empty()).then(|| printed.collect::<Vec<_>>())
    };
    prune(json!({
        "tier": (policy.kind == Kind::ClusterNetworkPolicy).then_some(tier),
        "priority": (!is_baseline).then_some(policy.priority),
        "subject": group(&policy.subject),
        "ingress": rules(&policy.ingress, "from"),
        "egress": rules(&policy.egress, "to"),
    }))
}

fn rule(kind: Kind, rule: &Rule, peers: &str) -> Value {
    let action = match (rule.action, kind) {
        (Action::Allow, Kind::ClusterNetworkPolicy) => "Accept",
        (Action::Allow, _) => "Allow",
        (Action::Deny, _) => "Deny",
        (Action::Pass | Action::Log, _) => "Pass",
    };
    let mut fields = Map::new();
    if !rule.name.is_empty() {
        fields.insert("name".to_owned(), json!(rule.name));
    }
    fields.insert("action".to_owned(), json!(action));
    fields.insert(peers.to_owned(), rule.peers.iter().map(peer).collect());
    if !rule.ports.is_empty() {
        let (list, one): (_, fn(&Traffic) -> Value) = match kind {
            Kind::ClusterNetworkPolicy => ("protocols", protocol),
            _ => ("ports", port),
        };
        fields.insert(list.to_owned(), rule.ports.iter().map(one).collect());
    }
    Value::Object(fields)
}

fn group(group: &PodGroup) -> Value {
    match &group.pods {
        None => json!({ "namespaces": selector(&group.namespaces) }),
        Some(pods) => json!({ "pods": {
            "namespaceSelector": selector(&group.namespaces),
            "podSelector": selector(pods),
        } }),
    }
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Pods(pods) => group(pods),
        Peer::Networks(networks) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            json!({ "networks": networks })
        }
        Peer::Nodes(nodes) => json!({ "nodes": selector(nodes) }),
        Peer::DomainNames(names) => json!({ "domainNames": names }),
        Peer::Unknown => json!({}),
    }
}

/// An entry of `ports`.
fn port(port: &Traffic) -> Value {
    let protocol = port.protocol.unwrap_or_default().to_string();
    match &port.port {
        Some(PortClause::Named(name)) => json!({ "namedPort": name }),
        Some(PortClause::Range(first, last)) if first == last => {
            json!({ "portNumber": { "protocol": protocol, "port": first } })
        }
        Some(PortClause::Range(start, end)) => {
            json!({ "portRange": { "protocol": protocol, "start": start, "end": end } })
        }
        None => json!({}),
    }
}

/// An entry of `protocols`.
fn protocol(port: &Traffic) -> Value {
    let protocol = port.protocol.unwrap_or_default().to_string();
    let destination = match &port.port {
        Some(PortClause::Named(name)) => return json!({ "destinationNamedPort": name }),
        Some(PortClause::Range(first, last)) if first == last => json!({ "number": first }),
        Some(PortClause::Range(start, end)) => json!({ "range": { "start": start, "end": end } }),
        None => return json!({}),
    };
    json!({ protocol.to_ascii_lowercase(): { "destinationPort": destination } })
}
