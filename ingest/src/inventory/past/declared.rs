//! Policies, namespaces, Services, nodes and controllers in the audit log: which version was in force when. Pure.
//!
//! A write at level `RequestResponse` shows the whole object as it became. At level Request a create or update shows what was wanted,
//! which is used as it is, and a patch nothing certain. Metadata, and bodies that were cut off, say that something changed: what was
//! known holds no longer, and what is in force then nobody saw. A deletion ends the object, unless finalizers keep it in force.

use flowaudit_rules::kubernetes::{self, Object};
use serde_json::Value;

use super::super::history::By;
use super::super::ledger::Subject;
use super::super::sighting;
use super::Past;
use super::chain::{Key, Last, Written};
use super::entry::{Entry, Level};

/// Subresources whose answer is the object itself.
const WHOLE: [&str; 3] = ["", "status", "finalize"];

impl Past {
    /// What a write of anything but a pod says.
    pub(super) fn declared(&mut self, entry: &Entry, kind: &str) {
        if !WHOLE.contains(&entry.subresource.as_str()) {
            return;
        }
        match entry.verb.as_str() {
            "delete" => self.deleted(entry, kind),
            "deletecollection" => self.deleted_all(entry, kind),
            _ => match whole(entry, kind) {
                Some((object, value)) => {
                    self.write(&object, entry, by(entry), entry.answered);
                    if is_on_its_way_out(&value) && !is_kept(&value) {
                        self.gone(key_of(&object), entry);
                    }
                }
                None => self.unknown(key_of_entry(entry, kind), entry),
            },
        }
    }

    fn write(&mut self, object: &Object, entry: &Entry, by: By, at: i64) {
        let key = key_of(object);
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

    /// A new state of an object joins its past.
    pub(super) fn follow(
        &mut self,
        key: Key,
        object: &Object,
        held: Vec<sighting::Held>,
        written: Written,
    ) {
        let moment = &mut self.moment;
        match self.chains.get(&key) {
            // Late: it is a sighting, and the chain goes on as it was.
            Some(last) if last.uid == object.uid && last.is_newer_than(object, written) => {
                moment
                    .held
                    .extend(held.into_iter().map(|held| (held, written.by)));
                moment.declare(object, Some(written.answered), written.by, None);
                return;
            }
            Some(last) if last.uid == object.uid => {}
            Some(_) => {
                // Its deletion is not in the log, and another of its name is proof enough; but the containers of a pod may run on.
                match self.chains.remove(&key) {
                    Some(last) if object.kind == "Pod" => last.flush(moment),
                    Some(last) => {
                        let by_then = Written {
                            answered: written.received,
                            continuous: false,
                            ..written
                        };
                        last.end(by_then, moment);
                    }
                    None => {}
                }
            }
            None => {}
        }
        let last = self
            .chains
            .entry(key)
            .or_insert_with(|| Last::new(&object.uid, written));
        last.become_state(object, written, moment);
        last.hold(held, written, moment);
    }

    fn deleted(&mut self, entry: &Entry, kind: &str) {
        match whole(entry, kind).filter(|_| entry.level == Level::RequestResponse) {
            // As it was just before.
            Some((object, value)) => {
                self.write(&object, entry, By::Audit, entry.received);
                if !is_kept(&value) {
                    self.gone(key_of(&object), entry);
                }
            }
            None => {
                let kept = entry.response.as_ref().is_some_and(is_kept);
                if !kept {
                    self.gone(key_of_entry(entry, kind), entry);
                }
            }
        }
    }

    fn deleted_all(&mut self, entry: &Entry, kind: &str) {
        let items = entry
            .response
            .as_ref()
            .and_then(|list| list.get("items")?.as_array().cloned());
        let Some(items) = items else {
            // Which of them are gone is not said.
            let here: Vec<Key> = self
                .chains
                .keys()
                .filter(|key| key[0] == entry.group && key[1] == kind && key[2] == entry.namespace)
                .cloned()
                .collect();
            for key in here {
                self.unknown(key, entry);
            }
            return;
        };
        for item in items {
            let is_kept = is_kept(&item);
            let Some((object, _)) = read(&item, entry, kind) else {
                continue;
            };
            self.write(&object, entry, By::Audit, entry.received);
            if !is_kept {
                self.gone(key_of(&object), entry);
            }
        }
    }

    fn gone(&mut self, key: Key, entry: &Entry) {
        let at = self.chains.get(&key).map(|last| last.at);
        let written = self.written(entry, by(entry), at);
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
        if !group.contains('.') && kind != "Namespace" {
            return;
        }
        self.tally.unknown += 1;
        let last = self
            .chains
            .entry(key)
            .or_insert_with(|| Last::new(uid, written));
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

/// The whole object after a write, and its JSON.
fn whole(entry: &Entry, kind: &str) -> Option<(Object, Value)> {
    let body = match (entry.level, entry.verb.as_str()) {
        (Level::RequestResponse, _) => entry.response.as_ref()?,
        (Level::Request, "create" | "update") => entry.request.as_ref()?,
        _ => return None,
    };
    read(body, entry, kind)
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
