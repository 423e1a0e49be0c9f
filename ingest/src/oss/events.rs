//! What a run tells while it goes on, and at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::source::Problem;
use crate::summary::Counts;

/// One published batch.
#[derive(Debug, Clone, Default)]
pub struct BatchReport {
    /// What became of its records.
    pub counts: Counts,
    /// Objects that were finished.
    pub objects: u64,
    /// Bytes as they came.
    pub packed_bytes: u64,
    /// How long it took since the batch before.
    pub spent: Duration,
    /// How long ago the shipping task of the last object was made, in seconds.
    pub lag_s: u64,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'e> {
    /// A batch was published.
    Batch(&'e BatchReport),
    /// Something about one object.
    Problem(&'e Problem),
    /// The bucket cannot be read at present; tried again.
    Waiting(&'e str),
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct PullSummary {
    /// What became of the records.
    pub counts: Counts,
    /// Rejects by cause.
    pub reject_kinds: BTreeMap<&'static str, u64>,
    /// Batches published.
    pub batches: u64,
    /// Objects listed that a shipping job wrote.
    pub listed: u64,
    /// Objects read to their end.
    pub objects: u64,
    /// Objects that were replaced since they were read, and read again.
    pub changed: u64,
    /// Objects that were gone before they were read, or that the settings give up; they are in `gaps`.
    pub missed: u64,
    /// Objects below the prefix whose keys are not of the path format.
    pub foreign: u64,
    /// Objects that could not be read: in the way until they can be.
    pub failed: u64,
    /// Bytes as they came.
    pub packed_bytes: u64,
}
