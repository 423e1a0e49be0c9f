//! All policies of a cluster at one instant, ready to be asked.

use std::collections::{BTreeMap, HashMap};

use crate::cluster::Pod;
use crate::dialect::network_policy::{NetworkPolicy, Peer};
use crate::kubernetes::{Body, Issue, Object};

/// NetworkPolicies, by namespace and name. The order in which they came does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    by_namespace: BTreeMap<String, BTreeMap<String, NetworkPolicy>>,
}

impl PolicySet {
    /// A set of these policies. Of several with one name the last counts.
    pub fn new(policies: impl IntoIterator<Item = NetworkPolicy>) -> Self {
        let mut set = Self::default();
        for policy in policies {
            let namespace = set
                .by_namespace
                .entry(policy.namespace.clone())
                .or_default();
            namespace.insert(policy.name.clone(), policy);
        }
        set
    }

    /// The policies among `objects`, and a warning for every policy that came more than once.
    pub fn from_objects(objects: &[Object]) -> (Self, Vec<Issue>) {
        let mut seen: HashMap<(&str, &str), &Object> = HashMap::new();
        let mut issues = Vec::new();
        let mut policies = Vec::new();
        for object in objects {
            if let Body::NetworkPolicy(policy) = &object.body {
                if let Some(earlier) = seen.insert((&policy.namespace, &policy.name), object) {
                    issues.push(Issue::repeated(object, earlier));
                }
                policies.push(policy.clone());
            }
        }
        (Self::new(policies), issues)
    }

    /// The policies of one namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &NetworkPolicy> {
        self.by_namespace
            .get(namespace)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// The policy called `name` in `namespace`.
    pub fn policy(&self, namespace: &str, name: &str) -> Option<&NetworkPolicy> {
        self.by_namespace.get(namespace)?.get(name)
    }

    /// All policies, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &NetworkPolicy> {
        self.by_namespace.values().flat_map(BTreeMap::values)
    }

    /// Every CIDR that some policy names, exceptions included. Two addresses inside exactly the same of them are the
    /// same to all policies.
    pub fn cidrs(&self) -> impl Iterator<Item = ipnet::IpNet> {
        let rules = self
            .iter()
            .flat_map(|policy| policy.ingress.iter().chain(&policy.egress).flatten());
        let blocks = rules
            .flat_map(|rule| &rule.peers)
            .filter_map(|peer| match peer {
                Peer::Block(block) => Some(block),
                _ => None,
            });
        blocks.flat_map(|block| std::iter::once(block.cidr).chain(block.except.iter().copied()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_namespace.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_namespace.is_empty()
    }

    /// The policies that select `pod`, by name. Whether the pod's network lets any policy select it is for the
    /// caller to know: host-network pods are open (policy-semantics §1.6).
    pub fn selecting(&self, pod: &Pod) -> Vec<&NetworkPolicy> {
        self.in_namespace(&pod.namespace)
            .filter(|policy| policy.pod_selector.matches(&pod.labels))
            .collect()
    }
}
