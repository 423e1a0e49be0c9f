//! How many peers use an address and port, in fixed memory.
//!
//! Orientation asks "which of these two ports do many peers use?". Exact sets would grow with the records, so
//! the hour's answer is a sketch: two rows of 64-bit linear counters (Whang, Vander-Zanden and Taylor, *A
//! linear-time probabilistic counting algorithm*, 1990), the smaller estimate winning as in a count-min sketch.
//! A sketch only ever OR-s bits in: merging two of them, in any order, gives what one pass over everything gives.

use std::hash::BuildHasher;

use crate::fold::Tuple;
use crate::parties::Parties;

/// The fixed seed makes the estimate the same on every machine and in every run.
const HASHER: foldhash::fast::FixedState = foldhash::fast::FixedState::with_seed(0x666c_6f77);

/// Counts beyond this are all "many": a linear counter of 64 bits is full there.
pub const FAN_IN_MAX: u32 = 192;

/// Estimated numbers of distinct peers per (address, port, protocol) of one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanIn {
    rows: [Vec<u64>; 2],
    mask: usize,
}

impl FanIn {
    /// A sketch fit for an hour of `records` flow-log records; 1 MiB at least, 64 MiB at most.
    ///
    /// The size depends on nothing else, so that an hour's sketch is the same however its work is cut up.
    pub fn for_records(records: u64) -> FanIn {
        let cells = (records / 8).clamp(1 << 16, 1 << 22).next_power_of_two() as usize;
        FanIn {
            rows: [vec![0; cells], vec![0; cells]],
            mask: cells - 1,
        }
    }

    /// Notes that `peer` exchanged packets with `service`; both are stable hashes of (address, port, protocol).
    pub fn note(&mut self, service: u64, peer: u64) {
        let bit = 1u64 << (HASHER.hash_one(peer) >> 58);
        for (row, cell) in self.rows.iter_mut().zip(cells(service, self.mask)) {
            row[cell] |= bit;
        }
    }

    /// About how many distinct peers `service` had, between 0 and [`FAN_IN_MAX`].
    pub fn peers(&self, service: u64) -> u32 {
        let [a, b] = cells(service, self.mask);
        linear_count(self.rows[0][a]).min(linear_count(self.rows[1][b]))
    }

    /// Adds what another pass over other records of the same hour has seen.
    pub fn merge(&mut self, other: &FanIn) {
        for (row, from) in self.rows.iter_mut().zip(&other.rows) {
            for (cell, bits) in row.iter_mut().zip(from) {
                *cell |= bits;
            }
        }
    }
}

fn cells(service: u64, mask: usize) -> [usize; 2] {
    let hash = HASHER.hash_one(service);
    [hash as usize & mask, (hash >> 32) as usize & mask]
}

fn linear_count(bits: u64) -> u32 {
    match bits.count_zeros() {
        0 => FAN_IN_MAX,
        zeros => (-64.0 * (f64::from(zeros) / 64.0).ln()).round() as u32,
    }
}

/// Adds the fan-in that tuples show. Adding the same again changes nothing.
pub fn note_tuples(sketch: &mut FanIn, parties: &Parties, tuples: &[Tuple]) {
    for tuple in tuples {
        let (a, b) = (
            parties.address_of(tuple.key.a).hash,
            parties.address_of(tuple.key.b).hash,
        );
        note_fan_in(
            sketch,
            (a, tuple.key.port_a),
            (b, tuple.key.port_b),
            tuple.key.protocol,
        );
    }
}

/// What [`FanIn`] calls a service: an address and a port of a protocol.
pub fn service_hash(address: u64, port: u16, protocol: u8) -> u64 {
    address.rotate_left(17)
        ^ (u64::from(port) << 8 | u64::from(protocol)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(crate) fn note_fan_in(sketch: &mut FanIn, a: (u64, u16), b: (u64, u16), protocol: u8) {
    let (a, b) = (
        service_hash(a.0, a.1, protocol),
        service_hash(b.0, b.1, protocol),
    );
    sketch.note(a, b);
    sketch.note(b, a);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_is_one_and_many_are_many() {
        let mut fan_in = FanIn::for_records(1000);
        for _ in 0..50 {
            fan_in.note(1, 77);
        }
        for peer in 0..40 {
            fan_in.note(2, peer);
        }
        for peer in 0..100_000 {
            fan_in.note(3, peer);
        }
        assert_eq!(fan_in.peers(0), 0);
        assert_eq!(fan_in.peers(1), 1);
        assert!((25..60).contains(&fan_in.peers(2)), "{}", fan_in.peers(2));
        assert_eq!(fan_in.peers(3), FAN_IN_MAX);
    }

    #[test]
    fn merging_parts_equals_one_pass() {
        let (mut whole, mut left, mut right) = (
            FanIn::for_records(0),
            FanIn::for_records(0),
            FanIn::for_records(0),
        );
        for n in 0..5000u64 {
            whole.note(n % 71, n);
            if n % 3 == 0 {
                left.note(n % 71, n)
            } else {
                right.note(n % 71, n)
            }
        }
        left.merge(&right);
        assert_eq!(whole, left);
    }
}
