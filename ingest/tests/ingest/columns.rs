//! Parquet that lies about itself: it is named as damaged, and no memory is given for what it only announces.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use flowaudit_ingest::decode::Field;
use flowaudit_ingest::decode::columns::{Columns, NotRead};

use crate::by_hand::{
    BYTE_ARRAY, Column, GZIP, INT64, RLE_DICTIONARY, SNAPPY, Struct, UNPACKED, ZSTD, data, data_v2,
    dictionary, file, finish, numbers, page, plain, texts,
};

const CHILD: &str = "FLOWAUDIT_HOSTILE_PARQUET";
/// What the pages of a file may hold.
const MEMORY: u64 = 64 << 20;

/// Every value of a column, in order.
fn read(bytes: &[u8], field: Field) -> Result<Vec<Option<String>>, NotRead> {
    let mut columns = Columns::open(Arc::new(Bytes::copy_from_slice(bytes)), 0, MEMORY)?;
    let mut values = Vec::new();
    while let Some(batch) = columns.next_rows()? {
        for row in 0..batch.num_rows() {
            let value = match columns.record(&batch, row) {
                Ok(record) => record.get(field).map(str::to_owned),
                Err(_) => None,
            };
            values.push(value);
        }
    }
    Ok(values)
}

/// Two rows, with this as the third column.
fn with(column: Column) -> Vec<u8> {
    file(
        &[
            plain("srcaddr", BYTE_ARRAY, &texts(&["10.0.0.1", "10.0.0.2"]), 2),
            plain("dstaddr", BYTE_ARRAY, &texts(&["10.0.0.3", "10.0.0.3"]), 2),
            column,
        ],
        2,
    )
}

fn column(kind: i64, packing: i64, nullable: bool, pages: Vec<u8>) -> Column {
    let name = match kind {
        BYTE_ARRAY => "eni-id",
        _ => "start",
    };
    Column {
        name,
        kind,
        nullable,
        packing,
        pages,
    }
}

/// Dictionary indices of one bit: 0 and 1.
const INDICES: [u8; 3] = [1, 3, 0b10];

#[test]
fn what_is_put_together_by_hand_is_read() {
    let start = |bytes: &[u8]| read(bytes, Field::Start).unwrap();
    let found = start(&with(plain("start", INT64, &numbers(&[7, 8]), 2)));
    assert_eq!(found, [Some("7".to_owned()), Some("8".to_owned())]);

    // A null: definition levels before the one value there is.
    let body = [&[2, 0, 0, 0, 3, 0b01][..], &numbers(&[7])].concat();
    let nullable = page(data(14, 14, 2, 0), &body);
    let found = start(&with(column(INT64, UNPACKED, true, nullable)));
    assert_eq!(found, [Some("7".to_owned()), None]);

    let body = [&[3, 0b10][..], &numbers(&[9])].concat();
    let second = page(data_v2(10, 2, 1, 2, false), &body);
    let found = start(&with(column(INT64, SNAPPY, true, second)));
    assert_eq!(found, [None, Some("9".to_owned())]);

    let values = texts(&["eni-1", "eni-2"]);
    let pages = [
        page(dictionary(18, 18, 2), &values),
        page(data(3, 3, 2, RLE_DICTIONARY), &INDICES),
    ]
    .concat();
    let found = read(
        &with(column(BYTE_ARRAY, UNPACKED, false, pages)),
        Field::EniId,
    );
    assert_eq!(
        found.unwrap(),
        [Some("eni-1".to_owned()), Some("eni-2".to_owned())]
    );
}

/// Files that announce more than they hold, with a word of what is said about each.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    const MOST: i64 = i32::MAX as i64;
    let body = numbers(&[7, 8]);
    let snappy = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let zstd = zstd::encode_all(body.as_slice(), 1).unwrap();
    let gzip = crate::common::gzip(&body);
    let mut files = Vec::new();
    for (packing, packed) in [(SNAPPY, &snappy), (ZSTD, &zstd), (GZIP, &gzip)] {
        for (size, said) in [
            (MOST, "more than 64 MiB"),
            (60 << 20, "another size than it says"),
            (1, ""),
            (-1, "no header"),
        ] {
            let pages = page(data(size, packed.len() as i64, 2, 0), packed);
            let file = with(column(INT64, packing, false, pages));
            files.push(("a page that unpacks to something else", file, said));
        }
    }
    // A megabyte that really unpacks to a gigabyte.
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 1).unwrap();
    let pages = page(data(1 << 30, bomb.len() as i64, 2, 0), &bomb);
    let file_of_bomb = with(column(INT64, ZSTD, false, pages));
    files.push(("a bomb", file_of_bomb, "more than 64 MiB"));

    let pages = page(data(16, MOST, 2, 0), &body);
    let longer = with(column(INT64, UNPACKED, false, pages));
    files.push(("a page beyond its column", longer, "longer than its column"));
    let pages = page(data(16, 16, MOST, 0), &body);
    let more = with(column(INT64, UNPACKED, false, pages));
    files.push(("values without end", more, "more values than its column"));

    let indices = page(data(3, 3, 2, RLE_DICTIONARY), &INDICES);
    for (kind, values) in [
        (INT64, body.clone()),
        (BYTE_ARRAY, texts(&["eni-1", "eni-2"])),
    ] {
        let size = values.len() as i64;
        for (count, said) in [(MOST, ""), (1 << 20, "fewer values than it says")] {
            let pages = [
                page(dictionary(size, size, count), &values),
                indices.clone(),
            ]
            .concat();
            let file = with(column(kind, UNPACKED, false, pages));
            files.push(("a dictionary of more than it holds", file, said));
        }
    }
    let long = texts(&["x".repeat(100_000).as_str(), "y"]);
    let size = long.len() as i64;
    let pages = [page(dictionary(size, size, 2), &long), indices.clone()].concat();
    let shared = with(column(BYTE_ARRAY, UNPACKED, false, pages));
    files.push(("a long value for every row", shared, "100000 bytes"));
    let pages = [page(dictionary(MOST, 18, 2), &body), indices].concat();
    let large = with(column(BYTE_ARRAY, ZSTD, false, pages));
    files.push(("a dictionary too large", large, "more than 64 MiB"));

    for length in [u32::MAX, i32::MAX as u32, 100] {
        let body = [&length.to_le_bytes()[..], &[3, 1], &body].concat();
        let pages = page(data(22, 22, 2, 0), &body);
        let file = with(column(INT64, UNPACKED, true, pages));
        files.push(("levels beyond their page", file, "ends before its values"));
    }
    for levels in [MOST, 100, -1] {
        let pages = page(data_v2(16, 2, 0, levels, false), &body);
        let file = with(column(INT64, UNPACKED, true, pages));
        files.push(("levels of the second version", file, ""));
    }
    let pages = page(data_v2(16, 2, MOST, 2, true), &body);
    let nulls = with(column(INT64, UNPACKED, true, pages));
    files.push(("more nulls than values", nulls, ""));

    // Block size 128, four parts, then how many values there are.
    let endless = [
        0x80, 0x01, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0,
    ];
    for (kind, encoding) in [(INT64, 5), (BYTE_ARRAY, 6)] {
        let pages = page(data(12, 12, 2, encoding), &endless);
        let file = with(column(kind, UNPACKED, false, pages));
        files.push(("differences without end", file, "more values than it says"));
    }
    let pages = page(data(12, 12, 2, 7), &endless);
    let prefixes = with(column(BYTE_ARRAY, UNPACKED, false, pages));
    files.push(("beginnings of each other", prefixes, "DELTA_BYTE_ARRAY"));

    let pages = page(Struct::default().text(9, &vec![0; 100_000]), &body);
    let header = with(column(INT64, UNPACKED, false, pages));
    files.push(("a header without end", header, "no header"));
    files.push((
        "rows without end",
        file(&[plain("start", INT64, &body, 2)], 1 << 60),
        "more rows than it can have",
    ));
    files.extend(hostile_footers());
    files
}

fn hostile_footers() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let nested = Struct::default().text(4, b"a").int(5, 1).done();
    let deep = Struct::default()
        .int(1, 1)
        .list(2, 12, &vec![nested.clone(); 3000]);
    let wide = Struct::default()
        .int(1, 1)
        .list(2, 12, &vec![nested; 300_000]);
    let mut long = b"PAR1".to_vec();
    long.extend(vec![0; 5 << 20]);
    long.extend((5_u32 << 20).to_le_bytes());
    long.extend(b"PAR1");
    let mut endless = b"PAR1PAR1".to_vec();
    endless.extend([0xff, 0xff, 0xff, 0x7f]);
    endless.extend(b"PAR1");
    vec![
        (
            "columns within columns",
            finish(b"PAR1".to_vec(), &deep.done()),
            "its schema",
        ),
        (
            "a great many columns",
            finish(b"PAR1".to_vec(), &wide.done()),
            "its schema",
        ),
        ("a long footer", long, "5242880 bytes is none"),
        ("a footer beyond the file", endless, ""),
    ]
}

/// What the child process does, with less memory than any of the files announces.
#[test]
fn child() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    for (name, bytes, said) in hostile() {
        let error = read(&bytes, Field::Start).expect_err(name).to_string();
        assert!(error.contains(said), "{name}: {error}");
    }
}

#[test]
fn no_memory_is_given_for_what_is_only_announced() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 1200000; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "columns::child", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn pages_of_all_columns_share_what_may_be_held() {
    // Each of them is small enough; all of them together are not.
    let packed = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 30 << 20), 1).unwrap();
    let large = |name| Column {
        name,
        kind: INT64,
        nullable: false,
        packing: ZSTD,
        pages: page(data(30 << 20, packed.len() as i64, 2, 0), &packed),
    };
    let two = file(
        &[
            large("start"),
            large("end"),
            plain("bytes", INT64, &numbers(&[1, 2]), 2),
        ],
        2,
    );
    assert_eq!(read(&two, Field::Bytes).unwrap().len(), 2);
    let three = file(&[large("start"), large("end"), large("bytes")], 2);
    assert_eq!(read(&three, Field::Bytes), Err(NotRead::TooLarge(MEMORY)));
    let three = Arc::new(Bytes::from(three));
    let mut columns = Columns::open(three, 0, 128 << 20).unwrap();
    assert_eq!(columns.next_rows().unwrap().unwrap().num_rows(), 2);
}
