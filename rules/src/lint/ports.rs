//! Ports by a name that no receiving pod gives to any of its ports (policy-semantics §1.5).

use std::collections::BTreeSet;

use super::world::{Declared, Group, World};
use super::{Found, Lint, Needs, Severity, words};
use crate::cluster::{ContainerPort, PortOwner, Protocol};
use crate::dialect::network_policy::{Direction, Rule};
use crate::port::PortMatch;

pub(super) const NAME_UNKNOWN: Lint = Lint {
    id: "port-name-unknown",
    severity: Severity::Medium,
    finds: "A port by a name that none of the receiving pods declares for that protocol.",
    matters: "It matches nothing. The receiving pod is the one that the connection goes to: for `ingress` the selected \
        pod, for `egress` the peer.",
    wrong: "The pods that declare it are not there yet.",
    fix: "Use a name from the pods' container ports (not one from a Service), mind the protocol, or write the number.",
    needs: Needs::Pods,
};

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    if !world.has_pods {
        return;
    }
    for declared in world.checked() {
        for (direction, field, rule) in declared.rules() {
            let is_named = |port: &PortMatch| matches!(port, PortMatch::Named { .. });
            if !rule.ports.iter().any(is_named) {
                continue;
            }
            if !world.may_compare(0) {
                return found.stopped(
                    &[&NAME_UNKNOWN],
                    "the input holds too many policies and pods",
                );
            }
            let receivers = Receivers::of(world, declared, direction, rule);
            for (index, port) in rule.ports.iter().enumerate() {
                if let PortMatch::Named { protocol, name } = port {
                    let field = format!("{field}.ports[{index}].port");
                    check(found, (declared, &field), &receivers, *protocol, name);
                }
            }
        }
    }
}

/// The named ports of the pods that may receive a connection under one rule.
struct Receivers<'a> {
    ports: BTreeSet<(&'a str, Protocol, u16, bool)>,
    are_there: bool,
}

impl<'a> Receivers<'a> {
    fn of(world: &World<'a>, declared: &Declared<'_>, direction: Direction, rule: &Rule) -> Self {
        let namespace = declared.policy.namespace.as_str();
        let groups: Vec<&Group<'a>> = match direction {
            Direction::Ingress => world
                .select(namespace, &declared.policy.pod_selector)
                .collect(),
            Direction::Egress if rule.peers.is_empty() => world
                .cluster
                .namespaces()
                .keys()
                .flat_map(|name| world.groups_of(name))
                .collect(),
            Direction::Egress => rule
                .peers
                .iter()
                .flat_map(|peer| world.pods_of_peer(namespace, peer))
                .collect(),
        };
        let pods = || groups.iter().flat_map(|group| &group.pods);
        let named = |port: &'a ContainerPort| {
            let name = port.name.as_deref()?;
            let is_init = port.owner == PortOwner::Init;
            Some((name, port.protocol, port.port, is_init))
        };
        world.may_compare(pods().count());
        Self {
            are_there: pods().next().is_some(),
            ports: pods()
                .flat_map(|pod| &pod.ports)
                .filter_map(named)
                .collect(),
        }
    }
}

fn check(
    found: &mut Found,
    at: (&Declared<'_>, &str),
    receivers: &Receivers<'_>,
    protocol: Protocol,
    name: &str,
) {
    // Pods that are not there are another lint's matter.
    if !receivers.are_there {
        return;
    }
    let same_name = || receivers.ports.iter().filter(|(n, ..)| *n == name);
    let same = || same_name().filter(|(_, p, ..)| *p == protocol);
    if same().any(|(.., is_init)| !is_init) {
        return;
    }
    let (severity, message) = if same().next().is_some() {
        let message = format!(
            "only an init container declares the {protocol} port `{name}`, and not every engine counts that"
        );
        (Severity::Low, message)
    } else if let Some((_, other, number, _)) = same_name().next() {
        let message = format!(
            "no receiving pod declares a {protocol} port `{name}`; `{name}` is {other} {number} there"
        );
        (NAME_UNKNOWN.severity, message)
    } else {
        let names = receivers.ports.iter().filter(|(_, p, ..)| *p == protocol);
        let names: Vec<String> = names
            .map(|(n, _, port, _)| format!("`{n}` ({port})"))
            .collect();
        let there = match names.is_empty() {
            true => format!("they name no {protocol} port at all"),
            false => format!("their {protocol} ports are {}", words::list(&names, 4)),
        };
        let message = format!("no receiving pod declares a {protocol} port `{name}`; {there}");
        (NAME_UNKNOWN.severity, message)
    };
    let fix = "use a name from the pods' container ports, mind the protocol, or write the number";
    found.add_as(&NAME_UNKNOWN, severity, at, message, fix);
}
