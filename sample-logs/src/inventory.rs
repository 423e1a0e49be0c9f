//! What a user of the cluster would have about it: snapshots of everything, and a watch of the pods and of what Terway says of them.

use serde_json::Value;

use crate::kubernetes::{self, Course, to_line};
use crate::time::SECOND_MS;
use crate::world::World;

/// When snapshots are taken, in milliseconds since the epoch, all on full seconds.
///
/// No object tells when a policy was deleted. A snapshot on either side of each change shows it to the second.
pub(crate) fn snapshot_times_ms(world: &World<'_>) -> Vec<i64> {
    let scenario = world.scenario;
    let (start_ms, end_ms) = (scenario.start_ms(), scenario.end_ms());
    let whole = |at_ms: i64| at_ms.div_euclid(SECOND_MS) * SECOND_MS;
    let every_ms = whole(scenario.cluster.snapshot_every.ms).max(SECOND_MS);
    let mut times: Vec<i64> = Vec::new();
    let mut at_ms = start_ms;
    while at_ms < end_ms {
        let is_watched = |[from, to]: &[i64; 2]| (*from..=*to).contains(&at_ms);
        if watches_ms(world).iter().any(is_watched) {
            times.push(at_ms);
        }
        at_ms += every_ms;
    }
    times.push(end_ms);
    for change_ms in scenario.policy_changes_ms() {
        let around = [whole(change_ms - 1), whole(change_ms + SECOND_MS - 1)];
        times.extend(
            around
                .into_iter()
                .filter(|at_ms| (start_ms..=end_ms).contains(at_ms)),
        );
    }
    times.sort_unstable();
    times.dedup();
    times
}

/// Everything there is at `at_ms`, as `kubectl get … -A -o json` prints it, but an object per line.
pub(crate) fn snapshot(world: &World<'_>, at_ms: i64) -> String {
    let mut text = String::from("{\"apiVersion\":\"v1\",\"items\":[\n");
    let others = kubernetes::others(world, at_ms);
    let watched = watched(world);
    let watched = watched.iter().flat_map(|(_, objects)| objects);
    let watched = watched.filter_map(|object| (object.at)(at_ms));
    for (number, object) in others.into_iter().chain(watched).enumerate() {
        if number > 0 {
            text.push_str(",\n");
        }
        text.push_str(&to_line(object));
    }
    text.push_str("\n],\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"\"}}\n");
    text
}

/// The stretches in which the pods are watched, first and last instant, in milliseconds since the epoch.
pub(crate) fn watches_ms(world: &World<'_>) -> Vec<[i64; 2]> {
    let scenario = world.scenario;
    let mut watches = Vec::new();
    let mut from_ms = scenario.start_ms();
    for [from, to] in &scenario.faults.watch_interrupted {
        watches.push([from_ms, scenario.start_ms() + from.ms]);
        from_ms = scenario.start_ms() + to.ms;
    }
    watches.push([from_ms, scenario.end_ms()]);
    watches
}

/// What is watched: what kubectl calls the kind, and its objects. Terway's only where the scenario has it.
pub(crate) fn watched<'w>(world: &'w World<'_>) -> Vec<(&'static str, Vec<Course<'w>>)> {
    let mut watched = vec![("pods", pods(world))];
    if world.scenario.cluster.terway.is_some() {
        watched.push(("podenis", kubernetes::pod_enis(world)));
        watched.push(("noderuntimes", kubernetes::node_runtimes(world)));
    }
    watched
}

fn pods<'w>(world: &'w World<'_>) -> Vec<Course<'w>> {
    let course = |index: usize| {
        let pod = &world.pods[index];
        let gone_ms = pod.life.end.map(|end| end.gone_ms);
        let mut changes_ms = kubernetes::changes_ms(world, pod);
        changes_ms.extend(gone_ms);
        Course {
            number: index,
            changes_ms,
            at: Box::new(move |at_ms| kubernetes::pod(world, index, at_ms)),
        }
    };
    pods_by_name(world).into_iter().map(course).collect()
}

/// One watch as `kubectl get … -A --watch --output-watch-events -o json` prints it: what is there when it begins, then an event per line.
pub(crate) fn watch(objects: &[Course<'_>], [start_ms, end_ms]: [i64; 2]) -> String {
    let mut text = String::new();
    let mut changes: Vec<(i64, usize, usize)> = Vec::new();
    for (place, object) in objects.iter().enumerate() {
        let changes_ms = object.changes_ms.iter();
        changes.extend(changes_ms.map(|at_ms| (*at_ms, object.number, place)));
        if let Some(object) = (object.at)(start_ms) {
            event(&mut text, "ADDED", object);
        }
    }
    changes.retain(|(at_ms, ..)| (start_ms + 1..=end_ms).contains(at_ms));
    changes.sort_unstable();
    changes.dedup();
    for (at_ms, _, place) in changes {
        let at = &objects[place].at;
        match (at(at_ms - 1), at(at_ms)) {
            (None, Some(object)) => event(&mut text, "ADDED", object),
            (Some(_), Some(object)) => event(&mut text, "MODIFIED", object),
            (Some(last), None) => event(&mut text, "DELETED", last),
            (None, None) => {}
        }
    }
    text
}

/// `type` comes first, as kubectl writes it.
fn event(text: &mut String, kind: &str, object: Value) {
    text.push_str("{\"type\":\"");
    text.push_str(kind);
    text.push_str("\",\"object\":");
    text.push_str(&to_line(object));
    text.push_str("}\n");
}

fn pods_by_name(world: &World<'_>) -> Vec<usize> {
    let mut pods: Vec<usize> = (0..world.pods.len()).collect();
    pods.sort_by_key(|index| {
        let pod = &world.pods[*index];
        (
            world.workload_spec(pod).namespace(),
            pod.name.as_str(),
            *index,
        )
    });
    pods
}
