//! What the API server said → who holds what, and what is declared. Pure.
//!
//! | heard | becomes |
//! | --- | --- |
//! | an object, or another look of it | a row begins at receipt, or when the object says it began |
//! | something else, of a kind that is watched | the core of what is open reaches to here |
//! | finished, with the time | the core ends at that time, the address was given back when this was heard |
//! | finished, and nobody who could know says when | the core ends where it was last heard of, the end stays open until the next holder |
//! | deleted, after it finished (pods); deleted (the others) | the core ends where the kind was last heard, it was gone when this was heard |
//! | deleted without having finished (pods) | its end is open: its containers may run on (history 5.4.1) |
//! | a pod's network that is gone (`NodeRuntime`) | the address came back then, of a pod that has finished or whose end is open |
//! | a PodENI in `Bind` for the pod | its further addresses are held like the one that the pod shows ([`own`](super::own)) |
//! | a list, after something was missed | see [`resync`](super::resync) |
//!
//! A kind was last heard at its last event or bookmark. After a list that is its beginning, until a bookmark comes: what happened
//! while it was sent page by page comes afterwards, in a burst, and late; so does what was said while a connection stalled. Of who came and went in it without a word of when, nothing is
//! sure: that is a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flowaudit_rules::cluster::Owners;
use flowaudit_rules::kubernetes::{Body, Object};
use flowaudit_rules::terway::NodeRuntime;

use super::compact::{Name, Words};
use super::heard::{Heard, KindId};
use super::hold::{Closed, End, Hold, STATUS_LAG_US};
use super::own::{Claim, pod_enis};
use super::resync::{Gap, Watched, WatchedSpan};
use super::settled::Settled;
use super::version::{ClosedVersion, Version};
use crate::inventory::history::{By, SKEW_US};
use crate::inventory::interfaces;
use crate::inventory::sighting::{self, us};

/// So long after a list or a silence an event shows that what happened meanwhile has all come, if no bookmark does.
const BURST_US: i64 = 10_000_000;
/// Kubernetes cuts its times to the second.
pub(super) const SECOND_US: i64 = 1_000_000;
/// So many controllers that are gone are remembered: their pods may outlive them.
const OWNERS_GONE_MAX: usize = 20_000;

/// All that is open in one cluster, and what has ended and is not written down for good.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) words: Words,
    pub(super) kinds: BTreeMap<KindId, Kind>,
    pub(super) settled: Settled,
    pub(super) versions: Vec<ClosedVersion>,
    /// Pods that had finished when they were first heard of: who recorded before may have written them down.
    pub(super) doubtful: Vec<Closed>,
    /// When nobody watched, as far as the lake does not say so yet.
    pub(super) gaps: Vec<Gap>,
    /// Spans in which kinds were watched, and that are over, as far as the lake does not say so yet.
    pub(super) spans: Vec<WatchedSpan>,
    /// When the last event came.
    pub(super) now: i64,
    /// Whether anything was heard that is not in the lake.
    pub(super) is_changed: bool,
    /// The same, of what is declared.
    pub(super) is_declared: bool,
    /// Which pods hold an address alone.
    pub(super) by_addr: HashMap<IpAddr, Vec<Name>>,
    pub(super) owners: Owners,
    owners_gone: usize,
    /// What rows rest on, where they rest on nothing else.
    pub(super) live: Arc<BTreeSet<By>>,
    /// What rows of further addresses rest on.
    pub(super) further: Arc<BTreeSet<By>>,
    /// What PodENIs say, by the names of their pods.
    pub(super) claims: HashMap<Name, Claim>,
}

/// One kind.
#[derive(Debug, Default)]
pub(super) struct Kind {
    /// Everything up to here was said.
    pub(super) seen: Option<i64>,
    /// Whether it is watched just now.
    pub(super) is_live: bool,
    pub(super) list: List,
    pub(super) objects: HashMap<Name, Entry>,
    pub(super) watched: Watched,
}

/// The last list of a kind, or the one that is under way.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Its number; what it shows carries it.
    pub(super) number: u32,
    pub(super) begun: i64,
    /// It shows what was so at some instant between its beginning and this.
    pub(super) shown: i64,
    /// Since when what comes may have waited for us: since its end, or the end of a silence.
    pub(super) burst: i64,
    /// What happened while it was sent, or nothing came, has all come.
    pub(super) has_settled: bool,
}

/// One object.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) uid: Arc<str>,
    /// The list that last showed it.
    pub(super) list: u32,
    pub(super) holds: Vec<Hold>,
    pub(super) version: Option<Version>,
    /// It has given its addresses back, and takes none any more.
    pub(super) has_finished: bool,
    /// When it surely had not been let go of yet: it is on its way out.
    leaving: Option<i64>,
}

/// How an object was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// When it was surely so: at receipt of an event; for a list when its first page came, or the latest time in the object.
    pub(super) at: i64,
    /// What it shows to have ended was over by then.
    pub(super) by: i64,
    /// When the list began that shows it.
    pub(super) listed: Option<i64>,
    /// When its kind was last heard before.
    pub(super) last: Option<i64>,
    /// Its kind had been watched for so long that whoever had an address just before was seen as well.
    pub(super) watched: bool,
}

impl State {
    pub(super) fn new() -> State {
        State {
            live: Arc::new(BTreeSet::from([By::Live])),
            further: Arc::new(BTreeSet::from([By::PodEni])),
            ..State::default()
        }
    }

    /// Takes one thing that the server said.
    pub(super) fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::ListBegun { kind, at, shown } => self.begin_list(kind, at, shown),
            Heard::Listed { object } => {
                let kind = self.kind(&KindId::of(&object));
                let begun = kind.list.begun;
                let shown = kind.list.shown;
                let at = shown.max(sighting::latest_time(&object).unwrap_or(shown));
                let seen = Seen {
                    at,
                    by: at + SECOND_US,
                    listed: Some(begun),
                    last: kind.seen,
                    watched: false,
                };
                self.apply(&object, seen);
            }
            Heard::ListEnded { kind, at } => self.end_list(&kind, at),
            Heard::Applied { object, at } => {
                let at = self.not_back(&object, at);
                let kind = self.kind(&KindId::of(&object));
                let seen = Seen {
                    at,
                    by: at,
                    listed: None,
                    last: kind.seen,
                    watched: at.saturating_sub(kind.list.begun) > STATUS_LAG_US + SKEW_US,
                };
                self.apply(&object, seen);
                self.heard(&KindId::of(&object), at, false);
            }
            Heard::Deleted { object, at } => {
                let at = self.not_back(&object, at);
                self.delete(&object, at);
                self.heard(&KindId::of(&object), at, false);
            }
            Heard::Progress { kind, at } => self.heard(&kind, at, true),
            Heard::Waited { kind, at } => {
                let list = &mut self.kind(&kind).list;
                (list.burst, list.has_settled) = (at, false);
            }
            Heard::Lost { kind, at, why } => self.lose(&kind, at, &why),
        }
    }

    /// Whether a list has begun.
    pub(super) fn has_listed(&self) -> bool {
        self.kinds.values().any(|kind| kind.list.number > 0)
    }

    /// The last time anything was heard.
    pub(super) fn latest(&self) -> i64 {
        let seen = self.kinds.values().filter_map(|kind| kind.seen);
        seen.max().unwrap_or(i64::MIN)
    }

    pub(super) fn kind(&mut self, id: &KindId) -> &mut Kind {
        if !self.kinds.contains_key(id) {
            self.kinds.insert(id.clone(), Kind::default());
        }
        self.kinds.entry(id.clone()).or_default()
    }

    /// Our own clock may be set back; what is heard later came later all the same.
    fn not_back(&mut self, object: &Object, at: i64) -> i64 {
        self.now = at.max(self.kind(&KindId::of(object)).seen.unwrap_or(at));
        self.now
    }

    /// Everything of a kind up to `at` was said, as an event or a bookmark shows.
    fn heard(&mut self, id: &KindId, at: i64, is_bookmark: bool) {
        let kind = self.kind(id);
        if !kind.is_live {
            return;
        }
        kind.list.has_settled |= is_bookmark || at >= kind.list.burst + BURST_US;
        if kind.list.has_settled && kind.seen.is_none_or(|seen| seen < at) {
            kind.seen = Some(at);
            self.is_changed = true;
        }
    }

    /// The state of an object.
    fn apply(&mut self, object: &Object, seen: Seen) {
        let id = KindId::of(object);
        let name = self.words.name(object.namespace.as_deref(), &object.name);
        let number = self.kind(&id).list.number;
        let mut entry = match self.kind(&id).objects.remove(&name) {
            Some(entry) if *entry.uid == *object.uid => entry,
            // Another one of that name: the one before is gone.
            Some(other) => {
                self.end_entry(&id, &name, other, End::Gone(seen.by));
                Entry::of(&object.uid)
            }
            None => Entry::of(&object.uid),
        };
        entry.list = number;
        if object.deletion.is_some() && entry.leaving.is_none() {
            entry.leaving = seen.listed.or(seen.last);
        }
        if let Body::Controller(owner) = &object.body {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            self.owners
                .insert(namespace, &object.kind, &object.name, owner.clone());
        }
        if let Body::NodeRuntime(runtime) = &object.body {
            self.take_back(runtime);
        }
        if let Some(pod_eni) = interfaces::seen(object) {
            self.claim(&name, &pod_eni, seen);
        }
        self.declare(&id, &name, &mut entry, object, seen);
        if !entry.has_finished {
            self.hold(&name, &mut entry, object, seen);
        }
        self.kind(&id).objects.insert(name, entry);
    }

    /// Terway says whose networks are gone.
    fn take_back(&mut self, runtime: &NodeRuntime) {
        for (pod, at) in &runtime.pods {
            if let Some(at) = at.map(us) {
                let name = self.words.name(Some(&pod.namespace), &pod.name);
                let uid = self.words.word(&pod.uid);
                self.is_changed |= self.settled.take_back(&name, &uid, at);
            }
        }
    }

    /// What the object declares.
    fn declare(
        &mut self,
        id: &KindId,
        name: &Name,
        entry: &mut Entry,
        object: &Object,
        seen: Seen,
    ) {
        let Some((spec, facts)) = sighting::declared(object) else {
            return;
        };
        let (first, last) = (seen.at, seen.last);
        let mut before = last;
        if let Some(version) = &mut entry.version {
            if *version.spec == *spec {
                version.last = version.last.max(seen.listed);
                return;
            }
            if version.first >= first {
                // It was never seen for sure.
                version.spec = spec.into();
                version.published = None;
                self.is_changed = true;
                self.is_declared = true;
                return;
            }
            before = Some(version.end(last).min(first - 1));
        }
        if let Some(version) = entry.version.take() {
            self.end_version(id, name, &entry.uid, version, first);
        }
        let mut version = Version {
            spec: spec.into(),
            origin: self.words.word(&object.origin.file),
            first,
            last: seen.listed,
            start: None,
            not_before: facts.not_before,
            before: before.filter(|before| *before < first),
            published: None,
        };
        version.began(facts.starts);
        entry.version = Some(version);
        self.is_changed = true;
        self.is_declared = true;
    }

    /// The object is there no more; this was its last state.
    fn delete(&mut self, object: &Object, at: i64) {
        let id = KindId::of(object);
        let name = self.words.name(object.namespace.as_deref(), &object.name);
        let last = self.kind(&id).seen;
        let Some(mut entry) = self.kind(&id).objects.remove(&name) else {
            return;
        };
        if *entry.uid != *object.uid {
            self.kind(&id).objects.insert(name, entry);
            return;
        }
        let Body::Pod(pod) = &object.body else {
            if let Body::Controller(_) = &object.body {
                self.owner_gone();
            }
            if let Body::Node(_) = &object.body {
                self.settled.end_of_node(&object.name, at);
            }
            self.end_entry(&id, &name, entry, End::Gone(at));
            if id == pod_enis() {
                self.unclaim(&name, at, last);
            }
            return;
        };
        let finished = pod.times.finished.map(|finished| us(finished).min(at));
        for mut hold in std::mem::take(&mut entry.holds) {
            let finished = hold.ended.into_iter().chain(finished).min();
            if finished.is_none() && hold.is_vague(last) {
                self.close(hold, last, End::Unsaid);
                continue;
            }
            // A mark that was heard with its first sight is dated to before that.
            let leaving = entry.leaving.map_or(i64::MAX, |at| at.max(hold.begin()));
            let sure = leaving.min(hold.sure_end(last));
            hold.ended = Some(finished.unwrap_or(sure));
            if let Some(finished) = finished {
                self.settled.cut(&hold, finished);
            }
            let end = match finished {
                Some(_) => End::Gone(at),
                None => End::Unsaid,
            };
            self.close(hold, last, end);
        }
        self.end_entry(&id, &name, entry, End::Gone(at));
    }

    /// Ends all that an object held and declared.
    pub(super) fn end_entry(&mut self, id: &KindId, name: &Name, mut entry: Entry, end: End) {
        let last = self.kind(id).seen;
        for hold in std::mem::take(&mut entry.holds) {
            self.close(hold, last, end);
        }
        if let (Some(version), End::Gone(at)) = (entry.version, end) {
            self.end_version(id, name, &entry.uid, version, at);
        }
        self.is_changed = true;
    }

    pub(super) fn end_version(
        &mut self,
        id: &KindId,
        name: &Name,
        uid: &Arc<str>,
        version: Version,
        at: i64,
    ) {
        let mut span = version.span(self.kind(id).seen);
        if at > span.start {
            span.end = span.end.min(at - 1);
        }
        span.high = Some(at.max(span.end));
        self.versions.push(ClosedVersion {
            kind: id.clone(),
            name: name.clone(),
            uid: Arc::clone(uid),
            version,
            span,
        });
        self.is_changed = true;
        self.is_declared = true;
    }

    /// A controller is gone. Its pods may still be there, so it is forgotten only with many others.
    fn owner_gone(&mut self) {
        self.owners_gone += 1;
        if self.owners_gone < OWNERS_GONE_MAX {
            return;
        }
        self.owners_gone = 0;
        self.owners = Owners::default();
        for (id, kind) in &self.kinds {
            for (name, entry) in &kind.objects {
                let Some(version) = &entry.version else {
                    continue;
                };
                if !matches!(id.group.as_str(), "apps" | "batch") {
                    break;
                }
                for object in flowaudit_rules::kubernetes::read("", &version.spec).objects {
                    if let Body::Controller(owner) = object.body {
                        let namespace = name.namespace.as_deref().unwrap_or_default();
                        self.owners.insert(namespace, &id.kind, &name.name, owner);
                    }
                }
            }
        }
    }
}

impl Entry {
    pub(super) fn of(uid: &str) -> Entry {
        Entry {
            uid: uid.into(),
            ..Entry::default()
        }
    }
}
