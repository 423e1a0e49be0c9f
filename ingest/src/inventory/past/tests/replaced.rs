//! Pods that are replaced, where what is written of the one before and of the next comes close together or out of order. Each was found by a log
//! of an independent generator.

use serde_json::{Value, json};

use super::pods_sent::{TERWAY, at_level, held, is, on_node, relabelled, running_at, status};
use super::*;

const SCHEDULER: &str = "system:kube-scheduler";

fn sent(at_ms: i64, user: &str, verb: &str, resource: &str, body: Value) -> Value {
    at_level(
        write(at_ms, user, verb, resource, [body, Value::Null]),
        "Request",
    )
}

/// The next one of the same name is given a node.
fn next_is_bound(at_ms: i64) -> Value {
    let next = json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u2"}});
    sent(at_ms, SCHEDULER, "create", "pods/binding", next)
}

fn removal() -> Value {
    json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}})
}

/// Its kubelet writes its status, and the answer is the whole pod.
fn shows(at_ms: i64, pod: Value) -> Value {
    write(at_ms, KUBELET, "patch", "pods/status", [json!({}), pod])
}

/// Its kubelet removes it, and the answer is its last state.
fn removes(at_ms: i64, pod: Value) -> Value {
    write(at_ms, KUBELET, "delete", "pods", [removal(), pod])
}

/// Labels were written at 30 s, and seen by its last state only.
fn labelled_at_its_end() -> [(String, i64, i64); 2] {
    [
        is("10.0.0.1 null", 5_000, 29_998),
        is(r#"10.0.0.1 {"tier":"b"}"#, 69_000, 69_000),
    ]
}

/// A controller was quicker than the end of what it replaced was told.
#[test]
fn the_last_state_of_one_whose_name_is_anothers_does_not_say_what_it_was_like() {
    let state = |at_ms, user, verb, resource, label| {
        write(
            at_ms,
            user,
            verb,
            resource,
            [json!({}), pod(label, 3, running())],
        )
    };
    let of_labels = json!({"metadata": {"labels": {"tier": "b"}}});
    let relabelled = write(
        50_000,
        "someone",
        "patch",
        "pods",
        [of_labels, pod("b", 4, running())],
    );
    let bound = next_is_bound(70_000);
    let removed = state(70_500, "gc", "delete", "pods", "b");
    let removed = with(removed, "requestObject", removal());
    let before = [
        state(6_000, KUBELET, "patch", "pods/status", "a"),
        relabelled,
        state(60_000, KUBELET, "patch", "pods/status", "b"),
    ];
    let expected = held(&before);
    assert_eq!(expected.len(), 2);
    assert_eq!(held(&[&before[..], &[bound, removed]].concat()), expected);
}

/// Its addresses became known by that last state, and its labels were written before.
#[test]
fn one_whose_name_is_anothers_had_other_labels_before_they_changed() {
    let pending = json!({"phase": "Pending"});
    let met = shows(2_000, pod("a", 2, pending));
    let removed = removes(70_500, pod("b", 9, finished(69_000)));
    let log = [
        met,
        relabelled(30_000, "Metadata", "b", 5),
        next_is_bound(70_000),
        removed,
    ];
    assert_eq!(held(&log), labelled_at_its_end());
}

/// Terway names no uid: what it says may be of the next one already, whose creation is logged later by another server's clock.
#[test]
fn an_address_given_right_before_a_pod_is_replaced_may_be_of_the_next() {
    let given = |at_ms| {
        let body = json!({"metadata": {"annotations": {"k8s.aliyun.com/pod-ips": "10.0.0.2"}}});
        sent(at_ms, TERWAY, "patch", "pods", body)
    };
    let log = [on_node(), running_at(4_000, "10.0.0.1")];
    let removed = || sent(60_000, KUBELET, "delete", "pods", removal());
    let created = || sent(60_100, "controller", "create", "pods", json!({}));
    let next = json!({"metadata": {"uid": "u2"}, "status": {"phase": "Pending"}});
    let next = || sent(60_200, KUBELET, "patch", "pods/status", next.clone());
    for replaced in [removed(), created(), next_is_bound(60_100), next()] {
        let log = [&log[..], &[given(59_900), replaced]].concat();
        assert_eq!(held(&log), [is("10.0.0.1 null", 3_998, 3_998)], "{log:#?}");
    }
    // Long before it is its own.
    let log = [&log[..], &[given(30_000), removed()]].concat();
    let own = [
        is("10.0.0.1 null", 3_998, 3_998),
        is("10.0.0.2 null", 29_998, 29_998),
    ];
    assert_eq!(held(&log), own);
}

/// Its statuses were cut off, and who asked for its end says nothing of labels.
#[test]
fn an_end_that_is_asked_for_does_not_make_labels_known() {
    let removed = removes(70_000, pod("b", 9, finished(69_000)));
    let asked = write(
        60_000,
        "someone",
        "delete",
        "pods",
        [Value::Null, Value::Null],
    );
    let written = relabelled(30_000, "Request", "b", 5);
    let log = [
        with(written, "responseObject", Value::Null),
        at_level(asked, "Metadata"),
        removed,
    ];
    assert_eq!(held(&log), labelled_at_its_end());
}

/// Its sandbox was made anew with another address, and a kubelet that is started anew shows none at the end.
#[test]
fn a_status_that_nobody_saw_may_have_told_of_another_address() {
    let unseen = at_level(
        write(
            30_000,
            KUBELET,
            "patch",
            "pods/status",
            [Value::Null, Value::Null],
        ),
        "Metadata",
    );
    let mut last = pod("a", 9, finished(69_000));
    last["status"]["podIP"] = Value::Null;
    let last = shows(70_000, last);
    let seen = shows(6_000, pod("a", 3, running()));
    let a = r#"10.0.0.1 {"tier":"a"}"#;
    assert_eq!(held(&[seen.clone(), last.clone()]), [is(a, 5_000, 69_000)]);
    assert_eq!(held(&[seen, unseen, last]), [is(a, 5_000, 5_998)]);
}

/// Older collectors write no status before, and newer ones may be logged the other way round.
#[test]
fn the_collector_of_pods_does_not_know_how_long_they_ran() {
    let removed = |user: &str| sent(60_000, user, "delete", "pods", removal());
    let log = |user| [on_node(), running_at(4_000, "10.0.0.1"), removed(user)];
    let collector = "system:serviceaccount:kube-system:pod-garbage-collector";
    assert_eq!(held(&log(collector)), [is("10.0.0.1 null", 3_998, 3_998)]);
    let [node, running, removed] = log(collector);
    let blind = [node, running, at_level(removed, "Metadata")];
    assert_eq!(held(&blind), [is("10.0.0.1 null", 3_998, 3_998)]);
    assert_eq!(held(&log("someone")), [is("10.0.0.1 null", 3_998, 59_998)]);
}

/// It was met without an address, and relabelled before it showed one that it had all the time.
#[test]
fn labels_written_before_an_address_was_shown_are_not_those_it_came_with() {
    let pending = json!({"phase": "Pending", "hostIP": "10.0.9.1"});
    let met = shows(2_000, pod("a", 2, pending));
    let shown = json!({"metadata": {"uid": "u1"}, "status": running()});
    let shown = sent(40_000, KUBELET, "patch", "pods/status", shown);
    let seen = shows(60_000, pod("b", 9, running()));
    let log = [met, relabelled(30_000, "Metadata", "b", 5), shown, seen];
    assert_eq!(
        held(&log),
        [
            is("10.0.0.1 null", 5_000, 29_998),
            is(r#"10.0.0.1 {"tier":"b"}"#, 39_998, 59_998)
        ]
    );
}

/// It began before the log did, so nothing tells which address it gave back.
#[test]
fn who_came_before_is_not_known_where_somebody_ended_unseen() {
    let came = |ends: &[Value]| {
        let body = json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}});
        let bound = sent(60_000, SCHEDULER, "create", "pods/binding", body);
        let status = json!({"phase": "Running", "podIP": "10.0.0.1",
            "containerStatuses": [{"state": {"running": {"startedAt": text(62_000)}}}]});
        let shown = shows(64_000, pod("a", 3, status));
        let first = write(1_000, KUBELET, "update", "leases", [json!({}), json!({})]);
        let log = [&[first, bound, shown], ends].concat();
        let (rows, ..) = told(&log);
        rows[0].4.contains(r#""came":true"#)
    };
    let other = |event: Value| {
        let mut event = event;
        event["objectRef"]["name"] = "other".into();
        event
    };
    let removed = |at_ms| {
        let body = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u0"}});
        other(sent(at_ms, KUBELET, "delete", "pods", body))
    };
    let status = |level: &str, phase: &str| {
        let body = json!({"metadata": {"uid": "u0"}, "status": {"phase": phase}});
        other(at_level(
            sent(58_000, KUBELET, "patch", "pods/status", body),
            level,
        ))
    };
    assert!(came(&[]));
    assert!(!came(&[removed(58_000)]) && !came(&[removed(90_000)]));
    assert!(came(&[removed(20_000)]) && came(&[removed(200_000)]));
    assert!(!came(&[status("Request", "Succeeded")]));
    assert!(!came(&[status("Metadata", "Running")]));
    assert!(came(&[status("Request", "Running")]));
    // Its address was known, and then its status was written unseen.
    let known = json!({"metadata": {"uid": "u0"}, "status": {"phase": "Running", "hostIP": "10.0.9.1",
        "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}]}});
    let known = || other(sent(20_000, KUBELET, "patch", "pods/status", known.clone()));
    assert!(came(&[known(), removed(58_000)]));
    let unseen = other(at_level(
        sent(30_000, KUBELET, "patch", "pods/status", json!({})),
        "Metadata",
    ));
    assert!(!came(&[known(), unseen, removed(58_000)]));
}

/// Of the next one nothing but its binding can be read.
#[test]
fn who_came_next_is_not_known_where_somebody_began_unseen() {
    let watched_on = |begun: &[Value], until: i64| {
        let shown = shows(6_000, pod("a", 3, running()));
        let removed = removes(90_000, pod("a", 9, finished(89_000)));
        let last = write(until, KUBELET, "update", "leases", [json!({}), json!({})]);
        let (rows, ..) = told(&[&[shown, removed, last], begun].concat());
        rows[0].4.contains(r#""watched_on":true"#)
    };
    assert!(watched_on(&[], 110_000));
    assert!(!watched_on(&[], 92_000), "the log ends");
    let bound = |at_ms, body: Value| {
        let mut event = sent(at_ms, SCHEDULER, "create", "pods/binding", body);
        event["objectRef"]["name"] = "other".into();
        event
    };
    let next = json!({"metadata": {"name": "other", "namespace": "shop", "uid": "u2"}});
    assert!(!watched_on(&[bound(80_000, next.clone())], 110_000));
    assert!(!watched_on(&[bound(80_000, Value::Null)], 110_000));
    assert!(watched_on(&[bound(100_000, next)], 110_000));
}

/// It came within a hole, and may have been relabelled there.
#[test]
fn labels_within_a_hole_are_not_those_that_come_after_it() {
    let lease = |at_ms| write(at_ms, KUBELET, "update", "leases", [json!({}), json!({})]);
    let shown = json!({"metadata": {"uid": "u1"}, "status": running()});
    let mut shown = sent(404_000, KUBELET, "patch", "pods/status", shown);
    shown["requestObject"]["status"]["hostIP"] = "10.0.9.1".into();
    let seen = shows(460_000, pod("b", 9, running()));
    let log = [lease(1_000), lease(400_000), shown, seen];
    assert_eq!(
        held(&log),
        [
            is("10.0.0.1 null", 5_000, 400_000),
            is(r#"10.0.0.1 {"tier":"b"}"#, 403_998, 459_998)
        ]
    );
    // Somebody else writes it before any kubelet writes again.
    let note = json!({"metadata": {"annotations": {"note": "x"}}});
    let noted = [note, pod("b", 8, running())];
    let noted = write(390_000, "someone", "patch", "pods", noted);
    assert_eq!(
        held(&[lease(1_000), noted, lease(400_000)]),
        [
            is("10.0.0.1 null", 5_000, 389_997),
            is(r#"10.0.0.1 {"tier":"b"}"#, 390_000, 390_000)
        ]
    );
}

/// Somebody wrote to it just before its labels were seen, so these are not sure; what it is like after a hole does not tell.
#[test]
fn labels_that_wait_to_be_known_do_not_wait_through_a_hole() {
    let lease = |at_ms| write(at_ms, KUBELET, "update", "leases", [json!({}), json!({})]);
    let seen = |at_ms, label, version| {
        let bodies = [json!({}), pod(label, version, running())];
        write(at_ms, KUBELET, "patch", "pods/status", bodies)
    };
    let met = shows(2_000, pod("a", 2, json!({"phase": "Pending"})));
    let sent_only = status(
        410_000,
        json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}),
    );
    let log = [
        met,
        relabelled(5_000, "Metadata", "a", 3),
        seen(6_000, "a", 4),
        lease(400_000),
        sent_only,
        seen(460_000, "b", 9),
    ];
    assert_eq!(
        held(&log),
        [
            is("10.0.0.1 null", 5_000, 5_998),
            is(r#"10.0.0.1 {"tier":"b"}"#, 409_998, 459_998)
        ]
    );
}
