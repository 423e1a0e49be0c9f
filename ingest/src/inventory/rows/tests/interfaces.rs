//! Addresses of interfaces that are a pod's own, from files.

use serde_json::{Value, json};

use super::*;
use crate::inventory::Against;

/// Objects as they were at a second.
fn at(second: i64, items: &[Value]) -> Part {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    Part {
        content: Content::Snapshot(kubernetes::read("f.json", &list)),
        at: Some(epoch() + second * S),
        left_out: LeftOut::default(),
    }
}

/// The PodENI of pod `a`, with an address that the pod shows and one that it does not.
fn pod_eni(uid: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "network.alibabacloud.com/v1beta1", "kind": "PodENI",
        "metadata": {"name": "a", "namespace": "web", "uid": "of-a", "annotations": {"k8s.aliyun.com/pod-uid": uid}},
        "spec": {"allocations": [
            {"eni": {"id": "eni-0"}, "ipv4": "10.0.0.1"},
            {"eni": {"id": "eni-1", "vpcID": "vpc-2"}, "ipv4": "10.8.0.1", "ipv6": "2001:db8::1"},
        ]},
        "status": {"phase": phase},
    })
}

/// Address, interface, VPC, core and outer end, in seconds.
fn told(rows: &Rows) -> Vec<String> {
    let second = |us: i64| (us - epoch()) / S;
    let told = rows.endpoints.iter().map(|row| {
        let (eni, vpc) = (row.eni_id.as_deref(), row.vpc_id.as_deref());
        let end = row.valid_to_us.unwrap();
        let high = row.to_slack_ms.map(|ms| second(end + ms * 1000));
        let times = format!("{} to {} {high:?}", second(row.valid_from_us), second(end));
        let evidence: Value = serde_json::from_str(&row.evidence).unwrap();
        format!(
            "{} {} {} {times} {}",
            row.addr,
            eni.unwrap_or("-"),
            vpc.unwrap_or("-"),
            evidence["by"]
        )
    });
    told.collect()
}

const BOTH: [&str; 3] = [
    r#"10.0.0.1 eni-0 - 10 to 100 None ["snapshot"]"#,
    r#"10.8.0.1 eni-1 vpc-2 10 to 100 None ["podeni"]"#,
    r#"2001:db8::1 eni-1 vpc-2 10 to 100 None ["podeni"]"#,
];

#[test]
fn a_pod_holds_them_as_long_as_what_it_shows() {
    let pod = |second| life("a", 10, 500, 505).json(second).unwrap();
    let together = at(50, &[pod(50), pod_eni("a", "Bind")]);
    let later = || at(100, &[pod(100)]);
    let whole = import(&[vec![together, later()]]);
    assert_eq!(told(&whole), BOTH);
    assert_eq!(whole.contradictions, []);
    // In parts, in any order, over several imports, and again.
    let parts = || {
        let eni = at(52, &[pod_eni("a", "Bind")]);
        [at(50, &[pod(50)]), eni, later()]
    };
    let [first, eni, last] = parts();
    assert_eq!(told(&import(&[vec![last, eni, first]])), BOTH);
    let [first, eni, last] = parts();
    let in_turn = import(&[vec![first], vec![eni], vec![last]]);
    assert_eq!(told(&in_turn), BOTH);
    let mut again = Known::from_rows(&in_turn.endpoints, &in_turn.objects);
    assert_eq!(again.to_rows("c1"), in_turn);
}

#[test]
fn only_while_it_is_bound_to_this_pod() {
    let pod = |second| life("a", 10, 500, 505).json(second).unwrap();
    let shown = |eni: &str| format!(r#"10.0.0.1 {eni} - 10 to 50 None ["snapshot"]"#);
    for phase in ["", "Binding", "Unbind", "Detaching", "Deleting"] {
        let rows = import(&[vec![at(50, &[pod(50), pod_eni("a", phase)])]]);
        assert_eq!(told(&rows), [shown("-")], "{phase}");
    }
    let another = import(&[vec![at(50, &[pod(50), pod_eni("older", "Bind")])]]);
    assert_eq!(told(&another), [shown("-")]);
    let nobody = import(&[vec![at(50, &[pod_eni("a", "Bind")])]]);
    assert_eq!(nobody.endpoints, []);
    // Bound to it at 50, to the next one at 100: not its any more, whatever is known of the pod.
    for (uid, phase) in [("next", "Bind"), ("a", "Detaching")] {
        let before = at(50, &[pod(50), pod_eni("a", "Bind")]);
        let after = at(100, &[pod(100), pod_eni(uid, phase)]);
        let rows = import(&[vec![before], vec![after]]);
        let further = told(&rows).split_off(1);
        let [v4, v6] = [1, 2].map(|number| BOTH[number].replace("100 None", "50 Some(100)"));
        assert_eq!(further, [v4, v6], "{uid} {phase}");
    }
}

#[test]
fn two_that_claim_one_address_contradict_each_other() {
    let mut other = pod_eni("b", "Bind");
    other["metadata"]["name"] = "b".into();
    other["spec"]["allocations"][0]["ipv4"] = "10.0.0.2".into();
    let mut second = life("b", 10, 500, 505);
    second.addr = "10.0.0.2".into();
    let items = [
        life("a", 10, 500, 505).json(50).unwrap(),
        second.json(50).unwrap(),
        pod_eni("a", "Bind"),
        other,
    ];
    let rows = import(&[vec![at(50, &items)]]);
    let found: Vec<_> = rows
        .contradictions
        .iter()
        .map(|one| (one.addr.as_str(), one.holder.as_str(), &one.against))
        .collect();
    let against = Against::Holder("web/b".into());
    assert_eq!(
        found,
        [
            ("10.8.0.1", "web/a", &against),
            ("2001:db8::1", "web/a", &against)
        ]
    );
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let mut damaged = pod_eni("a", "Bind");
    damaged["spec"]["allocations"][1]["ipv4"] = "10.8.0.999".into();
    damaged["spec"]["allocations"][0]["eni"] = json!({});
    let pod = life("a", 10, 500, 505).json(50).unwrap();
    let rows = import(&[vec![at(50, &[pod, damaged])]]);
    assert_eq!(
        told(&rows),
        [
            r#"10.0.0.1 - - 10 to 50 None ["snapshot"]"#,
            r#"2001:db8::1 eni-1 vpc-2 10 to 50 None ["podeni"]"#
        ]
    );
}
