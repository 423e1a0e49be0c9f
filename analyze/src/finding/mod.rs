//! Statements for a person: what was found, why, and what would end it.
//!
//! Findings of a day are made anew from that day's edges each time one of its hours is analysed, so they say the same
//! however often that happens. A fingerprint is what makes a finding the same one tomorrow: the detection and its
//! subjects, never counts or times.

mod from_edges;
mod missing_default_deny;
pub mod remedy;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::findings::FindingRow;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use from_edges::FindingsOfDay;
pub use missing_default_deny::missing_default_deny;
pub use workload::{Subject, Workloads};

/// How bad it is if the finding is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Should be mended.
    Medium,
    /// Should be mended soon.
    High,
    /// A promise is broken now.
    Critical,
}

impl Severity {
    /// All, mildest first.
    pub const ALL: [Severity; 4] = [
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];

    /// The word in the column `severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The severity with that word.
    pub fn from_word(word: &str) -> Option<Severity> {
        Severity::ALL
            .into_iter()
            .find(|severity| severity.as_str() == word)
    }
}

/// What looks for one kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detection {
    /// Denied by policy, and it went through.
    PolicyNotEnforced,
    /// A rule allows it, a security group or network ACL does not.
    SecurityGroupContradictsPolicy,
    /// Reachable only because no policy isolates it for ingress.
    UnprotectedIngress,
    /// Reaches out only because no policy isolates it for egress.
    UnprotectedEgress,
    /// A namespace in which pods run that no policy isolates.
    DefaultDenyMissing,
    /// Denied by policy, tried all the same, and stopped.
    BlockedAttempt,
}

impl Detection {
    /// All, gravest first.
    pub const ALL: [Detection; 6] = [
        Detection::PolicyNotEnforced,
        Detection::SecurityGroupContradictsPolicy,
        Detection::UnprotectedIngress,
        Detection::UnprotectedEgress,
        Detection::DefaultDenyMissing,
        Detection::BlockedAttempt,
    ];

    /// The id in the column `detection`.
    pub fn as_str(self) -> &'static str {
        match self {
            Detection::PolicyNotEnforced => "policy-not-enforced",
            Detection::SecurityGroupContradictsPolicy => "security-group-contradicts-policy",
            Detection::UnprotectedIngress => "unprotected-ingress",
            Detection::UnprotectedEgress => "unprotected-egress",
            Detection::DefaultDenyMissing => "default-deny-missing",
            Detection::BlockedAttempt => "blocked-attempt",
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Detection::PolicyNotEnforced => Severity::Critical,
            Detection::SecurityGroupContradictsPolicy => Severity::High,
            Detection::UnprotectedIngress | Detection::DefaultDenyMissing => Severity::Medium,
            Detection::UnprotectedEgress | Detection::BlockedAttempt => Severity::Low,
        }
    }
}

/// What a finding rests on, as JSON in the column `evidence`; lists are cut at [`EVIDENCE_MAX`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct Evidence {
    /// Edges that say so.
    pub edges: u64,
    /// Peers on the other side, with port and protocol.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub peers: BTreeSet<String>,
    /// Pods concerned.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub pods: BTreeSet<String>,
    /// Nodes these pods run on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<String>,
    /// What policies say, in words.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// What was observed, with the number of connections.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed: BTreeMap<String, i64>,
}

/// Entries kept of each list of evidence.
pub const EVIDENCE_MAX: usize = 50;

/// Adds to a list of evidence, unless it is full. Lists are sorted and edges come in a fixed order, so what is kept is
/// the same each time.
fn keep(list: &mut BTreeSet<String>, entry: String) {
    if list.len() < EVIDENCE_MAX {
        list.insert(entry);
    }
}

/// Counts over the edges of a finding.
#[derive(Debug, Clone, Copy)]
struct Totals {
    first_us: i64,
    last_us: i64,
    connections: i64,
    packets: i64,
    bytes: i64,
}

impl Default for Totals {
    fn default() -> Self {
        Totals {
            first_us: i64::MAX,
            last_us: i64::MIN,
            connections: 0,
            packets: 0,
            bytes: 0,
        }
    }
}

/// Everything about a finding but its counts: what it is about, and what to say.
struct Statement {
    detection: Detection,
    client: Option<Subject>,
    server: Option<Subject>,
    port: Option<i32>,
    protocol: Option<i32>,
    /// What tells findings with the same subjects apart, such as the direction.
    aspect: &'static str,
    title: String,
    explanation: String,
    remedy: String,
    evidence: Evidence,
}

impl Statement {
    fn into_row(self, totals: Totals) -> FindingRow {
        let client = self.client.unwrap_or_default();
        let server = self.server.unwrap_or_default();
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let fingerprint = fingerprint(&[
            self.detection.as_str(),
            self.aspect,
            &client.key(),
            &server.key(),
            &self.port.map(|port| port.to_string()).unwrap_or_default(),
            &self
                .protocol
                .map(|protocol| protocol.to_string())
                .unwrap_or_default(),
        ]);
        FindingRow {
            fingerprint,
            detection: self.detection.as_str().into(),
            severity: self.detection.severity().as_str().into(),
            status: "open".into(),
            title: self.title,
            client_kind: some(&client.kind),
            client_cluster: some(&client.cluster),
            client_namespace: some(&client.namespace),
            client_workload_kind: some(&client.workload_kind),
            client_workload: some(&client.workload),
            client_name: some(&client.name),
            server_kind: some(&server.kind),
            server_cluster: some(&server.cluster),
            server_namespace: some(&server.namespace),
            server_workload_kind: some(&server.workload_kind),
            server_workload: some(&server.workload),
            server_name: some(&server.name),
            server_port: self.port,
            protocol: self.protocol,
            // Text, numbers and lists always serialise.
            evidence: serde_json::to_string(&self.evidence).unwrap_or_default(),
            explanation: self.explanation,
            remedy: self.remedy,
            first_seen_us: totals.first_us,
            last_seen_us: totals.last_us,
            connections: totals.connections,
            packets: totals.packets,
            bytes: totals.bytes,
        }
    }
}

/// 128 bits of SHA-256 over the parts, each followed by a NUL: names cannot run into each other.
fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Gravest first, then by what it is about; depends on nothing but content.
pub fn sort(findings: &mut [FindingRow]) {
    let severity = |row: &FindingRow| std::cmp::Reverse(Severity::from_word(&row.severity));
    findings.sort_by(|a, b| {
        (severity(a), &a.detection, &a.title, &a.fingerprint).cmp(&(
            severity(b),
            &b.detection,
            &b.title,
            &b.fingerprint,
        ))
    });
}
