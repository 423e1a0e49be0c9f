//! The severity from which on findings make the exit code 1.

use std::fmt::Display;
use std::str::FromStr;

use flowaudit_analyze::finding::Severity;

/// The severity from which on findings make the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FailOn {
    /// Findings are no failure.
    #[default]
    Never,
    /// This severity or a graver one.
    Severity(Severity),
}

impl FailOn {
    /// Whether a finding of that severity counts.
    pub(crate) fn is_reached_by(self, severity: &str) -> bool {
        match (self, Severity::from_word(severity)) {
            (FailOn::Severity(least), Some(severity)) => severity >= least,
            _ => false,
        }
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, Severity::from_word(text)) {
            ("never", _) => Ok(FailOn::Never),
            (_, Some(severity)) => Ok(FailOn::Severity(severity)),
            _ => Err(format!(
                "`{text}` is not a severity: write low, medium, high, critical or never"
            )),
        }
    }
}

impl Display for FailOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FailOn::Never => "never",
            FailOn::Severity(severity) => severity.as_str(),
        })
    }
}
