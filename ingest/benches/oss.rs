//! Flow logs from a bucket: how fast objects become Parquet of the lake, and how much memory that takes, at some size and at
//! ten times of it.
//!
//! ```text
//! cargo bench -p flowaudit-ingest --bench oss                     # 1 and 10 million records in each form
//! cargo bench -p flowaudit-ingest --bench oss -- 300000           # and ten times as many
//! FLOWAUDIT=target/release/flowaudit cargo bench …                # the program itself, by its command line
//! ```
//!
//! The bucket is served by a process of its own; what reads is another one, whose memory is its largest resident set and whose
//! rate is records per second of its processor time. An object has 200,000 records, one in ten of them late from
//! the hour before; the hours go by with the records.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench tells its figures, and stops at the first surprise"
)]
#![expect(dead_code, reason = "the tests use all of the fake")]

#[path = "../../lake/tests/fake_oss/mod.rs"]
mod fake_oss;

use std::io::{BufRead, BufReader, Write};
use std::path::Path as File;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use chrono::{TimeDelta, Utc};
use flowaudit_ingest::Stop;
use flowaudit_ingest::oss::{PathFormat, PullSettings, pull};
use flowaudit_lake::cloud::credentials::{Chain, Clock, Credentials, Surroundings};
use flowaudit_lake::cloud::oss::{Address, Oss, Retries};
use flowaudit_lake::{Lake, Table};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use fake_oss::{FakeOss, KEY_ID, REGION, SECRET};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: u64 = 1_000_000;
/// In an object.
const EACH: u64 = 200_000;
/// In an hour.
const HOUR: u64 = 1_500_000;
/// 2026-11-23T08:00:00Z.
const START: u64 = 1_795_420_800;
const BUCKET: &str = "flow-bucket";
const FORMS: [&str; 4] = ["json.gz", "json.zst", "json.snappy", "parquet"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [_, "serve", form, records] => return serve(form, records.parse().unwrap()),
        [_, "read", endpoint, lake] => return read(endpoint, File::new(lake)),
        _ if !words.contains(&"--bench") => return,
        _ => {}
    }
    let records = arguments.iter().find_map(|argument| argument.parse().ok());
    let records = records.unwrap_or(RECORDS);
    for form in FORMS {
        for records in [records, 10 * records] {
            measure(form, records);
        }
    }
}

fn measure(form: &str, records: u64) {
    let (mut served, endpoint, bytes) = served(form, records);
    let directory = tempfile::tempdir().unwrap();
    let lake = directory.path().join("lake");
    let mut reader = reader(&endpoint, directory.path(), &lake);
    let begun = Instant::now();
    let (mut peak, mut spent) = (0, Duration::ZERO);
    let status = loop {
        // The largest so far; what grows after the last look is not a batch.
        peak = peak.max(resident_kib(&reader));
        spent = spent.max(processor_time(&reader));
        if let Some(status) = reader.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success());
    let snapshot = Lake::open(&lake).unwrap().snapshot().unwrap();
    let flows: u64 = snapshot.files(Table::Flows).map(|file| file.rows).sum();
    assert_eq!(flows, records);
    println!(
        "{form:<12} {:>5.1} million records, {:>5} MB in {:>3} objects: {:>4} MiB at most, {:.2} million records/s and core, {:.0} s",
        records as f64 / 1e6,
        bytes / 1_000_000,
        records.div_ceil(EACH),
        peak >> 10,
        records as f64 / spent.as_secs_f64() / 1e6,
        begun.elapsed().as_secs_f64(),
    );
    served.kill().unwrap();
    served.wait().unwrap();
}

/// What reads: the program, or as much of it as this bench has.
fn reader(endpoint: &str, directory: &File, lake: &File) -> Child {
    let Ok(program) = std::env::var("FLOWAUDIT") else {
        return Command::new(std::env::current_exe().unwrap())
            .args(["read", endpoint])
            .arg(lake)
            .spawn()
            .unwrap();
    };
    let settings = format!(
        "sources:\n  shipped:\n    oss:\n      bucket: {BUCKET}\n      prefix: sls\n      endpoint: {endpoint}\n      region: {REGION}\n"
    );
    std::fs::write(directory.join("flowaudit.yaml"), settings).unwrap();
    Command::new(program)
        .args(["ingest", "--source", "shipped", "--quiet", "--lake"])
        .arg(lake)
        .current_dir(directory)
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY_ID)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
        .env_remove("ALIBABA_CLOUD_SECURITY_TOKEN")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn read(endpoint: &str, lake: &File) {
    let lake = Lake::create_or_open(lake).unwrap();
    let format = PathFormat::new(PathFormat::DEFAULT, "+0800").unwrap();
    let settings = PullSettings::new("sls/", format);
    let oss = owner(endpoint);
    pull(&lake, &oss, &settings, &mut |_| {}, &Stop::default()).unwrap();
}

/// The largest resident set so far; nothing once the process is over.
fn resident_kib(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    number.map_or(0, |number| number.parse().unwrap())
}

fn processor_time(process: &Child) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()));
    let stat = stat.unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // A tick is a hundredth of a second on every Linux there is.
    Duration::from_millis(ticks * 10)
}

fn owner(endpoint: &str) -> Oss {
    let bare = Surroundings {
        variables: Default::default(),
        home: None,
        metadata_endpoint: "http://127.0.0.1:1".to_owned(),
        sts_endpoint: None,
        clock: Clock::system(),
    };
    let address = Address::new(BUCKET, endpoint, None, Some(REGION)).unwrap();
    let chain = Chain::given(Credentials::lasting(KEY_ID, SECRET), bare);
    Oss::new(address, chain, Clock::system(), Retries::default()).unwrap()
}

fn served(form: &str, records: u64) -> (Child, String, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["serve", form, &records.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let (endpoint, bytes) = line.trim().split_once(' ').unwrap();
    (child, endpoint.to_owned(), bytes.parse().unwrap())
}

/// The bucket in a process of its own.
fn serve(form: &str, records: u64) {
    let fake = FakeOss::start();
    fake.make_bucket(BUCKET);
    let (oss, runtime) = (
        owner(&fake.endpoint),
        tokio::runtime::Runtime::new().unwrap(),
    );
    let mut bytes = 0;
    for (number, from) in (0..records).step_by(EACH as usize).enumerate() {
        let range = from..records.min(from + EACH);
        let object = match form.split_once('.') {
            Some((_, packing)) => packed(packing, &lines(range)),
            None => columns(range),
        };
        bytes += object.len();
        // One a minute, the last one now.
        let left = records.div_ceil(EACH) - number as u64;
        let at = Utc::now() + TimeDelta::hours(8) - TimeDelta::minutes(left as i64);
        let key = format!("sls/{}_1_{number}.{form}", at.format("%Y/%m/%d/%H/%M"));
        let path = Path::parse(&key).unwrap();
        let put = oss.put(&path, PutPayload::from(object));
        runtime.block_on(put).unwrap();
    }
    println!("{} {bytes}", fake.endpoint);
    loop {
        std::thread::park();
    }
}

fn packed(packing: &str, bytes: &[u8]) -> Vec<u8> {
    match packing {
        "gz" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.into_inner().unwrap()
        }
    }
}

const COLUMNS: [&str; 20] = [
    "version",
    "account-id",
    "eni-id",
    "vm-id",
    "vswitch-id",
    "vpc-id",
    "type",
    "protocol",
    "srcaddr",
    "srcport",
    "dstaddr",
    "dstport",
    "direction",
    "action",
    "packets",
    "bytes",
    "start",
    "end",
    "tcp-flags",
    "log-status",
];

/// Record `n`: 2,000 pods that talk to each other and to a few thousand addresses outside.
fn values(n: u64) -> [String; 20] {
    // Neither in order nor alike.
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let late = if n.is_multiple_of(10) { 3000 } else { 0 };
    let start = START + n / HOUR * 3600 + n % HOUR * 3600 / HOUR - late;
    let pod = |n: u64| format!("10.{}.{}.{}", n % 4, n / 250 % 8, n % 250 + 1);
    let other = match mixed % 10 {
        0 => format!("203.0.{}.{}", mixed / 64 % 16, mixed / 1024 % 250),
        _ => pod(mixed / 7),
    };
    let text = |text: &str| text.to_owned();
    [
        text("1"),
        text("1210123456789012"),
        format!("eni-bp166tg9uk1ryf{:06}", mixed % 2000),
        format!("i-bp13cgxxxxxxxx{:04}", mixed % 60),
        text("vsw-bp16xxxxxxxxwqe6p44"),
        text("vpc-bp1cznkxxxxxxxxvv"),
        text("IPv4"),
        text("6"),
        pod(mixed),
        (1024 + n % 60_000).to_string(),
        other,
        text(["80", "443", "8080", "5432"][(mixed % 4) as usize]),
        text(if mixed.is_multiple_of(2) { "in" } else { "out" }),
        text("ACCEPT"),
        (mixed % 50 + 1).to_string(),
        (mixed % 50_000 + 60).to_string(),
        start.to_string(),
        (start + 60).to_string(),
        text("27"),
        text("OK"),
    ]
}

fn lines(range: std::ops::Range<u64>) -> Vec<u8> {
    let mut lines = Vec::new();
    for n in range {
        let mut before = b'{';
        for (name, value) in COLUMNS.iter().zip(values(n)) {
            write!(lines, "{}\"{name}\":\"{value}\"", before as char).unwrap();
            before = b',';
        }
        lines.extend(b"}\n");
    }
    lines
}

fn columns(range: std::ops::Range<u64>) -> Vec<u8> {
    let rows: Vec<[String; 20]> = range.map(values).collect();
    let columns = COLUMNS.iter().enumerate().map(|(at, name)| {
        let texts = rows.iter().map(|row| row[at].as_str());
        (
            *name,
            Arc::new(StringArray::from_iter_values(texts)) as ArrayRef,
        )
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}
