//! Documents as plain values, for whoever reads what are no objects: events, for instance.

use serde_json::Value as Json;

use super::text::{Lines, documents_by};
use super::tree::{Answer, Value};

/// Hands every document of `text` to `each`, whole and in order: YAML documents, JSON values one after the other, or a mixture. A document
/// that cannot be read is handed over as nothing.
///
/// ```
/// let mut kinds = Vec::new();
/// flowaudit_rules::kubernetes::values("kind: Event\n---\nkind: [\n---\n{\"kind\": \"List\"}", |value| {
///     kinds.push(value.map(|value| value["kind"].clone()));
/// });
/// assert_eq!(kinds, [Some("Event".into()), None, Some("List".into())]);
/// ```
pub fn values(text: &str, mut each: impl FnMut(Option<Json>)) {
    let lines = Lines::new(text);
    documents_by(Answer, &lines, |_, document| each(document.ok().map(json)));
}

fn json(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Float(value) => value.into(),
        Value::Text(value) => value.into_owned().into(),
        Value::List(items) => items.into_iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key.into_owned(), json(value)));
            Json::Object(entries.collect())
        }
    }
}
