//! Addresses that were held lately, and how they went from one holder to the next. Pure.
//!
//! An address has one holder at a time, so the beginning of the next bounds what the one before possibly held (history 5.5).
//! The API server may hear of the two in either order, some seconds late. What has ended is therefore kept for a while
//! before it is written down for good, and what ended without a word of its end until the next one has the address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::compact::Name;
use super::hold::{Closed, End, Hold, pass_on};
use crate::inventory::span::Span;

/// Below this many pods whose networks are gone none is forgotten.
const RETURNED_MIN: usize = 4096;
/// Terway clears away what it wrote of a pod five minutes after it forgot it.
const RETURNED_US: i64 = 900_000_000;

/// What ended longer ago than this is not changed any more by what comes.
const SETTLES_AFTER_US: i64 = 120_000_000;

/// What has ended.
#[derive(Debug, Default)]
pub(super) struct Settled {
    all: Vec<Closed>,
    /// So many of them, the first ones, are in the lake.
    published: usize,
    by_addr: HashMap<IpAddr, Vec<usize>>,
    by_uid: HashMap<Arc<str>, Vec<usize>>,
    /// When the networks of pods were gone, by uid.
    returned: HashMap<Arc<str>, (Name, i64)>,
    returned_kept: usize,
    /// What the lake said of what turned out to be nothing.
    dropped: Vec<Span>,
}

impl Settled {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Closed> {
        self.all.iter()
    }

    /// Spans that the lake has and that are none.
    pub(super) fn dropped(&self) -> &[Span] {
        &self.dropped
    }

    pub(super) fn push(&mut self, mut closed: Closed) {
        if let Some((name, at)) = self.returned.get(&closed.hold.uid)
            && *name == closed.hold.name
        {
            closed.take_back(*at);
        }
        let number = self.all.len();
        let place = self.by_addr.entry(closed.hold.addr).or_default();
        place.push(number);
        let uid = Arc::clone(&closed.hold.uid);
        self.by_uid.entry(uid).or_default().push(number);
        self.all.push(closed);
    }

    /// The network of a pod was gone at `at`; whether something is known better by that. It is kept for a pod that ends later.
    pub(super) fn take_back(&mut self, name: &Name, uid: &Arc<str>, at: i64) -> bool {
        let known = self.returned.get(uid);
        if known.is_some_and(|(_, known)| *known >= at) {
            return false;
        }
        self.returned.insert(Arc::clone(uid), (name.clone(), at));
        if self.returned.len() >= RETURNED_MIN.max(2 * self.returned_kept) {
            let latest = self.returned.values().map(|(_, at)| *at).max();
            let kept_from = latest.unwrap_or(at).saturating_sub(RETURNED_US);
            self.returned.retain(|_, (_, at)| *at >= kept_from);
            self.returned_kept = self.returned.len();
        }
        let mut is_news = false;
        for number in self.by_uid.get(uid).map_or(&[][..], Vec::as_slice) {
            let closed = self.all.get_mut(*number);
            if let Some(closed) = closed.filter(|closed| closed.hold.name == *name) {
                let before = (closed.returned, closed.span.high);
                closed.take_back(at);
                is_news |= (closed.returned, closed.span.high) != before;
            }
        }
        is_news
    }

    /// Others than `hold` that had its address to themselves, where it has it to itself.
    fn others<'s>(&'s mut self, hold: &Hold) -> impl Iterator<Item = &'s mut Closed> + use<'s> {
        let numbers = self.by_addr.get(&hold.addr);
        let numbers = numbers.filter(|_| hold.is_exclusive());
        let mut numbers = numbers.cloned().unwrap_or_default().into_iter().peekable();
        let uid = Arc::clone(&hold.uid);
        let first = numbers.peek().copied().unwrap_or(self.all.len());
        let all = self.all.iter_mut().enumerate().skip(first);
        all.filter(move |(number, _)| numbers.next_if_eq(number).is_some())
            .map(|(_, closed)| closed)
            .filter(move |closed| closed.hold.is_exclusive() && closed.hold.uid != uid)
    }

    /// Whoever had the address before `hold` lost it to it.
    pub(super) fn hand_over_to(&mut self, hold: &mut Hold, seen: Option<i64>) {
        for closed in self.others(hold) {
            if closed.span.start <= hold.begin() {
                closed.give_to(hold, seen);
            }
        }
    }

    /// One that has ended, between its neighbours in time. False where nothing is known of when it surely held, and there is no row of it.
    pub(super) fn settle(&mut self, mut closed: Closed, is_vague: bool) -> bool {
        if let Some(ended) = closed.hold.ended.filter(|ended| *ended < closed.span.start) {
            // It looked so only after it had let go of the address.
            let is_told = self.was_last(&closed, ended);
            if is_told || is_vague {
                self.dropped.extend(closed.hold.published);
                return is_told;
            }
            closed.move_to(ended);
        }
        let hold = closed.hold.clone();
        for other in self.others(&hold) {
            let times = |span: Span| (span.start, span.end);
            if times(other.span) <= times(closed.span) {
                let is_said = other.is_said();
                pass_on(&mut other.span, is_said, &mut closed.span);
            } else {
                let is_said = closed.is_said();
                pass_on(&mut closed.span, is_said, &mut other.span);
            }
        }
        self.push(closed);
        true
    }

    /// The look before this one was the last with which the holder had the address, up to `ended`.
    fn was_last(&mut self, after: &Closed, ended: i64) -> bool {
        let numbers = self.by_addr.get(&after.hold.addr);
        let mut last = None;
        for number in numbers.cloned().unwrap_or_default() {
            if let Some(closed) = self.all.get(number)
                && closed.hold.uid == after.hold.uid
                && closed.hold.kind == after.hold.kind
                && closed.span.start <= ended
            {
                last = Some(number);
            }
        }
        let last = last.and_then(|number| self.all.get_mut(number));
        let Some(last) = last else {
            return false;
        };
        last.cut(ended);
        last.hold.ended = Some(last.span.end);
        (last.end, last.span.high) = (after.end, after.span.high);
        true
    }

    /// The holder had given the address back at `at`, as became known later.
    pub(super) fn cut(&mut self, hold: &Hold, at: i64) {
        let Some(numbers) = self.by_addr.get(&hold.addr) else {
            return;
        };
        let mut nothing_left = Vec::new();
        for number in numbers {
            if let Some(closed) = self.all.get_mut(*number)
                && closed.hold.uid == hold.uid
                && closed.hold.kind == hold.kind
                && !closed.cut(at)
            {
                nothing_left.push(*number);
            }
        }
        for number in nothing_left.into_iter().rev() {
            self.remove(number);
        }
    }

    /// When the holder began to hold the address, in whichever look.
    pub(super) fn begun(&self, hold: &Hold) -> i64 {
        let numbers = self.by_addr.get(&hold.addr).map_or(&[][..], Vec::as_slice);
        let own = numbers.iter().filter_map(|number| self.all.get(*number));
        let own = own.filter(|closed| closed.hold.uid == hold.uid);
        let own = own.map(|closed| closed.span.start);
        own.chain([hold.begin(), hold.origin])
            .min()
            .unwrap_or(i64::MIN)
    }

    /// Whether there is a row of this holder and address.
    pub(super) fn holds(&self, uid: &str, addr: IpAddr) -> bool {
        let numbers = self.by_addr.get(&addr).map_or(&[][..], Vec::as_slice);
        let mut closed = numbers.iter().filter_map(|number| self.all.get(*number));
        closed.any(|closed| *closed.hold.uid == *uid)
    }

    /// What ended without a word on this node has ended now.
    pub(super) fn end_of_node(&mut self, node: &str, at: i64) {
        for closed in &mut self.all {
            if closed.end == End::Unsaid && closed.hold.look.node.as_deref() == Some(node) {
                closed.end = End::Gone(at);
                let high = closed.span.high.map_or(at, |high| high.min(at));
                closed.span.high = Some(high.max(closed.span.end));
            }
        }
    }

    /// Which of them are not changed any more at `now`.
    pub(super) fn ripe(&self, now: i64) -> Vec<bool> {
        let is_ripe = |closed: &Closed| {
            let high = closed.span.high.unwrap_or(i64::MAX);
            high.saturating_add(SETTLES_AFTER_US) < now
        };
        self.all.iter().map(is_ripe).collect()
    }

    /// All that is there is in the lake now; what is marked is written down for good, and forgotten here.
    pub(super) fn published(&mut self, for_good: Option<&[bool]>) {
        self.dropped.clear();
        if let Some(for_good) = for_good {
            let mut marks = for_good.iter();
            self.all.retain(|_| !marks.next().copied().unwrap_or(false));
            self.index();
        }
        self.published = self.all.len();
        for closed in &mut self.all {
            closed.hold.published = Some(closed.span);
        }
    }

    /// What was in the lake is kept there by others now.
    pub(super) fn forget_published(&mut self) {
        self.dropped.clear();
        self.all.drain(..self.published.min(self.all.len()));
        self.published = 0;
        self.index();
    }

    fn remove(&mut self, number: usize) {
        if number < self.all.len() {
            let closed = self.all.remove(number);
            self.dropped.extend(closed.hold.published);
            self.published -= usize::from(number < self.published);
            self.index();
        }
    }

    fn index(&mut self) {
        self.by_addr.clear();
        self.by_uid.clear();
        for (number, closed) in self.all.iter().enumerate() {
            self.by_addr
                .entry(closed.hold.addr)
                .or_default()
                .push(number);
            let uid = Arc::clone(&closed.hold.uid);
            self.by_uid.entry(uid).or_default().push(number);
        }
    }
}
