//! Killed between commits, with a store that fails, beside an import: nothing is lost, nothing is doubled, nothing is made up.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use flowaudit_lake::Lake;
use flowaudit_lake::store::{FailAt, Failure, Memory};
use serde_json::{Value, json};

use super::tests::{Place, at, finished, pod, pods, settings};
use super::truth::{Ending, Life, check, play, session};
use super::*;
use crate::inventory::{ImportSettings, import};
use crate::source::Input;

const CHILD: &str = "FLOWAUDIT_WATCH_CRASH_DIR";
const FROM: &str = "FLOWAUDIT_WATCH_CRASH_FROM";
/// The world ends then.
const END: i64 = 600;

/// Pods that come and go, three at a time at addresses that they pass on.
fn churn() -> Vec<Life> {
    let mut lives = Vec::new();
    for chain in 0..3 {
        let mut start = chain - 10;
        for number in 0.. {
            let length = 7 + (number * 13 + chain * 5) % 29;
            let release = start + length;
            if release >= END {
                break;
            }
            lives.push(Life {
                name: format!("p{chain}-{number}"),
                addr: format!("10.0.0.{chain}"),
                start,
                release,
                lag: number % 3,
                relabelled: (number % 4 == 1).then_some(start + 5),
                restarted: None,
                is_dated: true,
                ending: Ending::Finishes(1, number % 3, 2),
                told: Some(2),
                own: None,
            });
            start = release + number % 4;
        }
    }
    lives
}

/// What the child process does; in an ordinary run of the tests there is no directory and nothing to do.
#[test]
fn child() {
    let (Some(dir), Ok(from)) = (std::env::var_os(CHILD), std::env::var(FROM)) else {
        return;
    };
    let mut place = Place::on(Lake::create_or_open(PathBuf::from(dir)).unwrap());
    let from: i64 = from.parse().unwrap();
    let session = super::truth::Session {
        length: END + 60 - from,
        commit_every: 3,
        pause: Duration::from_millis(2),
        ..session(from)
    };
    play(&mut place, &churn(), &[session]);
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(dir.path()).unwrap();
    let place = Place::on(lake);
    let seed = 0x5eed_u64;
    let mut state = seed;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut from, mut cut_short) = (0, 0);
    for _ in 0..14 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "inventory::live::killed::child",
                "--test-threads=1",
            ])
            .env(CHILD, dir.path())
            .env(FROM, from.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (commits, wanted) = (place.lake.snapshot().unwrap().number, 1 + random(12));
        while place.lake.snapshot().unwrap().number < commits + wanted
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random(20_000)));
        child.kill().unwrap();
        cut_short += u32::from(!child.wait().unwrap().success());
        // The next one comes some seconds after what was known last.
        let known = place
            .objects()
            .iter()
            .filter_map(|row| row.valid_to_us)
            .max();
        let known = known.map_or(0, |us| (us - at(0)) / 1_000_000);
        from = (known + 4 + random(5).cast_signed()).min(END);
    }
    assert!(
        cut_short >= 8,
        "only {cut_short} runs were cut short: the kills show nothing"
    );
    let mut place = Place::on(Lake::open(dir.path()).unwrap());
    let until = play(&mut place, &churn(), &[session(from.max(END - 100))]);
    assert!(!place.gaps().is_empty(), "seed {seed:#x}");
    check(&place, &churn(), (i64::MAX, until), &[]);
}

/// Two sessions of the world on this store; whether all went well.
fn record(lake: &'static Lake) -> Result<(), flowaudit_lake::LakeError> {
    use crate::kubernetes::Record;
    let lives = churn();
    let mut recorder = Recorder::open(lake, &settings())?;
    let kind = pods();
    for (begun, ended) in [(0, 1), (40, 42)] {
        recorder.hear(Heard::ListBegun {
            kind: kind.clone(),
            at: at(begun),
            shown: at(begun),
        })?;
        for life in &lives {
            if let Some(state) = life.state(begun) {
                let object = Box::new(super::tests::object(&state));
                recorder.hear(Heard::Listed { object })?;
            }
        }
        recorder.hear(Heard::ListEnded {
            kind: kind.clone(),
            at: at(ended),
        })?;
        for second in ended..ended + 16 {
            for life in &lives {
                let (before, now) = (life.state(second - 1), life.state(second));
                let Some(state) = now.as_ref().or(before.as_ref()).filter(|_| before != now) else {
                    continue;
                };
                let object = Box::new(super::tests::object(state));
                recorder.hear(match now {
                    Some(_) => Heard::Applied {
                        object,
                        at: at(second),
                    },
                    None => Heard::Deleted {
                        object,
                        at: at(second),
                    },
                })?;
            }
            recorder.hear(Heard::Progress {
                kind: kind.clone(),
                at: at(second),
            })?;
            if second % 8 == 0 && recorder.commit(at(second)).is_err() {
                // Whoever goes on after a failure must lose nothing either.
                recorder.commit(at(second))?;
            }
        }
        recorder.commit(at(ended + 16))?;
    }
    Ok(())
}

#[test]
fn whichever_call_to_the_store_fails_the_rows_are_the_same() {
    let leak = |lake: Lake| -> &'static Lake { Box::leak(Box::new(lake)) };
    let whole = Place::on(Lake::create_or_open_on(Arc::new(Memory::default())).unwrap());
    record(whole.lake).unwrap();
    let (expected, gaps) = (whole.endpoints(), whole.gaps());
    assert!(expected.len() > 10 && gaps.len() == 1);
    let failures = [
        Failure::Once(ErrorKind::ConnectionReset),
        Failure::OnceAfter(ErrorKind::ConnectionReset),
    ];
    for failure in failures {
        let mut went_on = 0;
        // Every third call, each failure at others.
        for n in (0..).map(|n| 3 * n + u64::from(failure == failures[0])) {
            let store = Memory::default();
            drop(Lake::create_or_open_on(Arc::new(store.clone())).unwrap());
            let failing = FailAt::new(store.clone(), n, failure);
            let Ok(lake) = Lake::open_on(Arc::new(failing.clone())) else {
                continue;
            };
            let recorded = record(leak(lake));
            if !failing.has_failed() {
                break;
            }
            let place = Place::on(Lake::open_on(Arc::new(store)).unwrap());
            if recorded.is_ok() {
                went_on += 1;
                assert_eq!(place.endpoints(), expected, "{failure:?} at call {n}");
                assert_eq!(place.gaps(), gaps, "{failure:?} at call {n}");
            }
        }
        assert!(went_on > 20, "{failure:?}: only {went_on} runs went on");
    }
}

/// A snapshot of these pods, imported.
pub(super) fn import_pods(lake: &Lake, pods: &[Value], second: i64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pods.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
    std::fs::write(&path, list.to_string()).unwrap();
    let settings = ImportSettings {
        cluster: "c".into(),
        at: chrono::DateTime::from_timestamp_micros(at(second)),
        ..ImportSettings::default()
    };
    import(lake, &[Input::from(path.as_path())], &settings, Utc::now()).unwrap();
}

#[test]
fn an_import_beside_a_watch_loses_nothing_and_doubles_nothing() {
    let mut place = Place::new();
    let [a, b, c] = [
        pod("a", "10.0.0.1", -50),
        pod("b", "10.0.0.2", -50),
        pod("c", "10.0.0.3", -50),
    ];
    // Long before: one that is there still, and one that is not.
    let there = [a.clone(), b.clone(), c.clone(), pod("old", "10.0.0.9", -90)];
    import_pods(place.lake, &there, -30);
    place.restart();
    let before = [a.clone(), b.clone(), c.clone()];
    place.list(&pods(), 0, 1, &before);
    place.progress(&pods(), 10);
    place.commit(10).unwrap();
    place.put(&finished(b.clone(), -50, 14), 15);
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    let quiet = place.endpoints();
    // Between two commits, several times, also of what was heard and not committed yet.
    place.put(&finished(c.clone(), -50, 24), 25);
    import_pods(place.lake, &[a.clone(), c.clone()], 22);
    place.progress(&pods(), 30);
    place.commit(30).unwrap();
    import_pods(place.lake, std::slice::from_ref(&a), 28);
    import_pods(place.lake, &[a.clone(), b.clone(), c.clone()], 5);
    place.progress(&pods(), 40);
    place.commit(40).unwrap();
    let rows = place.endpoints();
    let mut times: BTreeMap<String, Vec<(i64, i64, bool)>> = BTreeMap::new();
    for row in &rows {
        let second = |us: i64| (us - at(0)) / 1_000_000;
        times.entry(row.name.clone()).or_default().push((
            second(row.valid_from_us),
            second(row.valid_to_us.unwrap()),
            row.to_slack_ms.is_some(),
        ));
    }
    assert_eq!(times["a"], [(-50, 40, false)], "{rows:#?}");
    assert_eq!(times["b"], [(-50, 14, true)], "{rows:#?}");
    assert_eq!(times["c"], [(-50, 24, true)], "{rows:#?}");
    assert_eq!(times["old"], [(-90, -30, true)], "{rows:#?}");
    assert!(
        quiet
            .iter()
            .any(|row| row.name == "old" && row.to_slack_ms.is_some())
    );
    // Importing what is known changes nothing.
    let number = place.lake.snapshot().unwrap().number;
    import_pods(place.lake, &[a], 28);
    assert_eq!(place.lake.snapshot().unwrap().number, number);
    // And the next process goes on.
    place.restart();
    place.list(&pods(), 50, 51, &[pod("a", "10.0.0.1", -50)]);
    place.commit(51).unwrap();
    let rows = place.endpoints();
    assert_eq!(
        rows.iter().filter(|row| row.name == "a").count(),
        1,
        "{rows:#?}"
    );
}
