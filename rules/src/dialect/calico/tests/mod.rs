//! What is read of Calico's objects, what is refused, and that what is read prints back to itself.

mod refused;

use super::*;
use crate::cluster::Protocol;
use crate::kubernetes::{Body, Manifest, Object, Severity, read};
use crate::policy::{Action, Family};
use crate::port::PortClause;

/// An object of this kind whose spec is `spec`, indented as it comes.
fn manifest(kind: &str, name: &str, spec: &str) -> Manifest {
    let spec = spec.trim_matches('\n').replace('\n', "\n  ");
    read(
        "p.yaml",
        &format!(
            "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  {spec}\n"
        ),
    )
}

/// What prints reads back to the same.
#[track_caller]
fn check_prints(object: &Object) {
    let printed = object.to_json();
    let again = read("p.yaml", &printed);
    assert!(
        again.issues.iter().all(|i| i.severity == Severity::Warning),
        "{:?}\n{printed}",
        again.issues
    );
    let mut read = again.objects[0].clone();
    read.origin = object.origin.clone();
    assert_eq!(read, *object, "{printed}");
}

#[track_caller]
fn accepted(kind: &str, name: &str, spec: &str) -> Resource {
    let manifest = manifest(kind, name, spec);
    let shown: Vec<String> = manifest.issues.iter().map(ToString::to_string).collect();
    assert!(manifest.issues.is_empty(), "{shown:?}");
    check_prints(&manifest.objects[0]);
    match &manifest.objects[0].body {
        Body::Calico(resource) => (**resource).clone(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn policy(kind: &str, spec: &str) -> CalicoPolicy {
    match accepted(kind, "p", spec) {
        Resource::Policy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

/// The only rule of a policy that has one for ingress.
#[track_caller]
fn rule(spec: &str) -> Rule {
    let mut rules = policy("NetworkPolicy", &format!("ingress:\n- {spec}"))
        .ingress
        .unwrap();
    assert_eq!(rules.len(), 1);
    rules.remove(0)
}

fn selector(text: &str) -> Option<Selector> {
    Some(Selector::parse(text).unwrap())
}

#[test]
fn types_by_the_rules_there_are() {
    #[track_caller]
    fn check(spec: &str, ingress: bool, egress: bool) {
        let policy = policy("NetworkPolicy", spec);
        assert_eq!(
            (policy.ingress.is_some(), policy.egress.is_some()),
            (ingress, egress),
            "{spec}"
        );
    }
    check("{}", true, false);
    check("ingress: []\negress: []", true, false);
    check("types: []", true, false);
    check("ingress: [{action: Allow}]", true, false);
    check("egress: [{action: Allow}]", false, true);
    check(
        "ingress: [{action: Allow}]\negress: [{action: Deny}]",
        true,
        true,
    );
    check("types: [Egress]", false, true);
    check("types: [Ingress, Egress]", true, true);
    check("types: [Egress, Ingress]\nselector: a == 'b'", true, true);
    let manifest = manifest(
        "NetworkPolicy",
        "p",
        "types: [Egress]\ningress: [{action: Deny}]",
    );
    assert_eq!(
        manifest.issues[0].to_string(),
        "p.yaml:6: warning: NetworkPolicy shop/p: spec.ingress: has no effect, because types does not list it"
    );
    assert_eq!(manifest.objects.len(), 1);
}

#[test]
fn one_name_in_both_groups() {
    #[track_caller]
    fn check(name: &str, spec: &str, tier: &str, expected: &str) {
        let Resource::Policy(policy) = accepted("NetworkPolicy", name, spec) else {
            panic!("{name}");
        };
        assert_eq!(
            (policy.tier.as_str(), policy.name.as_str()),
            (tier, expected)
        );
    }
    check("deny", "{}", "default", "deny");
    check("default.deny", "{}", "default", "deny");
    check("default.deny", "tier: default", "default", "deny");
    check("default-deny", "tier: ''", "default", "default-deny");
    check("knp.default.deny", "{}", "default", "knp.default.deny");
    check("sec.deny", "tier: sec", "sec", "sec.deny");
    check("deny", "tier: sec", "sec", "sec.deny");
    check("default.deny", "tier: sec", "sec", "sec.default.deny");
    check("secure.deny", "tier: sec", "sec", "sec.secure.deny");

    let text = "
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: {name: default.deny}
spec: {selector: all()}
";
    let manifest = read("p.yaml", text);
    assert_eq!(manifest.issues, []);
    assert_eq!(
        manifest.objects[0].title(),
        "GlobalNetworkPolicy default.deny"
    );
    let Body::Calico(resource) = &manifest.objects[0].body else {
        panic!()
    };
    assert!(
        matches!(&**resource, Resource::Policy(policy) if policy.name == "deny" && policy.namespace.is_none())
    );
}

#[test]
fn only_known_groups_and_versions_are_read() {
    for (api_version, kind, is_read) in [
        ("projectcalico.org/v3", "NetworkPolicy", true),
        ("crd.projectcalico.org/v1", "NetworkPolicy", true),
        ("crd.projectcalico.org/v1", "Tier", true),
        ("projectcalico.org/v1", "NetworkPolicy", false),
        ("crd.projectcalico.org/v3", "NetworkPolicy", false),
        (
            "network.alibabacloud.com/v1beta2",
            "GlobalNetworkPolicy",
            false,
        ),
        ("projectcalico.org/v3", "IPPool", false),
    ] {
        let text =
            format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: p}}\nspec: {{}}");
        let manifest = read("p.yaml", &text);
        let bodies = manifest.objects.iter().map(|object| &object.body);
        let calico = bodies
            .filter(|body| matches!(body, Body::Calico(_)))
            .count();
        assert_eq!(calico == 1, is_read, "{api_version} {kind}");
    }
}

#[test]
fn everything_a_policy_has() {
    let spec = "
tier: sec
order: 10.5
selector: app == 'cart'
serviceAccountSelector: role == 'web'
namespaceSelector: stage == 'prod'
applyOnForward: true
types: [Ingress, Egress]
ingress: [{action: Deny}]
egress: [{action: Allow}, {action: Pass}, {action: Log}]
";
    let policy = policy("GlobalNetworkPolicy", spec);
    assert_eq!(policy.namespace, None);
    assert_eq!(policy.order, Some(10.5));
    assert_eq!(policy.selector, selector("app == 'cart'"));
    assert_eq!(policy.service_account_selector, selector("role == 'web'"));
    assert_eq!(policy.namespace_selector, selector("stage == 'prod'"));
    assert!(policy.host.apply_on_forward && !policy.host.pre_dnat && !policy.host.do_not_track);
    let actions = |rules: Option<Vec<Rule>>| -> Vec<Action> {
        rules.unwrap().iter().map(|rule| rule.action).collect()
    };
    assert_eq!(actions(policy.ingress), [Action::Deny]);
    assert_eq!(
        actions(policy.egress),
        [Action::Allow, Action::Pass, Action::Log]
    );
}

#[test]
fn empty_selectors_are_absent() {
    let policy = policy(
        "GlobalNetworkPolicy",
        "selector: ''\nnamespaceSelector: ''\norder:",
    );
    assert_eq!((policy.selector, policy.namespace_selector), (None, None));
    assert_eq!(policy.order, None);
    let policy = self::policy("GlobalNetworkPolicy", "selector: all()");
    assert_eq!(policy.selector, selector("all()"));
    let rule = rule(
        "{action: Allow, source: {selector: '', serviceAccounts: {names: []}}, destination: {}}",
    );
    assert_eq!(rule.source, rule::Entity::default());
}

#[test]
fn everything_a_rule_has() {
    let read = rule(
        "{action: Allow, ipVersion: 4, protocol: tcp, notProtocol: 17, http: {methods: [GET]}, metadata: {annotations: {a: b}},
    source: {nets: [10.1.2.3/8], notNets: [10.0.0.0/24], selector: a == 'b', notSelector: has(c), namespaceSelector: global(), ports: [1, '2:3'], notPorts: ['4'],
      serviceAccounts: {names: [x, y], selector: r == 's'}},
    destination: {ports: [http, 8000:8999, 80], notPorts: [8080]}}",
    );
    let range = |first, last| PortClause::Range(first, last);
    assert_eq!(
        (read.action, read.family),
        (Action::Allow, Some(Family::V4))
    );
    assert_eq!(read.protocol, Some(Protocol::Tcp));
    assert_eq!(read.not_protocol, Some(Protocol::Udp));
    assert!(read.http);
    assert_eq!(read.source.nets, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(read.source.not_nets, ["10.0.0.0/24".parse().unwrap()]);
    assert_eq!(read.source.selector, selector("a == 'b'"));
    assert_eq!(read.source.not_selector, selector("has(c)"));
    assert_eq!(read.source.namespace_selector, Some(Selector::Global));
    assert_eq!(read.source.ports, [range(1, 1), range(2, 3)]);
    assert_eq!(read.source.not_ports, [range(4, 4)]);
    let accounts = read.source.service_accounts.unwrap();
    assert_eq!(accounts.names, ["x", "y"]);
    assert_eq!(accounts.selector, selector("r == 's'"));
    let named = PortClause::Named("http".to_owned());
    assert_eq!(
        read.destination.ports,
        [named, range(8000, 8999), range(80, 80)]
    );
    assert_eq!(read.destination.not_ports, [range(8080, 8080)]);

    for (protocol, expected) in [
        ("TCP", Protocol::Tcp),
        ("UDP", Protocol::Udp),
        ("SCTP", Protocol::Sctp),
        ("ICMP", Protocol::ICMP),
        ("ICMPv6", Protocol::ICMP_V6),
        ("UDPLite", Protocol::Other(136)),
        ("47", Protocol::Other(47)),
        ("'6'", Protocol::Tcp),
    ] {
        let read = rule(&format!("{{action: Allow, protocol: {protocol}}}"));
        assert_eq!(read.protocol, Some(expected), "{protocol}");
    }
    let read = rule("{action: Deny, protocol: ICMP, icmp: {type: 8, code: 0}, notICMP: {type: 3}}");
    let icmp = |kind, code| rule::Icmp { kind, code };
    assert_eq!(read.icmp, Some(icmp(Some(8), Some(0))));
    assert_eq!(read.not_icmp, Some(icmp(Some(3), None)));
    let read = rule("{action: Allow, source: {services: {name: db, namespace: data}}}");
    let service = read.source.service.unwrap();
    assert_eq!(
        (service.namespace.as_deref(), service.name.as_str()),
        (Some("data"), "db")
    );
}

#[test]
fn other_kinds() {
    let Resource::Tier(tier) = accepted("Tier", "sec", "order: 100\ndefaultAction: Pass") else {
        panic!()
    };
    assert_eq!((tier.order, tier.default_passes), (Some(100.0), true));
    let Resource::Tier(tier) = accepted("Tier", "sec", "{}") else {
        panic!()
    };
    assert_eq!((tier.order, tier.default_passes), (None, false));
    accepted("Tier", "default", "order: 1000000");
    accepted("Tier", "kube-admin", "order: 1000\ndefaultAction: Pass");
    for kind in ["NetworkSet", "GlobalNetworkSet"] {
        let spec = "nets: [198.51.100.7, 203.0.113.0/24, '2001:db8::/32']\nallowedEgressDomains: ['*.example.com']";
        let Resource::NetworkSet(set) = accepted(kind, "s", spec) else {
            panic!()
        };
        let shown: Vec<String> = set.nets.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"]
        );
        assert_eq!(set.domains, ["*.example.com"]);
    }
    let spec = "node: n1\ninterfaceName: eth0\nexpectedIPs: [192.168.0.1]\nports: [{name: ssh, port: 22, protocol: TCP}]";
    let Resource::HostEndpoint(endpoint) = accepted("HostEndpoint", "n1-eth0", spec) else {
        panic!()
    };
    assert_eq!(endpoint.node, "n1");
    assert_eq!(endpoint.addresses.len(), 1);
    accepted("HostEndpoint", "n1-eth0", "node: n1\ninterfaceName: eth0");
}

#[test]
fn staged_kinds_are_kept_and_said_to_be_of_no_effect() {
    for (kind, spec) in [
        (
            "StagedNetworkPolicy",
            "stagedAction: Set\nselector: a == 'b'\ningress: [{action: Deny}]",
        ),
        (
            "StagedGlobalNetworkPolicy",
            "stagedAction: Delete\nnamespaceSelector: all()",
        ),
        (
            "StagedKubernetesNetworkPolicy",
            "stagedAction: Learn\npodSelector: {}",
        ),
    ] {
        let manifest = manifest(kind, "p", spec);
        let shown: Vec<String> = manifest.issues.iter().map(ToString::to_string).collect();
        let title = manifest.objects[0].title();
        let written = format!("{kind} shop/p");
        assert!(title == written || title == format!("{kind} p"));
        assert_eq!(
            shown,
            [format!(
                "p.yaml:2: warning: {written}: kind: is staged: the cluster does not enforce it, and no verdict takes it into account"
            )]
        );
        check_prints(&manifest.objects[0]);
        let Body::Calico(resource) = &manifest.objects[0].body else {
            panic!()
        };
        let Resource::Staged(staged) = &**resource else {
            panic!("{resource:?}")
        };
        assert!(spec.contains(staged.action.as_str()));
    }
}

#[test]
fn fields_that_do_not_exist_are_a_warning() {
    let manifest = manifest(
        "NetworkPolicy",
        "p",
        "namespaceSelector: all()\ningress:\n- {action: Allow, from: []}",
    );
    let shown: Vec<String> = manifest.issues.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "p.yaml:5: warning: NetworkPolicy shop/p: spec: has no field `namespaceSelector`, which therefore means nothing",
            "p.yaml:7: warning: NetworkPolicy shop/p: spec.ingress[0]: has no field `from`, which therefore means nothing",
        ]
    );
    assert_eq!(manifest.objects.len(), 1);
}
