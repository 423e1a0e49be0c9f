//! One shard, read from where the lake is: pull, hand over, go on. What is handed over carries the positions it lies
//! between, so that the writer can publish both together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::mpsc::UnboundedSender;

use super::calls::{GROUPS_MAX, Place, Pull, Pulled};
use super::client::Client;
use super::contradiction::Contradiction;
use super::cursor::Cursor;
use super::cut::{Part, PartMax, cut};
use super::error::{Cause, Class, SlsError};
use super::limits::{Held, Limits};
use super::position::Reached;
use super::unpack::Packing;

/// The time of the position is asked for this often.
const RECEIVED_PAUSE: Duration = Duration::from_secs(10);
/// Where the service does not say it by then, the time stays unknown: it is worth less than the records.
const RECEIVED_PATIENCE: Duration = Duration::from_secs(10);
/// A pull that is tried for longer gives its turn and its memory to other shards, and begins anew behind them.
const PULL_MAX: Duration = Duration::from_secs(120);
/// How often in a row a position may be too old before something else must be wrong.
const EXPIRED_MAX: u32 = 3;
/// How often in a row nothing more may be said to be there, before the end that the service names.
const EARLY_ENDS_MAX: u32 = 8;

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
    pub(super) list: Arc<Vec<u8>>,
    /// The records of it that are meant; `None` all of them.
    pub(super) part: Option<Part>,
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
    /// A reply with more is handed over in parts.
    pub(super) part_max: PartMax,
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
        let (mut groups, mut expected) = (GROUPS_MAX, 0);
        let (mut expired, mut early_ends) = (0, 0);
        // As many as come in time.
        let mut in_time = GROUPS_MAX;
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
                groups: groups.min(in_time),
                query: self.reading.query.as_deref(),
                packing: self.reading.packing,
                bytes_max: held.bytes(),
            };
            let pulling = client.pull(self.shard, &pull);
            let pulled = match client.gives_up() {
                true => pulling.await,
                false => {
                    let max = self.wait(PULL_MAX);
                    let Ok(pulled) = tokio::time::timeout(max, pulling).await else {
                        in_time = (pull.groups / 2).max(1);
                        drop((turn, held));
                        tokio::time::sleep(self.wait(Duration::from_secs(5))).await;
                        continue;
                    };
                    pulled
                }
            };
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
                    tokio::time::sleep(self.wait(Duration::from_millis(500))).await;
                    continue;
                }
                Err(error) if error.class() == Class::Shard => {
                    drop(held);
                    return self.gone(error).await;
                }
                Err(error) if error.contradiction() == Some(Contradiction::Leaps) => {
                    // What lay there may have outlived its time, which is told and kept as a gap.
                    drop(held);
                    let begin = client.cursor(self.shard, Place::Begin).await?;
                    let numbers = begin.number().zip(self.reached.cursor.number());
                    if numbers.is_none_or(|(begin, at)| begin <= at) {
                        return Err(error);
                    }
                    self.restart_at(begin).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            expired = 0;
            let asked_groups = groups.min(in_time);
            in_time = in_time.saturating_mul(2).min(GROUPS_MAX);
            let bytes = pulled.list.len() as u64;
            held.shrink(bytes);
            if bytes > 0 {
                let both = bytes + pulled.packed_bytes;
                expected = both + both / 2;
            }
            if pulled.next.is(&self.reached.cursor) {
                drop(held);
                if !std::mem::replace(&mut idle, true) {
                    let _ = self.reading.messages.send(Message::Idle(self.shard));
                }
                match self.at_end(readonly).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    // Machines of the service may know more than others.
                    Err(error) if error.contradiction().is_some() => {
                        early_ends += 1;
                        if early_ends >= EARLY_ENDS_MAX {
                            return Err(error);
                        }
                    }
                    Err(error) => return Err(error),
                }
                let pause = Duration::from_millis(500) * (1 + early_ends);
                tokio::time::sleep(self.wait(pause)).await;
                continue;
            }
            (idle, early_ends) = (false, 0);
            let mut received = None;
            if asked.is_none_or(|asked| asked.elapsed() >= RECEIVED_PAUSE) {
                asked = Some(Instant::now());
                received = self.received(&pulled.next).await;
            }
            let full = pulled.tally.groups >= u64::from(asked_groups) || bytes >= 4 << 20;
            let pace = match (pulled.tally.groups, bytes) {
                (0..100, 0..0x10_0000) => Duration::from_millis(500),
                (0..500, 0..0x20_0000) => Duration::from_millis(200),
                _ => Duration::from_millis(50),
            };
            self.hand_over_all(pulled, received, held)?;
            if self.is_at_end() {
                return match self.at_end(readonly).await {
                    // More came before the shard was split: the next run reads it.
                    Err(error) if error.contradiction().is_some() => Ok(()),
                    ended => ended.map(drop),
                };
            }
            if self.reading.follow && !full {
                tokio::time::sleep(self.wait(pace)).await;
            }
        }
    }

    /// Hands over what was pulled: at once, or in parts where it is very much or some of it was read before.
    fn hand_over_all(
        &mut self,
        pulled: Pulled,
        received: Option<i64>,
        held: Held,
    ) -> Result<(), SlsError> {
        let query = self.reading.query.clone();
        let query = query.as_deref();
        let known = self.reached.records_within(query);
        let (logs, max) = (pulled.tally.logs, self.reading.part_max);
        let mut parts = Vec::new();
        if known > 0 || logs > max.records || pulled.list.len() > max.bytes {
            let cut = cut(&pulled.list, known, max);
            parts = cut.map_err(|malformed| {
                let client = &self.reading.client;
                client.error("PullLogs", Some(self.shard), malformed.into())
            })?;
        }
        let list = Arc::new(pulled.list);
        let first = pulled.last;
        let first = first.map(|last| last.saturating_add(1).saturating_sub(pulled.tally.groups));
        // The last part goes to the cursor, those before it to somewhere after the one before.
        let last = match parts.pop() {
            None if known > 0 => Some(Part::default()),
            last => last,
        };
        let mut records = known;
        for part in parts {
            records += part.records;
            self.hand_over(Chunk {
                list: list.clone(),
                first,
                part: Some(part),
                ..self.chunk(self.reached.moved_within(records, query))
            });
        }
        let mut to = self.reached.moved(pulled.next);
        if let Some(left) = known.checked_sub(logs).filter(|left| *left > 0) {
            // The reply is shorter than the one it was read in.
            let at = to.at;
            to = Reached {
                at,
                ..to.moved_within(left, query)
            };
        }
        to.received = received.unwrap_or(to.received);
        self.hand_over(Chunk {
            list,
            first,
            part: last,
            packed_bytes: pulled.packed_bytes,
            failed_lines: pulled.failed_lines,
            held: Some(held),
            ..self.chunk(to)
        });
        Ok(())
    }

    /// Nothing more at present, or not what is asked for. Whether nothing more will come either, which the lake is then
    /// told. An error where the service contradicts that: what it does not show now would never be read.
    async fn at_end(&mut self, readonly: bool) -> Result<bool, SlsError> {
        if readonly && !self.reached.done {
            let client = &self.reading.client;
            match client.cursor(self.shard, Place::End).await {
                Ok(end) => self.check_end(&end)?,
                // Its records outlived their time just now.
                Err(error) if error.class() == Class::Shard => {}
                Err(error) => return Err(error),
            }
            // The service learns that the shard is finished from a checkpoint only, even if nothing was read.
            let done = Reached {
                done: true,
                ..self.reached.clone()
            };
            self.hand_over(self.chunk(done));
        }
        if let (false, Some(end)) = (readonly, &self.end) {
            self.check_end(end)?;
        }
        Ok(readonly || !self.reading.follow)
    }

    /// Whether the shard was read up to this end, as far as numbers tell.
    fn check_end(&self, end: &Cursor) -> Result<(), SlsError> {
        match self.reached.cursor.number().zip(end.number()) {
            Some((at, end)) if at < end => {
                let cause = Cause::Contradiction(
                    Contradiction::EndsEarly { at, end },
                    "unknown".to_owned(),
                );
                Err(self
                    .reading
                    .client
                    .error("PullLogs", Some(self.shard), cause))
            }
            _ => Ok(()),
        }
    }

    fn is_at_end(&self) -> bool {
        let Some(end) = &self.end else { return false };
        let past = self.reached.cursor.number().zip(end.number());
        end.is(&self.reached.cursor) || past.is_some_and(|(at, end)| at >= end)
    }

    /// The position is too old: goes on with the oldest that is still there and says what was missed.
    async fn restart(&mut self) -> Result<(), SlsError> {
        let client = &self.reading.client;
        let begin = client.cursor(self.shard, Place::Begin).await?;
        let numbers = begin.number().zip(self.reached.cursor.number());
        if let Some((_, at)) = numbers.filter(|(begin, at)| begin <= at) {
            let end = client.cursor(self.shard, Place::End).await?;
            if end.number().is_some_and(|end| at <= end) {
                // It is there, by the service's own word: nothing to jump over, nor to read twice.
                return Ok(());
            }
        }
        self.restart_at(begin).await
    }

    async fn restart_at(&mut self, begin: Cursor) -> Result<(), SlsError> {
        let received = self.received(&begin).await;
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

    /// When the record at a cursor was received, where the service says it in good time.
    async fn received(&self, cursor: &Cursor) -> Option<i64> {
        received(&self.reading, self.shard, cursor).await
    }

    /// Nothing but a new position.
    fn chunk(&self, to: Reached) -> Chunk {
        let lag = Utc::now().timestamp() - to.received;
        Chunk {
            shard: self.shard,
            generation: self.reading.generation,
            from: self.reached.clone(),
            to,
            list: Arc::default(),
            part: None,
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

async fn received(reading: &Reading, shard: u32, cursor: &Cursor) -> Option<i64> {
    let asked = reading.client.cursor_time(shard, cursor);
    let patience = RECEIVED_PATIENCE.mul_f64(reading.wait_factor);
    tokio::time::timeout(patience, asked).await.ok()?.ok()
}

/// The first position of a shard that the lake does not know, and a message that has it kept.
pub(super) async fn first(
    reading: &Reading,
    shard: u32,
    place: Place,
) -> Result<Reached, SlsError> {
    let client = &reading.client;
    let cursor = client.cursor(shard, place).await?;
    let received = received(reading, shard, &cursor).await;
    let reached = Reached::first(cursor, received.unwrap_or_default());
    let _ = reading.messages.send(Message::Chunk(Chunk {
        shard,
        generation: reading.generation,
        from: reached.clone(),
        to: reached.clone(),
        list: Arc::default(),
        part: None,
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
