//! What the checks are held against: the policies that count, and the cluster.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Input;
use crate::cluster::{Cluster, Labels, Namespace, Pod};
use crate::dialect::network_policy::{Direction, NetworkPolicy, Peer, Rule};
use crate::kubernetes::{Body, Object, Places};
use crate::policy_set::PolicySet;
use crate::reading::Engine;
use crate::selector::Selector;

/// How many comparisons of selectors a run may make: seconds, and far more than any cluster needs.
const COMPARISONS_MAX: u64 = 20_000_000;

/// A NetworkPolicy and the object it is.
pub(super) struct Declared<'a> {
    pub(super) object: &'a Object,
    pub(super) policy: &'a NetworkPolicy,
    /// `None` where the policy is context and not checked.
    pub(super) places: Option<&'a Places>,
}

impl Declared<'_> {
    /// The rules of both directions, each with the field it stands in: `spec.ingress[0]`.
    pub(super) fn rules(&self) -> impl Iterator<Item = (Direction, String, &Rule)> {
        [Direction::Ingress, Direction::Egress]
            .into_iter()
            .flat_map(|direction| {
                let rules = self.policy.rules(direction).unwrap_or_default();
                let named = rules.iter().enumerate();
                named.map(move |(index, rule)| (direction, rule_field(direction, index), rule))
            })
    }

    /// All peers, each with the field it stands in: `spec.ingress[0].from[1]`.
    pub(super) fn peers(&self) -> impl Iterator<Item = (Direction, String, &Peer)> {
        self.rules().flat_map(|(direction, field, rule)| {
            let peers = rule.peers.iter().enumerate();
            peers.map(move |(index, peer)| {
                let list = peer_list(direction);
                (direction, format!("{field}.{list}[{index}]"), peer)
            })
        })
    }
}

/// `spec.ingress[0]`
pub(super) fn rule_field(direction: Direction, index: usize) -> String {
    format!("spec.{direction}[{index}]")
}

/// `from` or `to`.
pub(super) fn peer_list(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// Pods that no selector and no port can tell apart.
pub(super) struct Group<'a> {
    pub(super) labels: &'a Labels,
    pub(super) host_network: bool,
    pub(super) pods: Vec<&'a Pod>,
}

/// Everything a check may ask for.
pub(super) struct World<'a> {
    pub(super) input: &'a Input,
    pub(super) engine: Engine,
    pub(super) cluster: &'a Cluster,
    /// Policies of every dialect, to be asked.
    pub(super) set: PolicySet,
    /// Whether there are policies whose order decides, so that NetworkPolicies no longer just add up.
    pub(super) has_ordered_policies: bool,
    /// Whether anything is known of what runs.
    pub(super) has_pods: bool,
    /// Whether labels of namespaces are known.
    pub(super) has_namespaces: bool,
    /// The NetworkPolicies that count: the last of each name.
    pub(super) policies: Vec<Declared<'a>>,
    policies_by_namespace: HashMap<&'a str, usize>,
    /// Unfinished pods, by namespace.
    groups: BTreeMap<&'a str, Vec<Group<'a>>>,
    /// Namespaces that are declared, not only mentioned by pods.
    declared_namespaces: BTreeSet<&'a str>,
    comparisons: Cell<u64>,
}

impl<'a> World<'a> {
    pub(super) fn new(input: &'a Input, cluster: &'a Cluster, engine: Engine) -> Self {
        let checked = input.checked.iter().zip(input.places.iter().map(Some));
        let all = input
            .context
            .iter()
            .map(|object| (object, None))
            .chain(checked);
        let mut position: HashMap<(&str, &str), usize> = HashMap::new();
        let mut policies: Vec<Declared<'a>> = Vec::new();
        for (object, places) in all {
            let Body::NetworkPolicy(policy) = &object.body else {
                continue;
            };
            let declared = Declared {
                object,
                policy,
                places,
            };
            let key = (policy.namespace.as_str(), policy.name.as_str());
            match position
                .get(&key)
                .and_then(|&index| policies.get_mut(index))
            {
                Some(earlier) => *earlier = declared,
                None => {
                    position.insert(key, policies.len());
                    policies.push(declared);
                }
            }
        }
        let mut policies_by_namespace: HashMap<&str, usize> = HashMap::new();
        for declared in &policies {
            *policies_by_namespace
                .entry(&declared.policy.namespace)
                .or_default() += 1;
        }
        let declared_namespaces = input
            .objects()
            .filter(|object| matches!(object.body, Body::Namespace(_)))
            .map(|object| object.name.as_str())
            .collect::<BTreeSet<_>>();
        Self {
            input,
            engine,
            cluster,
            set: policy_set(input),
            has_ordered_policies: input.objects().any(|object| {
                matches!(
                    object.group.as_str(),
                    "projectcalico.org" | "crd.projectcalico.org"
                )
            }),
            has_pods: !cluster.pods().is_empty(),
            has_namespaces: !declared_namespaces.is_empty(),
            policies,
            policies_by_namespace,
            groups: groups(cluster),
            declared_namespaces,
            comparisons: Cell::new(0),
        }
    }

    /// The checked policies, with their places.
    pub(super) fn checked(&self) -> impl Iterator<Item = &Declared<'a>> {
        self.policies.iter().filter(|d| d.places.is_some())
    }

    /// How many NetworkPolicies a namespace has.
    pub(super) fn policies_in(&self, namespace: &str) -> usize {
        let count = self.policies_by_namespace.get(namespace);
        count.copied().unwrap_or_default()
    }

    /// Notes `number` comparisons; `false` once there were too many.
    pub(super) fn may_compare(&self, number: usize) -> bool {
        let spent = self.comparisons.get().saturating_add(number as u64);
        self.comparisons.set(spent);
        spent <= COMPARISONS_MAX
    }

    /// Unfinished pods of one namespace that `selector` matches.
    pub(super) fn select<'s>(
        &'s self,
        namespace: &str,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'s Group<'a>> {
        let groups = self.groups.get(namespace).into_iter().flatten();
        groups.filter(|group| {
            self.may_compare(1);
            selector.matches(group.labels)
        })
    }

    /// Unfinished pods of one namespace.
    pub(super) fn groups_of(&self, namespace: &str) -> &[Group<'a>] {
        self.groups
            .get(namespace)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The names of namespaces that `selector` matches, and what is known of them suffices to tell.
    pub(super) fn namespaces<'s>(
        &'s self,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'a Namespace> + 's {
        self.cluster.namespaces().values().filter(|namespace| {
            self.may_compare(1);
            selector.matches(&namespace.labels)
        })
    }

    /// Whether the labels of every namespace are known, so that one that does not match does not exist.
    pub(super) fn knows_all_namespaces(&self) -> bool {
        self.has_namespaces
            && self
                .cluster
                .namespaces()
                .keys()
                .all(|name| self.declared_namespaces.contains(name.as_str()))
    }

    /// The pods that a selector peer of a policy in `namespace` means; nothing for address blocks.
    pub(super) fn pods_of_peer<'s>(
        &'s self,
        namespace: &'s str,
        peer: &'s Peer,
    ) -> impl Iterator<Item = &'s Group<'a>> {
        let (namespaces, pods) = match peer {
            Peer::Pods { namespaces, pods } => (Some(namespaces.as_ref()), pods.as_ref()),
            Peer::Block(_) => (None, None),
        };
        let own = matches!(namespaces, Some(None)).then_some(namespace);
        let matched = namespaces.flatten().into_iter();
        let matched = matched.flat_map(|s| self.namespaces(s).map(|ns| ns.name.as_str()));
        own.into_iter()
            .chain(matched)
            .flat_map(|name| self.groups_of(name))
            .filter(move |group| {
                self.may_compare(1);
                pods.is_none_or(|pods| pods.matches(group.labels))
            })
    }
}

fn policy_set(input: &Input) -> PolicySet {
    let is_inventory = |object: &&Object| {
        matches!(
            object.body,
            Body::Namespace(_) | Body::Node(_) | Body::Pod(_) | Body::Service(_)
        )
    };
    let objects = input.objects().filter(|object| !is_inventory(object));
    let objects: Vec<Object> = objects.cloned().collect();
    PolicySet::from_objects(&objects).0
}

fn groups(cluster: &Cluster) -> BTreeMap<&str, Vec<Group<'_>>> {
    let mut by_key: BTreeMap<(&str, &Labels, bool), Vec<&Pod>> = BTreeMap::new();
    for pod in cluster.pods().iter().filter(|pod| !pod.is_finished()) {
        let key = (pod.namespace.as_str(), &pod.labels, pod.host_network);
        by_key.entry(key).or_default().push(pod);
    }
    let mut groups: BTreeMap<&str, Vec<Group<'_>>> = BTreeMap::new();
    for ((namespace, labels, host_network), pods) in by_key {
        groups.entry(namespace).or_default().push(Group {
            labels,
            host_network,
            pods,
        });
    }
    groups
}
