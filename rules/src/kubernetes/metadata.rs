//! `metadata`: what all objects have in common.

use chrono::{DateTime, Utc};

use super::field::{Field, Notes};
use super::names;
use super::tree::Value;
use crate::cluster::{Labels, Owner};

/// What we use of `metadata`.
#[derive(Default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) resource_version: Option<String>,
    pub(crate) created: Option<DateTime<Utc>>,
    pub(crate) deletion: Option<DateTime<Utc>>,
    pub(crate) labels: Labels,
    /// When somebody wrote labels last who had not made the object.
    pub(crate) labelled: Option<DateTime<Utc>>,
    pub(crate) owner: Option<Owner>,
}

/// Reads what we use of `metadata`.
pub(crate) fn read(metadata: &Field<'_, '_>, notes: &mut Notes<'_>) -> Metadata {
    metadata.expect_map(notes);
    let short =
        |key, notes: &mut Notes<'_>| metadata.get(key).short_text(names::NAME_LENGTH_MAX, notes);
    Metadata {
        name: short("name", notes).unwrap_or_default().to_owned(),
        namespace: short("namespace", notes)
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        uid: short("uid", notes).unwrap_or_default().to_owned(),
        generation: metadata.get("generation").int(notes),
        resource_version: short("resourceVersion", notes).map(str::to_owned),
        created: time(&metadata.get("creationTimestamp"), notes),
        deletion: time(&metadata.get("deletionTimestamp"), notes),
        labels: labels(&metadata.get("labels"), notes),
        labelled: labelled(metadata.get("managedFields").value()),
        owner: controller(&metadata.get("ownerReferences"), notes),
    }
}

/// Checks a name against the rule for its kind and says what is wrong with it.
pub(crate) fn check_name(field: &Field<'_, '_>, name: &str, is_label: bool, notes: &mut Notes<'_>) {
    let (valid, rule) = if is_label {
        (
            names::is_dns_label(name),
            "at most 63 of a-z, 0-9 and -, with a letter or digit at both ends",
        )
    } else {
        (
            names::is_dns_subdomain(name),
            "at most 253 of a-z, 0-9, - and ., with a letter or digit at both ends of each part",
        )
    };
    if name.is_empty() {
        notes.error(
            field,
            "is missing".to_owned(),
            Some("every object needs a name of its own".to_owned()),
        );
    } else if !valid {
        let shown = super::tree::shorten(name);
        notes.error(
            field,
            format!("`{shown}` is not a name Kubernetes accepts"),
            Some(format!("use {rule}")),
        );
    }
}

/// A map of labels, each key and value such as the API server accepts.
pub(crate) fn labels(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Labels {
    labels_with_keys(field, check_label_key, notes)
}

/// A map of labels whose keys are checked in another way.
pub(crate) fn labels_with_keys(
    field: &Field<'_, '_>,
    check_key: fn(&Field<'_, '_>, &str, &mut Notes<'_>),
    notes: &mut Notes<'_>,
) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in field.entries(notes) {
        check_key(&value, key, notes);
        if let Some(text) = label_value(&value, notes) {
            labels.insert(key.to_owned(), text.to_owned());
        }
    }
    labels
}

/// Says what is wrong with a label key, if anything.
pub(crate) fn check_label_key(field: &Field<'_, '_>, key: &str, notes: &mut Notes<'_>) {
    if !names::is_label_key(key) {
        let help = "a label key is [prefix/]name, the name at most 63 of A-Z, a-z, 0-9, -, _ and .";
        let shown = super::tree::shorten(key);
        notes.error(
            field,
            format!("`{shown}` is not a label key"),
            Some(help.to_owned()),
        );
    }
}

/// One label value.
pub(crate) fn label_value<'a>(field: &Field<'a, '_>, notes: &mut Notes<'_>) -> Option<&'a str> {
    if field.value() == Some(&Value::Null) {
        return Some("");
    }
    let text = field.text(notes)?;
    if !names::is_label_value(text) {
        let help = "a label value is empty, or at most 63 of A-Z, a-z, 0-9, -, _ and . with a letter or digit at both ends";
        let shown = super::tree::shorten(text);
        notes.error(
            field,
            format!("`{shown}` is not a label value"),
            Some(help.to_owned()),
        );
        return None;
    }
    Some(text)
}

/// A time as the API server writes it. One that cannot be read is reported and counts as unknown.
pub(crate) fn time(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<DateTime<Utc>> {
    let text = field.short_text(64, notes)?;
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Some(time.to_utc()),
        Err(_) => {
            notes.warn(
                field,
                format!("`{text}` is not a time and counts as unknown"),
                Some("times look like 2026-11-24T08:00:00Z".to_owned()),
            );
            None
        }
    }
}

/// When labels were last written by somebody else than who made the object, as `managedFields` say: an entry that has labels and nothing of
/// the spec. Who made it wrote both, and the entry gets a new time with whatever he writes later. These fields are for the API server
/// alone; what is wrong with them is not reported.
fn labelled(managed: Option<&Value<'_>>) -> Option<DateTime<Utc>> {
    let Some(Value::List(entries)) = managed else {
        return None;
    };
    let of_labels = entries.iter().filter(|entry| {
        let fields = entry.get("fieldsV1");
        let metadata = fields.and_then(|fields| fields.get("f:metadata"));
        let has_labels = metadata.is_some_and(|metadata| metadata.get("f:labels").is_some());
        has_labels && fields.is_some_and(|fields| fields.get("f:spec").is_none())
    });
    let times =
        of_labels.filter_map(|entry| DateTime::parse_from_rfc3339(entry.text("time")?).ok());
    times.map(|time| time.to_utc()).max()
}

/// The owner with `controller: true`.
fn controller(references: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Owner> {
    for reference in references.items(notes) {
        if reference.get("controller").bool(notes) == Some(true) {
            return Some(Owner {
                kind: reference
                    .get("kind")
                    .short_text(names::NAME_LENGTH_MAX, notes)?
                    .to_owned(),
                name: reference
                    .get("name")
                    .short_text(names::NAME_LENGTH_MAX, notes)?
                    .to_owned(),
            });
        }
    }
    None
}
