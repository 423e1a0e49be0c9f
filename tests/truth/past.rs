//! The past of a cluster, rebuilt from its audit log, its events and one snapshot of the present, against what really was.

use std::collections::BTreeMap;

use flowaudit_lake::read;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_sample_logs::{Run, Scenario, simulate};

use super::{Score, Walked, check_edges, each_end, edges, walk_by};

const SEEDS: u64 = 4;
const MINUTE_MS: i64 = 60_000;

/// Addresses that a pod held during the run, by how well that is known.
#[derive(Debug, Default)]
struct Intervals {
    all: u64,
    right: u64,
    /// The core reaches beyond what was so by more than clocks are apart.
    wrong: Vec<String>,
    incomplete: Vec<String>,
}

/// Ends of records.
#[derive(Debug, Default)]
struct Ends {
    identifiable: u64,
    identified: u64,
    wrong: Vec<String>,
    /// Connections, and those of them without a verdict.
    connections: i64,
    unspecified: i64,
    /// Of these, by why.
    because: BTreeMap<String, i64>,
}

fn walked(run: &Run<'_>, missing: &[[i64; 2]]) -> Walked {
    let directory = tempfile::tempdir().unwrap();
    run.write(directory.path()).unwrap();
    run.write_past(directory.path(), missing).unwrap();
    let mut walked = walk_by(directory.path(), "past", &[]);
    // The lake is read from while it is looked at.
    walked.directory = Some(directory);
    walked
}

fn check_intervals(run: &Run<'_>, walked: &Walked, intervals: &mut Intervals) {
    let snapshot = walked.lake.snapshot().unwrap();
    let mut cores: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    let rows: Vec<EndpointRow> = read::rows(&walked.lake, &snapshot).unwrap();
    for row in rows.into_iter().filter(|row| row.kind == "pod") {
        let (from, to) = (row.valid_from_us / 1000, row.valid_to_us.unwrap() / 1000);
        let core = cores
            .entry((row.uid.unwrap(), row.addr))
            .or_insert((from, to));
        *core = (core.0.min(from), core.1.max(to));
    }
    let (start_ms, end_ms) = (run.scenario.start_ms(), run.scenario.end_ms());
    // Clocks, and a second to which Kubernetes cuts its times.
    let apart_ms = run.scenario.skew_ms() + 1_000;
    for pod in run.world.pods.iter().filter(|pod| !pod.host_network) {
        let life = pod.life;
        let (released_ms, finished_ms) = life.end.map_or((i64::MAX, i64::MAX), |end| {
            (end.released_ms, end.finished_ms)
        });
        if released_ms < start_ms || life.started_ms > end_ms - MINUTE_MS {
            continue;
        }
        for address in &pod.addresses {
            intervals.all += 1;
            let told = |core: Option<&(i64, i64)>| {
                format!(
                    "seed {} {} {address}: {core:?}, really {life:?}",
                    run.seed, pod.name
                )
            };
            let core = cores.get(&(pod.uid.clone(), address.to_string()));
            let Some(&(from, to)) = core else {
                intervals.incomplete.push(told(None));
                continue;
            };
            let is_within =
                from >= life.allocated_ms - apart_ms && to <= released_ms.saturating_add(apart_ms);
            let is_whole =
                from <= life.started_ms + apart_ms && to >= finished_ms.min(end_ms) - apart_ms;
            match (is_within, is_whole) {
                (false, _) => intervals.wrong.push(told(core)),
                (true, false) => intervals.incomplete.push(told(core)),
                (true, true) => intervals.right += 1,
            }
        }
    }
}

fn check_ends(run: &Run<'_>, walked: &Walked, ends: &mut Ends) {
    each_end(run, walked, |end| {
        ends.identifiable += u64::from(end.truth.identifiable);
        ends.identified += u64::from(end.truth.identifiable && end.named.is_some());
        if end.is_wrong() {
            ends.wrong
                .push(format!("seed {}: {}", run.seed, end.told()));
        }
    });
    for edge in edges(&walked.lake) {
        ends.connections += edge.connections;
        if edge.verdict == "unspecified" {
            ends.unspecified += edge.connections;
            let reasons: serde_json::Value = serde_json::from_str(&edge.reasons).unwrap();
            let words = reasons["unspecified"].as_array().into_iter().flatten();
            let words: Vec<&str> = words.filter_map(serde_json::Value::as_str).collect();
            *ends.because.entry(words.join("+")).or_default() += edge.connections;
        }
    }
}

fn few(list: &[String]) -> String {
    format!(
        "{}:\n{}",
        list.len(),
        list.iter().take(8).cloned().collect::<Vec<_>>().join("\n")
    )
}

#[test]
fn logs_of_the_cluster_tell_its_past_as_if_it_had_been_watched() {
    let scenario = Scenario::builtin("churn").unwrap();
    let (mut intervals, mut ends, mut score) =
        (Intervals::default(), Ends::default(), Score::default());
    for seed in 1..=SEEDS {
        let run = simulate(&scenario, seed);
        let walked = walked(&run, &[]);
        check_intervals(&run, &walked, &mut intervals);
        check_ends(&run, &walked, &mut ends);
        check_edges(&run, &walked, seed, &mut score);
    }
    let right = 100.0 * intervals.right as f64 / intervals.all as f64;
    let unspecified = 100.0 * ends.unspecified as f64 / ends.connections as f64;
    let identified = 100.0 * ends.identified as f64 / ends.identifiable as f64;
    println!(
        "{SEEDS} seeds: {} intervals, right {right:.3} %, wrong {}; {} ends that can be identified, identified {identified:.3} %, wrong {}; \
         misjudged {}, without a verdict {unspecified:.3} %",
        intervals.all,
        intervals.wrong.len(),
        ends.identifiable,
        ends.wrong.len(),
        score.misjudged.len(),
    );
    for (because, connections) in &ends.because {
        let share = 100.0 * *connections as f64 / ends.connections as f64;
        println!("  {share:.3} % of connections: {because}");
    }
    assert!(intervals.wrong.is_empty(), "{}", few(&intervals.wrong));
    assert!(
        right >= 99.0,
        "{right} %, incomplete {}",
        few(&intervals.incomplete)
    );
    assert!(ends.wrong.is_empty(), "{}", few(&ends.wrong));
    assert!(score.misjudged.is_empty(), "{}", few(&score.misjudged));
    // One policy was deleted that no log shows: of that time there is no verdict in its namespace.
    assert!(unspecified < 30.0, "{unspecified} % without a verdict");
    assert!(identified >= 99.0, "identified only {identified} %");
    assert!(
        intervals.all > 1_000 && ends.identifiable > 100_000,
        "{} {}",
        intervals.all,
        ends.identifiable
    );
}

/// Twenty minutes of the audit log are missing, and nothing in it says so.
#[test]
fn a_hole_in_the_audit_log_names_nobody_wrongly() {
    let scenario = Scenario::builtin("churn").unwrap();
    let hole_ms = [40, 60].map(|minute| scenario.start_ms() + minute * MINUTE_MS);
    let (mut intervals, mut ends, mut score) =
        (Intervals::default(), Ends::default(), Score::default());
    for seed in 1..=SEEDS / 2 {
        let run = simulate(&scenario, seed);
        let walked = walked(&run, &[hole_ms]);
        check_intervals(&run, &walked, &mut intervals);
        check_ends(&run, &walked, &mut ends);
        check_edges(&run, &walked, seed, &mut score);
        let gaps: Vec<GapRow> = read::rows(&walked.lake, &walked.lake.snapshot().unwrap()).unwrap();
        let gaps: Vec<[i64; 2]> = gaps
            .into_iter()
            .filter(|gap| gap.reason == "inventory")
            .map(|gap| [gap.from_us / 1000, gap.to_us / 1000])
            .collect();
        let [[from, to]] = gaps[..] else {
            panic!("seed {seed}: {gaps:?}");
        };
        assert!(
            (from - hole_ms[0]).abs() < MINUTE_MS && (to - hole_ms[1]).abs() < MINUTE_MS,
            "{gaps:?}"
        );
    }
    assert!(intervals.wrong.is_empty(), "{}", few(&intervals.wrong));
    assert!(ends.wrong.is_empty(), "{}", few(&ends.wrong));
    assert!(score.misjudged.is_empty(), "{}", few(&score.misjudged));
    // It is missed, and most is known all the same.
    assert!(!intervals.incomplete.is_empty());
    assert!(
        ends.identified * 10 > ends.identifiable * 7,
        "{} of {}",
        ends.identified,
        ends.identifiable
    );
}
