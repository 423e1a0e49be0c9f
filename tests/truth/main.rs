//! The whole walk against the simulator's truth: who, which end opened, what is declared, what happened, counted once.
//!
//! Nothing here asks the code under test what is right: identities, verdicts and counts come from the scenario.
#![cfg(test)]

mod churn;
mod findings;
mod past;
mod terway;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;

use chrono::{DateTime, Utc};
use flowaudit_analyze::coverage::{Coverage, Step};
use flowaudit_analyze::hour::Inventory;
use flowaudit_analyze::identify::{Book, Held, Site, Stretch};
use flowaudit_analyze::{Selection, Settings, run};
use flowaudit_ingest::inventory::{ImportSettings, import};
use flowaudit_ingest::source::Input;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::findings::FindingRow;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::{Hour, Lake, Partition, read};
use flowaudit_sample_logs::time::Span;
use flowaudit_sample_logs::truth::{Holder, Identity, RecordStatus};
use flowaudit_sample_logs::{Run, Scenario, simulate};

use self::findings::check_findings;

const SEEDS: u64 = 20;

struct Walked {
    lake: Lake,
    coverage: Coverage,
    findings: Vec<FindingRow>,
    duplicates: u64,
    contradictions: usize,
    /// Where it all lies, if it is to go with this.
    directory: Option<tempfile::TempDir>,
}

fn walk(run_of: &Run<'_>, directory: &Path) -> Walked {
    let walked = walk_with_gaps(run_of, directory, &[]);
    assert_eq!(walked.contradictions, 0);
    walked
}

/// With what whoever watched the cluster tells of when he did not.
fn walk_with_gaps(run_of: &Run<'_>, directory: &Path, gaps: &[GapRow]) -> Walked {
    run_of.write(directory).unwrap();
    walk_by(directory, "inventory", gaps)
}

/// What was written, with the inventory from one folder of it.
fn walk_by(directory: &Path, inventory: &str, gaps: &[GapRow]) -> Walked {
    let lake = Lake::create_or_open(directory.join("lake")).unwrap();
    let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
    let input = |name: &str| [Input::Named(directory.join(name).display().to_string())];
    let summary = flowaudit_ingest::files(
        &lake,
        &input("flows"),
        &Default::default(),
        &mut |_| {},
        now,
    )
    .unwrap();
    assert_eq!(summary.counts.rejects, 0, "{:?}", summary.problems);
    let imported = import(&lake, &input(inventory), &ImportSettings::default(), now).unwrap();
    assert!(imported.issues.is_empty(), "{imported:?}");
    for gap in gaps {
        let mut batch = lake.batch("watch").unwrap();
        let partition = Partition::Date(Hour::of_us(gap.from_us).date());
        batch
            .write_rows(partition, std::slice::from_ref(gap))
            .unwrap();
        batch.publish().unwrap();
    }
    let analysed = run(&lake, &Settings::default(), &Selection::default(), |_| {}).unwrap();
    Walked {
        lake,
        coverage: analysed.coverage,
        findings: analysed.findings,
        duplicates: summary.counts.duplicates,
        contradictions: imported.contradictions.len(),
        directory: None,
    }
}

#[derive(Debug, Default)]
struct Score {
    ends: u64,
    identifiable: u64,
    identified: u64,
    wrong: Vec<String>,
    connections: i64,
    misoriented: Vec<String>,
    misjudged: Vec<String>,
    misobserved: Vec<String>,
}

#[test]
fn mixed_scenarios_are_read_right() {
    let scenario = Scenario::builtin("mixed").unwrap();
    let mut score = Score::default();
    let mut coverage = Coverage::default();
    for seed in 1..=SEEDS {
        let run = simulate(&scenario, seed);
        let directory = tempfile::tempdir().unwrap();
        let walked = walk(&run, directory.path());
        check_identities(&run, &walked, &mut score);
        check_edges(&run, &walked, seed, &mut score);
        check_findings(&run, &walked.findings, seed);
        coverage.merge(&walked.coverage);
    }
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let decided = 1.0
        - share(
            coverage.records(Step::Orient, "unknown"),
            coverage.total(Step::Orient),
        );
    let identified = share(score.identified, score.identifiable);
    println!(
        "{SEEDS} seeds: {} ends, {} identifiable, identified {:.4} %, wrong {}; oriented {:.4} %; {} connections, {} misoriented, {} misjudged, {} misobserved",
        score.ends,
        score.identifiable,
        100.0 * identified,
        score.wrong.len(),
        100.0 * decided,
        score.connections,
        score.misoriented.len(),
        score.misjudged.len(),
        score.misobserved.len(),
    );
    for (step, outcome, records) in coverage.iter() {
        println!("{:<10} {outcome:<36} {records}", step.as_str());
    }
    let few = |list: &[String]| list.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        score.wrong.is_empty(),
        "wrong identities:\n{}",
        few(&score.wrong)
    );
    assert!(
        score.misjudged.is_empty(),
        "wrong verdicts:\n{}",
        few(&score.misjudged)
    );
    assert!(
        score.misobserved.is_empty(),
        "wrong observations:\n{}",
        few(&score.misobserved)
    );
    // What a gap may have hidden is not said; four lost windows in three hours may hide little.
    let unknown = share(
        coverage.records(Step::Observe, "unknown"),
        coverage.total(Step::Observe),
    );
    assert!(
        unknown <= 0.005,
        "{unknown} of the records may be hidden by gaps"
    );
    assert!(identified >= 0.995, "identified only {identified}");
    assert!(decided >= 0.99, "oriented only {decided}");
    let misoriented = share(score.misoriented.len() as u64, score.connections as u64);
    assert!(
        misoriented <= 0.001,
        "misoriented {misoriented}:\n{}",
        few(&score.misoriented)
    );
}

/// Nobody watched for forty minutes, in which pods came, went and left their addresses to others.
#[test]
fn an_interrupted_inventory_names_nobody_wrongly() {
    let mut scenario = Scenario::builtin("mixed").unwrap();
    let stretch = |minutes: [i64; 2]| {
        minutes.map(|minute| Span {
            ms: minute * 60_000,
        })
    };
    scenario.faults.watch_interrupted = vec![stretch([40, 80]), stretch([120, 130])];
    let (mut score, mut whole) = (Score::default(), Score::default());
    for seed in 1..=3 {
        let interrupted = simulate(&scenario, seed);
        let directory = tempfile::tempdir().unwrap();
        let walked = walk(&interrupted, directory.path());
        check_identities(&interrupted, &walked, &mut score);
        check_edges(&interrupted, &walked, seed, &mut score);

        let complete = Scenario::builtin("mixed").unwrap();
        let complete = simulate(&complete, seed);
        let directory = tempfile::tempdir().unwrap();
        check_identities(&complete, &walk(&complete, directory.path()), &mut whole);
    }
    let wrong = [&score.wrong, &score.misjudged, &score.misobserved];
    assert!(wrong.iter().all(|list| list.is_empty()), "{wrong:#?}");
    // The gap is real: less is identified than with everything watched, and most still is.
    assert_eq!(score.ends, whole.ends);
    assert!(score.identified < whole.identified);
    assert!(score.identified * 10 > whole.identified * 8, "{score:?}");
}

#[test]
fn the_demo_finds_what_its_scenario_says() {
    let scenario = Scenario::builtin("small").unwrap();
    let run = simulate(&scenario, scenario.seed);
    let directory = tempfile::tempdir().unwrap();
    let walked = walk(&run, directory.path());
    let mut score = Score::default();
    check_identities(&run, &walked, &mut score);
    check_edges(&run, &walked, scenario.seed, &mut score);
    check_findings(&run, &walked.findings, scenario.seed);
    assert!(
        score.wrong.is_empty() && score.misjudged.is_empty() && score.misobserved.is_empty(),
        "{score:?}"
    );
}

/// Files of the log come one by one and what is due is analysed each time, so hours are looked at before the records at their
/// border are there.
#[test]
fn hours_analysed_as_they_come_say_the_same_as_all_at_once() {
    let scenario = Scenario::builtin("small").unwrap();
    let run_of = simulate(&scenario, scenario.seed);
    let directory = tempfile::tempdir().unwrap();
    let at_once = walk(&run_of, directory.path()).lake;

    let lake = Lake::create_or_open(directory.path().join("step-by-step")).unwrap();
    let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
    let input = |path: &Path| [Input::Named(path.display().to_string())];
    let inventory = input(&directory.path().join("inventory"));
    import(&lake, &inventory, &ImportSettings::default(), now).unwrap();
    let files = std::fs::read_dir(directory.path().join("flows")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 6, "{files:?}");
    let mut analysed = 0;
    for file in files {
        let settings = Default::default();
        flowaudit_ingest::files(&lake, &input(&file), &settings, &mut |_| {}, now).unwrap();
        let due = run(&lake, &Settings::default(), &Selection::default(), |_| {}).unwrap();
        analysed += due.hours.len();
    }
    assert!(analysed > 6, "{analysed}");
    assert_same(&edges(&lake), &edges(&at_once), "step by step");
}

/// Snapshots and watches come one by one, in no order of time, and what is due is analysed each time: whatever an import
/// changes is looked at again.
#[test]
fn an_inventory_that_comes_late_says_the_same_as_one_that_was_there() {
    let scenario = Scenario::builtin("small").unwrap();
    let run_of = simulate(&scenario, scenario.seed);
    let directory = tempfile::tempdir().unwrap();
    let at_once = edges(&walk(&run_of, directory.path()).lake);

    let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
    let input = |path: &Path| [Input::Named(path.display().to_string())];
    let files = std::fs::read_dir(directory.path().join("inventory")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 6, "{files:?}");
    for order in ["forward", "backward", "from the middle"] {
        let lake = Lake::create_or_open(directory.path().join(order)).unwrap();
        let flows = input(&directory.path().join("flows"));
        let settings = Default::default();
        flowaudit_ingest::files(&lake, &flows, &settings, &mut |_| {}, now).unwrap();
        let mut files = files.clone();
        match order {
            "backward" => files.reverse(),
            "from the middle" => files.rotate_left(4),
            _ => {}
        }
        let mut analysed = 0;
        for file in files {
            import(&lake, &input(&file), &ImportSettings::default(), now).unwrap();
            let due = run(&lake, &Settings::default(), &Selection::default(), |_| {}).unwrap();
            analysed += due.hours.len();
        }
        assert!(analysed > 6, "{order}: {analysed}");
        assert_same(&edges(&lake), &at_once, order);
    }
}

fn edges(lake: &Lake) -> Vec<EdgeRow> {
    read::rows(lake, &lake.snapshot().unwrap()).unwrap()
}

fn assert_same(edges: &[EdgeRow], expected: &[EdgeRow], what: &str) {
    for (edge, expected) in edges.iter().zip(expected) {
        assert_eq!(edge, expected, "{what}");
    }
    assert_eq!(edges.len(), expected.len(), "{what}");
}

/// One end of one record, and what was made of it.
struct End<'e> {
    /// The record's times as the log shows them.
    window: Stretch,
    address: IpAddr,
    truth: &'e Holder,
    held: Held,
    /// Whom `held` names: a uid, or nobody of ours; `None` where it names no one.
    named: Option<Option<String>>,
}

impl End<'_> {
    fn is_wrong(&self) -> bool {
        self.named
            .as_ref()
            .is_some_and(|uid| *uid != self.truth.uid)
    }

    fn told(&self) -> String {
        let Stretch { from, to } = self.window;
        format!(
            "{} {} to {}: {:?}, really {:?}",
            self.address,
            DateTime::from_timestamp_micros(from).unwrap(),
            DateTime::from_timestamp_micros(to).unwrap(),
            self.named,
            self.truth.uid
        )
    }
}

/// Shows every end of every record to `see`.
fn each_end(run: &Run<'_>, walked: &Walked, mut see: impl FnMut(End<'_>)) {
    let snapshot = walked.lake.snapshot().unwrap();
    let inventory = Inventory {
        endpoints: read::rows(&walked.lake, &snapshot).unwrap(),
        objects: read::rows(&walked.lake, &snapshot).unwrap(),
        gaps: read::rows(&walked.lake, &snapshot).unwrap(),
    };
    let book: Book = inventory.book(&Settings::default());
    let repeated = run.lines().filter(|line| line.truth.repeated).count() as u64;
    assert_eq!(
        walked.duplicates, repeated,
        "exact duplicates are dropped and counted"
    );
    for line in run
        .lines()
        .filter(|line| line.truth.status == RecordStatus::Flow && !line.truth.repeated)
    {
        let flow: serde_json::Value = serde_json::from_str(&line.record.to_json()).unwrap();
        let text = |key: &str| flow[key].as_str().unwrap();
        let second = |key: &str| text(key).parse::<i64>().unwrap() * 1_000_000;
        let window = Stretch {
            from: second("start"),
            to: second("end"),
        };
        let here = Site {
            node: book.node_of_instance(text("vm-id")),
            eni: book.number_of_eni(text("eni-id")),
        };
        let (src_on, dst_on) = match text("direction") {
            "out" => (here, Site::ANYWHERE),
            _ => (Site::ANYWHERE, here),
        };
        for (key, truth, on) in [
            ("srcaddr", &line.truth.src, src_on),
            ("dstaddr", &line.truth.dst, dst_on),
        ] {
            let truth = truth.as_ref().unwrap();
            let address: IpAddr = text(key).parse().unwrap();
            let held = book.held_on(address, Some(text("vpc-id")), window, on);
            let named = named(&book, &held);
            see(End {
                window,
                address,
                truth,
                held,
                named,
            });
        }
    }
}

fn named(book: &Book, held: &Held) -> Option<Option<String>> {
    match held {
        Held::By { versions, .. } => {
            let row = book.row(*versions.last().unwrap());
            // A host-network pod's row stands for its node, whose uid only the node's own row has.
            let of_node = |node: &str| {
                let same = book
                    .rows()
                    .iter()
                    .find(|other| other.kind == "node" && other.name == node);
                same.and_then(|node| node.uid.clone())
            };
            Some(if row.kind == "pod" && row.host_network {
                of_node(row.node.as_deref().unwrap_or_default())
            } else {
                row.uid.clone()
            })
        }
        Held::External | Held::Range { .. } => Some(None),
        Held::Unclear(_) => None,
    }
}

/// Every end of every record: named right, or not named.
fn check_identities(run: &Run<'_>, walked: &Walked, score: &mut Score) {
    each_end(run, walked, |end| {
        score.ends += 1;
        score.identifiable += u64::from(end.truth.identifiable);
        if end.is_wrong() {
            score.wrong.push(end.told());
        } else if end.named.is_some() {
            score.identified += u64::from(end.truth.identifiable);
        }
    });
}

/// A party as both sides can name it.
type Who = String;

fn who(identity: &Identity, address: IpAddr) -> Who {
    match identity {
        Identity::Pod {
            namespace,
            name,
            uid,
            ..
        } => format!("pod {namespace}/{name} {uid}"),
        Identity::Node { name, .. } => format!("node {name}"),
        Identity::External { .. } => address.to_string(),
    }
}

fn edge_who(kind: &str, [namespace, name, uid]: [&Option<String>; 3], addr: &str) -> Option<Who> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match kind {
        "pod" => Some(format!(
            "pod {}/{} {}",
            text(namespace),
            text(name),
            text(uid)
        )),
        "node" => Some(format!("node {}", text(name))),
        "external" | "cidr-set" | "cloud-service" | "load-balancer-range" => Some(addr.to_owned()),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct TruthOfKey {
    verdicts: BTreeSet<String>,
    observations: BTreeSet<String>,
    packets: i64,
    bytes: i64,
}

fn check_edges(run: &Run<'_>, walked: &Walked, seed: u64, score: &mut Score) {
    let mut truths: HashMap<(Who, Who, i32, i32), TruthOfKey> = HashMap::new();
    let (mut packets, mut bytes) = (0i64, 0i64);
    for truth in run.connection_truths().filter(|truth| truth.visible) {
        let key = (
            who(&truth.client, truth.client_addr),
            who(&truth.server, truth.server_addr),
            i32::from(truth.server_port),
            i32::from(truth.protocol.number(truth.client_addr.is_ipv6())),
        );
        let of_key = truths.entry(key).or_default();
        let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        of_key
            .verdicts
            .insert(word(serde_json::to_value(truth.intended).unwrap()));
        of_key
            .observations
            .insert(word(serde_json::to_value(truth.observation).unwrap()));
        let (p, b) = (
            truth.forward_packets + truth.reverse_packets,
            truth.forward_bytes + truth.reverse_bytes,
        );
        of_key.packets += p as i64;
        of_key.bytes += b as i64;
        packets += p as i64;
        bytes += b as i64;
    }
    let edges: Vec<EdgeRow> = read::rows(&walked.lake, &walked.lake.snapshot().unwrap()).unwrap();
    let sum = |of: fn(&EdgeRow) -> i64| edges.iter().map(of).sum::<i64>();
    assert_eq!(
        sum(|edge| edge.forward_packets + edge.reverse_packets),
        packets,
        "seed {seed}: packets counted once"
    );
    assert_eq!(
        sum(|edge| edge.forward_bytes + edge.reverse_bytes),
        bytes,
        "seed {seed}: bytes counted once"
    );
    for edge in edges.iter().filter(|edge| edge.oriented_by != "unknown") {
        let client = edge_who(
            &edge.client_kind,
            [&edge.client_namespace, &edge.client_name, &edge.client_uid],
            &edge.client_addr,
        );
        let server = edge_who(
            &edge.server_kind,
            [&edge.server_namespace, &edge.server_name, &edge.server_uid],
            &edge.server_addr,
        );
        let (Some(client), Some(server)) = (client, server) else {
            continue;
        };
        score.connections += edge.connections;
        let key = (client, server, edge.server_port, edge.protocol);
        let told = || {
            format!(
                "seed {seed}: {} → {} {}/{} {} {} {} by {} {}",
                key.0,
                key.1,
                key.2,
                key.3,
                edge.verdict,
                edge.observation,
                edge.class,
                edge.oriented_by,
                edge.reasons
            )
        };
        let Some(truth) = truths.get(&key) else {
            score
                .misoriented
                .extend((0..edge.connections.max(1)).map(|_| told()));
            continue;
        };
        if edge.verdict != "unspecified" && !truth.verdicts.contains(&edge.verdict) {
            score
                .misjudged
                .push(format!("{} but {:?}", told(), truth.verdicts));
        }
        if edge.observation != "unknown" && !truth.observations.contains(&edge.observation) {
            score
                .misobserved
                .push(format!("{} but {:?}", told(), truth.observations));
        }
    }
}
