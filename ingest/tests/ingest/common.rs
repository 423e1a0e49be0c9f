//! A lake in a temporary directory, and records to put into it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use flowaudit_ingest::{IngestError, Input, Settings, Summary, files};
use flowaudit_lake::table::flows;
use flowaudit_lake::{Lake, Table, read};

pub(crate) const START: i64 = 1_720_775_420;

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-24T08:00:00Z".parse().unwrap()
}

/// A directory with a lake in it.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) lake: Lake,
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::create_or_open(dir.path().join("lake")).unwrap();
        Place { dir, lake }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(content.as_ref()).unwrap();
    }

    pub(crate) fn ingest(&self, paths: &[&Path]) -> Summary {
        self.ingest_with(paths, &Settings::default()).unwrap()
    }

    pub(crate) fn ingest_with(
        &self,
        paths: &[&Path],
        settings: &Settings,
    ) -> Result<Summary, IngestError> {
        let inputs: Vec<Input> = paths.iter().map(|path| Input::from(*path)).collect();
        let summary = files(&self.lake, &inputs, settings, &mut |_| {}, now())?;
        assert!(summary.counts.add_up(), "{:?}", summary.counts);
        Ok(summary)
    }

    /// The number of times each flow is in the lake, by its source port (which tests use as a serial number) and start.
    pub(crate) fn flows(&self) -> BTreeMap<(i32, i64), u32> {
        flows_of(&self.lake)
    }

    pub(crate) fn rejects(&self) -> Vec<flowaudit_lake::table::rejects::RejectRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    pub(crate) fn gaps(&self) -> Vec<flowaudit_lake::table::gaps::GapRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    /// The problems of a run, one per line, with the directory taken out.
    pub(crate) fn problems(&self, summary: &Summary) -> Vec<String> {
        let root = self.dir.path().canonicalize().unwrap();
        let roots = [
            root.to_string_lossy().into_owned(),
            self.dir.path().to_string_lossy().into_owned(),
        ];
        let bare = |text: String| {
            roots
                .iter()
                .fold(text, |text, root| text.replace(&format!("{root}/"), ""))
        };
        summary
            .problems
            .iter()
            .map(|problem| bare(problem.to_string()))
            .collect()
    }
}

pub(crate) fn flows_of(lake: &Lake) -> BTreeMap<(i32, i64), u32> {
    let snapshot = lake.snapshot().unwrap();
    let columns: Vec<_> = Table::Flows
        .columns()
        .iter()
        .map(|column| column.name)
        .collect();
    let mut found = BTreeMap::new();
    for entry in snapshot.files(Table::Flows) {
        let file = read::open(lake, entry).unwrap();
        for row_group in 0..file.row_groups() {
            for batch in file.batches(&columns, row_group).unwrap() {
                for row in flows::rows(&batch.unwrap()).unwrap() {
                    *found.entry((row.src_port, row.start_us)).or_default() += 1;
                }
            }
        }
    }
    found
}

/// Record `n` as a JSON line: port and start tell it from others.
pub(crate) fn json(n: u64) -> String {
    let (port, start) = (n % 60_000, START + (n / 60_000 * 60) as i64);
    format!(
        r#"{{"version":"1","account-id":"1210","eni-id":"eni-{}","vm-id":"i-1","vswitch-id":"vsw-1","vpc-id":"vpc-1","type":"IPv4","protocol":"6","srcaddr":"172.31.16.{}","srcport":"{port}","dstaddr":"172.31.16.21","dstport":"80","direction":"out","action":"ACCEPT","packets":"10","bytes":"2048","start":"{start}","end":"{}","tcp-flags":"27","log-status":"OK","traffic_path":"-"}}"#,
        n % 7,
        n % 250,
        start + 60,
    )
}

pub(crate) fn lines(range: std::ops::Range<u64>) -> String {
    range.map(|n| json(n) + "\n").collect()
}

pub(crate) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Every record of the range is in the lake exactly once, and nothing else.
#[track_caller]
pub(crate) fn check_once(flows: &BTreeMap<(i32, i64), u32>, range: std::ops::Range<u64>) {
    let expected: BTreeMap<_, _> = range
        .map(|n| {
            (
                (
                    (n % 60_000) as i32,
                    (START + (n / 60_000 * 60) as i64) * 1_000_000,
                ),
                1,
            )
        })
        .collect();
    assert_eq!(flows.len(), expected.len());
    assert!(
        *flows == expected,
        "a record is missing, doubled or changed"
    );
}
