//! Memory of replies that were taken over, for the replies to come: to touch memory for the first time costs more than
//! to unpack into it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Buffers that nobody needs now.
#[derive(Debug, Default)]
pub(super) struct Spares {
    buffers: Mutex<Vec<Vec<u8>>>,
    /// What is kept at most, in bytes; nothing before it is set.
    bytes_max: AtomicUsize,
}

impl Spares {
    /// Keeps so many bytes from now on.
    pub(super) fn allow(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// One that was used before, or a new one.
    pub(super) fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Keeps a buffer if there is room for it.
    pub(super) fn keep(&self, buffer: Vec<u8>) {
        let mut spares = self.lock();
        let kept: usize = spares.iter().map(Vec::capacity).sum();
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        // Those without memory are worth nothing, and would be kept without end.
        let bytes = buffer.capacity();
        if bytes > 0 && kept.saturating_add(bytes) <= bytes_max {
            spares.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // Buffers are as good as before whatever happened to the thread that held the lock.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_used_again() {
        const BYTES_MAX: usize = 3 << 20;
        let spares = Spares::default();
        spares.keep(Vec::with_capacity(1));
        spares.allow(BYTES_MAX);
        spares.keep(Vec::new());
        assert_eq!(spares.lock().len(), 0);
        assert_eq!(spares.take().capacity(), 0);
        for _ in 0..5 {
            spares.keep(Vec::with_capacity(BYTES_MAX / 3));
        }
        assert_eq!(spares.lock().len(), 3);
        assert_eq!(spares.take().capacity(), BYTES_MAX / 3);
        spares.keep(Vec::with_capacity(BYTES_MAX));
        assert_eq!(spares.lock().len(), 2);
    }
}
