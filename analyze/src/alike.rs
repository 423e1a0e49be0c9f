//! Sums of tuples that mean the same, before they become edges.
//!
//! Most tuples differ from another one in nothing but the client's port. They meet in a small entry each time, found a
//! block at a time; what the entry means is worked out once, when it is first met.

use std::collections::HashMap;

use crate::context::{Context, EndsOf, ServedByHolding, client_and_server};
use crate::coverage::Coverage;
use crate::edges::{EdgeKey, EdgeSums, Edges};
use crate::fold::{Tuple, Way};
use crate::group::{Group, View, sums_of};
use crate::judge::Judge;
use crate::observe::Observed;
use crate::orient::Evidence;
use crate::outcome::{Outcome, cover};
use crate::slots::{BLOCK, Slots, hash_of};

/// Sums of whole tuples that mean the same.
#[derive(Default)]
pub(crate) struct Alike {
    slots: Slots,
    /// What every tuple changes.
    sums: Vec<(AlikeKey, EdgeSums)>,
    /// What the sums of the same number are about.
    edges: Vec<EdgeKey>,
    served: ServedByHolding,
    block: Vec<(AlikeKey, Way, EdgeSums)>,
}

/// Holdings of client and server, and what tells tuples between the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AlikeKey {
    client: u32,
    server: u32,
    port: u16,
    /// Where the client may be the server; else 0.
    client_port: u16,
    protocol: u8,
    observed: Observed,
    evidence: Evidence,
}

impl AlikeKey {
    fn hash(self) -> u64 {
        hash_of(
            u64::from(self.client) << 32 | u64::from(self.server),
            u64::from(self.client_port) << 48
                | u64::from(self.port) << 32
                | u64::from(self.protocol) << 16
                | (self.observed as u64) << 8
                | self.evidence as u64,
        )
    }
}

impl Alike {
    /// Adds tuples, each of which is all there is of its five-tuple; at most [`BLOCK`] of them.
    pub(crate) fn add(&mut self, context: &Context<'_>, judge: &mut Judge<'_>, tuples: &[&Tuple]) {
        debug_assert!(tuples.len() <= BLOCK);
        self.block.clear();
        for tuple in tuples {
            let mut ends = EndsOf {
                context,
                judge,
                tuple,
                served: Some(&mut self.served),
            };
            let (forward, evidence) = context.orient(tuple, &mut ends);
            let (client, server, port) = client_and_server(tuple, forward);
            let client_port = match evidence.is_guess() {
                true => client_and_server(tuple, forward.turned()).2,
                false => 0,
            };
            let key = AlikeKey {
                client,
                server,
                port,
                client_port,
                protocol: tuple.key.protocol,
                observed: context.observe(tuple, forward),
                evidence,
            };
            let sums = sums_of(tuple, forward, evidence, true, View::Fuller);
            self.block.push((key, forward, sums));
        }
        self.slots.reserve(tuples.len());
        let mut hashes = [0; BLOCK];
        let mut first = [None; BLOCK];
        for (hash, (key, ..)) in hashes.iter_mut().zip(&self.block) {
            *hash = key.hash();
        }
        for (first, hash) in first.iter_mut().zip(&hashes[..tuples.len()]) {
            *first = self.slots.first(*hash);
        }
        for (n, (key, ..)) in self.block.iter().enumerate() {
            first[n] = first[n].filter(|first| self.sums[*first].0 == *key);
        }
        for (n, (key, forward, sums)) in self.block.iter().enumerate() {
            let known = first[n].unwrap_or_else(|| {
                let same = |number: usize| self.sums[number].0 == *key;
                self.slots.find_or_take(hashes[n], same)
            });
            if let Some((_, known)) = self.sums.get_mut(known) {
                known.merge(sums);
                continue;
            }
            self.sums.push((*key, *sums));
            let group = Group::of(tuples[n]);
            self.edges
                .push(group.edge_key(0, *forward, key.evidence, context, judge));
        }
    }

    /// Hands everything on.
    pub(crate) fn finish(self, judge: &Judge<'_>, edges: &mut Edges, coverage: &mut Coverage) {
        let mut outcomes: HashMap<Outcome, u64, foldhash::fast::FixedState> = HashMap::default();
        for ((alike, sums), key) in self.sums.iter().zip(self.edges) {
            *outcomes
                .entry(Outcome::of(&key, alike.evidence))
                .or_default() += sums.records;
            edges.add(key, *sums);
        }
        for (outcome, records) in outcomes {
            cover(outcome, records, judge, coverage);
        }
    }
}
