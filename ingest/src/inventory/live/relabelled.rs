//! Labels that change: since when one was so is not since when its pod or its container is.

use serde_json::Value;

use super::tests::{Place, at, pod, pods, text, undated};

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
