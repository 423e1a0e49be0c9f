//! All policies of a cluster at one instant, ready to be asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::cluster::{Cluster, Node, Pod};
use crate::dialect::{self, calico, network_policy::NetworkPolicy};
use crate::kubernetes::{Body, Issue, Object};
use crate::label::PodInNamespace;
use crate::policy::{Direction, Kind, Namespaces, Policy, PolicyId, Subject};
use crate::reading::Unspecified;

/// Policies of all dialects in the order in which they are walked. The order in which they came does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    /// By tier, order and name.
    policies: Vec<Arc<Policy>>,
    /// Those that can only select pods of one namespace, as positions in `policies`, upwards.
    by_namespace: HashMap<String, Vec<usize>>,
    /// Those that may select pods of any namespace.
    of_any_namespace: Vec<usize>,
    /// Those that select nodes.
    of_nodes: Vec<usize>,
}

/// What [`PolicySet::replace`] did.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    /// What is no longer in the set.
    pub(crate) gone: Vec<Arc<Policy>>,
    /// What is in it now.
    pub(crate) come: Vec<Arc<Policy>>,
}

impl PolicySet {
    /// A set of these NetworkPolicies. Of several with one name the last counts.
    pub fn new(policies: impl IntoIterator<Item = NetworkPolicy>) -> Self {
        let policies = policies.into_iter().map(|policy| Policy::from(&policy));
        let by_id: BTreeMap<PolicyId, Policy> =
            policies.map(|policy| (policy.id.clone(), policy)).collect();
        Self::from_policies(by_id.into_values().collect())
    }

    /// A set of these policies. A dialect may make several of one object, which then share its identity and all count.
    pub fn from_policies(mut policies: Vec<Policy>) -> Self {
        if has_both_versions(policies.iter()) {
            for policy in policies.iter_mut().filter(|p| version(p).is_some()) {
                policy.open.get_or_insert(Unspecified::BothVersions);
            }
        }
        // A stable sort: the parts of one object stay in their order.
        policies.sort_by(|a, b| a.place().cmp(&b.place()));
        let mut set = Self::default();
        for (position, policy) in policies.iter().enumerate() {
            set.list(policy).push(position);
        }
        set.policies = policies.into_iter().map(Arc::new).collect();
        set
    }

    /// Puts `parts` in the place of whatever the set has of one object; none take it away. They have its identity.
    ///
    /// What a dialect took from other objects, Calico from its network sets for example, is lowered again by the caller.
    pub fn replace_object(&mut self, id: &PolicyId, parts: Vec<Policy>) {
        self.replace(id, parts);
    }

    pub(crate) fn replace(&mut self, id: &PolicyId, parts: Vec<Policy>) -> Replaced {
        debug_assert!(parts.iter().all(|part| part.id == *id));
        let mut replaced = Replaced::default();
        let had_both = has_both_versions(self.iter());
        self.take(id, &mut replaced);
        for part in parts {
            self.put(Arc::new(part), &mut replaced);
        }
        let has_both = has_both_versions(self.iter());
        if had_both || has_both {
            self.mark_versions(has_both, &mut replaced);
        }
        replaced
    }

    /// Says of the policies of policy.networking.k8s.io whether it is open that they count.
    fn mark_versions(&mut self, is_open: bool, replaced: &mut Replaced) {
        let (from, to) = match is_open {
            true => (None, Some(Unspecified::BothVersions)),
            false => (Some(Unspecified::BothVersions), None),
        };
        for policy in &mut self.policies {
            if version(policy).is_none() || policy.open != from {
                continue;
            }
            let before = Arc::clone(policy);
            Arc::make_mut(policy).open = to;
            match replaced
                .come
                .iter_mut()
                .find(|come| Arc::ptr_eq(come, &before))
            {
                Some(come) => *come = Arc::clone(policy),
                None => {
                    replaced.gone.push(before);
                    replaced.come.push(Arc::clone(policy));
                }
            }
        }
    }

    /// The list that holds `policy` beside the list of all.
    fn list(&mut self, policy: &Policy) -> &mut Vec<usize> {
        match &policy.subject {
            Subject::Nodes(_) => &mut self.of_nodes,
            Subject::Pods(pods) => match &pods.namespaces {
                Namespaces::Named(name) => self.by_namespace.entry(name.clone()).or_default(),
                Namespaces::Matching(_) => &mut self.of_any_namespace,
            },
        }
    }

    fn positions(&mut self) -> impl Iterator<Item = &mut usize> {
        let lists = self.by_namespace.values_mut();
        let lists = lists.chain([&mut self.of_any_namespace, &mut self.of_nodes]);
        lists.flatten()
    }

    fn put(&mut self, policy: Arc<Policy>, replaced: &mut Replaced) {
        // After its like: the parts of one object stay in their order.
        let is_before = |other: &Arc<Policy>| other.place() <= policy.place();
        let position = self.policies.partition_point(is_before);
        for other in self.positions().filter(|other| **other >= position) {
            *other += 1;
        }
        let list = self.list(&policy);
        list.insert(list.partition_point(|other| *other < position), position);
        self.policies.insert(position, Arc::clone(&policy));
        replaced.come.push(policy);
    }

    fn take(&mut self, id: &PolicyId, replaced: &mut Replaced) {
        for position in (0..self.policies.len()).rev() {
            if self.policies.get(position).is_some_and(|p| p.id == *id) {
                let policy = self.policies.remove(position);
                self.list(&policy).retain(|other| *other != position);
                for other in self.positions().filter(|other| **other > position) {
                    *other -= 1;
                }
                replaced.gone.push(policy);
            }
        }
        self.by_namespace.retain(|_, list| !list.is_empty());
    }

    /// The policies among `objects`, and a warning for every policy that came more than once.
    pub fn from_objects(objects: &[Object]) -> (Self, Vec<Issue>) {
        let mut issues = calico::lower::issues(objects);
        let mut by_key: BTreeMap<ObjectKey<'_>, &Object> = BTreeMap::new();
        let mut others: Vec<&Body> = Vec::new();
        for object in objects {
            let (group, name) = match &object.body {
                // One object may be read from both of Calico's groups.
                Body::Calico(resource) => (calico::GROUP, resource.name()),
                body if body.is_policy() => (object.group.as_str(), object.name.as_str()),
                body => {
                    others.push(body);
                    continue;
                }
            };
            let namespace = object.namespace.as_deref();
            let key = (group, object.kind.as_str(), namespace, name);
            if let Some(earlier) = by_key.insert(key, object) {
                issues.push(Issue::repeated(object, earlier));
            }
        }
        let policies = by_key.into_values().map(|object| &object.body);
        (Self::from_bodies(policies.chain(others)), issues)
    }

    /// The policies among the bodies of objects, of which no two are of one kind and name. Policies may refer to other
    /// objects: namespaces, Services and service accounts belong among them.
    pub fn from_bodies<'b>(bodies: impl IntoIterator<Item = &'b Body>) -> Self {
        let bodies: Vec<&Body> = bodies.into_iter().collect();
        Self::from_policies(dialect::lower(&bodies))
    }

    /// All policies, in the order in which they are walked.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().map(Arc::as_ref)
    }

    /// The same, to be shared.
    pub(crate) fn shared(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Where a policy of the set stands in its order.
    pub(crate) fn position(&self, policy: &Arc<Policy>) -> Option<usize> {
        let place = policy.place();
        let first = self.policies.partition_point(|other| other.place() < place);
        let mut like = self.policies.get(first..)?.iter();
        let offset = like.position(|other| Arc::ptr_eq(other, policy))?;
        Some(first + offset)
    }

    /// The first part of the policy of this kind and name; `None` as namespace for cluster-scoped kinds.
    pub fn policy(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Option<&Policy> {
        self.iter().find(|policy| {
            policy.id.kind == kind
                && policy.id.namespace.as_deref() == namespace
                && policy.id.name == name
        })
    }

    /// Every CIDR that some policy names, exceptions included. Two addresses inside exactly the same of them are the
    /// same to all policies.
    pub fn cidrs(&self) -> impl Iterator<Item = ipnet::IpNet> {
        let rules = self.iter().flat_map(Policy::all_rules);
        let mut seen = HashSet::new();
        rules.flat_map(move |rule| rule.cidrs(&mut seen))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies that select `pod`, in the order in which they are walked. Whether a host-network pod is selected
    /// is open to NetworkPolicy and its like (policy-semantics §1.6); policies of other kinds never select one.
    pub fn selecting(&self, pod: &Pod, cluster: &Cluster) -> Vec<&Policy> {
        let seen = PodInNamespace {
            pod,
            namespace: cluster.namespace(&pod.namespace),
        };
        let of_one = self.by_namespace.get(&pod.namespace);
        let of_one = of_one.map(Vec::as_slice).unwrap_or_default();
        let selects = |index: usize| {
            let policy = self.policies.get(index)?;
            let Subject::Pods(pods) = &policy.subject else {
                return None;
            };
            let may = !pod.host_network || policy.id.kind.is_like_network_policy();
            (may && pods.select(&seen)).then_some(policy.as_ref())
        };
        merge(of_one, &self.of_any_namespace)
            .filter_map(selects)
            .collect()
    }

    /// The policies that select `node`, in the order in which they are walked.
    pub fn selecting_node(&self, node: &Node) -> Vec<&Policy> {
        let policies = self.of_nodes.iter().filter_map(|&i| self.policies.get(i));
        policies
            .map(Arc::as_ref)
            .filter(
                |policy| matches!(&policy.subject, Subject::Nodes(nodes) if nodes.matches(node)),
            )
            .collect()
    }

    /// Whether some policy isolates `pod` for `direction`.
    pub fn isolates(&self, pod: &Pod, cluster: &Cluster, direction: Direction) -> bool {
        let policies = self.selecting(pod, cluster);
        policies.iter().any(|policy| policy.isolates(direction))
    }
}

/// Which version of policy.networking.k8s.io a policy is of, if any.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Newer,
    Older,
}

fn version(policy: &Policy) -> Option<Version> {
    match policy.id.kind {
        Kind::ClusterNetworkPolicy => Some(Version::Newer),
        kind => kind.leaves_ties_open().then_some(Version::Older),
    }
}

/// Where there are policies of both versions, it is open which of them count (§5).
fn has_both_versions<'p>(policies: impl Iterator<Item = &'p Policy>) -> bool {
    let (mut newer, mut older) = (false, false);
    for policy in policies {
        newer |= version(policy) == Some(Version::Newer);
        older |= version(policy) == Some(Version::Older);
    }
    newer && older
}

/// Group, kind, namespace and name.
type ObjectKey<'o> = (&'o str, &'o str, Option<&'o str>, &'o str);

/// Two upward lists as one.
fn merge<'m>(a: &'m [usize], b: &'m [usize]) -> impl Iterator<Item = usize> + 'm {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(x), Some(y)) if x < y => a.next(),
        (_, Some(_)) => b.next(),
        _ => a.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::read;

    const POLICIES: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: a}
spec:
  priority: 1
  subject: {namespaces: {}}
  egress: [{action: Deny, to: [{networks: [192.168.0.0/16]}]}]
";

    fn set() -> PolicySet {
        PolicySet::from_objects(&read("f", POLICIES).objects).0
    }

    fn pod(app: &str) -> Pod {
        Pod {
            namespace: "shop".into(),
            name: app.into(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            ..Pod::default()
        }
    }

    #[test]
    fn a_policy_by_kind_namespace_and_name() {
        let set = set();
        let title = |kind, namespace, name| {
            let policy = set.policy(kind, namespace, name);
            policy.map(|policy| policy.id.to_string())
        };
        let (np, anp) = (Kind::NetworkPolicy, Kind::AdminNetworkPolicy);
        let found = title(np, Some("shop"), "a");
        assert_eq!(found.as_deref(), Some("NetworkPolicy shop/a"));
        let found = title(anp, None, "a");
        assert_eq!(found.as_deref(), Some("AdminNetworkPolicy a"));
        assert_eq!(title(np, Some("shop"), "b"), None);
        assert_eq!(title(np, Some("dev"), "a"), None);
        assert_eq!(title(np, None, "a"), None);
        assert_eq!(title(Kind::ClusterNetworkPolicy, None, "a"), None);
        assert_eq!((set.len(), set.is_empty()), (2, false));
        assert!(PolicySet::default().is_empty());
    }

    #[test]
    fn every_block_counts_exceptions_too() {
        let set = set();
        let mut cidrs: Vec<String> = set.cidrs().map(|cidr| cidr.to_string()).collect();
        cidrs.sort();
        assert_eq!(cidrs, ["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16"]);
    }

    #[test]
    fn isolated_is_whom_a_network_policy_selects() {
        let (set, cluster) = (set(), Cluster::default());
        let isolates = |app, direction| set.isolates(&pod(app), &cluster, direction);
        assert!(isolates("web", Direction::Ingress));
        // An admin policy speaks of egress, and isolates no one.
        assert!(!isolates("web", Direction::Egress));
        assert!(!isolates("db", Direction::Ingress));
    }

    #[test]
    fn a_set_of_addresses_counts_once_however_many_rules_name_it() {
        let objects = read(
            "p",
            "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: office, labels: {role: trusted}}
spec: {nets: [198.51.100.0/25, 198.51.100.128/25, 203.0.113.7/32]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  ingress:
  - {action: Allow, source: {selector: role == 'trusted'}}
  - {action: Deny, source: {notSelector: role == 'trusted'}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 172.21.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 172.21.0.2}
",
        )
        .objects;
        // What is no policy is not this set's to complain about.
        let (set, issues) = PolicySet::from_objects(&objects);
        assert_eq!(issues, []);
        let cidrs: Vec<String> = set.cidrs().map(|cidr| cidr.to_string()).collect();
        assert_eq!(cidrs, ["198.51.100.0/24", "203.0.113.7/32"]);
    }
}
