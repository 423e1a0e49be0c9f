//! Writes of which only what was sent is in the log, one by one.

use serde_json::{Value, json};

use super::*;

/// A policy that is created, and what is sent then, all at level Request; what is in force at the end.
fn sent(creation: Value, patches: &[(&str, &str, Value)]) -> Value {
    let request = |event| with(event, "level", "Request".into());
    let mut created = policy(creation);
    created["metadata"] = json!({"name": "web", "namespace": "shop"});
    let mut log = vec![request(write(
        1_000,
        "ci",
        "create",
        "networkpolicies",
        [created, Value::Null],
    ))];
    for (number, (verb, query, body)) in patches.iter().enumerate() {
        let at = 20_000 + 10_000 * number as i64;
        let event = write(
            at,
            "ci",
            verb,
            "networkpolicies",
            [body.clone(), Value::Null],
        );
        log.push(request(with(
            event,
            "requestURI",
            format!("/x?{query}").into(),
        )));
    }
    let (_, rows, _) = told(&log);
    let spec: Value = serde_json::from_str(&rows.last().unwrap().4).unwrap();
    spec["spec"].clone()
}

fn policy(spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec})
}

#[test]
fn a_direction_that_comes_later_is_not_in_force_by_itself() {
    let rule = json!({"spec": {"egress": [{}]}});
    let first = json!({"podSelector": {}, "ingress": [{}]});
    let spec = sent(first, &[("patch", "", rule.clone())]);
    assert_eq!(spec["policyTypes"], json!(["Ingress"]));
    let both = json!({"spec": {"egress": [{}], "policyTypes": null}});
    let first = json!({"podSelector": {}});
    let spec = sent(first, &[("patch", "", rule), ("patch", "", both)]);
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
}

#[test]
fn what_is_not_certain_is_unknown() {
    let first = || json!({"podSelector": {"matchLabels": {"app": "a"}}, "ingress": [{"ports": [{"port": 1}]}]});
    let known =
        |verb: &str, query: &str, body: Value| !sent(first(), &[(verb, query, body)]).is_null();
    let whole = |spec: Value| policy(spec);
    // Directives of a strategic merge.
    let replaced = json!({"spec": {"podSelector": {"$patch": "replace", "matchLabels": {}}}});
    assert!(!known("patch", "", replaced));
    assert!(!known(
        "patch",
        "",
        json!({"spec": {"$retainKeys": ["podSelector"], "podSelector": {}}})
    ));
    // What an apply leaves out may be another's.
    let all = json!({"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [], "policyTypes": ["Ingress"]});
    assert!(known("patch", "fieldManager=flux", whole(all.clone())));
    assert!(!known(
        "patch",
        "fieldManager=flux",
        whole(json!({"podSelector": {"matchLabels": {"app": "b"}}, "policyTypes": ["Ingress"]}))
    ));
    // An operation that cannot have been on this.
    let test = |port: u16| json!([{"op": "test", "path": "/spec/ingress/0/ports/0/port", "value": port}, {"op": "remove", "path": "/spec/ingress/0"}]);
    assert!(known("patch", "", test(1)));
    assert!(!known("patch", "", test(2)));
    let copy = json!([{"op": "copy", "from": "/metadata/annotations/x", "path": "/spec/ingress"}]);
    assert!(!known("patch", "", copy));
    let moved = json!([{"op": "add", "path": "/spec/ingress/0", "value": {}}, {"op": "move", "from": "/spec/ingress/1", "path": "/spec/ingress/0"},
        {"op": "copy", "from": "/spec/ingress/0", "path": "/spec/ingress/-"}, {"op": "replace", "path": "/spec/podSelector/matchLabels/app", "value": "b"}]);
    let spec = sent(first(), &[("patch", "", moved)]);
    assert_eq!(
        spec["ingress"],
        json!([{"ports": [{"port": 1, "protocol": "TCP"}]}, {}, {"ports": [{"port": 1, "protocol": "TCP"}]}])
    );
    assert_eq!(spec["podSelector"]["matchLabels"]["app"], "b");
}

#[test]
fn two_writes_closer_than_clocks_have_no_sure_order() {
    let select = |app: &str| json!({"spec": {"podSelector": {"matchLabels": {"app": app}}}});
    let patch = |at_ms, body| {
        with(
            write(at_ms, "ci", "patch", "networkpolicies", [body, Value::Null]),
            "level",
            "Request".into(),
        )
    };
    let mut first = policy(json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
    first["metadata"] = json!({"name": "web", "namespace": "shop", "uid": "p1", "generation": 1, "resourceVersion": "7", "creationTimestamp": text(0)});
    let created = write(
        1_000,
        "ci",
        "create",
        "networkpolicies",
        [Value::Null, first],
    );
    let contents = |log: &[Value]| {
        told(log)
            .1
            .iter()
            .map(|row| row.4 == "null")
            .collect::<Vec<_>>()
    };
    let apart = [
        created.clone(),
        patch(20_000, select("a")),
        patch(30_000, select("b")),
    ];
    assert_eq!(contents(&apart), [false, false, false]);
    let close = [
        created,
        patch(20_000, select("a")),
        patch(21_000, select("b")),
    ];
    assert_eq!(contents(&close), [false, false, true]);
}

#[test]
fn a_base_before_a_hole_is_none() {
    let mut log: Vec<Value> = (0..100)
        .map(|n| n * 10_000)
        .filter(|at| !(100_000..700_000).contains(at))
        .map(lease)
        .collect();
    let select = |app: &str| json!({"spec": {"podSelector": {"matchLabels": {"app": app}}}});
    let request = |event| with(event, "level", "Request".into());
    let mut first = policy(json!({"podSelector": {}}));
    first["metadata"] = json!({"name": "web", "namespace": "shop"});
    log.push(request(write(
        21_000,
        "ci",
        "create",
        "networkpolicies",
        [first, Value::Null],
    )));
    log.push(request(write(
        61_000,
        "ci",
        "patch",
        "networkpolicies",
        [select("a"), Value::Null],
    )));
    log.push(request(write(
        900_000,
        "ci",
        "patch",
        "networkpolicies",
        [select("b"), Value::Null],
    )));
    let (_, rows, _) = told(&log);
    let contents: Vec<bool> = rows.iter().map(|row| row.4 == "null").collect();
    assert_eq!(contents, [false, false, true]);
}

#[test]
fn finalizers_keep_a_policy_that_was_only_sent() {
    let request = |event| with(event, "level", "Request".into());
    let mut first = policy(json!({"podSelector": {}}));
    first["metadata"] =
        json!({"name": "web", "namespace": "shop", "finalizers": ["example.com/guard"]});
    let log = [
        request(write(
            1_000,
            "ci",
            "create",
            "networkpolicies",
            [first, Value::Null],
        )),
        request(write(
            20_000,
            "ci",
            "delete",
            "networkpolicies",
            [json!({}), Value::Null],
        )),
        request(write(
            50_000,
            "guard",
            "patch",
            "networkpolicies",
            [json!({"metadata": {"finalizers": null}}), Value::Null],
        )),
    ];
    check(&told(&log[..2]).1, &[(1_000, 1_000, Some(2), None)]);
    check(&told(&log).1, &[(1_000, 50_000, Some(2), Some(0))]);
}

#[test]
fn an_answer_of_metadata_only_leaves_the_spec_as_it_was() {
    let mut first = policy(json!({"podSelector": {}}));
    first["metadata"] = json!({"name": "web", "namespace": "shop", "uid": "p1", "generation": 1, "resourceVersion": "7", "creationTimestamp": text(0), "finalizers": ["foregroundDeletion"]});
    let created = write(
        1_000,
        "ci",
        "create",
        "networkpolicies",
        [Value::Null, first.clone()],
    );
    let mut answer = first.clone();
    answer["kind"] = "PartialObjectMetadata".into();
    answer["metadata"]["finalizers"] = json!([]);
    answer["metadata"]["deletionTimestamp"] = text(40_000).into();
    let collected = write(
        50_000,
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "patch",
        "networkpolicies",
        [json!({"metadata": {"finalizers": []}}), answer.clone()],
    );
    check(
        &told(&[created.clone(), collected]).1,
        &[(0, 50_000, Some(0), Some(0))],
    );
    // With another generation it is another spec.
    answer["metadata"]["generation"] = 2.into();
    let other = write(
        50_000,
        "x",
        "patch",
        "networkpolicies",
        [Value::Null, answer],
    );
    let (_, rows, _) = told(&[created, other]);
    assert_eq!(rows.last().unwrap().4, "null");
}

#[test]
fn whoever_writes_a_status_declares_nothing() {
    let mut first = policy(json!({"podSelector": {}}));
    first["metadata"] = json!({"name": "web", "namespace": "shop", "uid": "p1", "generation": 1, "resourceVersion": "7", "creationTimestamp": text(0)});
    let created = write(
        1_000,
        "ci",
        "create",
        "networkpolicies",
        [Value::Null, first],
    );
    let status = with(
        write(
            20_000,
            "operator",
            "update",
            "networkpolicies/status",
            [Value::Null, Value::Null],
        ),
        "level",
        "Metadata".into(),
    );
    check(&told(&[created, status]).1, &[(0, 1_000, Some(0), None)]);
}

#[test]
fn what_was_only_sent_is_not_older_when_it_is_read_again() {
    let mut created = policy(json!({"podSelector": {}}));
    created["metadata"] = json!({"name": "web", "namespace": "shop"});
    let bodies = [created, Value::Null];
    let event = write(20_000, "ci", "create", "networkpolicies", bodies);
    let mut past = Past::default();
    past.read(&with(event, "level", "Request".into()));
    let (rows, _) = past.rows(Known::default(), "c");
    assert_eq!(rows.objects[0].from_slack_ms, Some(2));
    let again = Known::from_rows(&rows.endpoints, &rows.objects).to_rows("c");
    assert_eq!(again, rows);
}
