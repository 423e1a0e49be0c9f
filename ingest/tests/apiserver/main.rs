//! The API of a real cluster: kube-apiserver over etcd, on loopback, as the last word on what the fake says.
//!
//! Needs both programs, so it is not part of a plain `cargo test`: `make test-kube` installs and builds them (`tests/kube/build`) and
//! runs this.
#![cfg(test)]

#[path = "../kubernetes/common.rs"]
#[expect(dead_code, reason = "the tests against the fake use all of it")]
mod common;
#[expect(
    dead_code,
    reason = "nothing here but the shared helpers knows the fake"
)]
#[path = "../fake_kube/mod.rs"]
mod fake_kube;
#[path = "../kubernetes/history.rs"]
mod history;
mod labels;
#[path = "../kubernetes/scenario.rs"]
mod scenario;
#[expect(dead_code, reason = "the tests of the binary log in otherwise, too")]
mod server;
mod ways_in;

use crate::server::Server;

#[test]
fn the_story_against_a_real_server() {
    scenario::tell(&mut Server::start());
}

#[test]
fn the_lake_says_what_was_done_to_a_real_server() {
    history::tell(&mut Server::start());
}
