//! Which pod, which side and which rule a sentence speaks of, and what a side says beyond its outcome.

use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::kubernetes::read;
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::{Kind, Side};

use super::{check, check_as, check_in};

const SERVICE: &str = r#"
kind: NodeList
apiVersion: v1
items:
- metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: redis, namespace: shop}
spec: {selector: {app: redis}, clusterIP: 172.21.0.1, ports: [{port: 6379}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop}
spec: {selector: {shard: b}, clusterIP: 172.21.0.2, ports: [{port: 6379}]}
---
kind: PodList
apiVersion: v1
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  spec: {nodeName: n2}
  status: {podIP: 10.0.0.1}
- metadata: {name: redis-a, namespace: shop, labels: {app: redis, shard: a}}
  spec: {nodeName: n1}
  status: {podIP: 10.0.0.2}
- metadata: {name: redis-b, namespace: shop, labels: {app: redis, shard: b}}
  spec: {nodeName: n1}
  status: {podIP: 10.0.0.3}
- metadata: {name: agent, namespace: shop}
  spec: {nodeName: n1, hostNetwork: true}
  status: {podIP: 192.168.0.1}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: redis-b, namespace: shop}
spec:
  podSelector: {matchLabels: {shard: b}}
  ingress: [{from: [{podSelector: {matchLabels: {app: checkout}}}]}]
"#;

#[test]
fn behind_a_service_the_pod_that_is_denied() {
    check_in(SERVICE, "shop/cart", "172.21.0.1", 6379, "TCP", "
unspecified shop/cart → Service shop/redis  TCP 6379
  egress   allowed     no policy isolates shop/cart for egress
  ingress  unspecified Service shop/redis leads to shop/redis-b on port 6379, one of its 2 pods
                       NetworkPolicy shop/redis-b selects shop/redis-b; its ingress rule 0 admits only pods app=checkout of namespace shop, the client has app=cart
  depends  some pods behind this Service are allowed and some denied
  by default denied
");
    check_in(SERVICE, "shop/cart", "172.21.0.2", 6379, "TCP", "
denied   shop/cart → Service shop/one  TCP 6379
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   Service shop/one leads to shop/redis-b on port 6379
                    NetworkPolicy shop/redis-b selects shop/redis-b; its ingress rule 0 admits only pods app=checkout of namespace shop, the client has app=cart
");
}

#[test]
fn a_host_network_pod_of_the_own_node() {
    check_in(
        SERVICE,
        "shop/agent",
        "shop/redis-b",
        22,
        "TCP",
        "
unspecified shop/agent → shop/redis-b  TCP 22
  egress   allowed     shop/agent uses its node's network, so no policy selects it
  ingress  unspecified shop/redis-b runs on node n1, and a pod's own node always reaches it
  depends  engines treat a host-network pod as its node, or as a pod like others
  by default allowed
",
    );
}

#[test]
fn a_client_of_another_namespace() {
    check("dev/job", "shop/redis", 6379, "TCP", "
denied   dev/job → shop/redis  TCP 6379
  egress   allowed  no policy isolates dev/job for egress
  ingress  denied   NetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app=checkout of namespace shop, the client has no app and is in namespace dev
");
}

const TOGETHER: &str = r#"
kind: PodList
apiVersion: v1
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  status: {podIP: 10.0.0.1}
- metadata: {name: redis, namespace: shop, labels: {app: redis}}
  status: {podIP: 10.0.0.2}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/24}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  podSelector: {matchLabels: {app: redis}}
  ingress: [{ports: [{port: 6379, endPort: 6380}]}]
"#;

#[test]
fn both_sides_depend_on_something_of_their_own() {
    check_in(
        TOGETHER,
        "shop/cart",
        "shop/redis",
        6380,
        "TCP",
        "
unspecified shop/cart → shop/redis  TCP 6380
  egress   unspecified NetworkPolicy shop/cart egress rule 0 admits 10.0.0.0/24
  ingress  unspecified NetworkPolicy shop/redis ingress rule 0 admits everyone on TCP 6379-6380
  depends  engines differ on whether ipBlock matches the address of a pod
  depends  an engine that does not know endPort takes only the first port
  by default allowed
",
    );
}

const CILIUM: &str = r#"
kind: PodList
apiVersion: v1
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  status: {podIP: 10.0.0.1}
- metadata: {name: redis, namespace: shop, labels: {app: redis}}
  status: {podIP: 10.0.0.2}
- metadata: {name: closed, namespace: shop, labels: {app: closed}}
  status: {podIP: 10.0.0.3}
- metadata: {name: loose, namespace: shop, labels: {app: loose}}
  status: {podIP: 10.0.0.4}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumCIDRGroup
metadata: {name: partners}
spec: {externalCIDRs: [198.51.100.0/24]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: redis}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web, io.kubernetes.pod.namespace: other}}]
  - fromCIDRSet: [{cidrGroupRef: partners, except: [198.51.100.9/32]}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
  - fromNodes: [{}]
    toPorts: [{ports: [{port: "81", protocol: TCP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: closed, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: closed}}
  ingress: [{}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: loose, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: loose}}
  enableDefaultDeny: {ingress: false}
  ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]
"#;

#[test]
fn selectors_and_blocks_of_cilium() {
    for (client, server, port, expected) in [
        ("shop/cart", "shop/redis", 79, "
denied   shop/cart → shop/redis  TCP 79
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   CiliumNetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app=web of namespace other, the client has app=cart
"),
        ("198.51.100.9", "shop/redis", 80, "
denied   198.51.100.9 → shop/redis  TCP 80
  egress   allowed  198.51.100.9 is no pod, so no policy selects it
  ingress  denied   CiliumNetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app=web of namespace other, the client is 198.51.100.9
"),
        ("198.51.100.9", "shop/redis", 81, "
denied   198.51.100.9 → shop/redis  TCP 81
  egress   allowed  198.51.100.9 is no pod, so no policy selects it
  ingress  denied   CiliumNetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app=web of namespace other, the client is 198.51.100.9
"),
        ("shop/cart", "shop/closed", 80, "
denied   shop/cart → shop/closed  TCP 80
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   CiliumNetworkPolicy shop/closed selects shop/closed; its ingress rule 0 admits only no one, the client is shop/cart
"),
    ] {
        check_as(
            Engine::Cilium,
            CILIUM,
            client,
            server,
            port,
            "TCP",
            expected,
        );
    }
}

#[test]
fn addresses_alone_are_held_against_the_address() {
    let world = format!(
        "{}---\n{}",
        TOGETHER.split_once("---").unwrap().0,
        "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  selector: app == 'redis'
  ingress: [{action: Allow, source: {nets: [10.0.0.0/24], notNets: [10.0.0.1/32]}}]
"
    );
    check_as(
        Engine::Felix,
        &world,
        "shop/cart",
        "shop/redis",
        80,
        "TCP",
        "
denied   shop/cart → shop/redis  TCP 80
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   Calico NetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only 10.0.0.0/24 but not 10.0.0.1/32, the client has the address 10.0.0.1
",
    );
}

/// What one side of a verdict says beyond its outcome.
#[track_caller]
fn ingress_of(engine: Engine, world: &str, client: &str, server: &str) -> Side {
    let manifest = read("world.yaml", world);
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let pod = |name| Party::pod(cluster.pod("shop", name).unwrap());
    let connection = Connection {
        client: pod(client),
        server: pod(server),
        port: 80,
        protocol: "TCP".parse().unwrap(),
    };
    evaluate(&policies, &cluster, engine, &connection).ingress
}

#[test]
fn whether_a_side_is_isolated_and_by_whom() {
    let loose = ingress_of(Engine::Cilium, CILIUM, "cart", "loose");
    assert!(!loose.isolated);
    assert!(!loose.tier.is_by_rule());
    let closed = ingress_of(Engine::Cilium, CILIUM, "cart", "closed");
    assert!(closed.isolated);
    assert!(closed.tier.is_by_rule());
    // A policy that isolates and is silent is named beside the one that admits; one that does not isolate is not.
    let world = format!(
        "{CILIUM}---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: z-opened, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: closed}}}}
  ingress: [{{fromEndpoints: [{{}}]}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: silent, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: closed}}}}
  enableDefaultDeny: {{ingress: false}}
  ingress: [{{fromEndpoints: [{{matchLabels: {{app: web}}}}]}}]
"
    );
    let opened = ingress_of(Engine::Cilium, &world, "cart", "closed");
    let named: Vec<(Option<Kind>, Option<&str>, Option<usize>)> = opened
        .reasons
        .iter()
        .map(|reason| (reason.kind(), reason.policy(), reason.rule()))
        .collect();
    let kind = Some(Kind::CiliumNetworkPolicy);
    assert_eq!(
        named,
        [
            (kind, Some("shop/z-opened"), Some(0)),
            (kind, Some("shop/closed"), None),
        ]
    );
    let nothing = ingress_of(Engine::Cilium, CILIUM, "redis", "cart");
    assert_eq!(nothing.reasons[0].kind(), None);
    assert_eq!(nothing.reasons[0].policy(), None);
    assert_eq!(nothing.reasons[0].rule(), None);
}
