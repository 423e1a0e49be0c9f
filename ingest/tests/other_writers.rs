//! Objects written by others: pyarrow for Parquet, Python's own gzip, python-snappy and zstandard for lines. What is read is
//! what was written, value by value.
//!
//! Needs a Python with those packages, so it is not part of a plain `cargo test`: `make sdks` installs them and runs this.
#![cfg(test)]

#[path = "../../lake/tests/fake_oss/mod.rs"]
#[expect(dead_code, reason = "the tests of the lake use all of the fake")]
mod fake_oss;
#[path = "oss/common.rs"]
#[expect(dead_code, reason = "the tests of the source use all of it")]
mod place;
#[path = "ingest/common.rs"]
#[expect(dead_code, reason = "the tests of files use all of it")]
mod records;

use std::collections::BTreeSet;
use std::process::Command;

use flowaudit_lake::table::flows;
use flowaudit_lake::{Table, read};
use serde_json::Value;

// The fake's helpers name them so.
use place as common;

const RECORDS: u64 = 20_000;

/// What is compared of a flow, as text.
type Values = [String; 11];

/// Record `n`, some values of it missing.
fn record(n: u64) -> Value {
    let mut record: Value = serde_json::from_str(&records::json(n)).unwrap();
    let values = record.as_object_mut().unwrap();
    values.insert("bytes".to_owned(), (n * 37 + 60).to_string().into());
    values.insert(
        "srcaddr".to_owned(),
        format!("172.20.{}.{}", n / 250, n % 250).into(),
    );
    if n.is_multiple_of(3) {
        values.remove("vm-id");
    }
    if n.is_multiple_of(5) {
        values.remove("tcp-flags");
    }
    record
}

fn written(record: &Value) -> Values {
    let text = |name: &str| match record[name].as_str() {
        Some("-") | None => String::new(),
        Some(text) => text.to_owned(),
    };
    [
        "eni-id",
        "vm-id",
        "srcaddr",
        "srcport",
        "dstaddr",
        "dstport",
        "protocol",
        "bytes",
        "start",
        "tcp-flags",
        "action",
    ]
    .map(text)
}

#[test]
fn what_others_write_is_read_as_they_wrote_it() {
    let Ok(python) = std::env::var("FLOWAUDIT_PYTHON") else {
        panic!(
            "FLOWAUDIT_PYTHON names no Python that has `pyarrow` and `python-snappy`; run `make sdks`"
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..RECORDS).map(|n| format!("{}\n", record(n))).collect();
    let (input, objects) = (dir.path().join("records.jsonl"), dir.path().join("objects"));
    std::fs::write(&input, lines).unwrap();
    std::fs::create_dir(&objects).unwrap();
    let output = Command::new(python)
        .arg("tests/other_writers.py")
        .args([&input, &objects])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (files, wrote) = (
        counts["files"].as_u64().unwrap(),
        counts["records"].as_u64().unwrap(),
    );
    assert!(files > 50 && wrote > 15_000, "{counts}");

    let place = common::Place::new();
    for (number, entry) in std::fs::read_dir(&objects).unwrap().enumerate() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let key = common::key(5, number as u64, &format!(".{name}"));
        place.put(&key, std::fs::read(&path).unwrap());
    }
    let (summary, told) = place.pull_telling(&common::settings());
    let summary = summary.unwrap();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(
        (
            summary.objects,
            summary.counts.flows,
            summary.counts.rejects
        ),
        (files, wrote, 0)
    );

    let snapshot = place.lake.snapshot().unwrap();
    let names: Vec<_> = Table::Flows
        .columns()
        .iter()
        .map(|column| column.name)
        .collect();
    let mut found = BTreeSet::new();
    for entry in snapshot.files(Table::Flows) {
        let file = read::open(&place.lake, entry).unwrap();
        for row_group in 0..file.row_groups() {
            for batch in file.batches(&names, row_group).unwrap() {
                for row in flows::rows(&batch.unwrap()).unwrap() {
                    let values: Values = [
                        row.eni_id.to_owned(),
                        row.vm_id.unwrap_or_default().to_owned(),
                        row.src_addr.to_owned(),
                        row.src_port.to_string(),
                        row.dst_addr.to_owned(),
                        row.dst_port.to_string(),
                        row.protocol.to_string(),
                        row.bytes.to_string(),
                        (row.start_us / 1_000_000).to_string(),
                        row.tcp_flags
                            .map(|flags| flags.to_string())
                            .unwrap_or_default(),
                        row.action.to_owned(),
                    ];
                    assert!(found.insert(values), "a record is there twice");
                }
            }
        }
    }
    let expected: BTreeSet<Values> = (0..wrote).map(|n| written(&record(n))).collect();
    let differing = expected.symmetric_difference(&found).next();
    assert_eq!(differing, None);
}
