//! Manifests from disk: which files are meant, and their text.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flowaudit_ingest::source::input::{self, Located};
use flowaudit_ingest::{Input, Problem, Severity};

use crate::cmd::ingest;
use crate::failure::{Failure, Mistake};
use crate::output;

/// A longer manifest is refused.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// Hands every manifest that `paths` mean to `each`, by name and text. A file that cannot be read is named on standard
/// error; returns whether there was none.
pub(crate) fn read(paths: &[PathBuf], mut each: impl FnMut(&str, &str)) -> Result<bool, Failure> {
    let inputs: Vec<Input> = paths
        .iter()
        .map(|path| match is_stdin(path) {
            true => Input::Stdin,
            false => Input::from(path.as_path()),
        })
        .collect();
    let (located, mut problems) = input::locate(&inputs, &is_manifest).map_err(|error| {
        let help = error.help();
        Failure::usage(error, help)
    })?;
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    for located in &located {
        let name = match (&here, located) {
            (Ok(here), Located::File(path)) => within(here, path),
            _ => located.name(),
        };
        match text(located) {
            Ok(text) => each(&name, &text),
            Err(error) => problems.push(Problem::failed(
                name,
                format!("cannot be read: {error}"),
                "see to it that it can be, and run again; the answers rest on the others",
            )),
        }
    }
    ingest::problems(&problems);
    Ok(!problems
        .iter()
        .any(|problem| problem.severity == Severity::Failed))
}

/// Whether standard input is meant.
fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Standard input can be read once, so `-` may stand in one place only.
pub(crate) fn check_stdin_once<'p>(
    paths: impl Iterator<Item = &'p PathBuf>,
) -> Result<(), Failure> {
    match paths.filter(|path| is_stdin(path)).count() {
        0 | 1 => Ok(()),
        _ => Err(Failure::usage(
            Mistake("standard input can be read only once".to_owned()),
            Some("write `-` in one place, and name files elsewhere".to_owned()),
        )),
    }
}

/// The path as one would type it here: that is how editors and code hosts know it, too.
fn within(here: &Path, path: &Path) -> String {
    let path = path.strip_prefix(here).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

/// Whether a file of a folder is meant; a file that is named itself always is.
fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("yaml" | "yml" | "json"))
}

fn text(located: &Located) -> io::Result<String> {
    let (Located::File(path) | Located::Stream(path)) = located else {
        return text_within(io::stdin().lock());
    };
    text_within(File::open(path)?)
}

fn text_within(file: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let bytes = file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
    match bytes as u64 > TEXT_BYTES_MAX {
        true => Err(io::Error::other(format!(
            "it is longer than {}",
            output::bytes(TEXT_BYTES_MAX)
        ))),
        false => Ok(text),
    }
}
