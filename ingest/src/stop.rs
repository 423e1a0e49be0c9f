//! The threads that wait for the network, and the wish that a run ends: finish what is in hand, publish, leave.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::error::IngestError;

/// Threads to wait in: what comes is worked on elsewhere.
pub(crate) fn runtime() -> Result<Runtime, IngestError> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(IngestError::Runtime)
}

/// Shared by whoever wishes and whoever heeds.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Stop(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Ends the run.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether the run is to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the run is to end.
    pub async fn stopped(&self) {
        // The sender lives in `self`, so the wait can only end with the wish.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

/// Ends the run on SIGTERM and on Ctrl-C.
#[cfg(unix)]
pub(crate) async fn on_signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.stop();
}

/// Ends the run on Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn on_signals(stop: Stop) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.stop();
    }
}
