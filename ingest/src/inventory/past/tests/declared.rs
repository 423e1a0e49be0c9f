//! Policies, namespaces and their kin.

use serde_json::{Value, json};

use super::super::super::sighting;
use super::*;

fn policy(generation: u32, version: u32, app: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "web", "uid": "p1", "generation": generation,
            "resourceVersion": version.to_string(), "creationTimestamp": text(0)},
        "spec": {"podSelector": {"matchLabels": {"app": app}}},
    })
}

#[test]
fn policies_hold_from_write_to_write() {
    let body = |object: Value| [object.clone(), object];
    let gone = json!({"kind": "Status", "details": {"name": "web", "uid": "p1"}});
    let (_, rows, tally) = told(&[
        write(
            1_000,
            "ci",
            "create",
            "networkpolicies",
            body(policy(1, 10, "a")),
        ),
        write(
            5_000,
            "ci",
            "update",
            "networkpolicies",
            body(policy(2, 11, "b")),
        ),
        with(
            write(
                6_000,
                "ci",
                "update",
                "networkpolicies",
                body(policy(3, 12, "never")),
            ),
            "responseStatus",
            json!({"code": 409}),
        ),
        with(
            write(
                7_000,
                "ci",
                "patch",
                "networkpolicies",
                body(policy(3, 12, "never")),
            ),
            "requestURI",
            "/x?dryRun=All".into(),
        ),
        write(9_000, "ci", "delete", "networkpolicies", [json!({}), gone]),
    ]);
    check(
        &rows,
        &[
            (0, 4_998, Some(0), Some(2)),
            (5_000, 8_998, Some(2), Some(2)),
        ],
    );
    assert_eq!((tally.unknown, tally.writes), (0, 3));
    assert_eq!(tally.left_out[&NoWrite::Refused], 1);
    assert_eq!(tally.left_out[&NoWrite::DryRun], 1);
}

#[test]
fn versions_that_nobody_saw_are_in_force_as_that() {
    let body = |object: Value| [object.clone(), object];
    let first = write(
        1_000,
        "ci",
        "create",
        "networkpolicies",
        body(policy(1, 10, "a")),
    );
    // Two versions in between.
    let jumped = write(
        5_000,
        "ci",
        "update",
        "networkpolicies",
        body(policy(4, 15, "b")),
    );
    let (_, rows, tally) = told(&[first.clone(), jumped]);
    check(
        &rows,
        &[
            (0, 1_000, Some(0), Some(3_998)),
            (4_998, 4_998, Some(3_998), Some(2)),
            (5_000, 5_000, Some(2), None),
        ],
    );
    assert_eq!((rows[1].4.as_str(), tally.unknown), ("null", 1));

    let blind = with(
        write(
            3_000,
            "ci",
            "patch",
            "networkpolicies",
            [json!({}), json!({})],
        ),
        "level",
        "Metadata".into(),
    );
    let then = write(
        5_000,
        "ci",
        "update",
        "networkpolicies",
        body(policy(2, 11, "b")),
    );
    let (_, rows, tally) = told(&[first, blind.clone(), then]);
    check(
        &rows,
        &[
            (0, 2_998, Some(0), Some(2)),
            (3_000, 4_998, Some(2), Some(2)),
            (5_000, 5_000, Some(2), None),
        ],
    );
    assert_eq!((rows[1].4.as_str(), tally.unknown), ("null", 1));
    let (_, rows, tally) = told(&[blind]);
    check(&rows, &[(3_000, 3_000, None, None)]);
    let blind: Vec<&str> = tally.blind().collect();
    assert_eq!(blind, ["networkpolicies.networking.k8s.io"]);

    // It was there, whatever it said.
    let gone = json!({"kind": "Status", "details": {"name": "web", "uid": "p1"}});
    let (_, rows, tally) = told(&[write(
        9_000,
        "ci",
        "delete",
        "networkpolicies",
        [json!({}), gone],
    )]);
    check(&rows, &[(8_998, 8_998, None, Some(2))]);
    assert_eq!((rows[0].4.as_str(), tally.unknown), ("null", 1));
}

#[test]
fn a_collection_that_is_deleted_ends_with_its_specs() {
    let list = json!({"kind": "NetworkPolicyList", "apiVersion": "networking.k8s.io/v1", "items": [policy(3, 12, "a")]});
    let (_, rows, _) = told(&[write(
        9_000,
        "system:serviceaccount:kube-system:namespace-controller",
        "deletecollection",
        "networkpolicies",
        [json!({}), list],
    )]);
    check(&rows, &[(8_998, 8_998, Some(8_998), Some(2))]);
}

#[test]
fn finalizers_keep_a_namespace_until_it_is_finalized() {
    let namespace = |finalizers: Value, deleted: bool| {
        let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "n1", "labels": {"team": "a"}}, "spec": {"finalizers": finalizers}});
        if deleted {
            object["metadata"]["deletionTimestamp"] = text(0).into();
        }
        object
    };
    let named = |event: Value, subresource: &str| {
        let reference = json!({"resource": "namespaces", "namespace": "shop", "name": "shop", "subresource": subresource});
        with(event, "objectRef", reference)
    };
    let kept = [
        named(
            write(
                1_000,
                "ci",
                "create",
                "namespaces",
                [json!({}), namespace(json!(["kubernetes"]), false)],
            ),
            "",
        ),
        named(
            write(
                5_000,
                "ci",
                "delete",
                "namespaces",
                [json!({}), namespace(json!(["kubernetes"]), true)],
            ),
            "",
        ),
    ];
    check(&told(&kept).1, &[(1_000, 4_998, Some(2), None)]);
    let finalized = named(
        write(
            8_000,
            "kcm",
            "update",
            "namespaces",
            [json!({}), namespace(json!([]), true)],
        ),
        "finalize",
    );
    check(
        &told(&[kept[0].clone(), kept[1].clone(), finalized]).1,
        &[(1_000, 8_000, Some(2), Some(0))],
    );
}

/// The policy as a snapshot shows it at that time.
fn seen(at_ms: i64) -> Known {
    shown(at_ms, &policy(3, 12, "a"))
}

fn shown(at_ms: i64, object: &Value) -> Known {
    let manifest = flowaudit_rules::kubernetes::read("", &object.to_string());
    let (text, facts) = sighting::declared(&manifest.objects[0]).unwrap();
    let mut known = Known::default();
    let history = known
        .objects
        .entry(sighting::subject(&manifest.objects[0]))
        .or_default();
    history.learn(&facts);
    history.see(ZERO + at_ms * 1000, text, By::Snapshot, &[]);
    known
}

#[test]
fn what_was_not_written_did_not_change() {
    let leases: Vec<Value> = (1..=40).map(|n| lease(n * 10_000)).collect();
    let rows = |known: &Known, more: &[Value]| told_on(known, &[&leases, more].concat()).1;
    check(
        &rows(&seen(100_000), &[]),
        &[(10_000, 400_000, Some(10_000), None)],
    );
    // Outside the log nobody can say.
    check(
        &rows(&seen(400_500), &[]),
        &[(400_500, 400_500, Some(400_500), None)],
    );
    check(
        &rows(&seen(5_000), &[]),
        &[(5_000, 5_000, Some(5_000), None)],
    );
    // It was written long before the snapshot, shortly before it, and after it.
    let blind = |at_ms: i64| {
        let event = write(
            at_ms,
            "ci",
            "patch",
            "networkpolicies",
            [json!({}), json!({})],
        );
        with(
            with(event, "level", "Metadata".into()),
            "objectRef",
            json!({"resource": "networkpolicies", "apiGroup": "networking.k8s.io", "namespace": "shop", "name": "web", "uid": "p1"}),
        )
    };
    let known = seen(200_000);
    check(
        &rows(&known, &[blind(100_000)]),
        &[(100_000, 400_000, Some(100_000), None)],
    );
    check(
        &rows(&known, &[blind(190_000)]),
        &[
            (190_000, 190_000, Some(190_000), Some(10_000)),
            (200_000, 200_000, Some(10_000), None),
        ],
    );
    check(
        &rows(&known, &[blind(300_000)]),
        &[
            (10_000, 200_000, Some(10_000), Some(100_000)),
            (300_000, 400_000, Some(100_000), None),
        ],
    );
    // Leases were taken out, and of its kind nothing is there.
    let filtered = write(
        100_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("a", 3, running())],
    );
    let late = write(
        300_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("a", 4, running())],
    );
    check(
        &told_on(&known, &[filtered, late]).1,
        &[(200_000, 200_000, Some(200_000), None)],
    );
}

/// Kubelets write leases and nodes: where one is there without the other, somebody took it out.
#[test]
fn a_log_without_nodes_does_not_say_that_they_stay() {
    let leases: Vec<Value> = (1..=40).map(|n| lease(n * 10_000)).collect();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "n1"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.0.9.1"}]}});
    let known = shown(100_000, &node);
    let rows = |more: &[Value]| told_on(&known, &[&leases, more].concat()).1;
    check(&rows(&[]), &[(100_000, 100_000, None, None)]);
    let beat = json!({"status": {"conditions": []}});
    let beat = write(
        50_000,
        KUBELET,
        "patch",
        "nodes/status",
        [beat, node.clone()],
    );
    let beat = with(
        beat,
        "objectRef",
        json!({"resource": "nodes", "subresource": "status", "name": "n2"}),
    );
    let rows = rows(&[with(beat, "responseObject", Value::Null)]);
    check(&rows, &[(10_000, 400_000, None, None)]);
}

#[test]
fn what_configures_enforcement_changes_to_what_nobody_saw() {
    let named = |event: Value| {
        let reference =
            json!({"resource": "configmaps", "namespace": "kube-system", "name": "eni-config"});
        with(
            with(event, "level", "Metadata".into()),
            "objectRef",
            reference,
        )
    };
    let patched = named(write(
        5_000,
        "admin",
        "patch",
        "configmaps",
        [Value::Null, Value::Null],
    ));
    let other = json!({"resource": "configmaps", "namespace": "kube-system", "name": "other"});
    let (_, rows, tally) = told(&[
        patched.clone(),
        with(
            with(patched.clone(), "auditID", "x".into()),
            "objectRef",
            other,
        ),
    ]);
    check(&rows, &[(5_000, 5_000, None, None)]);
    assert_eq!(rows[0].4, "null");
    assert_eq!((tally.settings.len(), tally.unknown), (1, 0));
    assert_eq!(tally.left_out[&NoWrite::Other], 1);
}
