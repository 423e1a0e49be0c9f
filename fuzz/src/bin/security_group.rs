//! What the cloud's API answers about security groups; what is read can be asked, and prints and reads back.
#![no_main]

use flowaudit_rules::cluster::Protocol;
use flowaudit_rules::security_group::{Interface, InterfaceConnection, Membership, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let manifest = read([("fuzz.json", text)]);
    for issue in &manifest.issues {
        _ = issue.to_string();
    }
    let printed = manifest.groups.to_json();
    let again = read([("fuzz.json", printed.as_str())]).groups;
    assert_eq!(again, manifest.groups, "{printed}");

    let ids: Vec<String> = manifest.groups.groups.keys().cloned().collect();
    let interface = |address: [u8; 4], ids| Interface {
        address: Some(address.into()),
        membership: Membership::Groups(ids),
    };
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Other(1)] {
        let verdict = manifest.groups.judge(&InterfaceConnection {
            client: interface([10, 0, 0, 1], &ids),
            server: interface([10, 0, 0, 2], ids.get(..1).unwrap_or_default()),
            port: 80,
            client_port: None,
            protocol,
        });
        _ = verdict.to_string();
    }
});
