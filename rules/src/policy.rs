//! The common form: what every dialect becomes before it is judged.
//!
//! Tiers are walked in their order, the policies of a tier in theirs, rules from top to bottom; the first rule that
//! matches acts. `Allow` and `Deny` are final, `Pass` goes on with the next tier, `Log` with the next rule. Where a
//! policy that isolates selected the endpoint and no rule matched, the tier's default acts; where none did, the next
//! tier is asked. After the last tier everything is allowed. A NetworkPolicy is a policy whose rules all allow, in a
//! tier that denies by default (policy-semantics §0, §3.1).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use crate::cidr::Block;
use crate::cluster::Namespace;
use crate::label::{LabelMatch, PodInNamespace};
use crate::port::Traffic;
use crate::reading::Unspecified;

/// One policy of whatever dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which object it is.
    pub id: PolicyId,
    /// The tier it stands in.
    pub tier: Tier,
    /// Its place within the tier; ties are broken by name.
    pub order: Order,
    /// Whom it concerns.
    pub subject: Subject,
    /// What it says of connections towards its subjects; `None` when it says nothing.
    pub ingress: Option<Section>,
    /// What it says of connections from its subjects.
    pub egress: Option<Section>,
    /// Why it cannot be told whether it applies at all.
    pub open: Option<Unspecified>,
}

impl Policy {
    /// What it says of one direction.
    pub fn section(&self, direction: Direction) -> Option<&Section> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
        }
    }

    /// The rules of one direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        self.section(direction)
            .map_or(&[], |section| &section.rules)
    }

    /// Whether its subjects count as isolated for `direction`.
    pub fn isolates(&self, direction: Direction) -> bool {
        self.section(direction)
            .is_some_and(|section| section.isolates)
    }

    /// All its rules, of both directions.
    pub fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        let sections = self.ingress.iter().chain(&self.egress);
        sections.flat_map(|section| &section.rules)
    }

    /// Where it stands among all policies.
    pub(crate) fn place(&self) -> (&Tier, Order, &str, &PolicyId) {
        (&self.tier, self.order, &self.id.name, &self.id)
    }
}

/// Which object a policy is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl PolicyId {
    /// `namespace/name`, or the name alone for cluster-scoped kinds.
    pub fn key(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for PolicyId {
    /// `NetworkPolicy shop/redis`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key())
    }
}

/// The kinds of policies that are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `networking.k8s.io` NetworkPolicy.
    NetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` AdminNetworkPolicy.
    AdminNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` BaselineAdminNetworkPolicy.
    BaselineAdminNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
    ClusterNetworkPolicy,
    /// Calico's NetworkPolicy.
    CalicoNetworkPolicy,
    /// Calico's GlobalNetworkPolicy.
    CalicoGlobalNetworkPolicy,
    /// Calico's HostEndpoint: whatever policies do on a node.
    CalicoHostEndpoint,
    /// `cilium.io` CiliumNetworkPolicy.
    CiliumNetworkPolicy,
    /// `cilium.io` CiliumClusterwideNetworkPolicy.
    CiliumClusterwideNetworkPolicy,
    /// `network.alibabacloud.com` GlobalNetworkPolicy.
    AckGlobalNetworkPolicy,
    /// `network.alibabacloud.com` TrafficPolicy.
    AckTrafficPolicy,
    /// `network.alibabacloud.com` GlobalTrafficPolicy.
    AckGlobalTrafficPolicy,
}

impl Kind {
    /// What messages call it: the kind, with the product where another has a kind of that name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::CalicoNetworkPolicy => "Calico NetworkPolicy",
            Self::CalicoGlobalNetworkPolicy => "Calico GlobalNetworkPolicy",
            Self::CalicoHostEndpoint => "Calico HostEndpoint",
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::AckGlobalNetworkPolicy => "ACK GlobalNetworkPolicy",
            Self::AckTrafficPolicy => "ACK TrafficPolicy",
            Self::AckGlobalTrafficPolicy => "ACK GlobalTrafficPolicy",
        }
    }

    /// Whether what NetworkPolicy leaves open is open for it too: host-network pods, protocols without ports, the
    /// way to the own node (policy-semantics §1.5 and §1.6). The other dialects define these.
    pub fn is_like_network_policy(self) -> bool {
        matches!(self, Self::NetworkPolicy | Self::AckGlobalNetworkPolicy)
    }

    /// Whether engines differ on its `endPort` and on port names where no pod or several numbers answer to them; the
    /// other dialects define these (policy-semantics §5).
    pub fn ports_depend_on_engine(self) -> bool {
        self.is_like_network_policy()
            || matches!(
                self,
                Self::CiliumNetworkPolicy | Self::CiliumClusterwideNetworkPolicy
            )
    }

    /// Whether it is one of Calico's, which only Calico enforces: nothing of it is for other engines to read otherwise.
    pub fn is_calico(self) -> bool {
        matches!(
            self,
            Self::CalicoNetworkPolicy | Self::CalicoGlobalNetworkPolicy | Self::CalicoHostEndpoint
        )
    }

    /// Whether it is undefined which of two policies of equal order goes first (policy-semantics §2).
    pub fn leaves_ties_open(self) -> bool {
        matches!(
            self,
            Self::AdminNetworkPolicy
                | Self::BaselineAdminNetworkPolicy
                | Self::ClusterNetworkPolicy
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tier: a stage of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its place among the tiers.
    pub order: Order,
    /// Its name.
    pub name: Cow<'static, str>,
    /// What happens when it isolates and no rule matches.
    pub default: TierDefault,
}

impl Tier {
    /// Deny rules that beat whatever else there is: Cilium's, and those of kinds that are not evaluated.
    pub const FIRST: Self = Self::built_in(f64::NEG_INFINITY, "first", TierDefault::Pass);
    /// AdminNetworkPolicy and ClusterNetworkPolicy `Admin`; Calico's `kube-admin`.
    pub const ADMIN: Self = Self::built_in(1_000.0, "kube-admin", TierDefault::Pass);
    /// NetworkPolicy and what adds up with it; Calico's `default`.
    pub const DEFAULT: Self = Self::built_in(1_000_000.0, "default", TierDefault::Deny);
    /// BaselineAdminNetworkPolicy and ClusterNetworkPolicy `Baseline`; Calico's `kube-baseline`.
    pub const BASELINE: Self = Self::built_in(10_000_000.0, "kube-baseline", TierDefault::Pass);

    const fn built_in(order: f64, name: &'static str, default: TierDefault) -> Self {
        Self {
            order: Order(order),
            name: Cow::Borrowed(name),
            default,
        }
    }
}

impl Ord for Tier {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.order, &self.name).cmp(&(other.order, &other.name))
    }
}

impl PartialOrd for Tier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What happens in a tier that isolates when no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierDefault {
    /// The connection is denied.
    Deny,
    /// The next tier is asked.
    Pass,
}

/// A place among tiers or policies: lower goes first.
#[derive(Clone, Copy, Debug)]
pub struct Order(pub f64);

impl Order {
    /// NetworkPolicies within Calico's tier `default` (policy-semantics §3.1).
    pub const NETWORK_POLICY: Self = Self(1_000.0);
    /// No order given.
    pub const LAST: Self = Self(f64::INFINITY);
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Order {}

/// Whom a policy concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Pods.
    Pods(Pods),
    /// Nodes, and whatever shares their addresses: host policies.
    Nodes(LabelMatch),
}

/// Pods by namespace and label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pods {
    /// Of which namespaces.
    pub namespaces: Namespaces,
    /// With which labels.
    pub pods: LabelMatch,
}

impl Pods {
    /// Whether `pod` is one of them.
    pub fn select(&self, pod: &PodInNamespace<'_>) -> bool {
        self.namespaces.select(pod) && self.pods.matches(pod)
    }
}

/// Namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Namespaces {
    /// The one of this name.
    Named(String),
    /// Those with these labels; the selector of everything is any namespace.
    Matching(LabelMatch),
}

impl Namespaces {
    /// Whether the namespace of `pod` is one of them.
    pub fn select(&self, pod: &PodInNamespace<'_>) -> bool {
        match (self, pod.namespace) {
            (Self::Named(name), _) => pod.pod.namespace == *name,
            (Self::Matching(selector), Some(namespace)) => selector.matches(namespace),
            (Self::Matching(selector), None) => {
                selector.matches(&Namespace::named(&pod.pod.namespace))
            }
        }
    }
}

/// What a policy says of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its rules, from top to bottom.
    pub rules: Vec<Rule>,
    /// Whether it counts as selecting the endpoint, so that the tier's default acts when no rule matches.
    pub isolates: bool,
}

/// Into a pod or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Towards the selected pod; `from`.
    Ingress,
    /// From the selected pod; `to`.
    Egress,
}

impl Direction {
    /// The opposite one.
    pub fn other(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// One rule. It matches what fulfils all of its criteria.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it does with what it matches.
    pub action: Action,
    /// The other end, as alternatives; empty restricts nothing, not even to the cluster.
    pub peers: Vec<Peer>,
    /// The end that the policy selects, as alternatives; empty restricts nothing.
    pub own: Vec<Peer>,
    /// Protocol and port of the receiving end, as alternatives; empty restricts nothing, not even to a protocol.
    pub traffic: Vec<Traffic>,
    /// Protocols and ports it does not match, even if `traffic` does.
    pub not_traffic: Vec<Traffic>,
    /// The family of addresses it is limited to.
    pub family: Option<Family>,
    /// Why it cannot be told whether it matches what fulfils everything else.
    pub open: Option<Unspecified>,
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The side allows; nothing further is asked.
    #[default]
    Allow,
    /// The side denies.
    Deny,
    /// The next tier is asked.
    Pass,
    /// The next rule is asked.
    Log,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What an end of a connection must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A pod with a network of its own. (A host-network pod where the policy's kind leaves that open.)
    Pods(Pods),
    /// An address.
    Addresses {
        /// In this block.
        block: Block,
        /// Whose addresses are compared.
        reach: Reach,
    },
    /// Any address of a named set, whoever has it: a NetworkSet of Calico.
    AddressSet(Arc<AddressSet>),
    /// A node with these labels, or what shares its addresses.
    Nodes(LabelMatch),
    /// One of a class of endpoints.
    Entity(Entity),
    /// A pod behind this Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An address outside the cluster that one of these domain names may have, exact or with `*.` before them.
    Domains(Vec<String>),
    /// All of these; nothing at all is everyone.
    All(Vec<Peer>),
    /// One of these; nothing at all is no one.
    Any(Vec<Peer>),
    /// Not this one.
    Not(Box<Peer>),
    /// It cannot be told, for this reason.
    Open(Unspecified),
}

impl Peer {
    /// No one.
    pub const NOBODY: Self = Self::Any(Vec::new());

    /// Calls `see` with this peer and with every one within it.
    pub fn each<'p>(&'p self, see: &mut impl FnMut(&'p Peer)) {
        see(self);
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.each(see);
                }
            }
            Self::Not(part) => part.each(see),
            _ => {}
        }
    }
}

/// Addresses under one name, of which there may be many: they are looked for, not gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet {
    /// The object they come from: `GlobalNetworkSet office`.
    pub name: String,
    /// Without overlap, upwards.
    nets: Vec<IpNet>,
}

impl AddressSet {
    /// A set of these addresses, in any order.
    pub fn new(name: String, nets: Vec<IpNet>) -> Self {
        let mut nets = IpNet::aggregate(&nets);
        nets.sort_unstable_by_key(IpNet::network);
        Self { name, nets }
    }

    /// Whether `address` is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        let above = self.nets.partition_point(|net| net.network() <= address);
        let below = above.checked_sub(1).and_then(|index| self.nets.get(index));
        below.is_some_and(|net| net.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty()
    }

    /// Its addresses as few blocks as there can be.
    pub fn nets(&self) -> &[IpNet] {
        &self.nets
    }
}

/// Whose addresses an address block is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// `ipBlock`: surely those outside the cluster; engines differ on pods and nodes (policy-semantics §5).
    ByEngine,
    /// Everyone's: `networks` of ClusterNetworkPolicy, `nets` of Calico.
    Everyone,
    /// Those outside the cluster only: Cilium's CIDR rules.
    Outside,
}

/// A class of endpoints that Cilium has a name for (policy-semantics §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entity {
    /// The node of the selected pod, and the host-network pods on it.
    Host,
    /// Any other node, and the host-network pods there.
    RemoteNode,
    /// The API server, wherever it runs.
    KubeApiserver,
    /// Everything in the cluster.
    Cluster,
    /// Everything outside.
    World,
    /// Everything outside with an IPv4 address.
    WorldIpv4,
    /// Everything outside with an IPv6 address.
    WorldIpv6,
    /// Everyone.
    All,
    /// Endpoints that no flow record shows: `init`, `health`, `unmanaged`, `ingress`.
    Internal(&'static str),
}

impl Entity {
    /// The word of the dialect.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::RemoteNode => "remote-node",
            Self::KubeApiserver => "kube-apiserver",
            Self::Cluster => "cluster",
            Self::World => "world",
            Self::WorldIpv4 => "world-ipv4",
            Self::WorldIpv6 => "world-ipv6",
            Self::All => "all",
            Self::Internal(word) => word,
        }
    }
}

impl Rule {
    /// Every address block it names, exceptions included; of the sets of addresses only those not yet `seen`.
    pub(crate) fn cidrs(&self, seen: &mut HashSet<*const AddressSet>) -> Vec<IpNet> {
        let mut cidrs = Vec::new();
        for peer in self.peers.iter().chain(&self.own) {
            peer.each(&mut |peer| match peer {
                Peer::Addresses { block, .. } => {
                    cidrs.push(block.cidr);
                    cidrs.extend(&block.except);
                }
                // Many rules may share one set, and that may be large.
                Peer::AddressSet(set) if seen.insert(Arc::as_ptr(set)) => {
                    cidrs.extend(set.nets());
                }
                _ => {}
            });
        }
        cidrs
    }
}
