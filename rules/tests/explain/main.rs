//! What a person reads when they ask why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::kubernetes::read;
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::explain;

mod sides;

const WORLD: &str = r#"
kind: NamespaceList
apiVersion: v1
items:
- metadata: {name: shop}
- metadata: {name: dev, labels: {stage: dev}}
---
kind: PodList
apiVersion: v1
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart, version: v7}}
  spec: {nodeName: n1}
  status: {podIP: 10.0.0.1, hostIP: 192.168.0.1}
- metadata: {name: redis, namespace: shop, labels: {app: redis}}
  spec: {nodeName: n1}
  status: {podIP: 10.0.0.2, hostIP: 192.168.0.1}
- metadata: {name: job, namespace: dev}
  status: {podIP: 10.0.1.1}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  podSelector: {matchLabels: {app: redis}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: checkout}}}]
    ports: [{port: 6379}]
  - from:
    - namespaceSelector: {matchLabels: {stage: prod}}
      podSelector: {matchExpressions: [{key: app, operator: Exists}]}
    - ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.1/32]}
    ports: [{port: 1, endPort: 9, protocol: UDP}]
"#;

#[track_caller]
fn check(client: &str, server: &str, port: u16, protocol: &str, expected: &str) {
    check_in(WORLD, client, server, port, protocol, expected);
}

#[track_caller]
fn check_in(world: &str, client: &str, server: &str, port: u16, protocol: &str, expected: &str) {
    check_as(
        Engine::Unknown,
        world,
        client,
        server,
        port,
        protocol,
        expected,
    );
}

#[track_caller]
fn check_as(
    engine: Engine,
    world: &str,
    client: &str,
    server: &str,
    port: u16,
    protocol: &str,
    expected: &str,
) {
    let manifest = read("world.yaml", world);
    assert_eq!(manifest.issues, []);
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let party = |text: &str| match text.split_once('/') {
        Some((namespace, name)) => Party::pod(cluster.pod(namespace, name).unwrap()),
        None => {
            let address = text.parse().unwrap();
            Party {
                address: Some(address),
                holder: cluster.holders(address)[0],
            }
        }
    };
    let connection = Connection {
        client: party(client),
        server: party(server),
        port,
        protocol: protocol.parse().unwrap(),
    };
    let verdict = evaluate(&policies, &cluster, engine, &connection);
    assert_eq!(
        explain(&verdict, &connection),
        expected.trim_start_matches('\n')
    );
}

#[test]
fn the_rule_whose_ports_match_says_what_the_client_has_instead() {
    check("shop/cart", "shop/redis", 6379, "TCP", "
denied   shop/cart → shop/redis  TCP 6379
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   NetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app=checkout of namespace shop, the client has app=cart
");
    check("dev/job", "shop/redis", 1, "UDP", "
denied   dev/job → shop/redis  UDP 1
  egress   allowed  no policy isolates dev/job for egress
  ingress  denied   NetworkPolicy shop/redis selects shop/redis; its ingress rule 1 admits only pods app of namespaces stage=prod or 10.0.0.0/24 except 10.0.0.1/32, the client has no app and is in namespace dev with stage=dev and has the address 10.0.1.1
");
    check("198.51.100.7", "shop/redis", 1, "UDP", "
denied   198.51.100.7 → shop/redis  UDP 1
  egress   allowed  198.51.100.7 is no pod, so no policy selects it
  ingress  denied   NetworkPolicy shop/redis selects shop/redis; its ingress rule 1 admits only pods app of namespaces stage=prod or 10.0.0.0/24 except 10.0.0.1/32, the client is 198.51.100.7
");
}

#[test]
fn the_own_node() {
    check(
        "192.168.0.1",
        "shop/redis",
        22,
        "TCP",
        "
allowed  node n1 → shop/redis  TCP 22
  egress   allowed  node n1 is no pod, so no policy selects it
  ingress  allowed  shop/redis runs on node n1, and a pod's own node always reaches it
",
    );
}

#[test]
fn what_it_depends_on_and_the_answer_by_default() {
    check("10.0.0.9", "shop/redis", 5, "UDP", "
unspecified 10.0.0.9 → shop/redis  UDP 5
  egress   allowed     10.0.0.9 is no pod, so no policy selects it
  ingress  unspecified NetworkPolicy shop/redis ingress rule 1 admits pods app of namespaces stage=prod or 10.0.0.0/24 except 10.0.0.1/32 on UDP 1-9
  depends  an engine that does not know endPort takes only the first port
  by default allowed
");
}

const CALICO: &str = r#"
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 100}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: office, labels: {role: trusted}}
spec: {nets: [198.51.100.0/24]}
---
apiVersion: v1
kind: ServiceAccountList
items:
- metadata: {name: default, namespace: shop}
- metadata: {name: default, namespace: dev}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: security.gate}
spec:
  tier: security
  selector: app == 'redis'
  ingress:
  - {action: Deny, source: {nets: [203.0.113.0/24]}}
  - {action: Deny, source: {namespaceSelector: stage == 'dev'}}
  - {action: Allow, protocol: TCP, source: {selector: role == 'trusted', namespaceSelector: global()}, destination: {ports: [22]}}
  - {action: Pass, protocol: TCP, source: {notSelector: has(version)}}
  - {action: Pass, protocol: UDP}
  - {action: Pass, protocol: SCTP}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  selector: app == 'redis'
  ingress:
  - {action: Allow, protocol: UDP, source: {selector: "app in {'checkout', 'billing'}", notNets: [10.0.0.9/32]}}
  - {action: Allow, protocol: SCTP, source: {serviceAccounts: {names: [batch], selector: role == 'back'}}}
"#;

/// The pods of [`WORLD`] with Calico's policies instead of the NetworkPolicy.
#[track_caller]
fn check_calico(client: &str, port: u16, protocol: &str, expected: &str) {
    let (pods, _) = WORLD.split_once("---\napiVersion: networking").unwrap();
    let world = format!("{pods}---{CALICO}");
    check_in(&world, client, "shop/redis", port, protocol, expected);
}

#[test]
fn tiers_of_calico() {
    check_calico("203.0.113.7", 22, "TCP", "
denied   203.0.113.7 → shop/redis  TCP 22
  egress   allowed  203.0.113.7 is no pod, so no policy selects it
  ingress  denied   Calico GlobalNetworkPolicy security.gate of tier security ingress rule 0 denies 203.0.113.0/24
");
    check_calico("dev/job", 22, "TCP", "
denied   dev/job → shop/redis  TCP 22
  egress   allowed  no policy isolates dev/job for egress
  ingress  denied   Calico GlobalNetworkPolicy security.gate of tier security ingress rule 1 denies pods of namespaces stage == 'dev'
");
    check_calico("198.51.100.7", 22, "TCP", "
allowed  198.51.100.7 → shop/redis  TCP 22
  egress   allowed  198.51.100.7 is no pod, so no policy selects it
  ingress  allowed  Calico GlobalNetworkPolicy security.gate of tier security ingress rule 2 admits GlobalNetworkSet office on TCP 22
");
    check_calico("shop/cart", 22, "TCP", "
denied   shop/cart → shop/redis  TCP 22
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   Calico GlobalNetworkPolicy security.gate of tier security selects shop/redis; its ingress rule 2 admits only GlobalNetworkSet office, the client has the address 10.0.0.1
");
}

#[test]
fn what_a_tier_of_calico_passes_on() {
    check_calico("198.51.100.7", 23, "TCP", "
denied   198.51.100.7 → shop/redis  TCP 23
  egress   allowed  198.51.100.7 is no pod, so no policy selects it
  ingress  denied   Calico GlobalNetworkPolicy security.gate of tier security ingress rule 3 leaves everyone but pods has(version) of any namespace on any TCP port to the next tier
                    Calico NetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app in {'billing', 'checkout'} of namespace shop but not 10.0.0.9/32 on any UDP port
");
    check_calico("shop/cart", 9, "UDP", "
denied   shop/cart → shop/redis  UDP 9
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   Calico GlobalNetworkPolicy security.gate of tier security ingress rule 4 leaves everyone on any UDP port to the next tier
                    Calico NetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app in {'billing', 'checkout'} of namespace shop but not 10.0.0.9/32, the client has app=cart and has the address 10.0.0.1
");
}

#[test]
fn service_accounts_of_calico() {
    check_calico("shop/cart", 9, "SCTP", "
denied   shop/cart → shop/redis  SCTP 9
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   Calico GlobalNetworkPolicy security.gate of tier security ingress rule 5 leaves everyone on any SCTP port to the next tier
                    Calico NetworkPolicy shop/redis selects shop/redis; its ingress rule 1 admits only pods with service account batch whose service account has role == 'back' of namespace shop, the client uses service account default
");
}

const TIERS: &str = r#"
kind: NodeList
apiVersion: v1
items:
- metadata: {name: n1, labels: {k8s.aliyun.com/exclusive-mode-eni-type: eniOnly}}
---
kind: PodList
apiVersion: v1
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  status: {podIP: 10.0.0.1}
- metadata: {name: redis, namespace: shop, labels: {app: redis}}
  status: {podIP: 10.0.0.2}
- metadata: {name: bare, namespace: shop, labels: {app: redis}}
  spec: {nodeName: n1}
  status: {podIP: 10.0.0.3}
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: guard}
spec:
  priority: 10
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: redis}}}}
  ingress:
  - action: Pass
    from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: shop}}}]
    ports: [{portRange: {start: 6379, end: 6380}}]
  - {action: Allow, from: [{namespaces: {}}], ports: [{namedPort: metrics}, {portNumber: {port: 81}}]}
  - {action: Deny, from: [{namespaces: {}}]}
  egress:
  - {action: Allow, to: [{domainNames: ["*.example.com"]}]}
  - {action: Deny, to: [{nodes: {matchLabels: {pool: a}}}, {networks: [198.51.100.0/24]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  podSelector: {matchLabels: {app: redis}}
  ingress: [{from: [{podSelector: {matchLabels: {app: checkout}}}]}]
"#;

#[test]
fn what_left_it_to_the_next_tier_and_what_decided_there() {
    check_in(TIERS, "shop/cart", "shop/redis", 6380, "TCP", "
denied   shop/cart → shop/redis  TCP 6380
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   AdminNetworkPolicy guard ingress rule 0 leaves pods of namespaces kubernetes.io/metadata.name=shop on TCP 6379-6380 to the next tier
                    NetworkPolicy shop/redis selects shop/redis; its ingress rule 0 admits only pods app=checkout of namespace shop, the client has app=cart
");
}

#[test]
fn rules_that_allow_and_deny_before_network_policy() {
    check_in(TIERS, "shop/cart", "shop/redis", 81, "TCP", "
allowed  shop/cart → shop/redis  TCP 81
  egress   allowed  no policy isolates shop/cart for egress
  ingress  allowed  AdminNetworkPolicy guard ingress rule 1 admits pods of any namespace on port `metrics` or TCP 81
");
    check_in(
        TIERS,
        "shop/cart",
        "shop/redis",
        82,
        "TCP",
        "
denied   shop/cart → shop/redis  TCP 82
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   AdminNetworkPolicy guard ingress rule 2 denies pods of any namespace
",
    );
    check_in(
        TIERS,
        "shop/redis",
        "198.51.100.7",
        443,
        "TCP",
        "
unspecified shop/redis → 198.51.100.7  TCP 443
  egress   unspecified AdminNetworkPolicy guard egress rule 1 denies nodes pool=a or 198.51.100.0/24
  ingress  allowed     198.51.100.7 is no pod, so no policy selects it
  depends  a rule speaks of a domain name, and it is not known which addresses it has
  by default denied
",
    );
}

#[test]
fn what_nothing_enforces() {
    check_in(TIERS, "shop/cart", "shop/bare", 82, "TCP", "
denied   shop/cart → shop/bare  TCP 82
  egress   allowed  no policy isolates shop/cart for egress
  ingress  denied   AdminNetworkPolicy guard ingress rule 2 denies pods of any namespace
                    shop/bare runs on node n1, whose pods have ENIs of their own, so nothing enforces this
");
}
