//! One object from where it was left to its end, into the batch.

use std::io::BufReader;
use std::sync::Arc;

use arrow_array::RecordBatch;
use chrono::Utc;
use object_store::Error;

use super::{Form, OssReadError, Problem, Pulling};
use crate::decode::columns::Columns;
use crate::decode::format::Decoder;
use crate::decode::split::{KEPT_BYTES_MAX, Piece, PieceEnd};
use crate::decode::{RawRecord, Unreadable};
use crate::error::IngestError;
use crate::normalize::{Entry, normalize};
use crate::oss::columns;
use crate::oss::error::Fate;
use crate::oss::fetch::{Failure, Fetched, Object};
use crate::oss::lines::{Lines, Stopped};
use crate::oss::position::Reached;
use crate::settings::quarter;
use crate::write::At;

/// An object to be read.
pub(super) struct Todo {
    pub(super) key: String,
    pub(super) shard: String,
    /// When its shipping task was made, in Unix seconds.
    pub(super) at: i64,
    pub(super) reached: Reached,
    /// Shards of what had this key before.
    pub(super) before: Vec<String>,
    pub(super) object: Object,
}

/// How the reading of one object ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done, or told of.
    Over,
    /// The run is to end.
    Stopped,
}

/// How far one object is within this run.
struct Progress<'t> {
    todo: &'t Todo,
    /// What is in the batch, or in the lake.
    noted: Reached,
    /// Whether what had this key before was forgotten.
    replaced: bool,
}

impl Pulling<'_> {
    /// Reads one object.
    pub(super) fn object(
        &mut self,
        todo: &Todo,
        mut input: BufReader<Fetched>,
    ) -> Result<Outcome, IngestError> {
        if self.stop.is_stopped() {
            return Ok(Outcome::Stopped);
        }
        if self.writer.is_empty() {
            self.writer.at(Utc::now());
        }
        let mut progress = Progress {
            todo,
            noted: todo.reached.clone(),
            replaced: todo.before.is_empty(),
        };
        let parquet = self.settings.form == Form::Parquet;
        if parquet && todo.object.size == 0 {
            // Not even a footer: nothing was written.
            self.done(&mut progress, todo.reached.clone());
            return Ok(Outcome::Over);
        }
        let first = match parquet {
            true => *b"PAR1",
            false => match Lines::peek(&mut input) {
                Ok(first) => first,
                Err(_) => return self.unfetched(&progress, input.get_ref().failure.get()),
            },
        };
        match &first {
            b"PAR1" => {
                drop(input);
                self.columns(&mut progress)
            }
            [b'O', b'R', b'C', _] => {
                let message = "is an ORC file, which flowaudit does not read".to_owned();
                let help = "set the storage format (`contentType`) of the shipping job to parquet, json or csv; objects it has written so far can be named under `skip` in the settings of the source: what they held becomes a gap";
                self.refuse(
                    &todo.key,
                    todo.shard.clone(),
                    todo.at,
                    message,
                    help.to_owned(),
                );
                Ok(Outcome::Over)
            }
            _ => self.lines(&mut progress, input),
        }
    }

    fn lines(
        &mut self,
        progress: &mut Progress<'_>,
        input: BufReader<Fetched>,
    ) -> Result<Outcome, IngestError> {
        let todo = progress.todo;
        let format = match &self.settings.form {
            Form::Lines(format) => Some(format),
            _ => None,
        };
        // Kept apart, because an object that cannot be opened takes its input with it.
        let failure = input.get_ref().failure.clone();
        let opened = Lines::open(
            input,
            self.settings.packing,
            format,
            self.settings.fields.as_ref(),
            &todo.reached,
            self.settings.record_bytes_max,
        );
        let mut lines = match opened {
            Ok(Some(lines)) => lines,
            Ok(None) => {
                self.done(progress, todo.reached.clone());
                return Ok(Outcome::Over);
            }
            Err(Stopped::Fetching) => return self.unfetched(progress, failure.get()),
            Err(Stopped::Object(message, help)) => {
                self.refuse(&todo.key, todo.shard.clone(), todo.at, message, help);
                return Ok(Outcome::Over);
            }
        };
        let place = self.place(&todo.key);
        let format = lines.format().clone();
        let reached = |at: u64| Reached {
            at,
            done: false,
            format: Some(format.clone()),
        };
        let mut at = todo.reached.at;
        let mut counted = 0;
        while let Some((piece, decoder)) = lines.next() {
            if piece.end == PieceEnd::Cut {
                // However complete it looks, its last value may be half of one.
                break;
            }
            at = piece.next;
            self.take_piece(&piece, decoder, &place);
            if self.writer.is_full() || self.stop.is_stopped() {
                let bytes = lines.fetched().bytes;
                self.batch.packed_bytes += bytes - std::mem::replace(&mut counted, bytes);
                self.note(progress, reached(at));
                self.publish()?;
                if self.stop.is_stopped() {
                    return Ok(Outcome::Stopped);
                }
            }
        }
        self.batch.packed_bytes += lines.fetched().bytes - counted;
        match lines.failure() {
            None => self.done(progress, reached(lines.position())),
            Some(Stopped::Fetching) => {
                let error = failure.get();
                if error
                    .as_ref()
                    .is_some_and(|error| Fate::of(error) == Fate::Altered)
                {
                    // Nobody knows which of its records are what was stored.
                    self.forget_batch();
                } else {
                    self.note(progress, reached(at));
                }
                return self.unfetched(progress, error);
            }
            Some(Stopped::Object(message, help)) => {
                self.note(progress, reached(at));
                self.refuse(&todo.key, todo.shard.clone(), todo.at, message, help);
            }
        }
        Ok(Outcome::Over)
    }

    fn columns(&mut self, progress: &mut Progress<'_>) -> Result<Outcome, IngestError> {
        let todo = progress.todo;
        let failure = Failure::default();
        let memory = quarter(self.settings.memory_bytes);
        let mut columns = match columns::open(&todo.object, todo.reached.at, memory, &failure) {
            Ok(columns) => columns,
            Err(Stopped::Fetching) => return self.unfetched(progress, failure.get()),
            Err(Stopped::Object(message, help)) => {
                self.refuse(&todo.key, todo.shard.clone(), todo.at, message, help);
                return Ok(Outcome::Over);
            }
        };
        let place = self.place(&todo.key);
        let reached = |at: u64| Reached {
            at,
            done: false,
            format: None,
        };
        let mut at = todo.reached.at;
        loop {
            let batch = match columns.next_rows() {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(not_read) => {
                    self.batch.packed_bytes += columns.take_bytes();
                    self.note(progress, reached(at));
                    return match Stopped::from(not_read) {
                        Stopped::Fetching => self.unfetched(progress, failure.get()),
                        Stopped::Object(message, help) => {
                            self.refuse(&todo.key, todo.shard.clone(), todo.at, message, help);
                            Ok(Outcome::Over)
                        }
                    };
                }
            };
            for row in 0..batch.num_rows() {
                self.take_row(&columns, &batch, row, &place, at);
                at += 1;
                if self.writer.is_full() {
                    self.batch.packed_bytes += columns.take_bytes();
                    self.note(progress, reached(at));
                    self.publish()?;
                }
            }
            if self.stop.is_stopped() {
                self.batch.packed_bytes += columns.take_bytes();
                self.note(progress, reached(at));
                self.publish()?;
                return Ok(Outcome::Stopped);
            }
        }
        self.batch.packed_bytes += columns.take_bytes();
        self.done(progress, reached(at));
        Ok(Outcome::Over)
    }

    fn take_piece(&mut self, piece: &Piece<'_>, decoder: &mut Decoder, place: &str) {
        let position = piece.at;
        let record = match piece.end {
            PieceEnd::Overlong(bytes) => Err(Unreadable::Overlong {
                bytes,
                max: self.settings.record_bytes_max,
            }),
            _ => match decoder.decode(piece.bytes) {
                Ok(None) => return,
                Ok(Some(record)) => Ok(record),
                Err(error) => Err(error),
            },
        };
        let raw = piece.bytes;
        self.take(
            record,
            At {
                source: place,
                position,
            },
            || {
                raw.get(..KEPT_BYTES_MAX.min(raw.len()))
                    .unwrap_or_default()
                    .to_vec()
            },
        );
    }

    fn take_row(
        &mut self,
        columns: &Columns,
        batch: &RecordBatch,
        row: usize,
        place: &str,
        position: u64,
    ) {
        let record = columns.record(batch, row);
        self.take(
            record,
            At {
                source: place,
                position,
            },
            || columns.shown(batch, row).into_bytes(),
        );
    }

    /// Turns a record into a flow, a gap or a reject.
    fn take(
        &mut self,
        record: Result<RawRecord<'_>, Unreadable>,
        at: At<'_>,
        raw: impl FnOnce() -> Vec<u8>,
    ) {
        let (kind, reason) = match record {
            Ok(record) => match normalize(&record) {
                Ok(Entry::Flow(flow)) => return self.writer.flow(&flow, at),
                Ok(Entry::Gap(gap)) => return self.writer.gap(&gap, at),
                Err(refused) => (refused.kind(), refused.to_string()),
            },
            Err(unreadable) => (unreadable.kind(), unreadable.to_string()),
        };
        if self.kept_rejects.has(at.source, at.position) {
            return self.writer.reject_again();
        }
        *self.summary.reject_kinds.entry(kind).or_default() += 1;
        self.writer.reject(&raw(), reason, at);
    }

    /// Notes how far an object was read; with it goes what had its key before.
    fn note(&mut self, progress: &mut Progress<'_>, to: Reached) {
        if !std::mem::replace(&mut progress.replaced, true) {
            for shard in &progress.todo.before {
                self.writer.forget(&self.source, shard);
            }
            self.summary.changed += 1;
            let place = self.place(&progress.todo.key);
            let message = "was replaced since it was read, and is read again; records that were in it before are kept once";
            self.tell(Problem::note(place, message));
        }
        if to != progress.noted {
            let from = progress.noted.to_position();
            self.writer
                .advance(&self.source, &progress.todo.shard, &from, to.to_position());
            progress.noted = to;
        }
    }

    fn done(&mut self, progress: &mut Progress<'_>, mut reached: Reached) {
        reached.done = true;
        reached.format = None;
        self.note(progress, reached);
        self.batch.objects += 1;
    }

    /// An object whose bytes do not come, or not all of them.
    fn unfetched(
        &mut self,
        progress: &Progress<'_>,
        failure: Option<Arc<Error>>,
    ) -> Result<Outcome, IngestError> {
        let todo = progress.todo;
        let Some(error) = failure else {
            // The task that fetches is gone without a word: the runtime ends.
            return Ok(Outcome::Stopped);
        };
        match Fate::of(&error) {
            Fate::Altered | Fate::Service if self.stop.is_stopped() => {
                return Ok(Outcome::Stopped);
            }
            Fate::Gone => {
                self.missed(&todo.key, todo.at, "object-gone");
                self.finish(&todo.shard, &progress.noted);
                let place = self.place(&todo.key);
                let message = "was gone before it was read; the stretch is in `gaps`";
                self.tell(Problem::note(place, message));
            }
            Fate::Changed => {
                self.hold(todo.at);
                let place = self.place(&todo.key);
                let message = "was replaced while it was read";
                let help = "nothing was lost; what has its key now is read next time";
                self.tell(Problem::failed(place, message, help));
                if !self.settings.follow {
                    self.refused.insert(todo.shard.clone(), todo.at);
                }
            }
            Fate::Archived => {
                let message = "is archived and cannot be read".to_owned();
                let help = "restore it, or name its key under `skip` in the settings of the source: what it held becomes a gap";
                self.refuse(
                    &todo.key,
                    todo.shard.clone(),
                    todo.at,
                    message,
                    help.to_owned(),
                );
            }
            Fate::Altered | Fate::Service => {
                return Err(OssReadError::reading(self.place(&todo.key), &error).into());
            }
        }
        Ok(Outcome::Over)
    }

    fn forget_batch(&mut self) {
        self.writer.discard();
        self.batch = Default::default();
    }
}
