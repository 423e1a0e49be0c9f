//! What is heard when all goes well, and what is asked for.

use flowaudit_ingest::inventory::live::Heard;
use serde_json::json;

use crate::common::{Place, pod, short, until};

/// Kinds that the fake serves from the beginning and that are listed.
pub(crate) const KINDS: usize = 10;

#[test]
fn pages_of_a_list_then_events_then_bookmarks() {
    let place = Place::new();
    place.pods(0..350);
    let listening = place.watch();
    listening.until_listed(KINDS);
    place.create("pods", pod("late", 999));
    let label = json!({"metadata": {"labels": {"app": "db"}}});
    place.patch("pods", "shop", "late", &label);
    place.delete("pods", "shop", "late");
    listening.until("the deletion is heard", |taken| {
        short(taken, "Pod").contains(&"del late".to_owned())
    });
    let at_deletion = listening.taken().heard.len();
    listening.until("a bookmark of pods comes", |taken| {
        taken.heard[at_deletion..]
            .iter()
            .any(|heard| matches!(heard, Heard::Progress { kind, .. } if kind.kind == "Pod"))
    });
    let (taken, ended) = listening.end();
    let summary = ended.unwrap();
    assert_eq!(
        (summary.kinds, summary.events, summary.relisted),
        (KINDS, 4, 0)
    );
    let of_pods = short(&taken, "Pod");
    assert_eq!(of_pods.len(), 1 + 350 + 1 + 4);
    assert_eq!(of_pods[0], "list");
    assert_eq!(
        of_pods[351..],
        ["end", "put late", "put late", "put late", "del late"]
    );
    assert_eq!(taken.committed, taken.heard.len());
    // Four pages, from one list.
    assert_eq!(place.requests(&["GET /api/v1/pods?limit=100"]), 4);
    assert_eq!((place.lists("pods"), place.watches("pods")), (1, 1));
    let applied = taken.heard.iter().find_map(|heard| match heard {
        Heard::Applied { object, at } => Some((object, *at)),
        _ => None,
    });
    let (object, at) = applied.unwrap();
    let created = object.created.unwrap().timestamp_micros();
    assert!((0..60_000_000).contains(&(at - created)), "{at} {created}");
}

#[test]
fn secrets_and_other_configmaps_are_never_asked_for() {
    let place = Place::new();
    let config = |namespace: &str, name: &str| {
        json!({"metadata": {"namespace": namespace, "name": name},
               "data": {"eni_conf": r#"{"access_key":"AK","access_secret":"s3cr3t"}"#, "disable_network_policy": "true"}})
    };
    place.create("configmaps", config("kube-system", "eni-config"));
    place.create("configmaps", config("kube-system", "other"));
    place.create("secrets", config("kube-system", "token"));
    let listening = place.watch();
    listening.until_listed(KINDS);
    place.patch(
        "configmaps",
        "kube-system",
        "other",
        &json!({"data": {"x": "y"}}),
    );
    place.patch(
        "configmaps",
        "kube-system",
        "eni-config",
        &json!({"data": {"disable_network_policy": "false"}}),
    );
    listening.until("the change is heard", |taken| {
        short(taken, "ConfigMap").contains(&"put eni-config".to_owned())
    });
    let (taken, _) = listening.end();
    assert_eq!(
        short(&taken, "ConfigMap"),
        ["list", "is eni-config", "end", "put eni-config"]
    );
    assert!(!format!("{taken:?}").contains("s3cr3t"));
    assert_eq!(place.requests(&["secrets"]), 0);
    let asked = place.requests(&["configmaps"]);
    let narrow = place.requests(&[
        "/namespaces/kube-system/configmaps?",
        "fieldSelector=metadata.name=eni-config",
    ]);
    assert_eq!(asked, narrow);
}

#[test]
fn a_list_alone_ends_by_itself() {
    let place = Place::new();
    place.pods(0..120);
    let mut settings = place.quick();
    settings.once = true;
    let (taken, ended) = crate::common::Listening::start(settings).join();
    let summary = ended.unwrap();
    assert_eq!(
        (summary.kinds, summary.listed, summary.commits),
        (KINDS, 120, 1)
    );
    assert_eq!(taken.committed, taken.heard.len());
    assert_eq!(place.requests(&["watch=true"]), 0);
}

#[test]
fn kinds_that_come_later_are_found_and_gone_ones_are_lost() {
    let place = Place::new();
    let listening = place.watch();
    listening.until_listed(KINDS);
    {
        let mut world = place.fake.world();
        world.serve(
            "network.alibabacloud.com/v1beta1",
            "PodENI",
            "podenis",
            true,
        );
        // A version that is not read is told.
        world.serve(
            "cilium.io/v3",
            "CiliumNetworkPolicy",
            "ciliumnetworkpolicies",
            true,
        );
        let resource = world.resource("podenis");
        world.create(
            resource,
            json!({"metadata": {"name": "p", "namespace": "shop"}}),
        );
    }
    listening.until("the new kind is listed", |taken| {
        short(taken, "PodENI").contains(&"end".to_owned())
    });
    {
        let mut world = place.fake.world();
        let resource = world.resource("podenis");
        world.resources.remove(resource);
        world.cut();
    }
    listening.until("the kind is lost", |taken| {
        short(taken, "PodENI").contains(&"lost".to_owned())
    });
    let (taken, ended) = listening.end();
    ended.unwrap();
    assert!(
        taken
            .told
            .iter()
            .any(|line| line.contains("Unread") && line.contains("ciliumnetworkpolicies")),
        "{:?}",
        taken.told
    );
}

#[test]
fn one_api_of_calico_is_enough() {
    let place = Place::new();
    {
        let mut world = place.fake.world();
        for group in ["projectcalico.org/v3", "crd.projectcalico.org/v1"] {
            world.serve(group, "GlobalNetworkPolicy", "globalnetworkpolicies", false);
        }
    }
    let listening = place.watch();
    listening.until_listed(KINDS + 1);
    until("it is watched", || {
        place.watches("globalnetworkpolicies") > 0
    });
    let (_, ended) = listening.end();
    assert_eq!(ended.unwrap().kinds, KINDS + 1);
    assert_eq!(place.requests(&["/apis/projectcalico.org/v3/global"]), 0);
}
