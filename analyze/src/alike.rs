//! Sums of tuples that mean the same, before they become edges.

use std::collections::HashMap;

use crate::coverage::Coverage;
use crate::decide::{Context, EndsOf, ServedByHolding, client_and_server, cover};
use crate::edges::{EdgeKey, EdgeSums, Edges};
use crate::fold::Tuple;
use crate::group::{Group, View, sums_of};
use crate::judge::Judge;
use crate::observe::Observed;
use crate::orient::Evidence;

/// Sums of whole tuples that mean the same, before they become an edge: most tuples differ from another one in nothing
/// but the client's port.
#[derive(Default)]
pub(crate) struct Alike {
    edges: HashMap<
        AlikeKey,
        (EdgeKey, EdgeSums, [u64; Evidence::ALL.len()]),
        foldhash::fast::FixedState,
    >,
    served: ServedByHolding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AlikeKey {
    client: u32,
    server: u32,
    port: u16,
    protocol: u8,
    observed: Observed,
    is_oriented: bool,
}

impl Alike {
    pub(crate) fn add(&mut self, context: &Context<'_>, judge: &mut Judge<'_>, tuple: &Tuple) {
        let mut ends = EndsOf {
            context,
            judge,
            tuple,
            served: Some(&mut self.served),
        };
        let (forward, evidence) = context.orient(tuple, &mut ends);
        let (client, server, port) = client_and_server(tuple, forward);
        let key = AlikeKey {
            client,
            server,
            port,
            protocol: tuple.key.protocol,
            observed: context.observe(tuple, forward),
            is_oriented: evidence != Evidence::Unknown,
        };
        let sums = sums_of(tuple, forward, evidence, true, View::Fuller);
        let mut records = [0; Evidence::ALL.len()];
        records[evidence as usize] = u64::from(tuple.records);
        match self.edges.get_mut(&key) {
            Some((_, edge, known)) => {
                edge.merge(&sums);
                known
                    .iter_mut()
                    .zip(records)
                    .for_each(|(known, records)| *known += records);
            }
            None => {
                let edge = Group::of(tuple).edge_key(0, forward, evidence, context, judge);
                self.edges.insert(key, (edge, sums, records));
            }
        }
    }

    pub(crate) fn finish(self, judge: &Judge<'_>, edges: &mut Edges, coverage: &mut Coverage) {
        for (key, sums, records) in self.edges.into_values() {
            for (evidence, records) in Evidence::ALL.into_iter().zip(records) {
                cover(&key, evidence, records, judge, coverage);
            }
            edges.add(key, sums);
        }
    }
}
