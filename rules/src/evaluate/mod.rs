//! The plain evaluator: one connection, slow, obvious.
//!
//! A connection may run in several ways (`Case`): a Service has many backends, a node's address stands for its
//! host-network pods. Each way is judged side by side (`side.rs`) under every combination of readings the engine may take
//! (`Readings`). When all agree, that is the verdict; when they do not, it is unspecified and the points that
//! make the difference are named.

mod case;
pub mod compiled;
mod instead;
mod reasons;
mod rule;
mod side;
mod words;

use std::borrow::Cow;
use std::net::IpAddr;

pub use crate::cluster::Holder;
use crate::cluster::{Cluster, Node, Pod, Protocol};
use crate::policy::{Direction, Policy, Subject};
use crate::policy_set::PolicySet;
pub use crate::reading::Engine;
use crate::reading::{Asking, Next, Reader, Readings};
use crate::verdict::{Decision, JudgedSide, Judgement, Outcome, Side, Unspecified, Verdict};
use case::Case;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party<'a> {
    /// Its address; `None` for a pod that has none yet, which selectors can still judge.
    pub address: Option<IpAddr>,
    /// Who that is.
    pub holder: Holder<'a>,
}

impl<'a> Party<'a> {
    /// A pod by its first address; a host-network pod by its node's.
    pub fn pod(pod: &'a Pod) -> Self {
        Self {
            address: pod
                .addresses
                .first()
                .or(pod.host_addresses.first())
                .copied(),
            holder: Holder::Pod(pod),
        }
    }

    /// An address outside the cluster.
    pub fn external(address: IpAddr) -> Self {
        Self {
            address: Some(address.to_canonical()),
            holder: Holder::External,
        }
    }
}

/// The question: may `client` open this connection to `server`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The end that opens it.
    pub client: Party<'a>,
    /// The end that receives it.
    pub server: Party<'a>,
    /// The server's port; 0 for protocols without.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// What `policies` declare about `connection`. Cannot fail: broken objects were set aside when they were read.
///
/// A Service as server is judged by its backends, all of them.
pub fn evaluate(
    policies: &PolicySet,
    cluster: &Cluster,
    engine: Engine,
    connection: &Connection<'_>,
) -> Verdict {
    judge(
        policies,
        cluster,
        engine,
        &Question {
            clients: &[connection.client],
            servers: &[connection.server],
            port: connection.port,
            protocol: connection.protocol,
        },
    )
}

/// A [`Connection`] of which either end may be one of several.
pub(crate) struct Question<'q, 'a> {
    pub(crate) clients: &'q [Party<'a>],
    pub(crate) servers: &'q [Party<'a>],
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

/// Where the policies come from that select an end: looked up each time, or prepared. In the order in which they
/// are walked, and only those that say something of `direction`.
pub(crate) trait Selecting {
    /// Those that select `pod`; for a host-network pod also those for its node.
    fn selecting<'s>(
        &'s self,
        pod: &Pod,
        cluster: &Cluster,
        direction: Direction,
    ) -> Cow<'s, [&'s Policy]>;

    /// Those that select `node`.
    fn selecting_node<'s>(&'s self, node: &Node, direction: Direction) -> Cow<'s, [&'s Policy]>;
}

impl Selecting for PolicySet {
    fn selecting<'s>(
        &'s self,
        pod: &Pod,
        cluster: &Cluster,
        direction: Direction,
    ) -> Cow<'s, [&'s Policy]> {
        let mut policies = PolicySet::selecting(self, pod, cluster);
        let node = pod.node.as_deref().filter(|_| pod.host_network);
        if let Some(node) = node.and_then(|node| cluster.node(node)) {
            policies.extend(PolicySet::selecting_node(self, node));
        }
        policies.retain(|policy| policy.section(direction).is_some());
        Cow::Owned(policies)
    }

    fn selecting_node<'s>(&'s self, node: &Node, direction: Direction) -> Cow<'s, [&'s Policy]> {
        let mut policies = PolicySet::selecting_node(self, node);
        policies.retain(|policy| policy.section(direction).is_some());
        Cow::Owned(policies)
    }
}

/// Whether a policy is for nodes and not for pods.
fn is_for_nodes(policy: &Policy) -> bool {
    matches!(policy.subject, Subject::Nodes(_))
}

/// What both sides of one case say under one combination of readings.
#[derive(Clone, Copy)]
struct Decisions {
    egress: Decision,
    ingress: Decision,
}

impl Decisions {
    fn both(self) -> Decision {
        self.egress.and(self.ingress)
    }
}

/// Which decisions were seen.
#[derive(Clone, Copy, Default)]
struct Seen {
    allowed: bool,
    denied: bool,
}

impl Seen {
    const BOTH: Self = Self {
        allowed: true,
        denied: true,
    };

    fn add(&mut self, decision: Decision) {
        match decision {
            Decision::Allowed => self.allowed = true,
            Decision::Denied => self.denied = true,
        }
    }

    fn both(self) -> bool {
        self.allowed && self.denied
    }

    fn outcome(self) -> Outcome {
        match self {
            Self {
                allowed: true,
                denied: true,
            } => Outcome::Unspecified,
            Self { denied: true, .. } => Outcome::Denied,
            Self { .. } => Outcome::Allowed,
        }
    }
}

pub(crate) fn judge(
    selecting: &impl Selecting,
    cluster: &Cluster,
    engine: Engine,
    question: &Question<'_, '_>,
) -> Verdict {
    let reader = Reader::Engine(engine);
    let cases = case::cases(selecting, cluster, reader, question);
    let weighed = weigh(&cases, cluster, reader);
    let main = cases.iter().filter(|case| case.is_main()).count();
    let shown = cases.get(weighed.shown);
    let side = |direction, judged: JudgedSide| {
        let explained = shown
            .map(|case| reasons::explain(direction, case, cluster, reader, main, &reasons::InFull));
        let explained = explained.unwrap_or_default();
        Side {
            outcome: judged.outcome,
            default_reading: judged.default_reading,
            isolated: explained.isolated,
            tier: explained.tier,
            reasons: explained.reasons,
        }
    };
    let judgement = weighed.judgement;
    Verdict {
        outcome: judgement.outcome,
        egress: side(Direction::Egress, judgement.egress),
        ingress: side(Direction::Ingress, judgement.ingress),
        unspecified: judgement.unspecified,
        default_reading: judgement.default_reading,
    }
}

/// A judgement, and which case a person should be shown.
struct Weighed {
    judgement: Judgement,
    /// The first main case that is denied, if any is.
    shown: usize,
}

/// What the cases of one connection say under all combinations of readings.
fn weigh(cases: &[Case<'_>], cluster: &Cluster, reader: Reader) -> Weighed {
    let decide = |case: &Case<'_>, readings: &mut Readings| Decisions {
        egress: side::decide(Direction::Egress, case, cluster, readings),
        ingress: side::decide(Direction::Ingress, case, cluster, readings),
    };

    let (mut overall, mut egress, mut ingress) =
        (Seen::default(), Seen::default(), Seen::default());
    // The default reading: the page's at every point, and every backend must be allowed.
    let mut page = Decisions {
        egress: Decision::Allowed,
        ingress: Decision::Allowed,
    };
    let mut shown = None;
    for (index, case) in cases.iter().enumerate() {
        let mut readings = Readings::new(reader);
        let usual = decide(case, &mut readings);
        if case.is_main() {
            if usual.both() == Decision::Denied {
                shown = shown.or(Some(index));
            }
            let by_page = match reader.begins_with_the_page() {
                true => usual,
                false => decide(case, &mut Readings::new(Reader::Page)),
            };
            page.egress = page.egress.and(by_page.egress);
            page.ingress = page.ingress.and(by_page.ingress);
        }
        let mut decisions = usual;
        loop {
            overall.add(decisions.both());
            egress.add(decisions.egress);
            ingress.add(decisions.ingress);
            if overall.both() && egress.both() && ingress.both() {
                break;
            }
            match readings.next() {
                Next::More => decisions = decide(case, &mut readings),
                Next::Done => break,
                Next::TooMany => {
                    // Not every way was tried: nothing is certain.
                    for seen in [&mut overall, &mut egress, &mut ingress] {
                        *seen = Seen::BOTH;
                    }
                    break;
                }
            }
        }
    }
    let unspecified = match overall.both() {
        true => points(cases, reader, |case, readings| {
            decide(case, readings).both()
        }),
        false => Vec::new(),
    };
    Weighed {
        judgement: Judgement {
            outcome: overall.outcome(),
            unspecified,
            default_reading: page.both(),
            egress: JudgedSide {
                outcome: egress.outcome(),
                default_reading: page.egress,
            },
            ingress: JudgedSide {
                outcome: ingress.outcome(),
                default_reading: page.ingress,
            },
        },
        shown: shown.unwrap_or(0),
    }
}

/// How many questions are tried one by one to find which of them makes the difference.
const TRIED_MAX: usize = 512;

/// The points on which the outcome depends: those that change a case when they alone are read otherwise, and those
/// that make one case differ from the first. When only several together change it, all that were asked.
fn points(
    cases: &[Case<'_>],
    reader: Reader,
    decide: impl Fn(&Case<'_>, &mut Readings) -> Decision,
) -> Vec<Unspecified> {
    let mut first = None;
    let mut found: Vec<Unspecified> = Vec::new();
    let mut asked: Vec<Unspecified> = Vec::new();
    for case in cases {
        let mut readings = Readings::new(reader);
        let usual = decide(case, &mut readings);
        if *first.get_or_insert(usual) != usual {
            found.extend(case.because);
        }
        let mut tried: Vec<Asking> = Vec::new();
        loop {
            let askings: Vec<Asking> = readings.asked().collect();
            if readings.overflowed() {
                // More depends on readings than anyone can try, and each try would look at all of it again.
                asked.extend(askings.iter().map(|asking| asking.point));
                break;
            }
            for asking in askings {
                let point = asking.point;
                // One thing that makes the difference is enough to name the point.
                if tried.contains(&asking) || found.contains(&point) {
                    continue;
                }
                tried.push(asking);
                let others = Readings::others(reader, point).iter();
                let mut flipped = others.map(|&other| Readings::flipped(reader, asking, other));
                if flipped.any(|mut flipped| decide(case, &mut flipped) != usual) {
                    found.push(point);
                } else if !asked.contains(&point) {
                    asked.push(point);
                }
            }
            if tried.len() > TRIED_MAX || readings.next() != Next::More {
                break;
            }
            decide(case, &mut readings);
        }
    }
    if found.is_empty() {
        found = asked;
    }
    found.sort_unstable();
    found.dedup();
    found
}
