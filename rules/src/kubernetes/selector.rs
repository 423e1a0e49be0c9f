//! Label selectors, as the API server accepts them.

use super::field::{Field, Notes};
use super::metadata::{check_label_key, label_value, labels_with_keys};
use super::tree::shorten;
use crate::selector::{Operator, Requirement, Selector};

/// Says what is wrong with a key, if anything.
type CheckKey = fn(&Field<'_, '_>, &str, &mut Notes<'_>);

/// Reads a label selector; absent is empty.
pub(crate) fn selector(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Selector {
    selector_with_keys(field, check_label_key, notes)
}

/// Reads a label selector of a dialect that has keys of its own.
pub(crate) fn selector_with_keys(
    field: &Field<'_, '_>,
    check_key: CheckKey,
    notes: &mut Notes<'_>,
) -> Selector {
    field.expect_map(notes);
    field.expect_keys(&["matchLabels", "matchExpressions"], notes);
    let mut expressions = Vec::new();
    for entry in field.get("matchExpressions").items(notes) {
        expressions.extend(requirement(&entry, check_key, notes));
    }
    Selector {
        labels: labels_with_keys(&field.get("matchLabels"), check_key, notes),
        expressions,
    }
}

fn requirement(
    entry: &Field<'_, '_>,
    check_key: CheckKey,
    notes: &mut Notes<'_>,
) -> Option<Requirement> {
    entry.expect_keys(&["key", "operator", "values"], notes);
    let key = entry.get("key");
    let key_text = key.text(notes).unwrap_or_default();
    check_key(&key, key_text, notes);

    let list = entry.get("values");
    let mut values = Vec::new();
    for value in list.items(notes) {
        values.extend(label_value(&value, notes).map(str::to_owned));
    }
    let operator_field = entry.get("operator");
    let operator = match operator_field.text(notes) {
        Some("In") => Operator::In(values),
        Some("NotIn") => Operator::NotIn(values),
        Some(word @ ("Exists" | "DoesNotExist")) => {
            if !values.is_empty() {
                notes.error(
                    &list,
                    format!("must be empty for the operator {word}"),
                    Some("remove the values, or use In or NotIn".to_owned()),
                );
            }
            if word == "Exists" {
                Operator::Exists
            } else {
                Operator::DoesNotExist
            }
        }
        other => {
            let message = match other {
                Some(word) => format!("`{}` is not an operator", shorten(word)),
                None => "is missing".to_owned(),
            };
            notes.error(
                &operator_field,
                message,
                Some("write In, NotIn, Exists or DoesNotExist".to_owned()),
            );
            return None;
        }
    };
    if let Operator::In(values) | Operator::NotIn(values) = &operator
        && values.is_empty()
    {
        notes.error(
            &list,
            "must not be empty for the operators In and NotIn".to_owned(),
            Some("list at least one value, or use Exists or DoesNotExist".to_owned()),
        );
    }
    Some(Requirement {
        key: key_text.to_owned(),
        operator,
    })
}
