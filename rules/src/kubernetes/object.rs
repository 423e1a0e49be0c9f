//! One Kubernetes object as it was read.

use std::fmt;

use chrono::{DateTime, Utc};

use super::Issue;
use crate::cluster::{
    EndpointSlice, Labels, Namespace, Node, Owner, Owners, Pod, Service, ServiceAccount,
};
use crate::dialect::ack;
use crate::dialect::admin_policy::AdminPolicy;
use crate::dialect::calico;
use crate::dialect::cilium;
use crate::dialect::network_policy::NetworkPolicy;
use crate::terway::{NodeRuntime, PodEni, Terway, TerwayNode};

/// What one text held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The objects that can be used, in the order of the text.
    pub objects: Vec<Object>,
    /// Which of the objects came out of one list (`kind: List`, `PodList`), the outermost where lists nest. A list
    /// says what there is and thereby what there is not; an object on its own says nothing of others.
    pub lists: Vec<std::ops::Range<usize>>,
    /// What was left out, and what is odd.
    pub issues: Vec<Issue>,
}

/// One object: what all kinds have in common, and what we use of its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its API group; empty for the core group.
    pub group: String,
    /// Its API version within the group.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; `None` for cluster-scoped kinds. `default` where a namespaced kind has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid; empty when unknown.
    pub uid: String,
    /// `metadata.generation`: grows with the spec.
    pub generation: Option<i64>,
    /// `metadata.resourceVersion`: grows with any change.
    pub resource_version: Option<String>,
    /// `metadata.creationTimestamp`.
    pub created: Option<DateTime<Utc>>,
    /// `metadata.deletionTimestamp`.
    pub deletion: Option<DateTime<Utc>>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Where it was read.
    pub origin: Origin,
    /// What we use of it.
    pub body: Body,
}

impl Object {
    /// `NetworkPolicy shop/redis`, as messages name it.
    pub fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

/// What we use of an object, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `v1` Namespace.
    Namespace(Namespace),
    /// `v1` Node.
    Node(Node),
    /// `v1` Pod.
    Pod(Pod),
    /// `v1` Service.
    Service(Service),
    /// ReplicaSet, Deployment, StatefulSet, DaemonSet, Job, CronJob and their kin: who owns it.
    Controller(Option<Owner>),
    /// `networking.k8s.io` NetworkPolicy.
    NetworkPolicy(NetworkPolicy),
    /// `policy.networking.k8s.io` AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy.
    AdminPolicy(AdminPolicy),
    /// `network.alibabacloud.com` GlobalNetworkPolicy.
    AckGlobalNetworkPolicy(ack::GlobalNetworkPolicy),
    /// `v1` ServiceAccount.
    ServiceAccount(ServiceAccount),
    /// A kind of Calico, of either of its groups.
    Calico(Box<calico::Resource>),
    /// The ConfigMap that configures Terway, and thereby what enforces policies.
    Terway(Terway),
    /// `cilium.io` CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy.
    Cilium(Box<cilium::CiliumPolicy>),
    /// `cilium.io` CiliumCIDRGroup.
    CiliumCidrGroup(cilium::CidrGroup),
    /// `discovery.k8s.io` EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// `network.alibabacloud.com` Node: which addresses Terway bound to which pods.
    TerwayNode(TerwayNode),
    /// `network.alibabacloud.com` NodeRuntime: which pods gave their addresses back.
    NodeRuntime(NodeRuntime),
    /// `network.alibabacloud.com` PodENI: the interfaces of a pod's own.
    PodEni(PodEni),
    /// Any other kind.
    Other,
}

/// Where an object was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file as the caller named it.
    pub file: String,
    /// The line where the object begins, counted from 1.
    pub line: u32,
}

impl Body {
    /// Whether it is a policy that is judged, or a tier of them: its labels mean nothing.
    pub fn is_policy(&self) -> bool {
        match self {
            Self::NetworkPolicy(_)
            | Self::AdminPolicy(_)
            | Self::AckGlobalNetworkPolicy(_)
            | Self::Cilium(_) => true,
            Self::Calico(resource) => !resource.is_selected(),
            _ => false,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Owners {
    /// The controllers among `objects`.
    pub fn from_objects(objects: &[Object]) -> Self {
        let mut owners = Self::default();
        for object in objects {
            if let Body::Controller(owner) = &object.body {
                let namespace = object.namespace.as_deref().unwrap_or_default();
                owners.insert(namespace, &object.kind, &object.name, owner.clone());
            }
        }
        owners
    }
}
