//! Calico's objects as they would be stored, their defaults written out.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::rule::{Entity, Icmp};
use super::selector::Selector;
use super::{
    CalicoPolicy, DEFAULT_TIER, HostEndpoint, NetworkSet, Resource, Rule, Staged, StagedPolicy,
    Tier,
};
use crate::dialect::network_policy;
use crate::kubernetes::print::prune;
use crate::policy::{Action, Family};
use crate::port::PortClause;

/// The `spec` of an object.
pub(crate) fn spec(resource: &Resource) -> Value {
    match resource {
        Resource::Policy(policy) => self::policy(policy),
        Resource::Staged(staged) => self::staged(staged),
        Resource::Tier(tier) => self::tier(tier),
        Resource::NetworkSet(set) => network_set(set),
        Resource::HostEndpoint(endpoint) => host_endpoint(endpoint),
    }
}

fn policy(policy: &CalicoPolicy) -> Value {
    let types = [("Ingress", &policy.ingress), ("Egress", &policy.egress)];
    let types: Vec<&str> = types
        .iter()
        .filter(|(_, rules)| rules.is_some())
        .map(|(name, _)| *name)
        .collect();
    let section = |rules: &Option<Vec<Rule>>| {
        let rules = rules.as_ref()?;
        some_list(rules.iter().map(rule).collect())
    };
    let host = &policy.host;
    prune(json!({
        "tier": (policy.tier != DEFAULT_TIER).then_some(&policy.tier),
        "order": policy.order,
        "selector": selector(&policy.selector),
        "serviceAccountSelector": selector(&policy.service_account_selector),
        "namespaceSelector": selector(&policy.namespace_selector),
        "types": types,
        "ingress": section(&policy.ingress),
        "egress": section(&policy.egress),
        "doNotTrack": host.do_not_track.then_some(true),
        "preDNAT": host.pre_dnat.then_some(true),
        "applyOnForward": host.apply_on_forward.then_some(true),
    }))
}

fn staged(staged: &Staged) -> Value {
    let mut spec = match &staged.policy {
        StagedPolicy::Calico(policy) => self::policy(policy),
        StagedPolicy::Kubernetes(policy) => network_policy::print::spec(policy),
    };
    if let Value::Object(fields) = &mut spec {
        fields.insert("stagedAction".to_owned(), json!(staged.action.as_str()));
    }
    spec
}

fn tier(tier: &Tier) -> Value {
    let action = if tier.default_passes { "Pass" } else { "Deny" };
    prune(json!({ "order": tier.order, "defaultAction": action }))
}

fn network_set(set: &NetworkSet) -> Value {
    prune(json!({
        "nets": nets(&set.nets),
        "allowedEgressDomains": some_list(set.domains.clone()),
    }))
}

fn host_endpoint(endpoint: &HostEndpoint) -> Value {
    let ips: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
    prune(json!({
        "node": endpoint.node,
        "interfaceName": endpoint.interface,
        "expectedIPs": some_list(ips),
    }))
}

fn rule(rule: &Rule) -> Value {
    prune(json!({
        "action": match rule.action {
            Action::Allow => "Allow",
            Action::Deny => "Deny",
            Action::Pass => "Pass",
            Action::Log => "Log",
        },
        "ipVersion": rule.family.map(|family| match family {
            Family::V4 => 4,
            Family::V6 => 6,
        }),
        "protocol": rule.protocol.map(|protocol| protocol.number()),
        "notProtocol": rule.not_protocol.map(|protocol| protocol.number()),
        "icmp": rule.icmp.map(icmp),
        "notICMP": rule.not_icmp.map(icmp),
        "source": entity(&rule.source),
        "destination": entity(&rule.destination),
        "http": rule.http.then(|| json!({})),
    }))
}

fn icmp(icmp: Icmp) -> Value {
    prune(json!({ "type": icmp.kind, "code": icmp.code }))
}

/// `None` for one that restricts nothing.
fn entity(entity: &Entity) -> Option<Value> {
    if *entity == Entity::default() {
        return None;
    }
    let accounts = entity.service_accounts.as_ref();
    Some(prune(json!({
        "nets": nets(&entity.nets),
        "notNets": nets(&entity.not_nets),
        "selector": selector(&entity.selector),
        "notSelector": selector(&entity.not_selector),
        "namespaceSelector": selector(&entity.namespace_selector),
        "ports": ports(&entity.ports),
        "notPorts": ports(&entity.not_ports),
        "serviceAccounts": accounts.map(|accounts| prune(json!({
            "names": some_list(accounts.names.clone()),
            "selector": selector(&accounts.selector),
        }))),
        "services": entity.service.as_ref().map(|service| prune(json!({
            "name": service.name,
            "namespace": service.namespace,
        }))),
    })))
}

fn selector(selector: &Option<Selector>) -> Option<String> {
    selector.as_ref().map(ToString::to_string)
}

fn nets(nets: &[IpNet]) -> Option<Vec<String>> {
    some_list(nets.iter().map(ToString::to_string).collect())
}

fn ports(ports: &[PortClause]) -> Option<Vec<Value>> {
    let shown = ports.iter().map(|port| match port {
        PortClause::Range(first, last) if first == last => json!(first),
        PortClause::Range(first, last) => json!(format!("{first}:{last}")),
        PortClause::Named(name) => json!(name),
    });
    some_list(shown.collect())
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
