//! Reads rows: one file, one row group, some columns, a bounded number of rows at a time.
//!
//! Dictionary-encoded columns stay dictionary-encoded, and all batches of one row group share one dictionary
//! ([`is_same_dictionary`]): whoever works on addresses parses each distinct one once and then looks at keys. Every call opens the file
//! anew, so threads never share a file offset.

use std::io::{self, BufReader, ErrorKind, Read};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use crate::LakeError;
use crate::column::Column;
use crate::commit::FileEntry;
use crate::guard::guarded;
use crate::lake::Lake;
use crate::layout::Partition;
use crate::state::Snapshot;
use crate::store::ReadAt;
use crate::table::{Row, Table};

/// Rows of one batch at most.
pub const BATCH_ROWS: usize = 64 * 1024;

/// Bytes read at once where a page header is expected.
const HEADER_BYTES: usize = 1024;

/// A data file whose footer was read. Cheap to clone; each thread calls [`batches`](Self::batches) for its own row
/// groups.
#[derive(Debug, Clone)]
pub struct TableFile {
    lake: Lake,
    entry: FileEntry,
    metadata: ArrowReaderMetadata,
}

/// Reads the footer of a file.
///
/// A file that a newer commit removed gives [`LakeError::Stale`]: take a new snapshot and begin again.
pub fn open(lake: &Lake, entry: &FileEntry) -> Result<TableFile, LakeError> {
    let source = open_source(lake, entry)?;
    // The table says what the types are; a schema that some program embedded is not looked at.
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let load = || {
        let found = ArrowReaderMetadata::load(&source, options())?;
        let wanted = wanted_schema(entry.table, found.schema());
        ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options().with_schema(wanted))
    };
    let metadata = guarded(load).map_err(|reason| damaged(entry, reason))?;
    let metadata = metadata.map_err(|error| damaged(entry, error.to_string()))?;
    Ok(TableFile {
        lake: lake.clone(),
        entry: entry.clone(),
        metadata,
    })
}

/// The rows of one row group of a file. Reads the footer each time; for many row groups [`open`] the file once.
pub fn batches(
    lake: &Lake,
    entry: &FileEntry,
    columns: &[&str],
    row_group: usize,
) -> Result<Batches, LakeError> {
    open(lake, entry)?.batches(columns, row_group)
}

/// All rows of a table, for tables that are small.
pub fn rows<R: Row>(lake: &Lake, snapshot: &Snapshot) -> Result<Vec<R>, LakeError> {
    rows_of(lake, snapshot.files(R::TABLE))
}

/// All rows of one partition of a table.
pub fn rows_in<R: Row>(
    lake: &Lake,
    snapshot: &Snapshot,
    partition: Partition,
) -> Result<Vec<R>, LakeError> {
    rows_of(lake, snapshot.files_in(R::TABLE, partition))
}

fn rows_of<'a, R: Row>(
    lake: &Lake,
    files: impl IntoIterator<Item = &'a FileEntry>,
) -> Result<Vec<R>, LakeError> {
    let columns: Vec<&str> = R::TABLE
        .columns()
        .iter()
        .map(|column| column.name)
        .collect();
    let mut rows = Vec::new();
    for entry in files {
        let file = open(lake, entry)?;
        for row_group in 0..file.row_groups() {
            for batch in file.batches(&columns, row_group)? {
                rows.extend(R::from_batch(&batch?)?);
            }
        }
    }
    Ok(rows)
}

/// The rows of a file in which the key column `column` has this word. Row groups in which it does not occur are not read.
pub fn rows_with<R: Row>(
    lake: &Lake,
    entry: &FileEntry,
    column: &str,
    word: &str,
) -> Result<Vec<R>, LakeError> {
    let columns = R::TABLE.columns().iter();
    let columns: Vec<&str> = columns.map(|column| column.name).collect();
    let file = open(lake, entry)?;
    let mut rows = Vec::new();
    for group in 0..file.row_groups() {
        let is_word = |batch: &RecordBatch| {
            let keys = batch.column(0).as_dictionary_opt::<Int32Type>();
            keys.and_then(|keys| Some((keys, keys.values().as_string_opt::<i32>()?)))
                .map(|(keys, words)| {
                    let wanted = words.iter().position(|value| value == Some(word));
                    let is_wanted = |key: Option<i32>| {
                        wanted.is_some() && key.map(|key| key as usize) == wanted
                    };
                    keys.keys().iter().map(is_wanted).collect::<Vec<bool>>()
                })
        };
        let mut found = Vec::new();
        for batch in file.batches(&[column], group)? {
            let batch = batch?;
            found.extend(is_word(&batch).unwrap_or_else(|| vec![true; batch.num_rows()]));
        }
        if !found.contains(&true) {
            continue;
        }
        let mut found = found.into_iter();
        for batch in file.batches(&columns, group)? {
            let all = R::from_batch(&batch?)?.into_iter();
            rows.extend(
                all.zip(&mut found)
                    .filter(|(_, is)| *is)
                    .map(|(row, _)| row),
            );
        }
    }
    Ok(rows)
}

/// Whether two dictionaries are the same one, not only equal: all batches of a row group share theirs, though
/// each batch wraps it anew. What was worked out for `known` then holds for `values`. Costs nothing per row.
///
/// `known` must be kept alive between the calls, so that its memory is not given to another.
pub fn is_same_dictionary(known: &ArrayRef, values: &ArrayRef) -> bool {
    known.to_data().ptr_eq(&values.to_data())
}

impl TableFile {
    /// The entry in the log.
    pub fn entry(&self) -> &FileEntry {
        &self.entry
    }

    /// Number of row groups.
    pub fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Number of rows the footer counts.
    pub fn row_count(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// Number of rows of a row group; 0 where there is none.
    pub fn rows_in(&self, row_group: usize) -> u64 {
        let groups = self.metadata.metadata().row_groups();
        groups
            .get(row_group)
            .map_or(0, |group| group.num_rows().max(0) as u64)
    }

    /// Smallest and largest value of the table's time column in a row group, in microseconds since the epoch;
    /// `None` when the file does not say.
    pub fn times_in(&self, row_group: usize) -> Option<(i64, i64)> {
        let group = self.metadata.metadata().row_groups().get(row_group)?;
        let name = self.entry.table.time_column();
        let column = group
            .columns()
            .iter()
            .find(|column| column.column_path().string() == name)?;
        match column.statistics()? {
            Statistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
            _ => None,
        }
    }

    /// The rows of a row group, with these columns in this order. Opens the file anew. Columns that may be null and
    /// that the file does not have come as nulls.
    pub fn batches(&self, columns: &[&str], row_group: usize) -> Result<Batches, LakeError> {
        let table = self.entry.table;
        let columns = columns
            .iter()
            .map(|name| column(table, name))
            .collect::<Result<Vec<_>, _>>()?;
        let schema = Arc::new(Schema::new(
            columns
                .iter()
                .map(|column| column.field())
                .collect::<Vec<Field>>(),
        ));
        if row_group >= self.row_groups() {
            let reason = format!(
                "it has {} row groups, number {row_group} was asked for",
                self.row_groups()
            );
            return Err(LakeError::Damaged {
                key: self.entry.path.clone(),
                reason,
            });
        }
        let source = open_source(&self.lake, &self.entry)?;
        let present = self.metadata.parquet_schema();
        let names = columns.iter().map(|column| column.name);
        let mask = ProjectionMask::columns(present, names);
        let metadata = self.metadata.clone();
        let build = || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata)
                .with_projection(mask)
                .with_row_groups(vec![row_group])
                .with_batch_size(BATCH_ROWS)
                .build()
        };
        let reader = guarded(build).map_err(|reason| damaged(&self.entry, reason))?;
        let reader = Some(reader.map_err(|error| damaged(&self.entry, error.to_string()))?);
        Ok(Batches {
            entry: self.entry.clone(),
            reader,
            schema,
        })
    }
}

/// The batches of one row group.
pub struct Batches {
    entry: FileEntry,
    /// `None` after a failure.
    reader: Option<ParquetRecordBatchReader>,
    schema: SchemaRef,
}

impl Batches {
    fn arrange(&self, batch: &RecordBatch) -> Result<RecordBatch, LakeError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let array = match batch.column_by_name(field.name()) {
                Some(array) => Arc::clone(array),
                None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
                None => {
                    return Err(damaged(
                        &self.entry,
                        format!("column `{}` is missing", field.name()),
                    ));
                }
            };
            columns.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let arranged =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        arranged.map_err(|error| damaged(&self.entry, error.to_string()))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let failed = match guarded(|| reader.next()) {
            Ok(None) => return None,
            Ok(Some(Ok(batch))) => return Some(self.arrange(&batch)),
            Ok(Some(Err(ArrowError::ParquetError(reason)))) => reason,
            Ok(Some(Err(error))) => error.to_string(),
            Err(reason) => reason,
        };
        self.reader = None;
        Some(Err(damaged(&self.entry, failed)))
    }
}

fn column(table: Table, name: &str) -> Result<&'static Column, LakeError> {
    let found = table.columns().iter().find(|column| column.name == name);
    found.ok_or_else(|| LakeError::UnknownColumn {
        table,
        column: name.to_string(),
    })
}

/// The file's columns with the types the table gives them.
fn wanted_schema(table: Table, found: &SchemaRef) -> SchemaRef {
    let fields = found.fields().iter().map(|field| {
        let column = table
            .columns()
            .iter()
            .find(|column| column.name == field.name());
        match column {
            Some(column) => Field::new(field.name(), column.ty.arrow(), field.is_nullable()),
            None => field.as_ref().clone(),
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Opens a file the log names, for the Parquet reader.
fn open_source(lake: &Lake, entry: &FileEntry) -> Result<Source, LakeError> {
    Ok(Source(open_bytes(lake, entry)?.into()))
}

/// Opens a file the log names; if it is gone, the log says whether it may be.
pub(crate) fn open_bytes(lake: &Lake, entry: &FileEntry) -> Result<Box<dyn ReadAt>, LakeError> {
    match lake.store().open(&entry.path) {
        Ok(reader) => Ok(reader),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = entry.path.clone();
            let expected = lake.snapshot()?.state().holds(&key);
            Err(if expected {
                LakeError::Missing { key }
            } else {
                LakeError::Stale { key }
            })
        }
        Err(error) => Err(error.into()),
    }
}

fn damaged(entry: &FileEntry, reason: String) -> LakeError {
    LakeError::Damaged {
        key: entry.path.clone(),
        reason,
    }
}

/// A file as the Parquet reader wants it.
#[derive(Debug, Clone)]
struct Source(Arc<dyn ReadAt>);

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for Source {
    type T = BufReader<SourceReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let reader = SourceReader {
            source: Arc::clone(&self.0),
            offset: start,
        };
        Ok(BufReader::with_capacity(HEADER_BYTES, reader))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // Checked before allocating: a damaged footer may name any length.
        let end = start
            .checked_add(length as u64)
            .filter(|end| *end <= self.0.size());
        if end.is_none() {
            let text = format!("bytes {start}+{length} lie beyond the end of the file");
            return Err(ParquetError::EOF(text));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads on from an offset of its own.
struct SourceReader {
    source: Arc<dyn ReadAt>,
    offset: u64,
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size().saturating_sub(self.offset);
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.source
            .read_exact_at(&mut buffer[..length], self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}
