//! The one loop: open, decode, normalise, write, publish.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use chrono::{DateTime, Utc};
use flowaudit_lake::Lake;
use flowaudit_lake::checkpoint::Position;

use crate::decode::compressed::{Compression, Decompress};
use crate::decode::split::{Pieces, Splitting};
use crate::error::IngestError;
use crate::reading::{Checkpoint, Opened, Reading, Run};
use crate::settings::Settings;
use crate::source::file::{self, Counted, Identity, Plan};
use crate::source::input::{self, Located};
use crate::source::{Input, Problem};
use crate::summary::{Progress, Summary};
use crate::write::Writer;

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
