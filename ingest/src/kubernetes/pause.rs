//! How long to wait before something is tried again: longer each time, and never for all at the same moment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The waits of one task.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    tries: u32,
    jitter: RandomState,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Backoff {
            first,
            max,
            tries: 0,
            jitter: RandomState::new(),
        }
    }

    /// The next wait: doubles up to the longest, and lies anywhere between half of that and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self
            .first
            .saturating_mul(1 << self.tries.min(16))
            .min(self.max);
        self.tries = self.tries.saturating_add(1);
        self.spread(whole)
    }

    /// The next wait, and at least what the server asked for.
    pub(super) fn next_after(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.next();
        asked.map_or(own, |asked| own.max(asked.min(ASKED_MAX)))
    }

    /// A wait of about `whole`.
    pub(super) fn spread(&self, whole: Duration) -> Duration {
        let share = self.jitter.hash_one((self.tries, whole)) % 1000;
        let share = u32::try_from(share).unwrap_or(0);
        whole / 2 + whole / 2 * share / 1000
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// How often it did not work since it last did.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }
}

/// A server that asks for longer is asked again all the same.
const ASKED_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        for n in 0..100 {
            let whole = Duration::from_millis(500 << n.min(6)).min(Duration::from_secs(30));
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{n}: {wait:?}");
        }
        assert_eq!(backoff.tries(), 100);
        assert!(backoff.next_after(Some(Duration::from_secs(45))) >= Duration::from_secs(45));
        assert!(backoff.next_after(Some(Duration::from_secs(9_999))) <= ASKED_MAX);
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(500));
    }
}
