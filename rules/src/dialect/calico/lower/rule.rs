//! One rule in the common form (policy-semantics §3.3).

use super::super::CalicoPolicy;
use super::super::rule::{Entity, Rule};
use super::entity;
use super::world::World;
use crate::cluster::{Service, TargetPort};
use crate::policy::{self, Direction, Peer};
use crate::port::{PortClause, Traffic};
use crate::reading::Unspecified;

pub(super) fn lower(
    world: &World<'_>,
    policy: &CalicoPolicy,
    rule: &Rule,
    direction: Direction,
) -> policy::Rule {
    let mut source = entity::lower(world, policy, &rule.source);
    let mut destination = entity::lower(world, policy, &rule.destination);
    let service = service(world, policy, &rule.destination);
    let is_beyond = service.is_some_and(|service| !world.affords(service.ports.len()));
    let traffic = traffic(service.filter(|_| !is_beyond), rule);
    if traffic.is_none() {
        destination = vec![Peer::NOBODY];
    }
    for open in what_no_record_tells(rule) {
        source = and(source, open);
    }
    if is_beyond {
        source = and(source, Peer::Open(Unspecified::NotEvaluated));
    }
    let (peers, own) = match direction {
        Direction::Ingress => (source, destination),
        Direction::Egress => (destination, source),
    };
    let of = |port: &PortClause| Traffic {
        protocol: rule.protocol,
        port: Some(port.clone()),
    };
    let mut not_traffic: Vec<Traffic> = rule.destination.not_ports.iter().map(of).collect();
    not_traffic.extend(rule.not_protocol.map(|protocol| Traffic {
        protocol: Some(protocol),
        port: None,
    }));
    policy::Rule {
        action: rule.action,
        peers,
        own,
        traffic: traffic.unwrap_or_default(),
        not_traffic,
        family: rule.family,
        open: rule.http.then_some(Unspecified::ApplicationLayer),
    }
}

/// The ports a rule names; a Service has its own. Empty is any traffic, `None` none at all.
fn traffic(service: Option<&Service>, rule: &Rule) -> Option<Vec<Traffic>> {
    let protocol = rule.protocol;
    if let Some(service) = service {
        let is_meant = |traffic: &Traffic| protocol.is_none() || traffic.protocol == protocol;
        let meant: Vec<Traffic> = ports_of(service).filter(is_meant).collect();
        return Some(meant).filter(|meant| !meant.is_empty());
    }
    if rule.destination.ports.is_empty() {
        let any_port = protocol.map(|protocol| Traffic {
            protocol: Some(protocol),
            port: None,
        });
        return Some(any_port.into_iter().collect());
    }
    let ports = rule.destination.ports.iter().map(|port| Traffic {
        protocol,
        port: Some(port.clone()),
    });
    Some(ports.collect())
}

/// The Service that a rule names as destination, as far as it is known.
fn service<'w>(
    world: &World<'w>,
    policy: &CalicoPolicy,
    destination: &Entity,
) -> Option<&'w Service> {
    let wanted = destination.service.as_ref()?;
    let namespace = wanted.namespace.as_ref().or(policy.namespace.as_ref())?;
    world.service(namespace, &wanted.name)
}

/// The ports behind a Service.
fn ports_of(service: &Service) -> impl Iterator<Item = Traffic> {
    service.ports.iter().map(|port| Traffic {
        protocol: Some(port.protocol),
        port: Some(match &port.target {
            TargetPort::Number(number) => PortClause::Range(*number, *number),
            TargetPort::Name(name) => PortClause::Named(name.clone()),
        }),
    })
}

/// Criteria that a record says nothing of: whether they hold is open. What is negated is as open.
fn what_no_record_tells(rule: &Rule) -> Vec<Peer> {
    let not = |peer| Peer::Not(Box::new(peer));
    let port = || Peer::Open(Unspecified::SourcePort);
    let icmp = || Peer::Open(Unspecified::IcmpType);
    let mut open = Vec::new();
    if !rule.source.ports.is_empty() {
        open.push(port());
    }
    if !rule.source.not_ports.is_empty() {
        open.push(not(port()));
    }
    let has_type = |icmp: &super::super::rule::Icmp| icmp.kind.is_some();
    if rule.icmp.as_ref().is_some_and(has_type) {
        open.push(icmp());
    }
    // Without a type every message is meant, and the rule matches none.
    match &rule.not_icmp {
        Some(given) if has_type(given) => open.push(not(icmp())),
        Some(_) => open.push(Peer::NOBODY),
        None => {}
    }
    open
}

/// One of these alternatives, and this as well.
fn and(mut alternatives: Vec<Peer>, part: Peer) -> Vec<Peer> {
    match alternatives.pop() {
        None => vec![part],
        Some(only) if alternatives.is_empty() => match only {
            Peer::All(mut parts) => {
                parts.push(part);
                vec![Peer::All(parts)]
            }
            only => vec![Peer::All(vec![only, part])],
        },
        Some(last) => {
            alternatives.push(last);
            vec![Peer::All(vec![Peer::Any(alternatives), part])]
        }
    }
}
