//! Sightings of one thing over time → intervals. Pure, and the same whatever the order in which sightings arrive.
//!
//! A thing (a pod at an address, a policy) is *seen* with some content at certain times, and *missed* at the times of
//! snapshots that would have shown it. Sightings of equal content with no miss between them make one run: it held
//! throughout. What lies between two runs, or between a run and a miss, belongs to neither for sure. An interval
//! therefore has a **core**, where the content surely held, and an **outer** part, where it possibly did.
//!
//! | known | core | outer |
//! | --- | --- | --- |
//! | seen at 1 and 5, same content | 1 to 5 | |
//! | seen at 1 with A, at 5 with B | A: 1; B: 5 | A up to 5; B from 1 |
//! | seen at 1, missed at 5 | 1 | up to 5 |
//! | seen at 5, missed at 1 | 5 | from 1 |
//! | seen at 5, began by its own word at 2 | 2 to 5 | from what came before |
//! | seen at 5, nothing known after | 5 | without end |
//! | seen at 5, whoever wrote its end could not know, and Terway has it back at 7 | 5 | up to 7 |
//!
//! Only the first and last sighting of a run are kept. Where a run is split later, the sightings inside it are those of the
//! snapshots that covered it, which the ledger knows; sightings inside a run that no snapshot covers (a watch, one
//! object on its own) are forgotten then, which makes the core smaller, never larger.

use std::collections::BTreeSet;

/// Times a thing gives for its own beginning; more are of no use.
const STARTS_MAX: usize = 16;

/// Clocks may be apart, and Kubernetes cuts its times to the second: a beginning that is earlier than it can be by more is none.
const EARLY_US: i64 = 4_000_000;

/// Two clocks may differ by this much: each is up to three seconds off, and one field is in whole seconds (history 5.5, rule 1).
pub(super) const SKEW_US: i64 = 7_000_000;

/// What a sighting rests on, the worst first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A snapshot: the state at one time.
    Snapshot,
    /// A recorded watch: the order is sure, times are ranges.
    Watch,
    /// The audit log at level Request: what was sent.
    #[serde(rename = "audit-request")]
    AuditRequest,
    /// The audit log: what the object became, to the millisecond.
    Audit,
    /// An event that tells when an address was given.
    Event,
    /// What Terway writes down of addresses that came back.
    #[serde(rename = "noderuntime")]
    NodeRuntime,
    /// A live watch: what the API server said when.
    Live,
}

/// One stretch of unchanged content. Times are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<C> {
    /// What was seen.
    pub content: C,
    /// The first time it was seen.
    pub first: i64,
    /// The last time it was seen.
    pub last: i64,
    /// What the sightings rest on.
    pub by: BTreeSet<By>,
}

/// All that is known of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<C> {
    /// Invariant: in order, without overlap; neighbours differ in content or have a miss between them.
    runs: Vec<Run<C>>,
    /// When it began by its own word: at one of these times it already held.
    starts: BTreeSet<i64>,
    /// It cannot be older.
    not_before: Option<i64>,
    /// It was gone by then, known from elsewhere than a snapshot that missed it.
    gone: Option<i64>,
    /// It was on its way out at this time, and possibly still held.
    lingers: Option<i64>,
    /// Whoever wrote its end could not know: it possibly holds on.
    open_end: bool,
    /// Its network was gone then. It may have been made anew since, if it went on.
    returned: Option<i64>,
    /// Whoever saw it watched when it came.
    came: bool,
    /// What gave times only.
    dated_by: BTreeSet<By>,
}

/// What is known beside the sightings. Merging is commutative, associative and idempotent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// When it began by its own word.
    pub starts: BTreeSet<i64>,
    /// It cannot be older.
    pub not_before: Option<i64>,
    /// It was gone by then.
    pub gone: Option<i64>,
    /// It was on its way out at this time, and possibly still held.
    pub lingers: Option<i64>,
    /// Its end is not to be believed.
    pub open_end: bool,
    /// Its network was gone then. It may have been made anew since, if it went on.
    pub returned: Option<i64>,
    /// Whoever saw it watched when it came, and would have seen who came before.
    pub came: bool,
    /// What gave times only, and did not see it.
    pub dated_by: BTreeSet<By>,
}

/// When a content held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval<'h, C> {
    /// What was seen.
    pub run: &'h Run<C>,
    /// From here it surely held …
    pub start: i64,
    /// … to here.
    pub end: i64,
    /// It possibly held from here; `None` without bound.
    pub start_low: Option<i64>,
    /// It possibly held to here; `None` without bound.
    pub end_high: Option<i64>,
}

impl<C> Default for History<C> {
    fn default() -> Self {
        History {
            runs: Vec::new(),
            starts: BTreeSet::new(),
            not_before: None,
            gone: None,
            lingers: None,
            open_end: false,
            returned: None,
            came: false,
            dated_by: BTreeSet::new(),
        }
    }
}

impl<C: Clone + Ord> History<C> {
    /// The runs, in order.
    #[must_use]
    pub fn runs(&self) -> &[Run<C>] {
        &self.runs
    }

    /// What is known beside the sightings.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            starts: self.starts.clone(),
            not_before: self.not_before,
            gone: self.gone,
            lingers: self.lingers,
            open_end: self.open_end,
            returned: self.returned,
            came: self.came,
            dated_by: self.dated_by.clone(),
        }
    }

    /// Adds what is known beside the sightings.
    pub fn learn(&mut self, facts: &Facts) {
        self.starts.extend(&facts.starts);
        while self.starts.len() > STARTS_MAX {
            // The earliest matter most; of the others the latest.
            let middle = self.starts.iter().nth(STARTS_MAX / 2).copied();
            self.starts.remove(&middle.unwrap_or_default());
        }
        self.not_before = self.not_before.max(facts.not_before);
        self.gone = self.gone.into_iter().chain(facts.gone).min();
        self.lingers = self.lingers.max(facts.lingers);
        self.open_end |= facts.open_end;
        self.returned = self.returned.max(facts.returned);
        self.came |= facts.came;
        self.dated_by.extend(&facts.dated_by);
    }

    /// Forgets when it was gone: more is known now.
    pub fn forget_end(&mut self) {
        self.gone = None;
    }

    /// A run as it was stored. `covering` are the times of snapshots that would have shown the thing, in order.
    pub fn restore(&mut self, run: Run<C>, covering: &[i64]) {
        let place = self.runs.partition_point(|other| other.first < run.first);
        self.runs.insert(place, run);
        self.join(covering);
    }

    /// It was seen with this content.
    pub fn see(&mut self, at: i64, content: C, by: By, covering: &[i64]) {
        if let Some(index) = self
            .runs
            .iter()
            .position(|run| run.first <= at && at <= run.last)
        {
            let Some(run) = self.runs.get_mut(index) else {
                return;
            };
            if run.content == content {
                run.by.insert(by);
                return;
            }
            let was_seen = at == run.first || at == run.last || covering.binary_search(&at).is_ok();
            // Two contents at one time: whichever arrives first, the same one stays.
            if was_seen && run.content > content {
                return;
            }
            self.split(index, at, covering);
        }
        let place = self.runs.partition_point(|run| run.first < at);
        self.runs.insert(
            place,
            Run {
                content,
                first: at,
                last: at,
                by: BTreeSet::from([by]),
            },
        );
        self.join(covering);
    }

    /// A snapshot that would have shown it did not. `covering` does not hold `at` yet.
    pub fn miss(&mut self, at: i64, covering: &[i64]) {
        if covering.binary_search(&at).is_ok() {
            return;
        }
        if let Some(index) = self
            .runs
            .iter()
            .position(|run| run.first < at && at < run.last)
        {
            self.split(index, at, covering);
        }
    }

    /// Takes the time `at` out of a run.
    fn split(&mut self, index: usize, at: i64, covering: &[i64]) {
        if index >= self.runs.len() {
            return;
        }
        let run = self.runs.remove(index);
        let before = covering
            .get(..covering.partition_point(|time| *time < at))
            .and_then(<[i64]>::last);
        let after = covering
            .get(covering.partition_point(|time| *time <= at)..)
            .and_then(<[i64]>::first);
        if at < run.last {
            let first = after
                .copied()
                .filter(|time| *time <= run.last)
                .unwrap_or(run.last);
            self.runs.insert(
                index,
                Run {
                    first,
                    ..run.clone()
                },
            );
        }
        if at > run.first {
            let last = before
                .copied()
                .filter(|time| *time >= run.first)
                .unwrap_or(run.first);
            self.runs.insert(index, Run { last, ..run });
        }
    }

    /// Joins neighbours of equal content that no snapshot tells apart.
    fn join(&mut self, covering: &[i64]) {
        let mut joined: Vec<Run<C>> = Vec::with_capacity(self.runs.len());
        for run in self.runs.drain(..) {
            match joined.last_mut() {
                Some(last)
                    if last.content == run.content
                        && missed_between(covering, last.last, run.first).is_none() =>
                {
                    last.last = last.last.max(run.last);
                    last.by.extend(run.by);
                }
                _ => joined.push(run),
            }
        }
        self.runs = joined;
    }

    /// When each content held. `covering` are the times of snapshots that would have shown the thing, in order.
    #[must_use]
    pub fn intervals(&self, covering: &[i64]) -> Vec<Interval<'_, C>> {
        let mut intervals: Vec<Interval<'_, C>> = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let previous = intervals.last().map_or(i64::MIN, |previous| previous.end);
            let missed = missed_between(covering, previous, run.first);
            let before = missed
                .map(|(_, last)| last)
                .or((previous > i64::MIN).then_some(previous));
            let after_before = before.map_or(i64::MIN, |before| before.saturating_add(1));
            // Told of the wrong one: of the next pod of its name, for instance.
            let not_early = self
                .not_before
                .map_or(i64::MIN, |low| low.saturating_sub(EARLY_US));
            let after_before = after_before.max(not_early);
            let start = self
                .starts
                .range(after_before..=run.first.max(after_before))
                .next()
                .copied();
            let start = start.unwrap_or(run.first).min(run.first);
            let start_low = before.max(self.not_before).map(|low| low.min(start));
            if let Some(previous) = intervals.last_mut() {
                let by = missed.map_or(start, |(first, _)| first);
                previous.end_high = Some(by.max(previous.end));
            }
            intervals.push(Interval {
                run,
                start,
                end: run.last,
                start_low,
                end_high: None,
            });
        }
        if self.open_end
            && let Some(last) = intervals.last_mut()
        {
            // Whoever wrote its end could not know; whoever took the network down could.
            last.end_high = self.returned_after(last.end);
        } else if let Some(last) = intervals.last_mut() {
            let held = last.end.max(self.lingers.unwrap_or(i64::MIN));
            let missed = missed_between(covering, held, i64::MAX).map(|(first, _)| first);
            let gone = self.gone.filter(|gone| *gone >= last.end);
            last.end_high = missed.into_iter().chain(gone).min();
        }
        intervals
    }

    /// When the address was back, for one that surely held up to `end`.
    fn returned_after(&self, end: i64) -> Option<i64> {
        let start = self.starts.last().copied();
        returned_after(self.returned?, start, end)
    }

    /// When its network was gone, and until when it surely held all the same: both cannot be, for nothing says that it was made anew.
    #[must_use]
    pub fn returned_too_early(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.runs.first()?.first, self.runs.last()?.last);
        let returned = self.returned.filter(|_| self.open_end)?;
        let is_anew = self.starts.last().is_some_and(|start| *start >= returned);
        (first <= returned && self.returned_after(last).is_none() && !is_anew)
            .then_some((returned, last))
    }
}

/// When an address was back whose network was gone at `returned`, for one that began at `start` for the last time and surely held up to
/// `end`: never before that, and by clocks that may be apart. Whatever was gone earlier was made anew.
pub(super) fn returned_after(returned: i64, start: Option<i64>, end: i64) -> Option<i64> {
    let is_late = returned >= end.saturating_sub(SKEW_US);
    let is_last = start.is_none_or(|start| start < returned);
    (is_late && is_last).then_some(returned.max(end))
}

/// The first and last of the times strictly between two others.
fn missed_between(covering: &[i64], after: i64, before: i64) -> Option<(i64, i64)> {
    let from = covering.partition_point(|time| *time <= after);
    let to = covering.partition_point(|time| *time < before);
    let between = covering.get(from..to)?;
    Some((*between.first()?, *between.last()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sees contents at times; an empty content is a miss.
    fn history(sightings: &[(i64, &'static str)]) -> (History<&'static str>, Vec<i64>) {
        let (mut history, mut covering) = (History::default(), Vec::new());
        for &(at, content) in sightings {
            match content {
                "" => history.miss(at, &covering),
                _ => history.see(at, content, By::Snapshot, &covering),
            }
            covering.push(at);
            covering.sort_unstable();
            covering.dedup();
        }
        (history, covering)
    }

    type Row = (&'static str, Option<i64>, i64, i64, Option<i64>);

    fn rows(history: &History<&'static str>, covering: &[i64]) -> Vec<Row> {
        let row = |interval: Interval<'_, &'static str>| {
            (
                interval.run.content,
                interval.start_low,
                interval.start,
                interval.end,
                interval.end_high,
            )
        };
        history.intervals(covering).into_iter().map(row).collect()
    }

    #[track_caller]
    fn check(sightings: &[(i64, &'static str)], expected: &[Row]) {
        let (history, covering) = history(sightings);
        assert_eq!(rows(&history, &covering), expected);
        let mut backwards = sightings.to_vec();
        backwards.reverse();
        let (history, covering) = self::history(&backwards);
        assert_eq!(rows(&history, &covering), expected, "backwards");
    }

    #[test]
    fn the_table() {
        check(&[(1, "a"), (5, "a")], &[("a", None, 1, 5, None)]);
        check(
            &[(1, "a"), (5, "b")],
            &[("a", None, 1, 1, Some(5)), ("b", Some(1), 5, 5, None)],
        );
        check(&[(1, "a"), (5, "")], &[("a", None, 1, 1, Some(5))]);
        check(&[(1, ""), (5, "a")], &[("a", Some(1), 5, 5, None)]);
        check(&[(1, ""), (5, "")], &[]);
        let mut history = History::default();
        history.see(5, "a", By::Snapshot, &[]);
        history.learn(&Facts {
            starts: [2].into(),
            not_before: Some(1),
            ..Facts::default()
        });
        assert_eq!(rows(&history, &[5]), [("a", Some(1), 2, 5, None)]);
    }

    #[test]
    fn an_end_that_nobody_knew_is_bounded_by_who_took_the_network_down() {
        let ended = |returned, open_end, starts: &[i64]| {
            let mut history = History::default();
            history.see(5, "a", By::Snapshot, &[]);
            history.see(50 * SKEW_US, "a", By::Snapshot, &[]);
            history.learn(&Facts {
                starts: starts.iter().copied().collect(),
                open_end,
                returned: Some(returned),
                ..Facts::default()
            });
            (
                rows(&history, &[])[0].4,
                history.returned_too_early().is_some(),
            )
        };
        let end = 50 * SKEW_US;
        assert_eq!(ended(end + 9, true, &[]), (Some(end + 9), false));
        // Clocks are apart, but it surely held.
        assert_eq!(ended(end - SKEW_US, true, &[]), (Some(end), false));
        assert_eq!(ended(end - SKEW_US - 1, true, &[]), (None, true));
        // The sandbox was made anew, or it was the one before.
        assert_eq!(ended(20, true, &[30]), (None, false));
        assert_eq!(ended(end + 9, true, &[end + 9]), (None, false));
        assert_eq!(ended(4, true, &[]), (None, false));
        // It runs.
        assert_eq!(ended(end + 9, false, &[]), (None, false));
        assert_eq!(ended(20, false, &[]), (None, false));
    }

    #[test]
    fn a_snapshot_between_others_splits_what_they_seemed_to_say() {
        check(
            &[(1, "a"), (3, "a"), (7, "a"), (9, "a"), (5, "b")],
            &[
                ("a", None, 1, 3, Some(5)),
                ("b", Some(3), 5, 5, Some(7)),
                ("a", Some(5), 7, 9, None),
            ],
        );
        check(
            &[(1, "a"), (9, "a"), (5, "")],
            &[("a", None, 1, 1, Some(5)), ("a", Some(5), 9, 9, None)],
        );
    }

    #[test]
    fn two_contents_at_one_time_end_the_same_in_any_order() {
        check(&[(1, "a"), (1, "b")], &[("b", None, 1, 1, None)]);
        check(
            &[(1, "a"), (5, "a"), (5, "b")],
            &[("a", None, 1, 1, Some(5)), ("b", Some(1), 5, 5, None)],
        );
    }

    #[test]
    fn a_beginning_of_its_own_belongs_to_the_run_after_it() {
        // An address that came with a new sandbox at 4.
        let (mut history, covering) = history(&[(1, "a"), (6, "b")]);
        history.learn(&Facts {
            starts: [0, 4].into(),
            not_before: Some(-1),
            ..Facts::default()
        });
        assert_eq!(
            rows(&history, &covering),
            [("a", Some(-1), 0, 1, Some(4)), ("b", Some(1), 4, 6, None)]
        );
    }

    #[test]
    fn ends() {
        let (mut history, mut covering) = history(&[(1, "a"), (6, ""), (9, "")]);
        history.learn(&Facts {
            lingers: Some(6),
            ..Facts::default()
        });
        assert_eq!(rows(&history, &covering), [("a", None, 1, 1, Some(9))]);
        history.learn(&Facts {
            gone: Some(8),
            ..Facts::default()
        });
        assert_eq!(rows(&history, &covering), [("a", None, 1, 1, Some(8))]);
        history.learn(&Facts {
            open_end: true,
            ..Facts::default()
        });
        assert_eq!(rows(&history, &covering), [("a", None, 1, 1, None)]);
        covering.clear();
        assert_eq!(rows(&history, &covering), [("a", None, 1, 1, None)]);
    }

    proptest! {
        #[test]
        fn the_order_of_snapshots_is_irrelevant(
            sightings in prop::collection::btree_map(0_i64..12, prop::sample::select(vec!["", "a", "b"]), 0..10),
            order in any::<prop::sample::Index>(), twice in any::<bool>(),
        ) {
            let sightings: Vec<_> = sightings.into_iter().collect();
            let (expected, covering) = history(&sightings);
            let mut shuffled = sightings.clone();
            let mut seed = order.index(1_000_000);
            for place in (1..shuffled.len()).rev() {
                shuffled.swap(place, seed % (place + 1));
                seed = seed / (place + 1) + place * 7;
            }
            if twice {
                shuffled.extend(shuffled.clone());
            }
            let (got, _) = history(&shuffled);
            prop_assert_eq!(rows(&got, &covering), rows(&expected, &covering));
            // What was stored gives the same back.
            let mut restored = History::default();
            for run in expected.runs() {
                restored.restore(run.clone(), &covering);
            }
            prop_assert_eq!(&restored, &expected);
        }

        #[test]
        fn cores_lie_within_outers_and_never_overlap(
            sightings in prop::collection::vec((0_i64..12, prop::sample::select(vec!["", "a", "b", "c"])), 0..10),
            starts in prop::collection::btree_set(-2_i64..12, 0..3), not_before in prop::option::of(-3_i64..12),
            gone in prop::option::of(0_i64..14), lingers in prop::option::of(0_i64..14),
        ) {
            let (mut history, covering) = history(&sightings);
            history.learn(&Facts { starts, not_before, gone, lingers, open_end: false, ..Facts::default() });
            let rows = rows(&history, &covering);
            for (_, low, start, end, high) in &rows {
                prop_assert!(low.is_none_or(|low| low <= *start) && start <= end && high.is_none_or(|high| *end <= high));
            }
            for pair in rows.windows(2) {
                prop_assert!(pair[0].3 < pair[1].2, "{:?}", rows);
                prop_assert!(pair[0].4.is_some_and(|high| high <= pair[1].2), "{:?}", rows);
            }
            // Nothing that was seen is outside a core.
            for (at, content) in &sightings {
                if !content.is_empty() && sightings.iter().filter(|(other, _)| other == at).count() == 1 {
                    prop_assert!(rows.iter().any(|row| row.0 == *content && row.2 <= *at && *at <= row.3));
                }
            }
        }
    }
}
