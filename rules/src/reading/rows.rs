//! The table of policy-semantics §5: every point, and who may read it how.

use super::{Reading, Unspecified};

/// One row of policy-semantics §5. The first reading of each list is the one that explanations follow.
pub(super) struct Row {
    pub(super) point: Unspecified,
    /// The default reading of the page, where it names one; else what the API says; else what is usual.
    pub(super) page: Reading,
    pub(super) felix: &'static [Reading],
    pub(super) cilium: &'static [Reading],
    /// What an engine that we do not know may do.
    pub(super) open: &'static [Reading],
}

/// Policy-semantics §5, as far as one instant is concerned.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = {
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
        Row { point: EqualPriority, page: Matches,
              felix: &[Matches], cilium: &[Matches, DoesNotMatch], open: &[Matches, DoesNotMatch] },
        // The page reads each direction on its own, which is usual.
        Row { point: BaselineSkipped, page: Judged,
              felix: &[Judged], cilium: &[Judged], open: &[Judged, Exempt] },
        Row { point: BothVersions, page: OnlyNewer,
              felix: &[OnlyNewer], cilium: &[OnlyNewer, OnlyOlder, Both], open: &[OnlyNewer, OnlyOlder, Both] },
        Row { point: HostPolicy, page: Exempt,
              felix: &[Exempt, Judged], cilium: &[Exempt, Judged], open: &[Exempt, Judged] },
        Row { point: ApiServer, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
        // The connection itself is let through, to be looked into.
        Row { point: ApplicationLayer, page: Matches,
              felix: &[Matches, DoesNotMatch], cilium: &[Matches, DoesNotMatch], open: &[Matches, DoesNotMatch] },
        Row { point: DomainName, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
        Row { point: NotEvaluated, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
        Row { point: ServiceAccountLabels, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
        Row { point: SourcePort, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
        Row { point: IcmpType, page: Matches,
              felix: &[Matches, DoesNotMatch], cilium: &[Matches, DoesNotMatch], open: &[Matches, DoesNotMatch] },
        Row { point: CiliumOnly, page: Matches,
              felix: &[DoesNotMatch], cilium: &[Matches], open: &[Matches, DoesNotMatch] },
        Row { point: NodeLabels, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
        // §3.3 has it match what is outside; Felix adds the namespace of the policy as soon as any selector is given.
        Row { point: NotSelectorOutside, page: Matches,
              felix: &[DoesNotMatch], cilium: &[Matches, DoesNotMatch], open: &[Matches, DoesNotMatch] },
        Row { point: UnknownAddress, page: DoesNotMatch,
              felix: &[DoesNotMatch, Matches], cilium: &[DoesNotMatch, Matches], open: &[DoesNotMatch, Matches] },
    ]
};
