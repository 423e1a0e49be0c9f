//! One side of one case under one combination of readings: the rules of policy-semantics §1, line by line.

use super::case::{Case, End, Who, runs_on};
use crate::cluster::{Cluster, Namespace, Pod, PortOwner, Protocol};
use crate::dialect::network_policy::{Direction, NetworkPolicy, Peer, Rule};
use crate::port::PortMatch;
use crate::reading::{Reading, Readings};
use crate::selector::Selector;
use crate::verdict::{Decision, Unspecified};

/// Where a side stands before any rule is looked at.
pub(super) enum Standing<'a> {
    /// No pod is here that a policy could select.
    NoPod,
    /// No policy isolates the pod: everything is allowed (§1.1).
    NotIsolated(&'a Pod),
    /// Policies isolate the pod, but not for this connection (§1.6).
    Exempt(&'a Pod),
    /// The rules of these policies decide.
    Isolated(&'a Pod, &'a [&'a NetworkPolicy]),
}

/// What one side says.
pub(super) fn decide(
    direction: Direction,
    case: &Case<'_>,
    cluster: &Cluster,
    readings: &mut Readings,
) -> Decision {
    match standing(direction, case, readings) {
        Standing::NoPod | Standing::NotIsolated(_) | Standing::Exempt(_) => Decision::Allowed,
        Standing::Isolated(_, policies) => {
            let view = View {
                direction,
                case,
                cluster,
                policies,
            };
            let any_admits = policies
                .iter()
                .any(|policy| view.policy_admits(policy, readings));
            if any_admits {
                Decision::Allowed
            } else {
                Decision::Denied
            }
        }
    }
}

/// Whether rules decide this side at all.
pub(super) fn standing<'a>(
    direction: Direction,
    case: &'a Case<'_>,
    readings: &mut Readings,
) -> Standing<'a> {
    let (subject, policies) = match direction {
        Direction::Egress => (&case.client, &case.egress),
        Direction::Ingress => (&case.server, &case.ingress),
    };
    match subject.who {
        Who::Pod(pod) if policies.is_empty() => return Standing::NotIsolated(pod),
        Who::HostPod(_) if policies.is_empty() => return Standing::NoPod,
        _ => {}
    }
    let Some(pod) = subject.as_pod(readings) else {
        return Standing::NoPod;
    };
    if is_exempt(direction, pod, case, readings) {
        return Standing::Exempt(pod);
    }
    Standing::Isolated(pod, policies)
}

/// The exemptions of §1.6, and protocols of which NetworkPolicy says nothing.
fn is_exempt(direction: Direction, pod: &Pod, case: &Case<'_>, readings: &mut Readings) -> bool {
    if case.is_loopback() {
        let point = match case.service {
            Some(_) => Unspecified::LoopbackThroughService,
            None => Unspecified::Loopback,
        };
        if readings.ask(point) == Reading::Exempt {
            return true;
        }
    }
    let other = match direction {
        Direction::Egress => &case.server,
        Direction::Ingress => &case.client,
    };
    let from_own_node = other
        .as_node(readings)
        .is_some_and(|node| runs_on(pod, node, other.address));
    if from_own_node {
        let exempt = match direction {
            Direction::Ingress => true,
            Direction::Egress => readings.ask(Unspecified::PodToOwnNode) == Reading::Exempt,
        };
        if exempt {
            return true;
        }
    }
    !case.protocol.has_ports() && readings.ask(Unspecified::OtherProtocol) == Reading::Exempt
}

/// What the rules of one side are held against.
pub(super) struct View<'v, 'a> {
    pub(super) direction: Direction,
    pub(super) case: &'v Case<'a>,
    pub(super) cluster: &'v Cluster,
    pub(super) policies: &'v [&'v NetworkPolicy],
}

impl<'v> View<'v, '_> {
    fn policy_admits(&self, policy: &NetworkPolicy, readings: &mut Readings) -> bool {
        let rules = policy.rules(self.direction).unwrap_or_default();
        rules
            .iter()
            .any(|rule| self.rule_admits(policy, rule, readings))
    }

    /// A rule admits what matches its ports and its peers (§1.2).
    pub(super) fn rule_admits(
        &self,
        policy: &NetworkPolicy,
        rule: &Rule,
        readings: &mut Readings,
    ) -> bool {
        self.ports_match(rule, readings) && self.peers_match(policy, rule, readings)
    }

    /// The end that peers speak of.
    pub(super) fn other(&self) -> &'v End<'_> {
        match self.direction {
            Direction::Egress => &self.case.server,
            Direction::Ingress => &self.case.client,
        }
    }

    /// An absent list restricts nothing; entries are alternatives.
    pub(super) fn ports_match(&self, rule: &Rule, readings: &mut Readings) -> bool {
        if !self.case.protocol.has_ports() {
            return self.portless_match(rule, readings);
        }
        rule.ports.is_empty()
            || rule
                .ports
                .iter()
                .any(|port| self.port_matches(port, readings))
    }

    /// ICMP and its like: open (§1.5). Rules without ports nominally cover them.
    fn portless_match(&self, rule: &Rule, readings: &mut Readings) -> bool {
        match readings.ask(Unspecified::OtherProtocol) {
            Reading::DeniedByAnyPort => {
                let rules = self
                    .policies
                    .iter()
                    .flat_map(|policy| policy.rules(self.direction).unwrap_or_default());
                rules.into_iter().all(|rule| rule.ports.is_empty())
            }
            _ => rule.ports.is_empty(),
        }
    }

    fn port_matches(&self, port: &PortMatch, readings: &mut Readings) -> bool {
        if port.protocol() != self.case.protocol {
            return false;
        }
        let matches = match port {
            PortMatch::All(_) => true,
            PortMatch::Range { first, .. } if *first == self.case.port => true,
            PortMatch::Range { first, last, .. } => {
                (*first..=*last).contains(&self.case.port)
                    && readings.ask(Unspecified::EndPort) == Reading::Matches
            }
            PortMatch::Named { name, .. } => self.name_matches(name, readings),
        };
        matches
            && (self.case.protocol != Protocol::Sctp
                || readings.ask(Unspecified::Sctp) == Reading::Matches)
    }

    /// A named port belongs to the pod that receives the connection, in both directions (§1.5).
    fn name_matches(&self, name: &str, readings: &mut Readings) -> bool {
        let (port, protocol) = (self.case.port, self.case.protocol);
        let in_cluster = |cluster: &Cluster| {
            cluster
                .numbers_named(name, protocol)
                .any(|number| number == port)
        };
        let Some(receiver) = self.case.server.as_pod(readings) else {
            return self.direction == Direction::Egress
                && in_cluster(self.cluster)
                && readings.ask(Unspecified::NamedPortOutside) == Reading::OfCluster;
        };
        let ambiguous = self.direction == Direction::Egress
            && self.cluster.numbers_named(name, protocol).nth(1).is_some();
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
                readings.ask(Unspecified::NamedPortOfInit) == Reading::Matches
            }
            None => false,
        }
    }

    /// An absent list restricts nothing, not even to the cluster; entries are alternatives (§1.3).
    pub(super) fn peers_match(
        &self,
        policy: &NetworkPolicy,
        rule: &Rule,
        readings: &mut Readings,
    ) -> bool {
        rule.peers.is_empty()
            || rule
                .peers
                .iter()
                .any(|peer| self.peer_matches(policy, peer, readings))
    }

    fn peer_matches(&self, policy: &NetworkPolicy, peer: &Peer, readings: &mut Readings) -> bool {
        let other = self.other();
        match peer {
            Peer::Pods { namespaces, pods } => {
                let (pod, is_host) = match other.who {
                    Who::Pod(pod) => (pod, false),
                    Who::HostPod(pod) => (pod, true),
                    // Selector peers never match external addresses, Services or bare nodes.
                    Who::Node(_) | Who::Service(_) | Who::External => return false,
                };
                if !self.pod_matches(policy, namespaces.as_ref(), pods.as_ref(), pod) {
                    return false;
                }
                let leaves_pods_open =
                    namespaces.is_some() && pods.as_ref().is_none_or(Selector::is_empty);
                !is_host
                    || match readings.ask(Unspecified::HostNetwork) {
                        Reading::IsPod => true,
                        Reading::IsNodeInNamespace => leaves_pods_open,
                        _ => false,
                    }
            }
            Peer::Block(block) => {
                // Whether the engine compares the addresses of such an end at all.
                let point = match other.who {
                    Who::Pod(_) => Some(Unspecified::BlockOnPod),
                    Who::HostPod(_) | Who::Node(_) => Some(Unspecified::BlockOnNode),
                    Who::Service(_) => Some(Unspecified::ServiceAddress),
                    Who::External => None,
                };
                let is_inside = other.address.map(|address| block.contains(address));
                is_inside != Some(false)
                    && point.is_none_or(|point| readings.ask(point) == Reading::Matches)
                    && (is_inside.is_some()
                        || readings.ask(Unspecified::UnknownAddress) == Reading::Matches)
            }
        }
    }

    fn pod_matches(
        &self,
        policy: &NetworkPolicy,
        namespaces: Option<&Selector>,
        pods: Option<&Selector>,
        pod: &Pod,
    ) -> bool {
        let namespace_matches = match namespaces {
            // Without a namespaceSelector the policy's own namespace is meant.
            None => pod.namespace == policy.namespace,
            Some(selector) => match self.cluster.namespace(&pod.namespace) {
                Some(namespace) => selector.matches(&namespace.labels),
                None => selector.matches(&Namespace::named(&pod.namespace).labels),
            },
        };
        namespace_matches && pods.is_none_or(|selector| selector.matches(&pod.labels))
    }
}

/// How a pod declares a port name with this number and protocol.
enum Declared {
    Surely,
    /// Only by an init container that runs to its end.
    ByInit,
}

fn declares(pod: &Pod, name: &str, port: u16, protocol: Protocol) -> Option<Declared> {
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
