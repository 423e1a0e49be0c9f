//! The commit record: files in, files out, how far each source was read. Pure.
//!
//! A record is one JSON object in `_flowaudit/commits/<20 digits>.json`, created only if absent and never changed.
//! Its first field is the version, its last the checksum of everything before it; `tests/formats/` keeps one of every
//! version ever written.
//!
//! | version | brought |
//! |---|---|
//! | 1 | files, checkpoints, analysed and reopened hours |
//! | 2 | a checksum of every file added, and of the record itself; batches that were given up |
//! | 3 | shards that are forgotten |

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointDelta;
use crate::checksum::{Checksum, seal, unseal};
use crate::layout::{BatchId, Hour, Partition, parse_file_key};
use crate::table::Table;

/// The version of the records this program writes.
pub const VERSION: u64 = 3;

/// From this version on our JSON files carry their checksum.
pub(crate) const SEALED_SINCE: u64 = 2;

/// One data file of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// The key relative to the root of the lake.
    pub path: String,
    /// The table.
    pub table: Table,
    /// The partition.
    pub partition: Partition,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Smallest value of the table's time column in microseconds since the epoch; `None` when there is none.
    pub min_us: Option<i64>,
    /// Largest value of the table's time column in microseconds since the epoch; `None` when there is none.
    pub max_us: Option<i64>,
    /// Checksum of the file; `None` when a version 1 record added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<Checksum>,
}

/// An hour that was analysed, and the commit whose state was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalysedHour {
    /// The hour.
    pub hour: Hour,
    /// Number of the snapshot that was analysed.
    pub at: u64,
}

/// A stretch whose analysed hours must be looked at again: half-open, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reopened {
    /// The first instant.
    pub from_us: i64,
    /// The first instant after it.
    pub to_us: i64,
}

/// A shard whose position is kept no longer. Whoever forgets makes sure by other means, such as a low watermark in a
/// shard of its own, that nobody reads it from its beginning again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgottenShard {
    /// The configured source.
    pub source: String,
    /// The shard, object or file within the source.
    pub shard: String,
}

/// What one batch changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitRecord {
    /// Version of this format.
    pub version: u64,
    /// The number of the commit; the first one is 1.
    pub number: u64,
    /// The batch that was published.
    pub batch: BatchId,
    /// Files that become visible.
    pub added: Vec<FileEntry>,
    /// Keys of files that are visible no longer.
    pub removed: Vec<String>,
    /// How far sources were read.
    pub checkpoints: Vec<CheckpointDelta>,
    /// Hours that were analysed.
    pub analysed: Vec<AnalysedHour>,
    /// Stretches that must be analysed again.
    pub reopened: Vec<Reopened>,
    /// Batches whose writers were taken for dead: they can never be published any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<BatchId>,
    /// Shards that will never be read again, after `checkpoints` moved: their positions are kept no longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<ForgottenShard>,
}

/// Why a record or another of our own JSON files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is not what we write.
    #[error("not what flowaudit writes: {0}")]
    Garbage(#[source] serde_json::Error),
    /// A newer program wrote it.
    #[error("it has version {found}, and this program knows versions up to {known}")]
    Newer {
        /// The version found.
        found: u64,
        /// The newest version we know.
        known: u64,
    },
    /// It contradicts itself or its name.
    #[error("{0}")]
    Contradiction(String),
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// The version of one of our files. Refuses what a newer program wrote, before anything else is looked at.
pub fn check_version(bytes: &[u8], known: u64) -> Result<u64, FormatError> {
    let found: Versioned = serde_json::from_slice(bytes).map_err(FormatError::Garbage)?;
    match found.version {
        0 => Err(FormatError::Contradiction("it has version 0".to_string())),
        found if found > known => Err(FormatError::Newer { found, known }),
        found => Ok(found),
    }
}

/// The JSON of a record or snapshot, checked against the checksum it carries if its version has one. Also says which
/// version that is.
pub(crate) fn check_sealed(bytes: &[u8], known: u64) -> Result<(u64, Cow<'_, [u8]>), FormatError> {
    let version = check_version(bytes, known)?;
    if version < SEALED_SINCE {
        return Ok((version, Cow::Borrowed(bytes)));
    }
    let inner = unseal(bytes).map_err(|error| FormatError::Contradiction(error.to_string()))?;
    Ok((version, Cow::Owned(inner)))
}

impl CommitRecord {
    /// Reads the record with number `number`.
    pub fn parse(number: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let (version, bytes) = check_sealed(bytes, VERSION)?;
        let record: Self = serde_json::from_slice(&bytes).map_err(FormatError::Garbage)?;
        if record.number != number {
            return Err(FormatError::Contradiction(format!(
                "it calls itself commit {}",
                record.number
            )));
        }
        record.added.iter().try_for_each(check_entry)?;
        let bare = record.added.iter().find(|entry| entry.crc32c.is_none());
        if let Some(entry) = bare.filter(|_| version >= SEALED_SINCE) {
            return Err(FormatError::Contradiction(format!(
                "it adds `{}` without its checksum",
                entry.path
            )));
        }
        record.removed.iter().try_for_each(|key| {
            parse_file_key(key)
                .map(drop)
                .map_err(|e| FormatError::Contradiction(e.to_string()))
        })?;
        Ok(record)
    }

    /// The text of the record, in the form of its version.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = json(self);
        if self.version < SEALED_SINCE {
            bytes
        } else {
            seal(bytes)
        }
    }
}

/// An entry must lie where its table and partition say.
pub fn check_entry(entry: &FileEntry) -> Result<(), FormatError> {
    let key = parse_file_key(&entry.path).map_err(|e| FormatError::Contradiction(e.to_string()))?;
    if (key.table, key.partition) == (entry.table, entry.partition) {
        Ok(())
    } else {
        Err(FormatError::Contradiction(format!(
            "`{}` does not lie in partition `{}` of {}",
            entry.path, entry.partition, entry.table
        )))
    }
}

/// A value as one line of JSON.
pub fn json<T: Serialize>(value: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "structs of text, numbers and lists with text keys always have a JSON form"
    )]
    let mut bytes = serde_json::to_vec(value).expect("our own structs serialize");
    bytes.push(b'\n');
    bytes
}
