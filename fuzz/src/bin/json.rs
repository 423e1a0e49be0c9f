//! JSON objects of a flow log, one after the other through one decoder.
#![no_main]

use flowaudit_fuzz::values;
use flowaudit_ingest::decode::json::{self, JsonDecoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut decoder = JsonDecoder::default();
    for line in data.split(|&byte| byte == b'\n') {
        let fresh = json::record(line);
        assert_eq!(
            decoder.record(line),
            fresh,
            "what was remembered made a difference"
        );
        let Ok(record) = fresh else { continue };
        let printed: serde_json::Map<_, _> = values(&record)
            .into_iter()
            .map(|(field, value)| (field.name().to_owned(), value.into()))
            .collect();
        let printed = serde_json::to_vec(&printed).expect("a map of texts");
        match json::record(&printed) {
            Ok(again) => assert_eq!(again, record),
            Err(error) => assert!(record.is_empty(), "{error}"),
        }
    }
});
