//! Legs of one connection that an address translation cuts in two: both are logged, and neither names the other.
//!
//! - **Node port**: outside → node port of a node, and that node → a pod behind the Service on another node.
//! - **NAT gateway**: pod → outside, and the gateway → the same place.
//!
//! The log does not say which packets of the one leg became which of the other. So the edges of an hour are linked as a
//! whole, by one text in their column `link`, and only where nothing else explains the second leg: each leg is counted
//! once as it was, and a link adds nothing up. They are not linked where the second leg holds more connections than the first (some
//! of them are its own), where a node port belongs to two Services, or where addresses were folded.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_rules::cluster::{Pod, Service};

/// The kind of a NAT gateway in `endpoints`, by its private addresses.
pub const NAT_GATEWAY: &str = "nat-gateway";

/// A port that every node opens, and where it leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodePort {
    /// `namespace/name` of the Services that have it: one, or it cannot be told.
    services: BTreeSet<String>,
    /// Namespace, name and port of the pods behind it.
    pods: BTreeSet<(String, String, u16)>,
}

/// Node ports by port and protocol.
pub type NodePorts = BTreeMap<(i32, i32), NodePort>;

/// The node ports that these Services declare, and the pods behind them.
pub fn node_ports<'s>(services: impl IntoIterator<Item = &'s Service>, pods: &[Pod]) -> NodePorts {
    let mut ports = NodePorts::new();
    for service in services {
        for port in &service.ports {
            let Some(node_port) = port.node_port else {
                continue;
            };
            let key = (i32::from(node_port), i32::from(port.protocol.number()));
            let known = ports.entry(key).or_default();
            known.services.insert(service.key());
            let behind = pods.iter().filter(|pod| service.selects(pod));
            known.pods.extend(behind.filter_map(|pod| {
                let number = port.number_on(pod)?;
                Some((pod.namespace.clone(), pod.name.clone(), number))
            }));
        }
    }
    ports
}

/// Links what belongs together. `node_of` tells on which node a pod runs.
pub fn link(
    edges: &mut [EdgeRow],
    ports: &NodePorts,
    node_of: impl Fn(&str, &str) -> Option<String>,
) {
    for (legs, text) in node_port_legs(edges, ports, node_of)
        .into_iter()
        .chain(nat_legs(edges))
    {
        if !is_plausible(edges, &legs) {
            continue;
        }
        for leg in legs.first.iter().chain(&legs.second) {
            // An edge that may belong to two links belongs to neither.
            if let Some(edge) = edges.get_mut(*leg) {
                edge.link = match &edge.link {
                    None => Some(text.clone()),
                    Some(_) => Some(UNCLEAR.to_owned()),
                };
            }
        }
    }
    for edge in edges {
        edge.link = edge.link.take().filter(|text| text != UNCLEAR);
    }
}

const UNCLEAR: &str = "";

/// The edges of both legs, by their place.
#[derive(Debug, Default)]
struct Legs {
    first: Vec<usize>,
    second: Vec<usize>,
}

fn is_plausible(edges: &[EdgeRow], legs: &Legs) -> bool {
    let connections = |leg: &[usize]| -> i64 {
        let of_leg = leg.iter().filter_map(|edge| edges.get(*edge));
        of_leg.fold(0, |sum, edge| sum.saturating_add(edge.connections))
    };
    let (first, second) = (connections(&legs.first), connections(&legs.second));
    second > 0 && second <= first
}

fn node_port_legs(
    edges: &[EdgeRow],
    ports: &NodePorts,
    node_of: impl Fn(&str, &str) -> Option<String>,
) -> Vec<(Legs, String)> {
    let mut legs: BTreeMap<(&str, (i32, i32)), Legs> = BTreeMap::new();
    for (n, edge) in edges.iter().enumerate() {
        let key = (edge.server_port, edge.protocol);
        if let ("node", Some(node), true) = (
            edge.server_kind.as_str(),
            edge.server_name.as_deref(),
            ports.contains_key(&key),
        ) {
            legs.entry((node, key)).or_default().first.push(n);
        }
    }
    for ((node, key), legs) in &mut legs {
        let Some(port) = ports.get(key) else { continue };
        for (n, edge) in edges.iter().enumerate() {
            let is_from_node = edge.client_kind == "node"
                && edge.client_name.as_deref() == Some(*node)
                && edge.protocol == key.1;
            let (Some(namespace), Some(name), true) =
                (&edge.server_namespace, &edge.server_name, is_from_node)
            else {
                continue;
            };
            let behind = (
                namespace.clone(),
                name.clone(),
                u16::try_from(edge.server_port).unwrap_or_default(),
            );
            // A kubelet asks the pods of its own node, and what stays on a node is not logged.
            let is_elsewhere = node_of(namespace, name).is_some_and(|of| of != **node);
            if edge.server_kind == "pod" && port.pods.contains(&behind) && is_elsewhere {
                legs.second.push(n);
            }
        }
    }
    let named = legs.into_iter().filter_map(|((node, key), legs)| {
        let services = &ports.get(&key)?.services;
        let service = services.first().filter(|_| services.len() == 1)?;
        Some((legs, format!("node-port {service} {} on {node}", key.0)))
    });
    named.collect()
}

fn nat_legs(edges: &[EdgeRow]) -> Vec<(Legs, String)> {
    let mut legs: BTreeMap<(&str, i32, i32), (Legs, BTreeSet<&str>)> = BTreeMap::new();
    let is_outside = |edge: &EdgeRow| edge.server_name.is_none() && edge.server_addrs.is_none();
    for (n, edge) in edges
        .iter()
        .enumerate()
        .filter(|(_, edge)| is_outside(edge))
    {
        let key = (edge.server_addr.as_str(), edge.server_port, edge.protocol);
        match edge.client_kind.as_str() {
            NAT_GATEWAY => {
                let (legs, gateways) = legs.entry(key).or_default();
                legs.second.push(n);
                gateways.extend(edge.client_name.as_deref());
            }
            "pod" | "node" => legs.entry(key).or_default().0.first.push(n),
            _ => {}
        }
    }
    let named = legs
        .into_iter()
        .filter_map(|((addr, port, _), (legs, gateways))| {
            let gateway = gateways.first().filter(|_| gateways.len() == 1)?;
            Some((legs, format!("nat {gateway} to {addr} {port}")))
        });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(client: (&str, &str), server: (&str, &str), port: i32, connections: i64) -> EdgeRow {
        let name = |(kind, name): (&str, &str)| (kind != "external").then(|| name.to_owned());
        let text = String::new;
        EdgeRow {
            hour_us: 0,
            client_kind: client.0.into(),
            client_cluster: None,
            client_namespace: (client.0 == "pod").then(|| "shop".to_owned()),
            client_workload_kind: None,
            client_workload: None,
            client_name: name(client),
            client_uid: None,
            client_addr: client.1.into(),
            server_kind: server.0.into(),
            server_cluster: None,
            server_namespace: (server.0 == "pod").then(|| "shop".to_owned()),
            server_workload_kind: None,
            server_workload: None,
            server_name: name(server),
            server_uid: None,
            server_addr: server.1.into(),
            server_port: port,
            protocol: 6,
            connections,
            forward_packets: 1,
            forward_bytes: 1,
            forward_flags: None,
            reverse_packets: 1,
            reverse_bytes: 1,
            reverse_flags: None,
            observation: text(),
            verdict: text(),
            class: text(),
            reasons: text(),
            oriented_by: text(),
            client_identified_by: text(),
            server_identified_by: text(),
            client_candidates: None,
            server_candidates: None,
            link: None,
            first_seen_us: 0,
            last_seen_us: 0,
            records: 1,
            client_addrs: None,
            server_addrs: None,
        }
    }

    fn linked(mut edges: Vec<EdgeRow>) -> Vec<Option<String>> {
        let port = NodePort {
            services: BTreeSet::from(["shop/web".to_owned()]),
            pods: BTreeSet::from([("shop".into(), "web-0".into(), 8080)]),
        };
        let ports = NodePorts::from([((31443, 6), port)]);
        link(&mut edges, &ports, |_, _| Some("n2".to_owned()));
        edges.into_iter().map(|edge| edge.link).collect()
    }

    #[test]
    fn both_legs_of_a_node_port_have_one_link() {
        let first = edge(("external", "192.0.2.1"), ("node", "n1"), 31443, 5);
        let second = edge(("node", "n1"), ("pod", "web-0"), 8080, 5);
        let other = edge(("node", "n1"), ("pod", "web-0"), 9090, 5);
        let text = Some("node-port shop/web 31443 on n1".to_owned());
        assert_eq!(
            linked(vec![first.clone(), second.clone(), other]),
            [text.clone(), text, None]
        );
        // Its own node asks as well, for its health.
        let own = edge(("node", "n2"), ("pod", "web-0"), 8080, 5);
        assert_eq!(linked(vec![first.clone(), own]), [None, None]);
        // More than came in: some of it is the node's own.
        let more = EdgeRow {
            connections: 6,
            ..second
        };
        assert_eq!(linked(vec![first, more]), [None, None]);
    }

    #[test]
    fn what_leaves_through_a_gateway_is_linked_to_who_sent_it() {
        let bank = ("external", "198.51.100.7");
        let first = edge(("pod", "cart"), bank, 443, 5);
        let second = edge((NAT_GATEWAY, "ngw-1"), bank, 443, 5);
        let elsewhere = edge(("pod", "cart"), ("external", "198.51.100.8"), 443, 5);
        let text = Some("nat ngw-1 to 198.51.100.7 443".to_owned());
        assert_eq!(
            linked(vec![first.clone(), second, elsewhere]),
            [text.clone(), text, None]
        );
        let of_two = ["ngw-1", "ngw-2"].map(|name| edge((NAT_GATEWAY, name), bank, 443, 2));
        let [one, two] = of_two;
        assert_eq!(linked(vec![first, one, two]), [None, None, None]);
    }
}
