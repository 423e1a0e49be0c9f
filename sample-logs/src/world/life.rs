//! The instants of a pod's life, in true milliseconds.

use crate::time::MINUTE_MS;

/// A pod's life. What the inventory shows of it is cut to seconds and shifted by the node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The object was created.
    pub created_ms: i64,
    /// It was bound to its node.
    pub scheduled_ms: i64,
    /// It was given its address.
    pub allocated_ms: i64,
    /// `PodReadyToStartContainers` became true: after the allocation, before any packet.
    pub ready_to_start_ms: i64,
    /// Its container started.
    pub started_ms: i64,
    /// How it ends, if it does during the run.
    pub end: Option<LifeEnd>,
}

/// The end of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifeEnd {
    /// Someone asked for its deletion; for a finished Job's pod long after it finished.
    pub requested_ms: i64,
    /// Its container ended: no packet after this.
    pub finished_ms: i64,
    /// Its address was given back.
    pub released_ms: i64,
    /// The kubelet wrote the terminal phase.
    pub terminal_ms: i64,
    /// The object was gone.
    pub gone_ms: i64,
    /// Terway, where it says so, wrote down that the address is back.
    pub told_ms: i64,
}

impl LifeEnd {
    /// From when on Terway gives the address to another pod, where it manages addresses: the API shows the end, and it is told.
    pub(crate) fn free_ms(&self) -> i64 {
        self.told_ms.max(self.terminal_ms.min(self.gone_ms))
    }
}

impl Life {
    /// Whether it held its address at some instant of `[from_ms, to_ms]`.
    pub fn holds(&self, from_ms: i64, to_ms: i64) -> bool {
        self.allocated_ms <= to_ms && self.end.is_none_or(|end| end.released_ms >= from_ms)
    }

    /// Last instant at which it may send or answer.
    pub fn finished_ms(&self) -> i64 {
        self.end.map_or(i64::MAX, |end| end.finished_ms)
    }

    /// Whether it serves from `from_ms` to `to_ms`, with a second to spare on both sides.
    pub fn serves(&self, from_ms: i64, to_ms: i64) -> bool {
        self.started_ms + 1_000 <= from_ms && self.finished_ms().saturating_sub(1_000) >= to_ms
    }

    /// Whether it runs undisturbed at `at_ms`, so that something may happen to it.
    pub(crate) fn is_settled(&self, at_ms: i64) -> bool {
        self.end.is_none() && self.started_ms + MINUTE_MS < at_ms
    }
}
