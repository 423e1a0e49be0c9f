//! Listings and errors of the object store.
#![no_main]

use flowaudit_lake::cloud::oss::{Refusal, parse_page};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(page) = parse_page(data) {
        let keys: usize = page.objects.iter().map(|object| object.key.len()).sum();
        assert!(keys <= data.len(), "decoding never makes keys longer");
    }
    let refusal = Refusal::parse(403, data);
    let _ = refusal.class();
});
