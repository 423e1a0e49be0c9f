//! Pods with interfaces of their own: addresses of the whole VPC, each on an interface that is made for one pod.
//!
//! The interface of a pod that is gone is deleted, and its address goes to another interface within seconds. Where it is fixed, both
//! stay and go to the next pod of the name.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Eni;
use super::life::LifeEnd;
use super::schedule::{Free, Schedule, pool};
use crate::random::Dice;
use crate::scenario::Scenario;

const OWN_STREAM: u64 = 8;
/// An interface is detached so long after its pod is gone.
const DELETED_AFTER_MS: i64 = 1_200;
/// An interface is attached at least so long after its pod was created, and so long before the pod's network is made of it.
const ATTACH_MS: i64 = 1_500;
const ATTACHED_BEFORE_MS: i64 = 150;

/// When the interfaces of a pod are detached, and their addresses may be taken for others: it is gone, and so is its network.
pub(crate) fn detached_ms(end: LifeEnd) -> i64 {
    end.free_ms().max(end.gone_ms) + DELETED_AFTER_MS
}

/// What a pod has of its own.
#[derive(Debug, Clone)]
struct Seat {
    slot: usize,
    eni: String,
}

/// Addresses of interfaces that are a pod's own, and who has them.
pub(super) struct Own {
    dice: Dice,
    free: Vec<Free>,
    /// By the number of the pod, the one that its status shows first.
    seats: HashMap<usize, Vec<Seat>>,
    /// The interfaces, in the order of their numbers, and the number of the first.
    pub(super) enis: Vec<Eni>,
    first: usize,
}

impl Own {
    /// What stands for a slot of a node's pool where a pod has none.
    pub(super) const SLOT: usize = usize::MAX - 1;

    pub(super) fn new(scenario: &Scenario, seed: u64, first: usize) -> Own {
        let terway = scenario.cluster.terway.as_ref();
        Own {
            dice: Dice::new(seed, OWN_STREAM),
            free: terway.map_or_else(Vec::new, |terway| pool(terway.own.prefix_len())),
            seats: HashMap::new(),
            enis: Vec::new(),
            first,
        }
    }

    /// The address given back last of those that are free at `at_ms`, for an interface that is made anew.
    fn take(&mut self, at_ms: i64) -> Option<Seat> {
        let mut free = self.free.iter();
        let position = free.rposition(|free| free.finished_ms <= at_ms)?;
        let slot = self.free.remove(position).slot;
        Some(self.seat(slot))
    }

    fn seat(&mut self, slot: usize) -> Seat {
        let eni = format!("eni-bp1{}", self.dice.suffix(17));
        Seat { slot, eni }
    }
}

impl Schedule<'_> {
    pub(super) fn has_own(&self, workload: usize) -> bool {
        self.scenario.workloads[workload].interfaces > 0
    }

    /// A pod that is there before the run, where enough addresses are free.
    pub(super) fn place_own(
        &mut self,
        workload: usize,
        name: String,
        node: usize,
        created_ms: i64,
    ) {
        let count = self.scenario.workloads[workload].interfaces;
        let allocated_ms = created_ms + self.own.dice.between(2_000, 9_000);
        let seats: Option<Vec<Seat>> = (0..count).map(|_| self.own.take(allocated_ms)).collect();
        if let Some(seats) = seats {
            self.born_own(workload, name, node, seats, created_ms, allocated_ms);
        }
    }

    fn born_own(
        &mut self,
        workload: usize,
        name: String,
        node: usize,
        seats: Vec<Seat>,
        created_ms: i64,
        allocated_ms: i64,
    ) {
        let Some(terway) = &self.scenario.cluster.terway else {
            return;
        };
        let pod = self.born(workload, name, node, Own::SLOT, created_ms, allocated_ms);
        for (number, seat) in seats.iter().enumerate() {
            let offset = seat.slot as u32 + 1;
            let address = IpAddr::V4((u32::from(terway.own.network()) + offset).into());
            let eni = self.own.first + self.own.enis.len();
            let window = terway.windows[self.own.enis.len() % terway.windows.len()];
            self.own.enis.push(Eni {
                id: seat.eni.clone(),
                node,
                window_ms: window.ms,
                attached_ms: Some([allocated_ms - ATTACHED_BEFORE_MS, i64::MAX]),
            });
            let born = &mut self.pods[pod];
            match number {
                0 => (born.eni, born.addresses) = (eni, vec![address]),
                _ => born.further.push((eni, address)),
            }
        }
        self.own.seats.insert(pod, seats);
    }

    /// Ends a pod with interfaces of its own, and another one of another workload, so that the address of each goes to the successor of
    /// the other; one whose address is fixed ends alone and comes again with it.
    pub(super) fn swap_own(&mut self, first: Option<usize>, at_ms: i64) {
        let is_settled = |pod: &usize| {
            let pod = &self.pods[*pod];
            self.has_own(pod.workload) && pod.life.is_settled(at_ms)
        };
        let settled: Vec<usize> = (0..self.pods.len()).filter(is_settled).collect();
        let drawn = settled.get(self.own.dice.index(settled.len())).copied();
        let Some(first) = first.or(drawn) else {
            return;
        };
        let is_fixed = |pod: usize| self.scenario.workloads[self.pods[pod].workload].fixed;
        if is_fixed(first) {
            let end = self.leave(first, at_ms);
            let seats = self.own.seats.get(&first).cloned().unwrap_or_default();
            return self.succeed_own(first, seats, detached_ms(end));
        }
        let is_other = |other: &usize| {
            !is_fixed(*other) && self.pods[*other].workload != self.pods[first].workload
        };
        let others: Vec<usize> = settled.into_iter().filter(is_other).collect();
        let Some(second) = others.get(self.own.dice.index(others.len())).copied() else {
            return;
        };
        let ends = [
            (first, at_ms),
            (second, at_ms + self.own.dice.between(0, 1_500)),
        ]
        .map(|(pod, at_ms)| (pod, self.leave(pod, at_ms)));
        for (place, (old, end)) in ends.into_iter().enumerate() {
            let (other, other_end) = ends[1 - place];
            let shown = self.own.seats.get(&other).and_then(|seats| seats.first());
            let Some(slot) = shown.map(|seat| seat.slot) else {
                return;
            };
            let further = self.own.seats.get(&old).into_iter().flatten().skip(1);
            let finished_ms = detached_ms(end);
            let left = further.map(|seat| Free {
                slot: seat.slot,
                finished_ms,
            });
            let left: Vec<Free> = left.collect();
            let count = left.len();
            self.own.free.extend(left);
            let mut seats = vec![self.own.seat(slot)];
            let until_ms = detached_ms(other_end).max(finished_ms);
            seats.extend((0..count).filter_map(|_| self.own.take(until_ms)));
            self.succeed_own(old, seats, until_ms);
        }
    }

    /// Ends a pod, and later its interfaces.
    fn leave(&mut self, pod: usize, at_ms: i64) -> LifeEnd {
        let end = self.end(pod, at_ms);
        let further = self.pods[pod].further.iter().map(|(eni, _)| *eni);
        for eni in [self.pods[pod].eni].into_iter().chain(further) {
            if let Some(attached) = &mut self.own.enis[eni - self.own.first].attached_ms {
                attached[1] = detached_ms(end);
            }
        }
        end
    }

    fn succeed_own(&mut self, old: usize, seats: Vec<Seat>, free_ms: i64) {
        let Some((name, created_ms)) = self.successor(old) else {
            return;
        };
        let workload = self.pods[old].workload;
        let homes = self.homes(workload);
        let node = homes[self.own.dice.index(homes.len())];
        let allocated_ms = (created_ms + ATTACH_MS).max(free_ms + 500 + self.rest_ms());
        self.born_own(workload, name, node, seats, created_ms, allocated_ms);
    }
}
