//! What went wrong, or is worth knowing, with one input. The others are read all the same.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is missing.
    Note,
    /// Something of this input is not in the lake.
    Failed,
}

/// Something about one input that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The input as a person would name it.
    pub input: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter: lower case, one line, no full stop; follows the name of the input.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// Worth knowing; nothing is missing.
    pub fn note(input: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            input: input.into(),
            severity: Severity::Note,
            message: message.into(),
            help: None,
        }
    }

    /// Something of this input is not in the lake.
    pub fn failed(
        input: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Problem {
            input: input.into(),
            severity: Severity::Failed,
            message: message.into(),
            help: Some(help.into()),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        self.help.clone()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.input, self.message)
    }
}
