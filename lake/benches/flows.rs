//! What users wait for: building, writing and reading flows, and opening a lake with a long log.
//!
//! ```text
//! cargo bench -p flowaudit-lake --bench flows
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::hint::black_box;
use std::time::Instant;

use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::table::flows::{self, FlowRow, FlowsBuilder};
use flowaudit_lake::{Hour, Lake, Partition, Table, read};
use rand::{Rng, SeedableRng};

const ROWS: usize = 4_000_000;
const COMMITS: u64 = 20_000;
const HOUR: Hour = Hour(498_752);

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let addresses: Vec<String> = (0..20_000)
        .map(|n| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255))
        .collect();
    let enis: Vec<String> = (0..200).map(|n| format!("eni-bp1{n:013x}")).collect();
    let numbers: Vec<u64> = (0..ROWS).map(|_| random.random()).collect();

    let mut builder = FlowsBuilder::default();
    let mut built = Vec::new();
    let start = Instant::now();
    for (n, number) in numbers.iter().enumerate() {
        builder.push(&row(n, *number, &addresses, &enis));
        if builder.len() == 64 * 1024 {
            built.push(builder.finish());
        }
    }
    built.push(builder.finish());
    rate("build rows", ROWS as u64, start);

    let lake = Lake::create_or_open(directory.path().join("rows")).unwrap();
    let mut batch = lake.batch("bench").unwrap();
    let start = Instant::now();
    for rows in &built {
        batch
            .write(Table::Flows, Partition::Hour(HOUR), rows)
            .unwrap();
    }
    let commit = batch.publish().unwrap();
    rate("write and publish", ROWS as u64, start);
    println!(
        "{:<24} {:>10.1} bytes/row",
        "",
        commit.added[0].bytes as f64 / ROWS as f64
    );

    let start = Instant::now();
    let file = read::open(&lake, &commit.added[0]).unwrap();
    let columns = [
        "start_time",
        "end_time",
        "direction",
        "src_addr",
        "src_port",
        "dst_addr",
        "dst_port",
        "protocol",
        "bytes",
    ];
    for row_group in 0..file.row_groups() {
        for batch in file.batches(&columns, row_group).unwrap() {
            black_box(batch.unwrap());
        }
    }
    rate("read 9 columns", ROWS as u64, start);

    let root = directory.path().join("log");
    let lake = Lake::create_or_open(&root).unwrap();
    let start = Instant::now();
    for n in 0..COMMITS {
        let mut rows = FlowsBuilder::default();
        let mut row = row(0, n, &addresses, &enis);
        row.start_us = Hour(n as i64 / 4).start_us();
        rows.push(&row);
        let mut batch = lake.batch("bench").unwrap();
        batch
            .write(
                Table::Flows,
                Partition::Hour(Hour(n as i64 / 4)),
                &rows.finish(),
            )
            .unwrap();
        batch.advance("bench", "0", Position::at(n), Position::at(n + 1));
        batch.publish().unwrap();
    }
    rate("commit one small file", COMMITS, start);
    let start = Instant::now();
    let opened = Lake::open(&root).unwrap();
    let files = opened.snapshot().unwrap().files(Table::Flows).count();
    let ms = start.elapsed().as_secs_f64() * 1e3;
    println!(
        "{:<24} {ms:>10.1} ms for {COMMITS} commits, {files} files",
        "open"
    );
}

fn row<'a>(n: usize, number: u64, addresses: &'a [String], enis: &'a [String]) -> FlowRow<'a> {
    let pick = |shift: u32, of: usize| (number >> shift) as usize % of;
    let out = number & 1 == 0;
    FlowRow {
        start_us: HOUR.start_us() + (n as i64 % 3_600) * 1_000_000,
        end_us: HOUR.start_us() + (n as i64 % 3_600) * 1_000_000 + 60_000_000,
        ingest_us: HOUR.end_us(),
        eni_id: &enis[pick(40, enis.len())],
        vm_id: Some(&enis[pick(40, enis.len())]),
        vpc_id: Some("vpc-bp1qd80r7h7xyz"),
        vswitch_id: Some("vsw-bp1qd80r7h7xyz"),
        account_id: Some("1234567890123456"),
        region: None,
        direction: if out {
            flows::DIRECTION_OUT
        } else {
            flows::DIRECTION_IN
        },
        src_addr: &addresses[pick(1, addresses.len())],
        src_port: pick(20, 65_536) as i32,
        dst_addr: &addresses[pick(17, addresses.len())],
        dst_port: [443, 80, 6379, 53][pick(3, 4)],
        protocol: if pick(5, 8) == 0 { 17 } else { 6 },
        packets: pick(7, 200) as i64,
        bytes: pick(9, 100_000) as i64,
        tcp_flags: Some(pick(11, 32) as i32),
        action: "ACCEPT",
        log_status: "OK",
        traffic_path: None,
        source: "sls/eni-prod",
        source_position: n as i64,
    }
}

fn rate(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:<24} {:>10.0} /s", count as f64 / seconds);
}
