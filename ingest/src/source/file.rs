//! A file that may have grown, been replaced or been cut since it was last read.
//!
//! A file is a shard, named by its absolute path; a file that took another's place is the next *incarnation* of that
//! shard, `path//2`. The position counts decoded bytes. What is needed to go on, and to notice that the file is another
//! one, is kept with the position: hashes of its head at several lengths, of the bytes before the position, its size,
//! and how its records are written.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flowaudit_lake::checkpoint::{Checkpoints, Position};
use serde::{Deserialize, Serialize};

use crate::decode::Format;

/// The source under which files are checkpointed.
pub const SOURCE: &str = "file";

/// Version of [`Resume`].
const VERSION: u64 = 1;

/// How much of the head of a file is hashed.
const HEAD_BYTES_MAX: u64 = 4096;

/// Lengths below that at which the head is hashed too.
const HEAD_LENGTHS: [u64; 4] = [64, 256, 1024, 2048];

/// How many bytes before the position are hashed.
const TAIL_BYTES: u64 = 4096;

/// What a checkpoint keeps beside the position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Version of this record.
    pub v: u64,
    /// Size of the file, packed, when it was read.
    pub size: u64,
    /// Whether the file was read to its end and nothing was left.
    pub done: bool,
    /// Length and hash of heads of the file.
    pub heads: Vec<(u64, String)>,
    /// Length and hash of the bytes before the position; of plain files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<(u64, String)>,
    /// `json-lines`, `json-objects`, `csv` or `text`.
    pub format: String,
    /// The CSV header, or the names of the text's columns.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub header: String,
    /// The last record had no line end yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open_end: bool,
}

impl Resume {
    /// What a file looks like now, read in this format; position and end are filled in as reading goes on.
    #[must_use]
    pub fn new(identity: &Identity, format: &Format) -> Self {
        let (format, header) = format.to_names();
        Resume {
            v: VERSION,
            size: identity.size,
            done: false,
            heads: identity.heads(),
            tail: None,
            format: format.to_owned(),
            header,
            open_end: false,
        }
    }

    /// How the records are written.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        Format::from_names(&self.format, &self.header)
    }

    fn parse(text: &str) -> Option<Resume> {
        serde_json::from_str(text)
            .ok()
            .filter(|resume: &Resume| resume.v == VERSION)
    }

    /// The text a checkpoint holds.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a file looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its size.
    pub size: u64,
    head: Vec<u8>,
}

impl Identity {
    /// Looks at a file; leaves it at its beginning.
    pub fn of(file: &mut File) -> io::Result<Identity> {
        let size = file.metadata()?.len();
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.by_ref().take(HEAD_BYTES_MAX).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Identity { size, head })
    }

    fn hash_of_head(&self, length: u64) -> Option<String> {
        self.head.get(..usize::try_from(length).ok()?).map(hash)
    }

    /// Hashes at several lengths, so that a file that was cut can be told from another one.
    fn heads(&self) -> Vec<(u64, String)> {
        let whole = self.head.len() as u64;
        let lengths = HEAD_LENGTHS
            .into_iter()
            .filter(|length| *length < whole)
            .chain([whole]);
        lengths
            .filter_map(|length| Some((length, self.hash_of_head(length)?)))
            .collect()
    }
}

/// What to do with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Never read: from its beginning, as this shard.
    Fresh {
        /// The shard.
        shard: String,
    },
    /// Read before and perhaps grown: on from there.
    Continue {
        /// The shard.
        shard: String,
        /// How far it was read.
        from: Position,
        /// What was kept.
        resume: Resume,
    },
    /// Read to its end, and the same as then.
    Unchanged,
    /// Shorter than when it was read.
    Shrunken {
        /// Its size then.
        before: u64,
    },
    /// The checkpoint was written by a newer version.
    Unknown,
}

/// Compares a file with what the lake knows of its path.
pub fn plan(
    checkpoints: &Checkpoints,
    path: &Path,
    file: &mut File,
    identity: &Identity,
) -> io::Result<Plan> {
    let name = path.to_string_lossy();
    let mut incarnation = 1;
    while checkpoints
        .get(SOURCE, &shard(&name, incarnation + 1))
        .is_some()
    {
        incarnation += 1;
    }
    let Some(from) = checkpoints.get(SOURCE, &shard(&name, incarnation)) else {
        return Ok(Plan::Fresh {
            shard: shard(&name, incarnation),
        });
    };
    let Some(resume) = Resume::parse(&from.resume) else {
        return Ok(Plan::Unknown);
    };
    let replaced = Plan::Fresh {
        shard: shard(&name, incarnation + 1),
    };
    if !same_head(&resume, identity) {
        return Ok(replaced);
    }
    let plain = resume.tail.is_some();
    if identity.size < if plain { from.at } else { resume.size } {
        return Ok(Plan::Shrunken {
            before: resume.size,
        });
    }
    if let Some((length, before)) = &resume.tail
        && tail(file, from.at, *length)?.1 != *before
    {
        return Ok(replaced);
    }
    if resume.done && identity.size == resume.size {
        return Ok(Plan::Unchanged);
    }
    Ok(Plan::Continue {
        shard: shard(&name, incarnation),
        from: from.clone(),
        resume,
    })
}

/// An absolute path never holds `//`, so incarnations cannot be mistaken for files.
fn shard(path: &str, incarnation: u32) -> String {
    if incarnation == 1 {
        path.to_owned()
    } else {
        format!("{path}//{incarnation}")
    }
}

/// Whether the file begins as the one that was read, as far as both go.
fn same_head(resume: &Resume, identity: &Identity) -> bool {
    let shared = resume
        .heads
        .iter()
        .rev()
        .find_map(|(length, before)| Some((before, identity.hash_of_head(*length)?)));
    // Shorter than the shortest head: nothing speaks for it being the same.
    shared.is_some_and(|(before, now)| *before == now)
}

/// Length and hash of at most 4 KiB before position `at` of a plain file; leaves the file somewhere.
pub fn tail(file: &mut File, at: u64, length: u64) -> io::Result<(u64, String)> {
    let length = length.min(TAIL_BYTES).min(at);
    file.seek(SeekFrom::Start(at - length))?;
    let mut bytes = Vec::new();
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    Ok((length, hash(&bytes)))
}

/// FNV-1a, 64 bits: stable for ever, and enough to tell files apart that nobody forges.
fn hash(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Counts what is read, and remembers whether a failure was the input's own or the decompressor's.
#[derive(Debug)]
pub struct Counted<R> {
    input: R,
    /// Bytes read so far.
    pub bytes: u64,
    /// The input itself failed.
    pub failed: bool,
}

impl<R: Read> Counted<R> {
    /// Begins at 0.
    pub fn new(input: R) -> BufReader<Self> {
        BufReader::with_capacity(
            128 * 1024,
            Counted {
                input,
                bytes: 0,
                failed: false,
            },
        )
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.input.read(into) {
            Ok(bytes) => {
                self.bytes += bytes as u64;
                Ok(bytes)
            }
            Err(error) => {
                self.failed |= error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}
