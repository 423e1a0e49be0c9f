//! Other programs read the lake: DuckDB opens every table by plain globs and sees what our own reader sees.
//!
//! Needs a Python with the package `duckdb`, so it is not part of a plain `cargo test`: `make readers` installs that
//! and runs this.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use chrono::DateTime;
use flowaudit_analyze::{Selection, Settings};
use flowaudit_ingest::inventory::{ImportSettings, import};
use flowaudit_ingest::source::Input;
use flowaudit_lake::table::Partitioning;
use flowaudit_lake::{Lake, Table, read};
use flowaudit_sample_logs::{Scenario, simulate};
use serde_json::{Value, json};

#[test]
fn duckdb_sees_what_we_see() {
    let Ok(python) = std::env::var("FLOWAUDIT_PYTHON") else {
        panic!(
            "FLOWAUDIT_PYTHON names no Python that has the package `duckdb`; run `make readers`"
        );
    };
    let directory = tempfile::tempdir().unwrap();
    let lake = sample_lake(directory.path());
    let tables = Table::ALL.map(|table| {
        let partitions = match table.partitioning() {
            Partitioning::None => "",
            Partitioning::Date => "date",
            Partitioning::Hour => "date,hour",
        };
        format!("{}={partitions}:{}", table.name(), table.time_column())
    });
    let output = Command::new(python)
        .arg("tests/duckdb_reads_lake.py")
        .arg(directory.path().join("lake"))
        .args(&tables)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    for table in Table::ALL {
        let ours = seen(&lake, table);
        assert!(
            ours["rows"].as_u64() > Some(0),
            "{} is empty: nothing was tried",
            table.name()
        );
        assert_eq!(theirs[table.name()], ours, "{}", table.name());
    }
}

/// The small sample set, and a line that is no flow, ingested and analysed: rows in every table.
fn sample_lake(directory: &Path) -> Lake {
    let scenario = Scenario::builtin("small").unwrap();
    simulate(&scenario, scenario.seed).write(directory).unwrap();
    let garbage = directory.join("flows/garbage.jsonl");
    let line = r#"{"srcaddr":"10.0.0.1","dstaddr":"nowhere","start":"1795507200","end":"1795507260","protocol":"6"}"#;
    std::fs::write(garbage, format!("{line}\n")).unwrap();
    let lake = Lake::create_or_open(directory.join("lake")).unwrap();
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let input = |name: &str| [Input::Named(directory.join(name).display().to_string())];
    flowaudit_ingest::files(
        &lake,
        &input("flows"),
        &Default::default(),
        &mut |_| {},
        now,
    )
    .unwrap();
    import(&lake, &input("inventory"), &ImportSettings::default(), now).unwrap();
    flowaudit_analyze::run(&lake, &Settings::default(), &Selection::default(), |_| {}).unwrap();
    lake
}

/// What our own reader sees of a table, in the words of the script.
fn seen(lake: &Lake, table: Table) -> Value {
    let snapshot = lake.snapshot().unwrap();
    let names: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
    let mut rows = 0;
    let mut columns: Vec<Seen> = names.iter().map(|_| Seen::default()).collect();
    for entry in snapshot.files(table) {
        let file = read::open(lake, entry).unwrap();
        for row_group in 0..file.row_groups() {
            for batch in file.batches(&names, row_group).unwrap() {
                let batch = batch.unwrap();
                rows += batch.num_rows();
                for (column, seen) in batch.columns().iter().zip(&mut columns) {
                    seen.add(column);
                }
            }
        }
    }
    let columns: serde_json::Map<_, _> = names
        .iter()
        .zip(&columns)
        .map(|(name, seen)| ((*name).to_owned(), seen.to_json()))
        .collect();
    json!({ "rows": rows, "misplaced": 0, "columns": columns })
}

#[derive(Default)]
struct Seen {
    kind: &'static str,
    filled: usize,
    sum: i64,
    range: Option<(i64, i64)>,
    texts: BTreeSet<String>,
}

impl Seen {
    fn add(&mut self, column: &ArrayRef) {
        self.filled += column.len() - column.logical_null_count();
        if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
            self.kind = "integer";
            self.sum += numbers.iter().flatten().sum::<i64>();
        } else if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
            self.kind = "integer";
            self.sum += numbers.iter().flatten().map(i64::from).sum::<i64>();
        } else if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            self.kind = "time";
            for time in times.iter().flatten() {
                let (from, to) = self.range.unwrap_or((time, time));
                self.range = Some((from.min(time), to.max(time)));
            }
        } else if let Some(flags) = column.as_boolean_opt() {
            self.kind = "boolean";
            self.sum += flags.true_count() as i64;
        } else if let Some(keys) = column.as_dictionary_opt::<Int32Type>() {
            let texts = keys.downcast_dict::<arrow_array::StringArray>().unwrap();
            texts.into_iter().flatten().for_each(|text| self.text(text));
            self.kind = "text";
        } else {
            column
                .as_string::<i32>()
                .iter()
                .flatten()
                .for_each(|text| self.text(text));
            self.kind = "text";
        }
    }

    fn text(&mut self, text: &str) {
        self.sum += text.len() as i64;
        if !self.texts.contains(text) {
            self.texts.insert(text.to_owned());
        }
    }

    fn to_json(&self) -> Value {
        let values = match self.kind {
            "time" => self.range.map_or(vec![0, 0], |(from, to)| vec![from, to]),
            "text" => vec![self.texts.len() as i64, self.sum],
            _ => vec![self.sum],
        };
        json!({ "kind": self.kind, "filled": self.filled, "values": values })
    }
}
