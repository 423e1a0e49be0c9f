//! The scenario: a cluster and its traffic, said in YAML by someone who also says what the policies mean.
//!
//! Fields are documented where they stand; `scenarios/small.yaml` uses nearly all of them. The text is
//! checked by [`check`] before anything is simulated, so that a mistake is named with its line.

mod check;
mod cluster;
mod traffic;

use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

pub use cluster::{
    ClusterSpec, Direction, ExternalSpec, FaultSpec, Kind, LifeSpec, NamespaceSpec, NodeSpec,
    PolicySpec, PortSpec, RelabelSpec, RolloutSpec, ServicePortSpec, ServiceSpec, SkipdataSpec,
    TerwaySpec, WorkloadSpec,
};
pub use traffic::{Answer, Egress, Ingress, Intended, Place, Protocol, TrafficSpec};

use crate::error::SampleLogsError;
use crate::time::{Instant, SECOND_MS, Span};
use crate::truth::SKEW_MS;

/// A cluster, its traffic and what is meant by it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name; also the name it is built in under.
    pub name: String,
    /// What it shows, in a sentence or two.
    pub about: String,
    /// The seed it is played with unless another is given.
    pub seed: u64,
    /// When the log begins; a multiple of ten minutes.
    pub start: Spanned<Instant>,
    /// How long it runs; a multiple of ten minutes.
    pub duration: Spanned<Span>,
    /// Ids and habits of the cluster.
    pub cluster: ClusterSpec,
    /// Its nodes.
    pub nodes: Vec<NodeSpec>,
    /// Its namespaces.
    pub namespaces: Vec<NamespaceSpec>,
    /// What runs in it.
    pub workloads: Vec<WorkloadSpec>,
    /// Addresses outside, by name.
    #[serde(default)]
    pub externals: Vec<ExternalSpec>,
    /// Its Services. Only the inventory shows them: translation happens before the interface.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
    /// Its NetworkPolicies, literally.
    #[serde(default)]
    pub policies: Vec<PolicySpec>,
    /// How pods come and go.
    #[serde(default)]
    pub life: LifeSpec,
    /// Who talks to whom, and what the policies mean for it.
    pub traffic: Vec<TrafficSpec>,
    /// What goes wrong with the log itself.
    #[serde(default)]
    pub faults: FaultSpec,
}

/// The scenarios that come with the program.
pub const BUILTIN: [(&str, &str); 4] = [
    ("small", include_str!("../scenarios/small.yaml")),
    ("mixed", include_str!("../scenarios/mixed.yaml")),
    ("churn", include_str!("../scenarios/churn.yaml")),
    ("terway", include_str!("../scenarios/terway.yaml")),
];

impl Scenario {
    /// A scenario that comes with the program: `small`, `mixed`, `churn` or `terway`.
    pub fn builtin(name: &str) -> Result<Self, SampleLogsError> {
        match BUILTIN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(&format!("{name}.yaml"), text),
            None => Err(SampleLogsError::NoBuiltin { name: name.into() }),
        }
    }

    /// Reads and checks a scenario file.
    pub fn load(path: &Path) -> Result<Self, SampleLogsError> {
        let text = std::fs::read_to_string(path).map_err(|source| SampleLogsError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads and checks a scenario; `file` is only named in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, SampleLogsError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let scenario: Self =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                SampleLogsError::Parse {
                    file: file.into(),
                    line: error.location().map_or(0, |location| location.line()),
                    message: error.to_string().replace('\n', " "),
                }
            })?;
        check::check(file, &scenario)?;
        Ok(scenario)
    }

    /// First instant of the run, in milliseconds since the epoch.
    pub fn start_ms(&self) -> i64 {
        self.start.value.ms
    }

    /// End of the run, in milliseconds since the epoch.
    pub fn end_ms(&self) -> i64 {
        self.start.value.ms + self.duration.value.ms
    }

    /// Index of the workload written `namespace/name`.
    pub fn workload(&self, written: &str) -> Option<usize> {
        self.workloads
            .iter()
            .position(|workload| workload.name.value == written)
    }

    /// How far the times of a record and of the inventory may be apart at most: twice the clock that is furthest off, and
    /// the second that Kubernetes cuts its times to; never less than [`SKEW_MS`].
    pub fn skew_ms(&self) -> i64 {
        let clocks = self.nodes.iter();
        let off =
            clocks.flat_map(|node| [node.clock_ahead.ms.abs(), node.log_clock_ahead.ms.abs()]);
        SKEW_MS.max(2 * off.max().unwrap_or_default() + SECOND_MS)
    }

    /// Instants inside the run at which a policy begins or ends, in order.
    pub fn policy_changes_ms(&self) -> Vec<i64> {
        let edges = self
            .policies
            .iter()
            .flat_map(|policy| [policy.from, policy.until]);
        let mut changes: Vec<i64> = edges
            .flatten()
            .map(|span| self.start_ms() + span.ms)
            .collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }
}
