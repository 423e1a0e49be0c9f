//! Bulk explain: a fixed format for other programs.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::{Place, text_of};

const CLUSTER: &str = "\
apiVersion: v1
kind: PodList
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  status: {podIPs: [{ip: 10.0.0.1}]}
- metadata: {name: redis, namespace: shop, labels: {app: redis}}
  status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: redis, namespace: shop}
spec:
  podSelector: {matchLabels: {app: redis}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: cart}}}]
    ports: [{port: 6379}]
";
/// The API server would refuse it: a peer that names none.
const REFUSED: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: broken, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from: [{}]
";

fn probe(src: &str, dst: &str, port: u16) -> String {
    json!({"src": src, "dst": dst, "port": port, "protocol": "TCP"}).to_string() + "\n"
}

#[test]
fn an_answer_has_the_fixed_form() {
    let place = Place::new();
    place.write("manifests/cluster.yaml", CLUSTER);
    place.write("manifests/broken.yml", REFUSED);
    place.write("manifests/README.md", "not a manifest");
    let probes = probe("shop/cart", "10.0.0.2", 6379) + &probe("203.0.113.9", "shop/redis", 6379);
    place.write("probes.jsonl", probes);
    let said = place.run(&[
        "explain",
        "--inventory",
        "manifests",
        "--probes",
        "probes.jsonl",
        "-o",
        "ndjson",
    ]);
    // Left out by contract, so nothing failed.
    said.check(
        0,
        &[
            "error: NetworkPolicy shop/broken: spec.ingress[0].from[0]",
            "broken.yml:7",
        ],
    );
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with(
            r#"{"src":"shop/cart","dst":"10.0.0.2","port":6379,"protocol":"TCP","verdict":"allowed","unspecified":[],"default_reading":"allowed","egress":{"verdict":"allowed","tier":"default","reasons":["#
        ),
        "{}",
        lines[0]
    );
    let denied: Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(denied["verdict"], "denied");
    assert_eq!(denied["ingress"]["tier"], "policy");
    assert!(
        denied["ingress"]["reasons"][0]
            .as_str()
            .unwrap()
            .contains("NetworkPolicy shop/redis"),
        "{denied:#}"
    );
    assert_eq!(denied["egress"]["tier"], "no-pod");
    assert!(!place.path("flowaudit-lake").exists(), "no lake is needed");
}

#[test]
fn many_answers_keep_their_order() {
    let place = Place::new();
    place.write("cluster.yaml", CLUSTER);
    let mut probes = String::new();
    for number in 0..50_000u32 {
        probes += &probe(
            "shop/cart",
            "shop/redis",
            u16::try_from(number % 60_000).unwrap(),
        );
        if number % 1000 == 0 {
            let _ = writeln!(probes, "not a probe {number}");
        }
    }
    let said = place.run_with(
        &["explain", "--inventory", "cluster.yaml", "--probes", "-"],
        probes.as_bytes(),
    );
    said.check(3, &["-:2: not a probe", "50 probes could not be answered"]);
    assert_eq!(said.out.lines().count(), 50_050);
    for (probe, answer) in probes.lines().zip(said.out.lines()) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        match serde_json::from_str::<Value>(probe) {
            Ok(probe) => {
                assert_eq!(answer["port"], probe["port"]);
                let allowed = probe["port"] == 6379;
                assert_eq!(
                    answer["verdict"],
                    if allowed { "allowed" } else { "denied" }
                );
            }
            Err(_) => assert!(answer["error"].is_string(), "{answer}"),
        }
    }
}

#[test]
fn a_program_may_wait_for_each_answer() {
    let place = Place::new();
    place.write("cluster.yaml", CLUSTER);
    let mut child = place
        .command(&["explain", "--inventory", "cluster.yaml", "--probes", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for port in [6379, 80, 6379] {
        questions
            .write_all(probe("shop/cart", "shop/redis", port).as_bytes())
            .unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["port"], port);
    }
    drop(questions);
    assert!(child.wait().unwrap().success());
}

#[test]
fn who_stops_reading_is_no_error() {
    let place = Place::new();
    place.write("cluster.yaml", CLUSTER);
    place.write(
        "probes.jsonl",
        probe("shop/cart", "shop/redis", 80).repeat(20_000),
    );
    let mut child = place
        .command(&[
            "explain",
            "--inventory",
            "cluster.yaml",
            "--probes",
            "probes.jsonl",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn what_is_missing_is_named() {
    let place = Place::new();
    let cluster = place.write("cluster.yaml", CLUSTER);
    let cluster = text_of(&cluster);
    place.write("probes.jsonl", probe("shop/cart", "shop/redis", 80));
    let ask = |inventory: &str, probes: &str| {
        place.run(&["explain", "--inventory", inventory, "--probes", probes])
    };
    ask("nowhere", "probes.jsonl").check(2, &["there is no `nowhere`"]);
    ask(cluster, "nowhere").check(2, &["cannot read probes `nowhere`", "cause: "]);
    place.write(
        "twice.yaml",
        format!("{CLUSTER}---\nkind: Pod\nkind: Pod\n"),
    );
    ask("twice.yaml", "probes.jsonl").check(3, &["twice.yaml:", "`kind` is there twice"]);
    place
        .run(&[
            "explain",
            "--inventory",
            cluster,
            "--probes",
            "probes.jsonl",
            "-o",
            "table",
        ])
        .check(2, &["lines of JSON"]);
}

#[test]
fn a_byte_order_mark_is_no_probe_and_an_endless_line_is_one_bad_one() {
    let place = Place::new();
    place.write("cluster.yaml", CLUSTER);
    let mut probes = String::from("\u{feff}") + &probe("shop/cart", "shop/redis", 6379);
    probes += &"x".repeat(3 << 20);
    probes.push('\n');
    probes += &probe("shop/redis", "shop/cart", 1);
    let said = place.run_with(
        &["explain", "--inventory", "cluster.yaml", "--probes", "-"],
        probes.as_bytes(),
    );
    said.check(
        3,
        &[
            "-:2: the line is longer than 65536 bytes",
            "1 probe could not be answered",
        ],
    );
    let verdicts: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["verdict"].clone())
        .collect();
    assert_eq!(verdicts, [json!("allowed"), Value::Null, json!("allowed")]);
}
