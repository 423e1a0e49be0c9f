//! The settings file: where it is looked for, how it is read, what is said about a mistake in it.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::cloud::Cloud;
use super::fail_on::FailOn;
use super::keys::{Analyze, Cluster, Ingest, text};
use super::place::Oss;
use super::sources::Sources;
use super::watch::Watch;
use crate::failure::{Failure, Mistake};
use crate::output::Format;

/// The settings file that is read if it is there.
pub(super) const NAME: &str = "flowaudit.yaml";
/// A longer settings file is not one.
const BYTES_MAX: u64 = 1 << 20;

/// The settings file as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct File {
    pub(super) lake: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) output: Option<Format>,
    #[serde(deserialize_with = "text")]
    pub(super) fail_on: Option<FailOn>,
    pub(super) oss: Oss,
    pub(super) cluster: Cluster,
    pub(super) ingest: Ingest,
    pub(super) analyze: Analyze,
    pub(super) cloud: Cloud,
    pub(super) sources: Sources,
    pub(super) watch: Watch,
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<File, Failure> {
    let failed = |source| {
        let name = path.display();
        let error =
            anyhow::Error::new(source).context(format!("cannot read settings file `{name}`"));
        let help = "check `--config`; without it, `flowaudit.yaml` is read if it is there";
        Failure::usage(error, Some(help.to_owned()))
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    parse(&path.display().to_string(), &text)
}

/// Reads the text of a file called `file`.
pub(super) fn parse(file: &str, text: &str) -> Result<File, Failure> {
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let message = error.to_string().replace('\n', " ");
        // The place comes first in our messages, and what the reader of this one could set is not there to set.
        let message = message.split(" at line ").next().unwrap_or_default();
        let message = match message.strip_prefix("duplicate mapping key: ") {
            Some(rest) => {
                let key = rest.split(',').next().unwrap_or_default();
                format!("the key `{key}` is there twice")
            }
            None => message.to_owned(),
        };
        let help = "`flowaudit config show` lists every key with its value; `flowaudit config check` tries a file";
        Failure::usage(
            Mistake(format!("{file}:{line}: {message}")),
            Some(help.to_owned()),
        )
    })
}
