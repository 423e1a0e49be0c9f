//! `network.alibabacloud.com`: the kinds of the Poseidon add-on (policy-semantics §4.3).
//!
//! GlobalNetworkPolicy means what NetworkPolicy means, across namespaces. Its full schema is not public: a field that
//! is not known here makes what it stands on undecidable, and is named. TrafficPolicy and GlobalTrafficPolicy concern
//! pods on virtual nodes only; they are recognised and reported, not evaluated.
//!
//! Calico has a kind of the same name: the group tells them apart.

mod lower;
pub(crate) mod print;
pub(crate) mod read;

use crate::dialect::network_policy;
use crate::port::PortMatch;
use crate::selector::Selector;

/// A GlobalNetworkPolicy, with its defaults applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalNetworkPolicy {
    /// Its name.
    pub name: String,
    /// Which pods it concerns, by their own labels.
    pub pods: Selector,
    /// And by those of their namespaces.
    pub namespaces: Selector,
    /// What it admits towards these pods. `None`: it does not isolate for ingress.
    pub ingress: Option<Vec<Rule>>,
    /// What it admits from these pods, in the same way.
    pub egress: Option<Vec<Rule>>,
    /// Whether its spec has fields that are not known here.
    pub has_unknown: bool,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `from` or `to`; empty restricts nothing.
    pub peers: Vec<Peer>,
    /// `ports`; empty restricts nothing.
    pub ports: Vec<PortMatch>,
    /// Whether it has fields that are not known here.
    pub has_unknown: bool,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// As in NetworkPolicy; without a `namespaceSelector` of any namespace.
    Known(network_policy::Peer),
    /// With fields that are not known here.
    Unknown,
}
