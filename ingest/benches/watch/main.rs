//! A live watch of a large cluster: memory, processor time, and how late after a change at the API server it is heard and in the lake.
//!
//! ```text
//! cargo test --bench watch                                     # dev profile: 50,000 pods, 100 changes/s for ten minutes
//! cargo bench -p flowaudit-ingest --bench watch -- 5000 60     # bench profile: so many pods, so many seconds
//! ```
//!
//! The watch is that of `inventory watch`, in real time, over HTTP, into a lake on disk. The server runs in a process of its own, so that
//! memory and processor time are the watch's. Both processes read the same clock. What was heard counts as late up to when the loop
//! takes it down, and as in the lake once the commit that has it is published: from then on whoever opens the lake finds it.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench tells its figures, and stops at the first surprise"
)]

#[path = "../../tests/fake_kube/mod.rs"]
#[expect(dead_code, reason = "the tests use all of the fake")]
mod fake_kube;
#[path = "../process/mod.rs"]
mod process;
mod server;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use chrono::Utc;
use flowaudit_ingest::Stop;
use flowaudit_ingest::inventory::live::{Heard, Recorder, RecorderSettings};
use flowaudit_ingest::kubernetes::{Event, Login, Record, WatchSettings, watch};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::{Lake, LakeError, Table, read};
use serde_json::json;

use crate::fake_kube::TOKEN;
use crate::process::{memory, spent};
use crate::server::{CHANGES_PER_SECOND, Change, Server, ServerEnd, serve};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PODS: u64 = 50_000;
const SECONDS: u64 = 600;

fn main() {
    let is_server = std::env::args().any(|argument| argument == "serve");
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (pods, seconds) = (
        numbers.next().unwrap_or(PODS),
        numbers.next().unwrap_or(SECONDS),
    );
    if is_server {
        serve(pods, seconds);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(dir.path().join("lake")).unwrap();
    let settings = RecorderSettings {
        cluster: "bench".into(),
        vpc: Some("vpc-1".into()),
    };
    let server = Server::start(pods, seconds);
    let before = memory("VmRSS:");
    let run = Run::default();
    let changes = run.watch(dir.path(), &lake, &settings, server);
    let taken = run.0.into_inner();
    println!(
        "{pods} pods, {CHANGES_PER_SECOND} changes/s for {seconds} s, a commit every {:?}",
        WatchSettings::default().every
    );
    println!(
        "  list        {:.1?}, first commit {:.2?}",
        taken.listed.unwrap(),
        taken.first_commit.unwrap()
    );
    let events = u32::try_from(taken.heard.len()).unwrap();
    println!(
        "  an event    {:.1?} to take down; {:.1} % of a processor in all",
        taken.hearing / events,
        100.0 * (spent() - taken.spent_before).as_secs_f64()
            / taken.begun.unwrap().elapsed().as_secs_f64()
    );
    let commits = spread(taken.commits.clone());
    println!("  a commit    {}, {} of them", commits, taken.commits.len());
    let late = |at: &[i64]| {
        let pairs = at.iter().zip(&changes);
        spread(pairs.map(|(at, change)| us(at - change.at)).collect())
    };
    let heard: Vec<i64> = taken.heard.iter().map(|heard| heard.at).collect();
    println!("  heard       {} after the change", late(&heard));
    println!("  in the lake {} after the change", late(&taken.committed));
    println!(
        "  memory      {} MiB after the list ({} before), {} MiB at most",
        taken.memory >> 10,
        before >> 10,
        memory("VmHWM:") >> 10
    );
    check_lake(&lake, &changes);
    let begun = Instant::now();
    Recorder::open(&lake, &settings).unwrap();
    println!("  opened      in {:.2?}", begun.elapsed());
}

/// What came of a run so far.
#[derive(Default)]
struct Run(RefCell<Taken>);

#[derive(Default)]
struct Taken {
    listed: Option<Duration>,
    first_commit: Option<Duration>,
    /// Resident after the first commit, in KiB.
    memory: u64,
    /// When the changes began.
    begun: Option<Instant>,
    spent_before: Duration,
    heard: Vec<Taking>,
    /// Spent on taking down what was heard.
    hearing: Duration,
    /// When each of what was heard was in the lake, in microseconds since the epoch.
    committed: Vec<i64>,
    commits: Vec<Duration>,
}

/// One change that was heard.
struct Taking {
    at: i64,
    pod: String,
}

/// The recorder of the binary, looked at from outside.
struct Timed<'r> {
    recorder: Recorder<'r>,
    run: &'r Run,
}

impl Record for Timed<'_> {
    fn hear(&mut self, heard: Heard) -> Result<(), LakeError> {
        let pod = match &heard {
            Heard::Applied { object, .. } | Heard::Deleted { object, .. } => {
                Some(object.name.clone())
            }
            _ => None,
        };
        let begun = Instant::now();
        self.recorder.hear(heard)?;
        if let Some(pod) = pod {
            let mut taken = self.run.0.borrow_mut();
            taken.hearing += begun.elapsed();
            let at = Utc::now().timestamp_micros();
            taken.heard.push(Taking { at, pod });
        }
        Ok(())
    }

    fn commit(&mut self, now: i64) -> Result<Option<u64>, LakeError> {
        let begun = Instant::now();
        let commit = self.recorder.commit(now)?;
        let mut taken = self.run.0.borrow_mut();
        if commit.is_some() && !taken.heard.is_empty() {
            taken.commits.push(begun.elapsed());
            let (all, at) = (taken.heard.len(), Utc::now().timestamp_micros());
            taken.committed.resize(all, at);
        }
        Ok(commit)
    }
}

impl Run {
    /// Watches until all changes are in the lake; what the server says that it changed.
    fn watch(
        &self,
        dir: &Path,
        lake: &Lake,
        settings: &RecorderSettings,
        server: Server,
    ) -> Vec<Change> {
        let kubeconfig = dir.join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        let login = Login {
            kubeconfig: Some(kubeconfig),
            context: None,
        };
        let watching = WatchSettings {
            login,
            lease: None,
            ..WatchSettings::default()
        };
        let mut open = || {
            let recorder = Recorder::open(lake, settings)?;
            Ok(Box::new(Timed {
                recorder,
                run: self,
            }) as Box<dyn Record + '_>)
        };
        let (begun, stop) = (Instant::now(), Stop::default());
        let mut server = Some(server);
        let mut made: Option<Receiver<(Vec<Change>, ServerEnd)>> = None;
        let mut done = None;
        let mut events = |event: Event<'_>| match event {
            Event::Listed { kind, .. } if kind.kind == "Pod" => {
                self.0.borrow_mut().listed = Some(begun.elapsed());
            }
            Event::Lost { kind, why } => panic!("{kind} is missed: {why}"),
            Event::Committed(report) => {
                let mut taken = self.0.borrow_mut();
                if let Some(server) = server.take_if(|_| taken.listed.is_some()) {
                    taken.first_commit = Some(report.spent);
                    taken.memory = memory("VmRSS:");
                    (taken.begun, taken.spent_before) = (Some(Instant::now()), spent());
                    let (say, heard) = channel();
                    std::thread::spawn(move || say.send(server.change()));
                    made = Some(heard);
                }
                if done.is_none() {
                    done = made.as_ref().and_then(|made| match made.try_recv() {
                        Err(TryRecvError::Empty) => None,
                        made => Some(made.unwrap()),
                    });
                }
                let all = done.as_ref().map(|(changes, _)| changes.len());
                if all.is_some_and(|all| taken.committed.len() >= all) {
                    stop.stop();
                }
            }
            _ => {}
        };
        watch(&mut open, &watching, &mut events, &stop).unwrap();
        let (changes, server) = done.unwrap();
        server.end();
        let heard = &self.0.borrow().heard;
        assert_eq!(heard.len(), changes.len());
        let mut pairs = heard.iter().zip(&changes);
        assert!(
            pairs.all(|(heard, change)| heard.pod == change.pod),
            "heard in the order in which it happened"
        );
        changes
    }
}

/// Every pod that came or went has a row.
fn check_lake(lake: &Lake, changes: &[Change]) {
    let snapshot = lake.snapshot().unwrap();
    let rows: Vec<EndpointRow> = read::rows(lake, &snapshot).unwrap();
    let named: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let missing = changes
        .iter()
        .find(|change| !named.contains(change.pod.as_str()));
    assert!(missing.is_none(), "a pod without a row");
    let files: Vec<_> = snapshot.files(Table::Endpoints).collect();
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    println!(
        "  endpoints   {} rows, {} KiB in {} files",
        rows.len(),
        bytes >> 10,
        files.len()
    );
}

fn us(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap())
}

/// How long in the middle, at most for so many of a hundred, and at most.
fn spread(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |percent: usize| all[(all.len() * percent).div_ceil(100) - 1];
    let (median, most) = (at(50), at(100));
    format!(
        "p50 {median:.3?}, p95 {:.3?}, p99 {:.3?}, at most {most:.3?}",
        at(95),
        at(99)
    )
}
