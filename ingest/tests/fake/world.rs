//! What the fake service holds: shards with log groups, consumer groups, and the faults that were asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};

use super::verify::Account;

/// Cursors look like nanoseconds of a receive time.
const CURSOR_BASE: u64 = 1_764_000_000_000_000_000;

/// A log group as it will be sent: field 1 of `LogGroupList`, tag and length included.
#[derive(Debug, Clone)]
pub(crate) struct StoredGroup {
    pub(crate) bytes: Vec<u8>,
    /// Unix seconds.
    pub(crate) received: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) readonly: bool,
    pub(crate) groups: Vec<StoredGroup>,
    /// Groups before this one outlived their time.
    pub(crate) begin: usize,
    /// The number in the cursor of the first group.
    pub(crate) base: u64,
}

impl Shard {
    pub(crate) fn cursor(&self, index: usize) -> String {
        STANDARD.encode((self.base + index as u64).to_string())
    }

    /// Where a cursor points to, if it is still there.
    pub(crate) fn index(&self, cursor: &str) -> Option<usize> {
        let index = self.index_ever(cursor)?;
        (index >= self.begin).then_some(index)
    }

    /// Where a cursor points to, or did.
    pub(crate) fn index_ever(&self, cursor: &str) -> Option<usize> {
        let padded = format!("{cursor}{}", &"==="[..(4 - cursor.len() % 4) % 4]);
        let number: u64 = String::from_utf8(STANDARD.decode(padded).ok()?)
            .ok()?
            .parse()
            .ok()?;
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        (index <= self.groups.len()).then_some(index)
    }

    /// A cursor before or behind another one.
    pub(crate) fn beside(cursor: &str, by: i64) -> String {
        let number = String::from_utf8(STANDARD.decode(cursor).unwrap()).unwrap();
        let number: u64 = number.parse().unwrap();
        STANDARD.encode(number.checked_add_signed(by).unwrap().to_string())
    }

    pub(crate) fn number(&self, index: usize) -> u64 {
        self.base + index as u64
    }
}

/// What goes wrong, on demand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// A refusal in the service's form.
    Refuse(u16, &'static str, &'static str),
    /// A page of a proxy.
    Html(u16),
    /// The connection closes before an answer.
    Drop,
    /// The connection closes in the middle of the body.
    Reset,
    /// The body comes in pieces with this pause between them.
    Slow(Duration),
    /// The body is cut, with a length that fits.
    Truncate,
    /// Bytes of the body are changed.
    Corrupt,
    /// `x-log-bodyrawsize` is off by this.
    RawSize(i64),
    /// A body that unpacks and is no protobuf.
    Nonsense,
    /// The shard is split before the answer.
    Split,
    /// An answer that contradicts itself.
    Lie(Lie),
}

/// How a pull contradicts itself, or another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// The cursor stays where it was, and there are log groups.
    Stays,
    /// There are no log groups, and the cursor goes on.
    Hollow,
    /// The cursor goes back by so many.
    Back(u64),
    /// The count is larger by one than what comes.
    CountsMore,
    /// The count is smaller by one than what comes.
    CountsLess,
    /// There is no count.
    CountsNothing,
    /// With a statement: one record more was left than comes.
    LeavesMore,
    /// The last log group is said to lie behind the cursor.
    LastBehind,
    /// Nothing more is said to be there.
    Nothing,
    /// A list of no shards, or an empty cursor.
    Empty,
}

#[derive(Debug, Default)]
pub(crate) struct ConsumerGroup {
    pub(crate) timeout: Duration,
    pub(crate) order: bool,
    pub(crate) consumers: BTreeMap<String, (Instant, BTreeSet<u32>)>,
    pub(crate) assigned: BTreeMap<u32, String>,
    pub(crate) checkpoints: BTreeMap<u32, (String, String)>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) account: Account,
    pub(crate) project: String,
    pub(crate) logstore: String,
    pub(crate) shards: BTreeMap<u32, Shard>,
    pub(crate) groups: BTreeMap<String, ConsumerGroup>,
    /// Fault per call, first come first served.
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    /// One in so many pulls goes wrong by itself; 0 never.
    pub(crate) fault_every: u64,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// An action that the policy of the account denies.
    pub(crate) denied: Option<String>,
    pub(crate) clock_offset: TimeDelta,
    /// Lines of the next reply that a statement cannot be applied to.
    pub(crate) failing_lines: u64,
    /// Shards whose records the service cannot give at present.
    pub(crate) sick: BTreeSet<u32>,
    /// Whether cursors before the oldest record are answered, too.
    pub(crate) begin_hides: bool,
    /// Log groups in one answer at most.
    pub(crate) groups_max: usize,
    /// Groups are given out a second time now and then, as after a repeated write.
    next_put: usize,
}

impl World {
    pub(crate) fn new(account: Account, project: &str, logstore: &str, shards: u32) -> World {
        let mut world = World {
            account,
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            shards: BTreeMap::new(),
            groups: BTreeMap::new(),
            faults: VecDeque::new(),
            fault_every: 0,
            calls: BTreeMap::new(),
            denied: None,
            clock_offset: TimeDelta::zero(),
            failing_lines: 0,
            sick: BTreeSet::new(),
            begin_hides: false,
            groups_max: 1000,
            next_put: 0,
        };
        for _ in 0..shards {
            world.add_shard();
        }
        world
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.clock_offset
    }

    pub(crate) fn add_shard(&mut self) -> u32 {
        let id = self.shards.len() as u32;
        let base = CURSOR_BASE + u64::from(id) * 1_000_000_007;
        self.shards.insert(
            id,
            Shard {
                base,
                ..Shard::default()
            },
        );
        id
    }

    /// Adds a log group, the bytes of the message `LogGroup`, to a shard that takes more.
    pub(crate) fn put(&mut self, group: &[u8], received: i64) -> u32 {
        let open: Vec<u32> = self
            .shards
            .iter()
            .filter(|(_, shard)| !shard.readonly)
            .map(|(id, _)| *id)
            .collect();
        let id = open[self.next_put % open.len()];
        self.next_put += 1;
        self.put_into(id, group, received);
        id
    }

    pub(crate) fn put_into(&mut self, id: u32, group: &[u8], received: i64) {
        let mut bytes = vec![0x0a];
        let mut length = group.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(group);
        let shard = self.shards.get_mut(&id).unwrap();
        assert!(!shard.readonly, "shard {id} takes nothing more");
        shard.groups.push(StoredGroup { bytes, received });
    }

    /// Splits a shard: it takes nothing more, two others do.
    pub(crate) fn split(&mut self, id: u32) -> [u32; 2] {
        self.shards.get_mut(&id).unwrap().readonly = true;
        [self.add_shard(), self.add_shard()]
    }

    /// Merges two shards into a new one.
    pub(crate) fn merge(&mut self, a: u32, b: u32) -> u32 {
        for id in [a, b] {
            self.shards.get_mut(&id).unwrap().readonly = true;
        }
        self.add_shard()
    }

    /// The oldest groups of a shard outlive their time.
    pub(crate) fn expire(&mut self, id: u32, groups: usize) {
        let shard = self.shards.get_mut(&id).unwrap();
        shard.begin = (shard.begin + groups).min(shard.groups.len());
    }

    /// The next fault that was asked for a call.
    pub(crate) fn fault(&mut self, call: &'static str) -> Option<Fault> {
        let at = self
            .faults
            .iter()
            .position(|(of, _)| *of == call || of.is_empty());
        if let Some(at) = at {
            return self.faults.remove(at).map(|(_, fault)| fault);
        }
        let number = *self.calls.get(call)?;
        if self.fault_every == 0 || number % self.fault_every != 0 || call == "HeartBeat" {
            return None;
        }
        // In turn, so that a long run meets all of them.
        let faults = [
            Fault::Refuse(500, "InternalServerError", "try again"),
            Fault::Drop,
            Fault::Reset,
            Fault::Corrupt,
            Fault::Refuse(
                403,
                "ShardReadQuotaExceed",
                "shard read bytes exceed quota limits",
            ),
            Fault::Truncate,
            Fault::RawSize(1),
            Fault::Html(502),
            Fault::RawSize(-1),
            Fault::Nonsense,
        ];
        Some(faults[(number / self.fault_every) as usize % faults.len()].clone())
    }

    /// What a consumer may read after its heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        group: &str,
        consumer: &str,
        held: BTreeSet<u32>,
    ) -> Result<Vec<u32>, (u16, &'static str)> {
        let finished: BTreeSet<u32> = {
            let saved = &self
                .groups
                .get(group)
                .ok_or((404, "ConsumerGroupNotExist"))?
                .checkpoints;
            self.shards
                .iter()
                .filter(|(id, shard)| {
                    let at = saved.get(id).and_then(|(cursor, _)| shard.index(cursor));
                    shard.readonly && at == Some(shard.groups.len())
                })
                .map(|(id, _)| *id)
                .collect()
        };
        let ids: Vec<u32> = self.shards.keys().copied().collect();
        let group = self
            .groups
            .get_mut(group)
            .ok_or((404, "ConsumerGroupNotExist"))?;
        let timeout = group.timeout;
        group
            .consumers
            .retain(|_, (beaten, _)| beaten.elapsed() < timeout);
        if !group.consumers.contains_key(consumer) && !held.is_empty() {
            return Err((400, "NotExistConsumerWithBody"));
        }
        group
            .consumers
            .insert(consumer.to_owned(), (Instant::now(), held));
        let consumers = &group.consumers;
        group
            .assigned
            .retain(|shard, by| consumers.contains_key(by) && !finished.contains(shard));
        let count = |assigned: &BTreeMap<u32, String>, name: &str| {
            assigned.values().filter(|by| *by == name).count()
        };
        for id in ids {
            // A shard that somebody still works on is not handed out.
            let reported = consumers.values().any(|(_, held)| held.contains(&id));
            if finished.contains(&id) || group.assigned.contains_key(&id) || reported {
                continue;
            }
            let least = consumers
                .keys()
                .min_by_key(|name| count(&group.assigned, name));
            group.assigned.insert(id, least.unwrap().clone());
        }
        // Whoever has two more than another gives one up.
        let least = consumers
            .keys()
            .map(|name| count(&group.assigned, name))
            .min();
        if count(&group.assigned, consumer) > least.unwrap_or(0) + 1 {
            let shard = group.assigned.iter().find(|(_, by)| *by == consumer);
            let shard = *shard.unwrap().0;
            group.assigned.remove(&shard);
        }
        let mine = group.assigned.iter().filter(|(_, by)| *by == consumer);
        Ok(mine.map(|(shard, _)| *shard).collect())
    }

    pub(crate) fn save(
        &mut self,
        group: &str,
        consumer: &str,
        shard: u32,
        cursor: &str,
        force: bool,
    ) -> Result<(), (u16, &'static str)> {
        if !self.shards.contains_key(&shard) {
            return Err((404, "ShardNotExist"));
        }
        let group = self
            .groups
            .get_mut(group)
            .ok_or((404, "ConsumerGroupNotExist"))?;
        let held = group.consumers.get(consumer);
        if held.is_none() && !force {
            return Err((404, "ConsumerNotExist"));
        }
        let of_other = group.assigned.get(&shard).is_some_and(|by| by != consumer);
        if of_other && !force {
            return Err((400, "ConsumerNotMatch"));
        }
        let saved = (cursor.to_owned(), consumer.to_owned());
        group.checkpoints.insert(shard, saved);
        Ok(())
    }
}
