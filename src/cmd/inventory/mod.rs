//! `inventory`: who held which address when, and what was declared. One file per command.

mod cloud;
mod diff;
mod environments;
mod health;
mod history;
mod import;
mod past;
mod rebuild;
mod watch;
mod who;

use clap::Subcommand;

pub(crate) use self::import::{issues, said, said_known, told};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Everywhere;

/// Who held which address when, and what was declared.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  kubectl get nodes,namespaces,pods,services,replicasets,jobs,networkpolicies -A -o yaml --show-managed-fields | flowaudit inventory import -
  flowaudit inventory import snapshots/
  flowaudit inventory import audit.log events.json
  flowaudit inventory rebuild --source audit --source events --from 14d
  flowaudit inventory watch --cluster prod --lake oss://audit/lake
  flowaudit inventory cloud --region cn-hangzhou
  flowaudit inventory who 10.0.3.7 --at 2026-11-23T08:00:00Z
  flowaudit inventory history shop/redis-0
  flowaudit inventory diff 2h 1h
  flowaudit inventory health")]
pub(crate) enum Inventory {
    /// Brings Kubernetes objects into the lake, from `kubectl get -o yaml|json`, `kubectl get --watch`, audit logs and events
    Import(import::Import),
    /// Rebuilds the past from the audit log and the event centre in the log service
    Rebuild(rebuild::Rebuild),
    /// Watches a cluster: its objects come into the lake as they change
    Watch(watch::Watch),
    /// Brings into the lake what the cloud says of interfaces, security groups, flow logs, gateways and load balancers
    Cloud(cloud::Cloud),
    /// Tells who held an address
    Who(who::Who),
    /// Tells what is known of a pod, a node or an address over time
    History(history::History),
    /// Tells what came, went and changed between two instants
    Diff(diff::Diff),
    /// Tells how old the inventory is, what it rests on, where it has holes
    Health(health::Health),
}

impl Inventory {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        match self {
            Inventory::Import(command) => command.run(everywhere),
            Inventory::Rebuild(command) => command.run(everywhere),
            Inventory::Watch(command) => command.run(everywhere),
            Inventory::Cloud(command) => command.run(everywhere),
            Inventory::Who(command) => command.run(everywhere),
            Inventory::History(command) => command.run(everywhere),
            Inventory::Diff(command) => command.run(everywhere),
            Inventory::Health(command) => command.run(everywhere),
        }
    }
}
