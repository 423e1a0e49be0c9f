//! A live watch of a large cluster: memory, and how long what was heard waits for its commit.
//!
//! ```text
//! cargo bench -p flowaudit-ingest --bench watch              # 50,000 pods, 100 changes/s
//! cargo bench -p flowaudit-ingest --bench watch -- 5000      # so many pods
//! ```
//!
//! Objects are read from JSON as the API server sends it. Every 30 s of the cluster's time all that was heard is committed. Memory is the
//! most that the process had resident, with the objects' texts of one second.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench tells its figures, and stops at the first surprise"
)]

use std::time::{Duration, Instant};

use flowaudit_ingest::inventory::live::{Heard, KindId, Recorder, RecorderSettings};
use flowaudit_ingest::kubernetes::Record;
use flowaudit_lake::{Lake, Table};
use flowaudit_rules::kubernetes::{self, Object};
use serde_json::{Value, json};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PODS: u64 = 50_000;
const CHANGES_PER_SECOND: u64 = 100;
const COMMIT_EVERY: u64 = 30;
const COMMITS: u64 = 20;
const BEGIN_S: i64 = 1_795_507_200;

fn main() {
    let pods = std::env::args().find_map(|argument| argument.parse().ok());
    let pods = pods.unwrap_or(PODS);
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(dir.path()).unwrap();
    let settings = RecorderSettings {
        cluster: "bench".into(),
        vpc: Some("vpc-1".into()),
    };
    let begun = Instant::now();
    let mut recorder = Recorder::open(&lake, &settings).unwrap();
    let (resident, kind) = (memory("VmRSS:"), KindId::new("", "Pod"));
    let hear = |recorder: &mut Recorder<'_>, heard| recorder.hear(heard).unwrap();
    hear(
        &mut recorder,
        Heard::ListBegun {
            kind: kind.clone(),
            at: us(0),
            shown: us(0),
        },
    );
    for number in 0..pods {
        let object = Box::new(pod(number, number, 0, Step::Runs));
        hear(&mut recorder, Heard::Listed { object });
    }
    hear(
        &mut recorder,
        Heard::ListEnded {
            kind: kind.clone(),
            at: us(1),
        },
    );
    let listed = begun.elapsed();
    let first = Instant::now();
    recorder.commit(us(1)).unwrap().unwrap();
    let (first, after_list) = (first.elapsed(), memory("VmRSS:"));
    let (mut heard_in, mut events, mut commits) = (Duration::ZERO, 0_u64, Vec::new());
    let (mut second, mut next, mut oldest) = (1, pods, 0);
    for _ in 0..COMMITS {
        for _ in 0..COMMIT_EVERY {
            second += 1;
            let mut changes = Vec::new();
            // The oldest pod ends and goes, and another one takes its address.
            for _ in 0..CHANGES_PER_SECOND / 4 {
                let ended = Box::new(pod(oldest, oldest, second, Step::Ends));
                changes.push(Heard::Applied {
                    object: ended.clone(),
                    at: us(second),
                });
                changes.push(Heard::Deleted {
                    object: ended,
                    at: us(second),
                });
                changes.push(Heard::Applied {
                    object: Box::new(pod(next, oldest, second, Step::Waits)),
                    at: us(second),
                });
                changes.push(Heard::Applied {
                    object: Box::new(pod(next, oldest, second, Step::Runs)),
                    at: us(second),
                });
                (oldest, next) = (oldest + 1, next + 1);
            }
            events += changes.len() as u64;
            let begun = Instant::now();
            for change in changes {
                hear(&mut recorder, change);
            }
            heard_in += begun.elapsed();
        }
        hear(
            &mut recorder,
            Heard::Progress {
                kind: kind.clone(),
                at: us(second),
            },
        );
        let begun = Instant::now();
        recorder.commit(us(second)).unwrap().unwrap();
        commits.push(begun.elapsed());
    }
    commits.sort_unstable();
    let files: Vec<_> = lake
        .snapshot()
        .unwrap()
        .files(Table::Endpoints)
        .cloned()
        .collect();
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    println!("{pods} pods, {CHANGES_PER_SECOND} changes/s, a commit every {COMMIT_EVERY} s");
    println!("  list        {listed:.1?} with reading its JSON, first commit {first:.2?}");
    println!(
        "  an event    {:.1?}",
        heard_in / u32::try_from(events).unwrap()
    );
    let (median, most) = (commits[commits.len() / 2], commits[commits.len() - 1]);
    println!("  a commit    {median:.2?} in the middle, {most:.2?} at most");
    println!(
        "  memory      {after_list} MiB after the list ({resident} before), {} MiB at most",
        memory("VmHWM:")
    );
    println!(
        "  endpoints   {rows} rows, {} KiB in {} files",
        bytes >> 10,
        files.len()
    );
    let begun = Instant::now();
    drop(recorder);
    Recorder::open(&lake, &settings).unwrap();
    println!("  opened      in {:.2?}", begun.elapsed());
}

fn us(second: i64) -> i64 {
    (BEGIN_S + second) * 1_000_000
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Waits,
    Runs,
    Ends,
}

fn pod(number: u64, place: u64, second: i64, step: Step) -> Object {
    let time = |second: i64| {
        chrono::DateTime::from_timestamp(BEGIN_S + second, 0)
            .unwrap()
            .to_rfc3339()
    };
    let start = time(second - 2);
    let addr = format!("10.{}.{}.{}", place >> 16, (place >> 8) & 255, place & 255);
    let state = match step {
        Step::Ends => json!({"terminated": {"startedAt": time(-60), "finishedAt": start}}),
        _ => json!({"running": {"startedAt": start}}),
    };
    let status = match step {
        Step::Waits => json!({"phase": "Pending"}),
        _ => json!({
            "phase": if step == Step::Ends { "Succeeded" } else { "Running" },
            "podIP": addr, "podIPs": [{"ip": addr}],
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": start}],
            "containerStatuses": [{"state": state}]
        }),
    };
    let (app, hash) = (number % 1000, number % 97);
    let value: Value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("app-{app}-{hash:05}-{number:06}"), "namespace": format!("team-{}", app % 50),
            "uid": format!("2a36c1d4-0000-4000-8000-{number:012}"), "creationTimestamp": start,
            "labels": {"app": format!("app-{app}"), "pod-template-hash": format!("{hash:05}"), "tier": "backend"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                "name": format!("app-{app}-{hash:05}"), "uid": "x"}]
        },
        "spec": {"nodeName": format!("cn-hangzhou.10.0.{}", place % 600), "serviceAccountName": "default",
            "containers": [{"name": "main", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": status
    });
    let manifest = kubernetes::read("bench", &value.to_string());
    manifest.objects.into_iter().next().unwrap()
}

/// In MiB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}
