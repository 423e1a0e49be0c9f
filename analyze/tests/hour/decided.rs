//! What becomes of the records of one hour, and that it depends on nothing but records and inventory.

use flowaudit_analyze::{Selection, Settings, run::due};
use flowaudit_lake::read;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;

use crate::world::*;

#[test]
fn a_denied_connection_that_works_is_found_with_its_remedy() {
    let world = World::of_cart_and_redis(&[policy("checkout", -90_000, None)]);
    world.ingest(&window(10, (CART, 40_000), 27));
    world.analyse(&settings());

    let [edge] = &world.edges()[..] else {
        panic!("{:?}", world.edges())
    };
    assert_eq!(
        (
            edge.client_workload.as_deref(),
            edge.server_workload.as_deref()
        ),
        (Some("cart"), Some("redis"))
    );
    assert_eq!(
        (
            edge.verdict.as_str(),
            edge.observation.as_str(),
            edge.class.as_str()
        ),
        ("denied", "established", "policy-not-enforced")
    );
    assert_eq!(
        (
            edge.forward_packets,
            edge.reverse_packets,
            edge.connections,
            edge.records
        ),
        (10, 7, 1, 4)
    );
    assert_eq!(edge.oriented_by, "declared-port");

    let findings = world.findings();
    let ids: Vec<&str> = findings
        .iter()
        .map(|finding| finding.detection.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "policy-not-enforced",
            "default-deny-missing",
            "default-deny-missing"
        ]
    );
    let finding = &findings[0];
    assert!(
        finding
            .explanation
            .contains("NetworkPolicy shop/only-checkout"),
        "{}",
        finding.explanation
    );
    assert!(
        finding.remedy.contains("kind: NetworkPolicy") && finding.remedy.contains("\"cart\""),
        "{}",
        finding.remedy
    );
}

/// One record of a connection both of whose ports are a client's: who sent it is only guessed to have asked.
#[test]
fn nothing_is_denied_by_a_guess_of_who_asked() {
    let (asked, guessed) = (50_000, 40_000);
    let one = |flags| Record {
        flags,
        to: (REDIS, asked),
        ..syn((CART, guessed), 10, true, "ACCEPT")
    };
    let told = |world: &World| {
        world.analyse(&settings());
        let edges = world.edges();
        let words = |edge: &EdgeRow| {
            (
                edge.oriented_by.clone(),
                edge.class.clone(),
                edge.reasons.contains("orientation-guessed"),
            )
        };
        edges.iter().map(words).collect::<Vec<_>>()
    };
    let expected = |by: &str, class: &str, open| (by.to_owned(), class.to_owned(), open);
    // No flag at all.
    let world = World::of_cart_and_redis(&[policy("checkout", -90_000, None)]);
    world.ingest(&[one(0)]);
    assert_eq!(told(&world), [expected("only-sender", "unjudged", true)]);
    // Cart admits nobody either.
    let isolated = ObjectRow {
        name: "isolated".into(),
        spec: r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"isolated","namespace":"shop"},"spec":{"podSelector":{},"policyTypes":["Ingress"]}}"#.into(),
        ..policy("checkout", -90_000, None)
    };
    let world = World::of_cart_and_redis(&[isolated]);
    world.ingest(&[one(0)]);
    assert_eq!(
        told(&world),
        [expected("only-sender", "blocked-attempt", false)]
    );
    // An answer, by its flags.
    let world = World::of_cart_and_redis(&[policy("checkout", -90_000, None)]);
    world.ingest(&[one(16)]);
    assert_eq!(told(&world), [expected("unknown", "unjudged", false)]);
    // A SYN proves it.
    let world = World::of_cart_and_redis(&[policy("checkout", -90_000, None)]);
    world.ingest(&[one(2)]);
    assert_eq!(told(&world), [expected("syn", "blocked-attempt", false)]);
}

#[test]
fn an_old_connection_is_judged_by_its_opening() {
    let world = World::of_cart_and_redis(&[
        policy("cart", -90_000, Some(1800)),
        policy("checkout", 1800, None),
    ]);
    let mut records = window(60, (CART, 40_000), 27);
    // Goes on after the change without a SYN.
    records.extend(window(2400, (CART, 40_000), 24));
    // Opened after the change.
    records.extend(window(2400, (CART, 40_001), 27));
    // Opened nobody knows when.
    records.extend(window(2400, (CART, 40_002), 24));
    world.ingest(&records);
    world.analyse(&settings());
    let mut classes: Vec<(String, i64, i64)> = world
        .edges()
        .into_iter()
        .map(|edge| (edge.class, edge.connections, edge.forward_packets))
        .collect();
    classes.sort();
    let expected = [
        ("policy-not-enforced", 1, 10),
        ("unjudged", 1, 10),
        ("unprotected", 1, 20),
    ];
    assert_eq!(
        classes,
        expected.map(|(class, n, packets)| (class.to_string(), n, packets))
    );
}

#[test]
fn interfaces_that_cut_time_differently_are_still_counted_once() {
    let world = World::of_cart_and_redis(&[
        policy("cart", -90_000, Some(1800)),
        policy("checkout", 1800, None),
    ]);
    // The client's interface logs by the minute, the server's by ten minutes, across the change.
    let mut records: Vec<Record> = Vec::new();
    for minute in 0..10 {
        let all = window(
            1500 + minute * 60,
            (CART, 40_000),
            if minute == 0 { 26 } else { 24 },
        );
        records.extend(
            all.into_iter()
                .filter(|record| record.out == (record.from.0 == CART)),
        );
    }
    let whole = window(1500, (CART, 40_000), 26)
        .into_iter()
        .filter(|record| record.out != (record.from.0 == CART));
    records.extend(whole.map(|record| Record {
        window: 600,
        packets: record.packets * 10,
        ..record
    }));
    world.ingest(&records);
    world.analyse(&settings());
    let edges = world.edges();
    let sum = |of: fn(&EdgeRow) -> i64| edges.iter().map(of).sum::<i64>();
    assert_eq!(
        (
            sum(|edge| edge.forward_packets),
            sum(|edge| edge.reverse_packets)
        ),
        (100, 70),
        "{edges:#?}"
    );
    assert_eq!(sum(|edge| edge.connections), 1, "{edges:#?}");
}

/// Many connections with reuse of addresses, ambiguity, externals and a policy change.
fn busy() -> World {
    let world = World::new(
        &[
            pod("cart", CART, -90_000, Some(1200)),
            pod("orders", CART, 1204, None),
            pod("redis", REDIS, -90_000, None),
        ],
        &[
            policy("cart", -90_000, Some(1800)),
            policy("checkout", 1800, None),
        ],
    );
    let hosts: [&str; 6] = [
        CART,
        "10.0.0.9",
        "192.0.2.1",
        "192.0.2.2",
        "198.51.100.1",
        "2001:db8::1",
    ];
    for chunk in 0..3u16 {
        let mut records = Vec::new();
        for n in 0..1500u16 {
            let client = (hosts[usize::from(n % 6)], 33_000 + n / 3 + chunk * 700);
            let flags = [27, 24, 2][usize::from(n % 3)];
            records.extend(window(i64::from(n * 7 % 3500), client, flags));
        }
        world.ingest(&records);
    }
    world
}

#[test]
fn threads_buckets_and_repetition_change_nothing() {
    let world = busy();
    world.analyse(&settings());
    let (edges, findings) = (world.edges(), world.findings());
    assert!(edges.len() > 10);
    assert!(edges.iter().any(|edge| edge.client_kind == "ambiguous"));
    for step in ["read", "identify", "orient", "judge", "observe", "classify"] {
        let records: i64 = world.coverage(step).values().sum();
        assert_eq!(records, 3 * 1500 * 4, "{step}");
    }
    for (threads, memory) in [(1, 1 << 30), (4, 1 << 30), (1, 0), (3, 0), (2, 200_000)] {
        world.analyse(&Settings {
            threads,
            tuple_memory_bytes: memory,
            ..settings()
        });
        assert_eq!(world.edges(), edges, "{threads} threads, {memory} bytes");
        assert_eq!(world.findings(), findings);
    }
}

#[test]
fn a_small_memory_really_takes_several_passes() {
    use flowaudit_analyze::gaps::Gaps;
    use flowaudit_analyze::hour::{Inventory, Unit, analyse_hour};
    let world = busy();
    let snapshot = world.lake.snapshot().unwrap();
    let inventory = Inventory {
        endpoints: read::rows(&world.lake, &snapshot).unwrap(),
        objects: read::rows(&world.lake, &snapshot).unwrap(),
        gaps: Vec::new(),
    };
    let settings = Settings {
        tuple_memory_bytes: 0,
        ..settings()
    };
    let book = inventory.book(&settings);
    let hour = flowaudit_lake::Hour::of_us(HOUR);
    let unit = Unit::of(&snapshot, hour, &Gaps::default());
    let analysed = analyse_hour(&world.lake, &unit, &inventory, &book, &settings).unwrap();
    assert!(analysed.passes > 1);
}

#[test]
fn late_records_and_inventory_reopen_their_hour() {
    let world = World::of_cart_and_redis(&[]);
    world.ingest(&window(10, (CART, 40_000), 27));
    assert_eq!(world.analyse_due(), [0]);
    assert!(world.analyse_due().is_empty(), "nothing changed");
    world.ingest(&window(70, (CART, 40_000), 24));
    assert_eq!(world.analyse_due(), [0], "late records");
    assert_eq!(world.edges()[0].forward_packets, 20, "replaced, not added");
    let mut batch = world.lake.batch("inventory").unwrap();
    batch.reopen(HOUR, HOUR + SECOND);
    batch.publish().unwrap();
    assert_eq!(
        due(&world.lake.snapshot().unwrap(), &Selection::default()).len(),
        1
    );
}

#[test]
fn rejected_and_unanswered_are_told_apart() {
    let world = World::new(
        &[
            pod("cart", CART, -9000, None),
            pod("web", WEB, -9000, None),
            pod("redis", REDIS, -9000, None),
        ],
        &[policy("cart", -9000, None)],
    );
    world.ingest(&[
        syn((CART, 40_000), 5, true, "ACCEPT"),
        syn((CART, 40_000), 5, false, "REJECT"),
        syn((WEB, 40_001), 5, true, "ACCEPT"),
        syn((WEB, 40_001), 5, false, "ACCEPT"),
    ]);
    world.analyse(&settings());
    let mut classes: Vec<(Option<String>, String, i64)> = world
        .edges()
        .into_iter()
        .map(|edge| (edge.client_workload, edge.class, edge.forward_packets))
        .collect();
    classes.sort();
    let class = |client: &str, class: &str| (Some(client.to_string()), class.to_string(), 3);
    assert_eq!(
        classes,
        [
            class("cart", "security-group-contradicts-policy"),
            class("web", "blocked-attempt")
        ]
    );
    let ids: Vec<String> = world
        .findings()
        .into_iter()
        .map(|finding| finding.detection)
        .collect();
    assert!(
        ids.contains(&"security-group-contradicts-policy".into())
            && ids.contains(&"blocked-attempt".into()),
        "{ids:?}"
    );
}

/// Nobody saw what a NetworkPolicy said that was deleted: it can only have isolated pods and admitted more.
#[test]
fn what_a_rule_admits_stays_allowed_beside_a_policy_that_nobody_saw() {
    let unseen = ObjectRow {
        name: "unseen".into(),
        spec: "null".into(),
        // It was there when it was deleted, and nobody knows since when.
        from_slack_ms: None,
        ..policy("x", 3_000, Some(3_000))
    };
    let outside = |app: &str, addr: &str| EndpointRow {
        namespace: Some("web".into()),
        ..pod(app, addr, -90_000, None)
    };
    let spaces = policy("cart", -90_000, None).spec.replace(
        r#"{"podSelector":{"matchLabels":{"app":"cart"}}}"#,
        r#"{"namespaceSelector":{},"podSelector":{"matchLabels":{"app":"cart"}}}"#,
    );
    let admits = ObjectRow {
        spec: spaces,
        ..policy("cart", -90_000, None)
    };
    let ask = |policies: &[ObjectRow], client: EndpointRow| {
        let redis = pod("redis", REDIS, -90_000, None);
        let world = World::new(&[client, redis], policies);
        world.ingest(&window(600, (CART, 40_000), 27));
        world.analyse(&settings());
        let [edge] = &world.edges()[..] else {
            panic!("{:?}", world.edges())
        };
        let is_unseen = edge.reasons.contains("policy-content-unknown");
        (edge.verdict.clone(), is_unseen)
    };
    let both = [admits, unseen];
    assert_eq!(ask(&both, outside("cart", CART)), ("allowed".into(), false));
    // It may have admitted this one, and have isolated those for egress; that it may have come meanwhile is not what is said of it.
    let open = ("unspecified".into(), true);
    assert_eq!(ask(&both, outside("web", CART)), open);
    assert_eq!(ask(&both, pod("cart", CART, -90_000, None)), open);
    assert_eq!(ask(&both[1..], outside("cart", CART)), open);
    // A policy of another kind may deny as well.
    let denying = ObjectRow {
        group: "projectcalico.org".into(),
        ..both[1].clone()
    };
    assert_eq!(
        ask(&[both[0].clone(), denying], outside("cart", CART)),
        open
    );
}
