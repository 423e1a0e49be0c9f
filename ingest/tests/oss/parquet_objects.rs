//! Records as an object of Parquet, by the crate that also reads it; `other_writers.rs` has the ones of others.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
pub(crate) use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::records::json;

pub(crate) const COLUMNS: [&str; 19] = [
    "version",
    "account-id",
    "eni-id",
    "vm-id",
    "vswitch-id",
    "vpc-id",
    "type",
    "protocol",
    "srcaddr",
    "srcport",
    "dstaddr",
    "dstport",
    "direction",
    "action",
    "packets",
    "bytes",
    "start",
    "end",
    "tcp-flags",
];

/// The values of record `n` in the order of the columns.
pub(crate) fn values(n: u64) -> Vec<String> {
    let record: serde_json::Value = serde_json::from_str(&json(n)).unwrap();
    COLUMNS
        .iter()
        .map(|name| record[name].as_str().unwrap().to_owned())
        .collect()
}

/// These records, all of them texts or some of them numbers.
pub(crate) fn of(
    numbers: impl Iterator<Item = u64>,
    compression: Compression,
    typed: bool,
    row_group: usize,
) -> Vec<u8> {
    let rows: Vec<Vec<String>> = numbers.map(values).collect();
    let columns = COLUMNS.iter().enumerate().map(|(at, name)| {
        let texts = || rows.iter().map(|row| row[at].as_str());
        let numeric = typed
            && [
                "protocol",
                "srcport",
                "dstport",
                "packets",
                "bytes",
                "start",
                "end",
                "tcp-flags",
            ]
            .contains(name);
        let array: ArrayRef = match *name {
            "srcport" if typed => Arc::new(Int32Array::from_iter_values(
                texts().map(|text| text.parse::<i32>().unwrap()),
            )),
            "packets" if typed => Arc::new(Float64Array::from_iter_values(
                texts().map(|text| text.parse::<f64>().unwrap()),
            )),
            _ if numeric => Arc::new(Int64Array::from_iter_values(
                texts().map(|text| text.parse::<i64>().unwrap()),
            )),
            _ => Arc::new(StringArray::from_iter_values(texts())),
        };
        // Other spellings, as people name columns.
        let name = if typed {
            name.replace('-', "_")
        } else {
            (*name).to_owned()
        };
        (name, array)
    });
    let other: ArrayRef = Arc::new(StringArray::from_iter_values(
        rows.iter().map(|_| "flow_log"),
    ));
    let batch =
        RecordBatch::try_from_iter(columns.chain([("__topic__".to_owned(), other)])).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(compression != Compression::UNCOMPRESSED)
        .set_max_row_group_row_count(Some(row_group))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}
