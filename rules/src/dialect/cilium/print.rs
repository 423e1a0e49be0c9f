//! Cilium's policies as they could be written. Reading it gives the same.

use serde_json::{Map, Value, json};

use super::{
    CidrGroup, CidrRule, CiliumPolicy, DomainName, ENTRIES_MAX, Icmp, Peers, Port, PortNumber,
    PortRule, Rule, ServiceRef, Spec, Subject,
};
use crate::kubernetes::print::{prune, selector};
use crate::policy::{Entity, Family};

/// The `specs` of a policy.
pub(crate) fn specs(policy: &CiliumPolicy) -> Value {
    policy.specs.iter().map(spec).collect()
}

/// The `spec` of a group.
pub(crate) fn group(group: &CidrGroup) -> Value {
    let blocks: Vec<String> = group.blocks.iter().map(ToString::to_string).collect();
    json!({ "externalCIDRs": blocks })
}

pub(super) fn spec(spec: &Spec) -> Value {
    let (endpoints, nodes) = match &spec.subject {
        Subject::Endpoints(pods) => (Some(selector(pods)), None),
        Subject::Nodes(nodes) => (None, Some(selector(nodes))),
    };
    let rules = |rules: &[Rule], end: &str| {
        let list: Vec<Value> = rules.iter().map(|rule| self::rule(rule, end)).collect();
        (!list.is_empty()).then_some(list)
    };
    let (ingress, egress) = (&spec.ingress, &spec.egress);
    let has_default = ingress.default_deny.is_some() || egress.default_deny.is_some();
    prune(json!({
        "endpointSelector": endpoints,
        "nodeSelector": nodes,
        "ingress": rules(&ingress.allow, "from"),
        "ingressDeny": rules(&ingress.deny, "from"),
        "egress": rules(&egress.allow, "to"),
        "egressDeny": rules(&egress.deny, "to"),
        "enableDefaultDeny": has_default.then(|| prune(json!({
            "ingress": ingress.default_deny,
            "egress": egress.default_deny,
        }))),
    }))
}

fn rule(rule: &Rule, end: &str) -> Value {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    let key = |what: &str| format!("{end}{what}");
    match &rule.peers {
        Peers::Unsaid => {}
        Peers::Nobody => set(&key("Endpoints"), json!([])),
        Peers::Endpoints(list) => set(&key("Endpoints"), list.iter().map(selector).collect()),
        Peers::Nodes(list) => set(&key("Nodes"), list.iter().map(selector).collect()),
        Peers::Entities(list) => {
            let words = list
                .iter()
                .map(|entity| entity.map_or("none", Entity::as_str));
            set(&key("Entities"), words.collect());
        }
        Peers::Blocks(list) => set(&key("CIDRSet"), list.iter().map(cidr).collect()),
        Peers::Services(list) => set("toServices", list.iter().map(service).collect()),
        Peers::Names(list) => set("toFQDNs", list.iter().map(name).collect()),
        Peers::Groups => set(&key("Groups"), json!([{}])),
    }
    if !rule.requires.is_empty() {
        set(
            &key("Requires"),
            rule.requires.iter().map(selector).collect(),
        );
    }
    if !rule.ports.is_empty() {
        set("toPorts", rule.ports.iter().map(ports).collect());
    }
    if !rule.icmps.is_empty() {
        // As few entries as may be: which field stood in which makes no difference.
        let entries = rule.icmps.chunks(ENTRIES_MAX).map(|fields| {
            let fields: Vec<Value> = fields.iter().map(icmp).collect();
            json!({ "fields": fields })
        });
        set("icmps", entries.collect());
    }
    if rule.authentication {
        set("authentication", json!({ "mode": "required" }));
    }
    Value::Object(fields)
}

fn cidr(rule: &CidrRule) -> Value {
    let list = |except: &[ipnet::IpNet]| {
        let except: Vec<String> = except.iter().map(ToString::to_string).collect();
        (!except.is_empty()).then_some(except)
    };
    prune(match rule {
        CidrRule::Block(block) => {
            json!({ "cidr": block.cidr.to_string(), "except": list(&block.except) })
        }
        CidrRule::Group { name, except } => {
            json!({ "cidrGroupRef": name, "except": list(except) })
        }
        CidrRule::Groups {
            selector: s,
            except,
        } => {
            json!({ "cidrGroupSelector": selector(s), "except": list(except) })
        }
    })
}

fn service(service: &ServiceRef) -> Value {
    match service {
        ServiceRef::Named { namespace, name } => {
            json!({ "k8sService": prune(json!({ "serviceName": name, "namespace": namespace })) })
        }
        ServiceRef::Labelled {
            namespace,
            selector: s,
        } => json!({
            "k8sServiceSelector": prune(json!({ "selector": selector(s), "namespace": namespace })),
        }),
    }
}

fn name(name: &DomainName) -> Value {
    match name {
        DomainName::Exact(name) => json!({ "matchName": name }),
        DomainName::Pattern(pattern) => json!({ "matchPattern": pattern }),
    }
}

fn ports(rule: &PortRule) -> Value {
    let mut fields = Map::new();
    if !rule.ports.is_empty() {
        fields.insert("ports".to_owned(), rule.ports.iter().map(port).collect());
    }
    let mut rules = Map::new();
    for content in &rule.content {
        match content.strip_prefix("rules.") {
            Some("l7proto") => rules.insert("l7proto".to_owned(), json!("unknown")),
            Some(kind) => rules.insert(kind.to_owned(), json!([{}])),
            None if content == "serverNames" => fields.insert(content.clone(), json!(["unknown"])),
            None => fields.insert(content.clone(), json!({ "name": "unknown" })),
        };
    }
    if !rules.is_empty() {
        fields.insert("rules".to_owned(), Value::Object(rules));
    }
    Value::Object(fields)
}

fn port(port: &Port) -> Value {
    let (number, end) = match &port.number {
        PortNumber::Any => ("0".to_owned(), None),
        PortNumber::Range(first, last) => (first.to_string(), (last != first).then_some(*last)),
        PortNumber::Named(name) => (name.clone(), None),
    };
    prune(json!({
        "port": number,
        "endPort": end,
        "protocol": port.protocol.map(|protocol| protocol.to_string()),
    }))
}

fn icmp(icmp: &Icmp) -> Value {
    let family = match icmp.family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    match icmp.message.parse::<u8>() {
        Ok(number) => json!({ "family": family, "type": number }),
        Err(_) => json!({ "family": family, "type": icmp.message }),
    }
}
