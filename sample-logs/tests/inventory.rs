//! The inventory of a run reads as what it claims to be.
#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::TINY;
use flowaudit_rules::kubernetes::{Body, Change, Severity, WatchEvent, read, read_watch};
use flowaudit_sample_logs::time::Span;
use flowaudit_sample_logs::{Bulk, Scenario, simulate};

#[test]
fn snapshots_and_watch_are_read_without_an_error() {
    for name in ["tiny", "small", "mixed"] {
        let scenario = if name == "tiny" {
            Scenario::parse("tiny.yaml", TINY).unwrap()
        } else {
            Scenario::builtin(name).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        simulate(&scenario, scenario.seed)
            .write_inventory(dir.path())
            .unwrap();
        let mut snapshots = 0;
        for entry in fs::read_dir(dir.path().join("inventory")).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let issues = if file.starts_with("watch") {
                let watch = read_watch(&file, &text);
                assert!(watch.events.len() > 3);
                watch.issues
            } else {
                snapshots += 1;
                let manifest = read(&file, &text);
                let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
                for object in &manifest.objects {
                    *kinds.entry(&object.kind).or_default() += 1;
                    assert!(
                        !object.uid.is_empty() && object.created.is_some(),
                        "{object:?}"
                    );
                }
                assert_eq!(kinds["Node"], scenario.nodes.len());
                assert_eq!(kinds["Namespace"], scenario.namespaces.len());
                assert!(
                    kinds["Pod"] > 0 && kinds["ReplicaSet"] > 0 && kinds["Job"] > 0,
                    "{file}: {kinds:?}"
                );
                manifest.issues
            };
            let errors: Vec<_> = issues
                .iter()
                .filter(|issue| issue.severity == Severity::Error)
                .collect();
            assert!(errors.is_empty(), "{name}/{file}: {errors:?}");
        }
        assert!(snapshots >= 2);
    }
}

#[test]
fn a_policy_change_stands_between_two_snapshots_a_second_apart() {
    let scenario = Scenario::parse("tiny.yaml", TINY).unwrap();
    let dir = tempfile::tempdir().unwrap();
    simulate(&scenario, 1).write_inventory(dir.path()).unwrap();
    let policies = |name: &str| {
        let text = fs::read_to_string(dir.path().join("inventory").join(name)).unwrap();
        read(name, &text)
            .objects
            .iter()
            .filter(|object| object.kind == "NetworkPolicy")
            .count()
    };
    assert_eq!(policies("snapshot-20261124T081459Z.json"), 0);
    assert_eq!(policies("snapshot-20261124T081500Z.json"), 1);
    assert_eq!(policies("snapshot-20261124T083000Z.json"), 1);
}

/// The times a pod shows enclose its true life, to the second and the skew of its node's clock.
#[test]
fn a_deleted_pod_says_when_it_ended() {
    let scenario = Scenario::parse("tiny.yaml", TINY).unwrap();
    let run = simulate(&scenario, 1);
    let dir = tempfile::tempdir().unwrap();
    run.write_inventory(dir.path()).unwrap();
    let text = fs::read_to_string(dir.path().join("inventory/watch-pods.jsonl")).unwrap();
    let watch = read_watch("watch", &text);
    let mut state: BTreeMap<String, Change> = BTreeMap::new();
    let mut deleted = 0;
    for event in &watch.events {
        let Body::Pod(pod) = &event.object.body else {
            panic!("not a pod: {event:?}")
        };
        let before = state.insert(pod.uid.clone(), event.change);
        assert_eq!(before.is_none(), event.change == Change::Added, "{event:?}");
        if event.change != Change::Deleted {
            continue;
        }
        deleted += 1;
        let truth = run
            .world
            .pods
            .iter()
            .find(|truth| truth.uid == pod.uid)
            .unwrap();
        let end = truth.life.end.unwrap();
        let skew_ms = run.world.node_spec(truth.node).clock_ahead.ms;
        let cut = |at_ms: i64| at_ms.div_euclid(1_000);
        let shown = |time: Option<chrono::DateTime<chrono::Utc>>| time.unwrap().timestamp();
        assert_eq!(shown(pod.times.finished), cut(end.finished_ms + skew_ms));
        assert_eq!(
            shown(pod.times.started),
            cut(truth.life.started_ms + skew_ms)
        );
        assert_eq!(shown(pod.times.scheduled), cut(truth.life.scheduled_ms));
        assert!(pod.times.deletion.is_some());
        assert_eq!(pod.addresses, truth.addresses);
    }
    assert!(deleted > 3, "{deleted}");
}

#[test]
fn bulk_gives_what_was_asked_for() {
    let bulk = Bulk::new(7, 30_000).unwrap();
    let mut tuples: BTreeMap<String, u64> = BTreeMap::new();
    let mut last_s = 0;
    let mut records = 0_u64;
    for record in &bulk {
        let flowaudit_sample_logs::record::Seen::Traffic(traffic) = record.seen else {
            panic!("no traffic: {record:?}")
        };
        let ends = [
            format!("{}:{}", traffic.src_addr, traffic.src_port),
            format!("{}:{}", traffic.dst_addr, traffic.dst_port),
        ];
        let pair = if ends[0] < ends[1] {
            format!("{} {}", ends[0], ends[1])
        } else {
            format!("{} {}", ends[1], ends[0])
        };
        *tuples.entry(pair).or_default() += 1;
        records += 1;
        last_s = last_s.max(record.end_s);
    }
    assert_eq!(records, 30_000);
    let per_tuple = records / tuples.len() as u64;
    assert!(
        (6..=12).contains(&per_tuple),
        "{per_tuple} records a five-tuple"
    );
    let start_s = 1_795_507_200;
    assert!(
        (start_s + 3_500..=start_s + 3_600).contains(&last_s),
        "{last_s}"
    );
    assert!(bulk.iter().eq(Bulk::new(7, 30_000).unwrap().iter()));
    let manifest = read("bulk", &bulk.snapshot());
    assert!(
        manifest
            .issues
            .iter()
            .all(|issue| issue.severity != Severity::Error),
        "{:?}",
        manifest.issues
    );
    assert_eq!(
        manifest
            .objects
            .iter()
            .filter(|object| object.kind == "Pod")
            .count(),
        2_000
    );
}

#[test]
fn an_interrupted_watch_knows_nothing_of_who_came_and_went_meanwhile() {
    let mut scenario = Scenario::builtin("mixed").unwrap();
    let [from, to] = [40, 80].map(|minute| Span {
        ms: minute * 60_000,
    });
    scenario.faults.watch_interrupted = vec![[from, to]];
    let run = simulate(&scenario, scenario.seed);
    let dir = tempfile::tempdir().unwrap();
    run.write_inventory(dir.path()).unwrap();
    let read = |name: &str| {
        let text = fs::read_to_string(dir.path().join("inventory").join(name)).unwrap();
        read_watch(name, &text).events
    };
    let (before, after) = (
        read("watch-pods-20261123T231000Z.jsonl"),
        read("watch-pods.jsonl"),
    );
    let at = |after: &Span| scenario.start_ms() + after.ms;
    let mut unseen = 0;
    for pod in &run.world.pods {
        let knows = |events: &[WatchEvent]| events.iter().any(|event| event.object.uid == pod.uid);
        let gone_ms = pod.life.end.map_or(i64::MAX, |end| end.gone_ms);
        let lived = pod.life.created_ms.max(scenario.start_ms());
        assert_eq!(
            knows(&before),
            lived <= at(&from) && gone_ms > scenario.start_ms(),
            "{}",
            pod.name
        );
        assert_eq!(
            knows(&after),
            gone_ms > at(&to) && lived <= scenario.end_ms(),
            "{}",
            pod.name
        );
        unseen += usize::from(lived > at(&from) && gone_ms <= at(&to));
    }
    assert!(unseen > 10, "{unseen}");
    let snapshots = fs::read_dir(dir.path().join("inventory")).unwrap().count() - 2;
    let whole = Scenario::builtin("mixed").unwrap();
    let dir = tempfile::tempdir().unwrap();
    simulate(&whole, whole.seed)
        .write_inventory(dir.path())
        .unwrap();
    let of_whole = fs::read_dir(dir.path().join("inventory")).unwrap().count() - 1;
    assert!(snapshots < of_whole, "{snapshots} of {of_whole}");
}
