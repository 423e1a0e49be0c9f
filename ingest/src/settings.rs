//! How records are read, and what may be held meanwhile.

use crate::decode::text::Layout;

/// How files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The order of space-separated values, where the files do not say.
    pub fields: Option<Layout>,
    /// A longer record is a reject, in bytes.
    pub record_bytes_max: usize,
    /// A batch is published when it has this many rows.
    pub batch_rows_max: usize,
    /// Or when it holds this many bytes in memory.
    pub batch_bytes_max: usize,
    /// Or when it touches this many hours and days.
    pub batch_partitions_max: usize,
    /// How many keys of records are kept to recognise duplicates without reading the lake, at about 20 bytes each.
    pub recent_keys_max: usize,
}

/// What the program takes before it reads anything, in bytes.
const PROGRAM_BYTES: u64 = 24 << 20;

/// A quarter of what may be held, without what the program takes itself.
pub(crate) fn quarter(memory_bytes: u64) -> u64 {
    memory_bytes
        .saturating_sub(PROGRAM_BYTES)
        .max(memory_bytes / 2)
        / 4
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            fields: None,
            record_bytes_max: 1024 * 1024,
            batch_rows_max: 500_000,
            batch_bytes_max: 512 * 1024 * 1024,
            batch_partitions_max: 256,
            recent_keys_max: 7_000_000,
        }
    }
}
