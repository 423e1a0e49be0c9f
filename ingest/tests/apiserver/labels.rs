//! Since when a pod has its labels, as a real server keeps it in `managedFields`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use flowaudit_ingest::inventory::live::{Recorder, RecorderSettings};
use flowaudit_ingest::kubernetes::Record;
use flowaudit_lake::store::Memory;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::{Lake, read};
use serde_json::json;

use crate::common::Listening;
use crate::scenario::{Cluster, PODS, create_pod, prepare, settings};
use crate::server::Server;

/// The rows of the pod, of a server that is listed once.
fn rows(server: &Server) -> Vec<EndpointRow> {
    let mut settings = settings(server);
    settings.once = true;
    let (taken, ended) = Listening::start(settings).join();
    ended.unwrap();
    let lake = Lake::create_or_open_on(Arc::new(Memory::default())).unwrap();
    let of = RecorderSettings {
        cluster: "real".to_owned(),
        vpc: None,
    };
    let mut recorder = Recorder::open(&lake, &of).unwrap();
    for heard in taken.heard {
        recorder.hear(heard).unwrap();
    }
    recorder.commit(Utc::now().timestamp_micros()).unwrap();
    let mut rows: Vec<EndpointRow> = read::rows(&lake, &lake.snapshot().unwrap()).unwrap();
    rows.retain(|row| row.name == "marked");
    rows.sort_by_key(|row| row.valid_from_us);
    rows
}

#[test]
fn labels_are_as_old_as_the_server_says() {
    let server = Server::start();
    prepare(&server);
    create_pod(&server, "marked", "10.0.0.77");
    let started = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let status = json!({"status": {"containerStatuses": [{
        "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": started}}}]}});
    server.call("PATCH", &format!("{PODS}/marked/status"), &status);
    let labels = |rows: &[EndpointRow]| {
        let labels = rows.iter().map(|row| row.labels.clone().unwrap());
        labels.collect::<Vec<_>>()
    };
    assert_eq!(labels(&rows(&server)), [r#"{"app":"web"}"#]);

    std::thread::sleep(Duration::from_secs(3));
    let before = Utc::now().timestamp_micros();
    let change = json!({"metadata": {"labels": {"app": "db"}}});
    let path = format!("{PODS}/marked?fieldManager=kubectl-label");
    server.call("PATCH", &path, &change);
    std::thread::sleep(Duration::from_secs(3));
    let rows = rows(&server);
    assert_eq!(labels(&rows), ["null", r#"{"app":"db"}"#], "{rows:#?}");
    let of_start = format!(r#""started":["{started}"]"#);
    assert!(rows[0].evidence.contains(&of_start), "{rows:#?}");
    let known = rows[1].valid_from_us;
    assert!((before..before + 2_000_000).contains(&known), "{rows:#?}");
    assert_eq!(rows[0].valid_to_us, Some(known - 1));
}
