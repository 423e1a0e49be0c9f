//! What the API server and Cilium would and would not accept, and that what is accepted prints and reads back.

use super::*;
use crate::cluster::Cluster;
use crate::evaluate::{Connection, Engine, Party, evaluate};
use crate::kubernetes::{Body, Manifest, Severity, read};
use crate::policy_set::PolicySet;
use crate::reading::Unspecified;
use crate::verdict::{Outcome, Verdict};

/// A policy whose spec is `spec`, indented as it comes; clusterwide or in the namespace shop.
fn manifest(spec: &str, is_clusterwide: bool) -> Manifest {
    let spec = spec.trim_matches('\n').replace('\n', "\n  ");
    let (kind, namespace) = match is_clusterwide {
        true => ("CiliumClusterwideNetworkPolicy", ""),
        false => ("CiliumNetworkPolicy", ", namespace: shop"),
    };
    read(
        "p.yaml",
        &format!(
            "apiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: p{namespace}}}\nspec:\n  {spec}\n"
        ),
    )
}

#[track_caller]
fn accepted(spec: &str) -> Spec {
    let manifest = manifest(spec, false);
    assert_eq!(manifest.issues, []);
    let Body::Cilium(policy) = &manifest.objects[0].body else {
        panic!("{:?}", manifest.objects);
    };
    let printed = manifest.objects[0].to_json();
    let again = read("p.yaml", &printed);
    assert_eq!(again.issues, [], "{printed}");
    assert_eq!(again.objects[0].body, manifest.objects[0].body, "{printed}");
    policy.specs[0].clone()
}

/// The rule of an ingress section is refused with this field below it and this message.
#[track_caller]
fn refused(rule: &str, expected: &str) {
    refused_spec(
        &format!("endpointSelector: {{}}\ningress:\n- {rule}"),
        &format!("spec.ingress[0]{expected}"),
    );
}

#[track_caller]
fn refused_egress(rule: &str, expected: &str) {
    refused_spec(
        &format!("endpointSelector: {{}}\negress:\n- {rule}"),
        &format!("spec.egress[0]{expected}"),
    );
}

#[track_caller]
fn refused_spec(spec: &str, expected: &str) {
    let manifest = manifest(spec, false);
    assert_eq!(manifest.objects, [], "{spec}");
    let shown: Vec<String> = manifest.issues.iter().map(ToString::to_string).collect();
    let [only] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    assert!(
        only.ends_with(&format!("error: CiliumNetworkPolicy shop/p: {expected}")),
        "{only}"
    );
    assert!(manifest.issues[0].help.is_some(), "{shown:?}");
}

#[test]
fn sections_isolate_when_they_have_rules_or_say_so() {
    #[track_caller]
    fn check(spec: &str, ingress: bool, egress: bool) {
        let spec = accepted(&format!("endpointSelector: {{}}\n{spec}"));
        assert_eq!(
            (spec.ingress.isolates(), spec.egress.isolates()),
            (ingress, egress)
        );
    }
    check("", false, false);
    check("ingress:\negress: []", false, false);
    check("ingress: [{}]", true, false);
    check("ingressDeny: [{}]", true, false);
    check("egress: [{}]", false, true);
    check("egressDeny: [{}]", false, true);
    check(
        "ingress: [{}]\nenableDefaultDeny: {ingress: false}",
        false,
        false,
    );
    check(
        "ingress: [{}]\nenableDefaultDeny: {egress: true}",
        true,
        true,
    );
}

#[test]
fn every_kind_of_peers_is_read_and_printed() {
    let spec = accepted(
        r#"
endpointSelector: {matchLabels: {"k8s:app": web}, matchExpressions: [{key: "any:x/y", operator: Exists}]}
ingress:
- fromEndpoints: [{}, {matchLabels: {"reserved:host": ""}}]
  fromRequires: [{matchLabels: {env: prod}}]
- fromNodes: [{matchLabels: {role: master}}]
- fromEntities: [world, none, ingress]
- fromCIDR: [10.0.0.0/8, 10.1.2.3, "2001:db8::/32"]
- fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.0.0.0/8, 10.1.0.0/16]}, {cidrGroupRef: g, except: [1.2.3.4/32]},
    {cidrGroupSelector: {matchLabels: {a: b}}}]
- fromEndpoints: []
- authentication: {mode: required}
  toPorts:
  - ports: [{port: "80"}, {port: "81", endPort: 90, protocol: TCP}, {port: Http-2, protocol: UDP}, {port: "0", protocol: SCTP}]
- icmps: [{fields: [{type: 8}, {family: IPv6, type: EchoRequest}]}]
egress:
- toServices: [{k8sService: {serviceName: a, namespace: b}}, {k8sServiceSelector: {selector: {matchLabels: {a: b}}}}]
- toFQDNs: [{matchName: example.com}, {matchPattern: "*.example.com"}]
- toPorts:
  - ports: [{port: "53", protocol: ANY}]
    rules: {dns: [{matchPattern: "*"}]}
  - ports: [{port: "80", protocol: TCP}]
    rules: {http: [{method: GET}]}
  - ports: [{port: "443", protocol: TCP}]
    serverNames: [example.com]
  - ports: [{port: "9000", protocol: TCP}]
    rules: {l7proto: x, l7: [{}]}
"#,
    );
    let rules = &spec.ingress.allow;
    assert!(matches!(&rules[0].peers, Peers::Endpoints(list) if list.len() == 2));
    assert_eq!(rules[0].requires.len(), 1);
    assert!(matches!(&rules[1].peers, Peers::Nodes(list) if list.len() == 1));
    let entities = [Some(Entity::World), None, Some(Entity::Internal("ingress"))];
    assert_eq!(rules[2].peers, Peers::Entities(entities.to_vec()));
    assert!(matches!(&rules[3].peers, Peers::Blocks(list) if list.len() == 3));
    assert!(matches!(&rules[4].peers, Peers::Blocks(list) if list.len() == 3));
    assert_eq!(rules[5].peers, Peers::Nobody);
    assert!(rules[6].authentication);
    let numbers: Vec<&PortNumber> = rules[6].ports[0].ports.iter().map(|p| &p.number).collect();
    assert_eq!(
        numbers,
        [
            &PortNumber::Range(80, 80),
            &PortNumber::Range(81, 90),
            &PortNumber::Named("http-2".into()),
            &PortNumber::Any
        ]
    );
    assert_eq!(rules[6].ports[0].ports[0].protocol, None);
    assert_eq!(rules[7].icmps[1].message, "EchoRequest");
    let egress = &spec.egress.allow;
    assert!(matches!(&egress[0].peers, Peers::Services(list) if list.len() == 2));
    assert!(matches!(&egress[1].peers, Peers::Names(list) if list.len() == 2));
    let content: Vec<&str> = egress[2]
        .ports
        .iter()
        .flat_map(|rule| rule.content.iter().map(String::as_str))
        .collect();
    assert_eq!(
        content,
        [
            "rules.dns",
            "rules.http",
            "serverNames",
            "rules.l7proto",
            "rules.l7"
        ]
    );
}

#[test]
fn a_list_with_nothing_in_it_is_not_none_at_all() {
    let peers = |rule: &str| {
        let spec = accepted(&format!("endpointSelector: {{}}\negress: [{rule}]"));
        spec.egress.allow[0].peers.clone()
    };
    for key in [
        "toEndpoints",
        "toNodes",
        "toEntities",
        "toCIDR",
        "toCIDRSet",
    ] {
        assert_eq!(peers(&format!("{{{key}: []}}")), Peers::Nobody, "{key}");
    }
    for key in ["toServices", "toFQDNs", "toGroups", "toPorts"] {
        assert_eq!(peers(&format!("{{{key}: []}}")), Peers::Unsaid, "{key}");
    }
    assert_eq!(
        peers("{toEndpoints: [], toEntities: [world]}"),
        Peers::Nobody
    );
    assert_eq!(peers("{toEndpoints: }"), Peers::Unsaid);
}

#[test]
fn rules_that_are_refused() {
    refused(
        "{fromEndpoints: [{}], fromCIDR: [10.0.0.0/8]}",
        ".fromCIDR: must not stand beside fromEndpoints",
    );
    refused_egress(
        "{toFQDNs: [{matchName: a.b}], toEntities: [world]}",
        ".toFQDNs: must not stand beside toEntities",
    );
    refused("{fromEndpoints: [null]}", ".fromEndpoints[0]: is empty");
    refused(
        "{fromEntities: [moon]}",
        ".fromEntities[0]: `moon` is not an entity",
    );
    refused(
        "{fromCIDR: [10.0.0.0/40]}",
        ".fromCIDR[0]: `10.0.0.0/40` is not an address block",
    );
    refused(
        "{fromCIDRSet: [{cidr: 10.0.0.1}]}",
        ".fromCIDRSet[0].cidr: `10.0.0.1` is not an address block",
    );
    refused("{fromCIDRSet: [{}]}", ".fromCIDRSet[0].cidr: is missing");
    refused(
        "{fromCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: g}]}",
        ".fromCIDRSet[0].cidrGroupRef: must not stand beside another way to name blocks",
    );
    refused(
        "{fromCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}",
        ".fromCIDRSet[0].except[0]: `11.0.0.0/16` is not inside `10.0.0.0/8`",
    );
    refused_egress("{toServices: [{}]}", ".toServices[0]: names no Service");
    refused_egress(
        "{toServices: [{k8sService: {namespace: a}}]}",
        ".toServices[0].k8sService.serviceName: is missing",
    );
    refused_egress("{toFQDNs: [{}]}", ".toFQDNs[0]: names no domain");
    refused_egress(
        r#"{toFQDNs: [{matchName: "*.a"}]}"#,
        ".toFQDNs[0].matchName: `*.a` is not the name of a domain",
    );
    refused_egress(
        "{toFQDNs: [{matchName: a, matchPattern: b}]}",
        ".toFQDNs[0].matchPattern: must not stand beside matchName",
    );
    refused(
        r#"{fromEndpoints: [{matchLabels: {"k8s:": a}}]}"#,
        ".fromEndpoints[0].matchLabels.k8s:: `k8s:` is not a label key",
    );
    refused(
        r#"{fromEndpoints: [{matchLabels: {"k8s:a b": a}}]}"#,
        ".fromEndpoints[0].matchLabels.k8s:a b: `k8s:a b` is not a label key",
    );
    refused_egress(
        r#"{toFQDNs: [{matchPattern: "a b"}]}"#,
        ".toFQDNs[0].matchPattern: `a b` is not the name of a domain",
    );
    let key = |length: usize| {
        format!(
            "{{fromEndpoints: [{{matchLabels: {{{}: a}}}}]}}",
            "k".repeat(length)
        )
    };
    accepted(&format!("endpointSelector: {{}}\ningress:\n- {}", key(400)));
    let longer = manifest(
        &format!("endpointSelector: {{}}\ningress:\n- {}", key(401)),
        false,
    );
    assert!(longer.issues[0].message.ends_with("is not a label key"));
}

#[test]
fn ports_that_are_refused() {
    #[track_caller]
    fn check(port_rule: &str, expected: &str) {
        refused(
            &format!("{{toPorts: [{port_rule}]}}"),
            &format!(".toPorts[0]{expected}"),
        );
    }
    check("{ports: [{}]}", ".ports[0].port: is missing");
    check(
        "{ports: [{port: 80}]}",
        ".ports[0].port: must be a text, is the number 80",
    );
    check(
        r#"{ports: [{port: "65536"}]}"#,
        ".ports[0].port: `65536` is not a port",
    );
    check(
        r#"{ports: [{port: "a_b"}]}"#,
        ".ports[0].port: `a_b` is not a port",
    );
    check(
        r#"{ports: [{port: "80", protocol: ICMP}]}"#,
        ".ports[0].protocol: `ICMP` is not a protocol here",
    );
    check(
        r#"{ports: [{port: "80", endPort: 70000}]}"#,
        ".ports[0].endPort: 70000 is not a port",
    );
    let many = r#"{port: "1"},"#.repeat(41);
    check(
        &format!("{{ports: [{many}]}}"),
        ".ports: has 41 entries, at most 40 are allowed",
    );
    let most = r#"{port: "1"},"#.repeat(40);
    accepted(&format!(
        "endpointSelector: {{}}\ningress: [{{toPorts: [{{ports: [{most}]}}]}}]"
    ));
    let fields = |count: usize| format!("{{fields: [{}]}}", "{type: 8},".repeat(count));
    refused(
        &format!("{{icmps: [{}, {}]}}", fields(40), fields(41)),
        ".icmps[1].fields: has 41 entries, at most 40 are allowed",
    );
    accepted(&format!(
        "endpointSelector: {{}}\ningress: [{{icmps: [{0}, {0}]}}]",
        fields(40)
    ));
    for message in [
        "-1",
        "\"256\"",
        "\"\"",
        "\"Echo Request\"",
        "[8]",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        refused(
            &format!("{{icmps: [{{fields: [{{type: {message}}}]}}]}}"),
            ".icmps[0].fields[0].type: is not the type of an ICMP message",
        );
    }
    check(
        r#"{ports: [{port: ""}]}"#,
        ".ports[0].port: `` is not a port",
    );
    check(
        r#"{ports: [{port: "80"}], rules: {http: [{}]}}"#,
        ".rules: need TCP as the protocol of every port",
    );
    check(
        r#"{ports: [{port: "0", protocol: TCP}], rules: {http: [{}]}}"#,
        ".rules: need a port other than 0",
    );
    check(
        r#"{ports: [{port: "80", protocol: TCP}], rules: {http: [{}], kafka: [{}]}}"#,
        ".rules: speak of several protocols at once",
    );
    check(
        r#"{ports: [{port: "80", protocol: TCP}], rules: {l7: [{}]}}"#,
        ".rules: have l7 without l7proto",
    );
    check(
        r#"{ports: [{port: "53"}], rules: {dns: [{}]}}"#,
        ".rules: must not speak of DNS on ingress",
    );
    refused(
        r#"{toPorts: [{ports: [{port: "1"}]}], icmps: [{fields: [{type: 8}]}]}"#,
        ".icmps: must not stand beside toPorts",
    );
    refused(
        "{icmps: [{fields: [{type: 256}]}]}",
        ".icmps[0].fields[0].type: is not the type of an ICMP message",
    );
    refused(
        "{icmps: [{fields: [{family: IPv5, type: 8}]}]}",
        ".icmps[0].fields[0].family: `IPv5` is not an address family",
    );
    refused_egress(
        r#"{toServices: [{k8sService: {serviceName: a, namespace: b}}], toPorts: [{ports: [{port: "1"}]}]}"#,
        ".toPorts: must not stand beside toServices",
    );
}

#[test]
fn a_port_without_quotes_is_shown_in_them() {
    let rule = |port: &str| {
        let spec = format!(
            "endpointSelector: {{}}\ningress: [{{toPorts: [{{ports: [{{port: {port}}}]}}]}}]"
        );
        manifest(&spec, false).issues[0].help.clone().unwrap()
    };
    assert_eq!(rule("80"), "write it in quotes: \"80\"");
    assert_eq!(rule("[80]"), "write a number in quotes, or a name");
}

#[test]
fn content_of_connections_is_kept_by_its_name() {
    let spec = accepted(
        r#"
endpointSelector: {}
egress:
- toPorts:
  - ports: [{port: "443", protocol: TCP}]
    terminatingTLS: {secret: {name: a}}
    originatingTLS: {secret: {name: b}}
    serverNames: [example.com]
    listener: {name: c}
"#,
    );
    let content = &spec.egress.allow[0].ports[0].content;
    assert_eq!(
        content,
        &[
            "terminatingTLS",
            "originatingTLS",
            "serverNames",
            "listener"
        ]
    );
    let printed = print::spec(&spec);
    let printed = &printed["egress"][0]["toPorts"][0];
    assert_eq!(printed["serverNames"], serde_json::json!(["unknown"]));
    for key in ["terminatingTLS", "originatingTLS", "listener"] {
        assert_eq!(
            printed[key],
            serde_json::json!({ "name": "unknown" }),
            "{key}"
        );
    }
}

#[test]
fn specs_that_are_refused() {
    refused_spec("ingress: [{}]", "spec.endpointSelector: is missing");
    refused_spec(
        "endpointSelector: {}\nnodeSelector: {}",
        "spec.nodeSelector: must not stand beside an endpointSelector",
    );
    refused_spec(
        "nodeSelector: {}",
        "spec.nodeSelector: must not stand in a policy of one namespace",
    );
    let text = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\n";
    let shown: Vec<String> = read("p", text)
        .issues
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        ["p:1: error: CiliumNetworkPolicy p: spec: is missing"]
    );
    let of_nodes = manifest(
        "nodeSelector: {}\ningress:\n- toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{}]}}]",
        true,
    );
    assert_eq!(of_nodes.objects, []);
    assert_eq!(
        of_nodes.issues[0].message,
        "must not speak of the content of connections in a policy for nodes"
    );
}

#[test]
fn what_is_odd_is_used_all_the_same() {
    #[track_caller]
    fn check(spec: &str, expected: &str) {
        let manifest = manifest(spec, false);
        assert_eq!(manifest.objects.len(), 1, "{:?}", manifest.issues);
        let [only] = manifest.issues.as_slice() else {
            panic!("{:?}", manifest.issues);
        };
        assert_eq!(only.severity, Severity::Warning);
        assert!(only.message.contains(expected), "{}", only.message);
    }
    check(
        "endpointSelector: {matchLabels: {\"k8s:io.kubernetes.pod.namespace\": other}}\ningress: [{}]",
        "names the namespace `other`",
    );
    check(
        "endpointSelector: {}\ningress: [{toPorts: [{ports: [{port: \"80\", endPort: 70}]}]}]",
        "70 is below the port 80",
    );
    check(
        "endpointSelector: {}\ningress: [{toPorts: [{}]}]",
        "is empty",
    );
    check(
        "endpointSelector: {}\negress: [{toServices: [{k8sService: {serviceName: a}}]}]",
        "is missing: whether the rule matches is unspecified",
    );
    check(
        "endpointSelector: {}\negress: [{toGroups: [{aws: {region: a}}]}]",
        "is not evaluated",
    );
    check(
        "endpointSelector: {}\ningressDeny: [{toPorts: [{rules: {}, ports: [{port: \"1\"}]}]}]",
        "has no field `rules`",
    );
    check(
        "endpointSelector: {}\ningress: [{toEndpoints: [{}]}]",
        "has no field `toEndpoints`",
    );
    check(
        "endpointSelector: {}\negressDeny: [{toFQDNs: [{matchName: a}]}]",
        "has no field `toFQDNs`",
    );
    check(
        "endpointSelector: {}\ningress: [{toFQDNs: [{matchName: a}]}]",
        "has no field `toFQDNs`",
    );
}

#[test]
fn groups_of_blocks() {
    let text = "apiVersion: cilium.io/v2alpha1\nkind: CiliumCIDRGroup\nmetadata: {name: g, labels: {a: b}}\nspec:\n  externalCIDRs: [10.0.0.0/8, \"2001:db8::1\"]\n";
    let manifest = read("g", text);
    assert_eq!(manifest.issues, []);
    let Body::CiliumCidrGroup(group) = &manifest.objects[0].body else {
        panic!("{:?}", manifest.objects);
    };
    assert_eq!(group.blocks.len(), 2);
    let again = read("g", &manifest.objects[0].to_json());
    assert_eq!(again.objects[0].body, manifest.objects[0].body);
}

/// What a client outside the cluster may do at a port of shop/web.
fn verdict_at(text: &str, port: usize) -> Verdict {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nstatus: {phase: Running, podIP: 10.0.0.1}\n";
    let manifest = read("p.yaml", &format!("{pod}{text}"));
    assert_eq!(manifest.issues, []);
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    let connection = Connection {
        client: Party::external("198.51.100.7".parse().unwrap()),
        server: Party::pod(cluster.pod("shop", "web").unwrap()),
        port: u16::try_from(port).unwrap(),
        protocol: "TCP".parse().unwrap(),
    };
    evaluate(&policies, &cluster, Engine::Cilium, &connection)
}

#[test]
fn what_is_looked_at_is_bounded_and_the_rest_is_open() {
    let outcome = |rules: usize, groups: usize| {
        let mut text = String::new();
        for group in 0..groups {
            text.push_str(&format!("---\napiVersion: cilium.io/v2alpha1\nkind: CiliumCIDRGroup\nmetadata: {{name: g{group}, labels: {{a: b}}}}\nspec: {{externalCIDRs: [203.0.113.7/32]}}\n"));
        }
        text.push_str("---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  endpointSelector: {}\n  ingress:\n");
        for rule in 1..=rules {
            text.push_str(&format!("  - {{fromCIDRSet: [{{cidrGroupSelector: {{matchLabels: {{a: b}}}}}}], toPorts: [{{ports: [{{port: \"{rule}\"}}]}}]}}\n"));
        }
        verdict_at(&text, rules).outcome
    };
    assert_eq!(outcome(1000, 500), Outcome::Denied);
    assert_eq!(outcome(1000, 501), Outcome::Unspecified);
}

#[test]
fn more_open_rules_than_anyone_can_try_are_named_all_the_same() {
    let rules = "  - {authentication: {mode: required}}\n  - {authentication: {mode: required}, fromEntities: [world]}\n".repeat(150);
    let text = format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n  endpointSelector: {{}}\n  ingress:\n{}",
        rules.repeat(2)
    );
    let verdict = verdict_at(&text, 80);
    assert_eq!(verdict.outcome, Outcome::Unspecified);
    assert_eq!(verdict.unspecified, [Unspecified::NotEvaluated]);
}
