//! Flow logs from the log service: how fast a reply becomes columns, how fast a logstore becomes Parquet, how much memory
//! that takes, and the same pull by the official Python SDK in the same run.
//!
//! ```text
//! FLOWAUDIT_PYTHON=… cargo bench -p flowaudit-ingest --bench sls              # `-- columns`: only the first
//! cargo bench -p flowaudit-ingest --bench sls -- 20000000                     # so many records in the logstore
//! ```
//!
//! Figures are records per second of processor time of the one process that is measured, so that a busy machine and the
//! fake service, which runs in a process of its own, do not count. Without `FLOWAUDIT_PYTHON` the SDK is left out.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench tells its figures, and stops at the first surprise"
)]
#![expect(dead_code, reason = "the tests use all of the fake")]

#[path = "../tests/fake/mod.rs"]
mod fake;
mod process;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flowaudit_ingest::Stop;
use flowaudit_ingest::normalize::{Entry, Flow, normalize};
use flowaudit_ingest::sls::calls::Pull;
use flowaudit_ingest::sls::decode::{LogDecoder, check, groups, logs};
use flowaudit_ingest::sls::unpack::{Packing, unpack};
use flowaudit_ingest::sls::{
    Client, ClientSettings, Credentials, Fixed, Place, PullSettings, pull,
};
use flowaudit_lake::Lake;
use flowaudit_lake::table::flows::{FlowRow, FlowsBuilder};

use crate::process::{memory, spent};
use fake::{ENDPOINT, Fake, LOGSTORE, PROJECT, account, records};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records in the logstore of the whole path.
const RECORDS: u64 = 2_000_000;
const SHARDS: u32 = 4;
/// Logs in a group.
const GROUP: u64 = 100;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "serve");
    if let Some(records) = arguments.nth(1) {
        serve(records.parse().unwrap());
        return;
    }
    reply_to_columns();
    if std::env::args().any(|argument| argument == "columns") {
        return;
    }
    let number = std::env::args().find_map(|argument| argument.parse().ok());
    let mut served = served(number.unwrap_or(RECORDS));
    let proxy = served.1.clone();
    let pulled = logstore_to_columns(&proxy, number.unwrap_or(RECORDS));
    let ours = logstore_to_parquet(&proxy, number.unwrap_or(RECORDS));
    if let Ok(python) = std::env::var("FLOWAUDIT_PYTHON") {
        let theirs = by_the_sdk(&python, &proxy);
        println!(
            "ratio       {:>10.1} x the SDK's rows as columns, {:.1} x as Parquet",
            pulled / theirs,
            ours / theirs
        );
    } else {
        eprintln!("FLOWAUDIT_PYTHON is not set: the SDK was not asked; `make sdks` installs it");
    }
    served.0.kill().unwrap();
}

/// The fake service in a process of its own.
fn serve(records: u64) {
    let fake = Fake::start(SHARDS);
    for from in (0..records).step_by(100_000) {
        for group in records::groups(from..records.min(from + 100_000), GROUP) {
            fake.world().put(&group, 1_764_000_000);
        }
    }
    println!("{}", fake.proxy());
    loop {
        std::thread::park();
    }
}

fn served(records: u64) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["serve".to_owned(), records.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

fn rate(records: u64, spent: Duration) -> f64 {
    records as f64 / spent.as_secs_f64() / 1e6
}

fn row<'f>(flow: &'f Flow<'_>) -> FlowRow<'f> {
    FlowRow {
        start_us: flow.start_us,
        end_us: flow.end_us,
        ingest_us: 0,
        eni_id: flow.eni_id,
        vm_id: flow.vm_id,
        vpc_id: flow.vpc_id,
        vswitch_id: flow.vswitch_id,
        account_id: flow.account_id,
        region: flow.region,
        direction: flow.direction.as_str(),
        src_addr: &flow.src_addr,
        src_port: flow.src_port.into(),
        dst_addr: &flow.dst_addr,
        dst_port: flow.dst_port.into(),
        protocol: flow.protocol.into(),
        packets: flow.packets,
        bytes: flow.bytes,
        tcp_flags: flow.tcp_flags.map(i32::from),
        action: flow.action.as_str(),
        log_status: "OK",
        traffic_path: flow.traffic_path,
        source: "sls",
        source_position: 0,
    }
}

fn reply_to_columns() {
    let mut list = Vec::new();
    for group in records::groups(0..20_000, GROUP) {
        list.push(0x0a);
        let mut length = group.len();
        while length >= 0x80 {
            list.push(length as u8 | 0x80);
            length >>= 7;
        }
        list.push(length as u8);
        list.extend(group);
    }
    let size = list.len() as u64;
    let lz4 = lz4_flex::block::compress(&list);
    let zstd = zstd::encode_all(list.as_slice(), 1).unwrap();
    println!(
        "a million records: {:.0} MB of protobuf, {:.0} MB as lz4, {:.0} MB as zstd",
        size as f64 / 20_000.0,
        lz4.len() as f64 / 20_000.0,
        zstd.len() as f64 / 20_000.0
    );
    let (mut builder, mut total) = (FlowsBuilder::default(), 0);
    let begun = spent();
    for _ in 0..100 {
        let list = unpack(lz4.clone(), Packing::Lz4, size, 256 << 20).unwrap();
        check(&list).unwrap();
        total += columns(&list, &mut builder);
    }
    let rate = rate(total, spent() - begun);
    println!("to columns  {rate:>10.2} million records/s: lz4, check, decode, normalise, build");
}

fn client(proxy: &str) -> Client {
    let settings = ClientSettings {
        insecure: true,
        proxy: Some(proxy.to_owned()),
        ..ClientSettings::new(ENDPOINT, PROJECT, LOGSTORE)
    };
    let account = account();
    let keys = Credentials::lasting(account.id, account.secret);
    Client::new(settings, Arc::new(Fixed::new(keys))).unwrap()
}

/// What the SDK does as far as rows, as far as columns; million records per second.
fn logstore_to_columns(proxy: &str, records: u64) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = client(proxy);
    let begun = spent();
    let mut builder = FlowsBuilder::default();
    let mut total = 0;
    for shard in runtime.block_on(client.list_shards()).unwrap() {
        let cursor = |place| runtime.block_on(client.cursor(shard.id, place)).unwrap();
        let (mut next, end) = (cursor(Place::Begin), cursor(Place::End));
        while !next.is(&end) {
            let pull = Pull {
                cursor: &next,
                end: Some(&end),
                groups: 1000,
                query: None,
                packing: Packing::Lz4,
                bytes_max: 256 << 20,
            };
            let pulled = runtime.block_on(client.pull(shard.id, &pull)).unwrap();
            total += columns(&pulled.list, &mut builder);
            next = pulled.next;
        }
    }
    assert_eq!(total, records);
    let rate = rate(records, spent() - begun);
    println!("pulled      {rate:>10.2} million records/s: over HTTP, to columns");
    rate
}

/// The records of a reply as columns; how many there are.
fn columns(list: &[u8], builder: &mut FlowsBuilder) -> u64 {
    let mut decoder = LogDecoder::default();
    for group in groups(list) {
        for log in logs(group.unwrap()) {
            let record = decoder.record(log.unwrap()).unwrap();
            if let Ok(Entry::Flow(flow)) = normalize(record) {
                builder.push(&row(&flow));
            }
        }
    }
    builder.finish().num_rows() as u64
}

fn logstore_to_parquet(proxy: &str, records: u64) -> f64 {
    let client = client(proxy);
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(dir.path().join("lake")).unwrap();
    let begun = spent();
    let settings = PullSettings::default();
    let summary = pull(&lake, &client, &settings, &mut |_| {}, &Stop::default()).unwrap();
    assert_eq!(summary.counts.flows, records);
    let rate = rate(records, spent() - begun);
    println!(
        "to Parquet  {rate:>10.2} million records/s: pulled over HTTP, deduplicated, committed"
    );
    println!(
        "memory      {} of {} MiB",
        memory("VmHWM:") >> 10,
        settings.memory_bytes >> 20
    );
    rate
}

/// The same pull by the Python SDK, as far as rows; million records per second.
fn by_the_sdk(python: &str, proxy: &str) -> f64 {
    let account = account();
    let output = Command::new(python)
        .arg("benches/sls_by_sdk.py")
        .args([ENDPOINT, PROJECT, LOGSTORE, &account.id, &account.secret])
        .env("http_proxy", proxy)
        .env_remove("no_proxy")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text
        .split_ascii_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    assert_eq!(numbers.len(), 2, "two figures, not {text}");
    let (parsed, rows) = (numbers[0], numbers[1]);
    println!("Python SDK  {parsed:>10.2} million records/s parsed, {rows:.2} as rows");
    rows
}
