//! Legs of one connection that an address translation cuts in two: both are logged, and neither names the other.
//!
//! - **Node port**: outside → node port of a node, and that node → a pod behind the Service on another node.
//! - **NAT gateway**: pod → outside, and the gateway → the same place.
//!
//! The log does not say which packets of the one leg became which of the other. So the edges of an hour are linked as a
//! whole, by one text in their column `link`, and only where nothing else explains the second leg: each leg is counted
//! once as it was, and a link adds nothing up. They are not linked where the second leg holds more connections than the first (some
//! of them are its own) or was there when the first was not, where a node port belongs to two Services, or where addresses were
//! folded. Both legs of a node port are of one cluster; through a gateway go the clusters of its VPC.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_rules::cluster::Service;

use crate::identify::Stretch;
use crate::worlds::InhabitantsOf;

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

/// Node ports by cluster, port and protocol.
pub type NodePorts = BTreeMap<(String, i32, i32), NodePort>;

/// The node ports that these Services of clusters declare, and the pods behind them.
pub fn node_ports<'s>(
    services: impl IntoIterator<Item = (&'s str, &'s Service)>,
    inhabitants: &InhabitantsOf,
) -> NodePorts {
    let mut ports = NodePorts::new();
    for (cluster, service) in services {
        let pods = inhabitants.get(cluster).map_or(&[][..], |here| &here.pods);
        for port in &service.ports {
            let Some(node_port) = port.node_port else {
                continue;
            };
            let protocol = i32::from(port.protocol.number());
            let key = (cluster.to_owned(), i32::from(node_port), protocol);
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

/// Where pods, clusters and gateways are.
#[derive(Debug, Default)]
pub struct Places<'r> {
    /// Nodes of pods by cluster, namespace and name.
    nodes: HashMap<[&'r str; 3], BTreeSet<&'r str>>,
    /// VPCs of clusters, and of gateways by their names.
    vpcs: [HashMap<&'r str, BTreeSet<&'r str>>; 2],
}

impl<'r> Places<'r> {
    /// What these rows say.
    pub fn new(rows: &'r [EndpointRow]) -> Places<'r> {
        let mut places = Places::default();
        for row in rows {
            if let (Some(namespace), Some(node)) = (&row.namespace, &row.node) {
                let pod = [row.cluster.as_str(), namespace, &row.name];
                places.nodes.entry(pod).or_default().insert(node);
            }
            let [of_clusters, of_gateways] = &mut places.vpcs;
            let of = match row.kind.as_str() {
                "pod" | "node" => of_clusters.entry(row.cluster.as_str()),
                NAT_GATEWAY => of_gateways.entry(row.name.as_str()),
                _ => continue,
            };
            of.or_default().extend(row.vpc_id.as_deref());
        }
        places
    }

    /// Whether a pod runs on another node. One that was on several nodes under one name is on none that is sure.
    fn is_off(&self, pod: [&str; 3], node: &str) -> bool {
        let on = self.nodes.get(&pod).filter(|on| on.len() == 1);
        on.is_some_and(|on| !on.contains(node))
    }

    /// Whether the pods of a cluster may leave through a gateway: what is known of their VPCs does not speak against it.
    fn is_way_out(&self, gateway: &str, cluster: &str) -> bool {
        let [of_clusters, of_gateways] = &self.vpcs;
        match (of_clusters.get(cluster), of_gateways.get(gateway)) {
            (Some(ours), Some(theirs)) if !ours.is_empty() && !theirs.is_empty() => {
                !ours.is_disjoint(theirs)
            }
            _ => true,
        }
    }
}

/// Links what belongs together. The clocks of two interfaces may be `apart_us` apart.
pub fn link(edges: &mut [EdgeRow], ports: &NodePorts, places: &Places<'_>, apart_us: i64) {
    for (legs, text) in node_port_legs(edges, ports, places)
        .into_iter()
        .chain(nat_legs(edges, places))
    {
        if !is_plausible(edges, &legs, apart_us) {
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

fn is_plausible(edges: &[EdgeRow], legs: &Legs, apart_us: i64) -> bool {
    let times = |leg: &[usize]| -> Vec<Stretch> {
        let of_leg = leg.iter().filter_map(|edge| edges.get(*edge));
        let time = |edge: &EdgeRow| Stretch {
            from: edge.first_seen_us,
            to: edge.last_seen_us,
        };
        of_leg.map(time).collect()
    };
    let first_leg = times(&legs.first);
    let is_followed = |time: Stretch| first_leg.iter().any(|one| one.touches(time));
    let is_timely = |time: &Stretch| is_followed(time.widened(apart_us));
    let connections = |leg: &[usize]| -> i64 {
        let of_leg = leg.iter().filter_map(|edge| edges.get(*edge));
        of_leg.fold(0, |sum, edge| sum.saturating_add(edge.connections))
    };
    let (first, second) = (connections(&legs.first), connections(&legs.second));
    second > 0 && second <= first && times(&legs.second).iter().all(is_timely)
}

fn node_port_legs(
    edges: &[EdgeRow],
    ports: &NodePorts,
    places: &Places<'_>,
) -> Vec<(Legs, String)> {
    let mut legs: BTreeMap<(&str, (String, i32, i32)), Legs> = BTreeMap::new();
    for (n, edge) in edges.iter().enumerate() {
        let cluster = edge.server_cluster.clone().unwrap_or_default();
        let key = (cluster, edge.server_port, edge.protocol);
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
        let (cluster, _, protocol) = key;
        let is_here = |of: &Option<String>| of.as_deref().unwrap_or_default() == cluster;
        for (n, edge) in edges.iter().enumerate() {
            let is_from_node = edge.client_kind == "node"
                && edge.client_name.as_deref() == Some(*node)
                && is_here(&edge.client_cluster)
                && is_here(&edge.server_cluster)
                && edge.protocol == *protocol;
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
            let is_elsewhere = places.is_off([cluster, namespace, name], node);
            if edge.server_kind == "pod" && port.pods.contains(&behind) && is_elsewhere {
                legs.second.push(n);
            }
        }
    }
    let named = legs.into_iter().filter_map(|((node, key), legs)| {
        let services = &ports.get(&key)?.services;
        let service = services.first().filter(|_| services.len() == 1)?;
        let (cluster, number, _) = key;
        let of = match cluster.as_str() {
            "" => String::new(),
            cluster => format!(" of {cluster}"),
        };
        Some((legs, format!("node-port {service} {number} on {node}{of}")))
    });
    named.collect()
}

fn nat_legs(edges: &[EdgeRow], places: &Places<'_>) -> Vec<(Legs, String)> {
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
        .filter_map(|((addr, port, _), (mut legs, gateways))| {
            let gateway = gateways.first().filter(|_| gateways.len() == 1)?;
            legs.first.retain(|n| {
                let cluster = edges
                    .get(*n)
                    .and_then(|edge| edge.client_cluster.as_deref());
                places.is_way_out(gateway, cluster.unwrap_or_default())
            });
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
            vpc_id: None,
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

    fn linked(edges: Vec<EdgeRow>) -> Vec<Option<String>> {
        linked_in("", edges)
    }

    /// With web-0 behind the node port of that cluster, on its node n2.
    fn linked_in(cluster: &str, mut edges: Vec<EdgeRow>) -> Vec<Option<String>> {
        let port = NodePort {
            services: BTreeSet::from(["shop/web".to_owned()]),
            pods: BTreeSet::from([("shop".into(), "web-0".into(), 8080)]),
        };
        let ports = NodePorts::from([((cluster.to_owned(), 31443, 6), port)]);
        let nodes = HashMap::from([([cluster, "shop", "web-0"], BTreeSet::from(["n2"]))]);
        let places = Places {
            nodes,
            ..Places::default()
        };
        link(&mut edges, &ports, &places, 0);
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
    fn legs_of_another_cluster_or_another_time_are_none() {
        let first = || EdgeRow {
            server_cluster: Some("c".into()),
            ..edge(("external", "192.0.2.1"), ("node", "n1"), 31443, 5)
        };
        let second = |clusters: [&str; 2]| EdgeRow {
            client_cluster: Some(clusters[0].into()),
            server_cluster: Some(clusters[1].into()),
            ..edge(("node", "n1"), ("pod", "web-0"), 8080, 5)
        };
        let text = Some("node-port shop/web 31443 on n1 of c".to_owned());
        assert_eq!(
            linked_in("c", vec![first(), second(["c", "c"])]),
            [text.clone(), text]
        );
        for other in [["d", "d"], ["c", "d"], ["d", "c"]] {
            assert_eq!(linked_in("c", vec![first(), second(other)]), [None, None]);
        }
        assert_eq!(
            linked_in("d", vec![first(), second(["d", "d"])]),
            [None, None]
        );
        let later = EdgeRow {
            first_seen_us: 1,
            last_seen_us: 1,
            ..second(["c", "c"])
        };
        assert_eq!(linked_in("c", vec![first(), later]), [None, None]);
    }

    #[test]
    fn a_gateway_is_no_way_out_of_another_vpc() {
        let row = |kind: &str, cluster: &str, name: &str, vpc: &str| EndpointRow {
            addr: "10.0.0.1".into(),
            vpc_id: Some(vpc.into()).filter(|vpc: &String| !vpc.is_empty()),
            valid_from_us: 0,
            valid_to_us: None,
            from_slack_ms: None,
            to_slack_ms: None,
            kind: kind.into(),
            cluster: cluster.into(),
            namespace: None,
            name: name.into(),
            uid: None,
            workload_kind: None,
            workload: None,
            labels: None,
            host_network: false,
            node: None,
            container_ports: None,
            service_account: None,
            eni_id: None,
            evidence: String::new(),
        };
        let rows = [
            row("pod", "c", "cart", "vpc-1"),
            row("pod", "d", "cart", "vpc-2"),
            row("pod", "e", "cart", ""),
            row(NAT_GATEWAY, "", "ngw-1", "vpc-1"),
            row(NAT_GATEWAY, "", "ngw-1", ""),
        ];
        let places = Places::new(&rows);
        let may = ["c", "d", "e", "f"].map(|cluster| places.is_way_out("ngw-1", cluster));
        assert_eq!(may, [true, false, true, true]);
        let bank = ("external", "198.51.100.7");
        let of_d = EdgeRow {
            client_cluster: Some("d".into()),
            ..edge(("pod", "cart"), bank, 443, 5)
        };
        let mut edges = vec![of_d, edge((NAT_GATEWAY, "ngw-1"), bank, 443, 5)];
        link(&mut edges, &NodePorts::new(), &places, 0);
        assert!(edges.iter().all(|edge| edge.link.is_none()));
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
