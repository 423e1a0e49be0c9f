//! Policies, namespaces, Services, nodes and controllers in the audit log: which version was in force when. Pure.
//!
//! A write at level `RequestResponse` shows the whole object as it became. At level Request a create or update shows what was wanted,
//! and a patch is put on the version before ([`replay`]). Where what came of it is not certain, and at Metadata or where bodies were cut
//! off,
//! something changed: what was known holds no longer, and what is in force then nobody saw. A deletion ends the object, unless finalizers
//! keep it in force.

use chrono::DateTime;
use flowaudit_rules::kubernetes::{self, Object};
use serde_json::Value;

use super::super::history::By;
use super::super::ledger::Subject;
use super::super::sighting;
use super::chain::{Key, Last, Written};
use super::entry::{Entry, Level};
use super::replay;
use super::{MADE_UP, Past};

/// Subresources whose answer is the object itself.
const WHOLE: [&str; 3] = ["", "status", "finalize"];

/// Two servers' clocks may be so far apart that two writes came in the other order, where nothing but their times tells it.
pub(super) const APART_US: i64 = 3_000_000;

impl Past {
    /// What a write of anything but a pod says.
    pub(super) fn declared(&mut self, entry: &Entry, kind: &str) {
        if !WHOLE.contains(&entry.subresource.as_str()) {
            return;
        }
        match entry.verb.as_str() {
            "delete" => self.deleted(entry, kind),
            "deletecollection" => self.deleted_all(entry, kind),
            _ => match self.became(entry, kind) {
                Became::Whole(whole) => {
                    let (object, value) = *whole;
                    self.write(&object, entry, by(entry), entry.answered);
                    let key = key_of(&object);
                    if is_on_its_way_out(&value) && !is_kept(&value) {
                        self.gone(key, entry);
                    } else if let Some(last) = self.chains.get_mut(&key) {
                        last.keep(is_replayed(kind, &entry.group).then_some(value));
                    }
                }
                Became::Same => {}
                Became::Gone => self.gone(key_of_entry(entry, kind), entry),
                Became::Unknown => self.unknown(key_of_entry(entry, kind), entry),
            },
        }
    }

    /// What an object became by a write.
    fn became(&self, entry: &Entry, kind: &str) -> Became {
        let answer = entry.response.as_ref();
        let seen = answer.and_then(|body| read(body, entry, kind));
        if let Some(whole) = seen {
            return Became::Whole(Box::new(whole));
        }
        if leaves_be(entry, kind) {
            return Became::Same;
        }
        let key = key_of_entry(entry, kind);
        let last = self.chains.get(&key);
        let base = last.filter(|last| self.is_whole(last.at, entry.received));
        let base = base.and_then(Last::body);
        let is_partial = |body: &&Value| {
            body.get("kind")
                .is_some_and(|kind| kind == "PartialObjectMetadata")
        };
        let metadata = answer
            .filter(is_partial)
            .and_then(|body| body.get("metadata"));
        let value = metadata.and_then(|metadata| replay::after_metadata(base, metadata));
        let value = value.or_else(|| replay::after(base, entry, kind));
        // Two that may have come the other way round.
        let is_close = last.is_some_and(|last| entry.received - last.at < APART_US);
        let is_new = entry.is_creation();
        let value = value.filter(|value| is_new || !is_close || base == Some(value));
        match value.and_then(|value| read(&value, entry, kind)) {
            Some(whole) => Became::Whole(Box::new(whole)),
            // The last finalizer of its own is taken away when nothing is left in it.
            None if kind == "Namespace" && entry.subresource == "finalize" => Became::Gone,
            None => Became::Unknown,
        }
    }

    fn write(&mut self, object: &Object, entry: &Entry, by: By, at: i64) {
        let key = key_of(object);
        let mut object = object.clone();
        let is_whole = |last: &Last| !entry.is_creation() && self.is_whole(last.at, entry.received);
        let same = self.chains.get(&key).filter(|last| is_whole(last));
        match same.map(|last| last.uid.as_str()) {
            Some(uid) if !object.uid.is_empty() && is_made_up(uid) => self.name(&key, &object.uid),
            Some(uid) if object.uid.is_empty() && !uid.is_empty() => object.uid = uid.to_owned(),
            _ => {}
        }
        if object.uid.is_empty() {
            object.uid = made_up(entry);
        }
        let object = &object;
        let last = self.chains.get(&key).map(|last| last.at);
        let mut written = Written {
            answered: at,
            ..self.written(entry, by, last)
        };
        // A generation that jumps tells of versions that are not in the log.
        let jumped = |last: &Last| matches!((last.generation, object.generation), (Some(old), Some(new)) if new > old + 1);
        if self.chains.get(&key).is_some_and(jumped) {
            written.continuous = false;
            let by_then = Written {
                answered: entry.received,
                ..written
            };
            self.become_unknown(key.clone(), &object.uid, entry, by_then);
        }
        let held = sighting::held(object, at);
        self.follow(key, object, held, written);
    }

    /// The uid of an object becomes known.
    fn name(&mut self, key: &Key, uid: &str) {
        if let Some(last) = self.chains.get_mut(key) {
            last.name(uid, &mut self.moment);
        }
    }

    /// A new state of an object joins its past.
    pub(super) fn follow(
        &mut self,
        key: Key,
        object: &Object,
        held: Vec<sighting::Held>,
        written: Written,
    ) {
        if object.kind == "Pod" {
            // Its deletion is not in the log, and another of its name is proof enough; but the containers may run on.
            self.pod_is_another(&key, &object.uid);
        }
        let moment = &mut self.moment;
        match self.chains.get(&key) {
            // Late: it is a sighting, and the chain goes on as it was.
            Some(last) if last.uid == object.uid && last.is_newer_than(object, written) => {
                moment.gather(held, written.by);
                moment.declare(object, Some(written.answered), written.by, None);
                return;
            }
            Some(last) if last.uid == object.uid => {}
            Some(_) => {
                if let Some(last) = self.chains.remove(&key) {
                    let by_then = Written {
                        answered: written.received,
                        continuous: false,
                        ..written
                    };
                    last.end(by_then, moment);
                }
            }
            None => {}
        }
        let last = self
            .chains
            .entry(key)
            .or_insert_with(|| Last::new(&object.uid, written, moment));
        last.become_state(object, written, moment);
        last.hold(held, written, moment);
    }

    fn deleted(&mut self, entry: &Entry, kind: &str) {
        let answer = entry.response.as_ref();
        match answer.and_then(|body| read(body, entry, kind)) {
            // As it was just before.
            Some((object, value)) => self.gone_as(&object, value, entry, kind),
            None => self.removed_unseen(key_of_entry(entry, kind), entry),
        }
    }

    fn gone_as(&mut self, object: &Object, value: Value, entry: &Entry, kind: &str) {
        self.write(object, entry, By::Audit, entry.received);
        let key = key_of(object);
        if !is_kept(&value) {
            self.gone(key, entry);
        } else if let Some(last) = self.chains.get_mut(&key) {
            last.keep(is_replayed(kind, &entry.group).then_some(value));
        }
    }

    /// A deletion whose answer does not show the object.
    fn removed_unseen(&mut self, key: Key, entry: &Entry) {
        let known = self.chains.get_mut(&key).and_then(Last::body_mut);
        let is_kept = match &entry.response {
            Some(answer) => is_kept(answer),
            // Every namespace has a finalizer of the server's own.
            None if key[1] == "Namespace" => true,
            None => known.as_deref().is_some_and(is_kept) || is_to_wait(entry),
        };
        if !is_kept {
            return self.gone(key, entry);
        }
        if let Some(metadata) = known.and_then(|body| body.get_mut("metadata")) {
            let at = DateTime::from_timestamp_micros(entry.answered);
            metadata["deletionTimestamp"] = at.map(|at| at.to_rfc3339()).into();
        }
    }

    fn deleted_all(&mut self, entry: &Entry, kind: &str) {
        let items = entry
            .response
            .as_ref()
            .and_then(|list| list.get("items")?.as_array().cloned());
        let Some(items) = items else {
            let here =
                |key: &&Key| key[0] == entry.group && key[1] == kind && key[2] == entry.namespace;
            let here: Vec<Key> = self.chains.keys().filter(here).cloned().collect();
            for key in here {
                match entry.is_selective() {
                    // Which of them are gone is not said.
                    true => self.unknown(key, entry),
                    false => self.removed_unseen(key, entry),
                }
            }
            return;
        };
        for item in items {
            if let Some((object, value)) = read(&item, entry, kind) {
                self.gone_as(&object, value, entry, kind);
            }
        }
    }

    fn gone(&mut self, key: Key, entry: &Entry) {
        let at = self.chains.get(&key).map(|last| last.at);
        let written = self.written(entry, by(entry), at);
        let uid = uid_of(entry);
        let has_uid = |last: &Last| written.continuous && !uid.is_empty() && is_made_up(&last.uid);
        if self.chains.get(&key).is_some_and(has_uid) {
            self.name(&key, &uid);
        }
        match self.chains.remove(&key) {
            Some(last) => last.end(written, &mut self.moment),
            // It existed, and what it said is not in the log.
            None => {
                let before = Written {
                    answered: entry.received,
                    ..written
                };
                self.become_unknown(key.clone(), &uid_of(entry), entry, before);
                if let Some(last) = self.chains.remove(&key) {
                    last.end(written, &mut self.moment);
                }
            }
        }
    }

    fn unknown(&mut self, key: Key, entry: &Entry) {
        let last = self.chains.get(&key);
        let uid = last.map_or_else(|| uid_of(entry), |last| last.uid.clone());
        let written = self.written(entry, by(entry), last.map(|last| last.at));
        self.become_unknown(key, &uid, entry, written);
    }

    /// What a policy or the labels of a namespace became nobody saw; of other kinds that decides no verdict.
    fn become_unknown(&mut self, key: Key, uid: &str, entry: &Entry, written: Written) {
        let [group, kind, namespace, name] = key.clone();
        if !is_judged(&kind, &group) {
            if let Some(last) = self.chains.get_mut(&key) {
                last.lose(written, &mut self.moment);
            }
            return;
        }
        match kind.as_str() {
            "ConfigMap" => drop(self.tally.settings.insert(written.answered)),
            _ => self.tally.unknown += 1,
        }
        let last = self
            .chains
            .entry(key)
            .or_insert_with(|| Last::new(uid, written, &self.moment));
        let subject = last.subject().cloned().unwrap_or_else(|| Subject {
            namespace: (!namespace.is_empty()).then_some(namespace),
            uid: uid.to_owned(),
            group,
            kind,
            name,
        });
        last.at = written.answered;
        last.become_unknown(subject, entry.origin(), written, &mut self.moment);
    }
}

/// What an object became by a write.
enum Became {
    /// This, and its JSON.
    Whole(Box<(Object, Value)>),
    /// What it was.
    Same,
    /// Nothing: it is no more.
    Gone,
    /// Something that is not in the log.
    Unknown,
}

/// Whether a write changes nothing of what is used, whatever came of it: whoever writes a status declares nothing.
fn leaves_be(entry: &Entry, kind: &str) -> bool {
    let sent = entry.request.as_ref().filter(|sent| sent.is_object());
    let lacks = |path: &str| sent.is_some_and(|sent| sent.pointer(path).is_none());
    let is_status = entry.subresource == "status";
    match kind {
        "Service" => false,
        "Node" => is_status && lacks("/status/addresses") && lacks("/metadata/labels"),
        "Namespace" => is_status && entry.user.starts_with("system:"),
        _ if is_status => true,
        _ if is_judged(kind, &entry.group) => false,
        _ => {
            entry.verb == "patch" && lacks("/metadata/ownerReferences") && lacks("/metadata/labels")
        }
    }
}

/// Whether patches of a kind are put on what is known. Of the others so little is used that it is not worth its memory.
fn is_replayed(kind: &str, group: &str) -> bool {
    is_judged(kind, group) || kind == "Service"
}

/// Whether its content decides verdicts.
fn is_judged(kind: &str, group: &str) -> bool {
    group.contains('.') || matches!(kind, "Namespace" | "ConfigMap")
}

/// What is created at level Request has no uid in the log, nor does everyone write it who changes it: such objects are told apart by
/// the first that is known of them.
fn made_up(entry: &Entry) -> String {
    format!("{MADE_UP}{}", entry.audit_id)
}

fn is_made_up(uid: &str) -> bool {
    uid.is_empty() || uid.starts_with(MADE_UP)
}

/// The uid, where the request or its answer has it.
fn uid_of(entry: &Entry) -> String {
    let details = entry
        .response
        .as_ref()
        .and_then(|answer| answer.get("details")?.get("uid")?.as_str());
    details.map_or_else(|| entry.uid.clone(), str::to_owned)
}

pub(super) fn by(entry: &Entry) -> By {
    match entry.level {
        Level::RequestResponse => By::Audit,
        Level::Request | Level::Metadata => By::AuditRequest,
    }
}

pub(super) fn key_of(object: &Object) -> Key {
    let namespace = object.namespace.clone().unwrap_or_default();
    [
        object.group.clone(),
        object.kind.clone(),
        namespace,
        object.name.clone(),
    ]
}

pub(super) fn key_of_entry(entry: &Entry, kind: &str) -> Key {
    // The namespace of a Namespace is its own name there.
    let namespace = if kind == "Namespace" {
        String::new()
    } else {
        entry.namespace.clone()
    };
    [
        entry.group.clone(),
        kind.to_owned(),
        namespace,
        entry.name.clone(),
    ]
}

/// Whether a deletion was asked for that waits for others: a finalizer keeps the object until they are gone.
fn is_to_wait(entry: &Entry) -> bool {
    let sent = entry.request.as_ref();
    let asked = sent.and_then(|options| options.get("propagationPolicy")?.as_str());
    matches!(asked, Some("Foreground" | "Orphan"))
}

/// An object from a body; only if it is whole and of that kind.
pub(super) fn read(body: &Value, entry: &Entry, kind: &str) -> Option<(Object, Value)> {
    let mut body = body.clone();
    let members = body.as_object_mut()?;
    if members.get("kind").is_some_and(|written| written != kind) {
        return None;
    }
    if !members.contains_key("apiVersion") {
        let version = if entry.group.is_empty() {
            "v1".to_owned()
        } else {
            format!("{}/v1", entry.group)
        };
        members.insert("apiVersion".to_owned(), version.into());
    }
    members.insert("kind".to_owned(), kind.into());
    let metadata = members
        .entry("metadata")
        .or_insert_with(|| Value::Object(Default::default()))
        .as_object_mut()?;
    if !metadata.contains_key("name") {
        if entry.name.is_empty() {
            return None;
        }
        metadata.insert("name".to_owned(), entry.name.clone().into());
    }
    let object = kubernetes::read(&entry.origin(), &body.to_string())
        .objects
        .into_iter()
        .next()?;
    Some((object, body))
}

fn is_on_its_way_out(body: &Value) -> bool {
    body.get("metadata")
        .and_then(|metadata| metadata.get("deletionTimestamp"))
        .is_some_and(|time| !time.is_null())
}

/// Whether finalizers keep it, those of a Namespace included.
fn is_kept(body: &Value) -> bool {
    ["metadata", "spec"].iter().any(|part| {
        let finalizers = body.get(part).and_then(|part| part.get("finalizers"));
        finalizers
            .and_then(Value::as_array)
            .is_some_and(|all| !all.is_empty())
    })
}
