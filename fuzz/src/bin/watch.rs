//! A recorded `kubectl --watch`.
#![no_main]

use flowaudit_fuzz::check_prints_and_reads_back;
use flowaudit_rules::kubernetes::read_watch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let watch = read_watch("fuzz.json", text);
    for issue in &watch.issues {
        _ = issue.to_string();
    }
    for event in &watch.events {
        check_prints_and_reads_back(&event.object);
    }
});
