//! The binary: arguments in, exit code out. Results go to standard output, everything else to standard error.

mod cmd;
mod exit;
mod failure;
mod findings_view;
mod manifests;
mod output;
mod progress;
mod sarif;
mod settings;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Everywhere;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Holds the traffic of an ACK cluster against its declared least privilege.
#[derive(Debug, Parser)]
#[command(
    name = "flowaudit",
    version,
    max_term_width = 110,
    after_help = "\
Exit codes:
  0  clean
  1  findings at or above --fail-on
  2  usage or settings: nothing was read or written
  3  something outside failed, or an input could not be used whole: nothing was lost, repeat

Begin with `flowaudit demo`."
)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole walk on sample logs
    Demo(cmd::demo::Demo),
    /// Writes the flow logs of a made-up cluster, with the truth
    Simulate(cmd::simulate::Simulate),
    /// Brings flow logs into the lake
    Ingest(cmd::ingest::Ingest),
    /// Who held which address when, and what was declared
    #[command(subcommand)]
    Inventory(cmd::inventory::Inventory),
    /// Turns hours not yet analysed, or re-opened, into edges, coverage and findings
    Analyze(cmd::analyze::Analyze),
    /// What was found, why, and what to do
    #[command(subcommand)]
    Findings(cmd::findings::Findings),
    /// What the declared policies mean for a connection, and why
    Explain(cmd::explain::Explain),
    /// What is wrong with policies before they are applied, and who may reach whom
    #[command(subcommand)]
    Policy(cmd::policy::Policy),
    /// Looks after the lake
    #[command(subcommand)]
    Lake(cmd::lake::LakeCommand),
    /// Checks and shows the settings
    #[command(subcommand)]
    Config(cmd::config::Config),
    /// Prints completions for a shell
    Completions(cmd::completions::Completions),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = run(&cli).unwrap_or_else(|failure| failure.report());
    exit.into()
}

fn run(cli: &Cli) -> Result<Exit, Failure> {
    let everywhere = &cli.everywhere;
    match &cli.command {
        Command::Demo(command) => command.run(everywhere),
        Command::Simulate(command) => command.run(everywhere),
        Command::Ingest(command) => command.run(everywhere),
        Command::Inventory(command) => command.run(everywhere),
        Command::Analyze(command) => command.run(everywhere),
        Command::Findings(command) => command.run(everywhere),
        Command::Explain(command) => command.run(everywhere),
        Command::Policy(command) => command.run(everywhere),
        Command::Lake(command) => command.run(everywhere),
        Command::Config(command) => command.run(everywhere),
        Command::Completions(command) => command.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_sound() {
        super::Cli::command().debug_assert();
    }
}
