//! What must hold for every world: few labels, few namespaces, ports at the edges, nested blocks, so that things collide.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use flowaudit_rules::bulk::Bulk;
use flowaudit_rules::cidr::{self, Block};
use flowaudit_rules::cluster::{
    Cluster, ContainerPort, Labels, Namespace, Node, Phase, Pod, PortOwner, Protocol, Service,
    ServicePort, TargetPort,
};
use flowaudit_rules::dialect::network_policy::{Direction, NetworkPolicy, Peer, Rule};
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::kubernetes::{Body, Object, Origin, read};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::port::PortMatch;
use flowaudit_rules::selector::{Operator, Requirement, Selector};
use flowaudit_rules::verdict::{Outcome, Reason};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;

const KEYS: [&str; 4] = ["app", "tier", "x", "kubernetes.io/metadata.name"];
const VALUES: [&str; 4] = ["a", "b", "", "shop"];
const NAMESPACES: [&str; 3] = ["shop", "prod", "dev"];
/// Most things happen in one namespace.
const MOSTLY_SHOP: [&str; 6] = ["shop", "shop", "shop", "shop", "prod", "dev"];
const BLOCKS: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.0/30",
    "10.0.0.1/32",
    "192.168.0.0/24",
    "198.51.100.0/24",
    "::/0",
];
const PORTS: [u16; 6] = [1, 79, 80, 81, 8080, 65535];
const NAMES: [&str; 2] = ["http", "dns"];

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(
        select(&KEYS[..3]).prop_map(String::from),
        select(&VALUES[..]).prop_map(String::from),
        0..3,
    )
}

fn selector() -> impl Strategy<Value = Selector> {
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

fn protocol() -> impl Strategy<Value = Protocol> {
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

fn rule() -> impl Strategy<Value = Rule> {
    (vec(peer(), 0..4), vec(port_match(), 0..4)).prop_map(|(peers, ports)| Rule { peers, ports })
}

fn policy() -> impl Strategy<Value = NetworkPolicy> {
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

fn pod() -> impl Strategy<Value = Pod> {
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
enum End {
    Pod(Index),
    Address(&'static str),
}

fn end() -> impl Strategy<Value = End> {
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
struct World {
    cluster: Cluster,
    policies: Vec<NetworkPolicy>,
    client: End,
    server: End,
    port: u16,
    protocol: Protocol,
    engine: Engine,
}

impl World {
    fn connection(&self) -> Connection<'_> {
        Connection {
            client: party(&self.client, &self.cluster),
            server: party(&self.server, &self.cluster),
            port: self.port,
            protocol: self.protocol,
        }
    }

    fn outcome(&self, policies: &[NetworkPolicy]) -> Outcome {
        let policies = PolicySet::new(policies.to_vec());
        evaluate(&policies, &self.cluster, self.engine, &self.connection()).outcome
    }

    /// The same world, asked about TCP where the protocol has no ports.
    fn with_ports(mut self) -> Self {
        if !self.protocol.has_ports() {
            self.protocol = Protocol::Tcp;
        }
        self
    }

    /// The policies by key, the last of a name: what a set keeps.
    fn kept(&self) -> Vec<NetworkPolicy> {
        PolicySet::new(self.policies.clone())
            .iter()
            .cloned()
            .collect()
    }
}

fn world() -> impl Strategy<Value = World> {
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn prepared_equals_plain(world in world()) {
        let policies = PolicySet::new(world.policies.clone());
        let plain = evaluate(&policies, &world.cluster, world.engine, &world.connection());
        let bulk = Bulk::new(&policies, &world.cluster, world.engine);
        prop_assert_eq!(&bulk.evaluate(&world.connection()), &plain);
        prop_assert_eq!(bulk.evaluate(&world.connection()), plain);
    }

    #[test]
    fn order_does_not_matter(world in world(), seed in any::<u64>()) {
        let kept = world.kept();
        let mut turned = kept.clone();
        turned.reverse();
        let turns = usize::try_from(seed % 5).unwrap();
        if !turned.is_empty() {
            let turns = turns % turned.len();
            turned.rotate_left(turns);
        }
        for policy in &mut turned {
            for rules in [&mut policy.ingress, &mut policy.egress].into_iter().flatten() {
                rules.reverse();
                for rule in rules {
                    rule.peers.reverse();
                    rule.ports.reverse();
                }
            }
        }
        prop_assert_eq!(world.outcome(&kept), world.outcome(&turned));
    }

    /// Policies never deny: for a pod that is isolated already, another allow rule opens or changes nothing.
    #[test]
    fn another_rule_never_closes(world in world(), which in any::<Index>(), rule in rule(), inward in any::<bool>()) {
        // Cilium denies ICMP as soon as any rule has ports, so there another rule may close.
        let world = world.with_ports();
        let kept = world.kept();
        let mut wider = kept.clone();
        let policy = &mut wider[which.index(kept.len())];
        let rules = if inward { &mut policy.ingress } else { &mut policy.egress };
        if let Some(rules) = rules {
            rules.push(rule);
        }
        let (before, after) = (world.outcome(&kept), world.outcome(&wider));
        prop_assert!(before != Outcome::Allowed || after == Outcome::Allowed, "{before:?} became {after:?}");
        prop_assert!(after != Outcome::Denied || before == Outcome::Denied, "{before:?} became {after:?}");
    }

    /// The rules that a verdict names as admitting are the reason. (Without them a node port may still be open: its
    /// clients may come in as the pod's own node.)
    #[test]
    fn without_the_named_rules_a_side_is_no_longer_allowed(world in world()) {
        let world = world.with_ports();
        let mut kept = world.kept();
        let verdict = evaluate(&PolicySet::new(kept.clone()), &world.cluster, Engine::Felix, &world.connection());
        for (direction, side) in [(Direction::Ingress, &verdict.ingress), (Direction::Egress, &verdict.egress)] {
            let mut named: Vec<(&str, usize)> =
                side.reasons.iter().filter_map(|reason| Some((reason.policy()?, reason.rule()?))).collect();
            if named.is_empty() {
                continue;
            }
            prop_assert_ne!(side.outcome, Outcome::Denied);
            named.sort_unstable();
            for (key, rule) in named.into_iter().rev() {
                let policy = kept.iter_mut().find(|policy| policy.key() == key).unwrap();
                let rules = if direction == Direction::Ingress { &mut policy.ingress } else { &mut policy.egress };
                rules.as_mut().unwrap().remove(rule);
            }
            let without = evaluate(&PolicySet::new(kept.clone()), &world.cluster, Engine::Felix, &world.connection());
            let side = if direction == Direction::Ingress { without.ingress } else { without.egress };
            prop_assert_ne!(side.outcome, Outcome::Allowed);
        }
    }

    /// A denied side names every policy that isolates; without them it is allowed.
    #[test]
    fn without_the_named_policies_a_denied_connection_is_allowed(world in world()) {
        let kept = world.kept();
        let verdict = evaluate(&PolicySet::new(kept.clone()), &world.cluster, world.engine, &world.connection());
        let reasons = verdict.egress.reasons.iter().chain(&verdict.ingress.reasons);
        let named: Vec<&str> = reasons.filter_map(Reason::policy).collect();
        prop_assert_eq!(verdict.outcome == Outcome::Denied && named.is_empty(), false);
        if verdict.outcome == Outcome::Denied && world.engine == Engine::Felix {
            let rest: Vec<_> = kept.iter().filter(|policy| !named.contains(&policy.key().as_str())).cloned().collect();
            prop_assert_eq!(world.outcome(&rest), Outcome::Allowed);
        }
    }

    /// What an engine settles lies within what is open; what all agree on is not open.
    #[test]
    fn an_engine_answers_within_what_is_open(world in world()) {
        let mut world = world;
        world.engine = Engine::Unknown;
        let open = world.outcome(&world.policies);
        for engine in [Engine::Felix, Engine::Cilium] {
            world.engine = engine;
            let settled = world.outcome(&world.policies);
            prop_assert!(open == Outcome::Unspecified || settled == open, "{engine}: {settled:?}, open: {open:?}");
        }
    }

    #[test]
    fn a_verdict_is_consistent_with_itself(world in world()) {
        let policies = PolicySet::new(world.policies.clone());
        let verdict = evaluate(&policies, &world.cluster, world.engine, &world.connection());
        prop_assert_eq!(verdict.outcome == Outcome::Unspecified, !verdict.unspecified.is_empty());
        prop_assert_eq!(verdict.default_reading, verdict.egress.default_reading.and(verdict.ingress.default_reading));
        for side in [&verdict.egress, &verdict.ingress] {
            prop_assert!(!side.reasons.is_empty());
            prop_assert!(side.reasons.iter().all(|reason| !reason.to_string().contains('\n')));
            if side.outcome == Outcome::Denied {
                prop_assert!(verdict.outcome == Outcome::Denied);
                prop_assert!(side.isolated);
            }
        }
    }

    #[test]
    fn printing_and_reading_gives_the_same_policy(policy in policy()) {
        let object = Object {
            group: "networking.k8s.io".into(),
            version: "v1".into(),
            kind: "NetworkPolicy".into(),
            namespace: Some(policy.namespace.clone()),
            name: policy.name.clone(),
            uid: String::new(),
            generation: None,
            resource_version: None,
            created: None,
            deletion: None,
            labels: Labels::new(),
            origin: Origin { file: "f".into(), line: 1 },
            body: Body::NetworkPolicy(policy),
        };
        let printed = object.to_json();
        let again = read("f", &printed);
        prop_assert_eq!(&again.issues, &[], "{}", printed);
        prop_assert_eq!(&again.objects, &[object]);
        // The same text is YAML too.
        let mut yaml = read("f", &format!("# not JSON\n{printed}"));
        yaml.objects[0].origin.line = 1;
        prop_assert_eq!(again.objects, yaml.objects);
    }

    #[test]
    fn selectors_mean_what_their_table_says(selector in selector(), labels in labels()) {
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let has = |key: &str, value: &str| pairs.contains(&(key, value));
        let any = |key: &str, values: &[String]| values.iter().any(|value| has(key, value));
        let holds = |requirement: &Requirement| match &requirement.operator {
            Operator::In(values) => any(&requirement.key, values),
            Operator::NotIn(values) => !any(&requirement.key, values),
            Operator::Exists => pairs.iter().any(|(key, _)| *key == requirement.key),
            Operator::DoesNotExist => pairs.iter().all(|(key, _)| *key != requirement.key),
        };
        let expected = selector.labels.iter().all(|(k, v)| has(k, v)) && selector.expressions.iter().all(holds);
        prop_assert_eq!(selector.matches(&labels), expected);
    }

    #[test]
    fn reading_never_panics(text in "[-{}\\[\\]:,#&*!|>'\"%@ a-z0-9\n\t]{0,200}") {
        read("f", &text);
        flowaudit_rules::kubernetes::read_watch("f", &text);
        let policies = PolicySet::default();
        let cluster = Cluster::default();
        let _ = Bulk::new(&policies, &cluster, Engine::Unknown).answer(&text, &mut String::new());
    }

    #[test]
    fn a_policy_with_anything_in_it_never_panics(
        field in select(&["podSelector", "policyTypes", "ingress", "egress"][..]),
        text in "[-{}\\[\\]:, a-z0-9./\"]{0,60}",
    ) {
        let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";
        let manifest = read("f", &format!("{head}  {field}: {text}\n"));
        prop_assert!(manifest.objects.len() + manifest.issues.len() > 0);
    }
}
