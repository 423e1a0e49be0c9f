//! Calico's `projectcalico.org/v3` and `crd.projectcalico.org/v1` (policy-semantics §3).
//!
//! The two groups hold the same objects; in the second, names carry the tier before them (`default.deny-all`).

pub(crate) mod lower;
pub(crate) mod print;
pub(crate) mod read;
pub mod rule;
pub mod selector;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;

use super::network_policy::NetworkPolicy;
use crate::cluster::Labels;
pub use rule::Rule;
use selector::Selector;

/// The label under which every namespaced thing has its namespace.
pub const NAMESPACE_KEY: &str = "projectcalico.org/namespace";
/// The label under which pods have their service account.
pub const SERVICE_ACCOUNT_KEY: &str = "projectcalico.org/serviceaccount";
/// The label by which pods are told from host endpoints.
pub const ORCHESTRATOR_KEY: &str = "projectcalico.org/orchestrator";
/// The label under which namespaces and service accounts have their own name.
pub const NAME_KEY: &str = "projectcalico.org/name";

/// The group of Calico's API, whose objects may also be read from the group they are stored in.
pub const GROUP: &str = "projectcalico.org";

/// The tier of policies that name none.
pub const DEFAULT_TIER: &str = "default";

/// One object of Calico that Calico would accept.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// NetworkPolicy and GlobalNetworkPolicy.
    Policy(CalicoPolicy),
    /// StagedNetworkPolicy, StagedGlobalNetworkPolicy and StagedKubernetesNetworkPolicy: what would be, never
    /// enforced.
    Staged(Staged),
    /// Tier.
    Tier(Tier),
    /// NetworkSet and GlobalNetworkSet.
    NetworkSet(NetworkSet),
    /// HostEndpoint.
    HostEndpoint(HostEndpoint),
}

impl Resource {
    /// Whether selectors see it by its labels.
    pub fn is_selected(&self) -> bool {
        matches!(self, Self::NetworkSet(_) | Self::HostEndpoint(_))
    }

    /// Its name, of a policy without that of the tier `default`.
    pub fn name(&self) -> &str {
        match self {
            Self::Policy(policy) => &policy.name,
            Self::Staged(staged) => match &staged.policy {
                StagedPolicy::Calico(policy) => &policy.name,
                StagedPolicy::Kubernetes(policy) => &policy.name,
            },
            Self::Tier(tier) => &tier.name,
            Self::NetworkSet(set) => &set.name,
            Self::HostEndpoint(endpoint) => &endpoint.name,
        }
    }
}

/// A NetworkPolicy or GlobalNetworkPolicy with its defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct CalicoPolicy {
    /// Its namespace; `None` for a GlobalNetworkPolicy.
    pub namespace: Option<String>,
    /// Its name: without `default.` in the tier `default`, with `tier.` in any other.
    pub name: String,
    /// The name of its tier.
    pub tier: String,
    /// Its place in the tier, lower first; `None` is last.
    pub order: Option<f64>,
    /// Which endpoints it concerns; `None` is all.
    pub selector: Option<Selector>,
    /// Of which service accounts.
    pub service_account_selector: Option<Selector>,
    /// Of which namespaces. GlobalNetworkPolicy only; with it, host endpoints are left out.
    pub namespace_selector: Option<Selector>,
    /// What it says of connections towards these endpoints; `None` when it says nothing of them.
    pub ingress: Option<Vec<Rule>>,
    /// What it says of connections from these endpoints.
    pub egress: Option<Vec<Rule>>,
    /// Where it is put into force on host endpoints.
    pub host: HostSwitches,
}

/// The switches of a GlobalNetworkPolicy that are about host endpoints (policy-semantics §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSwitches {
    /// `doNotTrack`: before connection tracking, on host endpoints only.
    pub do_not_track: bool,
    /// `preDNAT`: before the destination is translated, on host endpoints only.
    pub pre_dnat: bool,
    /// `applyOnForward`: on host endpoints also for what is forwarded.
    pub apply_on_forward: bool,
}

/// A staged policy: a proposal that the cluster stores and does not enforce.
#[derive(Clone, Debug, PartialEq)]
pub struct Staged {
    /// What would be done.
    pub action: StagedAction,
    /// With which policy.
    pub policy: StagedPolicy,
}

/// `stagedAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagedAction {
    /// The policy would be created, or take the place of the one with its name.
    Set,
    /// The policy of this name would be deleted.
    Delete,
    /// The policy is being learnt.
    Learn,
    /// The policy is put aside.
    Ignore,
}

impl StagedAction {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "Set",
            Self::Delete => "Delete",
            Self::Learn => "Learn",
            Self::Ignore => "Ignore",
        }
    }
}

/// The policy that a staged one would become.
#[derive(Clone, Debug, PartialEq)]
pub enum StagedPolicy {
    /// Of StagedNetworkPolicy and StagedGlobalNetworkPolicy.
    Calico(CalicoPolicy),
    /// Of StagedKubernetesNetworkPolicy.
    Kubernetes(NetworkPolicy),
}

/// A tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Its place among the tiers, lower first; `None` is last.
    pub order: Option<f64>,
    /// Whether what no rule of it matches goes on to the next tier, instead of being denied.
    pub default_passes: bool,
}

/// Addresses with labels, which selectors see as they see pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSet {
    /// Its namespace; `None` for a GlobalNetworkSet.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its addresses.
    pub nets: Vec<IpNet>,
    /// `allowedEgressDomains`: domain names, whose addresses are not known.
    pub domains: Vec<String>,
}

/// An interface of a node that Calico protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEndpoint {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// The node's name.
    pub node: String,
    /// The name of the interface, if it is given.
    pub interface: Option<String>,
    /// Its addresses, as far as they are given.
    pub addresses: Vec<IpAddr>,
}
