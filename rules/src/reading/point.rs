//! The points on which a verdict may depend, and the sentences that name them.

use std::fmt;

use serde::{Serialize, Serializer};

/// A point on which a verdict may depend: the rows of policy-semantics §5, then what no policy or record can tell.
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
    /// Whether a rule matches a Service address that leads to no pod we know.
    ServiceAddress,
    /// Two policies of one tier and equal priority that say different things.
    EqualPriority,
    /// Whether the baseline tier concerns a pod that a NetworkPolicy selects for the other direction only.
    BaselineSkipped,
    /// Policies of both versions of policy.networking.k8s.io.
    BothVersions,
    /// Whether host policies are in force on a node.
    HostPolicy,
    /// Whether the API server is at an address.
    ApiServer,
    /// A rule about what is said within a connection: HTTP, DNS, Kafka.
    ApplicationLayer,
    /// A rule about a domain name.
    DomainName,
    /// A policy or field that is not evaluated.
    NotEvaluated,
    /// The labels of a pod's service account.
    ServiceAccountLabels,
    /// The port of the client.
    SourcePort,
    /// Type and code of an ICMP message.
    IcmpType,
    /// Whether the engine is Cilium, the only one that applies Cilium's policies.
    CiliumOnly,
    /// Whether Cilium looks at the labels of nodes.
    NodeLabels,
    /// Whether a `notSelector` alone, in a policy of one namespace, reaches beyond that.
    NotSelectorOutside,
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
            Self::EqualPriority => "equal-priority",
            Self::BaselineSkipped => "baseline-skipped",
            Self::BothVersions => "both-versions",
            Self::HostPolicy => "host-policy",
            Self::ApiServer => "api-server",
            Self::ApplicationLayer => "application-layer",
            Self::DomainName => "domain-name",
            Self::NotEvaluated => "not-evaluated",
            Self::ServiceAccountLabels => "service-account-labels",
            Self::SourcePort => "source-port",
            Self::IcmpType => "icmp-type",
            Self::CiliumOnly => "cilium-only",
            Self::NodeLabels => "node-labels",
            Self::NotSelectorOutside => "not-selector-outside",
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
                "this Service address leads to no pod we know, and a rule may or may not match what is behind it"
            }
            Self::EqualPriority => {
                "policies of equal priority say different things, and nothing says which goes first"
            }
            Self::BaselineSkipped => {
                "some engines ask no baseline policy about a pod that a NetworkPolicy selects for the other direction"
            }
            Self::BothVersions => {
                "there are policies of v1alpha1 and of v1alpha2, and nothing says which of them count"
            }
            Self::HostPolicy => {
                "policies for nodes hold only where a host firewall or host endpoint is, which is not known"
            }
            Self::ApiServer => "it is not known which addresses the API server has",
            Self::ApplicationLayer => {
                "a rule speaks of what is said within the connection, which no flow record shows"
            }
            Self::DomainName => {
                "a rule speaks of a domain name, and it is not known which addresses it has"
            }
            Self::NotEvaluated => "a policy has something that is not evaluated",
            Self::ServiceAccountLabels => {
                "a policy speaks of labels of a service account that is not among what was read"
            }
            Self::SourcePort => {
                "a rule speaks of the client's port, which is another for every connection"
            }
            Self::IcmpType => {
                "a rule speaks of the type of ICMP messages, which no flow record shows"
            }
            Self::CiliumOnly => {
                "only Cilium applies policies of its own kinds, and ACK does not support them"
            }
            Self::NodeLabels => {
                "a rule names nodes by labels, at which Cilium looks only when told to"
            }
            Self::NotSelectorOutside => {
                "the documentation lets a notSelector match what is outside the namespace, Felix does not"
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
