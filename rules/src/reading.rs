//! Where engines disagree (policy-semantics §5): the points, their readings, and which engine takes which.
//!
//! The page is the table `ROWS`. The evaluator asks it at every point it comes to; which points those are decides
//! how many readings a connection has, and whether they agree.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What enforces the policies of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Calico Felix: ACK Terway with policy routing.
    Felix,
    /// Cilium: ACK Terway with eBPF, DataPath V2.
    Cilium,
    /// Nothing enforces them: Flannel, exclusive ENI. What is declared is judged as for [`Engine::Unknown`].
    None,
    /// Not known which.
    #[default]
    Unknown,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Felix => "felix",
            Self::Cilium => "cilium",
            Self::None => "none",
            Self::Unknown => "unknown",
        })
    }
}

/// A word that is none of the engines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an enforcement engine")]
pub struct UnknownEngine(pub String);

impl UnknownEngine {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        Some("write felix, cilium, none or unknown".to_owned())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Felix, Self::Cilium, Self::None, Self::Unknown]
            .into_iter()
            .find(|engine| engine.to_string() == text)
            .ok_or_else(|| UnknownEngine(text.chars().take(64).collect()))
    }
}

/// A point on which a verdict may depend. All but the last three are rows of policy-semantics §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unspecified {
    /// A host-network pod is the node, or a pod like others.
    HostNetwork,
    /// Whether `ipBlock` matches the address of a pod.
    BlockOnPod,
    /// Whether `ipBlock` matches the address of a node or host-network pod.
    BlockOnNode,
    /// Whether egress policy applies from a pod to the node it runs on.
    PodToOwnNode,
    /// Whether policy applies to a pod's connection to itself.
    Loopback,
    /// The same through a Service that it is behind.
    LoopbackThroughService,
    /// Whether a named port on egress can match where no pod receives.
    NamedPortOutside,
    /// A name that the cluster's pods give to several numbers.
    NamedPortAmbiguous,
    /// A name that only an ordinary init container declares.
    NamedPortOfInit,
    /// Whether the engine knows `endPort`.
    EndPort,
    /// Whether the engine knows SCTP.
    Sctp,
    /// ICMP and other protocols without ports at an isolated pod.
    OtherProtocol,
    /// Whether `ipBlock` matches a Service address that leads to no pod we know.
    ServiceAddress,
    /// A node port or load balancer: which addresses policy sees on the way to the pod.
    TranslatedAddress,
    /// `ipBlock` and a pod whose address is not known.
    UnknownAddress,
    /// The inventory has several pods on one address.
    SharedAddress,
    /// A Service address of whose backends some are allowed and some denied.
    MixedBackends,
}

impl Unspecified {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostNetwork => "host-network",
            Self::BlockOnPod => "ip-block-on-pod",
            Self::BlockOnNode => "ip-block-on-node",
            Self::PodToOwnNode => "pod-to-own-node",
            Self::Loopback => "loopback",
            Self::LoopbackThroughService => "loopback-through-service",
            Self::NamedPortOutside => "named-port-outside",
            Self::NamedPortAmbiguous => "named-port-ambiguous",
            Self::NamedPortOfInit => "named-port-of-init-container",
            Self::EndPort => "end-port",
            Self::Sctp => "sctp",
            Self::OtherProtocol => "other-protocol",
            Self::ServiceAddress => "service-address",
            Self::TranslatedAddress => "translated-address",
            Self::UnknownAddress => "unknown-address",
            Self::SharedAddress => "shared-address",
            Self::MixedBackends => "mixed-backends",
        }
    }

    /// One sentence that says what it depends on.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::HostNetwork => {
                "engines treat a host-network pod as its node, or as a pod like others"
            }
            Self::BlockOnPod => "engines differ on whether ipBlock matches the address of a pod",
            Self::BlockOnNode => "engines differ on whether ipBlock matches the address of a node",
            Self::PodToOwnNode => {
                "the documentation lets a pod reach its own node, engines apply egress policy"
            }
            Self::Loopback => "a pod cannot be kept from itself, but some engines try",
            Self::LoopbackThroughService => {
                "engines differ on a pod that reaches itself through its Service"
            }
            Self::NamedPortOutside => {
                "a named port has no number outside the cluster, but some engines have a table of names"
            }
            Self::NamedPortAmbiguous => {
                "pods give this port name several numbers, which some engines cannot tell apart on egress"
            }
            Self::NamedPortOfInit => {
                "engines differ on port names that only an init container declares"
            }
            Self::EndPort => "an engine that does not know endPort takes only the first port",
            Self::Sctp => {
                "an engine that does not know SCTP, or has it switched off, matches none of it"
            }
            Self::OtherProtocol => {
                "NetworkPolicy does not say what happens to protocols without ports at an isolated pod"
            }
            Self::ServiceAddress => {
                "this Service address leads to no pod we know, and ipBlock may or may not match it"
            }
            Self::TranslatedAddress => {
                "node ports and load balancers change addresses on the way to the pod"
            }
            Self::UnknownAddress => {
                "ipBlock would have to be compared with an address that is not known"
            }
            Self::SharedAddress => "the inventory has several pods on this address",
            Self::MixedBackends => "some pods behind this Service are allowed and some denied",
        }
    }
}

impl fmt::Display for Unspecified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Unspecified {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How one point may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The host-network pod is its node: no policy selects it, no selector peer matches it. Behaviour (a) of §1.6.
    IsNode,
    /// The same, but a `namespaceSelector` that leaves pods open matches it.
    IsNodeInNamespace,
    /// The host-network pod is a pod like others. Behaviour (b) of §1.6.
    IsPod,
    /// The rule that is asked about matches.
    Matches,
    /// It does not.
    DoesNotMatch,
    /// Policy is not asked: the connection is allowed.
    Exempt,
    /// Policy is asked.
    Judged,
    /// A port name means what the receiving pod declares.
    OfReceiver,
    /// A port name means any number that some pod of the cluster gives it.
    OfCluster,
    /// A protocol without ports is covered by rules without ports.
    ByRulesWithoutPorts,
    /// The same, unless any rule of the side has ports.
    DeniedByAnyPort,
}

/// One row of policy-semantics §5. The first reading of each list is the one that explanations follow.
struct Row {
    point: Unspecified,
    /// The default reading of the page, where it names one; else what the API says; else what is usual.
    page: Reading,
    felix: &'static [Reading],
    cilium: &'static [Reading],
    /// What an engine that we do not know may do.
    open: &'static [Reading],
}

/// Policy-semantics §5, as far as one instant is concerned.
#[rustfmt::skip]
const ROWS: &[Row] = {
    use Reading::*;
    use Unspecified::*;
    &[
        Row { point: HostNetwork, page: IsNode,
              felix: &[IsNode], cilium: &[IsNode], open: &[IsNode, IsNodeInNamespace, IsPod] },
        Row { point: BlockOnPod, page: Matches,
              felix: &[Matches], cilium: &[DoesNotMatch], open: &[Matches, DoesNotMatch] },
        // Cilium's `policy-cidr-match-mode: nodes` is not the default.
        Row { point: BlockOnNode, page: Matches,
              felix: &[Matches], cilium: &[DoesNotMatch], open: &[Matches, DoesNotMatch] },
        // §1.6 leaves this open and names no default; every engine it knows asks egress policy.
        Row { point: PodToOwnNode, page: Judged,
              felix: &[Judged], cilium: &[Judged], open: &[Judged, Exempt] },
        Row { point: Loopback, page: Exempt,
              felix: &[Exempt], cilium: &[Exempt, Judged], open: &[Exempt, Judged] },
        Row { point: LoopbackThroughService, page: Exempt,
              felix: &[Exempt, Judged], cilium: &[Exempt, Judged], open: &[Exempt, Judged] },
        Row { point: NamedPortOutside, page: DoesNotMatch,
              felix: &[DoesNotMatch], cilium: &[DoesNotMatch, OfCluster], open: &[DoesNotMatch, OfCluster] },
        Row { point: NamedPortAmbiguous, page: OfReceiver,
              felix: &[OfReceiver], cilium: &[DoesNotMatch, OfCluster], open: &[OfReceiver, DoesNotMatch, OfCluster] },
        Row { point: NamedPortOfInit, page: DoesNotMatch,
              felix: &[Matches], cilium: &[DoesNotMatch], open: &[DoesNotMatch, Matches] },
        // Cilium lacks it up to about 1.15, and its version is not known here.
        Row { point: EndPort, page: Matches,
              felix: &[Matches], cilium: &[Matches, DoesNotMatch], open: &[Matches, DoesNotMatch] },
        // Cilium needs a switch.
        Row { point: Sctp, page: Matches,
              felix: &[Matches], cilium: &[Matches, DoesNotMatch], open: &[Matches, DoesNotMatch] },
        Row { point: OtherProtocol, page: ByRulesWithoutPorts,
              felix: &[ByRulesWithoutPorts], cilium: &[DeniedByAnyPort],
              open: &[ByRulesWithoutPorts, DeniedByAnyPort, Exempt] },
        // §1.5: never match a ClusterIP against ipBlock with certainty.
        Row { point: ServiceAddress, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
        Row { point: UnknownAddress, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
    ]
};

/// Whose readings count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The default reading of the page at every point.
    Page,
    /// Every reading the engine may take.
    Engine(Engine),
}

impl Reader {
    /// The readings of a point, at least one.
    fn of(self, point: Unspecified) -> &'static [Reading] {
        let Some(row) = ROWS.iter().find(|row| row.point == point) else {
            return &[Reading::Matches];
        };
        match self {
            Self::Page => std::slice::from_ref(&row.page),
            Self::Engine(Engine::Felix) => row.felix,
            Self::Engine(Engine::Cilium) => row.cilium,
            Self::Engine(Engine::None | Engine::Unknown) => row.open,
        }
    }

    /// Whether the first reading of every point is the page's.
    pub(crate) fn begins_with_the_page(self) -> bool {
        matches!(
            self,
            Self::Page | Self::Engine(Engine::None | Engine::Unknown)
        )
    }

    /// Whether a point has one reading only.
    pub(crate) fn settles(self, point: Unspecified) -> bool {
        self.of(point).len() == 1
    }
}

/// Walks through every combination of readings that makes a difference to the way an evaluation takes.
///
/// An evaluation asks for readings as it comes to points; the answers stay the same within one evaluation. Then
/// [`Readings::next`] moves to the next combination of the points that were asked, until all were had.
pub(crate) struct Readings {
    reader: Reader,
    /// The points asked, in order, with how many readings each has and which is taken.
    asked: Vec<Asked>,
    /// How many of them were asked in this evaluation.
    depth: usize,
    /// One point read otherwise than first.
    flipped: Option<(Unspecified, Reading)>,
}

#[derive(Clone, Copy)]
struct Asked {
    point: Unspecified,
    taken: usize,
}

impl Readings {
    /// Begins with the first reading of every point.
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            asked: Vec::new(),
            depth: 0,
            flipped: None,
        }
    }

    /// The first reading of every point, except one.
    pub(crate) fn flipped(reader: Reader, point: Unspecified, reading: Reading) -> Self {
        Self {
            flipped: Some((point, reading)),
            ..Self::new(reader)
        }
    }

    /// How `point` is read in this evaluation.
    pub(crate) fn ask(&mut self, point: Unspecified) -> Reading {
        let readings = self.reader.of(point);
        let first = readings.first().copied().unwrap_or(Reading::Matches);
        if let Some((flipped, reading)) = self.flipped
            && flipped == point
        {
            return reading;
        }
        if readings.len() < 2 {
            return first;
        }
        let answered = self.asked.get(..self.depth).unwrap_or_default();
        let taken = match answered.iter().find(|asked| asked.point == point) {
            Some(asked) => asked.taken,
            None => {
                // What is scripted beyond `depth` was asked in this order before: same answers, same way.
                if self.depth == self.asked.len() {
                    self.asked.push(Asked { point, taken: 0 });
                }
                self.depth += 1;
                self.asked
                    .get(self.depth - 1)
                    .map_or(0, |asked| asked.taken)
            }
        };
        readings.get(taken).copied().unwrap_or(first)
    }

    /// Moves to the next combination; `false` when there is none.
    pub(crate) fn next(&mut self) -> bool {
        self.asked.truncate(self.depth);
        self.depth = 0;
        while let Some(last) = self.asked.last_mut() {
            last.taken += 1;
            if last.taken < self.reader.of(last.point).len() {
                return true;
            }
            self.asked.pop();
        }
        false
    }

    /// The points asked in this evaluation that have several readings.
    pub(crate) fn points(&self) -> impl Iterator<Item = Unspecified> {
        self.asked
            .get(..self.depth)
            .unwrap_or_default()
            .iter()
            .map(|asked| asked.point)
    }

    /// The other readings of a point.
    pub(crate) fn others(reader: Reader, point: Unspecified) -> &'static [Reading] {
        reader.of(point).get(1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_engines_read_back() {
        for engine in [Engine::Felix, Engine::Cilium, Engine::None, Engine::Unknown] {
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        assert!("calico".parse::<Engine>().is_err());
    }

    #[test]
    fn the_first_open_reading_is_the_pages_and_engines_stay_within_what_is_open() {
        for row in ROWS {
            assert_eq!(row.open.first(), Some(&row.page), "{}", row.point);
            for reading in row.felix.iter().chain(row.cilium) {
                assert!(row.open.contains(reading), "{} {reading:?}", row.point);
            }
            assert!(!row.felix.is_empty() && !row.cilium.is_empty());
        }
    }

    #[test]
    fn every_combination_of_what_is_asked_comes_once() {
        let mut readings = Readings::new(Reader::Engine(Engine::Unknown));
        let mut seen = Vec::new();
        loop {
            // The second point is asked only under one reading of the first; asking twice changes nothing.
            let host = readings.ask(Unspecified::HostNetwork);
            let block = (host == Reading::IsPod).then(|| readings.ask(Unspecified::BlockOnPod));
            assert_eq!(readings.ask(Unspecified::HostNetwork), host);
            seen.push((host, block));
            if !readings.next() {
                break;
            }
        }
        use Reading::{DoesNotMatch, IsNode, IsNodeInNamespace, IsPod, Matches};
        let pod = |block| (IsPod, Some(block));
        assert_eq!(
            seen,
            [
                (IsNode, None),
                (IsNodeInNamespace, None),
                pod(Matches),
                pod(DoesNotMatch)
            ]
        );
    }

    #[test]
    fn a_settled_point_has_one_reading() {
        let mut readings = Readings::new(Reader::Engine(Engine::Cilium));
        assert_eq!(readings.ask(Unspecified::BlockOnPod), Reading::DoesNotMatch);
        assert!(!readings.next());
        let mut readings = Readings::new(Reader::Page);
        assert_eq!(readings.ask(Unspecified::BlockOnPod), Reading::Matches);
        assert!(!readings.next());
    }
}
