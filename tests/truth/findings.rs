//! Findings against those that follow from the scenario's own words.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::findings::FindingRow;
use flowaudit_sample_logs::Run;
use flowaudit_sample_logs::truth::{ExpectedFinding, Subject};

/// What findings are compared by.
type FindingKey = (
    String,
    Option<String>,
    Option<String>,
    Option<i32>,
    Option<i32>,
    Option<String>,
);

pub(crate) fn check_findings(run: &Run<'_>, findings: &[FindingRow], seed: u64) {
    let expected: BTreeMap<FindingKey, bool> = run
        .expected_findings()
        .into_iter()
        .map(|finding| (expected_key(&finding), finding.certain))
        .collect();
    let found: BTreeSet<FindingKey> = findings.iter().map(found_key).collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|(key, certain)| **certain && !found.contains(key))
        .collect();
    let invented: Vec<_> = found
        .iter()
        .filter(|key| !expected.contains_key(key))
        .collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "seed {seed}: missing {missing:#?}, invented {invented:#?}"
    );
}

fn expected_key(finding: &ExpectedFinding) -> FindingKey {
    let subject = |subject: &Subject| match subject {
        Subject::Workload {
            namespace,
            workload_kind,
            workload,
        } => format!("{namespace}/{workload_kind}/{workload}"),
        Subject::Node { name } => format!("node {name}"),
        Subject::External => "external".to_owned(),
        Subject::Namespace { namespace } => format!("namespace {namespace}"),
    };
    (
        finding.detection.clone(),
        finding.client.as_ref().map(subject),
        finding.server.as_ref().map(subject),
        finding.port.map(i32::from),
        finding
            .protocol
            .map(|protocol| i32::from(protocol.number(false))),
        finding.direction.clone(),
    )
}

fn found_key(row: &FindingRow) -> FindingKey {
    let subject = |kind: &Option<String>, parts: [&Option<String>; 4]| {
        let [namespace, workload_kind, workload, name] =
            parts.map(|part| part.clone().unwrap_or_default());
        kind.as_deref().map(|kind| match kind {
            "pod" => format!("{namespace}/{workload_kind}/{workload}"),
            "node" => format!("node {name}"),
            "namespace" => format!("namespace {namespace}"),
            other => other.to_owned(),
        })
    };
    let direction = (row.detection == "default-deny-missing").then(|| {
        if row.title.contains("egress") {
            "egress".to_owned()
        } else {
            "ingress".to_owned()
        }
    });
    (
        row.detection.clone(),
        subject(
            &row.client_kind,
            [
                &row.client_namespace,
                &row.client_workload_kind,
                &row.client_workload,
                &row.client_name,
            ],
        ),
        subject(
            &row.server_kind,
            [
                &row.server_namespace,
                &row.server_workload_kind,
                &row.server_workload,
                &row.server_name,
            ],
        ),
        row.server_port,
        row.protocol,
        direction,
    )
}
