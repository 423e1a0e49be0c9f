//! Text of files → the values in it, one after the other, over what is damaged between them. Pure.

use flowaudit_rules::kubernetes;
use serde_json::{Deserializer, Value};

/// Whoever looks for the first value does not read a whole snapshot for it.
const HEAD: usize = 1 << 20;

/// Words of which one is a key in every event, and none in what a snapshot usually holds.
const WORDS: [&str; 5] = [
    "auditID",
    "eventId",
    "event_id",
    "involvedObject",
    "regarding",
];

/// Whether a text holds audit events, entries of the event centre or events.
#[must_use]
pub fn is_past(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_json = text.starts_with('{');
    let mut end = text.len().min(HEAD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = text.get(..end).unwrap_or_default();
    let has_key = |word: &&str| match is_json {
        true => head.contains(&format!("\"{word}\"")),
        false => head.contains(&format!("{word}:")),
    };
    if !WORDS.iter().any(has_key) {
        return false;
    }
    if is_json {
        return first(text).is_some_and(|value| is_told(&value));
    }
    // In YAML all of it is looked at: what stands beside events would be lost.
    let (mut told, mut other) = (0_u64, 0_u64);
    kubernetes::values(text, |value| match value {
        Some(value) if is_told(&value) => told += 1,
        Some(Value::Null) => {}
        _ => other += 1,
    });
    told > 0 && other == 0
}

/// The first value, or the first line where it is cut off.
fn first(text: &str) -> Option<Value> {
    Deserializer::from_str(text)
        .into_iter::<Value>()
        .next()?
        .ok()
}

fn is_told(value: &Value) -> bool {
    let kind = value.get("kind").and_then(Value::as_str);
    let is_list = matches!(kind, Some("EventList" | "List"));
    if let Some(items) = value
        .get("items")
        .and_then(Value::as_array)
        .filter(|_| is_list)
    {
        return kind == Some("EventList") || !items.is_empty() && items.iter().all(is_told);
    }
    let has = |key: &str| value.get(key).is_some();
    has("auditID") && has("stage") || has("eventId") || has("event_id") || kind == Some("Event")
}

/// Shows every value of a text, YAML or JSON.
pub fn values(text: &str, mut show: impl FnMut(&Value)) -> Unread {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        return json_values(text, show);
    }
    kubernetes::values(text, |value| {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            show(&value);
        }
    });
    Unread::default()
}

/// What a text could not give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// Lines that are not JSON.
    pub lines: u64,
    /// It ends within a value.
    pub cut: bool,
}

/// Shows every JSON value of a text. A line that is none is passed over.
fn json_values(text: &str, mut show: impl FnMut(&Value)) -> Unread {
    let mut unread = Unread::default();
    let mut rest = text;
    loop {
        let mut values = Deserializer::from_str(rest).into_iter::<Value>();
        let error = loop {
            match values.next() {
                None => return unread,
                Some(Ok(value)) => show(&value),
                Some(Err(error)) => break error,
            }
        };
        let read = rest.get(values.byte_offset()..).unwrap_or_default();
        if error.is_eof() {
            unread.cut = true;
            return unread;
        }
        unread.lines += 1;
        // On with the line after the one that the value begins on.
        let begun = read.trim_start();
        match begun.split_once('\n') {
            Some((_, next)) => rest = next,
            None => return unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_damaged_are_passed_over() {
        let mut seen = Vec::new();
        let text = "\u{feff}{\"a\":1}\n{\"a\":\nx}\n{\"a\":2}{\"a\":3}\n\n{\"a\":4";
        let unread = values(text, |value| seen.extend(value["a"].as_i64()));
        assert_eq!(seen, [1, 2, 3]);
        assert_eq!(
            unread,
            Unread {
                lines: 2,
                cut: true
            }
        );
    }

    #[test]
    fn events_are_told_from_snapshots() {
        for text in [
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete"}"#,
            r#"{"eventId":"{}"}"#,
            r#"{"kind":"EventList","items":[{"involvedObject":{}}]}"#,
            r#"{"kind":"List","items":[{"kind":"Event","involvedObject":{}}]}"#,
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  involvedObject: {kind: Pod}\n  kind: Event\nkind: List\n",
            "kind: EventList\nitems:\n- involvedObject: {}\n",
            "---\nkind: Event\nregarding: {}\n---\n---\nkind: Event\nregarding: {}\n",
        ] {
            assert!(is_past(text), "{text}");
        }
        for text in [
            "",
            "kind: Pod\n",
            r#"{"kind":"Pod","metadata":{"annotations":{"x":"\"auditID\""}}}"#,
            r#"{"kind":"List","items":[{"kind":"Pod"},{"kind":"Event","involvedObject":{}}]}"#,
            r#"{"type":"ADDED","object":{"involvedObject":{}}}"#,
            "kind: Event\nregarding: {}\n---\nkind: Pod\n",
            "kind: List\nitems:\n- {kind: Pod}\n- {kind: Event, involvedObject: {}}\n",
            "kind: Event\ninvolvedObject: {\n",
        ] {
            assert!(!is_past(text), "{text}");
        }
    }
}
