//! How far each source was read, and what a batch adds. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far one shard, object or file of a source was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Comparable: everything up to here was read.
    pub at: u64,
    /// What the source needs to go on from here; opaque to the lake.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resume: String,
}

impl Position {
    /// A position that needs nothing else to resume.
    pub fn at(at: u64) -> Self {
        Self {
            at,
            resume: String::new(),
        }
    }
}

/// What one batch read of one shard: the half-open interval `(from..to]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointDelta {
    /// The configured source.
    pub source: String,
    /// The shard, object or file within the source.
    pub shard: String,
    /// Where reading began.
    pub from: Position,
    /// Where reading ended.
    pub to: Position,
}

/// Positions of one shard that were skipped and will never be read: `(from..to]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The configured source.
    pub source: String,
    /// The shard, object or file within the source.
    pub shard: String,
    /// The last position that was read before.
    pub from: u64,
    /// The position at which reading went on.
    pub to: u64,
}

/// A delta that does not fit what was read before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StaleDelta {
    /// The records are in the lake already.
    #[error(
        "`{source_name}` shard `{shard}` was read up to {read} already, the batch begins at {from}"
    )]
    AlreadyRead {
        /// The configured source.
        source_name: String,
        /// The shard.
        shard: String,
        /// How far the shard was read.
        read: u64,
        /// Where the batch begins.
        from: u64,
    },
    /// The delta ends before it begins.
    #[error("`{source_name}` shard `{shard}` was read backwards, from {from} to {to}")]
    Backwards {
        /// The configured source.
        source_name: String,
        /// The shard.
        shard: String,
        /// Where the batch begins.
        from: u64,
        /// Where the batch ends.
        to: u64,
    },
}

/// How far every shard of every source was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    positions: BTreeMap<String, BTreeMap<String, Position>>,
    gaps: Vec<Gap>,
}

impl Checkpoints {
    /// How far a shard was read; `None` when it never was.
    pub fn get(&self, source: &str, shard: &str) -> Option<&Position> {
        self.positions.get(source)?.get(shard)
    }

    /// Every shard of a source with its position.
    pub fn shards(&self, source: &str) -> impl Iterator<Item = (&str, &Position)> {
        let shards = self.positions.get(source).into_iter().flatten();
        shards.map(|(shard, position)| (shard.as_str(), position))
    }

    /// Every position: source, shard, position.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Position)> {
        self.positions.iter().flat_map(|(source, shards)| {
            shards
                .iter()
                .map(|(shard, position)| (source.as_str(), shard.as_str(), position))
        })
    }

    /// What was skipped, in the order it was noticed.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Adds what a batch read to what was read before. Refused deltas change nothing; so does a list of which
    /// one is refused.
    ///
    /// | checkpoint | delta     |             | result                                    |
    /// |------------|-----------|-------------|-------------------------------------------|
    /// | none       | `(b..c]`  |             | starts at `c`; nothing before was asked for |
    /// | `..a]`     | `(b..c]`  | `b == a`    | moves to `c`                              |
    /// | `..a]`     | `(b..c]`  | `b > a`     | moves to `c` and records the gap `(a..b]` |
    /// | `..a]`     | `(b..c]`  | `b < a`     | refused: these records are already here   |
    /// | any        | `(b..c]`  | `c < b`     | refused: reading does not go backwards    |
    pub fn advance(&mut self, deltas: &[CheckpointDelta]) -> Result<Vec<Gap>, StaleDelta> {
        let mut next = BTreeMap::new();
        let mut gaps = Vec::new();
        for delta in deltas {
            let shard = (delta.source.as_str(), delta.shard.as_str());
            let read = next
                .get(&shard)
                .copied()
                .or_else(|| self.get(shard.0, shard.1));
            gaps.extend(step(read, delta)?);
            next.insert(shard, &delta.to);
        }
        for ((source, shard), position) in next {
            let shards = self.positions.entry(source.to_string()).or_default();
            shards.insert(shard.to_string(), position.clone());
        }
        self.gaps.extend(gaps.iter().cloned());
        Ok(gaps)
    }

    /// Drops the position of a shard that will never be read again; one that is not there is forgotten already.
    pub(crate) fn forget(&mut self, source: &str, shard: &str) {
        if let Some(shards) = self.positions.get_mut(source) {
            shards.remove(shard);
            if shards.is_empty() {
                self.positions.remove(source);
            }
        }
    }
}

/// One line of the table of [`Checkpoints::advance`].
fn step(read: Option<&Position>, delta: &CheckpointDelta) -> Result<Option<Gap>, StaleDelta> {
    let (source, shard) = (&delta.source, &delta.shard);
    let (from, to) = (delta.from.at, delta.to.at);
    if to < from {
        return Err(StaleDelta::Backwards {
            source_name: source.clone(),
            shard: shard.clone(),
            from,
            to,
        });
    }
    match read.map(|position| position.at) {
        Some(read) if from < read => Err(StaleDelta::AlreadyRead {
            source_name: source.clone(),
            shard: shard.clone(),
            read,
            from,
        }),
        Some(read) if from > read => Ok(Some(Gap {
            source: source.clone(),
            shard: shard.clone(),
            from: read,
            to: from,
        })),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn delta(shard: &str, from: u64, to: u64) -> CheckpointDelta {
        let (source, shard) = ("s".to_string(), shard.to_string());
        CheckpointDelta {
            source,
            shard,
            from: Position::at(from),
            to: Position::at(to),
        }
    }

    fn read_up_to(at: u64) -> Checkpoints {
        let mut checkpoints = Checkpoints::default();
        checkpoints.advance(&[delta("0", 0, at)]).unwrap();
        checkpoints
    }

    #[test]
    fn the_table_of_advance() {
        let advance = |from, to| {
            let mut checkpoints = read_up_to(10);
            let gaps = checkpoints.advance(&[delta("0", from, to)]);
            let at = checkpoints.get("s", "0").unwrap().at;
            (
                at,
                gaps.map(|gaps| {
                    gaps.iter()
                        .map(|gap| (gap.from, gap.to))
                        .collect::<Vec<_>>()
                }),
            )
        };
        assert_eq!(advance(10, 15), (15, Ok(vec![])));
        assert_eq!(advance(10, 10), (10, Ok(vec![])));
        assert_eq!(advance(12, 15), (15, Ok(vec![(10, 12)])));
        assert!(matches!(
            advance(9, 15),
            (
                10,
                Err(StaleDelta::AlreadyRead {
                    read: 10,
                    from: 9,
                    ..
                })
            )
        ));
        assert!(matches!(
            advance(12, 11),
            (10, Err(StaleDelta::Backwards { .. }))
        ));
    }

    #[test]
    fn a_shard_never_read_starts_anywhere_without_a_gap() {
        let mut checkpoints = Checkpoints::default();
        assert_eq!(checkpoints.advance(&[delta("0", 700, 710)]), Ok(vec![]));
        assert_eq!(checkpoints.get("s", "0"), Some(&Position::at(710)));
        assert_eq!(checkpoints.get("s", "1"), None);
        assert_eq!(checkpoints.get("t", "0"), None);
    }

    #[test]
    fn one_refused_delta_refuses_the_whole_list() {
        let mut checkpoints = read_up_to(10);
        let before = checkpoints.clone();
        checkpoints
            .advance(&[delta("1", 0, 5), delta("0", 3, 12)])
            .unwrap_err();
        assert_eq!(checkpoints, before);
    }

    #[test]
    fn one_list_may_move_a_shard_twice() {
        let mut checkpoints = read_up_to(10);
        checkpoints
            .advance(&[delta("0", 10, 12), delta("0", 12, 20)])
            .unwrap();
        assert_eq!(checkpoints.get("s", "0"), Some(&Position::at(20)));
        checkpoints
            .advance(&[delta("0", 20, 22), delta("0", 21, 25)])
            .unwrap_err();
        assert_eq!(checkpoints.get("s", "0"), Some(&Position::at(20)));
    }

    proptest! {
        /// Held against a model that ticks off every single position.
        #[test]
        fn no_position_is_read_twice_and_every_one_is_read_or_in_a_gap(
            deltas in proptest::collection::vec((0..2usize, 0..12u64, 0..12u64), 0..30),
        ) {
            let shards = ["0", "1"];
            let mut checkpoints = Checkpoints::default();
            let mut times_read: BTreeMap<(usize, u64), u32> = BTreeMap::new();
            let mut start: BTreeMap<usize, u64> = BTreeMap::new();
            for (shard, from, to) in deltas {
                let before = checkpoints.clone();
                match checkpoints.advance(&[delta(shards[shard], from, to)]) {
                    Ok(_) => {
                        start.entry(shard).or_insert(from);
                        for at in from + 1..=to {
                            *times_read.entry((shard, at)).or_default() += 1;
                        }
                    }
                    Err(_) => prop_assert_eq!(&checkpoints, &before),
                }
            }
            prop_assert!(times_read.values().all(|times| *times == 1));
            for (shard, start) in start {
                let end = checkpoints.get("s", shards[shard]).unwrap().at;
                for at in start + 1..=end {
                    let skipped = checkpoints.gaps().iter().any(|gap| {
                        gap.shard == shards[shard] && gap.from < at && at <= gap.to
                    });
                    prop_assert_ne!(skipped, times_read.contains_key(&(shard, at)));
                }
                prop_assert!(times_read.keys().all(|(of, at)| *of != shard || *at <= end));
            }
        }
    }
}
