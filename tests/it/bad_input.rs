//! Everything that comes from outside and is not what it should be: a clear message (what, where, what to do), exit code
//! 2 or 3, nothing lost, no panic.

use std::io::Write;
use std::os::unix::fs::symlink;

use crate::{Place, record, text_of};

#[test]
fn a_truncated_gzip_gives_what_it_holds_and_the_rest_later() {
    let place = Place::new();
    let records: String = (1024..11_024).map(record).collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(records.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    place.write("log.gz", &packed[..packed.len() / 2]);
    let said = place.run(&["ingest", "log.gz"]);
    said.check(
        3,
        &[
            "log.gz` is cut off",
            " help: ",
            "run again with the whole file",
        ],
    );
    let first = place.rows("flows");
    assert!((1..10_000).contains(&first), "{first}");

    place.write("log.gz", &packed);
    place.run(&["ingest", "log.gz"]).check(0, &[]);
    assert_eq!(place.rows("flows"), 10_000, "nothing lost, nothing doubled");
}

#[test]
fn a_folder_of_garbage_is_named_file_by_file() {
    let place = Place::new();
    for number in 0..3u8 {
        let bytes: Vec<u8> = (0..5000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ number)
            .collect();
        place.write(&format!("garbage/{number}"), bytes);
    }
    let said = place.run(&["ingest", "garbage"]);
    said.check(
        3,
        &[
            "garbage/0` is binary data",
            "garbage/2` is binary data",
            " help: ",
        ],
    );
    // The good file beside it is read all the same.
    place.write("garbage/good.jsonl", record(1024));
    place
        .run(&["ingest", "garbage"])
        .check(3, &["garbage/1` is binary data"]);
    assert_eq!(place.rows("flows"), 1);
    place
        .run(&["inventory", "import", "garbage/0"])
        .check(3, &["garbage/0", " help: "]);
}

#[test]
fn a_key_that_is_there_twice_is_refused_with_its_line() {
    let place = Place::new();
    place.write(
        "pods.yaml",
        "kind: Pod\napiVersion: v1\nmetadata:\n  name: a\n  name: b\n",
    );
    let said = place.run(&[
        "inventory",
        "import",
        "pods.yaml",
        "--at",
        "2026-11-23T08:00:00Z",
    ]);
    said.check(
        3,
        &[
            "pods.yaml:5: error: the key `name` is there twice",
            " help: ",
        ],
    );
    assert_eq!(place.rows("endpoints"), 0);
}

#[test]
fn a_policy_the_api_server_would_refuse_is_left_out_and_the_rest_imported() {
    let place = Place::new();
    let text = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bad, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop, uid: u-1}
status: {podIP: 10.0.0.1, phase: Running}
";
    place.write("cluster.yaml", text);
    let said = place.run(&[
        "inventory",
        "import",
        "cluster.yaml",
        "--at",
        "2026-11-23T08:00:00Z",
    ]);
    said.check(
        3,
        &[
            "error: NetworkPolicy shop/bad: spec.ingress[0].from[0].ipBlock.cidr",
            " help: ",
        ],
    );
    assert_eq!(place.rows("endpoints"), 1);
}

#[test]
fn an_empty_file_is_not_a_silent_success() {
    let place = Place::new();
    place.write("empty.log", "");
    place.run(&["ingest", "empty.log"]).check(
        3,
        &[
            "empty.log` is empty",
            "the inputs hold no record",
            " help: ",
        ],
    );
    place.write("empty.yaml", "");
    place
        .run(&["inventory", "import", "empty.yaml"])
        .check(3, &["hold no Kubernetes object", " help: "]);
    // Beside others it is worth a note.
    place.write("full.log", record(1));
    place
        .run(&["ingest", "empty.log", "full.log"])
        .check(0, &["note: ", "is empty"]);
    // What was read before is no failure either.
    place.run(&["ingest", "full.log"]).check(0, &[]);
}

#[test]
fn a_line_without_end_is_cut_named_and_bounded() {
    let place = Place::new();
    let mut log = record(1024).into_bytes();
    log.extend(vec![b'x'; 64 << 20]);
    log.push(b'\n');
    log.extend(record(1025).into_bytes());
    place.write("log.jsonl", log);
    let said = place.run(&["ingest", "log.jsonl", "-o", "json"]);
    said.check(
        3,
        &[
            "log.jsonl` holds a record of more than 1048576 bytes, the first at byte ",
            "with 67108865 bytes",
            " help: ",
        ],
    );
    assert_eq!(place.rows("flows"), 2, "what stands around it is read");
    assert_eq!(place.rows("rejects"), 1, "its beginning is kept");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_read() {
    let place = Place::new();
    let good = place.write("good.jsonl", record(1));
    symlink("nowhere", place.path("dangling")).unwrap();
    place
        .run(&["ingest", "dangling"])
        .check(2, &["`dangling`", " help: "]);
    let below = good.join("below");
    place
        .run(&["ingest", text_of(&below)])
        .check(3, &["cannot be read: not a directory", " help: "]);
    // Root may read everything, so refusal is tried by other means above and here only where it is one.
    let locked = place.write("locked.jsonl", record(2));
    let mut permissions = std::fs::metadata(&locked).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0);
    std::fs::set_permissions(&locked, permissions).unwrap();
    let expected = match std::fs::read(&locked) {
        Ok(_) => (0, 2),
        Err(_) => (3, 1),
    };
    let said = place.run(&["ingest", "good.jsonl", "locked.jsonl"]);
    assert_eq!((said.code, place.rows("flows")), expected, "{}", said.err);
}

#[test]
fn a_lake_that_cannot_be_written_fails_and_loses_nothing() {
    let place = Place::new();
    place.write("good.jsonl", record(1));
    place.run(&["ingest", "good.jsonl"]).check(0, &[]);
    let record_of_commit = place.path("flowaudit-lake/_flowaudit/commits");
    let one = std::fs::read_dir(&record_of_commit)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = std::fs::read(&one).unwrap();
    std::fs::write(&one, b"{}").unwrap();
    place
        .run(&["lake", "stats"])
        .check(3, &["error: ", " help: "]);
    std::fs::write(&one, bytes).unwrap();
    assert_eq!(place.rows("flows"), 1);
    let data = std::fs::read_dir(place.path("flowaudit-lake/flows"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::remove_dir_all(data).unwrap();
    let said = place.run(&["lake", "verify"]);
    said.check(3, &["1 problem in"]);
    assert!(said.out.contains("is missing"), "{}", said.out);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    place.write("good.jsonl", record(1));
    place.run(&["ingest", "good.jsonl"]).check(0, &[]);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = place
        .command(&["lake", "stats"])
        .stdout(full)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(
        err.contains("error: cannot write to standard output\ncause: "),
        "{err}"
    );
}

#[test]
fn half_of_what_an_analysis_needs_is_not_a_clean_result_without_a_word() {
    let place = Place::new();
    place.write("log.jsonl", record(1));
    place.run(&["ingest", "log.jsonl"]).check(0, &[]);
    place
        .run(&["analyze"])
        .check(0, &["warning: the lake holds no inventory", " help: "]);

    let place = Place::new();
    let pod = "kind: Pod\napiVersion: v1\nmetadata: {name: a, namespace: shop}\nstatus: {podIP: 10.0.0.1}\n";
    place.write("pod.yaml", pod);
    let import = [
        "inventory",
        "import",
        "pod.yaml",
        "--at",
        "2026-11-23T08:00:00Z",
    ];
    place.run(&import).check(0, &[]);
    let said = place.run(&["analyze"]);
    said.check(0, &["warning: the lake holds no flows", "flowaudit ingest"]);
    assert!(!said.err.contains("no inventory"), "{}", said.err);
}

#[test]
fn a_mistake_in_the_command_leaves_no_lake_behind() {
    let place = Place::new();
    for command in [
        &["ingest", "nothing.json"][..],
        &["inventory", "import", "nothing.json"],
        &["inventory", "cloud", "--region", "r", "nothing.json"],
    ] {
        place
            .run(command)
            .check(2, &["there is no `nothing.json`", "nothing was read"]);
        place
            .run(&["inventory", "health"])
            .check(2, &["there is no lake"]);
    }
    place
        .run(&["inventory", "import", "--engine", "felix", "-"])
        .check(2, &["--engine", "does not heed it"]);
}
