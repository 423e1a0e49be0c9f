//! Whether a rule matches a connection, under one combination of readings.

use super::case::{Case, End, Who, runs_on};
use crate::cidr::Block;
use crate::cluster::{Cluster, Pod, PortOwner, Protocol};
use crate::label::PodInNamespace;
use crate::policy::{
    AddressSet, Direction, Entity, Family, Namespaces, Peer, Pods, Policy, Reach, Rule,
};
use crate::port::{PortClause, Traffic};
use crate::reading::{Asking, Reading, Readings};
use crate::verdict::Unspecified;

/// What the rules of one side are held against.
#[derive(Clone, Copy)]
pub(super) struct View<'v, 'a> {
    pub(super) direction: Direction,
    pub(super) case: &'v Case<'a>,
    pub(super) cluster: &'v Cluster,
    /// The policies that decide, in the order in which they are walked.
    pub(super) policies: &'v [&'v Policy],
}

impl<'v, 'a> View<'v, 'a> {
    /// A rule matches what fulfils all of its criteria (§1.2, §3.3).
    pub(super) fn rule_matches(
        &self,
        policy: &Policy,
        rule: &Rule,
        readings: &mut Readings,
    ) -> bool {
        self.traffic_matches(policy, rule, readings)
            && self.family_matches(rule, readings)
            && self.peers_match(policy, rule, readings)
            && self.own_matches(policy, rule, readings)
            && rule
                .open
                .is_none_or(|point| readings.ask(Asking::of(point, rule)) == Reading::Matches)
    }

    /// The end that policies of this direction select.
    pub(super) fn own(&self) -> &'v End<'a> {
        match self.direction {
            Direction::Egress => &self.case.client,
            Direction::Ingress => &self.case.server,
        }
    }

    /// The end that peers speak of.
    pub(super) fn other(&self) -> &'v End<'a> {
        match self.direction {
            Direction::Egress => &self.case.server,
            Direction::Ingress => &self.case.client,
        }
    }

    /// An absent list restricts nothing; entries are alternatives.
    pub(super) fn traffic_matches(
        &self,
        policy: &Policy,
        rule: &Rule,
        readings: &mut Readings,
    ) -> bool {
        if !self.case.protocol.has_ports() && policy.id.kind.is_like_network_policy() {
            return self.portless_match(rule, readings);
        }
        let mut any = |list: &[Traffic]| {
            list.iter()
                .any(|traffic| self.one_traffic_matches(policy, traffic, readings))
        };
        (rule.traffic.is_empty() || any(&rule.traffic)) && !any(&rule.not_traffic)
    }

    /// ICMP and its like: open (§1.5). Rules without ports nominally cover them.
    fn portless_match(&self, rule: &Rule, readings: &mut Readings) -> bool {
        match readings.ask(Unspecified::OtherProtocol) {
            Reading::DeniedByAnyPort => {
                let alike = self.policies.iter();
                let alike = alike.filter(|policy| policy.id.kind.is_like_network_policy());
                let mut rules = alike.flat_map(|policy| policy.rules(self.direction));
                rules.all(|rule| rule.traffic.is_empty())
            }
            _ => rule.traffic.is_empty(),
        }
    }

    fn one_traffic_matches(
        &self,
        policy: &Policy,
        traffic: &Traffic,
        readings: &mut Readings,
    ) -> bool {
        let (protocol, port) = (self.case.protocol, self.case.port);
        if traffic.protocol.is_some_and(|p| p != protocol) {
            return false;
        }
        let matches = match &traffic.port {
            None => true,
            Some(_) if !protocol.has_ports() => false,
            Some(PortClause::Range(first, last)) if *first == port => first <= last,
            Some(PortClause::Range(first, last)) => {
                (*first..=*last).contains(&port)
                    && (!policy.id.kind.ports_depend_on_engine()
                        || readings.ask(Unspecified::EndPort) == Reading::Matches)
            }
            Some(PortClause::Named(name)) => self.name_matches(policy, name, readings),
        };
        matches
            && (protocol != Protocol::Sctp
                || policy.id.kind.is_calico()
                || readings.ask(Unspecified::Sctp) == Reading::Matches)
    }

    /// A named port belongs to the pod that receives the connection, in both directions (§1.5).
    fn name_matches(&self, policy: &Policy, name: &str, readings: &mut Readings) -> bool {
        let (port, protocol) = (self.case.port, self.case.protocol);
        let in_cluster = |cluster: &Cluster| {
            cluster
                .numbers_named(name, protocol)
                .any(|number| number == port)
        };
        let has_table =
            self.direction == Direction::Egress && policy.id.kind.ports_depend_on_engine();
        let receiver = match policy.id.kind.is_like_network_policy() {
            true => self.case.server.as_pod(readings),
            false => match self.case.server.who {
                Who::Pod(pod) => Some(pod),
                _ => None,
            },
        };
        let Some(receiver) = receiver else {
            return has_table
                && in_cluster(self.cluster)
                && readings.ask(Unspecified::NamedPortOutside) == Reading::OfCluster;
        };
        let ambiguous = has_table && self.cluster.numbers_named(name, protocol).nth(1).is_some();
        if ambiguous
            && (in_cluster(self.cluster) || declares(receiver, name, port, protocol).is_some())
        {
            match readings.ask(Unspecified::NamedPortAmbiguous) {
                Reading::OfCluster => return in_cluster(self.cluster),
                Reading::DoesNotMatch => return false,
                _ => {}
            }
        }
        match declares(receiver, name, port, protocol) {
            Some(Declared::Surely) => true,
            Some(Declared::ByInit) => {
                policy.id.kind.is_calico()
                    || readings.ask(Unspecified::NamedPortOfInit) == Reading::Matches
            }
            None => false,
        }
    }

    fn family_matches(&self, rule: &Rule, readings: &mut Readings) -> bool {
        let Some(family) = rule.family else {
            return true;
        };
        match self.other().address.or(self.own().address) {
            Some(address) => address.is_ipv4() == (family == Family::V4),
            None => {
                let asking = Asking::of(Unspecified::UnknownAddress, rule);
                readings.ask(asking) == Reading::Matches
            }
        }
    }

    /// An absent list restricts nothing, not even to the cluster; entries are alternatives (§1.3).
    pub(super) fn peers_match(
        &self,
        policy: &Policy,
        rule: &Rule,
        readings: &mut Readings,
    ) -> bool {
        self.any_matches(policy, &rule.peers, self.other(), readings)
    }

    fn own_matches(&self, policy: &Policy, rule: &Rule, readings: &mut Readings) -> bool {
        self.any_matches(policy, &rule.own, self.own(), readings)
    }

    fn any_matches(
        &self,
        policy: &Policy,
        peers: &[Peer],
        end: &End<'_>,
        readings: &mut Readings,
    ) -> bool {
        peers.is_empty()
            || peers
                .iter()
                .any(|peer| self.peer_matches(policy, peer, end, readings))
    }

    fn peer_matches(
        &self,
        policy: &Policy,
        peer: &Peer,
        end: &End<'_>,
        readings: &mut Readings,
    ) -> bool {
        let mut one = |peer: &Peer| self.peer_matches(policy, peer, end, readings);
        match peer {
            Peer::All(parts) => parts.iter().all(one),
            Peer::Any(parts) => parts.iter().any(one),
            Peer::Not(part) => !one(part),
            Peer::Pods(pods) => self.pods_match(policy, pods, end, readings),
            Peer::Addresses { block, reach } => block_matches(block, *reach, end, readings),
            Peer::AddressSet(set) => set_matches(set, end, readings),
            Peer::Nodes(nodes) => {
                let node = match end.who {
                    Who::Node(node) => Some(node),
                    Who::HostPod(pod) => pod.node.as_deref().and_then(|n| self.cluster.node(n)),
                    Who::Pod(_) | Who::Service(_) | Who::External => None,
                };
                node.is_some_and(|node| nodes.matches(node))
            }
            Peer::Entity(entity) => self.entity_matches(*entity, end, readings),
            Peer::Service { namespace, name } => {
                let pod = match end.who {
                    Who::Pod(pod) => pod,
                    _ => return false,
                };
                let service = self.cluster.service(namespace, name);
                service.is_some_and(|service| {
                    let mut backends = self.cluster.backends(service);
                    backends.any(|backend| {
                        backend.namespace == pod.namespace && backend.name == pod.name
                    })
                })
            }
            Peer::Domains(_) => {
                self.entity_matches(Entity::World, end, readings)
                    && readings.ask(Asking::of(Unspecified::DomainName, peer)) == Reading::Matches
            }
            Peer::Open(point) => readings.ask(Asking::of(*point, peer)) == Reading::Matches,
        }
    }

    fn pods_match(
        &self,
        policy: &Policy,
        pods: &Pods,
        end: &End<'_>,
        readings: &mut Readings,
    ) -> bool {
        let (pod, is_host) = match end.who {
            Who::Pod(pod) => (pod, false),
            Who::HostPod(pod) if policy.id.kind.is_like_network_policy() => (pod, true),
            // Selector peers never match external addresses, Services or bare nodes.
            _ => return false,
        };
        let seen = PodInNamespace {
            pod,
            namespace: self.cluster.namespace(&pod.namespace),
        };
        if !pods.select(&seen) {
            return false;
        }
        let leaves_pods_open =
            matches!(pods.namespaces, Namespaces::Matching(_)) && pods.pods.is_everything();
        !is_host
            || match readings.ask(Unspecified::HostNetwork) {
                Reading::IsPod => true,
                Reading::IsNodeInNamespace => leaves_pods_open,
                _ => false,
            }
    }

    fn entity_matches(&self, entity: Entity, end: &End<'_>, readings: &mut Readings) -> bool {
        let is_node = matches!(end.who, Who::Node(_) | Who::HostPod(_));
        let in_cluster = is_node || matches!(end.who, Who::Pod(_));
        let is_outside = |readings: &mut Readings| match end.who {
            Who::External => true,
            Who::Service(_) => readings.ask(Unspecified::ServiceAddress) == Reading::Matches,
            _ => false,
        };
        let is_of = |v4: bool| end.address.is_some_and(|address| address.is_ipv4() == v4);
        match entity {
            // A Service address that leads to no pod we know may lead to a node.
            Entity::Host | Entity::RemoteNode | Entity::Cluster
                if matches!(end.who, Who::Service(_)) =>
            {
                readings.ask(Unspecified::ServiceAddress) == Reading::Matches
            }
            Entity::Host => self.is_own_node(end),
            Entity::RemoteNode => is_node && !self.is_own_node(end),
            Entity::KubeApiserver => match end.who {
                Who::Pod(_) => false,
                Who::Service(service) => {
                    service.namespace == "default" && service.name == "kubernetes"
                }
                _ => readings.ask(Unspecified::ApiServer) == Reading::Matches,
            },
            Entity::Cluster => in_cluster,
            Entity::World => is_outside(readings),
            Entity::WorldIpv4 => is_of(true) && is_outside(readings),
            Entity::WorldIpv6 => is_of(false) && is_outside(readings),
            Entity::All => true,
            Entity::Internal(_) => false,
        }
    }

    /// Whether `end` is the node that the selected end runs on or is.
    fn is_own_node(&self, end: &End<'_>) -> bool {
        let node = match end.who {
            Who::Node(node) => node.name.as_str(),
            Who::HostPod(pod) => match pod.node.as_deref() {
                Some(node) => node,
                None => return false,
            },
            Who::Pod(_) | Who::Service(_) | Who::External => return false,
        };
        match self.own().who {
            Who::Pod(pod) | Who::HostPod(pod) => runs_on(pod, node, end.address),
            Who::Node(own) => own.name == node,
            Who::Service(_) | Who::External => false,
        }
    }
}

/// Whether an address block matches an end, as far as the engine compares the addresses of such an end at all.
fn block_matches(block: &Block, reach: Reach, end: &End<'_>, readings: &mut Readings) -> bool {
    let point = match (end.who, reach) {
        (Who::Pod(_) | Who::HostPod(_) | Who::Node(_), Reach::Outside) => return false,
        (Who::Pod(_), Reach::ByEngine) => Some(Unspecified::BlockOnPod),
        (Who::HostPod(_) | Who::Node(_), Reach::ByEngine) => Some(Unspecified::BlockOnNode),
        (Who::Service(_), _) => Some(Unspecified::ServiceAddress),
        (Who::External, _) | (_, Reach::Everyone) => None,
    };
    let is_inside = end.address.map(|address| block.contains(address));
    // Rules of NetworkPolicy only allow: what holds when all blocks match and when none does, always holds.
    let unknown = match reach {
        Reach::ByEngine => Asking::from(Unspecified::UnknownAddress),
        Reach::Everyone | Reach::Outside => Asking::of(Unspecified::UnknownAddress, block),
    };
    is_inside != Some(false)
        && point.is_none_or(|point| readings.ask(point) == Reading::Matches)
        && (is_inside.is_some() || readings.ask(unknown) == Reading::Matches)
}

/// Whether an end has an address of a set.
fn set_matches(set: &AddressSet, end: &End<'_>, readings: &mut Readings) -> bool {
    match (end.address, end.who) {
        (None, _) => {
            let asking = Asking::of(Unspecified::UnknownAddress, set);
            readings.ask(asking) == Reading::Matches
        }
        (Some(address), Who::Service(_)) => {
            set.contains(address) && readings.ask(Unspecified::ServiceAddress) == Reading::Matches
        }
        (Some(address), _) => set.contains(address),
    }
}

/// How a pod declares a port name with this number and protocol.
pub(super) enum Declared {
    Surely,
    /// Only by an init container that runs to its end.
    ByInit,
}

pub(super) fn declares(pod: &Pod, name: &str, port: u16, protocol: Protocol) -> Option<Declared> {
    let hits = pod
        .ports
        .iter()
        .filter(|declared| {
            declared.name.as_deref() == Some(name)
                && declared.port == port
                && declared.protocol == protocol
        })
        .map(|declared| declared.owner);
    hits.fold(None, |found, owner| match (found, owner) {
        (Some(Declared::Surely), _) | (_, PortOwner::Container | PortOwner::RestartableInit) => {
            Some(Declared::Surely)
        }
        (_, PortOwner::Init) => Some(Declared::ByInit),
    })
}
