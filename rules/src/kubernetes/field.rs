//! Walking a tree with path and line at hand, so that a complaint says where.

use std::fmt;

use super::text::Lines;
use super::tree::{Value, shorten};
use super::{Cause, Issue, Severity};

/// A place in an object: a value, or its absence.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a, 't> {
    value: Option<&'a Value<'t>>,
    parent: Option<&'a Field<'a, 't>>,
    step: Step<'a>,
    /// The nearest key at or above this place that is known to stand in the text.
    near: &'a str,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Item(usize),
}

impl<'a, 't> Field<'a, 't> {
    /// The whole of `value`.
    pub(crate) fn root(value: &'a Value<'t>) -> Self {
        Self {
            value: Some(value),
            parent: None,
            step: Step::Root,
            near: first_key(value).unwrap_or_default(),
        }
    }

    /// What is under `key`; null counts as absent, and so does anything under what is no map.
    pub(crate) fn get(&'a self, key: &'a str) -> Field<'a, 't> {
        let entry = match self.value {
            Some(Value::Map(entries)) => entries.iter().find(|(k, _)| k == key),
            _ => None,
        };
        Field {
            value: entry
                .map(|(_, value)| value)
                .filter(|value| **value != Value::Null),
            parent: Some(self),
            step: Step::Key(key),
            near: entry.map_or(self.near, |(key, _)| key),
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.value.is_none()
    }

    pub(crate) fn value(&self) -> Option<&'a Value<'t>> {
        self.value
    }

    /// The text here. Anything else but absence is an error.
    pub(crate) fn text(&self, notes: &mut Notes<'_>) -> Option<&'a str> {
        let value = self.value?;
        let (is, shown) = match value {
            Value::Text(text) => match notes.lines.old_boolean(text) {
                None => return Some(text),
                Some(boolean) => (format!("the boolean {boolean}"), text.clone().into_owned()),
            },
            other => (describe(other), show(other)),
        };
        let help = (!shown.is_empty()).then(|| format!("write it in quotes: \"{shown}\""));
        notes.error(self, format!("must be a text, is {is}"), help);
        None
    }

    /// The text here, if it is at most `length_max` bytes long.
    pub(crate) fn short_text(&self, length_max: usize, notes: &mut Notes<'_>) -> Option<&'a str> {
        let text = self.text(notes)?;
        if text.len() > length_max {
            notes.error(
                self,
                format!(
                    "is {} bytes long, at most {length_max} are allowed",
                    text.len()
                ),
                None,
            );
            return None;
        }
        Some(text)
    }

    pub(crate) fn bool(&self, notes: &mut Notes<'_>) -> Option<bool> {
        match self.value? {
            Value::Bool(value) => Some(*value),
            other => {
                notes.error(
                    self,
                    format!("must be true or false, is {}", describe(other)),
                    None,
                );
                None
            }
        }
    }

    pub(crate) fn int(&self, notes: &mut Notes<'_>) -> Option<i64> {
        match self.value? {
            Value::Int(value) => Some(*value),
            other => {
                let help =
                    matches!(other, Value::Text(_)).then(|| "write it without quotes".to_owned());
                notes.error(
                    self,
                    format!("must be a whole number, is {}", describe(other)),
                    help,
                );
                None
            }
        }
    }

    /// A port number from 1 to 65535.
    pub(crate) fn port(&self, notes: &mut Notes<'_>) -> Option<u16> {
        let number = self.int(notes)?;
        match u16::try_from(number) {
            Ok(port) if port > 0 => Some(port),
            _ => {
                notes.error(
                    self,
                    format!("{number} is not a port: it must be from 1 to 65535"),
                    None,
                );
                None
            }
        }
    }

    /// The items of the list here; none when absent.
    pub(crate) fn items(
        &'a self,
        notes: &mut Notes<'_>,
    ) -> impl Iterator<Item = Field<'a, 't>> + use<'a, 't> {
        let items = match self.value {
            None => [].as_slice(),
            Some(Value::List(items)) => items,
            Some(other) => {
                notes.error(
                    self,
                    format!("must be a list, is {}", describe(other)),
                    None,
                );
                &[]
            }
        };
        items.iter().enumerate().map(|(index, value)| Field {
            value: Some(value).filter(|value| **value != Value::Null),
            parent: Some(self),
            step: Step::Item(index),
            near: first_key(value).unwrap_or(self.near),
        })
    }

    /// The entries of the map here; none when absent.
    pub(crate) fn entries(
        &'a self,
        notes: &mut Notes<'_>,
    ) -> impl Iterator<Item = (&'a str, Field<'a, 't>)> + use<'a, 't> {
        let entries = match self.value {
            None => [].as_slice(),
            Some(Value::Map(entries)) => entries,
            Some(other) => {
                notes.error(self, format!("must be a map, is {}", describe(other)), None);
                &[]
            }
        };
        entries.iter().map(|(key, value)| {
            let field = Field {
                value: Some(value),
                parent: Some(self),
                step: Step::Key(key),
                near: key,
            };
            (key.as_ref(), field)
        })
    }

    /// Whether this is a map or absent; anything else is an error.
    pub(crate) fn expect_map(&self, notes: &mut Notes<'_>) {
        if let Some(other) = self.value
            && !matches!(other, Value::Map(_))
        {
            notes.error(self, format!("must be a map, is {}", describe(other)), None);
        }
    }

    /// Warns of every key that is not among `known`.
    pub(crate) fn expect_keys(&self, known: &[&str], notes: &mut Notes<'_>) {
        let Some(Value::Map(entries)) = self.value else {
            return;
        };
        for (key, value) in entries {
            if !known.contains(&key.as_ref()) && *value != Value::Null {
                let field = Field { near: key, ..*self };
                let known = known.join("`, `");
                notes.warn_of(
                    Cause::UnknownField,
                    &field,
                    format!(
                        "has no field `{}`, which therefore means nothing",
                        shorten(key)
                    ),
                    Some(format!("the fields here are `{known}`")),
                );
            }
        }
    }
}

/// The first key in `value`: where it stands in the text, as far as we know.
fn first_key<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::Map(entries) => entries.first().map(|(key, _)| key.as_ref()),
        Value::Text(text) => Some(text),
        Value::List(items) => items.first().and_then(first_key),
        _ => None,
    }
}

impl fmt::Display for Field<'_, '_> {
    /// `spec.ingress[0].from`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.parent.is_some_and(|parent| parent.parent.is_some());
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) => write!(f, "{}{}", if inner { "." } else { "" }, shorten(key)),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// What is wrong with one object, as it is found.
pub(crate) struct Notes<'n> {
    file: &'n str,
    lines: &'n Lines<'n>,
    /// `NetworkPolicy shop/redis`, once known.
    title: String,
    line: u32,
    refused: bool,
    issues: &'n mut Vec<Issue>,
}

impl<'n> Notes<'n> {
    pub(crate) fn new(
        file: &'n str,
        lines: &'n Lines<'n>,
        title: String,
        line: u32,
        issues: &'n mut Vec<Issue>,
    ) -> Self {
        Self {
            file,
            lines,
            title,
            line,
            refused: false,
            issues,
        }
    }

    /// Something for which the API server would refuse the object: it is left out.
    pub(crate) fn error(&mut self, at: &Field<'_, '_>, message: String, help: Option<String>) {
        self.refused = true;
        self.push(Severity::Error, Cause::Refused, at, message, help);
    }

    /// Something odd.
    pub(crate) fn warn(&mut self, at: &Field<'_, '_>, message: String, help: Option<String>) {
        self.warn_of(Cause::Odd, at, message, help);
    }

    /// Something odd of a known kind.
    pub(crate) fn warn_of(
        &mut self,
        cause: Cause,
        at: &Field<'_, '_>,
        message: String,
        help: Option<String>,
    ) {
        self.push(Severity::Warning, cause, at, message, help);
    }

    /// Whether the object is left out.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    fn push(
        &mut self,
        severity: Severity,
        cause: Cause,
        at: &Field<'_, '_>,
        message: String,
        help: Option<String>,
    ) {
        let path = at.to_string();
        self.issues.push(Issue {
            severity,
            cause,
            file: self.file.to_owned(),
            line: Some(self.lines.of(at.near).unwrap_or(self.line)),
            object: Some(self.title.clone()),
            field: (!path.is_empty()).then_some(path),
            message,
            help,
        });
    }
}

/// `the number 1`, `a list`: what a value is, in words.
pub(crate) fn describe(value: &Value<'_>) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Int(_) | Value::Float(_) => format!("the number {}", show(value)),
        Value::Text(text) => format!("the text `{}`", shorten(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

fn show(value: &Value<'_>) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) => shorten(text).into_owned(),
        _ => String::new(),
    }
}
