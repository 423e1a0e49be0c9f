//! Of a group of settings, those that a command heeds: it shows and takes no others.
//!
//! The others can still be set by the file or a variable, where commands share them; typed as a flag they are refused,
//! because whoever types one expects something of it.

use clap::builder::Resettable;
use clap::error::Error;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::keys::{Analyze, Cluster};

/// Which settings of a group.
pub(crate) trait Choice {
    /// The group.
    type Of: Args + Clone;
    /// Ids of its arguments.
    const IDS: &'static [&'static str];
}

/// The flags of a group that a command heeds.
#[derive(Debug, Clone)]
pub(crate) struct Heeds<S: Choice>(pub(crate) S::Of);

/// Whose addresses they are.
#[derive(Debug, Clone)]
pub(crate) struct Whose;

impl Choice for Whose {
    type Of = Cluster;
    const IDS: &'static [&'static str] = &["cluster-name", "cluster-vpc"];
}

/// How what is declared is read.
#[derive(Debug, Clone)]
pub(crate) struct Enforced;

impl Choice for Enforced {
    type Of = Cluster;
    const IDS: &'static [&'static str] = &["engine"];
}

/// How what is declared is read, and where addresses of nobody belong to a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Placed;

impl Choice for Placed {
    type Of = Cluster;
    const IDS: &'static [&'static str] = &["engine", "ranges"];
}

/// The same, and which cluster is meant.
#[derive(Debug, Clone)]
pub(crate) struct Asked;

impl Choice for Asked {
    type Of = Cluster;
    const IDS: &'static [&'static str] = &["cluster-name", "engine", "ranges"];
}

/// Where addresses of nobody belong to a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Ranges;

impl Choice for Ranges {
    type Of = Cluster;
    const IDS: &'static [&'static str] = &["ranges"];
}

/// How addresses are named.
#[derive(Debug, Clone)]
pub(crate) struct Identified;

impl Choice for Identified {
    type Of = Analyze;
    const IDS: &'static [&'static str] = &["skew", "cidr_sets"];
}

impl<S: Choice> Args for Heeds<S> {
    fn augment_args(command: Command) -> Command {
        let group = S::Of::augment_args(Command::new("group"));
        group
            .get_arguments()
            .cloned()
            .fold(command, |command, arg| {
                match S::IDS.contains(&arg.get_id().as_str()) {
                    true => command.arg(arg),
                    false => command.arg(unheeded(arg)),
                }
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Choice> FromArgMatches for Heeds<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        S::Of::from_arg_matches(matches).map(Heeds)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

fn unheeded(arg: Arg) -> Arg {
    arg.hide(true)
        .env(Resettable::Reset)
        .value_parser(|_: &str| Err::<String, _>("this command does not heed it"))
}
