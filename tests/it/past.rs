//! The time before anyone watched, through the binary: from files, and what is said of logs that do not tell it.

use serde_json::{Value, json};

use crate::Place;

/// A pod that ran from 08:00:05 to 08:30:00, as the answer to its deletion shows it.
fn deletion(user: &str) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "cart", "namespace": "shop", "uid": "u1", "creationTimestamp": "2026-11-24T08:00:00Z",
            "deletionTimestamp": "2026-11-24T08:30:30Z", "labels": {"app": "cart"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "podIP": "10.0.3.7", "containerStatuses": [{"state": {"terminated":
            {"startedAt": "2026-11-24T08:00:05Z", "finishedAt": "2026-11-24T08:30:00Z"}}}]},
    });
    json!({
        "level": "RequestResponse", "auditID": "a1", "stage": "ResponseComplete", "verb": "delete", "requestURI": "/",
        "user": {"username": user}, "objectRef": {"resource": "pods", "namespace": "shop", "name": "cart"},
        "responseStatus": {"code": 200}, "requestObject": {"gracePeriodSeconds": 0}, "responseObject": pod,
        "requestReceivedTimestamp": "2026-11-24T08:30:02.1Z", "stageTimestamp": "2026-11-24T08:30:02.2Z",
    })
}

fn policy() -> Value {
    json!({
        "level": "Metadata", "auditID": "a2", "stage": "ResponseComplete", "verb": "patch", "requestURI": "/",
        "user": {"username": "ci"}, "objectRef": {"resource": "networkpolicies", "apiGroup": "networking.k8s.io", "namespace": "shop", "name": "p"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-24T08:10:00.1Z", "stageTimestamp": "2026-11-24T08:10:00.2Z",
    })
}

fn event() -> Value {
    json!({
        "apiVersion": "v1", "kind": "EventList", "items": [{
            "metadata": {"name": "cart.x", "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "cart", "uid": "u1"},
            "reason": "AllocIPSucceed", "message": "Alloc IP 10.0.3.7/24 took 3ms", "firstTimestamp": "2026-11-24T08:00:02Z"}],
    })
}

/// Who had the address of the logs while they ran.
fn who(place: &Place) -> Value {
    let question = [
        "inventory",
        "who",
        "10.0.3.7",
        "--at",
        "2026-11-24T08:20:00Z",
        "-o",
        "json",
    ];
    serde_json::from_str(&place.run(&question).out).unwrap()
}

#[test]
fn an_audit_log_and_events_tell_who_held_an_address() {
    let place = Place::new();
    place.write(
        "logs/audit.log",
        format!("{}\n{}\n", deletion("system:node:n1"), policy()),
    );
    place.write("logs/events.json", event().to_string());
    let said = place.run(&["inventory", "import", "logs"]);
    said.check(
        0,
        &[
            "the audit log holds no content of networkpolicies.networking.k8s.io",
            "1 version of a policy or namespace is in no log",
        ],
    );
    assert!(
        said.out
            .contains("2 writes used, 1 event of addresses given"),
        "{}",
        said.out
    );
    place.run(&["inventory", "import", "logs"]).check(0, &[]);
    let held = who(&place);
    assert_eq!(held["because"], "pod shop/cart held it");
    assert_eq!(held["candidates"][0]["evidence"], "audit+event");
}

#[test]
fn events_are_read_from_yaml_as_from_json() {
    const EVENT: &str = "apiVersion: v1
involvedObject: {kind: Pod, namespace: shop, name: cart, uid: u1}
kind: Event
message: Alloc IP 10.0.3.7/24 took 3ms
metadata: {name: cart.x, namespace: shop}
reason: AllocIPSucceed
firstTimestamp: \"2026-11-24T08:00:02Z\"
";
    let list = format!(
        "apiVersion: v1\nitems:\n- {}\nkind: List\nmetadata: {{resourceVersion: ''}}\n",
        EVENT.trim_end().replace('\n', "\n  ")
    );
    for text in [EVENT.to_owned(), list, format!("---\n{EVENT}---\n{EVENT}")] {
        let place = Place::new();
        place.write("audit.log", deletion("system:node:n1").to_string());
        place.write("events.yaml", &text);
        let said = place.run(&["inventory", "import", "audit.log", "events.yaml"]);
        said.check(0, &[]);
        assert!(said.out.contains("of addresses given"), "{}", said.out);
        let held = who(&place);
        assert_eq!(held["candidates"][0]["evidence"], "audit+event", "{text}");
    }
}

/// A change of what configures Terway, of which the log holds nothing but that it was made.
#[test]
fn an_engine_that_was_changed_to_something_is_not_known_from_then_on() {
    let place = Place::new();
    let configuration = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "eni-config", "namespace": "kube-system"},
        "data": {"10-terway.conf": json!({"type": "terway", "eniip_virtual_type": "Veth"}).to_string()},
    });
    place.write("terway.json", configuration.to_string());
    let import = [
        "inventory",
        "import",
        "terway.json",
        "--at",
        "2026-11-24T08:00:00Z",
    ];
    place.run(&import).check(0, &[]);
    let health = || place.run(&["inventory", "health"]).out;
    assert!(health().contains("engine      felix"), "{}", health());
    let mut changed = policy();
    changed["objectRef"] =
        json!({"resource": "configmaps", "namespace": "kube-system", "name": "eni-config"});
    place.write("audit.log", changed.to_string());
    let said = place.run(&["inventory", "import", "audit.log"]);
    said.check(
        0,
        &[
            "what configures Terway was changed at 2026-11-24T08:10:00",
            "eni-config -n kube-system",
        ],
    );
    assert!(health().contains("engine      not found"), "{}", health());
}

#[test]
fn logstores_that_cannot_be_meant_are_refused() {
    let place = Place::new();
    place.write(
        "flowaudit.yaml",
        "sources:\n  audit:\n    sls: {endpoint: cn-hangzhou.log.aliyuncs.com, project: p-one, logstore: audit-c1}\n",
    );
    let rebuild = |more: &[&str]| place.run(&[&["inventory", "rebuild"], more].concat());
    rebuild(&[]).check(2, &["--source <NAME>"]);
    rebuild(&["--source", "nothing"]).check(
        2,
        &[
            "there is no source `nothing`",
            "the settings file names audit",
        ],
    );
    let times = ["--source", "audit", "--from", "1h", "--to", "2h"];
    rebuild(&times).check(2, &["`--from` is not before `--to`"]);
}
