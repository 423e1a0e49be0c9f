//! Events of Kubernetes, plain and from the event centre.
#![no_main]

use flowaudit_fuzz::check_past;
use flowaudit_ingest::inventory::past::{event, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    check_past(text);
    text::values(text, |value| {
        let Some(members) = value.as_object() else {
            return;
        };
        let event = event::unwrapped(members).unwrap_or_else(|| value.clone());
        if let event::Said::Allocation(allocation) = event::read(&event) {
            assert!(!allocation.addresses.is_empty() && !allocation.at.is_empty());
        }
    });
});
