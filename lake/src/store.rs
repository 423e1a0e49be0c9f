//! Where the bytes lie: local disk, memory, an object store (`crate::cloud`); and the contract they all pass.
//!
//! The shape follows what both disks and object stores can do. A batch's files are written through a
//! [`Stage`] and are invisible until the commit record names them. On disk they wait in `_staging` and
//! [`Stage::reveal`] renames them; an object store writes them to their final key at once, `reveal` does nothing,
//! and [`Stage::discard`] deletes what no record came to name. The record itself is created by
//! [`Store::put_if_absent`], the one call that decides between two writers.

pub mod contract;
mod fail_at;
mod local;
mod memory;

use std::fmt::Debug;
use std::io::{self, ErrorKind, Write};

pub use self::fail_at::{FailAt, Failure};
pub use self::local::Local;
pub(crate) use self::local::token;
pub use self::memory::Memory;
use crate::layout::BatchId;

/// What went wrong in a store. The kind of `source` is the part a caller may look at: `NotFound`, `AlreadyExists`,
/// `PermissionDenied`, `ReadOnlyFilesystem`, `StorageFull`, `FileTooLarge`, `InvalidInput` mean what they say.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{place}`")]
pub struct StoreError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// Where: a path, or a key.
    pub place: String,
    /// What failed.
    #[source]
    pub source: io::Error,
}

impl StoreError {
    /// An error of `action` at `place`.
    pub fn new(action: &'static str, place: impl Into<String>, source: io::Error) -> Self {
        let place = place.into();
        Self {
            action,
            place,
            source,
        }
    }

    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }

    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let advised = self.source.get_ref();
        if let Some(advised) = advised.and_then(|inner| inner.downcast_ref::<Advised>()) {
            return advised.help.clone();
        }
        let text = match self.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "make room on the lake's disk and run the command again; nothing was lost"
            }
            ErrorKind::PermissionDenied => {
                "see that this user may read and write the lake's directory"
            }
            ErrorKind::ReadOnlyFilesystem => {
                "the lake lies on a read-only file system; mount it writable to add data"
            }
            ErrorKind::Unsupported => {
                "the lake's file system cannot lock or link files; put the lake on a local disk"
            }
            ErrorKind::FileTooLarge => {
                "the file is far larger than anything flowaudit writes; restore it from a copy"
            }
            _ => return None,
        };
        Some(text.to_string())
    }
}

/// A failure that knows its own advice; put into the `source` of a [`StoreError`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Advised {
    message: String,
    help: Option<String>,
}

impl Advised {
    /// What failed, and what can be done.
    pub fn new(message: &str, help: Option<String>) -> Self {
        let message = message.to_string();
        Self { message, help }
    }
}

/// Whether [`Store::put_if_absent`] created the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It did.
    Created,
    /// Something was there already; it was left as it was.
    Exists,
}

/// Where the bytes of a lake lie. Keys are relative, with slashes, as [`crate::layout`] makes them.
pub trait Store: Debug + Send + Sync {
    /// The place as a person would name it.
    fn name(&self) -> String;

    /// Whether nothing lies here but what an interrupted creation of a lake leaves.
    fn is_fresh(&self) -> Result<bool, StoreError>;

    /// A whole object of at most `max_bytes`; larger ones are refused with kind `FileTooLarge`.
    fn get(&self, key: &str, max_bytes: u64) -> Result<Vec<u8>, StoreError>;

    /// Creates an object with this content, unless one exists. When this returns [`Put::Created`] the object is
    /// complete and survives a power failure; when it fails the object may or may not exist, but is never partial.
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put, StoreError>;

    /// The keys below a folder (`prefix` ends with a slash) that sort after `after`, in order.
    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, StoreError>;

    /// Removes an object. An absent one is no failure.
    fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Opens an object for reading ranges; what a live or dead writer has staged under the key can be read too,
    /// so that a record is true from the moment it exists.
    fn open(&self, key: &str) -> Result<Box<dyn ReadAt>, StoreError>;

    /// Begins a batch: a place for its files that nobody else touches while the stage lives.
    fn stage(&self, batch: &BatchId) -> Result<Box<dyn Stage>, StoreError>;

    /// Whether [`orphans`](Self::orphans) only hands out stages of writers that are surely dead. Where it does not, what
    /// they wrote may be removed only after the log says that they were given up.
    fn knows_the_dead(&self) -> bool {
        true
    }

    /// The stages whose writers are dead, now held by the caller.
    fn orphans(&self) -> Result<Vec<Box<dyn Stage>>, StoreError>;
}

/// Reads ranges of one object. Each thread opens its own.
pub trait ReadAt: Debug + Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset`; a short object is an error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// The files of one batch before they are visible. Dropping a stage leaves its files to [`Store::orphans`].
pub trait Stage: Debug + Send {
    /// The batch.
    fn batch(&self) -> &BatchId;

    /// Begins a file that will have this key.
    fn create(&mut self, key: &str) -> Result<Box<dyn Sink>, StoreError>;

    /// Makes all finished files survive a power failure. Comes before the record.
    fn seal(&mut self) -> Result<(), StoreError>;

    /// Keys of the files that are staged and not yet revealed.
    fn keys(&self) -> Result<Vec<String>, StoreError>;

    /// Puts files in their place, for good. Comes after the record; keys that are in place already are no failure.
    fn reveal(&mut self, keys: &[String]) -> Result<(), StoreError>;

    /// Ends the batch: what was not revealed is removed.
    fn discard(self: Box<Self>) -> Result<(), StoreError>;
}

/// A file being written.
pub trait Sink: Write + Send {
    /// Writes out everything; the file survives a power failure once its stage is sealed. Returns the size in bytes.
    /// Nothing is written afterwards.
    fn finish(&mut self) -> Result<u64, StoreError>;
}
