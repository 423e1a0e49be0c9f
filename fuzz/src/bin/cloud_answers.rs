//! Answers of the control plane: what is kept of them is kept of it again.
#![no_main]

use flowaudit_ingest::cloud::Kind;
use flowaudit_ingest::cloud::addresses::addresses;
use flowaudit_ingest::cloud::flow_logs::limits;
use flowaudit_ingest::cloud::reply::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let seen = read([("fuzz", text)]);
    _ = limits(&seen.objects);
    for ((kind, id), spec) in &seen.objects {
        let value: serde_json::Value = serde_json::from_str(spec).expect("JSON of our own");
        _ = addresses(*kind, &value);
        let of_groups = matches!(
            kind,
            Kind::SecurityGroup | Kind::PrefixList | Kind::PortRangeList
        );
        if of_groups {
            let again = read([("again", spec.as_str())]);
            let place = (*kind, id.clone());
            assert_eq!(again.objects.get(&place), Some(spec), "{:?}", again.issues);
        }
    }
});
