//! `inventory`: who held which address when, and what was declared. One file per command.

mod import;
mod who;

use clap::Subcommand;

pub(crate) use self::import::{issues, said, told};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Everywhere;

/// Who held which address when, and what was declared.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  kubectl get nodes,namespaces,pods,services,replicasets,jobs,networkpolicies -A -o yaml | flowaudit inventory import -
  flowaudit inventory import snapshots/
  flowaudit inventory who 10.0.3.7 --at 2026-11-23T08:00:00Z")]
pub(crate) enum Inventory {
    /// Brings Kubernetes objects into the lake, from `kubectl get -o yaml|json` or `kubectl get --watch`
    Import(import::Import),
    /// Tells who held an address
    Who(who::Who),
}

impl Inventory {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        match self {
            Inventory::Import(command) => command.run(everywhere),
            Inventory::Who(command) => command.run(everywhere),
        }
    }
}
