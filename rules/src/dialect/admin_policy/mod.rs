//! `policy.networking.k8s.io`: AdminNetworkPolicy and BaselineAdminNetworkPolicy of v1alpha1, and the
//! ClusterNetworkPolicy of v1alpha2 that replaces both (policy-semantics §2).

mod lower;
pub(crate) mod print;
pub(crate) mod read;
#[cfg(test)]
mod tests;

use ipnet::IpNet;

pub use crate::policy::Action;
use crate::policy::Kind;
use crate::port::Traffic;
use crate::selector::Selector;

/// A cluster-scoped policy that the API server would accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPolicy {
    /// Which of the three kinds.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The tier it stands in.
    pub tier: AdminTier,
    /// 0 to 1000, lower goes first; 0 where the kind has none.
    pub priority: u16,
    /// Which pods it concerns; never host-network pods.
    pub subject: PodGroup,
    /// Rules for connections towards these pods, from top to bottom. None: it says nothing of them.
    pub ingress: Vec<Rule>,
    /// Rules for connections from these pods, in the same way.
    pub egress: Vec<Rule>,
}

/// Before NetworkPolicy or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminTier {
    /// Before: cannot be overridden.
    Admin,
    /// After: NetworkPolicy overrides it.
    Baseline,
}

/// Pods by the labels of their namespaces, and by their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodGroup {
    /// Of which namespaces.
    pub namespaces: Selector,
    /// With which labels; `None` when written as `namespaces`, which has no word on pods.
    pub pods: Option<Selector>,
}

/// One rule: it acts on what matches one of its peers and one of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it calls itself; may be empty.
    pub name: String,
    /// What it does; never [`Action::Log`].
    pub action: Action,
    /// `from` or `to`; at least one.
    pub peers: Vec<Peer>,
    /// `ports` or `protocols`; empty is all traffic of any protocol.
    pub ports: Vec<Traffic>,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods with a network of their own.
    Pods(PodGroup),
    /// Addresses, of pods and nodes too.
    Networks(Vec<IpNet>),
    /// Nodes, and whatever shares their addresses.
    Nodes(Selector),
    /// Domain names, exact or with `*.` before them.
    DomainNames(Vec<String>),
    /// A peer that is not known: the rule fails closed.
    Unknown,
}
