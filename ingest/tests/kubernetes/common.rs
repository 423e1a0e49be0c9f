//! A fake with a watch on it, and what the watch heard.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowaudit_ingest::inventory::live::Heard;
use flowaudit_ingest::kubernetes::{
    Event, LeaseSettings, Login, Record, Tuning, WatchSettings, WatchSummary, watch,
};
use flowaudit_ingest::{IngestError, Stop};
use flowaudit_lake::LakeError;
use flowaudit_lake::store::StoreError;
use serde_json::{Value, json};

use crate::fake_kube::{FakeKube, TOKEN};

/// A fake, and a folder with a kubeconfig for it.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) fake: FakeKube,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
            fake: FakeKube::start(),
        };
        place.write_kubeconfig(&json!({"token": TOKEN}));
        place
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A kubeconfig whose user logs in like this.
    pub(crate) fn write_kubeconfig(&self, user: &Value) {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u", "namespace": "audit"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.fake.url()}}],
            "users": [{"name": "u", "user": user}],
        });
        std::fs::write(self.kubeconfig(), kubeconfig.to_string()).unwrap();
    }

    /// Settings that lose no time.
    pub(crate) fn quick(&self) -> WatchSettings {
        WatchSettings {
            login: Login {
                kubeconfig: Some(self.kubeconfig()),
                context: None,
            },
            every: Duration::from_millis(100),
            lease: None,
            tuning: Tuning {
                page_objects: 100,
                answer_idle: Duration::from_secs(5),
                watch_idle: Duration::from_millis(1_500),
                watch_length: Duration::from_secs(60),
                resume_within: Duration::from_secs(1),
                wait_first: Duration::from_millis(10),
                wait_max: Duration::from_millis(200),
                forbidden_pause: Duration::from_millis(200),
                forbidden_at_first: Duration::from_secs(1),
                discovery_pause: Duration::from_millis(300),
                unauthorized_max: Duration::from_secs(20),
                login_max: Duration::from_secs(20),
                outage_max: Duration::from_secs(20),
                lake_max: Duration::from_secs(20),
            },
            ..WatchSettings::default()
        }
    }

    pub(crate) fn watch(&self) -> Listening {
        Listening::start(self.quick())
    }

    /// Creates an object and gives it as the server has it.
    pub(crate) fn create(&self, plural: &str, object: Value) -> Value {
        let mut world = self.fake.world();
        let resource = world.resource(plural);
        world.create(resource, object)
    }

    pub(crate) fn patch(&self, plural: &str, namespace: &str, name: &str, patch: &Value) {
        let mut world = self.fake.world();
        let resource = world.resource(plural);
        world.patch(resource, namespace, name, patch).unwrap();
    }

    pub(crate) fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let mut world = self.fake.world();
        let resource = world.resource(plural);
        world.delete(resource, namespace, name).unwrap();
    }

    pub(crate) fn pods(&self, range: std::ops::Range<u32>) {
        for n in range {
            self.create("pods", pod(&format!("web-{n}"), n));
        }
    }

    /// Requests that were made so far and hold all of these texts.
    pub(crate) fn requests(&self, texts: &[&str]) -> usize {
        let world = self.fake.world();
        let all = world.requests.iter();
        all.filter(|line| texts.iter().all(|text| line.contains(text)))
            .count()
    }

    /// Lists of a kind that were asked for, first pages only.
    pub(crate) fn lists(&self, plural: &str) -> usize {
        let path = format!("/{plural}?");
        self.requests(&[&path, "limit="]) - self.requests(&[&path, "continue="])
    }

    /// Watches of a kind that were asked for.
    pub(crate) fn watches(&self, plural: &str) -> usize {
        self.requests(&[&format!("/{plural}?"), "watch=true"])
    }
}

pub(crate) fn lease(identity: &str) -> LeaseSettings {
    LeaseSettings {
        identity: identity.to_owned(),
        duration: Duration::from_secs(2),
        renew_within: Duration::from_secs(1),
        pause: Duration::from_millis(100),
        ..LeaseSettings::default()
    }
}

/// A running pod.
pub(crate) fn pod(name: &str, n: u32) -> Value {
    let addr = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
    json!({
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "podIP": addr, "podIPs": [{"ip": addr}]}
    })
}

/// What was recorded and told so far.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) heard: Vec<Heard>,
    /// How much of it was committed.
    pub(crate) committed: usize,
    pub(crate) told: Vec<String>,
    /// Whether the lake has no room.
    pub(crate) is_full: bool,
    /// Commits that were tried meanwhile.
    pub(crate) refused: usize,
}

struct Recording(Arc<Mutex<Taken>>);

impl Record for Recording {
    fn hear(&mut self, heard: Heard) -> Result<(), LakeError> {
        self.0.lock().unwrap().heard.push(heard);
        Ok(())
    }

    fn commit(&mut self, _: i64) -> Result<Option<u64>, LakeError> {
        let mut taken = self.0.lock().unwrap();
        if taken.is_full {
            taken.refused += 1;
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(StoreError::new("write", "part.parquet", full).into());
        }
        let is_new = taken.committed < taken.heard.len();
        taken.committed = taken.heard.len();
        Ok(is_new.then_some(1))
    }
}

/// A watch that runs.
pub(crate) struct Listening {
    pub(crate) stop: Stop,
    taken: Arc<Mutex<Taken>>,
    thread: JoinHandle<Result<WatchSummary, IngestError>>,
}

impl Listening {
    pub(crate) fn start(settings: WatchSettings) -> Listening {
        let taken = Arc::new(Mutex::new(Taken::default()));
        let stop = Stop::default();
        let (for_run, stopping) = (taken.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let telling = for_run.clone();
            let mut open = || Ok(Box::new(Recording(for_run.clone())) as Box<dyn Record>);
            let mut events = |event: Event<'_>| {
                if !matches!(event, Event::Committed(_)) {
                    telling.lock().unwrap().told.push(format!("{event:?}"));
                }
            };
            watch(&mut open, &settings, &mut events, &stopping)
        });
        Listening {
            stop,
            taken,
            thread,
        }
    }

    pub(crate) fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap()
    }

    /// Whether the lake has room from now on.
    pub(crate) fn full(&self, is_full: bool) {
        self.taken().is_full = is_full;
    }

    /// Waits until this is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, so: impl Fn(&Taken) -> bool) {
        until(what, || so(&self.taken()));
    }

    /// The same of what may take longer.
    #[track_caller]
    pub(crate) fn until_within(&self, most: Duration, what: &str, so: impl Fn(&Taken) -> bool) {
        until_within(most, what, || so(&self.taken()));
    }

    /// Waits until every kind was listed.
    #[track_caller]
    pub(crate) fn until_listed(&self, kinds: usize) {
        self.until("all kinds are listed", |taken| {
            let ends = taken.heard.iter();
            ends.filter(|heard| matches!(heard, Heard::ListEnded { .. }))
                .count()
                >= kinds
        });
    }

    pub(crate) fn end(self) -> (Taken, Result<WatchSummary, IngestError>) {
        self.stop.stop();
        self.join()
    }

    /// Waits for it to end by itself.
    pub(crate) fn join(self) -> (Taken, Result<WatchSummary, IngestError>) {
        let ended = self.thread.join().unwrap();
        let taken = std::mem::take(&mut *self.taken.lock().unwrap());
        (taken, ended)
    }
}

#[track_caller]
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    until_within(Duration::from_secs(60), what, so);
}

#[track_caller]
fn until_within(most: Duration, what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < most, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What was heard of one kind, in short.
pub(crate) fn short(taken: &Taken, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    for heard in &taken.heard {
        let (of, text) = match heard {
            Heard::ListBegun { kind, .. } => (kind.kind.clone(), "list".to_owned()),
            Heard::ListEnded { kind, .. } => (kind.kind.clone(), "end".to_owned()),
            Heard::Listed { object } => (object.kind.clone(), format!("is {}", object.name)),
            Heard::Applied { object, .. } => (object.kind.clone(), format!("put {}", object.name)),
            Heard::Deleted { object, .. } => (object.kind.clone(), format!("del {}", object.name)),
            Heard::Lost { kind, .. } => (kind.kind.clone(), "lost".to_owned()),
            Heard::Progress { .. } | Heard::Waited { .. } => continue,
        };
        if of == kind {
            found.push(text);
        }
    }
    found
}
