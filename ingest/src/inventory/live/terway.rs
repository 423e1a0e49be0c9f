//! What Terway writes down beside the pods: when their addresses came back, and what they hold on interfaces of their own.

use serde_json::{Value, json};

use super::tests::{Place, finished, pod, pods, text};
use super::*;
use flowaudit_lake::table::endpoints::EndpointRow;

pub(super) fn runtimes() -> KindId {
    KindId::new("network.alibabacloud.com", "NodeRuntime")
}

/// The word of a node about pods, by name, whose networks were gone at a second; those without one are there.
pub(super) fn runtime(told: &[(&str, Option<i64>)]) -> Value {
    let pods = told.iter().map(|(name, gone)| {
        let mut status = json!({"initial": {"lastUpdateTime": text(-60)}});
        if let Some(gone) = gone {
            status["deleted"] = json!({"lastUpdateTime": text(*gone)});
        }
        let entry = json!({"podID": format!("shop/{name}"), "status": status});
        (format!("uid-{name}"), entry)
    });
    json!({
        "apiVersion": "network.alibabacloud.com/v1beta1", "kind": "NodeRuntime",
        "metadata": {"name": "n1", "uid": "uid-n1", "creationTimestamp": text(-5000)},
        "status": {"pods": pods.collect::<serde_json::Map<_, _>>()},
    })
}

/// A place where pod `a` was watched from 0 to 10 and deleted by force at 20.
fn forced() -> Place {
    let mut place = Place::new();
    place.list(&runtimes(), 0, 1, &[runtime(&[("a", None)])]);
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.progress(&pods(), 10);
    place.delete(&pod("a", "10.0.0.1", -50), 20);
    place
}

#[test]
fn a_network_that_is_gone_ends_what_nobody_ended() {
    let mut place = forced();
    place.commit(20).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, None)]);
    // The kubelet stops the containers later, and the address comes back.
    place.put(&runtime(&[("a", Some(31))]), 33);
    place.commit(33).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, Some(31))]);
    let evidence: Value = serde_json::from_str(&place.endpoints()[0].evidence).unwrap();
    assert_eq!(evidence["dated_by"], json!(["noderuntime"]));
    assert_eq!(evidence["returned"], "2026-11-24T08:00:31Z");
    // Nobody saw it end, so whoever came next may not have been seen either.
    assert_eq!(evidence.get("gone"), None);
    // Terway clears its word away; it stays known.
    place.put(&runtime(&[]), 60);
    place.commit(60).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, Some(31))]);
}

#[test]
fn the_next_process_learns_of_it_from_the_list() {
    let mut place = forced();
    place.commit(20).unwrap();
    place.restart();
    place.list(&pods(), 30, 31, &[]);
    place.list(&runtimes(), 30, 31, &[runtime(&[("a", Some(25))])]);
    place.commit(31).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, Some(25))]);
}

#[test]
fn a_pod_whose_node_was_lost_ends_when_the_node_is_back() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.progress(&pods(), 10);
    let mut failed = pod("a", "10.0.0.1", -50);
    failed["status"]["phase"] = "Failed".into();
    place.put(&failed, 60);
    place.commit(60).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, None)]);
    place.put(&runtime(&[("a", Some(90))]), 91);
    place.commit(91).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, Some(90))]);
}

#[test]
fn an_end_that_was_said_later_is_known_closer() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.progress(&pods(), 10);
    place.put(&runtime(&[("a", Some(22))]), 24);
    place.put(&finished(pod("a", "10.0.0.1", -50), -50, 20), 29);
    place.commit(29).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 20, Some(22))]);
    // Not before it surely held on, as far as clocks may be apart.
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.progress(&pods(), 10);
    place.put(&runtime(&[("a", Some(18))]), 24);
    place.put(&finished(pod("a", "10.0.0.1", -50), -50, 20), 29);
    place.commit(29).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 20, Some(20))]);
}

#[test]
fn a_network_that_was_made_anew_is_not_gone() {
    // The node was started again: the sandbox of before is gone, and the pod runs on.
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.put(&runtime(&[("a", Some(5))]), 7);
    let mut anew = pod("a", "10.0.0.1", 8);
    anew["metadata"]["creationTimestamp"] = text(-52).into();
    place.put(&anew, 9);
    place.progress(&pods(), 10);
    place.delete(&anew, 11);
    place.commit(11).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-50), -50, 10, None)]);
    let evidence: Value = serde_json::from_str(&place.endpoints()[0].evidence).unwrap();
    assert_eq!(evidence.get("returned"), None);
}

#[test]
fn what_cannot_be_is_kept_and_bounds_nothing() {
    // It was heard of for a minute after its network was gone, and nothing says that it was made anew.
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.put(&runtime(&[("a", Some(5))]), 7);
    place.progress(&pods(), 70);
    place.delete(&pod("a", "10.0.0.1", -50), 71);
    place.commit(71).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 70, None)]);
    let rows = place.endpoints();
    let mut known = crate::inventory::rows::Known::from_rows(&rows, &[]);
    let contradictions = known.to_rows("c").contradictions;
    assert_eq!(contradictions.len(), 1, "{contradictions:?}");
    assert_eq!(
        contradictions[0].against,
        crate::inventory::Against::Returned
    );
}

#[test]
fn the_word_about_another_pod_is_not_about_this_one() {
    let mut place = forced();
    let mut other = runtime(&[("a", Some(31))]);
    other["status"]["pods"]["uid-a"]["podID"] = "shop/b".into();
    place.put(&other, 33);
    let mut another = runtime(&[("a", Some(31))]);
    another["status"]["pods"]["uid-x"] = another["status"]["pods"]["uid-a"].take();
    place.put(&another, 34);
    place.put(&runtime(&[("a", Some(-55))]), 35);
    place.commit(35).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, None)]);
}

#[test]
fn who_vanished_while_nobody_watched_may_have_run_on() {
    let mut place = Place::new();
    place.list(&pods(), 0, 1, &[pod("a", "10.0.0.1", -50)]);
    place.progress(&pods(), 10);
    place.commit(10).unwrap();
    place.restart();
    // Its network was gone, and may have been made anew, before it vanished.
    place.list(&runtimes(), 100, 101, &[runtime(&[("a", Some(30))])]);
    place.list(&pods(), 100, 102, &[]);
    place.commit(102).unwrap();
    place.check(&[("a", "10.0.0.1", Some(-51), -50, 10, Some(102))]);
}

pub(super) fn enis() -> KindId {
    KindId::new("network.alibabacloud.com", "PodENI")
}

/// The PodENI of a pod, for the pod with that uid; its second interface has the address `further`.
pub(super) fn pod_eni(name: &str, uid: &str, phase: &str, addrs: [&str; 2]) -> Value {
    let allocation = |number: usize, vpc: Option<&str>| {
        let id = format!("eni-{}", addrs[number].replace('.', "-"));
        json!({"eni": {"id": id, "vpcID": vpc}, "ipv4": addrs[number], "interface": format!("eth{number}")})
    };
    json!({
        "apiVersion": "network.alibabacloud.com/v1beta1", "kind": "PodENI",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("eni-of-{name}"),
            "annotations": {"k8s.aliyun.com/pod-uid": uid}},
        "spec": {"allocations": [allocation(0, None), allocation(1, Some("vpc-2"))]},
        "status": {"phase": phase},
    })
}

const OF_A: [&str; 2] = ["10.0.0.1", "10.8.0.1"];

/// Name, address, interface, VPC and what it rests on, of each row.
fn told(place: &Place) -> Vec<String> {
    let rows = place.endpoints();
    let told = rows.iter().map(|row| {
        let evidence: Value = serde_json::from_str(&row.evidence).unwrap();
        let eni = row.eni_id.as_deref().unwrap_or("-");
        let vpc = row.vpc_id.as_deref().unwrap_or("-");
        format!("{} {} {eni} {vpc} {}", row.name, row.addr, evidence["by"])
    });
    told.collect()
}

#[test]
fn a_pod_holds_what_its_own_interfaces_have() {
    // The kinds are listed in either order, and the PodENI comes before the pod's address or after it.
    for order in 0..3 {
        let mut place = Place::new();
        let bound = pod_eni("a", "uid-a", "Bind", OF_A);
        let shown = pod("a", "10.0.0.1", -50);
        match order {
            0 => {
                place.list(&enis(), 0, 1, std::slice::from_ref(&bound));
                place.list(&pods(), 0, 1, std::slice::from_ref(&shown));
            }
            1 => {
                place.list(&pods(), 0, 1, std::slice::from_ref(&shown));
                place.list(&enis(), 0, 1, std::slice::from_ref(&bound));
            }
            _ => {
                place.list(&pods(), 0, 1, std::slice::from_ref(&shown));
                place.list(&enis(), 0, 1, &[]);
                place.put(&bound, 2);
            }
        }
        for kind in [pods(), enis()] {
            place.progress(&kind, 10);
        }
        place.commit(10).unwrap();
        place.check(&[
            ("a", "10.0.0.1", Some(-51), -50, 10, None),
            ("a", "10.8.0.1", Some(-51), -50, 10, None),
        ]);
        assert_eq!(
            told(&place),
            [
                r#"a 10.0.0.1 eni-10-0-0-1 vpc-1 ["live"]"#,
                r#"a 10.8.0.1 eni-10-8-0-1 vpc-2 ["podeni"]"#,
            ],
            "{order}"
        );
        // Both go with the pod.
        place.put(&finished(shown, -50, 20), 22);
        place.put(&pod_eni("a", "uid-a", "Detaching", OF_A), 24);
        place.commit(24).unwrap();
        place.check(&[
            ("a", "10.0.0.1", Some(-51), -50, 20, Some(22)),
            ("a", "10.8.0.1", Some(-51), -50, 20, Some(22)),
        ]);
    }
}

#[test]
fn the_next_process_goes_on_with_interfaces() {
    for enis_first in [true, false] {
        let mut place = Place::new();
        let shown = [pod("a", "10.0.0.1", -50)];
        let bound = [pod_eni("a", "uid-a", "Bind", OF_A)];
        place.list(&pods(), 0, 1, &shown);
        place.list(&enis(), 0, 1, &bound);
        for kind in [pods(), enis()] {
            place.progress(&kind, 10);
        }
        place.commit(10).unwrap();
        place.restart();
        if enis_first {
            place.list(&enis(), 30, 31, &bound);
        }
        place.list(&pods(), 30, 31, &shown);
        if !enis_first {
            place.commit(31).unwrap();
            place.list(&enis(), 32, 33, &bound);
        }
        place.commit(33).unwrap();
        place.check(&[
            ("a", "10.0.0.1", Some(-51), -50, 30, None),
            ("a", "10.8.0.1", Some(-51), -50, 30, None),
        ]);
        assert_eq!(
            told(&place)[1],
            r#"a 10.8.0.1 eni-10-8-0-1 vpc-2 ["podeni"]"#
        );
        // Another process finds that it is bound no more; when that was is not known.
        place.restart();
        place.list(&pods(), 60, 61, &shown);
        place.list(&enis(), 60, 62, &[]);
        place.commit(62).unwrap();
        let rows = place.endpoints();
        let further = rows.iter().find(|row| row.addr == "10.8.0.1").unwrap();
        let end = further.valid_to_us.unwrap();
        assert!(end <= super::tests::at(33), "{further:?}");
        assert!(further.to_slack_ms.is_some());
        assert_eq!(rows[0].to_slack_ms, None);
    }
}

#[test]
fn a_fixed_address_is_the_next_pods_only_once_it_is_bound_to_it() {
    let mut place = Place::new();
    let first = pod("a", "10.0.0.1", -50);
    place.list(&pods(), 0, 1, std::slice::from_ref(&first));
    place.list(&enis(), 0, 1, &[pod_eni("a", "uid-a", "Bind", OF_A)]);
    for kind in [pods(), enis()] {
        place.progress(&kind, 10);
    }
    place.delete(&finished(first, -50, 15), 18);
    // The next one of that name; the PodENI is still that of the first for a while.
    let mut second = pod("a", "10.0.0.1", 30);
    second["metadata"]["uid"] = "uid-2".into();
    let mut pending = second.clone();
    pending["status"] = json!({"phase": "Pending"});
    place.put(&pending, 20);
    for (phase, uid, second) in [
        ("Detaching", "uid-a", 21),
        ("Unbind", "uid-a", 23),
        ("Binding", "uid-2", 25),
    ] {
        place.put(&pod_eni("a", uid, phase, OF_A), second);
        place.commit(second).unwrap();
        assert_eq!(place.endpoints().len(), 2, "{phase}");
    }
    place.put(&pod_eni("a", "uid-2", "Bind", OF_A), 28);
    place.put(&second, 31);
    place.commit(31).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 15, Some(18)),
        ("a", "10.0.0.1", Some(29), 30, 31, None),
        ("a", "10.8.0.1", Some(-51), -50, 15, Some(18)),
        ("a", "10.8.0.1", Some(29), 30, 31, None),
    ]);
    let uids: Vec<_> = place.endpoints().into_iter().map(|row| row.uid).collect();
    let uids: Vec<&str> = uids.iter().map(|uid| uid.as_deref().unwrap()).collect();
    assert_eq!(uids, ["uid-a", "uid-2", "uid-a", "uid-2"]);
}

#[test]
fn what_is_not_the_pods_is_not_given_to_it() {
    let mut place = Place::new();
    let mut deleted = pod_eni("d", "uid-d", "Bind", ["10.0.0.4", "10.8.0.4"]);
    deleted["metadata"]["deletionTimestamp"] = text(-5).into();
    let mut nameless = pod_eni("e", "", "Bind", ["10.0.0.5", "10.8.0.5"]);
    nameless["metadata"]["annotations"] = json!({});
    let mut damaged = pod_eni("f", "uid-f", "Bind", ["10.0.0.6", "10.8.0.6"]);
    damaged["spec"]["allocations"][1]["ipv4"] = Value::Null;
    let mut host = pod("g", "10.0.0.7", -50);
    host["spec"]["hostNetwork"] = true.into();
    let mut pending = pod("h", "10.0.0.8", -50);
    pending["status"] = json!({"phase": "Pending"});
    let claims = [
        pod_eni("a", "uid-older", "Bind", OF_A),
        pod_eni("b", "uid-b", "Binding", ["10.0.0.2", "10.8.0.2"]),
        pod_eni("c", "uid-c", "", ["10.0.0.3", "10.8.0.3"]),
        deleted,
        nameless,
        damaged,
        pod_eni("g", "uid-g", "Bind", ["10.0.0.7", "10.8.0.7"]),
        pod_eni("h", "uid-h", "Bind", ["10.0.0.8", "10.8.0.8"]),
        pod_eni("nobody", "uid-nobody", "Bind", ["10.0.0.9", "10.8.0.9"]),
    ];
    let shown: Vec<Value> = ["a", "b", "c", "d", "e", "f"]
        .iter()
        .zip(1..)
        .map(|(name, n)| pod(name, &format!("10.0.0.{n}"), -50))
        .chain([host, pending])
        .collect();
    place.list(&enis(), 0, 1, &claims);
    place.list(&pods(), 0, 1, &shown);
    place.commit(1).unwrap();
    let rows = place.endpoints();
    let further: Vec<_> = rows
        .iter()
        .filter(|row| row.addr.starts_with("10.8."))
        .collect();
    assert_eq!(further, [] as [&EndpointRow; 0]);
    assert_eq!(rows.len(), 7);
    // Only its readable address is on an interface of its own.
    let with_eni: Vec<_> = rows.iter().filter(|row| row.eni_id.is_some()).collect();
    let names: Vec<&str> = with_eni.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["f", "g"]);
}

#[test]
fn two_that_claim_one_address_are_both_kept_and_told_of() {
    let mut place = Place::new();
    place.list(
        &enis(),
        0,
        1,
        &[
            pod_eni("a", "uid-a", "Bind", OF_A),
            pod_eni("b", "uid-b", "Bind", ["10.0.0.2", "10.8.0.1"]),
        ],
    );
    place.list(
        &pods(),
        0,
        1,
        &[pod("a", "10.0.0.1", -50), pod("b", "10.0.0.2", -40)],
    );
    place.progress(&pods(), 10);
    place.commit(10).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 10, None),
        ("a", "10.8.0.1", Some(-51), -50, 10, None),
        ("b", "10.0.0.2", Some(-41), -40, 10, None),
        ("b", "10.8.0.1", Some(-41), -40, 10, None),
    ]);
    let rows = place.endpoints();
    let contradictions = crate::inventory::rows::Known::from_rows(&rows, &[])
        .to_rows("c")
        .contradictions;
    assert_eq!(contradictions.len(), 1, "{contradictions:?}");
    assert_eq!(contradictions[0].addr, "10.8.0.1");
}

#[test]
fn who_exits_late_is_bounded_by_its_interface() {
    // The PodENI leaves its phase before the pod's end is heard.
    let mut place = Place::new();
    let shown = pod("a", "10.0.0.1", -50);
    place.list(&pods(), 0, 1, std::slice::from_ref(&shown));
    place.list(&enis(), 0, 1, &[pod_eni("a", "uid-a", "Bind", OF_A)]);
    for kind in [pods(), enis()] {
        place.progress(&kind, 40);
    }
    place.put(&pod_eni("a", "uid-a", "Detaching", OF_A), 45);
    place.put(&finished(shown, -50, 37), 47);
    place.commit(47).unwrap();
    place.check(&[
        ("a", "10.0.0.1", Some(-51), -50, 37, Some(47)),
        ("a", "10.8.0.1", Some(-51), -50, 29, Some(45)),
    ]);
}
