//! What an object that was seen says of addresses, and what becomes of those that it holds. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use flowaudit_rules::cluster::Pod;
use flowaudit_rules::kubernetes::{Body, Object};

use super::compact::Name;
use super::heard::KindId;
use super::hold::{Closed, End, Hold, STATUS_LAG_US, taken_from};
use super::state::{Entry, Seen, State};
use crate::inventory::history::By;
use crate::inventory::sighting::{self, Held, us};

impl State {
    /// Which addresses the object holds.
    pub(super) fn hold(&mut self, name: &Name, entry: &mut Entry, object: &Object, seen: Seen) {
        let further = self.own_addresses(name, entry);
        let held = sighting::held_with(object, seen.at, &further);
        let pod = match &object.body {
            Body::Pod(pod) => Some(pod),
            Body::Node(_) | Body::Service(_) => None,
            _ => return,
        };
        let is_held = |hold: &Hold| {
            let mut same = held.iter().map(|held| &held.holder);
            same.any(|holder| holder.kind == hold.kind && holder.addr == hold.addr.to_string())
        };
        let (stay, left): (Vec<Hold>, Vec<Hold>) = std::mem::take(&mut entry.holds)
            .into_iter()
            .partition(is_held);
        entry.holds = stay;
        for hold in left {
            self.leave(hold, pod, &held, seen);
        }
        for held in &held {
            self.take_up(name, entry, held, pod, seen);
        }
        entry.has_finished = pod.is_some_and(Pod::is_finished);
    }

    /// An address that its object shows no more.
    fn leave(&mut self, mut hold: Hold, pod: Option<&Pod>, held: &[Held], seen: Seen) {
        let Seen { at, by, last, .. } = seen;
        let mut end = End::Gone(by);
        if let Some(pod) = pod {
            let finished = pod.times.finished.map(us).filter(|_| pod.is_finished());
            // Its network was made anew before this.
            let anew = held.first().and_then(|held| held.facts.starts.first());
            let anew = anew.copied().filter(|anew| *anew <= at);
            let sure = anew
                .unwrap_or(i64::MAX)
                .min(hold.end(last))
                .saturating_sub(STATUS_LAG_US);
            hold.ended = Some(
                finished
                    .unwrap_or(sure)
                    .min(hold.end(last))
                    .max(hold.begin()),
            );
            end = match anew {
                _ if pod.is_finished() && finished.is_none() => End::Unsaid,
                Some(anew) => End::Gone(anew),
                None => End::Gone(by),
            };
        }
        self.close(hold, last, end);
    }

    /// An address that its object shows.
    fn take_up(
        &mut self,
        name: &Name,
        entry: &mut Entry,
        held: &Held,
        pod: Option<&Pod>,
        seen: Seen,
    ) {
        let Seen {
            at,
            by,
            listed,
            last,
            watched,
        } = seen;
        let Ok(addr) = held.holder.addr.parse::<IpAddr>() else {
            return;
        };
        let is_finished = pod.is_some_and(Pod::is_finished);
        // When its containers had finished, if they have.
        let finished = held.at.filter(|seen| is_finished || *seen < at);
        let finished = finished.filter(|_| !held.facts.open_end);
        let look = self.words.look(&held.shape);
        // What a pod does not show of itself, a PodENI does.
        let is_shown = pod.is_none_or(|pod| pod.host_network || pod.addresses.contains(&addr));
        let interface = pod.and_then(|_| self.interface(name, &entry.uid, addr));
        let own = |hold: &Hold| hold.kind == held.holder.kind && hold.addr == addr;
        let known = entry.holds.iter().position(own);
        let (mut before, mut floor, mut is_other, mut is_relooked) = (None, None, false, false);
        let mut origin = None;
        let mut came = watched && (is_shown || self.watches_enis(Some(at)));
        let hold = match known.map(|number| entry.holds.swap_remove(number)) {
            Some(mut hold) => {
                hold.began(held.facts.starts.first().copied());
                hold.anew = hold.anew.max(held.facts.starts.last().copied());
                hold.not_before = hold.not_before.max(held.facts.not_before);
                if is_shown && !hold.by.contains(&By::Live) {
                    hold.by = Arc::new(hold.by.union(&self.live).copied().collect());
                }
                let ready = pod.and_then(|pod| pod.times.ready_to_start).map(us);
                let anew = ready.filter(|ready| listed.is_some() && *ready > hold.end(last));
                let begun = anew.unwrap_or(at);
                if (hold.look == look || finished.is_some() || is_finished) && anew.is_none() {
                    is_other = hold.look != look;
                    // A list that shows it finished does not show it holding.
                    if finished.is_none() && !is_finished {
                        hold.last = hold.last.max(listed);
                    }
                    Some(hold)
                } else if hold.first >= begun && hold.start.is_none() {
                    hold.look = look.clone();
                    hold.labelled = held.facts.labelled.last().copied();
                    hold.published = None;
                    Some(hold)
                } else {
                    let mut old = hold;
                    came = old.came && anew.is_none();
                    is_relooked = old.look != look;
                    origin = Some(old.origin).filter(|_| anew.is_none());
                    if old.is_vague(last) {
                        (before, floor) = (old.before, old.floor);
                    } else {
                        let sure = old.sure_end(last).min(begun - 1);
                        before = Some(sure);
                        if sure < old.end(last) {
                            old.ended = before;
                        }
                    }
                    let end = anew.map_or(End::Changed(begun), End::Gone);
                    self.close(old, last, end);
                    None
                }
            }
            None => None,
        };
        let mut hold = match hold {
            Some(hold) => hold,
            None => {
                let start = held.facts.starts.first().copied();
                // Without a time there is nothing to write down.
                let Some(first) = finished.or(if is_finished { held.at } else { Some(at) }) else {
                    return;
                };
                let mut hold = Hold {
                    kind: held.holder.kind,
                    name: name.clone(),
                    uid: Arc::clone(&entry.uid),
                    addr,
                    look,
                    interface: None,
                    by: Arc::clone(if is_shown { &self.live } else { &self.further }),
                    first,
                    origin: origin.unwrap_or(first).min(first),
                    last: listed,
                    start: None,
                    begun: None,
                    labelled: held.facts.labelled.last().copied(),
                    anew: held.facts.starts.last().copied(),
                    not_before: held.facts.not_before,
                    came,
                    is_relooked,
                    before,
                    floor,
                    cut: None,
                    // Where nobody says when it finished, its beginning is all that is sure.
                    ended: (is_finished && finished.is_none()).then_some(first),
                    lingers: None,
                    published: None,
                };
                hold.began(start);
                self.settled.hand_over_to(&mut hold, last);
                hold
            }
        };
        self.is_changed = true;
        if interface.is_some() && hold.interface != interface {
            hold.interface = interface;
            hold.published = None;
        }
        hold.lingers = held.facts.lingers;
        if let Some(finished) = finished {
            // What it looked like when it finished is not known, if that was another look.
            let finished = match is_other {
                true => finished.min(hold.end(last)),
                false => finished,
            };
            hold.ended = Some(hold.ended.map_or(finished, |ended| ended.min(finished)));
            self.settled.cut(&hold, finished);
        }
        if !is_finished {
            self.stand(&hold);
            entry.holds.push(hold);
            return;
        }
        let end = match held.facts.open_end {
            true => End::Unsaid,
            false => End::Gone(by),
        };
        match (known, listed) {
            (None, Some(_)) => {
                let closed = Closed::new(hold, last, end, &self.owners);
                self.doubtful.push(closed);
            }
            _ => self.close(hold, last, end),
        }
    }

    /// An address that is held no longer, or not in this way.
    pub(super) fn close(&mut self, mut hold: Hold, last: Option<i64>, end: End) {
        let is_vague = hold.is_vague(last);
        if hold.ended.is_none() && hold.sure_end(last) < hold.first {
            hold.ended = Some(hold.sure_end(last));
        }
        if hold.is_exclusive() && (hold.ended.is_none() || end == End::Unsaid) {
            self.give_way(&mut hold, last, end);
        }
        let mut closed = Closed::new(hold, last, end, &self.owners);
        let hold = &closed.hold;
        let gap = closed.gap(last, self.now).filter(|_| is_vague);
        let is_over = !matches!(end, End::Changed(_));
        if hold.is_exclusive() {
            if is_over && let Some(names) = self.by_addr.get_mut(&hold.addr) {
                names.retain(|name| *name != hold.name);
                if names.is_empty() {
                    self.by_addr.remove(&hold.addr);
                }
            }
            let (addr, uid) = (hold.addr, Arc::clone(&hold.uid));
            let names = self.by_addr.get(&addr).cloned().unwrap_or_default();
            let pods = self.kinds.get_mut(&KindId::new("", "Pod"));
            let objects = pods.map(|pods| &mut pods.objects);
            if let Some(objects) = objects {
                for name in names {
                    let holds = objects.get_mut(&name).map(|entry| &mut entry.holds);
                    for next in holds.into_iter().flatten() {
                        let is_next = next.addr == addr && next.uid != uid;
                        if is_next && !is_vague && closed.span.start <= next.begin() {
                            closed.give_to(next, last);
                        }
                    }
                }
            }
        }
        if !self.settled.settle(closed, is_vague)
            && let Some(gap) = gap
        {
            self.gaps.push(gap);
        }
        self.is_changed = true;
    }

    /// Nobody said when it let go of the address. If somebody else had it meanwhile, by as much as a kubelet may be late, it was before that.
    fn give_way(&self, hold: &mut Hold, last: Option<i64>, end: End) {
        if matches!(end, End::Changed(_)) {
            return;
        }
        let (begun, until) = (self.settled.begun(hold), hold.end(last));
        let names = self.by_addr.get(&hold.addr).into_iter().flatten();
        let pods = self.kinds.get(&KindId::new("", "Pod"));
        let others = names.filter_map(|name| Some(&pods?.objects.get(name)?.holds));
        let others = others.flatten().filter(|other| other.uid != hold.uid);
        let taken = others
            .filter(|other| other.addr == hold.addr)
            .map(|other| other.span(None))
            .filter(|next| begun < next.start && next.start <= until)
            .filter(|next| until - next.start <= STATUS_LAG_US)
            .map(|next| taken_from(begun, next))
            .min();
        if let Some(taken) = taken {
            hold.ended = Some(hold.ended.map_or(taken, |ended| ended.min(taken)));
        }
    }

    /// An address that was held when it was last heard of.
    pub(super) fn hold_again(&mut self, id: &KindId, hold: Hold) {
        self.stand(&hold);
        let (name, uid) = (hold.name.clone(), Arc::clone(&hold.uid));
        let entry = self.kind(id).objects.entry(name);
        entry.or_insert_with(|| Entry::of(&uid)).holds.push(hold);
    }

    /// Remembers who has an address alone.
    fn stand(&mut self, hold: &Hold) {
        if !hold.is_exclusive() {
            return;
        }
        let names = self.by_addr.entry(hold.addr).or_default();
        if !names.contains(&hold.name) {
            names.push(hold.name.clone());
        }
    }

    /// Pods that had finished when they were first heard of are new but for those that are written down already.
    pub(super) fn settle_doubtful(&mut self, is_known: impl Fn(&str, &str) -> bool) {
        for closed in std::mem::take(&mut self.doubtful) {
            let addr = closed.hold.addr.to_string();
            if is_known(&closed.hold.uid, &addr)
                || self.settled.holds(&closed.hold.uid, closed.hold.addr)
            {
                continue;
            }
            self.settled.settle(closed, false);
        }
    }
}
