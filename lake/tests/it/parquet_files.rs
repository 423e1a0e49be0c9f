//! The files: what other programs and the kernel find in them.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_schema::DataType;
use flowaudit_lake::store::{Memory, Store};
use flowaudit_lake::table::flows::FlowsBuilder;
use flowaudit_lake::{Hour, Lake, LakeError, Partition, Table, read};
use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::ParquetMetaDataReader;

use crate::numbers::{HOUR, START_US, flow};

/// A file of many rows of which every source address is another.
fn lake_of(rows: u64) -> (Lake, Memory) {
    let memory = Memory::default();
    let lake = Lake::create_or_open_on(Arc::new(memory.clone())).unwrap();
    let mut batch = lake.batch("ingest").unwrap();
    let mut builder = FlowsBuilder::default();
    for number in 0..rows {
        let text = format!(
            "2001:db8:aaaa:bbbb:cccc:{:x}:{:x}:{:x}",
            number >> 32,
            (number >> 16) & 0xffff,
            number & 0xffff
        );
        let mut row = flow(number, &text);
        row.start_us = START_US + (number % 3_600_000) as i64;
        builder.push(&row);
        if builder.len() == 64 * 1024 {
            batch
                .write(Table::Flows, Partition::Hour(HOUR), &builder.finish())
                .unwrap();
        }
    }
    batch
        .write(Table::Flows, Partition::Hour(HOUR), &builder.finish())
        .unwrap();
    batch.publish().unwrap();
    (lake, memory)
}

#[test]
fn distinct_addresses_stay_dictionary_encoded_and_times_have_statistics() {
    let (lake, memory) = lake_of(1_200_000);
    let snapshot = lake.snapshot().unwrap();
    let entry = snapshot.files(Table::Flows).next().unwrap();
    let bytes = memory.open(&entry.path).unwrap();
    let mut whole = vec![0; bytes.size() as usize];
    bytes.read_exact_at(&mut whole, 0).unwrap();
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::from(whole))
        .unwrap();
    assert_eq!(metadata.num_row_groups(), 2);
    assert_eq!(metadata.row_group(0).num_rows(), 1024 * 1024);
    for group in metadata.row_groups() {
        for column in group.columns() {
            let name = column.column_path().string();
            assert!(
                matches!(column.compression(), Compression::ZSTD(_)),
                "{name}"
            );
            let ours = Table::Flows
                .columns()
                .iter()
                .find(|ours| ours.name == name)
                .unwrap();
            if ours.ty == flowaudit_lake::column::ColumnType::Key {
                assert_eq!(column.column_type(), Type::BYTE_ARRAY);
                let pages = column.page_encoding_stats_mask().unwrap();
                assert!(
                    pages.is_only(Encoding::RLE_DICTIONARY)
                        || pages.is_only(Encoding::PLAIN_DICTIONARY),
                    "{name} fell back to plain"
                );
            }
        }
    }
    let file = read::open(&lake, entry).unwrap();
    assert_eq!(
        (file.row_groups(), file.rows_in(0), file.rows_in(1)),
        (2, 1024 * 1024, 1_200_000 - 1024 * 1024)
    );
    assert_eq!(file.row_count(), 1_200_000);
    assert_eq!(
        file.times_in(0),
        Some((START_US, START_US + 1024 * 1024 - 1))
    );
    assert_eq!(
        file.times_in(1),
        Some((START_US + 1024 * 1024, START_US + 1_199_999))
    );
    assert_eq!(file.times_in(2), None);

    // One row group at a time, in bounded batches that share one dictionary.
    let mut rows = 0;
    let mut dictionary: Option<arrow_array::ArrayRef> = None;
    for batch in file.batches(&["src_addr", "bytes"], 0).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.num_rows() <= read::BATCH_ROWS);
        let keys = batch.column(0).as_dictionary::<Int32Type>();
        let values = dictionary.get_or_insert_with(|| keys.values().clone());
        assert!(read::is_same_dictionary(values, keys.values()));
        rows += batch.num_rows();
    }
    assert_eq!(rows, 1024 * 1024);
}

#[test]
fn columns_come_in_the_order_they_were_asked_for() {
    let (lake, _) = lake_of(10);
    let snapshot = lake.snapshot().unwrap();
    let entry = snapshot.files(Table::Flows).next().unwrap();
    let columns = ["bytes", "action", "start_time", "vm_id"];
    let batch = read::batches(&lake, entry, &columns, 0)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let names: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, columns);
    assert!(matches!(
        batch.column(1).data_type(),
        DataType::Dictionary(..)
    ));
    assert_eq!(batch.column(3).null_count(), 10);
    let error = read::batches(&lake, entry, &["port"], 0)
        .map(drop)
        .unwrap_err();
    assert_eq!(error.to_string(), "table flows has no column `port`");
    assert!(error.help().unwrap().contains("src_port"));
    assert!(matches!(
        read::batches(&lake, entry, &["bytes"], 1).map(drop),
        Err(LakeError::Damaged { .. })
    ));
    // No column at all still counts rows.
    let batch = read::batches(&lake, entry, &[], 0)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!((batch.num_columns(), batch.num_rows()), (0, 10));
}

#[test]
fn threads_read_row_groups_of_one_file_at_the_same_time() {
    let (lake, _) = lake_of(1_200_000);
    let snapshot = lake.snapshot().unwrap();
    let file = read::open(&lake, snapshot.files(Table::Flows).next().unwrap()).unwrap();
    let sum = |row_group| -> i64 {
        let batches = file.batches(&["bytes"], row_group).unwrap();
        batches
            .map(|batch| {
                batch
                    .unwrap()
                    .column(0)
                    .as_primitive::<arrow_array::types::Int64Type>()
                    .values()
                    .iter()
                    .sum::<i64>()
            })
            .sum()
    };
    let total: i64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || sum(n % 2))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(total, 4 * (0..1_200_000i64).sum::<i64>());
}

#[test]
fn many_partitions_in_one_batch_do_not_keep_as_many_files_open() {
    let memory = Memory::default();
    let lake = Lake::create_or_open_on(Arc::new(memory)).unwrap();
    let mut batch = lake.batch("ingest").unwrap();
    for round in 0..2 {
        for hour in 0..300i64 {
            let mut builder = FlowsBuilder::default();
            let mut row = flow(round, "10.0.0.1");
            row.start_us = Hour(hour).start_us();
            builder.push(&row);
            batch
                .write(Table::Flows, Partition::Hour(Hour(hour)), &builder.finish())
                .unwrap();
        }
    }
    let commit = batch.publish().unwrap();
    assert_eq!(commit.added.iter().map(|file| file.rows).sum::<u64>(), 600);
    let snapshot = lake.snapshot().unwrap();
    assert_eq!(snapshot.hours(Table::Flows).len(), 300);
    assert_eq!(lake.verify().unwrap(), []);
    let stats = lake.stats().unwrap();
    let flows = &stats.tables[&Table::Flows];
    assert_eq!(
        (flows.rows, flows.partitions, flows.min_us, flows.max_us),
        (600, 300, Some(0), Some(Hour(299).start_us()))
    );
}

#[test]
fn a_batch_may_begin_another_file_of_the_same_partition() {
    let lake = Lake::create_or_open_on(Arc::new(Memory::default())).unwrap();
    let mut batch = lake.batch("ingest").unwrap();
    let place = (Table::Flows, Partition::Hour(HOUR));
    assert_eq!(batch.end(place.0, place.1).unwrap(), None);
    let rows = |from: u64| {
        let mut builder = FlowsBuilder::default();
        (from..from + 3).for_each(|number| builder.push(&flow(number, "10.0.0.1")));
        builder.finish()
    };
    batch.write(place.0, place.1, &rows(0)).unwrap();
    let first = batch.end(place.0, place.1).unwrap().unwrap();
    batch.write(place.0, place.1, &rows(3)).unwrap();
    batch.write(place.0, place.1, &rows(6)).unwrap();
    let commit = batch.publish().unwrap();
    let files: Vec<_> = commit
        .added
        .iter()
        .map(|file| (file.path == first, file.rows))
        .collect();
    assert_eq!(files, [(true, 3), (false, 6)]);
    let snapshot = lake.snapshot().unwrap();
    assert_eq!(snapshot.rows(Table::Flows), 9);
    // One can be replaced without the other.
    let mut batch = lake.batch("ingest").unwrap();
    batch.remove(&commit.added[1]);
    batch.publish().unwrap();
    let snapshot = lake.snapshot().unwrap();
    let left: Vec<_> = snapshot
        .files(Table::Flows)
        .map(|file| file.path.clone())
        .collect();
    assert_eq!(left, [first]);
}
