//! Opening: what is a lake, what is not, and what is said then.

use std::fs;
use std::path::Path;

use flowaudit_lake::{Lake, LakeError};

use crate::numbers::{check_whole, ingest};

fn message(result: Result<Lake, LakeError>) -> String {
    let error = result.unwrap_err();
    assert!(error.help().is_some(), "{error:?}");
    error.to_string()
}

fn shown(path: &Path) -> String {
    fs::canonicalize(path)
        .unwrap_or(path.to_path_buf())
        .display()
        .to_string()
}

#[test]
fn a_place_without_a_lake_is_not_made_by_opening() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("none/at all");
    assert_eq!(
        message(Lake::open(&root)),
        format!("there is no lake at `{}`", root.display())
    );
    assert!(!directory.path().join("none").exists());
    assert_eq!(
        message(Lake::open(directory.path())),
        format!("there is no lake at `{}`", shown(directory.path()))
    );
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("photo.jpg"), b"x").unwrap();
    for result in [
        Lake::open(directory.path()),
        Lake::create_or_open(directory.path()),
    ] {
        let expected = format!(
            "`{}` is not a lake: it has no `_flowaudit/lake.json`, and it is not empty",
            shown(directory.path())
        );
        assert_eq!(message(result), expected);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_file_is_not_a_lake() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"x").unwrap();
    let expected = format!("`{}` is a file, a lake is a directory", file.display());
    assert_eq!(message(Lake::open(&file)), expected);
    assert_eq!(message(Lake::create_or_open(&file)), expected);
    assert_eq!(message(Lake::create_or_open(file.join("below"))), expected);
}

#[test]
fn a_lake_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("_flowaudit/lake.json");
    fs::create_dir(directory.path().join("_flowaudit")).unwrap();
    fs::write(
        &marker,
        b"{\"version\":2,\"format\":\"flowaudit lake\",\"new\":true}",
    )
    .unwrap();
    let error = Lake::open(directory.path()).unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        said,
        "it has version 2, and this program knows versions up to 1"
    );
    assert!(error.help().unwrap().contains("a newer flowaudit"));
}

#[test]
fn a_creation_that_was_interrupted_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    for made in ["_staging/.new", "_flowaudit", "lost+found", ".snapshots"] {
        fs::create_dir_all(directory.path().join(made)).unwrap();
    }
    let lake = Lake::create_or_open(directory.path()).unwrap();
    ingest(&lake, "0", 0, 10).unwrap();
    check_whole(&Lake::open(directory.path()).unwrap());
}

#[test]
fn a_link_and_a_name_with_spaces_and_letters_of_all_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("sée ‘湖’ #1 %20");
    let link = directory.path().join("link");
    let lake = Lake::create_or_open(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    ingest(&lake, "0", 0, 100).unwrap();
    let linked = Lake::open(&link).unwrap();
    ingest(&linked, "0", 100, 200).unwrap();
    check_whole(&linked);
    check_whole(&lake);
    assert_eq!(linked.name(), shown(&real));
}

#[test]
fn a_broken_link_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("gone"), &link).unwrap();
    assert!(matches!(Lake::open(&link), Err(LakeError::NoLake { .. })));
    let error = Lake::create_or_open(&link).unwrap_err();
    assert!(error.to_string().contains("link"), "{error}");
}

#[test]
fn several_opened_at_once_settle_what_was_left_once() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(directory.path()).unwrap();
    ingest(&lake, "0", 0, 50).unwrap();
    // Put files back to where a writer that died after its record has them.
    let file = lake.snapshot().unwrap();
    for entry in file.files(flowaudit_lake::Table::Flows) {
        let batch = flowaudit_lake::layout::parse_file_key(&entry.path)
            .unwrap()
            .batch;
        let staged = directory
            .path()
            .join(format!("_staging/{batch}/{}", entry.path));
        fs::create_dir_all(staged.parent().unwrap()).unwrap();
        fs::rename(directory.path().join(&entry.path), staged).unwrap();
    }
    // Visible to ours even before anyone settles it.
    assert_eq!(crate::numbers::flows_in(&lake, &file).len(), 50);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| check_whole_rows(&Lake::open(directory.path()).unwrap()));
        }
    });
    check_whole(&lake);
    let left: Vec<_> = fs::read_dir(directory.path().join("_staging"))
        .unwrap()
        .flatten()
        .collect();
    assert!(
        left.iter()
            .all(|entry| entry.file_name().to_string_lossy().starts_with('.')),
        "{left:?}"
    );
}

fn check_whole_rows(lake: &Lake) {
    let snapshot = lake.snapshot().unwrap();
    assert_eq!(
        crate::numbers::flows_in(lake, &snapshot),
        crate::numbers::flows_due(&snapshot)
    );
}
