//! The whole analysis of one hour against a plain GROUP BY of the same files by DuckDB, in the same run.
//!
//! `make bench`, or `cargo bench --bench analysis -- [RECORDS]` with `FLOWAUDIT_PYTHON` naming a Python that has the
//! package `duckdb`. Without it the analysis is measured alone. Machines differ and are noisy: read the ratios.
//!
//! The records: 2,000 pods of 200 workloads on 60 nodes, NetworkPolicies for half of the workloads, connections of one
//! to three windows, each logged at both interfaces and in both directions, some external clients; about ten records per
//! distinct five-tuple.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program to be watched: it prints, and stops where it cannot go on"
)]

use std::process::Command;
use std::time::Instant;

use flowaudit_analyze::gaps::Gaps;
use flowaudit_analyze::hour::{Inventory, Unit, analyse_hour};
use flowaudit_analyze::{Selection, Settings, run};
use flowaudit_lake::read;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::flows::{FlowRow, FlowsBuilder};
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Hour, Lake, Partition, Table};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECOND: i64 = 1_000_000;
/// 2026-11-23T08:00:00Z.
const HOUR_US: i64 = 1_795_420_800 * SECOND;
const PODS: u64 = 2_000;
const WORKLOADS: u64 = 200;
const NODES: u64 = 60;
const DUCKDB: &str = r#"
import resource, sys, time, duckdb
connection = duckdb.connect()
connection.execute(f"SET threads = {sys.argv[2]}")
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
before, start = cpu(), time.time()
rows = connection.execute(f"""
    SELECT count(*) FROM (
        SELECT src_addr, dst_addr, dst_port, protocol, sum(packets), sum(bytes), count(*)
        FROM read_parquet('{sys.argv[1]}') GROUP BY ALL)""").fetchone()[0]
print(cpu() - before, time.time() - start, rows)
"#;

fn main() {
    // `cargo bench` adds `--bench`, `cargo test --benches` must not measure.
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let records = numbers.first().copied().unwrap_or(20_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let lake = Lake::create_or_open(directory.path().join("lake")).expect("a lake");
    let start = Instant::now();
    fill(&lake, records);
    println!(
        "wrote {records} records in {:.1} s",
        start.elapsed().as_secs_f64()
    );

    let snapshot = lake.snapshot().expect("a snapshot");
    let inventory = Inventory {
        endpoints: read::rows(&lake, &snapshot).expect("endpoints"),
        objects: read::rows(&lake, &snapshot).expect("objects"),
        gaps: Vec::new(),
    };
    let hour = Hour::of_us(HOUR_US);
    let unit = Unit::of(&snapshot, hour, &Gaps::default());
    let glob = directory.path().join("lake/flows/*/*/*.parquet");
    for threads in [1, 2] {
        let settings = Settings {
            threads,
            ..Settings::default()
        };
        let book = inventory.book(&settings);
        for _ in 0..2 {
            let (cpu, start) = (cpu_seconds(), Instant::now());
            let analysed =
                analyse_hour(&lake, &unit, &inventory, &book, &settings).expect("an analysis");
            let (cpu, wall) = (cpu_seconds() - cpu, start.elapsed().as_secs_f64());
            println!(
                "{threads} threads  analysis  {cpu:6.2} CPU s  {wall:6.2} s  {:5.2} M records/s/core  {} edges, {} passes",
                records as f64 / cpu / 1e6,
                analysed.edges.len(),
                analysed.passes
            );
            let Some((duck_cpu, duck_wall, groups)) = duckdb(&glob.display().to_string(), threads)
            else {
                continue;
            };
            println!(
                "{threads} threads  DuckDB    {duck_cpu:6.2} CPU s  {duck_wall:6.2} s  {:5.2} M records/s/core  {groups} groups; analysis takes {:.2}x its CPU time",
                records as f64 / duck_cpu / 1e6,
                cpu / duck_cpu
            );
        }
    }
    let start = Instant::now();
    let summary = run(&lake, &Settings::default(), &Selection::default(), |_| {}).expect("a run");
    println!(
        "run, inventory read and results published: {:.2} s, {} findings",
        start.elapsed().as_secs_f64(),
        summary.findings.len()
    );
}

/// CPU seconds, wall seconds and groups of DuckDB's query; says why where it cannot be asked.
fn duckdb(glob: &str, threads: usize) -> Option<(f64, f64, u64)> {
    let Ok(python) = std::env::var("FLOWAUDIT_PYTHON") else {
        println!("no DuckDB beside it: FLOWAUDIT_PYTHON is not set");
        return None;
    };
    let output = Command::new(python)
        .args(["-c", DUCKDB, glob, &threads.to_string()])
        .output()
        .expect("a Python that starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [cpu, wall, groups] = numbers[..] else {
        println!("DuckDB failed: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    };
    Some((cpu, wall, groups as u64))
}

/// User and system time of this process (`/proc/self/stat`, fields 14 and 15, in hundredths of a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// A small seeded generator (splitmix64): the same records each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn address(pod: u64) -> String {
    format!(
        "10.{}.{}.{}",
        1 + pod % NODES / 30,
        pod % NODES,
        2 + pod / NODES
    )
}

fn port(workload: u64) -> i32 {
    [80, 443, 8080, 8443, 6379, 5432, 3306, 9092, 50_051, 30_080][(workload % 10) as usize]
}

fn fill(lake: &Lake, records: u64) {
    let mut batch = lake.batch("bench").expect("a batch");
    let pods: Vec<EndpointRow> = (0..PODS).map(pod_row).collect();
    let policies: Vec<ObjectRow> = (0..WORKLOADS).step_by(2).map(policy_row).collect();
    batch.write_rows(Partition::None, &pods).expect("endpoints");
    batch
        .write_rows(Partition::None, &policies)
        .expect("objects");

    let addresses: Vec<String> = (0..PODS).map(address).collect();
    let outside: Vec<String> = (0..100)
        .map(|n| format!("198.51.{}.{}", n % 4, n))
        .collect();
    let interfaces: Vec<String> = (0..NODES).map(|n| format!("eni-{n}")).collect();
    let mut random = Random(7);
    let mut builder = FlowsBuilder::default();
    let mut written = 0;
    while written < records {
        let external = random.below(50) == 0;
        let client = random.below(PODS);
        // A workload talks to eight others, and each of its pods to all of theirs.
        let server = (client % WORKLOADS * 7 + 1 + random.below(8)) % WORKLOADS
            + WORKLOADS * random.below(PODS / WORKLOADS);
        let client_address = if external {
            &outside[(client % 100) as usize]
        } else {
            &addresses[client as usize]
        };
        let client_port = 32_768 + random.below(28_000) as i32;
        let server_port = port(server % WORKLOADS);
        let windows = 1 + random.below(3);
        let opened = random.below(3_400) as i64;
        for window in 0..windows as i64 {
            let start = HOUR_US + (opened + window * 60).min(3_599) * SECOND;
            let packets = 4 + random.below(40) as i64;
            for (forth, out) in [(true, true), (true, false), (false, true), (false, false)] {
                if external && forth == out {
                    continue;
                }
                let (from, to) = if forth {
                    (client_address, &addresses[server as usize])
                } else {
                    (&addresses[server as usize], client_address)
                };
                let (src_port, dst_port) = if forth {
                    (client_port, server_port)
                } else {
                    (server_port, client_port)
                };
                let node = if forth == out {
                    client % NODES
                } else {
                    server % NODES
                };
                builder.push(&FlowRow {
                    start_us: start,
                    end_us: start + 60 * SECOND,
                    ingest_us: HOUR_US,
                    eni_id: &interfaces[node as usize],
                    vm_id: None,
                    vpc_id: Some("vpc-1"),
                    vswitch_id: None,
                    account_id: None,
                    region: None,
                    direction: if out { "out" } else { "in" },
                    src_addr: from,
                    src_port,
                    dst_addr: to,
                    dst_port,
                    protocol: 6,
                    packets,
                    bytes: packets * 300,
                    tcp_flags: Some(if window == 0 { 27 } else { 24 }),
                    action: "ACCEPT",
                    log_status: "OK",
                    traffic_path: Some(2),
                    source: "bench",
                    source_position: 0,
                });
                written += 1;
            }
        }
        if builder.len() >= 500_000 {
            batch
                .write(
                    Table::Flows,
                    Partition::hour_of_us(HOUR_US),
                    &builder.finish(),
                )
                .expect("flows");
        }
    }
    batch
        .write(
            Table::Flows,
            Partition::hour_of_us(HOUR_US),
            &builder.finish(),
        )
        .expect("flows");
    batch.publish().expect("a commit");
}

fn pod_row(pod: u64) -> EndpointRow {
    let workload = pod % WORKLOADS;
    EndpointRow {
        addr: address(pod),
        vpc_id: None,
        valid_from_us: HOUR_US - 86_400 * SECOND,
        valid_to_us: None,
        from_slack_ms: Some(0),
        to_slack_ms: None,
        kind: "pod".into(),
        cluster: "bench".into(),
        namespace: Some(format!("team-{}", workload % 20)),
        name: format!("app-{workload}-{pod}"),
        uid: Some(format!("uid-{pod}")),
        workload_kind: Some("Deployment".into()),
        workload: Some(format!("app-{workload}")),
        labels: Some(format!(
            r#"{{"app":"app-{workload}","tier":"t{}"}}"#,
            workload % 3
        )),
        host_network: false,
        node: Some(format!("node-{}", pod % NODES)),
        container_ports: Some(format!(
            r#"[{{"name":"main","port":{},"protocol":"TCP","owner":"container"}}]"#,
            port(workload)
        )),
        service_account: None,
        eni_id: None,
        evidence: "bench".into(),
    }
}

fn policy_row(workload: u64) -> ObjectRow {
    let namespace = format!("team-{}", workload % 20);
    let spec = format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"app-{workload}","namespace":"{namespace}"}},
        "spec":{{"podSelector":{{"matchLabels":{{"app":"app-{workload}"}}}},"policyTypes":["Ingress"],
        "ingress":[{{"from":[{{"namespaceSelector":{{}},"podSelector":{{"matchLabels":{{"tier":"t1"}}}}}}],"ports":[{{"port":{}}}]}}]}}}}"#,
        port(workload)
    );
    ObjectRow {
        group: "networking.k8s.io".into(),
        kind: "NetworkPolicy".into(),
        namespace: Some(namespace),
        name: format!("app-{workload}"),
        uid: None,
        valid_from_us: HOUR_US - 86_400 * SECOND,
        valid_to_us: None,
        from_slack_ms: Some(0),
        to_slack_ms: None,
        spec,
        origin: "bench".into(),
        cluster: "bench".into(),
    }
}
