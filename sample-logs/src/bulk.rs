//! Very many believable records quickly, for benchmarks: one hour of 60 nodes and 2,000 pods, without truth.
//!
//! Nothing is remembered from one connection to the next, so any number of records streams from a few
//! megabytes. A connection is logged at both interfaces in both directions over one to three windows of a
//! minute; records of one connection follow each other, connections come in the order of their opening.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::error::SampleLogsError;
use crate::inventory;
use crate::random::Drops;
use crate::record::{ACK, Action, Direction, FIN, PSH, Record, SYN, Seen, Traffic};
use crate::scenario::Scenario;
use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS};
use crate::world::World;
use crate::write::{self, Written};

const NODES: usize = 60;
const NAMESPACES: usize = 20;
const WORKLOADS_PER_NAMESPACE: usize = 5;
const WORKLOADS: usize = NAMESPACES * WORKLOADS_PER_NAMESPACE;
const PODS_PER_WORKLOAD: usize = 20;
const HTTP: u16 = 8_080;
const DNS: u16 = 53;
/// In the same VPC; towards the Internet through a NAT gateway; from it through a public address.
const PATH_INSIDE: u8 = 2;
const PATH_NAT: u8 = 7;
const PATH_PUBLIC: u8 = 15;

/// A cluster for benchmarks and how many records it is to give.
pub struct Bulk {
    /// Its nodes, pods and policies.
    scenario: Scenario,
    seed: u64,
    records: u64,
    enis: Vec<Eni>,
    /// Pods of each workload.
    pods: Vec<Vec<Place>>,
}

struct Eni {
    id: String,
    instance: String,
}

#[derive(Clone, Copy)]
struct Place {
    address: IpAddr,
    /// `None` outside the cluster.
    eni: Option<u32>,
    node: usize,
    /// Path code of what leaves towards it.
    path: u8,
}

impl Bulk {
    /// The cluster under `seed`, which is to give `records` records.
    pub fn new(seed: u64, records: u64) -> Result<Self, SampleLogsError> {
        let scenario = Scenario::parse("bulk", &scenario_text(seed))?;
        let world = World::build(&scenario, seed);
        let enis = world.enis.iter().map(|eni| Eni {
            id: eni.id.clone(),
            instance: world.nodes[eni.node].instance.clone(),
        });
        let enis = enis.collect();
        let place = |pod: &usize| {
            let pod = &world.pods[*pod];
            let address = *pod.addresses.first()?;
            Some(Place {
                address,
                eni: Some(pod.eni as u32),
                node: pod.node,
                path: PATH_INSIDE,
            })
        };
        let pods = (0..scenario.workloads.len())
            .map(|workload| world.pods_of(workload).iter().filter_map(place).collect());
        let pods = pods.collect();
        Ok(Self {
            seed,
            records,
            enis,
            pods,
            scenario,
        })
    }

    /// The records, the same every time.
    pub fn iter(&self) -> Records<'_> {
        Records {
            bulk: self,
            drops: Drops(self.seed),
            given: 0,
            waiting: Vec::with_capacity(12),
        }
    }

    /// Everything there is, as `kubectl get … -A -o json` prints it; it does not change during the hour.
    pub fn snapshot(&self) -> String {
        inventory::snapshot(
            &World::build(&self.scenario, self.seed),
            self.scenario.start_ms(),
        )
    }

    /// Writes `inventory/` below `dir`: a snapshot at the begin and at the end of the hour, and the watch.
    pub fn write_inventory(&self, dir: &Path) -> Result<Written, SampleLogsError> {
        write::write_inventory(&World::build(&self.scenario, self.seed), dir)
    }

    /// Writes the records below `dir/flows`, a million to a file.
    pub fn write_flows(&self, dir: &Path) -> Result<Written, SampleLogsError> {
        const PER_FILE: u64 = 1_000_000;
        let dir = write::make(dir, "flows")?;
        let mut written = Written::default();
        let mut text = String::new();
        let mut records = self.iter().peekable();
        while records.peek().is_some() {
            let mut file =
                write::Packed::create(dir.join(format!("flowlog-{:04}.jsonl.zst", written.files)))?;
            for record in records.by_ref().take(PER_FILE as usize) {
                text.clear();
                record.write_json(&mut text);
                file.line(&text)?;
                written.records += 1;
            }
            file.finish(&mut written)?;
        }
        Ok(written)
    }
}

impl<'b> IntoIterator for &'b Bulk {
    type Item = Record<'b>;
    type IntoIter = Records<'b>;

    fn into_iter(self) -> Records<'b> {
        self.iter()
    }
}

/// The records of a [`Bulk`], one after the other.
pub struct Records<'b> {
    bulk: &'b Bulk,
    drops: Drops,
    given: u64,
    /// Records of the present connection, last first.
    waiting: Vec<Record<'b>>,
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    fn next(&mut self) -> Option<Record<'b>> {
        if self.given == self.bulk.records {
            return None;
        }
        while self.waiting.is_empty() {
            self.connect();
        }
        self.given += 1;
        self.waiting.pop()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.bulk.records - self.given).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Established,
    Unanswered,
    Rejected,
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
struct Ends {
    client: Place,
    client_port: u16,
    server: Place,
    port: u16,
    protocol: u8,
}

/// What one direction sent in one window.
#[derive(Clone, Copy)]
struct Part {
    start_s: i64,
    end_s: i64,
    is_reverse: bool,
    packets: u64,
    bytes: u64,
    flags: u8,
}

impl<'b> Records<'b> {
    fn below(&mut self, bound: usize) -> usize {
        self.drops.between(0, bound as i64 - 1) as usize
    }

    fn pod(&mut self, workload: usize) -> Place {
        let pods = &self.bulk.pods[workload];
        let index = self.drops.between(0, pods.len() as i64 - 1) as usize;
        pods[index]
    }

    /// Who opens what to whom; `None` when it would stay on one node.
    fn ends(&mut self) -> Option<Ends> {
        let workload = self.below(WORKLOADS);
        let client = self.pod(workload);
        let client_port = self.drops.between(32_768, 60_999) as u16;
        let drawn = self.below(100);
        let (client, server, port, protocol) = match drawn {
            // Everyone asks the resolver, which is the first workload.
            0..10 => (client, self.pod(0), DNS, 17),
            // Customers come to every tenth workload, and every workload asks a service outside.
            10..14 => {
                let address = IpAddr::V4(Ipv4Addr::from(0xCB00_7100 | self.below(256) as u32));
                let customer = Place {
                    address,
                    eni: None,
                    node: usize::MAX,
                    path: PATH_PUBLIC,
                };
                let front = self.below(WORKLOADS / 10) * 10;
                (customer, self.pod(front), HTTP, 6)
            }
            14..18 => {
                let address = IpAddr::V4(Ipv4Addr::from(0xC633_6400 | self.below(16) as u32));
                (
                    client,
                    Place {
                        address,
                        eni: None,
                        node: usize::MAX,
                        path: PATH_NAT,
                    },
                    443,
                    6,
                )
            }
            _ => {
                let step = [1, 2, 7, 37][self.below(4)];
                (client, self.pod((workload + step) % WORKLOADS), HTTP, 6)
            }
        };
        (client.node != server.node).then_some(Ends {
            client,
            client_port,
            server,
            port,
            protocol,
        })
    }

    fn connect(&mut self) {
        let Some(ends) = self.ends() else { return };
        let start_ms = self.bulk.scenario.start_ms();
        let opened_ms = start_ms
            + (i128::from(HOUR_MS) * i128::from(self.given) / i128::from(self.bulk.records.max(1)))
                as i64;
        let fate = match self.below(1_000) {
            0..20 => Fate::Unanswered,
            20..30 => Fate::Rejected,
            _ => Fate::Established,
        };
        let lasts_ms = match (fate, ends.protocol) {
            (Fate::Established, 6) => self.drops.between(45 * SECOND_MS, 119 * SECOND_MS),
            (Fate::Established, _) => self.drops.between(1, 30),
            (Fate::Unanswered | Fate::Rejected, _) => 7 * SECOND_MS,
        };
        let closed_ms = (opened_ms + lasts_ms).min(start_ms + HOUR_MS - 1);
        let mut from_ms = opened_ms;
        while from_ms <= closed_ms {
            let window_end_ms = (from_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
            let is_first = from_ms == opened_ms;
            let is_last = closed_ms < window_end_ms;
            let start_s = from_ms.div_euclid(SECOND_MS);
            let end_s = -(-window_end_ms.min(closed_ms)).div_euclid(SECOND_MS);
            for is_reverse in [false, true] {
                if is_reverse && fate != Fate::Established {
                    continue;
                }
                let (packets, bytes, flags) = match fate {
                    Fate::Established => {
                        let packets = self.drops.between(2, 40);
                        let opening = if is_first { SYN } else { 0 };
                        let closing = if is_last { FIN } else { 0 };
                        (
                            packets,
                            packets * self.drops.between(60, 1_100),
                            opening | closing | PSH | ACK,
                        )
                    }
                    Fate::Unanswered | Fate::Rejected if is_first && is_last => (4, 240, SYN),
                    Fate::Unanswered | Fate::Rejected => (2, 120, SYN),
                };
                let (packets, bytes) = (packets as u64, bytes as u64);
                self.log(
                    &ends,
                    fate,
                    Part {
                        start_s,
                        end_s,
                        is_reverse,
                        packets,
                        bytes,
                        flags,
                    },
                );
            }
            from_ms = window_end_ms;
        }
        self.waiting.reverse();
    }

    /// The records of one part, at each end that has an interface.
    fn log(&mut self, ends: &Ends, fate: Fate, part: Part) {
        let client = (ends.client.address, ends.client_port);
        let server = (ends.server.address, ends.port);
        let (src, dst) = if part.is_reverse {
            (server, client)
        } else {
            (client, server)
        };
        for (place, at_client) in [(ends.client, true), (ends.server, false)] {
            let Some(eni) = place.eni.and_then(|eni| self.bulk.enis.get(eni as usize)) else {
                continue;
            };
            let leaves = at_client != part.is_reverse;
            let towards = if part.is_reverse {
                ends.client
            } else {
                ends.server
            };
            let is_rejected = fate == Fate::Rejected && !leaves;
            let cluster = &self.bulk.scenario.cluster;
            self.waiting.push(Record {
                account_id: &cluster.account,
                eni_id: &eni.id,
                vm_id: &eni.instance,
                vswitch_id: &cluster.vswitch,
                vpc_id: &cluster.vpc,
                region: &cluster.region,
                start_s: part.start_s,
                end_s: part.end_s,
                seen: Seen::Traffic(Traffic {
                    src_addr: src.0,
                    src_port: src.1,
                    dst_addr: dst.0,
                    dst_port: dst.1,
                    protocol: ends.protocol,
                    direction: if leaves {
                        Direction::Out
                    } else {
                        Direction::In
                    },
                    action: if is_rejected {
                        Action::Reject
                    } else {
                        Action::Accept
                    },
                    packets: part.packets,
                    bytes: part.bytes,
                    tcp_flags: (ends.protocol == 6).then_some(part.flags),
                    traffic_path: leaves.then_some(towards.path),
                }),
            });
        }
    }
}

/// The cluster as a scenario without traffic. Every second namespace is isolated and admits what it needs.
fn scenario_text(seed: u64) -> String {
    let mut text = format!(
        "name: bulk\nabout: one hour for benchmarks\nseed: {seed}\nstart: 2026-11-24T08:00:00Z\nduration: 1h\n\
         cluster: {{name: bulk, account: \"1210123456789012\", region: cn-hangzhou, vpc: vpc-bp1bulk, vswitch: vsw-bp1bulk, snapshot_every: 1h}}\n\
         traffic: []\nnodes:\n"
    );
    // Writing to a String cannot fail.
    for node in 0..NODES {
        let (third, rest) = (node / 2, node % 2 * 128);
        let _ = writeln!(
            text,
            "  - {{name: cn-hangzhou.10.0.0.{0}, address: 10.0.0.{0}, pods: 10.1.{third}.{rest}/25, windows: [1m, 1m, 1m, 1m]}}",
            node + 10
        );
    }
    text.push_str("namespaces:\n");
    for namespace in 0..NAMESPACES {
        let _ = writeln!(
            text,
            "  - {{name: team-{namespace}, labels: {{tier: tier-{}}}}}",
            namespace % 4
        );
    }
    text.push_str("workloads:\n");
    for workload in 0..WORKLOADS {
        let _ = writeln!(
            text,
            "  - {{name: team-{}/app-{workload}, kind: Deployment, replicas: {PODS_PER_WORKLOAD}, labels: {{app: app-{workload}}}, ports: [{{name: http, port: {HTTP}}}, {{name: dns, port: {DNS}, protocol: UDP}}]}}",
            workload / WORKLOADS_PER_NAMESPACE
        );
    }
    text.push_str("policies:\n");
    for namespace in (0..NAMESPACES).filter(|namespace| namespace % 2 == 1) {
        let _ = writeln!(
            text,
            "  - {{name: team-{namespace}/default-deny, spec: {{podSelector: {{}}, policyTypes: [Ingress]}}}}"
        );
        let _ = writeln!(
            text,
            "  - {{name: team-{namespace}/from-teams, spec: {{podSelector: {{}}, policyTypes: [Ingress], ingress: [{{from: [{{podSelector: {{}}}}, {{namespaceSelector: {{matchLabels: {{tier: tier-{}}}}}}}], ports: [{{port: http, protocol: TCP}}]}}]}}}}",
            namespace % 3
        );
    }
    text
}
