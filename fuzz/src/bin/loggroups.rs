//! A reply of the log service: the first byte chooses the packing, the next two the announced size, the rest is the body.
#![no_main]

use flowaudit_fuzz::values;
use flowaudit_ingest::sls::decode::{
    LogDecoder, NotARecord, check, contents, groups, logs, to_json,
};
use flowaudit_ingest::sls::unpack::{Packing, unpack};
use libfuzzer_sys::fuzz_target;

/// Room enough for every size that two bytes can announce.
const MAX: u64 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let [kind, low, high, body @ ..] = data else {
        return;
    };
    let packing = [
        Packing::Plain,
        Packing::Lz4,
        Packing::Zstd,
        Packing::Deflate,
    ][usize::from(*kind) % 4];
    let announced = u64::from(u16::from_le_bytes([*low, *high]));
    if let Ok(list) = unpack(body.to_vec(), packing, announced, MAX) {
        assert_eq!(list.len() as u64, announced);
        walk(&list);
    }
    // Damage is found in plain bytes far sooner.
    walk(body);
});

fn walk(list: &[u8]) {
    let Ok(tally) = check(list) else { return };
    let (mut found, mut decoder) = (0, LogDecoder::default());
    for group in groups(list) {
        for log in logs(group.expect("checked")) {
            let log = log.expect("checked");
            found += 1;
            assert!(contents(log).all(|pair| pair.is_ok()));
            let mut fresh = LogDecoder::default();
            let record = decoder.record(log);
            assert_eq!(
                record,
                fresh.record(log),
                "the log before made a difference"
            );
            match record {
                Ok(record) => drop(values(record)),
                Err(NotARecord::Unreadable(_)) => {}
                Err(NotARecord::Malformed(malformed)) => panic!("{malformed} after the check"),
            }
            let line = to_json(log, 512);
            let _: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        }
    }
    assert_eq!(found, tally.logs);
}
