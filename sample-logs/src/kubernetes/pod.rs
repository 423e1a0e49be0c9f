//! One pod at one instant of its life.

use serde_json::{Value, json};

use super::{controller, nothing, put, version};
use crate::random::uid_of;
use crate::scenario::{Kind, PortSpec, WorkloadSpec};
use crate::time::{SECOND_MS, rfc3339};
use crate::world::{Pod, World};

/// How long a pod is given to end by itself.
const GRACE_S: i64 = 30;

/// Instants at which the object changes, its creation first; its end is not among them.
pub(crate) fn changes_ms(world: &World<'_>, pod: &Pod) -> Vec<i64> {
    let life = &pod.life;
    let mut changes = vec![
        life.created_ms,
        life.scheduled_ms,
        life.ready_to_start_ms,
        life.started_ms,
    ];
    if let Some(end) = life.end {
        changes.extend(
            [end.requested_ms, end.terminal_ms]
                .into_iter()
                .filter(|at_ms| *at_ms < end.gone_ms),
        );
    }
    let gone_ms = life.end.map_or(i64::MAX, |end| end.gone_ms);
    let relabelled = world.relabelled_ms(pod.workload);
    changes.extend(relabelled.filter(|at_ms| (life.created_ms..gone_ms).contains(at_ms)));
    changes.sort_unstable();
    changes
}

/// The object at `at_ms`; `None` before its creation and once it is gone.
pub(crate) fn pod(world: &World<'_>, index: usize, at_ms: i64) -> Option<Value> {
    let life = &world.pods[index].life;
    let is_gone = life.end.is_some_and(|end| end.gone_ms <= at_ms);
    (life.created_ms <= at_ms && !is_gone).then(|| state(world, &world.pods[index], at_ms))
}

/// The last state of a pod that goes.
pub(crate) fn last_state(world: &World<'_>, index: usize) -> Option<Value> {
    let pod = &world.pods[index];
    pod.life.end.map(|end| state(world, pod, end.gone_ms - 1))
}

fn state(world: &World<'_>, pod: &Pod, at_ms: i64) -> Value {
    let spec = world.workload_spec(pod);
    let changed_ms = changes_ms(world, pod)
        .into_iter()
        .rfind(|change_ms| *change_ms <= at_ms);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(world, pod, spec, at_ms, changed_ms.unwrap_or(pod.life.created_ms)),
        "spec": pod_spec(world, pod, spec, at_ms),
        "status": status(world, pod, spec, at_ms),
    })
}

fn metadata(
    world: &World<'_>,
    pod: &Pod,
    spec: &WorkloadSpec,
    at_ms: i64,
    changed_ms: i64,
) -> Value {
    let mut labels = world.labels_at(pod.workload, at_ms);
    let owner_kind = match spec.kind {
        Kind::Deployment => {
            labels.insert("pod-template-hash".into(), pod.template.clone());
            "ReplicaSet"
        }
        Kind::StatefulSet => {
            labels.insert(
                "statefulset.kubernetes.io/pod-name".into(),
                pod.name.clone(),
            );
            "StatefulSet"
        }
        Kind::DaemonSet => {
            // One revision in all the run.
            let revision = uid_of(world.seed, &format!("revision {}", spec.name.value));
            labels.insert("controller-revision-hash".into(), revision[..8].into());
            "DaemonSet"
        }
        Kind::CronJob => {
            labels.insert("batch.kubernetes.io/job-name".into(), pod.owner.clone());
            labels.insert("job-name".into(), pod.owner.clone());
            "Job"
        }
        Kind::Pod => "",
    };
    let mut shown = json!({
        "namespace": spec.namespace(),
        "name": pod.name,
        "uid": pod.uid,
        "labels": labels,
        "creationTimestamp": rfc3339(pod.life.created_ms),
        "resourceVersion": version(world, changed_ms),
    });
    let own = (spec.interfaces > 0).then(|| json!({ "k8s.aliyun.com/pod-eni": "true" }));
    put(&mut shown, "annotations", own);
    if !pod.owner.is_empty() {
        put(
            &mut shown,
            "ownerReferences",
            Some(controller(world, owner_kind, spec.namespace(), &pod.owner)),
        );
    }
    if let Some(end) = pod.life.end.filter(|end| end.requested_ms <= at_ms) {
        // What has ended already is given no time, and nothing that is deleted by force.
        let is_forced = end.gone_ms < end.finished_ms;
        let grace_s = if end.finished_ms < end.requested_ms || is_forced {
            0
        } else {
            GRACE_S
        };
        put(
            &mut shown,
            "deletionTimestamp",
            Some(rfc3339(end.requested_ms + grace_s * SECOND_MS)),
        );
        put(&mut shown, "deletionGracePeriodSeconds", Some(grace_s));
    }
    shown
}

fn pod_spec(world: &World<'_>, pod: &Pod, spec: &WorkloadSpec, at_ms: i64) -> Value {
    let port = |port: &PortSpec| {
        let mut shown = json!({ "containerPort": port.port, "protocol": port.protocol });
        put(&mut shown, "name", port.name.as_ref());
        put(
            &mut shown,
            "hostPort",
            spec.host_network.then_some(port.port),
        );
        shown
    };
    let mut container = json!({ "name": spec.short_name(), "image": image(spec) });
    if !spec.ports.is_empty() {
        put(
            &mut container,
            "ports",
            Some(spec.ports.iter().map(port).collect::<Vec<_>>()),
        );
    }
    let mut shown = json!({
        "containers": [container],
        "restartPolicy": if pod.finishes { "Never" } else { "Always" },
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": GRACE_S,
    });
    put(&mut shown, "hostNetwork", spec.host_network.then_some(true));
    let is_bound = pod.life.scheduled_ms <= at_ms;
    put(
        &mut shown,
        "nodeName",
        is_bound.then(|| &world.node_spec(pod.node).name.value),
    );
    shown
}

fn image(spec: &WorkloadSpec) -> String {
    format!("registry.example.com/{}:1", spec.name.value)
}

fn status(world: &World<'_>, pod: &Pod, spec: &WorkloadSpec, at_ms: i64) -> Value {
    let life = &pod.life;
    let node = world.node_spec(pod.node);
    let by_kubelet = |true_ms: i64| rfc3339(true_ms + node.clock_ahead.ms);
    let end = life.end.filter(|end| end.terminal_ms <= at_ms);
    let is_started = life.started_ms <= at_ms;
    let phase = match end {
        Some(_) if pod.finishes => "Succeeded",
        // The process was asked to stop and did so.
        Some(_) => "Succeeded",
        None if is_started => "Running",
        None => "Pending",
    };
    let mut shown = json!({ "phase": phase, "qosClass": "BestEffort" });
    if at_ms < life.scheduled_ms {
        return shown;
    }
    let has_sandbox = life.ready_to_start_ms <= at_ms;
    let condition = |kind: &str, holds: bool, since: String| json!({ "type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": since, "lastProbeTime": null });
    let sandbox = match end {
        Some(end) => condition(
            "PodReadyToStartContainers",
            false,
            by_kubelet(end.terminal_ms),
        ),
        None if has_sandbox => condition(
            "PodReadyToStartContainers",
            true,
            by_kubelet(life.ready_to_start_ms),
        ),
        None => condition(
            "PodReadyToStartContainers",
            false,
            by_kubelet(life.scheduled_ms),
        ),
    };
    let ready = match end {
        Some(end) => condition("Ready", false, by_kubelet(end.finished_ms)),
        None if is_started => condition("Ready", true, by_kubelet(life.started_ms)),
        None => condition("Ready", false, by_kubelet(life.scheduled_ms)),
    };
    let scheduled = condition("PodScheduled", true, rfc3339(life.scheduled_ms));
    put(&mut shown, "conditions", Some([sandbox, ready, scheduled]));
    put(&mut shown, "startTime", Some(by_kubelet(life.scheduled_ms)));
    put(&mut shown, "hostIP", Some(node.address));
    put(&mut shown, "hostIPs", Some([json!({ "ip": node.address })]));
    if has_sandbox {
        let addresses: Vec<Value> = pod
            .addresses
            .iter()
            .map(|address| json!({ "ip": address }))
            .collect();
        put(&mut shown, "podIP", pod.addresses.first());
        put(&mut shown, "podIPs", Some(addresses));
    }
    let state = match end {
        Some(end) => json!({ "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": by_kubelet(life.started_ms),
            "finishedAt": by_kubelet(end.finished_ms),
        }}),
        None if is_started => json!({ "running": { "startedAt": by_kubelet(life.started_ms) } }),
        None => json!({ "waiting": { "reason": "ContainerCreating" } }),
    };
    let container = json!({
        "name": spec.short_name(),
        "image": image(spec),
        "imageID": "",
        "lastState": nothing(),
        "ready": is_started && end.is_none(),
        "restartCount": 0,
        "state": state,
    });
    put(&mut shown, "containerStatuses", Some([container]));
    shown
}
