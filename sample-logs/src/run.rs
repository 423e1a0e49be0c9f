//! A scenario played with a seed: everything that came of it, streamed.

use std::path::Path;

use crate::capture::{Capture, Entry, Visible};
use crate::error::SampleLogsError;
use crate::findings;
use crate::record::Record;
use crate::scenario::Scenario;
use crate::traffic::{self, Connection};
use crate::truth::{ConnectionTruth, ExpectedFinding, RecordTruth};
use crate::world::World;
use crate::write::{self, Written};

/// A played scenario. Records are made anew each time they are asked for; connections are kept.
pub struct Run<'a> {
    /// What was played.
    pub scenario: &'a Scenario,
    /// With which seed.
    pub seed: u64,
    /// The cluster and the lives of its pods.
    pub world: World<'a>,
    /// Every connection, in the order of opening.
    pub connections: Vec<Connection>,
    pub(crate) visible: Vec<Visible>,
}

/// One line of the log with its truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// What the log says.
    pub record: Record<'a>,
    /// What is behind it.
    pub truth: RecordTruth,
}

/// What was delivered together: one file of the log.
pub struct Delivery<'a> {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// In the order of the file.
    pub lines: Vec<Line<'a>>,
}

/// Plays `scenario` with `seed`. The same two give the same run on every machine.
pub fn simulate(scenario: &Scenario, seed: u64) -> Run<'_> {
    let world = World::build(scenario, seed);
    let connections = traffic::connections(&world, seed);
    let mut visible = vec![Visible::default(); connections.len()];
    for delivered in Capture::new(&world, &connections, seed) {
        for entry in &delivered.entries {
            if let Entry::Flow(flow) = entry
                && !flow.repeated
            {
                let visible = &mut visible[flow.connection as usize];
                visible.add(flow);
                visible.identified = visible.identified
                    || flow.is_identifiable(&world, &connections[flow.connection as usize]);
            }
        }
    }
    Run {
        scenario,
        seed,
        world,
        connections,
        visible,
    }
}

impl Run<'_> {
    /// The log, file by file.
    pub fn deliveries(&self) -> impl Iterator<Item = Delivery<'_>> {
        let mut index = 0;
        Capture::new(&self.world, &self.connections, self.seed).map(move |delivered| {
            let lines = delivered.entries.iter().map(|entry| {
                let line = self.line(index, entry);
                index += 1;
                line
            });
            Delivery {
                at_ms: delivered.at_ms,
                lines: lines.collect(),
            }
        })
    }

    /// The log, line by line, each with its truth.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.deliveries().flat_map(|delivery| delivery.lines)
    }

    /// The log, line by line.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.lines().map(|line| line.record)
    }

    /// The truth about every connection, in the order of their numbers.
    pub fn connection_truths(&self) -> impl Iterator<Item = ConnectionTruth> {
        let changes_ms = self.scenario.policy_changes_ms();
        self.connections.iter().zip(&self.visible).enumerate().map(
            move |(id, (connection, visible))| {
                connection.truth(id as u64, &self.world, *visible, &changes_ms)
            },
        )
    }

    /// What an analysis of the whole run is to find, sorted.
    pub fn expected_findings(&self) -> Vec<ExpectedFinding> {
        findings::expected(self)
    }

    /// Writes log, inventory and truth below `dir`, which is made if it is not there.
    pub fn write(&self, dir: &Path) -> Result<Written, SampleLogsError> {
        write::write(self, dir)
    }

    /// Writes only what a user of the cluster would have about it: `inventory/` below `dir`.
    pub fn write_inventory(&self, dir: &Path) -> Result<Written, SampleLogsError> {
        write::write_inventory(&self.world, dir)
    }

    /// Writes what the logs of the cluster say of the run, but for what happened within `missing` (milliseconds since the
    /// epoch): `past/` below `dir`.
    pub fn write_past(&self, dir: &Path, missing: &[[i64; 2]]) -> Result<Written, SampleLogsError> {
        write::write_past(&self.world, dir, missing)
    }

    fn line<'a>(&'a self, index: u64, entry: &Entry) -> Line<'a> {
        Line {
            record: entry.record(&self.world, &self.connections),
            truth: entry.truth(index, &self.world, &self.connections),
        }
    }
}
