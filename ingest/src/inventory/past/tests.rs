//! Writes and events → sightings, and through histories to rows.

mod declared;
mod labels;
mod merging;
mod pods_sent;
mod replaced;
mod replay;
mod sent;
mod terway;

use serde_json::{Value, json};

use super::super::learn;
use super::super::rows::Known;
use super::*;

/// 2026-11-24T08:00:00Z
const ZERO: i64 = 1_795_507_200_000_000;
const KUBELET: &str = "system:node:n1";

fn text(ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(ZERO + ms * 1000).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// A pod with a label and a status.
fn pod(label: &str, version: u32, status: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web", "uid": "u1", "resourceVersion": version.to_string(),
            "labels": {"tier": label}, "creationTimestamp": text(0)},
        "spec": {"nodeName": "n1"}, "status": status,
    })
}

fn running() -> Value {
    json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [{"state": {"running": {"startedAt": text(5_000)}}}]})
}

fn finished(at_ms: i64) -> Value {
    json!({"phase": "Succeeded", "podIP": "10.0.0.1", "containerStatuses": [
        {"state": {"terminated": {"startedAt": text(5_000), "finishedAt": text(at_ms)}}}]})
}

/// A write that takes 2 ms, answered at that time.
fn write(at_ms: i64, user: &str, verb: &str, resource: &str, bodies: [Value; 2]) -> Value {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let group = if resource == "networkpolicies" {
        "networking.k8s.io"
    } else {
        ""
    };
    let [sent, answered] = bodies;
    json!({
        "level": "RequestResponse", "auditID": format!("{at_ms}"), "stage": "ResponseComplete", "verb": verb,
        "requestURI": "/", "user": {"username": user},
        "objectRef": {"resource": resource, "subresource": subresource, "namespace": "shop", "name": "web", "apiGroup": group},
        "responseStatus": {"code": 200}, "requestObject": sent, "responseObject": answered,
        "requestReceivedTimestamp": text(at_ms - 2), "stageTimestamp": text(at_ms),
    })
}

fn with(mut event: Value, key: &str, value: Value) -> Value {
    event[key] = value;
    event
}

type Row = (i64, i64, Option<i64>, Option<i64>, String);

/// Core in ms, slack before and after, and a word about it.
fn told(values: &[Value]) -> (Vec<Row>, Vec<Row>, Tally) {
    told_on(&Known::default(), values)
}

/// The same on top of what is known.
fn told_on(known: &Known, values: &[Value]) -> (Vec<Row>, Vec<Row>, Tally) {
    let mut results = Vec::new();
    for order in [values.to_vec(), values.iter().rev().cloned().collect()] {
        let mut past = Past::default();
        order.iter().for_each(|value| past.read(value));
        let (told, mut known) = (past.finish(), known.clone());
        let merge = |known: &mut Known| {
            learn(known, None, &told.moment);
            told.quiet.hold(known);
            known.to_rows("c")
        };
        let rows = merge(&mut known);
        assert_eq!(rows.contradictions, []);
        let ms = |us: i64| (us - ZERO) / 1000;
        let endpoints: Vec<Row> = rows
            .endpoints
            .iter()
            .map(|row| {
                let labels = row.labels.clone().unwrap_or_default();
                (
                    ms(row.valid_from_us),
                    ms(row.valid_to_us.unwrap()),
                    row.from_slack_ms,
                    row.to_slack_ms,
                    format!("{} {labels} {}", row.addr, row.evidence),
                )
            })
            .collect();
        let objects: Vec<Row> = rows
            .objects
            .iter()
            .map(|row| {
                (
                    ms(row.valid_from_us),
                    ms(row.valid_to_us.unwrap()),
                    row.from_slack_ms,
                    row.to_slack_ms,
                    row.spec.clone(),
                )
            })
            .collect();
        // What was stored and is read again is the same.
        let mut again = Known::from_rows(&rows.endpoints, &rows.objects);
        assert_eq!(merge(&mut again), rows);
        results.push((endpoints, objects, told.tally));
    }
    assert_eq!(results[0], results[1], "the order of lines is irrelevant");
    results.swap_remove(0)
}

#[track_caller]
fn check(rows: &[Row], expected: &[(i64, i64, Option<i64>, Option<i64>)]) {
    let times: Vec<_> = rows
        .iter()
        .map(|row| (row.0, row.1, row.2, row.3))
        .collect();
    assert_eq!(times, expected, "{rows:#?}");
}

/// Found by fuzzing.
#[test]
fn writes_that_take_a_year_are_damaged_and_make_the_log_no_longer() {
    let policy = json!({"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}}, "metadata": {
        "name": "web", "namespace": "shop", "uid": "p1", "generation": 1, "creationTimestamp": text(0)}});
    let create = |at_ms| {
        let bodies = [Value::Null, policy.clone()];
        write(at_ms, "ci", "create", "networkpolicies", bodies)
    };
    for received in ["2025-11-24T08:30:02Z", "2027-11-24T08:30:02Z"] {
        let (_, rows, tally) = told(&[
            create(1_000),
            with(create(5_000), "requestReceivedTimestamp", json!(received)),
        ]);
        assert_eq!(tally.left_out[&NoWrite::Damaged], 1);
        assert_eq!(tally.from_to, Some((ZERO + 1_000_000, ZERO + 5_000_000)));
        check(&rows, &[(0, 5_000, Some(0), None)]);
    }
}

/// A watch began before the log did.
#[test]
fn the_log_begins_with_what_it_has() {
    let mut watch = write(
        60_000,
        "ci",
        "watch",
        "networkpolicies",
        [Value::Null, Value::Null],
    );
    watch = with(watch, "requestReceivedTimestamp", json!(text(-3_000_000)));
    let (.., tally) = told(&[watch]);
    assert_eq!(tally.from_to, Some((ZERO + 60_000_000, ZERO + 60_000_000)));
}

#[test]
fn a_life_from_binding_to_deletion() {
    let binding = json!({"metadata": {"uid": "u1"}, "target": {"name": "n1"}});
    let ips = json!({"metadata": {"annotations": {"k8s.aliyun.com/pod-ips": "10.0.0.1"}}});
    let mut given = pod("a", 2, json!({"phase": "Pending"}));
    given["metadata"]["annotations"] = ips["metadata"]["annotations"].clone();
    let delete = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}});
    let (rows, ..) = told(&[
        write(
            100,
            "system:kube-scheduler",
            "create",
            "pods/binding",
            [binding, json!({"kind": "Status"})],
        ),
        write(
            1_000,
            "system:serviceaccount:kube-system:terway",
            "patch",
            "pods",
            [ips, given],
        ),
        write(
            5_500,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 3, running())],
        ),
        write(
            60_000,
            "someone",
            "delete",
            "pods",
            [json!({}), pod("a", 4, running())],
        ),
        write(
            63_000,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 5, finished(62_000))],
        ),
        write(
            64_000,
            KUBELET,
            "delete",
            "pods",
            [delete, pod("a", 6, finished(62_000))],
        ),
    ]);
    check(&rows, &[(998, 62_000, Some(900), Some(998))]);
    assert!(rows[0].4.contains(r#""by":["audit"]"#), "{rows:?}");
}

#[test]
fn the_deletion_alone_tells_of_a_pod_that_was_born_before() {
    let delete = json!({"gracePeriodSeconds": 0});
    let last = pod("a", 6, finished(62_000));
    let by = |user: &str, last: &Value| {
        told(&[write(
            64_000,
            user,
            "delete",
            "pods",
            [delete.clone(), last.clone()],
        )])
        .0
    };
    check(
        &by(KUBELET, &last),
        &[(5_000, 62_000, Some(5_000), Some(1_998))],
    );
    // Anyone may remove what has ended.
    check(
        &by(
            "system:serviceaccount:kube-system:pod-garbage-collector",
            &last,
        ),
        &[(5_000, 62_000, Some(5_000), Some(1_998))],
    );
    // Forced: nobody knows when its containers end.
    let forced = pod("a", 6, running());
    check(
        &by("someone", &forced),
        &[(5_000, 5_000, Some(5_000), None)],
    );
}

#[test]
fn a_node_that_is_lost_proves_no_end() {
    let mut failed = running();
    failed["phase"] = "Failed".into();
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
            "system:kube-controller-manager",
            "patch",
            "pods/status",
            [json!({}), pod("a", 4, failed)],
        ),
    ]);
    check(&rows, &[(5_000, 5_498, Some(5_000), None)]);
}

#[test]
fn an_address_that_came_with_a_new_sandbox_ends_the_old_one() {
    let mut moved = running();
    moved["podIP"] = "10.0.0.2".into();
    let (rows, ..) = told(&[
        write(
            5_500,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 3, running())],
        ),
        write(
            20_000,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 4, running())],
        ),
        write(
            90_000,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 5, moved)],
        ),
    ]);
    assert_eq!(rows[0].1, 19_998, "{rows:#?}");
    assert_eq!(rows[0].3, Some(70_000), "{rows:#?}");
    assert!(rows[1].4.starts_with("10.0.0.2"), "{rows:#?}");
}

#[test]
fn what_was_only_sent_tells_times_but_no_labels() {
    let sent = json!({"metadata": {"uid": "u1"}, "status": {"$setElementOrder/podIPs": [{"ip": "10.0.0.1"}],
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.9", "$patch": "delete"}], "phase": "Running"}});
    let patched = with(
        write(4_000, KUBELET, "patch", "pods/status", [sent, Value::Null]),
        "level",
        "Request".into(),
    );
    let (rows, _, tally) = told(std::slice::from_ref(&patched));
    assert_eq!(rows, []);
    assert_eq!(tally.levels["pods"][&Level::Request], 1);
    let (rows, ..) = told(&[
        patched,
        write(
            20_000,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 4, running())],
        ),
    ]);
    check(&rows, &[(3_998, 19_998, Some(3_998), None)]);
    assert!(
        rows[0].4.contains(r#""dated_by":["audit-request"]"#),
        "{rows:?}"
    );
}

/// The event's name holds nanoseconds.
fn event(uid: &str, at_ms: i64) -> Value {
    json!({"kind": "Event", "metadata": {"name": format!("web.{:x}", (ZERO + at_ms * 1000) * 1000)},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web", "uid": uid},
        "reason": "AllocIPSucceed", "message": "Alloc IP 10.0.0.1/24 took 3ms", "firstTimestamp": text(at_ms)})
}

#[test]
fn an_event_dates_an_address_that_is_known_from_elsewhere() {
    let status = write(
        9_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("a", 4, running())],
    );
    let (rows, _, tally) = told(&[event("u1", 3_250), status.clone()]);
    check(&rows, &[(3_250, 8_998, Some(3_250), None)]);
    assert!(rows[0].4.contains(r#""dated_by":["event"]"#), "{rows:?}");
    assert_eq!(tally.allocations, 1);
    assert_eq!(
        told(&[event("u1", 3_250)]).0,
        [],
        "nothing else is known of it"
    );
    // A pod of that name before it: the daemon found the next one, which did not exist yet.
    check(
        &told(&[event("u1", -9_000), status]).0,
        &[(5_000, 8_998, Some(5_000), None)],
    );
}

/// A kubelet renews its lease.
fn lease(at_ms: i64) -> Value {
    let lease = json!({"resource": "leases", "apiGroup": "coordination.k8s.io", "name": "n1"});
    let nothing = [Value::Null, Value::Null];
    let event = with(
        write(at_ms, KUBELET, "update", "leases", nothing),
        "objectRef",
        lease,
    );
    with(event, "auditID", format!("lease-{at_ms}").into())
}

#[test]
fn a_hole_ends_what_holds_between_two_writes() {
    let writes = [
        write(
            5_500,
            KUBELET,
            "patch",
            "pods/status",
            [json!({}), pod("a", 3, running())],
        ),
        write(
            900_000,
            "someone",
            "patch",
            "pods",
            [json!({}), pod("b", 4, running())],
        ),
    ];
    let log = |holes: bool| {
        let leases = (0..100)
            .map(|n| n * 10_000)
            .filter(|at| !holes || !(100_000..700_000).contains(at));
        let mut log: Vec<Value> = leases.map(lease).collect();
        log.extend(writes.clone());
        log
    };
    let (rows, _, tally) = told(&log(false));
    check(
        &rows,
        &[
            (5_000, 899_998, Some(5_000), Some(2)),
            (900_000, 900_000, Some(2), None),
        ],
    );
    assert_eq!(tally.holes, []);
    let (rows, _, tally) = told(&log(true));
    check(
        &rows,
        &[
            (5_000, 5_498, Some(5_000), Some(894_502)),
            (900_000, 900_000, Some(894_502), None),
        ],
    );
    assert_eq!(tally.holes, [(ZERO + 90_000_000, ZERO + 700_000_000)]);
    // A pod that is first met after the hole may have had other labels before it.
    let mut log: Vec<Value> = (0..100)
        .map(|n| n * 10_000)
        .filter(|at| !(100_000..700_000).contains(at))
        .map(lease)
        .collect();
    log.push(write(
        900_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("b", 4, running())],
    ));
    let (rows, ..) = told(&log);
    check(
        &rows,
        &[
            (5_000, 700_000, Some(5_000), Some(199_998)),
            (899_998, 899_998, Some(199_998), None),
        ],
    );
    assert!(rows[0].4.contains(" null "), "{rows:?}");
}
