//! One holder of one address during one time, and what of its times counts where clocks are apart.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Site, Stretch};

/// Kubernetes cuts its times to the second: what they date was up to so much later.
const CUT_US: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Pod,
    Node,
    Other,
}

#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) row: u32,
    pub(super) identity: u32,
    pub(super) rank: Rank,
    /// The node a pod runs on, and its own interface.
    pub(super) site: Site,
    pub(super) core: Stretch,
    pub(super) outer: Stretch,
    /// What of the core counts whatever the clocks say; may be empty.
    pub(super) sure: Stretch,
    /// The outer part, as far as clocks may be apart.
    pub(super) reach: Stretch,
    /// The core, as far as it surely held whatever clocks say; may be empty.
    pub(super) covered: Stretch,
    /// When nodes may have gone by what the row says of its holder: some time longer than it held.
    pub(super) in_force: Stretch,
    /// Somebody watched when it began: whoever came before is known as well.
    pub(super) seen_to_begin: bool,
    /// When it was gone at the latest, as somebody saw who watched on: whoever came next is known as well.
    pub(super) gone: Option<i64>,
}

/// What the column `evidence` says beside what a row rests on.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Evidence {
    /// Somebody watched when it came.
    came: bool,
    /// When it was gone at the latest, as somebody saw who watched.
    gone: Option<DateTime<Utc>>,
    /// Whoever saw that watched on.
    watched_on: bool,
    /// When it began, by its own word.
    started: BTreeSet<DateTime<Utc>>,
}

impl Evidence {
    /// Whether somebody watched who saw it come.
    pub(super) fn seen_to_begin(&self) -> bool {
        self.came
    }

    /// When it was gone, microseconds since the epoch, if somebody saw that and watched on. Where it was made anew since, this was another end.
    pub(super) fn gone(&self) -> Option<i64> {
        let last = self.started.last();
        let is_end = |gone: &DateTime<Utc>| self.watched_on && last.is_none_or(|last| last < gone);
        let gone = self.gone.filter(is_end);
        gone.map(|gone| gone.timestamp_micros())
    }
}

impl Candidate {
    /// Whether the holder, if it is the only one known to be near, surely is who the window is of.
    ///
    /// A record begins with its first packet but may last to the end of its window, long after whoever sent it has
    /// gone. So it is the beginning that tells. Where nobody watched, somebody unseen may have held the address up to
    /// when this holder surely did; where somebody did, nobody else is near, and what surely is too early is not of this holder.
    pub(super) fn is_surely_of(&self, window: Stretch) -> bool {
        let earliest = match self.seen_to_begin {
            true => self.reach.from,
            false => self.sure.from,
        };
        self.sure.touches(window) && earliest <= window.from
    }

    /// The holder possibly held on without end when it was last looked at.
    pub(super) fn is_open(&self) -> bool {
        self.outer.to == i64::MAX
    }
}

impl Candidate {
    /// Works out what counts, whatever the clocks say: `apart_us` more around the outer part; of the core all but what is
    /// that near to an end that nobody watched.
    pub(super) fn allow_for_clocks(&mut self, apart_us: i64) {
        self.reach = reach(self.outer, apart_us);
        self.in_force = self.reach;
        self.covered = covered(self.core, apart_us);
        let (covered, core) = (self.covered, self.core);
        // By another clock it may have held on after whoever watched saw it gone: that much nobody watched.
        let seen_to = |gone: i64| core.to.min(gone.max(covered.to));
        self.sure = Stretch {
            from: [covered, core][usize::from(self.seen_to_begin)].from,
            to: self.gone.map_or(covered.to, seen_to),
        };
    }
}

/// All that may be meant by times in `stretch`, where clocks are `apart_us` apart and times were cut to the second.
fn reach(stretch: Stretch, apart_us: i64) -> Stretch {
    Stretch {
        from: moved(stretch.from, apart_us.saturating_neg()),
        to: moved(stretch.to, apart_us.saturating_add(CUT_US)),
    }
}

/// What is surely meant by times in `stretch`; may be empty.
fn covered(stretch: Stretch, apart_us: i64) -> Stretch {
    Stretch {
        from: moved(stretch.from, apart_us.saturating_add(CUT_US)),
        to: moved(stretch.to, apart_us.saturating_neg()),
    }
}

/// An end without bound stays.
pub(super) fn moved(end: i64, by: i64) -> i64 {
    match end {
        i64::MIN | i64::MAX => end,
        _ => end.saturating_add(by),
    }
}

/// A holder whose labels changed has several rows. It held the address between them as well, unless it was missed there: a
/// sandbox that was rebuilt may have had another address meanwhile. The core of each row is therefore the hull of all of them
/// that nothing separates. A node keeps its address, whichever of its pods are known.
pub(super) fn join_cores(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|one| (one.identity, one.core.from, one.core.to));
    let mut from = 0;
    while let Some(first) = candidates.get(from) {
        let (mut hull, mut until) = (first.core, first.outer.to);
        let mut to = from + 1;
        while let Some(next) = candidates.get(to) {
            let follows = next.core.from <= until.saturating_add(CUT_US)
                || next.outer.from <= hull.to.saturating_add(CUT_US)
                || next.rank == Rank::Node;
            if next.identity != first.identity || !follows {
                break;
            }
            hull.to = hull.to.max(next.core.to);
            until = until.max(next.outer.to);
            to += 1;
        }
        for candidate in &mut candidates[from..to] {
            candidate.core = hull;
        }
        from = to;
    }
}
