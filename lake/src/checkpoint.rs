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
