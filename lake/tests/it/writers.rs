//! Two real processes write to one lake at the same time.

use std::process::{Child, Command};

use flowaudit_lake::{Lake, LakeError, Partition, Table, read};

use crate::numbers::{HOUR, check_whole, edge, ingest, read_up_to};
use flowaudit_lake::table::edges::EdgeRow;

const ROOT: &str = "LAKE_TEST_WRITERS_ROOT";
const SHARD: &str = "LAKE_TEST_WRITERS_SHARD";
const BATCHES: u64 = 40;

/// Runs in the child: its own shard, and the one partition that all fight for.
#[test]
fn child() {
    let (Some(root), Ok(shard)) = (std::env::var_os(ROOT), std::env::var(SHARD)) else {
        return;
    };
    let lake = Lake::create_or_open(root).unwrap();
    let mut refused = 0;
    for n in 0..BATCHES {
        ingest(&lake, &shard, n * 3, n * 3 + 3).unwrap();
        match count_up(&lake) {
            Ok(()) => {}
            Err(LakeError::Refused { .. } | LakeError::Stale { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    let mut batch = lake.batch("done").unwrap();
    batch.advance("refused", &shard, at(0), at(refused));
    batch.publish().unwrap();
}

fn at(at: u64) -> flowaudit_lake::checkpoint::Position {
    flowaudit_lake::checkpoint::Position::at(at)
}

/// Reads the one number in the partition and replaces it by the next: lost updates would show.
fn count_up(lake: &Lake) -> Result<(), LakeError> {
    let base = lake.snapshot()?;
    let rows = read::rows_in::<EdgeRow>(lake, &base, Partition::Hour(HOUR))?;
    assert!(rows.len() <= 1);
    let next = rows.first().map_or(0, |edge| edge.records) + 1;
    let mut batch = lake.batch_on("analyze", base);
    batch.replace(Table::Edges, Partition::Hour(HOUR));
    batch.write_rows(Partition::Hour(HOUR), &[edge(HOUR, next)])?;
    batch.publish().map(drop)
}

fn start(root: &std::path::Path, shard: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "writers::child",
        "--exact",
        "--nocapture",
        "--test-threads=1",
    ]);
    child
        .env(ROOT, root)
        .env(SHARD, shard)
        .stdout(std::process::Stdio::null());
    child.spawn().unwrap()
}

#[test]
fn two_processes_never_both_win() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("lake");
    let children = ["a", "b", "c"].map(|shard| start(&root, shard));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let lake = Lake::open(&root).unwrap();
    check_whole(&lake);
    let snapshot = lake.snapshot().unwrap();
    let mut refused = 0;
    for shard in ["a", "b", "c"] {
        assert_eq!(read_up_to(&snapshot, shard), BATCHES * 3);
        refused += snapshot.checkpoints().get("refused", shard).unwrap().at;
    }
    // Every count that was not refused is in the number: none was lost, none counted twice.
    let rows = read::rows::<EdgeRow>(&lake, &snapshot).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].records as u64, 3 * BATCHES - refused);
}
