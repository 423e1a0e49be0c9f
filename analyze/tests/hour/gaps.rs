//! What a gap of the log may have hidden is not said.

use crate::world::*;

/// Admits carts to redis, whose interface is known from what web does.
fn world(admitted: &str) -> World {
    let world = World::new(
        &[
            pod("cart", CART, -90_000, None),
            pod("web", WEB, -90_000, None),
            pod("redis", REDIS, -90_000, None),
        ],
        &[policy(admitted, -90_000, None)],
    );
    world.ingest(&window(10, (WEB, 50_000), 27));
    world
}

/// Observation and class of what the cart did.
fn cart(world: &World) -> (String, String) {
    world.analyse(&settings());
    let edges = world.edges();
    let mut of_cart = edges
        .into_iter()
        .filter(|edge| edge.client_workload.as_deref() == Some("cart"));
    let edge = of_cart.next().unwrap();
    assert!(of_cart.next().is_none(), "one edge");
    (edge.observation, edge.class)
}

fn is(observation: &str, class: &str) -> (String, String) {
    (observation.into(), class.into())
}

#[test]
fn a_gap_at_the_server_may_hide_answer_and_rejection() {
    let world = world("checkout");
    world.ingest(&[syn((CART, 40_000), 300, true, "ACCEPT")]);
    let blocked = |world: &World| {
        let findings = world.findings();
        findings
            .iter()
            .filter(|finding| finding.detection == "blocked-attempt")
            .count()
    };
    assert_eq!(cart(&world), is("unanswered", "blocked-attempt"));
    assert_eq!(blocked(&world), 1);
    world.lose(REDIS, 300, 360, "skipdata");
    assert_eq!(cart(&world), is("unknown", "unjudged"));
    assert_eq!(blocked(&world), 0);
    let observed = world.coverage("observe");
    assert_eq!(observed["unknown"], 1);
    assert_eq!(observed.values().sum::<i64>(), 5);
}

#[test]
fn a_gap_hides_nothing_elsewhere_or_at_another_time() {
    let world = world("cart");
    world.ingest(&window(10, (CART, 41_000), 27)[..2]);
    world.ingest(&[syn((CART, 40_000), 1500, true, "ACCEPT")]);
    world.lose(WEB, 1500, 1560, "skipdata");
    world.lose(REDIS, 1500, 1560, "nodata");
    // Ten minutes and a second before, and after.
    world.lose(REDIS, 800, 899, "skipdata");
    world.lose(REDIS, 2103, 2160, "skipdata");
    assert_eq!(cart(&world), is("unanswered", "unprotected-tried"));
    world.lose(REDIS, 2101, 2160, "skipdata");
    world.analyse(&settings());
    let mut observations: Vec<(String, i64)> = world
        .edges()
        .into_iter()
        .filter(|edge| edge.client_workload.as_deref() == Some("cart"))
        .map(|edge| (edge.observation, edge.connections))
        .collect();
    observations.sort();
    assert_eq!(
        observations,
        [("unanswered".into(), 1), ("unknown".into(), 1)]
    );
}

#[test]
fn the_servers_own_interface_is_enough() {
    let world = world("cart");
    let both = [true, false].map(|out| syn((CART, 40_000), 300, out, "ACCEPT"));
    world.ingest(&both);
    world.lose(CART, 300, 360, "skipdata");
    assert_eq!(cart(&world), is("unanswered", "unprotected-tried"));
    // From outside only the server's interface logs; towards the outside only the client's.
    let outside = ("198.51.100.7", 50_000);
    world.ingest(&[syn(outside, 300, false, "ACCEPT")]);
    let towards = Record {
        to: outside,
        ..syn((WEB, 43_000), 300, true, "ACCEPT")
    };
    world.ingest(&[towards]);
    world.analyse(&settings());
    let observations = |world: &World| -> Vec<(String, String)> {
        let edges = world.edges().into_iter();
        edges
            .filter(|edge| [&edge.client_kind, &edge.server_kind].contains(&&"external".to_owned()))
            .map(|edge| (edge.client_kind, edge.observation))
            .collect()
    };
    assert_eq!(
        observations(&world),
        [is("pod", "unanswered"), is("external", "unanswered")]
    );
    world.lose(WEB, 300, 360, "skipdata");
    world.analyse(&settings());
    assert_eq!(
        observations(&world),
        [is("pod", "unknown"), is("external", "unanswered")]
    );
}

#[test]
fn an_address_no_interface_logged_for_may_be_behind_any() {
    let world = World::of_cart_and_redis(&[policy("cart", -90_000, None)]);
    world.ingest(&[syn((CART, 40_000), 300, true, "ACCEPT")]);
    world.lose(WEB, 300, 360, "skipdata");
    assert_eq!(cart(&world), is("unknown", "unjudged"));
}

#[test]
fn what_is_in_the_log_is_said_beside_any_gap() {
    let world = world("cart");
    world.lose(REDIS, 0, NEXT, "skipdata");
    world.lose(CART, 0, NEXT, "skipdata");
    world.ingest(&window(300, (CART, 40_000), 27)[2..3]);
    assert_eq!(cart(&world), is("established", "unprotected"));
}

#[test]
fn a_gap_that_comes_late_reopens_its_hour() {
    let world = world("cart");
    world.ingest(&[syn((CART, 40_000), NEXT - 30, true, "ACCEPT")]);
    assert_eq!(world.analyse_due(), [0]);
    world.lose(REDIS, NEXT + 60, NEXT + 120, "skipdata");
    assert_eq!(world.analyse_due(), [0]);
    assert!(
        world
            .edges()
            .iter()
            .any(|edge| edge.observation == "unknown")
    );
}

#[test]
fn threads_and_buckets_change_nothing() {
    let world = world("cart");
    let mut records = Vec::new();
    for n in 0..1200 {
        let client = ([CART, WEB, "192.0.2.1"][usize::from(n % 3)], 33_000 + n);
        records.push(syn(client, i64::from(n) * 3, n % 2 == 0, "ACCEPT"));
    }
    world.ingest(&records);
    world.lose(REDIS, 1200, 1260, "skipdata");
    world.lose(CART, 2400, 2460, "skipdata");
    world.analyse(&settings());
    let edges = world.edges();
    let observed = world.coverage("observe");
    assert!(
        observed["unknown"] > 100 && observed["unanswered"] > 100,
        "{observed:?}"
    );
    for (threads, memory) in [(3, 1 << 30), (1, 0), (2, 100_000)] {
        world.analyse(&flowaudit_analyze::Settings {
            threads,
            tuple_memory_bytes: memory,
            ..settings()
        });
        assert_eq!(world.edges(), edges, "{threads} threads, {memory} bytes");
    }
}
