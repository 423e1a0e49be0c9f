//! An answer line, field by field: their order is part of the format.

use std::fmt::Write;

use super::probe::{Probe, Word};
use crate::evaluate::compiled::form::escape_from;
use crate::verdict::{Decision, Outcome, Reason, Tier, Unspecified};

/// What an answer says, but for its sides.
pub(super) struct Answer<'v> {
    pub(super) verdict: Outcome,
    pub(super) unspecified: &'v [Unspecified],
    pub(super) default_reading: Decision,
}

impl Answer<'_> {
    /// Appends the line; the sides append themselves.
    pub(super) fn write(
        &self,
        probe: &Probe<'_>,
        json: &mut String,
        egress: impl FnOnce(&mut String),
        ingress: impl FnOnce(&mut String),
    ) {
        json.push_str(r#"{"src":"#);
        push_text(&probe.src, json);
        json.push_str(r#","dst":"#);
        push_text(&probe.dst, json);
        // Writing to a text never fails.
        let _ = write!(json, r#","port":{},"protocol":"#, probe.port);
        match &probe.protocol {
            Word::Text(text) => push_text(text, json),
            Word::Number(number) => {
                let _ = write!(json, "{number}");
            }
        }
        push_word(r#","verdict":"#, self.verdict.as_str(), json);
        json.push_str(r#","unspecified":["#);
        for (index, point) in self.unspecified.iter().enumerate() {
            push_word(if index > 0 { "," } else { "" }, point.as_str(), json);
        }
        json.push(']');
        push_word(
            r#","default_reading":"#,
            self.default_reading.as_str(),
            json,
        );
        json.push_str(r#","egress":"#);
        egress(json);
        json.push_str(r#","ingress":"#);
        ingress(json);
        json.push('}');
    }
}

/// Appends a side, `reasons` its list of reasons.
pub(super) fn push_side(
    verdict: Outcome,
    tier: Tier,
    json: &mut String,
    reasons: impl FnOnce(&mut String),
) {
    push_word(r#"{"verdict":"#, verdict.as_str(), json);
    push_word(r#","tier":"#, tier.as_str(), json);
    json.push_str(r#","reasons":"#);
    reasons(json);
    json.push('}');
}

/// Appends reasons as a list of sentences.
pub(super) fn push_reasons(reasons: &[Reason], json: &mut String) {
    json.push('[');
    for (index, reason) in reasons.iter().enumerate() {
        json.push_str(if index > 0 { r#",""# } else { r#"""# });
        let begin = json.len();
        let _ = write!(json, "{reason}");
        escape_from(begin, json);
        json.push('"');
    }
    json.push(']');
}

/// Appends `{"error":…}`.
pub(super) fn push_error(error: &str, json: &mut String) {
    json.push_str(r#"{"error":"#);
    push_text(error, json);
    json.push('}');
}

/// Words of ours need no escape.
fn push_word(before: &str, word: &str, json: &mut String) {
    for part in [before, "\"", word, "\""] {
        json.push_str(part);
    }
}

fn push_text(text: &str, json: &mut String) {
    json.push('"');
    let begin = json.len();
    json.push_str(text);
    escape_from(begin, json);
    json.push('"');
}
