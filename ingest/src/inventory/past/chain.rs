//! The writes of each object in order → how long each state held. Pure.
//!
//! Between two writes of one object that follow each other in a log without a hole, the object was as the first left it. So a state
//! holds from when its write was answered to when the next one came in. Only what is new is passed on, and at the end when it
//! was last so: a pod whose status is written a hundred times is two sightings.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use flowaudit_rules::kubernetes::Object;
use serde_json::Value;

use super::super::history::{By, Facts};
use super::super::ledger::Subject;
use super::super::sighting::{self, Held, Holder, Shape};
use super::super::{Declared, Moment};

/// Group, kind, namespace and name: one object at a time.
pub(super) type Key = [String; 4];

/// When a write came in and was answered, microseconds since the epoch, and how well it is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) received: i64,
    pub(super) answered: i64,
    pub(super) by: By,
    /// Nothing was missed since the last write.
    pub(super) continuous: bool,
    /// It made the object.
    pub(super) is_new: bool,
    /// It may have changed labels.
    pub(super) relabels: bool,
}

/// What is known of one object up to its latest write.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    version: Option<String>,
    /// When its latest write was answered.
    pub(super) at: i64,
    by: By,
    held: BTreeMap<Holder, Pending>,
    spec: Option<Spec>,
    /// The whole object as it is, where that is certain: what a patch of level Request is put on.
    body: Option<Value>,
    /// What was passed on before it.
    begun: usize,
    pub(super) pod: Option<OfPod>,
}

/// An address that is held, and the last time it surely was.
#[derive(Debug)]
struct Pending {
    held: Held,
    /// Since when the holder is known to be what it is like.
    since: Option<i64>,
    last: Option<i64>,
    /// It is not passed on yet: its labels are not known, and the next look may tell what they were all the time.
    waits: bool,
    /// Somebody wrote its labels: what a look from elsewhere shows was not so all the time.
    is_firm: bool,
}

/// What is known of a pod beside the addresses that it holds.
#[derive(Debug, Clone)]
pub(super) struct OfPod {
    pub(super) shape: Shape,
    /// Addresses of its node, once they were told.
    pub(super) node_addresses: Vec<IpAddr>,
    /// Whether it has a network of its own, once that is known.
    pub(super) has_own: Option<bool>,
    /// When its labels were last written by somebody whose answer is not there.
    pub(super) relabelled: Option<i64>,
    /// When labels last became what they are, where they were others before.
    pub(super) changed: Option<i64>,
    /// Its status was written, and the log does not say to what.
    pub(super) may_have_ended: bool,
}

/// A content that is in force, and the last time it surely was.
#[derive(Debug)]
struct Spec {
    subject: Subject,
    text: String,
    origin: String,
    last: i64,
}

/// `resourceVersion`s of one resource are compared by length, then as text.
pub(super) fn is_older(version: Option<&str>, than: Option<&str>) -> bool {
    match (version, than) {
        (Some(one), Some(other)) => (one.len(), one) < (other.len(), other),
        _ => false,
    }
}

impl Last {
    pub(super) fn new(uid: &str, written: Written, moment: &Moment) -> Last {
        Last {
            begun: moment.declared.len(),
            uid: uid.to_owned(),
            generation: None,
            version: None,
            at: written.answered,
            by: written.by,
            held: BTreeMap::new(),
            spec: None,
            body: None,
            pod: None,
        }
    }

    /// What stands for the version that is in force, and for whose it is.
    pub(super) fn version_hash(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        let spec = self
            .spec
            .as_ref()
            .filter(|spec| spec.text != sighting::UNKNOWN)?;
        (&self.uid, &spec.text).hash(&mut hasher);
        Some(hasher.finish())
    }

    /// The whole object, where it is known.
    pub(super) fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    /// Its uid becomes known: what was passed on without is its.
    pub(super) fn name(&mut self, uid: &str, moment: &mut Moment) {
        let Some(spec) = &mut self.spec else { return };
        let passed = moment.declared.iter_mut().skip(self.begun);
        for declared in passed.filter(|declared| declared.subject == spec.subject) {
            declared.subject.uid = uid.to_owned();
            declared.spec = named(&declared.spec, uid);
        }
        spec.subject.uid = uid.to_owned();
        spec.text = named(&spec.text, uid);
        self.uid = uid.to_owned();
    }

    /// The same, to be marked.
    pub(super) fn body_mut(&mut self) -> Option<&mut Value> {
        self.body.as_mut()
    }

    /// What the next patch is put on.
    pub(super) fn keep(&mut self, body: Option<Value>) {
        self.body = body;
    }

    /// It was written, and what became of it is in no version: what was known held up to then.
    pub(super) fn lose(&mut self, written: Written, moment: &mut Moment) {
        if written.continuous
            && let Some(spec) = &mut self.spec
        {
            spec.last = spec.last.max(written.received);
        }
        self.forget_spec(moment);
        self.body = None;
        self.at = written.answered;
    }

    /// Whether a state comes before the one that is known.
    pub(super) fn is_newer_than(&self, object: &Object, written: Written) -> bool {
        match (&self.version, &object.resource_version) {
            (Some(own), Some(other)) => is_older(Some(other), Some(own)),
            _ => written.answered < self.at,
        }
    }

    /// The addresses that are held.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Held> {
        self.held.values().map(|pending| &pending.held)
    }

    /// The state after a write.
    pub(super) fn become_state(&mut self, object: &Object, written: Written, moment: &mut Moment) {
        self.generation = object.generation.or(self.generation);
        if object.resource_version.is_some() {
            self.version.clone_from(&object.resource_version);
        }
        self.at = written.answered;
        self.by = written.by;
        self.declare(object, written, moment);
    }

    fn declare(&mut self, object: &Object, written: Written, moment: &mut Moment) {
        let Some((text, mut facts)) = sighting::declared(object) else {
            return;
        };
        if written.is_new {
            facts.not_before = facts.not_before.or(Some(written.received));
        }
        let origin = object.origin.to_string();
        self.become_spec(
            sighting::subject(object),
            text,
            facts,
            origin,
            written,
            moment,
        );
    }

    /// It was written, and what became of it nobody saw.
    pub(super) fn become_unknown(
        &mut self,
        subject: Subject,
        origin: String,
        written: Written,
        moment: &mut Moment,
    ) {
        let text = sighting::UNKNOWN.to_owned();
        self.body = None;
        self.become_spec(subject, text, Facts::default(), origin, written, moment);
    }

    fn become_spec(
        &mut self,
        subject: Subject,
        text: String,
        facts: Facts,
        origin: String,
        written: Written,
        moment: &mut Moment,
    ) {
        if let Some(spec) = self.spec.as_mut().filter(|spec| spec.text == text) {
            spec.last = spec.last.max(written.answered);
            return;
        }
        if let Some(mut spec) = self.spec.take() {
            if written.continuous {
                spec.last = spec.last.max(written.received);
            }
            spec.pass(Facts::default(), self.by, moment);
        }
        let spec = Spec {
            subject,
            text,
            origin,
            last: written.answered,
        };
        spec.pass(facts, written.by, moment);
        self.spec = Some(spec);
    }

    /// What it holds after a write. Addresses that are not among these are no longer its.
    pub(super) fn hold(&mut self, now: Vec<Held>, written: Written, moment: &mut Moment) {
        let Written { received, by, .. } = written;
        let gone: Vec<Holder> = self
            .held
            .keys()
            .filter(|holder| now.iter().all(|held| held.holder != **holder))
            .cloned()
            .collect();
        for holder in gone {
            if let Some(pending) = self.held.remove(&holder) {
                let facts = Facts {
                    gone: Some(received),
                    ..Facts::default()
                };
                pending.pass(facts, self.by, moment);
            }
        }
        for held in now {
            let Some(pending) = self.held.get_mut(&held.holder) else {
                let pending = Pending::begin(held, self.is_relabelled(), by, moment);
                self.held.insert(pending.held.holder.clone(), pending);
                continue;
            };
            let is_held_now = held.at.is_some_and(|at| at >= received);
            if pending.waits && !written.continuous {
                // What it is like after a hole it need not have been before.
                pending.is_firm = true;
                pending.pass(Facts::default(), self.by, moment);
                let at = held.at.filter(|_| is_held_now);
                *pending = Pending::begin(Held { at, ..held }, true, by, moment);
                continue;
            }
            if pending.waits && held.shape.is_labelled() && written.continuous && !written.relabels
            {
                // Nobody wrote labels in between: it had these all the time.
                pending.held.shape = held.shape.clone();
                pending.waits = false;
                pending.see(pending.since, moment, by);
            }
            let is_anew = pending.waits && written.relabels;
            if is_anew && !is_held_now {
                // Whatever is seen next, it may not have been so before.
                pending.is_firm = true;
                pending.see(pending.since, moment, by);
                pending.waits = false;
            }
            // What is from before this write was then as it was known to be.
            let is_since = |at: &i64| pending.since.is_some_and(|since| since <= *at);
            let at = held.at.filter(|at| is_held_now || is_since(at));
            let is_same = pending.held.shape == held.shape;
            let is_as_known = !is_held_now && !written.relabels && written.continuous;
            if is_same && !(is_anew && is_held_now) || is_as_known {
                pending.since = pending.since.or(at);
                pending.last = pending.last.max(at);
                pending.learn(held.facts, by, moment);
            } else if !is_held_now {
                // Since when it is so, and whether it still holds anything, nobody saw.
                pending.is_firm = true;
                pending.last = pending.last.max(at.filter(|_| written.continuous));
                pending.pass(Facts::default(), self.by, moment);
                let unseen = Held { at: None, ..held };
                *pending = Pending::begin(unseen, true, by, moment);
            } else {
                if written.continuous && pending.last.is_some() {
                    pending.last = pending.last.max(Some(received));
                }
                pending.is_firm |= written.relabels;
                pending.pass(Facts::default(), self.by, moment);
                *pending = Pending::begin(held, true, by, moment);
            }
        }
    }

    /// Whether somebody wrote labels of the pod that it is.
    fn is_relabelled(&self) -> bool {
        let pod = self.pod.as_ref();
        pod.is_some_and(|pod| pod.relabelled.or(pod.changed).is_some())
    }

    /// What it holds, and gave no sign of an end, it held up to then.
    pub(super) fn go_on(&mut self, until: i64) {
        if self.pod.as_ref().is_some_and(|pod| pod.may_have_ended) {
            return;
        }
        let going = self
            .held
            .values_mut()
            .filter(|pending| pending.last.is_some() && !pending.held.facts.tell_of_an_end());
        for pending in going {
            pending.last = pending.last.max(Some(until));
        }
    }

    /// Its identity, as far as its content was seen.
    pub(super) fn subject(&self) -> Option<&Subject> {
        self.spec.as_ref().map(|spec| &spec.subject)
    }

    fn forget_spec(&mut self, moment: &mut Moment) {
        if let Some(spec) = self.spec.take() {
            spec.pass(Facts::default(), self.by, moment);
        }
    }

    /// It is gone: what it held up to `received`, it holds no more at `answered`.
    pub(super) fn end(mut self, written: Written, moment: &mut Moment) {
        let facts = Facts {
            gone: Some(written.answered),
            ..Facts::default()
        };
        if let Some(mut spec) = self.spec.take() {
            if written.continuous {
                spec.last = spec.last.max(written.received);
            }
            spec.pass(facts.clone(), written.by, moment);
        }
        for pending in std::mem::take(&mut self.held).into_values() {
            pending.pass(facts.clone(), written.by, moment);
        }
    }

    /// Passes on when everything was last so.
    pub(super) fn flush(mut self, moment: &mut Moment) {
        self.forget_spec(moment);
        for pending in std::mem::take(&mut self.held).into_values() {
            pending.pass(Facts::default(), self.by, moment);
        }
    }
}

/// The canonical text of a version, with a uid.
fn named(text: &str, uid: &str) -> String {
    let mut version: Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(metadata) = version.get_mut("metadata") {
        metadata["uid"] = uid.into();
    }
    version.to_string()
}

impl Pending {
    fn begin(held: Held, is_firm: bool, by: By, moment: &mut Moment) -> Pending {
        let waits = !held.shape.is_labelled();
        let seen = Held {
            at: held.at.filter(|_| !waits),
            ..held.clone()
        };
        moment.gathered.add(seen, by);
        Pending {
            since: held.at,
            last: held.at,
            waits,
            is_firm,
            held,
        }
    }

    fn see(&self, at: Option<i64>, moment: &mut Moment, by: By) {
        let held = Held {
            at,
            facts: Facts::default(),
            ..self.held.clone()
        };
        self.put(held, by, moment);
    }

    fn put(&self, held: Held, by: By, moment: &mut Moment) {
        // By this word it stands for itself, see `inventory::stand_in`.
        let is_itself = self.is_firm && !held.shape.is_labelled();
        moment
            .gathered
            .add(held, if is_itself { By::Audit } else { by });
    }

    fn learn(&mut self, facts: Facts, by: By, moment: &mut Moment) {
        if self.held.facts != facts {
            self.held.facts = facts;
            let held = Held {
                at: None,
                ..self.held.clone()
            };
            moment.gathered.add(held, by);
        }
    }

    fn pass(&self, facts: Facts, by: By, moment: &mut Moment) {
        if self.waits {
            self.see(self.since, moment, by);
        }
        let held = Held {
            at: self.last,
            facts,
            ..self.held.clone()
        };
        self.put(held, by, moment);
    }
}

impl Spec {
    fn pass(&self, facts: Facts, by: By, moment: &mut Moment) {
        moment.declared.push(Declared {
            subject: self.subject.clone(),
            spec: self.text.clone(),
            origin: self.origin.clone(),
            facts,
            by,
            at: Some(self.last),
        });
    }
}
