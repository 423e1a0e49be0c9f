//! Decided tuples → the edges of an hour.
//!
//! Edges are bounded by identities. External addresses are not: where more of them than a set number meet one party on
//! one port, all of them are folded into their /24 or /64, and how many there were is kept. Whether they are folded
//! depends on their number only, never on the order in which they came.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::IpAddr;

use flowaudit_lake::Hour;
use flowaudit_lake::table::edges::EdgeRow;
use foldhash::fast::FixedState;
use ipnet::IpNet;

use crate::classify::Class;
use crate::fold::Traffic;
use crate::identify::ranges::{CIDR_SET, kind_of_client};
use crate::identify::{Book, Doubt, Stretch, neighbourhood};
use crate::judge::Judge;
use crate::observe::Observed;
use crate::orient::Evidence;
use crate::parties::Parties;

/// One end of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// A holder we know, at one of its addresses.
    Known {
        /// Number of the identity in the book.
        identity: u32,
        /// The address.
        address: IpAddr,
    },
    /// An address of nobody of ours, in a range that has a name or not.
    External {
        /// Number of the range's identity in the book.
        range: Option<u32>,
        /// The address.
        address: IpAddr,
    },
    /// Many external addresses of one network.
    Folded {
        /// Number of the range's identity in the book.
        range: Option<u32>,
        /// /24 or /64.
        net: IpNet,
    },
    /// An address whose holder is not certain.
    Unclear {
        /// Why.
        doubt: Doubt,
        /// The address.
        address: IpAddr,
    },
}

/// What makes an edge this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    /// Number of the VPC whose interfaces logged it, see [`Parties::vpc`].
    pub vpc: u32,
    /// The end that opened the connections.
    pub client: Party,
    /// The other end.
    pub server: Party,
    /// Port at the server; 0 where the ends could not be told apart.
    pub port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// What happened.
    pub observed: Observed,
    /// Number of the verdict.
    pub judged: u32,
    /// What both mean together.
    pub class: Class,
}

/// What the tuples of an edge add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeSums {
    /// Distinct five-tuples.
    pub connections: u64,
    /// Client to server.
    pub forward: Traffic,
    /// Server to client.
    pub reverse: Traffic,
    /// Flags client to server.
    pub forward_flags: Option<u8>,
    /// Flags server to client.
    pub reverse_flags: Option<u8>,
    /// One bit per kind of evidence.
    pub oriented_by: u8,
    /// Whether the node where records were made was needed to name the client, the server.
    pub by_eni: [bool; 2],
    /// First instant, microseconds.
    pub first_us: i64,
    /// Last instant, microseconds.
    pub last_us: i64,
    /// Records.
    pub records: u64,
}

impl EdgeSums {
    /// Adds what other tuples of the same edge add up to.
    pub fn merge(&mut self, other: &EdgeSums) {
        let or = |a: Option<u8>, b: Option<u8>| a.zip(b).map(|(a, b)| a | b).or(a).or(b);
        self.connections += other.connections;
        self.forward += other.forward;
        self.reverse += other.reverse;
        self.forward_flags = or(self.forward_flags, other.forward_flags);
        self.reverse_flags = or(self.reverse_flags, other.reverse_flags);
        self.oriented_by |= other.oriented_by;
        for (by_eni, other) in self.by_eni.iter_mut().zip(other.by_eni) {
            *by_eni |= other;
        }
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
        self.records += other.records;
    }
}

/// The edges of one hour.
#[derive(Debug)]
pub struct Edges {
    external_max: usize,
    inside: HashMap<EdgeKey, EdgeSums, FixedState>,
    outside: HashMap<Meeting, Outsiders, FixedState>,
}

/// A party that external addresses meet on one port; `external_clients` tells which end they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Meeting {
    party: Party,
    port: u16,
    protocol: u8,
    external_clients: bool,
}

#[derive(Debug, Default)]
struct Outsiders {
    /// Distinct addresses, until there are too many of them.
    addresses: BTreeSet<IpAddr>,
    folded: bool,
    edges: HashMap<EdgeKey, (EdgeSums, AddressCount), FixedState>,
}

/// Which of the addresses of a /24 were met; for a /64 a linear counter of 256 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AddressCount([u64; 4]);

/// Fixed, so that counts are the same on every machine.
const HASHER: FixedState = FixedState::with_seed(0x6564_6765);

impl AddressCount {
    fn of(address: IpAddr) -> AddressCount {
        let bit = match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(_) => (HASHER.hash_one(address) >> 56) as u8,
        };
        let mut bits = [0; 4];
        bits[usize::from(bit / 64)] = 1 << (bit % 64);
        AddressCount(bits)
    }

    fn merge(&mut self, other: AddressCount) {
        for (bits, more) in self.0.iter_mut().zip(other.0) {
            *bits |= more;
        }
    }

    fn count(self, net: IpNet) -> i64 {
        let ones: u32 = self.0.iter().map(|bits| bits.count_ones()).sum();
        if matches!(net, IpNet::V4(_)) {
            return i64::from(ones);
        }
        // Linear counting; a full counter says "about as many as it can tell apart".
        let zeros = f64::from((256 - ones).max(1));
        (-256.0 * (zeros / 256.0).ln()).round() as i64
    }
}

impl Edges {
    /// No edges yet; more external addresses than `external_max` at one party and port are folded.
    pub fn new(external_max: usize) -> Edges {
        Edges {
            external_max,
            inside: HashMap::default(),
            outside: HashMap::default(),
        }
    }

    /// Adds a decided tuple.
    pub fn add(&mut self, key: EdgeKey, sums: EdgeSums) {
        let (party, external_clients, address) = match (key.client, key.server) {
            (Party::External { address, .. }, party) => (party, true, address),
            (party, Party::External { address, .. }) => (party, false, address),
            _ => {
                self.inside
                    .entry(key)
                    .and_modify(|edge| edge.merge(&sums))
                    .or_insert(sums);
                return;
            }
        };
        let meeting = Meeting {
            party,
            port: key.port,
            protocol: key.protocol,
            external_clients,
        };
        let outsiders = self.outside.entry(meeting).or_default();
        if !outsiders.folded {
            outsiders.addresses.insert(address);
            if outsiders.addresses.len() > self.external_max {
                outsiders.fold(external_clients);
            }
        }
        let key = if outsiders.folded {
            folded(key, external_clients)
        } else {
            key
        };
        outsiders.put(key, sums, AddressCount::of(address));
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.inside.len()
            + self
                .outside
                .values()
                .map(|outsiders| outsiders.edges.len())
                .sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of the hour, in an order that depends on nothing but records and inventory.
    pub fn rows(
        &self,
        hour: Hour,
        book: &Book,
        judge: &Judge<'_>,
        parties: &Parties,
    ) -> Vec<EdgeRow> {
        let outside = self.outside.values().flat_map(|outsiders| &outsiders.edges);
        let outside = outside.map(|(key, (sums, count))| (key, sums, *count));
        let inside = self
            .inside
            .iter()
            .map(|(key, sums)| (key, sums, AddressCount::default()));
        let edges: Vec<_> = inside.chain(outside).collect();
        let order = Order::new(edges.iter().map(|(key, ..)| *key), judge);
        let mut edges: Vec<_> = edges
            .into_iter()
            .map(|edge| ((order.of(edge.0), parties.vpc(edge.0.vpc)), edge))
            .collect();
        edges.sort_unstable_by_key(|(order, _)| *order);
        edges
            .into_iter()
            .map(|((_, vpc), (key, sums, count))| row(hour, key, vpc, sums, count, book, judge))
            .collect()
    }
}

/// The place of edges among each other, as one number: by what they say, for numbers of verdicts follow the order in
/// which they were asked for.
struct Order {
    parties: HashMap<Party, u32, FixedState>,
    verdicts: HashMap<u32, u32, FixedState>,
}

impl Order {
    fn new<'k>(keys: impl Iterator<Item = &'k EdgeKey> + Clone, judge: &Judge<'_>) -> Order {
        let ends = keys.clone().flat_map(|key| [key.client, key.server]);
        let parties: HashSet<Party, FixedState> = ends.collect();
        let verdicts: HashSet<u32, FixedState> = keys.map(|key| key.judged).collect();
        let mut parties: Vec<Party> = parties.into_iter().collect();
        parties.sort_unstable();
        let mut verdicts: Vec<u32> = verdicts.into_iter().collect();
        verdicts.sort_unstable_by_key(|judged| &judge.judged(*judged).reasons);
        Order {
            parties: parties.into_iter().zip(0..).collect(),
            verdicts: verdicts.into_iter().zip(0..).collect(),
        }
    }

    /// Client, server, port, protocol, observation, class, reasons.
    fn of(&self, key: &EdgeKey) -> (u64, u64) {
        let place = |party| u64::from(self.parties[party]);
        let what = u64::from(key.port) << 48
            | u64::from(key.protocol) << 40
            | (key.observed as u64) << 36
            | (key.class as u64) << 32;
        (
            place(&key.client) << 32 | place(&key.server),
            what | u64::from(self.verdicts[&key.judged]),
        )
    }
}

impl Outsiders {
    fn fold(&mut self, external_clients: bool) {
        self.folded = true;
        self.addresses.clear();
        for (key, (sums, count)) in std::mem::take(&mut self.edges) {
            self.put(folded(key, external_clients), sums, count);
        }
    }

    fn put(&mut self, key: EdgeKey, sums: EdgeSums, count: AddressCount) {
        match self.edges.get_mut(&key) {
            Some((edge, known)) => {
                edge.merge(&sums);
                known.merge(count);
            }
            None => {
                self.edges.insert(key, (sums, count));
            }
        }
    }
}

fn folded(key: EdgeKey, external_clients: bool) -> EdgeKey {
    let fold = |party: Party| match party {
        Party::External { range, address } => Party::Folded {
            range,
            net: neighbourhood(address),
        },
        other => other,
    };
    if external_clients {
        EdgeKey {
            client: fold(key.client),
            ..key
        }
    } else {
        EdgeKey {
            server: fold(key.server),
            ..key
        }
    }
}

/// The columns of one party.
struct PartyColumns {
    kind: String,
    cluster: Option<String>,
    namespace: Option<String>,
    workload_kind: Option<String>,
    workload: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    addr: String,
    identified_by: &'static str,
    candidates: Vec<String>,
    addrs: Option<i64>,
}

/// `end` is 0 for the client, 1 for the server.
fn party_columns(
    party: Party,
    end: usize,
    vpc: Option<&str>,
    sums: &EdgeSums,
    count: AddressCount,
    book: &Book,
) -> PartyColumns {
    let seen = Stretch {
        from: sums.first_us,
        to: sums.last_us,
    };
    let nameless = |kind: &str, addr: String, identified_by| PartyColumns {
        kind: kind.into(),
        cluster: None,
        namespace: None,
        workload_kind: None,
        workload: None,
        name: None,
        uid: None,
        addr,
        identified_by,
        candidates: Vec::new(),
        addrs: None,
    };
    let of_range = |range: Option<u32>, addr| match range.map(|range| book.identity(range)) {
        None => nameless("external", addr, "external"),
        Some(range) => {
            let kind = match end {
                0 => kind_of_client(&range.kind, &range.name),
                _ => &range.kind,
            };
            let by = match range.kind.as_str() {
                CIDR_SET => CIDR_SET,
                _ => "built-in-range",
            };
            PartyColumns {
                cluster: Some(range.cluster.clone()).filter(|cluster| !cluster.is_empty()),
                name: Some(range.name.clone()),
                ..nameless(kind, addr, by)
            }
        }
    };
    match party {
        Party::Known { identity, address } => {
            let identity = book.identity(identity).clone();
            let identified_by = match identity.kind.as_str() {
                "pod" if sums.by_eni[end] => "pod-interval+eni",
                "pod" => "pod-interval",
                "node" => "node-address",
                _ => "inventory",
            };
            let candidates = match identity.kind.as_str() {
                "node" => book.candidates(address, vpc, seen, Some(&identity.cluster)),
                _ => Vec::new(),
            };
            PartyColumns {
                candidates,
                kind: identity.kind,
                cluster: Some(identity.cluster),
                namespace: identity.namespace,
                workload_kind: identity.workload_kind,
                workload: identity.workload,
                name: Some(identity.name),
                uid: identity.uid,
                addr: address.to_string(),
                identified_by,
                addrs: None,
            }
        }
        Party::External { range, address } => of_range(range, address.to_string()),
        Party::Folded { range, net } => PartyColumns {
            addrs: Some(count.count(net)),
            ..of_range(range, net.to_string())
        },
        Party::Unclear { doubt, address } => PartyColumns {
            candidates: book.candidates(address, vpc, seen, None),
            ..nameless(doubt.kind(), address.to_string(), doubt.as_str())
        },
    }
}

/// A JSON list; nothing for an empty one.
fn list(names: &[String]) -> Option<String> {
    let text = serde_json::to_string(names).ok();
    text.filter(|_| !names.is_empty())
}

fn row(
    hour: Hour,
    key: &EdgeKey,
    vpc: Option<&str>,
    sums: &EdgeSums,
    count: AddressCount,
    book: &Book,
    judge: &Judge<'_>,
) -> EdgeRow {
    let client = party_columns(key.client, 0, vpc, sums, count, book);
    let server = party_columns(key.server, 1, vpc, sums, count, book);
    let judged = judge.judged(key.judged);
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    EdgeRow {
        hour_us: hour.start_us(),
        vpc_id: vpc.map(str::to_owned),
        client_kind: client.kind,
        client_cluster: client.cluster,
        client_namespace: client.namespace,
        client_workload_kind: client.workload_kind,
        client_workload: client.workload,
        client_name: client.name,
        client_uid: client.uid,
        client_addr: client.addr,
        server_kind: server.kind,
        server_cluster: server.cluster,
        server_namespace: server.namespace,
        server_workload_kind: server.workload_kind,
        server_workload: server.workload,
        server_name: server.name,
        server_uid: server.uid,
        server_addr: server.addr,
        server_port: i32::from(key.port),
        protocol: i32::from(key.protocol),
        connections: count(sums.connections),
        forward_packets: sums.forward.packets,
        forward_bytes: sums.forward.bytes,
        forward_flags: sums.forward_flags.map(i32::from),
        reverse_packets: sums.reverse.packets,
        reverse_bytes: sums.reverse.bytes,
        reverse_flags: sums.reverse_flags.map(i32::from),
        observation: key.observed.as_str().into(),
        verdict: judged.verdict.into(),
        class: key.class.as_str().into(),
        reasons: judged.reasons.clone(),
        oriented_by: evidence_words(sums.oriented_by),
        client_identified_by: client.identified_by.into(),
        server_identified_by: server.identified_by.into(),
        client_candidates: list(&client.candidates),
        server_candidates: list(&server.candidates),
        link: None,
        first_seen_us: sums.first_us,
        last_seen_us: sums.last_us,
        records: count(sums.records),
        client_addrs: client.addrs,
        server_addrs: server.addrs,
    }
}

/// Bit of one kind of evidence.
pub fn evidence_bit(evidence: Evidence) -> u8 {
    1 << evidence as u8
}

/// All evidence that decided connections of the edge, strongest first: `syn+declared-port`.
fn evidence_words(bits: u8) -> String {
    let words: Vec<&str> = Evidence::ALL
        .into_iter()
        .filter(|evidence| bits & evidence_bit(*evidence) != 0)
        .map(Evidence::as_str)
        .collect();
    words.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> EdgeSums {
        EdgeSums {
            connections: 1,
            forward: Traffic {
                packets: 1,
                bytes: 60,
            },
            reverse: Traffic::default(),
            forward_flags: Some(2),
            reverse_flags: None,
            by_eni: [false; 2],
            oriented_by: 1,
            first_us: 0,
            last_us: 1,
            records: 1,
        }
    }

    fn key(n: u32) -> EdgeKey {
        EdgeKey {
            vpc: 0,
            client: Party::External {
                range: None,
                address: IpAddr::V4((0xc633_0000 + n).into()),
            },
            server: Party::Known {
                identity: 0,
                address: "10.0.0.1".parse().unwrap(),
            },
            port: 443,
            protocol: 6,
            observed: Observed::Established,
            judged: 0,
            class: Class::InOrder,
        }
    }

    fn folded_after(order: impl Iterator<Item = u32>) -> Vec<(EdgeKey, (EdgeSums, AddressCount))> {
        let mut edges = Edges::new(100);
        for n in order {
            edges.add(key(n), sums());
        }
        let mut all: Vec<_> = edges
            .outside
            .into_values()
            .flat_map(|outsiders| outsiders.edges)
            .collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    #[test]
    fn a_few_external_addresses_stay_themselves() {
        assert_eq!(folded_after((0..100).chain(0..100)).len(), 100);
    }

    #[test]
    fn many_are_folded_whatever_their_order_and_their_number_is_kept() {
        let edges = folded_after(0..512);
        assert_eq!(edges, folded_after((0..512).rev()));
        assert_eq!(edges.len(), 2);
        for (key, (sums, count)) in edges {
            let Party::Folded { net, .. } = key.client else {
                panic!("{key:?}")
            };
            assert_eq!((sums.connections, count.count(net)), (256, 256));
        }
    }
}
