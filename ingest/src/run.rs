//! The one loop: open, decode, normalise, write, publish.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::AddAssign;
use std::path::Path;

use chrono::{DateTime, Utc};
use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::{Lake, LakeError};
use thiserror::Error;

use crate::decode::compressed::{Compression, Decompress};
use crate::decode::split::{Pieces, Splitting};
use crate::decode::text::Layout;
use crate::kubernetes::KubernetesError;
use crate::oss::OssReadError;
use crate::reading::{Checkpoint, Opened, Reading};
use crate::sls::SlsError;
use crate::source::file::{self, Counted, Identity, Plan};
use crate::source::input::{self, Located};
use crate::source::{Input, InputError, Problem, Severity};
use crate::write::Writer;

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

/// What became of the records. `records = flows + gaps + rejects + duplicates`, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub records: u64,
    /// Became flows.
    pub flows: u64,
    /// Became gaps.
    pub gaps: u64,
    /// Could not become flows; kept with their reasons.
    pub rejects: u64,
    /// Were in the lake already, or twice in the input.
    pub duplicates: u64,
}

impl Counts {
    /// Whether nothing vanished.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.records == self.flows + self.gaps + self.rejects + self.duplicates
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.records += other.records;
        self.flows += other.flows;
        self.gaps += other.gaps;
        self.rejects += other.rejects;
        self.duplicates += other.duplicates;
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs looked at.
    pub inputs: u64,
    /// Inputs in which nothing was new since the last run.
    pub unchanged: u64,
    /// Decoded bytes read.
    pub bytes: u64,
    /// What became of the records.
    pub counts: Counts,
    /// Rejects by cause.
    pub reject_kinds: BTreeMap<&'static str, u64>,
    /// What the user should know, by input.
    pub problems: Vec<Problem>,
}

impl Summary {
    /// Whether something of some input is not in the lake.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Failed)
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The input being read.
    pub input: String,
    /// Its number, from 0.
    pub number: usize,
    /// How many inputs there are.
    pub inputs: usize,
    /// Bytes of it read, as it lies on disk.
    pub bytes_read: u64,
    /// Its size on disk, where it has one.
    pub bytes_total: Option<u64>,
    /// Records read in the whole run.
    pub records: u64,
}

/// Why a run stopped.
#[derive(Debug, Error)]
pub enum IngestError {
    /// An input that cannot be meant. Nothing was read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The lake failed. What was published before stays.
    #[error("cannot write to the lake")]
    Lake(#[from] LakeError),
    /// The log service failed, or refused. What was published before stays.
    #[error("cannot read from the log service")]
    Sls(#[from] SlsError),
    /// The bucket cannot be read. What was published before stays.
    #[error("cannot read from the bucket")]
    Oss(#[from] OssReadError),
    /// The API server of a cluster failed, or refused. What was published before stays.
    #[error("cannot watch the cluster")]
    Kubernetes(#[from] KubernetesError),
    /// A newer version read the source.
    #[error("{0}")]
    Newer(String),
    /// No threads.
    #[error("no threads can be started")]
    Runtime(#[source] io::Error),
    /// A mistake of ours: records are not accounted for.
    #[error(
        "{} records were read, but {} flows, {} gaps, {} rejects and {} duplicates written",
        counts.records, counts.flows, counts.gaps, counts.rejects, counts.duplicates
    )]
    Unaccounted {
        /// The figures.
        counts: Counts,
    },
}

impl IngestError {
    /// Whether the arguments were at fault, and nothing was read or written.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            IngestError::Input(_) => true,
            IngestError::Kubernetes(error) => error.is_usage(),
            _ => false,
        }
    }

    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            IngestError::Input(error) => error.help(),
            IngestError::Lake(error) => error.help(),
            IngestError::Sls(error) => error.help(),
            IngestError::Oss(error) => error.help(),
            IngestError::Kubernetes(error) => error.help(),
            IngestError::Newer(_) => Some("use that version or a later one".to_owned()),
            IngestError::Runtime(_) => {
                Some("nothing was read; see how many threads this user may have".to_owned())
            }
            IngestError::Unaccounted { .. } => {
                Some("this is a mistake in flowaudit: please report it with the input".to_owned())
            }
        }
    }
}

/// Brings flow logs from files, directories, patterns and standard input into the lake.
///
/// What is wrong with one input is a [`Problem`] in the summary, and the others are read. Killed at any instant and
/// run again with the same files, nothing is lost and nothing doubled; standard input has no position, there the
/// records themselves are recognised.
pub fn files(
    lake: &Lake,
    inputs: &[Input],
    settings: &Settings,
    progress: &mut dyn FnMut(&Progress),
    now: DateTime<Utc>,
) -> Result<Summary, IngestError> {
    let (located, problems) = input::locate(inputs, &|_| true)?;
    let mut run = Run {
        settings,
        writer: Writer::new(lake, settings, now),
        summary: Summary {
            problems,
            ..Summary::default()
        },
        inputs: located.len(),
        progress,
    };
    for (number, located) in located.iter().enumerate() {
        run.summary.inputs += 1;
        match located {
            Located::File(path) => run.file(lake, number, path)?,
            Located::Stream(path) => match File::open(path) {
                Ok(file) => run.stream(number, located, file)?,
                Err(error) => run.unreadable(&located.name(), &error),
            },
            Located::Stdin => run.stream(number, located, io::stdin().lock())?,
        }
    }
    run.publish()?;
    let mut summary = run.summary;
    summary.counts = run.writer.published();
    Ok(summary)
}

/// What all inputs of one run share.
pub(crate) struct Run<'r> {
    pub(crate) settings: &'r Settings,
    pub(crate) writer: Writer<'r>,
    pub(crate) summary: Summary,
    pub(crate) inputs: usize,
    pub(crate) progress: &'r mut dyn FnMut(&Progress),
}

impl Run<'_> {
    fn file(&mut self, lake: &Lake, number: usize, path: &Path) -> Result<(), IngestError> {
        let name = path.to_string_lossy().into_owned();
        let (mut file, identity) =
            match File::open(path).and_then(|mut file| Ok((Identity::of(&mut file)?, file))) {
                Ok((identity, file)) => (file, identity),
                Err(error) => {
                    self.unreadable(&name, &error);
                    return Ok(());
                }
            };
        let snapshot = lake.snapshot()?;
        let plan = match file::plan(snapshot.checkpoints(), path, &mut file, &identity) {
            Ok(plan) => plan,
            Err(error) => {
                self.unreadable(&name, &error);
                return Ok(());
            }
        };
        let (shard, from, resume) = match plan {
            Plan::Fresh { shard } => (shard, Position::at(0), None),
            Plan::Continue {
                shard,
                from,
                resume,
            } => (shard, from, Some(resume)),
            Plan::Unchanged => {
                self.summary.unchanged += 1;
                return Ok(());
            }
            Plan::Shrunken { before } => {
                self.summary.problems.push(Problem::failed(
                    &name,
                    format!("has {} bytes now, and had {before} when it was last read; it was left alone", identity.size),
                    "bring back the whole file, or give the new one another name; what was read before is still there",
                ));
                return Ok(());
            }
            Plan::Unknown => {
                self.summary.problems.push(Problem::failed(
                    &name,
                    "was last read by a newer version of flowaudit; it was left alone",
                    "use that version or a later one",
                ));
                return Ok(());
            }
        };
        let opened = Opened {
            number,
            source: format!("{}:{shard}", file::SOURCE),
            name,
            total: Some(identity.size),
            checkpoint: Some(Checkpoint {
                path,
                shard,
                from,
                identity,
                plain: false,
                resume,
            }),
        };
        self.input(opened, |opened| {
            let mut magic = [0; 4];
            let length = read_up_to(&mut file, &mut magic)?;
            let plain = Compression::from_magic(magic.get(..length).unwrap_or_default())
                == Compression::None;
            let mut begin = 0;
            if let Some(checkpoint) = &mut opened.checkpoint {
                checkpoint.plain = plain;
                begin = if plain { checkpoint.from.at } else { 0 };
            }
            file.seek(SeekFrom::Start(begin))?;
            let mut counted = Counted::new(file);
            counted.get_mut().bytes = begin;
            let decompressed = if plain {
                Decompress::None(counted)
            } else {
                Decompress::new(counted)?.0
            };
            Ok((decompressed, begin))
        })
    }

    fn stream(
        &mut self,
        number: usize,
        located: &Located,
        input: impl Read,
    ) -> Result<(), IngestError> {
        let source = match located {
            Located::Stdin => "stdin".to_owned(),
            _ => format!("{}:{}", file::SOURCE, located.name()),
        };
        let opened = Opened {
            number,
            name: located.name(),
            source,
            total: None,
            checkpoint: None,
        };
        self.input(opened, |_| Ok((Decompress::new(Counted::new(input))?.0, 0)))
    }

    fn input<R: Read>(
        &mut self,
        mut opened: Opened<'_>,
        open: impl FnOnce(&mut Opened<'_>) -> io::Result<(Decompress<io::BufReader<Counted<R>>>, u64)>,
    ) -> Result<(), IngestError> {
        let (input, begin) = match open(&mut opened) {
            Ok(opened) => opened,
            Err(error) => {
                self.unreadable(&opened.name, &error);
                return Ok(());
            }
        };
        let pieces = Pieces::new(
            input,
            begin,
            Splitting::Lines,
            self.settings.record_bytes_max,
        );
        Reading {
            run: self,
            opened,
            pieces,
            open_end: false,
        }
        .run()
    }

    fn unreadable(&mut self, name: &str, error: &io::Error) {
        self.summary.problems.push(Problem::failed(
            name,
            format!("cannot be read: {}", input::reason(error)),
            "see to it that this user may read it, and run again; nothing was lost",
        ));
    }

    pub(crate) fn publish(&mut self) -> Result<(), IngestError> {
        self.writer.publish()?;
        let counts = self.writer.published();
        if counts.add_up() {
            Ok(())
        } else {
            Err(IngestError::Unaccounted { counts })
        }
    }
}

fn read_up_to(input: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match input.read(into.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(bytes) => length += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
