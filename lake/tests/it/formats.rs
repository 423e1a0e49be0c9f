//! Every format ever written still means what it meant.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use flowaudit_lake::commit::CommitRecord;
use flowaudit_lake::state::State;

fn museum() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
}

fn pieces(kind: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(museum().join(kind))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut found: Vec<_> = found
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .collect();
    found.sort();
    found
}

#[track_caller]
fn check_meaning(piece: &Path, meaning: &str) {
    let expected = piece.with_extension("means.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&expected, meaning).unwrap();
    }
    let expected = std::fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(
        meaning,
        expected,
        "{} means something else now",
        piece.display()
    );
}

fn meaning(record: &CommitRecord) -> String {
    let mut text = format!("commit {} by batch {}\n", record.number, record.batch);
    for file in &record.added {
        writeln!(
            text,
            "adds {}\n  to {} `{}`: {} rows, {} bytes, {:?} to {:?}",
            file.path, file.table, file.partition, file.rows, file.bytes, file.min_us, file.max_us
        )
        .unwrap();
    }
    for key in &record.removed {
        writeln!(text, "removes {key}").unwrap();
    }
    for delta in &record.checkpoints {
        writeln!(
            text,
            "read {} shard {}: ({}..{}], resumes {:?} then {:?}",
            delta.source,
            delta.shard,
            delta.from.at,
            delta.to.at,
            delta.from.resume,
            delta.to.resume
        )
        .unwrap();
    }
    for analysed in &record.analysed {
        writeln!(text, "analysed {} at {}", analysed.hour, analysed.at).unwrap();
    }
    for reopened in &record.reopened {
        writeln!(text, "reopened {} to {}", reopened.from_us, reopened.to_us).unwrap();
    }
    text
}

#[test]
fn commit_records_of_every_version_are_read() {
    let pieces = pieces("commit");
    for version in 1..=flowaudit_lake::commit::VERSION {
        assert!(
            pieces.contains(&museum().join(format!("commit/v{version}.json"))),
            "no piece of version {version}"
        );
    }
    for piece in pieces {
        let bytes = std::fs::read(&piece).unwrap();
        let record = CommitRecord::parse(412, &bytes).unwrap();
        check_meaning(&piece, &meaning(&record));
        // What is accepted prints and reads back as itself.
        assert_eq!(
            CommitRecord::parse(412, &record.to_bytes()).unwrap(),
            record
        );
    }
}

#[test]
fn the_version_stands_first() {
    let bytes = std::fs::read(museum().join("commit/v1.json")).unwrap();
    let record = CommitRecord::parse(412, &bytes).unwrap();
    assert!(record.to_bytes().starts_with(b"{\"version\":1,"));
}

#[test]
fn snapshots_of_every_version_are_read() {
    for piece in pieces("snapshot") {
        let bytes = std::fs::read(&piece).unwrap();
        let state = State::parse(412, &bytes).unwrap();
        check_meaning(&piece, &format!("{state:#?}\n"));
        assert_eq!(State::parse(412, &state.to_bytes()).unwrap(), state);
    }
}

#[test]
fn what_a_newer_program_wrote_is_refused_with_a_sentence() {
    let error = CommitRecord::parse(1, b"{\"version\":2,\"anything\":[]}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "it has version 2, and this program knows versions up to 1"
    );
    let error = CommitRecord::parse(1, b"{\"version\":0}").unwrap_err();
    assert_eq!(error.to_string(), "it has version 0");
    assert!(CommitRecord::parse(1, b"").is_err());
    assert!(CommitRecord::parse(1, b"[1]").is_err());
    assert!(CommitRecord::parse(1, b"{\"version\":\"1\"}").is_err());
    assert!(CommitRecord::parse(1, b"{\"version\":-1}").is_err());
}
