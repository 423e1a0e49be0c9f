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
//! What is only sent, and what is not even that, is for [`super::pods_sent`].

use std::net::IpAddr;

use flowaudit_rules::cluster::Pod;
use flowaudit_rules::kubernetes::{Body, Object};
use serde_json::Value;

use super::super::history::{By, Facts, SKEW_US};
use super::super::sighting::{self, Held, Shape, us};
use super::super::watch;
use super::chain::{Key, Last, OfPod, Written};
use super::declared::{APART_US, by, key_of, key_of_entry, read};
use super::entry::Entry;
use super::{Past, second};

/// What Terway writes on a pod: its addresses, separated by commas.
const POD_IPS: &str = "k8s.aliyun.com/pod-ips";

/// Subresources whose answer is the pod itself.
const WHOLE: [&str; 4] = ["", "status", "ephemeralcontainers", "resize"];

impl Past {
    /// What a write of a pod says.
    pub(super) fn pod(&mut self, entry: &Entry) {
        self.take_given(entry);
        match entry.subresource.as_str() {
            "binding" => return self.bound(entry),
            "eviction" => return self.pod_asked(entry),
            _ => {}
        }
        if !WHOLE.contains(&entry.subresource.as_str()) || entry.verb == "deletecollection" {
            return;
        }
        let answer = entry.response.as_ref();
        match answer.and_then(|body| Some((read(body, entry, "Pod")?.0, body))) {
            Some((object, body)) => self.pod_state(entry, object, body),
            None => self.pod_sent(entry),
        }
    }

    fn bound(&mut self, entry: &Entry) {
        let uid = entry
            .request
            .as_ref()
            .and_then(|body| body.get("metadata")?.get("uid")?.as_str());
        match uid {
            Some(uid) => {
                self.pod_is_another(&key_of_entry(entry, "Pod"), uid);
                self.bound.insert(uid.to_owned(), entry.received);
            }
            None => drop(self.unseen_begins.insert(second(entry.received))),
        }
    }

    /// A pod that was bound is gone.
    pub(super) fn unbind(&mut self, uid: &str, has_held: bool) {
        if let Some(bound) = self.bound.remove(uid).filter(|_| !has_held) {
            self.unseen_begins.insert(second(bound));
        }
    }

    /// Whether the log had run for as long as clocks may be apart: whoever had an address just before is in it as well.
    pub(super) fn has_run(&self, at: i64) -> bool {
        let from = self.tally.from_to.map(|(from, _)| from);
        from.is_some_and(|from| at.saturating_sub(from) > SKEW_US)
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
            relabels: is_relabelling(entry),
            ..self.written(entry, by(entry), last_at)
        };
        let known = last.and_then(|last| last.pod.clone());
        // By a status that nobody sees it may have got others.
        let may_differ = known.as_ref().is_some_and(|known| known.may_have_ended);
        let is_seen = |last: &&Last| !may_differ && self.is_whole(last.at, entry.received);
        let had: Vec<IpAddr> = last
            .into_iter()
            .filter(is_seen)
            .flat_map(addresses)
            .collect();
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
        let shape = shape_of(&pod, known.as_ref(), entry);
        let last = self.chains.get(&key).filter(|last| last.uid == object.uid);
        let had_labels = |held: &Held| {
            let mut before = last.into_iter().flat_map(Last::holders);
            before.any(|before| before.holder == held.holder && before.shape.is_labelled())
        };
        for held in &mut held {
            held.facts.not_before = held.facts.not_before.max(bound);
            held.facts.came |= bound.is_some_and(|bound| self.has_run(bound));
            // Of when it is met only now, its own word tells more.
            if held.shape.is_labelled() || had_labels(held) {
                held.shape.labels.clone_from(&shape.labels);
            }
        }
        let cut = self.cut.remove(&object.uid);
        if let Some(cut) = cut.filter(|cut| cut.held) {
            // What it was like before that is passed on.
            let since = |held: &mut Held| held.at = held.at.filter(|at| cut.changed <= *at);
            held.iter_mut().for_each(since);
        }
        // Those of whom nothing but times was seen before are met only now.
        let first = known.as_ref().filter(|known| known.shape.is_labelled());
        let changed = match first {
            None => {
                let changed = known.as_ref().and_then(|known| known.changed);
                let cut = cut.filter(|cut| !cut.held).map(|cut| cut.changed);
                let unseen = self.unseen_before(&key, entry);
                self.relabelled.remove(&key);
                unseen.max(changed).max(cut)
            }
            Some(first) if first.shape.labels != shape.labels => Some(entry.received),
            Some(first) => first.changed,
        };
        self.was_unlabelled(&key, &mut held, changed, written.by);
        if is_removed {
            self.unbind(&object.uid, !held.is_empty());
            self.end_pod(key, &object, held, written);
            return;
        }
        self.follow(key.clone(), &object, held, written);
        if let Some(last) = self
            .chains
            .get_mut(&key)
            .filter(|last| last.uid == object.uid)
        {
            last.pod = Some(OfPod {
                shape,
                node_addresses: pod.host_addresses.clone(),
                has_own: Some(!pod.host_network),
                relabelled: known.and_then(|known| known.relabelled),
                may_have_ended: false,
                changed,
            });
        }
    }

    /// Whoever is met only now and was there when labels were last changed had others before.
    pub(super) fn was_unlabelled(
        &mut self,
        key: &Key,
        held: &mut [Held],
        changed: Option<i64>,
        by: By,
    ) {
        let Some(changed) = changed else { return };
        let last = self.chains.get(key);
        let is_new = |held: &&mut Held| {
            last.is_none_or(|last| last.holders().all(|known| known.holder != held.holder))
        };
        let mut unseen = Vec::new();
        for held in held.iter_mut().filter(is_new) {
            unseen.extend(unlabelled(held, changed));
            // What it is like now it was not yet then.
            held.at = held.at.filter(|at| changed <= *at);
        }
        self.moment.gather(unseen, by);
    }

    /// Up to when the labels of a pod that is first met here may have been others: its labels are just written, or the log
    /// has a hole before, or held a write of them that did not say what they became.
    pub(super) fn unseen_before(&self, key: &Key, entry: &Entry) -> Option<i64> {
        if is_relabelling(entry) {
            return Some(entry.received);
        }
        let holes = self.tally.holes.iter().rev();
        // Whoever writes before the first kubelet does is in the hole, too.
        let mut before = holes.filter(|(from, _)| *from < entry.received);
        let until = entry.received.saturating_sub(1);
        let hole = before.next().map(|(_, to)| until.min(*to));
        self.relabelled.get(key).copied().max(hole)
    }

    /// What it held before the last state is no longer its, as at every write; of the rest `held` knows the end.
    fn end_pod(&mut self, key: Key, object: &Object, held: Vec<Held>, written: Written) {
        if self
            .chains
            .get(&key)
            .is_some_and(|last| last.uid == object.uid)
            && let Some(mut last) = self.chains.remove(&key)
        {
            last.hold(held, written, &mut self.moment);
            last.flush(&mut self.moment);
        } else {
            self.moment.gather(held, written.by);
        }
    }
}

/// What a pod is like after a write. Its labels may be from before a write that is known to have come earlier, where only clocks say so.
fn shape_of(pod: &Pod, known: Option<&OfPod>, entry: &Entry) -> Shape {
    let shape = sighting::pod_shape(pod);
    let is_close = |known: &&OfPod| {
        let relabelled = known.relabelled.filter(|_| !is_relabelling(entry));
        relabelled.is_some_and(|at| entry.received - at < APART_US)
            && known.shape.labels != shape.labels
    };
    let labels = match known.filter(is_close) {
        Some(_) => Some(sighting::UNKNOWN.to_owned()),
        None => shape.labels.clone(),
    };
    Shape { labels, ..shape }
}

/// What a pod that is still there says.
pub(super) fn living(object: &Object, pod: &Pod, entry: &Entry, at: i64) -> Vec<Held> {
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
    // Who runs gives nothing back before somebody asks for the end.
    let is_running = !pod.is_finished() && pod.times.finished.is_none();
    let says = is_running && !is_mirror(entry) && !is_by_collector(entry);
    let asked = asked(object, entry).filter(|_| says);
    for held in &mut held {
        held.facts.open_end = !is_sure;
        held.at = held.at.map(|at| asked.map_or(at, |asked| asked.max(at)));
    }
    held
}

/// When the end of a pod was first asked for: its mark is so much later as it was given grace.
fn asked(object: &Object, entry: &Entry) -> Option<i64> {
    let marked = us(object.deletion?);
    let answer = entry.response.as_ref();
    let grace = answer.and_then(|body| {
        body.pointer("/metadata/deletionGracePeriodSeconds")?
            .as_i64()
    });
    Some((marked - grace.unwrap_or(0) * 1_000_000).min(entry.received))
}

/// The collector of pods removes those whose node is lost: nobody knows how long they ran.
pub(super) fn is_by_collector(entry: &Entry) -> bool {
    entry.user.ends_with(":pod-garbage-collector")
}

/// Deleting what the kubelet shows of a static pod stops nothing.
fn is_mirror(entry: &Entry) -> bool {
    let answer = entry.response.as_ref();
    answer.is_some_and(|body| {
        body.pointer("/metadata/annotations/kubernetes.io~1config.mirror")
            .is_some()
    })
}

pub(super) fn addresses(last: &Last) -> Vec<IpAddr> {
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

pub(super) fn annotated(body: &Value) -> Option<Vec<IpAddr>> {
    let addresses: Vec<IpAddr> = annotation(body)?
        .split(',')
        .filter_map(|address| address.trim().parse().ok())
        .map(|address: IpAddr| address.to_canonical())
        .collect();
    (!addresses.is_empty()).then_some(addresses)
}

/// Whether this is Terway's word of the pod's addresses.
pub(super) fn is_ip_patch(entry: &Entry) -> bool {
    entry.verb == "patch"
        && entry.subresource.is_empty()
        && entry.request.as_ref().and_then(annotation).is_some()
}

/// Whether it may have changed labels.
pub(super) fn is_relabelling(entry: &Entry) -> bool {
    let is_whole = entry.subresource.is_empty() && entry.kubelet().is_none();
    let sent = entry.request.as_ref();
    let labels =
        sent.is_some_and(|sent| sent.pointer("/metadata/labels").is_some() || sent.is_array());
    is_whole && (entry.verb == "update" || entry.verb == "patch" && labels)
}

/// The same holder before its labels changed.
fn unlabelled(held: &Held, changed: i64) -> Option<Held> {
    let at = held.at?;
    let at = if at < changed {
        at
    } else {
        changed.min(at - 1)
    };
    let was_there = held.facts.starts.first().is_some_and(|start| *start <= at);
    was_there.then(|| Held {
        holder: held.holder.clone(),
        shape: Shape {
            labels: Some(sighting::UNKNOWN.to_owned()),
            ..held.shape.clone()
        },
        at: Some(at),
        facts: Facts::default(),
    })
}
