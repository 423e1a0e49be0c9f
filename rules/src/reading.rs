//! Where engines disagree (policy-semantics §5): the points, their readings, and which engine takes which.

use std::fmt;
use std::str::FromStr;

/// What enforces the policies of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Calico Felix: ACK Terway with policy routing.
    Felix,
    /// Cilium: ACK Terway with eBPF, DataPath V2.
    Cilium,
    /// Nothing enforces them: Flannel, exclusive ENI. What is declared is judged as for [`Engine::Unknown`].
    None,
    /// Not known which.
    #[default]
    Unknown,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Felix => "felix",
            Self::Cilium => "cilium",
            Self::None => "none",
            Self::Unknown => "unknown",
        })
    }
}

/// A word that is none of the engines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an enforcement engine")]
pub struct UnknownEngine(pub String);

impl UnknownEngine {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        Some("write felix, cilium, none or unknown".to_owned())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Felix, Self::Cilium, Self::None, Self::Unknown]
            .into_iter()
            .find(|engine| engine.to_string() == text)
            .ok_or_else(|| UnknownEngine(text.chars().take(64).collect()))
    }
}
