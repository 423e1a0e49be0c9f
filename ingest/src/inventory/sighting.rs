//! Kubernetes objects as they were seen → what that says about addresses and declared objects. Pure.
//!
//! When a pod held its address (history 5.4.1, 5.4.4):
//!
//! | seen | says |
//! | --- | --- |
//! | running with an address | it held it then, and since `PodReadyToStartContainers`, or the first start of a container |
//! | finished | it held it at the latest `finishedAt`, and had given it back when it was seen |
//! | finished, but no container says when | nothing: whoever wrote that could not know (a lost node); the end stays open |
//! | terminating, all containers finished | it held it at `finishedAt`; possibly still when it was seen |
//! | without an address | it did not hold any |
//!
//! Never earlier than `PodScheduled`. Nodes and Services have held their addresses since they were created.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use flowaudit_rules::cluster::{Labels, Pod};
use flowaudit_rules::kubernetes::{Body, Object};
use serde::Serialize;

use super::history::{Facts, SKEW_US};
use super::ledger::Subject;

/// The content of a version that nobody saw, as [`declared`] gives it for others; and labels that nobody saw.
pub const UNKNOWN: &str = "null";

/// What kind of holder an address has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HolderKind {
    /// A pod.
    Pod,
    /// A node.
    Node,
    /// A Service, by its ClusterIP.
    Service,
    /// A Service, by the address of its load balancer.
    LoadBalancer,
}

impl HolderKind {
    /// As the lake writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HolderKind::Pod => "pod",
            HolderKind::Node => "node",
            HolderKind::Service => "service",
            HolderKind::LoadBalancer => "load-balancer",
        }
    }

    /// The kind that is written so, if inventory brings it.
    #[must_use]
    pub fn from_text(text: &str) -> Option<HolderKind> {
        [
            HolderKind::Pod,
            HolderKind::Node,
            HolderKind::Service,
            HolderKind::LoadBalancer,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }

    /// The kind of the Kubernetes object.
    #[must_use]
    pub fn object_kind(self) -> &'static str {
        match self {
            HolderKind::Pod => "Pod",
            HolderKind::Node => "Node",
            HolderKind::Service | HolderKind::LoadBalancer => "Service",
        }
    }
}

/// One holder at one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// What kind of holder.
    pub kind: HolderKind,
    /// Which object.
    pub subject: Subject,
    /// The address, canonical text.
    pub addr: String,
}

impl Holder {
    /// As people name it: `shop/cart-7d9f`, `node-a`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.subject.namespace {
            Some(namespace) => format!("{namespace}/{}", self.subject.name),
            None => self.subject.name.clone(),
        }
    }
}

/// What a holder was like; a change of it begins a new row.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// JSON object.
    pub labels: Option<String>,
    /// Shares its node's addresses.
    pub host_network: bool,
    /// The node it runs on.
    pub node: Option<String>,
    /// JSON list.
    pub container_ports: Option<String>,
    /// Its service account.
    pub service_account: Option<String>,
    /// Kind and name of its controller.
    pub owner: Option<(String, String)>,
}

impl Shape {
    /// Whether its labels are known.
    pub(super) fn is_labelled(&self) -> bool {
        self.labels.as_deref() != Some(UNKNOWN)
    }

    /// Nobody knows what its labels were.
    pub(super) fn forget_labels(&mut self) {
        self.labels = Some(UNKNOWN.to_owned());
    }
}

/// What one object, seen at one time, says about one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub holder: Holder,
    /// What it was like.
    pub shape: Shape,
    /// When it surely held the address.
    pub at: Option<i64>,
    /// What else is known.
    pub facts: Facts,
}

/// The object's identity.
#[must_use]
pub fn subject(object: &Object) -> Subject {
    Subject {
        group: object.group.clone(),
        kind: object.kind.clone(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        uid: object.uid.clone(),
    }
}

/// Who held which address, as far as the object, seen at `at`, says.
#[must_use]
pub fn held(object: &Object, at: i64) -> Vec<Held> {
    held_with(object, at, &[])
}

/// The same, of a pod that has `further` addresses, which its status does not show.
#[must_use]
pub fn held_with(object: &Object, at: i64, further: &[std::net::IpAddr]) -> Vec<Held> {
    let subject = subject(object);
    let holder = |kind, addr: &std::net::IpAddr| Holder {
        kind,
        subject: subject.clone(),
        addr: addr.to_string(),
    };
    let created = object.created.map(us);
    let since_creation = Facts {
        starts: created.into_iter().collect(),
        not_before: created,
        ..Facts::default()
    };
    let plain = Shape {
        labels: labels(&object.labels),
        ..Shape::default()
    };
    let mut out = Vec::new();
    let mut add = |kind, addresses: &[std::net::IpAddr], shape: &Shape, at, facts: &Facts| {
        for addr in addresses {
            out.push(Held {
                holder: holder(kind, addr),
                shape: shape.clone(),
                at,
                facts: facts.clone(),
            });
        }
    };
    match &object.body {
        Body::Pod(pod) => {
            let addresses = if pod.addresses.is_empty() && pod.host_network {
                &pod.host_addresses
            } else {
                &pod.addresses
            };
            let (held_at, mut facts) = pod_held(pod, at);
            let mut shape = pod_shape(pod);
            if let Some(labelled) = pod.times.labelled.map(us) {
                let is_dated = held_at.is_some_and(|held| held < at);
                if labelled > at.saturating_add(SKEW_US) || is_dated && Some(labelled) >= held_at {
                    // It had given its addresses back before they were written.
                    shape.forget_labels();
                } else {
                    // Whichever clock that is by: as it is now it was when it was seen.
                    facts.labelled.insert(labelled.min(at));
                }
            }
            let at = held_at;
            if at.is_some() || facts.lingers.is_some() || facts.open_end {
                add(HolderKind::Pod, addresses, &shape, at, &facts);
                // Before its network is made it has no address at all.
                let is_made = !pod.addresses.is_empty() || !facts.starts.is_empty();
                if is_made && !pod.host_network {
                    let is_further = |addr: &&std::net::IpAddr| !addresses.contains(addr);
                    let further: Vec<_> = further.iter().filter(is_further).copied().collect();
                    add(HolderKind::Pod, &further, &shape, at, &facts);
                }
            }
        }
        Body::Node(node) => add(
            HolderKind::Node,
            &node.addresses,
            &plain,
            Some(at),
            &since_creation,
        ),
        Body::Service(service) => {
            add(
                HolderKind::Service,
                &service.cluster_addresses,
                &plain,
                Some(at),
                &since_creation,
            );
            // A load balancer comes some time after its Service.
            let later = Facts {
                starts: BTreeSet::new(),
                ..since_creation.clone()
            };
            add(
                HolderKind::LoadBalancer,
                &service.load_balancer_addresses,
                &plain,
                Some(at),
                &later,
            );
        }
        _ => {}
    }
    out
}

/// When a pod that was seen at `at` surely held its address, and what else is known.
fn pod_held(pod: &Pod, at: i64) -> (Option<i64>, Facts) {
    let times = &pod.times;
    let start = times.ready_to_start.or(times.started).map(us);
    let finished = times.finished.map(|finished| us(finished).min(at));
    let mut facts = Facts {
        starts: start.into_iter().collect(),
        not_before: times.scheduled.or(times.created).map(us),
        ..Facts::default()
    };
    let held_at = if pod.is_finished() {
        facts.open_end = finished.is_none();
        // Without an end, its beginning is all that is sure.
        finished.or(start.map(|start| start.min(at)))
    } else if let (Some(finished), Some(_)) = (finished, times.deletion) {
        facts.lingers = Some(at);
        Some(finished)
    } else {
        Some(at)
    };
    (held_at, facts)
}

/// What a pod is like.
pub(super) fn pod_shape(pod: &Pod) -> Shape {
    Shape {
        labels: labels(&pod.labels),
        host_network: pod.host_network,
        node: pod.node.clone(),
        container_ports: (!pod.ports.is_empty()).then(|| json(&pod.ports)),
        service_account: pod.service_account.clone(),
        owner: pod
            .owner
            .as_ref()
            .map(|owner| (owner.kind.clone(), owner.name.clone())),
    }
}

/// One version of a declared object, as canonical JSON, and what is known of its age; nothing for kinds that declare
/// nothing we use.
///
/// What changes without changing the meaning is left out: resource version, deletion mark, and the labels of a
/// policy. With generation 1 the spec is the one it was created with (history 5.1.4).
#[must_use]
pub fn declared(object: &Object) -> Option<(String, Facts)> {
    let is_policy = object.body.is_policy();
    // What Terway writes down says something of pods, and changes with every one of them.
    if matches!(
        object.body,
        Body::Pod(_) | Body::TerwayNode(_) | Body::NodeRuntime(_) | Body::PodEni(_) | Body::Other
    ) {
        return None;
    }
    let created = object.created.map(us);
    let unchanged = is_policy && object.generation == Some(1);
    let facts = Facts {
        starts: created.filter(|_| unchanged).into_iter().collect(),
        not_before: created,
        ..Facts::default()
    };
    let mut essential = object.clone();
    essential.resource_version = None;
    essential.deletion = None;
    if is_policy {
        essential.labels = Labels::new();
    } else {
        // Other kinds count changes of their status too, or nothing at all.
        essential.generation = None;
    }
    Some((essential.to_json(), facts))
}

/// The latest time written in an object; what it says was not yet so before. A deletion mark lies in the future.
#[must_use]
pub fn latest_time(object: &Object) -> Option<i64> {
    let pod = match &object.body {
        Body::Pod(pod) => {
            let times = &pod.times;
            [
                times.scheduled,
                times.ready_to_start,
                times.started,
                times.finished,
                times.labelled,
            ]
        }
        _ => [None; 5],
    };
    let returned = match &object.body {
        Body::NodeRuntime(runtime) => runtime.pods.iter().filter_map(|(_, at)| *at).max(),
        _ => None,
    };
    pod.into_iter()
        .chain([object.created, returned])
        .flatten()
        .map(us)
        .max()
}

pub(super) fn us(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

fn labels(labels: &Labels) -> Option<String> {
    (!labels.is_empty()).then(|| json(labels))
}

fn json(value: &impl Serialize) -> String {
    // Maps with text for keys and plain structs always become JSON.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use flowaudit_rules::kubernetes;

    use super::*;

    fn at(text: &str) -> i64 {
        us(format!("2026-11-24T{text}Z").parse().unwrap())
    }

    #[track_caller]
    fn pod(spec: &str, status: &str) -> Vec<Held> {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: x, namespace: shop, uid: u1, creationTimestamp: '2026-11-24T08:00:00Z'{spec}}}, status: {{podIP: 10.0.0.1, conditions: [\
             {{type: PodScheduled, status: 'True', lastTransitionTime: '2026-11-24T08:00:01Z'}}], {status}}}}}"
        );
        let manifest = kubernetes::read("x.yaml", &text);
        assert_eq!(manifest.issues, [], "{text}");
        held(&manifest.objects[0], at("09:00:00"))
    }

    /// What is kept of an object of Calico with this label.
    #[track_caller]
    fn of_calico(kind: &str, role: &str) -> String {
        let text = format!(
            "{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: x, labels: {{role: {role}}}}}, spec: {{}}}}"
        );
        let manifest = kubernetes::read("x.yaml", &text);
        assert_eq!(manifest.issues, [], "{text}");
        declared(&manifest.objects[0]).unwrap().0
    }

    #[test]
    fn labels_are_kept_where_selectors_see_them() {
        let set = "GlobalNetworkSet";
        assert_ne!(of_calico(set, "trusted"), of_calico(set, "other"));
        let policy = "GlobalNetworkPolicy";
        assert_eq!(of_calico(policy, "trusted"), of_calico(policy, "other"));
    }

    #[test]
    fn a_running_pod_holds_its_address_since_it_started() {
        let held = pod(
            "",
            "phase: Running, containerStatuses: [{state: {running: {startedAt: '2026-11-24T08:00:05Z'}}}]",
        );
        assert_eq!(held[0].at, Some(at("09:00:00")));
        assert_eq!(held[0].facts.starts, [at("08:00:05")].into());
        assert_eq!(held[0].facts.not_before, Some(at("08:00:01")));
        assert_eq!(held[0].holder.addr, "10.0.0.1");
    }

    const ENDED: &str = "containerStatuses: [{state: {terminated: {startedAt: '2026-11-24T08:00:05Z', finishedAt: '2026-11-24T08:30:00Z'}}}]";

    #[test]
    fn a_finished_pod_has_given_it_back() {
        let held = pod("", &format!("phase: Succeeded, {ENDED}"));
        assert_eq!(
            (held[0].at, held[0].facts.open_end, held[0].facts.lingers),
            (Some(at("08:30:00")), false, None)
        );
        let lost = pod("", "phase: Failed");
        assert_eq!((lost[0].at, lost[0].facts.open_end), (None, true));
    }

    #[test]
    fn a_terminating_pod_possibly_still_has_it() {
        let held = pod(
            ", deletionTimestamp: '2026-11-24T08:30:30Z'",
            &format!("phase: Running, {ENDED}"),
        );
        assert_eq!(
            (held[0].at, held[0].facts.lingers),
            (Some(at("08:30:00")), Some(at("09:00:00")))
        );
        // Between two starts of a container that crashes, the sandbox keeps the address.
        let crashed = pod("", &format!("phase: Running, {ENDED}"));
        assert_eq!(
            (crashed[0].at, crashed[0].facts.lingers),
            (Some(at("09:00:00")), None)
        );
    }

    #[test]
    fn what_declares_nothing_new_is_no_new_version() {
        let policy = |more: &str| {
            let text = format!(
                "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, namespace: shop, {more}}}, spec: {{podSelector: {{}}}}}}"
            );
            declared(&kubernetes::read("p.yaml", &text).objects[0]).unwrap()
        };
        let (first, facts) = policy(
            "generation: 1, resourceVersion: '5', creationTimestamp: '2026-11-24T08:00:00Z'",
        );
        assert_eq!(facts.starts, [at("08:00:00")].into());
        assert_eq!(first, policy("generation: 1, resourceVersion: '6', labels: {a: b}, creationTimestamp: '2026-11-24T08:00:00Z'").0);
        let (later, facts) = policy("generation: 2, creationTimestamp: '2026-11-24T08:00:00Z'");
        assert_ne!(first, later);
        assert_eq!(
            (facts.starts.len(), facts.not_before),
            (0, Some(at("08:00:00")))
        );
    }
}
