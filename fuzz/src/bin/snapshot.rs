//! Snapshots of the commit log.
#![no_main]

use flowaudit_lake::state::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(snapshot) = State::parse(412, data) else {
        return;
    };
    let printed = snapshot.to_bytes();
    let again = State::parse(412, &printed).expect("what we wrote ourselves");
    assert_eq!(again.to_bytes(), printed);
});
