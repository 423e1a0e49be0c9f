//! The real process, killed at random moments: nothing is lost and nothing doubled.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use flowaudit_ingest::{Input, Settings, files};
use flowaudit_lake::Lake;

use crate::common::{Place, check_once, flows_of, gzip, lines, now};

const RECORDS: u64 = 24_000;
const CHILD: &str = "FLOWAUDIT_INGEST_CRASH_DIR";

fn settings() -> Settings {
    Settings {
        batch_rows_max: 500,
        recent_keys_max: 2_000,
        ..Settings::default()
    }
}

/// What the child process does; in an ordinary run of the tests there is no directory and nothing to do.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = std::path::PathBuf::from(dir);
    let lake = Lake::create_or_open(dir.join("lake")).unwrap();
    let inputs = ["a.log", "b.log.gz", "c.log"].map(|name| Input::from(dir.join(name).as_path()));
    files(&lake, &inputs, &settings(), &mut |_| {}, now()).unwrap();
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_doubled() {
    let place = Place::new();
    place.file("a.log", lines(0..10_000));
    place.file("b.log.gz", gzip(lines(10_000..16_000)));
    // The last file brings records again that were in the first.
    place.file("c.log", lines(9_000..10_000) + &lines(16_000..RECORDS));
    let seed = 0x5eed_u64;
    let mut state = seed;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut cut_short = 0;
    for kill in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--test-threads=1"])
            .env(CHILD, place.dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // A few batches further, then somewhere within the next one.
        let (commits, wanted) = (place.lake.snapshot().unwrap().number, random(4));
        while place.lake.snapshot().unwrap().number < commits + wanted
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random(15_000)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        cut_short += u32::from(!status.success());
        let lake = Lake::open(place.path("lake")).unwrap();
        let flows = flows_of(&lake);
        assert!(
            flows.values().all(|times| *times == 1),
            "a record is doubled after kill {kill}, seed {seed:#x}"
        );
        let (files, known) = (
            lake.snapshot().unwrap().checkpoints().iter().count(),
            flows.len() as u64,
        );
        assert!(files <= 3 && known <= RECORDS);
    }
    assert!(
        cut_short >= 10,
        "only {cut_short} runs were cut short: the kills show nothing"
    );
    let paths = ["a.log", "b.log.gz", "c.log"].map(|name| place.path(name));
    let summary = place
        .ingest_with(&[&paths[0], &paths[1], &paths[2]], &settings())
        .unwrap();
    assert_eq!(summary.problems, []);
    check_once(&place.flows(), 0..RECORDS);
    assert_eq!(place.rejects(), []);
}

const STDIN_CHILD: &str = "FLOWAUDIT_INGEST_STDIN_DIR";

/// What the child process of the next test does.
#[test]
fn stdin_child() {
    let Some(dir) = std::env::var_os(STDIN_CHILD) else {
        return;
    };
    let lake = Lake::create_or_open(std::path::PathBuf::from(dir).join("lake")).unwrap();
    let summary = files(&lake, &[Input::Stdin], &settings(), &mut |_| {}, now()).unwrap();
    assert_eq!(summary.counts.records, 3000);
}

#[test]
fn standard_input_can_be_fed_again() {
    let place = Place::new();
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::stdin_child", "--test-threads=1"])
            .env(STDIN_CHILD, place.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // In small writes, as a pipe from elsewhere comes.
        for part in gzip(lines(0..3000)).chunks(777) {
            input.write_all(part).unwrap();
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }
    check_once(&place.flows(), 0..3000);
}

#[test]
fn two_writers_at_once_double_nothing() {
    let place = Place::new();
    let paths = [
        place.file("a.log", lines(0..6000)),
        place.file("b.log", lines(3000..9000)),
    ];
    std::thread::scope(|scope| {
        for path in &paths {
            scope.spawn(|| {
                let lake = Lake::open(place.path("lake")).unwrap();
                let input = Input::from(path.as_path());
                files(&lake, &[input], &settings(), &mut |_| {}, now()).unwrap();
            });
        }
    });
    check_once(&place.flows(), 0..9000);
}
