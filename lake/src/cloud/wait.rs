//! Waits for the network in a crate that is otherwise synchronous.

use std::io;
use std::sync::{LazyLock, mpsc};

use tokio::runtime::{Builder, Runtime};

/// Two threads that wait: what is transferred is worked on elsewhere. Lives as long as the process, so that it is never
/// torn down by somebody who is within another runtime.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("lake-io")
        .enable_all()
        .build()
});

/// What a future that was sent off will give.
#[derive(Debug)]
pub(super) struct Pending<T>(mpsc::Receiver<T>);

impl<T> Pending<T> {
    /// Waits for it.
    pub(super) fn wait(self) -> io::Result<T> {
        self.0
            .recv()
            .map_err(|_| io::Error::other("the transfer was given up"))
    }
}

/// Sends a future off.
pub(super) fn send<T, F>(future: F) -> io::Result<Pending<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let runtime = RUNTIME.as_ref();
    let runtime = runtime.map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody may be waiting any more.
        let _ = sender.send(future.await);
    });
    Ok(Pending(receiver))
}

/// Runs a future to its end. Works within another runtime too, which it blocks.
pub(super) fn wait<T, F>(future: F) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    send(future)?.wait()
}
