//! Rebuilding weeks of a large cluster: memory, and entries per second.
//!
//! ```text
//! cargo bench -p flowaudit-ingest --bench past                   # 14 days, 200 nodes, 500 new pods an hour
//! cargo bench -p flowaudit-ingest --bench past -- 1 200 500      # so many days, nodes, and new pods an hour
//! ```
//!
//! Entries are made as the audit logstore has them, every value a text, and handed over hour by hour as a rebuild does. Leases are written
//! every five minutes and not every ten seconds, of which nothing but the time is used; nodes write their status every five minutes, and
//! pods their lives. Memory is the most that the process had resident, and what it had when half was read.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench tells its figures, and stops at the first surprise"
)]

#[expect(dead_code, reason = "others ask for processor time as well")]
mod process;

use std::time::{Duration, Instant};

use flowaudit_ingest::inventory::past::Past;
use flowaudit_ingest::inventory::rows::Known;
use serde_json::{Map, Value, json};

use crate::process::memory;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BEGIN_S: i64 = 1_795_507_200;
const HOUR_S: i64 = 3600;
const BEAT_S: i64 = 300;
/// How long a pod lives.
const LIFE_S: i64 = 3 * HOUR_S;

fn main() {
    let numbers: Vec<i64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let [days, nodes, pods] = numbers[..] else {
        return run(14, 200, 500);
    };
    run(days, nodes, pods);
}

fn run(days: i64, nodes: i64, pods: i64) {
    let mut past = Past::default();
    let (mut entries, mut spent, mut halfway) = (0_u64, Duration::ZERO, 0);
    let hours = days * 24;
    for hour in 0..hours {
        let batch = of_hour(hour, nodes, pods);
        let begun = Instant::now();
        for entry in &batch {
            past.entry(entry);
        }
        past.advance((BEGIN_S + hour * HOUR_S) * 1_000_000);
        spent += begun.elapsed();
        entries += batch.len() as u64;
        if hour == hours / 2 {
            halfway = memory("VmRSS:");
        }
    }
    let read = memory("VmHWM:");
    let begun = Instant::now();
    let (rows, tally) = past.rows(Known::default(), "bench");
    let finished = begun.elapsed();
    println!(
        "{days} days, {nodes} nodes, {pods} new pods an hour: {entries} entries, {} writes used, at {:.0} entries/s; resident {} MiB at half, \
         {} MiB at most while reading; {} holders in {:.1} s, {} MiB at most",
        tally.writes,
        entries as f64 / spent.as_secs_f64(),
        halfway >> 10,
        read >> 10,
        rows.endpoints.len(),
        finished.as_secs_f64(),
        memory("VmHWM:") >> 10,
    );
}

/// Everything that is written in an hour.
fn of_hour(hour: i64, nodes: i64, pods: i64) -> Vec<Map<String, Value>> {
    let mut batch = Vec::new();
    for beat in 0..HOUR_S / BEAT_S {
        for node in 0..nodes {
            let at_ms = (hour * HOUR_S + beat * BEAT_S) * 1000 + node * 1000;
            batch.push(entry(
                at_ms,
                node,
                "update",
                ["leases", "", "kube-node-lease", &name_of(node)],
                [None, None],
                "Metadata",
            ));
            let status = node_object(node, at_ms);
            batch.push(entry(
                at_ms + 1,
                node,
                "patch",
                ["nodes", "status", "", &name_of(node)],
                [None, Some(status)],
                "RequestResponse",
            ));
        }
    }
    let lives = LIFE_S / HOUR_S;
    for number in 0..pods {
        let place = number * (HOUR_S * 1000 - 10_000) / pods;
        let born = |hour: i64| (hour * pods + number, hour * HOUR_S * 1000 + place);
        let (id, at_ms) = born(hour);
        let step = |after_ms: i64, verb: &str, sub: &str, phase: &str| {
            let name = format!("web-{id}");
            let pod = pod(id, at_ms, phase);
            entry(
                at_ms + after_ms,
                id % nodes,
                verb,
                ["pods", sub, "shop", &name],
                [Some(json!({})), Some(pod)],
                "RequestResponse",
            )
        };
        batch.push(step(0, "create", "", "Pending"));
        for (after_ms, phase) in [(1_000, "Pending"), (2_500, "Running"), (4_000, "Running")] {
            batch.push(step(after_ms, "patch", "status", phase));
        }
        if hour >= lives {
            let (id, at_ms) = born(hour - lives);
            let name = format!("web-{id}");
            let last = |phase| Some(pod(id, at_ms, phase));
            let end_ms = at_ms + LIFE_S * 1000;
            let of = |sub: &'static str| ["pods", sub, "shop", name.as_str()];
            batch.push(entry(
                end_ms,
                id % nodes,
                "patch",
                of("status"),
                [Some(json!({})), last("Succeeded")],
                "RequestResponse",
            ));
            let options = json!({"gracePeriodSeconds": 0});
            batch.push(entry(
                end_ms + 900,
                id % nodes,
                "delete",
                of(""),
                [Some(options), last("Succeeded")],
                "RequestResponse",
            ));
        }
    }
    batch
}

fn entry(
    at_ms: i64,
    node: i64,
    verb: &str,
    of: [&str; 4],
    [sent, answered]: [Option<Value>; 2],
    level: &str,
) -> Map<String, Value> {
    let [resource, subresource, namespace, name] = of;
    let group = if resource == "leases" {
        "coordination.k8s.io"
    } else {
        ""
    };
    let mut members = Map::new();
    let mut put = |key: &str, value: String| drop(members.insert(key.to_owned(), value.into()));
    put("level", level.to_owned());
    put("auditID", format!("{resource}-{name}-{at_ms}"));
    put("stage", "ResponseComplete".to_owned());
    put("verb", verb.to_owned());
    put(
        "requestURI",
        format!("/api/v1/namespaces/{namespace}/{resource}/{name}"),
    );
    put(
        "user",
        json!({"username": format!("system:node:{}", name_of(node))}).to_string(),
    );
    let object = json!({"resource": resource, "subresource": subresource, "namespace": namespace, "name": name, "apiGroup": group});
    put("objectRef", object.to_string());
    put("responseStatus", json!({"code": 200}).to_string());
    put("requestReceivedTimestamp", time(at_ms));
    put("stageTimestamp", time(at_ms + 3));
    for (key, body) in [("requestObject", sent), ("responseObject", answered)] {
        if let Some(body) = body {
            put(key, body.to_string());
        }
    }
    members
}

fn pod(id: i64, at_ms: i64, phase: &str) -> Value {
    let address = format!("10.{}.{}.{}", id >> 16 & 255, id >> 8 & 255, id & 255);
    let started = time(at_ms + 2_000);
    let mut status = json!({"phase": phase});
    match phase {
        "Pending" => {}
        "Running" => {
            status = json!({"phase": phase, "podIP": address, "containerStatuses": [{"state": {"running": {"startedAt": started}}}]})
        }
        _ => {
            let ended = json!({"terminated": {"startedAt": started, "finishedAt": time(at_ms + LIFE_S * 1000 - 500)}});
            status =
                json!({"phase": phase, "podIP": address, "containerStatuses": [{"state": ended}]});
        }
    }
    let environment: Vec<Value> = (0..20)
        .map(|n| json!({"name": format!("SETTING_{n}"), "value": "of some length, as they are"}))
        .collect();
    json!({
        "kind": "Pod", "apiVersion": "v1", "status": status,
        "metadata": {"name": format!("web-{id}"), "namespace": "shop", "uid": format!("2a36f0c1-0000-4000-8000-{id:012}"), "resourceVersion": at_ms.to_string(),
            "creationTimestamp": time(at_ms), "labels": {"app": "web", "pod-template-hash": "6d4cf56db6"}},
        "spec": {"nodeName": name_of(id % 200), "containers": [{"name": "main", "image": "registry/web:1", "env": environment, "ports": [{"containerPort": 80}]}]},
    })
}

fn node_object(node: i64, at_ms: i64) -> Value {
    json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": {"name": name_of(node), "uid": format!("node-{node}"), "resourceVersion": at_ms.to_string(), "creationTimestamp": time(-86_400_000)},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("10.250.{}.{}", node >> 8, node & 255)}]},
    })
}

fn name_of(node: i64) -> String {
    format!("cn-hangzhou.10.250.{}.{}", node >> 8, node & 255)
}

fn time(at_ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(BEGIN_S * 1000 + at_ms).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
