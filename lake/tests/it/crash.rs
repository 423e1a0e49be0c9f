//! A real process is killed at random moments, and the rows are exactly those the checkpoint promises.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::{Lake, Table, read};
use rand::{Rng, SeedableRng};

use crate::numbers::{flows_due, flows_in, go_on_for_ever, read_up_to};

const ROOT: &str = "LAKE_TEST_CRASH_ROOT";
const SEED: u64 = 20_261_124;
const KILLS: u64 = 60;
/// A busy machine needs more of them to meet as many batches under way.
const KILLS_MAX: u64 = 4 * KILLS;

/// Runs in the child: goes on where the checkpoint says, batch by batch, until it is killed.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let lake = Lake::create_or_open(root).unwrap();
    go_on_for_ever(&lake);
}

fn run_for(root: &Path, time: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--test-threads=1"])
        .env(ROOT, root)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(time);
    let died = child.try_wait().unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        died.is_none(),
        "the child failed by itself: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Everything the log says is there, once, and nothing else lies around.
fn check(lake: &Lake) -> u64 {
    let snapshot = lake.snapshot().unwrap();
    assert_eq!(flows_in(lake, &snapshot), flows_due(&snapshot));
    let read = read_up_to(&snapshot, "0");
    let edges = read::rows::<EdgeRow>(lake, &snapshot).unwrap();
    let numbers: Vec<_> = edges.iter().map(|edge| edge.records as u64).collect();
    assert_eq!(numbers, if read == 0 { vec![] } else { vec![read] });
    read
}

fn files_below(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("lake");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let mut before = 0;
    let mut unsettled = 0;
    for kill in 0..KILLS_MAX {
        if kill >= KILLS && before > 100 && unsettled > KILLS / 10 {
            break;
        }
        run_for(
            &root,
            Duration::from_micros(random.random_range(3_000..90_000)),
        );
        let staged = files_below(&root.join("_staging"));
        unsettled += u64::from(staged.iter().any(|path| path.ends_with(".parquet")));
        let Ok(lake) = Lake::open(&root) else {
            // Killed before it had made the lake.
            assert_eq!(before, 0);
            continue;
        };
        let now = check(&lake);
        assert!(
            now >= before,
            "a published batch is gone: {now} after {before}, seed {SEED}"
        );
        before = now;
        // Other programs see the same files: none is still waiting, none is left over.
        let snapshot = lake.snapshot().unwrap();
        let files = Table::ALL
            .iter()
            .map(|table| snapshot.files(*table).count())
            .sum::<usize>();
        let on_disk = Table::ALL
            .iter()
            .map(|table| files_below(&root.join(table.name())).len())
            .sum::<usize>();
        assert_eq!(on_disk, files);
        assert!(
            files_below(&root.join("_staging"))
                .iter()
                .all(|path| path.ends_with(".gate"))
        );
    }
    assert!(before > 100, "only {before} rows were written");
    assert!(
        unsettled > KILLS / 10,
        "only {unsettled} kills met a batch under way"
    );
    let lake = Lake::open(&root).unwrap();
    assert_eq!(lake.verify().unwrap(), []);
}
