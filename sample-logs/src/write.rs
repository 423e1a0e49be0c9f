//! Puts a run on disk. The same run gives the same bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::SampleLogsError;
use crate::inventory;
use crate::past;
use crate::run::Run;
use crate::time::compact;
use crate::world::World;

/// Fixed, because the checked-in set depends on it.
const ZSTD_LEVEL: i32 = 9;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub files: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Lines of the log.
    pub records: u64,
    /// Connections behind them, those that left no record included.
    pub connections: u64,
    /// Expected findings.
    pub findings: u64,
}

pub(crate) fn write(run: &Run<'_>, dir: &Path) -> Result<Written, SampleLogsError> {
    let flows = make(dir, "flows")?;
    let truth = make(dir, "truth")?;
    let mut written = write_inventory(&run.world, dir)?;
    let mut records = Packed::create(truth.join("records.jsonl.zst"))?;
    let mut text = String::new();
    for delivery in run.deliveries() {
        let mut log =
            Packed::create(flows.join(format!("flowlog-{}.jsonl.zst", compact(delivery.at_ms))))?;
        for line in &delivery.lines {
            text.clear();
            line.record.write_json(&mut text);
            log.line(&text)?;
            records.json(&line.truth)?;
            written.records += 1;
        }
        log.finish(&mut written)?;
    }
    records.finish(&mut written)?;
    let mut connections = Packed::create(truth.join("connections.jsonl.zst"))?;
    for connection in run.connection_truths() {
        connections.json(&connection)?;
        written.connections += 1;
    }
    connections.finish(&mut written)?;
    let path = truth.join("findings.jsonl");
    let mut findings = String::new();
    for finding in run.expected_findings() {
        findings.push_str(&json(&finding, &path)?);
        findings.push('\n');
        written.findings += 1;
    }
    plain(&path, &findings, &mut written)?;
    Ok(written)
}

pub(crate) fn write_inventory(world: &World<'_>, dir: &Path) -> Result<Written, SampleLogsError> {
    let dir = make(dir, "inventory")?;
    let mut written = Written::default();
    for at_ms in inventory::snapshot_times_ms(world) {
        let path = dir.join(format!("snapshot-{}.json", compact(at_ms)));
        plain(&path, &inventory::snapshot(world, at_ms), &mut written)?;
    }
    for (kind, objects) in inventory::watched(world) {
        for watch in inventory::watches_ms(world) {
            // Whoever broke it off knows when; the end of the file does not say.
            let name = match watch[1] == world.scenario.end_ms() {
                true => format!("watch-{kind}.jsonl"),
                false => format!("watch-{kind}-{}.jsonl", compact(watch[1])),
            };
            let text = inventory::watch(&objects, watch);
            plain(&dir.join(name), &text, &mut written)?;
        }
    }
    Ok(written)
}

pub(crate) fn write_past(
    world: &World<'_>,
    dir: &Path,
    missing: &[[i64; 2]],
) -> Result<Written, SampleLogsError> {
    let dir = make(dir, "past")?;
    let end_ms = world.scenario.end_ms();
    let snapshot = format!("snapshot-{}.json", compact(end_ms));
    let mut written = Written::default();
    for (name, text) in [
        ("audit.jsonl", past::audit(world, missing)),
        ("events.jsonl", past::events(world)),
        (snapshot.as_str(), inventory::snapshot(world, end_ms)),
    ] {
        plain(&dir.join(name), &text, &mut written)?;
    }
    Ok(written)
}

/// Makes the folder `name` below `dir`. One that holds something is refused: files of two sets would mix.
pub(crate) fn make(dir: &Path, name: &str) -> Result<PathBuf, SampleLogsError> {
    let path = dir.join(name);
    fs::create_dir_all(&path).map_err(|source| failed(&path, source))?;
    let mut entries = fs::read_dir(&path).map_err(|source| failed(&path, source))?;
    match entries.next() {
        Some(_) => Err(SampleLogsError::Occupied { path }),
        None => Ok(path),
    }
}

pub(crate) fn plain(path: &Path, text: &str, written: &mut Written) -> Result<(), SampleLogsError> {
    fs::write(path, text).map_err(|source| failed(path, source))?;
    written.files += 1;
    written.bytes += text.len() as u64;
    Ok(())
}

fn json(value: &impl Serialize, path: &Path) -> Result<String, SampleLogsError> {
    serde_json::to_string(value).map_err(|error| failed(path, error.into()))
}

fn failed(path: &Path, source: io::Error) -> SampleLogsError {
    SampleLogsError::Write {
        path: path.into(),
        source,
    }
}

/// A zstd file of lines.
pub(crate) struct Packed {
    path: PathBuf,
    encoder: zstd::Encoder<'static, BufWriter<File>>,
}

impl Packed {
    pub(crate) fn create(path: PathBuf) -> Result<Self, SampleLogsError> {
        let file = File::create(&path).map_err(|source| failed(&path, source))?;
        let encoder = zstd::Encoder::new(BufWriter::new(file), ZSTD_LEVEL)
            .map_err(|source| failed(&path, source))?;
        Ok(Self { path, encoder })
    }

    pub(crate) fn line(&mut self, line: &str) -> Result<(), SampleLogsError> {
        let written = self
            .encoder
            .write_all(line.as_bytes())
            .and_then(|()| self.encoder.write_all(b"\n"));
        written.map_err(|source| failed(&self.path, source))
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), SampleLogsError> {
        let line = json(value, &self.path)?;
        self.line(&line)
    }

    pub(crate) fn finish(self, written: &mut Written) -> Result<(), SampleLogsError> {
        let Self { path, encoder } = self;
        let finished = encoder
            .finish()
            .and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        let length = finished
            .and_then(|file| file.metadata())
            .map_err(|source| failed(&path, source))?
            .len();
        written.files += 1;
        written.bytes += length;
        Ok(())
    }
}
