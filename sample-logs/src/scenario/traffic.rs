//! The traffic half of a scenario: who opens what to whom, and what the policies mean for it.

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::Scenario;
use crate::time::Span;

/// One pattern of traffic: every pod of one workload opens connections to pods of another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficSpec {
    /// What it is, in a few words; unique.
    pub name: Spanned<String>,
    /// Who opens: `namespace/workload`, a name of `externals`, `kubelet` (each node to its own pods) or
    /// `nodes` (each node itself, to others).
    pub from: Spanned<String>,
    /// Who is asked: `namespace/workload` or a name of `externals`.
    pub to: Spanned<String>,
    /// Port of the server as the interface shows it (behind the Service); 0 for ICMP.
    pub port: u16,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// Mean time between two openings of one client (of all of them together for an external client).
    pub every: Span,
    /// How long a connection lasts, from and to; short request and response when absent.
    #[serde(default)]
    pub lasts: Option<[Span; 2]>,
    /// Openings happen between these two instants after the start; always when absent.
    #[serde(default)]
    pub between: Option<[Span; 2]>,
    /// Ports the client opens from; the ephemeral range when absent.
    #[serde(default)]
    pub client_ports: Option<[u16; 2]>,
    /// Of 1,000 connections, how many use IPv6. Both ends must have such an address.
    #[serde(default)]
    pub ipv6_per_mille: u32,
    /// It goes to and from the further interfaces of pods that have such, whose addresses no status shows.
    #[serde(default)]
    pub further: bool,
    /// What the policies in force mean for it as a whole.
    pub intended: Spanned<Intended>,
    /// Why, on the egress side of the client.
    pub egress: Egress,
    /// Why, on the ingress side of the server.
    pub ingress: Ingress,
    /// What comes back if no policy stops it.
    #[serde(default)]
    pub answer: Answer,
    /// An answer is sure to come, so that no time need be left for retries and a pod that lives for seconds can ask.
    #[serde(default)]
    pub prompt: bool,
}

/// The verdict as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intended {
    /// Both sides allow.
    Allowed,
    /// A side denies.
    Denied,
}

/// Why the egress side of the client says what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// A rule of a policy that isolates the client admits it.
    AllowedByRule,
    /// No policy isolates the client.
    AllowedNotIsolated,
    /// The client is isolated and no rule admits it.
    Denied,
    /// The client is no pod of its own network: external, node, host network.
    NotAPod,
}

/// Why the ingress side of the server says what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ingress {
    /// A rule of a policy that isolates the server admits it.
    AllowedByRule,
    /// No policy isolates the server.
    AllowedNotIsolated,
    /// The server is isolated and no rule admits it.
    Denied,
    /// The client is the server's own node, which policies cannot keep out.
    OwnNode,
    /// The server is no pod of its own network.
    NotAPod,
}

/// What comes back if no policy stops a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The server answers.
    #[default]
    Established,
    /// The server's kernel answers with RST: nothing listens there.
    Refused,
    /// Nothing comes back: the service is dead.
    Unanswered,
    /// The security group of the server's interface refuses it.
    Rejected,
}

/// Transport of a connection.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Protocol 6.
    #[default]
    Tcp,
    /// Protocol 17.
    Udp,
    /// Protocol 132.
    Sctp,
    /// Protocol 1, or 58 between IPv6 addresses.
    Icmp,
}

impl Protocol {
    /// IANA number between addresses of the given family.
    pub fn number(self, ipv6: bool) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Icmp if ipv6 => 58,
            Self::Icmp => 1,
        }
    }
}

/// Who stands at one end of a traffic line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Pods of this workload.
    Workload(usize),
    /// These external addresses.
    External(usize),
    /// Every node, towards its own pods.
    Kubelet,
    /// Every node, towards anyone else.
    Nodes,
}

impl Place {
    /// Finds what `written` stands for; `None` when the scenario has no such thing.
    pub fn find(scenario: &Scenario, written: &str) -> Option<Self> {
        match written {
            "kubelet" => Some(Self::Kubelet),
            "nodes" => Some(Self::Nodes),
            name if name.contains('/') => scenario.workload(name).map(Self::Workload),
            name => {
                let position = scenario
                    .externals
                    .iter()
                    .position(|external| external.name.value == name);
                position.map(Self::External)
            }
        }
    }

    /// Whether this end is a pod with a network of its own, which policies can isolate.
    pub fn is_pod(self, scenario: &Scenario) -> bool {
        matches!(self, Self::Workload(index) if scenario.workloads.get(index).is_some_and(|w| !w.host_network))
    }
}
