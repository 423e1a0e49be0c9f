//! Workloads, and the classes of pods in each that policies can tell apart.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::WorkloadId;
use crate::cluster::{Cluster, Owners, Pod, PortOwner, Protocol, workload_of};
use crate::label::{Key, LabelMatch};
use crate::policy::{Namespaces, Peer, Pods, Subject};
use crate::policy_set::PolicySet;

/// Classes of one workload that are asked about.
const CLASSES_MAX: usize = 16;

/// All workloads that were looked for.
pub(super) struct Found<'a> {
    /// By namespace, kind and name.
    pub(super) workloads: Vec<Seen<'a>>,
    pub(super) on_host_network: Vec<WorkloadId>,
}

/// One workload.
pub(super) struct Seen<'a> {
    pub(super) id: WorkloadId,
    pub(super) classes: Vec<Class<'a>>,
    /// Whether there are more classes than these.
    pub(super) has_more: bool,
    pods: Vec<&'a Pod>,
}

/// Pods of one workload that no policy tells apart: the first two.
pub(super) struct Class<'a> {
    pub(super) first: &'a Pod,
    pub(super) second: Option<&'a Pod>,
}

impl Seen<'_> {
    /// The ports that its pods declare, and those that Services lead to.
    pub(super) fn ports(&self, cluster: &Cluster) -> BTreeSet<(u16, Protocol)> {
        let declared = self.pods.iter().flat_map(|pod| &pod.ports);
        let mut ports: BTreeSet<(u16, Protocol)> = declared
            .filter(|port| port.owner != PortOwner::Init)
            .map(|port| (port.port, port.protocol))
            .collect();
        let services = cluster.services().iter();
        for service in services.filter(|service| service.namespace == self.id.namespace) {
            for pod in self.pods.iter().filter(|pod| service.selects(pod)) {
                let targets = service.ports.iter();
                ports.extend(targets.filter_map(|p| Some((p.number_on(pod)?, p.protocol))));
            }
        }
        ports
    }
}

/// The workloads of the namespaces that are `wanted`.
pub(super) fn workloads<'a>(
    policies: &PolicySet,
    cluster: &'a Cluster,
    owners: &Owners,
    wanted: impl Fn(&str) -> bool,
) -> Found<'a> {
    let sight = Sight::of(policies, cluster);
    let mut by_id: BTreeMap<WorkloadId, Vec<&'a Pod>> = BTreeMap::new();
    let mut on_host_network: BTreeSet<WorkloadId> = BTreeSet::new();
    let pods = cluster.pods().iter();
    for pod in pods.filter(|pod| !pod.is_finished() && wanted(&pod.namespace)) {
        let workload = workload_of(pod, owners);
        let id = WorkloadId {
            namespace: pod.namespace.clone(),
            kind: workload.kind,
            name: workload.name,
        };
        if pod.host_network {
            on_host_network.insert(id);
        } else {
            by_id.entry(id).or_default().push(pod);
        }
    }
    let workloads = by_id.into_iter().map(|(id, pods)| {
        let mut classes: BTreeMap<Looks<'_>, Class<'a>> = BTreeMap::new();
        let mut has_more = false;
        for pod in &pods {
            let looks = sight.looks(pod);
            let is_full = classes.len() == CLASSES_MAX;
            match classes.get_mut(&looks) {
                Some(class) => {
                    class.second.get_or_insert(pod);
                }
                None if is_full => has_more = true,
                None => {
                    let class = Class {
                        first: pod,
                        second: None,
                    };
                    classes.insert(looks, class);
                }
            }
        }
        Seen {
            id,
            classes: classes.into_values().collect(),
            has_more,
            pods,
        }
    });
    Found {
        workloads: workloads.collect(),
        on_host_network: on_host_network.into_iter().collect(),
    }
}

/// What policies look at.
struct Sight {
    /// Labels that some selector speaks of.
    labels: BTreeSet<String>,
    /// Blocks that some policy names.
    blocks: BTreeSet<IpNet>,
}

/// What policies see of one pod.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Looks<'p> {
    labels: Vec<(&'p str, &'p str)>,
    ports: BTreeSet<(Option<&'p str>, u16, Protocol, bool)>,
    /// For each family of address the pod has, which blocks hold it.
    blocks: Vec<(bool, Vec<usize>)>,
    service_account: Option<&'p str>,
    /// Services send connections to ready pods only.
    is_ready: bool,
}

impl Sight {
    fn of(policies: &PolicySet, cluster: &Cluster) -> Self {
        let mut labels = BTreeSet::new();
        let mut see = |selector: &LabelMatch| {
            selector.expression.each_key(&mut |key| {
                if let Key::Label(key) = key {
                    labels.insert(key.clone());
                }
            });
        };
        for policy in policies.iter() {
            match &policy.subject {
                Subject::Pods(pods) => see_pods(pods, &mut see),
                Subject::Nodes(_) => {}
            }
            for rule in policy.all_rules() {
                for peer in rule.peers.iter().chain(&rule.own) {
                    peer.each(&mut |peer| {
                        if let Peer::Pods(pods) = peer {
                            see_pods(pods, &mut see);
                        }
                    });
                }
            }
        }
        // A peer may be whatever is behind a Service.
        let services = cluster.services().iter();
        for selector in services.filter_map(|service| service.selector.as_ref()) {
            labels.extend(selector.keys().cloned());
        }
        Self {
            labels,
            blocks: policies.cidrs().collect(),
        }
    }

    fn looks<'p>(&'p self, pod: &'p Pod) -> Looks<'p> {
        let labels = pod.labels.iter();
        let ports = pod.ports.iter().map(|port| {
            let is_init = port.owner == PortOwner::Init;
            (port.name.as_deref(), port.port, port.protocol, is_init)
        });
        let blocks = pod.addresses.iter().map(|address| {
            let blocks = self.blocks.iter().enumerate();
            let inside = blocks.filter(|(_, block)| block.contains(address));
            (address.is_ipv4(), inside.map(|(index, _)| index).collect())
        });
        Looks {
            labels: labels
                .filter(|(key, _)| self.labels.contains(*key))
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
            ports: ports.collect(),
            blocks: blocks.collect(),
            service_account: pod.service_account.as_deref(),
            is_ready: pod.is_ready_backend(),
        }
    }
}

fn see_pods(pods: &Pods, see: &mut impl FnMut(&LabelMatch)) {
    see(&pods.pods);
    if let Namespaces::Matching(namespaces) = &pods.namespaces {
        see(namespaces);
    }
}
