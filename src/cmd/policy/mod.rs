//! `policy`: what is wrong with policies before they are applied, and who may reach whom. Works on manifests, without a
//! lake.

mod lint;
mod matrix;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Everywhere;

/// What is wrong with policies before they are applied, and who may reach whom.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Looks for mistakes in manifests of policies
    Lint(lint::Lint),
    /// Shows who may reach whom
    Matrix(matrix::Matrix),
}

impl Policy {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        match self {
            Policy::Lint(command) => command.run(everywhere),
            Policy::Matrix(command) => command.run(everywhere),
        }
    }
}
