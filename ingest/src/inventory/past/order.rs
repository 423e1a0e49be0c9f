//! Writes in the order in which they happened. Pure.
//!
//! Several API servers write one log, each by a clock of its own, so two writes of one object that follow each other within seconds may be logged
//! the other way round. Where both answers are there, their versions tell: each write makes a greater one.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::chain::is_older;
use super::declared::APART_US;
use super::entry::Entry;

/// The same writes, each before those of the same object, as far as clocks are apart, that made greater versions. They come in the order of their
/// answers.
pub(super) fn by_version(entries: Vec<Entry>) -> Vec<Entry> {
    let late = logged_late(&entries);
    if late.is_empty() {
        return entries;
    }
    let place = |(index, entry): (usize, Entry)| {
        let late = late.get(&index).copied();
        ((late.unwrap_or(entry.answered), late.is_none()), entry)
    };
    let mut placed: Vec<_> = entries.into_iter().enumerate().map(place).collect();
    // Of several that were late by as much, the oldest first.
    placed.sort_by(|(at, entry), (other_at, other)| {
        let by_age = || match at.1 {
            true => Ordering::Equal,
            false => by_age(entry, other),
        };
        at.cmp(other_at).then_with(by_age)
    });
    placed.into_iter().map(|(_, entry)| entry).collect()
}

/// Writes that are logged after later ones of the same object, and when the first of those was answered.
fn logged_late(entries: &[Entry]) -> HashMap<usize, i64> {
    let mut of_object: HashMap<[&str; 4], Vec<(usize, &Entry)>> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if version(entry).is_some() {
            let of = [&entry.group, &entry.resource, &entry.namespace, &entry.name];
            let of = of_object.entry(of.map(String::as_str)).or_default();
            of.push((index, entry));
        }
    }
    let mut late = HashMap::new();
    for writes in of_object.into_values() {
        for (place, (index, entry)) in writes.iter().enumerate() {
            let before = writes.iter().take(place).rev().map(|(_, before)| *before);
            let near = before.take_while(|before| entry.answered - before.answered < APART_US);
            let greater = near.filter(|before| is_older(version(entry), version(before)));
            if let Some(first) = greater.map(|before| before.answered).min() {
                late.insert(*index, first);
            }
        }
    }
    late
}

fn by_age(a: &Entry, b: &Entry) -> Ordering {
    match (
        is_older(version(a), version(b)),
        is_older(version(b), version(a)),
    ) {
        (true, _) => Ordering::Less,
        (_, true) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

/// The version of the object that a write made.
fn version(entry: &Entry) -> Option<&str> {
    let answer = entry.response.as_ref()?;
    answer.pointer("/metadata/resourceVersion")?.as_str()
}
