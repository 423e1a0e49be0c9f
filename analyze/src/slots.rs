//! Numbers by hash: the index of a table whose entries stand in a vector of their own.
//!
//! A plain open-addressing array of 8-byte cells, at most half full. A cell carries half of the hash, so growing
//! moves cells without looking at entries, and a comparison with the wrong entry is rare. Callers that have many hashes
//! at hand load the first cells of all of them before they look at any entry: cache misses then overlap instead of queueing
//! up behind each other.

/// Number of hashes handled together; enough for the loads to overlap, few enough for the L1 cache.
pub const BLOCK: usize = 128;

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// `upper half of the hash << 32 | number + 1`; 0 is empty.
    cells: Vec<u64>,
    held: usize,
}

/// Memory per number, bytes, in an index that is half full.
pub(crate) const SLOT_BYTES: usize = 2 * size_of::<u64>();

impl Slots {
    /// Room for `more` numbers.
    pub(crate) fn reserve(&mut self, more: usize) {
        let needed = (self.held + more) * 2;
        if needed > self.cells.len() {
            let cells = needed.max(4 * BLOCK).next_power_of_two();
            let old = std::mem::replace(&mut self.cells, vec![0; cells]);
            for cell in old.into_iter().filter(|cell| *cell != 0) {
                self.put(cell);
            }
        }
    }

    /// Forgets everything and takes these hashes, numbered from 0.
    pub(crate) fn rebuild(&mut self, hashes: impl Iterator<Item = u64>) {
        self.cells.fill(0);
        self.held = 0;
        for hash in hashes {
            self.reserve(1);
            self.put(cell(hash, self.held));
            self.held += 1;
        }
    }

    /// The number that a hash meets first, if it may be its own. Looks at one cell only.
    #[inline]
    pub(crate) fn first(&self, hash: u64) -> Option<usize> {
        let cell = *self.cells.get(self.home(hash))?;
        (cell != 0 && cell >> 32 == hash >> 32).then(|| number(cell))
    }

    /// The number of this hash that is `same`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, same: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            let cell = *self.cells.get(at)?;
            if cell == 0 {
                return None;
            }
            if cell >> 32 == hash >> 32 && same(number(cell)) {
                return Some(number(cell));
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
    }

    /// The number of this hash that is `same`; where there is none, the next number, taken for it. Needs
    /// [`reserve`](Self::reserve) before.
    #[inline]
    pub(crate) fn find_or_take(&mut self, hash: u64, same: impl Fn(usize) -> bool) -> usize {
        if let Some(known) = self.find(hash, same) {
            return known;
        }
        self.put(cell(hash, self.held));
        self.held += 1;
        self.held - 1
    }

    /// Invariant: there is an empty cell.
    fn put(&mut self, cell: u64) {
        let mask = self.cells.len() - 1;
        let mut at = (cell >> 32) as usize & mask;
        while self.cells[at] != 0 {
            at = (at + 1) & mask;
        }
        self.cells[at] = cell;
    }

    fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & self.cells.len().wrapping_sub(1)
    }
}

fn cell(hash: u64, number: usize) -> u64 {
    hash >> 32 << 32 | (number as u64 + 1)
}

fn number(cell: u64) -> usize {
    (cell as u32 - 1) as usize
}

/// Folded multiply, as in foldhash: the tables are not exposed to chosen keys beyond what linear probing at half load
/// absorbs; the words are mixed with two odd constants first.
#[inline]
pub(crate) fn hash_of(low: u64, high: u64) -> u64 {
    let product =
        u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd1b5_4a32_d192_ed03);
    let folded = (product as u64) ^ (product >> 64) as u64;
    let again = u128::from(folded) * 0x2545_f491_4f6c_dd1d_u128;
    (again as u64) ^ (again >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Few different hashes and few different halves: everything collides.
        #[test]
        fn agrees_with_a_map(keys in proptest::collection::vec((0u64..4, 0u64..400), 0..900), cut in 0usize..900) {
            let hash = |key: (u64, u64)| (key.0 << 32) | (key.1 % 2);
            let mut slots = Slots::default();
            let mut held: Vec<(u64, u64)> = Vec::new();
            let mut plain: HashMap<(u64, u64), usize> = HashMap::new();
            for (n, key) in keys.iter().enumerate() {
                if n == cut {
                    slots.rebuild(held.iter().map(|key| hash(*key)));
                }
                slots.reserve(1);
                let number = slots.find_or_take(hash(*key), |number| held[number] == *key);
                if number == held.len() {
                    held.push(*key);
                }
                let next = plain.len();
                prop_assert_eq!(number, *plain.entry(*key).or_insert(next));
            }
            for (key, number) in &plain {
                prop_assert_eq!(slots.find(hash(*key), |number| held[number] == *key), Some(*number));
            }
            prop_assert_eq!(slots.find(9 << 32, |_| true), None);
        }
    }

    #[test]
    fn an_empty_index_knows_nothing() {
        let slots = Slots::default();
        assert_eq!(slots.first(7), None);
        assert_eq!(slots.find(7, |_| true), None);
    }
}
