//! One past, told by several sources: whichever is imported first, and however often, the rows are the same.

use flowaudit_rules::kubernetes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::moments;
use super::super::super::read::{LeftOut, Part};
use super::*;

/// What somebody brings.
#[derive(Debug, Clone)]
enum Source {
    Log(Vec<Value>),
    Snapshot(i64, Vec<Value>),
}

/// A pod that held 10.0.0.1, by the times of its life in ms.
#[derive(Debug, Clone)]
struct Life {
    uid: &'static str,
    started: i64,
    relabelled: Option<i64>,
    finished: i64,
}

impl Life {
    fn at(&self, at_ms: i64) -> Value {
        let label = match self.relabelled {
            Some(at) if at <= at_ms => "b",
            _ => "a",
        };
        let state = match at_ms >= self.finished {
            true => {
                json!({"terminated": {"startedAt": text(self.started), "finishedAt": text(self.finished)}})
            }
            false => json!({"running": {"startedAt": text(self.started)}}),
        };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": self.uid, "uid": self.uid, "labels": {"tier": label},
                "resourceVersion": (100_000_000 + at_ms).to_string(), "creationTimestamp": text(self.started - 2_000)},
            "spec": {"nodeName": "n1"},
            "status": {"phase": if at_ms >= self.finished { "Succeeded" } else { "Running" }, "podIP": "10.0.0.1", "containerStatuses": [{"state": state}]},
        })
    }

    fn log(&self, level: &str) -> Vec<Value> {
        let named = |event: Value| {
            let mut event = with(event, "level", level.into());
            event["objectRef"]["name"] = self.uid.into();
            event
        };
        let state = |at: i64, user: &str, verb: &str, resource: &str, sent: Value| {
            named(write(at, user, verb, resource, [sent, self.at(at)]))
        };
        let status = |at: i64| {
            let mut sent = self.at(at);
            sent["status"]["hostIP"] = "10.0.9.1".into();
            json!({"metadata": {"uid": self.uid}, "status": sent["status"]})
        };
        let mut log = vec![
            state(
                self.started + 1_000,
                KUBELET,
                "patch",
                "pods/status",
                status(self.started),
            ),
            state(
                self.finished + 1_000,
                KUBELET,
                "patch",
                "pods/status",
                status(self.finished),
            ),
        ];
        if let Some(at) = self.relabelled {
            log.push(state(
                at,
                "someone",
                "patch",
                "pods",
                json!({"metadata": {"labels": {"tier": "b"}}}),
            ));
        }
        let sent = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}});
        log.push(state(
            self.finished + 3_000,
            KUBELET,
            "delete",
            "pods",
            sent,
        ));
        log
    }
}

fn import(before: &Rows, source: &Source) -> Rows {
    let mut known = Known::from_rows(&before.endpoints, &before.objects);
    match source {
        Source::Log(values) => {
            let mut past = Past::default();
            values.iter().for_each(|value| past.read(value));
            let told = past.finish();
            learn(&mut known, None, &told.moment);
            told.quiet.hold(&mut known);
        }
        Source::Snapshot(at_ms, items) => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            let part = Part {
                content: super::super::super::read::Content::Snapshot(kubernetes::read(
                    "",
                    &list.to_string(),
                )),
                at: Some(ZERO + at_ms * 1000),
                left_out: LeftOut::default(),
            };
            for (at, moment) in moments(&[part], super::super::super::Coverage::Detect) {
                learn(&mut known, at, &moment);
            }
        }
    }
    known.to_rows("c")
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    let life = |uid: &'static str, from: i64| {
        let relabelled = prop::option::of(20_i64..50);
        (0_i64..5, relabelled, 60_i64..90).prop_map(move |(start, relabelled, end)| Life {
            uid,
            started: from + start * 1_000,
            relabelled: relabelled.map(|at| from + at * 1_000),
            finished: from + end * 1_000,
        })
    };
    let level = prop::sample::select(vec!["RequestResponse", "RequestResponse", "Request"]);
    let looks = prop::collection::btree_set(0_i64..200, 0..4);
    (life("u1", 10_000), life("u2", 110_000), level, looks).prop_map(|(one, two, level, looks)| {
        let mut lives = [one, two];
        // What was written and not seen stays unknown, and a run that is cut keeps less of it in one order than in another.
        if level == "Request" {
            lives.iter_mut().for_each(|life| life.relabelled = None);
        }
        // An event makes no row by itself, so it comes with the log that tells of its pod.
        let with_event = |life: &Life| {
            let mut event = event(life.uid, life.started - 500);
            event["involvedObject"]["name"] = life.uid.into();
            let mut log = life.log(level);
            log.push(event);
            log
        };
        let mut sources: Vec<Source> = lives.iter().map(|life| Source::Log(with_event(life))).collect();
        for at in looks {
            let at = at * 1_000 + 300;
            let there = lives.iter().filter(|life| life.started <= at && at < life.finished + 2_000);
            let mut there: Vec<Value> = there.map(|life| life.at(at)).collect();
            there.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "n1"}}));
            sources.push(Source::Snapshot(at, there));
        }
        sources
    })
}

proptest! {
    #[test]
    fn whatever_comes_first_the_rows_are_the_same(sources in sources(), order in any::<prop::sample::Index>()) {
        let all = |sources: &[Source]| sources.iter().fold(Rows::default(), |rows, source| import(&rows, source));
        let expected = all(&sources);
        let mut shuffled = sources.clone();
        let mut seed = order.index(1_000_000);
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, seed % (place + 1));
            seed = seed / (place + 1) + place * 7;
        }
        prop_assert_eq!(&all(&shuffled).endpoints, &expected.endpoints);
        shuffled.extend(sources);
        let twice = all(&shuffled);
        prop_assert_eq!(&twice.endpoints, &expected.endpoints);
        prop_assert_eq!(&twice.contradictions, &[]);
    }
}
