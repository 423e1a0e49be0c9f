//! How a live watch is set, where it records, and what it tells.

use std::time::Duration;

use flowaudit_lake::LakeError;
use flowaudit_rules::kubernetes::Issue;

use super::follow::Tuning;
use super::lease::LeaseSettings;
use super::login::Login;
use crate::inventory::live::{Heard, KindId};

/// How a cluster is watched.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// How it is reached.
    pub login: Login,
    /// What was heard is committed this often.
    pub every: Duration,
    /// Lists everything, commits and ends.
    pub once: bool,
    /// Writes only while it holds this lease.
    pub lease: Option<LeaseSettings>,
    /// How patient it is.
    pub tuning: Tuning,
    /// Whether SIGTERM and Ctrl-C end the run.
    pub signals: bool,
}

impl Default for WatchSettings {
    fn default() -> Self {
        WatchSettings {
            login: Login::default(),
            every: Duration::from_secs(30),
            once: false,
            lease: Some(LeaseSettings::default()),
            tuning: Tuning::default(),
            signals: false,
        }
    }
}

/// What takes down what is heard.
pub trait Record {
    /// Takes one thing that the server said.
    fn hear(&mut self, heard: Heard) -> Result<(), LakeError>;
    /// Publishes what is not published yet; `now` in microseconds since the epoch. The number of the commit, if there was any.
    fn commit(&mut self, now: i64) -> Result<Option<u64>, LakeError>;
}

/// A kind that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// How rights name it.
    pub right: String,
    /// Why.
    pub why: String,
    /// What is not known without it.
    pub cost: &'static str,
}

/// How it stands at a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The commit, if anything was new.
    pub commit: Option<u64>,
    /// How long the commit took.
    pub spent: Duration,
    /// Kinds that are watched.
    pub watched: usize,
    /// Kinds that the cluster serves.
    pub served: usize,
    /// Objects of them at the last list of each.
    pub listed: u64,
    /// Events since the report before.
    pub events: u64,
    /// The longest that anything heard has waited to be recorded since the report before.
    pub lag: Duration,
    /// The kind that has been silent longest, and for how long.
    pub silent: Option<(KindId, Duration)>,
    /// Kinds of which something is missed just now.
    pub lost: Vec<KindId>,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'e> {
    /// The server has said which kinds it serves.
    Connected {
        /// The API server.
        server: &'e str,
        /// So many kinds of the list.
        kinds: usize,
    },
    /// A kind is served in versions only that are not read.
    Unread {
        /// How rights name it.
        right: String,
        /// The versions that are served.
        versions: &'e [String],
    },
    /// Another one writes.
    Standby {
        /// Who.
        holder: &'e str,
    },
    /// The lease is ours; recording begins.
    Leading,
    /// The lease is not ours any more; recording has stopped, and what was not committed is left to the other one.
    LeaseLost,
    /// A kind was listed whole.
    Listed {
        /// Which.
        kind: &'e KindId,
        /// So many objects.
        objects: u64,
    },
    /// Something of a kind is missed from now on.
    Lost {
        /// Which.
        kind: &'e KindId,
        /// Why.
        why: &'e str,
    },
    /// A right is missing; the others are watched.
    Missing(&'e Missing),
    /// An object that cannot be used whole.
    Issue(&'e Issue),
    /// What was heard is in the lake.
    Committed(&'e Report),
    /// Something is tried again and again.
    Waiting(&'e str),
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Kinds that the cluster serves.
    pub kinds: usize,
    /// Objects listed.
    pub listed: u64,
    /// Events heard.
    pub events: u64,
    /// Commits.
    pub commits: u64,
    /// Lists that were begun because a watch could not be taken up again.
    pub relisted: u64,
    /// Kinds that could not be had.
    pub missing: Vec<Missing>,
    /// Objects that were left out.
    pub left_out: u64,
}
