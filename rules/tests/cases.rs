//! Every folder of `cases/` is a small world, its policies, and what they must mean.
//!
//! `expect.txt` holds one probe a line: client → server, protocol and port, verdict, and what decided. A line `engine
//! felix` changes the engine for those below, lines with `!` are the issues that reading must report, `#` are remarks.
//! `UPDATE_EXPECT=1` rewrites the files; the diff is for a person to read against policy-semantics.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod case;

use std::fs;
use std::path::Path;

use flowaudit_rules::bulk::Bulk;
use flowaudit_rules::cluster::{Cluster, Protocol};
use flowaudit_rules::evaluate::compiled::Compiled;
use flowaudit_rules::evaluate::{Connection, Engine, evaluate};
use flowaudit_rules::kubernetes::{Issue, Object, read};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::Judgement;

use case::party;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "tests read their cases from disk"
)]
fn every_case() {
    let cases = Path::new("tests/cases");
    let mut folders: Vec<_> = fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert!(folders.len() > 40, "cases are missing: {}", folders.len());
    let differing: Vec<String> = folders
        .iter()
        .filter_map(|folder| check_case(folder))
        .collect();
    assert!(differing.is_empty(), "\n{}", differing.join("\n"));
}

/// What differs in one case, if anything.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "tests read their cases from disk, and rewrite them when asked to"
)]
fn check_case(folder: &Path) -> Option<String> {
    let text = |name: &str| {
        fs::read_to_string(folder.join(name)).unwrap_or_else(|_| panic!("{folder:?} lacks {name}"))
    };
    let mut objects = Vec::new();
    let mut issues = Vec::new();
    for name in ["cluster.yaml", "policies.yaml"] {
        let mut manifest = read(name, &text(name));
        objects.append(&mut manifest.objects);
        issues.append(&mut manifest.issues);
    }
    prints_and_reads_back(&objects);
    let (cluster, repeated_objects) = Cluster::from_objects(&objects);
    let (policies, repeated_policies) = PolicySet::from_objects(&objects);
    issues.extend(repeated_objects.into_iter().chain(repeated_policies));

    let expected = text("expect.txt");
    let actual = answers(&expected, &cluster, &policies, &issues);
    if expected == actual {
        return None;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(folder.join("expect.txt"), &actual).unwrap();
        return None;
    }
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let difference = expected.lines().zip(actual.lines()).filter(|(e, a)| e != a);
    let shown: Vec<String> = difference
        .map(|(e, a)| format!("  expected {e}\n    actual {a}"))
        .collect();
    Some(format!(
        "{name}\n{}\n  lines {} and {}",
        shown.join("\n"),
        expected.lines().count(),
        actual.lines().count()
    ))
}

/// A policy that was accepted prints as something that means the same.
#[track_caller]
fn prints_and_reads_back(objects: &[Object]) {
    for object in objects.iter().filter(|object| object.body.is_policy()) {
        let printed = object.to_json();
        let again = read("printed", &printed).objects;
        let [again] = again.as_slice() else {
            panic!("refused what it printed itself: {printed}");
        };
        assert_eq!(again.body, object.body, "{printed}");
    }
}

/// `expected` with every probe and issue as they come out.
fn answers(expected: &str, cluster: &Cluster, policies: &PolicySet, issues: &[Issue]) -> String {
    let mut engine = Engine::Unknown;
    let mut lines = Vec::new();
    let mut issues = issues.iter();
    for line in expected.lines() {
        if let Some(name) = line.strip_prefix("engine ") {
            engine = name.trim().parse().unwrap();
        }
        if line.starts_with('!') {
            lines.extend(issues.next().map(|issue| format!("! {issue}")));
        } else if line.contains('→') && !line.starts_with('#') {
            lines.push(answer(line, cluster, policies, engine));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.extend(issues.map(|issue| format!("! {issue}")));
    lines.join("\n") + "\n"
}

fn answer(line: &str, cluster: &Cluster, policies: &PolicySet, engine: Engine) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [client, _, server, protocol, port, ..] = words.as_slice() else {
        panic!("not a probe: {line}");
    };
    let connection = Connection {
        client: party(client, cluster),
        server: party(server, cluster),
        port: port.parse().unwrap(),
        protocol: protocol.parse::<Protocol>().unwrap(),
    };
    let verdict = evaluate(policies, cluster, engine, &connection);
    let bulk = Bulk::new(policies, cluster, engine);
    assert_eq!(bulk.evaluate(&connection), verdict);
    let compiled = Compiled::new(policies, cluster, engine);
    assert_eq!(compiled.evaluate(&connection), Judgement::from(&verdict));
    case::line(client, server, protocol, port, &verdict)
}
