//! `completions`: the shell learns the commands.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit completions bash > /etc/bash_completion.d/flowaudit
  flowaudit completions zsh > \"${fpath[1]}/_flowaudit\"")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut crate::Cli::command(),
            "flowaudit",
            &mut script,
        );
        let mut out = output::stdout();
        out.write_all(&script)?;
        out.flush()?;
        Ok(Exit::Clean)
    }
}
