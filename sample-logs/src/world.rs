//! The cluster over time: interfaces, pods with their whole lives, and who held which address when.

mod life;
mod own;
mod schedule;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

pub use life::Life;
pub(crate) use own::detached_ms;

use crate::random::Dice;
use crate::scenario::{Kind, NodeSpec, RelabelSpec, Scenario, WorkloadSpec};
use crate::time::{HOUR_MS, SECOND_MS};
use crate::truth::Identity;

/// Stream of the generator that names nodes and interfaces.
const NAMES_STREAM: u64 = 1;

/// The cluster over time.
pub struct World<'a> {
    /// What it was built from.
    pub scenario: &'a Scenario,
    /// Its nodes, in the scenario's order.
    pub nodes: Vec<Node>,
    /// Their interfaces; every node's primary one comes first among its own.
    pub enis: Vec<Eni>,
    /// Every pod that ever lived during the run or shortly before.
    pub pods: Vec<Pod>,
    /// Seed of uids that belong to no pod.
    pub(crate) seed: u64,
    by_workload: Vec<Vec<usize>>,
    by_address: HashMap<IpAddr, Vec<usize>>,
    node_by_address: HashMap<IpAddr, usize>,
}

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its uid.
    pub uid: String,
    /// Its ECS instance, `i-…`.
    pub instance: String,
    /// Its primary interface, an index into [`World::enis`].
    pub primary_eni: usize,
    /// When it joined, in milliseconds since the epoch.
    pub created_ms: i64,
}

/// One elastic network interface.
#[derive(Debug, Clone)]
pub struct Eni {
    /// `eni-…`
    pub id: String,
    /// The node it is attached to, an index into [`World::nodes`].
    pub node: usize,
    /// Its aggregation window.
    pub window_ms: i64,
    /// From when to when it is attached, if it is a pod's own; milliseconds since the epoch. Those of nodes always are.
    pub attached_ms: Option<[i64; 2]>,
}

impl Eni {
    /// Whether it is attached at some instant of `[from_ms, to_ms)`.
    pub(crate) fn is_attached(&self, from_ms: i64, to_ms: i64) -> bool {
        self.attached_ms
            .is_none_or(|[attached_ms, detached_ms]| attached_ms < to_ms && from_ms < detached_ms)
    }
}

/// One pod with its whole life.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its workload, an index into the scenario's.
    pub workload: usize,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What directly owns it (a ReplicaSet, a Job, the workload itself); empty for a bare pod.
    pub owner: String,
    /// Its `pod-template-hash`, for Deployments.
    pub template: String,
    /// Where it runs, an index into [`World::nodes`].
    pub node: usize,
    /// The interface its address lives on, an index into [`World::enis`].
    pub eni: usize,
    /// Its addresses, IPv4 first; the node's when it shares the node's network.
    pub addresses: Vec<IpAddr>,
    /// Its further interfaces, indices into [`World::enis`], and their addresses, which no status shows.
    pub further: Vec<(usize, IpAddr)>,
    /// Its life.
    pub life: Life,
    /// Whether it is a Job's pod, which ends by itself.
    pub finishes: bool,
    /// Whether it shares the node's network.
    pub host_network: bool,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// A pod, an index into [`World::pods`].
    Pod(usize),
    /// A node itself, an index into [`World::nodes`].
    Node(usize),
    /// An external, an index into the scenario's.
    External(usize),
}

impl<'a> World<'a> {
    pub(crate) fn build(scenario: &'a Scenario, seed: u64) -> Self {
        let mut dice = Dice::new(seed, NAMES_STREAM);
        let mut nodes = Vec::new();
        let mut enis = Vec::new();
        for (index, spec) in scenario.nodes.iter().enumerate() {
            let primary_eni = enis.len();
            for window in &spec.windows {
                let id = format!("eni-bp1{}", dice.suffix(17));
                enis.push(Eni {
                    id,
                    node: index,
                    window_ms: window.ms,
                    attached_ms: None,
                });
            }
            nodes.push(Node {
                uid: dice.uid(),
                instance: format!("i-bp1{}", dice.suffix(17)),
                primary_eni,
                created_ms: scenario.start_ms() - dice.between(30 * 24, 60 * 24) * HOUR_MS,
            });
        }
        let pods = schedule::pods(scenario, seed, &nodes, &mut enis);
        let mut by_workload = vec![Vec::new(); scenario.workloads.len()];
        let mut by_address: HashMap<IpAddr, Vec<usize>> = HashMap::new();
        for (index, pod) in pods.iter().enumerate() {
            by_workload[pod.workload].push(index);
            if !pod.host_network {
                let further = pod.further.iter().map(|(_, address)| address);
                for address in pod.addresses.iter().chain(further) {
                    by_address.entry(*address).or_default().push(index);
                }
            }
        }
        let node_by_address = scenario
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (IpAddr::V4(node.address), index))
            .collect();
        Self {
            scenario,
            nodes,
            enis,
            pods,
            seed,
            by_workload,
            by_address,
            node_by_address,
        }
    }

    /// The scenario's words about a node.
    pub fn node_spec(&self, node: usize) -> &NodeSpec {
        &self.scenario.nodes[node]
    }

    /// The scenario's words about a pod's workload.
    pub fn workload_spec(&self, pod: &Pod) -> &WorkloadSpec {
        &self.scenario.workloads[pod.workload]
    }

    /// Labels of the pods of a workload at `at_ms`, without those that its controller adds.
    pub(crate) fn labels_at(&self, workload: usize, at_ms: i64) -> BTreeMap<String, String> {
        let spec = &self.scenario.workloads[workload];
        let mut labels = spec.labels.clone();
        for relabel in self.relabels_of(workload) {
            if self.scenario.start_ms() + relabel.at.ms <= at_ms {
                labels.extend(relabel.labels.clone());
            }
        }
        labels
    }

    /// When the pods of a workload are given other labels, in milliseconds since the epoch.
    pub(crate) fn relabelled_ms(&self, workload: usize) -> impl Iterator<Item = i64> {
        let start_ms = self.scenario.start_ms();
        self.relabels_of(workload)
            .map(move |relabel| start_ms + relabel.at.ms)
    }

    fn relabels_of(&self, workload: usize) -> impl Iterator<Item = &RelabelSpec> {
        let name = &self.scenario.workloads[workload].name.value;
        let relabels = self.scenario.life.relabels.iter();
        relabels.filter(move |relabel| relabel.workload.value == *name)
    }

    /// All pods of a workload, in the order of their birth.
    pub fn pods_of(&self, workload: usize) -> &[usize] {
        &self.by_workload[workload]
    }

    /// The node at which `party` stands; `None` outside the cluster.
    pub fn node_of(&self, party: Party) -> Option<usize> {
        match party {
            Party::Pod(pod) => Some(self.pods[pod].node),
            Party::Node(node) => Some(node),
            Party::External(_) => None,
        }
    }

    /// The interface through which `party` reaches other nodes from `address`; `None` outside the cluster.
    pub fn eni_of(&self, party: Party, address: IpAddr) -> Option<usize> {
        match party {
            Party::Pod(pod) => {
                let pod = &self.pods[pod];
                let further = pod.further.iter().find(|(_, own)| *own == address);
                Some(further.map_or(pod.eni, |(eni, _)| *eni))
            }
            Party::Node(node) => Some(self.nodes[node].primary_eni),
            Party::External(_) => None,
        }
    }

    /// Whether policies are enforced for `party`: a pod with its own network on a node that does so.
    pub fn is_policed(&self, party: Party) -> bool {
        match party {
            Party::Pod(pod) => {
                let pod = &self.pods[pod];
                !pod.host_network && self.node_spec(pod.node).enforces_policies
            }
            Party::Node(_) | Party::External(_) => false,
        }
    }

    /// Who `party` is, in the words of the truth.
    pub fn identity(&self, party: Party) -> Identity {
        match party {
            Party::Pod(index) => {
                let pod = &self.pods[index];
                let spec = self.workload_spec(pod);
                if pod.host_network {
                    let written = format!("{}/{}", spec.namespace(), pod.name);
                    return self.node_identity(pod.node, Some(written));
                }
                Identity::Pod {
                    namespace: spec.namespace().into(),
                    name: pod.name.clone(),
                    uid: pod.uid.clone(),
                    workload_kind: kind_name(spec.kind).into(),
                    workload: spec.short_name().into(),
                    node: self.node_spec(pod.node).name.value.clone(),
                }
            }
            Party::Node(node) => self.node_identity(node, None),
            Party::External(index) => Identity::External {
                name: self.scenario.externals[index].name.value.clone(),
            },
        }
    }

    fn node_identity(&self, node: usize, pod: Option<String>) -> Identity {
        Identity::Node {
            name: self.node_spec(node).name.value.clone(),
            uid: self.nodes[node].uid.clone(),
            pod,
        }
    }

    /// Uid of the one who held `address` as `party`; `None` for an external address.
    pub(crate) fn uid(&self, party: Party) -> Option<&str> {
        match party {
            Party::Pod(pod) if !self.pods[pod].host_network => Some(&self.pods[pod].uid),
            Party::Pod(pod) => Some(&self.nodes[self.pods[pod].node].uid),
            Party::Node(node) => Some(&self.nodes[node].uid),
            Party::External(_) => None,
        }
    }

    /// Pods that held `address` at some instant of `[from_ms, to_ms]`.
    pub fn holders(
        &self,
        address: IpAddr,
        from_ms: i64,
        to_ms: i64,
    ) -> impl Iterator<Item = usize> {
        let pods = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        pods.iter()
            .copied()
            .filter(move |pod| self.pods[*pod].life.holds(from_ms, to_ms))
    }

    /// Whether a record of `[start_s, end_s]` lets one know that `party` held `address`: nobody else did
    /// within the skew, and the inventory shows it.
    pub(crate) fn is_identifiable(
        &self,
        address: IpAddr,
        party: Party,
        start_s: i64,
        end_s: i64,
    ) -> bool {
        let skew_ms = self.scenario.skew_ms();
        let from_ms = start_s * SECOND_MS - skew_ms;
        let to_ms = end_s * SECOND_MS + skew_ms;
        let mut holders = self.holders(address, from_ms, to_ms);
        let (first, second) = (holders.next(), holders.next());
        match party {
            Party::Pod(pod) if !self.pods[pod].host_network => {
                first == Some(pod) && second.is_none() && self.is_evidenced(pod)
            }
            Party::Pod(_) | Party::Node(_) => {
                first.is_none() && self.node_by_address.contains_key(&address)
            }
            Party::External(_) => first.is_none() && !self.node_by_address.contains_key(&address),
        }
    }

    /// Whether the inventory as written shows the pod with its address: the watch covers the whole run, so
    /// all it takes is to have been there while it ran.
    pub(crate) fn is_evidenced(&self, pod: usize) -> bool {
        let life = &self.pods[pod].life;
        let shown_from_ms = life.started_ms;
        let gone_ms = life.end.map_or(i64::MAX, |end| end.gone_ms);
        shown_from_ms <= self.scenario.end_ms() && gone_ms > self.scenario.start_ms()
    }
}

/// What Kubernetes calls a kind.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment => "Deployment",
        Kind::StatefulSet => "StatefulSet",
        Kind::DaemonSet => "DaemonSet",
        Kind::CronJob => "CronJob",
        Kind::Pod => "Pod",
    }
}
