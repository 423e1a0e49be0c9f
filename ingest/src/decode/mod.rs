//! Bytes → raw records. Everything here is a function of its arguments: no files, no clock.
//!
//! [`compressed`] undoes gzip, zstd and [`snappy`], [`split`] cuts the decoded bytes into pieces of bounded size, [`format`] says
//! from the first pieces how the rest is written, and one decoder per format turns a piece into a [`RawRecord`]. Parquet is read from its end, by [`columns`].
//! What cannot be read is an [`Unreadable`] with its reason, never a panic and never the end of the stream.

pub mod columns;
pub mod compressed;
pub mod csv;
pub mod field;
pub mod format;
pub mod json;
pub mod snappy;
pub mod split;
pub mod text;

pub use field::{FIELDS, Field, RawRecord};
pub use format::{Decoder, Format};

use thiserror::Error;

/// Why a piece of input is not a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// The bytes are not text.
    #[error("byte {at} is not UTF-8")]
    NotUtf8 {
        /// Offset inside the piece.
        at: usize,
    },
    /// A NUL byte, as a crash leaves in a file that was being written.
    #[error("byte {at} is NUL")]
    Nul {
        /// Offset inside the piece.
        at: usize,
    },
    /// The piece is longer than the bound; only its head was kept.
    #[error("the record has {bytes} bytes, the bound is {max}")]
    Overlong {
        /// Length of the piece.
        bytes: u64,
        /// The bound.
        max: usize,
    },
    /// Not the JSON it should be.
    #[error("not a JSON object: expected {expected} at byte {at}")]
    NotJson {
        /// What would have been right.
        expected: &'static str,
        /// Offset inside the piece.
        at: usize,
    },
    /// A known field holds a list or an object.
    #[error("field `{}` holds neither text nor a number", field.name())]
    NotAScalar {
        /// The field.
        field: Field,
    },
    /// Two spellings of one field with different values.
    #[error("field `{}` is given twice with different values", field.name())]
    TwoValues {
        /// The field.
        field: Field,
    },
    /// Not one field of a flow log.
    #[error("no field of a flow log in it")]
    NoField,
    /// More or fewer values than fields.
    #[error("{found} values for {expected} fields")]
    FieldCount {
        /// Values in the record.
        found: usize,
        /// Fields the header, or the documented order, names.
        expected: usize,
    },
    /// The beginning of this line was read before its end had been written.
    #[error("the beginning of this line was already read as a record of its own")]
    Continuation,
}

impl Unreadable {
    /// The cause without its particulars, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Unreadable::NotUtf8 { .. } => "not UTF-8",
            Unreadable::Nul { .. } => "NUL byte",
            Unreadable::Overlong { .. } => "record too long",
            Unreadable::NotJson { .. } => "not a JSON object",
            Unreadable::NotAScalar { .. } => "field with a list or an object",
            Unreadable::TwoValues { .. } => "field given twice",
            Unreadable::NoField => "no field of a flow log",
            Unreadable::FieldCount { .. } => "wrong number of values",
            Unreadable::Continuation => "rest of a line read earlier",
        }
    }
}

/// The piece as text, or why it is none.
fn as_text(bytes: &[u8]) -> Result<&str, Unreadable> {
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(Unreadable::Nul { at });
    }
    std::str::from_utf8(bytes).map_err(|error| Unreadable::NotUtf8 {
        at: error.valid_up_to(),
    })
}
