//! A small shop: who may reach whom there.

use super::*;
use crate::kubernetes::read;

const SHOP: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- apiVersion: v1
  kind: Pod
  metadata: {name: cart-7d9f6-aaaaa, namespace: shop, labels: {app: cart, pod-template-hash: 7d9f6}, ownerReferences: [{controller: true, kind: ReplicaSet, name: cart-7d9f6}]}
  spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
  status: {podIP: 10.0.0.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: cart-7d9f6-bbbbb, namespace: shop, labels: {app: cart, pod-template-hash: 7d9f6}, ownerReferences: [{controller: true, kind: ReplicaSet, name: cart-7d9f6}]}
  spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
  status: {podIP: 10.0.0.2}
- apiVersion: v1
  kind: Pod
  metadata: {name: redis-0, namespace: shop, labels: {app: redis, role: leader}, ownerReferences: [{controller: true, kind: StatefulSet, name: redis}]}
  spec: {containers: [{ports: [{containerPort: 6379}]}]}
  status: {podIP: 10.0.0.3}
- apiVersion: v1
  kind: Pod
  metadata: {name: redis-1, namespace: shop, labels: {app: redis, role: follower}, ownerReferences: [{controller: true, kind: StatefulSet, name: redis}]}
  spec: {containers: [{ports: [{containerPort: 6379}]}]}
  status: {podIP: 10.0.0.4}
- apiVersion: v1
  kind: Pod
  metadata: {name: job, namespace: batch}
  status: {podIP: 10.0.1.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: done, namespace: batch}
  status: {phase: Succeeded, podIP: 10.0.1.2}
- apiVersion: v1
  kind: Pod
  metadata: {name: agent, namespace: batch}
  spec: {hostNetwork: true}
  status: {podIP: 192.168.0.1}
- apiVersion: v1
  kind: Service
  metadata: {name: cart, namespace: shop}
  spec: {selector: {app: cart}, clusterIP: 172.21.0.1, ports: [{port: 80, targetPort: http}, {port: 81, targetPort: 9090}]}
";

/// `from → to port verdict`, one line a cell.
fn lines(policies: &str, engine: Engine, ask: &Ask) -> (String, Matrix) {
    let world = read("world", SHOP);
    let policies = read("policies", policies);
    assert_eq!((world.issues.len(), policies.issues.len()), (0, 0));
    let (cluster, _) = Cluster::from_objects(&world.objects);
    let (policies, _) = PolicySet::from_objects(&policies.objects);
    let owners = Owners::from_objects(&world.objects);
    let matrix = matrix(&policies, &cluster, &owners, engine, ask).unwrap();
    let lines = matrix.cells.iter().map(|cell| {
        let depends: Vec<&str> = cell.unspecified.iter().map(|u| u.as_str()).collect();
        format!(
            "{} → {} {} {} {} {}",
            cell.client,
            cell.server,
            cell.protocol,
            cell.port,
            cell.verdict,
            depends.join(",")
        )
    });
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    (lines.join("\n"), matrix)
}

fn all() -> Ask {
    Ask {
        judgements_max: 1_000,
        ..Ask::default()
    }
}

#[test]
fn every_workload_to_every_workload() {
    let (lines, matrix) = lines(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: leader, namespace: shop}
spec:
  podSelector: {matchLabels: {role: leader}}
  ingress: [{from: [{podSelector: {matchLabels: {app: cart}}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress:
  - from: [{podSelector: {}}]
    ports: [{port: http}]
  - from: [{ipBlock: {cidr: 10.0.1.0/24}}]
    ports: [{port: 9090}]
",
        Engine::Unknown,
        &all(),
    );
    // Redis has a leader that is isolated and a follower that is not; a bare pod has nobody to ask but itself.
    assert_eq!(
        lines,
        "\
batch/Pod/job → shop/Deployment/cart TCP 8080 denied
batch/Pod/job → shop/Deployment/cart TCP 9090 unspecified ip-block-on-pod
batch/Pod/job → shop/StatefulSet/redis TCP 6379 mixed
shop/Deployment/cart → shop/Deployment/cart TCP 8080 allowed
shop/Deployment/cart → shop/Deployment/cart TCP 9090 denied
shop/Deployment/cart → shop/StatefulSet/redis TCP 6379 allowed
shop/StatefulSet/redis → shop/Deployment/cart TCP 8080 allowed
shop/StatefulSet/redis → shop/Deployment/cart TCP 9090 denied
shop/StatefulSet/redis → shop/StatefulSet/redis TCP 6379 mixed"
    );
    let names =
        |ids: &[WorkloadId]| -> Vec<String> { ids.iter().map(ToString::to_string).collect() };
    assert_eq!(names(&matrix.without_ports), ["batch/Pod/job"]);
    assert_eq!(names(&matrix.on_host_network), ["batch/Pod/agent"]);
    assert!(matrix.not_all_asked.is_empty());
}

#[test]
fn only_what_is_asked() {
    let ask = Ask {
        ports: vec![(53, Protocol::Udp)],
        from: vec!["shop".to_owned()],
        to: vec!["batch".to_owned()],
        ..all()
    };
    let (lines, _) = lines("", Engine::Felix, &ask);
    assert_eq!(
        lines,
        "\
shop/Deployment/cart → batch/Pod/job UDP 53 allowed
shop/StatefulSet/redis → batch/Pod/job UDP 53 allowed"
    );
}

#[test]
fn too_large_is_refused_and_says_how_large() {
    let world = read("world", SHOP);
    let (cluster, _) = Cluster::from_objects(&world.objects);
    let ask = |judgements_max| Ask {
        judgements_max,
        ..Ask::default()
    };
    let matrix = |max| {
        matrix(
            &PolicySet::default(),
            &cluster,
            &Owners::default(),
            Engine::Felix,
            &ask(max),
        )
    };
    // Without policies each workload is one class: the two carts, redis and the job ask, each about two ports of cart
    // and one of redis. Services tell labels apart, ports do; redis' roles nobody looks at.
    assert!(matrix(9).is_ok());
    let error = matrix(8).unwrap_err();
    assert_eq!(
        error.to_string(),
        "3 workloads to 3 workloads are 9 judgements, more than 8"
    );
    assert!(error.help().is_some());
}

#[test]
fn pods_of_too_many_kinds_are_told() {
    let pods: String = (0..20)
        .map(|n| {
            format!(
                "- {{apiVersion: v1, kind: Pod, metadata: {{name: w-{n}, labels: {{shard: s{n}}}, ownerReferences: [{{controller: true, kind: StatefulSet, name: w}}]}}}}\n"
            )
        })
        .collect();
    let policy = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {matchLabels: {shard: s1}}}
";
    let world = read(
        "world",
        &format!("apiVersion: v1\nkind: List\nitems:\n{pods}"),
    );
    let (cluster, _) = Cluster::from_objects(&world.objects);
    let (policies, _) = PolicySet::from_objects(&read("policy", policy).objects);
    let ask = Ask {
        ports: vec![(80, Protocol::Tcp)],
        ..all()
    };
    let of =
        |policies| matrix(policies, &cluster, &Owners::default(), Engine::Felix, &ask).unwrap();
    let matrix = of(&policies);
    assert_eq!(matrix.cells[0].verdict, Reach::Mixed);
    assert_eq!(matrix.not_all_asked.len(), 1);
    // Where no policy looks at the shard, all pods are one class.
    assert!(of(&PolicySet::default()).not_all_asked.is_empty());
}
