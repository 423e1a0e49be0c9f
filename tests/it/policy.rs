//! `policy lint` and `policy matrix`: exit codes, formats, and what is said of what was not looked at.

use serde_json::{Value, json};

use crate::Place;

const CLEAN: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: {podSelector: {}}
";
/// A dash too many; high.
const SPLIT: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {team: ops}}
    - podSelector: {matchLabels: {app: prometheus}}
    ports:
    - port: 80
    - port: 80
";
const PODS: &str = "\
apiVersion: v1
kind: PodList
items:
- metadata: {name: cart, namespace: shop, labels: {app: cart}}
  spec: {containers: [{ports: [{containerPort: 80}]}]}
- metadata: {name: redis, namespace: shop, labels: {app: redis}}
  spec: {containers: [{ports: [{containerPort: 6379}]}]}
";

#[test]
fn the_exit_code_says_what_was_found() {
    let place = Place::new();
    place.write("clean.yaml", CLEAN);
    place.write("split.yaml", SPLIT);
    place.write("broken.yaml", "kind: [");
    let lint = |arguments: &[&str]| place.run(&[&["policy", "lint"], arguments].concat());
    lint(&["clean.yaml", "--fail-on", "low"]).check(0, &["0 findings in 1 file"]);
    lint(&["split.yaml"]).check(0, &["2 findings in 1 file: 1 high, 1 low"]);
    lint(&["split.yaml", "--fail-on", "critical"]).check(0, &[]);
    for severity in ["high", "medium", "low"] {
        lint(&["split.yaml", "--fail-on", severity]).check(1, &[]);
    }
    lint(&["broken.yaml", "--fail-on", "high"]).check(3, &["1 finding in 1 file: 1 high"]);
    lint(&["clean.yaml", "--inventory", "broken.yaml"]).check(3, &["broken.yaml:1: error"]);
    lint(&["missing.yaml"]).check(2, &["missing.yaml"]);
    lint(&[]).check(2, &["<PATH>"]);
    lint(&["-", "--inventory", "-"]).check(2, &["standard input can be read only once"]);
    lint(&["clean.yaml", "-o", "csv"]).check(
        2,
        &[
            "this command does not print `csv`",
            "write table, json, ndjson or sarif",
        ],
    );
    place
        .run(&["config", "show", "-o", "sarif"])
        .check(2, &["this command does not print `sarif`"]);
}

#[test]
fn a_finding_has_its_place_and_its_fix() {
    let place = Place::new();
    place.write("policies/a.yaml", SPLIT);
    place.write("policies/README.md", "not a manifest");
    let said = place.run(&["policy", "lint", "policies", "-o", "json"]);
    said.check(
        0,
        &["note: not checked: policy-selects-no-pod, peer-selects-no-pod"],
    );
    let findings: Value = serde_json::from_str(&said.out).unwrap();
    let finding = &findings[0];
    assert_eq!(finding["lint"], "and-became-or");
    assert_eq!(finding["severity"], "high");
    assert_eq!(finding["file"], "policies/a.yaml");
    assert_eq!(finding["line"], 9);
    assert_eq!(finding["object"], "NetworkPolicy shop/p");
    assert_eq!(finding["field"], "spec.ingress[0].from[1]");
    assert!(
        finding["fix"]
            .as_str()
            .unwrap()
            .starts_with("remove the dash")
    );
    // Line by line the same.
    let lines = place
        .run(&["policy", "lint", "policies", "-o", "ndjson"])
        .out;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(lines), findings);
    // From standard input.
    let said = place.run_with(&["policy", "lint", "-"], SPLIT.as_bytes());
    assert!(
        said.out.starts_with("-:9: high and-became-or: "),
        "{}",
        said.out
    );
}

/// What GitHub reads of SARIF 2.1.0, and what the standard asks of it.
#[test]
fn sarif_is_what_code_hosts_read() {
    let place = Place::new();
    place.write("shop policies/a.yaml", SPLIT);
    place.write("shop policies/b.yaml", "kind: {");
    let said = place.run(&["policy", "lint", "shop policies", "-o", "sarif"]);
    said.check(3, &[]);
    let log: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(
        log["$schema"],
        "https://json.schemastore.org/sarif-2.1.0.json"
    );
    assert_eq!(log["runs"].as_array().unwrap().len(), 1);
    let run = &log["runs"][0];
    assert!(
        run["automationDetails"]["id"]
            .as_str()
            .unwrap()
            .ends_with('/')
    );
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "flowaudit");
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        for text in ["shortDescription", "fullDescription", "help"] {
            let text = rule[text]["text"].as_str().unwrap();
            assert!(!text.is_empty() && text.len() <= 1024, "{text}");
        }
        let score: f64 = rule["properties"]["security-severity"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let level = rule["defaultConfiguration"]["level"].as_str().unwrap();
        let band = match level {
            "error" => 7.0..9.0,
            "warning" => 4.0..7.0,
            "note" => 0.1..4.0,
            other => panic!("{other} is no level"),
        };
        assert!(band.contains(&score), "{level} {score}");
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    let mut hashes = std::collections::BTreeSet::new();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.starts_with("shop%20policies/"), "{uri}");
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
        let hash = result["partialFingerprints"]["primaryLocationLineHash"]
            .as_str()
            .unwrap();
        assert!(hashes.insert(hash.to_owned()), "{hash} is there twice");
    }
    assert_eq!(results[0]["ruleId"], "and-became-or");
    assert_eq!(
        results[0]["locations"][0]["physicalLocation"]["region"]["startLine"],
        9
    );
    // The same finding a line further down is the same finding.
    place.write("shop policies/a.yaml", format!("# moved\n{SPLIT}"));
    let moved = place
        .run(&["policy", "lint", "shop policies", "-o", "sarif"])
        .out;
    let moved: Value = serde_json::from_str(&moved).unwrap();
    let moved = &moved["runs"][0]["results"][0];
    assert_eq!(
        moved["locations"][0]["physicalLocation"]["region"]["startLine"],
        10
    );
    assert_eq!(
        moved["partialFingerprints"],
        results[0]["partialFingerprints"]
    );
}

#[test]
fn the_matrix_says_who_may_reach_whom() {
    let place = Place::new();
    place.write("cluster.yaml", PODS);
    place.write("deny.yaml", CLEAN);
    let matrix = |arguments: &[&str]| {
        place.run(
            &[
                &["policy", "matrix", "--inventory", "cluster.yaml"],
                arguments,
            ]
            .concat(),
        )
    };
    let said = matrix(&["deny.yaml", "-o", "json"]);
    said.check(0, &["2 cells: 2 denied"]);
    let cells: Value = serde_json::from_str(&said.out).unwrap();
    let workload = |name: &str| json!({"namespace": "shop", "kind": "Pod", "name": name});
    assert_eq!(
        cells[0],
        json!({"client": workload("cart"), "server": workload("redis"), "port": 6379, "protocol": "TCP", "verdict": "denied"})
    );
    let said = matrix(&["-o", "csv", "--port", "53/UDP", "-q"]);
    said.check(0, &[]);
    assert_eq!(
        said.out,
        "\
client_namespace,client_kind,client,server_namespace,server_kind,server,port,protocol,verdict,unspecified
shop,Pod,cart,shop,Pod,redis,53,UDP,allowed,
shop,Pod,redis,shop,Pod,cart,53,UDP,allowed,
"
    );
    assert_eq!(said.err, "");
    assert_eq!(
        matrix(&["--namespace", "other", "-o", "json"]).out.trim(),
        "[]"
    );
    matrix(&["--port", "http"]).check(2, &["`http` is not a port"]);
    matrix(&["-o", "sarif"]).check(2, &["write table, csv, json, ndjson or dot"]);
}

#[test]
fn a_matrix_that_is_too_large_says_what_to_do() {
    let place = Place::new();
    let pods: String = (0..1_000)
        .map(|number| {
            format!(
                "- metadata: {{name: p{number}, namespace: n{}}}\n",
                number % 10
            )
        })
        .collect();
    place.write(
        "cluster.yaml",
        format!("apiVersion: v1\nkind: PodList\nitems:\n{pods}"),
    );
    let matrix = |arguments: &[&str]| {
        place.run(
            &[
                &[
                    "policy",
                    "matrix",
                    "--inventory",
                    "cluster.yaml",
                    "-o",
                    "ndjson",
                ],
                arguments,
            ]
            .concat(),
        )
    };
    matrix(&["--port", "80"]).check(
        2,
        &[
            "1000 workloads to 1000 workloads are 1000000 judgements, more than 500000",
            "--namespace",
        ],
    );
    let said = matrix(&["--port", "80", "--namespace", "n1"]);
    said.check(0, &["9,900 cells: 9,900 allowed"]);
    assert_eq!(said.out.lines().count(), 9_900);
}
