//! What Terway writes down of addresses and pods: `nodes`, `podenis` and `noderuntimes` of `network.alibabacloud.com` (history 5.3).
//!
//! Bindings in `nodes` and `noderuntimes` exist with centralised address management only. A binding in `nodes` is written before the
//! pod's network is made; `deleted` in a `noderuntime` within three seconds of its end, and cleaned away five minutes later: it is the only
//! record of an address coming back.

use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::kinds::address;
use crate::kubernetes::metadata;
use crate::kubernetes::names::NAME_LENGTH_MAX;
use crate::kubernetes::print::prune;

/// The API group.
pub const GROUP: &str = "network.alibabacloud.com";

/// The annotation of a PodENI that names the pod it is for.
pub(crate) const POD_UID: &str = "k8s.aliyun.com/pod-uid";

/// A pod as Terway names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; empty when unknown.
    pub uid: String,
}

/// A `Node` of Terway: which of the addresses of its interfaces are bound to which pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerwayNode {
    /// The ECS instance, as the flow log's `vm-id`.
    pub instance_id: Option<String>,
    /// The addresses that are bound to a pod and valid.
    pub bindings: Vec<Binding>,
}

/// One address of an interface, bound to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The interface.
    pub eni: String,
    /// The address.
    pub addr: IpAddr,
    /// The pod.
    pub pod: PodName,
}

/// A `NodeRuntime`: which pods of the node have given their addresses back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRuntime {
    /// The pods, with the time at which their network was seen to be gone; `None` while it is there. A pod whose sandbox was made
    /// anew since may keep the time of the one before.
    pub pods: Vec<(PodName, Option<DateTime<Utc>>)>,
}

/// A `PodENI`: the interfaces that are a pod's own. It has the namespace and name of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodEni {
    /// The pod's uid; empty when it is not written.
    pub pod_uid: String,
    /// Whether the addresses are the pod's now. Fixed ones outlive it.
    pub is_bound: bool,
    /// The interfaces with their addresses.
    pub allocations: Vec<Allocation>,
}

/// An interface of a `PodENI`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// The interface, as the flow log's `eni-id`.
    pub eni: String,
    /// Its VPC, where it is written.
    pub vpc: Option<String>,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
}

pub(crate) fn node(root: &Field<'_, '_>, notes: &mut Notes<'_>) -> TerwayNode {
    let spec = root.get("spec");
    let meta = spec.get("nodeMetadata");
    let mut node = TerwayNode {
        instance_id: short(&meta.get("instanceID"), notes),
        ..TerwayNode::default()
    };
    let status = root.get("status");
    for (eni, interface) in status.get("networkInterfaces").entries(notes) {
        for family in ["ipv4", "ipv6"] {
            for (_, entry) in interface.get(family).entries(notes) {
                let valid = matches!(entry.get("status").text(notes), None | Some("Valid"));
                let uid = short(&entry.get("podUID"), notes).unwrap_or_default();
                let pod = pod_name(entry.get("podID").text(notes), uid);
                let ip = entry.get("ip");
                let addr = address(&ip, notes);
                if let (true, Some(pod), Some(addr)) = (valid, pod, addr) {
                    node.bindings.push(Binding {
                        eni: eni.to_owned(),
                        addr,
                        pod,
                    });
                }
            }
        }
    }
    node.bindings.sort_by(|a, b| {
        (&a.eni, a.addr.is_ipv6(), a.addr).cmp(&(&b.eni, b.addr.is_ipv6(), b.addr))
    });
    node
}

pub(crate) fn node_runtime(root: &Field<'_, '_>, notes: &mut Notes<'_>) -> NodeRuntime {
    let status = root.get("status");
    let mut runtime = NodeRuntime::default();
    for (uid, entry) in status.get("pods").entries(notes) {
        let Some(pod) = pod_name(entry.get("podID").text(notes), uid.to_owned()) else {
            continue;
        };
        let states = entry.get("status");
        let mut written =
            |state: &Field<'_, '_>| metadata::time(&state.get("lastUpdateTime"), notes);
        let (initial, deleted) = (states.get("initial"), states.get("deleted"));
        let at = match initial.is_absent() {
            true => written(&deleted),
            // Both may be there, and the later one is how it stands. Terway itself does not tell two of one second apart.
            false => written(&initial)
                .zip(written(&deleted))
                .and_then(|(initial, deleted)| (initial < deleted).then_some(deleted)),
        };
        runtime.pods.push((pod, at));
    }
    runtime.pods.sort_by(|a, b| a.0.uid.cmp(&b.0.uid));
    runtime
}

pub(crate) fn pod_eni(root: &Field<'_, '_>, notes: &mut Notes<'_>) -> PodEni {
    let (spec, status, meta) = (root.get("spec"), root.get("status"), root.get("metadata"));
    let annotations = meta.get("annotations");
    let mut pod_eni = PodEni {
        pod_uid: short(&annotations.get(POD_UID), notes).unwrap_or_default(),
        is_bound: status.get("phase").text(notes) == Some("Bind"),
        ..PodEni::default()
    };
    let single = spec.get("allocation");
    let many = spec.get("allocations");
    let mut add = |allocation: &Field<'_, '_>, notes: &mut Notes<'_>| {
        let eni = allocation.get("eni");
        let (id, vpc) = (
            short(&eni.get("id"), notes),
            short(&eni.get("vpcID"), notes),
        );
        let Some(id) = id else {
            return;
        };
        let found = ["ipv4", "ipv6"]
            .into_iter()
            .filter_map(|family| address(&allocation.get(family), notes));
        pod_eni.allocations.push(Allocation {
            eni: id,
            vpc,
            addresses: found.collect(),
        });
    };
    for allocation in many.items(notes) {
        add(&allocation, notes);
    }
    if !single.is_absent() && many.is_absent() {
        add(&single, notes);
    }
    pod_eni
}

/// `shop/cart-7d9f`
fn pod_name(text: Option<&str>, uid: String) -> Option<PodName> {
    let (namespace, name) = text?.split_once('/')?;
    let fits = |text: &str| !text.is_empty() && text.len() <= NAME_LENGTH_MAX;
    (fits(namespace) && fits(name) && uid.len() <= NAME_LENGTH_MAX).then(|| PodName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid,
    })
}

fn short(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = field.short_text(NAME_LENGTH_MAX, notes)?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn pod_id(pod: &PodName) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Spec and status.
pub(crate) fn print_node(node: &TerwayNode) -> (Value, Value) {
    let mut interfaces = Map::new();
    for binding in &node.bindings {
        let family = if binding.addr.is_ipv6() {
            "ipv6"
        } else {
            "ipv4"
        };
        let addr = binding.addr.to_string();
        let uid = Some(&binding.pod.uid).filter(|uid| !uid.is_empty());
        let entry = prune(json!({
            "ip": addr, "status": "Valid", "podID": pod_id(&binding.pod), "podUID": uid,
        }));
        interfaces
            .entry(binding.eni.clone())
            .or_insert_with(|| json!({}))[family][addr] = entry;
    }
    (
        match &node.instance_id {
            Some(id) => json!({ "nodeMetadata": { "instanceID": id } }),
            None => Value::Null,
        },
        match interfaces.is_empty() {
            true => Value::Null,
            false => json!({ "networkInterfaces": interfaces }),
        },
    )
}

/// Status.
pub(crate) fn print_node_runtime(runtime: &NodeRuntime) -> Value {
    let pods: Map<String, Value> = runtime
        .pods
        .iter()
        .map(|(pod, deleted)| {
            let deleted = deleted.map(
                |at| json!({ "lastUpdateTime": at.to_rfc3339_opts(SecondsFormat::AutoSi, true) }),
            );
            let entry = prune(json!({
                "podID": pod_id(pod), "status": deleted.map(|at| json!({ "deleted": at })),
            }));
            (pod.uid.clone(), entry)
        })
        .collect();
    match pods.is_empty() {
        true => Value::Null,
        false => json!({ "pods": pods }),
    }
}

/// Annotations, spec and status.
pub(crate) fn print_pod_eni(pod_eni: &PodEni) -> (Value, Value, Value) {
    let annotations = match pod_eni.pod_uid.is_empty() {
        true => Value::Null,
        false => json!({ POD_UID: pod_eni.pod_uid }),
    };
    let allocations: Vec<Value> = pod_eni
        .allocations
        .iter()
        .map(|allocation| {
            let addresses = &allocation.addresses;
            let of = |v6: bool| addresses.iter().find(|addr| addr.is_ipv6() == v6);
            let text = |addr: &IpAddr| addr.to_string();
            let eni = prune(json!({ "id": allocation.eni, "vpcID": allocation.vpc }));
            prune(json!({
                "eni": eni, "ipv4": of(false).map(text), "ipv6": of(true).map(text),
            }))
        })
        .collect();
    let spec = match allocations.is_empty() {
        true => Value::Null,
        false => json!({ "allocations": allocations }),
    };
    let status = match pod_eni.is_bound {
        true => json!({ "phase": "Bind" }),
        false => Value::Null,
    };
    (annotations, spec, status)
}
