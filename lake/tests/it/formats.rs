//! Every format ever written still means what it meant.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use flowaudit_lake::commit::CommitRecord;
use flowaudit_lake::state::State;

fn museum() -> PathBuf {
    PathBuf::from("tests/formats")
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
        if let Some(checksum) = file.crc32c {
            writeln!(text, "  checksum {checksum}").unwrap();
        }
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
    for batch in &record.abandoned {
        writeln!(text, "gives up batch {batch}").unwrap();
    }
    for forgotten in &record.forgotten {
        writeln!(
            text,
            "forgets {} shard {}",
            forgotten.source, forgotten.shard
        )
        .unwrap();
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
fn the_version_stands_first_and_the_checksum_last() {
    for (version, sealed) in [(1, false), (2, true), (3, true)] {
        let bytes = std::fs::read(museum().join(format!("commit/v{version}.json"))).unwrap();
        let written = CommitRecord::parse(412, &bytes).unwrap().to_bytes();
        assert_eq!(written, bytes);
        let first = format!("{{\"version\":{version},");
        assert!(written.starts_with(first.as_bytes()));
        let end = String::from_utf8_lossy(&written[written.len() - 22..]);
        assert_eq!(end.starts_with(",\"crc32c\":\""), sealed, "{end}");
    }
}

#[test]
fn a_flipped_bit_in_a_record_or_snapshot_is_seen() {
    let record = std::fs::read(museum().join("commit/v2.json")).unwrap();
    let snapshot = std::fs::read(museum().join("snapshot/v2.json")).unwrap();
    for at in 0..record.len().max(snapshot.len()) {
        let flip = |whole: &[u8]| {
            let mut bytes = whole.to_vec();
            let at = at % whole.len();
            bytes[at] ^= 1 << (at % 8);
            bytes
        };
        assert!(
            CommitRecord::parse(412, &flip(&record)).is_err(),
            "byte {at}"
        );
        assert!(State::parse(412, &flip(&snapshot)).is_err(), "byte {at}");
    }
}

#[test]
fn a_record_whose_file_has_no_checksum_is_refused() {
    let bytes = std::fs::read(museum().join("commit/v2.json")).unwrap();
    let mut record = CommitRecord::parse(412, &bytes).unwrap();
    record.added[1].crc32c = None;
    let error = CommitRecord::parse(412, &record.to_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("it adds `{}` without its checksum", record.added[1].path)
    );
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
    let error = CommitRecord::parse(1, b"{\"version\":4,\"anything\":[]}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "it has version 4, and this program knows versions up to 3"
    );
    let error = CommitRecord::parse(1, b"{\"version\":0}").unwrap_err();
    assert_eq!(error.to_string(), "it has version 0");
    assert!(CommitRecord::parse(1, b"").is_err());
    assert!(CommitRecord::parse(1, b"[1]").is_err());
    assert!(CommitRecord::parse(1, b"{\"version\":\"1\"}").is_err());
    assert!(CommitRecord::parse(1, b"{\"version\":-1}").is_err());
}
