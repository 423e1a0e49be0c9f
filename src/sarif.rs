//! SARIF 2.1.0: findings as code hosts show them in pull requests.

use std::path::Path;

use flowaudit_rules::lint::{Finding, LINTS, Report, Severity};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// More results in one run are refused by GitHub.
const RESULTS_MAX: usize = 25_000;

/// One log with one run.
pub(crate) fn log(report: &Report) -> Value {
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    let mut notes: Vec<String> = report
        .not_checked
        .iter()
        .map(|not| format!("Not checked: {} ({}).", not.lints.join(", "), not.because))
        .collect();
    if findings.len() > RESULTS_MAX {
        notes.push(format!(
            "{} findings are left out; the gravest are here.",
            findings.len() - RESULTS_MAX
        ));
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings.truncate(RESULTS_MAX);
    }
    let notifications: Vec<Value> = notes
        .iter()
        .map(|note| json!({ "level": "note", "message": { "text": plain(note) } }))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "flowaudit",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": LINTS.map(|lint| json!({
                    "id": lint.id,
                    "shortDescription": { "text": lint.finds },
                    "fullDescription": { "text": format!("{} {}", lint.finds, lint.matters) },
                    "help": {
                        "text": format!("{} {} When it is wrong: {}", lint.matters, lint.fix, lint.wrong),
                        "markdown": format!(
                            "{}\n\n**What to do.** {}\n\n**When it is wrong.** {}",
                            lint.matters, lint.fix, lint.wrong
                        ),
                    },
                    "defaultConfiguration": { "level": level(lint.severity) },
                    "properties": {
                        "tags": ["security", "kubernetes", "network-policy"],
                        "security-severity": score(lint.severity),
                    },
                })),
            } },
            // A later run takes the place of this one.
            "automationDetails": { "id": "policy-lint/" },
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications,
            }],
            "results": results(&findings),
        }],
    })
}

fn results(findings: &[&Finding]) -> Vec<Value> {
    let mut seen = std::collections::HashMap::new();
    let mut results = Vec::with_capacity(findings.len());
    for finding in findings {
        let uri = uri(&finding.file);
        let hash = hash(finding, &uri);
        let number = seen.entry(hash.clone()).or_insert(0_u32);
        *number += 1;
        let mut text = String::new();
        for part in [&finding.object, &finding.field].into_iter().flatten() {
            text += part;
            text += ": ";
        }
        text += &finding.message;
        if let Some(fix) = &finding.fix {
            text += &format!(". What to do: {fix}");
        }
        results.push(json!({
            "ruleId": finding.lint.id,
            "ruleIndex": LINTS.iter().position(|lint| lint.id == finding.lint.id),
            "level": level(finding.severity),
            "message": { "text": plain(&text) },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri },
                "region": {
                    "startLine": finding.line,
                    "startColumn": 1,
                    "endLine": finding.line,
                    "endColumn": 1,
                },
            } }],
            "partialFingerprints": { "primaryLocationLineHash": format!("{hash}:{number}") },
        }));
    }
    results
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// The middle of the band that GitHub gives each word.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    }
}

/// What makes a finding the same one after lines have moved.
fn hash(finding: &Finding, uri: &str) -> String {
    let parts = [
        finding.lint.id,
        uri,
        finding.object.as_deref().unwrap_or_default(),
        finding.field.as_deref().unwrap_or_default(),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Text in which braces are no placeholders and brackets no links.
fn plain(text: &str) -> String {
    let text = text.replace('{', "{{").replace('}', "}}");
    text.replace("](", "] (")
}

/// A path as a URI, relative where the path is.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    if Path::new(path).is_absolute() {
        uri += "file://";
    }
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("./policies/shop.yaml"), "policies/shop.yaml");
        assert_eq!(uri("a b/c:d%.yaml"), "a%20b/c%3Ad%25.yaml");
        assert_eq!(uri("/srv/é.yaml"), "file:///srv/%C3%A9.yaml");
    }

    #[test]
    fn nothing_in_a_text_is_taken_for_more() {
        assert_eq!(plain("{0} [a](b)"), "{{0}} [a] (b)");
    }
}
