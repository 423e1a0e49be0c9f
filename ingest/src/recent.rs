//! Which records are in the lake already: exact duplicates are dropped, wherever they came from.
//!
//! The key of a record is all of its content that says what was seen: interface, direction, five-tuple, window,
//! packets, bytes, action, flags. It is held as 128 bits of hash; that two different records share one is less likely
//! than a broken disk (10^12 records: below 10^-14).
//!
//! A partition is looked at once: its files are streamed, key columns only, those left out that cannot hold a
//! candidate by their times. The keys read, and those of files this process wrote, are kept as far as a bound allows, so
//! that a long run does not read its own files again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use flowaudit_lake::read::{self, TableFile};
use flowaudit_lake::{FileEntry, Lake, LakeError, Partition, Snapshot, Table};
use foldhash::quality::RandomState;

use crate::normalize::{Action, Direction, Flow, Gap};

/// The content of a record, as 128 bits.
pub(crate) type Key = u128;

/// A set of keys.
pub(crate) type KeySet = HashSet<Key, AsIs>;

type KeyMap = HashMap<Key, usize, AsIs>;

/// Turns records into keys. The seeds differ in every process, so that nobody can write records that pass for
/// duplicates of others.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    high: RandomState,
    low: RandomState,
    directions: [Key; 2],
    actions: [Key; 2],
}

impl Default for Keys {
    fn default() -> Self {
        let (high, low) = (RandomState::default(), RandomState::default());
        let mut keys = Keys {
            high,
            low,
            directions: [0; 2],
            actions: [0; 2],
        };
        keys.directions =
            [Direction::In, Direction::Out].map(|direction| keys.text(direction.as_str()));
        keys.actions = [Action::Accept, Action::Reject].map(|action| keys.text(action.as_str()));
        keys
    }
}

impl Keys {
    fn text(&self, text: &str) -> Key {
        self.both(text)
    }

    fn both(&self, value: impl std::hash::Hash) -> Key {
        u128::from(self.high.hash_one(&value)) << 64 | u128::from(self.low.hash_one(&value))
    }

    /// The key of a flow.
    pub(crate) fn flow(&self, flow: &Flow<'_>) -> Key {
        let [inwards, outwards] = self.directions;
        let [accept, reject] = self.actions;
        self.both(FlowKey {
            texts: [
                self.text(flow.eni_id),
                self.text(&flow.src_addr),
                self.text(&flow.dst_addr),
                if flow.direction == Direction::In {
                    inwards
                } else {
                    outwards
                },
                if flow.action == Action::Accept {
                    accept
                } else {
                    reject
                },
            ],
            ports: [
                flow.src_port.into(),
                flow.dst_port.into(),
                flow.protocol.into(),
                flow.tcp_flags.map_or(-1, i32::from),
            ],
            numbers: [flow.start_us, flow.end_us, flow.packets, flow.bytes],
        })
    }

    /// The key of a gap.
    pub(crate) fn gap(&self, gap: &Gap<'_>) -> Key {
        let eni = gap.eni_id.map_or(0, |eni| self.text(eni));
        self.both((
            [eni, self.text(gap.reason.as_str())],
            [gap.from_us, gap.to_us],
        ))
    }
}

#[derive(Hash)]
struct FlowKey {
    texts: [Key; 5],
    ports: [i32; 4],
    numbers: [i64; 4],
}

const FLOW_COLUMNS: [&str; 13] = [
    "eni_id",
    "src_addr",
    "dst_addr",
    "direction",
    "action",
    "src_port",
    "dst_port",
    "protocol",
    "tcp_flags",
    "start_time",
    "end_time",
    "packets",
    "bytes",
];
const GAP_COLUMNS: [&str; 4] = ["eni_id", "reason", "from", "to"];

/// The keys of one partition, as far as they are known.
#[derive(Debug, Default)]
struct Known {
    keys: KeySet,
    /// Files whose keys are all among `keys`.
    files: HashSet<String>,
    used: u64,
}

/// The keys of the partitions that were written to lately.
#[derive(Debug)]
pub(crate) struct Recent {
    keys: Keys,
    known: BTreeMap<(Table, Partition), Known>,
    /// How many keys are kept at most.
    max: usize,
    clock: u64,
}

impl Recent {
    /// Keeps at most `max` keys, of about 20 bytes each.
    pub(crate) fn new(keys: Keys, max: usize) -> Self {
        Recent {
            keys,
            known: BTreeMap::new(),
            max,
            clock: 0,
        }
    }

    /// The rows among `candidates` whose keys the lake holds. `times` are the smallest and largest time of the
    /// candidates, in the table's time column.
    pub(crate) fn held(
        &mut self,
        lake: &Lake,
        snapshot: &Snapshot,
        table: Table,
        partition: Partition,
        candidates: &[Key],
        times: (i64, i64),
    ) -> Result<HashSet<usize>, LakeError> {
        self.clock += 1;
        let mut held = HashSet::new();
        let known = self.known.entry((table, partition)).or_default();
        known.used = self.clock;
        let known_files = &known.files;
        let unknown = |file: &&FileEntry| {
            !known_files.contains(&file.path) && may_hold(file.min_us, file.max_us, times)
        };
        let files: Vec<FileEntry> = snapshot
            .files_in(table, partition)
            .iter()
            .filter(unknown)
            .cloned()
            .collect();
        if !files.is_empty() {
            let index: KeyMap = candidates
                .iter()
                .enumerate()
                .map(|(row, key)| (*key, row))
                .collect();
            for entry in files {
                let file = read::open(lake, &entry)?;
                let keep = self.room_for(file.row_count(), (table, partition));
                self.stream(&file, keep, times, |key| {
                    held.extend(index.get(&key));
                })?;
            }
        }
        if let Some(known) = self.known.get(&(table, partition)) {
            held.extend(
                candidates
                    .iter()
                    .enumerate()
                    .filter(|(_, key)| known.keys.contains(key))
                    .map(|(row, _)| row),
            );
        }
        Ok(held)
    }

    /// Notes what this process wrote.
    pub(crate) fn wrote(&mut self, entry: &FileEntry, keys: &[Key]) {
        let place = (entry.table, entry.partition);
        if self.room_for(keys.len() as u64, place) {
            let known = self.known.entry(place).or_default();
            known.keys.extend(keys);
            known.files.insert(entry.path.clone());
        }
    }

    /// Reads the keys of a file; keeps them when there is room, else only those of row groups that may hold a
    /// candidate are looked at.
    fn stream(
        &mut self,
        file: &TableFile,
        keep: bool,
        times: (i64, i64),
        mut each: impl FnMut(Key),
    ) -> Result<(), LakeError> {
        let entry = file.entry().clone();
        let columns: &[&str] = if entry.table == Table::Flows {
            &FLOW_COLUMNS
        } else {
            &GAP_COLUMNS
        };
        let mut kept = KeySet::default();
        for row_group in 0..file.row_groups() {
            let (from, to) = file.times_in(row_group).unzip();
            if !keep && !may_hold(from, to, times) {
                continue;
            }
            for batch in file.batches(columns, row_group)? {
                let keys = keys_of(&self.keys, entry.table, &batch?).ok_or_else(|| {
                    LakeError::Damaged {
                        key: entry.path.clone(),
                        reason: "its key columns have other types".to_owned(),
                    }
                })?;
                keys.iter().copied().for_each(&mut each);
                if keep {
                    kept.extend(keys);
                }
            }
        }
        if keep {
            let known = self
                .known
                .entry((entry.table, entry.partition))
                .or_default();
            known.keys.extend(kept);
            known.files.insert(entry.path);
        }
        Ok(())
    }

    /// Whether `keys` more can be kept, after forgetting the partitions not used for longest.
    fn room_for(&mut self, keys: u64, place: (Table, Partition)) -> bool {
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        loop {
            let sum: usize = self.known.values().map(|known| known.keys.len()).sum();
            if sum.saturating_add(keys) <= self.max {
                return true;
            }
            let others = self
                .known
                .iter()
                .filter(|(other, known)| **other != place && !known.keys.is_empty());
            let Some(oldest) = others
                .min_by_key(|(_, known)| known.used)
                .map(|(other, _)| *other)
            else {
                return false;
            };
            self.known.remove(&oldest);
        }
    }
}

fn may_hold(min: Option<i64>, max: Option<i64>, (from, to): (i64, i64)) -> bool {
    min.is_none_or(|min| min <= to) && max.is_none_or(|max| max >= from)
}

/// The keys of the rows of a batch, or nothing when its columns are not what they should be.
fn keys_of(keys: &Keys, table: Table, batch: &RecordBatch) -> Option<Vec<Key>> {
    let text = |name: &str| Texts::of(keys, batch, name);
    let time = |name: &str| {
        batch
            .column_by_name(name)?
            .as_primitive_opt::<TimestampMicrosecondType>()
    };
    let int = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int32Type>();
    let count = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
    let rows = 0..batch.num_rows();
    if table == Table::Gaps {
        let (eni, reason, from, to) =
            (text("eni_id")?, text("reason")?, time("from")?, time("to")?);
        return Some(
            rows.map(|row| {
                keys.both((
                    [eni.get(row), reason.get(row)],
                    [from.value(row), to.value(row)],
                ))
            })
            .collect(),
        );
    }
    let texts = [
        text("eni_id")?,
        text("src_addr")?,
        text("dst_addr")?,
        text("direction")?,
        text("action")?,
    ];
    let ports = [int("src_port")?, int("dst_port")?, int("protocol")?];
    let flags = int("tcp_flags")?;
    let times = [time("start_time")?, time("end_time")?];
    let counts = [count("packets")?, count("bytes")?];
    let key = |row: usize| {
        let [src_port, dst_port, protocol] = ports.map(|port| port.value(row));
        let flags = if flags.is_null(row) {
            -1
        } else {
            flags.value(row)
        };
        let [start, end] = times.map(|time| time.value(row));
        let [packets, bytes] = counts.map(|count| count.value(row));
        keys.both(FlowKey {
            texts: std::array::from_fn(|text| texts.get(text).map_or(0, |text| text.get(row))),
            ports: [src_port, dst_port, protocol, flags],
            numbers: [start, end, packets, bytes],
        })
    };
    Some(rows.map(key).collect())
}

/// A text column: the hash of each distinct text, and which row has which.
struct Texts<'a> {
    rows: &'a arrow_array::Int32Array,
    hashes: Vec<Key>,
}

impl<'a> Texts<'a> {
    fn of(keys: &Keys, batch: &'a RecordBatch, name: &str) -> Option<Self> {
        let column = batch
            .column_by_name(name)?
            .as_dictionary_opt::<Int32Type>()?;
        let texts = column.values().as_string_opt::<i32>()?;
        Some(Texts {
            rows: column.keys(),
            hashes: texts
                .iter()
                .map(|text| keys.text(text.unwrap_or_default()))
                .collect(),
        })
    }

    /// 0 for null.
    fn get(&self, row: usize) -> Key {
        if self.rows.is_null(row) {
            return 0;
        }
        usize::try_from(self.rows.value(row))
            .ok()
            .and_then(|key| self.hashes.get(key))
            .copied()
            .unwrap_or_default()
    }
}

/// Hashes keys that are hashes already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct AsIs;

impl BuildHasher for AsIs {
    type Hasher = AsIsHasher;

    fn build_hasher(&self) -> AsIsHasher {
        AsIsHasher(0)
    }
}

/// Takes the low half of a key for its hash.
#[derive(Debug)]
pub(crate) struct AsIsHasher(u64);

impl std::hash::Hasher for AsIsHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}
