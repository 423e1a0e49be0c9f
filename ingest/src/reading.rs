//! One input from its first byte to its last: what its pieces become, and how far it was read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flowaudit_lake::checkpoint::Position;

use crate::decode::compressed::{Compression, Decompress};
use crate::decode::format::{Decoder, WINDOW_BYTES};
use crate::decode::split::{Piece, PieceEnd, Pieces};
use crate::decode::{Format, Unreadable};
use crate::error::IngestError;
use crate::normalize::{Entry, normalize};
use crate::settings::Settings;
use crate::source::Problem;
use crate::source::file::{self, Counted, Identity, Resume};
use crate::source::input;
use crate::summary::{Progress, Summary};
use crate::write::{At, Writer};

/// Progress is told after this many records of one input.
const PROGRESS_RECORDS: u64 = 20_000;

/// What all inputs of one run share.
pub(crate) struct Run<'r> {
    pub(crate) settings: &'r Settings,
    pub(crate) writer: Writer<'r>,
    pub(crate) summary: Summary,
    pub(crate) inputs: usize,
    pub(crate) progress: &'r mut dyn FnMut(&Progress),
}

/// What is known of an input before its records are read.
pub(crate) struct Opened<'o> {
    pub(crate) number: usize,
    pub(crate) name: String,
    /// As the lake names it.
    pub(crate) source: String,
    pub(crate) total: Option<u64>,
    /// Where a file is checkpointed; streams are not.
    pub(crate) checkpoint: Option<Checkpoint<'o>>,
}

/// Where a file is, and was, in its checkpoint.
pub(crate) struct Checkpoint<'o> {
    pub(crate) path: &'o Path,
    pub(crate) shard: String,
    pub(crate) from: Position,
    pub(crate) identity: Identity,
    pub(crate) plain: bool,
    /// What an earlier run kept.
    pub(crate) resume: Option<Resume>,
}

/// One input while it is read.
pub(crate) struct Reading<'i, 'r, 'o, R: Read> {
    pub(crate) run: &'i mut Run<'r>,
    pub(crate) opened: Opened<'o>,
    pub(crate) pieces: Pieces<Decompress<io::BufReader<Counted<R>>>>,
    pub(crate) open_end: bool,
}

/// What to do after a piece.
enum Next {
    Record,
    /// The piece is not a whole record yet; it stays unread.
    Leave,
}

impl<R: Read> Reading<'_, '_, '_, R> {
    /// Reads it to its end.
    pub(crate) fn run(mut self) -> Result<(), IngestError> {
        let Some((format, mut decoder)) = self.begin() else {
            return Ok(());
        };
        self.pieces.split_by(format.splitting());
        let from = self
            .opened
            .checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.from.at);
        let mut continues = self.continues();
        let (mut reached, mut records, mut left) = (self.pieces.position(), 0, None);
        let mut overlong = Overlong::default();
        let failing = loop {
            let Some(piece) = self.pieces.next_piece() else {
                break self.failure();
            };
            let (at, next, end, bytes) = (piece.at, piece.next, piece.end, piece.bytes.len());
            overlong.note(at, end);
            match take(
                self.run,
                &self.opened,
                &mut decoder,
                &piece,
                std::mem::take(&mut continues),
            ) {
                Next::Record => reached = next,
                Next::Leave => {
                    left = Some((at, bytes));
                    break self.failure();
                }
            }
            // A JSON object is closed; a line may yet go on.
            self.open_end = end == PieceEnd::StreamEnd
                && !matches!(format, Format::JsonLines | Format::JsonObjects);
            records += 1;
            if records % PROGRESS_RECORDS == 0 {
                self.progress();
            }
            if self.run.writer.is_full() {
                self.advance(&format, reached, false);
                self.run.publish()?;
            }
        };
        if left.is_none() && failing.is_none() {
            reached = self.pieces.position();
        }
        self.finish(&format, reached, left, failing);
        let max = self.run.settings.record_bytes_max;
        let problem = overlong.problem(&self.opened.name, max);
        self.run.summary.problems.extend(problem);
        self.run.summary.bytes += reached - from;
        self.progress();
        Ok(())
    }

    /// Finds out how the records are written and goes to where reading begins.
    fn begin(&mut self) -> Option<(Format, Decoder)> {
        let from = self
            .opened
            .checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.from.at);
        let kept = self
            .opened
            .checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.resume.as_ref());
        let kept = kept.and_then(Resume::format);
        let missing = from - self.pieces.position();
        if self.pieces.skip(missing) < missing {
            self.report_short();
            return None;
        }
        let format = match kept {
            Some(format) => format,
            None => {
                let window = self.pieces.peek(WINDOW_BYTES);
                if window.is_empty() {
                    self.report_empty();
                    return None;
                }
                let whole = window.len() < WINDOW_BYTES;
                let recognised =
                    Format::recognise(window, whole, self.run.settings.fields.as_ref());
                if from == 0 && self.pieces.peek(3) == b"\xef\xbb\xbf" {
                    self.pieces.skip(3);
                }
                match recognised {
                    Ok(format) => format,
                    Err(error) => {
                        self.report(error.to_string(), error.help());
                        return None;
                    }
                }
            }
        };
        match Decoder::new(&format) {
            Ok(decoder) => Some((format, decoder)),
            Err(error) => {
                self.report(error.to_string(), error.help());
                None
            }
        }
    }

    /// Whether the first line goes on from a record that was read before its line ended.
    fn continues(&mut self) -> bool {
        let open = self
            .opened
            .checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.resume.as_ref());
        open.is_some_and(|resume| resume.open_end)
            && !matches!(self.pieces.peek(1), [] | [b'\n' | b'\r', ..])
    }

    fn advance(&mut self, format: &Format, reached: u64, done: bool) {
        let size_read = self.pieces.get_ref().get_ref().get_ref().bytes;
        let Some(checkpoint) = &mut self.opened.checkpoint else {
            return;
        };
        let mut resume = Resume::new(&checkpoint.identity, format);
        resume.done = done;
        resume.open_end = self.open_end;
        if done {
            resume.size = size_read;
        }
        if checkpoint.plain {
            // Without these bytes only the head tells the file from another one.
            resume.tail = File::open(checkpoint.path)
                .and_then(|mut file| file::tail(&mut file, reached, u64::MAX))
                .ok();
        }
        let to = Position {
            at: reached,
            resume: resume.to_text(),
        };
        if checkpoint.from != to {
            self.run.writer.advance(
                file::SOURCE,
                &checkpoint.shard,
                &checkpoint.from,
                to.clone(),
            );
            checkpoint.from = to;
        }
    }

    fn finish(
        &mut self,
        format: &Format,
        reached: u64,
        left: Option<(u64, usize)>,
        failing: Option<Problem>,
    ) {
        let done = left.is_none() && failing.is_none();
        self.advance(format, reached, done);
        if let Some(problem) = failing {
            self.run.summary.problems.push(problem);
        } else if let Some((at, bytes)) = left {
            self.run.summary.problems.push(Problem {
                help: Some("nothing was lost; run again when it is written".to_owned()),
                ..Problem::note(&self.opened.name, format!("ends in the middle of a record: its last {bytes} bytes, from {at}, were left for the next run"))
            });
        }
    }

    /// What stopped the stream before its end, in words.
    fn failure(&self) -> Option<Problem> {
        let error = self.pieces.failure()?;
        let decompress = self.pieces.get_ref();
        let counted = decompress.get_ref().get_ref();
        let name = &self.opened.name;
        if counted.failed {
            return Some(Problem::failed(
                name,
                format!(
                    "could not be read past byte {}: {}",
                    counted.bytes,
                    input::reason(error)
                ),
                "what came before is in the lake and nothing was lost; run again when it can be read",
            ));
        }
        let kind = match decompress {
            Decompress::Gzip(_) => Compression::Gzip,
            Decompress::Zstd(_) => Compression::Zstd,
            Decompress::None(_) | Decompress::Snappy(_) => Compression::None,
        };
        let ending = if error.kind() == io::ErrorKind::UnexpectedEof {
            "is cut off"
        } else {
            "is damaged"
        };
        Some(Problem::failed(
            name,
            format!(
                "{ending}: its {} data ends after {} bytes, {} unpacked",
                kind.name(),
                counted.bytes,
                self.pieces.position()
            ),
            "every record before that is in the lake and nothing was lost; run again with the whole file",
        ))
    }

    fn report(&mut self, message: String, help: Option<String>) {
        let problem = match self.failure() {
            // A packed file that cannot be unpacked says nothing about what is inside.
            Some(problem) => problem,
            None => Problem {
                help,
                ..Problem::failed(&self.opened.name, message, "")
            },
        };
        self.run.summary.problems.push(problem);
    }

    fn report_empty(&mut self) {
        let problem = self
            .failure()
            .unwrap_or_else(|| Problem::note(&self.opened.name, "is empty"));
        self.run.summary.problems.push(problem);
    }

    fn report_short(&mut self) {
        let message =
            "ends before the place up to which it was read earlier; it was left alone".to_owned();
        self.report(
            message,
            Some("bring back the whole file; what was read before is still there".to_owned()),
        );
    }

    fn progress(&mut self) {
        let counted = self.pieces.get_ref().get_ref().get_ref();
        (self.run.progress)(&Progress {
            input: self.opened.name.clone(),
            number: self.opened.number,
            inputs: self.run.inputs,
            bytes_read: counted.bytes,
            bytes_total: self.opened.total,
            records: self.run.writer.records(),
        });
    }
}

/// Records of one input that were too long to be kept whole.
#[derive(Default)]
struct Overlong {
    records: u64,
    /// Where the first begins, and its bytes.
    first: Option<(u64, u64)>,
}

impl Overlong {
    fn note(&mut self, at: u64, end: PieceEnd) {
        if let PieceEnd::Overlong(bytes) = end {
            self.records += 1;
            self.first.get_or_insert((at, bytes));
        }
    }

    fn problem(&self, name: &str, max: usize) -> Option<Problem> {
        let (at, bytes) = self.first?;
        let records = match self.records {
            1 => "a record".to_owned(),
            records => format!("{records} records"),
        };
        Some(Problem::failed(
            name,
            format!(
                "holds {records} of more than {max} bytes, the first at byte {at} with {bytes} bytes; the beginning is kept in `rejects`"
            ),
            "see whether line breaks are missing; if it is meant to be so long, ingest the file into a new lake with a larger `--record-size-max`",
        ))
    }
}

/// Turns one piece into a flow, a gap or a reject.
fn take(
    run: &mut Run<'_>,
    opened: &Opened<'_>,
    decoder: &mut Decoder,
    piece: &Piece<'_>,
    continues: bool,
) -> Next {
    let at = At {
        source: &opened.source,
        position: piece.at,
    };
    if let PieceEnd::Overlong(bytes) = piece.end {
        let max = run.settings.record_bytes_max;
        return run.reject(piece, &Unreadable::Overlong { bytes, max }, at);
    }
    if continues {
        return run.reject(piece, &Unreadable::Continuation, at);
    }
    let is_json = matches!(decoder, Decoder::Json(_));
    let cut = piece.end == PieceEnd::Cut;
    if cut && !is_json {
        // However complete it looks, its last value may be half of one.
        return Next::Leave;
    }
    // A file can be read again when it has grown; a stream cannot.
    let may_leave = cut || piece.end == PieceEnd::StreamEnd && opened.checkpoint.is_some();
    match decoder.decode(piece.bytes) {
        Ok(None) => Next::Record,
        Ok(Some(record)) => match normalize(&record) {
            Ok(Entry::Flow(flow)) => {
                run.writer.flow(&flow, at);
                Next::Record
            }
            Ok(Entry::Gap(gap)) => {
                run.writer.gap(&gap, at);
                Next::Record
            }
            Err(_) if may_leave && !is_json => Next::Leave,
            Err(refused) => {
                *run.summary.reject_kinds.entry(refused.kind()).or_default() += 1;
                run.writer.reject(piece.bytes, refused.to_string(), at);
                Next::Record
            }
        },
        Err(_) if may_leave => Next::Leave,
        Err(unreadable) => run.reject(piece, &unreadable, at),
    }
}

impl Run<'_> {
    pub(crate) fn publish(&mut self) -> Result<(), IngestError> {
        self.writer.publish()?;
        let counts = self.writer.published();
        if counts.add_up() {
            Ok(())
        } else {
            Err(IngestError::Unaccounted { counts })
        }
    }

    fn reject(&mut self, piece: &Piece<'_>, unreadable: &Unreadable, at: At<'_>) -> Next {
        *self
            .summary
            .reject_kinds
            .entry(unreadable.kind())
            .or_default() += 1;
        self.writer.reject(piece.bytes, unreadable.to_string(), at);
        Next::Record
    }
}
