//! A CSV header and records under it.
#![no_main]

use flowaudit_fuzz::values;
use flowaudit_ingest::decode::csv::CsvDecoder;
use flowaudit_ingest::decode::split::{Pieces, Splitting};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let end = data
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(data.len());
    let (header, records) = data.split_at(end);
    let Ok(mut decoder) = CsvDecoder::new(header) else {
        return;
    };
    let again = CsvDecoder::new(decoder.header().as_bytes()).expect("a header that was read");
    assert_eq!(
        (again.columns(), again.delimiter()),
        (decoder.columns(), decoder.delimiter())
    );
    let splitting = Splitting::Csv {
        delimiter: decoder.delimiter(),
        columns: decoder.columns(),
    };
    let mut pieces = Pieces::new(records, 0, splitting, 4096);
    while let Some(piece) = pieces.next_piece() {
        let Ok(record) = decoder.record(piece.bytes) else {
            continue;
        };
        let values = values(&record);
        // Every value quoted, and the columns that a record needs, whatever they hold.
        let mut names: Vec<&str> = values.iter().map(|(field, _)| field.name()).collect();
        let mut texts: Vec<String> = values
            .iter()
            .map(|(_, value)| format!("\"{}\"", value.replace('"', "\"\"")))
            .collect();
        for needed in ["start", "end", "srcaddr", "dstaddr", "protocol"] {
            if !names.contains(&needed) {
                names.push(needed);
                texts.push("-".to_owned());
            }
        }
        let mut plain = CsvDecoder::new(names.join(",").as_bytes()).expect("names of fields");
        assert_eq!(
            plain.record(texts.join(",").as_bytes()).as_ref(),
            Ok(&record)
        );
    }
});
