//! One holder of one address during one time, and what of its times counts where clocks are apart.

use std::collections::HashMap;

use serde::Deserialize;

use super::Stretch;

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
    /// Number of the node a pod runs on; `Book::ANYWHERE` where that is not known.
    pub(super) node: u32,
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
    /// Somebody watched when it ended: whoever came next is known as well.
    pub(super) seen_to_end: bool,
}

/// What the column `evidence` says beside what a row rests on.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Evidence {
    /// When it was gone at the latest, as somebody saw who watched.
    pub(super) gone: Option<serde::de::IgnoredAny>,
}

impl Candidate {
    /// The holder possibly held on without end when it was last looked at.
    pub(super) fn is_open(&self) -> bool {
        self.outer.to == i64::MAX
    }
}

impl Candidate {
    /// Works out what counts, whatever the clocks say: `apart_us` more around the outer part; of the core all but what is
    /// that near to an end that is not known more closely and that nobody watched.
    pub(super) fn allow_for_clocks(&mut self, apart_us: i64) {
        self.reach = reach(self.outer, apart_us);
        self.in_force = self.reach;
        self.covered = covered(self.core, apart_us);
        let is_vague = |slack: i64| slack > apart_us;
        let is_vague = [
            is_vague(self.core.from.saturating_sub(self.outer.from)),
            is_vague(self.outer.to.saturating_sub(self.core.to)) && !self.seen_to_end,
        ];
        self.sure = Stretch {
            from: [self.core, self.covered][usize::from(is_vague[0])].from,
            to: [self.core, self.covered][usize::from(is_vague[1])].to,
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

/// A holder whose labels changed has several rows. It held the address between them as well: an address does not
/// leave a pod and come back. The core of each row is therefore the hull of all of them.
pub(super) fn join_cores(candidates: &mut [Candidate]) {
    let mut hulls: HashMap<u32, Stretch> = HashMap::new();
    for candidate in candidates.iter() {
        let hull = hulls.entry(candidate.identity).or_insert(candidate.core);
        hull.from = hull.from.min(candidate.core.from);
        hull.to = hull.to.max(candidate.core.to);
    }
    for candidate in candidates {
        candidate.core = hulls[&candidate.identity];
    }
}
