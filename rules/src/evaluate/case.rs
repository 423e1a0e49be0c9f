//! The ways in which one connection may really run: behind a Service, behind a node's address, behind an address
//! that the inventory gives to several pods.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Party, Question, Selecting};
use crate::cluster::{Cluster, Holder, Node, Pod, Protocol, Service, ServicePort};
use crate::policy::{Direction, Policy, Tier};
use crate::reading::{Reader, Reading, Readings};
use crate::verdict::Unspecified;

/// One way a connection may run. Every reading is asked of every case.
#[derive(Clone)]
pub(super) struct Case<'a> {
    pub(super) client: End<'a>,
    pub(super) server: End<'a>,
    /// The port as policy sees it: after translation.
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    /// The Service that led to the server.
    pub(super) service: Option<&'a Service>,
    /// Why this case may be the real one instead of the main ones.
    pub(super) because: Option<Unspecified>,
    /// The policies that select the client and say something of egress.
    pub(super) egress: Cow<'a, [&'a Policy]>,
    /// The policies that select the server and say something of ingress.
    pub(super) ingress: Cow<'a, [&'a Policy]>,
    /// The directions in which a baseline policy selects the pod, and NetworkPolicy in the other direction only.
    baseline_open: Vec<Direction>,
}

impl Case<'_> {
    /// Whether the default reading looks at this case: the connection itself, or one of the pods behind the Service.
    pub(super) fn is_main(&self) -> bool {
        matches!(self.because, None | Some(Unspecified::MixedBackends))
    }

    /// Whether it is open that the baseline tier is asked of this side.
    pub(super) fn is_baseline_open(&self, direction: Direction) -> bool {
        self.baseline_open.contains(&direction)
    }

    /// Whether client and server are one pod.
    pub(super) fn is_loopback(&self) -> bool {
        match (self.client.who.pod(), self.server.who.pod()) {
            (Some(client), Some(server)) => {
                client.name == server.name && client.namespace == server.namespace
            }
            _ => false,
        }
    }
}

/// One end as policy sees it.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) address: Option<IpAddr>,
    pub(super) who: Who<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    /// A pod with a network of its own.
    Pod(&'a Pod),
    /// A pod that shares its node's network.
    HostPod(&'a Pod),
    Node(&'a Node),
    /// A Service address that leads to no pod we know.
    Service(&'a Service),
    External,
}

impl<'a> Who<'a> {
    /// The pod, of whatever network.
    pub(super) fn pod(&self) -> Option<&'a Pod> {
        match self {
            Self::Pod(pod) | Self::HostPod(pod) => Some(pod),
            _ => None,
        }
    }
}

impl<'a> End<'a> {
    pub(super) fn new(party: &Party<'a>) -> Self {
        let who = match party.holder {
            Holder::Pod(pod) if pod.host_network => Who::HostPod(pod),
            Holder::Pod(pod) => Who::Pod(pod),
            Holder::Node(node) => Who::Node(node),
            Holder::Service(service) => Who::Service(service),
            Holder::External => Who::External,
        };
        Self {
            address: party.address.map(|address| address.to_canonical()),
            who,
        }
    }

    /// A backend, by its address of the family that was asked for.
    fn backend(pod: &'a Pod, asked: Option<IpAddr>) -> Self {
        let same_family =
            |address: &&IpAddr| asked.is_none_or(|asked| asked.is_ipv4() == address.is_ipv4());
        let address = pod.addresses.iter().find(same_family).copied();
        Self {
            address,
            ..Self::new(&Party::pod(pod))
        }
    }

    /// The pod that policies may select and selector peers match as a pod like others.
    pub(super) fn as_pod(&self, readings: &mut Readings) -> Option<&'a Pod> {
        match self.who {
            Who::Pod(pod) => Some(pod),
            Who::HostPod(pod) => {
                (readings.ask(Unspecified::HostNetwork) == Reading::IsPod).then_some(pod)
            }
            _ => None,
        }
    }

    /// The name of the node that this end is.
    pub(super) fn as_node(&self, readings: &mut Readings) -> Option<&'a str> {
        match self.who {
            Who::Node(node) => Some(&node.name),
            Who::HostPod(pod) => {
                let node = pod.node.as_deref()?;
                (readings.ask(Unspecified::HostNetwork) != Reading::IsPod).then_some(node)
            }
            _ => None,
        }
    }

    /// What messages call this end.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        self.push_name(&mut name);
        name
    }

    /// Appends what messages call this end.
    pub(super) fn push_name(&self, text: &mut String) {
        let mut push = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
        match self.who {
            Who::Pod(pod) | Who::HostPod(pod) => push(&[&pod.namespace, "/", &pod.name]),
            Who::Node(node) => push(&["node ", &node.name]),
            Who::Service(service) => push(&["Service ", &service.key()]),
            Who::External => match self.address {
                Some(address) => push(&[&address.to_string()]),
                None => push(&["an unknown address"]),
            },
        }
    }
}

/// Whether `pod` runs on the node of this name and address.
pub(super) fn runs_on(pod: &Pod, node: &str, address: Option<IpAddr>) -> bool {
    pod.node.as_deref() == Some(node)
        || address.is_some_and(|address| {
            pod.host_addresses
                .iter()
                .any(|a| a.to_canonical() == address)
        })
}

/// Where a connection may end.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) server: End<'a>,
    pub(super) port: u16,
    pub(super) service: Option<&'a Service>,
    pub(super) because: Option<Unspecified>,
}

/// All cases of a question, the main ones first; never empty as long as the question has both ends.
pub(super) fn cases<'a>(
    selecting: &'a impl Selecting,
    cluster: &'a Cluster,
    reader: Reader,
    question: &Question<'_, 'a>,
) -> Vec<Case<'a>> {
    let selected = |end: &End<'a>, direction| match end.who {
        Who::Pod(pod) | Who::HostPod(pod) => selecting.selecting(pod, cluster, direction),
        Who::Node(node) => selecting.selecting_node(node, direction),
        Who::Service(_) | Who::External => Cow::Borrowed(&[][..]),
    };
    let mut cases = Vec::new();
    for (c, client) in question.clients.iter().enumerate() {
        for (s, server) in question.servers.iter().enumerate() {
            let shared = (c > 0 || s > 0).then_some(Unspecified::SharedAddress);
            for target in targets(cluster, server, question.port, question.protocol) {
                let client = End::new(client);
                let translated = is_translated(server, &target);
                for (client, replaced) in clients(cluster, reader, client, &target, translated) {
                    for (server, candidate) in servers(cluster, reader, &target) {
                        let because = shared.or(replaced).or(candidate).or(target.because);
                        let target = Target { server, ..target };
                        cases.push(Case::new(
                            client,
                            &target,
                            question.protocol,
                            because,
                            selected,
                        ));
                    }
                }
            }
        }
    }
    // A stable sort: the first main case stays first.
    cases.sort_by_key(|case| !case.is_main());
    cases
}

impl<'a> Case<'a> {
    /// A connection from `client` to where `target` says, under the policies that select either end.
    pub(super) fn new(
        client: End<'a>,
        target: &Target<'a>,
        protocol: Protocol,
        because: Option<Unspecified>,
        selected: impl Fn(&End<'a>, Direction) -> Cow<'a, [&'a Policy]>,
    ) -> Self {
        let server = target.server;
        let egress = selected(&client, Direction::Egress);
        let ingress = selected(&server, Direction::Ingress);
        let alike = |policies: &[&Policy], direction| {
            let mut alike = policies
                .iter()
                .filter(|p| p.id.kind.is_like_network_policy());
            alike.any(|policy| policy.isolates(direction))
        };
        let sides = [
            (Direction::Egress, client, &egress),
            (Direction::Ingress, server, &ingress),
        ];
        let baseline_open = sides
            .into_iter()
            .filter(|&(direction, end, policies)| {
                // Policies come in the order of their tiers.
                let has_baseline = policies.last().is_some_and(|p| p.tier >= Tier::BASELINE)
                    && policies.iter().any(|p| p.tier == Tier::BASELINE);
                let other = direction.other();
                has_baseline && !alike(policies, direction) && alike(&selected(&end, other), other)
            })
            .map(|(direction, ..)| direction)
            .collect();
        Self {
            client,
            server,
            port: target.port,
            protocol,
            service: target.service,
            because,
            egress,
            ingress,
            baseline_open,
        }
    }
}

/// Where a connection to `server` may end: itself; the pods behind a Service address; and for node ports and
/// load balancers either, since it is open which address policy sees (§5).
fn targets<'a>(
    cluster: &'a Cluster,
    server: &Party<'a>,
    port: u16,
    protocol: Protocol,
) -> Vec<Target<'a>> {
    let end = End::new(server);
    let itself = |because| Target {
        server: end,
        port,
        service: None,
        because,
    };
    let (service, service_port) = match end.who {
        Who::Service(service) => (Some(service), service.port(port, protocol)),
        Who::Node(_) => match cluster.node_port(port, protocol) {
            Some((service, service_port)) => (Some(service), Some(service_port)),
            None => (None, None),
        },
        _ => (None, None),
    };
    let mut targets = match (service, service_port) {
        (Some(service), Some(service_port)) => {
            backends(cluster, service, service_port, server.address)
        }
        _ => Vec::new(),
    };
    if targets.is_empty() {
        return vec![itself(None)];
    }
    let is_cluster_address = service
        .zip(end.address)
        .is_some_and(|(s, a)| s.cluster_addresses.contains(&a));
    if !is_cluster_address {
        let outside = match end.who {
            Who::Service(_) => Who::External,
            who => who,
        };
        targets.push(Target {
            server: End {
                who: outside,
                ..end
            },
            ..itself(Some(Unspecified::TranslatedAddress))
        });
    }
    targets
}

/// Every ready pod behind a Service port. The second and later ones matter only if they differ.
fn backends<'a>(
    cluster: &'a Cluster,
    service: &'a Service,
    port: &ServicePort,
    asked: Option<IpAddr>,
) -> Vec<Target<'a>> {
    let numbered = cluster
        .backends(service)
        .filter_map(|pod| Some((pod, port.number_on(pod)?)));
    numbered
        .enumerate()
        .map(|(index, (pod, port))| Target {
            server: End::backend(pod, asked),
            port,
            service: Some(service),
            because: (index > 0).then_some(Unspecified::MixedBackends),
        })
        .collect()
}

/// Whether a node port or load balancer stands between: then the client's address may be replaced by a node's.
fn is_translated(server: &Party<'_>, target: &Target<'_>) -> bool {
    let address = server.address;
    target
        .service
        .is_some_and(|service| !address.is_some_and(|a| service.cluster_addresses.contains(&a)))
}

/// Who the client may be: itself; a node that replaced its address; a host-network pod behind a node's address.
fn clients<'a>(
    cluster: &'a Cluster,
    reader: Reader,
    client: End<'a>,
    target: &Target<'a>,
    translated: bool,
) -> Vec<(End<'a>, Option<Unspecified>)> {
    let mut clients = vec![(client, None)];
    let is_own = |node: &Node| {
        target
            .server
            .who
            .pod()
            .is_some_and(|pod| runs_on(pod, &node.name, node.addresses.first().copied()))
    };
    if translated {
        // One node that is the server's own and one that is not: others differ from the latter by address only.
        let own = cluster.nodes().iter().find(|node| is_own(node));
        let other = cluster.nodes().iter().find(|node| !is_own(node));
        for node in own.into_iter().chain(other) {
            let node = End {
                address: node.addresses.first().copied(),
                who: Who::Node(node),
            };
            clients.push((node, Some(Unspecified::TranslatedAddress)));
        }
    }
    if let Who::Node(node) = client.who {
        // Whatever is behind it: ingress from a pod's own node is allowed (§1.6).
        let exempt = target
            .server
            .who
            .pod()
            .is_some_and(|pod| runs_on(pod, &node.name, client.address));
        if !exempt && reader.only(Unspecified::HostNetwork).is_none() {
            clients.extend(host_pods(cluster, client, node));
        }
    }
    clients
}

/// Who the server may be: itself, or a host-network pod behind a node's address.
fn servers<'a>(
    cluster: &'a Cluster,
    reader: Reader,
    target: &Target<'a>,
) -> Vec<(End<'a>, Option<Unspecified>)> {
    let mut servers = vec![(target.server, None)];
    if let Who::Node(node) = target.server.who
        && reader.only(Unspecified::HostNetwork).is_none()
    {
        servers.extend(host_pods(cluster, target.server, node));
    }
    servers
}

/// Under reading (b) each host-network pod of a node may be the one behind its address (§1.6).
fn host_pods<'a>(
    cluster: &'a Cluster,
    end: End<'a>,
    node: &'a Node,
) -> impl Iterator<Item = (End<'a>, Option<Unspecified>)> {
    let pods = cluster.host_pods(&node.name);
    pods.map(move |pod| {
        (
            End {
                who: Who::HostPod(pod),
                ..end
            },
            Some(Unspecified::HostNetwork),
        )
    })
}
