//! Random worlds, small enough that things collide.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flowaudit_rules::cidr::{self, Block};
use flowaudit_rules::cluster::{
    Cluster, ContainerPort, Labels, Namespace, Node, Phase, Pod, PortOwner, Protocol, Service,
    ServicePort, TargetPort,
};
use flowaudit_rules::dialect::network_policy::{NetworkPolicy, Peer, Rule};
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::port::PortMatch;
use flowaudit_rules::selector::{Operator, Requirement, Selector};
use flowaudit_rules::verdict::Outcome;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

pub(crate) const KEYS: [&str; 4] = ["app", "tier", "x", "kubernetes.io/metadata.name"];
pub(crate) const VALUES: [&str; 4] = ["a", "b", "", "shop"];
pub(crate) const NAMESPACES: [&str; 3] = ["shop", "prod", "dev"];
/// Most things happen in one namespace.
pub(crate) const MOSTLY_SHOP: [&str; 6] = ["shop", "shop", "shop", "shop", "prod", "dev"];
pub(crate) const BLOCKS: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.0/30",
    "10.0.0.1/32",
    "192.168.0.0/24",
    "198.51.100.0/24",
    "::/0",
];
pub(crate) const PORTS: [u16; 6] = [1, 79, 80, 81, 8080, 65535];
pub(crate) const NAMES: [&str; 2] = ["http", "dns"];

pub(crate) fn labels() -> impl Strategy<Value = Labels> {
    btree_map(
        select(&KEYS[..3]).prop_map(String::from),
        select(&VALUES[..]).prop_map(String::from),
        0..3,
    )
}

pub(crate) fn selector() -> impl Strategy<Value = Selector> {
    let values = || vec(select(&VALUES[..]).prop_map(String::from), 1..3);
    let operator = prop_oneof![
        values().prop_map(Operator::In),
        values().prop_map(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
    ];
    let key = select(&KEYS[..]).prop_map(String::from);
    let requirement = (key, operator).prop_map(|(key, operator)| Requirement { key, operator });
    (labels(), vec(requirement, 0..2)).prop_map(|(labels, expressions)| Selector {
        labels,
        expressions,
    })
}

/// A selector of one label, or all but one.
fn one_label() -> impl Strategy<Value = Selector> {
    (select(&KEYS[..3]), select(&VALUES[..2]), any::<bool>()).prop_map(|(key, value, is_in)| {
        let values = vec![value.to_owned()];
        let operator = if is_in {
            Operator::In(values)
        } else {
            Operator::NotIn(values)
        };
        Selector {
            labels: Labels::new(),
            expressions: vec![Requirement {
                key: key.into(),
                operator,
            }],
        }
    })
}

pub(crate) fn protocol() -> impl Strategy<Value = Protocol> {
    select(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp][..])
}

fn port_match() -> impl Strategy<Value = PortMatch> {
    let range = (protocol(), select(&PORTS[..]), select(&PORTS[..]));
    prop_oneof![
        protocol().prop_map(PortMatch::All),
        range.prop_map(|(protocol, a, b)| PortMatch::Range {
            protocol,
            first: a.min(b),
            last: a.max(b)
        }),
        (protocol(), select(&PORTS[..])).prop_map(|(protocol, first)| PortMatch::Range {
            protocol,
            first,
            last: first
        }),
        (protocol(), select(&NAMES[..])).prop_map(|(protocol, name)| PortMatch::Named {
            protocol,
            name: name.into()
        }),
    ]
}

fn peer() -> impl Strategy<Value = Peer> {
    let block = (select(&BLOCKS[..]), vec(select(&BLOCKS[..]), 0..2)).prop_map(|(cidr, except)| {
        let cidr = cidr::parse(cidr).unwrap();
        let except = except.into_iter().map(|text| cidr::parse(text).unwrap());
        Peer::Block(Block {
            cidr,
            except: except
                .filter(|inner| cidr::strictly_inside(inner, &cidr))
                .collect(),
        })
    });
    prop_oneof![
        block,
        one_label().prop_map(|pods| Peer::Pods {
            namespaces: Some(Selector::default()),
            pods: Some(pods)
        }),
        selector().prop_map(|pods| Peer::Pods {
            namespaces: None,
            pods: Some(pods)
        }),
        (selector(), option::of(selector())).prop_map(|(namespaces, pods)| Peer::Pods {
            namespaces: Some(namespaces),
            pods
        }),
    ]
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    (vec(peer(), 0..4), vec(port_match(), 0..4)).prop_map(|(peers, ports)| Rule { peers, ports })
}

pub(crate) fn policy() -> impl Strategy<Value = NetworkPolicy> {
    // Wide subjects: what is not isolated tells nothing.
    let subject = prop_oneof![3 => Just(Selector::default()), 2 => one_label(), 1 => selector()];
    let sections = (option::of(vec(rule(), 0..4)), option::of(vec(rule(), 0..4)));
    (0..6_u8, select(&MOSTLY_SHOP[..]), subject, sections).prop_map(
        |(number, namespace, pod_selector, sections)| {
            let (ingress, egress) = match sections {
                (None, None) => (Some(vec![]), None),
                sections => sections,
            };
            NetworkPolicy {
                namespace: namespace.into(),
                name: format!("p{number}"),
                pod_selector,
                ingress,
                egress,
            }
        },
    )
}

fn container_port() -> impl Strategy<Value = ContainerPort> {
    let owner = select(
        &[
            PortOwner::Container,
            PortOwner::Container,
            PortOwner::RestartableInit,
            PortOwner::Init,
        ][..],
    );
    (
        option::of(select(&NAMES[..])),
        select(&PORTS[..]),
        protocol(),
        owner,
    )
        .prop_map(|(name, port, protocol, owner)| ContainerPort {
            name: name.map(String::from),
            port,
            protocol,
            host_port: None,
            owner,
        })
}

pub(crate) fn pod() -> impl Strategy<Value = Pod> {
    let what = (
        select(&NAMESPACES[..]),
        labels(),
        vec(container_port(), 0..2),
    );
    let place = (
        select(&["n1", "n2"][..]),
        prop::bool::weighted(0.2),
        0..6_u8,
        prop::bool::weighted(0.2),
    );
    (what, place).prop_map(
        |((namespace, labels, ports), (node, host_network, number, v6))| {
            let host: IpAddr = if node == "n1" {
                "192.168.0.1"
            } else {
                "192.168.0.2"
            }
            .parse()
            .unwrap();
            let own = if v6 {
                format!("2001:db8::{number}")
            } else {
                format!("10.0.0.{number}")
            };
            Pod {
                namespace: namespace.into(),
                labels,
                addresses: vec![if host_network {
                    host
                } else {
                    own.parse().unwrap()
                }],
                host_addresses: vec![host],
                ports,
                host_network,
                node: Some(node.into()),
                phase: Phase::Running,
                ..Pod::default()
            }
        },
    )
}

fn cluster() -> impl Strategy<Value = Cluster> {
    (vec(pod(), 2..7), vec(labels(), 3)).prop_map(|(mut pods, ns_labels)| {
        for (number, pod) in pods.iter_mut().enumerate() {
            pod.name = format!("pod{number}");
        }
        let namespaces = NAMESPACES.iter().zip(ns_labels);
        let namespaces = namespaces.map(|(name, labels)| Namespace {
            name: (*name).into(),
            labels,
            ..Namespace::default()
        });
        let node = |name: &str, address: &str| Node {
            name: name.into(),
            addresses: vec![address.parse().unwrap()],
            ..Node::default()
        };
        let nodes = vec![node("n1", "192.168.0.1"), node("n2", "192.168.0.2")];
        Cluster::new(namespaces.collect(), nodes, pods, vec![service()])
    })
}

/// What its pods are depends on the labels that come up.
fn service() -> Service {
    let port = |port, target| ServicePort {
        name: None,
        protocol: Protocol::Tcp,
        port,
        target,
        node_port: None,
    };
    Service {
        namespace: "shop".into(),
        name: "front".into(),
        selector: Some([("app".to_owned(), "a".to_owned())].into()),
        cluster_addresses: vec!["172.21.0.1".parse().unwrap()],
        load_balancer_addresses: vec!["203.0.113.20".parse().unwrap()],
        ports: vec![
            port(80, TargetPort::Number(8080)),
            port(81, TargetPort::Name("http".into())),
            ServicePort {
                node_port: Some(1),
                ..port(79, TargetPort::Number(80))
            },
        ],
        ..Service::default()
    }
}

/// An end of a probe: a pod, a node's address, or one outside.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Pod(Index),
    Address(&'static str),
}

pub(crate) fn end() -> impl Strategy<Value = End> {
    const ADDRESSES: [&str; 7] = [
        "172.21.0.1",
        "203.0.113.20",
        "192.168.0.1",
        "192.168.0.2",
        "198.51.100.7",
        "10.0.0.1",
        "2001:db8:9::1",
    ];
    prop_oneof![5 => any::<Index>().prop_map(End::Pod), 2 => select(&ADDRESSES[..]).prop_map(End::Address)]
}

fn party<'a>(end: &End, cluster: &'a Cluster) -> Party<'a> {
    match end {
        End::Pod(index) => Party::pod(index.get(cluster.pods())),
        End::Address(text) => {
            let address: IpAddr = text.parse().unwrap();
            Party {
                address: Some(address),
                holder: cluster.holders(address)[0],
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) policies: Vec<NetworkPolicy>,
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) fn connection(&self) -> Connection<'_> {
        Connection {
            client: party(&self.client, &self.cluster),
            server: party(&self.server, &self.cluster),
            port: self.port,
            protocol: self.protocol,
        }
    }

    pub(crate) fn outcome(&self, policies: &[NetworkPolicy]) -> Outcome {
        let policies = PolicySet::new(policies.to_vec());
        evaluate(&policies, &self.cluster, self.engine, &self.connection()).outcome
    }

    /// The same world, asked about TCP where the protocol has no ports.
    pub(crate) fn with_ports(mut self) -> Self {
        if !self.protocol.has_ports() {
            self.protocol = Protocol::Tcp;
        }
        self
    }

    /// The policies by key, the last of a name: what a set keeps.
    pub(crate) fn kept(&self) -> Vec<NetworkPolicy> {
        let by_key: BTreeMap<String, NetworkPolicy> = self
            .policies
            .iter()
            .map(|policy| (policy.key(), policy.clone()))
            .collect();
        by_key.into_values().collect()
    }
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let protocol = prop_oneof![6 => protocol(), 1 => Just(Protocol::Other(1))];
    let engine = select(&[Engine::Felix, Engine::Cilium, Engine::None, Engine::Unknown][..]);
    (
        cluster(),
        vec(policy(), 1..8),
        end(),
        end(),
        select(&PORTS[..]),
        protocol,
        engine,
    )
        .prop_map(
            |(cluster, policies, client, server, port, protocol, engine)| World {
                cluster,
                policies,
                client,
                server,
                port,
                protocol,
                engine,
            },
        )
}
