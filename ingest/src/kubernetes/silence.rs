//! Whether what comes after a silence happened now, or stood in line while the connection stalled.
//!
//! A network that drops packets for a while delivers later what was said meanwhile, in a burst, and nothing marks it. So what comes when nothing
//! had come for some time is taken to have waited, unless a time written in it says that it is new; and so is all that follows, until something
//! new comes, or nothing does for a moment.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use flowaudit_rules::kubernetes;
use serde::Deserialize;

use crate::inventory::sighting::latest_time;

/// Times are cut to the second.
const CUT_US: i64 = 1_000_000;

/// What is to be made of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    /// As what came before it: as it happens, or in line with others that had waited.
    AsBefore,
    /// As it happens: the others that had waited have all come.
    Now,
    /// It may have waited for as long as nothing came.
    Late,
}

/// How long nothing came.
#[derive(Debug)]
pub(super) struct Silence {
    /// After less than this nothing has waited.
    most: Duration,
    /// When the last line came, or the connection was known to work.
    last: Instant,
    /// It was broken off in a silence.
    was_silent: bool,
    has_waited: bool,
}

impl Silence {
    pub(super) fn new(most: Duration) -> Silence {
        Silence {
            most,
            last: Instant::now(),
            was_silent: false,
            has_waited: false,
        }
    }

    /// There is a new connection: what was said before comes at once, and late.
    pub(super) fn connected(&mut self) {
        self.was_silent = self.has_waited || self.last.elapsed() > self.most;
        self.heard();
    }

    /// Everything up to now was said.
    pub(super) fn heard(&mut self) {
        self.last = Instant::now();
        self.has_waited = false;
    }

    /// Nothing came for a moment: what had waited has all come.
    pub(super) fn over(&mut self) {
        (self.was_silent, self.has_waited) = (false, false);
    }

    /// Whether what came last had waited.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// A line comes at `at`, microseconds since the epoch.
    pub(super) fn comes(&mut self, line: &[u8], at: i64) -> Comes {
        let silent = std::mem::replace(&mut self.last, Instant::now()).elapsed();
        let may_be_late = silent > self.most || std::mem::take(&mut self.was_silent);
        if !may_be_late && !self.has_waited {
            return Comes::AsBefore;
        }
        let most = i64::try_from(self.most.as_micros()).unwrap_or(i64::MAX);
        let is_new = newest(line).is_some_and(|newest| at.saturating_sub(newest) <= most + CUT_US);
        match (is_new, std::mem::replace(&mut self.has_waited, !is_new)) {
            (true, true) => Comes::Now,
            (true, false) => Comes::AsBefore,
            // Told once.
            (false, true) if !may_be_late => Comes::AsBefore,
            (false, _) => Comes::Late,
        }
    }
}

#[derive(Deserialize)]
struct Event {
    object: Part,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    managed_fields: Vec<Managed>,
}

#[derive(Deserialize)]
struct Managed {
    time: Option<DateTime<Utc>>,
}

/// The latest time at which something is said to have happened, microseconds since the epoch. When it is to be deleted lies ahead.
fn newest(line: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(line).ok()?;
    let event = serde_json::from_str::<Event>(text).ok()?;
    let managed = event.object.metadata.managed_fields.into_iter();
    let managed = managed.filter_map(|managed| Some(managed.time?.timestamp_micros()));
    let watch = kubernetes::read_watch("", text);
    let told = watch
        .events
        .iter()
        .filter_map(|event| latest_time(&event.object));
    managed.chain(told).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_507_200_000_000;

    /// Something written so many seconds ago.
    fn line(ago: i64) -> Vec<u8> {
        let time = |ago: i64| {
            DateTime::from_timestamp_micros(NOW - ago * CUT_US).map(|at| at.to_rfc3339())
        };
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": "shop", "name": "p", "uid": "p", "creationTimestamp": time(9_000),
                "deletionTimestamp": time(-30), "managedFields": [{"manager": "x", "time": time(ago)}]},
            "spec": {"podSelector": {}},
        });
        json!({"type": "MODIFIED", "object": object})
            .to_string()
            .into_bytes()
    }

    fn silence(most_ms: u64) -> Silence {
        Silence::new(Duration::from_millis(most_ms))
    }

    #[test]
    fn what_comes_after_a_silence_is_new_only_by_its_own_word() {
        let mut busy = silence(60_000);
        assert_eq!(busy.comes(&line(5_000), NOW), Comes::AsBefore);
        let mut quiet = silence(4);
        let pause = || std::thread::sleep(Duration::from_millis(8));
        let most = |silence: &mut Silence| silence.most = Duration::from_secs(4);
        pause();
        assert_eq!(quiet.comes(&line(5_000), NOW), Comes::Late);
        most(&mut quiet);
        assert!(quiet.has_waited());
        assert_eq!(quiet.comes(&line(60), NOW), Comes::AsBefore, "told once");
        assert!(quiet.has_waited());
        assert_eq!(quiet.comes(&line(1), NOW), Comes::Now);
        assert!(!quiet.has_waited());
        assert_eq!(quiet.comes(&line(60), NOW), Comes::AsBefore);
        quiet.most = Duration::from_millis(4);
        pause();
        assert_eq!(
            quiet.comes(&line(0), NOW),
            Comes::AsBefore,
            "new after a silence"
        );
        pause();
        assert_eq!(
            quiet.comes(b"{\"type\":\"BOOKMARK\",\"object\":{}}", NOW),
            Comes::Late
        );
        quiet.over();
        assert!(!quiet.has_waited());
    }

    #[test]
    fn a_connection_that_broke_off_in_a_silence_brings_what_had_waited() {
        let mut silence = silence(4);
        std::thread::sleep(Duration::from_millis(8));
        silence.connected();
        silence.most = Duration::from_secs(4);
        assert_eq!(silence.comes(&line(60), NOW), Comes::Late);
        // It worked up to its end.
        silence.heard();
        silence.connected();
        assert_eq!(silence.comes(&line(60), NOW), Comes::AsBefore);
        // Nothing had waited.
        silence.most = Duration::from_millis(4);
        std::thread::sleep(Duration::from_millis(8));
        silence.connected();
        silence.over();
        silence.most = Duration::from_secs(4);
        assert_eq!(silence.comes(&line(60), NOW), Comes::AsBefore);
    }
}
