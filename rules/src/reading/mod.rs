//! Where engines disagree (policy-semantics §5): the points, their readings, and which engine takes which.
//!
//! The page is the table `ROWS`. The evaluator asks it at every point it comes to; which points those are decides
//! how many readings a connection has, and whether they agree.

mod point;
mod rows;
mod walk;

use std::fmt;
use std::str::FromStr;

pub use point::Unspecified;
use rows::ROWS;
pub(crate) use walk::{Asking, Next, Readings};

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

/// How one point may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The host-network pod is its node: no policy selects it, no selector peer matches it. Behaviour (a) of §1.6.
    IsNode,
    /// The same, but a `namespaceSelector` that leaves pods open matches it.
    IsNodeInNamespace,
    /// The host-network pod is a pod like others. Behaviour (b) of §1.6.
    IsPod,
    /// The rule that is asked about matches.
    Matches,
    /// It does not.
    DoesNotMatch,
    /// Policy is not asked: the connection is allowed.
    Exempt,
    /// Policy is asked.
    Judged,
    /// A port name means what the receiving pod declares.
    OfReceiver,
    /// A port name means any number that some pod of the cluster gives it.
    OfCluster,
    /// A protocol without ports is covered by rules without ports.
    ByRulesWithoutPorts,
    /// The same, unless any rule of the side has ports.
    DeniedByAnyPort,
    /// Policies of v1alpha2 count, those of v1alpha1 do not.
    OnlyNewer,
    /// The other way round.
    OnlyOlder,
    /// Both count.
    Both,
}

/// Whose readings count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The default reading of the page at every point.
    Page,
    /// Every reading the engine may take.
    Engine(Engine),
}

impl Reader {
    /// The readings of a point, at least one.
    fn of(self, point: Unspecified) -> &'static [Reading] {
        let Some(row) = ROWS.iter().find(|row| row.point == point) else {
            return &[Reading::Matches];
        };
        match self {
            Self::Page => std::slice::from_ref(&row.page),
            Self::Engine(Engine::Felix) => row.felix,
            Self::Engine(Engine::Cilium) => row.cilium,
            Self::Engine(Engine::None | Engine::Unknown) => row.open,
        }
    }

    /// Whether the first reading of every point is the page's.
    pub(crate) fn begins_with_the_page(self) -> bool {
        matches!(
            self,
            Self::Page | Self::Engine(Engine::None | Engine::Unknown)
        )
    }

    /// The reading that explanations follow.
    pub(crate) fn first(self, point: Unspecified) -> Reading {
        let first = self.of(point).first();
        first.copied().unwrap_or(Reading::Matches)
    }

    /// The reading of a point that has one only.
    pub(crate) fn only(self, point: Unspecified) -> Option<Reading> {
        match self.of(point) {
            [only] => Some(*only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_engines_read_back() {
        for engine in [Engine::Felix, Engine::Cilium, Engine::None, Engine::Unknown] {
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        assert!("calico".parse::<Engine>().is_err());
    }

    #[test]
    fn the_first_open_reading_is_the_pages_and_engines_stay_within_what_is_open() {
        for row in ROWS {
            assert_eq!(row.open.first(), Some(&row.page), "{}", row.point);
            for reading in row.felix.iter().chain(row.cilium) {
                assert!(row.open.contains(reading), "{} {reading:?}", row.point);
            }
            assert!(!row.felix.is_empty() && !row.cilium.is_empty());
        }
    }

    #[test]
    fn a_word_that_is_no_engine_says_what_to_write() {
        let error = "ovn".parse::<Engine>().unwrap_err();
        assert_eq!(error.to_string(), "`ovn` is not an enforcement engine");
        assert!(error.help().unwrap().contains("felix, cilium"));
    }
}
