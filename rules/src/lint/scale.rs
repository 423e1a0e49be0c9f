//! What Terway and ACK's own kinds are said to bear (policy-semantics §4.2, §4.3).

use super::world::World;
use super::{Finding, Found, Lint, Needs, Severity, advice};
use crate::kubernetes::{Body, Object, Places};

pub(super) const TOO_MANY_POLICIES: Lint = Lint {
    id: "too-many-policies",
    severity: Severity::Medium,
    finds: "More NetworkPolicies in one cluster than ACK recommends: about 100.",
    matters: "Every node works out every policy; beyond that changes take effect late, and new pods wait for the network.",
    wrong: "The files belong to several clusters: check them apart.",
    fix: "Join policies that select the same pods, and use labels that several workloads share; a \
        `network.alibabacloud.com` GlobalNetworkPolicy can replace one policy per namespace.",
    needs: Needs::Policies,
};

pub(super) const GLOBAL_POLICY_TOO_LARGE: Lint = Lint {
    id: "global-policy-too-large",
    severity: Severity::Medium,
    finds: "More `network.alibabacloud.com` GlobalNetworkPolicies, rules or ports than ACK allows: fewer than 100 objects, \
        20 rules in an object, 10 ports in a rule.",
    matters: "What lies beyond the documented limits may not be enforced.",
    wrong: "ACK has raised the limits since.",
    fix: "Part it into several objects, or use port ranges and broader selectors.",
    needs: Needs::Policies,
};

/// "About 100".
const POLICIES_MAX: usize = 100;
/// The rest are bounds that must stay below.
const GLOBAL_POLICIES_BELOW: usize = 100;
const RULES_BELOW: usize = 20;
const PORTS_BELOW: usize = 10;

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    let count = world.policies.len();
    let checked = || world.input.checked.iter().zip(&world.input.places);
    if count > POLICIES_MAX
        && let Some((object, places)) =
            checked().rfind(|(object, _)| matches!(object.body, Body::NetworkPolicy(_)))
    {
        let message = format!(
            "the cluster would have {count} NetworkPolicies, more than the {POLICIES_MAX} or so that ACK recommends"
        );
        add(found, &TOO_MANY_POLICIES, (object, places), "", message);
    }
    let is_global = |object: &Object| {
        object.group == "network.alibabacloud.com" && object.kind == "GlobalNetworkPolicy"
    };
    let mut names: Vec<&str> = world
        .input
        .objects()
        .filter(|object| is_global(object))
        .map(|object| object.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.len() >= GLOBAL_POLICIES_BELOW
        && let Some(at) = checked().rfind(|(object, _)| is_global(object))
    {
        let message = format!(
            "the cluster would have {} GlobalNetworkPolicies; ACK allows fewer than {GLOBAL_POLICIES_BELOW}",
            names.len()
        );
        add(found, &GLOBAL_POLICY_TOO_LARGE, at, "", message);
    }
    for at in checked().filter(|(object, _)| is_global(object)) {
        one_global(found, at);
    }
}

fn one_global(found: &mut Found, at: (&Object, &Places)) {
    let places = at.1;
    let sections = ["spec.ingress", "spec.egress"];
    let rules: usize = sections.iter().map(|section| places.count(section)).sum();
    if rules >= RULES_BELOW {
        let message =
            format!("has {rules} rules; ACK allows fewer than {RULES_BELOW} in one object");
        add(found, &GLOBAL_POLICY_TOO_LARGE, at, "spec", message);
    }
    for section in sections {
        for rule in 0..places.count(section) {
            let field = format!("{section}[{rule}].ports");
            let ports = places.count(&field);
            if ports >= PORTS_BELOW {
                let message =
                    format!("has {ports} ports; ACK allows fewer than {PORTS_BELOW} in one rule");
                add(found, &GLOBAL_POLICY_TOO_LARGE, at, &field, message);
            }
        }
    }
}

fn add(
    found: &mut Found,
    lint: &'static Lint,
    (object, places): (&Object, &Places),
    field: &str,
    message: String,
) {
    found.findings.push(Finding {
        lint,
        severity: lint.severity,
        file: object.origin.file.clone(),
        line: places.line(field),
        object: Some(object.title()),
        field: (!field.is_empty()).then(|| field.to_owned()),
        message,
        fix: Some(advice(lint)),
        depends_on: Vec::new(),
    });
}
