//! An object of Parquet: its columns by ranges of the bucket.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::fetch::{Failure, Object};
use super::lines::Stopped;
use crate::decode::columns::{Columns, NotRead, Ranges};

/// An object by ranges; why one did not come is kept for whoever asks.
struct Ranged {
    object: Object,
    failure: Failure,
}

impl Ranges for Ranged {
    fn size(&self) -> u64 {
        self.object.size
    }

    fn range(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.object.range(range).map_err(|error| {
            let text = error.to_string();
            self.failure.set(error);
            io::Error::other(text)
        })
    }
}

/// Reads the footer.
pub(super) fn open(
    object: &Object,
    at: u64,
    memory_bytes: u64,
    failure: &Failure,
) -> Result<Columns, Stopped> {
    let ranged = Ranged {
        object: object.clone(),
        failure: failure.clone(),
    };
    Ok(Columns::open(Arc::new(ranged), at, memory_bytes)?)
}

impl From<NotRead> for Stopped {
    fn from(not_read: NotRead) -> Stopped {
        match not_read {
            NotRead::Fetching => Stopped::Fetching,
            other => Stopped::Object(other.to_string(), other.help().to_owned()),
        }
    }
}
