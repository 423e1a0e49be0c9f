//! Brings pods to life and ends them: first placement, CronJobs, address swaps, rolling updates.
//!
//! Everything that happens is an event in a queue ordered by time and number, so the outcome depends on
//! nothing but scenario and seed. Addresses come from a pool per node; as on ACK in prefix mode, the one
//! just given back is the next one taken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use super::life::{Life, LifeEnd};
use super::own::Own;
use super::{Eni, Node, Pod};
use crate::random::Dice;
use crate::scenario::{Kind, Scenario};
use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS};

const LIFE_STREAM: u64 = 2;
/// How many finished pods a CronJob keeps.
const HISTORY_MAX: usize = 3;
/// An address comes to its next holder at the earliest so long after the last packet of the one before.
const REUSE_AFTER_MS: i64 = 1_500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A CronJob starts its next Job.
    JobStarts { workload: usize },
    /// A pod of some other workload is replaced and takes the address a finished Job's pod left.
    JobLeftAddress { job_pod: usize },
    /// Two pods of one node end and their successors take each other's address.
    Swap,
    /// A pod is replaced by one of the next revision.
    RollOut { pod_number: usize, workload: usize },
    /// Two pods with interfaces of their own end, and the address of each goes to an interface of the other's successor.
    SwapOwn,
}

/// An address of a node's pool that no one holds.
pub(super) struct Free {
    pub(super) slot: usize,
    /// Last packet of its last holder; far back when there was none.
    pub(super) finished_ms: i64,
}

pub(super) struct Schedule<'a> {
    pub(super) scenario: &'a Scenario,
    nodes: &'a [Node],
    pub(super) dice: Dice,
    pub(super) pods: Vec<Pod>,
    /// Slot of each pod's address in its node's pool.
    slots: Vec<usize>,
    free: Vec<Vec<Free>>,
    templates: Vec<String>,
    history: Vec<Vec<usize>>,
    queue: BinaryHeap<Reverse<(i64, u64, Event)>>,
    events: u64,
    /// Addresses of interfaces that are a pod's own, and who has them.
    pub(super) own: Own,
}

/// Every pod of the run, in the order of birth. Interfaces that are a pod's own come behind those of the nodes.
pub(super) fn pods(
    scenario: &Scenario,
    seed: u64,
    nodes: &[Node],
    enis: &mut Vec<Eni>,
) -> Vec<Pod> {
    let mut dice = Dice::new(seed, LIFE_STREAM);
    let templates = scenario.workloads.iter().map(|_| dice.suffix(10)).collect();
    let mut schedule = Schedule {
        scenario,
        nodes,
        dice,
        pods: Vec::new(),
        slots: Vec::new(),
        free: scenario
            .nodes
            .iter()
            .map(|node| pool(node.pods.prefix_len()))
            .collect(),
        templates,
        history: vec![Vec::new(); scenario.workloads.len()],
        queue: BinaryHeap::new(),
        events: 0,
        own: Own::new(scenario, seed, enis.len()),
    };
    schedule.place_all();
    schedule.plan();
    schedule.play();
    enis.append(&mut schedule.own.enis);
    schedule.pods
}

/// The slots of a pool: lowest last, because slots are taken from the end.
pub(super) fn pool(prefix_len: u8) -> Vec<Free> {
    let hosts = (1_usize << (32 - prefix_len)) - 2;
    (0..hosts)
        .rev()
        .map(|slot| Free {
            slot,
            finished_ms: i64::MIN / 2,
        })
        .collect()
}

impl Schedule<'_> {
    fn place_all(&mut self) {
        let scenario = self.scenario;
        for (workload, spec) in scenario.workloads.iter().enumerate() {
            let homes = self.homes(workload);
            let count = match spec.kind {
                Kind::DaemonSet => homes.len(),
                Kind::CronJob => 0,
                Kind::Deployment | Kind::StatefulSet | Kind::Pod => spec.replicas,
            };
            let offset = self.dice.index(homes.len());
            for replica in 0..count {
                let home = homes[(offset + replica) % homes.len()];
                let age_ms = self.dice.between(20 * MINUTE_MS, 20 * 24 * HOUR_MS);
                let created_ms = scenario.start_ms() - age_ms;
                let name = self.name(workload, replica);
                if self.has_own(workload) {
                    self.place_own(workload, name, home, created_ms);
                    continue;
                }
                let slot = if spec.host_network {
                    Some(usize::MAX)
                } else {
                    self.free[home].pop().map(|free| free.slot)
                };
                // A full node takes no more pods, as in life they stay pending.
                if let Some(slot) = slot {
                    let allocated_ms = created_ms + self.dice.between(400, 1_500);
                    self.born(workload, name, home, slot, created_ms, allocated_ms);
                }
            }
        }
    }

    fn plan(&mut self) {
        let scenario = self.scenario;
        let (start_ms, end_ms) = (scenario.start_ms(), scenario.end_ms());
        for (workload, spec) in scenario.workloads.iter().enumerate() {
            if let (Kind::CronJob, Some(every)) = (spec.kind, spec.every) {
                // Two runs before the start: finished pods whose addresses were free or taken again.
                let mut at_ms = start_ms - 2 * every.ms;
                while at_ms < end_ms - MINUTE_MS {
                    self.push(at_ms, Event::JobStarts { workload });
                    at_ms += every.ms;
                }
            }
        }
        if let Some(every) = scenario.life.swap_every {
            let mut at_ms = start_ms + 2 * MINUTE_MS;
            while at_ms < end_ms - 2 * MINUTE_MS {
                let shift_ms = self.dice.between(0, every.ms / 2);
                self.push(at_ms + shift_ms, Event::Swap);
                at_ms += every.ms.max(SECOND_MS);
            }
        }
        if let Some(every) = scenario.life.swap_own_every {
            let mut at_ms = start_ms + 2 * MINUTE_MS;
            while at_ms < end_ms - 2 * MINUTE_MS {
                self.push(at_ms, Event::SwapOwn);
                at_ms += every.ms.max(SECOND_MS);
            }
        }
        for rollout in &scenario.life.rollouts {
            let Some(workload) = scenario.workload(&rollout.workload.value) else {
                continue;
            };
            for pod_number in 0..scenario.workloads[workload].replicas {
                let at_ms = start_ms + rollout.at.ms + pod_number as i64 * 20 * SECOND_MS;
                self.push(
                    at_ms,
                    Event::RollOut {
                        pod_number,
                        workload,
                    },
                );
            }
        }
    }

    fn play(&mut self) {
        while let Some(Reverse((at_ms, _, event))) = self.queue.pop() {
            match event {
                Event::JobStarts { workload } => self.start_job(workload, at_ms),
                Event::JobLeftAddress { job_pod } => self.reuse_job_address(job_pod, at_ms),
                Event::Swap => {
                    let node = self.dice.index(self.nodes.len());
                    let candidates = self.replaceable(node, at_ms);
                    let first = candidates.get(self.dice.index(candidates.len())).copied();
                    if let Some(first) = first {
                        self.swap(first, &candidates, at_ms);
                    }
                }
                Event::RollOut {
                    pod_number,
                    workload,
                } => self.roll_out(workload, pod_number, at_ms),
                Event::SwapOwn => self.swap_own(None, at_ms),
            }
        }
    }

    /// One pod of `workload` that is still of the old revision gives way to one of the next.
    fn roll_out(&mut self, workload: usize, pod_number: usize, at_ms: i64) {
        if pod_number == 0 {
            self.templates[workload] = self.dice.suffix(10);
        }
        let is_old =
            |pod: &Pod| pod.workload == workload && pod.template != self.templates[workload];
        let old = self
            .pods
            .iter()
            .position(|pod| is_old(pod) && pod.life.is_settled(at_ms));
        if let Some(old) = old.filter(|old| self.has_own(self.pods[*old].workload)) {
            self.swap_own(Some(old), at_ms);
        } else if let Some(old) = old {
            let candidates = self.replaceable(self.pods[old].node, at_ms);
            self.swap(old, &candidates, at_ms);
        }
    }

    fn start_job(&mut self, workload: usize, at_ms: i64) {
        let spec = &self.scenario.workloads[workload];
        let homes = self.homes(workload);
        let home = homes[self.dice.index(homes.len())];
        let created_ms = at_ms + self.dice.between(500, 1_500);
        let allocated_ms = created_ms + self.dice.between(500, 1_500);
        let Some(slot) = self.take(home, allocated_ms) else {
            return;
        };
        let job = format!("{}-{}", spec.short_name(), at_ms.div_euclid(MINUTE_MS));
        let name = format!("{job}-{}", self.dice.suffix(5));
        let pod = self.born(workload, name, home, slot, created_ms, allocated_ms);
        let runs_for_ms = spec.runs_for.map_or(MINUTE_MS, |span| span.ms);
        let finished_ms = self.pods[pod].life.started_ms
            + runs_for_ms
            + self.dice.between(-runs_for_ms / 5, runs_for_ms / 5);
        self.pods[pod].owner = job;
        self.pods[pod].finishes = true;
        let released_ms = finished_ms + self.dice.between(300, 900);
        let terminal_ms = released_ms + self.dice.between(50, 500);
        // It stays, finished, until newer ones push it out.
        let end = LifeEnd {
            requested_ms: i64::MAX,
            finished_ms,
            released_ms,
            terminal_ms,
            gone_ms: i64::MAX,
            told_ms: self.told_ms(released_ms),
        };
        self.pods[pod].life.end = Some(end);
        self.history[workload].push(pod);
        if self.history[workload].len() > HISTORY_MAX {
            let oldest = self.history[workload].remove(0);
            if let Some(end) = &mut self.pods[oldest].life.end {
                end.requested_ms = at_ms + 300;
                end.gone_ms = at_ms + 700;
            }
        }
        self.push(finished_ms, Event::JobLeftAddress { job_pod: pod });
    }

    fn reuse_job_address(&mut self, job_pod: usize, at_ms: i64) {
        let node = self.pods[job_pod].node;
        let slot = self.slots[job_pod];
        let candidates = self.replaceable(node, at_ms);
        let is_within_run =
            at_ms > self.scenario.start_ms() && at_ms < self.scenario.end_ms() - MINUTE_MS;
        let leaver = candidates.get(self.dice.index(candidates.len())).copied();
        let last_ms = self.pods[job_pod]
            .life
            .end
            .map_or(at_ms, |end| self.last_ms(end));
        match leaver {
            Some(leaver) if is_within_run && self.dice.hits(700) => {
                let requested_ms = at_ms + self.dice.between(0, 800);
                let end = self.end(leaver, requested_ms);
                self.succeed(leaver, slot, last_ms);
                let finished_ms = self.last_ms(end);
                self.free[node].push(Free {
                    slot: self.slots[leaver],
                    finished_ms,
                });
            }
            _ => self.free[node].push(Free {
                slot,
                finished_ms: last_ms,
            }),
        }
    }

    /// Ends `first` and one of `candidates` of another workload; each successor takes the other's address.
    fn swap(&mut self, first: usize, candidates: &[usize], at_ms: i64) {
        let others: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|other| self.pods[*other].workload != self.pods[first].workload)
            .collect();
        let Some(second) = others.get(self.dice.index(others.len())).copied() else {
            return;
        };
        let first_end = self.end(first, at_ms);
        let requested_ms = at_ms + self.dice.between(0, 1_500);
        let second_end = self.end(second, requested_ms);
        self.succeed(first, self.slots[second], self.last_ms(second_end));
        self.succeed(second, self.slots[first], self.last_ms(first_end));
    }

    /// When Terway, where it manages addresses, writes down that one is back: within three seconds.
    fn told_ms(&mut self, released_ms: i64) -> i64 {
        match self.scenario.cluster.terway {
            Some(_) => released_ms + self.dice.between(200, 2_900),
            None => released_ms,
        }
    }

    /// How long an address rests before its next holder has it; where Terway manages addresses, half of them wait for a while.
    pub(super) fn rest_ms(&mut self) -> i64 {
        match self.scenario.cluster.terway {
            Some(_) if self.dice.hits(500) => self.dice.between(10_000, 40_000),
            _ => self.dice.between(0, 4_000),
        }
    }

    /// After what the next holder of the address waits for a while: the last packet, and where Terway manages addresses its word.
    fn last_ms(&self, end: LifeEnd) -> i64 {
        match self.scenario.cluster.terway {
            Some(_) => end.free_ms() - SECOND_MS,
            None => end.finished_ms,
        }
    }

    pub(super) fn end(&mut self, pod: usize, requested_ms: i64) -> LifeEnd {
        let finished_ms = requested_ms + self.dice.between(500, 2_500);
        let released_ms = finished_ms + self.dice.between(300, 900);
        let terminal_ms = released_ms + self.dice.between(50, 400);
        let mut gone_ms = terminal_ms + self.dice.between(200, 1_500);
        let forced_per_mille = self.scenario.life.forced_per_mille;
        if forced_per_mille > 0 && self.dice.hits(forced_per_mille) {
            gone_ms = requested_ms + self.dice.between(20, 200);
        }
        let end = LifeEnd {
            requested_ms,
            finished_ms,
            released_ms,
            terminal_ms,
            gone_ms,
            told_ms: self.told_ms(released_ms),
        };
        self.pods[pod].life.end = Some(end);
        end
    }

    /// The pod that follows `old` on its node, with the address in `slot` whose last holder sent its last
    /// packet at `finished_ms`.
    fn succeed(&mut self, old: usize, slot: usize, finished_ms: i64) {
        let (workload, node) = (self.pods[old].workload, self.pods[old].node);
        let Some((name, created_ms)) = self.successor(old) else {
            return;
        };
        let rest_ms = self.rest_ms();
        let allocated_ms = (created_ms + 400).max(finished_ms + REUSE_AFTER_MS + rest_ms);
        self.born(workload, name, node, slot, created_ms, allocated_ms);
    }

    /// Name of the pod that follows `old`, and when it is created.
    pub(super) fn successor(&mut self, old: usize) -> Option<(String, i64)> {
        let (workload, old_end) = (self.pods[old].workload, self.pods[old].life.end?);
        let kind = self.scenario.workloads[workload].kind;
        // The same name, or the same node's only place: the old object must be gone first.
        let waits = matches!(kind, Kind::StatefulSet | Kind::DaemonSet | Kind::Pod);
        let (name, after_ms) = match kind {
            Kind::StatefulSet | Kind::Pod => (self.pods[old].name.clone(), old_end.gone_ms),
            _ => (
                self.name(workload, 0),
                if waits {
                    old_end.gone_ms
                } else {
                    old_end.requested_ms
                },
            ),
        };
        Some((name, after_ms + self.dice.between(50, 300)))
    }

    pub(super) fn born(
        &mut self,
        workload: usize,
        name: String,
        node: usize,
        slot: usize,
        created_ms: i64,
        allocated_ms: i64,
    ) -> usize {
        let spec = &self.scenario.workloads[workload];
        let ready_to_start_ms = allocated_ms + self.dice.between(200, 700);
        let started_ms = ready_to_start_ms + self.dice.between(300, 1_500);
        let life = Life {
            created_ms,
            scheduled_ms: created_ms + self.dice.between(20, 200),
            allocated_ms,
            ready_to_start_ms,
            started_ms,
            end: None,
        };
        let template = if spec.kind == Kind::Deployment {
            self.templates[workload].clone()
        } else {
            String::new()
        };
        let owner = match spec.kind {
            Kind::Deployment => format!("{}-{template}", spec.short_name()),
            Kind::StatefulSet | Kind::DaemonSet => spec.short_name().into(),
            Kind::CronJob | Kind::Pod => String::new(),
        };
        let (eni, addresses) = self.place(node, slot, spec.host_network);
        let uid = self.dice.uid();
        let host_network = spec.host_network;
        self.pods.push(Pod {
            workload,
            name,
            uid,
            owner,
            template,
            node,
            eni,
            addresses,
            further: Vec::new(),
            life,
            finishes: false,
            host_network,
        });
        self.slots.push(slot);
        self.pods.len() - 1
    }

    /// Interface and addresses of a slot.
    fn place(&self, node: usize, slot: usize, host_network: bool) -> (usize, Vec<IpAddr>) {
        let spec = &self.scenario.nodes[node];
        let primary = self.nodes[node].primary_eni;
        if host_network {
            return (primary, vec![IpAddr::V4(spec.address)]);
        }
        if slot == Own::SLOT {
            return (primary, Vec::new());
        }
        let number = slot as u32 + 1;
        let mut addresses = vec![IpAddr::V4((u32::from(spec.pods.network()) + number).into())];
        if let (true, Some(net)) = (self.scenario.cluster.dual_stack, spec.pods_v6) {
            addresses.push(IpAddr::V6(
                (u128::from(net.network()) + u128::from(number)).into(),
            ));
        }
        (primary + 1 + slot % (spec.windows.len() - 1), addresses)
    }

    /// The slot given back last among those that may be held again at `allocated_ms`.
    fn take(&mut self, node: usize, allocated_ms: i64) -> Option<usize> {
        let free = &mut self.free[node];
        let position = free
            .iter()
            .rposition(|free| free.finished_ms + REUSE_AFTER_MS <= allocated_ms)?;
        Some(free.remove(position).slot)
    }

    /// Pods of `node` that may be ended at `at_ms`.
    fn replaceable(&self, node: usize, at_ms: i64) -> Vec<usize> {
        let is_replaceable = |pod: &Pod| {
            // Nobody makes a bare pod again.
            let has_owner = self.scenario.workloads[pod.workload].kind != Kind::Pod;
            pod.node == node
                && has_owner
                && !pod.host_network
                && !self.has_own(pod.workload)
                && !pod.finishes
                && pod.life.is_settled(at_ms)
        };
        (0..self.pods.len())
            .filter(|pod| is_replaceable(&self.pods[*pod]))
            .collect()
    }

    pub(super) fn homes(&self, workload: usize) -> Vec<usize> {
        let on = &self.scenario.workloads[workload].on;
        let nodes = self.scenario.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| on.is_empty() || on.contains(&node.name.value))
            .map(|(index, _)| index)
            .collect()
    }

    fn name(&mut self, workload: usize, replica: usize) -> String {
        let spec = &self.scenario.workloads[workload];
        let name = spec.short_name();
        match spec.kind {
            Kind::Deployment => format!(
                "{name}-{}-{}",
                self.templates[workload],
                self.dice.suffix(5)
            ),
            Kind::StatefulSet => format!("{name}-{replica}"),
            Kind::DaemonSet | Kind::CronJob => format!("{name}-{}", self.dice.suffix(5)),
            Kind::Pod if spec.replicas == 1 => name.into(),
            Kind::Pod => format!("{name}-{replica}"),
        }
    }

    fn push(&mut self, at_ms: i64, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((at_ms, self.events, event)));
    }
}
