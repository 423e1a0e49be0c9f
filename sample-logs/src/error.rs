//! What can go wrong around a scenario, said for the person who wrote it.

use std::path::PathBuf;

use thiserror::Error;

/// Why a scenario could not be used or its output not be written.
#[derive(Debug, Error)]
pub enum SampleLogsError {
    /// The scenario file could not be read.
    #[error("cannot read scenario `{}`", path.display())]
    Read {
        /// The file as it was named.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The text is not YAML of the scenario's form.
    #[error("{file}:{line}: {message}")]
    Parse {
        /// The file as it was named.
        file: String,
        /// Line of the text, from 1; 0 when the parser names none.
        line: u64,
        /// What the parser said.
        message: String,
    },
    /// The text reads well but asks for something that cannot be.
    #[error("{file}:{line}: {message}")]
    Scenario {
        /// The file as it was named.
        file: String,
        /// Line of the entry, from 1.
        line: u64,
        /// What is wrong, in the scenario's words.
        message: String,
        /// What to do about it.
        help: String,
    },
    /// No scenario of that name comes with the program.
    #[error("no scenario `{name}` comes with flowaudit")]
    NoBuiltin {
        /// The name asked for.
        name: String,
    },
    /// The folder holds a set already, and two in one would be neither.
    #[error("`{}` is there already and not empty", path.display())]
    Occupied {
        /// The folder inside the one named.
        path: PathBuf,
    },
    /// A file of the output could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl SampleLogsError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some(
                "name a scenario file, or one of those that come with flowaudit: small, mixed, churn, terway"
                    .into(),
            ),
            Self::Parse { .. } => Some(
                "compare the entry with `sample-logs/scenarios/small.yaml`, which uses every field"
                    .into(),
            ),
            Self::Scenario { help, .. } => Some(help.clone()),
            Self::NoBuiltin { .. } => {
                Some("use small, mixed, churn or terway, or give the path of a scenario file".into())
            }
            Self::Occupied { .. } => Some("name a new folder, or remove the old set first".into()),
            Self::Write { .. } => Some(
                "check that the folder can be written and has room; then repeat the command".into(),
            ),
        }
    }
}
