//! What the API server would and would not accept (policy-semantics §1.1 and §1.7).

use super::*;
use crate::kubernetes::{Body, Manifest, read};

/// A policy whose spec is `spec`, indented as it comes.
fn manifest(spec: &str) -> Manifest {
    let spec = spec.trim_matches('\n').replace('\n', "\n  ");
    read(
        "p.yaml",
        &format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n  {spec}\n"
        ),
    )
}

#[track_caller]
fn accepted(spec: &str) -> NetworkPolicy {
    let manifest = manifest(spec);
    assert_eq!(manifest.issues, []);
    match &manifest.objects[0].body {
        Body::NetworkPolicy(policy) => policy.clone(),
        other => panic!("{other:?}"),
    }
}

/// The spec is refused with this field and message, on the line of the spec counted from 1.
#[track_caller]
fn refused(spec: &str, line: u32, expected: &str) {
    let manifest = manifest(spec);
    assert_eq!(manifest.objects, [], "{spec}");
    let shown: Vec<String> = manifest.issues.iter().map(ToString::to_string).collect();
    let expected = format!(
        "p.yaml:{}: error: NetworkPolicy shop/p: {expected}",
        line + 4
    );
    assert_eq!(shown, [expected]);
    assert!(
        manifest.issues[0].help.is_some() || shown[0].contains("from 1 to 65535"),
        "{shown:?}"
    );
}

#[test]
fn directions_by_the_table() {
    #[track_caller]
    fn check(spec: &str, ingress: bool, egress: bool) {
        let policy = accepted(spec);
        assert_eq!(
            (policy.ingress.is_some(), policy.egress.is_some()),
            (ingress, egress),
            "{spec}"
        );
    }
    check("podSelector: {}", true, false);
    check("{}", true, false);
    check("podSelector:\npolicyTypes: []\negress:", true, false);
    check("egress: []", true, false);
    check("egress: [{}]", true, true);
    check("policyTypes: []\negress: [{}]", true, true);
    check("policyTypes: [Egress]", false, true);
    check("policyTypes: [Ingress]", true, false);
    check("policyTypes: [Ingress, Egress]", true, true);
    check("policyTypes: [Ingress, Ingress]", true, false);
}

#[test]
fn a_missing_spec_is_an_empty_one() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n";
    let manifest = read("p.yaml", text);
    let Body::NetworkPolicy(policy) = &manifest.objects[0].body else {
        panic!()
    };
    assert_eq!(policy.namespace, "default");
    assert_eq!(policy.ingress.as_deref(), Some(&[][..]));
}

#[test]
fn sections_without_effect_are_a_warning() {
    let manifest = manifest("policyTypes: [Ingress]\negress: [{}]");
    let expected = "p.yaml:6: warning: NetworkPolicy shop/p: spec.egress: has no effect, because policyTypes does not list it";
    assert_eq!(manifest.issues[0].to_string(), expected);
    let Body::NetworkPolicy(policy) = &manifest.objects[0].body else {
        panic!()
    };
    assert_eq!(policy.egress, None);
}

#[test]
fn fields_that_do_not_exist_are_a_warning() {
    let manifest = manifest("ingress:\n- to: [{podSelector: {}}]");
    assert_eq!(
        manifest.issues[0].to_string(),
        "p.yaml:6: warning: NetworkPolicy shop/p: spec.ingress[0]: has no field `to`, which therefore means nothing"
    );
    assert_eq!(manifest.objects.len(), 1);
}

#[test]
fn empty_rules_and_null_rules_restrict_nothing() {
    for spec in [
        "ingress: [{}]",
        "ingress:\n-",
        "ingress: [{from: [], ports: []}]",
        "ingress: [{from: null, ports:}]",
    ] {
        assert_eq!(
            accepted(spec).ingress,
            Some(vec![Rule::default()]),
            "{spec}"
        );
    }
}

#[test]
fn absent_and_empty_selectors_differ() {
    let peers = |spec| accepted(spec).ingress.unwrap().remove(0).peers;
    let all = || Some(Selector::default());
    let spec = "ingress: [{from: [{podSelector: {}}, {namespaceSelector: {}}, {namespaceSelector: {matchLabels:}, podSelector: null}]}]";
    assert_eq!(
        peers(spec),
        [
            Peer::Pods {
                namespaces: None,
                pods: all()
            },
            Peer::Pods {
                namespaces: all(),
                pods: None
            },
            Peer::Pods {
                namespaces: all(),
                pods: None
            },
        ]
    );
}

#[test]
fn peers_that_are_refused() {
    refused(
        "ingress: [{from: [{}]}]",
        1,
        "spec.ingress[0].from[0]: names no peer",
    );
    refused(
        "ingress: [{from: [{podSelector: null}]}]",
        1,
        "spec.ingress[0].from[0]: names no peer",
    );
    refused(
        "egress:\n- to:\n  -",
        2,
        "spec.egress[0].to[0]: names no peer",
    );
    let spec = "ingress:\n- from:\n  - podSelector: {}\n    ipBlock: {cidr: 10.0.0.0/8}";
    refused(
        spec,
        4,
        "spec.ingress[0].from[0].ipBlock: must not stand beside a selector in one entry",
    );
}

#[test]
fn blocks_that_are_refused() {
    let block = |inner: &str| format!("egress:\n- to:\n  - ipBlock:\n      {inner}");
    refused(
        &block("except: []"),
        3,
        "spec.egress[0].to[0].ipBlock.cidr: is missing",
    );
    for bad in [
        "10.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0/255.0.0.0",
        "nonsense",
        "\"\"",
        "2001:db8::/129",
    ] {
        let text = bad.trim_matches('"');
        refused(
            &block(&format!("cidr: {bad}")),
            4,
            &format!("spec.egress[0].to[0].ipBlock.cidr: `{text}` is not an address block"),
        );
    }
    let except = |bad: &str| block(&format!("cidr: 10.0.0.0/8\n      except:\n      - {bad}"));
    let field = "spec.egress[0].to[0].ipBlock.except[0]:";
    refused(
        &except("10.1.0.1"),
        6,
        &format!("{field} `10.1.0.1` is not an address block"),
    );
    for bad in ["2001:db8::/32", "11.0.0.0/16", "10.0.0.0/8", "0.0.0.0/0"] {
        refused(
            &except(bad),
            6,
            &format!("{field} `{bad}` is not strictly inside `10.0.0.0/8`"),
        );
    }
}

#[test]
fn blocks_of_older_objects_are_read() {
    let policy =
        accepted("egress: [{to: [{ipBlock: {cidr: 010.001.2.3/8, except: [010.200.0.0/16]}}]}]");
    let Peer::Block(block) = &policy.egress.unwrap()[0].peers[0] else {
        panic!()
    };
    assert_eq!(block.cidr.to_string(), "10.0.0.0/8");
    assert_eq!(block.except[0].to_string(), "10.200.0.0/16");
}

#[test]
fn ports_by_the_table() {
    let ports = |spec: &str| {
        accepted(&format!("ingress: [{{ports: [{spec}]}}]"))
            .ingress
            .unwrap()
            .remove(0)
            .ports
    };
    use crate::cluster::Protocol::{Sctp, Tcp, Udp};
    let range = |protocol, first, last| PortMatch::Range {
        protocol,
        first,
        last,
    };
    assert_eq!(ports("{}"), [PortMatch::All(Tcp)]);
    assert_eq!(ports("{protocol: SCTP}"), [PortMatch::All(Sctp)]);
    assert_eq!(ports("{port: 80}"), [range(Tcp, 80, 80)]);
    assert_eq!(ports("{port: 80, endPort: 80}"), [range(Tcp, 80, 80)]);
    assert_eq!(
        ports("{port: 1, endPort: 65535, protocol: UDP}"),
        [range(Udp, 1, 65535)]
    );
    assert_eq!(
        ports("{port: http, protocol: null}"),
        [PortMatch::Named {
            protocol: Tcp,
            name: "http".into()
        }]
    );
}

#[test]
fn ports_that_are_refused() {
    let port = |inner: &str| format!("ingress:\n- ports:\n  - {inner}");
    let at = "spec.ingress[0].ports[0]";
    for bad in ["0", "65536", "-1"] {
        let message = format!("{at}.port: {bad} is not a port: it must be from 1 to 65535");
        refused(&port(&format!("port: {bad}")), 3, &message);
    }
    refused(
        &port("{port: 80, endPort: 79}"),
        3,
        &format!("{at}.endPort: 79 is below the port 80"),
    );
    refused(
        &port("{port: 80, endPort: 65536}"),
        3,
        &format!("{at}.endPort: 65536 is not a port: it must be from 1 to 65535"),
    );
    refused(
        &port("{port: http, endPort: 90}"),
        3,
        &format!("{at}.endPort: must not stand beside a named port"),
    );
    refused(
        &port("{endPort: 90}"),
        3,
        &format!("{at}.endPort: must not stand without a port"),
    );
    for bad in ["80", "HTTP", "a--b", "-a", "abcdefghijklmnop", ""] {
        refused(
            &port(&format!("port: \"{bad}\"")),
            3,
            &format!("{at}.port: `{bad}` is not a port name"),
        );
    }
    for bad in ["ICMP", "tcp", ""] {
        refused(
            &port(&format!("protocol: \"{bad}\"")),
            3,
            &format!("{at}.protocol: `{bad}` is not a protocol here"),
        );
    }
}

#[test]
fn types_that_are_refused() {
    refused(
        "policyTypes: [Both]",
        1,
        "spec.policyTypes[0]: `Both` is not a policy type",
    );
    refused(
        "policyTypes: [Ingress, Egress, Ingress]",
        1,
        "spec.policyTypes: has 3 entries, at most two are allowed",
    );
}

#[test]
fn selectors_that_are_refused() {
    let expression = |inner: &str| format!("podSelector:\n  matchExpressions:\n  - {{{inner}}}");
    let at = "spec.podSelector.matchExpressions[0]";
    for operator in ["In", "NotIn"] {
        let message = format!("{at}.values: must not be empty for the operators In and NotIn");
        refused(
            &expression(&format!("key: a, operator: {operator}")),
            3,
            &message,
        );
        refused(
            &expression(&format!("key: a, operator: {operator}, values: []")),
            3,
            &message,
        );
    }
    for operator in ["Exists", "DoesNotExist"] {
        let message = format!("{at}.values: must be empty for the operator {operator}");
        refused(
            &expression(&format!("key: a, operator: {operator}, values: [v]")),
            3,
            &message,
        );
    }
    refused(
        &expression("key: a, operator: Equals, values: [v]"),
        3,
        &format!("{at}.operator: `Equals` is not an operator"),
    );
    refused(
        &expression("key: a"),
        3,
        &format!("{at}.operator: is missing"),
    );
    refused(
        &expression("operator: Exists"),
        3,
        &format!("{at}.key: `` is not a label key"),
    );
    refused(
        &expression("key: -a, operator: Exists"),
        3,
        &format!("{at}.key: `-a` is not a label key"),
    );
    refused(
        "podSelector: {matchLabels: {app: a b}}",
        1,
        "spec.podSelector.matchLabels.app: `a b` is not a label value",
    );
    refused(
        "podSelector: {matchLabels: {app: 7}}",
        1,
        "spec.podSelector.matchLabels.app: must be a text, is the number 7",
    );
}

#[test]
fn shapes_that_are_wrong() {
    let refused = |spec: &str| {
        let manifest = manifest(spec);
        assert_eq!(manifest.objects, [], "{spec}");
        assert!(!manifest.issues.is_empty());
    };
    refused("ingress: {}");
    refused("ingress: [7]");
    refused("ingress: [{from: {podSelector: {}}}]");
    refused("ingress: [{ports: [80]}]");
    refused("podSelector: app");
    refused("podSelector: {matchLabels: [a]}");
    refused("policyTypes: Ingress");
    refused("ingress: [{ports: [{port: 8.5}]}]");
    refused("ingress: [{ports: [{port: [80]}]}]");
    refused("ingress: [{from: [{ipBlock: 10.0.0.0/8}]}]");
}

#[test]
fn names_that_are_refused() {
    let text =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: Not_A_Name}\n";
    assert_eq!(read("p.yaml", text).objects, []);
}

#[test]
fn prints_as_the_api_server_would_store_it() {
    let printed = |ports: &str| {
        let manifest = manifest(&format!("ingress: [{{ports: [{ports}]}}]"));
        assert_eq!(manifest.issues, []);
        print::spec(match &manifest.objects[0].body {
            Body::NetworkPolicy(policy) => policy,
            other => panic!("{other:?}"),
        })["ingress"][0]["ports"][0]
            .to_string()
    };
    assert_eq!(printed("{port: 80}"), r#"{"port":80,"protocol":"TCP"}"#);
    assert_eq!(
        printed("{port: 80, endPort: 80}"),
        r#"{"port":80,"protocol":"TCP"}"#
    );
    assert_eq!(
        printed("{port: 80, endPort: 81, protocol: UDP}"),
        r#"{"endPort":81,"port":80,"protocol":"UDP"}"#
    );
    assert_eq!(
        printed("{port: http}"),
        r#"{"port":"http","protocol":"TCP"}"#
    );
    assert_eq!(accepted("podSelector: {}").key(), "shop/p");
}
