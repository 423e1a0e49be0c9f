//! Where things lie: time to partition, partition to key, and back. Pure.
//!
//! ```text
//! flows/date=2026-11-24/hour=08/part-ingest-000411-6f0c2b9d1e00a7c4-0000.parquet
//! _flowaudit/commits/00000000000000000412.json
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::table::Table;

/// Written in JSON as it is printed.
macro_rules! as_text {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

mod partition;

pub use self::partition::{Date, HOUR_MARGIN_US, Hour, Partition};

/// A text that names no day, hour or partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}")]
pub struct LayoutError {
    text: String,
    what: &'static str,
    example: &'static str,
}

impl LayoutError {
    fn new(text: &str, what: &'static str, example: &'static str) -> Self {
        let text = text.chars().take(200).collect();
        Self {
            text,
            what,
            example,
        }
    }

    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        Some(format!("write it like `{}`", self.example))
    }
}

/// The names of the directories that are ours and hold no table.
pub const LOG: &str = "_flowaudit";
/// See [`LOG`]; files that are not visible yet.
pub const STAGING: &str = "_staging";
/// The file that makes a directory a lake.
pub const MARKER: &str = "_flowaudit/lake.json";
/// An empty object that a lake on a store of unknown habits has, made to see whether it can be made twice.
pub const TRIAL: &str = "_flowaudit/trial";
/// Where commit records lie.
pub const COMMITS: &str = "_flowaudit/commits/";
/// Where snapshots of the replayed log lie, so that opening need not read every record.
pub const SNAPSHOTS: &str = "_flowaudit/snapshots/";

/// The key of a commit record.
pub fn commit_key(number: u64) -> String {
    format!("{COMMITS}{number:020}.json")
}

/// The key of a snapshot of the replayed log.
pub fn snapshot_key(number: u64) -> String {
    format!("{SNAPSHOTS}{number:020}.json")
}

/// The number in a key made by [`commit_key`] or [`snapshot_key`].
pub fn number_of(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?.strip_suffix(".json")?;
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = if digits {
        name.parse().ok()?
    } else {
        return None;
    };
    // The very last number could have no next one; nobody ever gets there but by forging a name.
    (number < u64::MAX).then_some(number)
}

/// The identity of one batch: who wrote, the head it started from, and a token that makes it unlike all others.
///
/// The number bounds the search for the batch's record: it can only be a later one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    name: String,
    base: u64,
    token: u64,
}

impl BatchId {
    /// The id of a batch of the writer `name`, started on commit `base`. What may not stand in a file name becomes `-`.
    pub fn new(name: &str, base: u64, token: u64) -> Self {
        let allowed = |c: char| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        };
        let name: String = name.chars().take(40).map(allowed).collect();
        let name = if name.is_empty() {
            "batch".to_string()
        } else {
            name
        };
        Self { name, base, token }
    }

    /// The head the batch started from.
    pub fn base(&self) -> u64 {
        self.base
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06}-{:016x}", self.name, self.base, self.token)
    }
}

impl FromStr for BatchId {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let wrong = || LayoutError::new(text, "batch id", "ingest-000411-6f0c2b9d1e00a7c4");
        let (rest, token) = text.rsplit_once('-').ok_or_else(wrong)?;
        let (name, base) = rest.rsplit_once('-').ok_or_else(wrong)?;
        let base = base.parse().map_err(|_| wrong())?;
        let token = u64::from_str_radix(token, 16).map_err(|_| wrong())?;
        let id = Self::new(name, base, token);
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(wrong())
        }
    }
}

as_text!(BatchId);

/// The key of the `n`-th file of a batch.
pub fn file_key(table: Table, partition: Partition, batch: &BatchId, n: usize) -> String {
    let folder = folder(table, partition);
    format!("{folder}part-{batch}-{n:04}.parquet")
}

/// The folder of a partition, with a slash at its end.
pub fn folder(table: Table, partition: Partition) -> String {
    match partition {
        Partition::None => format!("{table}/"),
        _ => format!("{table}/{partition}/"),
    }
}

/// What the key of a data file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    /// The table.
    pub table: Table,
    /// The partition.
    pub partition: Partition,
    /// The batch that wrote the file.
    pub batch: BatchId,
}

/// Takes the key of a data file apart. Whatever [`file_key`] did not make is refused, so that no record can name
/// a file outside the tables.
pub fn parse_file_key(key: &str) -> Result<FileKey, LayoutError> {
    let wrong = || {
        LayoutError::new(
            key,
            "key of a data file",
            "gaps/date=2026-11-24/part-….parquet",
        )
    };
    let (folder, file) = key.rsplit_once('/').ok_or_else(wrong)?;
    let (table, partition) = folder.split_once('/').unwrap_or((folder, ""));
    let table: Table = table.parse().map_err(|_| wrong())?;
    let partition: Partition = partition.parse().map_err(|_| wrong())?;
    let stem = file
        .strip_prefix("part-")
        .and_then(|file| file.strip_suffix(".parquet"));
    let (batch, n) = stem
        .and_then(|stem| stem.rsplit_once('-'))
        .ok_or_else(wrong)?;
    let batch: BatchId = batch.parse().map_err(|_| wrong())?;
    let n: usize = n.parse().map_err(|_| wrong())?;
    let same = partition.partitioning() == table.partitioning()
        && file_key(table, partition, &batch, n) == key;
    if same {
        Ok(FileKey {
            table,
            partition,
            batch,
        })
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT_US: i64 = 1_795_507_200_000_000;

    #[test]
    fn an_instant_has_its_folder() {
        let hour = Partition::hour_of_us(AT_US + 3_599_999_999);
        assert_eq!(hour.to_string(), "date=2026-11-24/hour=08");
        assert_eq!(Hour::of_us(AT_US).to_string(), "2026-11-24T08");
        assert_eq!(
            Partition::hour_of_us(AT_US - 1).to_string(),
            "date=2026-11-24/hour=07"
        );
        assert_eq!(Partition::date_of_us(AT_US).to_string(), "date=2026-11-24");
        let batch = BatchId::new("ingest", 411, 0x6f0c_2b9d_1e00_a7c4);
        assert_eq!(
            file_key(Table::Flows, hour, &batch, 0),
            "flows/date=2026-11-24/hour=08/part-ingest-000411-6f0c2b9d1e00a7c4-0000.parquet"
        );
        assert_eq!(
            file_key(Table::Endpoints, Partition::None, &batch, 12_345),
            "endpoints/part-ingest-000411-6f0c2b9d1e00a7c4-12345.parquet"
        );
    }

    #[test]
    fn names_that_no_key_has_are_refused() {
        let good = "flows/date=2026-11-24/hour=08/part-ingest-000411-6f0c2b9d1e00a7c4-0000.parquet";
        parse_file_key(good).unwrap();
        for (from, to) in [
            ("flows", "secrets"),
            ("flows", "../flows"),
            ("flows", "/flows"),
            ("flows", "edges/../flows"),
            ("flows", "gaps"),
            ("/hour=08", ""),
            ("hour=08", "hour=8"),
            ("hour=08", "hour=24"),
            ("hour=08", "hour=+8"),
            ("2026-11-24", "2026-11-31"),
            ("2026-11-24", "2026-2-03"),
            ("2026-11-24", "+2026-11-24"),
            ("part-", ""),
            (".parquet", ".json"),
            ("0000.p", "00000.p"),
            ("0000.p", "x.p"),
            ("ingest", "in/gest"),
            ("ingest", "in.gest"),
            ("6f0c", "6F0C"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert!(parse_file_key(&bad).is_err(), "{bad}");
        }
        assert!("2026-11-24T8".parse::<Hour>().is_err());
        assert!("date=2026-11-24/".parse::<Partition>().is_err());
    }

    #[test]
    fn odd_writer_names_become_file_names() {
        for name in ["", "../../x", "a b", "名", &"x".repeat(500)] {
            let batch = BatchId::new(name, 3, 7);
            assert_eq!(batch.to_string().parse(), Ok(batch.clone()));
            parse_file_key(&file_key(Table::Objects, Partition::None, &batch, 3)).unwrap();
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            at in -62_167_219_200_000_000..253_402_300_800_000_000i64,
            name in "\\PC{0,50}",
            (base, token, n) in any::<(u64, u64, usize)>(),
        ) {
            let hour = Hour::of_us(at);
            prop_assert!(hour.start_us() <= at && at < hour.end_us());
            prop_assert_eq!(hour.to_string().parse(), Ok(hour));
            prop_assert_eq!(hour.date().to_string().parse(), Ok(hour.date()));
            let batch = BatchId::new(&name, base, token);
            for (table, partition) in [
                (Table::Flows, Partition::Hour(hour)),
                (Table::Gaps, Partition::Date(hour.date())),
                (Table::Objects, Partition::None),
            ] {
                prop_assert_eq!(partition.to_string().parse(), Ok(partition));
                let key = file_key(table, partition, &batch, n);
                let parsed = parse_file_key(&key);
                prop_assert_eq!(parsed, Ok(FileKey { table, partition, batch: batch.clone() }));
            }
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*", odd in "[a-z=/0-9T.-]{0,40}") {
            for text in [text, odd] {
                let _ = text.parse::<Hour>();
                let _ = text.parse::<Date>();
                let _ = text.parse::<BatchId>();
                let _ = parse_file_key(&text);
                if let Ok(partition) = text.parse::<Partition>() {
                    prop_assert_eq!(partition.to_string(), text);
                }
            }
        }
    }
}
