//! Labels that change: since when one was so is not since when its pod or its container is.

use serde_json::Value;

use super::killed::import_pods;
use super::tests::{Place, S, at, pod, pods, text, undated};

/// A pod with this label whose container started at a second.
fn started(label: &str, second: i64) -> Value {
    let mut started = pod("a", "10.0.0.1", second);
    started["metadata"]["creationTimestamp"] = text(1).into();
    started["metadata"]["labels"]["app"] = label.into();
    started
}

#[test]
fn a_new_label_is_not_as_old_as_the_container() {
    let mut place = Place::new();
    place.list_shown(&pods(), (0, 2, 2), &[undated("a", "10.0.0.1")]);
    // Its container was seen late; only then it was relabelled.
    place.put(&started("a", 5), 6);
    place.put(&started("db", 5), 8);
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    let rows = place.endpoints();
    let of_label = rows
        .iter()
        .filter(|row| row.labels.as_deref() == Some(r#"{"app":"db"}"#));
    let from: Vec<_> = of_label.map(|row| row.valid_from_us).collect();
    assert_eq!(from, [at(8)], "{rows:#?}");
}

#[test]
fn a_label_between_two_others_is_not_as_old_as_the_container() {
    let mut place = Place::new();
    place.list_shown(&pods(), (0, 2, 2), &[undated("a", "10.0.0.1")]);
    for (label, second) in [("db", 7), ("mq", 9)] {
        place.put(&started(label, 5), second);
    }
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    place.check(&[("a", "10.0.0.1", Some(4), 9, 20, None)]);
}

#[test]
fn a_new_label_is_not_as_old_as_a_container_that_was_started_again_while_nobody_watched() {
    let of_container = |label: &str, second: i64| {
        let mut pod = started(label, second);
        pod["status"]["conditions"] = serde_json::json!([]);
        pod
    };
    let mut place = Place::new();
    place.list(&pods(), 10, 10, &[of_container("a", 2)]);
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    // Its container is started again at 25 and it is relabelled at 30; the run that finds it so is killed, and the next one takes up its row.
    for begun in [40, 60] {
        place.restart();
        place.list(&pods(), begun, begun, &[of_container("db", 25)]);
        place.progress(&pods(), begun + 5);
        place.commit(begun + 5).unwrap();
    }
    place.check(&[
        ("a", "10.0.0.1", Some(1), 2, 20, Some(40)),
        ("a", "10.0.0.1", Some(20), 40, 65, None),
    ]);
}

#[test]
fn who_had_let_go_before_it_was_first_seen_held_it_since_it_was_there() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[]);
    place.progress(&pods(), 5);
    let mut short = undated("a", "10.0.0.1");
    place.put(&short, 10);
    short["metadata"]["labels"]["app"] = "db".into();
    place.put(&short, 12);
    short["status"]["phase"] = "Succeeded".into();
    short["status"]["containerStatuses"] =
        serde_json::json!([{"state": {"terminated": {"finishedAt": text(9)}}}]);
    place.put(&short, 14);
    place.commit(20).unwrap();
    // What it looked like then, nobody saw.
    check(&place, &[("unknown", 9, 9)]);
    place.check(&[("a", "10.0.0.1", Some(1), 9, 9, Some(14))]);
}

/// A pod whose label somebody wrote at a second.
fn written(label: &str, start: i64, second: i64) -> Value {
    let mut written = pod("a", "10.0.0.1", start);
    written["metadata"]["labels"]["app"] = label.into();
    written["metadata"]["managedFields"] = serde_json::json!([{
        "manager": "kubectl-label", "operation": "Update", "time": text(second),
        "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}},
    }]);
    written
}

/// The label of each row, and between which seconds it surely was so.
fn labels(place: &Place) -> Vec<(String, i64, i64)> {
    let second = |us: i64| (us - at(0)).div_euclid(S);
    let rows = place.endpoints();
    let labels = rows.iter().map(|row| {
        let labels: Value = serde_json::from_str(row.labels.as_deref().unwrap()).unwrap();
        let label = labels["app"].as_str().unwrap_or("unknown").to_owned();
        let (from, to) = (row.valid_from_us, row.valid_to_us.unwrap());
        (label, second(from), second(to))
    });
    labels.collect()
}

#[track_caller]
fn check(place: &Place, expected: &[(&str, i64, i64)]) {
    let expected = expected.iter();
    let expected: Vec<_> = expected
        .map(|(label, from, to)| ((*label).to_owned(), *from, *to))
        .collect();
    assert_eq!(labels(place), expected, "{:#?}", place.endpoints());
}

#[test]
fn a_label_is_as_old_as_whoever_wrote_it_says_whoever_goes_on_and_whatever_is_imported() {
    let mut place = Place::new();
    let web = written("web", -50, -10);
    place.list(&pods(), 0, 1, std::slice::from_ref(&web));
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    check(&place, &[("unknown", -50, -10), ("web", -9, 20)]);
    // The next process takes up what is open, and leaves what is not.
    place.restart();
    place.list(&pods(), 30, 31, std::slice::from_ref(&web));
    place.progress(&pods(), 40);
    place.commit(40).unwrap();
    check(&place, &[("unknown", -50, -10), ("web", -9, 40)]);
    // An import makes both anew, of the second.
    import_pods(place.lake, std::slice::from_ref(&web), 35);
    place.progress(&pods(), 50);
    place.commit(50).unwrap();
    check(&place, &[("unknown", -50, -10), ("web", -9, 50)]);
    // What somebody saw before takes the place of what nobody knew.
    import_pods(place.lake, &[pod("a", "10.0.0.1", -50)], -20);
    place.progress(&pods(), 60);
    place.commit(60).unwrap();
    let rows = labels(&place);
    assert_eq!(rows[0], ("a".to_owned(), -50, -20), "{rows:?}");
    assert!(
        rows.iter().all(|(label, ..)| label != "unknown"),
        "{rows:?}"
    );
    assert_eq!(rows.last().unwrap(), &("web".to_owned(), rows[1].1, 60));
    assert!(rows[1].1 >= -9, "{rows:?}");
}

#[test]
fn what_was_seen_before_the_watch_began_stays() {
    let mut place = Place::new();
    let web = written("web", -50, -10);
    place.list(&pods(), 0, 1, std::slice::from_ref(&web));
    place.progress(&pods(), 20);
    place.commit(20).unwrap();
    // While the same process runs on.
    import_pods(place.lake, &[pod("a", "10.0.0.1", -50)], -20);
    place.progress(&pods(), 30);
    place.commit(30).unwrap();
    check(&place, &[("a", -50, -20), ("web", 0, 30)]);
}
