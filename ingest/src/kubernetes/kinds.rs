//! What is asked of a cluster: each kind once, with the versions that are read and what is missed without it.
//!
//! The RBAC file of the documentation allows exactly these; a test holds the two against each other. Secrets are not among
//! them, and of ConfigMaps only the one that configures Terway.

/// One kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its API group; empty for the core group.
    pub group: &'static str,
    /// The versions that are read, the best first; whichever the cluster serves.
    pub versions: &'static [&'static str],
    /// Its kind.
    pub kind: &'static str,
    /// As it is written in paths and rights.
    pub resource: &'static str,
    /// Where only one object of the kind is asked for: its namespace and name.
    pub only: Option<(&'static str, &'static str)>,
    /// What is not known without it.
    pub cost: &'static str,
}

const fn kind(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    resource: &'static str,
    cost: &'static str,
) -> Kind {
    Kind {
        group,
        versions,
        kind,
        resource,
        only: None,
        cost,
    }
}

const TERWAY: &str = "network.alibabacloud.com";
const CALICO: &str = "crd.projectcalico.org";
const CALICO_API: &str = "projectcalico.org";
const CILIUM: &str = "cilium.io";
const ADMIN: &str = "policy.networking.k8s.io";

const POLICIES: &str = "connections that these policies decide are judged as if there were none";
const SETS: &str = "policies that name these sets are judged as if the sets were empty";
const RETURNS: &str = "when an address came back is known less exactly";
const OWNERS: &str = "workloads are named by the pattern of a pod's name only";

/// All kinds, in the order in which they are listed: what gives meaning to the rest comes first.
pub const KINDS: &[Kind] = &[
    kind(
        "",
        &["v1"],
        "Namespace",
        "namespaces",
        "policies that select namespaces by label cannot be judged",
    ),
    kind(
        "",
        &["v1"],
        "Node",
        "nodes",
        "addresses of nodes, and of pods that share them, stay unidentified",
    ),
    kind("apps", &["v1"], "ReplicaSet", "replicasets", OWNERS),
    kind("batch", &["v1"], "Job", "jobs", OWNERS),
    kind(
        "",
        &["v1"],
        "Pod",
        "pods",
        "no address can be said to be a pod's",
    ),
    kind(
        "",
        &["v1"],
        "Service",
        "services",
        "addresses of Services and load balancers stay unidentified",
    ),
    kind(
        "",
        &["v1"],
        "ServiceAccount",
        "serviceaccounts",
        "policies of Calico that select by labels of service accounts cannot be judged",
    ),
    kind(
        "discovery.k8s.io",
        &["v1", "v1beta1"],
        "EndpointSlice",
        "endpointslices",
        "which pods stood behind a Service is not known",
    ),
    kind(
        "networking.k8s.io",
        &["v1"],
        "NetworkPolicy",
        "networkpolicies",
        POLICIES,
    ),
    kind(
        ADMIN,
        &["v1alpha1"],
        "AdminNetworkPolicy",
        "adminnetworkpolicies",
        POLICIES,
    ),
    kind(
        ADMIN,
        &["v1alpha1"],
        "BaselineAdminNetworkPolicy",
        "baselineadminnetworkpolicies",
        POLICIES,
    ),
    kind(
        ADMIN,
        &["v1alpha2"],
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
        POLICIES,
    ),
    kind(
        TERWAY,
        &["v1beta2", "v1beta1"],
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
        POLICIES,
    ),
    kind(CALICO, &["v1"], "Tier", "tiers", POLICIES),
    kind(
        CALICO,
        &["v1"],
        "NetworkPolicy",
        "networkpolicies",
        POLICIES,
    ),
    kind(
        CALICO,
        &["v1"],
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
        POLICIES,
    ),
    kind(CALICO, &["v1"], "NetworkSet", "networksets", SETS),
    kind(
        CALICO,
        &["v1"],
        "GlobalNetworkSet",
        "globalnetworksets",
        SETS,
    ),
    kind(CALICO, &["v1"], "HostEndpoint", "hostendpoints", POLICIES),
    kind(CALICO_API, &["v3"], "Tier", "tiers", POLICIES),
    kind(
        CALICO_API,
        &["v3"],
        "NetworkPolicy",
        "networkpolicies",
        POLICIES,
    ),
    kind(
        CALICO_API,
        &["v3"],
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
        POLICIES,
    ),
    kind(CALICO_API, &["v3"], "NetworkSet", "networksets", SETS),
    kind(
        CALICO_API,
        &["v3"],
        "GlobalNetworkSet",
        "globalnetworksets",
        SETS,
    ),
    kind(
        CALICO_API,
        &["v3"],
        "HostEndpoint",
        "hostendpoints",
        POLICIES,
    ),
    kind(
        CILIUM,
        &["v2"],
        "CiliumNetworkPolicy",
        "ciliumnetworkpolicies",
        POLICIES,
    ),
    kind(
        CILIUM,
        &["v2"],
        "CiliumClusterwideNetworkPolicy",
        "ciliumclusterwidenetworkpolicies",
        POLICIES,
    ),
    kind(
        CILIUM,
        &["v2", "v2alpha1"],
        "CiliumCIDRGroup",
        "ciliumcidrgroups",
        SETS,
    ),
    kind(TERWAY, &["v1beta1"], "Node", "nodes", RETURNS),
    kind(
        TERWAY,
        &["v1beta1"],
        "PodENI",
        "podenis",
        "further addresses of a pod, and those on interfaces of its own, are not known",
    ),
    kind(TERWAY, &["v1beta1"], "NodeRuntime", "noderuntimes", RETURNS),
    Kind {
        only: Some(("kube-system", "eni-config")),
        ..kind(
            "",
            &["v1"],
            "ConfigMap",
            "configmaps",
            "whether and by what policies are enforced must be told by `--engine`",
        )
    },
];

impl Kind {
    /// How rights and messages name it: `pods`, `podenis.network.alibabacloud.com`.
    #[must_use]
    pub fn right(&self) -> String {
        match (self.group, self.only) {
            ("", None) => self.resource.to_owned(),
            ("", Some((_, name))) => format!("{} (`{name}` only)", self.resource),
            (group, _) => format!("{}.{group}", self.resource),
        }
    }

    /// The path of its objects in one version.
    #[must_use]
    pub fn path(&self, version: &str) -> String {
        let root = match self.group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        match self.only {
            None => format!("{root}/{}", self.resource),
            Some((namespace, _)) => format!("{root}/namespaces/{namespace}/{}", self.resource),
        }
    }

    /// What is selected of its objects, ready for a query.
    #[must_use]
    pub fn selection(&self) -> String {
        match self.only {
            None => String::new(),
            Some((_, name)) => format!("&fieldSelector=metadata.name%3D{name}"),
        }
    }

    /// Whether another kind of the list shows the same objects, and better: Calico's own API and what it is kept in.
    #[must_use]
    pub fn is_shown_by(&self, other: &Kind) -> bool {
        self.group == CALICO_API && other.group == CALICO && self.kind == other.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let path = |resource: &str| {
            let kind = KINDS
                .iter()
                .find(|kind| kind.resource == resource)
                .expect("a kind of the list");
            (kind.path(kind.versions[0]), kind.selection())
        };
        assert_eq!(path("pods"), ("/api/v1/pods".to_owned(), String::new()));
        assert_eq!(
            path("podenis").0,
            "/apis/network.alibabacloud.com/v1beta1/podenis"
        );
        assert_eq!(
            path("configmaps"),
            (
                "/api/v1/namespaces/kube-system/configmaps".to_owned(),
                "&fieldSelector=metadata.name%3Deni-config".to_owned()
            )
        );
    }

    #[test]
    fn no_kind_is_there_twice_and_none_is_a_secret() {
        let mut names: Vec<String> = KINDS.iter().map(Kind::right).collect();
        assert!(!names.iter().any(|name| name.starts_with("secrets")));
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
