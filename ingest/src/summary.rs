//! What a run did, how far it is, and the sum that must add up.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::source::{Problem, Severity};

/// What became of the records. `records = flows + gaps + rejects + duplicates`, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub records: u64,
    /// Became flows.
    pub flows: u64,
    /// Became gaps.
    pub gaps: u64,
    /// Could not become flows; kept with their reasons.
    pub rejects: u64,
    /// Were in the lake already, or twice in the input.
    pub duplicates: u64,
}

impl Counts {
    /// Whether nothing vanished.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.records == self.flows + self.gaps + self.rejects + self.duplicates
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.records += other.records;
        self.flows += other.flows;
        self.gaps += other.gaps;
        self.rejects += other.rejects;
        self.duplicates += other.duplicates;
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs looked at.
    pub inputs: u64,
    /// Inputs in which nothing was new since the last run.
    pub unchanged: u64,
    /// Decoded bytes read.
    pub bytes: u64,
    /// What became of the records.
    pub counts: Counts,
    /// Rejects by cause.
    pub reject_kinds: BTreeMap<&'static str, u64>,
    /// What the user should know, by input.
    pub problems: Vec<Problem>,
}

impl Summary {
    /// Whether something of some input is not in the lake.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Failed)
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The input being read.
    pub input: String,
    /// Its number, from 0.
    pub number: usize,
    /// How many inputs there are.
    pub inputs: usize,
    /// Bytes of it read, as it lies on disk.
    pub bytes_read: u64,
    /// Its size on disk, where it has one.
    pub bytes_total: Option<u64>,
    /// Records read in the whole run.
    pub records: u64,
}
