//! The cluster half of a scenario: nodes, namespaces, workloads, policies, faults.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::traffic::Protocol;
use crate::time::Span;

/// Ids and habits of the cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    /// Its name.
    pub name: String,
    /// Alibaba Cloud account, a decimal string.
    pub account: String,
    /// Region id.
    pub region: String,
    /// `vpc-…`
    pub vpc: String,
    /// `vsw-…`
    pub vswitch: String,
    /// Whether pods have an IPv6 address beside the IPv4 one. Every node then needs `pods_v6`.
    #[serde(default)]
    pub dual_stack: bool,
    /// Time between two inventory snapshots.
    pub snapshot_every: Span,
    /// What Terway says of addresses; nothing when absent.
    #[serde(default)]
    pub terway: Option<TerwaySpec>,
}

/// Terway that manages addresses centrally: its NodeRuntimes say when one is back, and pods may have interfaces of their own, which its
/// PodENIs show.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerwaySpec {
    /// Where the addresses of pods' own interfaces come from, on whatever node.
    pub own: Ipv4Net,
    /// Aggregation windows of these interfaces, in turn: 1m, 5m or 10m. At least one.
    pub windows: Vec<Span>,
}

/// One node (an ECS instance) and its interfaces.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its Kubernetes name.
    pub name: Spanned<String>,
    /// Its own address, on the primary interface.
    pub address: Ipv4Addr,
    /// Where its pods' addresses come from, dealt out to its further interfaces in turn.
    pub pods: Ipv4Net,
    /// The same for IPv6.
    #[serde(default)]
    pub pods_v6: Option<Ipv6Net>,
    /// Aggregation window per interface, the primary one first: 1m, 5m or 10m. At least two.
    pub windows: Vec<Span>,
    /// Whether the node enforces NetworkPolicy.
    #[serde(default = "yes")]
    pub enforces_policies: bool,
    /// How far its clock runs ahead; seen in the times its kubelet reports.
    #[serde(default)]
    pub clock_ahead: Span,
    /// How far the clock runs ahead that the log of its interfaces goes by; seen in the times of records.
    #[serde(default)]
    pub log_clock_ahead: Span,
}

/// One namespace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Its labels, without `kubernetes.io/metadata.name`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Directions for which some pod of its own network that runs at the end of the run is isolated by no
    /// policy, as the author sees it.
    #[serde(default)]
    pub default_deny_missing: Vec<Direction>,
}

/// A direction of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Into the pod.
    Ingress,
    /// Out of the pod.
    Egress,
}

/// What kind of controller owns the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// Pods of a ReplicaSet of a Deployment.
    Deployment,
    /// Pods with fixed names.
    StatefulSet,
    /// One pod per node.
    DaemonSet,
    /// A Job every so often, whose pod finishes.
    CronJob,
    /// Pods no one owns.
    Pod,
}

/// One workload.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    /// `namespace/name`.
    pub name: Spanned<String>,
    /// Its kind.
    pub kind: Kind,
    /// How many pods; ignored for DaemonSet and CronJob.
    #[serde(default = "one")]
    pub replicas: usize,
    /// Labels of its pods.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Ports its container declares; a workload may listen without declaring.
    #[serde(default)]
    pub ports: Vec<PortSpec>,
    /// Whether its pods share the node's network.
    #[serde(default)]
    pub host_network: bool,
    /// Nodes it may run on; all when empty.
    #[serde(default)]
    pub on: Vec<String>,
    /// CronJob: time between two runs.
    #[serde(default)]
    pub every: Option<Span>,
    /// CronJob: how long a run takes.
    #[serde(default)]
    pub runs_for: Option<Span>,
    /// How many interfaces of its own each pod has. Its status shows the address of the first one only. Without any, a pod's address is
    /// on an interface of its node.
    #[serde(default)]
    pub interfaces: usize,
    /// StatefulSet: its own interfaces and their addresses outlive the pod, and go to the next one of its name, wherever that runs.
    #[serde(default)]
    pub fixed: bool,
}

impl WorkloadSpec {
    /// Namespace part of its name.
    pub fn namespace(&self) -> &str {
        self.name.value.split('/').next().unwrap_or_default()
    }

    /// Name part of its name.
    pub fn short_name(&self) -> &str {
        self.name.value.split('/').nth(1).unwrap_or_default()
    }
}

/// A declared container port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Addresses outside the cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalSpec {
    /// How traffic lines call them; no `/`.
    pub name: Spanned<String>,
    /// Single addresses or blocks.
    pub addresses: Vec<IpNet>,
    /// `traffic_path` code of records that leave towards them.
    pub path: u8,
}

/// One Service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// `namespace/name`.
    pub name: Spanned<String>,
    /// Pod labels it selects.
    pub selector: BTreeMap<String, String>,
    /// Its ClusterIP.
    pub cluster_address: IpAddr,
    /// Its LoadBalancer address, which also makes it one.
    #[serde(default)]
    pub load_balancer: Option<IpAddr>,
    /// Its ports.
    pub ports: Vec<ServicePortSpec>,
}

/// A port of a Service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePortSpec {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
    /// The pods' port behind it.
    pub target: u16,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port on every node.
    #[serde(default)]
    pub node_port: Option<u16>,
}

/// One NetworkPolicy during one time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// `namespace/name`.
    pub name: Spanned<String>,
    /// When it is created, after the start; long before when absent.
    #[serde(default)]
    pub from: Option<Span>,
    /// When it is deleted, after the start; never when absent.
    #[serde(default)]
    pub until: Option<Span>,
    /// Its `spec`, word for word.
    pub spec: serde_json::Value,
}

/// How pods come and go beside what CronJobs do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifeSpec {
    /// How often two pods of different workloads on one node end and their successors take each other's
    /// address within seconds.
    #[serde(default)]
    pub swap_every: Option<Span>,
    /// The same for pods with interfaces of their own, of whatever nodes: the address goes to another interface. A pod whose address
    /// is fixed comes again with it.
    #[serde(default)]
    pub swap_own_every: Option<Span>,
    /// Of 1,000 pods that are ended, how many are deleted by force: the object is gone before the pod has stopped.
    #[serde(default)]
    pub forced_per_mille: u32,
    /// Workloads whose pods are all replaced, one by one.
    #[serde(default)]
    pub rollouts: Vec<RolloutSpec>,
    /// Workloads whose pods are given other labels while they run.
    #[serde(default)]
    pub relabels: Vec<RelabelSpec>,
}

/// Labels set on the pods of a workload: on those that live, and on all that come after.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelabelSpec {
    /// `namespace/name` of a workload.
    pub workload: Spanned<String>,
    /// When, after the start.
    pub at: Span,
    /// The labels that are set; others stay.
    pub labels: BTreeMap<String, String>,
}

/// One rolling update.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    /// `namespace/name` of a Deployment.
    pub workload: Spanned<String>,
    /// When it begins, after the start.
    pub at: Span,
}

/// What goes wrong with the log itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// Windows whose entries were lost. All on one node, so that a pair's other interface still has them.
    #[serde(default)]
    pub skipdata: Vec<SkipdataSpec>,
    /// Stretches, after the start, during which nobody watched the pods and no regular snapshot was taken: pods that
    /// were born and ended within are in no inventory. In order and apart from each other.
    #[serde(default)]
    pub watch_interrupted: Vec<[Span; 2]>,
    /// Of 1,000 records, how many come ten minutes to an hour late.
    #[serde(default)]
    pub late_per_mille: u32,
    /// Of 1,000 records, how many come twice.
    #[serde(default)]
    pub repeated_per_mille: u32,
}

/// One lost window.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipdataSpec {
    /// The node.
    pub node: Spanned<String>,
    /// Which of its interfaces, the primary one being 0.
    pub interface: usize,
    /// Some instant inside the window, after the start.
    pub at: Span,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}
