//! Pods in the audit log: when each held its address. Pure.
//!
//! | write | by | says |
//! | --- | --- | --- |
//! | `create pods/binding` | scheduler | not earlier than this |
//! | `patch pods` with `k8s.aliyun.com/pod-ips` | Terway | it has that address, and no container has run yet |
//! | `patch pods/status` | kubelet | its state; with a terminal phase it gave the address back |
//! | another write | anyone | its state |
//! | `delete pods` without grace | kubelet | it is gone; the answer is its last state |
//! | the same | anyone else | the object is gone, its containers may run on, unless they all had ended |
//! | `delete pods` with grace, eviction, `deletecollection` | anyone | a mark: the address stays |
//! | a terminal phase | anyone but a kubelet | nothing: its node is lost |
//!
//! At level Request there is no answer: what was sent tells addresses and phases, but no labels. Where these are not known from another
//! write, only times are taken from it. Metadata tells nothing of addresses.

use std::net::IpAddr;

use flowaudit_rules::cluster::Pod;
use flowaudit_rules::kubernetes::{Body, Object};
use serde_json::{Value, json};

use super::super::history::{By, Facts};
use super::super::sighting::{self, Held, Shape};
use super::super::watch;
use super::Past;
use super::chain::{Key, Last, Written};
use super::declared::{by, key_of, read};
use super::entry::{Entry, Level};

/// What Terway writes on a pod: its addresses, separated by commas.
const POD_IPS: &str = "k8s.aliyun.com/pod-ips";

/// Subresources whose answer is the pod itself.
const WHOLE: [&str; 4] = ["", "status", "ephemeralcontainers", "resize"];

impl Past {
    /// What a write of a pod says.
    pub(super) fn pod(&mut self, entry: &Entry) {
        if entry.subresource == "binding" {
            return self.bound(entry);
        }
        if !WHOLE.contains(&entry.subresource.as_str()) || entry.verb == "deletecollection" {
            return;
        }
        let body = match entry.level {
            Level::RequestResponse => entry.response.as_ref(),
            Level::Request if entry.subresource == "status" => entry.request.as_ref(),
            Level::Request if entry.verb == "delete" => return self.deleted_unseen(entry),
            Level::Request | Level::Metadata => None,
        };
        let Some(body) = body else { return };
        match entry.level {
            Level::RequestResponse => {
                if let Some((object, _)) = read(body, entry, "Pod") {
                    self.pod_state(entry, object, body);
                }
            }
            _ => self.pod_patched(entry, body),
        }
    }

    fn bound(&mut self, entry: &Entry) {
        let uid = entry
            .request
            .as_ref()
            .and_then(|body| body.get("metadata")?.get("uid")?.as_str());
        if let Some(uid) = uid {
            self.bound.insert(uid.to_owned(), entry.received);
        }
    }

    /// The whole pod as it was answered.
    fn pod_state(&mut self, entry: &Entry, mut object: Object, body: &Value) {
        let key = key_of(&object);
        let last = self.chains.get(&key).filter(|last| last.uid == object.uid);
        let by_daemon = entry.kubelet().is_some() || is_ip_patch(entry);
        let at = if by_daemon {
            entry.received
        } else {
            entry.answered
        };
        let last_at = last.map(|last| last.at);
        let written = Written {
            answered: at,
            ..self.written(entry, by(entry), last_at)
        };
        let had: Vec<IpAddr> = last.into_iter().flat_map(addresses).collect();
        let Body::Pod(pod) = &mut object.body else {
            return;
        };
        let given = annotated(body).filter(|_| !pod.host_network && !pod.is_finished());
        match given {
            // Newer than the status until the kubelet has written it.
            Some(given) if is_ip_patch(entry) || pod.addresses.is_empty() => pod.addresses = given,
            // A kubelet that was restarted meanwhile leaves them out at the end.
            _ if pod.addresses.is_empty() && !pod.host_network => pod.addresses = had,
            _ => {}
        }
        let pod = pod.clone();
        let is_removed =
            entry.verb == "delete" && entry.subresource.is_empty() && entry.grace() == Some(0);
        let mut held = match is_removed {
            true => removed(&object, &pod, entry),
            false => living(&object, &pod, entry, at),
        };
        let bound = self.bound.get(&object.uid).copied();
        for held in &mut held {
            held.facts.not_before = held.facts.not_before.max(bound);
            held.facts.came |= bound.is_some();
        }
        if last_at.is_none()
            && let Some(unseen) = self.unseen_before(entry)
        {
            let unseen = held.iter().filter_map(|held| unlabelled(held, unseen));
            self.moment
                .held
                .extend(unseen.map(|held| (held, written.by)));
        }
        if is_removed {
            self.bound.remove(&object.uid);
            self.end_pod(key, &object, held, written);
        } else {
            self.follow(key, &object, held, written);
        }
    }

    /// Up to when the labels of a pod that is first met here may have been others: its labels are just written, or the log
    /// has a hole before.
    fn unseen_before(&self, entry: &Entry) -> Option<i64> {
        if is_relabelling(entry) {
            return Some(entry.received);
        }
        let holes = self.tally.holes.iter().rev();
        let mut before = holes.filter(|(_, to)| *to <= entry.received);
        before.next().map(|(from, _)| *from)
    }

    fn end_pod(&mut self, key: Key, object: &Object, held: Vec<Held>, written: Written) {
        if let Some(last) = self.chains.get(&key).filter(|last| last.uid == object.uid) {
            // What it held before the last state is no longer its, as at every write; of the rest `held` knows the end.
            let is_known = last
                .holders()
                .all(|before| held.iter().any(|held| held.holder == before.holder));
            if is_known && let Some(last) = self.chains.remove(&key) {
                last.flush(&mut self.moment);
            } else if let Some(last) = self.chains.remove(&key) {
                last.end(written, &mut self.moment);
            }
        }
        self.moment
            .held
            .extend(held.into_iter().map(|held| (held, written.by)));
    }

    /// A status that was sent; what became of the rest of the pod is not in the log.
    fn pod_patched(&mut self, entry: &Entry, body: &Value) {
        let mut status = body.get("status").cloned().unwrap_or_default();
        without_directives(&mut status);
        let uid = body
            .get("metadata")
            .and_then(|metadata| metadata.get("uid")?.as_str());
        let key = [
            String::new(),
            "Pod".to_owned(),
            entry.namespace.clone(),
            entry.name.clone(),
        ];
        let last = self
            .chains
            .get(&key)
            .filter(|last| uid.is_none_or(|uid| uid == last.uid));
        let Some(uid) = uid
            .map(str::to_owned)
            .or_else(|| last.map(|last| last.uid.clone()))
        else {
            return;
        };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": entry.namespace, "name": entry.name, "uid": uid},
            "status": status,
        });
        let Some((mut object, _)) = read(&pod, entry, "Pod") else {
            return;
        };
        let shape = last
            .and_then(|last| last.holders().next())
            .map(|held| held.shape.clone());
        let had: Vec<IpAddr> = last.into_iter().flat_map(addresses).collect();
        let Body::Pod(pod) = &mut object.body else {
            return;
        };
        if pod.addresses.is_empty() {
            pod.addresses = had;
        }
        let pod = pod.clone();
        let mut held = living(&object, &pod, entry, entry.received);
        let bound = self.bound.get(&uid).copied();
        for held in &mut held {
            held.facts.not_before = held.facts.not_before.max(bound);
            held.facts.came |= bound.is_some();
            match &shape {
                Some(shape) => held.shape = shape.clone(),
                None => {
                    held.facts.starts.extend(held.at.take());
                    held.facts.dated_by.insert(By::AuditRequest);
                }
            }
        }
        self.moment
            .held
            .extend(held.into_iter().map(|held| (held, By::AuditRequest)));
    }

    /// A deletion without its answer.
    fn deleted_unseen(&mut self, entry: &Entry) {
        let uid = entry
            .request
            .as_ref()
            .and_then(|body| body.get("preconditions")?.get("uid")?.as_str());
        let key = [
            String::new(),
            "Pod".to_owned(),
            entry.namespace.clone(),
            entry.name.clone(),
        ];
        let is_meant = |last: &Last| uid == Some(last.uid.as_str());
        if entry.grace() != Some(0) || !self.chains.get(&key).is_some_and(is_meant) {
            return;
        }
        let written = self.written(entry, By::AuditRequest, None);
        if let Some(last) = self.chains.remove(&key) {
            match entry.kubelet() {
                Some(_) => last.end(
                    Written {
                        answered: entry.received,
                        ..written
                    },
                    &mut self.moment,
                ),
                None => {
                    let open = last.holders().map(|held| {
                        (
                            Held {
                                at: None,
                                facts: forced(),
                                ..held.clone()
                            },
                            written.by,
                        )
                    });
                    self.moment.held.extend(open.collect::<Vec<_>>());
                    last.flush(&mut self.moment);
                }
            }
        }
    }
}

/// What a pod that is still there says.
fn living(object: &Object, pod: &Pod, entry: &Entry, at: i64) -> Vec<Held> {
    let mut held = sighting::held(object, at);
    let is_ended = pod.is_finished();
    for held in &mut held {
        if !is_ended && is_ip_patch(entry) {
            held.facts.starts.insert(entry.received);
        }
        match (is_ended, pod.times.finished, entry.kubelet()) {
            (true, Some(_), Some(_)) => held.facts.gone = Some(entry.received),
            // It was not the kubelet that wrote the phase, or not that it ended: an end is not known.
            (true, None, Some(_)) => held.facts.open_end = false,
            _ => {}
        }
    }
    held
}

/// What the last state of a pod that was removed says.
fn removed(object: &Object, pod: &Pod, entry: &Entry) -> Vec<Held> {
    // Whoever removes what had ended ends nothing.
    let had_ended = pod.is_finished() && pod.times.finished.is_some();
    let is_sure = entry.kubelet().is_some() || had_ended;
    let mut held = watch::ended(object, is_sure.then_some(entry.received));
    for held in &mut held {
        held.facts.open_end = !is_sure;
    }
    held
}

fn forced() -> Facts {
    Facts {
        open_end: true,
        ..Facts::default()
    }
}

fn addresses(last: &Last) -> Vec<IpAddr> {
    last.holders()
        .filter_map(|held| held.holder.addr.parse().ok())
        .collect()
}

fn annotation(body: &Value) -> Option<&str> {
    body.get("metadata")?
        .get("annotations")?
        .get(POD_IPS)?
        .as_str()
}

fn annotated(body: &Value) -> Option<Vec<IpAddr>> {
    let addresses: Vec<IpAddr> = annotation(body)?
        .split(',')
        .filter_map(|address| address.trim().parse().ok())
        .map(|address: IpAddr| address.to_canonical())
        .collect();
    (!addresses.is_empty()).then_some(addresses)
}

/// Whether this is Terway's word of the pod's addresses.
fn is_ip_patch(entry: &Entry) -> bool {
    entry.verb == "patch"
        && entry.subresource.is_empty()
        && entry.request.as_ref().and_then(annotation).is_some()
}

/// Whether it may have changed labels.
fn is_relabelling(entry: &Entry) -> bool {
    let is_whole = entry.subresource.is_empty() && entry.kubelet().is_none();
    let sent = entry.request.as_ref();
    let labels =
        sent.is_some_and(|sent| sent.pointer("/metadata/labels").is_some() || sent.is_array());
    is_whole && (entry.verb == "update" || entry.verb == "patch" && labels)
}

/// The same holder at an earlier time, with labels that nobody saw.
fn unlabelled(held: &Held, at: i64) -> Option<Held> {
    let was_there = held.facts.starts.first().is_some_and(|start| *start <= at);
    let is_later = held.at.is_some_and(|seen| seen >= at);
    (was_there && is_later).then(|| Held {
        holder: held.holder.clone(),
        shape: Shape {
            labels: Some(sighting::UNKNOWN.to_owned()),
            ..held.shape.clone()
        },
        at: Some(at),
        facts: Facts::default(),
    })
}

/// Takes out what tells the server how to merge.
fn without_directives(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|key, _| !key.starts_with('$'));
            members.values_mut().for_each(without_directives);
        }
        Value::Array(items) => {
            items.retain(|item| item.get("$patch").is_none_or(|patch| patch != "delete"));
            items.iter_mut().for_each(without_directives);
        }
        _ => {}
    }
}
