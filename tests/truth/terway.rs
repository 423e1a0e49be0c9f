//! Pods with interfaces of their own, and pods deleted by force: what Terway says of addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use flowaudit_lake::read;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_sample_logs::{Run, Scenario, simulate};

use super::churn::{Counts, Tally, gap, share};
use super::findings::check_findings;
use super::{Score, Walked, check_edges, walk_by};

const SEEDS: u64 = 4;
/// Seeds of which it is tried what is known without Terway's objects.
const SEEDS_WITHOUT: u64 = 2;

#[test]
fn whoever_has_an_interface_of_its_own_is_named_right_or_not_at_all() {
    let scenario = Scenario::builtin("terway").unwrap();
    let (mut tally, mut score) = (Tally::default(), Score::default());
    let mut words = BTreeMap::<String, i64>::new();
    let mut moved = 0;
    for seed in 1..=SEEDS {
        let run = simulate(&scenario, seed);
        moved += moved_within_ten_seconds(&run);
        let directory = tempfile::tempdir().unwrap();
        run.write(directory.path()).unwrap();
        let walked = walk_by(directory.path(), "inventory", &[gap(&scenario)]);
        tally.add(&run, &walked);
        check_edges(&run, &walked, seed, &mut score);
        check_findings(&run, &walked.findings, seed);
        let edges: Vec<EdgeRow> =
            read::rows(&walked.lake, &walked.lake.snapshot().unwrap()).unwrap();
        for edge in edges {
            for word in [edge.client_identified_by, edge.server_identified_by] {
                *words.entry(word).or_default() += edge.connections;
            }
        }
    }
    println!("{moved} addresses went to another interface within 10 s; {words:?}");
    tally.nobody_is_wrong();
    for list in [&score.misjudged, &score.misobserved] {
        assert!(list.is_empty(), "{list:#?}");
    }
    let known = tally.watched.known();
    assert!(known >= 99.2, "identified only {known} %");
    assert!(moved > 100, "{moved}");
    assert!(words["pod-interval+eni"] > 100, "{words:?}");
}

/// What each kind of Terway's objects is good for: without it fewer are known, and nobody is named wrongly.
#[test]
fn less_is_known_without_what_terway_says() {
    let scenario = Scenario::builtin("terway").unwrap();
    let mut whole = Tally::default();
    let mut without = [
        ("PodENI", Tally::default()),
        ("NodeRuntime", Tally::default()),
    ];
    for seed in 1..=SEEDS_WITHOUT {
        let run = simulate(&scenario, seed);
        let directory = tempfile::tempdir().unwrap();
        run.write(directory.path()).unwrap();
        whole.add(
            &run,
            &walk_by(directory.path(), "inventory", &[gap(&scenario)]),
        );
        for (kind, tally) in &mut without {
            tally.add(&run, &walk_without(kind, directory.path(), &scenario));
        }
    }
    whole.nobody_is_wrong();
    let identified = |counts: &Counts| share(counts.identified, counts.all);
    for (kind, tally) in &without {
        println!("without {kind}:");
        tally.nobody_is_wrong();
        let (with, without) = (identified(&whole.watched), identified(&tally.watched));
        assert!(without < with, "{kind}: {with} % with, {without} % without");
    }
    // The addresses of further interfaces are in nothing else.
    assert!(without[0].1.watched.known() < 95.0);
}

/// The same run with an inventory in which no object of a kind is.
fn walk_without(kind: &str, directory: &Path, scenario: &Scenario) -> Walked {
    let (from, name) = (directory.join("inventory"), format!("without-{kind}"));
    let to = directory.join(&name);
    std::fs::create_dir(&to).unwrap();
    let is_other = |line: &&str| !line.contains(&format!(r#""kind":"{kind}""#));
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let mut kept: Vec<&str> = text.lines().filter(is_other).collect();
        // Snapshots have an object in each line, and a comma after all but the last.
        let last = kept.iter().rposition(|line| line.starts_with('{'));
        if let Some(last) = last.filter(|_| text.starts_with("{\"apiVersion\":\"v1\",\"items\"")) {
            kept[last] = kept[last].trim_end_matches(',');
        }
        if !kept.is_empty() {
            std::fs::write(to.join(file.file_name()), kept.join("\n")).unwrap();
        }
    }
    std::fs::remove_dir_all(directory.join("lake")).unwrap();
    walk_by(directory, &name, &[gap(scenario)])
}

/// Addresses that were on an interface of another pod within ten seconds.
fn moved_within_ten_seconds(run: &Run<'_>) -> usize {
    let mut held: Vec<(IpAddr, i64, i64, &str)> = Vec::new();
    for pod in &run.world.pods {
        let shown = pod.addresses.iter().map(|address| (pod.eni, *address));
        for (eni, address) in shown.chain(pod.further.iter().copied()) {
            let eni = &run.world.enis[eni];
            if eni.attached_ms.is_some() {
                let until_ms = pod.life.end.map_or(i64::MAX, |end| end.finished_ms);
                held.push((address, pod.life.allocated_ms, until_ms, eni.id.as_str()));
            }
        }
    }
    held.sort_unstable();
    let moved = held.windows(2).filter(|pair| {
        let [one, next] = pair else { return false };
        one.0 == next.0 && one.3 != next.3 && next.1 - one.2 < 10_000
    });
    moved.count()
}
