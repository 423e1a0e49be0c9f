//! Writes rows as Parquet, as they come, with bounded memory.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::LakeError;
use crate::checksum::Digest;
use crate::column::ColumnType;
use crate::commit::FileEntry;
use crate::layout::{BatchId, Partition, file_key};
use crate::store::{Sink, Stage, StoreError};
use crate::table::Table;

/// Rows of a row group: the unit that a thread reads.
const ROW_GROUP_ROWS: usize = 1024 * 1024;

/// Above this the largest open row group is ended early; more row groups, not more files.
const BUFFERED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Above this the file that was not written to for longest is finished.
const OPEN_FILES_MAX: usize = 128;

/// A row group of distinct addresses has 45 MB of text: with this limit keys never fall back to plain text.
const KEY_DICTIONARY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The files a batch is writing and has written.
#[derive(Debug)]
pub(crate) struct Parts {
    batch: BatchId,
    open: HashMap<(Table, Partition), Part>,
    finished: Vec<FileEntry>,
    /// Number of writes, to know which file rested longest.
    clock: u64,
    count: usize,
    buffered_bytes: usize,
}

struct Part {
    key: String,
    writer: ArrowWriter<Summing>,
    rows: u64,
    times: Option<(i64, i64)>,
    used: u64,
    buffered_bytes: usize,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part")
            .field("key", &self.key)
            .field("rows", &self.rows)
            .finish()
    }
}

impl Parts {
    pub(crate) fn new(batch: BatchId) -> Self {
        Self {
            batch,
            open: HashMap::new(),
            finished: Vec::new(),
            clock: 0,
            count: 0,
            buffered_bytes: 0,
        }
    }

    /// Adds rows that [`check`] has passed.
    pub(crate) fn write(
        &mut self,
        stage: &mut dyn Stage,
        table: Table,
        partition: Partition,
        rows: &RecordBatch,
    ) -> Result<(), LakeError> {
        let place = (table, partition);
        if !self.open.contains_key(&place) {
            if self.open.len() >= OPEN_FILES_MAX {
                self.finish_oldest()?;
            }
            let key = file_key(table, partition, &self.batch, self.count);
            self.count += 1;
            let part = Part::create(stage, table, key)?;
            self.open.insert(place, part);
        }
        self.clock += 1;
        if let Some(part) = self.open.get_mut(&place) {
            part.used = self.clock;
            let before = part.buffered_bytes;
            part.write(table, rows)?;
            self.buffered_bytes = self.buffered_bytes + part.buffered_bytes - before;
        }
        if self.buffered_bytes > BUFFERED_BYTES_MAX {
            self.flush_largest()?;
        }
        Ok(())
    }

    /// Finishes the file of one partition, if there is one: an open file holds memory for each of its columns. Its key.
    pub(crate) fn end(&mut self, place: (Table, Partition)) -> Result<Option<String>, LakeError> {
        let Some(part) = self.open.remove(&place) else {
            return Ok(None);
        };
        self.buffered_bytes -= part.buffered_bytes;
        let entry = part.finish(place)?;
        let key = entry.path.clone();
        self.finished.push(entry);
        Ok(Some(key))
    }

    /// Finishes every file. The entries come in the order of their keys.
    pub(crate) fn finish(&mut self) -> Result<Vec<FileEntry>, LakeError> {
        for (place, part) in std::mem::take(&mut self.open) {
            self.finished.push(part.finish(place)?);
        }
        self.buffered_bytes = 0;
        let mut finished = std::mem::take(&mut self.finished);
        finished.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(finished)
    }

    /// Lets go of files that will not be finished.
    pub(crate) fn abandon(&mut self) {
        self.open.clear();
    }

    fn finish_oldest(&mut self) -> Result<(), LakeError> {
        let oldest = self
            .open
            .iter()
            .min_by_key(|(_, part)| part.used)
            .map(|(place, _)| *place);
        if let Some((place, part)) = oldest.and_then(|place| self.open.remove_entry(&place)) {
            self.buffered_bytes -= part.buffered_bytes;
            self.finished.push(part.finish(place)?);
        }
        Ok(())
    }

    fn flush_largest(&mut self) -> Result<(), LakeError> {
        if let Some(part) = self
            .open
            .values_mut()
            .max_by_key(|part| part.buffered_bytes)
        {
            self.buffered_bytes -= part.buffered_bytes;
            part.buffered_bytes = 0;
            let flushed = part.writer.flush();
            flushed.map_err(|error| encode_error(&part.key, error))?;
        }
        Ok(())
    }
}

impl Part {
    fn create(stage: &mut dyn Stage, table: Table, key: String) -> Result<Self, LakeError> {
        let sink = Summing::new(stage.create(&key)?);
        let options = ArrowWriterOptions::new()
            .with_properties(properties(table))
            // Readers get the types from the table, and parsing an embedded schema panics when it is damaged.
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(sink, table.schema(), options);
        let writer = writer.map_err(|error| encode_error(&key, error))?;
        Ok(Self {
            key,
            writer,
            rows: 0,
            times: None,
            used: 0,
            buffered_bytes: 0,
        })
    }

    fn write(&mut self, table: Table, rows: &RecordBatch) -> Result<(), LakeError> {
        self.writer
            .write(rows)
            .map_err(|error| encode_error(&self.key, error))?;
        self.rows += rows.num_rows() as u64;
        self.buffered_bytes = self.writer.memory_size();
        if let Some((min, max)) = times(table, rows) {
            let (old_min, old_max) = self.times.unwrap_or((min, max));
            self.times = Some((old_min.min(min), old_max.max(max)));
        }
        Ok(())
    }

    fn finish(mut self, (table, partition): (Table, Partition)) -> Result<FileEntry, LakeError> {
        // Not `into_inner`, which turns errors of the storage into text.
        let finished = self.writer.finish();
        finished.map_err(|error| encode_error(&self.key, error))?;
        let sink = self.writer.inner_mut();
        let bytes = sink.inner.finish()?;
        let crc32c = Some(sink.digest.value());
        Ok(FileEntry {
            path: self.key,
            table,
            partition,
            rows: self.rows,
            bytes,
            min_us: self.times.map(|(min, _)| min),
            max_us: self.times.map(|(_, max)| max),
            crc32c,
        })
    }
}

/// A sink that sums up what passes through it.
struct Summing {
    inner: Box<dyn Sink>,
    digest: Digest,
}

impl Summing {
    fn new(inner: Box<dyn Sink>) -> Self {
        let digest = Digest::default();
        Self { inner, digest }
    }
}

impl Write for Summing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.digest.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Errors of the storage keep their own words and help.
fn encode_error(key: &str, error: ParquetError) -> LakeError {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => StoreError::new("write", key, *source).into(),
            Err(source) => LakeError::Encode {
                key: key.to_string(),
                cause: ParquetError::External(source),
            },
        },
        cause => LakeError::Encode {
            key: key.to_string(),
            cause,
        },
    }
}

/// Checks that rows fit the table and the partition, and puts their columns in order.
pub(crate) fn check(
    table: Table,
    partition: Partition,
    rows: &RecordBatch,
) -> Result<RecordBatch, LakeError> {
    if partition.partitioning() != table.partitioning() {
        return Err(LakeError::WrongPartition {
            table,
            partition,
            wanted: table.partitioning(),
        });
    }
    if !partition.is_writable() {
        return Err(LakeError::TimeOutOfRange { partition });
    }
    let known = |name: &str| table.columns().iter().any(|column| column.name == name);
    if let Some(field) = rows
        .schema_ref()
        .fields()
        .iter()
        .find(|field| !known(field.name()))
    {
        return Err(LakeError::UnknownColumn {
            table,
            column: field.name().clone(),
        });
    }
    let mut columns = Vec::with_capacity(table.columns().len());
    for column in table.columns() {
        let array = rows.column_by_name(column.name);
        let array = array.filter(|array| *array.data_type() == column.ty.arrow());
        let mismatch = || LakeError::ColumnMismatch {
            table,
            column: column.name.to_string(),
            expected: column.ty,
        };
        let array = array.ok_or_else(mismatch)?;
        if column.null.is_none() && array.is_nullable() && array.logical_null_count() > 0 {
            return Err(LakeError::UnexpectedNull {
                table,
                column: column.name,
            });
        }
        columns.push(Arc::clone(array));
    }
    if let (Partition::Hour(hour), Some((from_us, to_us))) = (partition, times(table, rows))
        && (from_us < hour.start_us() || to_us >= hour.end_us())
    {
        return Err(LakeError::OutsidePartition {
            table,
            partition,
            from_us,
            to_us,
        });
    }
    let checked = RecordBatch::try_new(table.schema(), columns);
    checked.map_err(|error| LakeError::Encode {
        key: table.name().to_string(),
        cause: ParquetError::ArrowError(error.to_string()),
    })
}

/// The smallest and largest value of the table's time column.
fn times(table: Table, rows: &RecordBatch) -> Option<(i64, i64)> {
    let column = rows.column_by_name(table.time_column())?;
    let column = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    // The time columns are never null, and this is the hot path.
    let values = column.values();
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(min, max), value| {
        (min.min(*value), max.max(*value))
    }))
}

fn properties(table: Table) -> WriterProperties {
    static PROPERTIES: LazyLock<HashMap<Table, WriterProperties>> = LazyLock::new(|| {
        Table::ALL
            .into_iter()
            .map(|table| (table, build_properties(table)))
            .collect()
    });
    PROPERTIES
        .get(&table)
        .cloned()
        .unwrap_or_else(|| build_properties(table))
}

fn build_properties(table: Table) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by("flowaudit".to_string())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for column in table.columns() {
        let path = ColumnPath::from(column.name);
        properties = match column.ty {
            ColumnType::Key => properties
                .set_column_dictionary_enabled(path.clone(), true)
                .set_column_dictionary_page_size_limit(path, KEY_DICTIONARY_BYTES_MAX),
            // Nobody prunes by the order of long text, and keeping its extremes costs.
            ColumnType::Text | ColumnType::Json => {
                properties.set_column_statistics_enabled(path, EnabledStatistics::None)
            }
            _ => properties,
        };
    }
    properties.build()
}
