//! Commit records, and what applying them to an empty lake means.
#![no_main]

use flowaudit_lake::commit::CommitRecord;
use flowaudit_lake::state::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for number in [1, 412] {
        let Ok(record) = CommitRecord::parse(number, data) else {
            continue;
        };
        let again =
            CommitRecord::parse(number, &record.to_bytes()).expect("what we wrote ourselves");
        assert_eq!(again, record);
        _ = State::default().apply(&record);
    }
});
