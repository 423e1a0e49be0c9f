//! Worlds with known truth: whatever is imported in whatever order, no core says what was not so.

use flowaudit_rules::kubernetes;
use proptest::prelude::*;

use super::super::read::{Content, LeftOut, Part};
use super::super::sighting::us;
use super::super::{Coverage, learn, moments};
use super::*;

mod interfaces;

const S: i64 = 1_000_000;

fn epoch() -> i64 {
    us("2026-11-24T08:00:00Z".parse().unwrap())
}

fn text(second: i64) -> String {
    text_of(epoch() + second * S)
}

/// One pod's life, in seconds: the object is there from `scheduled` to `gone`, the address is its from `start` to `finish`.
#[derive(Debug, Clone)]
struct Life {
    name: String,
    addr: String,
    scheduled: i64,
    start: i64,
    finish: i64,
    gone: i64,
    relabelled: Option<i64>,
    host_network: bool,
}

impl Life {
    fn json(&self, at: i64) -> Option<serde_json::Value> {
        if at < self.scheduled || at >= self.gone {
            return None;
        }
        let label = if self.relabelled.is_some_and(|change| change <= at) {
            "b"
        } else {
            "a"
        };
        let written = self.relabelled.filter(|change| *change <= at);
        let written = written.map(|change| {
            serde_json::json!({
                "manager": "kubectl-label", "operation": "Update", "time": text(change),
                "fieldsV1": {"f:metadata": {"f:labels": {"f:v": {}}}},
            })
        });
        let mut status = serde_json::json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": text(self.scheduled)}],
        });
        if at >= self.start {
            let state = if at >= self.finish {
                serde_json::json!({"terminated": {"startedAt": text(self.start), "finishedAt": text(self.finish)}})
            } else {
                serde_json::json!({"running": {"startedAt": text(self.start)}})
            };
            status["phase"] = if at >= self.finish {
                "Succeeded"
            } else {
                "Running"
            }
            .into();
            status["podIP"] = self.addr.clone().into();
            status["containerStatuses"] = serde_json::json!([{ "state": state }]);
        }
        Some(serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name, "namespace": if self.name.len().is_multiple_of(2) { "shop" } else { "web" },
                "uid": self.name, "creationTimestamp": text(self.scheduled), "labels": {"v": label},
                "managedFields": written.into_iter().collect::<Vec<_>>()},
            "spec": {"hostNetwork": self.host_network},
            "status": status,
        }))
    }
}

fn snapshot(lives: &[Life], at: i64) -> Part {
    // A pod in each namespace that is always there shows that the list is of all namespaces.
    let anchors = ["anchor", "anchor1"].map(|name| Life {
        name: name.to_owned(),
        addr: format!("10.9.9.{}", name.len()),
        scheduled: -1000,
        start: -999,
        finish: 10_000,
        gone: 10_000,
        relabelled: None,
        host_network: false,
    });
    let items: Vec<_> = lives
        .iter()
        .chain(&anchors)
        .filter_map(|life| life.json(at))
        .collect();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let manifest = kubernetes::read("pods.json", &list);
    assert_eq!(manifest.issues, []);
    Part {
        content: Content::Snapshot(manifest),
        at: Some(epoch() + at * S),
        left_out: LeftOut::default(),
    }
}

/// Imports snapshots in groups, going through the rows of the lake between them.
fn import(groups: &[Vec<Part>]) -> Rows {
    let mut rows = Rows::default();
    for group in groups {
        let mut known = Known::from_rows(&rows.endpoints, &rows.objects);
        for (at, moment) in moments(group, Coverage::Detect) {
            learn(&mut known, at, &moment);
        }
        rows = known.to_rows("c1");
    }
    rows
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let life = (
        0_i64..6,
        1_i64..4,
        1_i64..30,
        0_i64..8,
        prop::option::of(0_i64..30),
        prop::bool::weighted(0.1),
    );
    let chain = prop::collection::vec(life, 0..4);
    prop::collection::vec(chain, 1..4).prop_map(|chains| {
        let mut lives = Vec::new();
        for (number, chain) in chains.into_iter().enumerate() {
            let mut free = 0;
            for (wait, warm, runs, lingers, relabelled, host_network) in chain {
                // The next holder may be scheduled while the last one still runs, and starts a second after it ended.
                let start = free + wait + 1;
                let finish = start + runs;
                let name = format!("p{}{}", "x".repeat(number), lives.len());
                lives.push(Life {
                    name,
                    addr: format!("10.0.0.{}", number + 1),
                    scheduled: start - warm,
                    start,
                    finish,
                    gone: finish + 1 + lingers,
                    relabelled: relabelled.map(|after| start + after),
                    host_network,
                });
                free = finish;
            }
        }
        lives
    })
}

/// A watch from one time to another, which knows its end or not.
fn watch(lives: &[Life], from: i64, to: i64, end_known: bool) -> Part {
    let mut events: Vec<(i64, &str, serde_json::Value)> = Vec::new();
    for life in lives {
        events.extend(life.json(from).map(|object| (from, "ADDED", object)));
        let changes = [life.scheduled, life.start, life.finish, life.gone]
            .into_iter()
            .chain(life.relabelled);
        for at in changes
            .filter(|at| from < *at && *at <= to)
            .collect::<std::collections::BTreeSet<_>>()
        {
            let (before, after) = (life.json(at - 1), life.json(at));
            match (before, after) {
                (None, Some(object)) => events.push((at, "ADDED", object)),
                (Some(_), Some(object)) => events.push((at, "MODIFIED", object)),
                (Some(object), None) => events.push((at, "DELETED", object)),
                (None, None) => {}
            }
        }
    }
    events.sort_by_key(|(at, ..)| *at);
    let lines: Vec<_> = events
        .into_iter()
        .map(|(_, change, object)| {
            serde_json::json!({"type": change, "object": object}).to_string()
        })
        .collect();
    let watch = kubernetes::read_watch("watch.json", &lines.join("\n"));
    assert_eq!(watch.issues, []);
    let at = end_known.then(|| epoch() + to * S);
    Part {
        content: Content::Watch(watch),
        at,
        left_out: LeftOut::default(),
    }
}

fn life_of<'l>(lives: &'l [Life], row: &EndpointRow) -> Option<&'l Life> {
    lives.iter().find(|life| life.name == row.name)
}

proptest! {

    #[test]
    fn no_core_says_what_was_not_so_and_the_order_is_irrelevant(
        lives in lives(),
        times in prop::collection::btree_set(0_i64..80, 1..8),
        order in prop::collection::vec(any::<prop::sample::Index>(), 8),
        group in 1_usize..4,
    ) {
        let times: Vec<i64> = times.into_iter().collect();
        let in_order = import(&times.iter().map(|at| vec![snapshot(&lives, *at)]).collect::<Vec<_>>());
        let mut shuffled = times.clone();
        for (place, index) in order.iter().enumerate().take(shuffled.len()) {
            let other = index.index(shuffled.len());
            shuffled.swap(place, other);
        }
        let groups: Vec<Vec<Part>> =
            shuffled.chunks(group).map(|group| group.iter().map(|at| snapshot(&lives, *at)).collect()).collect();
        prop_assert_eq!(&import(&groups), &in_order);
        // Importing again changes nothing.
        let again: Vec<Vec<Part>> = times.iter().chain(&shuffled).map(|at| vec![snapshot(&lives, *at)]).collect();
        prop_assert_eq!(&import(&again), &in_order);
        prop_assert_eq!(&in_order.contradictions, &[]);

        check_true(&in_order, &lives)?;
    }

    #[test]
    fn watches_and_snapshots_together_say_nothing_that_was_not_so(
        lives in lives(),
        times in prop::collection::btree_set(0_i64..80, 0..4),
        watches in prop::collection::vec((0_i64..60, 1_i64..60, any::<bool>()), 1..3),
        watches_first in any::<bool>(),
    ) {
        let mut parts: Vec<Part> = times.iter().map(|at| snapshot(&lives, *at)).collect();
        parts.extend(watches.iter().map(|(from, length, end_known)| watch(&lives, *from, from + length, *end_known)));
        if watches_first {
            parts.reverse();
        }
        let rows = import(&parts.into_iter().map(|part| vec![part]).collect::<Vec<_>>());
        prop_assert_eq!(&rows.contradictions, &[]);
        check_true(&rows, &lives)?;
    }
}

/// No core says what was not so, what was so lies within the outer parts, and no address has two holders for sure.
fn check_true(rows: &Rows, lives: &[Life]) -> Result<(), TestCaseError> {
    for row in &rows.endpoints {
        let Some(life) = life_of(lives, row) else {
            continue;
        };
        let (start, finish) = (epoch() + life.start * S, epoch() + life.finish * S);
        let to = row.valid_to_us.unwrap();
        prop_assert!(
            start <= row.valid_from_us && row.valid_from_us <= to && to <= finish,
            "{:?} {:?}",
            row,
            life
        );
        let changed = life
            .relabelled
            .map_or(i64::MAX, |change| epoch() + change * S);
        match row.labels.as_deref() {
            Some(r#"{"v":"a"}"#) => prop_assert!(to <= changed, "{:?} {:?}", row, life),
            Some(r#"{"v":"b"}"#) => {
                prop_assert!(changed <= row.valid_from_us, "{:?} {:?}", row, life)
            }
            labels => prop_assert_eq!(labels, Some(sighting::UNKNOWN)),
        }
    }
    for life in lives {
        let rows: Vec<_> = rows
            .endpoints
            .iter()
            .filter(|row| row.name == life.name)
            .collect();
        let low = rows
            .iter()
            .map(|row| {
                row.from_slack_ms
                    .map_or(i64::MIN, |slack| row.valid_from_us - slack * 1000)
            })
            .min();
        let high = rows
            .iter()
            .map(|row| {
                row.to_slack_ms
                    .map_or(i64::MAX, |slack| row.valid_to_us.unwrap() + slack * 1000)
            })
            .max();
        let (Some(low), Some(high)) = (low, high) else {
            continue;
        };
        prop_assert!(
            low <= epoch() + life.start * S && epoch() + life.finish * S <= high,
            "{:?} {:?}",
            rows,
            life
        );
    }
    for row in &rows.endpoints {
        for other in &rows.endpoints {
            let overlap = row.valid_from_us <= other.valid_to_us.unwrap()
                && other.valid_from_us <= row.valid_to_us.unwrap();
            let apart =
                row.addr != other.addr || row == other || row.host_network || other.host_network;
            prop_assert!(apart || !overlap, "{:?} {:?}", row, other);
        }
    }
    Ok(())
}

fn life(name: &str, start: i64, finish: i64, gone: i64) -> Life {
    Life {
        name: name.to_owned(),
        addr: "10.0.0.1".to_owned(),
        scheduled: start - 2,
        start,
        finish,
        gone,
        relabelled: None,
        host_network: false,
    }
}

/// Name, begin and end of the core in seconds, slack before and after in seconds.
type Expected = (&'static str, i64, i64, Option<i64>, Option<i64>);

#[track_caller]
fn check(rows: &Rows, expected: &[Expected]) {
    let row = |row: &EndpointRow| {
        let second = |us: i64| (us - epoch()) / S;
        let seconds = |ms: Option<i64>| ms.map(|ms| ms / 1000);
        (
            row.name.clone(),
            second(row.valid_from_us),
            second(row.valid_to_us.unwrap()),
            seconds(row.from_slack_ms),
            seconds(row.to_slack_ms),
        )
    };
    let got: Vec<_> = rows
        .endpoints
        .iter()
        .filter(|row| row.addr == "10.0.0.1")
        .map(row)
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, a, b, c, d)| ((*name).to_owned(), *a, *b, *c, *d))
        .collect();
    assert_eq!(got, expected);
}

#[test]
fn an_address_that_is_used_again_within_seconds() {
    let lives = [life("a", 10, 100, 105), life("b", 103, 500, 505)];
    // Only seen before and after: the successor's start ends what the first possibly held.
    let rows = import(&[vec![snapshot(&lives, 50), snapshot(&lives, 200)]]);
    check(
        &rows,
        &[
            ("a", 10, 50, Some(2), Some(53)),
            ("b", 103, 200, Some(2), None),
        ],
    );
    // Seen in between, when the first has finished and the second has not begun.
    let rows = import(&[vec![
        snapshot(&lives, 50),
        snapshot(&lives, 102),
        snapshot(&lives, 200),
    ]]);
    check(
        &rows,
        &[
            ("a", 10, 100, Some(2), Some(2)),
            ("b", 103, 200, Some(1), None),
        ],
    );
}

#[test]
fn gone_without_a_word() {
    let lives = [life("a", 10, 100, 105)];
    check(
        &import(&[vec![snapshot(&lives, 50), snapshot(&lives, 300)]]),
        &[("a", 10, 50, Some(2), Some(250))],
    );
    check(
        &import(&[vec![snapshot(&lives, 50)]]),
        &[("a", 10, 50, Some(2), None)],
    );
}

#[test]
fn new_labels_are_a_new_row_of_the_same_pod() {
    let lives = [Life {
        relabelled: Some(60),
        ..life("a", 10, 500, 505)
    }];
    let rows = import(&[vec![snapshot(&lives, 50), snapshot(&lives, 70)]]);
    check(
        &rows,
        &[
            ("a", 10, 50, Some(2), Some(20)),
            ("a", 70, 70, Some(20), None),
        ],
    );
    assert_ne!(rows.endpoints[0].labels, rows.endpoints[1].labels);
    assert_eq!(rows.endpoints[0].uid, rows.endpoints[1].uid);
}

/// The label of each row with the seconds between which it held.
fn labels(rows: &Rows) -> Vec<(String, i64, i64)> {
    let second = |us: i64| (us - epoch()).div_euclid(S);
    let rows = rows.endpoints.iter().filter(|row| row.addr == "10.0.0.1");
    let labels = rows.map(|row| {
        let labels = row.labels.clone().unwrap_or_default();
        let (from, to) = (row.valid_from_us, row.valid_to_us.unwrap());
        (labels, second(from), second(to))
    });
    labels.collect()
}

#[test]
fn labels_are_as_old_as_whoever_wrote_them_last_says() {
    let lives = [Life {
        relabelled: Some(60),
        ..life("a", 10, 500, 505)
    }];
    let [unknown, a, b] = ["null", r#"{"v":"a"}"#, r#"{"v":"b"}"#].map(str::to_owned);
    let late = || vec![snapshot(&lives, 70)];
    let rows = import(&[late()]);
    // Written within that second, so a second later they surely were.
    assert_eq!(labels(&rows), [(unknown, 10, 60), (b.clone(), 61, 70)]);
    assert_eq!(import(&[late(), late()]), rows);
    // Who had been seen with others before is known.
    let early = || vec![snapshot(&lives, 50)];
    let both = import(&[late(), early()]);
    assert_eq!(labels(&both), [(a, 10, 50), (b, 70, 70)]);
    assert_eq!(import(&[early(), late()]), both);
}

#[test]
fn labels_that_were_written_after_a_pod_had_finished_are_not_those_it_had() {
    let lives = [Life {
        relabelled: Some(102),
        ..life("a", 10, 100, 105)
    }];
    let rows = import(&[vec![snapshot(&lives, 103)]]);
    assert_eq!(labels(&rows), [("null".to_owned(), 10, 100)]);
}

#[test]
fn holders_that_contradict_each_other_are_reported() {
    // Two clusters under one name, say.
    let lives = [life("a", 10, 500, 505), life("b", 20, 500, 505)];
    let rows = import(&[vec![snapshot(&lives, 100)]]);
    assert_eq!(rows.contradictions.len(), 1);
    let contradiction = &rows.contradictions[0];
    assert_eq!(contradiction.holder, "web/a");
    assert_eq!(contradiction.against, Against::Holder("web/b".into()));
    assert_eq!((rows.contradictions[0].from_us - epoch()) / S, 20);
    // Clocks that differ a little are no contradiction: the disputed stretch is in neither core.
    let lives = [life("a", 10, 102, 105), life("b", 100, 500, 505)];
    let rows = import(&[vec![snapshot(&lives, 50), snapshot(&lives, 103)]]);
    assert_eq!(rows.contradictions, []);
    check(
        &rows,
        &[
            ("a", 10, 99, Some(2), Some(2)),
            ("b", 102, 103, Some(2), None),
        ],
    );
}

/// A pod of which somebody who could not know wrote that it has failed, and what Terway says of it.
fn lost(returned: &[(i64, &str)], anew: Option<i64>) -> Vec<Part> {
    let mut pod = life("a", 10, 500, 900).json(50).unwrap();
    let mut parts = Vec::new();
    let list = |at: i64, item: &serde_json::Value| {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [item]});
        let manifest = kubernetes::read("f.json", &list.to_string());
        assert_eq!(manifest.issues, []);
        Part {
            content: Content::Snapshot(manifest),
            at: Some(epoch() + at * S),
            left_out: LeftOut::default(),
        }
    };
    parts.push(list(50, &pod));
    pod["status"]["phase"] = "Failed".into();
    if let Some(anew) = anew {
        let ready = serde_json::json!({"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": text(anew)});
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(ready);
    }
    parts.push(list(60, &pod));
    for (at, name) in returned {
        let pods = serde_json::json!({"a": {"podID": name, "status": {"deleted": {"lastUpdateTime": text(*at)}}}});
        let runtime = serde_json::json!({
            "apiVersion": "network.alibabacloud.com/v1beta1", "kind": "NodeRuntime",
            "metadata": {"name": "n1", "uid": "n"}, "status": {"pods": pods},
        });
        parts.push(list(at + 2, &runtime));
    }
    parts
}

#[test]
fn a_network_that_is_gone_ends_what_nobody_could_end() {
    let high = |parts: Vec<Part>| {
        let rows = import(&[parts]);
        let last = rows.endpoints.last().unwrap();
        let high = last.to_slack_ms.map(|ms| {
            let end = last.valid_to_us.unwrap() + ms * 1000;
            (end - epoch()) / S
        });
        (high, rows.contradictions.len())
    };
    assert_eq!(high(lost(&[], None)), (None, 0));
    assert_eq!(high(lost(&[(80, "web/a")], None)), (Some(80), 0));
    // Its sandbox may have been made anew after the first time, so the last one counts.
    let twice = [(70, "web/a"), (80, "web/a")];
    assert_eq!(high(lost(&twice, None)), (Some(80), 0));
    // In whatever order they are imported, and again.
    let mut parts = lost(&twice, None);
    parts.reverse();
    assert_eq!(high(parts), (Some(80), 0));
    let again = import(&[lost(&twice, None), lost(&twice, None)]);
    assert_eq!(again, import(&[lost(&twice, None)]));
    // Another pod's uid under this name, or it was made anew since.
    assert_eq!(high(lost(&[(80, "web/b")], None)), (None, 0));
    assert_eq!(high(lost(&[(20, "web/a")], Some(40))), (None, 0));
    // It was seen to hold on for longer than clocks may be apart.
    assert_eq!(high(lost(&[(20, "web/a")], None)), (None, 1));
}
