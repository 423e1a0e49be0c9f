//! The peers of a rule, their selectors replaced by what those select.

use std::net::IpAddr;
use std::sync::Arc;

use super::classes::Classes;
use super::fit::{Fit, Points};
use super::selections::Selections;
use crate::cidr::Block;
use crate::cluster::{Cluster, Pod};
use crate::policy::{AddressSet, Entity, Peer, Reach};

/// What a rule demands of one end.
#[derive(Debug)]
pub(super) enum Peers {
    /// Pods, by the number of their selector.
    Pods(u32),
    Addresses(Block, Reach),
    AddressSet(Arc<AddressSet>),
    /// Addresses outside, of one family if one is given.
    World(Option<bool>),
    /// Every pod of the cluster.
    Cluster,
    /// A pod behind this Service.
    Service(Arc<(String, String)>),
    /// Not a pod; of what is outside, the plain evaluator knows.
    AskOutside,
    Ask,
    All(Vec<Peers>),
    Any(Vec<Peers>),
    Not(Box<Peers>),
}

/// An end that is a pod or outside: no node, no Service, nothing behind which others may stand.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) address: Option<IpAddr>,
    /// With its class; `None` outside.
    pub(super) pod: Option<(&'a Pod, u32)>,
}

/// What peers are held against.
#[derive(Clone, Copy)]
pub(super) struct Against<'v> {
    pub(super) selections: &'v Selections,
    pub(super) cluster: &'v Cluster,
    pub(super) points: Points,
}

impl Peers {
    /// A list of alternatives; an empty one restricts nothing, which is `None`.
    pub(super) fn list(
        peers: &[Peer],
        selections: &mut Selections,
        classes: &Classes,
        cluster: &Cluster,
    ) -> Option<Self> {
        let mut parts = Self::parts(peers, selections, classes, cluster);
        match parts.len() {
            0 => None,
            1 => parts.pop(),
            _ => Some(Self::Any(parts)),
        }
    }

    fn parts(
        peers: &[Peer],
        selections: &mut Selections,
        classes: &Classes,
        cluster: &Cluster,
    ) -> Vec<Self> {
        let parts = peers.iter();
        parts
            .map(|peer| Self::one(peer, selections, classes, cluster))
            .collect()
    }

    fn one(peer: &Peer, selections: &mut Selections, classes: &Classes, cluster: &Cluster) -> Self {
        match peer {
            Peer::Pods(pods) => Self::Pods(selections.take(pods, classes, cluster)),
            Peer::Addresses { block, reach } => Self::Addresses(block.clone(), *reach),
            Peer::AddressSet(set) => Self::AddressSet(Arc::clone(set)),
            Peer::Service { namespace, name } => {
                Self::Service(Arc::new((namespace.clone(), name.clone())))
            }
            Peer::Entity(Entity::All) => Self::All(Vec::new()),
            Peer::Entity(Entity::Cluster) => Self::Cluster,
            Peer::Entity(Entity::World) => Self::World(None),
            Peer::Entity(Entity::WorldIpv4) => Self::World(Some(true)),
            Peer::Entity(Entity::WorldIpv6) => Self::World(Some(false)),
            Peer::Entity(Entity::KubeApiserver) | Peer::Domains(_) => Self::AskOutside,
            Peer::Nodes(_)
            | Peer::Entity(Entity::Host | Entity::RemoteNode | Entity::Internal(_)) => {
                Self::Any(Vec::new())
            }
            Peer::Open(_) => Self::Ask,
            Peer::All(parts) => Self::All(Self::parts(parts, selections, classes, cluster)),
            Peer::Any(parts) => Self::Any(Self::parts(parts, selections, classes, cluster)),
            Peer::Not(part) => Self::Not(Box::new(Self::one(part, selections, classes, cluster))),
        }
    }

    /// Gives the selectors back.
    pub(super) fn give_back(&self, selections: &mut Selections) {
        match self {
            Self::Pods(number) => selections.give_back(*number),
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.give_back(selections);
                }
            }
            Self::Not(part) => part.give_back(selections),
            _ => {}
        }
    }

    /// Whether they match `end`.
    pub(super) fn fit(&self, end: &Seen<'_>, against: &Against<'_>) -> Fit {
        match self {
            Self::Pods(number) => end
                .pod
                .is_some_and(|(_, class)| against.selections.selects(*number, class))
                .into(),
            Self::Addresses(block, reach) => block_fit(block, *reach, end, against),
            Self::AddressSet(set) => match end.address {
                Some(address) => set.contains(address).into(),
                None => Fit::Ask,
            },
            Self::World(family) => {
                let is_of = |v4| end.address.is_some_and(|address| address.is_ipv4() == v4);
                (end.pod.is_none() && family.is_none_or(is_of)).into()
            }
            Self::Cluster => end.pod.is_some().into(),
            Self::Service(key) => is_behind(key, end, against.cluster).into(),
            Self::AskOutside => match end.pod {
                Some(_) => Fit::No,
                None => Fit::Ask,
            },
            Self::Ask => Fit::Ask,
            Self::All(parts) => Fit::all(parts.iter().map(|part| part.fit(end, against))),
            Self::Any(parts) => Fit::any(parts.iter().map(|part| part.fit(end, against))),
            Self::Not(part) => part.fit(end, against).not(),
        }
    }
}

fn block_fit(block: &Block, reach: Reach, end: &Seen<'_>, against: &Against<'_>) -> Fit {
    if reach == Reach::Outside && end.pod.is_some() {
        return Fit::No;
    }
    let Some(address) = end.address else {
        return Fit::Ask;
    };
    match (block.contains(address), reach, end.pod) {
        (false, ..) => Fit::No,
        (true, Reach::ByEngine, Some(_)) => against.points.block_on_pod,
        (true, ..) => Fit::Yes,
    }
}

fn is_behind((namespace, name): &(String, String), end: &Seen<'_>, cluster: &Cluster) -> bool {
    let Some((pod, _)) = end.pod.filter(|(pod, _)| pod.namespace == *namespace) else {
        return false;
    };
    let service = cluster.service(namespace, name);
    service.is_some_and(|service| {
        let mut backends = cluster.backends(service);
        backends.any(|backend| backend.name == pod.name)
    })
}
