//! What the fuzz targets share. Each target is one file in `src/bin`; `fuzz/run` builds and runs them.
//!
//! The promise that every target checks: no input makes the reader panic, and what it accepts prints and reads back to
//! itself. Seeds are in `fuzz/seeds/<target>/`.

use std::borrow::Cow;

use flowaudit_ingest::decode::{Field, RawRecord};
use flowaudit_ingest::inventory::past::{self, Past};
use flowaudit_ingest::inventory::rows::Known;
use flowaudit_rules::kubernetes::{self, Object, Severity};

/// The values that a record has, by field.
pub fn values(record: &RawRecord<'_>) -> Vec<(Field, String)> {
    Field::ALL
        .into_iter()
        .filter_map(|field| record.get(field).map(|value| (field, value.to_owned())))
        .collect()
}

/// A record of these values.
pub fn record(values: &[(Field, String)]) -> RawRecord<'_> {
    let mut record = RawRecord::default();
    for (field, value) in values {
        record
            .set(*field, Cow::Borrowed(value))
            .expect("every field is set once");
    }
    record
}

/// What logs tell of a cluster, told again on top of it, changes nothing; however the lines are ordered.
#[track_caller]
pub fn check_past(text: &str) {
    _ = past::text::is_past(text);
    let mut lines = Vec::new();
    _ = past::text::values(text, |value| lines.push(value.clone()));
    let read = |lines: &mut dyn Iterator<Item = &serde_json::Value>| {
        let mut past = Past::default();
        lines.for_each(|line| past.read(line));
        past
    };
    let (rows, tally) = read(&mut lines.iter()).rows(Known::default(), "c");
    let known = Known::from_rows(&rows.endpoints, &rows.objects);
    let (again, tally_again) = read(&mut lines.iter().rev()).rows(known, "c");
    assert_eq!(again, rows);
    assert_eq!(tally_again.writes, tally.writes);
}

/// An object that was read prints as one line that reads back to it.
#[track_caller]
pub fn check_prints_and_reads_back(object: &Object) {
    let printed = object.to_json();
    let again = kubernetes::read(&object.origin.file, &printed);
    // A kind that is not evaluated yet is warned of each time it is read.
    assert!(
        again
            .issues
            .iter()
            .all(|issue| issue.severity == Severity::Warning),
        "{:?}\n{printed}",
        again.issues
    );
    let [read] = again.objects.as_slice() else {
        panic!("{} objects from {printed}", again.objects.len());
    };
    let mut read = read.clone();
    read.origin = object.origin.clone();
    assert_eq!(&read, object, "{printed}");
}
