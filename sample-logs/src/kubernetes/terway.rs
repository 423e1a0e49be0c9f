//! What Terway writes of addresses: a PodENI for each pod with interfaces of its own, a NodeRuntime for each node.

use serde_json::{Map, Value, json};

use super::{Course, version};
use crate::random::uid_of;
use crate::time::{MINUTE_MS, rfc3339};
use crate::world::{Pod, World, detached_ms};

/// A PodENI is made so long after its pod.
const MADE_AFTER_MS: i64 = 150;
/// It is bound so long before the network is made of it.
const BOUND_BEFORE_MS: i64 = 150;
/// It begins to be taken apart so long after the pod is gone, and is gone itself, or free for the next pod, so long after that.
const LEFT_AFTER_MS: i64 = 200;
const LEAVES_FOR_MS: i64 = 700;
/// What was written of a network that is gone is cleared away this often.
const CLEARED_EVERY_MS: i64 = 5 * MINUTE_MS;

/// How a PodENI stands from an instant on.
struct Stand {
    from_ms: i64,
    /// The pod it names, and its phase; nothing once it is gone.
    shows: Option<(usize, &'static str)>,
}

/// The PodENIs of all pods that have interfaces of their own, by namespace and name.
pub(crate) fn pod_enis<'w>(world: &'w World<'_>) -> Vec<Course<'w>> {
    let own = |pod: &usize| world.workload_spec(&world.pods[*pod]).interfaces > 0;
    let mut pods: Vec<usize> = (0..world.pods.len()).filter(own).collect();
    let name = |pod: &usize| {
        let pod = &world.pods[*pod];
        (world.workload_spec(pod).namespace(), pod.name.as_str())
    };
    pods.sort_by_key(|pod| (name(pod), *pod));
    let of_name = pods.chunk_by(|one, other| name(one) == name(other));
    let course = |pods: &[usize]| {
        let stands = stands(world, pods);
        Course {
            number: pods[0],
            changes_ms: stands.iter().map(|stand| stand.from_ms).collect(),
            at: Box::new(move |at_ms| {
                let now = stands.iter().rfind(|stand| stand.from_ms <= at_ms)?;
                let begun = stands
                    .iter()
                    .rev()
                    .skip_while(|stand| stand.from_ms > at_ms);
                let begun = begun.take_while(|stand| stand.shows.is_some()).last()?;
                let (pod, phase) = now.shows?;
                Some(pod_eni(
                    world,
                    &world.pods[pod],
                    phase,
                    [begun.from_ms, now.from_ms],
                ))
            }),
        }
    };
    of_name.map(course).collect()
}

/// How the PodENI of pods of one name stands, one pod after the other.
fn stands(world: &World<'_>, pods: &[usize]) -> Vec<Stand> {
    let mut stands: Vec<Stand> = Vec::new();
    for &number in pods {
        let pod = &world.pods[number];
        let is_fixed = world.workload_spec(pod).fixed;
        let mut stand = |from_ms: i64, shows| stands.push(Stand { from_ms, shows });
        let is_first = pods[0] == number;
        let made = if is_fixed && !is_first { "Binding" } else { "" };
        stand(pod.life.created_ms + MADE_AFTER_MS, Some((number, made)));
        stand(
            pod.life.allocated_ms - BOUND_BEFORE_MS,
            Some((number, "Bind")),
        );
        let Some(end) = pod.life.end else { continue };
        // Detached while it is being taken apart.
        let left_ms = detached_ms(end) - LEAVES_FOR_MS - LEFT_AFTER_MS;
        stand(left_ms, Some((number, "Detaching")));
        let left = is_fixed.then_some((number, "Unbind"));
        stand(left_ms + LEAVES_FOR_MS, left);
    }
    // The next pod of the name waits until the one before has been taken apart.
    for number in 1..stands.len() {
        stands[number].from_ms = stands[number].from_ms.max(stands[number - 1].from_ms + 1);
    }
    stands
}

fn pod_eni(world: &World<'_>, pod: &Pod, phase: &str, [made_ms, changed_ms]: [i64; 2]) -> Value {
    let spec = world.workload_spec(pod);
    let node = &world.nodes[pod.node];
    let shown = [(pod.eni, pod.addresses[0])].into_iter();
    let interfaces = shown.chain(pod.further.iter().copied());
    let (mut allocations, mut infos) = (Vec::new(), Map::new());
    for (number, (eni, address)) in interfaces.enumerate() {
        let id = &world.enis[eni].id;
        let kept = json!({ "type": if spec.fixed { "Fixed" } else { "Elastic" } });
        allocations.push(json!({
            "eni": { "id": id, "vpcID": world.scenario.cluster.vpc, "vSwitchID": world.scenario.cluster.vswitch },
            "ipv4": address,
            "interface": format!("eth{number}"),
            "allocationType": kept,
        }));
        let status = if phase == "Bind" { "Bind" } else { "" };
        infos.insert(
            id.clone(),
            json!({ "type": "Member", "vid": number + 1, "status": status }),
        );
    }
    let written = format!("{}/{}", spec.namespace(), pod.name);
    json!({
        "apiVersion": "network.alibabacloud.com/v1beta1",
        "kind": "PodENI",
        "metadata": {
            "namespace": spec.namespace(),
            "name": pod.name,
            "uid": uid_of(world.seed, &format!("PodENI {written} {made_ms}")),
            "annotations": { "k8s.aliyun.com/pod-uid": pod.uid },
            "labels": { "k8s.aliyun.com/node": world.node_spec(pod.node).name.value },
            "creationTimestamp": rfc3339(made_ms),
            "resourceVersion": version(world, changed_ms),
        },
        "spec": { "allocations": allocations },
        "status": {
            "phase": phase,
            "instanceID": node.instance,
            // The first of the interfaces behind the node's own.
            "trunkENIID": world.enis[node.primary_eni + 1].id,
            "eniInfos": infos,
        },
    })
}

/// The NodeRuntimes of all nodes.
pub(crate) fn node_runtimes<'w>(world: &'w World<'_>) -> Vec<Course<'w>> {
    let course = |node: usize| {
        let on_node = world.pods.iter();
        let pods: Vec<&Pod> = on_node
            .filter(|pod| pod.node == node && !pod.host_network)
            .collect();
        let made_ms = world.nodes[node].created_ms;
        let changes = pods.iter().flat_map(|pod| Words::of(pod).changes_ms());
        let mut changes_ms: Vec<i64> = [made_ms].into_iter().chain(changes).collect();
        changes_ms.sort_unstable();
        changes_ms.dedup();
        let known_ms = changes_ms.clone();
        Course {
            number: node,
            changes_ms,
            at: Box::new(move |at_ms| {
                let changed_ms = known_ms.iter().rfind(|change_ms| **change_ms <= at_ms)?;
                let words = pods.iter().filter_map(|pod| word(world, pod, at_ms));
                Some(node_runtime(world, node, words.collect(), *changed_ms))
            }),
        }
    };
    (0..world.nodes.len()).map(course).collect()
}

/// When Terway's daemon writes that a pod's network was made, that it is gone, and nothing of it any more.
struct Words {
    made_ms: i64,
    gone_ms: Option<[i64; 2]>,
}

impl Words {
    fn of(pod: &Pod) -> Words {
        let cleared = |told_ms: i64| (told_ms.div_euclid(CLEARED_EVERY_MS) + 2) * CLEARED_EVERY_MS;
        Words {
            made_ms: pod.life.ready_to_start_ms,
            gone_ms: pod.life.end.map(|end| [end.told_ms, cleared(end.told_ms)]),
        }
    }

    fn changes_ms(&self) -> impl Iterator<Item = i64> + use<> {
        let gone_ms = self.gone_ms;
        [self.made_ms]
            .into_iter()
            .chain(gone_ms.into_iter().flatten())
    }
}

/// What is written of a pod at an instant, by the clock of its node.
fn word(world: &World<'_>, pod: &Pod, at_ms: i64) -> Option<(String, Value)> {
    let words = Words::of(pod);
    let by_node = |at_ms: i64| rfc3339(at_ms + world.node_spec(pod.node).clock_ahead.ms);
    let is_cleared = words
        .gone_ms
        .is_some_and(|[_, cleared_ms]| cleared_ms <= at_ms);
    if at_ms < words.made_ms || is_cleared {
        return None;
    }
    let mut status = Map::new();
    let mut say = |what: &str, at_ms| {
        status.insert(what.into(), json!({ "lastUpdateTime": by_node(at_ms) }));
    };
    say("initial", words.made_ms);
    if let Some([told_ms, _]) = words.gone_ms.filter(|[told_ms, _]| *told_ms <= at_ms) {
        say("deleted", told_ms);
    }
    let name = format!("{}/{}", world.workload_spec(pod).namespace(), pod.name);
    Some((pod.uid.clone(), json!({ "podID": name, "status": status })))
}

fn node_runtime(
    world: &World<'_>,
    node: usize,
    pods: Map<String, Value>,
    changed_ms: i64,
) -> Value {
    let name = &world.node_spec(node).name.value;
    json!({
        "apiVersion": "network.alibabacloud.com/v1beta1",
        "kind": "NodeRuntime",
        "metadata": {
            "name": name,
            "uid": uid_of(world.seed, &format!("NodeRuntime {name}")),
            "creationTimestamp": rfc3339(world.nodes[node].created_ms),
            "resourceVersion": version(world, changed_ms),
        },
        "status": { "pods": pods },
    })
}
