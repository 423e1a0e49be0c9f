//! Who held an address, through the binary: what is known, what is not, and what is reported rather than guessed.

use serde_json::{Value, json};

use crate::Place;

fn pod(name: &str, address: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": labels, "creationTimestamp": "2026-11-24T07:00:00Z"},
        "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}], "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-24T07:00:00Z"},
            {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": "2026-11-24T07:00:05Z"}]},
    })
}

fn snapshot(place: &Place, time: &str, pods: &[Value]) {
    let mut items = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "ns"}}),
        pod("other", "10.0.9.9", json!({})),
    ];
    if let Some(other) = items.get_mut(1) {
        other["metadata"]["namespace"] = json!("web");
    }
    items.extend_from_slice(pods);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    place.write(&format!("snapshots/{time}.json"), list.to_string());
}

/// At 8 cart and redis; at 9 cart with another label, and web where redis was.
fn place() -> Place {
    let place = Place::new();
    let cart = |tier: &str| pod("cart", "10.0.3.7", json!({"tier": tier}));
    let redis = pod("redis", "10.0.3.8", json!({}));
    snapshot(&place, "20261124T080000Z", &[cart("silver"), redis]);
    let mut web = pod("web", "10.0.3.8", json!({}));
    web["status"]["conditions"][1]["lastTransitionTime"] = json!("2026-11-24T08:40:00Z");
    web["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-24T08:39:58Z");
    snapshot(&place, "20261124T090000Z", &[cart("golden"), web]);
    place
        .run(&["inventory", "import", "snapshots"])
        .check(0, &[]);
    place
}

fn asked(place: &Place, arguments: &[&str]) -> Value {
    let said = place.run(&[&["inventory"], arguments, &["-o", "json"]].concat());
    said.check(0, &[]);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn who_says_what_an_analysis_would_and_why() {
    let place = place();
    let who = |at: &str| asked(&place, &["who", "10.0.3.8", "--at", at]);
    let held = who("2026-11-24T08:00:00Z");
    assert_eq!(held["answer"], "ambiguous-outside-core", "{held}");
    let held = who("2026-11-24T07:30:00Z");
    assert_eq!(held["answer"], "identified", "{held}");
    assert_eq!(held["because"], "pod shop/redis held it");
    assert_eq!(held["candidates"][0]["held"], "surely");
    assert_eq!(held["candidates"][0]["evidence"], "snapshot");
    let held = who("2026-11-24T08:20:00Z");
    assert_eq!(held["answer"], "ambiguous-outside-core", "{held}");
    assert_eq!(held["candidates"][0]["name"], "redis");
    assert_eq!(held["candidates"][0]["held"], "possibly");
    assert_eq!(held["candidates"][1]["held"], "after");
    let held = who("2026-11-24T12:00:00Z");
    assert_eq!(held["answer"], "ambiguous-last-seen-before", "{held}");
    let dns = asked(&place, &["who", "100.100.2.136"]);
    assert_eq!(dns["because"], "it lies in cloud-service dns");

    place.write("sets.yaml", "sets: [{name: orders, cidrs: [10.0.3.200]}]");
    let named = asked(&place, &["who", "10.0.3.200", "--cidr-sets", "sets.yaml"]);
    assert_eq!(named["because"], "it lies in cidr-set orders");
    let beside = asked(&place, &["who", "10.0.3.201", "--cidr-sets", "sets.yaml"]);
    assert_eq!(beside["answer"], "unidentified");
    place.write("wrong.yaml", "sets:\n  - {name: a, cidrs: [10.0.0.5/24]}");
    place
        .run(&["inventory", "who", "10.0.3.7", "--cidr-sets", "wrong.yaml"])
        .check(
            2,
            &["wrong.yaml:2: `10.0.0.5/24` has bits beyond its prefix"],
        );
}

#[test]
fn the_past_and_its_differences_are_told() {
    let place = place();
    let past = asked(&place, &["history", "shop/cart"]);
    assert_eq!(past.as_array().unwrap().len(), 2, "{past}");
    assert_eq!(past[1]["changed"], json!(["labels"]));
    assert_eq!(past[1]["labels"]["tier"], "golden");
    let past = asked(&place, &["history", "10.0.3.8"]);
    let names: Vec<&Value> = past
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert_eq!(names, ["redis", "web"]);
    place
        .run(&["inventory", "history", "shop/nobody"])
        .check(0, &["nothing is known of `shop/nobody`"]);

    let times = ["2026-11-24T08:00:00Z", "2026-11-24T09:00:00Z"];
    let rows = asked(&place, &["diff", times[0], times[1], "--kind", "pod"]);
    let told: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {}", row["became"], row["name"], row["surely"]))
        .collect();
    assert_eq!(
        told,
        [
            "\"changed\" \"cart\" true",
            "\"went\" \"redis\" true",
            "\"came\" \"web\" true"
        ]
    );
    place
        .run(&["inventory", "diff", times[1], times[0]])
        .check(2, &["the first instant is later than the second"]);
}

/// Two pods claim one address: that is told at once and by `health`, and the address is nobody's.
#[test]
fn two_pods_with_one_address_are_reported_and_not_chosen_from() {
    let place = Place::new();
    let claim = |name: &str| pod(name, "10.0.3.7", json!({}));
    for time in ["20261124T080000Z", "20261124T090000Z"] {
        snapshot(&place, time, &[claim("cart"), claim("redis")]);
    }
    place.run(&["inventory", "import", "snapshots"]).check(
        0,
        &["`shop/cart` (by snapshot) and `shop/redis` (by snapshot) both held 10.0.3.7"],
    );
    let held = asked(&place, &["who", "10.0.3.7", "--at", "2026-11-24T08:30:00Z"]);
    assert_eq!(held["answer"], "ambiguous-two-holders");
    assert_eq!(held["candidates"].as_array().unwrap().len(), 2);
    let health = asked(&place, &["health"]);
    assert_eq!(health["clusters"][0]["contradictions"], 1, "{health}");
}

#[test]
fn an_inventory_older_than_the_flows_is_named() {
    let place = place();
    let flow = json!({
        "version": "1", "eni-id": "eni-1", "direction": "out", "action": "ACCEPT", "log-status": "OK",
        "srcaddr": "10.0.3.7", "srcport": "40000", "dstaddr": "198.51.100.7", "dstport": "443", "protocol": "6",
        "packets": "3", "bytes": "180", "start": "1795521600", "end": "1795521660", "tcp-flags": "2",
    });
    place.write("flows.jsonl", format!("{flow}\n"));
    place.run(&["ingest", "flows.jsonl"]).check(0, &[]);
    let said = place.run(&["analyze"]);
    said.check(
        0,
        &["the inventory of cluster `default` ends 3h 1min before the newest record"],
    );
    assert!(
        said.out
            .contains("inventory: cluster default last seen 2026-11-24T09:00:00Z"),
        "{}",
        said.out
    );
    let health = asked(&place, &["health"]);
    assert_eq!(
        health["clusters"][0]["behind_flows_s"],
        3 * 3600,
        "{health}"
    );
    assert_eq!(health["by_outcome"]["ambiguous-last-seen-before"], 1);
    let text = place.run(&["inventory", "health"]);
    text.check(0, &[]);
    assert!(
        text.out
            .contains("3h 0min before the newest record of the log"),
        "{}",
        text.out
    );
    assert!(text.out.contains("engine      not found"), "{}", text.out);
}

/// The same addresses in two VPCs, each with a cluster of its own.
#[test]
fn clusters_in_two_vpcs_keep_their_addresses_apart() {
    let place = Place::new();
    for (cluster, name) in [("a", "cart"), ("b", "redis")] {
        for time in ["20261124T080000Z", "20261124T090000Z"] {
            snapshot(&place, time, &[pod(name, "10.0.3.7", json!({}))]);
        }
        let vpc = format!("vpc-{cluster}");
        let import = ["inventory", "import", "snapshots", "--cluster", cluster];
        place
            .run(&[&import[..], &["--cluster-vpc", &vpc]].concat())
            .check(0, &[]);
    }
    let at = "2026-11-24T08:30:00Z";
    let who = |more: &[&str]| asked(&place, &[&["who", "10.0.3.7", "--at", at], more].concat());
    assert_eq!(who(&["--vpc", "vpc-a"])["because"], "pod shop/cart held it");
    assert_eq!(
        who(&["--vpc", "vpc-b"])["because"],
        "pod shop/redis held it"
    );
    assert_eq!(who(&["--vpc", "vpc-c"])["answer"], "external");
    assert_eq!(who(&[])["answer"], "ambiguous-two-holders");
}
