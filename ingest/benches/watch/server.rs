//! The API server of the bench, in a process of its own: the tests' fake with many pods, of which the oldest end, go, and leave their
//! addresses to others.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::fake_kube::FakeKube;

/// Changes per second.
pub(crate) const CHANGES_PER_SECOND: u64 = 100;
/// Changes from the end of one pod to the next one that runs with its address.
const CHANGES_OF_POD: u64 = 5;

/// One change, as the server made it.
pub(crate) struct Change {
    /// In microseconds since the epoch.
    pub(crate) at: i64,
    pub(crate) pod: String,
}

/// The server, as the process that watches it has it.
pub(crate) struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(pods: u64, seconds: u64) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve".to_owned(), pods.to_string(), seconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        stdout.read_line(&mut url).unwrap();
        Server {
            stdin: child.stdin.take().unwrap(),
            url: url.trim().to_owned(),
            child,
            stdout,
        }
    }

    /// Makes the changes, and gives them in order when all are made. The server goes on to answer until its standard input is closed.
    pub(crate) fn change(mut self) -> (Vec<Change>, ServerEnd) {
        writeln!(self.stdin, "change").unwrap();
        let mut changes = Vec::new();
        for line in self.stdout.by_ref().lines() {
            let line = line.unwrap();
            let Some((at, pod)) = line.split_once(' ') else {
                break;
            };
            changes.push(Change {
                at: at.parse().unwrap(),
                pod: pod.to_owned(),
            });
        }
        (changes, ServerEnd(self.child, self.stdin))
    }
}

/// Ends the server.
pub(crate) struct ServerEnd(Child, ChildStdin);

impl ServerEnd {
    pub(crate) fn end(self) {
        let ServerEnd(mut child, stdin) = self;
        drop(stdin);
        child.wait().unwrap();
    }
}

/// The child: `serve PODS SECONDS`.
pub(crate) fn serve(pods: u64, seconds: u64) {
    let fake = FakeKube::start();
    let resource = fake.world().resource("pods");
    // As often as a real one.
    fake.world().bookmark_pause = Duration::from_secs(60);
    let created = |number: u64, step| {
        let mut pod = pod(number);
        pod["status"] = status(number % pods, step);
        pod
    };
    for number in 0..pods {
        let pod = created(number, Step::Runs);
        fake.world().create(resource, pod);
    }
    println!("{}", fake.url());
    let mut lines = std::io::stdin().lines();
    lines.next().unwrap().unwrap();
    let mut changes = Vec::new();
    let begun = Instant::now();
    let mut made = 0;
    for old in 0..seconds * CHANGES_PER_SECOND / CHANGES_OF_POD {
        let new = pods + old;
        for step in [Step::Ends, Step::Goes, Step::Waits, Step::Runs] {
            let due = Duration::from_secs(made) / u32::try_from(CHANGES_PER_SECOND).unwrap();
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let number = match step {
                Step::Ends | Step::Goes => old,
                Step::Waits | Step::Runs => new,
            };
            let (namespace, name) = (namespace(number), name(number));
            let state = json!({"status": status(number % pods, step)});
            let mut world = fake.world();
            let at = Utc::now().timestamp_micros();
            match step {
                Step::Goes => world.delete(resource, &namespace, &name),
                Step::Waits => Some(world.create(resource, created(new, step))),
                _ => world.patch(resource, &namespace, &name, &state),
            }
            .unwrap();
            drop(world);
            // Whoever deletes a pod says first that it is to go.
            let events = if step == Step::Goes { 2 } else { 1 };
            made += events;
            changes.extend((0..events).map(|_| format!("{at} {name}")));
        }
    }
    println!("{}\n.", changes.join("\n"));
    assert!(lines.next().is_none(), "nothing else is asked for");
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Waits,
    Runs,
    Ends,
    Goes,
}

fn namespace(number: u64) -> String {
    format!("team-{}", number % 50)
}

fn name(number: u64) -> String {
    let (app, hash) = (number % 1000, number % 97);
    format!("app-{app}-{hash:05}-{number:06}")
}

/// A pod without its status.
fn pod(number: u64) -> Value {
    let (app, hash) = (number % 1000, number % 97);
    json!({
        "metadata": {
            "name": name(number), "namespace": namespace(number),
            "labels": {"app": format!("app-{app}"), "pod-template-hash": format!("{hash:05}"), "tier": "backend"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                "name": format!("app-{app}-{hash:05}"), "uid": "x"}]
        },
        "spec": {"nodeName": format!("cn-hangzhou.10.0.{}", number % 600), "serviceAccountName": "default",
            "containers": [{"name": "main", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]}
    })
}

/// As its kubelet says it, at one of the cluster's addresses.
fn status(place: u64, step: Step) -> Value {
    if step == Step::Waits {
        return json!({"phase": "Pending"});
    }
    let time = |ago: i64| {
        let time = Utc::now() - TimeDelta::seconds(ago);
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    let addr = format!("10.{}.{}.{}", place >> 16, (place >> 8) & 255, place & 255);
    let (phase, state) = match step {
        Step::Ends => {
            let state = json!({"terminated": {"startedAt": time(2), "finishedAt": time(0)}});
            ("Succeeded", state)
        }
        _ => ("Running", json!({"running": {"startedAt": time(0)}})),
    };
    json!({
        "phase": phase, "podIP": addr, "podIPs": [{"ip": addr}],
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": time(0)}],
        "containerStatuses": [{"state": state}]
    })
}
