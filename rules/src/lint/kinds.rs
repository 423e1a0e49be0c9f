//! Policy kinds that nothing on an ACK cluster enforces (policy-semantics §4.2).

use super::world::World;
use super::{Finding, Found, Lint, Needs, Severity, advice};

pub(super) const NOT_ENFORCED: Lint = Lint {
    id: "kind-not-enforced",
    severity: Severity::High,
    finds: "A policy of a kind that ACK does not enforce: Calico's, Cilium's, or those of policy.networking.k8s.io.",
    matters: "Terway runs the engines of Calico and Cilium, but documents Kubernetes NetworkPolicy only; what these kinds \
        should deny is open.",
    wrong: "The manifests are for another cluster, or an engine of your own enforces them.",
    fix: "Write it as `networking.k8s.io/v1` NetworkPolicy, or as `network.alibabacloud.com` GlobalNetworkPolicy where \
        it concerns all namespaces.",
    needs: Needs::Policies,
};

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    for (object, places) in world.input.checked.iter().zip(&world.input.places) {
        let whose = match (object.group.as_str(), object.kind.as_str()) {
            (
                "projectcalico.org" | "crd.projectcalico.org",
                "NetworkPolicy" | "GlobalNetworkPolicy" | "Tier",
            ) => "Calico's",
            ("cilium.io", "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy") => "Cilium's",
            (
                "policy.networking.k8s.io",
                "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy" | "ClusterNetworkPolicy",
            ) => "the Policy API's",
            _ => continue,
        };
        found.findings.push(Finding {
            lint: &NOT_ENFORCED,
            severity: NOT_ENFORCED.severity,
            file: object.origin.file.clone(),
            line: places.line("kind"),
            object: Some(object.title()),
            field: Some("kind".to_owned()),
            message: format!(
                "{whose} {} is not among the policies that ACK enforces: what it denies stays open there",
                object.kind
            ),
            fix: Some(advice(&NOT_ENFORCED)),
            depends_on: Vec::new(),
        });
    }
}
