//! The pages of a row group, unpacked within a budget, and looked through for what would make the decoder behind them
//! allocate more than they hold.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::header::{self, Header, Kind};
use super::windows::Windows;

/// Longer headers are none: they hold numbers, and the smallest and largest value.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// A value that many rows share is copied for each of them. None of a flow log is longer.
pub(super) const SHARED_BYTES_MAX: usize = 4096;

fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(ParquetError::General(reason.into()))
}

/// What the pages of all columns may hold at a time, in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    held: AtomicU64,
    /// Whether a page did not fit.
    exceeded: std::sync::Mutex<bool>,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Budget {
            bytes,
            held: AtomicU64::new(0),
            exceeded: std::sync::Mutex::new(false),
        }
    }

    /// Whether a page did not fit.
    pub(super) fn is_exceeded(&self) -> bool {
        *self.exceeded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, bytes: u64) -> Result<Share> {
        let held = self.held.fetch_add(bytes, Ordering::SeqCst);
        let share = Share {
            budget: Arc::clone(self),
            bytes,
        };
        if held.saturating_add(bytes) > self.bytes {
            *self.exceeded.lock().unwrap_or_else(PoisonError::into_inner) = true;
            return refused("its pages are too large");
        }
        Ok(share)
    }
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// One row group.
pub(super) struct Group {
    pub(super) windows: Windows,
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) number: usize,
    pub(super) budget: Arc<Budget>,
}

impl Group {
    fn group(&self) -> Option<&RowGroupMetaData> {
        self.metadata.row_groups().get(self.number)
    }
}

impl RowGroups for Group {
    fn num_rows(&self) -> usize {
        let rows = self.group().map_or(0, RowGroupMetaData::num_rows);
        usize::try_from(rows).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let Some(chunk) = self.group().and_then(|group| group.columns().get(column)) else {
            return refused("a row group has fewer columns than the others");
        };
        let pages = Pages::new(self, chunk)?;
        Ok(Box::new(Once(Some(Box::new(pages)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.group().into_iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of one column of one row group.
struct Once(Option<Box<dyn PageReader>>);

impl Iterator for Once {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for Once {}

struct Pages {
    windows: Windows,
    kind: Type,
    packing: Compression,
    is_nullable: bool,
    at: u64,
    end: u64,
    /// Values that may still come.
    values_left: u64,
    /// The header of the page at `at`, once it was read.
    next: Option<Header>,
    budget: Arc<Budget>,
    dictionary: Option<Share>,
    page: Option<Share>,
}

impl Pages {
    fn new(group: &Group, chunk: &ColumnChunkMetaData) -> Result<Self> {
        let column = chunk.column_descr();
        if column.max_rep_level() > 0 || column.max_def_level() > 1 {
            return refused("it holds columns within columns");
        }
        let dictionary = chunk.dictionary_page_offset().filter(|at| *at > 0);
        let start = dictionary.unwrap_or(chunk.data_page_offset());
        let place = |at: i64| u64::try_from(at).ok();
        let bounds = place(start).zip(place(chunk.compressed_size()));
        let bounds = bounds.and_then(|(start, length)| Some((start, start.checked_add(length)?)));
        let Some((at, end)) = bounds.filter(|(_, end)| *end <= group.windows.size()) else {
            return refused("a column lies outside of it");
        };
        Ok(Pages {
            windows: group.windows.clone(),
            kind: column.physical_type(),
            packing: chunk.compression(),
            is_nullable: column.max_def_level() > 0,
            at,
            end,
            values_left: group.num_rows() as u64,
            next: None,
            budget: Arc::clone(&group.budget),
            dictionary: None,
            page: None,
        })
    }

    /// The header of the next page that matters.
    fn peek(&mut self) -> Result<Option<Header>> {
        loop {
            if let Some(header) = self.next {
                return Ok(Some(header));
            }
            if self.at >= self.end {
                return Ok(None);
            }
            let longest = HEADER_BYTES_MAX.min(self.end - self.at);
            let window = self.windows.window(self.at, longest)?;
            let longest = usize::try_from(longest).unwrap_or(usize::MAX);
            let window = window.get(..longest.min(window.len())).unwrap_or_default();
            let Some((header, length)) = header::page(window) else {
                return refused("a page has no header that can be");
            };
            self.at += length as u64;
            if header.packed as u64 > self.end - self.at {
                return refused("a page is longer than its column");
            }
            match header.kind {
                Kind::Other => self.at += header.packed as u64,
                Kind::Data { values, .. } | Kind::DataV2 { values, .. }
                    if u64::from(values) > self.values_left =>
                {
                    return refused("a page has more values than its column");
                }
                _ => self.next = Some(header),
            }
        }
    }

    /// Goes on behind the page whose header was read.
    fn advance(&mut self, header: &Header) {
        self.next = None;
        self.at += header.packed as u64;
        if let Kind::Data { values, .. } | Kind::DataV2 { values, .. } = header.kind {
            self.values_left -= u64::from(values).min(self.values_left);
        }
    }

    fn read(&mut self, header: &Header) -> Result<Page> {
        let lengths = match header.kind {
            // The decoder spreads them out.
            Kind::Data {
                values, encoding, ..
            }
            | Kind::DataV2 {
                values, encoding, ..
            } if encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY => u64::from(values) * 4,
            _ => 0,
        };
        let share = header.packed as u64 + header.unpacked as u64 + lengths;
        let share = self.budget.take(share)?;
        let bytes = self.windows.exactly(self.at, header.packed)?;
        // Levels stand before the packed part.
        let (plain, is_packed) = match header.kind {
            Kind::DataV2 { levels, packed, .. } => (levels as usize, packed),
            _ => (0, true),
        };
        let bytes = match is_packed {
            true => self.unpack(&bytes, plain, header.unpacked)?,
            // Not a part of a window, which would be held with it.
            false => Bytes::copy_from_slice(&bytes),
        };
        match header.kind {
            Kind::Dictionary { values, .. } => {
                // It is copied to where its values are found by number.
                let copies = (bytes.len() as u64).saturating_add(u64::from(values) * 8);
                self.check_dictionary(&bytes, values)?;
                drop(share);
                self.dictionary = Some(self.budget.take(copies)?);
            }
            _ => {
                self.check_values(header, &bytes)?;
                // The decoder holds the page before until it gets this one.
                self.page = Some(share);
            }
        }
        page(header, bytes)
    }

    fn unpack(&self, bytes: &Bytes, plain: usize, size: usize) -> Result<Bytes> {
        let (Some(before), Some(packed)) = (bytes.get(..plain), bytes.get(plain..)) else {
            return refused("the levels of a page are longer than the page");
        };
        let Some(rest) = size.checked_sub(plain) else {
            return refused("the levels of a page are longer than the page");
        };
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(before);
        match self.packing {
            Compression::UNCOMPRESSED => out.extend_from_slice(packed),
            // A page without a value that is not null.
            _ if rest == 0 => {}
            Compression::SNAPPY => {
                if snap::raw::decompress_len(packed).ok() != Some(rest) {
                    return refused("a page unpacks to another size than it says");
                }
                out.resize(size, 0);
                let into = out.get_mut(plain..).unwrap_or_default();
                let unpacked = snap::raw::Decoder::new().decompress(packed, into);
                unpacked.map_err(|error| ParquetError::General(error.to_string()))?;
            }
            Compression::GZIP(_) => {
                let stream = flate2::bufread::MultiGzDecoder::new(packed);
                stream.take(rest as u64 + 1).read_to_end(&mut out)?;
            }
            Compression::ZSTD(_) => out.extend(zstd::bulk::decompress(packed, rest)?),
            other => return refused(format!("its pages are packed with {other}")),
        }
        match out.len() == size {
            true => Ok(Bytes::from(out)),
            false => refused("a page unpacks to another size than it says"),
        }
    }

    /// Whether the values of a dictionary are there, and none is too long to be copied for every row.
    fn check_dictionary(&self, bytes: &[u8], values: u32) -> Result<()> {
        let width = match self.kind {
            Type::INT32 | Type::FLOAT => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::BYTE_ARRAY => {
                let mut rest = bytes;
                for _ in 0..values {
                    let value = rest.split_first_chunk().and_then(|(length, rest)| {
                        let length = u32::from_le_bytes(*length) as usize;
                        Some((length, rest.get(length..)?))
                    });
                    let Some((length, after)) = value else {
                        return refused("a dictionary has fewer values than it says");
                    };
                    if length > SHARED_BYTES_MAX {
                        return refused(format!("a value has {length} bytes"));
                    }
                    rest = after;
                }
                return Ok(());
            }
            other => return refused(format!("it has a dictionary of {other}")),
        };
        match u64::from(values) * width <= bytes.len() as u64 {
            true => Ok(()),
            false => refused("a dictionary has fewer values than it says"),
        }
    }

    /// Whether the values of a page say no more of themselves than its header.
    fn check_values(&self, header: &Header, bytes: &Bytes) -> Result<()> {
        let (values, encoding, levels) = match header.kind {
            Kind::Data {
                values,
                encoding,
                levels_rle,
            } => {
                let levels = match bytes.first_chunk() {
                    _ if !self.is_nullable => 0,
                    Some(length) if levels_rle => u32::from_le_bytes(*length) as usize + 4,
                    _ => return refused("a page does not say where it has values"),
                };
                (values, encoding, levels)
            }
            Kind::DataV2 {
                values,
                encoding,
                levels,
                ..
            } => (values, encoding, levels as usize),
            _ => return Ok(()),
        };
        let Some(block) = bytes.get(levels..) else {
            return refused("a page ends before its values");
        };
        match encoding {
            // Each value is the beginning of the one before, and a few bytes more: a page of them unpacks to its square.
            Encoding::DELTA_BYTE_ARRAY => {
                refused("it has values written as DELTA_BYTE_ARRAY, which flowaudit does not read")
            }
            Encoding::DELTA_BINARY_PACKED | Encoding::DELTA_LENGTH_BYTE_ARRAY
                if !block.is_empty() =>
            {
                match header::delta_values(block) {
                    Some(found) if found <= u64::from(values) => Ok(()),
                    _ => refused("a page has more values than it says"),
                }
            }
            _ => Ok(()),
        }
    }
}

/// What the decoder behind gets.
fn page(header: &Header, buf: Bytes) -> Result<Page> {
    Ok(match header.kind {
        Kind::Dictionary {
            values,
            encoding,
            sorted,
        } => Page::DictionaryPage {
            buf,
            num_values: values,
            encoding,
            is_sorted: sorted,
        },
        Kind::Data {
            values, encoding, ..
        } => Page::DataPage {
            buf,
            num_values: values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        },
        Kind::DataV2 {
            values,
            encoding,
            nulls,
            levels,
            packed,
        } => Page::DataPageV2 {
            buf,
            num_values: values,
            encoding,
            num_nulls: nulls,
            num_rows: values,
            def_levels_byte_len: levels,
            rep_levels_byte_len: 0,
            is_compressed: packed,
            statistics: None,
        },
        Kind::Other => return refused("a page is of a kind that is not read"),
    })
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(header) = self.peek()? else {
            return Ok(None);
        };
        let page = self.read(&header)?;
        self.advance(&header);
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let number = |values: u32| usize::try_from(values).ok();
        Ok(self.peek()?.map(|header| match header.kind {
            Kind::Data { values, .. } => PageMetadata {
                num_rows: None,
                num_levels: number(values),
                is_dict: false,
            },
            Kind::DataV2 { values, .. } => PageMetadata {
                num_rows: number(values),
                num_levels: number(values),
                is_dict: false,
            },
            Kind::Dictionary { .. } | Kind::Other => PageMetadata {
                num_rows: None,
                num_levels: None,
                is_dict: true,
            },
        }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        if let Some(header) = self.peek()? {
            self.advance(&header);
        }
        Ok(())
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
