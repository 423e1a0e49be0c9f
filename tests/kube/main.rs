//! The binary and a real API server: kube-apiserver over etcd, on loopback.
//!
//! Needs both programs, so it is not part of a plain `cargo test`: `make test-kube` installs and builds them (`tests/kube/build`) and
//! runs this.
#![cfg(test)]

mod chain;
#[path = "../../ingest/tests/kubernetes/common.rs"]
#[expect(dead_code, reason = "the tests against the fake use all of it")]
mod common;
#[expect(
    dead_code,
    reason = "nothing here but the shared helpers knows the fake"
)]
#[path = "../../ingest/tests/fake_kube/mod.rs"]
mod fake_kube;
mod in_cluster;
mod lives;
mod questions;
#[path = "../it/running.rs"]
mod running;
#[expect(dead_code, reason = "the story is told by the tests of the library")]
#[path = "../../ingest/tests/kubernetes/scenario.rs"]
mod scenario;
#[path = "../../ingest/tests/apiserver/server.rs"]
mod server;
mod story;

use std::path::Path;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::{Lake, LakeError, read};

/// What the lake knows of pods.
fn pods(lake: &Path) -> Vec<EndpointRow> {
    let Ok(lake) = Lake::open(lake) else {
        return Vec::new();
    };
    loop {
        let mut rows = match read::rows::<EndpointRow>(&lake, &lake.snapshot().unwrap()) {
            Ok(rows) => rows,
            // A newer commit has replaced it meanwhile.
            Err(LakeError::Stale { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        rows.retain(|row| row.kind == "pod");
        return rows;
    }
}
