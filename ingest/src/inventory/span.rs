//! When a holder held an address, and how it goes from one to the next. Pure.

use super::history::{Interval, SKEW_US};

/// Core and outer part of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// From here it surely held …
    pub(super) start: i64,
    /// … to here.
    pub(super) end: i64,
    /// It possibly held from here; `None` without bound.
    pub(super) low: Option<i64>,
    /// It possibly held to here; `None` without bound.
    pub(super) high: Option<i64>,
}

impl Span {
    pub(super) fn of<C>(interval: &Interval<'_, C>) -> Span {
        Span {
            start: interval.start,
            end: interval.end,
            low: interval.start_low,
            high: interval.end_high,
        }
    }

    /// The next one takes over: its beginning ends what this one possibly held, and what this one surely held was not yet
    /// the next one's. Where the cores overlap nothing is changed.
    pub(super) fn followed_by(&mut self, next: &mut Span) {
        if self.end < next.start {
            self.high = Some(self.high.map_or(next.start, |high| high.min(next.start)));
            next.low = Some(next.low.map_or(self.end, |low| low.max(self.end)));
        }
    }

    /// An address goes from this holder to the next. Cores that overlap by no more than the skew of clocks lose the disputed
    /// stretch. False where they contradict each other; then nothing is changed.
    pub(super) fn hand_over_to(&mut self, next: &mut Span) -> bool {
        let (from, to) = (next.start, self.end.min(next.end));
        if from > to {
            self.followed_by(next);
            return true;
        }
        if self.contradicts(next) {
            return false;
        }
        self.end = from - 1;
        next.start = to + 1;
        // Both possibly held the disputed stretch.
        self.high = self.high.map(|high| high.max(to));
        next.low = next.low.map(|low| low.min(from));
        self.followed_by(next);
        true
    }

    /// Whether two cores overlap by more than the skew of clocks, or one lies within the other.
    pub(super) fn contradicts(&self, other: &Span) -> bool {
        let (from, to) = (self.start.max(other.start), self.end.min(other.end));
        let is_within = |inner: &Span| inner.start >= from && inner.end <= to;
        from <= to && (to - from > SKEW_US || is_within(self) || is_within(other))
    }

    /// What is left of it before and after a time in which another one had its address, if it was seen first and last then: up to when it
    /// surely began or was first seen, and since it was last seen. One part only is the first of the two.
    pub(super) fn around(
        &self,
        other: &Span,
        (first_seen, last_seen): (i64, i64),
    ) -> [Option<Span>; 2] {
        let before = Span {
            end: match first_seen < other.start {
                true => self.start.max(first_seen),
                false => self.start,
            },
            high: Some(other.start),
            ..*self
        };
        let after = Span {
            start: last_seen.max(self.start),
            low: Some(other.end),
            ..*self
        };
        let before = (self.start < other.start).then_some(before);
        let after = (self.end > other.end && after.start > other.end).then_some(after);
        match before {
            Some(before) => [Some(before), after],
            None => [after, None],
        }
    }

    /// What is before `at`, and what is from there on; `at` is in the core, and not its beginning.
    pub(super) fn parted(&self, at: i64) -> (Span, Span) {
        let before = Span {
            end: at - 1,
            high: Some(at),
            ..*self
        };
        let after = Span {
            start: at,
            low: Some(at - 1),
            ..*self
        };
        (before, after)
    }

    /// The first instant at which the two do not say the same.
    pub(super) fn differs_from(self, other: Span) -> Option<i64> {
        let ends = |span: Span| {
            let (low, high) = (span.low.unwrap_or(i64::MIN), span.high.unwrap_or(i64::MAX));
            [low, span.start, span.end, high]
        };
        let pairs = ends(self).into_iter().zip(ends(other));
        let moved = pairs.filter(|(one, other)| one != other);
        moved.map(|(one, other)| one.min(other)).min()
    }

    pub(super) fn slack_before_ms(&self) -> Option<i64> {
        self.low.map(|low| ms(self.start.saturating_sub(low)))
    }

    pub(super) fn slack_after_ms(&self) -> Option<i64> {
        self.high.map(|high| ms(high.saturating_sub(self.end)))
    }
}

/// Rounded up: what is possible must not become smaller.
fn ms(us: i64) -> i64 {
    us / 1000 + i64::from(us % 1000 > 0)
}
