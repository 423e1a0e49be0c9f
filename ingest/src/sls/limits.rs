//! How much is held and how many pulls are under way: memory is a fixed budget, parallelism follows the service.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The budget is handed out in units of this many bytes.
const UNIT_BYTES: u64 = 1024;
/// No reply is planned for less: the first one of a shard is not known.
const REPLY_BYTES_MIN: u64 = 4 << 20;
/// Pulls under way at first, and at most.
const PULLS_FIRST: f64 = 4.0;
const PULLS_MAX: f64 = 64.0;

/// What replies that wait for the writer may hold, and how many may be under way.
#[derive(Debug)]
pub(super) struct Limits {
    memory: Arc<Semaphore>,
    /// The most that one reply may hold, in bytes.
    reply_bytes_max: u64,
    pulls: Mutex<Pulls>,
    changed: Notify,
}

#[derive(Debug)]
struct Pulls {
    under_way: usize,
    /// Grows by one per round of pulls that went well, halves when the service throttles.
    allowed: f64,
}

/// Memory that a reply holds until it was taken over.
#[derive(Debug)]
pub(super) struct Held {
    permit: OwnedSemaphorePermit,
}

impl Held {
    /// Gives back what the reply does not need.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let excess = self
            .permit
            .num_permits()
            .saturating_sub(units(bytes) as usize);
        drop(self.permit.split(excess));
    }

    /// How much this is, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.permit.num_permits() as u64 * UNIT_BYTES
    }
}

/// A pull under way.
#[derive(Debug)]
pub(super) struct Turn<'l>(&'l Limits);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.changed.notify_one();
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES))
        .unwrap_or(u32::MAX)
        .max(1)
}

impl Limits {
    /// A budget for replies, in bytes. One of them may take a quarter.
    pub(super) fn new(bytes: u64) -> Self {
        let bytes = bytes.clamp(REPLY_BYTES_MIN, 1 << 36);
        Limits {
            memory: Arc::new(Semaphore::new(units(bytes) as usize)),
            reply_bytes_max: (bytes / 4).clamp(REPLY_BYTES_MIN, 256 << 20).min(bytes),
            pulls: Mutex::new(Pulls {
                under_way: 0,
                allowed: PULLS_FIRST,
            }),
            changed: Notify::new(),
        }
    }

    /// The most that one reply may hold, in bytes.
    pub(super) fn reply_bytes_max(&self) -> u64 {
        self.reply_bytes_max
    }

    /// Memory for a reply that is expected to be about as large as `expected`; waits until there is some.
    pub(super) async fn memory(&self, expected: u64) -> Held {
        let bytes = expected.clamp(REPLY_BYTES_MIN, self.reply_bytes_max);
        loop {
            // The semaphore is never closed; were it, waiting would be all that could be done.
            match self.memory.clone().acquire_many_owned(units(bytes)).await {
                Ok(permit) => return Held { permit },
                Err(_) => std::future::pending::<()>().await,
            }
        }
    }

    /// Waits for a turn to pull.
    pub(super) async fn turn(&self) -> Turn<'_> {
        loop {
            let changed = self.changed.notified();
            {
                let mut pulls = self.lock();
                if (pulls.under_way as f64) < pulls.allowed.floor() {
                    pulls.under_way += 1;
                    return Turn(self);
                }
            }
            changed.await;
        }
    }

    /// A pull went well; one more may be under way after a whole round of such.
    pub(super) fn went_well(&self) {
        let mut pulls = self.lock();
        pulls.allowed = (pulls.allowed + 1.0 / pulls.allowed).min(PULLS_MAX);
        drop(pulls);
        self.changed.notify_one();
    }

    /// The service throttled: half as many.
    pub(super) fn throttled(&self) {
        let mut pulls = self.lock();
        pulls.allowed = (pulls.allowed / 2.0).max(1.0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pulls> {
        // Numbers are sound whatever happened to the thread that held the lock.
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_a_fixed_budget() {
        let limits = Limits::new(32 << 20);
        assert_eq!(limits.reply_bytes_max(), 8 << 20);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(limits.memory(1 << 40).await);
        }
        assert_eq!(held[0].bytes(), 8 << 20);
        assert_eq!(limits.memory.available_permits(), 0);
        held[0].shrink(1 << 20);
        assert_eq!(limits.memory.available_permits(), 7 << 10);
        held.clear();
        assert_eq!(limits.memory.available_permits(), 32 << 10);
    }

    #[tokio::test]
    async fn parallelism_grows_slowly_and_halves_at_once() {
        let limits = Limits::new(1 << 30);
        let allowed = || limits.lock().allowed;
        for _ in 0..2000 {
            limits.went_well();
        }
        assert!(allowed() > 50.0 && allowed() <= PULLS_MAX);
        limits.throttled();
        assert!(allowed() <= 32.0);
        for _ in 0..20 {
            limits.throttled();
        }
        assert_eq!(allowed(), 1.0);
        let turn = limits.turn().await;
        assert_eq!(limits.lock().under_way, 1);
        drop(turn);
        assert_eq!(limits.lock().under_way, 0);
    }
}
