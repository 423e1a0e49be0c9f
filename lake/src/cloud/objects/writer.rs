//! Who writes a stage, so that others on the same machine can tell whether it still lives.

use serde::{Deserialize, Serialize};

/// One process, as far as it can be told apart from all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writer {
    /// The run of the machine's kernel.
    boot: Option<String>,
    /// The namespace in which `pid` means something.
    pids: Option<String>,
    pid: u32,
    /// When the process began, in ticks since the kernel did: numbers of processes are used again.
    started: Option<String>,
    /// Tells stores within one process apart.
    store: u64,
}

impl Writer {
    /// This process.
    pub(super) fn of_process(store: u64) -> Self {
        let pid = std::process::id();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let pids = std::fs::read_link("/proc/self/ns/pid").ok();
        Self {
            boot: boot.map(|boot| boot.trim().to_string()),
            pids: pids.map(|pids| pids.display().to_string()),
            pid,
            started: started(pid),
            store,
        }
    }

    /// Whether another writer is surely dead. What runs elsewhere cannot be seen from here.
    pub(super) fn sees_dead(&self, other: &Self) -> bool {
        let here = self.boot.is_some()
            && self.boot == other.boot
            && self.pids.is_some()
            && self.pids == other.pids;
        if !here || other.started.is_none() {
            return false;
        }
        // Of our own store we know which stages live, and this is not one of them.
        self == other || started(other.pid) != other.started
    }
}

/// When a process began; `None` when there is none, or one that has ended and waits to be noticed.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?;
    (state != "Z" && state != "X").then(|| started.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_and_the_dead() {
        let ours = Writer::of_process(1);
        assert!(ours.sees_dead(&ours), "its own stages are known");
        let beside = Writer {
            store: 2,
            ..ours.clone()
        };
        assert!(!ours.sees_dead(&beside), "another store of this process");
        let before = Writer {
            started: Some("0".to_string()),
            ..beside.clone()
        };
        assert!(ours.sees_dead(&before), "this number was another process");
        for elsewhere in [
            Writer {
                boot: Some("other".to_string()),
                ..before.clone()
            },
            Writer {
                pids: Some("pid:[0]".to_string()),
                ..before.clone()
            },
            Writer {
                boot: None,
                ..before.clone()
            },
            Writer {
                started: None,
                ..before.clone()
            },
        ] {
            assert!(!ours.sees_dead(&elsewhere), "{elsewhere:?}");
        }
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let other = Writer {
            pid: child.id(),
            started: started(child.id()),
            ..beside
        };
        assert!(!ours.sees_dead(&other));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ours.sees_dead(&other));
    }
}
