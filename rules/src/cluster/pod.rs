//! A pod: its identity, its addresses, the ports it declares, and when it lived.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Labels, Protocol};

/// One pod at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace; `default` where the manifest has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; empty when unknown, as in hand-written manifests.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// `status.podIPs`, or `status.podIP` alone. Empty until the pod has been given one. A host-network
    /// pod has its node's here.
    pub addresses: Vec<IpAddr>,
    /// `status.hostIPs`, or `status.hostIP` alone: addresses of the node it runs on.
    pub host_addresses: Vec<IpAddr>,
    /// Every container port it declares.
    pub ports: Vec<ContainerPort>,
    /// Whether it shares its node's network (`spec.hostNetwork`).
    pub host_network: bool,
    /// The node it was scheduled to.
    pub node: Option<String>,
    /// Its service account.
    pub service_account: Option<String>,
    /// Where it stands in its life.
    pub phase: Phase,
    /// The condition `Ready`; `None` when the status does not say.
    pub ready: Option<bool>,
    /// Its controller: the owner reference with `controller: true`.
    pub owner: Option<Owner>,
    /// When it lived.
    pub times: PodTimes,
}

impl Pod {
    /// Whether the pod has ended and thereby given its address back, although its status still shows it
    /// (policy-semantics §0).
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether a Service would send it connections: not finished, not on its way out, not known to be unready.
    pub fn is_ready_backend(&self) -> bool {
        !self.is_finished() && self.times.deletion.is_none() && self.ready != Some(false)
    }

    /// `namespace/name`, as messages and probes write it.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Accepted, not all containers started; may already hold an address.
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended well. The address has been given back.
    Succeeded,
    /// All containers ended, one of them badly. The address has been given back.
    Failed,
    /// The kubelet cannot be asked, or the manifest has no status.
    #[default]
    Unknown,
}

impl Phase {
    /// The word Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// One port that one container declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct ContainerPort {
    /// Its name, by which policies and Services may refer to it.
    pub name: Option<String>,
    /// The number the container listens on.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The node's port that leads here, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// What kind of container declares it.
    pub owner: PortOwner,
}

/// The kind of container that declares a port. Engines differ on whether [`PortOwner::Init`] counts for
/// named ports (policy-semantics §1.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortOwner {
    /// A regular container.
    #[default]
    Container,
    /// An init container with `restartPolicy: Always`: a sidecar.
    RestartableInit,
    /// An init container that runs to its end before the pod starts.
    Init,
}

/// Who owns an object: the reference with `controller: true`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// `ReplicaSet`, `Job`, `StatefulSet` …
    pub kind: String,
    /// The owner's name; it lives in the same namespace.
    pub name: String,
}

/// What a pod's status says about when it lived. All times have a precision of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodTimes {
    /// `metadata.creationTimestamp`.
    pub created: Option<DateTime<Utc>>,
    /// When `PodScheduled` became true: the address cannot be older.
    pub scheduled: Option<DateTime<Utc>>,
    /// When `PodReadyToStartContainers` became true: the address was held by then.
    pub ready_to_start: Option<DateTime<Utc>>,
    /// The first `startedAt` of what runs, init containers included; the latest where nothing runs any more. What ended before may
    /// have run in another sandbox, at another address.
    pub started: Option<DateTime<Utc>>,
    /// The latest `finishedAt`, only when every container has terminated.
    pub finished: Option<DateTime<Utc>>,
    /// `metadata.deletionTimestamp`. The pod holds its address until it ends.
    pub deletion: Option<DateTime<Utc>>,
    /// When its labels were last written by somebody who had not made it, as `metadata.managedFields` say: what they were before is not known.
    /// Labels that were only taken away leave no trace there.
    pub labelled: Option<DateTime<Utc>>,
}
