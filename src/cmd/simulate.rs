//! `simulate`: the flow logs of a made-up cluster, with the truth.

use std::path::{Path, PathBuf};

use clap::Args;
use flowaudit_sample_logs::{Bulk, Scenario, Written, simulate};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Everywhere, Typed};

/// Writes the flow logs of a made-up cluster, with the truth.
///
/// `flows/` holds the log in the official shape, `inventory/` what its user would have from kubectl, `truth/` who really
/// talked to whom, what the policies meant for it and which findings follow.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit simulate --out /tmp/small
  flowaudit simulate --scenario mixed --seed 7 --out /tmp/mixed
  flowaudit simulate --records 20000000 --out /tmp/large")]
pub(crate) struct Simulate {
    /// small, mixed, churn, terway, or a scenario file
    #[arg(long, value_name = "NAME|FILE", default_value = "small")]
    scenario: String,
    /// Another seed than the scenario's own
    #[arg(long)]
    seed: Option<u64>,
    /// This many records of one busy hour instead, without truth
    #[arg(long, value_name = "N", conflicts_with = "scenario")]
    records: Option<u64>,
    /// The folder to write to; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Report {
    out: PathBuf,
    seed: u64,
    files: u64,
    bytes: u64,
    records: u64,
    connections: u64,
    findings: u64,
}

impl Simulate {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let (seed, written) = match self.records {
            Some(records) => {
                let seed = self.seed.unwrap_or(1);
                let bulk = Bulk::new(seed, records)?;
                let inventory = bulk.write_inventory(&self.out)?;
                let flows = bulk.write_flows(&self.out)?;
                (
                    seed,
                    Written {
                        files: inventory.files + flows.files,
                        bytes: inventory.bytes + flows.bytes,
                        ..flows
                    },
                )
            }
            None => {
                let scenario = scenario(&self.scenario)?;
                let seed = self.seed.unwrap_or(scenario.seed);
                (seed, simulate(&scenario, seed).write(&self.out)?)
            }
        };
        let report = Report {
            out: self.out.clone(),
            seed,
            files: written.files,
            bytes: written.bytes,
            records: written.records,
            connections: written.connections,
            findings: written.findings,
        };
        output::one(settings.output, &report, || {
            let out = self.out.display();
            // A busy hour comes without truth, so nobody counted its connections.
            let connections = match self.records {
                Some(_) => String::new(),
                None => format!(
                    " of {}",
                    output::counted(report.connections, "connection", "connections")
                ),
            };
            format!(
                "seed {seed}: {}{connections} in {} files, {}\n\nTo try them:\n  \
                 flowaudit --lake {out}/lake ingest {out}/flows\n  \
                 flowaudit --lake {out}/lake inventory import {out}/inventory\n  \
                 flowaudit --lake {out}/lake analyze\n",
                output::counted(report.records, "record", "records"),
                output::count(report.files),
                output::bytes(report.bytes),
            )
        })?;
        Ok(Exit::Clean)
    }
}

/// A scenario that comes with the program, or one from a file.
fn scenario(name: &str) -> Result<Scenario, Failure> {
    let path = Path::new(name);
    // A name without a folder or an ending can only be meant as one of ours.
    let is_file = path.extension().is_some() || path.components().count() > 1;
    Ok(match is_file {
        true => Scenario::load(path)?,
        false => Scenario::builtin(name)?,
    })
}
