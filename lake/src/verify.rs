//! Looks for damage: reads everything and holds it against the log.

use std::collections::BTreeSet;
use std::fmt;

use crate::LakeError;
use crate::checksum::{Checksum, Digest};
use crate::commit::FileEntry;
use crate::lake::Lake;
use crate::layout::{COMMITS, LOG, MARKER, SNAPSHOTS, TRIAL, commit_key, number_of};
use crate::log::{apply, read_record, read_snapshot};
use crate::read;
use crate::state::State;
use crate::store::{ReadAt, StoreError};
use crate::table::Table;

/// Bytes of a data file that are read at once while summing it up.
const PIECE_BYTES: usize = 1024 * 1024;

/// Something in a lake that is not as the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A file the log names is not there.
    Missing {
        /// The key of the file.
        key: String,
    },
    /// A file lies in a table's folder and the log does not name it; other programs read its rows all the same.
    Extra {
        /// The key of the file.
        key: String,
    },
    /// A file cannot be read to its end.
    Damaged {
        /// The key of the file.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A file has another number of rows than the log says.
    Rows {
        /// The key of the file.
        key: String,
        /// What the log says.
        recorded: u64,
        /// What the file holds.
        found: u64,
    },
    /// The log itself is damaged.
    Log {
        /// The key of the record or snapshot.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A file lies among the log's and is not part of it.
    Stray {
        /// The key of the file.
        key: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "`{key}` is missing"),
            Self::Extra { key } => write!(f, "`{key}` belongs to no commit"),
            Self::Damaged { key, reason } => write!(f, "`{key}` is damaged: {reason}"),
            Self::Rows {
                key,
                recorded,
                found,
            } => {
                write!(f, "`{key}` holds {found} rows, the log says {recorded}")
            }
            Self::Log { key, reason } => write!(f, "`{key}` cannot be trusted: {reason}"),
            Self::Stray { key } => write!(f, "`{key}` is not part of the log"),
        }
    }
}

impl Problem {
    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Missing { .. } | Self::Damaged { .. } | Self::Rows { .. } => {
                "restore the file from a copy, or ingest its hours again into a new lake"
            }
            Self::Extra { .. } | Self::Stray { .. } => {
                "move the file elsewhere; flowaudit never reads it"
            }
            Self::Log { key, .. } if key.starts_with(SNAPSHOTS) => {
                "delete the file: it only makes opening quick and is written again"
            }
            Self::Log { .. } => "restore the file from a copy of the lake",
        };
        Some(text.to_string())
    }
}

impl Lake {
    /// Reads every record, snapshot and data file and returns what is wrong. The lake may be written to meanwhile.
    pub fn verify(&self) -> Result<Vec<Problem>, LakeError> {
        let mut problems = Vec::new();
        // Listed before the log is read: a file appears only after its record.
        let mut present = BTreeSet::new();
        for table in Table::ALL {
            present.extend(self.store().list(&format!("{table}/"), "")?);
        }
        let snapshot = self.snapshot()?;
        self.verify_log(snapshot.number, &mut problems)?;
        for entry in snapshot.state().all_files() {
            present.remove(&entry.path);
            problems.extend(self.verify_file(entry)?);
        }
        problems.extend(present.into_iter().map(|key| Problem::Extra { key }));
        Ok(problems)
    }

    fn verify_log(&self, head: u64, problems: &mut Vec<Problem>) -> Result<(), LakeError> {
        let keys = self.store().list(&format!("{LOG}/"), "")?;
        let mut snapshots = BTreeSet::new();
        for key in keys {
            match number_of(&key) {
                Some(_) if key.starts_with(COMMITS) => {}
                Some(number) if key.starts_with(SNAPSHOTS) => drop(snapshots.insert(number)),
                _ if key == MARKER || key == TRIAL => {}
                _ => problems.push(Problem::Stray { key }),
            }
        }
        let mut state = State::default();
        for number in 1..=head {
            let applied = match read_record(self.store(), number) {
                Ok(Some(record)) => apply(&mut state, &record),
                Ok(None) => Err(LakeError::HoleInLog {
                    key: commit_key(number),
                }),
                Err(error) => Err(error),
            };
            if let Err(error) = applied {
                problems.push(Problem::Log {
                    key: commit_key(number),
                    reason: reason(&error),
                });
                return Ok(());
            }
            if snapshots.remove(&number) {
                let reason = match read_snapshot(self.store(), number) {
                    Ok(saved) if saved == state => continue,
                    Ok(_) => "it differs from what the commit records add up to".to_string(),
                    // Another writer has replaced it by a newer one.
                    Err(LakeError::Store(error))
                        if error.kind() == std::io::ErrorKind::NotFound =>
                    {
                        continue;
                    }
                    Err(error) => reason(&error),
                };
                problems.push(Problem::Log {
                    key: crate::layout::snapshot_key(number),
                    reason,
                });
            }
        }
        Ok(())
    }

    fn verify_file(&self, entry: &FileEntry) -> Result<Option<Problem>, LakeError> {
        let key = entry.path.clone();
        match self.count_rows(entry) {
            Ok(found) if found == entry.rows => Ok(None),
            Ok(found) => Ok(Some(Problem::Rows {
                key,
                recorded: entry.rows,
                found,
            })),
            // Replaced meanwhile.
            Err(LakeError::Stale { .. }) => Ok(None),
            Err(LakeError::Missing { .. }) => Ok(Some(Problem::Missing { key })),
            Err(LakeError::Damaged { reason, .. }) => Ok(Some(Problem::Damaged { key, reason })),
            Err(LakeError::Store(error)) => {
                let reason = format!("{error}: {}", error.source);
                Ok(Some(Problem::Damaged { key, reason }))
            }
            Err(error) => Err(error),
        }
    }

    fn count_rows(&self, entry: &FileEntry) -> Result<u64, LakeError> {
        let columns: Vec<&str> = entry
            .table
            .columns()
            .iter()
            .map(|column| column.name)
            .collect();
        let bytes = read::open_bytes(self, entry)?;
        if bytes.size() != entry.bytes {
            let reason = format!(
                "it has {} bytes, the log says {}",
                bytes.size(),
                entry.bytes
            );
            return Err(damaged(entry, reason));
        }
        if let Some(recorded) = entry.crc32c {
            let found = sum(bytes.as_ref(), &entry.path)?;
            if found != recorded {
                let reason = format!("its checksum is {found}, the log says {recorded}");
                return Err(damaged(entry, reason));
            }
        }
        let file = read::open(self, entry)?;
        let mut rows = 0;
        for row_group in 0..file.row_groups() {
            for batch in file.batches(&columns, row_group)? {
                rows += batch?.num_rows() as u64;
            }
        }
        Ok(rows)
    }
}

fn damaged(entry: &FileEntry, reason: String) -> LakeError {
    LakeError::Damaged {
        key: entry.path.clone(),
        reason,
    }
}

/// The checksum of a file, read piece by piece.
fn sum(bytes: &dyn ReadAt, key: &str) -> Result<Checksum, StoreError> {
    let mut digest = Digest::default();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < bytes.size() {
        let left = usize::try_from(bytes.size() - offset).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(PIECE_BYTES)];
        bytes
            .read_exact_at(piece, offset)
            .map_err(|source| StoreError::new("read", key, source))?;
        digest.update(piece);
        offset += piece.len() as u64;
    }
    Ok(digest.value())
}

/// An error with what caused it, on one line.
fn reason(error: &LakeError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
