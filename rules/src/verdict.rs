//! What is declared about one connection, and the sentences that explain it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::evaluate::Connection;

/// What is declared about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Allowed when both sides allow, denied when one denies, unspecified when engines may differ.
    pub outcome: Outcome,
    /// On which points it depends; empty unless [`Outcome::Unspecified`].
    pub unspecified: Vec<Unspecified>,
    /// The answer under the default readings of policy-semantics, whatever the engine.
    pub default_reading: Decision,
    /// The egress side of the client.
    pub egress: Side,
    /// The ingress side of the server.
    pub ingress: Side,
}

/// Allowed, denied, or depending on the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Allowed under every reading the engine may take.
    Allowed,
    /// Denied under every reading the engine may take.
    Denied,
    /// It depends.
    Unspecified,
}

/// Allowed or denied, under one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The connection may be opened.
    Allowed,
    /// It may not.
    Denied,
}

/// What one side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it says under every reading the engine may take.
    pub outcome: Outcome,
    /// What it says under the default readings.
    pub default_reading: Decision,
    /// Whether a policy isolates the pod in this direction.
    pub isolated: bool,
    /// Which tier decided.
    pub tier: Tier,
    /// Why: every policy that took part, and every rule that admits.
    pub reasons: Vec<Reason>,
}

/// What decided a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// NetworkPolicies that isolate the pod.
    Policy,
    /// No policy isolates the pod, so everything is allowed.
    Default,
    /// Policies do not apply to this connection: the pod's own node, the pod itself.
    Exempt,
    /// There is no pod on this side for a policy to select.
    NoPod,
}

/// One of the points on which engines differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unspecified {
    /// To be filled from policy-semantics §5.
    HostNetwork,
}

impl fmt::Display for Unspecified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host-network")
    }
}

impl Serialize for Unspecified {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One reason of a side. Displays as one sentence that a person can check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// There is no pod on this side.
    NotAPod {
        /// What is there instead, in words.
        party: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPod { party } => f.write_str(party),
        }
    }
}

impl Reason {
    /// The policy it names, as `namespace/name`.
    pub fn policy(&self) -> Option<&str> {
        None
    }

    /// The rule it names, counted from 0.
    pub fn rule(&self) -> Option<usize> {
        None
    }
}

/// The verdict in several lines: the connection, then each side with its reasons.
pub fn explain(verdict: &Verdict, connection: &Connection<'_>) -> String {
    let _ = (verdict, connection);
    String::new()
}
