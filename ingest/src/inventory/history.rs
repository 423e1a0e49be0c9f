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
//! | seen at 1 with A, at 5 with B, began by its own word at 2 | A: 1; B: 5 | A up to 5; B from 1 |
//! | seen at 5, nothing known after | 5 | without end |
//! | seen at 5, whoever wrote its end could not know, and Terway has it back at 7 | 5 | up to 7 |
//!
//! Only the first and last sighting of a run are kept. Where a run is split later, the sightings inside it are those of the
//! snapshots that covered it, which the ledger knows; sightings inside a run that no snapshot covers (a watch, one
//! object on its own) are forgotten then, which makes the core smaller, never larger.

use std::collections::BTreeSet;

/// Times a thing gives for its own beginning, or for a change of its labels; more are of no use.
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
    /// What Terway writes down of interfaces that are a pod's own; the pod itself was seen at another address.
    #[serde(rename = "podeni")]
    PodEni,
    /// A live watch: what the API server said when.
    Live,
}

impl By {
    /// As the column `evidence` says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            By::Snapshot => "snapshot",
            By::Watch => "watch",
            By::AuditRequest => "audit-request",
            By::Audit => "audit",
            By::Event => "event",
            By::NodeRuntime => "noderuntime",
            By::PodEni => "podeni",
            By::Live => "live",
        }
    }
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
    facts: Facts,
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
    /// Whoever saw it gone watched on, and would have seen who came next.
    pub watched_on: bool,
    /// When its labels were written by somebody who had not made it, by its own word, cut to the second; the earliest of them.
    pub labelled: BTreeSet<i64>,
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

impl Facts {
    /// Adds what else is known.
    pub fn add(&mut self, facts: &Facts) {
        self.starts.extend(&facts.starts);
        while self.starts.len() > STARTS_MAX {
            // The earliest matter most; of the others the latest.
            let middle = self.starts.iter().nth(STARTS_MAX / 2).copied();
            self.starts.remove(&middle.unwrap_or_default());
        }
        self.labelled.extend(&facts.labelled);
        while self.labelled.len() > STARTS_MAX {
            // What it was like when it was first seen is what they tell.
            self.labelled.pop_last();
        }
        self.not_before = self.not_before.max(facts.not_before);
        self.gone = self.gone.into_iter().chain(facts.gone).min();
        self.lingers = self.lingers.max(facts.lingers);
        self.open_end |= facts.open_end;
        self.returned = self.returned.max(facts.returned);
        self.came |= facts.came;
        self.watched_on |= facts.watched_on;
        self.dated_by.extend(&facts.dated_by);
    }

    /// Whether it is gone, on its way out, or possibly gone.
    #[must_use]
    pub fn tell_of_an_end(&self) -> bool {
        self.gone.or(self.lingers).is_some() || self.open_end
    }
}

impl<C> Default for History<C> {
    fn default() -> Self {
        History {
            runs: Vec::new(),
            facts: Facts::default(),
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
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Adds what is known beside the sightings.
    pub fn learn(&mut self, facts: &Facts) {
        self.facts.add(facts);
    }

    /// The same at something that it has as long as this, by other evidence: up to `last` and gone by `gone` where that is known.
    #[must_use]
    pub fn along(&self, by: By, (last, gone): (i64, Option<i64>)) -> History<C> {
        let mut along = self.clone();
        for run in &mut along.runs {
            run.by = BTreeSet::from([by]);
        }
        // Whoever had this one before, or has it next, nobody may have seen.
        (along.facts.came, along.facts.watched_on) = (false, false);
        if let Some(gone) = gone {
            along.runs.retain(|run| run.first < gone);
            if let Some(run) = along.runs.last_mut().filter(|run| run.last >= gone) {
                run.last = last.clamp(run.first, run.last);
            }
            along.facts.open_end = false;
            along.facts.gone = along.facts.gone.into_iter().chain([gone]).min();
        }
        along
    }

    /// Forgets when it was gone: more is known now.
    pub fn forget_end(&mut self) {
        self.facts.gone = None;
    }

    /// A run as it was stored. `covering` are the times of snapshots that would have shown the thing, in order.
    pub fn restore(&mut self, run: Run<C>, covering: &[i64]) {
        let place = self.runs.partition_point(|other| other.first < run.first);
        self.runs.insert(place, run);
        self.join(covering);
    }

    /// Takes out the runs that are so.
    pub fn take_out(&mut self, is: impl Fn(&Run<C>) -> bool) -> Vec<Run<C>> {
        let (out, stay) = std::mem::take(&mut self.runs).into_iter().partition(is);
        self.runs = stay;
        out
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
                .facts
                .not_before
                .map_or(i64::MIN, |low| low.saturating_sub(EARLY_US));
            let after_before = after_before.max(not_early);
            let starts = self
                .facts
                .starts
                .range(after_before..=run.first.max(after_before));
            // It tells since when the thing is there, not since when it is like this, where it was seen otherwise before.
            let is_so_since = intervals
                .last()
                .is_none_or(|previous| previous.run.content == run.content);
            let start = starts.copied().next().filter(|_| is_so_since);
            let start = start.unwrap_or(run.first).min(run.first);
            let start_low = before.max(self.facts.not_before).map(|low| low.min(start));
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
        if self.facts.open_end
            && let Some(last) = intervals.last_mut()
        {
            // Whoever wrote its end could not know; whoever took the network down could.
            last.end_high = self.returned_after(last.end);
        } else if let Some(last) = intervals.last_mut() {
            let held = last.end.max(self.facts.lingers.unwrap_or(i64::MIN));
            let missed = missed_between(covering, held, i64::MAX).map(|(first, _)| first);
            let gone = self.facts.gone.filter(|gone| *gone >= last.end);
            last.end_high = missed.into_iter().chain(gone).min();
        }
        intervals
    }

    /// When the address was back, for one that surely held up to `end`.
    fn returned_after(&self, end: i64) -> Option<i64> {
        let start = self.facts.starts.last().copied();
        returned_after(self.facts.returned?, start, end)
    }

    /// Forgets what was seen after `gone`, by more than clocks are apart: it was another one then, or another time. The last time it was so is
    /// told. Of a run that began before only the beginning is sure, for which of its sightings was the last one before is not kept.
    pub fn forget_after(&mut self, gone: i64) -> Option<i64> {
        let last = self.runs.last()?.last;
        let latest = gone.saturating_add(SKEW_US);
        self.runs.retain(|run| run.first <= latest);
        if let Some(run) = self.runs.last_mut().filter(|run| run.last > latest) {
            run.last = run.first;
        }
        (last > latest).then_some(last)
    }

    /// When it was gone and did not come again: it was made anew, where it says that it began after that.
    #[must_use]
    pub fn gone_for_good(&self) -> Option<i64> {
        let start = self.facts.starts.last();
        let gone = self.facts.gone?;
        start.is_none_or(|start| *start < gone).then_some(gone)
    }

    /// When its network was gone, and until when it surely held all the same: both cannot be, for nothing says that it was made anew.
    #[must_use]
    pub fn returned_too_early(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.runs.first()?.first, self.runs.last()?.last);
        let returned = self.facts.returned.filter(|_| self.facts.open_end)?;
        let is_anew = self
            .facts
            .starts
            .last()
            .is_some_and(|start| *start >= returned);
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
mod tests;
