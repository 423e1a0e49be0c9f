//! `cilium.io` CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup (policy-semantics §4.1).
//!
//! Only Cilium applies them. What is said here of empty lists follows Cilium's own connectivity tests and the
//! conversion of its agent: a section without rules does nothing, a rule `{}` isolates and allows nothing, a list
//! of peers that is there and empty matches no one.

pub(crate) mod lower;
pub(crate) mod print;
pub(crate) mod read;
mod selector;
#[cfg(test)]
mod tests;

use ipnet::IpNet;

use crate::cidr::Block;
use crate::cluster::{Labels, Protocol};
use crate::policy::{Entity, Family};
use crate::selector::Selector;

/// More ports or ICMP fields in one entry are refused.
const ENTRIES_MAX: usize = 40;

/// A policy that the API server and Cilium would accept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CiliumPolicy {
    /// Its namespace; `None` for the clusterwide kind.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// `spec`, then `specs`.
    pub specs: Vec<Spec>,
}

/// One of a policy's specs: each stands on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Whom it concerns.
    pub subject: Subject,
    /// What it says of connections towards them.
    pub ingress: Section,
    /// What it says of connections from them.
    pub egress: Section,
}

/// Whom a spec concerns. Keys of labels are as they were written, with their source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `endpointSelector`: pods; in the namespaced kind those of its namespace.
    Endpoints(Selector),
    /// `nodeSelector`: nodes.
    Nodes(Selector),
}

/// One direction of a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// `ingress` or `egress`: what is allowed.
    pub allow: Vec<Rule>,
    /// `ingressDeny` or `egressDeny`: what is denied whatever any policy allows.
    pub deny: Vec<Rule>,
    /// `enableDefaultDeny`, where it speaks of this direction.
    pub default_deny: Option<bool>,
}

impl Section {
    /// Whether it isolates: as it says, else when it has rules of either sort.
    pub fn isolates(&self) -> bool {
        let has_rules = !self.allow.is_empty() || !self.deny.is_empty();
        self.default_deny.unwrap_or(has_rules)
    }
}

/// One rule: peers and ports must both match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The other end.
    pub peers: Peers,
    /// `fromRequires` or `toRequires`: what peers must be besides. Grants nothing.
    pub requires: Vec<Selector>,
    /// `toPorts`.
    pub ports: Vec<PortRule>,
    /// `icmps`; not beside `toPorts`.
    pub icmps: Vec<Icmp>,
    /// `authentication`, which is not evaluated.
    pub authentication: bool,
}

/// The other end: one kind of peers for each rule, entries are alternatives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Peers {
    /// Nothing said: with ports everyone, without no one.
    #[default]
    Unsaid,
    /// A list that is there and empty.
    Nobody,
    /// `fromEndpoints`, `toEndpoints`.
    Endpoints(Vec<Selector>),
    /// `fromNodes`, `toNodes`.
    Nodes(Vec<Selector>),
    /// `fromEntities`, `toEntities`; `None` is the entity that never exists.
    Entities(Vec<Option<Entity>>),
    /// `fromCIDR`, `toCIDR`, `fromCIDRSet`, `toCIDRSet`.
    Blocks(Vec<CidrRule>),
    /// `toServices`.
    Services(Vec<ServiceRef>),
    /// `toFQDNs`.
    Names(Vec<DomainName>),
    /// `fromGroups`, `toGroups`: groups of another cloud, which are not evaluated.
    Groups,
}

/// One entry of `fromCIDRSet` and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CidrRule {
    /// A block, less its exceptions.
    Block(Block),
    /// `cidrGroupRef`, less exceptions.
    Group {
        /// The name of the group.
        name: String,
        /// Blocks that do not count.
        except: Vec<IpNet>,
    },
    /// `cidrGroupSelector`, less exceptions.
    Groups {
        /// The labels of the groups.
        selector: Selector,
        /// Blocks that do not count.
        except: Vec<IpNet>,
    },
}

/// One entry of `toServices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRef {
    /// `k8sService`.
    Named {
        /// Its namespace; `None` when not said.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
    /// `k8sServiceSelector`.
    Labelled {
        /// Its namespace; `None` is any.
        namespace: Option<String>,
        /// The Service's own labels.
        selector: Selector,
    },
}

/// One entry of `toFQDNs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainName {
    /// `matchName`.
    Exact(String),
    /// `matchPattern`.
    Pattern(String),
}

/// One entry of `toPorts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortRule {
    /// Its ports; entries are alternatives.
    pub ports: Vec<Port>,
    /// What it demands of the connection's content, by the names of the fields that say so; empty is nothing.
    pub content: Vec<String>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number or name.
    pub number: PortNumber,
    /// Its protocol; `None` is any.
    pub protocol: Option<Protocol>,
}

/// `port` with `endPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortNumber {
    /// `0`: every port.
    Any,
    /// A closed range; a single number is a range of one.
    Range(u16, u16),
    /// The name of a port, in lower case.
    Named(String),
}

/// One field of `icmps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// ICMP or ICMPv6.
    pub family: Family,
    /// The type of the message: a number, or its name.
    pub message: String,
}

/// `cilium.io` CiliumCIDRGroup: blocks under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CidrGroup {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// `spec.externalCIDRs`.
    pub blocks: Vec<IpNet>,
}
