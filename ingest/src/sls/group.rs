//! Consumer groups: several ingesters share a logstore, and the service says who reads which shard.
//!
//! The service's word settles who *pulls*; who *has* the records settles the lake, for a batch that begins before the
//! lake's checkpoint is refused. So a consumer that lost its lease without knowing cannot double anything, and the
//! service's own checkpoints only follow what was committed.
//!
//! A shard that is taken away stays among those reported as held until its last records are published, and its
//! checkpoint is saved: given up earlier, the next consumer would begin too early.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::calls::Place;
use super::error::{Class, SlsError};
use super::position::Reached;
use super::shard::Message;
use super::shards::{ShardsError, Starting};
use crate::stop::Stop;

/// How long the end of a run waits for its last records to be published.
const CLOSE_MAX: Duration = Duration::from_secs(120);

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// Name of the group.
    pub group: String,
    /// Name of this consumer, another one in each process.
    pub consumer: String,
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Without a heartbeat for so long, the service gives the shards to others.
    pub timeout: Duration,
}

/// What the writer tells whoever looks after the shards.
#[derive(Debug)]
pub(super) enum Control {
    /// Published: how far each shard was read.
    Committed(BTreeMap<u32, Reached>),
    /// Everything that was handed over for these shards before is published, or gone.
    Flushed(Vec<u32>),
    /// Another consumer has read what this one was about to publish: begin anew from the lake.
    Restart(u64),
}

/// One consumer at work.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) starting: Starting,
    pub(super) settings: GroupSettings,
    pub(super) control: UnboundedReceiver<Control>,
    /// Shards reported to the service, closing ones included.
    held: BTreeMap<u32, Held>,
    /// Positions that the lake has and the service was not told yet.
    unsaved: BTreeMap<u32, Reached>,
}

#[derive(Debug)]
struct Held {
    task: Option<JoinHandle<()>>,
    readonly: Arc<AtomicBool>,
    closing: bool,
}

impl Consumer {
    pub(super) fn new(
        starting: Starting,
        settings: GroupSettings,
        control: UnboundedReceiver<Control>,
    ) -> Self {
        Consumer {
            starting,
            settings,
            control,
            held: BTreeMap::new(),
            unsaved: BTreeMap::new(),
        }
    }

    /// Reads what the service assigns, until the run is to end.
    pub(super) async fn run(mut self, stop: Stop) -> Result<(), ShardsError> {
        let worked = tokio::select! {
            worked = self.work() => worked,
            () = stop.stopped() => Ok(()),
        };
        // Even after a failure what was read is published, and the shards are handed back.
        self.close().await;
        worked
    }

    async fn work(&mut self) -> Result<(), ShardsError> {
        let client = self.starting.reading.client.clone();
        let seconds = u32::try_from(self.settings.timeout.as_secs().max(1)).unwrap_or(u32::MAX);
        client.create_group(&self.settings.group, seconds).await?;
        let mut beaten = Instant::now();
        let mut listed: Option<Instant> = None;
        loop {
            if listed.is_none_or(|listed| listed.elapsed() >= self.starting.list_pause) {
                self.list().await?;
                listed = Some(Instant::now());
            }
            match self.beat().await {
                Ok(assigned) => {
                    beaten = Instant::now();
                    self.assign(&assigned).await?;
                }
                // The service does not know this consumer any more: others may hold its shards.
                Err(error) if error.class() == Class::Group => {
                    self.give_up().await;
                    continue;
                }
                Err(error) if matches!(error.class(), Class::Retry | Class::Throttled) => {
                    if beaten.elapsed() > self.settings.timeout + self.settings.heartbeat {
                        self.give_up().await;
                    }
                }
                Err(error) => return Err(error.into()),
            }
            let next = tokio::time::Instant::now() + self.settings.heartbeat;
            while let Ok(control) = tokio::time::timeout_at(next, self.control.recv()).await {
                match control {
                    Some(control) => self.heed(control).await?,
                    None => return Ok(()),
                }
            }
            self.save().await?;
        }
    }

    async fn beat(&self) -> Result<Vec<u32>, SlsError> {
        let held: Vec<u32> = self.held.keys().copied().collect();
        let (client, settings) = (&self.starting.reading.client, &self.settings);
        let beat = client.heartbeat(&settings.group, &settings.consumer, &held);
        // Trying for longer than the lease lasts is of no use.
        match tokio::time::timeout(settings.timeout, beat).await {
            Ok(beaten) => beaten,
            Err(_) => {
                let cause = super::error::Cause::Transport("no heartbeat got through".to_owned());
                Err(client.error("HeartBeat", None, cause))
            }
        }
    }

    /// Learns which shards take nothing more.
    async fn list(&mut self) -> Result<(), ShardsError> {
        for shard in self.starting.reading.client.list_shards().await? {
            if let Some(held) = self.held.get(&shard.id) {
                self.starting.note_readonly(&held.readonly, &shard);
            }
        }
        Ok(())
    }

    async fn assign(&mut self, assigned: &[u32]) -> Result<(), ShardsError> {
        let assigned: BTreeSet<u32> = assigned.iter().copied().collect();
        let mut closing = Vec::new();
        for (shard, held) in &mut self.held {
            if !assigned.contains(shard) && !held.closing {
                held.closing = true;
                end(&mut held.task).await;
                closing.push(*shard);
            }
        }
        if !closing.is_empty() {
            let _ = self.starting.reading.messages.send(Message::Flush(closing));
        }
        let new: Vec<u32> = assigned
            .into_iter()
            .filter(|shard| !self.held.contains_key(shard))
            .collect();
        if !new.is_empty() {
            self.start(new).await?;
        }
        Ok(())
    }

    /// Reads shards from where the lake is.
    async fn start(&mut self, shards: Vec<u32>) -> Result<(), ShardsError> {
        let known = self.starting.known().await?;
        let place = match known.shards.is_empty() {
            true => self.starting.start,
            false => Place::Begin,
        };
        for shard in shards {
            let readonly = Arc::new(AtomicBool::new(false));
            let reached = known.shards.get(&shard).cloned();
            let task = match reached {
                Some(done) if done.done => {
                    // It was read to its end; the service learns that from the checkpoint only.
                    self.unsaved.insert(shard, done);
                    None
                }
                reached => Some(self.starting.spawn(shard, readonly.clone(), reached, place)),
            };
            let held = Held {
                task,
                readonly,
                closing: false,
            };
            self.held.insert(shard, held);
        }
        self.list().await?;
        self.save().await
    }

    async fn heed(&mut self, control: Control) -> Result<(), ShardsError> {
        match control {
            Control::Committed(positions) => {
                self.unsaved.extend(positions);
                self.save().await
            }
            Control::Flushed(shards) => {
                self.save().await?;
                for shard in shards {
                    if self.held.get(&shard).is_some_and(|held| held.closing) {
                        self.held.remove(&shard);
                    }
                }
                Ok(())
            }
            Control::Restart(generation) => {
                self.starting.reading.generation = generation;
                let shards = self.stop_all().await;
                self.start(shards).await
            }
        }
    }

    /// Tells the service how far the lake is. A shard that is another consumer's by now is let go.
    async fn save(&mut self) -> Result<(), ShardsError> {
        for (shard, reached) in std::mem::take(&mut self.unsaved) {
            if !self.held.contains_key(&shard) {
                continue;
            }
            let (client, settings) = (&self.starting.reading.client, &self.settings);
            let (group, consumer) = (&settings.group, &settings.consumer);
            let saved = client
                .save_checkpoint(group, consumer, shard, &reached.cursor)
                .await;
            match saved {
                Ok(()) => {}
                Err(error) if matches!(error.class(), Class::Group | Class::Shard) => {
                    if let Some(mut held) = self.held.remove(&shard) {
                        end(&mut held.task).await;
                    }
                }
                Err(error) if matches!(error.class(), Class::Retry | Class::Throttled) => {
                    self.unsaved.insert(shard, reached);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Stops every task; which shards were not closing.
    async fn stop_all(&mut self) -> Vec<u32> {
        let mut open = Vec::new();
        for (shard, held) in &mut self.held {
            end(&mut held.task).await;
            if !held.closing {
                open.push(*shard);
            }
        }
        self.held.retain(|_, held| held.closing);
        open
    }

    /// The lease is over: others may read these shards. What was read is published if they did not.
    async fn give_up(&mut self) {
        self.stop_all().await;
        self.flush(Duration::from_secs(10)).await;
        self.held.clear();
        self.unsaved.clear();
    }

    /// Has everything published that was handed over.
    async fn flush(&mut self, max: Duration) {
        let until = tokio::time::Instant::now() + max;
        let shards: Vec<u32> = self.held.keys().copied().collect();
        let _ = self.starting.reading.messages.send(Message::Flush(shards));
        while let Ok(Some(control)) = tokio::time::timeout_at(until, self.control.recv()).await {
            match control {
                Control::Committed(positions) => self.unsaved.extend(positions),
                Control::Restart(generation) => self.starting.reading.generation = generation,
                Control::Flushed(_) => break,
            }
        }
    }

    /// Publishes what was read, saves the checkpoints and hands the shards back. What does not succeed is made up for by
    /// whoever reads on: the lake knows.
    async fn close(&mut self) {
        for held in self.held.values_mut() {
            end(&mut held.task).await;
        }
        self.flush(CLOSE_MAX).await;
        let _ = tokio::time::timeout(self.settings.timeout, self.save()).await;
        self.held.clear();
        let _ = tokio::time::timeout(self.settings.heartbeat, self.beat()).await;
    }
}

/// Ends a task and waits until it has: what it hands over comes before anything that is sent now.
async fn end(task: &mut Option<JoinHandle<()>>) {
    if let Some(task) = task.take() {
        task.abort();
        let _ = task.await;
    }
}
