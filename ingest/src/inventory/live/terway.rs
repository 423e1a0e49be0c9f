//! What Terway writes down beside the pods: when their addresses came back.

use serde_json::{Value, json};

use super::tests::{Place, finished, pod, pods, text};
use super::*;

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
    assert_eq!(evidence.get("open_end"), None);
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
