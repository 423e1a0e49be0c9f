//! `ingest --source` of a bucket, through the binary, against the fake of OSS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::fake_oss::{FakeOss, KEY_ID, REGION, SECRET};
use crate::{Place, Said, record};

const SETTINGS: &str = "sources:
  shipped:
    oss:
      bucket: flow-bucket
      prefix: sls/vpc
      endpoint: ENDPOINT
      region: REGION
      insecure: true
      list-interval: 1s
";

fn place(fake: &FakeOss) -> Place {
    let place = Place::new();
    fake.make_bucket("flow-bucket");
    let settings = SETTINGS.replace("ENDPOINT", &fake.endpoint);
    place.write("flowaudit.yaml", settings.replace("REGION", REGION));
    place
}

fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY_ID)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
        .env_remove("ALIBABA_CLOUD_SECURITY_TOKEN");
    command
}

fn run(place: &Place, arguments: &[&str]) -> Said {
    Said::from(command(place, arguments).output().unwrap())
}

/// Puts an object, signed by hand.
fn put(fake: &FakeOss, key: &str, bytes: &str) {
    let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("PUT\n\n\n{date}\n/flow-bucket/{key}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let host = fake.endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "PUT /flow-bucket/{key} HTTP/1.1\r\nHost: {host}\r\nDate: {date}\r\n\
         Authorization: OSS {KEY_ID}:{signature}\r\nContent-Length: {}\r\n\r\n{bytes}",
        bytes.len()
    )
    .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200");
}

/// A key as a shipping job of the zone `+0800` makes it now.
fn key(number: u32) -> String {
    let local = Utc::now() + TimeDelta::hours(8);
    format!(
        "sls/vpc/{}_1453812893059571256_{number}.json",
        local.format("%Y/%m/%d/%H/%M")
    )
}

fn records(ports: std::ops::Range<u16>) -> String {
    ports.map(record).collect()
}

#[test]
fn a_bucket_is_read_up_to_now_and_again() {
    let fake = FakeOss::start();
    let place = place(&fake);
    put(&fake, &key(1), &records(1024..1124));
    put(&fake, &key(2), &records(1124..1174));
    let said = run(&place, &["ingest", "--source", "shipped"]);
    said.check(
        0,
        &["150 records: 150 flows, 0 gaps, 0 rejects, 0 duplicates; 2 objects"],
    );
    let begin = "150 records from `shipped` (2 objects of 2 listed, 1 batch): 150 flows";
    assert!(said.out.starts_with(begin), "{}", said.out);
    assert_eq!(place.rows("flows"), 150);
    let again = run(&place, &["ingest", "--source", "shipped", "-o", "json"]);
    again.check(0, &[]);
    let report: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(
        (report["records"].as_u64(), report["listed"].as_u64()),
        (Some(0), Some(2))
    );
    let shown = place.run(&["config", "show"]);
    shown.check(0, &[]);
    assert!(shown.out.contains("sources.shipped"), "{}", shown.out);
}

#[test]
fn what_cannot_be_read_is_exit_code_3_and_the_rest_is_there() {
    let fake = FakeOss::start();
    let place = place(&fake);
    put(&fake, &key(1), &records(1024..1124));
    put(&fake, &key(2), "ORC and more");
    let said = run(&place, &["ingest", "--source", "shipped"]);
    said.check(
        3,
        &[
            "is an ORC file",
            "`contentType`",
            "error: `oss://flow-bucket/sls/vpc/",
        ],
    );
    assert!(
        said.out.contains("1 object could not be read"),
        "{}",
        said.out
    );
    assert_eq!(place.rows("flows"), 100);
}

#[test]
fn a_followed_bucket_ends_with_a_last_batch_when_it_is_told_to() {
    let fake = FakeOss::start();
    let place = place(&fake);
    put(&fake, &key(1), &records(1024..1124));
    let child = command(&place, &["ingest", "--source", "shipped", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let read = |fake: &FakeOss| {
        let log = fake.take_log();
        log.iter()
            .any(|line| line.starts_with("GET /flow-bucket/sls"))
    };
    while !read(&fake) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is read");
        std::thread::sleep(Duration::from_millis(10));
    }
    put(&fake, &key(2), &records(1124..1174));
    while !read(&fake) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is followed"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.code, 0);
    let flows = place.rows("flows");
    // The second object may have been told to end before it was taken; then it is there after the next run.
    assert!(flows == 100 || flows == 150, "{flows}");
    run(&place, &["ingest", "--source", "shipped"]).check(0, &[]);
    assert_eq!(place.rows("flows"), 150);
}

#[test]
fn bad_settings_name_the_cause_and_the_remedy() {
    let fake = FakeOss::start();
    let place = place(&fake);
    let good = SETTINGS
        .replace("ENDPOINT", &fake.endpoint)
        .replace("REGION", REGION);
    put(&fake, &key(1), &records(1024..1034));
    fake.make_bucket("denied-bucket");
    fake.deny("denied-bucket/");
    let region = format!(
        "      endpoint: {}\n      region: {REGION}\n      insecure: true\n",
        fake.endpoint
    );
    for (settings, code, words) in [
        (
            good.replace("bucket: flow-bucket", "bucket: other-bucket"),
            3,
            &["NoSuchBucket", "check the bucket's name and region"][..],
        ),
        (
            good.replace("bucket: flow-bucket", "bucket: denied-bucket"),
            3,
            &["AccessDenied", "docs/ram/oss-source.json"],
        ),
        (
            good.replace(&region, ""),
            2,
            &[
                "source `shipped` cannot be used",
                "neither region nor endpoint",
                "set `region`",
            ],
        ),
        (
            good.replace("flow-bucket", "oss://flow-bucket"),
            2,
            &["is no bucket", "without `oss://`"],
        ),
        (
            good.clone() + "      format: orc\n",
            2,
            &["ORC is not read", "`contentType`"],
        ),
        (
            good.clone() + "      path-format: '%H/%d'\n",
            2,
            &["does not begin with year", "set the shipping job so"],
        ),
        (
            good.clone() + "      time-zone: CST\n",
            2,
            &["is no time zone", "+0800"],
        ),
        (
            good.clone() + "      columns: [srcaddr, dstaddr, action]\n",
            2,
            &["`columns` cannot be used", "has no column `start`"],
        ),
        (
            good.clone() + "      path-format: '%Y%m%d'\n",
            3,
            &["none of the objects", "`path-format`"],
        ),
        (
            good.clone() + "      prefx: a\n",
            2,
            &["unknown field `prefx`"],
        ),
    ] {
        place.write("flowaudit.yaml", settings);
        run(&place, &["ingest", "--source", "shipped"]).check(code, words);
        if code == 2 {
            place.run(&["config", "check"]).check(2, words);
        }
    }
    place.write(
        "flowaudit.yaml",
        good.replace("insecure: true", "insecure: false"),
    );
    run(&place, &["ingest", "--source", "shipped"]).check(2, &["is http", "--insecure"]);
    run(&place, &["ingest", "--source", "shipped", "--insecure"]).check(0, &[]);
}
