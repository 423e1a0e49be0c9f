//! What a user sees, through the binary: one file per concern.
#![cfg(test)]
#![expect(
    clippy::duplicate_mod,
    reason = "both fakes of `ingest` speak HTTP by one file"
)]

#[path = "../../lake/tests/fake_oss/mod.rs"]
#[expect(dead_code, reason = "a bucket for the binary needs few of its faults")]
mod fake_oss;

mod bad_input;
mod bulk;
mod cloud;
mod demo;
mod environments;
mod explain;
#[expect(dead_code, reason = "the tests of `ingest` use all of the fake")]
#[path = "../../ingest/tests/fake/mod.rs"]
mod fake;
#[expect(dead_code, reason = "the tests of `ingest` use all of the fake")]
#[path = "../../ingest/tests/fake_kube/mod.rs"]
mod fake_kube;
mod identity;
mod inventory_watch;
mod oss;
mod past;
mod policy;
mod running;
mod settings;
mod shipped;
mod sources;
mod text;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use std::io::Write;

use crate::running::Said;

/// A folder of its own for a test, and the binary in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowaudit"));
        command.current_dir(self.dir.path()).args(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("FLOWAUDIT_") || name.starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::from(
            self.command(arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A command that stops at once does not read all of it.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Said::from(output)
    }

    /// Rows of a table as the lake counts them.
    fn rows(&self, table: &str) -> u64 {
        let stats = self.run(&["lake", "stats", "-o", "json"]);
        let stats: serde_json::Value = serde_json::from_str(&stats.out).unwrap();
        let row = stats
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["table"] == table);
        row.unwrap()["rows"].as_u64().unwrap()
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A record in the shape of the log service.
fn record(port: u16) -> String {
    format!(
        r#"{{"version":"1","account-id":"1","eni-id":"eni-1","vm-id":"i-1","vswitch-id":"vsw-1","vpc-id":"vpc-1","type":"IPv4","protocol":"6","srcaddr":"10.0.0.1","srcport":"{port}","dstaddr":"10.0.0.2","dstport":"80","direction":"in","packets":"2","bytes":"80","start":"1795507200","end":"1795507260","log-status":"OK","action":"ACCEPT"}}"#
    ) + "\n"
}
