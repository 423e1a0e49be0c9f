//! Environments of a GitOps repository: `prod=envs/prod`, several in one command, each a cluster of its own.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use crate::failure::{Failure, Mistake};

/// One environment: the name of its cluster, and where its manifests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) name: String,
    pub(super) path: String,
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write it as NAME=PATH, as in prod=envs/prod".to_owned();
        let (name, path) = text.split_once('=').ok_or_else(form)?;
        if name.is_empty() || path.is_empty() {
            return Err(form());
        }
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if !name.chars().all(is_plain) {
            let text = "an environment has a name of letters, digits, `-`, `_` and `.`";
            return Err(text.to_owned());
        }
        let (name, path) = (name.to_owned(), path.to_owned());
        Ok(Environment { name, path })
    }
}

/// Refuses environments that cannot all be meant, before anything is read.
pub(super) fn checked(environments: &[Environment]) -> Result<(), Failure> {
    let refuse = |text: String, help: &str| {
        let help = format!("{help}; nothing was read or written");
        Err(Failure::usage(Mistake(text), Some(help)))
    };
    let mut known: Vec<(&Environment, PathBuf)> = Vec::new();
    for environment in environments {
        let Environment { name, path } = environment;
        if path == "-" {
            let text = format!("environment `{name}` cannot be standard input");
            return refuse(text, "name its directory");
        }
        let Ok(place) = fs::canonicalize(path) else {
            let text = format!("environment `{name}`: there is no `{path}`");
            return refuse(text, "check the path");
        };
        for (other, beside) in &known {
            if other.name == *name {
                let text = format!(
                    "environment `{name}` is there twice: `{}` and `{path}`",
                    other.path
                );
                return refuse(text, "one environment is one directory and one cluster");
            }
            if place.starts_with(beside) || beside.starts_with(&place) {
                let text = format!(
                    "environments `{}` and `{name}` share files: `{}` and `{path}`",
                    other.name, other.path
                );
                return refuse(text, "what is wanted in one would be wanted in the other");
            }
        }
        known.push((environment, place));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        let read = |text: &str| text.parse::<Environment>();
        let prod = read("prod-1=envs/a=b").unwrap();
        assert_eq!(
            (prod.name.as_str(), prod.path.as_str()),
            ("prod-1", "envs/a=b")
        );
        for text in ["prod", "=envs", "prod=", "", "pr od=envs", "a/b=envs"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
