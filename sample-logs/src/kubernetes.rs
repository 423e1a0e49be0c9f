//! The cluster's objects as its API would show them at one instant.
//!
//! Times of the API server (creation, deletion, binding) are true; times a kubelet writes are shifted by its
//! node's clock. All are cut to the second, as Kubernetes writes them.

mod pod;
mod terway;

use serde_json::{Map, Value, json};

pub(crate) use pod::{changes_ms, last_state, pod};
pub(crate) use terway::{node_runtimes, pod_enis};

use crate::random::uid_of;
use crate::scenario::{Kind, PolicySpec, ServiceSpec};
use crate::time::{HOUR_MS, SECOND_MS, rfc3339};
use crate::world::World;

const DAY_MS: i64 = 24 * HOUR_MS;
/// Namespaces are older than what lies in them: pods are at most 20 days old.
const NAMESPACE_AGE_MS: i64 = 40 * DAY_MS;
const SERVICE_AGE_MS: i64 = 30 * DAY_MS;
const POLICY_AGE_MS: i64 = 25 * DAY_MS;

/// An object while the run goes on.
pub(crate) struct Course<'w> {
    /// Of what happens to several in one millisecond, that of the lower number comes first.
    pub(crate) number: usize,
    /// Instants at which it may be another than before.
    pub(crate) changes_ms: Vec<i64>,
    /// What it is at an instant, if it is there.
    pub(crate) at: Box<dyn Fn(i64) -> Option<Value> + 'w>,
}

/// Everything but pods that is there at `at_ms`, sorted by kind, namespace and name.
pub(crate) fn others(world: &World<'_>, at_ms: i64) -> Vec<Value> {
    let mut objects = namespaces(world);
    objects.extend(nodes(world));
    objects.extend(
        world
            .scenario
            .services
            .iter()
            .map(|service| self::service(world, service)),
    );
    objects.extend(owners(world, at_ms));
    objects.extend(policies(world, at_ms));
    objects
}

/// ReplicaSets, Jobs and policies that are there at `at_ms`: what comes and goes besides pods.
pub(crate) fn changing(world: &World<'_>, at_ms: i64) -> Vec<Value> {
    let mut objects = owners(world, at_ms);
    objects.extend(policies(world, at_ms));
    objects
}

fn namespaces(world: &World<'_>) -> Vec<Value> {
    let created_ms = world.scenario.start_ms() - NAMESPACE_AGE_MS;
    let namespace = |namespace: &crate::scenario::NamespaceSpec| {
        let name = &namespace.name.value;
        let mut labels = namespace.labels.clone();
        labels.insert("kubernetes.io/metadata.name".into(), name.clone());
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "uid": uid_of(world.seed, &format!("Namespace {name}")),
                "labels": labels,
                "creationTimestamp": rfc3339(created_ms),
                "resourceVersion": version(world, created_ms),
            },
            "spec": { "finalizers": ["kubernetes"] },
            "status": { "phase": "Active" },
        })
    };
    world.scenario.namespaces.iter().map(namespace).collect()
}

fn nodes(world: &World<'_>) -> Vec<Value> {
    let region = &world.scenario.cluster.region;
    let node = |(index, node): (usize, &crate::world::Node)| {
        let spec = world.node_spec(index);
        let name = &spec.name.value;
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "uid": node.uid,
                "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "topology.kubernetes.io/region": region,
                },
                "creationTimestamp": rfc3339(node.created_ms),
                "resourceVersion": version(world, node.created_ms),
            },
            "spec": { "providerID": format!("{region}.{}", node.instance) },
            "status": {
                "addresses": [
                    { "type": "InternalIP", "address": spec.address },
                    { "type": "Hostname", "address": name },
                ],
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        })
    };
    world.nodes.iter().enumerate().map(node).collect()
}

fn service(world: &World<'_>, service: &ServiceSpec) -> Value {
    let created_ms = world.scenario.start_ms() - SERVICE_AGE_MS;
    let port = |port: &crate::scenario::ServicePortSpec| {
        let mut shown =
            json!({ "port": port.port, "targetPort": port.target, "protocol": port.protocol });
        put(&mut shown, "name", port.name.as_ref());
        put(&mut shown, "nodePort", port.node_port);
        shown
    };
    let is_node_port = service.ports.iter().any(|port| port.node_port.is_some());
    let kind = match (service.load_balancer, is_node_port) {
        (Some(_), _) => "LoadBalancer",
        (None, true) => "NodePort",
        (None, false) => "ClusterIP",
    };
    let ingress: Vec<Value> = service
        .load_balancer
        .iter()
        .map(|address| json!({ "ip": address }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(world, "Service", &service.name.value, created_ms),
        "spec": {
            "type": kind,
            "clusterIP": service.cluster_address,
            "clusterIPs": [service.cluster_address],
            "selector": service.selector,
            "ports": service.ports.iter().map(port).collect::<Vec<_>>(),
        },
        "status": {
            "loadBalancer": if ingress.is_empty() { json!({}) } else { json!({ "ingress": ingress }) },
        },
    })
}

/// ReplicaSets and Jobs that are there. Old ReplicaSets stay; a Job goes with its pod.
fn owners(world: &World<'_>, at_ms: i64) -> Vec<Value> {
    let mut objects = Vec::new();
    for (workload, spec) in world.scenario.workloads.iter().enumerate() {
        let kind = match spec.kind {
            Kind::Deployment => "ReplicaSet",
            Kind::CronJob => "Job",
            Kind::StatefulSet | Kind::DaemonSet | Kind::Pod => continue,
        };
        let mut known: Vec<&str> = Vec::new();
        for pod in world.pods_of(workload).iter().map(|pod| &world.pods[*pod]) {
            // The owner comes half a second before its first pod; pods stand in the order of their birth.
            let created_ms = pod.life.created_ms - 500;
            let is_gone = kind == "Job" && pod.life.end.is_some_and(|end| end.gone_ms <= at_ms);
            if known.contains(&pod.owner.as_str()) || created_ms > at_ms || is_gone {
                continue;
            }
            known.push(&pod.owner);
            let mut labels = spec.labels.clone();
            if kind == "ReplicaSet" {
                labels.insert("pod-template-hash".into(), pod.template.clone());
            }
            let name = format!("{}/{}", spec.namespace(), pod.owner);
            let mut shown = metadata(world, kind, &name, created_ms);
            let owner_kind = if kind == "Job" {
                "CronJob"
            } else {
                "Deployment"
            };
            put(&mut shown, "labels", Some(&labels));
            put(
                &mut shown,
                "ownerReferences",
                Some(controller(
                    world,
                    owner_kind,
                    spec.namespace(),
                    spec.short_name(),
                )),
            );
            objects.push(json!({
                "apiVersion": if kind == "Job" { "batch/v1" } else { "apps/v1" },
                "kind": kind,
                "metadata": shown,
                "spec": if kind == "Job" { json!({ "completions": 1, "parallelism": 1 }) } else { json!({ "selector": { "matchLabels": labels } }) },
            }));
        }
    }
    // All ReplicaSets, then all Jobs, as kubectl lists them kind by kind.
    objects.sort_by_key(|object| object["kind"] == "Job");
    objects
}

fn policies(world: &World<'_>, at_ms: i64) -> Vec<Value> {
    let start_ms = world.scenario.start_ms();
    let policies = world.scenario.policies.iter().enumerate();
    let there = policies.filter(|(_, policy)| {
        policy.from.is_none_or(|from| start_ms + from.ms <= at_ms)
            && policy.until.is_none_or(|until| at_ms < start_ms + until.ms)
    });
    there
        .map(|(number, policy)| self::policy(world, number, policy))
        .collect()
}

fn policy(world: &World<'_>, number: usize, policy: &PolicySpec) -> Value {
    let start_ms = world.scenario.start_ms();
    let created_ms = policy
        .from
        .map_or(start_ms - POLICY_AGE_MS, |from| start_ms + from.ms);
    let mut shown = metadata(world, "NetworkPolicy", &policy.name.value, created_ms);
    put(&mut shown, "generation", Some(1));
    // A policy of the same name made anew is another object.
    put(
        &mut shown,
        "uid",
        Some(uid_of(
            world.seed,
            &format!("NetworkPolicy {} {number}", policy.name.value),
        )),
    );
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": shown,
        "spec": policy.spec,
    })
}

/// Metadata of something written `namespace/name` that changed last when it was created.
fn metadata(world: &World<'_>, kind: &str, written: &str, created_ms: i64) -> Value {
    let (namespace, name) = written.split_once('/').unwrap_or_default();
    json!({
        "namespace": namespace,
        "name": name,
        "uid": uid_of(world.seed, &format!("{kind} {written}")),
        "creationTimestamp": rfc3339(created_ms),
        "resourceVersion": version(world, created_ms),
    })
}

fn controller(world: &World<'_>, kind: &str, namespace: &str, name: &str) -> Value {
    let group = if matches!(kind, "Job" | "CronJob") {
        "batch/v1"
    } else {
        "apps/v1"
    };
    json!([{
        "apiVersion": group,
        "kind": kind,
        "name": name,
        "uid": uid_of(world.seed, &format!("{kind} {namespace}/{name}")),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// A resource version: a later change has a greater one.
fn version(world: &World<'_>, changed_ms: i64) -> String {
    let begin_ms = world.scenario.start_ms() - 100 * DAY_MS;
    format!("{}", (changed_ms - begin_ms).max(SECOND_MS))
}

/// Sets a key of an object, unless there is nothing to set.
pub(crate) fn put(object: &mut Value, key: &str, value: Option<impl serde::Serialize>) {
    let value = value.and_then(|value| serde_json::to_value(value).ok());
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(key.into(), value);
    }
}

/// The object as one line, keys sorted whatever the features serde_json was built with.
pub(crate) fn to_line(mut object: Value) -> String {
    object.sort_all_objects();
    object.to_string()
}

/// An object without keys.
fn nothing() -> Value {
    Value::Object(Map::new())
}
