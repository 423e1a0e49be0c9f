//! Damage: each kind is named, nothing panics, and what is whole stays readable.

use std::fs;
use std::path::{Path, PathBuf};

use flowaudit_lake::store::{Local, Store};
use flowaudit_lake::{Lake, LakeError, Problem, Table, read};
use rand::{Rng, SeedableRng};

use crate::numbers::{check_whole, flows_in, ingest};

fn lake(directory: &Path) -> Lake {
    let lake = Lake::create_or_open(directory).unwrap();
    for n in 0..3 {
        ingest(&lake, "0", n * 40, n * 40 + 40).unwrap();
    }
    lake
}

fn commit(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("_flowaudit/commits/{number:020}.json"))
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |cause| {
        format!("{error}: {}", chain(cause))
    })
}

#[test]
fn a_torn_record_is_named() {
    let whole = {
        let directory = tempfile::tempdir().unwrap();
        lake(directory.path());
        fs::read(commit(directory.path(), 2)).unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    lake(directory.path());
    for length in [0, 1, 10, whole.len() / 2, whole.len() - 2] {
        fs::write(commit(directory.path(), 2), &whole[..length]).unwrap();
        let error = Lake::open(directory.path()).unwrap_err();
        let said = chain(&error);
        assert!(
            said.contains("cannot use `_flowaudit/commits/00000000000000000002.json`"),
            "{said}"
        );
        assert!(said.contains("not what flowaudit writes"), "{said}");
        assert!(error.help().is_some());
    }
}

#[test]
fn records_that_lie_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    lake(directory.path());
    let path = commit(directory.path(), 3);
    let text = fs::read_to_string(&path).unwrap();
    let try_it = |changed: String| {
        assert_ne!(changed, text);
        fs::write(&path, resealed(&changed)).unwrap();
        chain(&Lake::open(directory.path()).unwrap_err())
    };
    assert!(try_it(text.replace("\"version\":3", "\"version\":9")).contains("it has version 9"));
    assert!(try_it(text.replace("\"number\":3", "\"number\":4")).contains("calls itself commit 4"));
    assert!(
        try_it(text.replace("\"removed\":[]", "\"removed\":[\"../../etc/passwd\"]"))
            .contains("is not a key of a data file")
    );
    assert!(
        try_it(text.replace("flows/date=", "flows/../date="))
            .contains("is not a key of a data file")
    );
    assert!(
        try_it(text.replace("\"partition\":\"date=", "\"partition\":\"date=1"))
            .contains("partition")
    );
    assert!(try_it(text.replace("\"to\":{\"at\":120}", "\"to\":{\"at\":1}")).contains("backwards"));
    assert!(
        try_it(text.replace("\"version\":3", "\"version\":3,\"surprise\":0"))
            .contains("unknown field")
    );
    let gone = text.replace(
        "\"removed\":[]",
        "\"removed\":[\"endpoints/part-x-000000-0000000000000000-0000.parquet\"]",
    );
    assert!(try_it(gone).contains("which is not there"));
}

/// A record that says something else, under the checksum of what it says.
fn resealed(text: &str) -> String {
    let body = text.rsplit_once(",\"crc32c\":\"").unwrap().0;
    let sum = flowaudit_lake::checksum::checksum(body.as_bytes());
    format!("{body},\"crc32c\":\"{sum}\"}}\n")
}

#[test]
fn one_flipped_bit_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path());
    let mut paths: Vec<String> = lake
        .snapshot()
        .unwrap()
        .files(Table::Flows)
        .map(|file| file.path.clone())
        .collect();
    paths.push("_flowaudit/commits/00000000000000000002.json".to_string());
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(23);
    for path in paths {
        let full = directory.path().join(&path);
        let whole = fs::read(&full).unwrap();
        // Ends and, for a record, every byte: no place is too unimportant.
        let every = if path.ends_with(".json") { 1 } else { 97 };
        for at in (0..whole.len()).step_by(every).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << random.random_range(0..8);
            fs::write(&full, bytes).unwrap();
            let problems = lake.verify().unwrap();
            let [problem] = problems.as_slice() else {
                panic!("byte {at} of {path}: {problems:?}");
            };
            let said = problem.to_string();
            assert!(said.starts_with(&format!("`{path}` ")), "byte {at}: {said}");
        }
        fs::write(&full, whole).unwrap();
    }
    assert_eq!(lake.verify().unwrap(), []);
}

#[test]
fn files_of_version_1_records_are_read_and_verified_without_a_checksum() {
    let directory = tempfile::tempdir().unwrap();
    lake(directory.path());
    for number in 1..=3 {
        let path = commit(directory.path(), number);
        let text = fs::read_to_string(&path).unwrap();
        // As version 1 wrote it: no checksum anywhere.
        let mut old = text.replace("\"version\":3", "\"version\":1");
        while let Some(at) = old.find(",\"crc32c\":\"") {
            old.replace_range(at..at + 20, "");
        }
        fs::write(&path, old).unwrap();
    }
    let lake = Lake::open(directory.path()).unwrap();
    check_whole(&lake);
    ingest(&lake, "0", 120, 160).unwrap();
    check_whole(&Lake::open(directory.path()).unwrap());
}

#[test]
fn garbage_for_a_record_never_panics() {
    let directory = tempfile::tempdir().unwrap();
    lake(directory.path());
    let path = commit(directory.path(), 3);
    let whole = fs::read(&path).unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        fs::write(&path, &bytes).unwrap();
        match Lake::open(directory.path()) {
            Ok(lake) => drop(lake.verify()),
            Err(error) => assert!(error.help().is_some(), "{error:?}"),
        }
    }
}

#[test]
fn a_missing_record_is_a_hole() {
    let directory = tempfile::tempdir().unwrap();
    lake(directory.path());
    fs::remove_file(commit(directory.path(), 2)).unwrap();
    let error = Lake::open(directory.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "commit record `_flowaudit/commits/00000000000000000002.json` is missing, though later ones exist"
    );
}

#[test]
fn garbage_beside_the_log_is_reported_and_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let first = lake(directory.path());
    for name in [
        "_flowaudit/commits/README",
        "_flowaudit/commits/5.json",
        "_flowaudit/x/y",
        "_staging/what",
        "_staging/a-b-c/d",
    ] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"garbage").unwrap();
    }
    let lake = Lake::open(directory.path()).unwrap();
    assert_eq!(
        flows_in(&lake, &lake.snapshot().unwrap()),
        flows_in(&first, &first.snapshot().unwrap())
    );
    let strays = [
        "_flowaudit/commits/5.json",
        "_flowaudit/commits/README",
        "_flowaudit/x/y",
    ];
    let expected: Vec<_> = strays
        .iter()
        .map(|key| Problem::Stray {
            key: key.to_string(),
        })
        .collect();
    assert_eq!(lake.verify().unwrap(), expected);
    ingest(&lake, "0", 120, 160).unwrap();
}

#[test]
fn verify_finds_every_kind_of_damage() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path());
    check_whole(&lake);
    let snapshot = lake.snapshot().unwrap();
    let files: Vec<_> = snapshot.files(Table::Flows).cloned().collect();
    let path = |n: usize| directory.path().join(&files[n].path);
    // Missing, truncated, flipped in the middle, of another file, extra.
    fs::remove_file(path(0)).unwrap();
    let bytes = fs::read(path(1)).unwrap();
    fs::write(path(1), &bytes[..bytes.len() / 2]).unwrap();
    let mut bytes = fs::read(path(2)).unwrap();
    bytes[4..60].fill(0xff);
    fs::write(path(2), bytes).unwrap();
    fs::copy(path(4), path(3)).unwrap();
    let extra = directory
        .path()
        .join("flows/date=2026-11-24/hour=08/mine.parquet");
    fs::write(extra, b"x").unwrap();
    let problems = lake.verify().unwrap();
    let named = |n: usize| {
        let found = problems
            .iter()
            .find(|problem| problem.to_string().contains(&files[n].path));
        found.unwrap_or_else(|| panic!("{problems:?}")).clone()
    };
    assert!(matches!(named(0), Problem::Missing { .. }));
    assert!(matches!(named(1), Problem::Damaged { .. }));
    assert!(matches!(named(2), Problem::Damaged { .. }));
    assert!(matches!(
        named(3),
        Problem::Damaged { .. } | Problem::Rows { .. }
    ));
    assert!(problems.contains(&Problem::Extra {
        key: "flows/date=2026-11-24/hour=08/mine.parquet".to_string()
    }));
    assert_eq!(problems.len(), 5);
    assert!(problems.iter().all(|problem| problem.help().is_some()));
    // Readers say which file it is.
    let error = read::open(&lake, &files[0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("data file `{}` is missing", files[0].path)
    );
    let error = read::open(&lake, &files[1]).unwrap_err();
    assert!(
        matches!(&error, LakeError::Damaged { key, .. } if *key == files[1].path),
        "{error:?}"
    );
}

#[test]
fn flipped_bytes_in_a_data_file_never_panic() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path());
    let snapshot = lake.snapshot().unwrap();
    let entry = snapshot.files(Table::Flows).next().unwrap();
    let path = directory.path().join(&entry.path);
    let whole = fs::read(&path).unwrap();
    let columns: Vec<_> = Table::Flows
        .columns()
        .iter()
        .map(|column| column.name)
        .collect();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        fs::write(&path, &bytes).unwrap();
        let read = read::batches(&lake, entry, &columns, 0).and_then(|mut batches| {
            batches.try_for_each(|batch| flowaudit_lake::table::flows::rows(&batch?).map(drop))
        });
        refused += u64::from(read.is_err());
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_damaged_snapshot_of_the_log_only_costs_time() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(directory.path()).unwrap();
    for n in 0..130 {
        ingest(&lake, "0", n, n + 1).unwrap();
    }
    let keys = Local::open(directory.path())
        .unwrap()
        .list("_flowaudit/snapshots/", "")
        .unwrap();
    assert_eq!(keys.len(), 2);
    check_whole(&lake);
    let before = lake.snapshot().unwrap();
    fs::write(directory.path().join(&keys[1]), b"{\"version\":1,\"num").unwrap();
    fs::write(directory.path().join(&keys[0]), b"").unwrap();
    let opened = Lake::open(directory.path()).unwrap();
    assert_eq!(
        flows_in(&opened, &opened.snapshot().unwrap()),
        flows_in(&lake, &before)
    );
    let problems = opened.verify().unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    for key in keys {
        fs::remove_file(directory.path().join(key)).unwrap();
    }
    check_whole(&Lake::open(directory.path()).unwrap());
}
