//! What only shows when rules and policies are held together: DNS, rules that others cover, numbers.

use super::*;

/// Two policies, the second one's `spec:` wherever it comes.
fn two(first: &str, second: &str) -> String {
    format!("{}---\n{}", named("a", first), named("b", second))
}

#[test]
fn egress_without_dns() {
    let egress = |rules: &str| {
        format!(
            "  podSelector: {{matchLabels: {{app: cart}}}}\n  policyTypes: [Egress]\n  egress:\n{rules}"
        )
    };
    let to_redis = "  - to: [{podSelector: {matchLabels: {app: redis}}}]\n";
    let dns = |ports: &str| {
        egress(&format!(
            "{to_redis}  - to: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: kube-system}}}}, podSelector: {{matchLabels: {{k8s-app: kube-dns}}}}}}]\n    ports: [{ports}]\n"
        ))
    };
    for context in ["", CLUSTER] {
        let found = check_in(
            &policy(&egress(to_redis)),
            context,
            &[("egress-without-dns", 7)],
        );
        assert_eq!(
            found.findings[0].message,
            "isolates pods `app=cart` of namespace shop for egress, and neither UDP nor TCP 53 to the cluster's DNS is \
             admitted for them: names do not resolve"
        );
        let found = check_in(
            &policy(&dns("{port: 53, protocol: UDP}")),
            context,
            &[("egress-without-dns", 7)],
        );
        assert_eq!(found.findings[0].severity, Severity::Low);
        check_in(
            &policy(&dns("{port: 53, protocol: UDP}, {port: 53}")),
            context,
            &[],
        );
        check_in(
            &policy(&dns("{port: dns, protocol: UDP}, {port: dns-tcp}")),
            context,
            &[],
        );
        // Nothing is admitted, so nothing needs a name.
        check_in(&policy(&egress("    []\n")), context, &[]);
        // Another policy admits DNS for all pods of the namespace.
        let for_all = dns("{port: 53, protocol: UDP}, {port: 53}")
            .replace(to_redis, "")
            .replace("{matchLabels: {app: cart}}", "{}");
        check_in(&two(&egress(to_redis), &for_all), context, &[]);
        // For other pods only.
        let for_others =
            dns("{port: 53, protocol: UDP}, {port: 53}").replace("app: cart", "app: other");
        let found = report(
            &two(&egress(to_redis), &for_others),
            context,
            Engine::Unknown,
        );
        assert!(
            found
                .findings
                .iter()
                .any(|f| f.lint.id == "egress-without-dns" && f.line == 7)
        );
        // The node-local cache.
        let local = egress(&format!(
            "{to_redis}  - to: [{{ipBlock: {{cidr: 169.254.20.10/32}}}}]\n"
        ));
        check_in(&policy(&local), context, &[]);
        // Everywhere.
        check_in(&policy(&egress("  - {}\n")), context, &[]);
    }
}

#[test]
fn shadowed_and_duplicate_rules() {
    let rules = |rules: &[&str]| {
        let rules: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
        policy(&format!("  podSelector: {{}}\n  ingress:\n{rules}"))
    };
    let found = check(
        &rules(&[
            "{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 80}]}",
            "{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 80, protocol: TCP}]}",
        ]),
        &[("duplicate-rule", 8)],
    );
    assert_eq!(found.findings[0].message, "says the same as ingress rule 0");
    let found = check(
        &rules(&[
            "{from: [{podSelector: {matchLabels: {app: cart, tier: a}}}, {ipBlock: {cidr: 198.51.100.0/25}}], ports: [{port: 80}]}",
            "{from: [{podSelector: {matchLabels: {app: cart}}}, {ipBlock: {cidr: 198.51.100.0/24}}], ports: [{port: 80}, {port: 81}]}",
        ]),
        &[("shadowed-rule", 7)],
    );
    assert_eq!(
        found.findings[0].message,
        "ingress rule 1 admits all of it: pods `app=cart,tier=a` of namespace shop (part of pods `app=cart` of \
         namespace shop) and 198.51.100.0/25 (part of 198.51.100.0/24); the ports are the same"
    );
    assert!(found.findings[0].depends_on.is_empty());
    // Rules without ports cover those with, ICMP on Cilium aside.
    let found = check(
        &rules(&[
            "{from: [{podSelector: {}}]}",
            "{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 80}]}",
        ]),
        &[("shadowed-rule", 8)],
    );
    assert_eq!(found.findings[0].depends_on, [Unspecified::OtherProtocol]);
    // Nearly.
    for near in [
        [
            "{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 80}]}",
            "{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 80, protocol: UDP}]}",
        ],
        [
            "{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 80}]}",
            "{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}",
        ],
        [
            "{from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}]}",
            "{from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/26]}}], ports: [{port: 80}]}",
        ],
        [
            "{from: [{podSelector: {}}], ports: [{port: 80, endPort: 90}]}",
            "{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 85, endPort: 91}]}",
        ],
        ["{from: [{namespaceSelector: {}}]}", "{ports: [{port: 80}]}"],
    ] {
        check(&rules(&near), &[]);
    }
}

#[test]
fn rules_that_another_policy_covers() {
    let rule = |selector: &str| {
        format!(
            "  podSelector: {selector}\n  ingress:\n  - from: [{{podSelector: {{matchLabels: {{app: cart}}}}}}]\n"
        )
    };
    let found = check(
        &two(&rule("{matchLabels: {app: redis}}"), &rule("{}")),
        &[("shadowed-rule", 7)],
    );
    assert_eq!(
        found.findings[0].message,
        "ingress rule 0 of NetworkPolicy shop/b, which selects all pods of namespace shop and so all of these, admits all \
         of it: the peers are the same; it has no `ports`, so any port is"
    );
    check(&two(&rule("{}"), &rule("{}")), &[("duplicate-rule", 15)]);
    check(
        &two(
            &rule("{matchLabels: {app: redis}}"),
            &rule("{matchLabels: {app: cart}}"),
        ),
        &[],
    );
    // Of another namespace.
    let other = two(&rule("{}"), &rule("{}"))
        .replace("name: b, namespace: shop", "name: b, namespace: dev");
    check(&other, &[]);
    // What only the cluster has covers too, and is not reported itself.
    check_in(
        &policy(&rule("{}")),
        &named("b", &rule("{}")),
        &[("duplicate-rule", 7)],
    );
    // Where Calico's order decides, policies do not just add up.
    let calico = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: g}\nspec: {}\n";
    check_in(&two(&rule("{}"), &rule("{}")), calico, &[]);
}

#[test]
fn shadowed_peers_and_ports() {
    let rule = |from: &str, ports: &str| {
        policy(&format!(
            "  podSelector: {{}}\n  ingress:\n  - from: [{from}]\n    ports: [{ports}]\n"
        ))
    };
    let found = check(
        &rule(
            "{podSelector: {}}, {podSelector: {matchLabels: {app: cart}}}",
            "{port: 80}, {port: 80}",
        ),
        &[("shadowed-peer", 7), ("shadowed-port", 8)],
    );
    assert_eq!(
        found.findings[0].message,
        "entry 0 covers it: pods `app=cart` of namespace shop (part of all pods of namespace shop)"
    );
    assert_eq!(found.findings[1].message, "repeats entry 0");
    let found = check(
        &rule(
            "{ipBlock: {cidr: 198.51.100.0/24}}",
            "{port: 85}, {port: 80, endPort: 90}",
        ),
        &[("shadowed-port", 8)],
    );
    assert_eq!(found.findings[0].depends_on, [Unspecified::EndPort]);
    assert_eq!(
        found.findings[0].field.as_deref(),
        Some("spec.ingress[0].ports[0]")
    );
    check(
        &rule(
            "{ipBlock: {cidr: 198.51.100.0/24}}, {podSelector: {matchLabels: {app: cart}}}, {podSelector: {matchLabels: {app: web}}}",
            "{port: 80}, {port: 80, protocol: UDP}, {port: http}",
        ),
        &[],
    );
}

#[test]
fn limits_of_scale() {
    let policies = |number: usize| -> String {
        let each = |n| format!("{}---\n", named(&format!("p{n}"), "  podSelector: {}"));
        (0..number).map(each).collect()
    };
    check(&policies(100), &[]);
    let found = check(&policies(101), &[("too-many-policies", 601)]);
    assert_eq!(
        found.findings[0].message,
        "the cluster would have 101 NetworkPolicies, more than the 100 or so that ACK recommends"
    );
    check_in(
        &policies(1),
        &policies(101).replace("name: p", "name: q"),
        &[("too-many-policies", 1)],
    );

    let global = |name: &str, rules: usize, ports: usize| {
        let ports = vec!["{port: 80}"; ports].join(", ");
        let rules = vec![format!("    - ports: [{ports}]\n"); rules].concat();
        format!(
            "apiVersion: network.alibabacloud.com/v1beta2\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\nspec:\n  ingress:\n{rules}---\n"
        )
    };
    let too_large = |text: &str| -> Vec<u32> {
        let report = report(text, "", Engine::Unknown);
        let of_size = report
            .findings
            .iter()
            .filter(|f| f.lint.id == "global-policy-too-large");
        of_size.map(|f| f.line).collect()
    };
    assert!(too_large(&global("g", 19, 9)).is_empty());
    assert_eq!(too_large(&global("g", 20, 1)), [4]);
    assert_eq!(too_large(&global("g", 2, 10)), [6, 7]);
    let many = |number: usize| -> String {
        (0..number)
            .map(|n| global(&format!("g{n}"), 1, 1))
            .collect()
    };
    assert_eq!(too_large(&many(99)).len(), 0);
    assert_eq!(too_large(&many(100)), [694]);
}

/// Too much to hold against each other ends, and says so.
#[test]
fn hostile_input_ends() {
    let peers: String = (0..20_000)
        .map(|n| format!("    - podSelector: {{matchLabels: {{app: a{n}}}}}\n"))
        .collect();
    let text = policy(&format!(
        "  podSelector: {{}}\n  ingress:\n  - from:\n{peers}"
    ));
    let report = report(&text, "", Engine::Unknown);
    let stopped = report
        .not_checked
        .iter()
        .find(|not| not.lints.contains(&"shadowed-peer"));
    assert!(stopped.is_some(), "{:?}", report.not_checked);
}
