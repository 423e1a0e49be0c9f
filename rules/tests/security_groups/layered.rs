//! Both layers of one connection beside each other.

use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::kubernetes;
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::security_group::{LayeredVerdict, SecurityVerdict};
use flowaudit_rules::verdict::{self, Outcome};

use crate::worlds::{judge, world};
use crate::{basic, enterprise};

const SHOP: &str = "
apiVersion: v1
kind: PodList
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  status: {podIP: 10.0.0.1}
- metadata: {name: redis, namespace: shop, labels: {app: redis}}
  status: {podIP: 10.0.0.2}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  podSelector: {matchLabels: {app: redis}}
  ingress: [{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 6379}]}]
";

/// What policies and these groups say about cart → redis on a port.
fn layered(
    port: u16,
    groups: impl FnOnce(u16) -> Option<SecurityVerdict>,
) -> (LayeredVerdict, String, String) {
    let manifest = kubernetes::read("shop.yaml", SHOP);
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let connection = Connection {
        client: Party::pod(cluster.pod("shop", "cart").unwrap()),
        server: Party::pod(cluster.pod("shop", "redis").unwrap()),
        port,
        protocol: "TCP".parse().unwrap(),
    };
    let policy = evaluate(&policies, &cluster, Engine::Felix, &connection);
    let alone = verdict::explain(&policy, &connection);
    let layered = LayeredVerdict {
        policy,
        security_groups: groups(port),
    };
    let explained = layered.explain(&connection);
    (layered, explained, alone)
}

#[test]
fn denied_by_either_layer() {
    let groups = [
        basic("sg-open", &["ingress Accept 1 TCP 6379/6380 0.0.0.0/0"]),
        basic("sg-shut", &[]),
        enterprise("sg-e", &["ingress Accept 1 TCP 6379/6379 pl-missing"]),
    ];
    let world = world(&groups);
    let say = |server: &'static str| {
        let world = &world;
        move |port: u16| {
            Some(judge(
                world,
                "10.0.0.1@sg-open",
                server,
                &format!("TCP {port}"),
            ))
        }
    };
    let outcome = |port, server| layered(port, say(server)).0.outcome();
    assert_eq!(outcome(6379, "10.0.0.2@sg-open"), Outcome::Allowed);
    assert_eq!(outcome(6380, "10.0.0.2@sg-open"), Outcome::Denied);
    assert_eq!(outcome(6379, "10.0.0.2@sg-shut"), Outcome::Denied);
    assert_eq!(outcome(6379, "10.0.0.2@sg-e"), Outcome::Unspecified);
    assert_eq!(outcome(6380, "10.0.0.2@sg-e"), Outcome::Denied);
    assert_eq!(outcome(6380, "10.0.0.2@?"), Outcome::Denied);
    assert_eq!(outcome(6379, "10.0.0.2@?"), Outcome::Unspecified);

    let (_, explained, alone) = layered(6379, say("10.0.0.2@sg-shut"));
    let expected = format!(
        "{alone}\
denied   by security groups
  egress   allowed  no egress rule of security group sg-open matches, and a basic group lets out what no rule drops
  ingress  denied   no ingress rule of security group sg-shut matches, and what no rule accepts does not come in
"
    );
    assert_eq!(explained, expected);
}

#[test]
fn without_security_groups_nothing_changes() {
    for port in [6379, 6380] {
        let (layered, explained, alone) = layered(port, |_| None);
        assert_eq!(explained, alone);
        assert_eq!(layered.outcome(), layered.policy.outcome);
    }
}

#[test]
fn a_verdict_as_json_names_group_and_rule() {
    let world = world(&[basic("sg-a", &["ingress Accept 3 TCP 80/80 0.0.0.0/0"])]);
    let verdict = judge(&world, "203.0.113.7", "10.0.0.2@sg-a", "TCP 80");
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "outcome": "allowed",
            "egress": {
                "outcome": "allowed",
                "reasons": [{"reason": "no-interface", "party": "203.0.113.7"}],
            },
            "ingress": {
                "outcome": "allowed",
                "reasons": [{
                    "reason": "rule", "group": "sg-a", "rule": "sgr-0", "index": 0, "direction": "ingress",
                    "priority": 3, "action": "Accept", "matches": "TCP port 80 from 0.0.0.0/0",
                }],
            },
        })
    );
}
