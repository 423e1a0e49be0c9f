//! The set in the repository is what the scenario gives. `UPDATE_EXPECT=1` writes it anew.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowaudit_sample_logs::{SampleLogsError, Scenario, simulate};

const FOLDERS: [&str; 3] = ["flows", "inventory", "truth"];

fn set() -> PathBuf {
    PathBuf::from("sets/small")
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn the_checked_in_set_is_what_the_scenario_gives() {
    let scenario = Scenario::builtin("small").unwrap();
    let run = simulate(&scenario, scenario.seed);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        for folder in FOLDERS {
            let folder = set().join(folder);
            if folder.exists() {
                fs::remove_dir_all(folder).unwrap();
            }
        }
        run.write(&set()).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    run.write(dir.path()).unwrap();
    let (expected, made) = (files(&set()), files(dir.path()));
    let names: Vec<_> = expected.keys().collect();
    assert_eq!(names, made.keys().collect::<Vec<_>>());
    for (name, bytes) in &made {
        assert!(
            bytes == &expected[name],
            "{name} differs; `UPDATE_EXPECT=1 cargo test -p flowaudit-sample-logs` writes it anew"
        );
    }
    // Text counts as the repository packs it.
    let packed = made
        .iter()
        .map(|(name, bytes)| match name.ends_with(".zst") {
            true => bytes.len(),
            false => zstd::encode_all(bytes.as_slice(), 3).unwrap().len(),
        });
    let total: usize = packed.sum();
    assert!(
        total <= 2 << 20,
        "{total} bytes are too many for the repository"
    );
}

#[test]
fn a_set_is_not_written_into_another() {
    let scenario = Scenario::builtin("small").unwrap();
    let run = simulate(&scenario, scenario.seed);
    let dir = tempfile::tempdir().unwrap();
    run.write(dir.path()).unwrap();
    let error = run.write(dir.path()).unwrap_err();
    assert!(matches!(error, SampleLogsError::Occupied { .. }), "{error}");
    assert!(error.help().is_some());
}
