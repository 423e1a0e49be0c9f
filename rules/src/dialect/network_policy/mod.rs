//! `networking.k8s.io/v1` NetworkPolicy (policy-semantics §1).

mod lower;
pub(crate) mod print;
pub(crate) mod read;
#[cfg(test)]
mod tests;

use crate::cidr::Block;
pub use crate::policy::Direction;
use crate::port::PortMatch;
use crate::selector::Selector;

/// A NetworkPolicy that the API server would accept, with its defaults applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Its namespace, the only one whose pods it selects.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which pods of its namespace it concerns; the empty selector is all.
    pub pod_selector: Selector,
    /// What it admits towards these pods. `None`: it does not isolate for ingress. `Some` of nothing: it isolates
    /// and admits nothing.
    pub ingress: Option<Vec<Rule>>,
    /// What it admits from these pods, in the same way.
    pub egress: Option<Vec<Rule>>,
}

impl NetworkPolicy {
    /// The rules of one direction; `None` when the policy does not isolate for it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// One rule: it admits what matches one of its peers and one of its ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `from` or `to`; empty restricts nothing, not even to the cluster.
    pub peers: Vec<Peer>,
    /// `ports`; empty restricts nothing, not even to a protocol.
    pub ports: Vec<PortMatch>,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods, never external addresses.
    Pods {
        /// Of which namespaces; `None` is the policy's own.
        namespaces: Option<Selector>,
        /// With which labels; `None` is any.
        pods: Option<Selector>,
    },
    /// Addresses.
    Block(Block),
}
