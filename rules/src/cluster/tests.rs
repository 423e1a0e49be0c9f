//! Who holds which address.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(name: &str, address: &str) -> Pod {
    Pod {
        namespace: "shop".into(),
        name: name.into(),
        addresses: vec![ip(address)],
        phase: Phase::Running,
        ..Pod::default()
    }
}

fn names(holders: &[Holder<'_>]) -> Vec<String> {
    holders
        .iter()
        .map(|holder| match holder {
            Holder::Pod(pod) => pod.name.clone(),
            Holder::Node(node) => node.name.clone(),
            Holder::Service(service) => service.name.clone(),
            Holder::External => "-".into(),
        })
        .collect()
}

#[test]
fn a_finished_pod_has_given_its_address_back() {
    let mut ended = pod("ended", "10.0.0.1");
    ended.phase = Phase::Succeeded;
    let cluster = Cluster::new(
        vec![],
        vec![],
        vec![ended.clone(), pod("new", "10.0.0.1")],
        vec![],
    );
    assert_eq!(names(&cluster.holders(ip("10.0.0.1"))), ["new"]);
    let cluster = Cluster::new(vec![], vec![], vec![ended], vec![]);
    assert_eq!(names(&cluster.holders(ip("10.0.0.1"))), ["-"]);
}

#[test]
fn a_pod_on_its_way_out_still_owns_its_address() {
    let mut leaving = pod("leaving", "10.0.0.1");
    leaving.times.deletion = chrono::DateTime::from_timestamp(1_700_000_000, 0);
    let cluster = Cluster::new(vec![], vec![], vec![leaving], vec![]);
    assert_eq!(names(&cluster.holders(ip("10.0.0.1"))), ["leaving"]);
}

#[test]
fn host_addresses_are_the_nodes_even_without_a_node_object() {
    let mut daemon = pod("daemon", "192.168.0.1");
    daemon.host_network = true;
    daemon.node = Some("n1".into());
    daemon.host_addresses = vec![ip("192.168.0.1")];
    let cluster = Cluster::new(vec![], vec![], vec![daemon], vec![]);
    assert_eq!(names(&cluster.holders(ip("192.168.0.1"))), ["n1"]);
    assert_eq!(cluster.host_pods("n1").count(), 1);
}

#[test]
fn two_pods_on_one_address_are_both_told() {
    let cluster = Cluster::new(
        vec![],
        vec![],
        vec![pod("a", "10.0.0.1"), pod("b", "10.0.0.1")],
        vec![],
    );
    assert_eq!(names(&cluster.holders(ip("10.0.0.1"))), ["a", "b"]);
}

#[test]
fn mapped_addresses_are_the_addresses_they_map() {
    let cluster = Cluster::new(vec![], vec![], vec![pod("a", "::ffff:10.0.0.1")], vec![]);
    assert_eq!(names(&cluster.holders(ip("10.0.0.1"))), ["a"]);
    assert_eq!(names(&cluster.holders(ip("::ffff:10.0.0.1"))), ["a"]);
}

#[test]
fn namespaces_known_only_from_pods_have_their_name_label() {
    let cluster = Cluster::new(vec![], vec![], vec![pod("a", "10.0.0.1")], vec![]);
    let shop = cluster.namespace("shop").unwrap();
    assert_eq!(shop.labels.get(NAME_LABEL), Some(&"shop".to_owned()));
}

#[test]
fn the_name_label_cannot_be_changed() {
    let mut lying = Namespace::named("shop");
    lying.labels.insert(NAME_LABEL.into(), "other".into());
    let cluster = Cluster::new(vec![lying], vec![], vec![], vec![]);
    assert_eq!(
        cluster.namespace("shop").unwrap().labels[NAME_LABEL],
        "shop"
    );
}

#[test]
fn of_two_objects_with_one_name_the_last_counts() {
    let cluster = Cluster::new(
        vec![],
        vec![],
        vec![pod("a", "10.0.0.1"), pod("a", "10.0.0.2")],
        vec![],
    );
    assert_eq!(cluster.pods().len(), 1);
    assert_eq!(names(&cluster.holders(ip("10.0.0.1"))), ["-"]);
    assert_eq!(names(&cluster.holders(ip("10.0.0.2"))), ["a"]);
}

#[test]
fn a_service_address_is_its_service() {
    let service = Service {
        namespace: "shop".into(),
        name: "redis".into(),
        cluster_addresses: vec![ip("172.21.0.5")],
        ..Service::default()
    };
    let cluster = Cluster::new(vec![], vec![], vec![], vec![service]);
    assert_eq!(names(&cluster.holders(ip("172.21.0.5"))), ["redis"]);
}

#[test]
fn a_node_port_is_one_of_a_protocol() {
    let port = |name: &str, protocol, node_port| ServicePort {
        name: Some(name.into()),
        protocol,
        port: 53,
        target: TargetPort::Number(53),
        node_port: Some(node_port),
    };
    let service = Service {
        namespace: "shop".into(),
        name: "dns".into(),
        ports: vec![
            port("tcp", Protocol::Tcp, 30053),
            port("other", Protocol::Udp, 30054),
            port("udp", Protocol::Udp, 30053),
        ],
        ..Service::default()
    };
    let cluster = Cluster::new(vec![], vec![], vec![], vec![service]);
    let found = |port, protocol| {
        let (_, port) = cluster.node_port(port, protocol)?;
        port.name.as_deref()
    };
    assert_eq!(found(30053, Protocol::Udp), Some("udp"));
    assert_eq!(found(30053, Protocol::Tcp), Some("tcp"));
    assert_eq!(found(30054, Protocol::Udp), Some("other"));
    assert_eq!(found(30054, Protocol::Tcp), None);
}
