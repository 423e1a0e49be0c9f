//! A random story: pods come, are relabelled, restarted, evicted, deleted and lost with their nodes, and their addresses go to others within
//! moments, while the binary records it, is killed and is stopped. What the lake says must have been so; and wherever it can be known
//! who held an address, an analysis must name it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flowaudit_analyze::Settings;
use flowaudit_analyze::hour::Inventory;
use flowaudit_analyze::identify::Stretch;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::{Lake, read};
use serde_json::json;

use crate::chain::{Chain, Dice, asked};
use crate::common::until;
use crate::lives::{Ending, Life, S, Versions, mistakes, mistakes_of_versions, now};
use crate::pods;
use crate::questions::{Asked, Score};
use crate::running::{self, Running};
use crate::scenario::{Cluster, POLICIES, create_pod, prepare};
use crate::server::Server;

/// How long it lasts.
const STORY: i64 = 120 * S;
/// So many addresses go from pod to pod, every other one within moments.
const CHAINS: u64 = 20;

const TEAM: &str = "/metadata/labels/team";
const SELECTED: &str = "/spec/podSelector/matchLabels/v";

/// What is declared, changed now and then.
struct Declared {
    teams: Versions,
    policies: Versions,
}

fn declare(server: &Server, mut dice: Dice, until: i64) -> Declared {
    // As the story begins.
    let mut declared = Declared {
        teams: vec![(0..0, "one".to_owned())],
        policies: vec![(0..0, String::new())],
    };
    while now() < until {
        let v = declared.teams.len().to_string();
        let labels = json!({"metadata": {"labels": {"team": v}}});
        let within = asked(server, "PATCH", "/api/v1/namespaces/shop", &labels);
        declared.teams.push((within, v.clone()));
        std::thread::sleep(dice.ms(4_000));
        let spec = json!({"spec": {"podSelector": {"matchLabels": {"v": v}}}});
        let within = asked(server, "PATCH", &format!("{POLICIES}/deny"), &spec);
        declared.policies.push((within, v));
        std::thread::sleep(dice.ms(4_000));
    }
    declared
}

/// Records, and is killed and stopped in the first half; also gives the times in which nobody listened.
fn record(lake: &Path, server: &Server, mut dice: Dice) -> (Running, Vec<Range<i64>>) {
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowaudit"));
        command
            .args(["inventory", "watch", "--cluster", "prod", "--no-lease"])
            .args(["--every", "1s", "--lake"])
            .arg(lake)
            .arg("--kubeconfig")
            .arg(server.kubeconfig());
        let running = Running::start(command);
        running.until_said("listed Pod: ");
        running
    };
    let lists = |running: &Running| running.said().matches("listed Pod: ").count();
    let begun = now();
    let mut running = start();
    let mut missed: Vec<Range<i64>> = std::iter::once(begun..now()).collect();
    let is_kill = dice.one_in(2);
    for is_kill in [is_kill, !is_kill] {
        std::thread::sleep(Duration::from_secs(8) + dice.ms(6_000));
        // What is killed loses what it heard since its last commit.
        let from = now() - 4 * S;
        if is_kill {
            running.kill();
            std::thread::sleep(dice.ms(3_000));
            running = start();
        } else {
            let before = lists(&running);
            running.stop();
            std::thread::sleep(Duration::from_millis(5_500) + dice.ms(3_000));
            running.signal("-CONT");
            let so = || lists(&running) > before;
            running::until("pods are listed anew", so, || running.said());
        }
        missed.push(from..now());
    }
    (running, missed)
}

#[test]
fn what_the_lake_says_of_a_random_story_was_so() {
    let seed = std::env::var("FLOWAUDIT_SEED").map_or(1, |seed| seed.parse().unwrap());
    let dice = |part: u64| Dice((seed << 8) | part);
    let server = Server::start();
    prepare(&server);
    let dir = tempfile::tempdir().unwrap();
    let lake = dir.path().join("lake");
    let end = now() + STORY;
    let (lives, declared, (running, mut missed)) = std::thread::scope(|scope| {
        let (server, lake) = (&server, &lake);
        let recording = scope.spawn(move || record(lake, server, dice(100)));
        until("something is recorded", || !pods(lake).is_empty());
        let declaring = scope.spawn(move || declare(server, dice(101), end));
        let chains = (1..=CHAINS).map(|number| {
            let chain = Chain::new(server, dice(number), number);
            scope.spawn(move || chain.run(end))
        });
        let chains: Vec<_> = chains.collect();
        let lives = chains.into_iter().flat_map(|chain| chain.join().unwrap());
        let lives: Vec<Life> = lives.collect();
        (lives, declaring.join().unwrap(), recording.join().unwrap())
    });
    let until_last = now();
    // All has come once this has.
    create_pod(&server, "last", "10.8.0.99");
    until("the last one is recorded", || {
        pods(&lake).iter().any(|row| row.name == "last")
    });
    running.terminate().check(0, &[]);
    // As far as an analysis would know that nobody listens any more.
    missed.push(until_last..now());

    let lake = Lake::open(&lake).unwrap();
    let snapshot = lake.snapshot().unwrap();
    let all = Stretch {
        from: end - 2 * STORY,
        to: now(),
    };
    let inventory = Inventory::read(&lake, &snapshot, all).unwrap();
    let mut rows = inventory.endpoints.clone();
    rows.retain(|row| row.kind == "pod");
    let mut gaps: Vec<GapRow> = read::rows(&lake, &snapshot).unwrap();
    gaps.retain(|gap| gap.source.ends_with("//Pod"));
    let gaps = gaps.iter().map(|gap| gap.from_us..gap.to_us);
    let gaps: Vec<_> = gaps.collect();
    let mut wrong = mistakes(&lives, &rows, (&missed, &gaps), end);
    for (kind, name, versions, state) in [
        ("Namespace", "shop", &declared.teams, TEAM),
        ("NetworkPolicy", "deny", &declared.policies, SELECTED),
    ] {
        let own = inventory.objects.iter();
        let own = own.filter(|row| row.kind == kind && row.name == name);
        wrong.extend(mistakes_of_versions(versions, own, state));
    }
    let (mut score, mut dice) = (Score::default(), dice(102));
    let asked = Asked {
        lives: &lives,
        missed: &missed,
        book: inventory.book(&Settings::default()),
    };
    for life in &lives {
        for _ in 0..60 {
            let at = dice.within(life.start, life.release().min(end));
            asked.ask(life, at, &mut score);
        }
    }
    let nameable = score.named + score.unnamed.len();
    let endings = lives
        .iter()
        .filter_map(|life| Some(life.end.as_ref()?.ending));
    let endings: BTreeSet<Ending> = endings.collect();
    println!(
        "seed {seed}: {} pods, {} rows, {} outages; {} of {} that must be named; others {:?}",
        lives.len(),
        rows.len(),
        missed.len(),
        score.named,
        nameable,
        score.others,
    );
    wrong.extend(score.wrong);
    assert!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
    assert_eq!(endings, BTreeSet::from(Ending::ALL), "seed {seed}");
    assert!(
        nameable >= 300 && score.named * 100 >= nameable * 99,
        "seed {seed}: {} of {}: {}",
        score.named,
        nameable,
        score.unnamed.join("\n")
    );
}
