//! Who it was: what the node says on which a record was made, and what else may have been.

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;

use crate::world::{CART, REDIS, World, node, pod, policy, settings, window};

fn on(app: &str, addr: &str, node: &str) -> EndpointRow {
    EndpointRow {
        node: Some(node.into()),
        uid: Some(format!("{app}-{node}")),
        name: format!("{app}-on-{node}"),
        ..pod(app, addr, -90_000, None)
    }
}

/// A pod with an interface of its own: that at which the world logs what goes to and from `logged`.
fn own(app: &str, addr: &str, node: &str, logged: &str) -> EndpointRow {
    EndpointRow {
        eni_id: Some(format!("eni-{logged}")),
        ..on(app, addr, node)
    }
}

/// Two pods that claim one address: on the node where the packets left there is only one of them.
#[test]
fn the_node_of_a_record_chooses_between_pods() {
    check_chosen(&[
        on("cart", CART, "node-1"),
        on("web", CART, "node-3"),
        on("redis", REDIS, "node-2"),
    ]);
}

/// Both are on that node, and the interface is only one's.
#[test]
fn the_interface_of_a_record_chooses_between_pods() {
    check_chosen(&[
        own("cart", CART, "node-1", CART),
        own("web", CART, "node-1", "other"),
        on("redis", REDIS, "node-2"),
    ]);
}

#[track_caller]
fn check_chosen(holders: &[EndpointRow]) {
    let nodes = [node("node-1", CART), node("node-2", REDIS)];
    let world = World::new(holders, &nodes);
    world.ingest(&window(0, (CART, 40_000), 27));
    world.analyse(&settings());
    let identified = world.coverage("identify");
    assert_eq!(identified["identified"], 2, "{identified:?}");
    assert_eq!(identified["ambiguous-two-holders"], 2, "{identified:?}");
    let edges = world.edges();
    assert_eq!(
        edges.iter().map(|edge| edge.forward_packets).sum::<i64>(),
        10
    );
    let named: Vec<_> = edges
        .iter()
        .map(|edge| {
            (
                edge.client_name.as_deref(),
                edge.client_identified_by.as_str(),
            )
        })
        .collect();
    assert_eq!(named, [(Some("cart-on-node-1"), "pod-interval+eni")]);
}

/// Whoever is known to have held the address was on another node.
#[test]
fn the_node_of_a_record_speaks_against_a_pod() {
    check_vetoed(&[on("cart", CART, "node-2"), on("redis", REDIS, "node-2")]);
}

/// It was on that node, and the interface is another pod's own.
#[test]
fn the_interface_of_a_record_speaks_against_a_pod() {
    check_vetoed(&[
        own("cart", CART, "node-1", "cart"),
        own("db", "10.0.3.200", "node-1", CART),
        on("redis", REDIS, "node-2"),
    ]);
}

#[track_caller]
fn check_vetoed(holders: &[EndpointRow]) {
    let nodes = [node("node-1", CART), node("node-2", REDIS)];
    let world = World::new(holders, &nodes);
    world.ingest(&window(0, (CART, 40_000), 27));
    world.analyse(&settings());
    let identified = world.coverage("identify");
    assert_eq!(identified["ambiguous-eni"], 2, "{identified:?}");
    assert_eq!(identified["identified"], 2, "{identified:?}");
    let edges = world.edges();
    assert_eq!(
        edges.iter().map(|edge| edge.forward_packets).sum::<i64>(),
        10
    );
    assert_eq!(
        edges.iter().map(|edge| edge.reverse_packets).sum::<i64>(),
        7
    );
}

#[test]
fn whom_an_address_may_have_belonged_to_is_named() {
    let host = |name: &str| EndpointRow {
        host_network: true,
        ..on(name, CART, "node-1")
    };
    let as_node = EndpointRow {
        kind: "node".into(),
        namespace: None,
        workload_kind: None,
        workload: None,
        labels: None,
        node: None,
        name: "node-1".into(),
        ..pod("node", CART, -90_000, None)
    };
    let holders = [
        host("proxy"),
        host("exporter"),
        as_node,
        on("redis", REDIS, "node-2"),
    ];
    let world = World::new(&holders, &[]);
    world.ingest(&window(0, (CART, 40_000), 27));
    world.analyse(&settings());
    let edges = world.edges();
    assert_eq!(edges.len(), 1);
    assert_eq!(edges[0].client_kind, "node");
    assert_eq!(
        edges[0].client_candidates.as_deref(),
        Some(r#"["shop/exporter-on-node-1","shop/proxy-on-node-1"]"#)
    );
    assert_eq!(edges[0].server_candidates, None);
}

/// What the cloud lists with an address may be a pod's interface, unless it is an instance's own, or far from any pod.
#[test]
fn behind_an_interface_there_may_be_a_pod() {
    let interface = |addr: &'static str, kind: &str| EndpointRow {
        addr: addr.into(),
        kind: "eni".into(),
        cluster: String::new(),
        name: "eni-1".into(),
        namespace: None,
        workload_kind: None,
        workload: None,
        labels: None,
        node: None,
        evidence: format!(r#"{{"type":"{kind}"}}"#),
        ..pod("eni", addr, -90_000, None)
    };
    let far = "10.0.9.1";
    for (addr, kind, class) in [
        (CART, "Secondary", "unjudged"),
        (CART, "Primary", "policy-not-enforced"),
        (far, "Secondary", "policy-not-enforced"),
    ] {
        let holders = [pod("redis", REDIS, -90_000, None), interface(addr, kind)];
        let world = World::new(&holders, &[policy("cart", -90_000, None)]);
        world.ingest(&window(0, (addr, 40_000), 27));
        world.analyse(&settings());
        let edges = world.edges();
        let said = (edges[0].client_kind.as_str(), edges[0].class.as_str());
        assert_eq!(said, ("eni", class), "{addr} {kind}");
    }
}

/// A ClusterIP that nobody translated: who was behind it then, not who is now.
#[test]
fn behind_a_cluster_address_stand_the_endpoints_of_that_time() {
    let slice = |pod: &str, from: i64, to: Option<i64>| ObjectRow {
        group: "discovery.k8s.io".into(),
        kind: "EndpointSlice".into(),
        name: "redis-x".into(),
        spec: format!(
            r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4","metadata":{{"name":"redis-x","namespace":"shop","labels":{{"kubernetes.io/service-name":"redis"}}}},
            "endpoints":[{{"addresses":["10.0.0.9"],"targetRef":{{"kind":"Pod","namespace":"shop","name":"{pod}"}}}}],"ports":[{{"port":6379,"protocol":"TCP"}}]}}"#
        ),
        ..policy("none", from, to)
    };
    let service = EndpointRow {
        kind: "service".into(),
        name: "redis".into(),
        workload_kind: None,
        workload: None,
        labels: None,
        node: None,
        ..pod("service", REDIS, -90_000, None)
    };
    let objects = [
        slice("redis-0", -90_000, Some(-600)),
        slice("redis-1", -590, None),
    ];
    let world = World::new(&[pod("cart", CART, -90_000, None), service], &objects);
    world.ingest(&window(0, (CART, 40_000), 27));
    world.analyse(&settings());
    let edges = world.edges();
    let named: Vec<_> = edges
        .iter()
        .map(|edge| (edge.server_kind.as_str(), edge.server_candidates.as_deref()))
        .collect();
    assert_eq!(named, [("service", Some(r#"["shop/redis-1"]"#))]);
}
