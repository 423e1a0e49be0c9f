//! Entries of any logstore, as they were received within a time: nothing is kept, and no position is remembered.
//!
//! Shards are read side by side, stretch after stretch, so that what was received together is shown together.

use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use super::calls::{GROUPS_MAX, Place, Pull};
use super::client::Client;
use super::cursor::Cursor;
use super::decode::{contents, groups, logs};
use super::error::{Class, SlsError};
use super::unpack::Packing;
use crate::error::IngestError;
use crate::stop::runtime;

/// A longer reply is asked for with fewer log groups.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// How often one place is asked for anew because it outlived the retention.
const EXPIRED_MAX: u32 = 3;

/// The entries of one logstore from a time on.
#[derive(Debug)]
pub struct Entries {
    client: Client,
    runtime: Runtime,
    shards: Vec<Reading>,
    query: Option<String>,
    packing: Packing,
    /// What was read.
    pub read: EntriesRead,
}

#[derive(Debug)]
struct Reading {
    shard: u32,
    cursor: Cursor,
    groups: u32,
}

/// What was read of a logstore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntriesRead {
    /// Entries.
    pub entries: u64,
    /// Bytes as they came.
    pub packed_bytes: u64,
    /// Entries that the query could not be applied to, which were left out.
    pub left_out: u64,
    /// Places that outlived the retention before they were read.
    pub missed: u64,
}

impl Entries {
    /// Entries that were received from `from_s` on, Unix seconds.
    pub fn open(
        client: Client,
        from_s: i64,
        query: Option<String>,
        packing: Packing,
    ) -> Result<Entries, IngestError> {
        let runtime = runtime()?;
        let shards = runtime.block_on(async {
            let mut shards = Vec::new();
            for shard in client.list_shards().await? {
                let cursor = client.cursor(shard.id, Place::Received(from_s)).await?;
                shards.push(Reading {
                    shard: shard.id,
                    cursor,
                    groups: GROUPS_MAX,
                });
            }
            Ok::<_, SlsError>(shards)
        })?;
        Ok(Entries {
            client,
            runtime,
            shards,
            query,
            packing,
            read: EntriesRead::default(),
        })
    }

    /// Shows what was received before `to_s`, and was not shown yet. Values are text.
    pub fn until(
        &mut self,
        to_s: i64,
        mut show: impl FnMut(&Map<String, Value>),
    ) -> Result<(), IngestError> {
        for reading in &mut self.shards {
            let read = reading.until(
                to_s,
                &self.client,
                (self.query.as_deref(), self.packing),
                &mut self.read,
                &mut show,
            );
            self.runtime.block_on(read)?;
        }
        Ok(())
    }
}

impl Reading {
    async fn until(
        &mut self,
        to_s: i64,
        client: &Client,
        (query, packing): (Option<&str>, Packing),
        read: &mut EntriesRead,
        show: &mut impl FnMut(&Map<String, Value>),
    ) -> Result<(), SlsError> {
        let end = client.cursor(self.shard, Place::Received(to_s)).await?;
        let mut expired = 0;
        while !self.is_at(&end) {
            let pull = Pull {
                cursor: &self.cursor,
                end: Some(&end),
                groups: self.groups,
                query,
                packing,
                bytes_max: REPLY_BYTES_MAX,
            };
            let pulled = match client.pull(self.shard, &pull).await {
                Ok(pulled) => pulled,
                Err(error) if error.is_too_large() && self.groups > 1 => {
                    self.groups /= 2;
                    continue;
                }
                Err(error) if error.class() == Class::Cursor && expired < EXPIRED_MAX => {
                    expired += 1;
                    read.missed += 1;
                    self.cursor = client.cursor(self.shard, Place::Begin).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            read.packed_bytes += pulled.packed_bytes;
            read.left_out += pulled.failed_lines;
            // A reply is checked when it comes: what is damaged never gets here.
            for group in groups(&pulled.list).flatten() {
                for log in logs(group).flatten() {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let members = contents(log)
                        .flatten()
                        .map(|(key, value)| (text(key), Value::String(text(value))));
                    read.entries += 1;
                    show(&members.collect());
                }
            }
            client.keep(pulled.list);
            if pulled.next.is(&self.cursor) {
                return Ok(());
            }
            self.cursor = pulled.next;
        }
        Ok(())
    }

    fn is_at(&self, end: &Cursor) -> bool {
        let past = self.cursor.number().zip(end.number());
        end.is(&self.cursor) || past.is_some_and(|(at, end)| at >= end)
    }
}
