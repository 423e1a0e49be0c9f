//! The fixed format for other programs, byte by byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use flowaudit_rules::bulk::{Bulk, ProbeError};
use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::Engine;
use flowaudit_rules::kubernetes::read;
use flowaudit_rules::policy_set::PolicySet;

const WORLD: &str = r#"
kind: PodList
apiVersion: v1
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  status: {podIPs: [{ip: 10.0.0.1}, {ip: "2001:db8::1"}]}
- metadata: {name: checkout, namespace: shop, labels: {app: checkout}}
  status: {podIPs: [{ip: "2001:db8::3"}]}
- metadata: {name: redis-0, namespace: shop, labels: {app: redis}}
  status: {podIPs: [{ip: "2001:db8::2"}, {ip: 10.0.0.2}]}
- metadata: {name: twin-a, namespace: shop, labels: {app: twin}}
  status: {podIP: 10.0.0.9}
- metadata: {name: twin-b, namespace: shop, labels: {app: redis}}
  status: {podIP: 10.0.0.9}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  podSelector: {matchLabels: {app: redis}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: checkout}}}]
    ports: [{port: 6379}]
  - from: [{ipBlock: {cidr: "2001:db8::/64"}}]
    ports: [{port: 1}]
"#;

#[track_caller]
fn check(probe: &str, expected: &str) -> Result<(), ProbeError> {
    let manifest = read("world.yaml", WORLD);
    assert_eq!(manifest.issues, []);
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let mut answers = String::from("before\n");
    let bulk = Bulk::new(&policies, &cluster, Engine::Unknown);
    let answered = bulk.answer(probe, &mut answers);
    assert_eq!(answers.strip_prefix("before\n"), Some(expected));
    let mut session = bulk.session();
    for _ in 0..2 {
        answers.truncate("before\n".len());
        assert_eq!(session.answer(probe, &mut answers), answered);
        assert_eq!(answers.strip_prefix("before\n"), Some(expected));
    }
    answered
}

#[test]
fn allowed() {
    check(
        r#"{"src":"shop/checkout","dst":"shop/redis-0","port":6379,"protocol":"TCP"}"#,
        r#"{"src":"shop/checkout","dst":"shop/redis-0","port":6379,"protocol":"TCP","verdict":"allowed","unspecified":[],"default_reading":"allowed","egress":{"verdict":"allowed","tier":"default","reasons":["no policy isolates shop/checkout for egress"]},"ingress":{"verdict":"allowed","tier":"policy","reasons":["NetworkPolicy shop/redis ingress rule 0 admits pods app=checkout of namespace shop on TCP 6379"]}}"#,
    )
    .unwrap();
}

#[test]
fn denied_with_the_rule_that_comes_nearest() {
    check(
        r#"{"src":"shop/cart","dst":"shop/redis-0","port":6379,"protocol":"TCP"}"#,
        r#"{"src":"shop/cart","dst":"shop/redis-0","port":6379,"protocol":"TCP","verdict":"denied","unspecified":[],"default_reading":"denied","egress":{"verdict":"allowed","tier":"default","reasons":["no policy isolates shop/cart for egress"]},"ingress":{"verdict":"denied","tier":"policy","reasons":["NetworkPolicy shop/redis selects shop/redis-0; its ingress rule 0 admits only pods app=checkout of namespace shop, the client has app=cart"]}}"#,
    )
    .unwrap();
    let near = r#"its ingress rule 0 admits only TCP 6379, the connection uses UDP 53"#;
    check(
        r#"{"src":"shop/checkout","dst":"shop/redis-0","port":53,"protocol":"UDP"}"#,
        &format!(
            r#"{{"src":"shop/checkout","dst":"shop/redis-0","port":53,"protocol":"UDP","verdict":"denied","unspecified":[],"default_reading":"denied","egress":{{"verdict":"allowed","tier":"default","reasons":["no policy isolates shop/checkout for egress"]}},"ingress":{{"verdict":"denied","tier":"policy","reasons":["NetworkPolicy shop/redis selects shop/redis-0; {near}"]}}}}"#
        ),
    )
    .unwrap();
}

#[test]
fn unspecified_and_the_family_both_share() {
    // The client's first family is IPv4, which both have: then the IPv6 block does not match.
    let probe = r#"{"src":"shop/cart","dst":"shop/redis-0","port":1,"protocol":"TCP"}"#;
    let denied = r#""verdict":"denied","unspecified":[],"default_reading":"denied""#;
    // Nothing but IPv6 is shared with checkout: then it does, where blocks match pods.
    let other = r#"{"src":"shop/checkout","dst":"shop/redis-0","port":1,"protocol":"TCP"}"#;
    let open =
        r#""verdict":"unspecified","unspecified":["ip-block-on-pod"],"default_reading":"allowed""#;
    // An address stays the address it is.
    let address = r#"{"src":"2001:db8::1","dst":"shop/redis-0","port":1,"protocol":"TCP"}"#;
    for (probe, expected) in [(probe, denied), (other, open), (address, open)] {
        let answer = answer(probe);
        assert!(answer.contains(expected), "{answer}");
    }
}

fn answer(probe: &str) -> String {
    let manifest = read("world.yaml", WORLD);
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let mut answers = String::new();
    Bulk::new(&policies, &cluster, Engine::Unknown)
        .answer(probe, &mut answers)
        .unwrap();
    answers
}

#[test]
fn two_pods_on_one_address_are_not_guessed() {
    let answer = answer(r#"{"src":"shop/cart","dst":"10.0.0.9","port":6379,"protocol":"TCP"}"#);
    assert!(
        answer.contains(r#""verdict":"unspecified","unspecified":["shared-address"]"#),
        "{answer}"
    );
}

/// Rules that cannot be evaluated, far more than can be tried one by one: the answer is honest all the same.
#[test]
fn thousands_of_rules_that_cannot_be_evaluated() {
    let rules = "{from: [{moons: 1}]}, ".repeat(5_000);
    let policy = format!(
        "apiVersion: network.alibabacloud.com/v1beta2\nkind: GlobalNetworkPolicy\nmetadata: {{name: many}}\nspec: {{ingress: [{rules}]}}\n"
    );
    let manifest = read("world.yaml", &format!("{WORLD}---\n{policy}"));
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let bulk = Bulk::new(&policies, &cluster, Engine::Felix);
    let mut answers = String::new();
    let probe = r#"{"src":"shop/cart","dst":"shop/checkout","port":1,"protocol":"TCP"}"#;
    bulk.answer(probe, &mut answers).unwrap();
    let expected =
        r#""verdict":"unspecified","unspecified":["not-evaluated"],"default_reading":"denied""#;
    assert!(answers.contains(expected), "{answers}");
}

#[test]
fn the_probe_is_repeated_as_it_was_written() {
    let reply = answer(r#"{"protocol":"icmp","src":"198.51.100.7","dst":"::ffff:198.51.100.8"}"#);
    let expected = r#"{"src":"198.51.100.7","dst":"::ffff:198.51.100.8","port":0,"protocol":"icmp","verdict":"allowed""#;
    assert!(reply.starts_with(expected), "{reply}");
    let reply = answer(r#"{"src":"1.1.1.1","dst":"1.1.1.2","port":5,"protocol":17,"id":9}"#);
    assert!(
        reply.starts_with(r#"{"src":"1.1.1.1","dst":"1.1.1.2","port":5,"protocol":17,"#),
        "{reply}"
    );
    let reply = answer(r#"{"src":"1.1.1.1","dst":"1.1.1.2","port":5}"#);
    assert!(reply.contains(r#""protocol":"TCP""#), "{reply}");
}

#[test]
fn lines_that_are_no_probe_keep_their_place() {
    for (probe, message) in [
        (
            "",
            "not a probe: EOF while parsing a value at line 1 column 0",
        ),
        ("{}", "not a probe: missing field `src` at line 1 column 2"),
        (
            r#"{"src":"a/b","dst":"1.1.1.1","port":1}"#,
            "there is no pod `a/b` in the inventory",
        ),
        (
            r#"{"src":"a","dst":"1.1.1.1","port":1}"#,
            "`a` is neither `namespace/pod` nor an address",
        ),
        (
            r#"{"src":"1.1.1.1","dst":"1.1.1.1"}"#,
            "a probe of TCP needs a port",
        ),
        (
            r#"{"src":"1.1.1.1","dst":"1.1.1.1","port":1,"protocol":"FTP"}"#,
            "`FTP` is not an IP protocol",
        ),
        (
            r#"{"src":"1.1.1.1","dst":"1.1.1.1","port":1,"protocol":256}"#,
            "`256` is not an IP protocol",
        ),
    ] {
        let error = check(
            probe,
            &format!("{{\"error\":{}}}", serde_json::to_string(message).unwrap()),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.help().is_some());
    }
    let port = r#"{"src":"1.1.1.1","dst":"1.1.1.1","port":65536}"#;
    assert!(matches!(
        check_only(port),
        Err(ProbeError::NotAProbe { .. })
    ));
}

fn check_only(probe: &str) -> Result<(), ProbeError> {
    let (cluster, policies) = (Cluster::default(), PolicySet::default());
    Bulk::new(&policies, &cluster, Engine::Felix).answer(probe, &mut String::new())
}
