//! What is taken of each kind, and that printing loses none of it.

use super::check;
use crate::cluster::{PortOwner, TargetPort};
use crate::kubernetes::*;

const FULL_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: web-7d9f-x
  namespace: shop
  uid: 6a1e
  resourceVersion: "481"
  creationTimestamp: "2026-11-24T08:00:00Z"
  deletionTimestamp: "2026-11-24T09:00:00Z"
  labels: {app: web, empty: ""}
  annotations: {k: v}
  managedFields: [{manager: kubelet}]
  ownerReferences:
  - {kind: Other, name: o}
  - {apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9f, controller: true}
spec:
  nodeName: n1
  serviceAccountName: web
  containers:
  - name: c
    env: [{name: A, value: b}]
    ports:
    - {name: http, containerPort: 8080, hostPort: 80}
    - {containerPort: 53, protocol: UDP}
  - name: d
  initContainers:
  - {name: side, restartPolicy: Always, ports: [{name: mesh, containerPort: 15001}]}
  - {name: once, ports: [{name: init, containerPort: 9}]}
status:
  phase: Running
  podIP: 10.0.0.9
  podIPs: [{ip: 10.0.0.9}, {ip: "2001:db8::9"}]
  hostIP: 192.168.0.1
  conditions:
  - {type: PodScheduled, status: "True", lastTransitionTime: "2026-11-24T08:00:01Z"}
  - {type: PodReadyToStartContainers, status: "True", lastTransitionTime: "2026-11-24T08:00:03Z"}
  - {type: Ready, status: "False", lastTransitionTime: "2026-11-24T08:00:03Z"}
  containerStatuses:
  - state: {running: {startedAt: "2026-11-24T08:00:06Z"}}
    lastState: {terminated: {startedAt: "2026-11-24T08:00:05Z", finishedAt: "2026-11-24T08:00:06Z"}}
  - state: {terminated: {startedAt: "2026-11-24T08:00:07Z", finishedAt: "2026-11-24T08:10:00Z"}}
"#;

fn pod_of(text: &str) -> crate::cluster::Pod {
    let manifest = check(text, &["Pod shop/web-7d9f-x"], &[]);
    match manifest.objects.into_iter().next().unwrap().body {
        Body::Pod(pod) => pod,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_of_a_pod() {
    let at = |text: &str| Some(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
    let pod = pod_of(FULL_POD);
    assert_eq!(
        pod.addresses,
        [
            "10.0.0.9".parse::<std::net::IpAddr>().unwrap(),
            "2001:db8::9".parse().unwrap()
        ]
    );
    assert_eq!(pod.host_addresses.len(), 1);
    assert_eq!(pod.labels["empty"], "");
    assert_eq!(
        (
            pod.uid.as_str(),
            pod.node.as_deref(),
            pod.service_account.as_deref()
        ),
        ("6a1e", Some("n1"), Some("web"))
    );
    assert_eq!(
        pod.owner.as_ref().map(|owner| owner.name.as_str()),
        Some("web-7d9f")
    );
    assert_eq!(pod.ready, Some(false));
    let ports: Vec<_> = pod
        .ports
        .iter()
        .map(|p| (p.name.as_deref(), p.port, p.protocol.to_string(), p.owner))
        .collect();
    assert_eq!(
        ports,
        [
            (Some("http"), 8080, "TCP".to_owned(), PortOwner::Container),
            (None, 53, "UDP".to_owned(), PortOwner::Container),
            (
                Some("mesh"),
                15001,
                "TCP".to_owned(),
                PortOwner::RestartableInit
            ),
            (Some("init"), 9, "TCP".to_owned(), PortOwner::Init),
        ]
    );
    assert_eq!(pod.ports[0].host_port, Some(80));
    assert_eq!(pod.times.created, at("2026-11-24T08:00:00Z"));
    assert_eq!(pod.times.deletion, at("2026-11-24T09:00:00Z"));
    assert_eq!(pod.times.scheduled, at("2026-11-24T08:00:01Z"));
    assert_eq!(pod.times.ready_to_start, at("2026-11-24T08:00:03Z"));
    assert_eq!(
        pod.times.started,
        at("2026-11-24T08:00:06Z"),
        "what ran before may have been in another sandbox"
    );
    assert_eq!(pod.times.finished, None, "one container still runs");
}

/// When the labels of a pod were written by others than who made it, with these managed fields.
fn labelled(managed: &str) -> Option<String> {
    let text = FULL_POD.replace("[{manager: kubelet}]", managed);
    pod_of(&text).times.labelled.map(|at| at.to_rfc3339())
}

#[test]
fn managed_fields_say_who_wrote_labels_and_when() {
    let entry = |time: &str, fields: &str| {
        format!("{{manager: x, time: '2026-11-24T{time}Z', fieldsV1: {{{fields}}}}}")
    };
    let labels = "f:metadata: {f:labels: {f:app: {}}}";
    let creator = entry(
        "08:30:00",
        &format!("{labels}, f:spec: {{f:containers: {{}}}}"),
    );
    let at = |entries: &[String]| labelled(&format!("[{}]", entries.join(", ")));
    assert_eq!(labelled("[{manager: kubelet}]"), None);
    assert_eq!(
        at(std::slice::from_ref(&creator)),
        None,
        "whatever he wrote last"
    );
    let others = [
        creator,
        entry("08:10:00", labels),
        entry("08:20:00", labels),
    ];
    assert_eq!(at(&others).as_deref(), Some("2026-11-24T08:20:00+00:00"));
    let annotated = entry("08:10:00", "f:metadata: {f:annotations: {}}");
    assert_eq!(at(&[annotated]), None);
    let made = entry("08:00:00", labels);
    assert_eq!(at(&[made]), None, "when it was made");
    // They are for the API server alone, and nobody is told what is wrong with them.
    for odd in [
        "7",
        "{}",
        "[7]",
        "[{time: 7, fieldsV1: {f:metadata: {f:labels: 7}}}]",
        "[{time: soon, fieldsV1: {f:metadata: {f:labels: {}}}}]",
    ] {
        assert_eq!(labelled(odd), None, "{odd}");
    }
}

#[test]
fn a_pod_has_finished_when_every_container_has() {
    let text = FULL_POD.replace(
        "{running: {startedAt: \"2026-11-24T08:00:06Z\"}}",
        "{terminated: {startedAt: \"2026-11-24T08:00:06Z\", finishedAt: \"2026-11-24T08:20:00Z\"}}",
    );
    let times = pod_of(&text).times;
    let [finished, started] =
        [times.finished, times.started].map(|at| at.map(|at| at.to_rfc3339()));
    assert_eq!(finished.as_deref(), Some("2026-11-24T08:20:00+00:00"));
    assert_eq!(started.as_deref(), Some("2026-11-24T08:00:07+00:00"));
}

#[test]
fn pod_ip_alone_is_enough() {
    let text = FULL_POD.replace("  podIPs: [{ip: 10.0.0.9}, {ip: \"2001:db8::9\"}]\n", "");
    assert_eq!(pod_of(&text).addresses.len(), 1);
}

#[test]
fn an_address_or_time_that_cannot_be_read_costs_itself_only() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: soon}\nstatus: {podIP: 10.0.0.300}\n";
    let manifest = check(
        text,
        &["Pod default/a"],
        &[
            "f.yaml:3: warning: Pod a: metadata.creationTimestamp: `soon` is not a time and counts as unknown",
            "f.yaml:4: warning: Pod a: status.podIP: `10.0.0.300` is not an address and was left out",
        ],
    );
    assert!(matches!(&manifest.objects[0].body, Body::Pod(pod) if pod.addresses.is_empty()));
}

#[test]
fn an_address_that_nobody_can_have_alone_is_left_out() {
    for address in [
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "::1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nstatus: {{podIP: \"{address}\"}}\n"
        );
        let message = format!(
            "f.yaml:4: warning: Pod a: status.podIP: `{address}` is no address that one alone can have and was left out"
        );
        let manifest = check(&text, &["Pod default/a"], &[&message]);
        assert!(matches!(&manifest.objects[0].body, Body::Pod(pod) if pod.addresses.is_empty()));
    }
}

/// A status that was sent alone does not say `hostNetwork`.
#[test]
fn a_pod_with_the_address_of_its_node_is_on_the_nodes_network() {
    assert!(!pod_of(FULL_POD).host_network);
    let text = FULL_POD.replace("hostIP: 192.168.0.1", "hostIP: 10.0.0.9");
    assert!(pod_of(&text).host_network);
}

#[test]
fn a_refusal_of_the_api_server_is_no_object() {
    let text = r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "pods is forbidden", "code": 403}"#;
    let message = "f.yaml:1: error: the API server refused to answer: pods is forbidden";
    check(text, &[], &[message]);
}

const OTHERS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Node
metadata: {name: cn-hangzhou.192.168.0.1}
spec: {providerID: cn-hangzhou.i-bp1abc}
status:
  addresses:
  - {type: InternalIP, address: 192.168.0.1}
  - {type: Hostname, address: cn-hangzhou.192.168.0.1}
  - {type: ExternalIP, address: 203.0.113.9}
---
apiVersion: v1
kind: Service
metadata: {name: redis, namespace: shop}
spec:
  selector: {app: redis}
  clusterIP: 172.21.0.5
  ports:
  - {name: a, port: 80, targetPort: http, nodePort: 30080}
  - {name: b, port: 53, protocol: UDP}
status: {loadBalancer: {ingress: [{ip: 203.0.113.20}]}}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: web-7d9f
  namespace: shop
  generation: 3
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, controller: true}]
spec: {template: {metadata: {name: not-read}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: shop}
data: {a: b}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:node"}
"#;

#[test]
fn the_other_kinds() {
    let manifest = check(
        OTHERS,
        &[
            "Namespace shop",
            "Node cn-hangzhou.192.168.0.1",
            "Service shop/redis",
            "Service shop/headless",
            "ReplicaSet shop/web-7d9f",
            "ConfigMap shop/c",
            "ClusterRole system:node",
        ],
        &[],
    );
    let bodies: Vec<&Body> = manifest.objects.iter().map(|object| &object.body).collect();
    assert!(
        matches!(bodies[0], Body::Namespace(ns) if ns.labels["kubernetes.io/metadata.name"] == "shop")
    );
    assert!(
        matches!(bodies[1], Body::Node(n) if n.addresses.len() == 2 && n.instance_id.as_deref() == Some("i-bp1abc"))
    );
    let Body::Service(redis) = bodies[2] else {
        panic!()
    };
    assert_eq!(redis.ports[0].target, TargetPort::Name("http".into()));
    assert_eq!(redis.ports[1].target, TargetPort::Number(53));
    assert_eq!(redis.ports[0].node_port, Some(30080));
    assert_eq!(
        (
            redis.cluster_addresses.len(),
            redis.load_balancer_addresses.len()
        ),
        (1, 1)
    );
    assert!(
        matches!(bodies[3], Body::Service(s) if s.cluster_addresses.is_empty() && s.selector.is_none())
    );
    assert!(matches!(bodies[4], Body::Controller(Some(owner)) if owner.kind == "Deployment"));
    assert_eq!(manifest.objects[4].generation, Some(3));
    assert!(matches!(bodies[5], Body::Other));
}

#[test]
fn policy_kinds_of_later_versions_are_named() {
    for (api_version, kind) in [
        ("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy"),
        ("network.alibabacloud.com/v1beta2", "TrafficPolicy"),
        ("network.alibabacloud.com/v1beta2", "GlobalTrafficPolicy"),
        ("projectcalico.org/v4", "NetworkPolicy"),
        ("crd.projectcalico.org/v3", "GlobalNetworkPolicy"),
        ("extensions/v1beta1", "NetworkPolicy"),
    ] {
        let manifest = read(
            "f",
            &format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: p}}\n"),
        );
        assert_eq!(manifest.objects[0].body, Body::Other, "{kind}");
        assert_eq!(manifest.issues[0].severity, Severity::Warning);
        assert!(manifest.issues[0].message.contains("not evaluated yet"));
    }
}

#[test]
fn printing_and_reading_gives_the_same_object() {
    let finished = FULL_POD.replace(
        "{running: {startedAt",
        "{terminated: {finishedAt: \"2026-11-24T08:20:00Z\", startedAt",
    );
    for text in [FULL_POD, &finished, OTHERS] {
        for object in read("f", text).objects {
            let printed = object.to_json();
            let mut again = read("f", &printed);
            assert_eq!(again.issues, [], "{printed}");
            again.objects[0].origin = object.origin.clone();
            assert_eq!(again.objects, [object], "{printed}");
            assert_eq!(again.objects[0].to_json(), printed);
        }
    }
}
