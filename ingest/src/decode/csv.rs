//! CSV with a header → [`RawRecord`].
//!
//! The header may name the fields in any order and spelling; unknown columns are passed over. Quoting is RFC 4180,
//! read by `csv_core`.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use thiserror::Error;

use super::{Field, RawRecord, Unreadable, as_text};

/// Delimiters that are tried, in this order.
pub const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// A header with more columns is not one.
const COLUMNS_MAX: usize = 1024;

/// A first line with fewer known names is not a header.
const KNOWN_MIN: usize = 3;

/// Without these no record can become a flow or a gap.
const NEEDED: [Field; 5] = [
    Field::Start,
    Field::End,
    Field::SrcAddr,
    Field::DstAddr,
    Field::Protocol,
];

/// Why a header cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Too few of the names are fields of a flow log.
    #[error("the first line names no fields of a flow log")]
    NotAHeader,
    /// A field without which nothing could become a flow.
    #[error("the header has no column `{}`", field.name())]
    Missing {
        /// The missing field.
        field: Field,
    },
}

/// Decodes records under one header.
#[derive(Debug)]
pub struct CsvDecoder {
    header: String,
    delimiter: u8,
    columns: Vec<Option<Field>>,
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl CsvDecoder {
    /// Reads the header, without its line end.
    ///
    /// ```
    /// use flowaudit_ingest::decode::{csv::CsvDecoder, Field};
    /// let mut decoder = CsvDecoder::new(b"Start,End,SrcAddr,note,dst_addr,protocol").unwrap();
    /// let record = decoder.record(br#"1,2,10.0.0.1,"a ""b"", c",10.0.0.2,6"#).unwrap();
    /// assert_eq!(record.get(Field::DstAddr), Some("10.0.0.2"));
    /// ```
    pub fn new(header: &[u8]) -> Result<Self, HeaderError> {
        let text = as_text(header).map_err(|_| HeaderError::NotAHeader)?;
        let text = text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .trim_end_matches(['\r', '\n']);
        let known = |columns: &[Option<Field>]| columns.iter().flatten().count();
        let (delimiter, columns) = DELIMITERS
            .into_iter()
            .map(|delimiter| (delimiter, columns(text, delimiter)))
            .max_by_key(|(_, columns)| known(columns))
            .filter(|(_, columns)| known(columns) >= KNOWN_MIN)
            .ok_or(HeaderError::NotAHeader)?;
        if let Some(field) = NEEDED
            .into_iter()
            .find(|field| !columns.contains(&Some(*field)))
        {
            return Err(HeaderError::Missing { field });
        }
        Ok(CsvDecoder {
            header: text.to_owned(),
            delimiter,
            reader: reader(delimiter),
            columns,
            text: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// The header as it was written; enough to read on after a pause.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// What separates the values.
    #[must_use]
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// How many values each record has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Decodes one record, without its line end.
    pub fn record<'a>(&'a mut self, record: &'a [u8]) -> Result<RawRecord<'a>, Unreadable> {
        as_text(record)?;
        let found = read(
            &mut self.reader,
            record,
            &mut self.text,
            &mut self.ends,
            self.columns.len(),
        );
        if found != self.columns.len() {
            return Err(Unreadable::FieldCount {
                found,
                expected: self.columns.len(),
            });
        }
        let mut raw = RawRecord::default();
        let mut begin = 0;
        for (&end, column) in self.ends.iter().zip(&self.columns) {
            if let Some(field) = *column {
                // Taking quotes away leaves whole characters, so this is text again.
                let value = std::str::from_utf8(self.text.get(begin..end).unwrap_or_default())
                    .map_err(|error| Unreadable::NotUtf8 {
                        at: begin + error.valid_up_to(),
                    })?;
                raw.set(field, Cow::Borrowed(value))?;
            }
            begin = end;
        }
        Ok(raw)
    }
}

fn reader(delimiter: u8) -> Reader {
    ReaderBuilder::new().delimiter(delimiter).build()
}

/// The meaning of each column, or nothing when the line has too many.
fn columns(header: &str, delimiter: u8) -> Vec<Option<Field>> {
    let (mut text, mut ends) = (Vec::new(), Vec::new());
    let found = read(
        &mut reader(delimiter),
        header.as_bytes(),
        &mut text,
        &mut ends,
        COLUMNS_MAX,
    );
    if found > COLUMNS_MAX {
        return Vec::new();
    }
    let mut begin = 0;
    ends.iter()
        .take(found)
        .map(|&end| {
            let name = text.get(begin..end).unwrap_or_default();
            begin = end;
            Field::from_name(name.trim_ascii())
        })
        .collect()
}

/// Splits one record: `text` holds the values one after the other, `ends` where each ends. The number of values found;
/// one more than `columns_max` stands for "more".
fn read(
    reader: &mut Reader,
    record: &[u8],
    text: &mut Vec<u8>,
    ends: &mut Vec<usize>,
    columns_max: usize,
) -> usize {
    reader.reset();
    text.resize(record.len() + 1, 0);
    ends.clear();
    ends.resize(columns_max + 1, 0);
    let (mut input, mut written, mut found) = (record, 0, 0);
    loop {
        let (result, read, wrote, ended) = reader.read_record(
            input,
            text.get_mut(written..).unwrap_or_default(),
            ends.get_mut(found..).unwrap_or_default(),
        );
        input = input.get(read..).unwrap_or_default();
        written += wrote;
        found += ended;
        match result {
            // The second call, with nothing left, tells the reader that this was the end.
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record | ReadRecordResult::End => break,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return columns_max + 1;
            }
        }
    }
    ends.truncate(found);
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &[u8] =
        b"\xef\xbb\xbfVersion,\"src-addr\",dstAddr,dst_port,protocol,start,END,note\r";

    #[test]
    fn header_in_any_order_and_spelling() {
        let mut decoder = CsvDecoder::new(HEADER).unwrap();
        assert_eq!(decoder.columns(), 8);
        let record = decoder
            .record(b"1, 10.0.0.1 ,\"10.0.0.2\",-,6,100,200,\"a,\"\"b\nc\"")
            .unwrap();
        assert_eq!(record.get(Field::SrcAddr), Some("10.0.0.1"));
        assert_eq!(record.get(Field::DstAddr), Some("10.0.0.2"));
        assert_eq!(record.get(Field::DstPort), None);
        assert_eq!(record.get(Field::End), Some("200"));
    }

    #[test]
    fn other_delimiters() {
        for delimiter in ["\t", ";", "|"] {
            let header = ["start", "end", "srcaddr", "dstaddr", "protocol"].join(delimiter);
            let mut decoder = CsvDecoder::new(header.as_bytes()).unwrap();
            let line = ["1", "2", "", "::1", "6"].join(delimiter);
            let record = decoder.record(line.as_bytes()).unwrap();
            assert_eq!(
                (record.get(Field::SrcAddr), record.get(Field::DstAddr)),
                (None, Some("::1"))
            );
        }
    }

    #[test]
    fn wrong_headers() {
        assert_eq!(CsvDecoder::new(b"").unwrap_err(), HeaderError::NotAHeader);
        assert_eq!(
            CsvDecoder::new(b"a,b,c,d").unwrap_err(),
            HeaderError::NotAHeader
        );
        assert_eq!(
            CsvDecoder::new(b"start\0,end,srcaddr,dstaddr,protocol").unwrap_err(),
            HeaderError::NotAHeader
        );
        assert_eq!(
            CsvDecoder::new(b"start,end,srcaddr,protocol")
                .unwrap_err()
                .to_string(),
            "the header has no column `dstaddr`"
        );
        let many = [
            "start,end,srcaddr,dstaddr,protocol".to_owned(),
            ",x".repeat(2000),
        ]
        .concat();
        assert_eq!(
            CsvDecoder::new(many.as_bytes()).unwrap_err(),
            HeaderError::NotAHeader
        );
    }

    #[test]
    fn a_wrong_number_of_values_is_refused_and_the_next_record_is_read() {
        let mut decoder = CsvDecoder::new(HEADER).unwrap();
        let few = decoder.record(b"1,10.0.0.1").unwrap_err();
        assert_eq!(few.to_string(), "2 values for 8 fields");
        let many = decoder.record(b"1,2,3,4,5,6,7,8,9,10").unwrap_err();
        assert_eq!(many.to_string(), "9 values for 8 fields");
        assert!(decoder.record(b"1,\"10.0.0.1,2,3,4").is_err());
        assert!(decoder.record(b"1,10.0.0.1,10.0.0.2,80,6,1,2,").is_ok());
        assert_eq!(
            decoder.record(b"1,10.0.0.1,\xff,80,6,1,2,").unwrap_err(),
            Unreadable::NotUtf8 { at: 11 }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(header in "[a-z,\"\t\r\n]{0,40}|start,end,srcaddr,dstaddr,protocol", bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(mut decoder) = CsvDecoder::new(header.as_bytes()) {
                let _ = decoder.record(&bytes);
            }
            let _ = CsvDecoder::new(&bytes);
        }

        #[test]
        fn what_the_csv_crate_writes_is_read_back(values in prop::collection::vec("[a-z0-9\",; \n]{1,6}", 5)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&values).unwrap();
            let line = writer.into_inner().unwrap();
            let mut decoder = CsvDecoder::new(b"start,end,srcaddr,dstaddr,protocol").unwrap();
            let record = decoder.record(line.trim_ascii_end()).unwrap();
            let fields = [Field::Start, Field::End, Field::SrcAddr, Field::DstAddr, Field::Protocol];
            for (field, value) in fields.into_iter().zip(&values) {
                prop_assert_eq!(record.get(field).unwrap_or(""), value.trim());
            }
        }
    }
}
