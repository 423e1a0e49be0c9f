//! Labels of pods: since when they were so, and where nobody knows.

use serde_json::{Value, json};

use super::*;

#[test]
fn labels_hold_until_they_are_changed() {
    let (rows, ..) = told(&[
        write(
            5_500,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 3, running())],
        ),
        write(
            90_000,
            "someone",
            "patch",
            "pods",
            [json!({}), pod("b", 4, running())],
        ),
        write(
            95_000,
            "someone",
            "patch",
            "pods",
            [json!({}), pod("b", 5, running())],
        ),
    ]);
    check(
        &rows,
        &[
            (5_000, 89_998, Some(5_000), Some(2)),
            (90_000, 95_000, Some(2), None),
        ],
    );
}

#[test]
fn labels_that_were_written_before_the_log_began_are_as_old_as_they_say() {
    let mut known = pod("b", 3, running());
    known["metadata"]["managedFields"] = json!([
        {"manager": "kube-controller-manager", "time": text(70_000),
            "fieldsV1": {"f:metadata": {"f:labels": {"f:tier": {}}}, "f:spec": {}}},
        {"manager": "kubectl-label", "time": text(60_000), "fieldsV1": {"f:metadata": {"f:labels": {"f:tier": {}}}}},
    ]);
    let status = write(90_000, KUBELET, "patch", "pods/status", [json!({}), known]);
    let (rows, ..) = told(&[status]);
    check(
        &rows,
        &[
            (5_000, 60_999, Some(5_000), Some(1)),
            (61_000, 89_998, Some(1), None),
        ],
    );
    assert!(rows[0].4.starts_with("10.0.0.1 null"), "{}", rows[0].4);
    assert!(rows[1].4.contains(r#"{"tier":"b"}"#), "{}", rows[1].4);
}

/// Nobody says when its node was lost, so all that is sure is when it began; its labels were written later.
#[test]
fn labels_of_a_lost_pod_are_not_those_it_began_with() {
    let mut lost = running();
    lost["phase"] = "Failed".into();
    let mut known = pod("b", 3, lost);
    known["metadata"]["managedFields"] = json!([
        {"manager": "kubectl-label", "time": text(60_000), "fieldsV1": {"f:metadata": {"f:labels": {"f:tier": {}}}}},
    ]);
    let collector = "system:serviceaccount:kube-system:pod-garbage-collector";
    let write = |at_ms, verb, resource, sent| {
        write(at_ms, collector, verb, resource, [sent, known.clone()])
    };
    let status = write(90_000, "patch", "pods/status", json!({}));
    let now = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}});
    let removed = write(95_000, "delete", "pods", now);
    for log in [&[status.clone()][..], &[status, removed]] {
        let (rows, ..) = told(log);
        check(&rows, &[(5_000, 5_000, Some(5_000), None)]);
        assert!(rows[0].4.starts_with("10.0.0.1 null"), "{}", rows[0].4);
    }
}

#[test]
fn labels_before_they_were_changed_are_not_known() {
    let change = json!({"metadata": {"labels": {"tier": "b"}}});
    let patch = |sent: Value| {
        told(&[write(
            90_000,
            "someone",
            "patch",
            "pods",
            [sent, pod("b", 4, running())],
        )])
        .0
    };
    let rows = patch(change);
    check(
        &rows,
        &[
            (5_000, 89_998, Some(5_000), Some(2)),
            (90_000, 90_000, Some(2), None),
        ],
    );
    assert!(rows[0].4.contains(" null "), "{rows:?}");
    // Another write leaves them as they are.
    check(
        &patch(json!({"metadata": {"annotations": {}}})),
        &[(5_000, 90_000, Some(5_000), None)],
    );
}
