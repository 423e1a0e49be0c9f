//! What was not written did not change. Pure.
//!
//! In a log without a hole that holds all writes of a kind, an object was as it was seen from the write before to the write after. So a
//! snapshot of the present tells what was in force all the time since the last write, whatever that write told of itself, and the last
//! write what is in force up to the log's end.
//! Pods are left out: that a pod was not written does not say that it ran.
//!
//! A log holds all writes of a kind if it holds one; or if it has the leases of kubelets, for then nobody filtered it. But kubelets write the
//! status of their nodes all the time as well: where leases are there and nodes are not, somebody took the nodes out.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::{By, History, Run};
use super::super::ledger::Subject;
use super::super::rows::Known;
use super::super::sighting::UNKNOWN;
use super::chain::Key;

/// Clocks of whoever looked and of the API server may be so far apart.
const APART_US: i64 = 60_000_000;

/// When which objects were written, and when nothing was missed.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// Parts of the log without a hole, microseconds since the epoch, in order.
    pub(super) stretches: Vec<(i64, i64)>,
    /// Times of writes, in order.
    pub(super) writes: BTreeMap<Key, BTreeSet<i64>>,
    /// Kinds of which there are writes, by group and kind.
    pub(super) kinds: BTreeSet<(String, String)>,
    /// Whether there are leases of kubelets.
    pub(super) has_leases: bool,
}

impl Quiet {
    /// Lets what is known hold as long as nothing was written.
    pub(crate) fn hold(&self, known: &mut Known) {
        if self.stretches.is_empty() {
            return;
        }
        let objects = std::mem::take(&mut known.objects).into_iter();
        known.objects = objects
            .map(|(subject, mut history)| {
                let covering = known.ledger.covering(&subject);
                let unknown = UNKNOWN.to_owned();
                self.stretch(&subject, &mut history, &covering, Some(&unknown));
                (subject, history)
            })
            .collect();
        let holders = std::mem::take(&mut known.holders).into_iter();
        known.holders = holders
            .map(|(holder, mut history)| {
                let covering = known.ledger.covering(&holder.subject);
                self.stretch(&holder.subject, &mut history, &covering, None);
                (holder, history)
            })
            .collect();
    }

    fn stretch<C: Clone + Ord>(
        &self,
        subject: &Subject,
        history: &mut History<C>,
        covering: &[i64],
        unknown: Option<&C>,
    ) {
        let kind = (subject.group.clone(), subject.kind.clone());
        let is_node = subject.kind == "Node" && subject.group.is_empty();
        let is_covered = self.kinds.contains(&kind) || self.has_leases && !is_node;
        // Without a uid it is what somebody wants, not what was there.
        if subject.kind == "Pod" || subject.uid.is_empty() || !is_covered {
            return;
        }
        let namespace = subject.namespace.clone().unwrap_or_default();
        let key = [
            subject.group.clone(),
            subject.kind.clone(),
            namespace,
            subject.name.clone(),
        ];
        let none = BTreeSet::new();
        let writes = self.writes.get(&key).unwrap_or(&none);
        let not_before = history.facts().not_before.unwrap_or(i64::MIN);
        let gone = history.facts().gone.unwrap_or(i64::MAX);
        let mut seen: Vec<(i64, C)> = Vec::new();
        let runs = history.runs();
        for &(from, to) in &self.stretches {
            for (index, run) in runs.iter().enumerate() {
                // No other content, write, creation or look without it since the stretch began.
                let before = index.checked_sub(1).and_then(|before| runs.get(before));
                let is_first = before.is_none_or(|before| before.last < from) && not_before < from;
                let up_to = run.first.saturating_add(APART_US);
                if (from..=to).contains(&run.first)
                    && is_first
                    && is_none(writes, from, up_to)
                    && unlooked(covering, from, run.first - 1)
                {
                    seen.push((from, run.content.clone()));
                }
                // Or since the last write, which says nothing else of what came of it.
                let until = run.first.saturating_sub(APART_US).max(from);
                let mut written = writes.range(from..=until);
                let written = written.next_back().copied().filter(|at| {
                    let is_before = |before: &Run<C>| {
                        before.last < *at || before.last == *at && Some(&before.content) == unknown
                    };
                    before.is_none_or(is_before)
                        && not_before <= *at
                        && *at <= run.first.saturating_sub(APART_US)
                        && is_none(writes, at.saturating_add(1), up_to)
                        && unlooked(covering, at.saturating_add(1), run.first - 1)
                });
                if let Some(at) =
                    written.filter(|_| run.first <= to && Some(&run.content) != unknown)
                {
                    seen.push((at, run.content.clone()));
                }
                // The same up to its end. What a look shows may be from before a write of that time.
                let is_last = runs.get(index + 1).is_none_or(|next| next.first > to) && gone > to;
                let since = match writes.contains(&run.last) {
                    true => run.last.saturating_add(1),
                    false => run.last.saturating_sub(APART_US),
                };
                if (from..=to).contains(&run.last)
                    && is_last
                    && is_none(writes, since, to)
                    && unlooked(covering, run.last.saturating_add(1), to)
                {
                    seen.push((to, run.content.clone()));
                }
            }
        }
        for (at, content) in seen {
            history.see(at, content, By::Audit, covering);
        }
    }
}

fn is_none(writes: &BTreeSet<i64>, from: i64, to: i64) -> bool {
    from > to || writes.range(from..=to).next().is_none()
}

/// Whether no look that would have shown it was taken between two times.
fn unlooked(covering: &[i64], from: i64, to: i64) -> bool {
    let next = covering.get(covering.partition_point(|at| *at < from));
    next.is_none_or(|at| *at > to)
}
