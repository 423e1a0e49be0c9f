//! Every format and every packing that a shipping job writes.
//!
//! The writers are others than the readers, but for Parquet, where the crate that reads also writes: JSON and CSV are
//! put together by hand, gzip by flate2, zstd by its library, snappy by the `snap` crate (Hadoop's blocks around it by hand).

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use flowaudit_ingest::decode::Format;
use flowaudit_ingest::decode::text::Layout;
use flowaudit_ingest::oss::{Form, PullSettings};
use parquet::arrow::ArrowWriter;
use parquet::basic::{GzipLevel, ZstdLevel};

use crate::common::{BUCKET, Place, key, settings};
use crate::parquet_objects::{COLUMNS, Compression, of as parquet, values};
use crate::records::{gzip, lines};

fn hadoop(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in bytes.chunks(256 << 10) {
        let packed = snap::raw::Encoder::new().compress_vec(block).unwrap();
        out.extend((block.len() as u32).to_be_bytes());
        out.extend((packed.len() as u32).to_be_bytes());
        out.extend(packed);
    }
    out
}

fn packings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut frames = snap::write::FrameEncoder::new(Vec::new());
    frames.write_all(bytes).unwrap();
    vec![
        ("", bytes.to_vec()),
        (".gz", gzip(bytes)),
        (".zst", zstd::encode_all(bytes, 1).unwrap()),
        (".snappy", hadoop(bytes)),
        (".snappy", frames.into_inner().unwrap()),
        (
            ".snappy",
            snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
        ),
        // With a suffix of its own a name says nothing.
        (".json", hadoop(bytes)),
    ]
}

fn csv(range: std::ops::Range<u64>, delimiter: &str, header: bool) -> Vec<u8> {
    let mut text = String::new();
    if header {
        text += &(COLUMNS.join(delimiter) + "\n");
    }
    for n in range {
        text += &(values(n).join(delimiter) + "\n");
    }
    text.into_bytes()
}

#[test]
fn json_lines_in_every_packing() {
    let place = Place::new();
    for (n, (suffix, bytes)) in packings(lines(0..3000).as_bytes()).into_iter().enumerate() {
        place.put(&key(5, n as u64, suffix), bytes);
    }
    let summary = place.pull(&settings()).unwrap();
    assert_eq!(
        (
            summary.objects,
            summary.counts.records,
            summary.counts.rejects
        ),
        (7, 21_000, 0)
    );
    assert_eq!(summary.counts.flows, 3000);
    place.check_once(0..3000);
}

#[test]
fn csv_in_every_packing_and_with_every_delimiter() {
    let place = Place::new();
    for (n, (suffix, bytes)) in packings(&csv(0..2000, ",", true)).into_iter().enumerate() {
        place.put(&key(5, n as u64, suffix), bytes);
    }
    for (n, delimiter) in ["|", "\t", " "].into_iter().enumerate() {
        place.put(&key(4, n as u64, ".csv"), csv(0..2000, delimiter, true));
    }
    let summary = place.pull(&settings()).unwrap();
    assert_eq!(
        (
            summary.objects,
            summary.counts.records,
            summary.counts.rejects
        ),
        (10, 20_000, 0)
    );
    place.check_once(0..2000);
}

#[test]
fn csv_without_a_header_needs_the_columns() {
    let place = Place::new();
    place.put(&key(5, 1, ".csv"), csv(0..100, "|", false));
    let (summary, told) = place.pull_telling(&settings());
    assert_eq!(summary.unwrap().failed, 1);
    assert!(
        told[0].contains("name its columns with `columns`"),
        "{told:?}"
    );
    let header = COLUMNS.join("|");
    let named = PullSettings {
        form: Form::Lines(Format::Csv { header }),
        ..settings()
    };
    assert_eq!(place.pull(&named).unwrap().objects, 1);
    // With a header it is passed over.
    place.put(&key(5, 2, ".csv"), csv(100..200, "|", true));
    assert_eq!(place.pull(&named).unwrap().counts.rejects, 0);
    place.put(&key(5, 3, ".csv"), csv(200..300, " ", false));
    let layout = Layout::from_names(&COLUMNS.join(" ")).unwrap();
    let spaced = PullSettings {
        form: Form::Lines(Format::Text { layout }),
        ..settings()
    };
    place.pull(&spaced).unwrap();
    place.check_once(0..300);
}

#[test]
fn parquet_in_every_packing_with_texts_and_numbers() {
    let place = Place::new();
    let packings = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let mut n = 0;
    for compression in packings {
        for typed in [false, true] {
            n += 1;
            // Whatever it is called.
            place.put(
                &key(5, n, ".json"),
                parquet(n * 5000..n * 5000 + 5000, compression, typed, 1700),
            );
        }
    }
    let summary = place.pull(&settings()).unwrap();
    assert_eq!(
        (
            summary.objects,
            summary.counts.flows,
            summary.counts.rejects
        ),
        (8, 40_000, 0)
    );
    place.check_once(5000..45_000);
}

#[test]
fn parquet_is_read_by_ranges_and_from_where_it_was_left() {
    let place = Place::new();
    let bytes = parquet(0..60_000, Compression::UNCOMPRESSED, false, 20_000);
    let size = bytes.len() as u64;
    assert!(size > 4 << 20, "{size}");
    place.put(&key(5, 1, ".parquet"), bytes);
    let small = PullSettings {
        batch_rows_max: 7000,
        form: Form::Parquet,
        ..settings()
    };
    let summary = place.pull(&small).unwrap();
    assert_eq!((summary.objects, summary.batches), (1, 9));
    place.check_once(0..60_000);
    let log = place.fake.take_log();
    let gets = log
        .iter()
        .filter(|line| line.starts_with("GET /flow-bucket/sls"))
        .count();
    assert!(gets > 5 && gets < 40, "{gets} requests for {size} bytes");
}

#[test]
fn orc_names_the_setting_to_change() {
    let place = Place::new();
    place.put(&key(5, 1, ".orc"), "ORC\x11\x00\x00\x0a\x06");
    place.put(&key(5, 2, ".json"), lines(0..10));
    let (summary, told) = place.pull_telling(&settings());
    let summary = summary.unwrap();
    assert_eq!((summary.failed, summary.objects), (1, 1));
    assert!(
        told[0].contains("is an ORC file") && told[0].contains("`contentType`"),
        "{told:?}"
    );
}

#[test]
fn what_is_damaged_is_named_and_the_others_are_read() {
    let place = Place::new();
    let whole = parquet(0..2000, Compression::SNAPPY, false, 500);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 3;
    flipped[middle..middle + 200].fill(0xa5);
    place.put(&key(9, 1, ".parquet"), flipped);
    place.put(&key(9, 2, ".parquet"), &whole[..whole.len() - 100]);
    place.put(&key(9, 3, ".parquet"), "PAR1PAR1");
    let hadoop = hadoop(lines(0..2000).as_bytes());
    place.put(&key(9, 4, ".snappy"), &hadoop[..hadoop.len() - 10]);
    place.put(&key(9, 5, ".json"), "nothing of the kind\n");
    place.put(&key(9, 6, ".json"), "");
    place.put(&key(5, 7, ".json"), lines(2000..2100));
    let (summary, told) = place.pull_telling(&settings());
    let summary = summary.unwrap();
    assert_eq!((summary.failed, summary.objects), (5, 2), "{told:#?}");
    for told in &told {
        assert!(
            told.contains(&format!("`oss://{BUCKET}/sls/vpc/")),
            "{told}"
        );
        assert!(told.contains("skip") || told.contains("columns"), "{told}");
    }
    // Again, and nothing is doubled; the good ones are not read again.
    let again = place.pull(&settings()).unwrap();
    assert_eq!((again.failed, again.objects, again.counts.flows), (5, 0, 0));
    // Whole ones in their places: all is well, and each record is there once.
    for n in 1..=3 {
        place.put(
            &key(9, n, ".parquet"),
            parquet(0..2000, Compression::SNAPPY, false, 500),
        );
    }
    place.put(&key(9, 4, ".snappy"), hadoop);
    place.put(&key(9, 5, ".json"), lines(2100..2110));
    assert_eq!(place.pull(&settings()).unwrap().failed, 0);
    place.check_once(0..2110);
}

#[test]
fn rows_that_are_no_flows_are_rejects() {
    let place = Place::new();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "srcaddr",
            Arc::new(StringArray::from(vec![Some("10.0.0.1"), None, Some("x")])),
        ),
        (
            "dstaddr",
            Arc::new(StringArray::from(vec![
                Some("10.0.0.2"),
                None,
                Some("10.0.0.2"),
            ])),
        ),
        (
            "start",
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    place.put(&key(5, 1, ".parquet"), writer.into_inner().unwrap());
    let summary = place.pull(&settings()).unwrap();
    assert_eq!((summary.counts.records, summary.counts.rejects), (3, 3));
}
