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
use super::error::Class;
use super::heartbeat::{Heart, beat};
use super::position::Reached;
use super::shard::Message;
use super::shards::{ShardsError, Starting};
use crate::stop::Stop;

/// How often in a row the service may not know a consumer that begins anew before something else must be wrong.
const REFUSALS_MAX: u32 = 5;
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
    /// Shards that take more, as they were listed last.
    open: BTreeSet<u32>,
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
            open: BTreeSet::new(),
        }
    }

    /// Reads what the service assigns, until the run is to end.
    pub(super) async fn run(mut self, stop: Stop) -> Result<(), ShardsError> {
        let client = self.starting.reading.client.clone();
        let seconds = u32::try_from(self.settings.timeout.as_secs().max(1)).unwrap_or(u32::MAX);
        tokio::select! {
            made = client.create_group(&self.settings.group, seconds) => made?,
            () = stop.stopped() => return Ok(()),
        }
        let mut heart = Heart::start(client, self.settings.clone());
        let worked = tokio::select! {
            worked = self.work(&mut heart, seconds) => worked,
            () = stop.stopped() => Ok(()),
        };
        // Even after a failure what was read is published, and the shards are handed back.
        self.close(heart).await;
        worked
    }

    async fn work(&mut self, heart: &mut Heart, seconds: u32) -> Result<(), ShardsError> {
        let client = self.starting.reading.client.clone();
        let lease = self.settings.timeout + self.settings.heartbeat;
        let (mut beaten, mut refusals) = (Instant::now(), 0);
        let mut next_list = tokio::time::Instant::now();
        loop {
            tokio::select! {
                (when, answer) = heart.answer() => {
                    // The task ends only with the runtime.
                    let Some(answer) = answer else { return Ok(()) };
                    beaten = when.unwrap_or(beaten);
                    match answer.shards {
                        Ok(assigned) => {
                            refusals = 0;
                            self.see_that_all_live().await;
                            self.assign(&assigned).await?;
                        }
                        // The service does not know this consumer any more, or not even the group: others may hold its shards.
                        Err(error) if error.class() == Class::Group => {
                            refusals += 1;
                            if refusals > REFUSALS_MAX {
                                return Err(error.into());
                            }
                            self.give_up().await;
                            heart.report([].into_iter());
                            if error.is_group_gone() {
                                client.create_group(&self.settings.group, seconds).await?;
                            }
                            if refusals == 1 {
                                heart.beat_now();
                            }
                        }
                        Err(error) if matches!(error.class(), Class::Retry | Class::Throttled) => {
                            if beaten.elapsed() > lease {
                                self.give_up().await;
                            }
                        }
                        Err(error) => return Err(error.into()),
                    }
                    self.save().await?;
                }
                control = self.control.recv() => match control {
                    Some(control) => self.heed(control).await?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(next_list) => {
                    self.list().await?;
                    next_list = tokio::time::Instant::now() + self.starting.list_pause;
                }
            }
            heart.report(self.held.keys().copied());
        }
    }

    /// A task that panicked is a mistake of ours, and no reason to go on without its shard.
    async fn see_that_all_live(&mut self) {
        for held in self.held.values_mut() {
            let ended = held.task.take_if(|task| task.is_finished());
            let Some(ended) = ended else { continue };
            if let Err(error) = ended.await
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Learns which shards take nothing more. Heartbeats and checkpoints do not wait for it.
    async fn list(&mut self) -> Result<(), ShardsError> {
        let client = self.starting.reading.client.clone();
        let listed = match tokio::time::timeout(self.settings.heartbeat, client.list_shards()).await
        {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) if !matches!(error.class(), Class::Retry | Class::Throttled) => {
                return Err(error.into());
            }
            // It is asked for again before long.
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        let open = listed.iter().filter(|shard| shard.takes_more());
        self.open = open.map(|shard| shard.id).collect();
        for shard in listed {
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
        self.list().await?;
        let known = self.starting.known().await?;
        let place = match known.shards.is_empty() {
            true => self.starting.start,
            false => Place::Begin,
        };
        for shard in shards {
            let readonly = Arc::new(AtomicBool::new(false));
            let takes_more = self.open.contains(&shard);
            let reached = Starting::reached(&known, shard, takes_more);
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

    /// Tells the service how far the lake is. A shard that is another consumer's by now is let go. What does not get
    /// through in time is told later: the lake knows.
    async fn save(&mut self) -> Result<(), ShardsError> {
        let until = tokio::time::Instant::now() + self.settings.heartbeat;
        let (client, settings) = (self.starting.reading.client.clone(), self.settings.clone());
        let (group, consumer) = (&settings.group, &settings.consumer);
        for (shard, reached) in std::mem::take(&mut self.unsaved) {
            if !self.held.contains_key(&shard) {
                continue;
            }
            let save = client.save_checkpoint(group, consumer, shard, &reached.cursor);
            match tokio::time::timeout_at(until, save).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if matches!(error.class(), Class::Group | Class::Shard) => {
                    if let Some(mut held) = self.held.remove(&shard) {
                        end(&mut held.task).await;
                    }
                }
                Ok(Err(error)) if !matches!(error.class(), Class::Retry | Class::Throttled) => {
                    return Err(error.into());
                }
                Ok(Err(_)) | Err(_) => drop(self.unsaved.insert(shard, reached)),
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
    async fn close(&mut self, heart: Heart) {
        for held in self.held.values_mut() {
            end(&mut held.task).await;
        }
        self.flush(CLOSE_MAX).await;
        let _ = self.save().await;
        self.held.clear();
        drop(heart);
        let (client, settings) = (&self.starting.reading.client, &self.settings);
        let _ = beat(client, settings, &[], settings.heartbeat).await;
    }
}

/// Ends a task and waits until it has: what it hands over comes before anything that is sent now.
async fn end(task: &mut Option<JoinHandle<()>>) {
    if let Some(task) = task.take() {
        task.abort();
        let _ = task.await;
    }
}
