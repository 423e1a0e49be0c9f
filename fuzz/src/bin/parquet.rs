//! An object of Parquet: whatever its footer and its pages say of themselves, reading it ends, and within its memory.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use flowaudit_fuzz::values;
use flowaudit_ingest::decode::columns::Columns;
use libfuzzer_sys::fuzz_target;

/// What its pages may hold, in bytes.
const MEMORY: u64 = 1 << 20;
/// Enough rows to pass over several pages: a footer may tell of a million, and all of them be null.
const ROWS_MAX: usize = 16 << 10;

fuzz_target!(|data: &[u8]| {
    // From the beginning, and from where it was left.
    let whole = rows(data, 0);
    let rest = rows(data, 1);
    if let (Some(whole), Some(rest)) = (whole, rest) {
        assert_eq!(whole.get(1..).unwrap_or_default(), rest);
    }
});

/// The rows; nothing where they cannot be read to their end.
fn rows(data: &[u8], from: u64) -> Option<Vec<String>> {
    let bytes = Arc::new(Bytes::copy_from_slice(data));
    let mut columns = Columns::open(bytes, from, MEMORY).ok()?;
    let mut rows = Vec::new();
    while let Some(batch) = columns.next_rows().ok()? {
        for row in 0..batch.num_rows() {
            rows.push(columns.shown(&batch, row));
            _ = columns.record(&batch, row).map(|record| values(&record));
        }
        if rows.len() > ROWS_MAX {
            return None;
        }
    }
    Some(rows)
}
