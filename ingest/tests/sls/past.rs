//! The past of a cluster from its audit logstore and its event centre.

use flowaudit_ingest::IngestError;
use flowaudit_ingest::inventory::ImportSettings;
use flowaudit_ingest::inventory::past::rebuild::{Logstore, RebuildSettings, rebuild};
use flowaudit_ingest::sls::unpack::Packing;
use flowaudit_lake::read;
use flowaudit_lake::table::endpoints::EndpointRow;
use serde_json::{Value, json};

use crate::common::{Place, RECEIVED, client};
use crate::fake::records;

fn time(second: i64, us: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros((RECEIVED + second) * 1_000_000 + us).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn pod(number: i64, second: i64, is_finished: bool) -> Value {
    let (started, finished) = (time(second, 0), time(second + 300, 0));
    let state = match is_finished {
        true => json!({"terminated": {"startedAt": started, "finishedAt": finished}}),
        false => json!({"running": {"startedAt": started}}),
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": format!("web-{number}"), "uid": format!("u{number}"), "labels": {"app": "web"},
            "creationTimestamp": time(second - 5, 0)},
        "spec": {"nodeName": "n1"},
        "status": {"phase": if is_finished { "Succeeded" } else { "Running" }, "podIP": "10.0.3.7", "containerStatuses": [{"state": state}]},
    })
}

/// As the log service keeps an event: every value is text.
fn audit(
    number: i64,
    second: i64,
    verb: &str,
    subresource: &str,
    body: &Value,
) -> Vec<(&'static str, String)> {
    let reference = json!({"resource": "pods", "namespace": "shop", "name": format!("web-{number}"), "subresource": subresource});
    vec![
        ("level", "RequestResponse".to_owned()),
        ("auditID", format!("{number}-{second}")),
        ("stage", "ResponseComplete".to_owned()),
        ("verb", verb.to_owned()),
        ("requestURI", "/".to_owned()),
        ("user", r#"{"username":"system:node:n1"}"#.to_owned()),
        ("objectRef", reference.to_string()),
        ("responseStatus", r#"{"metadata":{},"code":200}"#.to_owned()),
        ("requestObject", r#"{"gracePeriodSeconds":0}"#.to_owned()),
        ("responseObject", body.to_string()),
        ("requestReceivedTimestamp", time(second, 1_000)),
        ("stageTimestamp", time(second, 4_000)),
    ]
}

fn event(number: i64, second: i64) -> Vec<(&'static str, String)> {
    let event = json!({
        "metadata": {"name": format!("web-{number}.{:x}", (RECEIVED + second) * 1_000_000_000 + 250_000_000), "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": format!("web-{number}"), "uid": format!("u{number}")},
        "reason": "AllocIPSucceed", "message": "Alloc IP 10.0.3.7/24 took 35ms",
        "firstTimestamp": time(second, 0), "lastTimestamp": time(second, 0), "count": 1,
    });
    vec![
        ("level", "Normal".to_owned()),
        ("eventId", format!("{event:#}")),
    ]
}

/// Pods that follow each other at one address every ten minutes, for five hours.
fn place() -> Place {
    let place = Place::new(3);
    let mut world = place.fake.world();
    for number in 0..30 {
        let second = number * 600;
        let running = audit(
            number,
            second + 1,
            "patch",
            "status",
            &pod(number, second, false),
        );
        let gone = audit(
            number,
            second + 303,
            "delete",
            "",
            &pod(number, second, true),
        );
        for (record, at) in [
            (event(number, second - 1), second),
            (running, second + 2),
            (gone, second + 330),
        ] {
            world.put(&records::group(&[record], 0), RECEIVED + at);
        }
    }
    drop(world);
    place
}

fn settings(from_s: i64) -> RebuildSettings {
    RebuildSettings {
        cluster: ImportSettings::default(),
        from_s: RECEIVED + from_s,
        to_s: RECEIVED + 6 * 3600,
        now_s: RECEIVED + 7 * 3600,
    }
}

fn logstore(place: &Place) -> Logstore {
    Logstore {
        client: client(&place.fake),
        query: None,
        packing: Packing::Lz4,
    }
}

fn rows(place: &Place) -> Vec<EndpointRow> {
    let mut rows: Vec<EndpointRow> =
        read::rows(&place.lake, &place.lake.snapshot().unwrap()).unwrap();
    rows.sort_by_key(|row| row.valid_from_us);
    rows
}

#[test]
fn the_past_is_read_from_all_shards_in_order() {
    let place = place();
    let mut told = Vec::new();
    let (summary, read) = rebuild(
        &place.lake,
        &[logstore(&place)],
        &settings(-60),
        &mut |at| told.push(at.reached_s),
    )
    .unwrap();
    assert_eq!((read.entries, read.missed), (90, 0));
    assert_eq!((summary.past.writes, summary.past.allocations), (60, 30));
    assert_eq!(told.last(), Some(&(RECEIVED + 6 * 3600 + 900)));
    assert!(told.is_sorted());
    let rows = rows(&place);
    assert_eq!(rows.len(), 30);
    for (number, row) in rows.iter().enumerate() {
        let second = RECEIVED + number as i64 * 600;
        assert_eq!(row.name, format!("web-{number}"));
        assert_eq!(row.valid_from_us, second * 1_000_000 - 750_000);
        assert_eq!(row.valid_to_us, Some((second + 300) * 1_000_000));
        assert_eq!(row.to_slack_ms, Some(3_001));
        assert!(
            row.evidence.contains(r#""by":["audit"]"#)
                && row.evidence.contains(r#""dated_by":["event"]"#)
        );
    }
    // Again, and again with more than is there.
    for from_s in [-60, -7_200] {
        let (again, _) = rebuild(
            &place.lake,
            &[logstore(&place)],
            &settings(from_s),
            &mut |_| {},
        )
        .unwrap();
        assert_eq!(again.commit, None);
    }
}

#[test]
fn two_stretches_are_the_same_as_one() {
    let place = place();
    for (from_s, to_s) in [(9_000, 6 * 3600), (-60, 9_000)] {
        let part = RebuildSettings {
            to_s: RECEIVED + to_s,
            ..settings(from_s)
        };
        rebuild(&place.lake, &[logstore(&place)], &part, &mut |_| {}).unwrap();
    }
    let in_two = rows(&place);
    let whole = self::place();
    rebuild(
        &whole.lake,
        &[logstore(&whole)],
        &settings(-60),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(in_two, rows(&whole));
}

#[test]
fn what_cannot_be_asked_is_an_error_and_changes_nothing() {
    let place = place();
    place.fake.world().account.secret = "another".into();
    let error = rebuild(
        &place.lake,
        &[logstore(&place)],
        &settings(-60),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(matches!(error, IngestError::Sls(_)), "{error}");
    assert_eq!(rows(&place), []);
}
