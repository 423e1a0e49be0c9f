//! Why a command stopped, said for the person who must act: `error:`, `cause:` and ` help:`.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use flowaudit_analyze::AnalyzeError;
use flowaudit_ingest::IngestError;
use flowaudit_lake::LakeError;
use flowaudit_sample_logs::SampleLogsError;

use crate::exit::Exit;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    help: Option<String>,
}

impl Failure {
    /// The settings or arguments cannot be used.
    pub(crate) fn usage(error: impl Into<anyhow::Error>, help: impl Into<Option<String>>) -> Self {
        Failure {
            exit: Exit::Usage,
            error: error.into(),
            help: help.into(),
        }
    }

    /// Something outside failed.
    pub(crate) fn outside(
        error: impl Into<anyhow::Error>,
        help: impl Into<Option<String>>,
    ) -> Self {
        Failure {
            exit: Exit::Failed,
            error: error.into(),
            help: help.into(),
        }
    }

    /// The same, said of a source of the settings.
    pub(crate) fn within(mut self, source: &str) -> Self {
        self.error = self
            .error
            .context(format!("source `{source}` cannot be used"));
        self
    }

    /// Prints the chain and gives the exit code.
    pub(crate) fn report(&self) -> Exit {
        let reader_left = self
            .error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if reader_left {
            // `flowaudit … | head` has all it wanted.
            return Exit::Clean;
        }
        let mut chain: Vec<String> = Vec::new();
        for error in self.error.chain() {
            let text = error.to_string();
            // A wrapper that repeats its source says nothing of its own.
            if !chain.iter().any(|said| said.ends_with(&text)) {
                chain.push(text);
            }
        }
        let mut texts = chain.iter();
        if let Some(text) = texts.next() {
            say(Word::Error, text);
        }
        texts.for_each(|text| say(Word::Cause, text));
        if let Some(help) = &self.help {
            say(Word::Help, help);
        }
        self.exit
    }
}

/// Output that could not be written; what is read or written elsewhere is said to be so where it happens.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let help = "see that what reads the output runs on, and that there is space";
        let error = anyhow::Error::new(error).context("cannot write to standard output");
        Failure::outside(error, Some(help.to_owned()))
    }
}

impl From<LakeError> for Failure {
    fn from(error: LakeError) -> Self {
        let help = error.help();
        match error {
            LakeError::NoLake { .. } | LakeError::Foreign { .. } | LakeError::RootIsFile { .. } => {
                Failure::usage(error, help)
            }
            _ => Failure::outside(error, help),
        }
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        let help = error.help();
        match error.is_usage() {
            true => Failure::usage(error, help),
            false => Failure::outside(error, help),
        }
    }
}

impl From<AnalyzeError> for Failure {
    fn from(error: AnalyzeError) -> Self {
        let help = error.help();
        match error {
            AnalyzeError::Lake(error) => error.into(),
            AnalyzeError::UnknownParty { .. }
            | AnalyzeError::UnknownCluster { .. }
            | AnalyzeError::PartyOfSeveralClusters { .. }
            | AnalyzeError::UncertainParty { .. } => Failure::usage(error, help),
            AnalyzeError::Value { .. } | AnalyzeError::Coverage { .. } => {
                Failure::outside(error, help)
            }
        }
    }
}

impl From<SampleLogsError> for Failure {
    fn from(error: SampleLogsError) -> Self {
        let help = error.help();
        match error {
            SampleLogsError::Write { .. } => Failure::outside(error, help),
            _ => Failure::usage(error, help),
        }
    }
}

/// The word a line on standard error begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    /// Something could not be done.
    Error,
    /// Why.
    Cause,
    /// Something is odd.
    Warning,
    /// Worth knowing.
    Note,
    /// What to do about it.
    Help,
}

/// One line on standard error. That it cannot be written is nothing that could be said anywhere.
pub(crate) fn say(word: Word, text: impl Display) {
    let (name, colour) = match word {
        Word::Error => ("error", "31"),
        Word::Cause => ("cause", "31"),
        Word::Warning => ("warning", "33"),
        Word::Note => ("note", "36"),
        Word::Help => (" help", "32"),
    };
    let text = text.to_string();
    let text = crate::output::printable(&text);
    let mut stderr = io::stderr().lock();
    let _ = match is_coloured() {
        true => writeln!(stderr, "\x1b[1;{colour}m{name}\x1b[0m: {text}"),
        false => writeln!(stderr, "{name}: {text}"),
    };
}

/// A line of progress or advice on standard error, without a word before it.
pub(crate) fn tell(text: impl Display) {
    let text = text.to_string();
    let text = crate::output::printable(&text);
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn is_coloured() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && io::stderr().is_terminal()
}

/// A mistake in an argument, in words.
#[derive(Debug)]
pub(crate) struct Mistake(pub String);

impl Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Mistake {}
