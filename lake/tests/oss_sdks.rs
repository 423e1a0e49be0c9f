//! The official SDKs hold the fake honest: whatever they can do against it, our client does with the same outcome.
//!
//! Needs a Python with the packages `oss2` and `alibabacloud-oss-v2`, so it is not part of a plain `cargo test`:
//! `make sdks` installs them and runs this.
#![cfg(test)]

#[path = "fake_oss/mod.rs"]
#[expect(dead_code, reason = "the SDKs are not tried with faults")]
mod fake_oss;

use std::path::Path as File;
use std::process::Command;

use flowaudit_lake::cloud::credentials::{Chain, Clock, Credentials, Surroundings};
use flowaudit_lake::cloud::oss::{Address, ListQuery, Oss, OssError, Retries, Versioning};
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, Result,
};
use serde_json::{Value, json};

use crate::fake_oss::{FakeOss, KEY_ID, REGION, SECRET};

const BUCKET: &str = "flow-bucket";
const KEYS: [&str; 6] = [
    "a/plain.txt",
    "a/日志/b c+d~.parquet",
    "a/e&f<g>%20'h.txt",
    "b/1",
    "b/2",
    "b/c/3",
];

fn ours(fake: &FakeOss, secret: &str) -> Oss {
    let surroundings = Surroundings {
        variables: Default::default(),
        home: None,
        metadata_endpoint: String::new(),
        sts_endpoint: None,
        clock: Clock::system(),
    };
    let chain = Chain::given(Credentials::lasting(KEY_ID, secret), surroundings);
    let address = Address::new(BUCKET, &fake.endpoint, None, Some(REGION)).unwrap();
    Oss::new(address, chain, Clock::system(), Retries::default()).unwrap()
}

/// The outcome of a step: a value, or the status and code of the refusal.
fn told(result: Result<Value>) -> Value {
    let error = match result {
        Ok(value) => return value,
        Err(error) => error,
    };
    let source = std::error::Error::source(&error);
    let refusal = source
        .and_then(|source| source.downcast_ref::<OssError>())
        .and_then(OssError::refusal)
        .unwrap_or_else(|| panic!("{error}"));
    json!({"refused": [refusal.status, refusal.code]})
}

async fn put(oss: &Oss, key: &str, body: Vec<u8>, mode: PutMode) -> Value {
    let path = Path::parse(key).unwrap();
    let put = oss.put_opts(&path, body.into(), mode.into());
    told(put.await.map(|_| Value::Null))
}

async fn get(oss: &Oss, key: &str, range: Option<GetRange>) -> Value {
    let read = async {
        let options = GetOptions::new().with_range(range);
        let found = oss.get_opts(&Path::parse(key)?, options).await?;
        let bytes = found.bytes().await?;
        Ok::<_, Error>(json!(String::from_utf8(bytes.to_vec()).unwrap()))
    };
    told(read.await)
}

async fn size(oss: &Oss, key: &str) -> Value {
    let head = oss.head(&Path::parse(key).unwrap()).await;
    told(head.map(|meta| json!(meta.size)))
}

async fn pages(oss: &Oss, prefix: &str, delimiter: &str) -> Value {
    let mut query = ListQuery {
        prefix: prefix.to_string(),
        delimiter: Some(delimiter.to_string()),
        max_keys: Some(2),
        ..ListQuery::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = oss.list_page(&query).await.unwrap();
        let objects: Vec<Value> = page
            .objects
            .iter()
            .map(|object| json!([object.key, object.size]))
            .collect();
        pages.push(json!([objects, page.common_prefixes]));
        query.continuation_token = page.next;
        if query.continuation_token.is_none() {
            return json!(pages);
        }
    }
}

async fn in_parts(oss: &Oss, key: &str, parts: Vec<Vec<u8>>) -> Result<Value> {
    let mut upload: Box<dyn MultipartUpload> = oss.put_multipart(&Path::from(key)).await?;
    for part in parts {
        upload.put_part(part.into()).await?;
    }
    upload.complete().await?;
    Ok(Value::Null)
}

/// The steps of `oss_sdks.py`, by our client.
async fn steps(oss: &Oss, wrong: &Oss) -> Vec<(String, Value)> {
    let body = b"0123456789".repeat(1000);
    let mut steps = Vec::new();
    let mut step = |name: &str, outcome: Value| steps.push((name.to_string(), outcome));
    for key in KEYS {
        let body = if key.starts_with("a/") {
            body.clone()
        } else {
            Vec::new()
        };
        step(
            &format!("put {key}"),
            put(oss, key, body, PutMode::Overwrite).await,
        );
    }
    step(
        "put again",
        put(oss, "b/1", vec![], PutMode::Overwrite).await,
    );
    step(
        "put if absent, present",
        put(oss, "b/1", b"other".to_vec(), PutMode::Create).await,
    );
    step(
        "put if absent, absent",
        put(oss, "b/new", b"new".to_vec(), PutMode::Create).await,
    );
    for key in &KEYS[..3] {
        step(&format!("get {key}"), get(oss, key, None).await);
        step(&format!("size {key}"), size(oss, key).await);
    }
    for (name, range) in [
        ("range", 5..15),
        ("range past the end", 9995..20_001),
        ("range beyond", 20_000..20_002),
    ] {
        let range = Some(GetRange::Bounded(range));
        step(name, get(oss, KEYS[0], range).await);
    }
    for (prefix, delimiter) in [("", ""), ("a/", ""), ("b/", "/"), ("", "/"), ("none", "")] {
        let name = format!("list '{prefix}' '{delimiter}'");
        step(&name, pages(oss, prefix, delimiter).await);
    }
    let from = Path::parse(KEYS[1]).unwrap();
    let to = Path::parse("copy/日").unwrap();
    let copied = oss.copy(&from, &to).await;
    step("copy", told(copied.map(|()| Value::Null)));
    step("get copy", get(oss, "copy/日", None).await);
    let parts = vec![vec![b'x'; 200_000], vec![b'y'; 200_000], vec![b'z']];
    step("parts", told(in_parts(oss, "parts", parts).await));
    step("size of parts", size(oss, "parts").await);
    step("get absent", get(oss, "absent", None).await);
    step(
        "size absent",
        size(oss, "absent").await["refused"][0].clone(),
    );
    let versioning = match oss.versioning().await.unwrap() {
        Versioning::Off => Value::Null,
        other => json!(format!("{other:?}")),
    };
    step("versioning", versioning);
    step("wrong secret", get(wrong, KEYS[0], None).await);
    let gone = KEYS.into_iter().chain(["b/new", "never/was"]);
    let gone: Vec<_> = gone.map(|key| Ok(Path::parse(key).unwrap())).collect();
    let gone = oss.delete_stream(Box::pin(futures_util::stream::iter(gone)));
    let gone: Vec<Path> = gone.try_collect().await.unwrap();
    assert_eq!(gone.len(), 8);
    step("delete", Value::Null);
    let left = oss.list_page(&ListQuery::default()).await.unwrap();
    let left: Vec<_> = left.objects.into_iter().map(|object| object.key).collect();
    step("left", json!(left));
    steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_does_what_the_official_sdks_do() {
    let Ok(python) = std::env::var("FLOWAUDIT_PYTHON") else {
        panic!("FLOWAUDIT_PYTHON names no Python that has the official SDKs; run `make sdks`");
    };
    let script = File::new("tests/oss_sdks.py");
    for sdk in ["oss2-v1", "oss2-v4", "v2-v1", "v2-v4"] {
        let fake = FakeOss::start();
        fake.make_bucket(BUCKET);
        let output = Command::new(&python)
            .arg(&script)
            .args([sdk, &fake.endpoint, BUCKET, KEY_ID, SECRET])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sdk}: {said}");
        let theirs: Vec<(String, Value)> = serde_json::from_slice(&output.stdout).unwrap();
        let fake = FakeOss::start();
        fake.make_bucket(BUCKET);
        let ours = steps(&ours(&fake, SECRET), &ours(&fake, "wrong")).await;
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(theirs, ours, "{sdk}");
        }
        assert_eq!(theirs.len(), ours.len(), "{sdk}");
    }
}
