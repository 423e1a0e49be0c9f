//! Many verdicts over one world: a probe line in, an answer line out.
//!
//! A fixed format for other programs. A probe is `{"src":"ns/pod"|"ADDR","dst":"ns/pod"|"ADDR","port":80,
//! "protocol":"TCP"}`; the answer repeats these four and adds `verdict`, `unspecified`, `default_reading` and both sides.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::cluster::{Cluster, Node, Pod, Protocol};
use crate::evaluate::{Connection, Party, Question, Selecting, judge};
use crate::policy::{Direction, Policy};
use crate::policy_set::PolicySet;
use crate::reading::Engine;
use crate::verdict::{Decision, Outcome, Reason, Side, Unspecified, Verdict};

/// A world prepared for many questions. Answers equal those of [`evaluate`](crate::evaluate::evaluate).
pub struct Bulk<'a> {
    cluster: &'a Cluster,
    engine: Engine,
    prepared: Prepared<'a>,
}

impl<'a> Bulk<'a> {
    /// Prepares `cluster` and `policies`. What concerns a pod is worked out when it is first asked about.
    pub fn new(policies: &'a PolicySet, cluster: &'a Cluster, engine: Engine) -> Self {
        let by_pod = cluster
            .pods()
            .iter()
            .map(|_| PerDirection::default())
            .collect();
        Self {
            cluster,
            engine,
            prepared: Prepared {
                policies,
                cluster,
                by_pod,
            },
        }
    }

    /// What is declared about `connection`.
    pub fn evaluate(&self, connection: &Connection<'a>) -> Verdict {
        self.judge(
            &[connection.client],
            &[connection.server],
            connection.port,
            connection.protocol,
        )
    }

    /// Answers one probe line: appends exactly one line to `answers`, without the line break. A line that cannot be
    /// answered gets `{"error":…}` there, so that order is kept, and is returned for the person to see.
    pub fn answer(&self, line: &str, answers: &mut String) -> Result<(), ProbeError> {
        let answered = self.try_answer(line);
        let json = match &answered {
            Ok(json) => Ok(Cow::Borrowed(json.as_str())),
            Err(error) => serde_json::to_string(&Unanswered {
                error: error.to_string(),
            })
            .map(Cow::Owned),
        };
        // Texts and numbers always serialize.
        answers.push_str(json.as_deref().unwrap_or(r#"{"error":"unknown"}"#));
        answered.map(|_| ())
    }

    fn try_answer(&self, line: &str) -> Result<String, ProbeError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(ProbeError::TooLong);
        }
        let probe: Probe<'_> =
            serde_json::from_str(line).map_err(|error| ProbeError::NotAProbe {
                message: error.to_string(),
            })?;
        let protocol = match &probe.protocol {
            Word::Number(number) => u8::try_from(*number).ok().map(Protocol::from_number),
            Word::Text(text) => text.parse().ok(),
        };
        let Some(protocol) = protocol else {
            return Err(ProbeError::Protocol(probe.protocol.to_string()));
        };
        let port = match probe.port {
            Some(port) => port,
            None if protocol.has_ports() => return Err(ProbeError::NoPort(protocol)),
            None => 0,
        };
        let (client, server) = (self.named(&probe.src)?, self.named(&probe.dst)?);
        let (ours, theirs) = shared_family(&client, &server).unzip();
        let (clients, servers) = (self.parties(&client, ours), self.parties(&server, theirs));
        let verdict = self.judge(&clients, &servers, port, protocol);
        let answer = Answer {
            src: &probe.src,
            dst: &probe.dst,
            port,
            protocol: &probe.protocol,
            verdict: verdict.outcome,
            unspecified: &verdict.unspecified,
            default_reading: verdict.default_reading,
            egress: SideAnswer::of(&verdict.egress),
            ingress: SideAnswer::of(&verdict.ingress),
        };
        serde_json::to_string(&answer).map_err(|error| ProbeError::NotAProbe {
            message: error.to_string(),
        })
    }

    fn judge(
        &self,
        clients: &[Party<'a>],
        servers: &[Party<'a>],
        port: u16,
        protocol: Protocol,
    ) -> Verdict {
        let question = Question {
            clients,
            servers,
            port,
            protocol,
        };
        judge(&self.prepared, self.cluster, self.engine, &question)
    }

    /// What `text` names.
    fn named(&self, text: &str) -> Result<Named<'a>, ProbeError> {
        if let Some((namespace, name)) = text.split_once('/') {
            let pod = self.cluster.pod(namespace, name);
            return pod
                .map(Named::Pod)
                .ok_or_else(|| ProbeError::UnknownPod(shorten(text)));
        }
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Named::Address(address.to_canonical())),
            Err(_) => Err(ProbeError::NeitherPodNorAddress(shorten(text))),
        }
    }

    /// Who that is: the pod by one of its addresses, or all who may hold the address.
    fn parties(&self, named: &Named<'a>, address: Option<IpAddr>) -> Vec<Party<'a>> {
        match named {
            Named::Pod(pod) => {
                let party = Party::pod(pod);
                vec![Party {
                    address: address.or(party.address),
                    ..party
                }]
            }
            Named::Address(address) => {
                let holders = self.cluster.holders(*address).into_iter();
                holders
                    .map(|holder| Party {
                        address: Some(*address),
                        holder,
                    })
                    .collect()
            }
        }
    }
}

/// An end of a probe.
enum Named<'a> {
    Pod(&'a Pod),
    Address(IpAddr),
}

impl Named<'_> {
    fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Pod(pod) if pod.addresses.is_empty() => &pod.host_addresses,
            Self::Pod(pod) => &pod.addresses,
            Self::Address(address) => std::slice::from_ref(address),
        }
    }
}

/// The addresses of the first family of the client that the server has too.
fn shared_family(client: &Named<'_>, server: &Named<'_>) -> Option<(IpAddr, IpAddr)> {
    client.addresses().iter().find_map(|ours| {
        let theirs = server
            .addresses()
            .iter()
            .find(|theirs| theirs.is_ipv4() == ours.is_ipv4())?;
        Some((*ours, *theirs))
    })
}

/// A longer line is not a probe: two names of at most 253 + 63 characters leave room for blanks and fields of others.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A probe line that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The line is not JSON, or lacks something.
    #[error("not a probe: {message}")]
    NotAProbe {
        /// What the JSON reader says.
        message: String,
    },
    /// More text than a probe can have.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes, which no probe is")]
    TooLong,
    /// The pod is not in the inventory.
    #[error("there is no pod `{0}` in the inventory")]
    UnknownPod(String),
    /// The text is neither.
    #[error("`{0}` is neither `namespace/pod` nor an address")]
    NeitherPodNorAddress(String),
    /// The protocol is none.
    #[error("`{0}` is not an IP protocol")]
    Protocol(String),
    /// The protocol has ports and the probe none.
    #[error("a probe of {0} needs a port")]
    NoPort(Protocol),
}

impl ProbeError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::UnknownPod(_) => {
                "give the pod's manifest or its `kubectl get -o yaml` with --inventory"
            }
            Self::Protocol(_) => "write TCP, UDP, SCTP, ICMP, ICMPv6 or the protocol's number",
            _ => {
                r#"a probe is {"src":"ns/pod" or "ADDR","dst":"ns/pod" or "ADDR","port":80,"protocol":"TCP"}"#
            }
        };
        Some(help.to_owned())
    }
}

/// Which policies select each pod, worked out once.
struct Prepared<'a> {
    policies: &'a PolicySet,
    cluster: &'a Cluster,
    /// In the order of [`Cluster::pods`].
    by_pod: Vec<PerDirection<'a>>,
}

#[derive(Default)]
struct PerDirection<'a> {
    ingress: OnceLock<Vec<&'a Policy>>,
    egress: OnceLock<Vec<&'a Policy>>,
}

impl<'a> Selecting for Prepared<'a> {
    fn selecting<'s>(
        &'s self,
        pod: &Pod,
        cluster: &Cluster,
        direction: Direction,
    ) -> Cow<'s, [&'s Policy]> {
        let index = self.cluster.pod_index(&pod.namespace, &pod.name);
        let known =
            index.and_then(|index| self.cluster.pods().get(index).zip(self.by_pod.get(index)));
        let policies: &'a PolicySet = self.policies;
        let look_up = || -> Vec<&'a Policy> {
            Selecting::selecting(policies, pod, cluster, direction).into_owned()
        };
        match known {
            // A caller may ask about a pod that only has the name of one of ours.
            Some((ours, prepared)) if std::ptr::eq(ours, pod) => {
                let slot = match direction {
                    Direction::Ingress => &prepared.ingress,
                    Direction::Egress => &prepared.egress,
                };
                Cow::Borrowed(slot.get_or_init(look_up))
            }
            _ => Cow::Owned(look_up()),
        }
    }

    fn selecting_node<'s>(&'s self, node: &Node, direction: Direction) -> Cow<'s, [&'s Policy]> {
        Selecting::selecting_node(self.policies, node, direction)
    }
}

#[derive(Deserialize)]
struct Probe<'p> {
    #[serde(borrow)]
    src: Cow<'p, str>,
    #[serde(borrow)]
    dst: Cow<'p, str>,
    port: Option<u16>,
    #[serde(borrow, default)]
    protocol: Word<'p>,
}

/// A protocol as the probe wrote it; the answer repeats it.
enum Word<'p> {
    Text(Cow<'p, str>),
    Number(u64),
}

impl Default for Word<'_> {
    fn default() -> Self {
        Self::Text(Cow::Borrowed("TCP"))
    }
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&shorten(text)),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl<'de: 'p, 'p> Deserialize<'de> for Word<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl<'de> Visitor<'de> for WordVisitor {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a protocol, by name or number")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Word<'de>, E> {
                Ok(Word::Number(number))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Word<'de>, E> {
                Ok(Word::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Word<'de>, E> {
                Ok(Word::Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_any(WordVisitor)
    }
}

impl Serialize for Word<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
        }
    }
}

/// The order of the fields is part of the format.
#[derive(Serialize)]
struct Answer<'v> {
    src: &'v str,
    dst: &'v str,
    port: u16,
    protocol: &'v Word<'v>,
    verdict: Outcome,
    unspecified: &'v [Unspecified],
    default_reading: Decision,
    egress: SideAnswer<'v>,
    ingress: SideAnswer<'v>,
}

#[derive(Serialize)]
struct SideAnswer<'v> {
    verdict: Outcome,
    tier: &'static str,
    #[serde(serialize_with = "sentences")]
    reasons: &'v [Reason],
}

impl<'v> SideAnswer<'v> {
    fn of(side: &'v Side) -> Self {
        Self {
            verdict: side.outcome,
            tier: side.tier.as_str(),
            reasons: &side.reasons,
        }
    }
}

fn sentences<S: Serializer>(reasons: &&[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(Sentence))
}

struct Sentence<'v>(&'v Reason);

impl Serialize for Sentence<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

#[derive(Serialize)]
struct Unanswered {
    error: String,
}

/// What a message repeats of the line.
fn shorten(text: &str) -> String {
    crate::kubernetes::tree::shorten(text).into_owned()
}
