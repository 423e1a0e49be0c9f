//! Names on the command line → the files, streams and standard input they mean.
//!
//! A name is `-` for standard input, a file, a directory (walked to its leaves), or a pattern such as `logs/**/*.gz`.
//! What cannot be meant (a name that is not there, a pattern that matches nothing) is found before anything is read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use super::Problem;

/// Directories below directories below directories: deeper is a loop.
const DEPTH_MAX: usize = 64;

/// One name as the user gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// `-`
    Stdin,
    /// A file, a directory or a pattern.
    Named(String),
}

impl FromStr for Input {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(if name == "-" {
            Input::Stdin
        } else {
            Input::Named(name.to_owned())
        })
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Input::Named(path.to_string_lossy().into_owned())
    }
}

/// A name that cannot be meant. Nothing was read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputError {
    /// No such file.
    #[error("there is no `{name}`")]
    Missing {
        /// The name.
        name: String,
    },
    /// A pattern that matches nothing.
    #[error("nothing matches `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// Not a pattern.
    #[error("`{pattern}` is not a pattern: {reason}")]
    NotAPattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A directory in which no file lies.
    #[error("directory `{name}` holds no file to read")]
    EmptyDirectory {
        /// The directory.
        name: String,
    },
    /// No input was named.
    #[error("no input was named")]
    Nothing,
}

impl InputError {
    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(
            match self {
                InputError::Missing { .. } => "check the name; nothing was read",
                InputError::NoMatch { .. } => "check the pattern, and that the shell left it alone (quote it); nothing was read",
                InputError::NotAPattern { .. } => "`*`, `?`, `[a-z]` and `**` can be used; nothing was read",
                InputError::EmptyDirectory { .. } => "check the name; hidden files are left out; nothing was read",
                InputError::Nothing => "name files, directories or patterns, or `-` for standard input",
            }
            .to_owned(),
        )
    }
}

/// Something that can be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Located {
    /// A regular file, by its path with links resolved.
    File(PathBuf),
    /// A pipe or a device: read once, from where it is.
    Stream(PathBuf),
    /// Standard input.
    Stdin,
}

impl Located {
    /// The name for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Located::File(path) | Located::Stream(path) => path.to_string_lossy().into_owned(),
            Located::Stdin => "-".to_owned(),
        }
    }
}

/// What the names mean, each file once, in the order of the names and by path within a directory or pattern.
///
/// `wanted` chooses among the files of directories; a file that was named itself is always taken. What cannot be
/// looked into is a problem, not an error.
pub fn locate(
    inputs: &[Input],
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(Vec<Located>, Vec<Problem>), InputError> {
    if inputs.is_empty() {
        return Err(InputError::Nothing);
    }
    let mut found = Found {
        located: Vec::new(),
        known: BTreeSet::new(),
        seen: 0,
        problems: Vec::new(),
        wanted,
    };
    for input in inputs {
        match input {
            Input::Stdin => found.add(Located::Stdin),
            Input::Named(name) => found.named(name)?,
        }
    }
    Ok((found.located, found.problems))
}

struct Found<'w> {
    located: Vec<Located>,
    known: BTreeSet<Located>,
    /// Files come across, those that are known already included.
    seen: usize,
    problems: Vec<Problem>,
    wanted: &'w dyn Fn(&Path) -> bool,
}

impl Found<'_> {
    fn named(&mut self, name: &str) -> Result<(), InputError> {
        match fs::metadata(name) {
            Ok(metadata) if metadata.is_dir() => {
                let before = (self.seen, self.problems.len());
                let left_out = self.directory(Path::new(name), 0);
                if left_out > 0 {
                    self.problems.push(Problem::note(
                        name,
                        format!("holds {left_out} other or hidden files, left out"),
                    ));
                }
                if (self.seen, self.problems.len()) == before {
                    return Err(InputError::EmptyDirectory {
                        name: name.to_owned(),
                    });
                }
                Ok(())
            }
            Ok(_) => {
                self.file(Path::new(name));
                Ok(())
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && name.contains(['*', '?', '[']) =>
            {
                self.pattern(name)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(InputError::Missing {
                name: name.to_owned(),
            }),
            Err(error) => {
                self.unreadable(name, &error);
                Ok(())
            }
        }
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), InputError> {
        let paths = glob::glob(pattern).map_err(|error| InputError::NotAPattern {
            pattern: pattern.to_owned(),
            reason: error.msg.to_owned(),
        })?;
        let mut matched = false;
        for path in paths {
            matched = true;
            match path {
                // `**` matches directories too; the files in them are matched, or not, by themselves.
                // The end of a circle of links.
                Ok(path) if fs::symlink_metadata(&path).is_err() => {}
                Ok(path) if path.is_dir() => matched = self.inside_pattern(pattern, &path),
                Ok(path) => self.file(&path),
                Err(error) => self.unreadable(&error.path().to_string_lossy(), error.error()),
            }
        }
        if matched {
            Ok(())
        } else {
            Err(InputError::NoMatch {
                pattern: pattern.to_owned(),
            })
        }
    }

    /// A directory that a pattern names is walked, unless the pattern goes into directories by itself.
    fn inside_pattern(&mut self, pattern: &str, path: &Path) -> bool {
        if !pattern.contains("**") {
            self.directory(path, 0);
        }
        true
    }

    /// How many files were left out.
    fn directory(&mut self, path: &Path, depth: usize) -> usize {
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable(&path.to_string_lossy(), &error);
                return 0;
            }
        };
        let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        let mut left_out = 0;
        for path in paths {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
            match fs::metadata(&path) {
                _ if hidden => left_out += 1,
                Ok(metadata) if metadata.is_dir() && depth < DEPTH_MAX && !is_link(&path) => {
                    left_out += self.directory(&path, depth + 1);
                }
                Ok(metadata) if metadata.is_file() && (self.wanted)(&path) => self.file(&path),
                // Links to directories could lead in circles; pipes and devices could block for ever.
                Ok(_) => left_out += 1,
                Err(error) => self.unreadable(&path.to_string_lossy(), &error),
            }
        }
        left_out
    }

    fn file(&mut self, path: &Path) {
        match fs::metadata(path)
            .and_then(|metadata| Ok((metadata.is_file(), fs::canonicalize(path)?)))
        {
            Ok((true, path)) => self.add(Located::File(path)),
            Ok((false, _)) => self.add(Located::Stream(path.to_owned())),
            Err(error) => self.unreadable(&path.to_string_lossy(), &error),
        }
    }

    fn add(&mut self, located: Located) {
        self.seen += 1;
        if self.known.insert(located.clone()) {
            self.located.push(located);
        }
    }

    fn unreadable(&mut self, name: &str, error: &io::Error) {
        self.problems.push(Problem::failed(
            name,
            format!("cannot be read: {}", reason(error)),
            "see to it that this user may read it, and run again; nothing was lost",
        ));
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// The operating system's words, without its number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: &Path) -> bool {
        true
    }

    fn named(path: &Path) -> Input {
        Input::from(path)
    }

    #[test]
    fn files_directories_and_patterns() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        for file in ["one.log", "a/two.log", "a/b/three.gz", "a/.hidden"] {
            fs::write(root.join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(&root, root.join("a/loop")).unwrap();
        std::os::unix::fs::symlink(root.join("one.log"), root.join("again.log")).unwrap();
        let names = |inputs: &[Input]| {
            let (located, problems) = locate(inputs, &all).unwrap();
            let names: Vec<_> = located
                .iter()
                .map(|file| file.name().replace(&format!("{}/", root.display()), ""))
                .collect();
            (names, problems)
        };
        let (found, problems) = names(&[named(&root)]);
        assert_eq!(found, ["a/b/three.gz", "a/two.log", "one.log"]);
        assert_eq!(names(&[named(&root), named(&root)]).0, found);
        let plain = named(&root.join("a/b"));
        assert_eq!(names(&[plain.clone(), plain]).0, ["a/b/three.gz"]);
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0]
                .to_string()
                .ends_with("holds 2 other or hidden files, left out")
        );
        let twice = names(&[
            named(&root.join("again.log")),
            named(&root.join("one.log")),
            Input::Stdin,
            Input::Stdin,
        ]);
        assert_eq!(twice.0, ["one.log", "-"]);
        assert_eq!(
            names(&[named(&root.join("**/*.log"))]).0,
            ["a/two.log", "one.log"]
        );
        assert_eq!(names(&[named(&root.join("*/*.log"))]).0, ["a/two.log"]);
        assert_eq!(
            names(&[named(&root.join("[a]"))]).0,
            ["a/b/three.gz", "a/two.log"]
        );
    }

    #[test]
    fn names_that_cannot_be_meant() {
        let dir = tempfile::tempdir().unwrap();
        let message = |inputs: &[Input]| {
            let error = locate(inputs, &all).unwrap_err();
            assert!(error.help().is_some());
            error
                .to_string()
                .replace(&dir.path().display().to_string(), "DIR")
        };
        assert_eq!(
            message(&[named(&dir.path().join("none"))]),
            "there is no `DIR/none`"
        );
        assert_eq!(
            message(&[named(&dir.path().join("*.log"))]),
            "nothing matches `DIR/*.log`"
        );
        assert_eq!(
            message(&[named(&dir.path().join("***"))]).split(':').next(),
            Some("`DIR/***` is not a pattern")
        );
        assert_eq!(
            message(&[named(dir.path())]),
            "directory `DIR` holds no file to read"
        );
        assert_eq!(message(&[]), "no input was named");
    }

    #[test]
    fn a_path_below_a_file_is_a_problem_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let (located, problems) =
            locate(&[named(&file.join("below")), named(&file)], &all).unwrap();
        assert_eq!(located.len(), 1);
        assert!(
            problems[0]
                .to_string()
                .ends_with("cannot be read: not a directory"),
            "{}",
            problems[0]
        );
    }
}
