//! Kinds that say who has which address beside pods themselves: EndpointSlices and the kinds of Terway.

use super::*;
use crate::terway::{PodEni, PodName};

const SLICE: &str = r#"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: redis-x7k2p, namespace: shop, labels: {kubernetes.io/service-name: redis}}
addressType: IPv4
endpoints:
- addresses: [10.0.0.9]
  conditions: {ready: true, serving: true, terminating: false}
  nodeName: n1
  targetRef: {kind: Pod, namespace: shop, name: redis-0, uid: u-redis-0}
- addresses: [10.0.0.10]
  conditions: {ready: false, terminating: true}
- addresses: [10.0.0.11]
ports:
- {name: redis, port: 6379, protocol: TCP}
- {name: any}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: outside, namespace: shop}
addressType: FQDN
endpoints: [{addresses: [db.example.com]}]
"#;

const TERWAY: &str = r#"
apiVersion: network.alibabacloud.com/v1beta1
kind: Node
metadata: {name: cn-hangzhou.10.0.3.5}
spec: {nodeMetadata: {instanceID: i-bp1abc, regionID: cn-hangzhou}, eni: {enableTrunk: true}}
status:
  networkInterfaces:
    eni-b:
      id: eni-b
      primaryIPAddress: 10.0.3.6
      ipv4:
        10.0.3.6: {ip: 10.0.3.6, primary: true, status: Valid}
        10.0.3.127: {ip: 10.0.3.127, status: Valid, podID: shop/web-x2x7k, podUID: u1}
        10.0.3.128: {ip: 10.0.3.128, status: Deleting, podID: shop/old, podUID: u0}
    eni-a:
      ipv6: {"2001:db8::7": {ip: "2001:db8::7", status: Valid, podID: shop/six}}
---
apiVersion: network.alibabacloud.com/v1beta1
kind: NodeRuntime
metadata: {name: cn-hangzhou.10.0.3.5}
status:
  pods:
    u2: {podID: shop/new, status: {initial: {lastUpdateTime: "2026-11-24T08:00:00Z"}}}
    u1: {podID: shop/web-x2x7k, status: {initial: {lastUpdateTime: "2026-11-24T07:00:00Z"}, deleted: {lastUpdateTime: "2026-11-24T08:00:02Z"}}}
    u3: {podID: shop/anew, status: {initial: {lastUpdateTime: "2026-11-24T08:00:03Z"}, deleted: {lastUpdateTime: "2026-11-24T08:00:02Z"}}}
    u4: {podID: shop/alone, status: {deleted: {lastUpdateTime: "2026-11-24T08:00:02Z"}}}
    u5: {podID: shop/same, status: {initial: {lastUpdateTime: "2026-11-24T08:00:02Z"}, deleted: {lastUpdateTime: "2026-11-24T08:00:02Z"}}}
    u6: {podID: shop/silent, status: {initial: {}, deleted: {lastUpdateTime: "2026-11-24T08:00:02Z"}}}
---
apiVersion: network.alibabacloud.com/v1beta1
kind: PodENI
metadata: {name: db-0, namespace: data, annotations: {k8s.aliyun.com/pod-uid: u-db-0}, labels: {k8s.aliyun.com/node: n1}}
spec:
  allocations:
  - {eni: {id: eni-1, vpcID: vpc-1, mac: "00:16:3e:00:00:01"}, ipv4: 10.0.7.1, ipv6: "2001:db8:7::1", interface: eth0}
  - {eni: {id: eni-2}, ipv4: 10.0.8.1, interface: eth1, allocationType: {type: Fixed}}
status: {phase: Bind, instanceID: i-bp1abc}
---
apiVersion: network.alibabacloud.com/v1beta1
kind: PodENI
metadata: {name: db-1, namespace: data}
spec: {allocation: {eni: {id: eni-3}, ipv4: 10.0.7.2}}
status: {phase: Unbind}
"#;

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_endpoints_of_a_service() {
    let manifest = check(
        SLICE,
        &[
            "EndpointSlice shop/redis-x7k2p",
            "EndpointSlice shop/outside",
        ],
        &[],
    );
    let [Body::EndpointSlice(slice), Body::EndpointSlice(outside)] =
        [0, 1].map(|n| &manifest.objects[n].body)
    else {
        panic!()
    };
    assert_eq!(slice.service.as_deref(), Some("redis"));
    let [whole, leaving, silent] = slice.endpoints.as_slice() else {
        panic!()
    };
    assert_eq!(whole.addresses, [ip("10.0.0.9")]);
    assert_eq!(whole.target.as_ref().unwrap().uid, "u-redis-0");
    assert_eq!(whole.node.as_deref(), Some("n1"));
    assert_eq!(
        (leaving.ready, leaving.serving, leaving.terminating),
        (false, true, true)
    );
    // What a slice does not say is true, but for the end.
    assert_eq!(
        (silent.ready, silent.serving, silent.terminating),
        (true, true, false)
    );
    let ports: Vec<_> = slice.ports.iter().map(|port| port.port).collect();
    assert_eq!(ports, [Some(6379), None]);
    assert_eq!(
        (&outside.service, outside.endpoints[0].addresses.len()),
        (&None, 0)
    );
}

#[test]
fn what_terway_writes_down() {
    let manifest = check(
        TERWAY,
        &[
            "Node cn-hangzhou.10.0.3.5",
            "NodeRuntime cn-hangzhou.10.0.3.5",
            "PodENI data/db-0",
            "PodENI data/db-1",
        ],
        &[],
    );
    let bodies: Vec<&Body> = manifest.objects.iter().map(|object| &object.body).collect();
    let [
        Body::TerwayNode(node),
        Body::NodeRuntime(runtime),
        Body::PodEni(db0),
        Body::PodEni(db1),
    ] = bodies.as_slice()
    else {
        panic!("{bodies:?}")
    };
    let pod = |name: &str, uid: &str| PodName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    };
    assert_eq!(node.instance_id.as_deref(), Some("i-bp1abc"));
    let bound: Vec<_> = node
        .bindings
        .iter()
        .map(|binding| (binding.eni.as_str(), binding.addr, binding.pod.clone()))
        .collect();
    // Its own addresses and those that go away are nobody's.
    assert_eq!(
        bound,
        [
            ("eni-a", ip("2001:db8::7"), pod("six", "")),
            ("eni-b", ip("10.0.3.127"), pod("web-x2x7k", "u1")),
        ]
    );
    let returned: Vec<_> = runtime
        .pods
        .iter()
        .map(|(pod, at)| (pod.clone(), at.map(|at| at.to_rfc3339())))
        .collect();
    assert_eq!(
        returned,
        [
            (
                pod("web-x2x7k", "u1"),
                Some("2026-11-24T08:00:02+00:00".to_owned())
            ),
            (pod("new", "u2"), None),
            // Its sandbox was made anew.
            (pod("anew", "u3"), None),
            (
                pod("alone", "u4"),
                Some("2026-11-24T08:00:02+00:00".to_owned())
            ),
            (pod("same", "u5"), None),
            (pod("silent", "u6"), None),
        ]
    );
    assert_eq!((db0.pod_uid.as_str(), db0.is_bound), ("u-db-0", true));
    let allocated = |eni: &PodEni| -> Vec<(String, Option<String>, Vec<std::net::IpAddr>)> {
        let allocations = eni.allocations.iter().cloned();
        allocations
            .map(|one| (one.eni, one.vpc, one.addresses))
            .collect()
    };
    assert_eq!(
        allocated(db0),
        [
            (
                "eni-1".to_owned(),
                Some("vpc-1".to_owned()),
                vec![ip("10.0.7.1"), ip("2001:db8:7::1")]
            ),
            ("eni-2".to_owned(), None, vec![ip("10.0.8.1")]),
        ]
    );
    assert_eq!((db1.pod_uid.as_str(), db1.is_bound), ("", false));
    assert_eq!(
        allocated(db1),
        [("eni-3".to_owned(), None, vec![ip("10.0.7.2")])]
    );
}

#[test]
fn they_print_and_read_back() {
    for object in [SLICE, TERWAY]
        .iter()
        .flat_map(|text| read("f", text).objects)
    {
        let printed = object.to_json();
        let mut again = read("f", &printed);
        assert_eq!(again.issues, [], "{printed}");
        again.objects[0].origin = object.origin.clone();
        assert_eq!(again.objects[0].to_json(), printed);
        // The type of a slice's addresses is only read to leave names out.
        assert_eq!(again.objects, [object], "{printed}");
    }
}
