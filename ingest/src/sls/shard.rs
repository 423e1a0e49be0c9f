//! One shard, read from where the lake is: pull, hand over, go on. What is handed over carries the positions it lies
//! between, so that the writer can publish both together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::mpsc::UnboundedSender;

use super::calls::{Cursor, GROUPS_MAX, Place, Pull};
use super::client::Client;
use super::error::{Class, SlsError};
use super::limits::{Held, Limits};
use super::position::Reached;
use super::unpack::Packing;

/// The time of the position is asked for this often.
const RECEIVED_PAUSE: Duration = Duration::from_secs(10);
/// How often in a row a position may be too old before something else must be wrong.
const EXPIRED_MAX: u32 = 3;

/// What a shard, or whoever looks after it, tells the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// Records between two positions.
    Chunk(Chunk),
    /// A shard cannot be read on.
    Failed(SlsError),
    /// A shard was read to its end, as far as that goes now.
    Idle(u32),
    /// Publish now, and say so for these shards.
    Flush(Vec<u32>),
}

/// Records between two positions of a shard.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) shard: u32,
    /// Of a time before the positions were taken from the lake anew when it is smaller than the writer's.
    pub(super) generation: u64,
    pub(super) from: Reached,
    pub(super) to: Reached,
    /// A checked `LogGroupList`.
    pub(super) list: Vec<u8>,
    /// Number of the cursor of the first log group, where it is known.
    pub(super) first: Option<u64>,
    /// Bytes as they came.
    pub(super) packed_bytes: u64,
    /// Records that the query could not be applied to.
    pub(super) failed_lines: u64,
    /// A stretch that will never be read: from and to, in Unix seconds.
    pub(super) missed: Option<(i64, i64)>,
    /// To be published before anything else happens.
    pub(super) settle: bool,
    /// How far behind the shard is, in seconds.
    pub(super) lag_s: u64,
    /// The memory that `list` holds.
    pub(super) held: Option<Held>,
}

/// How a shard is read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) client: Client,
    pub(super) limits: Arc<Limits>,
    pub(super) messages: UnboundedSender<Message>,
    pub(super) generation: u64,
    pub(super) query: Option<String>,
    pub(super) packing: Packing,
    /// Whether to wait for more at the end.
    pub(super) follow: bool,
    /// Shortens the waits at the end; tests set it below 1.
    pub(super) wait_factor: f64,
}

/// One shard while it is read.
#[derive(Debug)]
pub(super) struct ShardReader {
    pub(super) reading: Reading,
    pub(super) shard: u32,
    pub(super) reached: Reached,
    /// Where to stop, if not at the end.
    pub(super) end: Option<Cursor>,
    /// Whether the service lists the shard as taking nothing more.
    pub(super) readonly: Arc<AtomicBool>,
}

impl ShardReader {
    /// Reads the shard to its end, or for ever. A failure is told to the writer.
    pub(super) async fn run(mut self) {
        let messages = self.reading.messages.clone();
        if let Err(error) = self.read().await {
            // Without a writer there is nobody to tell.
            let _ = messages.send(Message::Failed(error));
        }
    }

    async fn read(&mut self) -> Result<(), SlsError> {
        let client = self.reading.client.clone();
        let limits = self.reading.limits.clone();
        let (mut groups, mut expected, mut expired) = (GROUPS_MAX, 0, 0);
        let mut asked: Option<Instant> = None;
        let mut idle = false;
        loop {
            // Asked before the pull: what comes empty after it is the end.
            let readonly = self.readonly.load(Ordering::Acquire);
            let mut held = limits.memory(expected).await;
            let turn = limits.turn().await;
            let throttled = client.throttled();
            let pull = Pull {
                cursor: &self.reached.cursor,
                end: self.end.as_ref(),
                groups,
                query: self.reading.query.as_deref(),
                packing: self.reading.packing,
                bytes_max: held.bytes(),
            };
            let pulled = client.pull(self.shard, &pull).await;
            drop(turn);
            match client.throttled() > throttled {
                true => limits.throttled(),
                false => limits.went_well(),
            }
            let pulled = match pulled {
                Ok(pulled) => pulled,
                Err(error) if error.is_too_large() && held.bytes() < limits.reply_bytes_max() => {
                    expected = limits.reply_bytes_max();
                    continue;
                }
                Err(error) if error.is_too_large() && groups > 1 => {
                    groups /= 2;
                    continue;
                }
                Err(error) if error.class() == Class::Cursor && expired < EXPIRED_MAX => {
                    expired += 1;
                    drop(held);
                    self.restart().await?;
                    continue;
                }
                Err(error) if error.class() == Class::Shard => {
                    drop(held);
                    return self.gone(error).await;
                }
                Err(error) => return Err(error),
            };
            expired = 0;
            let bytes = pulled.list.len() as u64;
            held.shrink(bytes);
            if bytes > 0 {
                expected = bytes + bytes / 2;
            }
            if pulled.next.is(&self.reached.cursor) {
                drop(held);
                if !std::mem::replace(&mut idle, true) {
                    let _ = self.reading.messages.send(Message::Idle(self.shard));
                }
                if self.at_end(readonly) {
                    return Ok(());
                }
                tokio::time::sleep(self.wait(Duration::from_millis(500))).await;
                continue;
            }
            idle = false;
            let mut to = self.reached.moved(pulled.next);
            if asked.is_none_or(|asked| asked.elapsed() >= RECEIVED_PAUSE) {
                asked = Some(Instant::now());
                to.received = self.received(&to.cursor).await?.unwrap_or(to.received);
            }
            let full = pulled.tally.groups >= u64::from(groups) || bytes >= 4 << 20;
            let pace = match (pulled.tally.groups, bytes) {
                (0..100, 0..0x10_0000) => Duration::from_millis(500),
                (0..500, 0..0x20_0000) => Duration::from_millis(200),
                _ => Duration::from_millis(50),
            };
            let first = pulled
                .last
                .map(|last| (last + 1).saturating_sub(pulled.tally.groups));
            self.hand_over(Chunk {
                list: pulled.list,
                first,
                packed_bytes: pulled.packed_bytes,
                failed_lines: pulled.failed_lines,
                held: Some(held),
                ..self.chunk(to)
            });
            if self.is_at(&self.end) {
                self.at_end(readonly);
                return Ok(());
            }
            if self.reading.follow && !full {
                tokio::time::sleep(self.wait(pace)).await;
            }
        }
    }

    /// Nothing more at present. Whether nothing more will come either, which the lake is then told.
    fn at_end(&mut self, readonly: bool) -> bool {
        if readonly && !self.reached.done {
            // The service learns that the shard is finished from a checkpoint only, even if nothing was read.
            let done = Reached {
                done: true,
                ..self.reached.clone()
            };
            self.hand_over(self.chunk(done));
        }
        readonly || !self.reading.follow
    }

    fn is_at(&self, end: &Option<Cursor>) -> bool {
        let Some(end) = end else { return false };
        let past = self.reached.cursor.number().zip(end.number());
        end.is(&self.reached.cursor) || past.is_some_and(|(at, end)| at >= end)
    }

    /// The position is too old: goes on with the oldest that is still there and says what was missed.
    async fn restart(&mut self) -> Result<(), SlsError> {
        let begin = self.reading.client.cursor(self.shard, Place::Begin).await?;
        let received = self.received(&begin).await?;
        let mut to = self.reached.moved(begin);
        to.received = received.unwrap_or_else(|| Utc::now().timestamp());
        let from = match self.reached.received {
            0 => to.received,
            received => received.min(to.received),
        };
        let missed = Some((from, to.received));
        let chunk = Chunk {
            missed,
            ..self.chunk(to)
        };
        self.hand_over(chunk);
        Ok(())
    }

    /// The service does not know the shard: its records outlived their time, or something else is wrong.
    async fn gone(&mut self, error: SlsError) -> Result<(), SlsError> {
        let shards = self.reading.client.list_shards().await?;
        if shards.iter().any(|shard| shard.id == self.shard) {
            return Err(error);
        }
        let now = Utc::now().timestamp();
        let from = match self.reached.received {
            0 => now,
            received => received.min(now),
        };
        let to = Reached {
            done: true,
            received: now,
            at: self.reached.at.saturating_add(1),
            ..self.reached.clone()
        };
        let chunk = Chunk {
            missed: Some((from, now)),
            ..self.chunk(to)
        };
        self.hand_over(chunk);
        Ok(())
    }

    /// When the record at a cursor was received, where the service still knows.
    async fn received(&self, cursor: &Cursor) -> Result<Option<i64>, SlsError> {
        match self.reading.client.cursor_time(self.shard, cursor).await {
            Ok(time) => Ok(Some(time)),
            Err(error) if matches!(error.class(), Class::Cursor | Class::Shard) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Nothing but a new position.
    fn chunk(&self, to: Reached) -> Chunk {
        let lag = Utc::now().timestamp() - to.received;
        Chunk {
            shard: self.shard,
            generation: self.reading.generation,
            from: self.reached.clone(),
            to,
            list: Vec::new(),
            first: None,
            packed_bytes: 0,
            failed_lines: 0,
            missed: None,
            settle: false,
            lag_s: u64::try_from(lag).unwrap_or_default(),
            held: None,
        }
    }

    fn hand_over(&mut self, chunk: Chunk) {
        self.reached = chunk.to.clone();
        // Without a writer the task is about to be ended.
        let _ = self.reading.messages.send(Message::Chunk(chunk));
    }

    fn wait(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.reading.wait_factor)
    }
}

/// The first position of a shard that the lake does not know, and a message that has it kept.
pub(super) async fn first(
    reading: &Reading,
    shard: u32,
    place: Place,
) -> Result<Reached, SlsError> {
    let client = &reading.client;
    let cursor = client.cursor(shard, place).await?;
    let received = match client.cursor_time(shard, &cursor).await {
        Ok(time) => time,
        Err(error) if error.class() == Class::Cursor => 0,
        Err(error) => return Err(error),
    };
    let reached = Reached::first(cursor, received);
    let _ = reading.messages.send(Message::Chunk(Chunk {
        shard,
        generation: reading.generation,
        from: reached.clone(),
        to: reached.clone(),
        list: Vec::new(),
        first: None,
        packed_bytes: 0,
        failed_lines: 0,
        missed: None,
        // Asked again after a crash, the end would be somewhere else.
        settle: place == Place::End,
        lag_s: 0,
        held: None,
    }));
    Ok(reached)
}
