//! The first thing a stranger runs, from any folder, and what it found held against the scenario's truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::Place;

/// What makes a finding the one that was expected.
type Key = [String; 6];

fn subject(subject: &Value) -> String {
    let text = |key: &str| subject[key].as_str().unwrap_or_default();
    match text("kind") {
        "pod" | "workload" => {
            [text("namespace"), text("workload_kind"), text("workload")].join("/")
        }
        "node" => format!("node {}", text("name")),
        "namespace" => format!("namespace {}", text("namespace")),
        other => other.to_owned(),
    }
}

fn key(finding: &Value, port: &str, direction: &Value) -> Key {
    let plain = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let is_per_namespace = finding["detection"] == "default-deny-missing";
    [
        plain(&finding["detection"]),
        subject(&finding["client"]),
        subject(&finding["server"]),
        plain(&finding[port]),
        plain(&finding["protocol"]).to_uppercase(),
        if is_per_namespace {
            plain(direction)
        } else {
            String::new()
        },
    ]
}

#[test]
fn it_finds_what_its_scenario_says() {
    let place = Place::new();
    let demo = place.run(&["demo", "--keep", "kept"]);
    demo.check(0, &[]);
    for heading in [
        "== flow logs",
        "== inventory",
        "== findings",
        "== the gravest one",
        "== what was seen",
        "== try next",
    ] {
        assert!(
            demo.out.contains(heading),
            "{heading} is not in:\n{}",
            demo.out
        );
    }
    assert!(!demo.err.contains("error:"), "{}", demo.err);

    let listed = place.run(&["--lake", "kept/lake", "findings", "list", "-o", "ndjson"]);
    let found: BTreeSet<Key> = listed
        .check(0, &[])
        .out
        .lines()
        .map(|line| {
            let finding: Value = serde_json::from_str(line).unwrap();
            let title = finding["title"].as_str().unwrap();
            let direction = if title.contains("egress") {
                "egress"
            } else {
                "ingress"
            };
            key(&finding, "server_port", &direction.into())
        })
        .collect();
    let truth = Path::new("sample-logs/sets/small/truth/findings.jsonl");
    let expected: BTreeMap<Key, bool> = std::fs::read_to_string(truth)
        .unwrap()
        .lines()
        .map(|line| {
            let finding: Value = serde_json::from_str(line).unwrap();
            (
                key(&finding, "port", &finding["direction"]),
                finding["certain"].as_bool().unwrap(),
            )
        })
        .collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|(key, certain)| **certain && !found.contains(*key))
        .collect();
    let invented: Vec<_> = found
        .iter()
        .filter(|key| !expected.contains_key(*key))
        .collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:#?}, invented {invented:#?}"
    );
    assert!(found.len() > 10, "{found:#?}");
}

#[test]
fn what_is_kept_can_be_asked() {
    let place = Place::new();
    place.run(&["demo", "--keep", "kept"]).check(0, &[]);
    let ask = |arguments: &[&str]| place.run(&[&["--lake", "kept/lake"], arguments].concat());
    ask(&["lake", "verify"]).check(0, &["is as its log says"]);

    let listed = ask(&[
        "findings",
        "list",
        "--detection",
        "policy-not-enforced",
        "-o",
        "json",
    ]);
    let findings: Value = serde_json::from_str(&listed.out).unwrap();
    let id = findings[0]["fingerprint"].as_str().unwrap();
    let shown = ask(&["findings", "show", &id[..8]]);
    shown.check(0, &[]);
    for text in [
        "critical  policy-not-enforced",
        "What would end it:",
        "kind: NetworkPolicy",
        id,
    ] {
        assert!(shown.out.contains(text), "{text} is not in:\n{}", shown.out);
    }
    ask(&["findings", "list", "--fail-on", "critical"]).check(1, &[]);
    ask(&[
        "findings",
        "list",
        "--severity",
        "low",
        "--detection",
        "blocked-attempt",
        "--fail-on",
        "high",
    ])
    .check(0, &[]);
    ask(&[
        "findings",
        "list",
        "--until",
        "2020-01-01T00:00:00Z",
        "--fail-on",
        "low",
    ])
    .check(0, &["0 findings"]);
    ask(&["findings", "show", "zzz"]).check(2, &["there is no finding `zzz`", "findings list"]);
    ask(&["analyze"]).check(0, &[]);
    ask(&["analyze", "--again", "--fail-on", "medium", "-o", "json"]).check(1, &[]);

    let at = "2026-11-23T08:30:00Z";
    let said = ask(&[
        "explain",
        "--from",
        "payments/ledger-0",
        "--to",
        "shop/redis-0",
        "--port",
        "6379",
        "--at",
        at,
    ]);
    said.check(0, &[]);
    assert!(
        said.out
            .starts_with("denied   payments/ledger-0 → shop/redis-0  TCP 6379\n"),
        "{}",
        said.out
    );
    let said = ask(&[
        "explain",
        "--from",
        "payments/ledger-0",
        "--to",
        "shop/redis-0",
        "--port",
        "6379",
        "--at",
        at,
        "-o",
        "json",
    ]);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["verdict"], "denied");
    assert!(
        answer["ingress"]["reasons"][0]
            .as_str()
            .unwrap()
            .contains("NetworkPolicy shop/"),
        "{answer:#}"
    );
    ask(&[
        "explain",
        "--from",
        "nobody/here",
        "--to",
        "shop/redis-0",
        "--port",
        "1",
        "--at",
        at,
    ])
    .check(2, &["nobody called `nobody/here`", " help:"]);

    // Twice into one folder is the same demo again.
    let again = place.run(&["demo", "--keep", "kept"]);
    again.check(0, &[]);
    assert!(again.out.contains("unchanged"), "{}", again.out);
}

#[test]
fn a_lake_tells_who_held_an_address() {
    let place = Place::new();
    place.run(&["demo", "--keep", "kept"]).check(0, &[]);
    let ask = |arguments: &[&str]| place.run(&[&["--lake", "kept/lake"], arguments].concat());
    let held = ask(&[
        "inventory",
        "who",
        "10.0.3.5",
        "--at",
        "2026-11-23T09:00:00Z",
        "-o",
        "ndjson",
    ]);
    held.check(0, &[]);
    assert!(
        held.out.contains(r#""answer":"identified""#)
            && held.out.contains(r#"{"held":"surely","kind":"node""#),
        "{}",
        held.out
    );
    let nobody = ask(&[
        "inventory",
        "who",
        "192.0.2.1",
        "--at",
        "2026-11-23T09:00:00Z",
    ]);
    nobody.check(0, &[]);
    assert!(
        nobody
            .out
            .contains("192.0.2.1 at 2026-11-23T09:00:00Z: external")
    );
}

#[test]
fn what_it_says_to_try_next_works() {
    let place = Place::new();
    let demo = place.run(&["demo", "--keep", "kept"]);
    let (_, next) = demo.check(0, &[]).out.split_once("== try next\n").unwrap();
    let commands: Vec<Vec<&str>> = next
        .lines()
        .filter_map(|line| line.trim().strip_prefix("flowaudit "))
        .map(|line| line.split(' ').collect())
        .collect();
    assert!(commands.len() >= 4, "{next}");
    for command in commands {
        let said = place.run(&[&["--lake", "kept/lake"], command.as_slice()].concat());
        assert_eq!(said.code, 0, "{command:?}: {}", said.err);
        assert!(said.out.lines().count() > 1, "{command:?}: {}", said.out);
    }
}

#[test]
fn programs_get_the_findings_and_the_exit_code_they_ask_for() {
    let place = Place::new();
    let said = place.run(&["demo", "-o", "ndjson", "--fail-on", "critical", "--quiet"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert!(said.out.lines().count() > 20, "{}", said.out);
    for line in said.out.lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        assert!(finding["fingerprint"].is_string(), "{finding}");
    }
    place.run(&["demo", "--keep", "kept"]).check(0, &[]);
    for (fail_on, code) in [("never", 0), ("critical", 1), ("low", 1)] {
        for command in [&["analyze", "--again"][..], &["findings", "list"]] {
            let rest = ["--lake", "kept/lake", "--fail-on", fail_on];
            place.run(&[command, &rest].concat()).check(code, &[]);
        }
    }
    let mild = ["findings", "list", "--detection", "blocked-attempt"];
    let rest = ["--lake", "kept/lake", "--fail-on", "medium"];
    place.run(&[&mild[..], &rest].concat()).check(0, &[]);
}

#[test]
fn every_remedy_is_taken_by_an_api_server_and_replaces_nothing() {
    let place = Place::new();
    let found = place.run(&["demo", "--keep", "kept", "-o", "ndjson"]);
    let mut policies = 0;
    for line in found.check(0, &[]).out.lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        let remedy = text("remedy");
        policies += remedy.matches("kind: NetworkPolicy").count();
        place.write(&format!("remedies/{}.yaml", text("fingerprint")), remedy);
    }
    assert!(policies > 20, "{policies}");
    let last = "kept/inventory/snapshot-20261123T103000Z.json";
    let said = place.run(&["explain", "--inventory", "remedies", last, "--probes", "-"]);
    said.check(0, &[]);
    assert!(!said.err.contains("error: "), "{}", said.err);
    // Only remedies of one and the same traffic may be one and the same policy.
    let replaced = said.err.lines().filter(|line| {
        line.contains("came before") && (line.contains("snapshot-") || !line.contains("shop/redis"))
    });
    assert_eq!(replaced.collect::<Vec<_>>(), Vec::<&str>::new());
}
