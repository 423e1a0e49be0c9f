//! The credential chain against services on loopback.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowaudit_lake::cloud::credentials::{Chain, Clock, Source, Surroundings, rpc_signature};

use crate::bucket::bare;
use crate::fake_oss::http::{Reply, Request, Server, unescape};

/// 2025-08-01T08:30:00Z
const NOW: i64 = 1_754_037_000;

fn shown(at: i64) -> String {
    let at = chrono::DateTime::from_timestamp(at, 0).unwrap();
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn printed(name: &str, expires_at: i64) -> String {
    let expiration = shown(expires_at);
    format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"STS.{name}\",\"AccessKeySecret\":\"hush-{name}\",\
         \"SecurityToken\":\"token-{name}\",\"Expiration\":\"{expiration}\",\"LastUpdated\":\"x\"}}"
    )
}

/// Variables, and a clock that stands still until it is set.
fn surroundings(variables: &[(&str, &str)]) -> (Surroundings, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(NOW));
    let clock = Arc::clone(&now);
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let surroundings = Surroundings {
        variables: variables.iter().map(owned).collect(),
        clock: Clock::from_fn(move || clock.load(Ordering::SeqCst)),
        ..bare()
    };
    (surroundings, now)
}

fn form(request: &Request) -> BTreeMap<String, String> {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let pairs = format!("{}&{body}", request.query);
    let pairs = pairs.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (unescape(key), unescape(value)))
        .collect()
}

/// What was asked, for looking at afterwards.
type Asked = Arc<Mutex<Vec<Request>>>;

fn recording(answer: impl Fn(&Request, u64) -> Reply + Send + Sync + 'static) -> (Server, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let count = AtomicU64::new(0);
    let server = Server::start(move |request| {
        log.lock().unwrap().push(request.clone());
        answer(&request, count.fetch_add(1, Ordering::SeqCst))
    });
    (server, asked)
}

#[tokio::test]
async fn nothing_set_up_names_every_source() {
    let (around, _) = surroundings(&[("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")]);
    let chain = Chain::new(around);
    let error = chain.get().await.unwrap_err();
    let said = error.to_string();
    let order: Vec<_> = error
        .attempts
        .iter()
        .map(|attempt| attempt.source)
        .collect();
    assert_eq!(order, Source::CHAIN);
    assert!(said.contains("environment variables: not set up"), "{said}");
    assert!(said.contains("ECS instance role: "), "{said}");
    assert!(
        error
            .help()
            .unwrap()
            .contains("ALIBABA_CLOUD_ACCESS_KEY_ID")
    );
    assert_eq!(chain.source(), None);
}

#[tokio::test]
async fn the_environment_comes_first_and_is_not_shown() {
    let (around, _) = surroundings(&[
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5tExampleKeyId"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hush"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "quiet"),
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r"),
        (
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            "acs:ram::1:oidc-provider/p",
        ),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/nowhere"),
    ]);
    let chain = Chain::new(around.clone());
    let credentials = chain.get().await.unwrap();
    assert_eq!(chain.source(), Some(Source::Environment));
    assert_eq!(
        (credentials.secret(), credentials.token()),
        ("hush", Some("quiet"))
    );
    let said = format!("{credentials:?} {chain:?} {around:?}");
    assert!(said.contains("LTAI5tEx…"), "{said}");
    for secret in ["hush", "quiet", "LTAI5tExampleKeyId"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn half_a_key_is_no_key() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aliyun")).unwrap();
    let file = r#"{"current":"x","profiles":[{"name":"x","mode":"AK","access_key_id":"a","access_key_secret":"s"}]}"#;
    std::fs::write(home.path().join(".aliyun/config.json"), file).unwrap();
    let (mut around, _) = surroundings(&[
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5t"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
    ]);
    around.home = Some(home.path().to_path_buf());
    let chain = Chain::new(around);
    assert_eq!(chain.get().await.unwrap().access_key_id, "a");
    assert_eq!(chain.source(), Some(Source::CliFile));
}

#[tokio::test]
async fn files_are_read_in_their_order() {
    let home = tempfile::tempdir().unwrap();
    for (folder, file, text) in [
        (
            ".aliyun",
            "config.json",
            "{ broken, \"access_key_secret\": \"hush\"",
        ),
        (
            ".alibabacloud",
            "credentials.ini",
            "[default]\ntype=access_key\naccess_key_id=ini\naccess_key_secret=s # remark\n\
             [other]\ntype=access_key\naccess_key_id=other\naccess_key_secret=s",
        ),
    ] {
        std::fs::create_dir(home.path().join(folder)).unwrap();
        std::fs::write(home.path().join(folder).join(file), text).unwrap();
    }
    let with = |variables: &[(&str, &str)]| {
        let (mut around, _) = surroundings(variables);
        around.home = Some(home.path().to_path_buf());
        Chain::new(around)
    };
    // A file that is broken is passed over, and named when nothing else is there.
    let chain = with(&[]);
    assert_eq!(chain.get().await.unwrap().access_key_id, "ini");
    assert_eq!(chain.source(), Some(Source::SharedFile));
    let chain = with(&[("ALIBABA_CLOUD_PROFILE", "other")]);
    assert_eq!(chain.get().await.unwrap().access_key_id, "other");
    let chain = with(&[
        ("ALIBABA_CLOUD_PROFILE", "none"),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ]);
    let said = chain.get().await.unwrap_err().to_string();
    assert!(
        said.contains("config.json` is not what the official tools write"),
        "{said}"
    );
    assert!(said.contains("has no profile `none`"), "{said}");
    assert!(!said.contains("hush"), "{said}");
    let elsewhere = home.path().join("elsewhere.ini");
    std::fs::write(
        &elsewhere,
        "[default]\ntype=access_key\naccess_key_id=e\naccess_key_secret=s",
    )
    .unwrap();
    let chain = with(&[
        ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true"),
        (
            "ALIBABA_CLOUD_CREDENTIALS_FILE",
            elsewhere.to_str().unwrap(),
        ),
    ]);
    assert_eq!(chain.get().await.unwrap().access_key_id, "e");
}

#[tokio::test]
async fn a_pod_gets_the_role_of_the_pod_not_of_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "first.jwt\n").unwrap();
    let (sts, asked) = recording(|_, n| {
        let credentials = printed(&format!("pod{n}"), NOW + 3600);
        Reply::new(
            200,
            format!("{{\"RequestId\":\"1\",\"Credentials\":{credentials}}}"),
        )
    });
    let (metadata, node_asked) = recording(|_, _| Reply::new(200, "node"));
    let (mut around, _) = surroundings(&[
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/reader"),
        (
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            "acs:ram::1:oidc-provider/ack-rrsa-c1",
        ),
        (
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            token_file.to_str().unwrap(),
        ),
        ("ALIBABA_CLOUD_ROLE_SESSION_NAME", "nightly"),
    ]);
    around.sts_endpoint = Some(sts.endpoint.clone());
    around.metadata_endpoint = metadata.endpoint.clone();
    let chain = Chain::new(around);
    let first = chain.get().await.unwrap();
    assert_eq!(first.access_key_id, "STS.pod0");
    assert_eq!(chain.source(), Some(Source::Oidc));
    // The token is replaced under us, and read again.
    std::fs::write(&token_file, "second.jwt").unwrap();
    chain.reject(&first);
    assert_eq!(chain.get().await.unwrap().access_key_id, "STS.pod1");
    // Rejecting what is not held any more changes nothing.
    chain.reject(&first);
    chain.get().await.unwrap();
    let asked = asked.lock().unwrap();
    let tokens: Vec<_> = asked
        .iter()
        .map(|request| form(request)["OIDCToken"].clone())
        .collect();
    assert_eq!(tokens, ["first.jwt", "second.jwt"]);
    let sent = form(&asked[0]);
    for (key, value) in [
        ("Action", "AssumeRoleWithOIDC"),
        ("Version", "2015-04-01"),
        ("Format", "JSON"),
        ("RoleArn", "acs:ram::1:role/reader"),
        ("OIDCProviderArn", "acs:ram::1:oidc-provider/ack-rrsa-c1"),
        ("RoleSessionName", "nightly"),
        ("DurationSeconds", "3600"),
        ("Timestamp", "2025-08-01T08:30:00Z"),
    ] {
        assert_eq!(sent[key], value, "{key}");
    }
    assert!(
        !asked[0].query.contains("jwt"),
        "a token in an address is in every log"
    );
    assert!(node_asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_role_is_assumed_with_a_signed_request() {
    let (sts, asked) = recording(|_, _| {
        let credentials = printed("role", NOW + 900);
        Reply::new(200, format!("{{\"Credentials\":{credentials}}}"))
    });
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aliyun")).unwrap();
    let file = r#"{"current":"x","profiles":[{"name":"x","mode":"RamRoleArn","access_key_id":"LTAI5tBase",
        "access_key_secret":"base-secret","ram_role_arn":"acs:ram::1:role/r","ram_session_name":"s","expired_seconds":900,
        "external_id":"a b*~"}]}"#;
    std::fs::write(home.path().join(".aliyun/config.json"), file).unwrap();
    let (mut around, _) = surroundings(&[]);
    around.home = Some(home.path().to_path_buf());
    around.sts_endpoint = Some(sts.endpoint.clone());
    let chain = Chain::new(around);
    assert_eq!(chain.get().await.unwrap().access_key_id, "STS.role");
    let asked = asked.lock().unwrap();
    let mut sent = form(&asked[0]);
    let signature = sent.remove("Signature").unwrap();
    assert_eq!(sent["DurationSeconds"], "900");
    assert_eq!(sent["ExternalId"], "a b*~");
    let pairs: Vec<_> = sent
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(signature, rpc_signature("POST", &pairs, "base-secret"));
}

/// A metadata service; `v2` says whether tokens are given out and asked for.
fn metadata(v2: bool) -> (Server, Asked) {
    recording(move |request, _| {
        let token = request.header("x-aliyun-ecs-metadata-token");
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/latest/api/token") if v2 => {
                match request.header("x-aliyun-ecs-metadata-token-ttl-seconds") {
                    Some("21600") => Reply::new(200, "t0k"),
                    _ => Reply::new(400, ""),
                }
            }
            ("GET", _) if v2 && token != Some("t0k") => Reply::new(403, ""),
            ("GET", "/latest/meta-data/ram/security-credentials/") => {
                Reply::new(200, "node-role\n")
            }
            ("GET", "/latest/meta-data/ram/security-credentials/node-role") => {
                Reply::new(200, printed("node", NOW + 6 * 3600))
            }
            _ => Reply::new(404, ""),
        }
    })
}

#[tokio::test]
async fn the_role_of_an_instance_with_and_without_tokens() {
    for (v2, requests) in [(true, 3), (false, 3)] {
        let (server, asked) = metadata(v2);
        let (mut around, _) = surroundings(&[]);
        around.metadata_endpoint = server.endpoint.clone();
        let chain = Chain::new(around);
        assert_eq!(chain.get().await.unwrap().access_key_id, "STS.node");
        assert_eq!(chain.source(), Some(Source::EcsRole));
        assert_eq!(asked.lock().unwrap().len(), requests, "{v2}");
    }
    let (server, asked) = metadata(false);
    let (mut around, _) = surroundings(&[("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")]);
    around.metadata_endpoint = server.endpoint.clone();
    Chain::new(around).get().await.unwrap_err();
    assert_eq!(asked.lock().unwrap().len(), 1, "nobody falls back to v1");
    let (server, asked) = metadata(true);
    let (mut around, _) = surroundings(&[("ALIBABA_CLOUD_ECS_METADATA", "node-role")]);
    around.metadata_endpoint = server.endpoint.clone();
    Chain::new(around).get().await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 2, "the name is known");
}

#[tokio::test]
async fn odd_answers_are_errors_not_panics() {
    for (body, said) in [
        ("", "not understood"),
        ("{}", "`Expiration` is missing"),
        ("{\"Code\":\"Failed\"}", "its code is `Failed`"),
        ("[1]", "not understood"),
        (
            "{\"AccessKeyId\":\"a\",\"AccessKeySecret\":\"hush\",\"SecurityToken\":\"t\",\"Expiration\":\"soon\"}",
            "`Expiration` is no time",
        ),
    ] {
        let body = body.to_string();
        let (server, _) = recording(move |_, _| Reply::new(200, body.clone()));
        let (around, _) = surroundings(&[
            ("ALIBABA_CLOUD_CREDENTIALS_URI", &server.endpoint),
            ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
        ]);
        let error = Chain::new(around).get().await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
    let (server, _) = recording(|_, _| Reply::new(200, vec![b' '; 1 << 20]));
    let (around, _) = surroundings(&[
        ("ALIBABA_CLOUD_CREDENTIALS_URI", &server.endpoint),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ]);
    let error = Chain::new(around).get().await.unwrap_err().to_string();
    assert!(error.contains("does not end"), "{error}");
}

/// Keys that live an hour, from an address that can be told to fail.
fn issuer() -> (Server, Asked, Chain, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(NOW));
    let clock = Arc::clone(&now);
    let (server, asked) = recording(move |request, n| match request.path.as_str() {
        "/" => {
            std::thread::sleep(Duration::from_millis(20));
            let now = clock.load(Ordering::SeqCst);
            // Ten minutes of every two hours nobody is there.
            match (now - NOW) % 7200 / 600 {
                5 => Reply::new(503, "{\"Code\":\"ServiceUnavailable\"}"),
                _ => Reply::new(200, printed(&n.to_string(), now + 3600)),
            }
        }
        _ => Reply::new(404, ""),
    });
    let (mut around, _) = surroundings(&[
        ("ALIBABA_CLOUD_CREDENTIALS_URI", &server.endpoint),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ]);
    let clock = Arc::clone(&now);
    around.clock = Clock::from_fn(move || clock.load(Ordering::SeqCst));
    (server, asked, Chain::new(around), now)
}

#[tokio::test]
async fn keys_are_refreshed_before_they_expire() {
    let (_server, asked, chain, now) = issuer();
    let requests = || asked.lock().unwrap().len();
    let first = chain.get().await.unwrap();
    assert_eq!(first.expires_at, Some(NOW + 3600));
    now.store(NOW + 2699, Ordering::SeqCst);
    assert!(Arc::ptr_eq(&chain.get().await.unwrap(), &first));
    assert_eq!(requests(), 1);
    // A quarter of an hour before the end.
    now.store(NOW + 2700, Ordering::SeqCst);
    assert!(!Arc::ptr_eq(&chain.get().await.unwrap(), &first));
    assert_eq!(requests(), 2);
}

#[tokio::test]
async fn old_keys_serve_while_nobody_gives_new_ones() {
    let (_server, asked, chain, now) = issuer();
    let requests = || asked.lock().unwrap().len();
    let first = chain.get().await.unwrap();
    now.store(NOW + 3000, Ordering::SeqCst);
    assert!(Arc::ptr_eq(&chain.get().await.unwrap(), &first));
    assert!(Arc::ptr_eq(&chain.get().await.unwrap(), &first));
    assert_eq!(
        requests(),
        2,
        "a refresh that failed is not tried at every call"
    );
    now.store(NOW + 3000 + 61, Ordering::SeqCst);
    chain.get().await.unwrap();
    assert_eq!(requests(), 3);
    // Half a minute before the end they are not used any more.
    now.store(NOW + 3571, Ordering::SeqCst);
    let error = chain.get().await.unwrap_err().to_string();
    assert!(error.contains("HTTP 503, `ServiceUnavailable`"), "{error}");
    now.store(NOW + 3601, Ordering::SeqCst);
    chain.get().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_ask_at_once_cause_one_request() {
    let (_server, asked, chain, now) = issuer();
    let all_get = || async {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let chain = chain.clone();
                tokio::spawn(async move { chain.get().await.unwrap() })
            })
            .collect();
        let mut got = Vec::new();
        for task in tasks {
            got.push(task.await.unwrap());
        }
        got
    };
    let first = all_get().await;
    assert!(first.iter().all(|keys| Arc::ptr_eq(keys, &first[0])));
    assert_eq!(asked.lock().unwrap().len(), 1);
    first.iter().for_each(|keys| chain.reject(keys));
    all_get().await;
    assert_eq!(asked.lock().unwrap().len(), 2);
    now.store(NOW + 2800, Ordering::SeqCst);
    all_get().await;
    assert_eq!(asked.lock().unwrap().len(), 3);
}
