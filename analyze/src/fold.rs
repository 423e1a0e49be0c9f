//! Records of one bucket, folded into distinct tuples while scanning.
//!
//! A tuple is a five-tuple without a direction, between two holdings (an address as one party held it, see
//! [`crate::identify`]) in one span of policy epochs. There are about ten times fewer tuples than records, and
//! everything that costs more than a few nanoseconds happens to tuples only.
//!
//! The table is an index ([`crate::slots`]) over an append-only vector of tuples. Rows come in blocks: one loop computes
//! hashes, one looks into the index, one compares the keys, so that the cache misses of a block overlap.

pub use crate::slots::BLOCK;
use crate::slots::{SLOT_BYTES, Slots, hash_of};

/// Which way a record's packets went between the two ends of its tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From end `a` to end `b`.
    Forth = 0,
    /// From end `b` to end `a`.
    Back = 1,
}

impl Way {
    /// The other way.
    pub fn turned(self) -> Way {
        match self {
            Way::Forth => Way::Back,
            Way::Back => Way::Forth,
        }
    }
}

/// The ends and the span of a tuple; `a` and `b` stand in no meaningful order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TupleKey {
    /// Holding at one end.
    pub a: u32,
    /// Holding at the other end.
    pub b: u32,
    /// Port of `a`; 0 where the protocol has none.
    pub port_a: u16,
    /// Port of `b`.
    pub port_b: u16,
    /// Number of the span of policy epochs that the record's window touches.
    pub span: u16,
    /// IANA protocol number.
    pub protocol: u8,
}

impl TupleKey {
    fn hash(self) -> u64 {
        hash_of(
            u64::from(self.a) << 32 | u64::from(self.b),
            u64::from(self.port_a) << 48
                | u64::from(self.port_b) << 32
                | u64::from(self.span) << 8
                | u64::from(self.protocol),
        )
    }
}

/// What one record adds to its tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Which way the packets went.
    pub way: Way,
    /// Logged where the packets left (`out`, at the source's ENI) rather than where they arrived (`in`).
    pub at_source: bool,
    /// The record's action was REJECT.
    pub rejected: bool,
    /// Packets in the record.
    pub packets: i64,
    /// Bytes in the record.
    pub bytes: i64,
    /// OR of the TCP flags, if the record has them.
    pub tcp_flags: Option<u8>,
    /// First packet of the record, microseconds since the epoch.
    pub start_us: i64,
    /// End of the record, microseconds since the epoch.
    pub end_us: i64,
    /// Whether it begins within a margin of the hour's first instant, of its last.
    pub near_border: [bool; 2],
}

/// Packets and bytes of one way at one of the two interfaces that may have logged it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: i64,
    /// Bytes.
    pub bytes: i64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        // Saturating: a forged log must not be able to stop the analysis by overflow.
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Everything the records of one tuple said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Ends and span.
    pub key: TupleKey,
    /// Per way, as logged at the source (`[way][0]`) and at the destination (`[way][1]`). The same packets stand in
    /// both: they are never added up.
    pub seen: [[Traffic; 2]; 2],
    /// Per way, OR of all TCP flags.
    pub flags: [u8; 2],
    /// Earliest start, microseconds since the epoch.
    pub first_us: i64,
    /// Latest end, microseconds since the epoch.
    pub last_us: i64,
    /// How many records were folded in.
    pub records: u32,
    bits: u16,
}

/// Bits of `Tuple::bits`, per way: something was rejected, something was accepted, flags were recorded.
const REJECTED: u16 = 1;
const ACCEPTED: u16 = 4;
const FLAGS_KNOWN: u16 = 16;
/// Bit of `Tuple::bits`: more about it stands beside the hour.
const AT_EDGE: u16 = 64;
/// Bits of `Tuple::bits`, per end (`a`, `b`): its interface logged near the hour's first instant, near its last.
const NEAR_FIRST: u16 = 256;
const NEAR_LAST: u16 = 1024;

impl Tuple {
    fn new(key: TupleKey) -> Tuple {
        Tuple {
            key,
            seen: Default::default(),
            flags: [0; 2],
            first_us: i64::MAX,
            last_us: i64::MIN,
            records: 0,
            bits: 0,
        }
    }

    #[inline]
    fn add(&mut self, record: &Observation) {
        let way = record.way as usize;
        let traffic = &mut self.seen[way][usize::from(!record.at_source)];
        *traffic += Traffic {
            packets: record.packets,
            bytes: record.bytes,
        };
        self.bits |= (if record.rejected { REJECTED } else { ACCEPTED }) << way;
        if let Some(flags) = record.tcp_flags {
            self.flags[way] |= flags;
            self.bits |= FLAGS_KNOWN << way;
        }
        let end = way ^ usize::from(!record.at_source);
        let [first, last] = record.near_border.map(u16::from);
        self.bits |= ((NEAR_FIRST * first) | (NEAR_LAST * last)) << end;
        self.first_us = self.first_us.min(record.start_us);
        self.last_us = self.last_us.max(record.end_us);
        self.records = self.records.saturating_add(1);
    }

    /// Adds what another thread folded for the same key.
    pub fn merge(&mut self, other: &Tuple) {
        for (seen, from) in self
            .seen
            .iter_mut()
            .flatten()
            .zip(other.seen.iter().flatten())
        {
            *seen += *from;
        }
        self.merge_evidence(other);
        self.records = self.records.saturating_add(other.records);
    }

    /// Takes over what another view of the same packets proves (flags, actions, times), but not its counts.
    pub fn merge_evidence(&mut self, other: &Tuple) {
        for way in 0..2 {
            self.flags[way] |= other.flags[way];
        }
        self.bits |= other.bits;
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
    }

    /// Some record of this way was rejected by a security group or network ACL.
    pub fn rejected(&self, way: Way) -> bool {
        self.bits & (REJECTED << way as u8) != 0
    }

    /// Some record of this way was accepted.
    pub fn accepted(&self, way: Way) -> bool {
        self.bits & (ACCEPTED << way as u8) != 0
    }

    /// OR of the TCP flags of this way; `None` where no record carried flags.
    pub fn flags(&self, way: Way) -> Option<u8> {
        (self.bits & (FLAGS_KNOWN << way as u8) != 0).then_some(self.flags[way as usize])
    }

    /// Whether there is more about it outside the hour, or packets of it may stand in two hours.
    pub fn is_at_edge(&self) -> bool {
        self.bits & AT_EDGE != 0
    }

    /// Whether the interface at end `a` (0), `b` (1) logged within a margin of the hour's first (0), last (1) instant.
    pub fn logged_near(&self, border: usize, end: usize) -> bool {
        self.bits & ([NEAR_FIRST, NEAR_LAST][border] << end) != 0
    }

    /// Any record went this way, accepted or not.
    pub fn any(&self, way: Way) -> bool {
        self.rejected(way) || self.accepted(way)
    }

    /// Packets and bytes of one way, counted once: the fuller of the two views.
    pub fn counted_once(&self, way: Way) -> Traffic {
        let [source, destination] = self.seen[way as usize];
        Traffic {
            packets: source.packets.max(destination.packets),
            bytes: source.bytes.max(destination.bytes),
        }
    }
}

/// Distinct tuples, in the order in which they were first met.
#[derive(Debug, Default)]
pub struct TupleTable {
    slots: Slots,
    tuples: Vec<Tuple>,
}

/// Memory per tuple, bytes: the tuple itself and its share of an index that is half full.
pub const TUPLE_BYTES: usize = size_of::<Tuple>() + SLOT_BYTES;

impl TupleTable {
    /// An empty table whose tuples need not be moved until there are more than `tuples` of them. Memory is taken as it
    /// is used.
    pub fn with_room_for(tuples: usize) -> TupleTable {
        TupleTable {
            slots: Slots::default(),
            tuples: Vec::with_capacity(tuples),
        }
    }

    /// The tuples so far.
    pub fn tuples(&self) -> &[Tuple] {
        &self.tuples
    }

    /// Hands the tuples out.
    pub fn into_tuples(self) -> Vec<Tuple> {
        self.tuples
    }

    /// Folds one block of rows; `keys` and `records` are parallel and at most [`BLOCK`] long.
    pub fn fold(&mut self, keys: &[TupleKey], records: &[Observation]) {
        debug_assert!(keys.len() == records.len() && keys.len() <= BLOCK);
        self.slots.reserve(keys.len());
        let mut hashes = [0u64; BLOCK];
        // Done for the whole block before any tuple is changed, so that the loads overlap.
        let first = self.first(keys, &mut hashes);
        for n in 0..keys.len() {
            let at = match first[n] {
                Some(at) => at,
                None => self.find_or_insert(keys[n], hashes[n]),
            };
            self.tuples[at].add(&records[n]);
        }
    }

    /// The tuples of a block of keys, as far as the first look finds them.
    fn first(&self, keys: &[TupleKey], hashes: &mut [u64; BLOCK]) -> [Option<usize>; BLOCK] {
        let mut first = [None; BLOCK];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = key.hash();
        }
        for (first, hash) in first.iter_mut().zip(&hashes[..keys.len()]) {
            *first = self.slots.first(*hash);
        }
        for (first, key) in first.iter_mut().zip(keys) {
            *first = first.filter(|at| self.tuples[*at].key == *key);
        }
        first
    }

    /// Adds the tuples of another thread.
    pub fn merge(&mut self, other: TupleTable) {
        self.slots.reserve(other.tuples.len());
        for tuple in other.tuples {
            let at = self.find_or_insert(tuple.key, tuple.key.hash());
            if self.tuples[at].records == 0 {
                self.tuples[at] = tuple;
            } else {
                self.tuples[at].merge(&tuple);
            }
        }
    }

    /// Which of a block of keys are those of tuples; `keys` are at most [`BLOCK`].
    pub fn which(&self, keys: &[TupleKey]) -> [bool; BLOCK] {
        let mut hashes = [0u64; BLOCK];
        let first = self.first(keys, &mut hashes);
        let mut known = [false; BLOCK];
        for (n, key) in keys.iter().enumerate() {
            known[n] = first[n].is_some() || self.position(*key, hashes[n]).is_some();
        }
        known
    }

    /// Marks every tuple of which `other` knows something, see [`Tuple::is_at_edge`].
    pub fn mark_edges(&mut self, other: &TupleTable) {
        for tuple in &other.tuples {
            if let Some(at) = self.position(tuple.key, tuple.key.hash()) {
                self.tuples[at].bits |= AT_EDGE;
            }
        }
    }

    /// Forgets every tuple for which `keep` is false.
    pub fn retain(&mut self, keep: impl FnMut(&Tuple) -> bool) {
        self.tuples.retain(keep);
        let hashes = self.tuples.iter().map(|tuple| tuple.key.hash());
        self.slots.rebuild(hashes);
    }

    fn position(&self, key: TupleKey, hash: u64) -> Option<usize> {
        self.slots.find(hash, |at| self.tuples[at].key == key)
    }

    /// Needs room in the index.
    fn find_or_insert(&mut self, key: TupleKey, hash: u64) -> usize {
        let tuples = &self.tuples;
        let at = self.slots.find_or_take(hash, |at| tuples[at].key == key);
        if at == self.tuples.len() {
            self.tuples.push(Tuple::new(key));
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn record(way: Way, at_source: bool, packets: i64) -> Observation {
        Observation {
            way,
            at_source,
            rejected: false,
            packets,
            bytes: packets * 60,
            tcp_flags: Some(2),
            start_us: packets,
            end_us: packets + 1,
            near_border: [false; 2],
        }
    }

    fn rows() -> impl Strategy<Value = Vec<(TupleKey, Observation)>> {
        let row = (
            0u32..6,
            0u32..6,
            0u16..3,
            0u16..3,
            0u16..2,
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            0i64..9,
        );
        let row = row.prop_map(
            |(a, b, port_a, port_b, span, forth, at_source, rejected, packets)| {
                let key = TupleKey {
                    a,
                    b,
                    port_a,
                    port_b,
                    span,
                    protocol: 6,
                };
                let way = if forth { Way::Forth } else { Way::Back };
                (
                    key,
                    Observation {
                        rejected,
                        ..record(way, at_source, packets)
                    },
                )
            },
        );
        proptest::collection::vec(row, 0..2000)
    }

    fn plain(rows: &[(TupleKey, Observation)]) -> Vec<Tuple> {
        let mut all: HashMap<TupleKey, Tuple> = HashMap::new();
        for (key, record) in rows {
            all.entry(*key)
                .or_insert_with(|| Tuple::new(*key))
                .add(record);
        }
        sorted(all.into_values().collect())
    }

    fn sorted(mut tuples: Vec<Tuple>) -> Vec<Tuple> {
        tuples.sort_by_key(|tuple| tuple.key);
        tuples
    }

    fn folded(rows: &[(TupleKey, Observation)]) -> TupleTable {
        let mut table = TupleTable::default();
        for block in rows.chunks(BLOCK) {
            let (keys, records): (Vec<_>, Vec<_>) = block.iter().copied().unzip();
            table.fold(&keys, &records);
        }
        table
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map_however_it_is_cut(rows in rows(), cut in 0usize..2000) {
            let cut = cut.min(rows.len());
            let whole = folded(&rows);
            prop_assert_eq!(plain(&rows), sorted(whole.tuples().to_vec()));
            let mut left = folded(&rows[..cut]);
            left.merge(folded(&rows[cut..]));
            prop_assert_eq!(plain(&rows), sorted(left.into_tuples()));
        }

        #[test]
        fn what_is_retained_can_be_found_again(rows in rows()) {
            let mut table = folded(&rows);
            table.retain(|tuple| tuple.key.a % 2 == 0);
            for (key, observation) in rows.iter().filter(|(key, _)| key.a % 2 == 0) {
                table.fold(&[*key], &[*observation]);
            }
            let mut twice: Vec<_> = rows.iter().copied().filter(|(key, _)| key.a % 2 == 0).collect();
            twice.extend(twice.clone());
            prop_assert_eq!(plain(&twice), sorted(table.into_tuples()));
        }
    }

    #[test]
    fn the_same_packets_at_both_interfaces_count_once() {
        let key = TupleKey {
            a: 1,
            b: 2,
            port_a: 40_000,
            port_b: 80,
            span: 0,
            protocol: 6,
        };
        let mut table = TupleTable::default();
        table.fold(
            &[key, key, key],
            &[
                record(Way::Forth, true, 5),
                record(Way::Forth, false, 5),
                record(Way::Back, true, 3),
            ],
        );
        let tuple = table.tuples()[0];
        assert_eq!(
            tuple.counted_once(Way::Forth),
            Traffic {
                packets: 5,
                bytes: 300
            }
        );
        assert_eq!(
            tuple.counted_once(Way::Back),
            Traffic {
                packets: 3,
                bytes: 180
            }
        );
        assert_eq!(tuple.records, 3);
    }
}
