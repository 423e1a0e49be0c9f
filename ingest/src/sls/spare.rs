//! Memory of replies that were taken over, for the replies to come: to touch memory for the first time costs more than
//! to unpack into it.

use std::sync::{Mutex, PoisonError};

/// What is kept, in bytes.
const BYTES_MAX: usize = 32 << 20;

/// Buffers that nobody needs now.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    /// One that was used before, or a new one.
    pub(super) fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Keeps a buffer if there is room for it.
    pub(super) fn keep(&self, buffer: Vec<u8>) {
        let mut spares = self.lock();
        let kept: usize = spares.iter().map(Vec::capacity).sum();
        if kept.saturating_add(buffer.capacity()) <= BYTES_MAX {
            spares.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // Buffers are as good as before whatever happened to the thread that held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_used_again() {
        let spares = Spares::default();
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
