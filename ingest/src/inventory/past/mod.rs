//! The past of a cluster from its audit log and its events: what happened before anyone watched. Pure.
//!
//! Lines of `audit.log`, entries of the audit logstore and of the event centre, and lists of events come in any mixture and order
//! ([`Past::read`]); writes are put in order ([`Past::advance`]), told apart ([`entry`], [`event`]) and become sightings and facts like
//! those of a snapshot; [`rebuild`] reads them from the log service. What an event holds is decided by its own level and bodies, never by what a cluster's policy is thought to be.
//!
//! A log may have holes that nothing marks. Kubelets write all the time, at least their leases: where none wrote for minutes, the
//! log is taken to be missing, nothing is said to hold through, and the stretch is a gap of the inventory.

mod chain;
mod declared;
pub mod entry;
pub mod event;
pub(super) mod gaps;
mod pods;
mod pods_sent;
pub(super) mod quiet;
pub mod rebuild;
mod replay;
mod terway;
pub mod text;

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use self::chain::{Key, Last, Written};
use self::entry::{Entry, Level, NoWrite};
use self::event::{Allocation, Said};
use self::quiet::Quiet;
use super::Moment;
use super::history::{By, Facts, SKEW_US};
use super::ledger::Subject;
use super::rows::{Known, Rows};
use super::sighting::{Held, Holder, HolderKind, Shape};
use crate::kubernetes::KINDS;

/// Kubelets renew their leases every ten seconds: where none wrote for this long, something is missing.
const HOLE_US: i64 = 5 * MINUTE_US;
const MINUTE_US: i64 = 60_000_000;
/// So many writes wait for earlier ones at most; of more the earlier half is taken as complete.
const WAITING_MAX: usize = 100_000;

/// With this begin uids of what was created at level Request, of which the log has none.
pub(super) const MADE_UP: &str = "audit-request/";

/// What was read, and how much of it can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Audit events.
    pub audit: u64,
    /// Of these, writes that are used.
    pub writes: u64,
    /// The others, by why.
    pub left_out: BTreeMap<NoWrite, u64>,
    /// Writes by resource (`networkpolicies.networking.k8s.io`) and level.
    pub levels: BTreeMap<String, BTreeMap<Level, u64>>,
    /// Versions of objects whose content is not in the log.
    pub unknown: u64,
    /// When what configures Terway, and so what enforces policies, became what is not in the log; microseconds since the epoch, in order.
    pub settings: BTreeSet<i64>,
    /// Events of Kubernetes.
    pub events: u64,
    /// Of these, addresses given to pods.
    pub allocations: u64,
    /// What is neither, or cannot be read.
    pub foreign: u64,
    /// The first and the last time that the audit log tells of, microseconds since the epoch.
    pub from_to: Option<(i64, i64)>,
    /// Where the audit log is missing, microseconds since the epoch, in order.
    pub holes: Vec<(i64, i64)>,
}

impl Tally {
    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.audit + self.events == 0
    }

    /// Resources of which no content is in the log.
    pub fn blind(&self) -> impl Iterator<Item = &str> {
        let levels = self.levels.iter();
        let blind =
            levels.filter(|(_, levels)| levels.keys().all(|level| *level == Level::Metadata));
        blind.map(|(resource, _)| resource.as_str())
    }
}

/// What the logs said.
pub(crate) struct Told {
    pub(crate) moment: Moment,
    pub(crate) quiet: Quiet,
    pub(crate) tally: Tally,
}

/// What the logs say of the past, so far.
#[derive(Debug, Default)]
pub struct Past {
    /// By the time of their answer.
    waiting: BTreeMap<(i64, String), Entry>,
    chains: BTreeMap<Key, Last>,
    /// Pods by uid that were bound to a node and do not hold an address yet.
    bound: HashMap<String, i64>,
    /// When labels of pods were last written of which nothing else is known.
    relabelled: HashMap<Key, i64>,
    /// Pods by uid whose labels changed, and whose name was another one's before their own end was told.
    cut: HashMap<String, Cut>,
    /// When pods ended, or may have, of which no address is known; in seconds since the epoch.
    unseen_ends: BTreeSet<i64>,
    /// When pods were bound of which no address became known; in seconds since the epoch.
    unseen_begins: BTreeSet<i64>,
    /// What Terway last wrote of a pod's addresses, where that names no uid, until the next write of it.
    given: BTreeMap<Key, Entry>,
    moment: Moment,
    tally: Tally,
    /// Of everything but pods: those that changed something, or may have.
    writes: BTreeMap<Key, BTreeSet<i64>>,
    /// The latest that changed nothing. Nodes and controllers write their status all the time.
    idle: HashMap<Key, i64>,
    /// Whether nobody took out what is not used.
    has_leases: bool,
    /// Minutes in which some kubelet wrote: the first and last time within.
    alive: BTreeMap<i64, (i64, i64)>,
}

/// The second of a time in microseconds: what is nearer than clocks are apart is one.
fn second(at: i64) -> i64 {
    at.div_euclid(1_000_000)
}

/// What is kept of a pod whose name is another one's.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// When its labels last changed.
    changed: i64,
    /// It was known to hold an address.
    held: bool,
}

/// The kind of a resource that is used. EndpointSlices date nothing, and what Terway says of nodes is of the present. Of ConfigMaps it
/// is one.
fn kind_of(group: &str, resource: &str, (namespace, name): (&str, &str)) -> Option<&'static str> {
    let kind = KINDS
        .iter()
        .find(|kind| kind.group == group && kind.resource == resource)?;
    let is_used = kind.only.is_none_or(|only| only == (namespace, name))
        && kind.kind != "EndpointSlice"
        && (kind.kind, kind.group.is_empty()) != ("Node", false);
    is_used.then_some(kind.kind)
}

impl Past {
    /// Reads one value: an audit event, an entry of a logstore, an event, or a list of these.
    pub fn read(&mut self, value: &Value) {
        let Some(members) = value.as_object() else {
            self.tally.foreign += 1;
            return;
        };
        match members.get("items") {
            Some(Value::Array(items)) => {
                for members in items.iter().filter_map(Value::as_object) {
                    self.read_one(members, is_list_of_events(value));
                }
            }
            _ => self.read_one(members, false),
        }
    }

    /// Reads one entry of a logstore.
    pub fn entry(&mut self, members: &Map<String, Value>) {
        self.read_one(members, false);
    }

    fn read_one(&mut self, members: &Map<String, Value>, is_event: bool) {
        if entry::is_audit(members) {
            return self.read_audit(members);
        }
        let event =
            event::unwrapped(members).or_else(|| is_event.then(|| Value::Object(members.clone())));
        let Some(event) = event else {
            self.tally.foreign += 1;
            return;
        };
        self.tally.events += 1;
        match event::read(&event) {
            Said::Allocation(allocation) => self.allocated(allocation),
            Said::Other => {}
            Said::Damaged => self.tally.foreign += 1,
        }
    }

    fn read_audit(&mut self, members: &Map<String, Value>) {
        self.tally.audit += 1;
        let (at, user) = entry::heartbeat(members);
        if let Some(at) = at {
            let (from, to) = self.tally.from_to.unwrap_or((at, at));
            self.tally.from_to = Some((from.min(at), to.max(at)));
            if user.starts_with("system:node:") {
                self.has_leases = self.has_leases || entry::is_lease(members);
                let minute = self
                    .alive
                    .entry(at.div_euclid(MINUTE_US))
                    .or_insert((at, at));
                *minute = (minute.0.min(at), minute.1.max(at));
            }
        }
        match entry::read(members, |group, resource, named| {
            kind_of(group, resource, named).is_some()
        }) {
            // Metadata in the policy of ACK: that something changed in it says nothing.
            Ok(entry) if terway::is_mute(&entry) => {
                *self.tally.left_out.entry(NoWrite::Other).or_default() += 1;
            }
            Ok(entry) => {
                let title = match entry.group.as_str() {
                    "" => entry.resource.clone(),
                    group => format!("{}.{group}", entry.resource),
                };
                let (key, level) = ((entry.answered, entry.audit_id.clone()), entry.level);
                match self.waiting.entry(key) {
                    Slot::Vacant(slot) => {
                        slot.insert(entry);
                        self.tally.writes += 1;
                        let levels = self.tally.levels.entry(title).or_default();
                        *levels.entry(level).or_default() += 1;
                    }
                    // Two that claim to be one: the same stays whichever comes first.
                    Slot::Occupied(mut slot) => {
                        if *slot.get() != entry
                            && format!("{entry:?}") < format!("{:?}", slot.get())
                        {
                            slot.insert(entry);
                        }
                    }
                }
            }
            Err(why) => *self.tally.left_out.entry(why).or_default() += 1,
        }
        if self.waiting.len() > WAITING_MAX
            && let Some((middle, _)) = self.waiting.keys().nth(WAITING_MAX / 2)
        {
            self.advance(*middle);
        }
    }

    fn allocated(&mut self, allocation: Allocation) {
        self.tally.allocations += 1;
        let subject = Subject {
            group: String::new(),
            kind: "Pod".to_owned(),
            namespace: Some(allocation.namespace),
            name: allocation.name,
            uid: allocation.uid,
        };
        for address in &allocation.addresses {
            // What the pod was like is not said: only the time is taken from it.
            let held = Held {
                holder: Holder {
                    kind: HolderKind::Pod,
                    subject: subject.clone(),
                    addr: address.to_string(),
                },
                shape: Shape::default(),
                at: None,
                facts: Facts {
                    starts: allocation.at.iter().copied().collect(),
                    dated_by: [By::Event].into(),
                    ..Facts::default()
                },
            };
            self.moment.gathered.add(held, By::Event);
        }
    }

    /// Works on all writes that were answered up to then: nothing earlier is to come. Microseconds since the epoch.
    pub fn advance(&mut self, until: i64) {
        self.tally.holes = self.holes();
        let later = self
            .waiting
            .split_off(&(until.saturating_add(1), String::new()));
        for entry in std::mem::replace(&mut self.waiting, later).into_values() {
            let named = (entry.namespace.as_str(), entry.name.as_str());
            match kind_of(&entry.group, &entry.resource, named) {
                Some("Pod") => self.pod(&entry),
                Some(kind @ ("NodeRuntime" | "PodENI")) => self.terway(&entry, kind),
                Some(kind) => {
                    let key = declared::key_of_entry(&entry, kind);
                    let version = |past: &Past| past.chains.get(&key).and_then(Last::version_hash);
                    let before = version(self);
                    self.declared(&entry, kind);
                    if before.is_some() && version(self) == before {
                        self.idle.insert(key, entry.answered);
                    } else {
                        self.writes.entry(key).or_default().insert(entry.answered);
                    }
                }
                None => {}
            }
        }
    }

    /// What the logs said in all. Times in between two writes hold as far as the log has no hole.
    pub(crate) fn finish(mut self) -> Told {
        self.advance(i64::MAX);
        self.take_all_given();
        for last in std::mem::take(&mut self.chains).into_values() {
            last.flush(&mut self.moment);
        }
        self.note_who_is_known();
        for (key, at) in self.idle {
            self.writes.entry(key).or_default().insert(at);
        }
        let mut stretches = Vec::new();
        if let Some((mut from, to)) = self.tally.from_to {
            for (hole_from, hole_to) in &self.tally.holes {
                stretches.push((from, *hole_from));
                from = *hole_to;
            }
            stretches.push((from, to));
        }
        let kinds = self
            .writes
            .keys()
            .map(|[group, kind, ..]| (group.clone(), kind.clone()));
        Told {
            quiet: Quiet {
                stretches,
                kinds: kinds.collect(),
                has_leases: self.has_leases,
                writes: self.writes,
            },
            moment: self.moment,
            tally: self.tally,
        }
    }

    /// Notes of whom it is known who had the address before, and who had it next.
    fn note_who_is_known(&mut self) {
        let holders = self.moment.gathered.iter();
        let known: BTreeSet<&str> = holders.map(|(holder, _)| &*holder.subject.uid).collect();
        let unseen = self
            .bound
            .iter()
            .filter(|(uid, _)| !known.contains(&***uid));
        self.unseen_begins.extend(unseen.map(|(_, at)| second(*at)));
        let holes = &self.tally.holes;
        // Where no kubelet writes any more, nothing tells that there is no hole.
        let alive = self.alive.values().next_back().map(|(_, last)| *last);
        let until = alive.or(self.tally.from_to.map(|(_, to)| to));
        let (ends, begins) = (&self.unseen_ends, &self.unseen_begins);
        let any = |times: &BTreeSet<i64>, from: i64, to: i64| {
            let mut within = times.range(second(from)..=second(to));
            within.next().is_some()
        };
        let begun = self.tally.from_to.map(|(from, _)| from);
        let is_watched_on = |gone: i64| {
            let (since, on) = (gone - MINUTE_US, gone.saturating_add(SKEW_US));
            let is_missing = |(from, to): &(i64, i64)| *from < on && since < *to;
            begun.is_some_and(|begun| begun <= since)
                && until.is_some_and(|until| on <= until)
                && !holes.iter().any(is_missing)
                && !any(begins, since, on)
        };
        // An address goes round quickly, and an object may be deleted long after it came back.
        for facts in self.moment.gathered.facts_mut() {
            facts.watched_on = facts.gone.is_some_and(is_watched_on);
            let start = facts.starts.first().copied().or(facts.not_before);
            if let Some(start) = start.filter(|_| facts.came) {
                let low = facts.not_before.map_or(start, |low| low.min(start));
                facts.came = !any(ends, low - 2 * SKEW_US, start + MINUTE_US);
            }
        }
    }

    /// The rows of a cluster of which `known` was known before.
    #[must_use]
    pub fn rows(self, mut known: Known, cluster: &str) -> (Rows, Tally) {
        let told = self.finish();
        super::learn(&mut known, None, &told.moment);
        told.quiet.hold(&mut known);
        (known.to_rows(cluster), told.tally)
    }

    /// When no kubelet wrote.
    fn holes(&self) -> Vec<(i64, i64)> {
        let minutes: Vec<&(i64, i64)> = self.alive.values().collect();
        let pairs = minutes.windows(2).filter_map(|pair| match pair {
            [(_, from), (to, _)] if to - from >= HOLE_US => Some((*from, *to)),
            _ => None,
        });
        pairs.collect()
    }

    /// A write, and whether nothing was missed since `last`.
    fn written(&self, entry: &Entry, by: By, last: Option<i64>) -> Written {
        Written {
            received: entry.received,
            answered: entry.answered,
            by,
            continuous: last.is_some_and(|last| self.is_whole(last, entry.received)),
            is_new: entry.is_creation(),
            relabels: false,
        }
    }

    /// Whether the log has no hole between two times.
    fn is_whole(&self, from: i64, to: i64) -> bool {
        let minute = |at: i64| at.div_euclid(MINUTE_US);
        if to - from < HOLE_US || self.alive.is_empty() {
            return true;
        }
        let mut last = from;
        for (first, latest) in self
            .alive
            .range(minute(from)..=minute(to))
            .map(|(_, times)| *times)
        {
            if first.min(to) - last >= HOLE_US {
                return false;
            }
            last = last.max(latest);
        }
        to - last < HOLE_US
    }
}

fn is_list_of_events(value: &Value) -> bool {
    value.get("kind").and_then(Value::as_str) == Some("EventList")
}

#[cfg(test)]
mod tests;
