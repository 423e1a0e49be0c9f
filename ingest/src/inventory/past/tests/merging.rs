//! One past, told by several sources: whichever is imported first, and however often, the rows are the same.

use flowaudit_rules::kubernetes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::read::{LeftOut, Part};
use super::super::super::{Against, Contradiction, moments};
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
            // One object says nothing of others.
            let list = match &items[..] {
                [one] => one.clone(),
                _ => json!({"apiVersion": "v1", "kind": "List", "items": items}),
            };
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
        let event = |life: &Life| {
            let mut event = event(life.uid, life.started - 500);
            event["involvedObject"]["name"] = life.uid.into();
            vec![event]
        };
        let logs = lives.iter().flat_map(|life| [life.log(level), event(life)]);
        let mut sources: Vec<Source> = logs.map(Source::Log).collect();
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

/// Whose it is, from and to in ms, and the slack after it.
type Core = (String, i64, i64, Option<i64>);

/// What is known, and what of it cannot all be true.
fn after(sources: &[&Source]) -> (Vec<Core>, Vec<Contradiction>) {
    let rows = sources
        .iter()
        .fold(Rows::default(), |rows, source| import(&rows, source));
    let ms = |us: i64| (us - ZERO) / 1000;
    let told = rows.endpoints.iter().map(|row| {
        let (from, to) = (ms(row.valid_from_us), ms(row.valid_to_us.unwrap()));
        (row.name.clone(), from, to, row.to_slack_ms)
    });
    (told.collect(), rows.contradictions)
}

/// One held the address from 10 s to 60 s, the next one from 110 s to 160 s; somebody says that the first one was looked at at 140 s.
fn misdated(next_level: &str) -> [Source; 2] {
    let life = |uid, started: i64| Life {
        uid,
        started,
        relabelled: None,
        finished: started + 50_000,
    };
    let look = Source::Snapshot(140_000, vec![life("u1", 10_000).at(20_000)]);
    [look, Source::Log(life("u2", 110_000).log(next_level))]
}

#[test]
fn a_look_of_the_wrong_time_gives_way_to_what_servers_dated() {
    for level in ["RequestResponse", "Request"] {
        let [look, log] = misdated(level);
        let (rows, told) = after(&[&look, &log]);
        assert_eq!(after(&[&log, &look]), (rows.clone(), told.clone()));
        // It began by its kubelet's word; nothing else of it is sure.
        let expected = [
            ("u1".to_owned(), 10_000, 10_000, Some(100_000)),
            ("u2".to_owned(), 110_000, 160_000, Some(998)),
        ];
        assert_eq!(rows[..2], expected, "{level}");
        let [told] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(told.against, Against::Better("shop/u2".to_owned()));
        // The next import finds the same, and says so again.
        let again = after(&[&look, &log, &look, &log]);
        assert_eq!((again.0, again.1.len()), (rows, 1));
        // Seen once more after that, it possibly held the address in between, and not while the other did.
        let later = Source::Snapshot(400_000, looked_at(&look));
        let (rows, told) = after(&[&look, &log, &later]);
        let parts: Vec<_> = rows.iter().filter(|row| row.0 == "u1").collect();
        assert_eq!(parts.len(), 2, "{rows:?}");
        assert_eq!((parts[1].1, parts[1].2), (400_000, 400_000));
        assert_eq!(told.len(), 1);
    }
}

fn looked_at(look: &Source) -> Vec<Value> {
    match look {
        Source::Snapshot(_, items) => items.clone(),
        Source::Log(_) => Vec::new(),
    }
}

#[test]
fn equals_contradict_each_other_and_so_does_a_word_of_its_own() {
    // Two looks: nobody knows which one has the wrong time.
    let [look, _] = misdated("Request");
    let other = Life {
        uid: "u2",
        started: 110_000,
        relabelled: None,
        finished: 160_000,
    };
    let other = Source::Snapshot(150_000, vec![other.at(150_000)]);
    let (rows, told) = after(&[&look, &other]);
    assert_eq!(told[0].against, Against::Holder("shop/u2".to_owned()));
    assert!(rows.contains(&("u1".to_owned(), 10_000, 140_000, None)));
    // By its kubelet's word it began while the other one surely had the address.
    let began = Life {
        uid: "u3",
        started: 130_000,
        relabelled: None,
        finished: 900_000,
    };
    let [_, log] = misdated("RequestResponse");
    let look = Source::Snapshot(300_000, vec![began.at(300_000)]);
    let (rows, told) = after(&[&look, &log]);
    assert_eq!(told[0].against, Against::Holder("shop/u3".to_owned()));
    assert!(rows.contains(&("u3".to_owned(), 130_000, 300_000, None)));
}

#[test]
fn what_names_a_pod_after_its_end_is_not_believed() {
    let life = Life {
        uid: "u1",
        started: 10_000,
        relabelled: None,
        finished: 60_000,
    };
    let log = Source::Log(life.log("RequestResponse"));
    let ended = ("u1".to_owned(), 10_000, 60_000, Some(998));
    assert_eq!(after(&[&log]), (vec![ended], vec![]));
    // A few seconds are two clocks.
    let close = Source::Snapshot(66_000, vec![life.at(50_000)]);
    assert_eq!(after(&[&log, &close]).1, []);
    // With other labels it is no second time, either.
    let other = Life {
        relabelled: Some(20_000),
        ..life.clone()
    };
    for (of, until) in [(&life, 10_998), (&other, 60_000)] {
        let late = Source::Snapshot(600_000, vec![of.at(50_000)]);
        let (rows, told) = after(&[&log, &late]);
        assert_eq!(after(&[&late, &log]), (rows.clone(), told.clone()));
        assert_eq!(after(&[&late, &log, &late]), (rows.clone(), told.clone()));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].against, Against::Gone);
        let cores: Vec<_> = rows.iter().map(|row| (row.1, row.2)).collect();
        assert_eq!(cores, [(10_000, until)]);
    }
    // Its network was made anew.
    let anew = Life {
        started: 300_000,
        finished: 900_000,
        ..life
    };
    let anew = Source::Snapshot(600_000, vec![anew.at(600_000)]);
    assert_eq!(after(&[&log, &anew]).1, []);
}

#[test]
fn a_name_belongs_to_one_pod_at_a_time() {
    let named = |uid, started: i64, addr: &str, at: i64| {
        let life = Life {
            uid,
            started,
            relabelled: None,
            finished: 900_000,
        };
        let mut pod = life.at(at);
        pod["metadata"]["name"] = "db-0".into();
        pod["status"]["podIP"] = addr.into();
        Source::Snapshot(at, vec![pod])
    };
    let one = [20_000, 50_000, 600_000].map(|at| named("u1", 10_000, "10.0.0.1", at));
    let next = named("u2", 300_000, "10.0.0.2", 400_000);
    let (rows, told) = after(&[&one[0], &one[1], &next]);
    assert_eq!(told, []);
    let expected = [(10_000, 50_000), (300_000, 400_000)];
    assert!(
        rows.iter().map(|row| (row.1, row.2)).eq(expected),
        "{rows:?}"
    );
    // Whatever it is that was seen at 600 s, it was not the first one.
    let (rows, told) = after(&[&one[0], &one[2], &next]);
    let [told] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (&told.against, told.from_us),
        (&Against::Gone, ZERO + 298_000_000)
    );
    let expected = [(10_000, 20_000), (300_000, 400_000)];
    assert!(
        rows.iter().map(|row| (row.1, row.2)).eq(expected),
        "{rows:?}"
    );
}
