//! `ingest --source` through the binary, against the fake log service.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fake::{self, ENDPOINT, Fake, LOGSTORE, PROJECT, records};
use crate::{Place, Said};

const SETTINGS: &str = "sources:
  prod:
    sls:
      endpoint: ENDPOINT
      project: PROJECT
      logstore: LOGSTORE
      proxy: PROXY
      insecure: true
";

fn settings(fake: &Fake) -> String {
    SETTINGS
        .replace("ENDPOINT", ENDPOINT)
        .replace("PROJECT", PROJECT)
        .replace("LOGSTORE", LOGSTORE)
        .replace("PROXY", &fake.proxy())
}

fn with_records(records: u64) -> Fake {
    let fake = Fake::start(3);
    for group in records::groups(0..records, 50) {
        fake.world().put(&group, 1_764_000_000);
    }
    fake
}

fn command(place: &Place, arguments: &[&str]) -> Command {
    let account = fake::account();
    let mut command = place.command(arguments);
    command
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", account.id)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", account.secret)
        .env_remove("ALIBABA_CLOUD_SECURITY_TOKEN");
    command
}

fn run(place: &Place, arguments: &[&str]) -> Said {
    Said::from(command(place, arguments).output().unwrap())
}

#[test]
fn a_source_is_read_up_to_now_and_again() {
    let (place, fake) = (Place::new(), with_records(2000));
    place.write("flowaudit.yaml", settings(&fake));
    let said = run(&place, &["ingest", "--source", "prod"]);
    said.check(
        0,
        &["2,000 records: 2,000 flows, 0 gaps, 0 rejects, 0 duplicates"],
    );
    assert!(
        said.out
            .starts_with("2,000 records from `prod` (3 shards, 1 batch): 2,000 flows"),
        "{}",
        said.out
    );
    assert_eq!(place.rows("flows"), 2000);
    let again = run(
        &place,
        &["ingest", "--source", "prod", "--once", "-o", "json"],
    );
    again.check(0, &[]);
    let report: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(
        (report["records"].as_u64(), report["shards"].as_u64()),
        (Some(0), Some(3))
    );
}

#[test]
fn a_followed_source_ends_with_a_last_batch_when_it_is_told_to() {
    let (place, fake) = (Place::new(), with_records(2000));
    place.write("flowaudit.yaml", settings(&fake));
    let mut child: Child = command(
        &place,
        &["ingest", "--source", "prod", "--follow", "-o", "json"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    let begun = Instant::now();
    // Everything is pulled and waits for its batch.
    while fake
        .world()
        .calls
        .get("PullLogs")
        .is_none_or(|pulls| *pulls < 8)
    {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is pulled"
        );
        assert_eq!(child.try_wait().unwrap(), None, "it is to go on");
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
    assert_eq!(place.rows("flows"), 2000);
}

#[test]
fn bad_settings_name_the_cause_and_the_remedy() {
    let fake = with_records(50);
    let good = settings(&fake);
    for (settings, code, words) in [
        (
            good.replace("prod:", "other:"),
            2,
            &["there is no source `prod`", "names other"][..],
        ),
        (
            String::new(),
            2,
            &["there is no source `prod`", "docs/sls.md"],
        ),
        (
            good.replace("insecure: true", "insecure: false"),
            2,
            &["is http", "--insecure"],
        ),
        (
            good.replace("project:", "projct:"),
            2,
            &["flowaudit.yaml:5: unknown field `projct`"],
        ),
        (
            good.replace("project: ", "project: other-"),
            3,
            &["ProjectNotExist", "`project`", "region"],
        ),
        (
            good.replace("cn-hangzhou", "cn-beijing"),
            3,
            &["ProjectNotExist", "`endpoint`"],
        ),
        (
            good.replace("logstore: ", "logstore: other-"),
            3,
            &["LogStoreNotExist", "`logstore`"],
        ),
        (
            format!("{good}      memory: 1MiB\n"),
            2,
            &["is too little", "64MiB"],
        ),
        (
            format!("{good}      start: never\n"),
            2,
            &["is no place to start"],
        ),
        (
            format!("{good}      consumer-group: all\n"),
            2,
            &["shared by the consumer group `all`", "--follow"],
        ),
        (
            format!("{good}      consumer-group: Bad\n"),
            2,
            &["consumer group `Bad` is no name"],
        ),
    ] {
        let place = Place::new();
        place.write("flowaudit.yaml", &settings);
        let said = run(&place, &["ingest", "--source", "prod"]);
        said.check(code, &[&["error: ", " help: "], words].concat());
        assert_eq!(said.out, "");
    }
    let place = Place::new();
    place.write("flowaudit.yaml", &good);
    fake.world().denied = Some("log:ListShards".to_owned());
    let said = run(&place, &["ingest", "--source", "prod"]);
    said.check(
        3,
        &[
            "denied by sts or ram, action: log:ListShards",
            "docs/ram/sls-read.json",
        ],
    );
    let said = Said::from(
        place
            .command(&["ingest", "--source", "prod"])
            .env("HOME", place.path("nobody"))
            .env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
            .env_remove("ALIBABA_CLOUD_ACCESS_KEY_ID")
            .output()
            .unwrap(),
    );
    said.check(3, &["no credentials", "ALIBABA_CLOUD_ACCESS_KEY_ID"]);
    for arguments in [
        &["ingest"][..],
        &["ingest", "x", "--source", "prod"],
        &["ingest", "x", "--follow"],
    ] {
        assert_eq!(place.run(arguments).code, 2);
    }
}
