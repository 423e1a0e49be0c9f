//! What is declared about a connection between two holders, remembered by class.
//!
//! Verdicts depend on little: the epoch, what policies can see of client and server, the port. Holders with the same
//! namespace, labels, ports and CIDR memberships are one class, and each pair of classes is put to the plain evaluator
//! once per epoch and port.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::IpAddr;

use flowaudit_rules::cluster::{Holder, Node, Pod, Protocol};
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::verdict::{Decision, Kind, Outcome, Side, Tier, Verdict};
use foldhash::fast::FixedState;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::classify::Declared;
pub use crate::described::{node_of, pod_of};
use crate::identify::Book;
use crate::timeline::Timeline;
use crate::unknown::{self, Touch};
use crate::worlds::World;

/// One end as policies may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// A pod with the labels and ports of that endpoint row.
    Pod {
        /// Number of the row in the book.
        row: u32,
    },
    /// The node of that endpoint row.
    Node {
        /// Number of the row in the book.
        row: u32,
    },
    /// The Service of that endpoint row.
    Service {
        /// Number of the row in the book.
        row: u32,
    },
    /// An address.
    External,
    /// An address that may be that of a pod, which nobody saw.
    Unsure,
}

/// What one side says, as stored in the column `reasons`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideSummary {
    /// `allowed`, `denied` or `unspecified`.
    pub verdict: String,
    /// `policy`, `default` (nothing isolates the pod), `exempt` or `no-pod`.
    pub tier: String,
    /// The policies that took part, with the rule that admits where one does.
    pub policies: Vec<PolicyPart>,
}

/// One policy's part in a side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPart {
    /// `namespace/name`.
    pub policy: String,
    /// The rule that admits, counted from 0; absent where none of its rules does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// For a policy that does not admit: what it would admit, as far as the connection fails it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

/// Both sides and what was left open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons {
    /// The egress side of the client.
    pub egress: SideSummary,
    /// The ingress side of the server.
    pub ingress: SideSummary,
    /// Why the verdict is unspecified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unspecified: Vec<String>,
}

/// A verdict in the form edges carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// `allowed`, `denied` or `unspecified`.
    pub verdict: &'static str,
    /// For classification.
    pub declared: Declared,
    /// [`Reasons`] as JSON.
    pub reasons: String,
}

/// Judges holders of one book against one timeline.
pub struct Judge<'a> {
    book: &'a Book,
    timeline: &'a Timeline,
    engine: Engine,
    pods: Vec<OnceCell<Pod>>,
    nodes: Vec<OnceCell<Node>>,
    /// Every CIDR that any policy of the timeline names: what an address can be told apart by.
    cidrs: Vec<IpNet>,
    classes: HashMap<ClassKey, u32>,
    class_of: HashMap<(Seen, IpAddr), u32, FixedState>,
    memo: HashMap<Question, u32, FixedState>,
    judged: Vec<Judged>,
    numbers: HashMap<(&'static str, Declared, String), u32>,
    undecided: HashMap<String, u32>,
    /// Ports that an end serves, sorted.
    served: HashMap<(u16, Seen), Vec<(u16, u8)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClassKey {
    kind: &'static str,
    cluster: Option<String>,
    namespace: Option<String>,
    labels: Option<String>,
    ports: Option<String>,
    service_account: Option<String>,
    /// The object itself where more than the above matters.
    name: Option<String>,
    v6: bool,
    memberships: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Question {
    epoch: u16,
    client: u32,
    server: u32,
    relation: Relation,
    port: u16,
    protocol: u8,
}

/// What two ends are to each other beyond their classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Relation {
    Strangers,
    SamePod,
    /// A node and a pod that runs on it.
    NodeAndItsPod,
}

impl<'a> Judge<'a> {
    /// A judge that knows nothing yet.
    pub fn new(book: &'a Book, timeline: &'a Timeline, engine: Engine) -> Judge<'a> {
        let worlds = (0..timeline.epochs()).flat_map(|epoch| timeline.worlds(epoch as u16).iter());
        let mut cidrs: Vec<IpNet> = worlds
            .flat_map(|(_, world)| world.policies.cidrs())
            .collect();
        cidrs.sort_unstable();
        cidrs.dedup();
        Judge {
            book,
            timeline,
            engine,
            pods: vec![OnceCell::new(); book.rows().len()],
            nodes: vec![OnceCell::new(); book.rows().len()],
            cidrs,
            classes: HashMap::new(),
            class_of: HashMap::default(),
            memo: HashMap::default(),
            judged: Vec::new(),
            numbers: HashMap::new(),
            undecided: HashMap::new(),
            served: HashMap::new(),
        }
    }

    /// The verdict with that number.
    pub fn judged(&self, number: u32) -> &Judged {
        &self.judged[number as usize]
    }

    /// Number of the verdict on a connection opened in `epoch`.
    pub fn judge(
        &mut self,
        epoch: u16,
        client: (Seen, IpAddr),
        server: (Seen, IpAddr),
        port: u16,
        protocol: u8,
    ) -> u32 {
        if [client, server]
            .iter()
            .any(|(seen, _)| *seen == Seen::Unsure)
        {
            return self.undecided(unknown::HOLDER);
        }
        let touched = [client, server].map(|(seen, _)| {
            let open = &self.world(epoch, seen).unknown;
            open.touches(self.namespace(seen))
        });
        if touched.contains(&Some(Touch::Anything)) {
            return self.undecided(unknown::REASON);
        }
        if [client, server]
            .iter()
            .any(|(seen, _)| self.is_unlabelled(*seen))
        {
            return self.undecided(unknown::LABELS);
        }
        let question = Question {
            epoch,
            client: self.class(client),
            server: self.class(server),
            relation: self.relation(client, server),
            port,
            protocol,
        };
        if let Some(known) = self.memo.get(&question) {
            return *known;
        }
        let verdict = self.evaluate(epoch, client, server, port, protocol);
        let number = match unknown::stands(touched, &verdict) {
            true => self.intern(judged_of(&verdict)),
            false => self.undecided(unknown::REASON),
        };
        self.memo.insert(question, number);
        number
    }

    /// The verdict that all of `numbers` agree on, else unspecified for `reason`.
    pub fn agree(&mut self, numbers: &[u32], reason: &'static str) -> u32 {
        match numbers {
            [] => self.undecided(reason),
            [first, rest @ ..] => {
                let declared = self.judged(*first).declared;
                let same = rest
                    .iter()
                    .all(|other| self.judged(*other).declared == declared);
                let unknown = self.undecided.get(unknown::REASON);
                let is_open = unknown.is_some_and(|unknown| numbers.contains(unknown));
                let reason = if is_open { unknown::REASON } else { reason };
                // Of several that agree the last one names the policies in force at the end.
                if same {
                    rest.last().copied().unwrap_or(*first)
                } else {
                    self.undecided(reason)
                }
            }
        }
    }

    /// Number of the verdict "unspecified" for a reason that lies outside the policies.
    pub fn undecided(&mut self, reason: &str) -> u32 {
        if let Some(number) = self.undecided.get(reason) {
            return *number;
        }
        let side = SideSummary {
            verdict: "unspecified".into(),
            tier: "no-pod".into(),
            policies: Vec::new(),
        };
        let reasons = Reasons {
            egress: side.clone(),
            ingress: side,
            unspecified: vec![reason.to_owned()],
        };
        let judged = Judged {
            verdict: "unspecified",
            declared: Declared::Unspecified,
            reasons: json(&reasons),
        };
        let number = self.intern(judged);
        self.undecided.insert(reason.to_owned(), number);
        number
    }

    /// The ports that an end declares to serve, with their protocols, sorted: container ports and the targets of
    /// Services that lead to a pod; node ports on a node.
    pub fn served(&mut self, epoch: u16, seen: Seen) -> &[(u16, u8)] {
        if !self.served.contains_key(&(epoch, seen)) {
            let served = self.served_by(epoch, seen);
            self.served.insert((epoch, seen), served);
        }
        &self.served[&(epoch, seen)]
    }

    fn served_by(&self, epoch: u16, seen: Seen) -> Vec<(u16, u8)> {
        let cluster = &self.world(epoch, seen).cluster;
        let mut served: Vec<(u16, u8)> = match seen {
            Seen::Pod { row } => {
                let pod = self.pod(row);
                let declared = pod
                    .ports
                    .iter()
                    .map(|port| (port.port, port.protocol.number()));
                let leading_here = cluster
                    .services()
                    .iter()
                    .filter(|service| service.selects(pod));
                let targets = leading_here.flat_map(|service| &service.ports);
                declared
                    .chain(
                        targets.filter_map(|port| {
                            Some((port.number_on(pod)?, port.protocol.number()))
                        }),
                    )
                    .collect()
            }
            Seen::Node { .. } => {
                let ports = cluster.services().iter().flat_map(|service| &service.ports);
                ports
                    .filter_map(|port| Some((port.node_port?, port.protocol.number())))
                    .collect()
            }
            Seen::Service { row } => {
                let row = self.book.row(row);
                let services = cluster.services().iter();
                let same = services.filter(|service| {
                    Some(&service.namespace) == row.namespace.as_ref() && service.name == row.name
                });
                same.flat_map(|service| &service.ports)
                    .map(|port| (port.port, port.protocol.number()))
                    .collect()
            }
            Seen::External | Seen::Unsure => Vec::new(),
        };
        served.sort_unstable();
        served.dedup();
        served
    }

    /// The pod of an endpoint row.
    pub fn pod(&self, row: u32) -> &Pod {
        self.pods[row as usize].get_or_init(|| pod_of(self.book.row(row)))
    }

    /// Whether it is a pod whose labels nobody saw.
    fn is_unlabelled(&self, seen: Seen) -> bool {
        matches!(seen, Seen::Pod { row } if unknown::has_unknown_labels(self.book.row(row)))
    }

    /// The cluster of a holder; empty for what belongs to none.
    fn cluster(&self, seen: Seen) -> &str {
        match seen {
            Seen::Pod { row } | Seen::Node { row } | Seen::Service { row } => {
                &self.book.row(row).cluster
            }
            Seen::External | Seen::Unsure => "",
        }
    }

    /// What the cluster of a holder declares.
    fn world(&self, epoch: u16, seen: Seen) -> &World {
        self.timeline.world(epoch, self.cluster(seen))
    }

    /// The namespace of a pod.
    fn namespace(&self, seen: Seen) -> Option<&str> {
        match seen {
            Seen::Pod { row } => self.book.row(row).namespace.as_deref(),
            Seen::Node { .. } | Seen::Service { .. } | Seen::External | Seen::Unsure => None,
        }
    }

    fn evaluate(
        &self,
        epoch: u16,
        client: (Seen, IpAddr),
        server: (Seen, IpAddr),
        port: u16,
        protocol: u8,
    ) -> Verdict {
        let clusters = [self.cluster(client.0), self.cluster(server.0)];
        self.timeline
            .worlds(epoch)
            .between(clusters, |world, known| {
                let party = |(seen, address), is_known: bool| match is_known {
                    true => self.party(world, (seen, address)),
                    false => self.party(world, (Seen::External, address)),
                };
                let connection = Connection {
                    client: party(client, known[0]),
                    server: party(server, known[1]),
                    port,
                    protocol: Protocol::from_number(protocol),
                };
                let engine = world.engine(self.engine);
                evaluate(&world.policies, &world.cluster, engine, &connection)
            })
    }

    fn party<'w>(&'w self, world: &'w World, (seen, address): (Seen, IpAddr)) -> Party<'w> {
        let holder = match seen {
            Seen::Pod { row } => Holder::Pod(self.pod(row)),
            Seen::Node { row } => {
                Holder::Node(self.nodes[row as usize].get_or_init(|| node_of(self.book.row(row))))
            }
            Seen::Service { .. } => {
                // The Service as it was declared in that epoch, found by its address.
                let holders = world.cluster.holders(address);
                holders.into_iter().next().unwrap_or(Holder::External)
            }
            Seen::External | Seen::Unsure => Holder::External,
        };
        Party {
            address: Some(address),
            holder,
        }
    }

    fn relation(&self, client: (Seen, IpAddr), server: (Seen, IpAddr)) -> Relation {
        if self.cluster(client.0) != self.cluster(server.0) {
            return Relation::Strangers;
        }
        let node_of = |row: u32| self.book.row(row).node.as_deref();
        let name_of = |row: u32| {
            let row = self.book.row(row);
            if row.kind == "node" {
                Some(row.name.as_str())
            } else {
                row.node.as_deref()
            }
        };
        match (client.0, server.0) {
            (Seen::Pod { row: a }, Seen::Pod { row: b }) => {
                let (a, b) = (self.book.row(a), self.book.row(b));
                let same = (&a.namespace, &a.name, &a.uid) == (&b.namespace, &b.name, &b.uid);
                if same {
                    Relation::SamePod
                } else {
                    Relation::Strangers
                }
            }
            (Seen::Node { row: node }, Seen::Pod { row: pod })
            | (Seen::Pod { row: pod }, Seen::Node { row: node })
                if name_of(node).is_some() && name_of(node) == node_of(pod) =>
            {
                Relation::NodeAndItsPod
            }
            _ => Relation::Strangers,
        }
    }

    fn class(&mut self, end: (Seen, IpAddr)) -> u32 {
        if let Some(known) = self.class_of.get(&end) {
            return *known;
        }
        let (seen, address) = end;
        let kind_row = match seen {
            Seen::Pod { row } => ("pod", Some(row)),
            Seen::Node { row } => ("node", Some(row)),
            Seen::Service { row } => ("service", Some(row)),
            Seen::External | Seen::Unsure => ("external", None),
        };
        let row = kind_row.1.map(|row| self.book.row(row));
        let pod = row.filter(|_| kind_row.0 == "pod");
        let mut memberships = vec![0u64; self.cidrs.len().div_ceil(64)];
        for (n, _) in self
            .cidrs
            .iter()
            .enumerate()
            .filter(|(_, cidr)| cidr.contains(&address))
        {
            memberships[n / 64] |= 1 << (n % 64);
        }
        let key = ClassKey {
            kind: kind_row.0,
            cluster: row.map(|row| row.cluster.clone()),
            namespace: row.and_then(|row| row.namespace.clone()),
            labels: pod.and_then(|row| row.labels.clone()),
            ports: pod.and_then(|row| row.container_ports.clone()),
            service_account: pod.and_then(|row| row.service_account.clone()),
            name: row
                .filter(|_| pod.is_none())
                .map(|row| row.node.clone().unwrap_or_else(|| row.name.clone())),
            v6: address.is_ipv6(),
            memberships,
        };
        let next = self.classes.len() as u32;
        let class = *self.classes.entry(key).or_insert(next);
        self.class_of.insert(end, class);
        class
    }

    fn intern(&mut self, judged: Judged) -> u32 {
        let next = self.judged.len() as u32;
        let number = *self
            .numbers
            .entry((judged.verdict, judged.declared, judged.reasons.clone()))
            .or_insert(next);
        if number == next {
            self.judged.push(judged);
        }
        number
    }
}

/// The form of a verdict that edges carry. Names of single pods are left out: it stands for all of a class.
pub fn judged_of(verdict: &Verdict) -> Judged {
    let reasons = Reasons {
        egress: summary(&verdict.egress),
        ingress: summary(&verdict.ingress),
        unspecified: verdict
            .unspecified
            .iter()
            .map(|point| point.as_str().to_owned())
            .collect(),
    };
    let word = match verdict.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
        Outcome::Unspecified => "unspecified",
    };
    Judged {
        verdict: word,
        declared: declared(verdict),
        reasons: json(&reasons),
    }
}

fn declared(verdict: &Verdict) -> Declared {
    let tiers = [verdict.egress.tier, verdict.ingress.tier];
    match verdict.outcome {
        Outcome::Unspecified => Declared::Unspecified,
        // A denial on one side is certain even where the other side is not.
        Outcome::Denied if verdict.egress.outcome == Outcome::Denied => Declared::DeniedEgress,
        Outcome::Denied => Declared::DeniedIngress,
        Outcome::Allowed => match (
            tiers.iter().any(|tier| tier.is_by_rule()),
            tiers.contains(&Tier::Default),
        ) {
            (true, false) => Declared::ByRule,
            (true, true) => Declared::ByRuleAndGap,
            (false, true) => Declared::ByGap,
            (false, false) => Declared::Exempt,
        },
    }
}

fn summary(side: &Side) -> SideSummary {
    let part = |reason: &flowaudit_rules::verdict::Reason| {
        let policy = reason.policy()?;
        // A NetworkPolicy by its name alone; other kinds may share it.
        let policy = match reason.kind()? {
            Kind::NetworkPolicy => policy.to_owned(),
            kind => format!("{kind} {policy}"),
        };
        let nearest = match reason {
            flowaudit_rules::verdict::Reason::NoRule {
                nearest: Some(near),
                ..
            } => Some(near.admits.clone()),
            _ => None,
        };
        Some(PolicyPart {
            policy,
            rule: reason.rule(),
            nearest,
        })
    };
    let verdict = match (side.outcome, side.default_reading) {
        (Outcome::Unspecified, _) => "unspecified",
        (_, Decision::Allowed) => "allowed",
        (_, Decision::Denied) => "denied",
    };
    SideSummary {
        verdict: verdict.into(),
        tier: side.tier.as_str().into(),
        policies: side.reasons.iter().filter_map(part).collect(),
    }
}

fn json(reasons: &Reasons) -> String {
    // Text, numbers and lists always serialise.
    serde_json::to_string(reasons).unwrap_or_default()
}
