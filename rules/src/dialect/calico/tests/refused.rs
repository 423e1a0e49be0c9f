//! What Calico would not accept, with the field and the line that say so.

use super::*;

/// The object is refused with this field and message, on the line of the spec counted from 1; -1 is the name.
#[track_caller]
fn refused(kind: &str, name: &str, spec: &str, line: i32, expected: &str) {
    let manifest = manifest(kind, name, spec);
    assert_eq!(manifest.objects, [], "{spec}");
    let errors = manifest
        .issues
        .iter()
        .filter(|issue| issue.severity == Severity::Error);
    let shown: Vec<String> = errors.map(ToString::to_string).collect();
    let line = line + 4;
    let expected = format!("p.yaml:{line}: error: {kind} shop/{name}: {expected}");
    assert_eq!(shown, [expected]);
}

#[test]
fn policies_that_are_refused() {
    #[track_caller]
    fn check(kind: &str, spec: &str, line: i32, expected: &str) {
        refused(kind, "p", spec, line, expected);
    }
    let (namespaced, global) = ("NetworkPolicy", "GlobalNetworkPolicy");
    check(
        namespaced,
        "order: first",
        1,
        "spec.order: must be a number",
    );
    check(
        namespaced,
        "selector: a = 'b'",
        1,
        "spec.selector: is no selector: expected an operator after the key `a`, at character 3",
    );
    check(
        namespaced,
        "selector: {a: b}",
        1,
        "spec.selector: must be a text, is a map",
    );
    check(
        namespaced,
        "selector: global()",
        1,
        "spec.selector: must not be `global()`",
    );
    check(
        namespaced,
        "serviceAccountSelector: global()",
        1,
        "spec.serviceAccountSelector: must not be `global()`",
    );
    check(
        global,
        "namespaceSelector: global()",
        1,
        "spec.namespaceSelector: must not be `global()`",
    );
    check(
        namespaced,
        "types: [ingress]",
        1,
        "spec.types[0]: `ingress` is not a policy type",
    );
    check(
        namespaced,
        "types: [Ingress, Ingress]",
        1,
        "spec.types[1]: is listed twice",
    );
    check(
        namespaced,
        "tier: a.b",
        1,
        "spec.tier: `a.b` is not the name of a tier",
    );
    check(
        global,
        "doNotTrack: true",
        1,
        "spec.doNotTrack: needs applyOnForward",
    );
    check(
        global,
        "preDNAT: true",
        1,
        "spec.preDNAT: needs applyOnForward",
    );
    check(
        global,
        "applyOnForward: true\npreDNAT: true\ndoNotTrack: true",
        2,
        "spec.preDNAT: must not stand beside doNotTrack",
    );
    check(
        global,
        "applyOnForward: true\npreDNAT: true\ntypes: [Egress]",
        2,
        "spec.preDNAT: is for ingress only",
    );
    check(
        global,
        "applyOnForward: true\npreDNAT: true\ntypes: [Ingress]\negress: [{action: Allow}]",
        2,
        "spec.preDNAT: is for ingress only",
    );
    check(
        global,
        "doNotTrack: 1",
        1,
        "spec.doNotTrack: must be true or false, is the number 1",
    );
    refused(
        namespaced,
        "default.",
        "{}",
        -1,
        "metadata.name: `default.` is not a name Kubernetes accepts",
    );
}

#[test]
fn rules_that_are_refused() {
    #[track_caller]
    fn check(rule: &str, expected: &str) {
        let spec = format!("ingress:\n- {{{rule}}}");
        refused(
            "NetworkPolicy",
            "p",
            &spec,
            2,
            &format!("spec.ingress[0]{expected}"),
        );
    }
    #[track_caller]
    fn allowing(rule: &str, expected: &str) {
        check(&format!("action: Allow, {rule}"), expected);
    }
    check("protocol: TCP", ".action: is missing");
    check("action: allow", ".action: `allow` is not an action");
    allowing("ipVersion: 5", ".ipVersion: 5 is not an IP version");
    allowing(
        "protocol: FTP",
        ".protocol: the text `FTP` is not a protocol here",
    );
    allowing(
        "protocol: 0",
        ".protocol: the number 0 is not a protocol here",
    );
    allowing(
        "protocol: 256",
        ".protocol: the number 256 is not a protocol here",
    );
    let needs = "needs TCP, UDP or SCTP as protocol of the rule";
    allowing(
        "destination: {ports: [80]}",
        &format!(".destination.ports: {needs}"),
    );
    allowing(
        "source: {notPorts: [80]}",
        &format!(".source.notPorts: {needs}"),
    );
    allowing(
        "protocol: ICMP, destination: {ports: [80]}",
        &format!(".destination.ports: {needs}"),
    );
    allowing(
        "notProtocol: TCP, destination: {notPorts: [80]}",
        &format!(".destination.notPorts: {needs}"),
    );
    let tcp = |port: &str| format!("protocol: TCP, destination: {{ports: [{port}]}}");
    let field = ".destination.ports[0]:";
    allowing(
        &tcp("0"),
        &format!("{field} 0 is not a port: it must be from 1 to 65535"),
    );
    allowing(
        &tcp("65536"),
        &format!("{field} 65536 is not a port: it must be from 1 to 65535"),
    );
    allowing(&tcp("'2:1'"), &format!("{field} 1 is below 2"));
    allowing(&tcp("'0:1'"), &format!("{field} `0:1` is not a port"));
    allowing(
        &tcp("'1:65536'"),
        &format!("{field} `1:65536` is not a port"),
    );
    allowing(&tcp("'a b'"), &format!("{field} `a b` is not a port"));
    allowing(&tcp("''"), &format!("{field} `` is not a port"));
    allowing(&tcp("'+80'"), &format!("{field} `+80` is not a port"));
    allowing(&tcp("'99999'"), &format!("{field} `99999` is not a port"));
    let needs = "needs ICMP or ICMPv6 as protocol of the rule";
    allowing("icmp: {type: 8}", &format!(".icmp: {needs}"));
    allowing(
        "protocol: TCP, notICMP: {type: 8}",
        &format!(".notICMP: {needs}"),
    );
    allowing(
        "protocol: ICMP, icmp: {type: 255}",
        ".icmp.type: 255 is out of range",
    );
    allowing(
        "protocol: ICMP, icmp: {type: 8, code: 256}",
        ".icmp.code: 256 is out of range",
    );
    allowing(
        "protocol: ICMP, icmp: {code: 0}",
        ".icmp.code: must not stand without a type",
    );
    allowing(
        "ipVersion: 6, protocol: ICMP",
        ".ipVersion: is not the IP version of this ICMP",
    );
    allowing(
        "ipVersion: 4, notProtocol: ICMPv6",
        ".ipVersion: is not the IP version of this ICMP",
    );
    allowing(
        "source: {nets: [10.0.0.1]}",
        ".source.nets[0]: `10.0.0.1` is not an address block",
    );
    allowing(
        "source: {nets: [null]}",
        ".source.nets[0]: `` is not an address block",
    );
    allowing(
        "source: {nets: [10.0.0.0/8, '2001:db8::/32']}",
        ".source.nets: mixes IPv4 and IPv6 within one rule",
    );
    allowing(
        "source: {nets: [10.0.0.0/8]}, destination: {notNets: ['2001:db8::/32']}",
        ".destination.notNets: mixes IPv4 and IPv6 within one rule",
    );
    allowing(
        "ipVersion: 6, source: {nets: [10.0.0.0/8]}",
        ".source.nets: has addresses of another family than ipVersion",
    );
    allowing(
        "source: {selector: global()}",
        ".source.selector: must not be `global()`",
    );
    allowing(
        "source: {notSelector: a}",
        ".source.notSelector: is no selector: expected an operator after the key `a`, at character 2",
    );
    allowing(
        "source: {namespaceSelector: global() && has(a)}",
        ".source.namespaceSelector: is no selector: `global()` cannot be combined with anything, at character 10",
    );
    allowing(
        "source: {serviceAccounts: {names: [a_b]}}",
        ".source.serviceAccounts.names[0]: `a_b` is not a name Kubernetes accepts",
    );
    allowing(
        "source: {services: {}}",
        ".source.services.name: is missing",
    );
    allowing(
        "source: {services: {name: s}, selector: has(a)}",
        ".source.services: must not stand beside nets or selectors",
    );
    for beside in [
        "notSelector: has(a)",
        "namespaceSelector: has(a)",
        "serviceAccounts: {names: [a]}",
        "notNets: [10.0.0.0/8]",
    ] {
        allowing(
            &format!("source: {{services: {{name: s}}, {beside}}}"),
            ".source.services: must not stand beside nets or selectors",
        );
    }
    allowing(
        "source: {services: {name: s}, nets: [10.0.0.0/8]}",
        ".source.services: must not stand beside nets or selectors",
    );
    allowing(
        "destination: {services: {name: s}}",
        ".destination.services: must name the other end",
    );
    allowing(
        "protocol: UDP, http: {methods: [GET]}",
        ".http: needs TCP as protocol of the rule",
    );
    check(
        "action: Deny, http: {methods: [GET]}",
        ".http: is only for ingress rules that allow",
    );

    refused(
        "NetworkPolicy",
        "p",
        "egress:\n- {action: Allow, http: {}}",
        2,
        "spec.egress[0].http: is only for ingress rules that allow",
    );
    refused(
        "NetworkPolicy",
        "p",
        "egress:\n- {action: Allow, source: {services: {name: s}}}",
        2,
        "spec.egress[0].source.services: must name the other end",
    );
    refused(
        "NetworkPolicy",
        "p",
        "egress:\n- {action: Allow, protocol: TCP, destination: {services: {name: s}, ports: [1]}}",
        2,
        "spec.egress[0].destination.services: must not stand beside ports",
    );
    refused(
        "GlobalNetworkPolicy",
        "p",
        "egress:\n- {action: Allow, destination: {services: {name: s}}}",
        2,
        "spec.egress[0].destination.services: needs a namespace",
    );
}

#[test]
fn other_kinds_that_are_refused() {
    refused(
        "Tier",
        "a.b",
        "{}",
        -1,
        "metadata.name: `a.b` is not a name for a tier",
    );
    refused(
        "Tier",
        "default",
        "order: 5",
        1,
        "spec.order: of the tier `default` is always 1000000",
    );
    refused(
        "Tier",
        "default",
        "order: 1000000\ndefaultAction: Pass",
        2,
        "spec.defaultAction: of the tier `default` is always Deny",
    );
    refused(
        "Tier",
        "sec",
        "defaultAction: Allow",
        1,
        "spec.defaultAction: `Allow` is not a default action",
    );
    refused(
        "NetworkSet",
        "s",
        "nets: [10.0.0.0/33]",
        1,
        "spec.nets[0]: `10.0.0.0/33` is not an address block",
    );
    refused(
        "HostEndpoint",
        "h",
        "interfaceName: eth0",
        0,
        "spec.node: is missing",
    );
    refused(
        "HostEndpoint",
        "h",
        "node: n1",
        0,
        "spec.interfaceName: is missing",
    );
    refused(
        "HostEndpoint",
        "h",
        "node: n1\nexpectedIPs: [eth0]",
        2,
        "spec.expectedIPs[0]: `eth0` is not an address",
    );
    refused(
        "StagedNetworkPolicy",
        "p",
        "stagedAction: Add",
        1,
        "spec.stagedAction: `Add` is no staged action",
    );
}
