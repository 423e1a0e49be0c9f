//! Pods in the audit log, where the answer to a write is not there: what was sent, or not even that. Pure.
//!
//! A kubelet sends what changed of a pod's status; addresses are merged one by one, and what was not sent stays as it was. So at level
//! Request who held which address when is known as well as at any. Labels are not sent with it. Where the log shows none of a pod, or
//! somebody may have changed them and it does not say to what, they are unknown until a whole pod is seen; and if nobody wrote any
//! in between, what it shows then was so all the time.

use std::net::IpAddr;

use flowaudit_rules::cluster::Labels;
use flowaudit_rules::kubernetes::{Body, Object};
use serde_json::{Value, json};

use super::super::history::{By, Facts};
use super::super::sighting::{self, Held, Shape};
use super::chain::{Key, Last, OfPod, Written};
use super::declared::{APART_US, read};
use super::entry::{Entry, Level};
use super::pods::{addresses, annotated, is_by_collector, is_ip_patch, is_relabelling, living};
use super::replay;
use super::{Cut, Past, second};

impl Past {
    /// A write of a pod whose answer is not in the log.
    pub(super) fn pod_sent(&mut self, entry: &Entry) {
        let is_main = entry.subresource.is_empty();
        if self.ends_unseen(entry) {
            self.unseen_ends.insert(second(entry.received));
        }
        match (entry.verb.as_str(), entry.level) {
            ("delete", _) if is_main => self.pod_removed(entry),
            ("create", _) if is_main => self.pod_is_another(&key(entry), ""),
            // No kubelet sends a list of operations: what others make of it is not followed.
            ("patch" | "update", Level::Request)
                if entry.subresource == "status" && has_members(entry) =>
            {
                self.pod_status(entry);
            }
            // It may have ended by it, or got another address.
            ("patch" | "update", _) if entry.subresource == "status" => {
                self.unseen_begins.insert(second(entry.received));
                self.pod_may_have_ended(&key(entry));
            }
            ("patch", Level::Request) if is_ip_patch(entry) => {
                self.given.insert(key(entry), entry.clone());
            }
            ("patch" | "update", _) if is_main => self.pod_relabelled(entry),
            _ => {}
        }
    }

    /// Whether a pod ends by it, or may, of which no address is known: it began before the log, for instance.
    fn ends_unseen(&self, entry: &Entry) -> bool {
        let is_known = |last: &Last| {
            let may_differ = last.pod.as_ref().is_some_and(|pod| pod.may_have_ended);
            !may_differ && last.holders().next().is_some()
        };
        if self.chains.get(&key(entry)).is_some_and(is_known) {
            return false;
        }
        match (entry.verb.as_str(), entry.subresource.as_str()) {
            ("delete", "") => true,
            ("patch" | "update", "status") => {
                let sent = entry.request.as_ref();
                let status = sent.filter(|_| entry.level >= Level::Request);
                let phase = status.and_then(|sent| sent.pointer("/status/phase"));
                let phase = phase.and_then(Value::as_str);
                status.is_none_or(|sent| !sent.is_object())
                    || matches!(phase, Some("Succeeded" | "Failed"))
            }
            _ => false,
        }
    }

    /// Another pod has its name: what it held nobody saw end.
    pub(super) fn pod_is_another(&mut self, key: &Key, uid: &str) {
        if self.chains.get(key).is_some_and(|last| last.uid != uid)
            && let Some(last) = self.chains.remove(key)
        {
            if let Some(changed) = last.pod.as_ref().and_then(|pod| pod.changed) {
                let held = last.holders().next().is_some();
                self.cut.insert(last.uid.clone(), Cut { changed, held });
            }
            last.flush(&mut self.moment);
        }
    }

    /// Its status is not known from then on.
    fn pod_may_have_ended(&mut self, key: &Key) {
        let last = self.chains.get_mut(key);
        if let Some(of_pod) = last.and_then(|last| last.pod.as_mut()) {
            of_pod.may_have_ended = true;
        }
    }

    /// A status that was sent.
    fn pod_status(&mut self, entry: &Entry) {
        let Some(sent) = &entry.request else { return };
        let key = key(entry);
        let uid = sent.pointer("/metadata/uid").and_then(Value::as_str);
        let last = self.chains.get(&key);
        // Across a hole another one may have its name.
        let last = last.filter(|last| match uid {
            Some(uid) => uid == last.uid,
            None => self.is_whole(last.at, entry.received),
        });
        let Some(uid) = uid
            .or(last.map(|last| last.uid.as_str()))
            .map(str::to_owned)
        else {
            return;
        };
        let is_whole = last.is_none_or(|last| self.is_whole(last.at, entry.received));
        let mut status = sent.get("status").cloned().unwrap_or_default();
        let had: Vec<IpAddr> = last.into_iter().flat_map(addresses).collect();
        let has = match entry.verb.as_str() {
            "update" => put(&had, &status),
            _ => merged(&had, &status),
        };
        let shows_addresses = ["podIP", "podIPs"]
            .iter()
            .any(|key| status.get(key).is_some());
        without_directives(&mut status);
        let unseen = self.relabelled.get(&key).copied();
        let unseen_before = self.unseen_before(&key, entry);
        let mut of_pod = last
            .and_then(|last| last.pod.clone())
            .unwrap_or_else(|| OfPod {
                shape: Shape {
                    labels: Some(sighting::UNKNOWN.to_owned()),
                    node: entry.kubelet().map(str::to_owned),
                    ..Shape::default()
                },
                node_addresses: Vec::new(),
                has_own: None,
                relabelled: unseen,
                changed: unseen_before,
                may_have_ended: false,
            });
        let Some(mut object) = made(entry, &uid, status) else {
            return;
        };
        let Body::Pod(pod) = &mut object.body else {
            return;
        };
        if entry.kubelet().is_none() {
            // Whoever else says that it ended could not know.
            if pod.is_finished()
                && let Some(last) = self.chains.get(&key).filter(|last| last.uid == uid)
            {
                let open: Vec<Held> = last.holders().map(open).collect();
                self.moment.gather(open, By::AuditRequest);
                self.pod_may_have_ended(&key);
            }
            return;
        }
        if !is_whole {
            of_pod.shape.forget_labels();
        }
        of_pod.may_have_ended = (of_pod.may_have_ended || !is_whole) && !shows_addresses;
        of_pod.node_addresses.extend(&pod.host_addresses);
        if of_pod.has_own.is_none() && !of_pod.node_addresses.is_empty() && !has.is_empty() {
            of_pod.has_own = Some(!of_pod.node_addresses.contains(&has[0]));
        }
        of_pod.shape.host_network = of_pod.has_own == Some(false);
        // When it was created nobody knew yet where it would run.
        let node = entry.kubelet().map(str::to_owned);
        of_pod.shape.node = of_pod.shape.node.or(node);
        pod.addresses = has;
        pod.host_network = of_pod.shape.host_network;
        let pod = pod.clone();
        let mut held = living(&object, &pod, entry, entry.received);
        if of_pod.may_have_ended {
            // It may have got another address by what was not seen.
            held.iter_mut().for_each(|held| held.at = None);
        }
        self.pod_holds(key, (&uid, of_pod), held, entry);
    }

    /// Before another write of a pod, Terway's word of its addresses counts. That names no uid, and servers write with clocks of their own: where the
    /// pod is replaced right after, the word may be of the next one, which says itself what it has.
    pub(super) fn take_given(&mut self, entry: &Entry) {
        if self.given.is_empty() {
            return;
        }
        let Some(given) = self.given.remove(&key(entry)) else {
            return;
        };
        let sent = entry.request.as_ref();
        let uid = sent.and_then(|sent| sent.pointer("/metadata/uid")?.as_str());
        let last = self.chains.get(&key(entry));
        let is_other = last.is_some_and(|last| uid.is_some_and(|uid| uid != last.uid));
        let is_replacing = match (entry.verb.as_str(), entry.subresource.as_str()) {
            ("create", "" | "binding") => true,
            ("delete", "") => entry.grace() == Some(0) || entry.kubelet().is_some(),
            _ => is_other,
        };
        if !is_replacing || entry.received - given.received >= APART_US {
            self.pod_given(&given);
        }
    }

    /// The same at the end of the log.
    pub(super) fn take_all_given(&mut self) {
        for given in std::mem::take(&mut self.given).into_values() {
            self.pod_given(&given);
        }
    }

    /// Terway's word of a pod's addresses.
    fn pod_given(&mut self, entry: &Entry) {
        let key = key(entry);
        let last = self.chains.get(&key);
        // Across a hole another one may have its name.
        let last = last.filter(|last| self.is_whole(last.at, entry.received));
        let Some((uid, of_pod)) = last.and_then(|last| Some((last.uid.clone(), last.pod.clone()?)))
        else {
            return;
        };
        let of_pod = OfPod {
            has_own: Some(true),
            ..of_pod
        };
        let given = entry.request.as_ref().and_then(annotated);
        let made = made(entry, &uid, json!({"phase": "Pending"}));
        if let (Some(given), Some(mut object)) = (given, made)
            && let Body::Pod(pod) = &mut object.body
        {
            pod.addresses = given;
            let pod = pod.clone();
            let held = living(&object, &pod, entry, entry.received);
            self.pod_holds(key, (&uid, of_pod), held, entry);
        }
    }

    /// What a pod held when that was sent joins its past.
    fn pod_holds(
        &mut self,
        key: Key,
        (uid, of_pod): (&str, OfPod),
        mut held: Vec<Held>,
        entry: &Entry,
    ) {
        let last_at = self
            .chains
            .get(&key)
            .filter(|last| last.uid == uid)
            .map(|last| last.at);
        let written = Written {
            answered: entry.received,
            ..self.written(entry, By::AuditRequest, last_at)
        };
        let is_unlabelled = !of_pod.shape.is_labelled();
        let bound = self.bound.get(uid).copied();
        for held in &mut held {
            held.shape = of_pod.shape.clone();
            held.facts.not_before = held.facts.not_before.max(bound);
            held.facts.came |= bound.is_some_and(|bound| self.has_run(bound));
            if is_unlabelled {
                held.facts.starts.extend(held.at);
                held.facts.dated_by.insert(By::AuditRequest);
            }
        }
        let changed = of_pod.changed;
        self.was_unlabelled(&key, &mut held, changed, By::Audit);
        self.pod_is_another(&key, uid);
        let moment = &mut self.moment;
        let last = self.chains.entry(key);
        let last = last.or_insert_with(|| Last::new(uid, written, moment));
        last.at = last.at.max(entry.received);
        last.pod = Some(of_pod.clone());
        if of_pod.has_own.is_some() {
            last.hold(held, written, moment);
        } else {
            // It may share its node's: only the times are sure.
            let held = held.into_iter().map(|held| Held { at: None, ..held });
            moment.gather(held, By::AuditRequest);
        }
    }

    /// Its labels may have become others.
    fn pod_relabelled(&mut self, entry: &Entry) {
        let key = key(entry);
        let Some(last) = self.chains.get(&key) else {
            self.relabelled.insert(key, entry.received);
            return;
        };
        let Some(mut of_pod) = last.pod.clone() else {
            return;
        };
        if entry.level >= Level::Request && !is_relabelling(entry) && !changes_owner(entry) {
            return;
        }
        let is_close = of_pod
            .relabelled
            .is_some_and(|at| entry.received - at < APART_US);
        let is_whole = self.is_whole(last.at, entry.received);
        let known =
            labels(&of_pod.shape).filter(|_| is_whole && !is_close && !changes_owner(entry));
        let became = match entry.level {
            Level::Metadata => None,
            _ => relabelled(known.as_ref(), entry),
        };
        of_pod.shape.labels = match became {
            Some(labels) if labels.is_empty() => None,
            Some(labels) => serde_json::to_string(&labels).ok(),
            None => Some(sighting::UNKNOWN.to_owned()),
        };
        of_pod.relabelled = Some(entry.answered);
        of_pod.changed = Some(entry.received);
        let may_have_ended = of_pod.may_have_ended;
        let written = Written {
            relabels: true,
            ..self.written(entry, By::AuditRequest, Some(last.at))
        };
        let now = last.holders().map(|held| Held {
            shape: of_pod.shape.clone(),
            at: Some(entry.answered)
                .filter(|_| is_whole && !may_have_ended && !held.facts.tell_of_an_end()),
            ..held.clone()
        });
        let now = now.collect();
        if let Some(last) = self.chains.get_mut(&key) {
            last.hold(now, written, &mut self.moment);
            last.pod = Some(of_pod);
            // Across a hole it may have been another one of its name that was written.
            if is_whole {
                last.at = last.at.max(entry.answered);
            }
        }
    }

    /// A deletion without its answer.
    fn pod_removed(&mut self, entry: &Entry) {
        let key = key(entry);
        // Kubelets and collectors delete what is gone and nothing else.
        let is_known = entry.kubelet().is_some() || is_by_collector(entry);
        let is_last = entry.grace() == Some(0) || entry.level == Level::Metadata && is_known;
        if is_last {
            self.relabelled.remove(&key);
        }
        let Some(last) = self.chains.get(&key) else {
            return;
        };
        let sent = entry.request.as_ref();
        let uid = sent.and_then(|body| body.pointer("/preconditions/uid")?.as_str());
        let is_seen = self.is_whole(last.at, entry.received);
        let is_whole = uid.map_or(is_seen, |uid| uid == last.uid);
        if !is_whole || !is_last {
            return self.pod_asked(entry);
        }
        let written = Written {
            answered: entry.received,
            ..self.written(entry, By::AuditRequest, Some(last.at))
        };
        let Some(mut last) = self.chains.remove(&key) else {
            return;
        };
        self.unbind(&last.uid, last.holders().next().is_some());
        if entry.kubelet().is_some() {
            last.end(written, &mut self.moment);
        } else {
            let open: Vec<Held> = last.holders().map(open).collect();
            self.moment.gather(open, By::AuditRequest);
            if is_seen && !is_by_collector(entry) {
                last.go_on(entry.received);
            }
            last.flush(&mut self.moment);
        }
    }

    /// Its end is asked for: up to then it held what it held.
    pub(super) fn pod_asked(&mut self, entry: &Entry) {
        let key = key(entry);
        let sent = entry.request.as_ref();
        let uid = sent.and_then(|body| body.pointer("/preconditions/uid")?.as_str());
        let is_meant = |last: &Last| {
            let is_same = uid.is_none_or(|uid| uid == last.uid);
            is_same && self.is_whole(last.at, entry.received)
        };
        if self.chains.get(&key).is_some_and(is_meant)
            && let Some(last) = self.chains.get_mut(&key)
        {
            last.go_on(entry.received);
            last.at = last.at.max(entry.received);
        }
    }
}

fn key(entry: &Entry) -> Key {
    let (namespace, name) = (entry.namespace.clone(), entry.name.clone());
    [String::new(), "Pod".to_owned(), namespace, name]
}

/// A pod of which a status is known, and nothing else.
fn made(entry: &Entry, uid: &str, status: Value) -> Option<Object> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "status": status,
        "metadata": {"namespace": entry.namespace, "name": entry.name, "uid": uid},
    });
    Some(read(&pod, entry, "Pod")?.0)
}

/// Whether what was sent is an object.
fn has_members(entry: &Entry) -> bool {
    entry.request.as_ref().is_some_and(Value::is_object)
}

fn address(of: &Value) -> Option<IpAddr> {
    let address: IpAddr = of.as_str()?.parse().ok()?;
    Some(address.to_canonical())
}

/// The addresses of a status that was sent whole. A kubelet that was restarted meanwhile leaves them out at the end.
fn put(had: &[IpAddr], status: &Value) -> Vec<IpAddr> {
    let sent = status.get("podIPs").and_then(Value::as_array);
    let sent = sent.into_iter().flatten().filter_map(|item| item.get("ip"));
    let mut has: Vec<IpAddr> = sent.filter_map(address).collect();
    if has.is_empty() {
        has.extend(status.get("podIP").and_then(address));
    }
    if has.is_empty() { had.to_vec() } else { has }
}

/// The addresses after a status was merged into what was known: they are told apart by themselves.
fn merged(had: &[IpAddr], status: &Value) -> Vec<IpAddr> {
    let Some(sent) = status.get("podIPs") else {
        // Before there were lists of them.
        let only = status.get("podIP").and_then(address);
        return only.map_or_else(|| had.to_vec(), |only| vec![only]);
    };
    if sent.is_null() {
        return Vec::new();
    }
    let order = status.get("$setElementOrder/podIPs");
    let sent = sent.as_array().map_or(&[][..], Vec::as_slice);
    // Only a strategic merge has directives, and it never lacks them where it merges this list.
    let is_strategic = order.is_some() || sent.iter().any(|item| item.get("$patch").is_some());
    let mut has = match is_strategic {
        true => had.to_vec(),
        false => Vec::new(),
    };
    for item in sent {
        let Some(address) = item.get("ip").and_then(address) else {
            continue;
        };
        has.retain(|known| *known != address);
        if item.get("$patch").is_none_or(|patch| patch != "delete") {
            has.push(address);
        }
    }
    // The order says which is the first.
    let order = order.and_then(Value::as_array).into_iter().flatten();
    let order: Vec<IpAddr> = order.filter_map(|item| address(item.get("ip")?)).collect();
    if !order.is_empty() {
        has.retain(|known| order.contains(known));
        has.sort_by_key(|known| order.iter().position(|other| other == known));
    }
    has
}

fn open(held: &Held) -> Held {
    let facts = Facts {
        open_end: true,
        ..Facts::default()
    };
    Held {
        at: None,
        facts,
        ..held.clone()
    }
}

/// The labels of a pod, where they are known.
fn labels(shape: &Shape) -> Option<Labels> {
    match shape.labels.as_deref() {
        None => Some(Labels::default()),
        Some(text) => serde_json::from_str(text)
            .ok()
            .filter(|_| text != sighting::UNKNOWN),
    }
}

/// Whether it may have another controller then: a pod that is let go is nobody's, for instance.
fn changes_owner(entry: &Entry) -> bool {
    let sent = entry.request.as_ref();
    let metadata = sent.and_then(|sent| sent.get("metadata")?.as_object());
    let of_owners = |key: &String| key.ends_with("ownerReferences");
    entry.verb == "patch" && metadata.is_some_and(|metadata| metadata.keys().any(of_owners))
}

/// The labels after a write of which only what was sent is there.
fn relabelled(known: Option<&Labels>, entry: &Entry) -> Option<Labels> {
    let sent = entry.request.as_ref()?;
    let of = |value: &Value| -> Option<Labels> {
        let labels = value.pointer("/metadata/labels").cloned();
        serde_json::from_value(labels.unwrap_or_else(|| json!({}))).ok()
    };
    if entry.verb == "update" {
        return of(sent);
    }
    let mut pod = json!({"metadata": {"labels": known?}});
    match sent {
        Value::Array(operations) => {
            let ours = |operation: &&Value| operation.to_string().contains("/metadata/labels");
            let ours: Vec<Value> = operations.iter().filter(ours).cloned().collect();
            of(&replay::operated(&pod, &ours, "")?)
        }
        _ if entry.is_apply() => None,
        _ => {
            let labels = sent.pointer("/metadata/labels")?;
            let is_plain = replay::is_plain(labels) && sent.get("$patch").is_none();
            let metadata = sent
                .get("metadata")
                .filter(|metadata| metadata.get("$patch").is_none() && is_plain)?;
            replay::merge(&mut pod["metadata"]["labels"], metadata.get("labels")?);
            of(&pod)
        }
    }
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
