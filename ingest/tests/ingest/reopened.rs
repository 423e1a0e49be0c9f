//! Which analysed hours new records let be analysed again.

use flowaudit_lake::Hour;

use crate::common::{Place, START, json};

/// The hours that are open after `line` came, of the hour of [`START`] and the two on either side, counted from it.
fn opened_by(line: &str) -> Vec<i64> {
    let place = Place::new();
    let hour = Hour::of_us(START * 1_000_000);
    place.ingest(&[&place.file("first.jsonl", json(0))]);
    let mut batch = place.lake.batch("analyze").unwrap();
    let near: Vec<Hour> = (-2..=2).map(|n| Hour(hour.0 + n)).collect();
    near.iter()
        .for_each(|hour| batch.note_analysed(*hour, batch.base().number));
    batch.publish().unwrap();
    place.ingest(&[&place.file("second.jsonl", line)]);
    let snapshot = place.lake.snapshot().unwrap();
    let open = |near: &&Hour| snapshot.is_open(**near);
    let opened = near
        .iter()
        .filter(open)
        .map(|near| near.0 - hour.0)
        .collect();

    // The same once more changes nothing, and so opens nothing.
    let number = snapshot.number;
    place.ingest(&[&place.file("third.jsonl", line)]);
    let snapshot = place.lake.snapshot().unwrap();
    assert_eq!(snapshot.reopened_since(number), []);
    opened
}

/// A record that begins so many seconds after the full hour.
fn record(at: i64) -> String {
    let start = START - START % 3600 + at;
    json(0)
        .replace(
            &format!("\"start\":\"{START}\""),
            &format!("\"start\":\"{start}\""),
        )
        .replace(
            &format!("\"end\":\"{}\"", START + 60),
            &format!("\"end\":\"{}\"", start + 60),
        )
}

#[test]
fn records_near_a_border_reopen_both_sides() {
    assert!(opened_by(&record(1800)).is_empty());
    assert_eq!(opened_by(&record(599)), [-1, 0]);
    assert!(opened_by(&record(600)).is_empty());
    assert!(opened_by(&record(2999)).is_empty());
    assert_eq!(opened_by(&record(3000)), [0, 1]);
    assert_eq!(opened_by(&record(3600 + 599)), [0, 1]);
}

#[test]
fn what_was_lost_reopens_the_hours_near_it_and_what_was_never_there_none() {
    let gap = |at, reason| record(at).replace("\"OK\"", &format!("\"{reason}\""));
    assert!(opened_by(&gap(1800, "NODATA")).is_empty());
    assert_eq!(opened_by(&gap(1800, "SKIPDATA")), [0]);
    assert_eq!(opened_by(&gap(1199, "SKIPDATA")), [-1, 0]);
    assert_eq!(opened_by(&gap(1200, "SKIPDATA")), [0]);
    assert_eq!(opened_by(&gap(2399, "SKIPDATA")), [0, 1]);
}
