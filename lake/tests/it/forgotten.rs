//! Positions that are kept no longer: gone for ever, from the log and from snapshots of it, and fenced by a watermark.

use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::state::State;
use flowaudit_lake::{Conflict, Lake, LakeError};

const SOURCE: &str = "oss:bucket/flows/";
const WATERMARK: &str = "/watermark";

fn shards(lake: &Lake) -> Vec<String> {
    let snapshot = lake.snapshot().unwrap();
    let shards = snapshot.checkpoints().shards(SOURCE);
    shards.map(|(shard, _)| shard.to_string()).collect()
}

/// What a reader of objects publishes: an object read, others forgotten, under the watermark it began with.
fn publish(
    lake: &Lake,
    read: &str,
    forget: &[&str],
    watermark: (u64, u64),
) -> Result<(), LakeError> {
    let mut batch = lake.batch("ingest")?;
    batch.advance(SOURCE, read, Position::at(0), Position::at(10));
    let (from, to) = watermark;
    batch.advance(SOURCE, WATERMARK, Position::at(from), Position::at(to));
    for shard in forget {
        batch.forget(SOURCE, shard);
    }
    batch.publish().map(drop)
}

#[test]
fn a_forgotten_shard_is_gone_and_a_late_reader_of_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(directory.path()).unwrap();
    publish(&lake, "a", &[], (0, 0)).unwrap();
    publish(&lake, "b", &["a", "never-there"], (0, 100)).unwrap();
    assert_eq!(shards(&lake), [WATERMARK, "b"]);
    // Somebody who looked before the watermark moved would read `a` again.
    let error = publish(&lake, "a", &[], (0, 0)).unwrap_err();
    assert!(
        matches!(
            &error,
            LakeError::Refused {
                cause: Conflict::Checkpoint(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(shards(&lake), [WATERMARK, "b"]);
    assert_eq!(
        shards(&Lake::open(directory.path()).unwrap()),
        [WATERMARK, "b"]
    );
}

#[test]
fn what_is_kept_does_not_grow_over_hundreds_of_batches() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(directory.path()).unwrap();
    for n in 0..200_u64 {
        let old = format!("{:04}", n.wrapping_sub(5) % 10_000);
        publish(&lake, &format!("{n:04}"), &[&old], (n, n + 1)).unwrap();
    }
    assert_eq!(shards(&lake).len(), 6);
    let sizes = std::fs::read_dir(directory.path().join("_flowaudit/snapshots")).unwrap();
    for file in sizes {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(bytes.len() < 2000, "{} bytes", bytes.len());
    }
    // A snapshot and the whole log say the same.
    let mut state = State::default();
    for number in 1..=200_u64 {
        let path = directory
            .path()
            .join(format!("_flowaudit/commits/{number:020}.json"));
        let bytes = std::fs::read(path).unwrap();
        let record = flowaudit_lake::commit::CommitRecord::parse(number, &bytes).unwrap();
        state.apply(&record).unwrap();
    }
    let again = State::parse(200, &state.to_bytes()).unwrap();
    assert_eq!(again, state);
}
