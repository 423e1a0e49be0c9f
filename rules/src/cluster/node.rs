//! A node: the machine whose addresses its daemons and host-network pods share.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::Labels;

/// One node at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its uid; empty when unknown.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// `status.addresses` of the types InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
    /// The ECS instance, from `spec.providerID` (`cn-hangzhou.i-bp1…` gives `i-bp1…`).
    pub instance_id: Option<String>,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
}
