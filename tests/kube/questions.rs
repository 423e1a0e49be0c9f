//! Who had an address, asked as an analysis asks, and held against what was so.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use flowaudit_analyze::identify::{Book, Held, Stretch};

use crate::lives::{Life, S};

/// Nobody else may have an address for this long around an instant at which its holder must be named: as far as clocks may be apart on
/// either side, and what Kubernetes cuts off of times.
const ALONE: i64 = 9 * S;
/// Of whoever comes so soon after a list, nobody knows whether another one just had the address: the first seconds do not count.
const EARLY: i64 = 15 * S;
/// So long after a list, what comes may have happened while it was made; and the first seconds after that do not count.
const LATE: i64 = 10 * S + ALONE;
/// So many questions for each pod that must be answered, and others.
const QUESTIONS: [usize; 2] = [12, 4];

/// What the questions are asked of.
pub(crate) struct Asked<'t> {
    pub(crate) lives: &'t [Life],
    pub(crate) missed: &'t [Range<i64>],
    pub(crate) book: Book,
}

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Score {
    /// How often was asked of each pod, and whether it must be answered.
    of_each: BTreeMap<(String, bool), usize>,
    /// Of those that must be named.
    pub(crate) named: usize,
    pub(crate) unnamed: Vec<String>,
    /// What was said of the others.
    pub(crate) others: BTreeMap<&'static str, usize>,
    pub(crate) wrong: Vec<String>,
}

impl Asked<'_> {
    /// Whether anybody can know that `of` had its address then.
    fn is_nameable(&self, of: &Life, at: i64) -> bool {
        let others = self.lives.iter();
        let mut others = others.filter(|other| other.addr == of.addr && other.name != of.name);
        let is_alone = others.all(|other| {
            let until = match &other.end {
                // Nobody says when it let go: it may have it until the next one does.
                Some(end) if !end.is_said() && other.start < of.start => end.told.end.max(of.start),
                end => end.as_ref().map_or(i64::MAX, |end| end.told.end),
            };
            at < other.start - ALONE || until.saturating_add(ALONE) < at
        });
        let mut lists = self.missed.iter().map(|missed| missed.end);
        let from = match lists.any(|list| (list - ALONE..list + EARLY).contains(&of.shown)) {
            true => of.shown + ALONE,
            false => of.shown + S,
        };
        let to = match &of.end {
            Some(end) if end.is_said() => end.known - 3 * S,
            Some(end) => end.known - ALONE,
            None => i64::MAX,
        };
        let is_missed = |missed: &Range<i64>| missed.start - ALONE <= at && at <= missed.end + LATE;
        is_alone && from <= at && at <= to && !self.missed.iter().any(is_missed)
    }

    /// Asks who had the address of `of` at a time at which it had it, unless enough of the kind was asked of it.
    pub(crate) fn ask(&self, of: &Life, at: i64, score: &mut Score) {
        let is_nameable = self.is_nameable(of, at);
        let asked = score.of_each.entry((of.name.clone(), is_nameable));
        let asked = asked.or_default();
        if *asked == QUESTIONS[usize::from(!is_nameable)] {
            return;
        }
        *asked += 1;
        let addr: IpAddr = of.addr.parse().unwrap();
        let held = self.book.held(addr, None, Stretch { from: at, to: at });
        let (answer, name) = match held {
            Held::By { identity, .. } => ("named", &*self.book.identity(identity).name),
            Held::Unclear(doubt) => (doubt.as_str(), &*of.name),
            Held::Range { .. } | Held::External => ("not ours", "nobody of ours"),
        };
        if *name != of.name {
            score
                .wrong
                .push(format!("{name} at {at}, and it was {of:?}"));
        }
        match (is_nameable, answer) {
            (true, "named") => score.named += 1,
            (true, _) => score
                .unnamed
                .push(format!("{answer} at {at}, and it was {of:?}")),
            (false, _) => *score.others.entry(answer).or_default() += 1,
        }
    }
}
