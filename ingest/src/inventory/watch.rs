//! A recorded watch → sightings. Pure.
//!
//! The order of events is sure, their times are not written down. Two things bound them:
//!
//! - An event comes after every time written in it or in an event before it (`low`).
//! - An object that is added while the watch runs carries its creation to the second, which is that event's time; every
//!   event before it came earlier (`high`). The objects added at the beginning were there already and say nothing.
//!
//! So between the earliest moment at which an event has surely happened and the latest at which the next event of the same
//! object surely has not, the state between the two held: two sightings. Where nothing pins a state, an address that is new in it was held when
//! the pod says that it began; if it does not, who had that before and next is not known by this watch. Who ends last in the stream is seen at its
//! end: the time given by the user, else the latest time written in it, for the end of a file is not now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowaudit_rules::kubernetes::{Change, Object, WatchEvent};

use super::history::{Facts, SKEW_US};
use super::ledger::Subject;
use super::sighting::{self, Held, HolderKind, latest_time, us};
use super::unpinned::Unpinned;

/// Creation times are cut to the second.
const SECOND_US: i64 = 1_000_000;

/// One object seen with one state.
#[derive(Debug, Clone)]
pub struct Sighted<'w> {
    /// The object in that state.
    pub object: &'w Object,
    /// When it was surely so.
    pub at: i64,
    /// The addresses it had until the watch had surely begun.
    pub had: Arc<BTreeSet<String>>,
}

/// An object that went away.
#[derive(Debug, Clone)]
pub struct Gone<'w> {
    /// Its last state.
    pub object: &'w Object,
    /// When it was gone at the latest, if that is known.
    pub by: Option<i64>,
    /// The addresses it had until the watch had surely begun.
    pub had: Arc<BTreeSet<String>>,
    /// The watch surely ran on for as long as clocks may be apart.
    pub watched_on: bool,
}

/// What a watch says.
#[derive(Debug, Default)]
pub struct Recorded<'w> {
    /// States and times.
    pub sightings: Vec<Sighted<'w>>,
    /// Objects that went away.
    pub gone: Vec<Gone<'w>>,
    /// What was there at the end.
    pub last: Vec<&'w Object>,
}

/// Reads a watch that was still running at `end`, where the user knows.
#[must_use]
pub fn recorded(events: &[WatchEvent], end: Option<i64>) -> Recorded<'_> {
    let low = lows(events);
    let high = highs(events, end);
    let last_low = low.last().copied().flatten();
    let mut by_object: BTreeMap<Subject, Vec<usize>> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        by_object
            .entry(sighting::subject(&event.object))
            .or_default()
            .push(index);
    }
    let mut recorded = Recorded::default();
    let mut unpinned = Unpinned::default();
    let settled = settled(events, &low);
    for events_of_one in by_object.values() {
        let early = events_of_one.iter().take_while(|index| **index < settled);
        let early = early.filter_map(|index| events.get(*index));
        let early = early.flat_map(|event| sighting::held(&event.object, i64::MAX));
        let had: Arc<BTreeSet<String>> = Arc::new(early.map(|held| held.holder.addr).collect());
        for (place, &index) in events_of_one.iter().enumerate() {
            let Some(event) = events.get(index) else {
                continue;
            };
            let happened = high.get(index).copied().flatten();
            let next = events_of_one.get(place + 1).copied();
            let mut see = |at: Option<i64>| {
                recorded.sightings.extend(at.map(|at| Sighted {
                    object: &event.object,
                    at,
                    had: Arc::clone(&had),
                }));
            };
            match (event.change, next) {
                (Change::Deleted, _) => recorded.gone.push(Gone {
                    object: &event.object,
                    by: happened,
                    had: Arc::clone(&had),
                    watched_on: happened.is_some_and(|by| end.max(last_low) >= Some(by + SKEW_US)),
                }),
                (_, Some(next)) => {
                    let until = low.get(next).copied().flatten();
                    match (happened, until) {
                        (Some(happened), Some(until)) if happened <= until => {
                            see(Some(happened));
                            see(Some(until));
                        }
                        // What was there when the watch began was so until something changed.
                        (_, until) if place == 0 => see(until),
                        _ => {
                            let before = place.checked_sub(1);
                            let before = before.and_then(|before| events_of_one.get(before));
                            let before = before.and_then(|index| events.get(*index));
                            unpinned.add(&event.object, before, &had);
                        }
                    }
                }
                (_, None) => {
                    see(happened);
                    see(end.or(last_low));
                    recorded.last.push(&event.object);
                }
            }
        }
    }
    unpinned.tell(&mut recorded);
    recorded
}

/// What an object that went away says: its last state, and that it was gone by then.
#[must_use]
pub fn ended(object: &Object, gone: Option<i64>) -> Vec<Held> {
    // It was there before, but when is not known: only the times written in it are sure.
    const UNKNOWN: i64 = i64::MAX;
    sighting::held(object, UNKNOWN)
        .into_iter()
        .map(|held| {
            let finished = held.at.filter(|at| *at != UNKNOWN);
            let at = finished.or(held.facts.starts.first().copied());
            // Nobody said that it had stopped: its containers may run on (history 5.4.1).
            let is_alone = held.holder.kind == HolderKind::Pod && !held.shape.host_network;
            let runs_on = is_alone && finished.is_none();
            let mut shape = held.shape;
            if at.is_some_and(|at| held.facts.labelled.last() >= Some(&at)) {
                shape.forget_labels();
            }
            Held {
                at,
                shape,
                facts: Facts {
                    gone,
                    lingers: None,
                    open_end: held.facts.open_end || runs_on,
                    ..held.facts
                },
                ..held
            }
        })
        .collect()
}

/// Notes which addresses came while the watch ran: those that their object did not have before it had surely begun.
pub(super) fn note_coming<'h>(held: impl Iterator<Item = &'h mut Held>, had: &BTreeSet<String>) {
    for held in held {
        held.facts.came = !had.contains(&held.holder.addr);
    }
}

/// How many events tell of what was there when the watch began.
fn beginning(events: &[WatchEvent]) -> usize {
    let added = |event: &&WatchEvent| event.change == Change::Added;
    events.iter().take_while(added).count()
}

/// The first event that came when the watch had run for as long as clocks may be apart: whoever had an address just before
/// what comes from here on was seen as well.
fn settled(events: &[WatchEvent], low: &[Option<i64>]) -> usize {
    let mut later = events.iter().skip(beginning(events));
    let came = later.find_map(|event| {
        let created = event
            .object
            .created
            .filter(|_| event.change == Change::Added);
        created.map(us)
    });
    let Some(running) = came else {
        return events.len();
    };
    low.partition_point(|low| low.is_none_or(|low| low < running + SKEW_US))
}

/// Each event came after this.
fn lows(events: &[WatchEvent]) -> Vec<Option<i64>> {
    let mut low = None;
    events
        .iter()
        .map(|event| {
            low = low.max(latest_time(&event.object));
            low
        })
        .collect()
}

/// Each event came before this, where that is known.
fn highs(events: &[WatchEvent], end: Option<i64>) -> Vec<Option<i64>> {
    let beginning = beginning(events);
    let mut high = end;
    let mut highs: Vec<_> = events
        .iter()
        .enumerate()
        .rev()
        .map(|(index, event)| {
            let created = event
                .object
                .created
                .filter(|_| index >= beginning && event.change == Change::Added);
            let happened = created.map(|created| us(created) + SECOND_US);
            high = high.into_iter().chain(happened).min();
            high
        })
        .collect();
    highs.reverse();
    highs
}

#[cfg(test)]
mod tests {
    use flowaudit_rules::kubernetes;

    use super::*;

    fn at(seconds: i64) -> i64 {
        us("2026-11-24T08:00:00Z".parse().unwrap()) + seconds * SECOND_US
    }

    fn time(seconds: i64) -> String {
        chrono::DateTime::from_timestamp_micros(at(seconds))
            .unwrap()
            .to_rfc3339()
    }

    fn event(change: &str, name: &str, created: i64, label: &str, status: &str) -> String {
        format!(
            r#"{{"type":"{change}","object":{{"apiVersion":"v1","kind":"Pod","metadata":{{"namespace":"shop","name":"{name}","uid":"{name}","creationTimestamp":"{}","labels":{{"v":"{label}"}}}},"status":{{"podIP":"10.0.0.1",{status}}}}}}}"#,
            time(created)
        )
    }

    const RUNNING: &str = r#""phase":"Running""#;

    fn check(lines: &[String], end: Option<i64>, expected: &[(&str, &str, i64)]) {
        let watch = kubernetes::read_watch("watch.json", &lines.join("\n"));
        assert_eq!(watch.issues, []);
        let recorded = recorded(&watch.events, end.map(at));
        let mut seen: Vec<_> = recorded
            .sightings
            .iter()
            .map(|sighted| {
                (
                    sighted.object.name.as_str(),
                    sighted.object.labels["v"].as_str(),
                    (sighted.at - at(0)) / SECOND_US,
                )
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, expected);
    }

    /// Its sandbox was made anew right away: the address that it had for a while is not forgotten.
    #[test]
    fn an_address_that_nothing_pins_was_held_when_the_pod_says_that_it_began() {
        let state = |change: &str, name: &str, ip: &str, started: i64| {
            let status = format!(
                r#""phase":"Running","containerStatuses":[{{"state":{{"running":{{"startedAt":"{}"}}}}}}]"#,
                time(started)
            );
            event(change, name, 20, "1", &status).replace("10.0.0.1", ip)
        };
        let pending = event("ADDED", "moved", 20, "1", r#""phase":"Pending""#);
        let lines = |shown: String| {
            [
                event("ADDED", "old", 0, "1", RUNNING),
                event("ADDED", "other", 10, "1", RUNNING),
                pending.replace("\"podIP\":\"10.0.0.1\",", ""),
                shown,
                event("DELETED", "other", 10, "1", RUNNING),
                state("MODIFIED", "moved", "10.0.0.2", 40),
                event("ADDED", "last", 200, "1", RUNNING),
            ]
            .join("\n")
        };
        let shown_at = |recorded: &Recorded<'_>| {
            let shown = recorded.sightings.iter().find(|sighted| {
                let held = sighting::held(sighted.object, sighted.at);
                let mut addrs = held.iter().map(|held| &held.holder.addr);
                sighted.object.name == "moved" && addrs.any(|addr| addr == "10.0.0.1")
            });
            shown.map(|shown| shown.at)
        };
        let watch = kubernetes::read_watch(
            "watch.json",
            &lines(state("MODIFIED", "moved", "10.0.0.1", 25)),
        );
        let dated = recorded(&watch.events, Some(at(300)));
        assert_eq!(shown_at(&dated), Some(at(25)));
        assert!(dated.gone[0].watched_on);
        // It does not say so: who had it before, and who has it next, this watch does not know.
        let watch = kubernetes::read_watch(
            "watch.json",
            &lines(event("MODIFIED", "moved", 20, "1", RUNNING)),
        );
        let undated = recorded(&watch.events, Some(at(300)));
        assert_eq!(shown_at(&undated), None);
        assert!(!undated.gone[0].watched_on);
        assert!(undated.gone[0].had.contains("10.0.0.1"));
    }

    #[test]
    fn order_and_creations_bound_the_times() {
        let lines = [
            event("ADDED", "old", 0, "1", RUNNING),
            event("ADDED", "first", 10, "1", RUNNING),
            event("MODIFIED", "first", 10, "2", RUNNING),
            event("ADDED", "second", 100, "1", RUNNING),
            event("MODIFIED", "old", 0, "2", RUNNING),
        ];
        check(
            &lines,
            Some(500),
            &[
                ("first", "1", 10),
                ("first", "2", 101),
                ("first", "2", 500),
                ("old", "1", 100),
                ("old", "2", 500),
                ("second", "1", 101),
                ("second", "1", 500),
            ],
        );
        // Without a time for the end, the latest time written in the stream is all that is sure.
        check(
            &lines[..3],
            None,
            &[("first", "1", 10), ("first", "2", 10), ("old", "1", 10)],
        );
    }

    #[test]
    fn whoever_came_while_the_watch_ran_is_told_from_who_was_there() {
        let elsewhere = |line: String| line.replace("10.0.0.1", "10.0.0.9");
        let lines = [
            event("ADDED", "old", 0, "1", RUNNING),
            event("MODIFIED", "old", 0, "2", RUNNING),
            event("ADDED", "early", 2, "1", RUNNING),
            elsewhere(event("MODIFIED", "early", 2, "1", RUNNING)),
            event("ADDED", "too", 8, "1", RUNNING),
            event("ADDED", "new", 10, "1", RUNNING),
            elsewhere(event("MODIFIED", "old", 0, "2", RUNNING)),
            event("DELETED", "new", 10, "1", RUNNING),
        ];
        let watch = kubernetes::read_watch("watch.json", &lines.join("\n"));
        let recorded = recorded(&watch.events, Some(at(90)));
        let seen = recorded.sightings.iter();
        let seen = seen.map(|sighted| (sighting::held(sighted.object, sighted.at), &sighted.had));
        let gone = recorded.gone.iter();
        let gone = gone.map(|gone| (ended(gone.object, gone.by), &gone.had));
        let mut told: Vec<(String, String, bool)> = seen
            .chain(gone)
            .flat_map(|(mut held, had)| {
                note_coming(held.iter_mut(), had);
                held
            })
            .map(|held| (held.holder.subject.name, held.holder.addr, held.facts.came))
            .collect();
        told.sort();
        told.dedup();
        let expected = [
            ("early", "10.0.0.1", false),
            ("early", "10.0.0.9", false),
            ("new", "10.0.0.1", true),
            ("old", "10.0.0.1", false),
            ("old", "10.0.0.9", true),
            ("too", "10.0.0.1", false),
        ];
        assert_eq!(
            told,
            expected.map(|(name, addr, came)| (name.into(), addr.into(), came))
        );
    }

    #[test]
    fn a_pod_that_was_deleted_before_it_finished_may_run_on() {
        let lines = [
            event("ADDED", "a", 10, "1", RUNNING),
            event("DELETED", "a", 10, "1", RUNNING),
            event("ADDED", "b", 60, "1", RUNNING),
        ];
        let watch = kubernetes::read_watch("watch.json", &lines.join("\n"));
        let recorded = recorded(&watch.events, None);
        let held = ended(recorded.gone[0].object, recorded.gone[0].by);
        assert!(held[0].facts.open_end);
    }

    #[test]
    fn a_pod_that_went_away_held_its_address_until_it_finished() {
        let finished = format!(
            r#""phase":"Succeeded","containerStatuses":[{{"state":{{"terminated":{{"startedAt":"{}","finishedAt":"{}"}}}}}}]"#,
            time(12),
            time(50)
        );
        let lines = [
            event("ADDED", "a", 10, "1", RUNNING),
            event("DELETED", "a", 10, "1", &finished),
            event("ADDED", "b", 60, "1", RUNNING),
        ];
        let watch = kubernetes::read_watch("watch.json", &lines.join("\n"));
        let recorded = recorded(&watch.events, None);
        let gone = recorded.gone[0].clone();
        assert_eq!(gone.by, Some(at(61)));
        let held = ended(gone.object, gone.by);
        assert_eq!(
            (held[0].at, held[0].facts.gone),
            (Some(at(50)), Some(at(61)))
        );
        assert_eq!(held[0].facts.starts, [at(12)].into());
    }
}
