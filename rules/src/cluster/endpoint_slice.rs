//! An EndpointSlice: which addresses were behind a Service at one instant. It corroborates, it dates nothing (history 5.4.1).

use std::net::IpAddr;

use super::Protocol;

/// The label that names the Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// One slice of the endpoints of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Its namespace.
    pub namespace: String,
    /// The Service, by the label `kubernetes.io/service-name`; `None` when it belongs to none.
    pub service: Option<String>,
    /// The endpoints, in the order of the slice.
    pub endpoints: Vec<SliceEndpoint>,
    /// The ports behind which they answer.
    pub ports: Vec<SlicePort>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its addresses; all of them lead to the same.
    pub addresses: Vec<IpAddr>,
    /// Takes new connections. True where the slice does not say.
    pub ready: bool,
    /// Answers, even when it is on its way out. True where the slice does not say.
    pub serving: bool,
    /// Is on its way out. False where the slice does not say.
    pub terminating: bool,
    /// What it is, if it is an object of the cluster.
    pub target: Option<Target>,
    /// The node it runs on.
    pub node: Option<String>,
}

/// The object behind an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// `Pod`, mostly.
    pub kind: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid; empty when unknown.
    pub uid: String,
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// The name of the Service's port.
    pub name: Option<String>,
    /// The number on the endpoint; `None` means every port.
    pub port: Option<u16>,
    /// Its protocol.
    pub protocol: Protocol,
}
