//! Each call of the service as a function: shards, cursors, records, queries, consumer groups.

use serde::Deserialize;

use super::client::{Call, Client, Reply};
use super::contradiction::{Queried, Said};
use super::cursor::{Cursor, is_cursor};
use super::decode::{self, Tally};
use super::endpoint::{EndpointError, check_name};
use super::error::{Cause, Class, SlsError};
use super::spare::Spares;
use super::unpack::{Damaged, Packing, unpack, unpack_into};

/// The service gives at most this many log groups at once.
pub const GROUPS_MAX: u32 = 1000;
/// A logstore with more shards, those that were split included, is none: each is read by a task of its own.
pub const SHARDS_MAX: usize = 4096;

/// Where a cursor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the oldest record that is still there.
    Begin,
    /// After the newest.
    End,
    /// Before the first record received at or after this, in Unix seconds.
    Received(i64),
}

/// One shard of a logstore.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Shard {
    /// Its number.
    #[serde(rename = "shardID")]
    pub id: u32,
    /// `readwrite`, or `readonly` once it was split or merged.
    #[serde(default)]
    pub status: String,
}

impl Shard {
    /// Whether more may be added to it.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        self.status == "readwrite"
    }

    /// Whether nothing will be added to it.
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        self.status == "readonly"
    }
}

/// What to pull.
#[derive(Debug, Clone, Copy)]
pub struct Pull<'p> {
    /// From where.
    pub cursor: &'p Cursor,
    /// Where to stop, if not at the end.
    pub end: Option<&'p Cursor>,
    /// At most so many log groups.
    pub groups: u32,
    /// An SPL statement that the service applies before it sends.
    pub query: Option<&'p str>,
    /// How the reply is to be packed.
    pub packing: Packing,
    /// What may be held, packed and unpacked together.
    pub bytes_max: u64,
}

/// What was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// A whole `LogGroupList`, checked.
    pub list: Vec<u8>,
    /// What it holds.
    pub tally: Tally,
    /// Where to go on; the cursor of the request when there is nothing more at present.
    pub next: Cursor,
    /// Number of the cursor of the last log group, where the service says it.
    pub last: Option<u64>,
    /// Bytes as they came.
    pub packed_bytes: u64,
    /// With a query: bytes and lines before it.
    pub before_query: Option<(u64, u64)>,
    /// Lines that the query could not be applied to, which are not in the reply.
    pub failed_lines: u64,
}

#[derive(Deserialize)]
struct CursorReply {
    cursor: Cursor,
}

#[derive(Deserialize)]
struct CursorTimeReply {
    cursor_time: i64,
}

/// A checkpoint that the service keeps for a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GroupCheckpoint {
    /// The shard.
    pub shard: u32,
    /// The cursor, empty when none was saved.
    #[serde(default)]
    pub checkpoint: String,
    /// Who saved it.
    #[serde(default)]
    pub consumer: String,
}

/// A consumer group as the service lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// After so many seconds without a heartbeat a consumer loses its shards.
    pub timeout: u32,
    /// Whether children are handed out only after their parents.
    #[serde(default)]
    pub order: bool,
}

/// A question to the index: [`Client::get_logs`].
#[derive(Debug, Clone, Copy)]
pub struct Query<'q> {
    /// From this time of the writer on, Unix seconds.
    pub from: i64,
    /// Up to, not including.
    pub to: i64,
    /// A search, without SQL.
    pub query: &'q str,
    /// At most so many records in all.
    pub records_max: usize,
}

/// The service gives at most this many records of a query at once.
const LINES_MAX: usize = 100;
/// They may be long.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How often an incomplete answer is asked for again.
const INCOMPLETE_TRIES: u32 = 3;

#[derive(Deserialize)]
struct Logs {
    meta: LogsMeta,
    #[serde(default)]
    data: Vec<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct LogsMeta {
    #[serde(default)]
    progress: String,
}

impl Client {
    /// Every shard, those that were split or merged included while they hold data.
    pub async fn list_shards(&self) -> Result<Vec<Shard>, SlsError> {
        let take = |reply: Reply| {
            let shards: Vec<Shard> = serde_json::from_slice(&reply.body)
                .map_err(|_| Cause::Missing("JSON of the expected form"))?;
            match shards.len() {
                // Every logstore has one.
                0 => Err(Cause::Missing("shard")),
                1..=SHARDS_MAX => Ok(shards),
                found => Err(Cause::TooManyShards {
                    found,
                    max: SHARDS_MAX,
                }),
            }
        };
        self.call(Call::get("ListShards", "/shards", &[], None), take)
            .await
    }

    /// The cursor of a place in a shard.
    pub async fn cursor(&self, shard: u32, place: Place) -> Result<Cursor, SlsError> {
        let path = format!("/shards/{shard}");
        let from = match place {
            Place::Begin => "begin".to_owned(),
            Place::End => "end".to_owned(),
            Place::Received(seconds) => seconds.to_string(),
        };
        let query = [("type", "cursor"), ("from", &from)];
        let call = Call::get("GetCursor", &path, &query, Some(shard));
        let take = |reply: Reply| match serde_json::from_slice(&reply.body) {
            Ok(CursorReply { cursor }) if is_cursor(&cursor.0) => Ok(cursor),
            _ => Err(Cause::Missing("`cursor` in its JSON")),
        };
        self.call(call, take).await
    }

    /// When the record at a cursor was received, in Unix seconds; of an empty shard the present.
    pub async fn cursor_time(&self, shard: u32, cursor: &Cursor) -> Result<i64, SlsError> {
        let path = format!("/shards/{shard}");
        let query = [("type", "cursor_time"), ("cursor", &*cursor.0)];
        let call = Call::get("GetCursorTime", &path, &query, Some(shard));
        let reply: CursorTimeReply = self.json(call).await?;
        Ok(reply.cursor_time)
    }

    /// Log groups from a cursor on, in the order in which they were received.
    pub async fn pull(&self, shard: u32, pull: &Pull<'_>) -> Result<Pulled, SlsError> {
        let path = format!("/shards/{shard}");
        let count = pull.groups.clamp(1, GROUPS_MAX).to_string();
        let mut query = vec![
            ("type", "logs"),
            ("cursor", &*pull.cursor.0),
            ("count", &count),
        ];
        if let Some(end) = pull.end {
            query.push(("end_cursor", &*end.0));
        }
        if let Some(spl) = pull.query {
            query.extend([("query", spl), ("pullMode", "scan_on_stream")]);
        }
        let accept = [
            ("accept", "application/x-protobuf"),
            ("accept-encoding", pull.packing.name()),
        ];
        let call = Call {
            accept: &accept,
            bytes_max: pull.bytes_max,
            ..Call::get("PullLogs", &path, &query, Some(shard))
        };
        self.call(call, |reply| taken(reply, self.spares(), pull))
            .await
    }

    /// Keeps the memory of replies for those to come, up to so many bytes.
    pub(super) fn keep_up_to(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.spares().allow(bytes);
    }

    /// Takes back the memory of a reply that nobody needs any longer.
    pub(super) fn keep(&self, list: Vec<u8>) {
        self.spares().keep(list);
    }

    /// Records from the index, for small ranges and samples: at most `records_max`.
    pub async fn get_logs(
        &self,
        query: &Query<'_>,
    ) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, SlsError> {
        let mut records = Vec::new();
        while records.len() < query.records_max {
            let line = LINES_MAX.min(query.records_max - records.len());
            let body = serde_json::json!({
                "from": query.from, "to": query.to, "query": query.query, "line": line, "offset": records.len(),
                "reverse": false, "topic": "", "powerSql": false, "fromNs": 0, "toNs": 0, "highlight": false,
            })
            .to_string();
            let mut tries = 0;
            let logs = loop {
                let call = Call {
                    accept: &[("accept-encoding", "lz4")],
                    bytes_max: ANSWER_BYTES_MAX,
                    ..Call::post("GetLogs", "/logs", &[], body.as_bytes())
                };
                let logs: Logs = self.call(call, answer).await?;
                tries += 1;
                if logs.meta.progress == "Complete" || tries == INCOMPLETE_TRIES {
                    break logs;
                }
            };
            let came = logs.data.len();
            records.extend(logs.data);
            if came < line {
                break;
            }
        }
        records.truncate(query.records_max);
        Ok(records)
    }

    /// Makes a consumer group, or does nothing when it is there. Children are handed out at once.
    pub async fn create_group(&self, group: &str, timeout_s: u32) -> Result<(), SlsError> {
        let body =
            serde_json::json!({"consumerGroup": group, "timeout": timeout_s, "order": false})
                .to_string();
        let path = "/consumergroups";
        let call = Call::post("CreateConsumerGroup", path, &[], body.as_bytes());
        match self.call(call, |_| Ok(())).await {
            Err(error) if error.class() == Class::GroupExists => Ok(()),
            other => other,
        }
    }

    /// The consumer groups of the logstore.
    pub async fn list_groups(&self) -> Result<Vec<Group>, SlsError> {
        self.json(Call::get("ListConsumerGroup", "/consumergroups", &[], None))
            .await
    }

    /// Changes the lease of a consumer group.
    pub async fn update_group(&self, group: &str, timeout_s: u32) -> Result<(), SlsError> {
        let path = format!("/consumergroups/{group}");
        let body = serde_json::json!({"order": false, "timeout": timeout_s}).to_string();
        let call = Call {
            method: "PUT",
            ..Call::post("UpdateConsumerGroup", &path, &[], body.as_bytes())
        };
        self.call(call, |_| Ok(())).await
    }

    /// Removes a consumer group with its checkpoints.
    pub async fn delete_group(&self, group: &str) -> Result<(), SlsError> {
        let path = format!("/consumergroups/{group}");
        let call = Call {
            method: "DELETE",
            ..Call::get("DeleteConsumerGroup", &path, &[], None)
        };
        self.call(call, |_| Ok(())).await
    }

    /// Tells the service which shards this consumer works on, and hears which it has now.
    pub async fn heartbeat(
        &self,
        group: &str,
        consumer: &str,
        shards: &[u32],
    ) -> Result<Vec<u32>, SlsError> {
        let path = format!("/consumergroups/{group}");
        let query = [("type", "heartbeat"), ("consumer", consumer)];
        let body = serde_json::json!(shards).to_string();
        let take = |reply: Reply| {
            let shards: Vec<u32> = serde_json::from_slice(&reply.body)
                .map_err(|_| Cause::Missing("JSON of the expected form"))?;
            match shards.len() {
                0..=SHARDS_MAX => Ok(shards),
                found => Err(Cause::TooManyShards {
                    found,
                    max: SHARDS_MAX,
                }),
            }
        };
        let call = Call::post("HeartBeat", &path, &query, body.as_bytes());
        self.call(call, take).await
    }

    /// The checkpoints of a consumer group; of shards that were never saved with an empty cursor, or not at all.
    pub async fn group_checkpoints(&self, group: &str) -> Result<Vec<GroupCheckpoint>, SlsError> {
        let path = format!("/consumergroups/{group}");
        self.json(Call::get("GetCheckPoint", &path, &[], None))
            .await
    }

    /// Saves a checkpoint with the service; refused when the shard is another consumer's by now.
    pub async fn save_checkpoint(
        &self,
        group: &str,
        consumer: &str,
        shard: u32,
        cursor: &Cursor,
    ) -> Result<(), SlsError> {
        let path = format!("/consumergroups/{group}");
        let query = [
            ("type", "checkpoint"),
            ("consumer", consumer),
            ("forceSuccess", "false"),
        ];
        // The order in which the SDKs write it.
        let body = format!(
            r#"{{"shard":{shard},"checkpoint":{}}}"#,
            serde_json::Value::from(&*cursor.0)
        );
        let call = Call {
            shard: Some(shard),
            ..Call::post("UpdateCheckPoint", &path, &query, body.as_bytes())
        };
        self.call(call, |_| Ok(())).await
    }
}

/// Checks the name of a consumer group: with a bad one every call fails with something else.
pub fn check_group(name: &str) -> Result<(), EndpointError> {
    check_name("consumer group", name)?;
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Err(EndpointError::Name {
            what: "consumer group",
            name: name.to_owned(),
        }),
        false => Ok(()),
    }
}

fn taken(reply: Reply, spares: &Spares, pull: &Pull<'_>) -> Result<Pulled, Cause> {
    let next = reply
        .header("x-log-cursor")
        .filter(|cursor| is_cursor(cursor))
        .ok_or(Cause::Missing("`x-log-cursor`"))?;
    let next = Cursor(next.to_owned());
    let last = reply.number("x-log-read-last-cursor");
    let before_query = reply
        .number("x-log-rawdatasize")
        .zip(reply.number("x-log-rawdatalines").or(Some(0)));
    let query = pull.query.map(|_| Queried {
        groups: reply.number("x-log-rawdatacount"),
        results: reply.number("x-log-resultlines"),
    });
    let failed_lines = reply.number("x-log-failedlines");
    let packing = Packing::from_header(reply.header("x-log-compresstype").unwrap_or_default())
        .ok_or(Cause::Missing("known `x-log-compresstype`"))?;
    let announced = match (reply.number("x-log-bodyrawsize"), packing) {
        (Some(bytes), _) => bytes,
        (None, Packing::Plain) => reply.body.len() as u64,
        (None, _) => return Err(Cause::Missing("`x-log-bodyrawsize`")),
    };
    let count = reply.number("x-log-count");
    let count = count.ok_or(Cause::Missing("`x-log-count`"))?;
    let request = reply.request();
    let packed_bytes = reply.body.len() as u64;
    let list = unpack_into(
        spares.take(),
        reply.body,
        packing,
        announced,
        pull.bytes_max,
    )?;
    let tally = decode::check(&list)?;
    let said = Said {
        asked: pull.cursor,
        asked_groups: u64::from(pull.groups.clamp(1, GROUPS_MAX)),
        next: &next,
        tally,
        count,
        last,
        query,
    };
    said.check()
        .map_err(|contradiction| Cause::Contradiction(contradiction, request))?;
    Ok(Pulled {
        list,
        tally,
        next,
        last,
        packed_bytes,
        before_query: before_query.filter(|_| query.is_some()),
        failed_lines: failed_lines.filter(|_| query.is_some()).unwrap_or_default(),
    })
}

fn answer(reply: Reply) -> Result<Logs, Cause> {
    let packing = Packing::from_header(reply.header("x-log-compresstype").unwrap_or_default())
        .ok_or(Cause::Missing("known `x-log-compresstype`"))?;
    let json = match (packing, reply.number("x-log-bodyrawsize")) {
        (Packing::Plain, _) => reply.body,
        (_, None) => return Err(Cause::Missing("`x-log-bodyrawsize`")),
        (packing, Some(bytes)) => unpack(reply.body, packing, bytes, ANSWER_BYTES_MAX)?,
    };
    serde_json::from_slice(&json).map_err(|_| Cause::Missing("JSON of the expected form"))
}

impl SlsError {
    /// Whether the reply was larger than may be held: fewer log groups at once may fit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(
            self.cause,
            Cause::TooLarge { .. } | Cause::Damaged(Damaged::TooLarge { .. })
        )
    }
}
