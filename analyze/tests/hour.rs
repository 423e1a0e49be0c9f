//! Hours in a real lake: what becomes of records, and that it depends on nothing but records and inventory.
#![cfg(test)]

use flowaudit_analyze::{Selection, Settings, run, run::due};
use flowaudit_lake::table::coverage::CoverageRow;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::findings::FindingRow;
use flowaudit_lake::table::flows::{FlowRow, FlowsBuilder};
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Lake, Partition, Table, read};
use tempfile::TempDir;

const SECOND: i64 = 1_000_000;
/// 2026-11-23T08:00:00Z.
const HOUR: i64 = 1_795_420_800 * SECOND;

struct World {
    lake: Lake,
    _directory: TempDir,
}

#[derive(Clone, Copy)]
struct Record {
    at: i64,
    window: i64,
    from: (&'static str, u16),
    to: (&'static str, u16),
    out: bool,
    flags: i32,
    packets: i64,
    action: &'static str,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let lake = Lake::create_or_open(directory.path().join("lake")).unwrap();
        World {
            lake,
            _directory: directory,
        }
    }

    fn inventory(&self, endpoints: &[EndpointRow], objects: &[ObjectRow]) {
        let mut batch = self.lake.batch("inventory").unwrap();
        batch.write_rows(Partition::None, endpoints).unwrap();
        batch.write_rows(Partition::None, objects).unwrap();
        batch.publish().unwrap();
    }

    fn ingest(&self, records: &[Record]) {
        let mut builder = FlowsBuilder::default();
        for record in records {
            builder.push(&FlowRow {
                start_us: HOUR + record.at * SECOND,
                end_us: HOUR + (record.at + record.window) * SECOND,
                ingest_us: HOUR,
                eni_id: "eni-1",
                vm_id: None,
                vpc_id: Some("vpc-1"),
                vswitch_id: None,
                account_id: None,
                region: None,
                direction: if record.out { "out" } else { "in" },
                src_addr: record.from.0,
                src_port: record.from.1.into(),
                dst_addr: record.to.0,
                dst_port: record.to.1.into(),
                protocol: 6,
                packets: record.packets,
                bytes: record.packets * 100,
                tcp_flags: Some(record.flags),
                action: record.action,
                log_status: "OK",
                traffic_path: None,
                source: "test",
                source_position: 0,
            });
        }
        let mut batch = self.lake.batch("ingest").unwrap();
        batch
            .write(Table::Flows, Partition::hour_of_us(HOUR), &builder.finish())
            .unwrap();
        batch.publish().unwrap();
    }

    fn analyse(&self, settings: &Settings) {
        run(
            &self.lake,
            settings,
            &Selection {
                again: true,
                ..Selection::default()
            },
            |_| {},
        )
        .unwrap();
    }

    fn edges(&self) -> Vec<EdgeRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    fn findings(&self) -> Vec<FindingRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }
}

fn pod(app: &str, addr: &str, from: i64, to: Option<i64>) -> EndpointRow {
    EndpointRow {
        addr: addr.into(),
        vpc_id: None,
        valid_from_us: HOUR + from * SECOND,
        valid_to_us: to.map(|to| HOUR + to * SECOND),
        from_slack_ms: Some(0),
        to_slack_ms: to.map(|_| 0),
        kind: "pod".into(),
        cluster: "c".into(),
        namespace: Some("shop".into()),
        name: format!("{app}-{addr}"),
        uid: Some(format!("{app}-{addr}-{from}")),
        workload_kind: Some("Deployment".into()),
        workload: Some(app.into()),
        labels: Some(format!(r#"{{"app":"{app}"}}"#)),
        host_network: false,
        node: Some("node-1".into()),
        container_ports: Some(r#"[{"port":6379,"protocol":"TCP","owner":"container"}]"#.into())
            .filter(|_| app == "redis"),
        service_account: None,
        evidence: "test".into(),
    }
}

/// Admits only pods `app=<client>` to redis.
fn policy(client: &str, from: i64, to: Option<i64>) -> ObjectRow {
    ObjectRow {
        group: "networking.k8s.io".into(),
        kind: "NetworkPolicy".into(),
        namespace: Some("shop".into()),
        name: format!("only-{client}"),
        uid: None,
        valid_from_us: HOUR + from * SECOND,
        valid_to_us: to.map(|to| HOUR + to * SECOND),
        from_slack_ms: Some(0),
        to_slack_ms: to.map(|_| 0),
        spec: format!(
            r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"only-{client}","namespace":"shop"}},
            "spec":{{"podSelector":{{"matchLabels":{{"app":"redis"}}}},"policyTypes":["Ingress"],
            "ingress":[{{"from":[{{"podSelector":{{"matchLabels":{{"app":"{client}"}}}}}}]}}]}}}}"#
        ),
        origin: "test".into(),
        cluster: "c".into(),
    }
}

const CART: &str = "10.0.0.1";
const REDIS: &str = "10.0.0.2";

/// One window of a connection, as both interfaces log it in both directions.
fn window(at: i64, client: (&'static str, u16), flags: i32) -> Vec<Record> {
    let server = (REDIS, 6379);
    let one = |from, to, out, packets| Record {
        at,
        window: 60,
        from,
        to,
        out,
        flags,
        packets,
        action: "ACCEPT",
    };
    vec![
        one(client, server, true, 10),
        one(client, server, false, 10),
        one(server, client, true, 7),
        one(server, client, false, 7),
    ]
}

fn settings() -> Settings {
    Settings {
        threads: 1,
        ..Settings::default()
    }
}

#[test]
fn a_denied_connection_that_works_is_found_with_its_remedy() {
    let world = World::new();
    world.inventory(
        &[
            pod("cart", CART, -9000, None),
            pod("redis", REDIS, -9000, None),
        ],
        &[policy("checkout", -9000, None)],
    );
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

#[test]
fn an_old_connection_is_judged_by_its_opening() {
    let world = World::new();
    world.inventory(
        &[
            pod("cart", CART, -90_000, None),
            pod("redis", REDIS, -90_000, None),
        ],
        &[
            policy("cart", -90_000, Some(1800)),
            policy("checkout", 1800, None),
        ],
    );
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
    let world = World::new();
    world.inventory(
        &[
            pod("cart", CART, -90_000, None),
            pod("redis", REDIS, -90_000, None),
        ],
        &[
            policy("cart", -90_000, Some(1800)),
            policy("checkout", 1800, None),
        ],
    );
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
    let world = World::new();
    world.inventory(
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
    let coverage: Vec<CoverageRow> =
        read::rows(&world.lake, &world.lake.snapshot().unwrap()).unwrap();
    for step in ["read", "identify", "orient", "judge", "observe", "classify"] {
        let records: i64 = coverage
            .iter()
            .filter(|row| row.step == step)
            .map(|row| row.records)
            .sum();
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
    use flowaudit_analyze::hour::{Inventory, analyse_hour};
    let world = busy();
    let snapshot = world.lake.snapshot().unwrap();
    let inventory = Inventory {
        endpoints: read::rows(&world.lake, &snapshot).unwrap(),
        objects: read::rows(&world.lake, &snapshot).unwrap(),
    };
    let settings = Settings {
        tuple_memory_bytes: 0,
        ..settings()
    };
    let book = inventory.book(&settings);
    let hour = flowaudit_lake::Hour::of_us(HOUR);
    let files = snapshot.files_in(Table::Flows, Partition::Hour(hour));
    let analysed = analyse_hour(&world.lake, hour, files, &inventory, &book, &settings).unwrap();
    assert!(analysed.passes > 1);
}

#[test]
fn late_records_and_inventory_reopen_their_hour() {
    let world = World::new();
    world.inventory(
        &[
            pod("cart", CART, -9000, None),
            pod("redis", REDIS, -9000, None),
        ],
        &[],
    );
    world.ingest(&window(10, (CART, 40_000), 27));
    let analyse = || {
        run(&world.lake, &settings(), &Selection::default(), |_| {})
            .unwrap()
            .hours
            .len()
    };
    assert_eq!(analyse(), 1);
    assert_eq!(analyse(), 0, "nothing changed");
    world.ingest(&window(70, (CART, 40_000), 24));
    assert_eq!(analyse(), 1, "late records");
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
    let world = World::new();
    world.inventory(
        &[
            pod("cart", CART, -9000, None),
            pod("web", "10.0.0.3", -9000, None),
            pod("redis", REDIS, -9000, None),
        ],
        &[policy("cart", -9000, None)],
    );
    let syn = |from, at, out, action| Record {
        at,
        window: 1,
        from,
        to: (REDIS, 6379),
        out,
        flags: 2,
        packets: 3,
        action,
    };
    world.ingest(&[
        syn((CART, 40_000), 5, true, "ACCEPT"),
        syn((CART, 40_000), 5, false, "REJECT"),
        syn(("10.0.0.3", 40_001), 5, true, "ACCEPT"),
        syn(("10.0.0.3", 40_001), 5, false, "ACCEPT"),
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
