//! What the API server refuses, and what it takes with a shrug.

use crate::kubernetes::{Severity, read};

const SUBJECT: &str = "subject: {namespaces: {}}";

/// The issues of a policy with this spec, without file and line.
#[track_caller]
fn check(kind: &str, version: &str, spec: &str, expected: &[&str]) {
    let text = format!(
        "apiVersion: policy.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: default}}\nspec: {{{spec}}}\n"
    );
    let manifest = read("f", &text);
    let found: Vec<String> = manifest
        .issues
        .iter()
        .map(|issue| {
            let field = issue.field.clone().unwrap_or_default();
            format!("{} {field} {}", issue.severity, issue.message)
        })
        .collect();
    assert_eq!(found, expected, "{text}");
    let refused = manifest
        .issues
        .iter()
        .any(|i| i.severity == Severity::Error);
    assert_eq!(manifest.objects.is_empty(), refused, "{text}");
}

#[track_caller]
fn check_older(rest: &str, expected: &[&str]) {
    check(
        "AdminNetworkPolicy",
        "v1alpha1",
        &format!("priority: 1, {SUBJECT}, {rest}"),
        expected,
    );
}

#[track_caller]
fn check_newer(rest: &str, expected: &[&str]) {
    check(
        "ClusterNetworkPolicy",
        "v1alpha2",
        &format!("tier: Admin, priority: 1, {SUBJECT}, {rest}"),
        expected,
    );
}

#[test]
fn priority() {
    for (priority, refused) in [("0", false), ("1000", false), ("1001", true), ("-1", true)] {
        let message =
            format!("error spec.priority {priority} is not a priority: it must be from 0 to 1000");
        let expected = [message.as_str()];
        check(
            "AdminNetworkPolicy",
            "v1alpha1",
            &format!("priority: {priority}, {SUBJECT}"),
            if refused { &expected } else { &[] },
        );
    }
    check(
        "AdminNetworkPolicy",
        "v1alpha1",
        SUBJECT,
        &["error spec.priority is missing"],
    );
    check("BaselineAdminNetworkPolicy", "v1alpha1", SUBJECT, &[]);
    check(
        "BaselineAdminNetworkPolicy",
        "v1alpha1",
        &format!("priority: 1, {SUBJECT}"),
        &["warning spec has no field `priority`, which therefore means nothing"],
    );
}

#[test]
fn tier() {
    let spec = |tier: &str| format!("{tier} priority: 1, {SUBJECT}");
    let kind = "ClusterNetworkPolicy";
    check(kind, "v1alpha2", &spec("tier: Baseline,"), &[]);
    check(kind, "v1alpha2", &spec(""), &["error spec.tier is missing"]);
    check(
        kind,
        "v1alpha2",
        &spec("tier: admin,"),
        &["error spec.tier `admin` is not a tier"],
    );
}

#[test]
fn there_is_one_baseline_policy() {
    let manifest = read(
        "f",
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: other}\nspec: {subject: {namespaces: {}}}\n",
    );
    assert_eq!(
        manifest.issues.first().map(|issue| issue.message.as_str()),
        Some("must be `default`: there is one of this kind in a cluster")
    );
    assert!(manifest.objects.is_empty());
}

#[test]
fn versions_that_are_not_known_are_not_guessed() {
    for (kind, version) in [
        ("AdminNetworkPolicy", "v1beta1"),
        ("BaselineAdminNetworkPolicy", "v1alpha2"),
        ("ClusterNetworkPolicy", "v1alpha1"),
    ] {
        let text = format!(
            "apiVersion: policy.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: a}}\n"
        );
        let manifest = read("f", &text);
        assert!(
            !manifest
                .objects
                .iter()
                .any(|object| object.body.is_policy())
        );
        assert_eq!(manifest.issues.len(), 1, "{text}");
    }
}

#[test]
fn subjects() {
    let subject = |subject: &str| format!("priority: 1, subject: {subject}");
    let kind = "AdminNetworkPolicy";
    for good in [
        "{namespaces: {}}",
        "{pods: {}}",
        "{pods: {namespaceSelector: {}, podSelector: {matchLabels: {a: b}}}}",
    ] {
        check(kind, "v1alpha1", &subject(good), &[]);
    }
    for (bad, message) in [
        ("{}", "error spec.subject is missing"),
        (
            "{namespaces: {}, pods: {}}",
            "error spec.subject must have one field only",
        ),
        (
            "{namespaceSelector: {}}",
            "error spec.subject has `namespaceSelector`, which only early drafts of v1alpha1 had",
        ),
        (
            "{namespaceAndPodSelector: {podSelector: {}}}",
            "error spec.subject has `namespaceAndPodSelector`, which only early drafts of v1alpha1 had",
        ),
    ] {
        check(kind, "v1alpha1", &subject(bad), &[message]);
    }
}

#[test]
fn actions() {
    let rule = |action: &str| format!("ingress: [{{{action} from: [{{namespaces: {{}}}}]}}]");
    for action in ["Allow", "Deny", "Pass"] {
        check_older(&rule(&format!("action: {action},")), &[]);
    }
    check_older(&rule(""), &["error spec.ingress[0].action is missing"]);
    check_older(
        &rule("action: Accept,"),
        &["error spec.ingress[0].action `Accept` is not an action"],
    );
    check_newer(&rule("action: Accept,"), &[]);
    check_newer(
        &rule("action: Allow,"),
        &["error spec.ingress[0].action `Allow` is not an action"],
    );
    check(
        "BaselineAdminNetworkPolicy",
        "v1alpha1",
        &format!("{SUBJECT}, {}", rule("action: Pass,")),
        &["error spec.ingress[0].action `Pass` is not an action"],
    );
}

#[test]
fn how_many_rules_peers_and_entries() {
    let some = |n: usize, one: &str| vec![one; n].join(", ");
    let rule = "{action: Deny, from: [{namespaces: {}}]}";
    check_older(&format!("ingress: [{}]", some(100, rule)), &[]);
    check_older(
        &format!("ingress: [{}]", some(101, rule)),
        &["error spec.ingress has more than the 100 rules that are allowed"],
    );
    check_newer(&format!("ingress: [{}]", some(25, rule)), &[]);
    check_newer(
        &format!("ingress: [{}]", some(26, rule)),
        &["error spec.ingress has more than the 25 rules that are allowed"],
    );
    let peers = |n| {
        let peers = some(n, "{namespaces: {}}");
        format!("egress: [{{action: Deny, to: [{peers}]}}]")
    };
    check_newer(&peers(25), &[]);
    check_newer(
        &peers(26),
        &["error spec.egress[0].to has more than the 25 peers that are allowed"],
    );
    let networks = |n| {
        let networks = some(n, "10.0.0.0/8");
        format!("egress: [{{action: Deny, to: [{{networks: [{networks}]}}]}}]")
    };
    check_older(&networks(25), &[]);
    check_older(
        &networks(26),
        &["error spec.egress[0].to[0].networks has more than the 25 entries that are allowed"],
    );
    let ports = |n| {
        let ports = some(n, "{portNumber: {port: 80}}");
        format!("egress: [{{action: Deny, to: [{{namespaces: {{}}}}], ports: [{ports}]}}]")
    };
    check_older(&ports(100), &[]);
    check_older(
        &ports(101),
        &["error spec.egress[0].ports has more than the 100 entries that are allowed"],
    );
}

#[test]
fn names_of_rules() {
    let rule = |n| {
        let name = "n".repeat(n);
        format!("ingress: [{{name: {name}, action: Deny, from: [{{namespaces: {{}}}}]}}]")
    };
    check_older(&rule(100), &[]);
    check_older(
        &rule(101),
        &["error spec.ingress[0].name is longer than 100 characters"],
    );
}

#[test]
fn peers() {
    let egress = |peers: &str| format!("egress: [{{action: Allow, to: {peers}}}]");
    for good in [
        "[{namespaces: {}}]",
        "[{pods: {podSelector: {}}}]",
        "[{nodes: {}}]",
        "[{networks: [10.0.0.0/8, \"2001:db8::/32\"]}]",
        "[{domainNames: [www.example.com, \"*.example.com\", a.b., a_b-c.com]}]",
    ] {
        check_older(&egress(good), &[]);
        check_newer(&egress(good).replace("Allow", "Accept"), &[]);
    }
    let at = "spec.egress[0].to";
    for (bad, message) in [
        ("[]", format!("error {at} must not be empty")),
        ("null", format!("error {at} is missing")),
        ("7", format!("error {at} must be a list, is the number 7")),
        (
            "[{domainNames: [a-.com]}]",
            format!("error {at}[0].domainNames[0] `a-.com` is not a domain name"),
        ),
        (
            "[{domainNames: [a!b.com]}]",
            format!("error {at}[0].domainNames[0] `a!b.com` is not a domain name"),
        ),
        (
            "[{namespaces: {}, nodes: {}}]",
            format!("error {at}[0] must have one field only"),
        ),
        (
            "[{namespaces: {namespaceSelector: {}}}]",
            format!(
                "error {at}[0].namespaces has `namespaceSelector`, which only early drafts of v1alpha1 had"
            ),
        ),
        (
            "[{namespaces: {sameLabels: [a]}}]",
            format!(
                "error {at}[0].namespaces has `sameLabels`, which only early drafts of v1alpha1 had"
            ),
        ),
        (
            "[{namespaces: {notSameLabels: [a]}}]",
            format!(
                "error {at}[0].namespaces has `notSameLabels`, which only early drafts of v1alpha1 had"
            ),
        ),
        (
            "[{pods: {namespaces: {}, podSelector: {}}}]",
            format!("error {at}[0].pods has `namespaces`, which only early drafts of v1alpha1 had"),
        ),
        (
            "[{namespacedPods: {}}]",
            format!("error {at}[0] has `namespacedPods`, which only early drafts of v1alpha1 had"),
        ),
        (
            "[{networks: []}]",
            format!("error {at}[0].networks must not be empty"),
        ),
        (
            "[{networks: [10.0.0.1]}]",
            format!("error {at}[0].networks[0] `10.0.0.1` is not an address block"),
        ),
        (
            "[{domainNames: []}]",
            format!("error {at}[0].domainNames must not be empty"),
        ),
        (
            "[{domainNames: [example]}]",
            format!("error {at}[0].domainNames[0] `example` is not a domain name"),
        ),
        (
            "[{domainNames: [\"a.*.com\"]}]",
            format!("error {at}[0].domainNames[0] `a.*.com` is not a domain name"),
        ),
        (
            "[{domainNames: [\"-a.com\"]}]",
            format!("error {at}[0].domainNames[0] `-a.com` is not a domain name"),
        ),
    ] {
        check_older(&egress(bad), &[message.as_str()]);
    }
    // Ingress knows pods only.
    check_older(
        "ingress: [{action: Allow, from: [{networks: [10.0.0.0/8]}]}]",
        &[
            "warning spec.ingress[0].from[0] names no peer that is known here, so that the rule matches nothing",
        ],
    );
    check_older(
        "egress: [{action: Deny, to: [{domainNames: [a.com]}]}]",
        &["error spec.egress[0].to[0].domainNames may only stand in a rule that allows"],
    );
}

#[test]
fn older_ports() {
    let ports = |ports: &str| {
        format!("ingress: [{{action: Deny, from: [{{namespaces: {{}}}}], ports: {ports}}}]")
    };
    for good in [
        "[]",
        "[{portNumber: {port: 1}}, {portNumber: {protocol: SCTP, port: 65535}}]",
        "[{portRange: {start: 1, end: 1}}]",
        "[{namedPort: http}]",
    ] {
        check_older(&ports(good), &[]);
    }
    let at = "spec.ingress[0].ports[0]";
    let one = format!("error {at} must have one of `portNumber`, `portRange`, `namedPort`");
    for (bad, message) in [
        ("[{}]", one.clone()),
        ("[{namedPort: a, portNumber: {port: 1}}]", one),
        (
            "[{portNumber: {port: 0}}]",
            format!("error {at}.portNumber.port 0 is not a port: it must be from 1 to 65535"),
        ),
        (
            "[{portNumber: {}}]",
            format!("error {at}.portNumber.port is missing"),
        ),
        (
            "[{portRange: {start: 1}}]",
            format!("error {at}.portRange.end is missing"),
        ),
        (
            "[{portRange: {start: 9, end: 8}}]",
            format!("warning {at}.portRange.end 8 is below the start 9: the range is empty"),
        ),
        (
            "[{namedPort: HTTP}]",
            format!("warning {at}.namedPort no pod can have a port called `HTTP`"),
        ),
        (
            "{allPorts: true}",
            "error spec.ingress[0].ports has `allPorts`, which only early drafts of v1alpha1 had"
                .to_owned(),
        ),
    ] {
        check_older(&ports(bad), &[message.as_str()]);
    }
}

#[test]
fn newer_protocols() {
    let protocols = |protocols: &str| {
        format!("ingress: [{{action: Deny, from: [{{namespaces: {{}}}}], protocols: {protocols}}}]")
    };
    for good in [
        "[{tcp: {destinationPort: {number: 80}}}]",
        "[{udp: {destinationPort: {range: {start: 1, end: 2}}}}]",
        "[{sctp: {destinationPort: {number: 1}}}, {destinationNamedPort: http}]",
    ] {
        check_newer(&protocols(good), &[]);
    }
    let at = "spec.ingress[0].protocols";
    for (bad, message) in [
        ("[]", format!("error {at} must not be empty")),
        (
            "[{tcp: {}}]",
            format!("error {at}[0].tcp must have one of `destinationPort`"),
        ),
        (
            "[{tcp: {destinationPort: {}}}]",
            format!("error {at}[0].tcp.destinationPort must have one of `number`, `range`"),
        ),
        (
            "[{tcp: {destinationPort: {range: {start: 2, end: 2}}}}]",
            format!("error {at}[0].tcp.destinationPort.range.end 2 is not above the start 2"),
        ),
    ] {
        check_newer(&protocols(bad), &[message.as_str()]);
    }
}

#[test]
fn named_ports_have_no_place_beside_what_has_none() {
    for peer in [
        "networks: [10.0.0.0/8]",
        "nodes: {}",
        "domainNames: [a.com]",
    ] {
        let message = "error spec.egress[0] has a named port beside networks, nodes or domain names, which have none";
        check_older(
            &format!("egress: [{{action: Allow, to: [{{{peer}}}], ports: [{{namedPort: a}}]}}]"),
            &[message],
        );
        let ports = "[{portNumber: {port: 1}}, {namedPort: a}]";
        check_older(
            &format!(
                "egress: [{{action: Allow, to: [{{namespaces: {{}}}}, {{{peer}}}], ports: {ports}}}]"
            ),
            &[message],
        );
        check_newer(
            &format!(
                "egress: [{{action: Accept, to: [{{{peer}}}], protocols: [{{destinationNamedPort: a}}]}}]"
            ),
            &[message],
        );
        check_older(
            &format!(
                "egress: [{{action: Allow, to: [{{{peer}}}], ports: [{{portNumber: {{port: 1}}}}]}}]"
            ),
            &[],
        );
    }
}

#[test]
fn help_names_the_actions_of_the_kind() {
    for (kind, version, head, expected) in [
        (
            "AdminNetworkPolicy",
            "v1alpha1",
            "priority: 1",
            "write Allow, Deny or Pass",
        ),
        (
            "BaselineAdminNetworkPolicy",
            "v1alpha1",
            "",
            "write Allow or Deny",
        ),
        (
            "ClusterNetworkPolicy",
            "v1alpha2",
            "tier: Admin, priority: 1",
            "write Accept, Deny or Pass",
        ),
    ] {
        let text = format!(
            "apiVersion: policy.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: default}}\nspec: {{{SUBJECT}, ingress: [{{action: Log, from: [{{namespaces: {{}}}}]}}], {head}}}\n"
        );
        let issues = read("f", &text).issues;
        assert_eq!(issues[0].message, "`Log` is not an action", "{issues:?}");
        assert_eq!(issues[0].help.as_deref(), Some(expected));
    }
}
