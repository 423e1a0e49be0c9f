//! A lake with a few pods, one server and hand-made records.

use std::collections::BTreeMap;

use flowaudit_analyze::{Selection, Settings, run};
use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::table::coverage::CoverageRow;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::findings::FindingRow;
use flowaudit_lake::table::flows::{FlowRow, FlowsBuilder};
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Hour, Lake, Partition, Table, read};
use tempfile::TempDir;

pub(crate) const SECOND: i64 = 1_000_000;
/// 2026-11-23T08:00:00Z; times of tests are seconds after it.
pub(crate) const HOUR: i64 = 1_795_420_800 * SECOND;
/// Seconds of an hour.
pub(crate) const NEXT: i64 = 3_600;

pub(crate) const CART: &str = "10.0.0.1";
pub(crate) const REDIS: &str = "10.0.0.2";
pub(crate) const WEB: &str = "10.0.0.3";

pub(crate) struct World {
    pub(crate) lake: Lake,
    _directory: TempDir,
}

/// One record, made at the interface of its source (`out`) or of its destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) at: i64,
    pub(crate) window: i64,
    pub(crate) from: (&'static str, u16),
    pub(crate) to: (&'static str, u16),
    pub(crate) out: bool,
    pub(crate) flags: i32,
    pub(crate) packets: i64,
    pub(crate) action: &'static str,
}

impl World {
    /// An empty lake with an inventory.
    pub(crate) fn new(endpoints: &[EndpointRow], objects: &[ObjectRow]) -> World {
        let directory = tempfile::tempdir().unwrap();
        let lake = Lake::create_or_open(directory.path().join("lake")).unwrap();
        let mut batch = lake.batch("inventory").unwrap();
        batch.write_rows(Partition::None, endpoints).unwrap();
        batch.write_rows(Partition::None, objects).unwrap();
        batch.publish().unwrap();
        World {
            lake,
            _directory: directory,
        }
    }

    /// A cart and redis that have been there all along.
    pub(crate) fn of_cart_and_redis(objects: &[ObjectRow]) -> World {
        World::new(
            &[
                pod("cart", CART, -90_000, None),
                pod("redis", REDIS, -90_000, None),
            ],
            objects,
        )
    }

    /// Adds records, each to the hour in which it begins, and reopens the hours beside it.
    pub(crate) fn ingest(&self, records: &[Record]) {
        self.ingest_in("vpc-1", records);
    }

    /// The same in another VPC.
    pub(crate) fn ingest_in(&self, vpc: &str, records: &[Record]) {
        let mut hours: BTreeMap<Hour, Vec<&Record>> = BTreeMap::new();
        for record in records {
            let hour = Hour::of_us(HOUR + record.at * SECOND);
            hours.entry(hour).or_default().push(record);
        }
        let mut batch = self.lake.batch("ingest").unwrap();
        for (hour, records) in hours {
            let mut builder = FlowsBuilder::default();
            for record in &records {
                record.push_to(vpc, &mut builder);
            }
            let flows = builder.finish();
            batch
                .write(Table::Flows, Partition::Hour(hour), &flows)
                .unwrap();
            let starts = || records.iter().map(|record| HOUR + record.at * SECOND);
            batch.reopen(starts().min().unwrap(), starts().max().unwrap() + 1);
        }
        batch.publish().unwrap();
    }

    /// Notes that an interface lost what it had to log; the interface is that of an address.
    pub(crate) fn lose(&self, address: &str, from: i64, to: i64, reason: &str) {
        let row = GapRow {
            eni_id: Some(format!("eni-{address}")),
            from_us: HOUR + from * SECOND,
            to_us: HOUR + to * SECOND,
            reason: reason.into(),
            source: "test".into(),
            source_position: 0,
        };
        let mut batch = self.lake.batch("ingest").unwrap();
        batch.reopen(row.from_us - HOUR_MARGIN_US, row.to_us + HOUR_MARGIN_US);
        let day = Partition::date_of_us(row.from_us);
        batch.write_rows(day, &[row]).unwrap();
        batch.publish().unwrap();
    }

    /// Analyses every hour anew.
    pub(crate) fn analyse(&self, settings: &Settings) {
        let everything = Selection {
            again: true,
            ..Selection::default()
        };
        run(&self.lake, settings, &everything, |_| {}).unwrap();
    }

    /// Analyses what is due; which hours those were, counted from [`HOUR`].
    pub(crate) fn analyse_due(&self) -> Vec<i64> {
        let summary = run(&self.lake, &settings(), &Selection::default(), |_| {}).unwrap();
        let first = Hour::of_us(HOUR).0;
        summary.hours.iter().map(|hour| hour.0 - first).collect()
    }

    pub(crate) fn edges(&self) -> Vec<EdgeRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    /// The edges of the `n`-th hour after [`HOUR`].
    pub(crate) fn edges_of(&self, n: i64) -> Vec<EdgeRow> {
        let hour = Partition::hour_of_us(HOUR + n * NEXT * SECOND);
        read::rows_in(&self.lake, &self.lake.snapshot().unwrap(), hour).unwrap()
    }

    pub(crate) fn findings(&self) -> Vec<FindingRow> {
        read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap()
    }

    /// Records by outcome of one step, over all hours.
    pub(crate) fn coverage(&self, step: &str) -> BTreeMap<String, i64> {
        let rows: Vec<CoverageRow> =
            read::rows(&self.lake, &self.lake.snapshot().unwrap()).unwrap();
        let mut outcomes = BTreeMap::new();
        for row in rows.into_iter().filter(|row| row.step == step) {
            *outcomes.entry(row.outcome).or_default() += row.records;
        }
        outcomes
    }
}

impl Record {
    fn push_to(&self, vpc: &str, builder: &mut FlowsBuilder) {
        let logged_at = if self.out { self.from.0 } else { self.to.0 };
        let interface = format!("eni-{logged_at}");
        let instance = instance_of(logged_at);
        builder.push(&FlowRow {
            start_us: HOUR + self.at * SECOND,
            end_us: HOUR + (self.at + self.window) * SECOND,
            ingest_us: HOUR,
            eni_id: &interface,
            vm_id: Some(&instance),
            vpc_id: Some(vpc),
            vswitch_id: None,
            account_id: None,
            region: None,
            direction: if self.out { "out" } else { "in" },
            src_addr: self.from.0,
            src_port: self.from.1.into(),
            dst_addr: self.to.0,
            dst_port: self.to.1.into(),
            protocol: 6,
            packets: self.packets,
            bytes: self.packets * 100,
            tcp_flags: Some(self.flags),
            action: self.action,
            log_status: "OK",
            traffic_path: None,
            source: "test",
            source_position: 0,
        });
    }
}

/// The instance whose interface has an address.
pub(crate) fn instance_of(addr: &str) -> String {
    format!("i-{}", addr.replace('.', "-"))
}

/// A node that is the instance whose interface has an address.
pub(crate) fn node(name: &str, addr: &str) -> ObjectRow {
    ObjectRow {
        group: String::new(),
        kind: "Node".into(),
        namespace: None,
        name: name.into(),
        spec: format!(
            r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}"}},"spec":{{"providerID":"cn-hangzhou.{}"}}}}"#,
            instance_of(addr)
        ),
        ..policy("none", -90_000, None)
    }
}

pub(crate) fn pod(app: &str, addr: &str, from: i64, to: Option<i64>) -> EndpointRow {
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
        eni_id: None,
        evidence: "test".into(),
    }
}

/// Admits only pods `app=<client>` to redis.
pub(crate) fn policy(client: &str, from: i64, to: Option<i64>) -> ObjectRow {
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

/// A minute of a connection with redis, as both interfaces log it in both directions.
pub(crate) fn window(at: i64, client: (&'static str, u16), flags: i32) -> Vec<Record> {
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

/// A client's SYNs in one second, as one of the two interfaces logs them.
pub(crate) fn syn(client: (&'static str, u16), at: i64, out: bool, action: &'static str) -> Record {
    Record {
        at,
        window: 1,
        from: client,
        to: (REDIS, 6379),
        out,
        flags: 2,
        packets: 3,
        action,
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        threads: 1,
        ..Settings::default()
    }
}
