//! Findings as commands show them: one per fingerprint, over all days.

use std::collections::BTreeMap;

use flowaudit_analyze::finding;
use flowaudit_lake::table::findings::FindingRow;
use flowaudit_rules::cluster::Protocol;
use serde::Serialize;
use serde_json::Value;

use crate::output::{count, counted};
use crate::when::rfc3339;

/// Characters of a fingerprint that lists show; `findings show` takes any beginning.
const SHORT: usize = 8;

/// Entries of each list of evidence that are shown; JSON has all that are kept.
const EVIDENCE_SHOWN: usize = 5;

/// A finding, for programs.
#[derive(Serialize)]
pub(crate) struct Finding<'f> {
    fingerprint: &'f str,
    detection: &'f str,
    severity: &'f str,
    status: &'f str,
    title: &'f str,
    client: Option<Subject<'f>>,
    server: Option<Subject<'f>>,
    server_port: Option<i32>,
    protocol: Option<String>,
    evidence: Value,
    explanation: &'f str,
    remedy: &'f str,
    first_seen: String,
    last_seen: String,
    connections: i64,
    packets: i64,
    bytes: i64,
}

/// Who it is about.
#[derive(Serialize)]
struct Subject<'f> {
    kind: &'f str,
    namespace: Option<&'f str>,
    workload_kind: Option<&'f str>,
    workload: Option<&'f str>,
    name: Option<&'f str>,
}

impl<'f> From<&'f FindingRow> for Finding<'f> {
    fn from(row: &'f FindingRow) -> Self {
        let subject = |kind: &'f Option<String>,
                       namespace: &'f Option<String>,
                       workload_kind,
                       workload,
                       name| {
            let text = |text: &'f Option<String>| text.as_deref();
            Some(Subject {
                kind: kind.as_deref()?,
                namespace: text(namespace),
                workload_kind: text(workload_kind),
                workload: text(workload),
                name: text(name),
            })
        };
        Finding {
            fingerprint: &row.fingerprint,
            detection: &row.detection,
            severity: &row.severity,
            status: &row.status,
            title: &row.title,
            client: subject(
                &row.client_kind,
                &row.client_namespace,
                &row.client_workload_kind,
                &row.client_workload,
                &row.client_name,
            ),
            server: subject(
                &row.server_kind,
                &row.server_namespace,
                &row.server_workload_kind,
                &row.server_workload,
                &row.server_name,
            ),
            server_port: row.server_port,
            protocol: protocol(row),
            evidence: serde_json::from_str(&row.evidence)
                .unwrap_or_else(|_| row.evidence.as_str().into()),
            explanation: &row.explanation,
            remedy: &row.remedy,
            first_seen: rfc3339(row.first_seen_us),
            last_seen: rfc3339(row.last_seen_us),
            connections: row.connections,
            packets: row.packets,
            bytes: row.bytes,
        }
    }
}

fn protocol(row: &FindingRow) -> Option<String> {
    let number = u8::try_from(row.protocol?).ok()?;
    Some(Protocol::from_number(number).to_string())
}

/// One row per fingerprint: the latest day's words, the counts of all days; gravest first.
pub(crate) fn over_days(rows: Vec<FindingRow>) -> Vec<FindingRow> {
    let mut known: BTreeMap<String, FindingRow> = BTreeMap::new();
    for row in rows {
        let Some(before) = known.get_mut(&row.fingerprint) else {
            known.insert(row.fingerprint.clone(), row);
            continue;
        };
        let (later, earlier) = match row.last_seen_us >= before.last_seen_us {
            true => (&row, &*before),
            false => (&*before, &row),
        };
        *before = FindingRow {
            first_seen_us: later.first_seen_us.min(earlier.first_seen_us),
            connections: later.connections.saturating_add(earlier.connections),
            packets: later.packets.saturating_add(earlier.packets),
            bytes: later.bytes.saturating_add(earlier.bytes),
            ..later.clone()
        };
    }
    let mut rows: Vec<FindingRow> = known.into_values().collect();
    finding::sort(&mut rows);
    rows
}

/// The list as a table.
pub(crate) fn list(rows: &[FindingRow]) -> String {
    let headers = ["severity", "finding", "connections", "last seen", "id"];
    crate::output::table(&headers, rows.iter().map(cells))
}

fn cells(row: &FindingRow) -> Vec<String> {
    vec![
        row.severity.clone(),
        format!("{}: {}", row.detection, row.title),
        count(u64::try_from(row.connections).unwrap_or_default()),
        rfc3339(row.last_seen_us),
        short(row).to_owned(),
    ]
}

/// The beginning of its id, by which `findings show` knows it.
pub(crate) fn short(row: &FindingRow) -> &str {
    row.fingerprint.get(..SHORT).unwrap_or(&row.fingerprint)
}

/// The whole finding as text.
pub(crate) fn text(row: &FindingRow) -> String {
    let mut text = format!(
        "{}  {}  {}\n  {}\n\n",
        row.severity, row.detection, row.status, row.title
    );
    text += &format!("  {}\n\n", indented(&row.explanation, "  "));
    let connections = u64::try_from(row.connections).unwrap_or_default();
    let bytes = u64::try_from(row.bytes).unwrap_or_default();
    text += &format!(
        "  seen      {} to {}\n",
        rfc3339(row.first_seen_us),
        rfc3339(row.last_seen_us)
    );
    if connections > 0 {
        text += &format!(
            "  traffic   {}, {}\n",
            counted(connections, "connection", "connections"),
            crate::output::bytes(bytes)
        );
    }
    text += &evidence(&row.evidence);
    text += &format!("  id        {}\n", row.fingerprint);
    text += &format!(
        "\n  What would end it:\n\n    {}\n",
        indented(row.remedy.trim_end(), "    ")
    );
    text
}

fn evidence(json: &str) -> String {
    let Ok(Value::Object(lists)) = serde_json::from_str::<Value>(json) else {
        return String::new();
    };
    let mut text = String::new();
    for (name, value) in &lists {
        let entries: Vec<String> = match value {
            Value::Array(entries) => entries.iter().map(plain).collect(),
            Value::Object(entries) => entries
                .iter()
                .map(|(key, value)| format!("{key} {}", plain(value)))
                .collect(),
            _ => continue,
        };
        let shown = entries.iter().take(EVIDENCE_SHOWN);
        for (index, entry) in shown.enumerate() {
            let label = if index == 0 { name.as_str() } else { "" };
            text += &format!("  {label:<9} {entry}\n");
        }
        if let Some(more) = entries
            .len()
            .checked_sub(EVIDENCE_SHOWN)
            .filter(|more| *more > 0)
        {
            text += &format!("  {:<9} and {more} more\n", "");
        }
    }
    text
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn indented(text: &str, by: &str) -> String {
    text.replace('\n', &format!("\n{by}"))
        .replace(&format!("\n{by}\n"), "\n\n")
}
