//! Sightings in any order, and what they say.

use proptest::prelude::*;

use super::*;

/// Sees contents at times; an empty content is a miss.
fn history(sightings: &[(i64, &'static str)]) -> (History<&'static str>, Vec<i64>) {
    let (mut history, mut covering) = (History::default(), Vec::new());
    for &(at, content) in sightings {
        match content {
            "" => history.miss(at, &covering),
            _ => history.see(at, content, By::Snapshot, &covering),
        }
        covering.push(at);
        covering.sort_unstable();
        covering.dedup();
    }
    (history, covering)
}

type Row = (&'static str, Option<i64>, i64, i64, Option<i64>);

fn rows(history: &History<&'static str>, covering: &[i64]) -> Vec<Row> {
    let row = |interval: Interval<'_, &'static str>| {
        (
            interval.run.content,
            interval.start_low,
            interval.start,
            interval.end,
            interval.end_high,
        )
    };
    history.intervals(covering).into_iter().map(row).collect()
}

#[track_caller]
fn check(sightings: &[(i64, &'static str)], expected: &[Row]) {
    let (history, covering) = history(sightings);
    assert_eq!(rows(&history, &covering), expected);
    let mut backwards = sightings.to_vec();
    backwards.reverse();
    let (history, covering) = self::history(&backwards);
    assert_eq!(rows(&history, &covering), expected, "backwards");
}

#[test]
fn the_table() {
    check(&[(1, "a"), (5, "a")], &[("a", None, 1, 5, None)]);
    check(
        &[(1, "a"), (5, "b")],
        &[("a", None, 1, 1, Some(5)), ("b", Some(1), 5, 5, None)],
    );
    check(&[(1, "a"), (5, "")], &[("a", None, 1, 1, Some(5))]);
    check(&[(1, ""), (5, "a")], &[("a", Some(1), 5, 5, None)]);
    check(&[(1, ""), (5, "")], &[]);
    let mut history = History::default();
    history.see(5, "a", By::Snapshot, &[]);
    history.learn(&Facts {
        starts: [2].into(),
        not_before: Some(1),
        ..Facts::default()
    });
    assert_eq!(rows(&history, &[5]), [("a", Some(1), 2, 5, None)]);
}

#[test]
fn an_end_that_nobody_knew_is_bounded_by_who_took_the_network_down() {
    let ended = |returned, open_end, starts: &[i64]| {
        let mut history = History::default();
        history.see(5, "a", By::Snapshot, &[]);
        history.see(50 * SKEW_US, "a", By::Snapshot, &[]);
        history.learn(&Facts {
            starts: starts.iter().copied().collect(),
            open_end,
            returned: Some(returned),
            ..Facts::default()
        });
        (
            rows(&history, &[])[0].4,
            history.returned_too_early().is_some(),
        )
    };
    let end = 50 * SKEW_US;
    assert_eq!(ended(end + 9, true, &[]), (Some(end + 9), false));
    // Clocks are apart, but it surely held.
    assert_eq!(ended(end - SKEW_US, true, &[]), (Some(end), false));
    assert_eq!(ended(end - SKEW_US - 1, true, &[]), (None, true));
    // The sandbox was made anew, or it was the one before.
    assert_eq!(ended(20, true, &[30]), (None, false));
    assert_eq!(ended(end + 9, true, &[end + 9]), (None, false));
    assert_eq!(ended(4, true, &[]), (None, false));
    // It runs.
    assert_eq!(ended(end + 9, false, &[]), (None, false));
    assert_eq!(ended(20, false, &[]), (None, false));
}

#[test]
fn a_snapshot_between_others_splits_what_they_seemed_to_say() {
    check(
        &[(1, "a"), (3, "a"), (7, "a"), (9, "a"), (5, "b")],
        &[
            ("a", None, 1, 3, Some(5)),
            ("b", Some(3), 5, 5, Some(7)),
            ("a", Some(5), 7, 9, None),
        ],
    );
    check(
        &[(1, "a"), (9, "a"), (5, "")],
        &[("a", None, 1, 1, Some(5)), ("a", Some(5), 9, 9, None)],
    );
}

#[test]
fn two_contents_at_one_time_end_the_same_in_any_order() {
    check(&[(1, "a"), (1, "b")], &[("b", None, 1, 1, None)]);
    check(
        &[(1, "a"), (5, "a"), (5, "b")],
        &[("a", None, 1, 1, Some(5)), ("b", Some(1), 5, 5, None)],
    );
}

#[test]
fn a_beginning_of_its_own_belongs_to_the_run_after_it() {
    let began = |sightings: &[(i64, &'static str)]| {
        let (mut history, covering) = history(sightings);
        history.learn(&Facts {
            starts: [0, 4].into(),
            not_before: Some(-1),
            ..Facts::default()
        });
        rows(&history, &covering)
    };
    // An address that came back with a new sandbox at 4.
    assert_eq!(
        began(&[(1, "a"), (3, ""), (6, "a")]),
        [("a", Some(-1), 0, 1, Some(3)), ("a", Some(3), 4, 6, None)]
    );
    // Since when the labels are others, the sandbox does not tell.
    assert_eq!(
        began(&[(1, "a"), (6, "b")]),
        [("a", Some(-1), 0, 1, Some(6)), ("b", Some(1), 6, 6, None)]
    );
}

#[test]
fn ends() {
    let (mut history, mut covering) = history(&[(1, "a"), (6, ""), (9, "")]);
    history.learn(&Facts {
        lingers: Some(6),
        ..Facts::default()
    });
    assert_eq!(rows(&history, &covering), [("a", None, 1, 1, Some(9))]);
    history.learn(&Facts {
        gone: Some(8),
        ..Facts::default()
    });
    assert_eq!(rows(&history, &covering), [("a", None, 1, 1, Some(8))]);
    history.learn(&Facts {
        open_end: true,
        ..Facts::default()
    });
    assert_eq!(rows(&history, &covering), [("a", None, 1, 1, None)]);
    covering.clear();
    assert_eq!(rows(&history, &covering), [("a", None, 1, 1, None)]);
}

proptest! {
    #[test]
    fn the_order_of_snapshots_is_irrelevant(
        sightings in prop::collection::btree_map(0_i64..12, prop::sample::select(vec!["", "a", "b"]), 0..10),
        order in any::<prop::sample::Index>(), twice in any::<bool>(),
    ) {
        let sightings: Vec<_> = sightings.into_iter().collect();
        let (expected, covering) = history(&sightings);
        let mut shuffled = sightings.clone();
        let mut seed = order.index(1_000_000);
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, seed % (place + 1));
            seed = seed / (place + 1) + place * 7;
        }
        if twice {
            shuffled.extend(shuffled.clone());
        }
        let (got, _) = history(&shuffled);
        prop_assert_eq!(rows(&got, &covering), rows(&expected, &covering));
        // What was stored gives the same back.
        let mut restored = History::default();
        for run in expected.runs() {
            restored.restore(run.clone(), &covering);
        }
        prop_assert_eq!(&restored, &expected);
    }

    #[test]
    fn cores_lie_within_outers_and_never_overlap(
        sightings in prop::collection::vec((0_i64..12, prop::sample::select(vec!["", "a", "b", "c"])), 0..10),
        starts in prop::collection::btree_set(-2_i64..12, 0..3), not_before in prop::option::of(-3_i64..12),
        gone in prop::option::of(0_i64..14), lingers in prop::option::of(0_i64..14),
    ) {
        let (mut history, covering) = history(&sightings);
        history.learn(&Facts { starts, not_before, gone, lingers, open_end: false, ..Facts::default() });
        let rows = rows(&history, &covering);
        for (_, low, start, end, high) in &rows {
            prop_assert!(low.is_none_or(|low| low <= *start) && start <= end && high.is_none_or(|high| *end <= high));
        }
        for pair in rows.windows(2) {
            prop_assert!(pair[0].3 < pair[1].2, "{:?}", rows);
            prop_assert!(pair[0].4.is_some_and(|high| high <= pair[1].2), "{:?}", rows);
        }
        // Nothing that was seen is outside a core.
        for (at, content) in &sightings {
            if !content.is_empty() && sightings.iter().filter(|(other, _)| other == at).count() == 1 {
                prop_assert!(rows.iter().any(|row| row.0 == *content && row.2 <= *at && *at <= row.3));
            }
        }
    }
}
