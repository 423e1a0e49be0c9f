//! Whether something matches, as far as that can be said without asking for readings.

use crate::reading::{Reader, Reading};
use crate::verdict::Unspecified;

/// Whether something matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Under every reading.
    Yes,
    /// Under none.
    No,
    /// It depends on how the engine reads one of [`Points`]. There are few of those, and each is one question however
    /// often it comes up, so what is the same either way may be answered without asking.
    Open,
    /// For the plain evaluator to say. It counts how much it had to ask, so nothing that follows is looked at.
    Ask,
}

impl From<bool> for Fit {
    fn from(matches: bool) -> Self {
        match matches {
            true => Self::Yes,
            false => Self::No,
        }
    }
}

impl Fit {
    /// The first of several that does not match, in the order in which the plain evaluator asks.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut fit = Self::Yes;
        for part in parts {
            match part {
                Self::No | Self::Ask => return part,
                Self::Open => fit = Self::Open,
                Self::Yes => {}
            }
        }
        fit
    }

    /// The first of several that matches.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut fit = Self::No;
        for part in parts {
            match part {
                Self::Yes | Self::Ask => return part,
                Self::Open => fit = Self::Open,
                Self::No => {}
            }
        }
        fit
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Open | Self::Ask => self,
        }
    }

    /// What matches only if this does.
    pub(super) fn and(self, then: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Yes => then(),
            Self::No | Self::Ask => self,
            Self::Open => match then() {
                Self::Yes => Self::Open,
                other => other,
            },
        }
    }
}

/// The points that come up with many connections, as the engine and the default reading both have them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points {
    pub(super) block_on_pod: Fit,
    pub(super) end_port: Fit,
    pub(super) sctp: Fit,
    pub(super) cilium_only: Fit,
}

impl Points {
    /// As they are read by everyone who counts.
    pub(super) fn of(reader: Reader) -> Self {
        Self::by(
            |point| match (reader.only(point), Reader::Page.only(point)) {
                (Some(ours), Some(page)) if ours == page => (ours == Reading::Matches).into(),
                _ => Fit::Open,
            },
        )
    }

    /// As explanations show them: by the first reading.
    pub(super) fn shown(reader: Reader) -> Self {
        Self::by(|point| (reader.first(point) == Reading::Matches).into())
    }

    fn by(fit: impl Fn(Unspecified) -> Fit) -> Self {
        Self {
            block_on_pod: fit(Unspecified::BlockOnPod),
            end_port: fit(Unspecified::EndPort),
            sctp: fit(Unspecified::Sctp),
            cilium_only: fit(Unspecified::CiliumOnly),
        }
    }
}
