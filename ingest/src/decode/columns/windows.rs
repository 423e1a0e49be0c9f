//! An object by ranges; stretches read lately are kept, so that the columns of a row group share requests.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// So much is fetched at once, and so many stretches are kept: one for each column and the footer.
const WINDOW_BYTES: u64 = 1 << 20;
const WINDOWS: usize = 24;
/// A footer above this is taken for damage: it would hold thousands of row groups.
const FOOTER_BYTES_MAX: usize = 4 << 20;

/// Where bytes come from.
pub trait Ranges: Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;

    /// Exactly these, which lie within the size. An error is not looked into: whoever hands the ranges out keeps it.
    fn range(&self, range: Range<u64>) -> io::Result<Bytes>;
}

impl Ranges for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn range(&self, range: Range<u64>) -> io::Result<Bytes> {
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        match (at(range.start), at(range.end)) {
            (start, end) if start <= end && end <= self.len() => Ok(self.slice(start..end)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

type Kept = Mutex<Vec<(u64, Bytes)>>;

#[derive(Clone)]
pub(super) struct Windows(Arc<Inner>);

struct Inner {
    ranges: Arc<dyn Ranges>,
    /// Last used last.
    kept: Kept,
    /// Bytes fetched.
    bytes: AtomicU64,
    /// Whether bytes did not come.
    failed: Mutex<bool>,
}

impl Windows {
    pub(super) fn new(ranges: Arc<dyn Ranges>) -> Self {
        Windows(Arc::new(Inner {
            ranges,
            kept: Kept::default(),
            bytes: AtomicU64::new(0),
            failed: Mutex::new(false),
        }))
    }

    pub(super) fn size(&self) -> u64 {
        self.0.ranges.size()
    }

    /// Bytes fetched since this was last asked.
    pub(super) fn take_bytes(&self) -> u64 {
        self.0.bytes.swap(0, Ordering::Relaxed)
    }

    /// Whether bytes did not come.
    pub(super) fn has_failed(&self) -> bool {
        *self.0.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes from `start` on, at least `length` of them where there are so many.
    pub(super) fn window(&self, start: u64, length: u64) -> Result<Bytes> {
        let end = start.saturating_add(length).min(self.size());
        if start >= end {
            return Ok(Bytes::new());
        }
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |from: u64, bytes: &Bytes| from <= start && end <= from + bytes.len() as u64;
        if let Some(at) = kept.iter().position(|(from, bytes)| holds(*from, bytes)) {
            let (from, bytes) = kept.remove(at);
            kept.push((from, bytes.clone()));
            let begin = usize::try_from(start - from).unwrap_or(usize::MAX);
            return Ok(bytes.slice(begin.min(bytes.len())..));
        }
        let until = start
            .saturating_add(length.max(WINDOW_BYTES))
            .min(self.size());
        let bytes = self.0.ranges.range(start..until).map_err(|error| {
            *self.0.failed.lock().unwrap_or_else(PoisonError::into_inner) = true;
            ParquetError::General(error.to_string())
        })?;
        self.0
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // A long page is asked for once, and would be held beside itself.
        if length <= WINDOW_BYTES {
            if kept.len() >= WINDOWS {
                kept.remove(0);
            }
            kept.push((start, bytes.clone()));
        }
        Ok(bytes)
    }

    /// Exactly these bytes, a copy that holds no window.
    pub(super) fn exactly(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.window(start, length as u64)?;
        match bytes.len() >= length {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF(
                "it ends before its footer says".to_owned(),
            )),
        }
    }
}

impl Length for Windows {
    fn len(&self) -> u64 {
        self.size()
    }
}

/// Only footers are read this way.
impl ChunkReader for Windows {
    type T = WindowRead;

    fn get_read(&self, start: u64) -> Result<WindowRead> {
        Ok(WindowRead {
            windows: self.clone(),
            at: start,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length > FOOTER_BYTES_MAX {
            return Err(ParquetError::General(format!(
                "a footer of {length} bytes is none"
            )));
        }
        let footer = self.exactly(start, length)?;
        match super::header::is_schema_walkable(&footer) {
            true => Ok(footer),
            false => Err(ParquetError::General(
                "its schema is none of a table".to_owned(),
            )),
        }
    }
}

/// Reads on from a place.
pub(super) struct WindowRead {
    windows: Windows,
    at: u64,
}

impl Read for WindowRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.windows.window(self.at, 1).map_err(io::Error::other)?;
        let length = bytes.len().min(into.len());
        if let (Some(into), Some(bytes)) = (into.get_mut(..length), bytes.get(..length)) {
            into.copy_from_slice(bytes);
        }
        self.at += length as u64;
        Ok(length)
    }
}
