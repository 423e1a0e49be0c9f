//! What the interfaces log of it: entries per interface, window and direction, and how they are delivered.
//!
//! Played in steps of ten minutes, the longest window: every window of every interface lies wholly inside
//! one step, so nothing has to be remembered but connections that go on and records that come late.

use crate::random::Dice;
use crate::record::{Action, Direction, Record, Seen, Traffic};
use crate::scenario::Protocol;
use crate::time::SECOND_MS;
use crate::traffic::{Burst, Connection, bursts};
use crate::truth::{End, Holder, Observation, RecordStatus, RecordTruth};
use crate::world::{Party, World};

const DELIVERY_STREAM: u64 = 3;
/// One step: the longest window.
const STEP_MS: i64 = 600 * SECOND_MS;

/// One line of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    Flow(Flow),
    Gap {
        eni: u32,
        start_ms: i64,
        end_ms: i64,
        is_loss: bool,
    },
}

/// One direction of one connection at one interface in one window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) connection: u32,
    pub(crate) eni: u32,
    /// Seen at the client's interface, not the server's.
    pub(crate) at_client: bool,
    pub(crate) is_reverse: bool,
    pub(crate) start_s: i64,
    pub(crate) end_s: i64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) flags: u8,
    pub(crate) late: bool,
    pub(crate) repeated: bool,
    window_end_ms: i64,
}

/// What the log shows of one connection, per interface and direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visible {
    pub(crate) records: u32,
    /// Some record lets both ends be known.
    pub(crate) identified: bool,
    /// `[client's, server's interface][forward, reverse]`
    at: [[Count; 2]; 2],
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Visible {
    pub(crate) fn add(&mut self, flow: &Flow) {
        let count = &mut self.at[usize::from(!flow.at_client)][usize::from(flow.is_reverse)];
        count.packets += flow.packets;
        count.bytes += flow.bytes;
        self.records += 1;
    }

    /// Forward and reverse, counted once: only one interface of a pair ever loses entries, so the one that
    /// shows more shows everything.
    pub(crate) fn once(&self) -> [Count; 2] {
        [0, 1].map(|way| {
            let [client, server] = [self.at[0][way], self.at[1][way]];
            if client.packets >= server.packets {
                client
            } else {
                server
            }
        })
    }
}

/// What is delivered at one time.
pub(crate) struct Delivered {
    pub(crate) at_ms: i64,
    pub(crate) entries: Vec<Entry>,
}

/// The log, step by step.
pub(crate) struct Capture<'w> {
    world: &'w World<'w>,
    connections: &'w [Connection],
    dice: Dice,
    at_ms: i64,
    next: usize,
    open: Vec<u32>,
    /// Entries that come after their time: when, and what.
    waiting: Vec<(i64, Entry)>,
    /// Lost windows: interface, begin, end.
    lost: Vec<(u32, i64, i64)>,
}

impl<'w> Capture<'w> {
    pub(crate) fn new(world: &'w World<'w>, connections: &'w [Connection], seed: u64) -> Self {
        let scenario = world.scenario;
        let mut lost = Vec::new();
        for skipped in &scenario.faults.skipdata {
            let Some(node) = scenario
                .nodes
                .iter()
                .position(|node| node.name.value == skipped.node.value)
            else {
                continue;
            };
            let eni = world.nodes[node].primary_eni + skipped.interface;
            let window_ms = world.enis[eni].window_ms;
            let begin_ms = (scenario.start_ms() + skipped.at.ms).div_euclid(window_ms) * window_ms;
            lost.push((eni as u32, begin_ms, begin_ms + window_ms));
        }
        let dice = Dice::new(seed, DELIVERY_STREAM);
        Self {
            world,
            connections,
            dice,
            at_ms: scenario.start_ms(),
            next: 0,
            open: Vec::new(),
            waiting: Vec::new(),
            lost,
        }
    }

    fn is_lost(&self, eni: u32, at_ms: i64) -> bool {
        self.lost
            .iter()
            .any(|(lost, from_ms, to_ms)| *lost == eni && (*from_ms..*to_ms).contains(&at_ms))
    }

    /// Entries whose windows lie in the step that begins at `self.at_ms`.
    fn step(&mut self) -> Vec<Flow> {
        let to_ms = self.at_ms + STEP_MS;
        while self
            .connections
            .get(self.next)
            .is_some_and(|connection| connection.opened_ms < to_ms)
        {
            if self.connections[self.next].crosses {
                self.open.push(self.next as u32);
            }
            self.next += 1;
        }
        let mut flows = Vec::new();
        let mut packets = Vec::new();
        for number in std::mem::take(&mut self.open) {
            let connection = &self.connections[number as usize];
            bursts(connection, connection.spec(self.world), to_ms, &mut packets);
            packets.retain(|burst| burst.at_ms >= self.at_ms);
            for (party, address, at_client) in [
                (connection.client, connection.client_addr, true),
                (connection.server, connection.server_addr, false),
            ] {
                if let Some(eni) = self.world.eni_of(party, address) {
                    self.log(number, eni, at_client, &packets, &mut flows);
                }
            }
            if connection.closed_ms >= to_ms {
                self.open.push(number);
            }
        }
        flows.sort_by_key(|flow| {
            (
                flow.window_end_ms,
                flow.eni,
                flow.connection,
                flow.is_reverse,
            )
        });
        flows
    }

    /// Entries of one connection at one interface.
    fn log(
        &self,
        number: u32,
        eni: usize,
        at_client: bool,
        packets: &[Burst],
        flows: &mut Vec<Flow>,
    ) {
        let connection = &self.connections[number as usize];
        let window_ms = self.world.enis[eni].window_ms;
        let first = flows.len();
        for burst in packets {
            let window_end_ms = (burst.at_ms.div_euclid(window_ms) + 1) * window_ms;
            if self.is_lost(eni as u32, burst.at_ms) {
                continue;
            }
            let known = flows[first..].iter_mut().find(|flow| {
                flow.is_reverse == burst.is_reverse && flow.window_end_ms == window_end_ms
            });
            match known {
                Some(flow) => {
                    flow.packets += burst.packets;
                    flow.bytes += burst.bytes;
                    flow.flags |= burst.flags;
                }
                None => {
                    let end_ms = window_end_ms.min(connection.closed_ms);
                    flows.push(Flow {
                        connection: number,
                        eni: eni as u32,
                        at_client,
                        is_reverse: burst.is_reverse,
                        start_s: burst.at_ms.div_euclid(SECOND_MS),
                        // Rounded up, so that start and end enclose every packet.
                        end_s: -(-end_ms).div_euclid(SECOND_MS),
                        packets: burst.packets,
                        bytes: burst.bytes,
                        flags: burst.flags,
                        late: false,
                        repeated: false,
                        window_end_ms,
                    });
                }
            }
        }
    }

    /// Windows of the step in which an interface logged nothing, or lost what it had.
    fn gaps(&self, flows: &[Flow]) -> Vec<Entry> {
        let mut busy: Vec<(u32, i64)> = flows
            .iter()
            .map(|flow| (flow.eni, flow.window_end_ms))
            .collect();
        busy.sort_unstable();
        busy.dedup();
        let mut gaps = Vec::new();
        for (number, eni) in self.world.enis.iter().enumerate() {
            let number = number as u32;
            let mut start_ms = self.at_ms;
            while start_ms < self.at_ms + STEP_MS {
                let end_ms = start_ms + eni.window_ms;
                let is_loss = self.is_lost(number, start_ms);
                if !eni.is_attached(start_ms, end_ms) {
                    start_ms = end_ms;
                    continue;
                }
                if is_loss || busy.binary_search(&(number, end_ms)).is_err() {
                    gaps.push(Entry::Gap {
                        eni: number,
                        start_ms,
                        end_ms,
                        is_loss,
                    });
                }
                start_ms = end_ms;
            }
        }
        gaps
    }

    /// Sorts out what comes late or twice.
    fn deliver(&mut self, flows: Vec<Flow>, entries: &mut Vec<Entry>) {
        let faults = &self.world.scenario.faults;
        for mut flow in flows {
            if self.dice.hits(faults.late_per_mille) {
                flow.late = true;
                let due_ms = self.at_ms + self.dice.between(2, 7) * STEP_MS;
                self.waiting.push((due_ms, Entry::Flow(flow)));
                continue;
            }
            entries.push(Entry::Flow(flow));
            if self.dice.hits(faults.repeated_per_mille) {
                let again = Entry::Flow(Flow {
                    repeated: true,
                    ..flow
                });
                if self.dice.hits(500) {
                    entries.push(again);
                } else {
                    self.waiting.push((self.at_ms + 2 * STEP_MS, again));
                }
            }
        }
    }
}

impl Iterator for Capture<'_> {
    type Item = Delivered;

    fn next(&mut self) -> Option<Delivered> {
        let end_ms = self.world.scenario.end_ms();
        if self.at_ms >= end_ms && self.waiting.is_empty() {
            return None;
        }
        let delivered_ms = self.at_ms + STEP_MS;
        let mut entries = Vec::new();
        if self.at_ms < end_ms {
            let flows = self.step();
            entries = self.gaps(&flows);
            self.deliver(flows, &mut entries);
        }
        // After the end of the run everything that still waits comes in one last file.
        let is_last = self.at_ms >= end_ms;
        let waiting = std::mem::take(&mut self.waiting);
        let (due, waiting) = waiting
            .into_iter()
            .partition(|(due_ms, _)| is_last || *due_ms <= delivered_ms);
        self.waiting = waiting;
        let due: Vec<(i64, Entry)> = due;
        entries.extend(due.into_iter().map(|(_, entry)| entry));
        self.at_ms = delivered_ms;
        Some(Delivered {
            at_ms: delivered_ms,
            entries,
        })
    }
}

impl Entry {
    pub(crate) fn record<'a>(
        &self,
        world: &'a World<'_>,
        connections: &[Connection],
    ) -> Record<'a> {
        let (eni, start_ms, end_ms, seen) = match self {
            Self::Flow(flow) => {
                let connection = &connections[flow.connection as usize];
                (
                    flow.eni,
                    flow.start_s * SECOND_MS,
                    flow.end_s * SECOND_MS,
                    Seen::Traffic(flow.traffic(world, connection)),
                )
            }
            Self::Gap {
                eni,
                start_ms,
                end_ms,
                is_loss,
            } => {
                let seen = if *is_loss {
                    Seen::Skipdata
                } else {
                    Seen::Nodata
                };
                (*eni, *start_ms, *end_ms, seen)
            }
        };
        let eni = &world.enis[eni as usize];
        // What the log says goes by its own clock; start and end still enclose every packet as that clock shows it.
        let ahead_ms = world.node_spec(eni.node).log_clock_ahead.ms;
        let start_s = (start_ms + ahead_ms).div_euclid(SECOND_MS);
        let end_s = -(-(end_ms + ahead_ms)).div_euclid(SECOND_MS);
        let cluster = &world.scenario.cluster;
        Record {
            account_id: &cluster.account,
            eni_id: &eni.id,
            vm_id: &world.nodes[eni.node].instance,
            vswitch_id: &cluster.vswitch,
            vpc_id: &cluster.vpc,
            region: &cluster.region,
            start_s,
            end_s,
            seen,
        }
    }

    pub(crate) fn truth(
        &self,
        index: u64,
        world: &World<'_>,
        connections: &[Connection],
    ) -> RecordTruth {
        let Self::Flow(flow) = self else {
            let is_loss = matches!(self, Self::Gap { is_loss: true, .. });
            let status = if is_loss {
                RecordStatus::Skipdata
            } else {
                RecordStatus::Nodata
            };
            return RecordTruth {
                index,
                status,
                repeated: false,
                late: false,
                connection: None,
                src_is: None,
                src: None,
                dst: None,
            };
        };
        let connection = &connections[flow.connection as usize];
        let holder = |party: Party, address| Holder {
            uid: world.uid(party).map(str::to_owned),
            identifiable: world.is_identifiable(address, party, flow.start_s, flow.end_s),
        };
        let client = holder(connection.client, connection.client_addr);
        let server = holder(connection.server, connection.server_addr);
        let (src_is, src, dst) = if flow.is_reverse {
            (End::Server, server, client)
        } else {
            (End::Client, client, server)
        };
        RecordTruth {
            index,
            status: RecordStatus::Flow,
            repeated: flow.repeated,
            late: flow.late,
            connection: Some(u64::from(flow.connection)),
            src_is: Some(src_is),
            src: Some(src),
            dst: Some(dst),
        }
    }
}

impl Flow {
    /// Whether both ends can be known from this entry.
    pub(crate) fn is_identifiable(&self, world: &World<'_>, connection: &Connection) -> bool {
        world.is_identifiable(
            connection.client_addr,
            connection.client,
            self.start_s,
            self.end_s,
        ) && world.is_identifiable(
            connection.server_addr,
            connection.server,
            self.start_s,
            self.end_s,
        )
    }

    /// Whether the packets left through the interface.
    fn leaves(&self) -> bool {
        self.at_client != self.is_reverse
    }

    fn traffic(&self, world: &World<'_>, connection: &Connection) -> Traffic {
        let spec = connection.spec(world);
        let client = (connection.client_addr, connection.client_port);
        let server = (connection.server_addr, spec.port);
        let (src, dst) = if self.is_reverse {
            (server, client)
        } else {
            (client, server)
        };
        let is_rejected = connection.observation == Observation::Rejected && !self.leaves();
        Traffic {
            src_addr: src.0,
            src_port: src.1,
            dst_addr: dst.0,
            dst_port: dst.1,
            protocol: spec.protocol.number(client.0.is_ipv6()),
            direction: if self.leaves() {
                Direction::Out
            } else {
                Direction::In
            },
            action: if is_rejected {
                Action::Reject
            } else {
                Action::Accept
            },
            packets: self.packets,
            bytes: self.bytes,
            tcp_flags: (spec.protocol == Protocol::Tcp).then_some(self.flags),
            traffic_path: self.leaves().then(|| self.path(world, connection)),
        }
    }

    /// Path code of what leaves: 2 inside the VPC, the external's own otherwise.
    fn path(&self, world: &World<'_>, connection: &Connection) -> u8 {
        let towards = if self.is_reverse {
            connection.client
        } else {
            connection.server
        };
        match towards {
            Party::External(index) => world.scenario.externals[index].path,
            Party::Pod(_) | Party::Node(_) => 2,
        }
    }
}
