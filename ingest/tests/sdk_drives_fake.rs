//! The official Python SDK and our client see the same in the fake log service, which keeps the fake honest.
//!
//! Needs a Python with the package `aliyun-log-python-sdk`, so it is not part of a plain `cargo test`: `make sdks`
//! installs that and runs this.
#![cfg(test)]
#![expect(dead_code, reason = "the other tests use all of the fake")]

mod fake;

use std::process::Command;
use std::sync::Arc;

use flowaudit_ingest::Stop;
use flowaudit_ingest::decode::Field;
use flowaudit_ingest::sls::calls::Pull;
use flowaudit_ingest::sls::decode::{LogDecoder, groups, logs};
use flowaudit_ingest::sls::unpack::Packing;
use flowaudit_ingest::sls::{
    Client, ClientSettings, Credentials, Fixed, Place, PullSettings, pull,
};
use flowaudit_lake::Lake;
use serde_json::{Map, Value, json};

use fake::{ENDPOINT, Fake, LOGSTORE, PROJECT, account, records};

const RECORDS: u64 = 2_000;
/// What the service is to leave, with everything in it that is encoded on the wire or signed.
const STATEMENT: &str = "* | where dstaddr = '172.31.16.7' and srcport != '107' | project srcport, start, \"log-status\"";

fn client(fake: &Fake, sign_v1: bool) -> Client {
    let settings = ClientSettings {
        insecure: true,
        proxy: Some(fake.proxy()),
        sign_v1,
        ..ClientSettings::new(ENDPOINT, PROJECT, LOGSTORE)
    };
    let account = account();
    let credentials = Credentials::lasting(account.id, account.secret).with_token("tok/en+==");
    Client::new(settings, Arc::new(Fixed::new(credentials))).unwrap()
}

/// What our client sees, in the form in which the SDK's script tells what it saw.
async fn seen(client: &Client) -> Value {
    let (mut shards, mut cursors, mut found) = (Vec::new(), Map::new(), Vec::new());
    let mut left = Vec::new();
    for shard in client.list_shards().await.unwrap() {
        shards.push(json!([shard.id, shard.status]));
        let begin = client.cursor(shard.id, Place::Begin).await.unwrap();
        let end = client.cursor(shard.id, Place::End).await.unwrap();
        let received = client.cursor_time(shard.id, &begin).await.unwrap();
        cursors.insert(shard.id.to_string(), json!([begin, end, received]));
        let mut cursor = begin;
        let pull = Pull {
            cursor: &cursor,
            end: Some(&end),
            groups: 1000,
            query: Some(STATEMENT),
            packing: Packing::Lz4,
            bytes_max: 1 << 20,
        };
        let pulled = client.pull(shard.id, &pull).await.unwrap();
        let (before, _) = pulled.before_query.unwrap();
        left.push(json!([pulled.next, before, records_of(&pulled.list)]));
        while !cursor.is(&end) {
            let pull = Pull {
                cursor: &cursor,
                end: Some(&end),
                groups: 7,
                query: None,
                packing: Packing::Lz4,
                bytes_max: 1 << 20,
            };
            let pulled = client.pull(shard.id, &pull).await.unwrap();
            found.extend(records_of(&pulled.list));
            cursor = pulled.next;
        }
    }
    json!({"shards": shards, "cursors": cursors, "records": found, "queried": 100, "left": left})
}

/// Port and start of each record.
fn records_of(list: &[u8]) -> Vec<Value> {
    let (mut decoder, mut found) = (LogDecoder::default(), Vec::new());
    for group in groups(list) {
        for log in logs(group.unwrap()) {
            let record = decoder.record(log.unwrap()).unwrap();
            let number = |field| record.get(field).unwrap().parse::<u64>().unwrap();
            found.push(json!([number(Field::SrcPort), number(Field::Start)]));
        }
    }
    found
}

#[test]
fn the_python_sdk_sees_what_we_see() {
    let Ok(python) = std::env::var("FLOWAUDIT_PYTHON") else {
        panic!(
            "FLOWAUDIT_PYTHON names no Python that has `aliyun-log-python-sdk`; run `make sdks`"
        );
    };
    let fake = Fake::start(3);
    fake.world().account.token = Some("tok/en+==".to_owned());
    for (number, group) in records::groups(0..RECORDS, 30).iter().enumerate() {
        fake.world().put(group, 1_764_000_000 + number as i64);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (v1, v4) = (client(&fake, true), client(&fake, false));
    let [v1, v4_seen] = [&v1, &v4].map(|client| runtime.block_on(seen(client)));
    assert_eq!(v1, v4_seen);
    assert_eq!(v1["records"].as_array().unwrap().len() as u64, RECORDS);
    let left = v1["left"].as_array().unwrap().iter();
    let left: usize = left.map(|shard| shard[2].as_array().unwrap().len()).sum();
    assert_eq!(left, 19, "one in a hundred, but for one");

    let written: Map<String, Value> = records::record(RECORDS)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let account = account();
    let output = Command::new(python)
        .arg("tests/sdk_drives_fake.py")
        .args([
            ENDPOINT,
            PROJECT,
            LOGSTORE,
            &account.id,
            &account.secret,
            "tok/en+==",
        ])
        .args([&Value::from(written).to_string(), STATEMENT])
        .env("http_proxy", fake.proxy())
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs["v1"], v1);
    assert_eq!(theirs["v4"], v1);
    let mut all = v1["records"].as_array().unwrap().clone();
    all.sort_by_key(|pair| (pair[0].as_u64(), pair[1].as_u64()));
    assert_eq!(
        theirs["worker"].as_array().unwrap(),
        &all,
        "the SDK's own consumer"
    );

    // The two records that the SDK wrote are the same one, and ours.
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::create_or_open(dir.path().join("lake")).unwrap();
    let settings = PullSettings::default();
    let summary = pull(&lake, &v4, &settings, &mut |_| {}, &Stop::default()).unwrap();
    assert_eq!(
        (summary.counts.flows, summary.counts.duplicates),
        (RECORDS + 1, 1)
    );
}
