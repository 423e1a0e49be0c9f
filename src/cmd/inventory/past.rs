//! What audit logs and events told, and what they could not tell.

use std::collections::BTreeMap;

use flowaudit_ingest::inventory::past::Tally;
use serde::Serialize;

use crate::failure::{Word, say};
use crate::output::counted;
use crate::when::rfc3339;

/// Holes told one by one.
const HOLES_TOLD: usize = 10;

/// Tells of holes, and of what the logs do not hold.
pub(super) fn told(past: &Tally) {
    for (from, to) in past.holes.iter().take(HOLES_TOLD) {
        let text = format!(
            "the audit log is missing from {} to {}: no kubelet wrote",
            rfc3339(*from),
            rfc3339(*to)
        );
        say(Word::Warning, text);
    }
    let more = past.holes.len().saturating_sub(HOLES_TOLD);
    if more > 0 {
        say(Word::Warning, format!("{more} more of that kind"));
    }
    if past.holes.len() > HOLES_TOLD {
        let help = "read the whole log: in one that was filtered by resource the leases of kubelets are missing";
        say(Word::Help, help);
    }
    for at in past.settings.iter().take(HOLES_TOLD) {
        let text = format!(
            "what configures Terway was changed at {}, to what is not in the log: which engine enforces policies is not known from then on",
            rfc3339(*at)
        );
        say(Word::Warning, text);
    }
    if !past.settings.is_empty() {
        let help = "import it as it is now, with `kubectl get configmap eni-config -n kube-system -o yaml`, or set `--engine` where verdicts are made";
        say(Word::Help, help);
    }
    let blind: Vec<&str> = past.blind().collect();
    if !blind.is_empty() {
        let text = format!("the audit log holds no content of {}", blind.join(", "));
        say(Word::Warning, text);
    }
    if past.unknown > 0 {
        let text = format!(
            "{} in no log: verdicts that they can touch are unspecified",
            counted(
                past.unknown,
                "version of a policy or namespace is",
                "versions of policies or namespaces are"
            )
        );
        say(Word::Warning, text);
    }
}

/// What was read, for people; empty where nothing was.
pub(super) fn said(past: &Tally) -> String {
    if past.is_empty() {
        return String::new();
    }
    let between = past.from_to.map_or_else(String::new, |(from, to)| {
        format!(" from {} to {}", rfc3339(from), rfc3339(to))
    });
    format!(
        ", {}{between}, {} used, {} of addresses given",
        counted(past.audit, "audit event", "audit events"),
        counted(past.writes, "write", "writes"),
        counted(past.allocations, "event", "events"),
    )
}

/// Resources by what the log holds of their writes, for people.
pub(super) fn levels(past: &Tally) -> String {
    let mut text = String::new();
    for (resource, levels) in &past.levels {
        let told: Vec<String> = levels
            .iter()
            .map(|(level, writes)| format!("{writes} at {level}"))
            .collect();
        text += &format!("  {resource}: {}\n", told.join(", "));
    }
    text
}

/// Holders by what they rest on, for people.
pub(super) fn evidence(evidence: &BTreeMap<String, u64>) -> String {
    let told = evidence.iter().filter(|(words, _)| !words.is_empty());
    let told: Vec<String> = told
        .map(|(words, rows)| format!("{} by {words}", counted(*rows, "holder", "holders")))
        .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!("  {}\n", told.join(", ")),
    }
}

/// What was read, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    audit_events: u64,
    writes: u64,
    left_out: BTreeMap<&'static str, u64>,
    levels: BTreeMap<String, BTreeMap<String, u64>>,
    content_unknown: u64,
    settings_unknown_from: Vec<String>,
    events: u64,
    allocations: u64,
    foreign: u64,
    holes: Vec<[String; 2]>,
}

pub(super) fn report(past: &Tally) -> Report {
    let levels = past.levels.iter().map(|(resource, levels)| {
        let levels = levels
            .iter()
            .map(|(level, writes)| (level.to_string(), *writes));
        (resource.clone(), levels.collect())
    });
    Report {
        audit_events: past.audit,
        writes: past.writes,
        left_out: past
            .left_out
            .iter()
            .map(|(why, number)| (why.as_str(), *number))
            .collect(),
        levels: levels.collect(),
        content_unknown: past.unknown,
        settings_unknown_from: past.settings.iter().copied().map(rfc3339).collect(),
        events: past.events,
        allocations: past.allocations,
        foreign: past.foreign,
        holes: past
            .holes
            .iter()
            .map(|(from, to)| [rfc3339(*from), rfc3339(*to)])
            .collect(),
    }
}
