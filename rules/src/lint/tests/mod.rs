//! Every lint: a manifest that triggers it, and near misses that do not.

mod together;

use super::*;
use crate::kubernetes::{read, read_with_places};

/// Checks `text`, with `context` around it.
fn report(text: &str, context: &str, engine: Engine) -> Report {
    let mut input = Input::default();
    let (manifest, places) = read_with_places("f.yaml", text);
    input.check(manifest, places);
    input.context(read("context.yaml", context));
    lint(&input, engine)
}

fn found(report: &Report) -> Vec<(&'static str, u32)> {
    report
        .findings
        .iter()
        .map(|f| (f.lint.id, f.line))
        .collect()
}

#[track_caller]
fn check_in(text: &str, context: &str, expected: &[(&str, u32)]) -> Report {
    let report = report(text, context, Engine::Unknown);
    assert_eq!(found(&report), expected, "{:#?}", report.findings);
    report
}

#[track_caller]
fn check(text: &str, expected: &[(&str, u32)]) -> Report {
    check_in(text, "", expected)
}

/// A policy of namespace shop; the line below `spec:` is line 5.
fn policy(spec: &str) -> String {
    named("p", spec)
}

fn named(name: &str, spec: &str) -> String {
    let spec = spec.trim_matches('\n');
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n{spec}\n"
    )
}

/// What runs: cart and redis in shop, prometheus in monitoring, CoreDNS.
const CLUSTER: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: monitoring, labels: {team: ops}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}
- {apiVersion: v1, kind: Namespace, metadata: {name: empty, labels: {team: none}}}
- apiVersion: v1
  kind: Pod
  metadata: {name: cart, namespace: shop, labels: {app: cart}}
  spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
  status: {podIP: 10.0.0.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: redis, namespace: shop, labels: {app: redis}}
  spec:
    containers: [{ports: [{name: redis, containerPort: 6379}, {name: gossip, containerPort: 7, protocol: UDP}]}]
    initContainers: [{ports: [{name: once, containerPort: 1}]}]
  status: {podIP: 10.0.0.2}
- apiVersion: v1
  kind: Pod
  metadata: {name: old, namespace: shop, labels: {app: old}}
  status: {phase: Succeeded, podIP: 10.0.0.9}
- apiVersion: v1
  kind: Pod
  metadata: {name: agent, namespace: shop, labels: {app: agent}}
  spec: {hostNetwork: true}
  status: {podIP: 192.168.0.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: prometheus, namespace: monitoring, labels: {app: prometheus}}
  status: {podIP: 10.0.1.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
  spec: {containers: [{ports: [{name: dns, containerPort: 53, protocol: UDP}, {name: dns-tcp, containerPort: 53}]}]}
  status: {podIP: 10.0.2.1}
";

#[test]
fn what_the_reader_says() {
    check("kind: [", &[("unreadable", 1)]);
    check("just: text\n", &[("unreadable", 1)]);
    check(
        &policy("  podSelector: {}\n  ingress:\n  - ports: [{port: 0}]"),
        &[("refused", 7)],
    );
    check(&policy("  podSelectr: {}"), &[("unknown-field", 5)]);
    check(
        &policy("  podSelector: {}\n  policyTypes: [Ingress]\n  egress: [{}]"),
        &[("section-without-effect", 7)],
    );
    check(
        &policy("  podSelector: {}\n  policyTypes: [Ingress]\n  egress: []"),
        &[],
    );
    let twice = format!(
        "{}---\n{}",
        policy("  podSelector: {}"),
        policy("  podSelector: {}")
    );
    check(&twice, &[("repeated-object", 7)]);
    // What is checked takes the place of what the cluster has.
    check_in(
        &policy("  podSelector: {}"),
        &policy("  podSelector: {}"),
        &[],
    );
    check(
        "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}\n",
        &[("not-evaluated", 2)],
    );
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nstatus:\n  podIP: nowhere\n",
        &[("odd-value", 5)],
    );
}

#[test]
fn kinds_that_ack_does_not_enforce() {
    let ids = |text: &str| -> Vec<&str> {
        let report = report(text, "", Engine::Unknown);
        report.findings.iter().map(|f| f.lint.id).collect()
    };
    let not_enforced = |group: &str, kind: &str, spec: &str| {
        let text =
            format!("apiVersion: {group}\nkind: {kind}\nmetadata: {{name: p}}\nspec: {spec}\n");
        ids(&text).contains(&"kind-not-enforced")
    };
    let (calico, cilium, api) = (
        "projectcalico.org/v3",
        "cilium.io/v2",
        "policy.networking.k8s.io",
    );
    assert!(not_enforced(calico, "GlobalNetworkPolicy", "{}"));
    assert!(not_enforced(
        "crd.projectcalico.org/v1",
        "NetworkPolicy",
        "{}"
    ));
    assert!(not_enforced(
        cilium,
        "CiliumNetworkPolicy",
        "{endpointSelector: {}, ingress: [{}]}"
    ));
    let subject = "subject: {namespaces: {}}";
    assert!(not_enforced(
        &format!("{api}/v1alpha1"),
        "AdminNetworkPolicy",
        &format!("{{priority: 1, {subject}}}")
    ));
    assert!(not_enforced(
        &format!("{api}/v1alpha2"),
        "ClusterNetworkPolicy",
        &format!("{{tier: Admin, priority: 1, {subject}}}")
    ));
    assert!(!not_enforced(
        "network.alibabacloud.com/v1beta2",
        "GlobalNetworkPolicy",
        "{}"
    ));
    assert!(!not_enforced("networking.k8s.io/v1", "NetworkPolicy", "{}"));
    assert!(!not_enforced(calico, "GlobalNetworkSet", "{}"));
}

#[test]
fn a_dash_too_many() {
    let split = "
  podSelector: {}
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {team: ops}}
    - podSelector: {matchLabels: {app: prometheus}}";
    let found = check(&policy(split), &[("and-became-or", 9)]);
    assert_eq!(found.findings[0].severity, Severity::High);
    assert_eq!(
        found.findings[0].message,
        "entries 0 and 1 are alternatives: all pods of namespaces `team=ops` match, and so do pods `app=prometheus` of \
         namespace shop; in one entry they would be pods `app=prometheus` of namespaces `team=ops`"
    );
    // The other way round; in egress; for all namespaces.
    check(
        &policy(
            "
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - ports: [{port: 53}, {port: 53, protocol: UDP}]
  - to:
    - podSelector: {matchLabels: {app: prometheus}}
    - namespaceSelector: {}",
        ),
        &[("shadowed-peer", 10), ("and-became-or", 11)],
    );
    // One entry; my own namespace or others; several of a sort; both whole.
    for from in [
        "{namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: a}}}",
        "{namespaceSelector: {matchLabels: {team: ops}}}, {podSelector: {}}",
        "{namespaceSelector: {matchLabels: {team: a}}}, {namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: a}}}",
        "{namespaceSelector: {matchLabels: {team: a}}}, {ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {matchLabels: {app: a}}}",
        "{podSelector: {matchLabels: {app: a}}}, {podSelector: {matchLabels: {app: b}}}",
    ] {
        check(
            &policy(&format!(
                "  podSelector: {{}}\n  ingress: [{{from: [{from}]}}]"
            )),
            &[],
        );
    }
    // Where the own namespace has such pods, both may be meant.
    let own = split.replace("prometheus", "redis");
    let found = check_in(&policy(&own), CLUSTER, &[("and-became-or", 9)]);
    assert_eq!(found.findings[0].severity, Severity::Medium);
    let found = check_in(
        &policy(split),
        CLUSTER,
        &[("and-became-or", 9), ("peer-selects-no-pod", 9)],
    );
    assert!(
        found.findings[0]
            .message
            .ends_with("; namespace shop has no such pods")
    );
}

#[test]
fn selectors_that_contradict_themselves() {
    let selector =
        "{matchLabels: {app: a}, matchExpressions: [{key: app, operator: NotIn, values: [a]}]}";
    check(
        &policy(&format!("  podSelector: {selector}")),
        &[("selector-contradicts-itself", 5)],
    );
    check(
        &policy(&format!(
            "  podSelector: {{}}\n  ingress:\n  - from:\n    - podSelector: {{}}\n    - namespaceSelector: {selector}"
        )),
        &[("selector-contradicts-itself", 9)],
    );
    check(
        &policy(&format!(
            "  podSelector: {}",
            selector.replace("NotIn", "In")
        )),
        &[],
    );
}

#[test]
fn policies_that_select_nothing() {
    let select = |app: &str| policy(&format!("  podSelector:\n    matchLabels: {{app: {app}}}"));
    let found = check_in(&select("reddis"), CLUSTER, &[("policy-selects-no-pod", 5)]);
    assert_eq!(
        found.findings[0].message,
        "no pod of namespace shop has `app=reddis`; values of `app` there: `agent`, `cart` and `redis`"
    );
    check_in(&select("redis"), CLUSTER, &[]);
    // A finished pod is none; one of the host network is not isolated.
    check_in(&select("old"), CLUSTER, &[("policy-selects-no-pod", 5)]);
    check_in(&select("agent"), CLUSTER, &[("policy-selects-no-pod", 5)]);
    // A default for a namespace that is still empty.
    let empty = policy("  podSelector: {}").replace("namespace: shop", "namespace: empty");
    check_in(&empty, CLUSTER, &[]);
    // Nothing is known of pods.
    let report = check(&select("reddis"), &[]);
    assert!(
        report.not_checked[0]
            .lints
            .contains(&"policy-selects-no-pod")
    );
    assert_eq!(report.not_checked[0].because, "no pods are among the input");
}

#[test]
fn peers_that_select_nothing() {
    let from = |peer: &str| {
        policy(&format!(
            "  podSelector: {{}}\n  ingress:\n  - from:\n    - {peer}"
        ))
    };
    let found = check_in(
        &from("podSelector: {matchLabels: {app: prometheus}}"),
        CLUSTER,
        &[("peer-selects-no-pod", 8)],
    );
    assert_eq!(
        found.findings[0].message,
        "selects nothing: there are no pods `app=prometheus` of namespace shop; values of `app` there: `agent`, `cart` and `redis`"
    );
    check_in(
        &from("podSelector: {matchLabels: {app: cart}}"),
        CLUSTER,
        &[],
    );
    check_in(
        &from(
            "{namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: cart}}}",
        ),
        CLUSTER,
        &[("peer-selects-no-pod", 8)],
    );
    check_in(
        &from(
            "{namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: prometheus}}}",
        ),
        CLUSTER,
        &[],
    );
    check_in(
        &from("namespaceSelector: {matchLabels: {team: none}}"),
        CLUSTER,
        &[("peer-selects-no-pod", 8)],
    );
    check_in(
        &from("podSelector: {matchLabels: {app: agent}}"),
        CLUSTER,
        &[("peer-selects-no-pod", 8)],
    );
    check_in(
        &from("namespaceSelector: {matchLabels: {team: opps}}"),
        CLUSTER,
        &[("namespace-selector-matches-nothing", 8)],
    );
    check_in(
        &from("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}"),
        CLUSTER,
        &[],
    );
    // Labels of namespaces that are not among the input may be anything.
    let pods_only = "apiVersion: v1\nkind: Pod\nmetadata: {name: cart, namespace: shop}\n";
    check_in(
        &from("namespaceSelector: {matchLabels: {team: opps}}"),
        pods_only,
        &[],
    );
}

#[test]
fn port_names_that_no_pod_has() {
    let to_redis = |port: &str| {
        policy(&format!(
            "  podSelector: {{matchLabels: {{app: redis}}}}\n  ingress:\n  - ports:\n    - {port}"
        ))
    };
    let found = check_in(
        &to_redis("port: http"),
        CLUSTER,
        &[("port-name-unknown", 8)],
    );
    assert_eq!(
        found.findings[0].message,
        "no receiving pod declares a TCP port `http`; their TCP ports are `once` (1) and `redis` (6379)"
    );
    check_in(&to_redis("port: redis"), CLUSTER, &[]);
    check_in(&to_redis("port: 8080"), CLUSTER, &[]);
    let found = check_in(
        &to_redis("port: gossip"),
        CLUSTER,
        &[("port-name-unknown", 8)],
    );
    assert_eq!(
        found.findings[0].message,
        "no receiving pod declares a TCP port `gossip`; `gossip` is UDP 7 there"
    );
    check_in(&to_redis("{port: gossip, protocol: UDP}"), CLUSTER, &[]);
    let found = check_in(
        &to_redis("port: once"),
        CLUSTER,
        &[("port-name-unknown", 8)],
    );
    assert_eq!(found.findings[0].severity, Severity::Low);
    // In egress it is the peer's port that counts.
    let from_cart = |port: &str| {
        policy(&format!(
            "
  podSelector: {{matchLabels: {{app: cart}}}}
  policyTypes: [Egress]
  egress:
  - to: [{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{k8s-app: kube-dns}}}}}}]
    ports: [{{port: 53, protocol: UDP}}, {{port: 53}}]
  - to: [{{podSelector: {{matchLabels: {{app: redis}}}}}}]
    ports: [{{port: {port}}}]"
        ))
    };
    check_in(&from_cart("http"), CLUSTER, &[("port-name-unknown", 11)]);
    check_in(&from_cart("redis"), CLUSTER, &[]);
}

#[test]
fn blocks_that_admit_nobody_or_depend_on_the_engine() {
    let block = |block: &str| {
        policy(&format!(
            "  podSelector: {{}}\n  ingress:\n  - from:\n    - ipBlock: {block}"
        ))
    };
    check(
        &block("{cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.128.0.0/10, 10.192.0.0/10]}"),
        &[("except-covers-block", 8)],
    );
    check(
        &block("{cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.128.0.0/10]}"),
        &[],
    );

    let inside = block("{cidr: 10.0.0.0/16}");
    let found = check_in(&inside, CLUSTER, &[("block-covers-pods", 8)]);
    assert_eq!(
        found.findings[0].message,
        "10.0.0.0/16 covers addresses of pods, such as 10.0.0.1 of shop/cart; Felix admits them, Cilium does not"
    );
    assert_eq!(found.findings[0].severity, Severity::Medium);
    let found = check_in(
        &block("{cidr: 0.0.0.0/0}"),
        CLUSTER,
        &[("block-covers-pods", 8)],
    );
    assert_eq!(found.findings[0].severity, Severity::Low);
    // Excepted; a node's, a finished pod's; outside; settled.
    for none in [
        "{cidr: 10.0.0.0/8, except: [10.0.0.0/16, 10.0.0.0/14]}",
        "{cidr: 192.168.0.0/16}",
        "{cidr: 10.0.0.9/32}",
        "{cidr: 198.51.100.0/24}",
        "{cidr: 2001:db8::/32}",
    ] {
        check_in(&block(none), CLUSTER, &[]);
    }
    assert_eq!(found_with(&inside, Engine::Felix), []);
    assert_eq!(
        found_with(&inside, Engine::Cilium),
        [("block-covers-pods", 8)]
    );
}

fn found_with(text: &str, engine: Engine) -> Vec<(&'static str, u32)> {
    found(&report(text, CLUSTER, engine))
}

#[test]
fn what_is_not_checked_is_said() {
    let said = |context: &str| -> Vec<&'static str> {
        let report = report(&policy("  podSelector: {}"), context, Engine::Unknown);
        report.not_checked.iter().map(|not| not.because).collect()
    };
    let (pods, namespaces) = (
        "no pods are among the input",
        "no namespaces are among the input",
    );
    assert_eq!(said(""), [pods, namespaces]);
    assert_eq!(
        said("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"),
        [namespaces]
    );
    assert_eq!(said(CLUSTER), [""; 0]);
}

#[test]
fn every_lint_says_what_it_must() {
    let mut ids: Vec<&str> = LINTS.iter().map(|lint| lint.id).collect();
    for lint in LINTS {
        let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(lint.id.chars().all(is_word), "{}", lint.id);
        for text in [lint.finds, lint.matters, lint.wrong, lint.fix] {
            assert!(text.ends_with('.'), "{}: `{text}` is a sentence", lint.id);
            assert!(
                !text.contains('|'),
                "{}: keeps the page's table whole",
                lint.id
            );
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), LINTS.len());
}
