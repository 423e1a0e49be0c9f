//! Which shards are read, each by a task of its own: all that the service lists ([`read_all`]). Parents that were split
//! or merged are read to their end, their children from their beginning.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowaudit_lake::{Lake, LakeError};
use tokio::task::{JoinHandle, JoinSet};

use super::calls::{Place, Shard};
use super::error::{Class, SlsError};
use super::position::Reached;
use super::shard::{Message, Reading, ShardReader, first};
use crate::stop::Stop;

/// What starting a shard needs to know.
#[derive(Debug, Clone)]
pub(super) struct Starting {
    pub(super) lake: Lake,
    pub(super) source: String,
    pub(super) reading: Reading,
    /// Where a logstore begins that was never read.
    pub(super) start: Place,
    /// Reads up to what was received before this, in Unix seconds.
    pub(super) until: Option<i64>,
    /// The list of shards is asked for this often.
    pub(super) list_pause: Duration,
}

/// Why shards cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShardsError {
    #[error(transparent)]
    Sls(#[from] SlsError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error("the lake could not be asked: the run ends")]
    Ended,
    #[error("shard {shard} of `{source_name}` was last read by a newer version of flowaudit")]
    Newer { source_name: String, shard: u32 },
}

/// How far a logstore was read before.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) shards: BTreeMap<u32, Reached>,
}

impl Starting {
    /// What the lake knows now.
    pub(super) async fn known(&self) -> Result<Known, ShardsError> {
        let starting = self.clone();
        // The lake waits in its own ways.
        let known = tokio::task::spawn_blocking(move || starting.read_lake()).await;
        known.unwrap_or(Err(ShardsError::Ended))
    }

    fn read_lake(&self) -> Result<Known, ShardsError> {
        let snapshot = self.lake.snapshot()?;
        let mut shards = BTreeMap::new();
        for (name, position) in snapshot.checkpoints().shards(&self.source) {
            let Ok(shard) = name.parse() else { continue };
            let reached = Reached::read(position).ok_or_else(|| ShardsError::Newer {
                source_name: self.source.clone(),
                shard,
            })?;
            shards.insert(shard, reached);
        }
        Ok(Known { shards })
    }

    /// Reads one shard from where the lake is, or from its beginning.
    pub(super) async fn read(
        self,
        shard: u32,
        readonly: Arc<AtomicBool>,
        known: Option<Reached>,
        place: Place,
    ) -> Result<(), SlsError> {
        // Hundreds of shards begin at once; they ask by turns.
        let turn = self.reading.limits.turn().await;
        let reached = match known {
            Some(reached) => reached,
            None => first(&self.reading, shard, place).await?,
        };
        let client = &self.reading.client;
        let place = match (self.reading.follow, self.until) {
            (true, _) => None,
            (false, None) => Some(Place::End),
            (false, Some(until)) => Some(Place::Received(until)),
        };
        let end = match place {
            None => None,
            Some(place) => match client.cursor(shard, place).await {
                Ok(end) => Some(end),
                // The service forgot the shard, which the reader finds out about and has kept.
                Err(error) if error.class() == Class::Shard => None,
                Err(error) => return Err(error),
            },
        };
        drop(turn);
        let reader = ShardReader {
            reading: self.reading.clone(),
            shard,
            reached,
            end,
            readonly,
        };
        reader.run().await;
        Ok(())
    }

    /// The same as a task; a failure is told to the writer.
    pub(super) fn spawn(
        &self,
        shard: u32,
        readonly: Arc<AtomicBool>,
        known: Option<Reached>,
        place: Place,
    ) -> JoinHandle<()> {
        tokio::spawn(self.clone().task(shard, readonly, known, place))
    }

    async fn task(
        self,
        shard: u32,
        readonly: Arc<AtomicBool>,
        known: Option<Reached>,
        place: Place,
    ) {
        let messages = self.reading.messages.clone();
        if let Err(error) = self.read(shard, readonly, known, place).await {
            // Without a writer there is nobody to tell.
            let _ = messages.send(Message::Failed(error));
        }
    }

    /// How far a shard was read, and whether that is all: one that takes more again is another of the same number, as after
    /// its logstore was made anew.
    pub(super) fn reached(known: &Known, id: u32, takes_more: bool) -> Option<Reached> {
        let reached = known.shards.get(&id)?;
        Some(Reached {
            done: reached.done && !takes_more,
            ..reached.clone()
        })
    }

    /// Whether the service lists a shard as taking nothing more, kept where its task sees it. A run up to a time does
    /// not care: what it reaches is not the end of the shard.
    pub(super) fn note_readonly(&self, flag: &AtomicBool, shard: &Shard) {
        if shard.is_readonly() && self.until.is_none() {
            flag.store(true, Ordering::Release);
        }
    }
}

/// Reads all shards: up to now, or for ever, with those that come into being.
pub(super) async fn read_all(starting: Starting, stop: Stop) -> Result<(), ShardsError> {
    let known = starting.known().await?;
    // In a logstore that was read before a new shard is the child of an old one.
    let place = match known.shards.is_empty() {
        true => starting.start,
        false => Place::Begin,
    };
    let mut tasks = JoinSet::new();
    let mut started: BTreeMap<u32, Arc<AtomicBool>> = BTreeMap::new();
    let mut place = place;
    loop {
        let listed = tokio::select! {
            listed = starting.reading.client.list_shards() => listed?,
            () = stop.stopped() => break,
        };
        for shard in &listed {
            if let Some(readonly) = started.get(&shard.id) {
                starting.note_readonly(readonly, shard);
                continue;
            }
            let readonly = Arc::new(AtomicBool::new(false));
            starting.note_readonly(&readonly, shard);
            started.insert(shard.id, readonly.clone());
            let reached = Starting::reached(&known, shard.id, shard.takes_more());
            if !reached.as_ref().is_some_and(|reached| reached.done) {
                tasks.spawn(starting.clone().task(shard.id, readonly, reached, place));
            }
        }
        // Shards that the service forgot are found out about by reading them.
        for (shard, reached) in &known.shards {
            if !reached.done && !started.contains_key(shard) {
                let readonly = Arc::new(AtomicBool::new(false));
                started.insert(*shard, readonly.clone());
                tasks.spawn(
                    starting
                        .clone()
                        .task(*shard, readonly, Some(reached.clone()), place),
                );
            }
        }
        place = Place::Begin;
        if !starting.reading.follow {
            tokio::select! {
                () = all_ended(&mut tasks) => {}
                () = stop.stopped() => {}
            }
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(starting.list_pause) => {}
            () = async { all_ended(&mut tasks).await; std::future::pending().await } => {}
            () = stop.stopped() => break,
        }
    }
    tasks.shutdown().await;
    Ok(())
}

/// Waits for the tasks. One that panicked is a mistake of ours, and no reason to read on without its shard.
async fn all_ended(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
