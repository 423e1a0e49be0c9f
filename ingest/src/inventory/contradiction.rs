//! What is known and cannot all be true. Pure.
//!
//! Two holders that surely had one address at one time, by more than clocks are apart, contradict each other, and nobody is named then. But
//! for one case, in which it is known what is wrong: a file has the time that somebody gave it, or when it was last written, and what it
//! shows may have been so at any other time; servers date what they tell themselves. So a holder that only files show gives way to one that
//! a server dated, unless a word of its own, which no file's time can move, says that it began while the other one held the address.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::history::{By, History};
use super::sighting::{Holder, HolderKind, Shape};

/// What cannot be true beside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The address.
    pub addr: String,
    /// Name of a holder that surely held it all the time, `namespace/name`.
    pub holder: String,
    /// What speaks against it.
    pub against: Against,
    /// What the two rest on, as in `audit+event`; nothing where it is not a row.
    pub rests: [String; 2],
    /// From when on, microseconds since the epoch.
    pub from_us: i64,
    /// Until when, microseconds since the epoch.
    pub to_us: i64,
}

/// What speaks against a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// Another one surely held the address at the same time.
    Holder(String),
    /// The same, by better evidence: that one is believed.
    Better(String),
    /// Terway says that its network was gone.
    Returned,
    /// It was seen to be gone, or another one of its name was there.
    Gone,
}

/// Forgets what was seen of pods after they were gone; what was forgotten is returned.
///
/// An audit log without bodies names pods by their names. Where a pod was deleted and made anew in a hole that is too short to be noticed, what
/// it says of the new one is taken for the old one. But a name belongs to one pod at a time, and who was deleted does not come again.
pub(super) fn disbelieve(holders: &mut BTreeMap<Holder, History<Shape>>) -> Vec<Contradiction> {
    let is_one = |holder: &Holder| holder.kind == HolderKind::Pod && !holder.subject.uid.is_empty();
    let mut begun: BTreeMap<String, BTreeSet<(i64, String)>> = BTreeMap::new();
    for (holder, history) in holders.iter().filter(|(holder, _)| is_one(holder)) {
        let made = history.facts().not_before;
        let made = made.map(|made| (made, holder.subject.uid.clone()));
        begun.entry(holder.title()).or_default().extend(made);
    }
    let mut contradictions = Vec::new();
    for (holder, history) in holders.iter_mut().filter(|(holder, _)| is_one(holder)) {
        let first = history.runs().first().map(|run| run.first);
        let Some(began) = history.facts().not_before.or(first) else {
            continue;
        };
        let of_name = begun.get(&holder.title()).into_iter().flatten();
        let mut next = of_name.filter(|(made, uid)| *made > began && *uid != holder.subject.uid);
        let next = next.next().map(|(made, _)| *made);
        let gone = next.into_iter().chain(history.gone_for_good()).min();
        if let Some(from_us) = gone
            && let Some(to_us) = history.forget_after(from_us)
        {
            contradictions.push(Contradiction {
                addr: holder.addr.clone(),
                holder: holder.title(),
                against: Against::Gone,
                rests: Default::default(),
                from_us,
                to_us,
            });
        }
    }
    contradictions
}

/// Lets the holders of one address follow each other; what cannot all be true is returned.
pub(super) fn settle(addr: &str, drafts: &mut Vec<Draft<'_>>) -> Vec<Contradiction> {
    drafts.sort_by(in_order);
    let mut contradictions = overrule(addr, drafts);
    drafts.sort_by(in_order);
    for index in 0..drafts.len() {
        let (before, after) = drafts.split_at_mut(index + 1);
        let Some(earlier) = before.last_mut().filter(|draft| draft.is_exclusive()) else {
            continue;
        };
        for later in after.iter_mut().filter(|draft| draft.is_exclusive()) {
            if later.holder.subject == earlier.holder.subject {
                continue;
            }
            let (from_us, to_us) = (later.span.start, earlier.span.end.min(later.span.end));
            if !earlier.span.hand_over_to(&mut later.span) {
                contradictions.push(Contradiction {
                    addr: addr.to_owned(),
                    holder: earlier.holder.title(),
                    against: Against::Holder(later.holder.title()),
                    rests: [earlier.rests_on(), later.rests_on()],
                    from_us,
                    to_us,
                });
            } else if from_us > to_us {
                break;
            }
        }
    }
    once(contradictions)
}

fn in_order(a: &Draft<'_>, b: &Draft<'_>) -> std::cmp::Ordering {
    (a.span.start, a.span.end, a.holder).cmp(&(b.span.start, b.span.end, b.holder))
}

/// Whether nothing but files of whatever time show it.
fn is_of_files(by: &BTreeSet<By>) -> bool {
    by.iter().all(|by| matches!(by, By::Snapshot | By::Watch))
}

/// Whether a server dated it as it happened.
fn is_dated(by: &BTreeSet<By>) -> bool {
    by.iter()
        .any(|by| matches!(by, By::AuditRequest | By::Audit | By::Live))
}

/// Takes from whom only files show what somebody else held by better evidence; both parts that may be left stay.
fn overrule(addr: &str, drafts: &mut Vec<Draft<'_>>) -> Vec<Contradiction> {
    let mut contradictions = Vec::new();
    let is_better = |draft: &&Draft<'_>| draft.is_exclusive() && is_dated(&draft.run.by);
    let better = drafts.iter().filter(is_better);
    let better: Vec<_> = better
        .map(|draft| (draft.span, draft.holder, draft.rests_on()))
        .collect();
    let mut index = 0;
    while let Some(worse) = drafts.get_mut(index).filter(|_| !better.is_empty()) {
        index += 1;
        if !worse.is_exclusive() || !is_of_files(&worse.run.by) {
            continue;
        }
        for (span, holder, rests) in &better {
            if holder.subject == worse.holder.subject || !span.contradicts(&worse.span) {
                continue;
            }
            let mut own = worse.facts.starts.range(span.start..=span.end);
            let parts = worse.span.around(span, (worse.run.first, worse.run.last));
            let [Some(first), second] = parts else {
                continue;
            };
            if own.next().is_some() {
                continue;
            }
            contradictions.push(Contradiction {
                addr: addr.to_owned(),
                holder: worse.holder.title(),
                against: Against::Better(holder.title()),
                rests: [worse.rests_on(), rests.clone()],
                from_us: worse.span.start.max(span.start),
                to_us: worse.span.end.min(span.end),
            });
            worse.span = first;
            if let Some(second) = second {
                let after = worse.with_span(second);
                drafts.push(after);
                break;
            }
        }
    }
    contradictions
}

impl Against {
    /// The other holder, if it is one.
    fn holder(&self) -> Option<&str> {
        match self {
            Against::Holder(name) | Against::Better(name) => Some(name),
            Against::Returned | Against::Gone => None,
        }
    }
}

/// Rows of one holder that follow each other, as its labels change, contradict another holder once.
fn once(contradictions: Vec<Contradiction>) -> Vec<Contradiction> {
    let mut told: Vec<Contradiction> = Vec::with_capacity(contradictions.len());
    for one in contradictions {
        let is_same = |other: &&mut Contradiction| {
            let pair = [Some(other.holder.as_str()), other.against.holder()];
            let own = [Some(one.holder.as_str()), one.against.holder()];
            pair == own || pair == [own[1], own[0]]
        };
        match told.iter_mut().find(is_same) {
            Some(other) => {
                other.from_us = other.from_us.min(one.from_us);
                other.to_us = other.to_us.max(one.to_us);
            }
            None => told.push(one),
        }
    }
    told
}
