//! A store that fails at the n-th call, so that "killed at any instant" is a loop.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Put, ReadAt, Sink, Stage, Store, StoreError};
use crate::layout::BatchId;

/// How a [`FailAt`] fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The process dies before the call does anything: this call and all later ones fail.
    KilledBefore,
    /// The process dies after the call did its work: this call and all later ones fail.
    KilledAfter,
    /// The call fails without doing anything, later ones succeed.
    Once(ErrorKind),
    /// The call does its work and yet fails, as after a lost answer; later ones succeed.
    OnceAfter(ErrorKind),
}

/// Wraps a store and fails at its n-th call, counted over the store and everything it hands out.
#[derive(Debug, Clone)]
pub struct FailAt<S> {
    store: S,
    plan: Plan,
}

#[derive(Debug, Clone)]
struct Plan {
    failure: Failure,
    at: u64,
    calls: Arc<AtomicU64>,
}

impl<S: Store> FailAt<S> {
    /// Fails at call number `at`, counted from 0.
    pub fn new(store: S, at: u64, failure: Failure) -> Self {
        let calls = Arc::new(AtomicU64::new(0));
        Self {
            store,
            plan: Plan { failure, at, calls },
        }
    }

    /// Whether the failing call was reached.
    pub fn has_failed(&self) -> bool {
        self.plan.calls.load(Ordering::SeqCst) > self.plan.at
    }
}

impl Plan {
    fn call<T>(
        &self,
        action: &'static str,
        place: &str,
        call: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fail = |kind| Err(StoreError::new(action, place, io::Error::from(kind)));
        let dead = ErrorKind::ConnectionAborted;
        match self.failure {
            Failure::KilledBefore if number >= self.at => fail(dead),
            Failure::KilledAfter if number > self.at => fail(dead),
            Failure::KilledAfter if number == self.at => call().and_then(|_| fail(dead)),
            Failure::Once(kind) if number == self.at => fail(kind),
            Failure::OnceAfter(kind) if number == self.at => call().and_then(|_| fail(kind)),
            _ => call(),
        }
    }

    fn wrap(&self, stage: Box<dyn Stage>) -> Box<dyn Stage> {
        Box::new(FailingStage {
            stage,
            plan: self.clone(),
        })
    }
}

impl<S: Store> Store for FailAt<S> {
    fn name(&self) -> String {
        self.store.name()
    }

    fn is_fresh(&self) -> Result<bool, StoreError> {
        self.plan.call("look at", "", || self.store.is_fresh())
    }

    fn get(&self, key: &str, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.plan
            .call("read", key, || self.store.get(key, max_bytes))
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        self.plan
            .call("create", key, || self.store.put_if_absent(key, bytes))
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, StoreError> {
        self.plan
            .call("list", prefix, || self.store.list(prefix, after))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.plan.call("delete", key, || self.store.delete(key))
    }

    fn open(&self, key: &str) -> Result<Box<dyn ReadAt>, StoreError> {
        self.plan.call("open", key, || self.store.open(key))
    }

    fn stage(&self, batch: &BatchId) -> Result<Box<dyn Stage>, StoreError> {
        let stage = self
            .plan
            .call("create", "stage", || self.store.stage(batch))?;
        Ok(self.plan.wrap(stage))
    }

    fn knows_the_dead(&self) -> bool {
        self.store.knows_the_dead()
    }

    fn orphans(&self) -> Result<Vec<Box<dyn Stage>>, StoreError> {
        let stages = self.plan.call("list", "stages", || self.store.orphans())?;
        Ok(stages
            .into_iter()
            .map(|stage| self.plan.wrap(stage))
            .collect())
    }
}

#[derive(Debug)]
struct FailingStage {
    stage: Box<dyn Stage>,
    plan: Plan,
}

impl Stage for FailingStage {
    fn batch(&self) -> &BatchId {
        self.stage.batch()
    }

    fn create(&mut self, key: &str) -> Result<Box<dyn Sink>, StoreError> {
        let stage = &mut self.stage;
        let sink = self.plan.call("create", key, || stage.create(key))?;
        let (plan, key) = (self.plan.clone(), key.to_string());
        Ok(Box::new(FailingSink { sink, plan, key }))
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let stage = &mut self.stage;
        self.plan.call("sync", "stage", || stage.seal())
    }

    fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.plan.call("list", "stage", || self.stage.keys())
    }

    /// One call for each key, so that dying between two of them is tried too.
    fn reveal(&mut self, keys: &[String]) -> Result<(), StoreError> {
        let stage = &mut self.stage;
        let mut keys = keys.iter();
        keys.try_for_each(|key| {
            self.plan
                .call("publish", key, || stage.reveal(std::slice::from_ref(key)))
        })
    }

    fn discard(self: Box<Self>) -> Result<(), StoreError> {
        let stage = self.stage;
        self.plan.call("remove", "stage", || stage.discard())
    }
}

struct FailingSink {
    sink: Box<dyn Sink>,
    plan: Plan,
    key: String,
}

impl Write for FailingSink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let sink = &mut self.sink;
        let result = self.plan.call("write", &self.key, || {
            sink.write_all(buffer)
                .map_err(|source| StoreError::new("write", &self.key, source))
        });
        result.map(|()| buffer.len()).map_err(|error| error.source)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Sink for FailingSink {
    fn finish(&mut self) -> Result<u64, StoreError> {
        let sink = &mut self.sink;
        self.plan.call("sync", &self.key, || sink.finish())
    }
}
