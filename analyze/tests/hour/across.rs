//! Connections at the border of two hours.

use flowaudit_analyze::Settings;
use flowaudit_lake::table::edges::EdgeRow;
use proptest::prelude::*;

use crate::world::*;

/// What is compared of an edge: observation, class, connections, packets forth and back.
fn told(edges: &[EdgeRow]) -> Vec<(&str, &str, i64, i64, i64)> {
    edges
        .iter()
        .map(|edge| {
            let client = edge.client_workload.as_deref();
            assert_eq!(client, Some("cart"), "oriented");
            (
                edge.observation.as_str(),
                edge.class.as_str(),
                edge.connections,
                edge.forward_packets,
                edge.reverse_packets,
            )
        })
        .collect()
}

/// SYNs in the last second of the hour, the answers in the first second of the next.
fn answered_in_the_next_hour() -> (Vec<Record>, Vec<Record>) {
    let asked = [true, false].map(|out| syn((CART, 40_000), NEXT - 1, out, "ACCEPT"));
    let answered = window(NEXT, (CART, 40_000), 18)[2..].to_vec();
    (asked.to_vec(), answered)
}

#[test]
fn an_answer_in_the_next_hour_is_an_answer() {
    let world = World::of_cart_and_redis(&[policy("cart", -90_000, None)]);
    let (asked, answered) = answered_in_the_next_hour();
    world.ingest(&asked);
    assert_eq!(world.analyse_due(), [0]);
    assert_eq!(
        told(&world.edges_of(0)),
        [("unanswered", "unprotected-tried", 1, 3, 0)]
    );
    world.ingest(&answered);
    assert_eq!(world.analyse_due(), [0, 1], "both sides of the border");
    let hours = [world.edges_of(0), world.edges_of(1)];
    assert_eq!(told(&hours[0]), [("established", "unprotected", 1, 3, 0)]);
    assert_eq!(told(&hours[1]), [("established", "unprotected", 1, 0, 7)]);
    assert_eq!(hours[1][0].oriented_by, "syn", "seen in the hour before");
    assert!(world.analyse_due().is_empty(), "nothing changed");
    world.analyse(&settings());
    assert_eq!(world.edges(), hours.concat(), "the same again");
    assert_eq!(world.coverage("read")["flow"], 4);
}

#[test]
fn what_comes_late_reopens_the_hour_beside_only_near_the_border() {
    let world = World::of_cart_and_redis(&[]);
    world.ingest(&window(60, (CART, 40_000), 27));
    world.ingest(&window(NEXT + 1800, (CART, 40_001), 27));
    world.ingest(&window(2 * NEXT + 60, (CART, 40_002), 27));
    assert_eq!(world.analyse_due(), [0, 1, 2]);
    world.ingest(&window(NEXT + 601, (CART, 40_003), 27));
    assert_eq!(world.analyse_due(), [1]);
    world.ingest(&window(NEXT + 599, (CART, 40_004), 27));
    assert_eq!(world.analyse_due(), [0, 1]);
    world.ingest(&window(2 * NEXT - 600, (CART, 40_005), 27));
    assert_eq!(world.analyse_due(), [1, 2]);
}

#[test]
fn an_opening_in_the_hour_before_is_what_policy_judges() {
    let changed_at = NEXT + 120;
    let world = World::of_cart_and_redis(&[
        policy("cart", -90_000, Some(changed_at)),
        policy("checkout", changed_at, None),
    ]);
    // Opened within the margin, opened long before it, opened after the change.
    world.ingest(&window(NEXT - 500, (CART, 40_000), 26));
    world.ingest(&window(600, (CART, 40_001), 26));
    world.ingest(&window(NEXT + 1200, (CART, 40_002), 26));
    for port in [40_000, 40_001] {
        world.ingest(&window(NEXT + 30, (CART, port), 24));
        world.ingest(&window(NEXT + 1200, (CART, port), 24));
    }
    assert_eq!(world.analyse_due(), [0, 1]);
    assert_eq!(
        told(&world.edges_of(0)),
        [("established", "unprotected", 2, 20, 14)]
    );
    let edges = world.edges_of(1);
    let mut told = told(&edges);
    told.sort();
    assert_eq!(
        told,
        [
            ("established", "policy-not-enforced", 1, 10, 7),
            ("established", "unjudged", 1, 10, 7),
            ("established", "unprotected", 2, 30, 21),
        ]
    );
    let unjudged = edges.iter().find(|edge| edge.class == "unjudged").unwrap();
    assert!(unjudged.reasons.contains("opened-before-change"));
}

#[test]
fn a_connection_older_than_the_look_back_is_judged_by_what_has_been_in_force_since() {
    let world = World::of_cart_and_redis(&[
        policy("checkout", -90_000, Some(-7 * NEXT)),
        policy("cart", -7 * NEXT, None),
    ]);
    world.ingest(&window(600, (CART, 40_000), 24));
    world.analyse(&settings());
    assert_eq!(
        told(&world.edges()),
        [("established", "unprotected", 1, 10, 7)]
    );
    let further = Settings {
        opened_lookback_us: 8 * NEXT * SECOND,
        ..settings()
    };
    world.analyse(&further);
    assert_eq!(
        told(&world.edges()),
        [("established", "unjudged", 1, 10, 7)]
    );
}

#[test]
fn packets_that_stand_in_two_hours_are_counted_in_one() {
    // The two interfaces began the same window in different hours.
    for first in [true, false] {
        let world = World::of_cart_and_redis(&[]);
        let all = window(NEXT - 1, (CART, 40_000), 27);
        let is_clients = |record: &Record| record.out == (record.from.0 == CART);
        let records = all.into_iter().map(|record| Record {
            at: record.at + i64::from(is_clients(&record) != first),
            ..record
        });
        world.ingest(&records.collect::<Vec<_>>());
        assert_eq!(world.analyse_due(), [0, 1]);
        let edges = world.edges();
        assert_eq!(told(&edges), [("established", "unprotected", 1, 10, 7)]);
        assert_eq!(world.coverage("read")["flow"], 4);
    }
}

#[test]
fn an_interface_that_lost_most_is_not_followed_over_the_border() {
    let world = World::of_cart_and_redis(&[]);
    let mut records = Vec::new();
    for minute in 0..30 {
        // Windows that begin half a minute before the full minute, on both sides.
        let all = window(NEXT - 930 + minute * 60, (CART, 40_000), 24);
        let lost = |record: &&Record| minute >= 20 && (record.out == (record.from.0 == CART));
        records.extend(all.iter().filter(|record| !lost(record)).copied());
    }
    world.ingest(&records);
    assert_eq!(world.analyse_due(), [0, 1]);
    let packets: i64 = world.edges().iter().map(|edge| edge.forward_packets).sum();
    assert_eq!(packets, 300);
}

/// One connection with a packet each way every so many seconds.
#[derive(Debug, Clone)]
struct Steady {
    opened: i64,
    lasts: i64,
    every: i64,
}

/// How an interface cuts time into windows: their length, and where they begin.
type Cut = (i64, i64);

fn records_of(port: u16, steady: &Steady, client: Cut, server: Cut) -> (Vec<Record>, i64) {
    let seconds = || (0..steady.lasts).step_by(steady.every as usize);
    let mut records: Vec<Record> = Vec::new();
    for (address, (length, offset)) in [(CART, client), (REDIS, server)] {
        for (from, to) in [((CART, port), (REDIS, 6379)), ((REDIS, 6379), (CART, port))] {
            let mut last_end = i64::MIN;
            for at in seconds().map(|second| steady.opened + second) {
                let end = (at - offset).div_euclid(length) * length + offset + length;
                if end != last_end {
                    last_end = end;
                    records.push(Record {
                        at,
                        window: end - at,
                        from,
                        to,
                        out: from.0 == address,
                        flags: if at == steady.opened { 18 } else { 16 },
                        packets: 0,
                        action: "ACCEPT",
                    });
                }
                records.last_mut().unwrap().packets += 1;
            }
        }
    }
    (records, 2 * seconds().count() as i64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_packet_is_counted_once_however_interfaces_cut_time(
        connections in proptest::collection::vec((-4000i64..4000, 1i64..9000, 1i64..90), 1..6),
        client in (prop::sample::select(vec![60i64, 300, 600]), 0i64..600),
        server in (prop::sample::select(vec![60i64, 300, 600]), 0i64..600),
    ) {
        let world = World::of_cart_and_redis(&[policy("cart", -90_000, None)]);
        let (mut records, mut packets) = (Vec::new(), 0);
        for ((opened, lasts, every), port) in connections.into_iter().zip(40_000..) {
            let steady = Steady { opened: NEXT + opened, lasts, every };
            let (of_one, count) = records_of(port, &steady, client, server);
            records.extend(of_one);
            packets += count;
        }
        world.ingest(&records);
        world.analyse(&settings());
        let edges = world.edges();
        let counted: i64 = edges.iter().map(|edge| edge.forward_packets + edge.reverse_packets).sum();
        prop_assert_eq!(counted, packets);
        prop_assert!(edges.iter().all(|edge| edge.observation == "established"), "{:?}", edges);
        world.analyse(&Settings { threads: 3, tuple_memory_bytes: 0, ..settings() });
        prop_assert_eq!(world.edges(), edges);
    }
}
