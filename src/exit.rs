//! The exit codes: scripts may rely on them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did what it was asked; nothing at or above `--fail-on` was found.
    Clean = 0,
    /// The command did what it was asked and found something at or above `--fail-on`.
    Findings = 1,
    /// The settings or arguments cannot be used. Nothing was read or written.
    Usage = 2,
    /// Something outside failed, or an input could not be used whole. What was published stays valid; the command
    /// may be repeated.
    Failed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
