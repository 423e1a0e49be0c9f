//! Heartbeats at a pace of their own: whatever else a consumer waits for, the service hears from it in time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::client::Client;
use super::error::{Cause, SlsError};
use super::group::GroupSettings;

/// What the service answered, and when it was asked.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) asked: Instant,
    pub(super) shards: Result<Vec<u32>, SlsError>,
}

/// Tells the service again and again which shards are held.
#[derive(Debug)]
pub(super) struct Heart {
    held: watch::Sender<BTreeSet<u32>>,
    answers: UnboundedReceiver<Answer>,
    at_once: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Heart {
    /// Begins with no shards.
    pub(super) fn start(client: Client, settings: GroupSettings) -> Self {
        let (held, reported) = watch::channel(BTreeSet::new());
        let (sender, answers) = unbounded_channel();
        let at_once = Arc::new(Notify::new());
        let task = tokio::spawn(go_on(client, settings, reported, sender, at_once.clone()));
        Heart {
            held,
            answers,
            at_once,
            task,
        }
    }

    /// These are held from now on.
    pub(super) fn report(&self, shards: impl Iterator<Item = u32>) {
        self.held.send_replace(shards.collect());
    }

    /// Does not wait for the time of the next one.
    pub(super) fn beat_now(&self) {
        self.at_once.notify_one();
    }

    /// The newest answer that was not looked at yet, and when the service last answered as it should, if that is new.
    pub(super) async fn answer(&mut self) -> (Option<Instant>, Option<Answer>) {
        let mut newest = self.answers.recv().await;
        let mut beaten = None;
        while let Some(answer) = &newest {
            if answer.shards.is_ok() {
                beaten = Some(answer.asked);
            }
            match self.answers.try_recv() {
                Ok(answer) => newest = Some(answer),
                Err(_) => break,
            }
        }
        (beaten, newest)
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn go_on(
    client: Client,
    settings: GroupSettings,
    held: watch::Receiver<BTreeSet<u32>>,
    answers: UnboundedSender<Answer>,
    at_once: Arc<Notify>,
) {
    loop {
        let asked = Instant::now();
        let shards: Vec<u32> = held.borrow().iter().copied().collect();
        let shards = beat(&client, &settings, &shards, settings.timeout).await;
        if answers.send(Answer { asked, shards }).is_err() {
            return;
        }
        let pause = settings.heartbeat.saturating_sub(asked.elapsed());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = at_once.notified() => {}
        }
    }
}

/// One heartbeat. Trying for longer than the lease lasts is of no use.
pub(super) async fn beat(
    client: &Client,
    settings: &GroupSettings,
    shards: &[u32],
    patience: Duration,
) -> Result<Vec<u32>, SlsError> {
    let beat = client.heartbeat(&settings.group, &settings.consumer, shards);
    match tokio::time::timeout(patience, beat).await {
        Ok(beaten) => beaten,
        Err(_) => {
            let cause = Cause::Transport("no heartbeat got through".to_owned());
            Err(client.error("HeartBeat", None, cause))
        }
    }
}
