//! Audit logs, as files and as the log service keeps them.
#![no_main]

use flowaudit_fuzz::check_past;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        check_past(text);
    }
});
