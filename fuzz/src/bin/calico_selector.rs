//! Calico selector expressions: what is read prints as one spelling that reads back to the same.
#![no_main]

use flowaudit_rules::dialect::calico::selector::Selector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Selector::parse(text) {
        Ok(selector) => {
            let printed = selector.to_string();
            assert_eq!(Selector::parse(&printed).as_ref(), Ok(&selector));
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.at));
            _ = (error.to_string(), error.help());
        }
    }
});
