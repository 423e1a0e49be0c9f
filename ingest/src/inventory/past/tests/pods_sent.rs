//! Pods of which the log shows what was sent, or not even that.

use serde_json::{Value, json};

use super::*;

pub(super) const TERWAY: &str = "system:serviceaccount:kube-system:terway";

pub(super) fn at_level(event: Value, level: &str) -> Value {
    with(event, "level", level.into())
}

/// A status as a kubelet sends it: nothing but what changed.
pub(super) fn status(at_ms: i64, status: Value) -> Value {
    let sent = json!({"metadata": {"uid": "u1"}, "status": status});
    at_level(
        write(at_ms, KUBELET, "patch", "pods/status", [sent, Value::Null]),
        "Request",
    )
}

pub(super) fn on_node() -> Value {
    status(
        500,
        json!({"hostIP": "10.0.9.1", "hostIPs": [{"ip": "10.0.9.1"}]}),
    )
}

pub(super) fn running_at(at_ms: i64, ip: &str) -> Value {
    status(
        at_ms,
        json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}),
    )
}

pub(super) fn relabelled(at_ms: i64, level: &str, label: &str, version: u32) -> Value {
    let bodies = [
        json!({"metadata": {"labels": {"tier": label}}}),
        pod(label, version, running()),
    ];
    at_level(write(at_ms, "someone", "patch", "pods", bodies), level)
}

/// Address, labels and core in ms, slack left out.
pub(super) fn held(log: &[Value]) -> Vec<(String, i64, i64)> {
    let rows = told(log).0.into_iter();
    let text = |row: &Row| {
        row.4
            .split(" {\"by\"")
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    };
    rows.map(|row| (text(&row), row.0, row.1)).collect()
}

pub(super) fn is(what: &str, from: i64, to: i64) -> (String, i64, i64) {
    (what.to_owned(), from, to)
}

#[test]
fn a_pod_of_which_only_statuses_were_sent_is_named() {
    let removed = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}});
    let asked = at_level(
        write(
            60_000,
            "someone",
            "delete",
            "pods",
            [json!({}), Value::Null],
        ),
        "Request",
    );
    let gone = at_level(
        write(65_000, KUBELET, "delete", "pods", [removed, Value::Null]),
        "Request",
    );
    let log = [on_node(), running_at(4_000, "10.0.0.1"), asked, gone];
    assert_eq!(held(&log), [is("10.0.0.1 null", 3_998, 59_998)]);
    let (rows, ..) = told(&log);
    assert_eq!(rows[0].3, Some(5_000), "gone when the kubelet removed it");
    assert!(rows[0].4.contains(r#""by":["audit-request"]"#), "{rows:?}");
    // Whether it has a network of its own is not known.
    assert_eq!(held(&log[1..]), []);
    // It shares its node's.
    let (rows, ..) = told(&[on_node(), running_at(4_000, "10.0.9.1")]);
    assert_eq!(rows.len(), 1, "{rows:#?}");
}

#[test]
fn addresses_of_a_status_are_merged_one_by_one() {
    let both = json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "fd00::1"}], "$setElementOrder/podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]});
    let moved = json!({"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1", "$patch": "delete"}]});
    let log = [
        on_node(),
        running_at(4_000, "10.0.0.1"),
        status(20_000, both),
        status(90_000, moved),
    ];
    let expected = [
        is("10.0.0.1 null", 3_998, 19_998),
        is("10.0.0.2 null", 89_998, 89_998),
        is("fd00::1 null", 19_998, 89_998),
    ];
    assert_eq!(held(&log), expected);
}

#[test]
fn labels_are_those_of_the_next_whole_pod_unless_it_was_relabelled() {
    let log = [on_node(), running_at(5_200, "10.0.0.1")];
    let seen = write(
        50_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("b", 9, running())],
    );
    let with_label = r#"10.0.0.1 {"tier":"b"}"#;
    let then = [log.to_vec(), vec![seen.clone()]].concat();
    assert_eq!(held(&then), [is(with_label, 5_000, 49_998)]);
    // They were written shortly before, and nobody knows what they were.
    let then = [
        log.to_vec(),
        vec![relabelled(30_000, "RequestResponse", "b", 8), seen.clone()],
    ]
    .concat();
    assert_eq!(
        held(&then),
        [
            is("10.0.0.1 null", 5_000, 29_998),
            is(with_label, 30_000, 49_998)
        ]
    );
    for level in ["Request", "Metadata"] {
        let then = [
            log.to_vec(),
            vec![relabelled(30_000, level, "b", 8), seen.clone()],
        ]
        .concat();
        assert_eq!(
            held(&then),
            [
                is("10.0.0.1 null", 5_000, 29_998),
                is(with_label, 30_000, 49_998)
            ],
            "{level}"
        );
    }
}

#[test]
fn labels_that_were_sent_are_put_on_those_that_are_known() {
    let first = write(
        6_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("a", 3, running())],
    );
    let patch = |body: Value| {
        at_level(
            write(30_000, "someone", "patch", "pods", [body, Value::Null]),
            "Request",
        )
    };
    let later = running_at(60_000, "10.0.0.1");
    let after = |body: Value| held(&[first.clone(), patch(body), later.clone()]);
    let a = || is(r#"10.0.0.1 {"tier":"a"}"#, 5_000, 29_998);
    let merged = after(json!({"metadata": {"labels": {"app": "x"}}}));
    assert_eq!(
        merged,
        [
            a(),
            is(r#"10.0.0.1 {"app":"x","tier":"a"}"#, 30_000, 59_998)
        ]
    );
    let removed = after(json!([{"op": "remove", "path": "/metadata/labels/tier"}]));
    assert_eq!(removed, [a(), is("10.0.0.1", 30_000, 59_998)]);
    // An operation that cannot have been on these, directives, and a pod that is let go.
    for body in [
        json!([{"op": "replace", "path": "/metadata/labels/other", "value": "x"}]),
        json!({"metadata": {"labels": {"$patch": "replace", "app": "x"}}}),
        json!({"metadata": {"ownerReferences": [{"uid": "r", "$patch": "delete"}], "labels": {"app": "x"}}}),
    ] {
        assert_eq!(
            after(body.clone()),
            [a(), is("10.0.0.1 null", 30_000, 59_998)],
            "{body}"
        );
    }
    // Annotations leave them as they are.
    let same = after(json!({"metadata": {"annotations": {"a": "b"}}}));
    assert_eq!(same, [is(r#"10.0.0.1 {"tier":"a"}"#, 5_000, 59_998)]);
}

/// The pod is taken away without grace, a minute after the beginning or later; its labels were these.
fn removed(at_ms: i64, user: &str, tier: &str) -> Value {
    let mut last = pod(tier, 9, running());
    last["metadata"]["deletionTimestamp"] = text(60_000).into();
    last["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    let without_grace = json!({"gracePeriodSeconds": 0});
    write(at_ms, user, "delete", "pods", [without_grace, last])
}

/// Found by a log of many levels: what a pod was like at its end is not what it was like when it began.
#[test]
fn the_last_state_says_nothing_of_labels_before() {
    let gone = removed(65_000, KUBELET, "b");
    let first = write(
        6_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("a", 3, running())],
    );
    let log = [
        first,
        relabelled(30_000, "RequestResponse", "b", 8),
        gone.clone(),
    ];
    let (a, b) = (r#"10.0.0.1 {"tier":"a"}"#, r#"10.0.0.1 {"tier":"b"}"#);
    assert_eq!(held(&log), [is(a, 5_000, 29_998), is(b, 30_000, 60_000)]);
    // Alone it tells of the time up to when its end was asked for.
    assert_eq!(held(std::slice::from_ref(&gone)), [is(b, 5_000, 60_000)]);
    // A write of labels that does not say what they became.
    let log = [relabelled(30_000, "Metadata", "b", 8), gone];
    assert_eq!(
        held(&log),
        [is("10.0.0.1 null", 5_000, 29_998), is(b, 60_000, 60_000)]
    );
}

#[test]
fn a_pod_removed_by_force_held_its_address_up_to_then() {
    let removed = removed(60_500, "someone", "a");
    let first = write(
        6_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("a", 3, running())],
    );
    check(
        &told(&[first, removed]).0,
        &[(5_000, 60_000, Some(5_000), None)],
    );
}

#[test]
fn terways_word_gives_an_address_that_was_only_sent() {
    let given = json!({"metadata": {"annotations": {"k8s.aliyun.com/pod-ips": "10.0.0.1"}}});
    let given = at_level(
        write(2_000, TERWAY, "patch", "pods", [given, Value::Null]),
        "Request",
    );
    let log = [
        status(500, json!({"phase": "Pending"})),
        given,
        running_at(4_000, "10.0.0.1"),
    ];
    assert_eq!(held(&log), [is("10.0.0.1 null", 1_998, 3_998)]);
}

/// Found by a log of an independent generator: by then its node may have been gone for minutes, and another pod have its address.
#[test]
fn whoever_removes_a_pod_of_a_lost_node_does_not_say_that_it_ran() {
    let gc = "system:serviceaccount:kube-system:pod-garbage-collector";
    let failed = json!({"metadata": {"uid": "u1"}, "status": {"phase": "Failed"}});
    let failed = write(300_000, gc, "patch", "pods/status", [failed, Value::Null]);
    let force = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}});
    let removed = write(320_000, gc, "delete", "pods", [force, Value::Null]);
    let log = [
        on_node(),
        running_at(4_000, "10.0.0.1"),
        at_level(failed, "Request"),
        at_level(removed, "Request"),
    ];
    check(&told(&log).0, &[(3_998, 3_998, None, None)]);
}

/// Found by a log of an independent generator, of which many minutes were missing.
#[test]
fn what_a_hole_may_hide_is_not_said_to_go_on() {
    let log = [on_node(), running_at(4_000, "10.0.0.1")];
    let then = |later: &[Value]| held(&[log.to_vec(), later.to_vec()].concat());
    let before = || is("10.0.0.1 null", 3_998, 3_998);
    // Its sandbox may have been made anew.
    let ready = status(400_000, json!({"conditions": []}));
    assert_eq!(then(std::slice::from_ref(&ready)), [before()]);
    let again = [ready, running_at(410_000, "10.0.0.1")];
    assert_eq!(then(&again), [is("10.0.0.1 null", 3_998, 409_998)]);
    // Another pod may have its name, as Terway's word and a new label do not say.
    let node = write(400_000, KUBELET, "update", "leases", [json!({}), json!({})]);
    let given = json!({"metadata": {"annotations": {"k8s.aliyun.com/pod-ips": "10.0.0.7"}}});
    let given = write(401_000, TERWAY, "patch", "pods", [given, Value::Null]);
    let given = [node.clone(), at_level(given, "Request")];
    assert_eq!(then(&given), [before()]);
    let renamed = [node.clone(), relabelled(401_000, "Request", "b", 8)];
    let rows = then(&renamed);
    assert!(rows.iter().all(|row| row.2 <= 3_998), "{rows:?}");
    // Nor do they the second time.
    let again = [relabelled(402_000, "Request", "c", 9), given[1].clone()];
    let rows = then(&[renamed.to_vec(), again.to_vec()].concat());
    assert!(rows.iter().all(|row| row.2 <= 3_998), "{rows:?}");
    // Nor that it ran until somebody removed it by force.
    let force = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}});
    let removed = write(401_000, "someone", "delete", "pods", [force, Value::Null]);
    let removed = [node, at_level(removed, "Request")];
    assert_eq!(then(&removed), [before()]);
}

#[test]
fn labels_from_before_a_hole_are_not_those_after_it() {
    let state = |at_ms, label| {
        let bodies = [json!({}), pod(label, 3, running())];
        write(at_ms, KUBELET, "patch", "pods/status", bodies)
    };
    let sent = [state(6_000, "a"), running_at(400_000, "10.0.0.1")];
    let a = r#"10.0.0.1 {"tier":"a"}"#;
    assert_eq!(
        held(&sent),
        [is(a, 5_000, 5_998), is("10.0.0.1 null", 399_998, 399_998)]
    );
    // It came and may have been relabelled within the hole.
    let node = write(1_000, KUBELET, "update", "leases", [json!({}), json!({})]);
    let rows = held(&[node, state(400_000, "a")]);
    assert_eq!(
        rows,
        [is("10.0.0.1 null", 5_000, 399_997), is(a, 399_998, 399_998)]
    );
    // By its last state it ended within the hole: its label is from after that.
    let ended = |label, at_ms| {
        let bodies = [json!({}), pod(label, 9, finished(at_ms))];
        write(400_000, KUBELET, "patch", "pods/status", bodies)
    };
    let node = write(1_000, KUBELET, "update", "leases", [json!({}), json!({})]);
    assert_eq!(
        held(&[node, ended("b", 300_000)]),
        [is("10.0.0.1 null", 5_000, 300_000)]
    );
    assert_eq!(
        held(&[state(6_000, "a"), ended("b", 300_000)]),
        [is(a, 5_000, 5_998)]
    );
    assert_eq!(
        held(&[state(6_000, "a"), ended("a", 300_000)]),
        [is(a, 5_000, 300_000)]
    );
}

/// Found by a log of an independent generator: some kubelets send the whole status, and some clients a list of operations.
#[test]
fn a_status_that_is_not_merged_leaves_no_address_behind() {
    let put = |at_ms: i64, ip: &str| {
        let mut whole = pod(
            "a",
            5,
            json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}),
        );
        whole["status"]["containerStatuses"] = json!([]);
        let bodies = [whole, Value::Null];
        at_level(
            write(at_ms, KUBELET, "update", "pods/status", bodies),
            "Request",
        )
    };
    let running = || vec![on_node(), running_at(4_000, "10.0.0.1")];
    let expected = [
        is("10.0.0.1 null", 3_998, 3_998),
        is("10.0.0.2 null", 59_998, 89_998),
    ];
    let sent_whole = [put(60_000, "10.0.0.2"), put(90_000, "10.0.0.2")];
    assert_eq!(held(&[running(), sent_whole.to_vec()].concat()), expected);
    let merged_as_json = [
        running_at(60_000, "10.0.0.2"),
        running_at(90_000, "10.0.0.2"),
    ];
    let log = [running(), merged_as_json.to_vec()].concat();
    assert_eq!(held(&log), expected);
    // What came of it is not known, until addresses are sent again.
    let operations = json!([{"op": "replace", "path": "/status/podIP", "value": "10.0.0.2"}]);
    let operated = write(
        60_000,
        KUBELET,
        "patch",
        "pods/status",
        [operations, Value::Null],
    );
    for unseen in [
        at_level(operated.clone(), "Request"),
        at_level(operated, "Metadata"),
    ] {
        let ready = status(70_000, json!({"conditions": []}));
        let log = [running(), vec![unseen, ready, put(90_000, "10.0.0.2")]].concat();
        let expected = [
            is("10.0.0.1 null", 3_998, 3_998),
            is("10.0.0.2 null", 89_998, 89_998),
        ];
        assert_eq!(held(&log), expected);
    }
}
