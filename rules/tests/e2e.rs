//! The truth tables of the upstream end-to-end tests: namespaces x, y, z, pods a, b, c in each, ports 80 and 81 of TCP,
//! UDP and SCTP. Each test says in Rust, apart from the evaluator, which of the 486 connections are allowed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;

use flowaudit_rules::bulk::Bulk;
use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::{Connection, Engine, Party};
use flowaudit_rules::kubernetes::read;
use flowaudit_rules::policy_set::PolicySet;

/// One connection between two of the pods.
#[derive(Clone, Copy)]
struct Probe {
    /// Namespace and name of the client.
    from: (&'static str, &'static str),
    /// Namespace and name of the server.
    to: (&'static str, &'static str),
    port: u16,
    protocol: &'static str,
}

const NAMESPACES: [&str; 3] = ["x", "y", "z"];
const PODS: [&str; 3] = ["a", "b", "c"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const X_A: (&str, &str) = ("x", "a");

fn world() -> String {
    let mut text = String::new();
    for (n, namespace) in NAMESPACES.iter().enumerate() {
        let labels = format!("{{ns: {namespace}}}");
        writeln!(
            text,
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {labels}}}"
        )
        .unwrap();
        for (p, pod) in PODS.iter().enumerate() {
            let mut ports = String::new();
            for port in [80, 81] {
                for protocol in PROTOCOLS {
                    let name = protocol.to_lowercase();
                    write!(
                        ports,
                        "{{name: serve-{port}-{name}, containerPort: {port}, protocol: {protocol}}}, "
                    )
                    .unwrap();
                }
            }
            writeln!(
                text,
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: {namespace}, labels: {{pod: {pod}}}}}\n\
                 spec: {{containers: [{{ports: [{ports}]}}]}}\nstatus: {{podIP: 10.0.{n}.{p}}}"
            )
            .unwrap();
        }
    }
    text
}

/// Holds all connections under `policies` (name, namespace and spec) against `allowed`. A pod always reaches itself.
#[track_caller]
fn check(policies: &[(&str, &str)], allowed: impl Fn(Probe) -> bool) {
    let mut text = world();
    for (number, (namespace, spec)) in policies.iter().enumerate() {
        writeln!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
             metadata: {{name: p{number}, namespace: {namespace}}}\nspec: {{{spec}}}"
        )
        .unwrap();
    }
    let manifest = read("world.yaml", &text);
    assert_eq!(manifest.issues, []);
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    // Felix knows endPort and SCTP and compares addresses of pods, as these tests expect.
    let bulk = Bulk::new(&policies, &cluster, Engine::Felix);
    let pods = NAMESPACES.iter().flat_map(|n| PODS.map(|p| (*n, p)));
    let pods: Vec<_> = pods.collect();
    let mut wrong = Vec::new();
    let mut probes = 0;
    for &from in &pods {
        for &to in &pods {
            for port in [80, 81] {
                for protocol in PROTOCOLS {
                    let connection = Connection {
                        client: Party::pod(cluster.pod(from.0, from.1).unwrap()),
                        server: Party::pod(cluster.pod(to.0, to.1).unwrap()),
                        port,
                        protocol: protocol.parse().unwrap(),
                    };
                    let found = bulk.evaluate(&connection).outcome.to_string();
                    let is_allowed = from == to
                        || allowed(Probe {
                            from,
                            to,
                            port,
                            protocol,
                        });
                    let expected = if is_allowed { "allowed" } else { "denied" };
                    probes += 1;
                    if found != expected {
                        wrong.push(format!(
                            "{from:?} → {to:?} {protocol} {port}: {found}, not {expected}"
                        ));
                    }
                }
            }
        }
    }
    assert_eq!(probes, 486);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_policy() {
    check(&[], |_| true);
}

#[test]
fn deny_all_ingress_in_a_namespace() {
    check(&[("x", "podSelector: {}")], |p| p.to.0 != "x");
}

#[test]
fn deny_all_egress_in_a_namespace() {
    check(&[("x", "podSelector: {}, policyTypes: [Egress]")], |p| {
        p.from.0 != "x"
    });
}

#[test]
fn deny_both_in_a_namespace() {
    check(
        &[("x", "podSelector: {}, policyTypes: [Ingress, Egress]")],
        |p| p.to.0 != "x" && p.from.0 != "x",
    );
}

#[test]
fn deny_to_one_pod() {
    check(&[("x", "podSelector: {matchLabels: {pod: a}}")], |p| {
        p.to != X_A
    });
}

#[test]
fn pods_of_the_own_namespace() {
    let ingress = "ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{matchLabels: {{pod: a}}}}, {ingress}"),
        )],
        |p| p.to != X_A || p.from == ("x", "b"),
    );
}

#[test]
fn pods_by_expression() {
    let from = "[{podSelector: {matchExpressions: [{key: pod, operator: In, values: [b]}]}}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: {from}}}]"),
        )],
        |p| p.to != X_A || p.from == ("x", "b"),
    );
}

#[test]
fn namespaces_by_label() {
    let from = "[{namespaceSelector: {matchLabels: {ns: y}}}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: {from}}}]"),
        )],
        |p| p.to != X_A || p.from.0 == "y",
    );
}

#[test]
fn namespaces_by_expression() {
    let from =
        "[{namespaceSelector: {matchExpressions: [{key: ns, operator: NotIn, values: [x]}]}}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: {from}}}]"),
        )],
        |p| p.to != X_A || p.from.0 != "x",
    );
}

#[test]
fn namespaces_by_the_name_they_are_given() {
    let from = "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: z}}}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{}}, ingress: [{{from: {from}}}]"),
        )],
        |p| p.to.0 != "x" || p.from.0 == "z",
    );
}

#[test]
fn pod_or_namespace() {
    let from =
        "[{podSelector: {matchLabels: {pod: b}}}, {namespaceSelector: {matchLabels: {ns: y}}}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: {from}}}]"),
        )],
        |p| p.to != X_A || p.from == ("x", "b") || p.from.0 == "y",
    );
}

#[test]
fn pod_and_namespace() {
    let from =
        "[{podSelector: {matchLabels: {pod: b}}, namespaceSelector: {matchLabels: {ns: y}}}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: {from}}}]"),
        )],
        |p| p.to != X_A || p.from == ("y", "b"),
    );
}

#[test]
fn pods_of_several_namespaces() {
    let from = "[{podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a]}]}, \
                namespaceSelector: {matchExpressions: [{key: ns, operator: In, values: [y, z]}]}}]";
    check(
        &[(
            "x",
            &format!("podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: {from}}}]"),
        )],
        |p| p.to != X_A || (p.from.0 != "x" && p.from.1 != "a"),
    );
}

#[test]
fn any_namespace() {
    check(
        &[(
            "x",
            "podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {pod: c}}}]}]",
        )],
        |p| p.to.0 != "x" || p.from.1 == "c",
    );
}

#[test]
fn allow_all_ingress() {
    check(&[("x", "podSelector: {}, ingress: [{}]")], |_| true);
}

#[test]
fn one_port() {
    check(
        &[(
            "x",
            "podSelector: {matchLabels: {pod: a}}, ingress: [{ports: [{port: 81, protocol: TCP}]}]",
        )],
        |p| p.to != X_A || (p.port, p.protocol) == (81, "TCP"),
    );
}

#[test]
fn several_ports() {
    check(
        &[(
            "x",
            "podSelector: {}, ingress: [{ports: [{port: 80}, {port: 81, protocol: UDP}]}]",
        )],
        |p| p.to.0 != "x" || matches!((p.port, p.protocol), (80, "TCP") | (81, "UDP")),
    );
}

#[test]
fn a_port_of_one_namespace_and_another_of_the_next() {
    check(
        &[(
            "x",
            "podSelector: {matchLabels: {pod: a}}, ingress: [\
             {from: [{namespaceSelector: {matchLabels: {ns: y}}}], ports: [{port: 81}]}, \
             {from: [{namespaceSelector: {matchLabels: {ns: z}}}], ports: [{port: 80}]}]",
        )],
        |p| {
            p.to != X_A
                || matches!(
                    (p.from.0, p.port, p.protocol),
                    ("y", 81, "TCP") | ("z", 80, "TCP")
                )
        },
    );
}

#[test]
fn stacked_policies_add_up() {
    let policy = |ns: &str, port: u16| {
        format!(
            "podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{ns: {ns}}}}}}}], ports: [{{port: {port}}}]}}]"
        )
    };
    check(
        &[
            ("x", &policy("y", 81)),
            ("x", &policy("y", 80)),
            ("x", &policy("z", 80)),
        ],
        |p| {
            p.to != X_A
                || (p.protocol == "TCP" && (p.from.0 == "y" || (p.from.0 == "z" && p.port == 80)))
        },
    );
}

#[test]
fn a_named_port_of_the_server() {
    check(
        &[(
            "x",
            "podSelector: {matchLabels: {pod: a}}, ingress: [{ports: [{port: serve-81-tcp}]}]",
        )],
        |p| p.to != X_A || (p.port, p.protocol) == (81, "TCP"),
    );
    check(
        &[(
            "x",
            "podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{ports: [{port: serve-80-udp, protocol: UDP}]}]",
        )],
        |p| p.from != X_A || (p.port, p.protocol) == (80, "UDP"),
    );
}

#[test]
fn a_protocol_that_is_not_the_named_ports() {
    check(
        &[(
            "x",
            "podSelector: {matchLabels: {pod: a}}, ingress: [{ports: [{port: serve-80-udp, protocol: TCP}]}]",
        )],
        |p| p.to != X_A,
    );
}

#[test]
fn each_protocol_alone() {
    for protocol in PROTOCOLS {
        let ports = format!("ports: [{{protocol: {protocol}, port: 81}}]");
        check(
            &[(
                "x",
                &format!("podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{{ports}}}]"),
            )],
            |p| p.to != X_A || (p.port, p.protocol) == (81, protocol),
        );
        check(
            &[(
                "x",
                &format!("podSelector: {{}}, ingress: [{{ports: [{{protocol: {protocol}}}]}}]"),
            )],
            |p| p.to.0 != "x" || p.protocol == protocol,
        );
    }
}

#[test]
fn a_range_of_ports() {
    for (port, end_port) in [(80, 81), (81, 81), (79, 80), (81, 90), (1, 79), (82, 65535)] {
        check(
            &[(
                "x",
                &format!(
                    "podSelector: {{}}, policyTypes: [Egress], egress: [{{ports: [{{port: {port}, endPort: {end_port}}}]}}]"
                ),
            )],
            |p| p.from.0 != "x" || (p.protocol == "TCP" && (port..=end_port).contains(&p.port)),
        );
    }
}

#[test]
fn egress_to_pods_and_namespaces() {
    check(
        &[(
            "x",
            "podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {ns: y}}, podSelector: {matchLabels: {pod: a}}}]}]",
        )],
        |p| p.from != X_A || p.to == ("y", "a"),
    );
    check(
        &[(
            "x",
            "podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {pod: b}}}]}]",
        )],
        |p| p.from != X_A || p.to == ("x", "b"),
    );
}

#[test]
fn both_sides_must_allow() {
    let egress = "podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], \
                  egress: [{to: [{namespaceSelector: {matchLabels: {ns: y}}}]}]";
    let ingress = "podSelector: {matchLabels: {pod: b}}, \
                   ingress: [{from: [{namespaceSelector: {matchLabels: {ns: z}}}]}]";
    check(&[("x", egress), ("y", ingress)], |p| {
        (p.from != X_A || p.to.0 == "y") && (p.to != ("y", "b") || p.from.0 == "z")
    });
}

#[test]
fn egress_under_explicit_ingress_means_nothing() {
    let spec = "podSelector: {}, policyTypes: [Ingress], ingress: [{}], egress: []";
    check(&[("x", spec)], |_| true);
}

#[test]
fn rules_imply_their_type() {
    let to_y = "egress: [{to: [{namespaceSelector: {matchLabels: {ns: y}}}]}]";
    check(
        &[("x", &format!("podSelector: {{}}, {to_y}"))],
        // Without policyTypes Ingress is always there, Egress when there are rules.
        |p| p.to.0 != "x" && (p.from.0 != "x" || p.to.0 == "y"),
    );
}

#[test]
fn allowing_all_of_one_takes_the_place_of_denying_all() {
    let deny = "podSelector: {}, policyTypes: [Ingress, Egress]";
    let allow = "podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]";
    check(&[("x", deny), ("x", allow)], |p| {
        (p.to.0 != "x" || p.to == X_A) && (p.from.0 != "x" || p.from == X_A)
    });
}

#[test]
fn blocks_of_addresses() {
    // 10.0.0.x is namespace x, .1.x is y, .2.x is z; pods a, b, c are .0, .1, .2.
    let to = |peers: &str| {
        format!(
            "podSelector: {{matchLabels: {{pod: a}}}}, policyTypes: [Egress], egress: [{{to: {peers}}}]"
        )
    };
    check(&[("x", &to("[{ipBlock: {cidr: 10.0.2.1/32}}]"))], |p| {
        p.from != X_A || p.to == ("z", "b")
    });
    check(
        &[(
            "x",
            &to("[{ipBlock: {cidr: 10.0.2.0/24, except: [10.0.2.1/32]}}]"),
        )],
        |p| p.from != X_A || (p.to.0 == "z" && p.to.1 != "b"),
    );
    // An address in the exception of one block and inside another is allowed.
    check(
        &[
            (
                "x",
                &to("[{ipBlock: {cidr: 10.0.2.0/24, except: [10.0.2.1/32]}}]"),
            ),
            ("x", &to("[{ipBlock: {cidr: 10.0.2.1/32}}]")),
        ],
        |p| p.from != X_A || p.to.0 == "z",
    );
}
