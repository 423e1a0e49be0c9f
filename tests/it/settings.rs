//! Mistakes in arguments and settings: named with their place, exit code 2, nothing touched.

use crate::Place;

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    for (text, line) in [
        ("lake: x\nclustr: 3\n", "set.yaml:2: unknown field `clustr`"),
        (
            "analyze:\n  threads: 1\n  thread: 2\n",
            "set.yaml:3: unknown field `thread`",
        ),
        (
            "cluster:\n  engine: felixx\n",
            "set.yaml:2: `felixx` is not an enforcement engine",
        ),
        (
            "lake: x\nlake: y\n",
            "set.yaml:2: the key `lake` is there twice",
        ),
        ("analyze: {skew: 3}\n", "`3` is not a span"),
        ("analyze: {threads: 0}\n", "setting `threads` cannot be 0"),
        (
            "ingest: {fields: nothing known here}\n",
            "does not name three fields",
        ),
        ("lake: [\n", "set.yaml:"),
        (
            "lake: oss://bucket/prefix\n",
            "neither endpoint nor region of bucket `bucket` is set",
        ),
    ] {
        let place = Place::new();
        place.write("set.yaml", text);
        for command in [&["config", "check"][..], &["ingest", "set.yaml"]] {
            let said = place.run(&[command, &["--config", "set.yaml"]].concat());
            said.check(2, &["error: ", line, " help: "]);
            assert_eq!(said.out, "");
        }
        assert!(!place.path("flowaudit-lake").exists(), "{text}");
    }
}

#[test]
fn variables_are_settings_and_flags_go_before_them() {
    let place = Place::new();
    place.write("flowaudit.yaml", "fail-on: low\ncluster: {name: prod}\n");
    let shown = |arguments: &[&str]| {
        let mut command = place.command(&[&["config", "show", "-o", "json"], arguments].concat());
        // What Kubernetes gives a pod beside a Service called `flowaudit` is no setting.
        command
            .env("FLOWAUDIT_ENGINE", "felix")
            .env("FLOWAUDIT_PORT", "tcp://10.0.0.1:80");
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let settings = shown(&[]);
    for (key, value, from) in [
        ("cluster.engine", "felix", "flag or variable"),
        ("cluster.name", "prod", "file"),
        ("fail-on", "low", "file"),
        ("lake", "flowaudit-lake", "default"),
    ] {
        let expected = serde_json::json!({"value": value, "from": from});
        assert_eq!(settings[key], expected, "{key}");
    }
    let settings = shown(&["--engine", "cilium", "--fail-on", "never"]);
    assert_eq!(settings["cluster.engine"]["value"], "cilium");
    assert_eq!(settings["fail-on"]["from"], "flag or variable");
}

#[test]
fn arguments_that_cannot_be_meant_are_refused() {
    let place = Place::new();
    place
        .run(&["analyze"])
        .check(2, &["there is no lake at", " help: "]);
    place
        .run(&["analyze", "--since", "yesterday"])
        .check(2, &["`yesterday` is not a time"]);
    place
        .run(&["analyze", "--since", "1h", "--until", "2h"])
        .check(2, &["nothing lies between --since ", " help: "]);
    place
        .run(&["explain", "--from", "a/b", "--to", "c/d"])
        .check(2, &["needs a port", "--port N"]);
    place.run(&["explain", "--from", "a/b"]).check(2, &["--to"]);
    place
        .run(&["findings", "list", "--detection", "x"])
        .check(2, &["policy-not-enforced"]);
    place
        .run(&["simulate", "--scenario", "huge", "--out", "o"])
        .check(2, &["no scenario `huge`", " help: "]);
    place.run(&["nonsense"]).check(2, &["nonsense"]);
    place.write("file", "");
    place
        .run(&["ingest", "file", "--lake", "file"])
        .check(2, &["is a file, a lake is a directory"]);
    place.write("mine/notes.txt", "");
    place
        .run(&["ingest", "file", "--lake", "mine"])
        .check(2, &["is not a lake", "empty or new directory"]);
    assert!(!place.path("flowaudit-lake").exists());
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = place.run(&["completions", shell]);
        said.check(0, &[]);
        assert!(
            said.out.contains("inventory") && said.out.contains("explain"),
            "{shell}"
        );
    }
}
