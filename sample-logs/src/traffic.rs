//! Plays the traffic lines: which connection was opened when, by whom, to whom, and what became of it.
//!
//! The verdict is the line's own. What is added here is what follows from it in *this* cluster: a denied
//! egress leaves the pod only where the node does not enforce, a denied ingress is answered only where the
//! server's node does not, and what stays on one node crosses no interface.

mod packets;

use std::collections::HashMap;
use std::net::IpAddr;

pub(crate) use packets::{Burst, bursts};

use crate::capture::Visible;
use crate::random::Dice;
use crate::scenario::{Answer, Egress, Ingress, Intended, Place, Protocol, Scenario, TrafficSpec};
use crate::time::{MINUTE_MS, SECOND_MS};
use crate::truth::{ConnectionTruth, Observation};
use crate::world::{Party, World};

/// Streams from here on belong to one traffic line each.
const LINES_STREAM: u64 = 1_000;
/// Nothing is opened so close to a policy change, because nodes enforce a change some time after it.
pub const GRACE_MS: i64 = 30 * SECOND_MS;
/// A five-tuple is used again at the earliest after the longest window, so that no entry holds two.
const TUPLE_REST_MS: i64 = 11 * MINUTE_MS;
/// The last retry of a connection nobody answers.
const GIVE_UP_MS: i64 = 7 * SECOND_MS;
/// The ephemeral range of Linux.
const EPHEMERAL: [u16; 2] = [32_768, 60_999];

/// One connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The traffic line, an index into the scenario's.
    pub line: usize,
    /// Who opened it.
    pub client: Party,
    /// Who was asked.
    pub server: Party,
    /// Address it was opened from.
    pub client_addr: IpAddr,
    /// Port it was opened from.
    pub client_port: u16,
    /// Address asked.
    pub server_addr: IpAddr,
    /// First packet.
    pub opened_ms: i64,
    /// Last packet; past the end of the run when it outlasts that.
    pub closed_ms: i64,
    /// Why the ingress side says what it says: the line's word, or the own node's exemption.
    pub ingress: Ingress,
    /// What became of it.
    pub observation: Observation,
    /// Whether packets of it cross an interface.
    pub crosses: bool,
    pub(crate) seed: u64,
}

/// All connections of the run, in the order of opening.
pub(crate) fn connections(world: &World<'_>, seed: u64) -> Vec<Connection> {
    let mut tuples = Tuples::default();
    let mut connections = Vec::new();
    for line in 0..world.scenario.traffic.len() {
        if let Some(mut player) = Player::new(world, line, seed) {
            player.play(&mut connections, &mut tuples);
        }
    }
    // Stable: connections of one millisecond stay in the order of the lines.
    connections.sort_by_key(|connection| connection.opened_ms);
    connections
}

type Tuple = (IpAddr, u16, IpAddr, u16, Protocol);

/// When each five-tuple was last used.
#[derive(Default)]
struct Tuples {
    used: HashMap<Tuple, Vec<(i64, i64)>>,
}

impl Tuples {
    /// Notes a use from `opened_ms` to `closed_ms`, unless another one is too near.
    fn claim(&mut self, tuple: Tuple, opened_ms: i64, closed_ms: i64) -> bool {
        let uses = self.used.entry(tuple).or_default();
        let is_near = |(from_ms, to_ms): &(i64, i64)| {
            opened_ms < to_ms + TUPLE_REST_MS && *from_ms < closed_ms + TUPLE_REST_MS
        };
        if uses.iter().any(is_near) {
            return false;
        }
        uses.push((opened_ms, closed_ms));
        true
    }
}

struct Player<'w> {
    world: &'w World<'w>,
    scenario: &'w Scenario,
    number: usize,
    line: &'w TrafficSpec,
    from: Place,
    to: Place,
    dice: Dice,
    changes_ms: Vec<i64>,
}

impl<'w> Player<'w> {
    fn new(world: &'w World<'w>, number: usize, seed: u64) -> Option<Self> {
        let scenario = world.scenario;
        let line = &scenario.traffic[number];
        let from = Place::find(scenario, &line.from.value)?;
        let to = Place::find(scenario, &line.to.value)?;
        let dice = Dice::new(seed, LINES_STREAM + number as u64);
        let changes_ms = scenario.policy_changes_ms();
        Some(Self {
            world,
            scenario,
            number,
            line,
            from,
            to,
            dice,
            changes_ms,
        })
    }

    fn play(&mut self, connections: &mut Vec<Connection>, tuples: &mut Tuples) {
        let (start_ms, end_ms) = (self.scenario.start_ms(), self.scenario.end_ms());
        let [from_ms, to_ms] = match self.line.between {
            Some([from, to]) => [start_ms + from.ms, end_ms.min(start_ms + to.ms)],
            None => [start_ms, end_ms],
        };
        for (client, lives_from_ms, lives_to_ms) in self.clients() {
            let last_ms = to_ms.min(lives_to_ms);
            let mut at_ms = from_ms.max(lives_from_ms) + self.dice.between(0, self.line.every.ms);
            while at_ms < last_ms {
                if let Some(connection) = self.open(client, at_ms, lives_to_ms, tuples) {
                    connections.push(connection);
                }
                at_ms += self
                    .dice
                    .between(self.line.every.ms / 2, self.line.every.ms * 3 / 2)
                    .max(1);
            }
        }
    }

    /// Everyone who opens connections of this line, with the span in which they do.
    fn clients(&self) -> Vec<(Party, i64, i64)> {
        let always = |party| (party, i64::MIN / 2, i64::MAX / 2);
        match self.from {
            Place::Workload(workload) => {
                let pods = self.world.pods_of(workload).iter();
                pods.map(|pod| {
                    let life = &self.world.pods[*pod].life;
                    (
                        Party::Pod(*pod),
                        life.started_ms + SECOND_MS,
                        life.finished_ms().min(i64::MAX / 2) - 300,
                    )
                })
                .collect()
            }
            Place::External(index) => vec![always(Party::External(index))],
            Place::Kubelet | Place::Nodes => (0..self.world.nodes.len())
                .map(|node| always(Party::Node(node)))
                .collect(),
        }
    }

    fn open(
        &mut self,
        client: Party,
        at_ms: i64,
        client_ends_ms: i64,
        tuples: &mut Tuples,
    ) -> Option<Connection> {
        let is_near_change = self
            .changes_ms
            .iter()
            .any(|change_ms| (at_ms - change_ms).abs() < GRACE_MS);
        let long = self
            .line
            .lasts
            .map(|[low, high]| self.dice.between(low.ms, high.ms));
        let planned_ms = long.unwrap_or_else(|| match self.line.protocol {
            Protocol::Tcp | Protocol::Sctp => self.dice.between(40, 2_500),
            Protocol::Udp => self.dice.between(1, 30),
            Protocol::Icmp => 3_000 + self.dice.between(1, 5),
        });
        // What may go unanswered needs time for its retries.
        let needed_ms = match (long, self.line.prompt) {
            (Some(_), _) => 5 * SECOND_MS,
            (None, true) => planned_ms,
            (None, false) => planned_ms.max(GIVE_UP_MS),
        };
        let server = self.server(client, at_ms, at_ms + needed_ms)?;
        let server_ends_ms = match server {
            Party::Pod(pod) => self.world.pods[pod].life.finished_ms().min(i64::MAX / 2) - 300,
            Party::Node(_) | Party::External(_) => i64::MAX / 2,
        };
        let ends_ms = client_ends_ms.min(server_ends_ms);
        // What begins as the run ends would look unanswered.
        let is_near_end = at_ms + GIVE_UP_MS >= self.scenario.end_ms();
        if is_near_change || is_near_end || at_ms + needed_ms > ends_ms {
            return None;
        }
        let (client_addr, server_addr) = self.addresses(client, server)?;
        let is_own_node = match (client, server) {
            (Party::Node(node), Party::Pod(pod)) => self.world.pods[pod].node == node,
            (Party::Pod(host), Party::Pod(pod)) => {
                self.world.pods[host].host_network
                    && self.world.pods[host].node == self.world.pods[pod].node
            }
            _ => false,
        };
        let ingress = if is_own_node && self.line.ingress != Ingress::NotAPod {
            Ingress::OwnNode
        } else {
            self.line.ingress
        };
        let (observation, crosses) = self.outcome(client, server, ingress);
        let closed_ms = match observation {
            Observation::Established => (at_ms + planned_ms).min(ends_ms),
            Observation::Refused => at_ms + self.dice.between(1, 3),
            Observation::Unanswered | Observation::Rejected => {
                at_ms + packets::unanswered_ms(self.line.protocol)
            }
        };
        let client_port = self.claim_port(client_addr, server_addr, at_ms, closed_ms, tuples)?;
        Some(Connection {
            line: self.number,
            client,
            server,
            client_addr,
            client_port,
            server_addr,
            opened_ms: at_ms,
            closed_ms,
            ingress,
            observation,
            crosses,
            seed: self.dice.number(),
        })
    }

    fn server(&mut self, client: Party, from_ms: i64, to_ms: i64) -> Option<Party> {
        let workload = match self.to {
            Place::External(index) => return Some(Party::External(index)),
            Place::Workload(workload) => workload,
            Place::Kubelet | Place::Nodes => return None,
        };
        let client_node = self.world.node_of(client);
        let pods = self.world.pods_of(workload).iter().copied();
        let serving: Vec<usize> = pods
            .filter(|pod| {
                let server = &self.world.pods[*pod];
                let is_here = client_node == Some(server.node);
                let fits = match self.from {
                    Place::Kubelet => is_here,
                    Place::Nodes => !is_here,
                    Place::Workload(_) | Place::External(_) => client != Party::Pod(*pod),
                };
                fits && server.life.serves(from_ms, to_ms)
            })
            .collect();
        serving
            .get(self.dice.index(serving.len()))
            .map(|pod| Party::Pod(*pod))
    }

    /// Addresses of both ends, of one family.
    fn addresses(&mut self, client: Party, server: Party) -> Option<(IpAddr, IpAddr)> {
        let wants_ipv6 = self.dice.hits(self.line.ipv6_per_mille);
        let from = self.address(client, wants_ipv6);
        let to = self.address(server, wants_ipv6);
        match (from, to) {
            (Some(from), Some(to)) => Some((from, to)),
            _ if wants_ipv6 => Some((self.address(client, false)?, self.address(server, false)?)),
            _ => None,
        }
    }

    fn address(&mut self, party: Party, ipv6: bool) -> Option<IpAddr> {
        match party {
            Party::Pod(pod) => {
                let pod = &self.world.pods[pod];
                let further = pod.further.iter().filter(|_| self.line.further);
                let further = further.map(|(_, address)| *address);
                let mut addresses = further.chain(pod.addresses.iter().copied());
                addresses.find(|address| address.is_ipv6() == ipv6)
            }
            Party::Node(_) if ipv6 => None,
            Party::Node(node) => Some(IpAddr::V4(self.world.node_spec(node).address)),
            Party::External(index) => {
                let blocks = &self.scenario.externals[index].addresses;
                let fitting: Vec<_> = blocks
                    .iter()
                    .filter(|net| net.addr().is_ipv6() == ipv6)
                    .collect();
                let net = fitting.get(self.dice.index(fitting.len()))?;
                Some(pick(&mut self.dice, net))
            }
        }
    }

    /// What becomes of a connection, and whether an interface sees it.
    fn outcome(&self, client: Party, server: Party, ingress: Ingress) -> (Observation, bool) {
        let stays_on_node = match (self.world.node_of(client), self.world.node_of(server)) {
            (Some(from), Some(to)) => from == to,
            _ => false,
        };
        if self.line.egress == Egress::Denied && self.world.is_policed(client) {
            return (Observation::Unanswered, false);
        }
        if self.line.answer == Answer::Rejected && !stays_on_node {
            return (Observation::Rejected, true);
        }
        if ingress == Ingress::Denied && self.world.is_policed(server) {
            return (Observation::Unanswered, !stays_on_node);
        }
        let observation = match self.line.answer {
            Answer::Established | Answer::Rejected => Observation::Established,
            Answer::Refused => Observation::Refused,
            Answer::Unanswered => Observation::Unanswered,
        };
        (observation, !stays_on_node)
    }

    fn claim_port(
        &mut self,
        client: IpAddr,
        server: IpAddr,
        opened_ms: i64,
        closed_ms: i64,
        tuples: &mut Tuples,
    ) -> Option<u16> {
        let TrafficSpec { port, protocol, .. } = *self.line;
        let [low, high] = self.line.client_ports.unwrap_or(EPHEMERAL);
        for _ in 0..8 {
            let client_port = match protocol {
                Protocol::Icmp => 0,
                _ => self.dice.between(i64::from(low), i64::from(high)) as u16,
            };
            if tuples.claim(
                (client, client_port, server, port, protocol),
                opened_ms,
                closed_ms,
            ) && tuples.claim(
                (server, port, client, client_port, protocol),
                opened_ms,
                closed_ms,
            ) {
                return Some(client_port);
            }
        }
        None
    }
}

/// Some address of `net`.
fn pick(dice: &mut Dice, net: &ipnet::IpNet) -> IpAddr {
    match net {
        ipnet::IpNet::V4(net) => {
            let hosts = (1_i64 << (32 - net.prefix_len())) - 1;
            let offset = dice.between(0, hosts) as u32;
            IpAddr::V4((u32::from(net.network()) + offset).into())
        }
        ipnet::IpNet::V6(net) => {
            let bits = (128 - net.prefix_len()).min(16);
            let offset = dice.between(0, (1_i64 << bits) - 1) as u128;
            IpAddr::V6((u128::from(net.network()) + offset).into())
        }
    }
}

impl Connection {
    /// The traffic line it belongs to.
    pub fn spec<'a>(&self, world: &World<'a>) -> &'a TrafficSpec {
        &world.scenario.traffic[self.line]
    }

    /// The verdict as a whole. The own node's exemption lifts the ingress side of the line.
    pub fn intended(&self, world: &World<'_>) -> Intended {
        let denied = self.spec(world).egress == Egress::Denied || self.ingress == Ingress::Denied;
        if denied {
            Intended::Denied
        } else {
            Intended::Allowed
        }
    }

    pub(crate) fn truth(
        &self,
        id: u64,
        world: &World<'_>,
        visible: Visible,
        changes_ms: &[i64],
    ) -> ConnectionTruth {
        let spec = self.spec(world);
        let [forward, reverse] = visible.once();
        let until_ms = self.closed_ms.min(world.scenario.end_ms());
        let is_spanned = |change_ms: &i64| {
            self.opened_ms <= change_ms + GRACE_MS && until_ms >= change_ms - GRACE_MS
        };
        ConnectionTruth {
            id,
            line: spec.name.value.clone(),
            client: world.identity(self.client),
            server: world.identity(self.server),
            client_addr: self.client_addr,
            client_port: self.client_port,
            server_addr: self.server_addr,
            server_port: spec.port,
            protocol: spec.protocol,
            opened_at_ms: self.opened_ms,
            closed_at_ms: (self.closed_ms <= world.scenario.end_ms()).then_some(self.closed_ms),
            intended: self.intended(world),
            egress: spec.egress,
            ingress: self.ingress,
            observation: self.observation,
            visible: visible.records > 0,
            spans_policy_change: changes_ms.iter().any(is_spanned),
            forward_packets: forward.packets,
            forward_bytes: forward.bytes,
            reverse_packets: reverse.packets,
            reverse_bytes: reverse.bytes,
        }
    }
}
