//! A Service: addresses that stand for other addresses.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::{Labels, Pod, Protocol};

/// One Service at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; empty when unknown.
    pub uid: String,
    /// Its own labels, not those of its pods.
    pub labels: Labels,
    /// Which pods of its namespace are behind it; `None` when endpoints are kept by hand.
    pub selector: Option<Labels>,
    /// `spec.clusterIPs`, or `spec.clusterIP` alone; empty for headless Services.
    pub cluster_addresses: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` and `spec.externalIPs`.
    pub load_balancer_addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
}

impl Service {
    /// Whether `pod` is behind this Service.
    pub fn selects(&self, pod: &Pod) -> bool {
        pod.namespace == self.namespace
            && self.selector.as_ref().is_some_and(|wanted| {
                !wanted.is_empty()
                    && wanted
                        .iter()
                        .all(|(key, value)| pod.labels.get(key) == Some(value))
            })
    }

    /// The port that a connection to one of its own addresses uses.
    pub fn port(&self, port: u16, protocol: Protocol) -> Option<&ServicePort> {
        self.ports
            .iter()
            .find(|p| p.port == port && p.protocol == protocol)
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, where the Service has several.
    pub name: Option<String>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port clients use.
    pub port: u16,
    /// The port of the pods behind.
    pub target: TargetPort,
    /// The port that every node opens for it.
    pub node_port: Option<u16>,
}

impl ServicePort {
    /// The number behind which `pod` answers, if it declares a named target at all.
    pub fn number_on(&self, pod: &Pod) -> Option<u16> {
        match &self.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => pod
                .ports
                .iter()
                .find(|p| p.name.as_deref() == Some(name) && p.protocol == self.protocol)
                .map(|p| p.port),
        }
    }
}

/// `targetPort`: a number, or the name of a port of each pod behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number on every pod.
    Number(u16),
    /// Looked up on each pod; pods may give one name different numbers.
    Name(String),
}
