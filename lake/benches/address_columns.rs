//! How addresses should lie in Parquet: as u32, as text read as text, or as text read as dictionary keys.
//!
//! Each way ends where the kernel begins: two small integers per row. Keys are resolved once per row group. Ratios
//! matter, not absolutes.
//!
//! ```text
//! cargo bench -p flowaudit-lake --bench address_columns
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt32Type};
use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use flowaudit_lake::read::is_same_dictionary;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rand::{Rng, SeedableRng};

const ROWS: usize = 5_000_000;
const ROW_GROUP_ROWS: usize = 1024 * 1024;
const BATCH_ROWS: usize = 64 * 1024;
const ROUNDS: usize = 5;

/// Reads a file down to its checksum.
type Read = fn(&Bytes) -> u64;

fn main() {
    println!("{ROWS} rows, two address columns, zstd-1, one thread, best of {ROUNDS}");
    run(
        "3,000 pods, one row in ten from 200,000 external addresses",
        |random| {
            let pod = u32::from(Ipv4Addr::new(10, 0, 0, 0)) + random.random_range(0..3_000);
            let external =
                u32::from(Ipv4Addr::new(198, 18, 0, 0)) + random.random_range(0..200_000);
            if random.random_range(0..10) == 0 {
                external
            } else {
                pod
            }
        },
    );
    run("every address another", |random| random.random());
}

fn run(what: &str, mut address: impl FnMut(&mut rand_chacha::ChaCha8Rng) -> u32) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut column = || -> Vec<u32> { (0..ROWS).map(|_| address(&mut random)).collect() };
    let (src, dst) = (column(), column());
    let expected = checksum(src.iter().copied().zip(dst.iter().copied()));
    let numbers = write(&src, &dst, DataType::UInt32, |values| {
        Arc::new(UInt32Array::from(values.to_vec()))
    });
    let text = write(&src, &dst, DataType::Utf8, |values| {
        let text = values
            .iter()
            .map(|value| Ipv4Addr::from(*value).to_string());
        Arc::new(StringArray::from_iter_values(text))
    });
    println!("\n{what}");
    println!(
        "  {:<22} {:>6} {:>8} {:>9}",
        "", "ns/row", "x u32", "bytes/row"
    );
    let ways: [(&str, &Bytes, Read); 3] = [
        ("u32", &numbers, read_numbers),
        ("text read as keys", &text, read_keys),
        ("text read as text", &text, read_text),
    ];
    let mut first = None;
    for (name, file, read) in ways {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            assert_eq!(read(file), expected);
            best = best.min(start.elapsed());
        }
        let ns = best.as_nanos() as f64 / ROWS as f64;
        let base = *first.get_or_insert(ns);
        let size = file.len() as f64 / ROWS as f64;
        println!("  {name:<22} {ns:>6.1} {:>8.2} {size:>9.2}", ns / base);
    }
}

/// Stands for the kernel: every row's pair of small integers is looked at.
fn checksum(pairs: impl Iterator<Item = (u32, u32)>) -> u64 {
    pairs.fold(0, |sum, (src, dst)| {
        sum.wrapping_add(u64::from(src) ^ (u64::from(dst) << 32))
    })
}

fn write(src: &[u32], dst: &[u32], ty: DataType, array: impl Fn(&[u32]) -> ArrayRef) -> Bytes {
    let fields = ["src_addr", "dst_addr"].map(|name| Field::new(name, ty.clone(), false));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_dictionary_page_size_limit(256 * 1024 * 1024)
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema.clone(), Some(properties)).unwrap();
    for (src, dst) in src.chunks(BATCH_ROWS).zip(dst.chunks(BATCH_ROWS)) {
        let batch = RecordBatch::try_new(schema.clone(), vec![array(src), array(dst)]).unwrap();
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    file.into()
}

fn batches(file: &Bytes, ty: DataType, mut each: impl FnMut(&RecordBatch)) {
    let fields = ["src_addr", "dst_addr"].map(|name| Field::new(name, ty.clone(), false));
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_schema(Arc::new(Schema::new(fields.to_vec())));
    let groups = ROWS.div_ceil(ROW_GROUP_ROWS);
    for group in 0..groups {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options.clone());
        let reader = reader
            .unwrap()
            .with_row_groups(vec![group])
            .with_batch_size(BATCH_ROWS)
            .build();
        reader.unwrap().for_each(|batch| each(&batch.unwrap()));
    }
}

fn read_numbers(file: &Bytes) -> u64 {
    let mut sum = 0u64;
    batches(file, DataType::UInt32, |batch| {
        let [src, dst] = [0, 1].map(|n| batch.column(n).as_primitive::<UInt32Type>().values());
        sum = sum.wrapping_add(checksum(src.iter().copied().zip(dst.iter().copied())));
    });
    sum
}

fn read_text(file: &Bytes) -> u64 {
    let mut sum = 0u64;
    batches(file, DataType::Utf8, |batch| {
        let [src, dst] = [0, 1].map(|n| batch.column(n).as_string::<i32>());
        let parsed = |values: &StringArray, n| parse(values.value(n));
        let pairs = (0..batch.num_rows()).map(|n| (parsed(src, n), parsed(dst, n)));
        sum = sum.wrapping_add(checksum(pairs));
    });
    sum
}

fn read_keys(file: &Bytes) -> u64 {
    let ty = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut sum = 0u64;
    // The parsed dictionary of each column, and the dictionary it belongs to.
    let mut known: [(Option<ArrayRef>, Vec<u32>); 2] = Default::default();
    batches(file, ty, |batch| {
        let [src, dst] = [0, 1].map(|n| batch.column(n).as_dictionary::<Int32Type>());
        for (keys, (dictionary, parsed)) in [src, dst].into_iter().zip(&mut known) {
            let same = dictionary
                .as_ref()
                .is_some_and(|known| is_same_dictionary(known, keys.values()));
            if !same {
                let values = keys.values().as_string::<i32>();
                parsed.clear();
                parsed.extend(values.iter().map(|value| parse(value.unwrap())));
                *dictionary = Some(keys.values().clone());
            }
        }
        let [(_, src_parsed), (_, dst_parsed)] = &known;
        let (src, dst) = (src.keys().values().iter(), dst.keys().values().iter());
        let pairs = src
            .zip(dst)
            .map(|(src, dst)| (src_parsed[*src as usize], dst_parsed[*dst as usize]));
        sum = sum.wrapping_add(checksum(pairs));
    });
    sum
}

fn parse(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().into()
}
