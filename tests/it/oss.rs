//! A lake in a bucket, through the binary, against the fake of OSS.

use std::process::Command;

use crate::fake_oss::{FakeOss, KEY_ID, REGION, SECRET};
use crate::{Place, Said, record};

const BUCKET: &str = "flow-bucket";

struct Bucket {
    place: Place,
    fake: FakeOss,
}

impl Bucket {
    fn new() -> Self {
        let fake = FakeOss::start();
        fake.make_bucket(BUCKET);
        let place = Place::new();
        Bucket { place, fake }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        for (name, value) in [
            ("FLOWAUDIT_LAKE", "oss://flow-bucket/lakes/one"),
            ("FLOWAUDIT_OSS_ENDPOINT", &self.fake.endpoint),
            ("FLOWAUDIT_OSS_REGION", REGION),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY_ID),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET),
        ] {
            command.env(name, value);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }
}

#[test]
fn the_whole_walk_on_a_bucket() {
    let bucket = Bucket::new();
    let records: String = (1024..1124).map(record).collect();
    bucket.place.write("log.jsonl", records);
    bucket.run(&["ingest", "log.jsonl"]).check(0, &[]);
    bucket.run(&["analyze"]).check(0, &[]);
    // Again: nothing is doubled.
    bucket.run(&["ingest", "log.jsonl"]).check(0, &[]);
    let stats = bucket.run(&["lake", "stats", "-o", "json"]);
    stats.check(0, &["oss://flow-bucket/lakes/one"]);
    let stats: serde_json::Value = serde_json::from_str(&stats.out).unwrap();
    let rows = |table: &str| {
        let found = stats
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["table"] == table);
        found.unwrap()["rows"].as_u64().unwrap()
    };
    assert_eq!(rows("flows"), 100);
    assert!(rows("edges") > 0);
    bucket
        .run(&["lake", "verify"])
        .check(0, &["is as its log says"]);
    // One flipped bit in the middle of a file.
    let key = bucket.fake.bucket(BUCKET, |bucket| {
        let found = bucket
            .objects
            .iter_mut()
            .find(|(key, _)| key.contains("/flows/"));
        let (key, object) = found.unwrap();
        let middle = object.bytes.len() / 2;
        object.bytes[middle] ^= 4;
        key.clone()
    });
    let said = bucket.run(&["lake", "verify"]);
    said.check(3, &["1 problem in"]);
    let file = key.strip_prefix("lakes/one/").unwrap();
    assert!(said.out.contains(file), "{}", said.out);
}

#[test]
fn what_is_wrong_with_a_bucket_is_said() {
    let bucket = Bucket::new();
    bucket.place.write("log.jsonl", record(1024));
    bucket
        .run(&["lake", "stats"])
        .check(2, &["there is no lake at `oss://flow-bucket/lakes/one`"]);
    bucket
        .run(&["ingest", "log.jsonl", "--lake", "oss://other-bucket/lake"])
        .check(
            3,
            &["NoSuchBucket", " help: check the bucket's name and region"],
        );
    let denied = bucket
        .command(&["ingest", "log.jsonl"])
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "wr0ng")
        .output()
        .unwrap();
    let said = Said::from(denied);
    said.check(
        3,
        &[
            "SignatureDoesNotMatch",
            " help: check the access key secret",
        ],
    );
    assert!(!said.err.contains("wr0ng"), "{}", said.err);
    bucket
        .run(&[
            "ingest",
            "log.jsonl",
            "--oss-endpoint",
            "http://oss.example.com",
        ])
        .check(2, &["is without TLS", " help: "]);
    bucket
        .run(&["ingest", "log.jsonl", "--lake", "gs://bucket/lake"])
        .check(2, &["`gs://` is not supported", " help: "]);
    let s3 = |variables: &[(&str, &str)]| {
        let mut command = bucket.command(&["ingest", "log.jsonl", "--lake", "s3://bucket/lake"]);
        command.envs(variables.iter().copied());
        Said::from(command.output().unwrap())
    };
    s3(&[]).check(
        2,
        &["no credentials for S3", " help: set `AWS_ACCESS_KEY_ID`"],
    );
    let keys = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret"),
    ];
    let plain = [
        keys.as_slice(),
        &[("AWS_ENDPOINT_URL", "http://s3.example.org")],
    ]
    .concat();
    let said = s3(&plain);
    said.check(2, &["is not encrypted", " help: write `https://`"]);
    assert!(!said.err.contains("s3cret"), "{}", said.err);
    bucket
        .fake
        .bucket(BUCKET, |bucket| bucket.versioning = Some("Enabled"));
    bucket.run(&["ingest", "log.jsonl"]).check(
        3,
        &[
            "versioning of the bucket is enabled",
            " help: make a bucket without",
        ],
    );
    let left = bucket.fake.bucket(BUCKET, |bucket| bucket.objects.len());
    assert_eq!(left, 0);
}
