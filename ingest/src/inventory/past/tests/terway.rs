//! Writes of Terway's objects.

use serde_json::{Value, json};

use super::*;

const DAEMON: &str = "system:serviceaccount:kube-system:terway";

fn written(at_ms: i64, [resource, name]: [&str; 2], object: Value) -> Value {
    let event = write(at_ms, DAEMON, "patch", resource, [json!({}), object]);
    let reference = json!({"resource": resource, "name": name, "apiGroup": "network.alibabacloud.com", "apiVersion": "v1beta1"});
    with(event, "objectRef", reference)
}

/// Terway's word that the network of the pod is gone.
fn returned(at_ms: i64) -> Value {
    let pods = json!({"u1": {"podID": "shop/web", "status": {"deleted": {"lastUpdateTime": text(at_ms)}}}});
    let runtime = json!({
        "apiVersion": "network.alibabacloud.com/v1beta1", "kind": "NodeRuntime",
        "metadata": {"name": "n1", "uid": "n"}, "status": {"pods": pods},
    });
    written(at_ms + 1_000, ["noderuntimes", "n1"], runtime)
}

#[test]
fn a_network_that_is_gone_ends_a_pod_removed_by_force() {
    let mut last = pod("a", 9, running());
    last["metadata"]["deletionTimestamp"] = text(60_000).into();
    last["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    let force = json!({"gracePeriodSeconds": 0});
    let removed = write(60_500, "someone", "delete", "pods", [force, last]);
    let held = |log: &[Value]| {
        let (rows, _, tally) = told(log);
        (
            rows[0].1,
            rows[0].3,
            tally.left_out.get(&NoWrite::Other).copied(),
        )
    };
    assert_eq!(held(std::slice::from_ref(&removed)), (60_000, None, None));
    let log = [removed.clone(), returned(75_000)];
    assert_eq!(held(&log), (60_000, Some(15_000), None));
    // As the policy of ACK has it.
    let mute = with(returned(75_000), "level", "Metadata".into());
    assert_eq!(held(&[removed, mute]), (60_000, None, Some(1)));
}

#[test]
fn an_interface_of_its_own_gives_a_pod_further_addresses() {
    let eni = json!({
        "apiVersion": "network.alibabacloud.com/v1beta1", "kind": "PodENI",
        "metadata": {"namespace": "shop", "name": "web", "uid": "e", "annotations": {"k8s.aliyun.com/pod-uid": "u1"}},
        "spec": {"allocations": [{"eni": {"id": "eni-1"}, "ipv4": "10.0.7.1"}]}, "status": {"phase": "Bind"},
    });
    let shown = write(
        6_000,
        KUBELET,
        "patch",
        "pods/status",
        [json!({}), pod("a", 3, running())],
    );
    let (rows, ..) = told(&[shown, written(3_000, ["podenis", "web"], eni)]);
    let further = rows.iter().find(|row| row.4.starts_with("10.0.7.1"));
    assert!(further.is_some(), "{rows:#?}");
}
