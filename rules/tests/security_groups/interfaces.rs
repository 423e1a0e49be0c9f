//! Which groups an address has.

use flowaudit_rules::security_group::{Membership, SecurityGroups};

use super::reading::{issues, one};
use super::worlds::answer;

#[test]
fn an_empty_list_of_groups_counts_as_not_known() {
    assert_eq!(
        answer(
            &SecurityGroups::default(),
            "10.0.0.1@",
            "10.0.0.2",
            "TCP 80"
        ),
        "unspecified membership"
    );
    assert_ne!(Membership::Groups(&[]), Membership::Unknown);
}

#[test]
fn interfaces_say_which_groups_an_address_has() {
    // As documented, with the fields that matter here.
    let manifest = one(
        r#"{"RequestId": "…", "NextToken": "", "NetworkInterfaceSets": {"NetworkInterfaceSet": [
        {"NetworkInterfaceId": "eni-1", "Type": "Secondary", "PrivateIpAddress": "172.31.16.10",
         "PrivateIpSets": {"PrivateIpSet": [
            {"PrivateIpAddress": "172.31.16.10", "Primary": true},
            {"PrivateIpAddress": "172.31.16.139", "Primary": false}]},
         "Ipv6Sets": {"Ipv6Set": [{"Ipv6Address": "2001:db8::7"}]},
         "Ipv4PrefixSets": {"Ipv4PrefixSet": [{"Ipv4Prefix": "172.31.20.16/28"}]},
         "SecurityGroupIds": {"SecurityGroupId": ["sg-a", "sg-b"]}},
        {"NetworkInterfaceId": "eni-2", "PrivateIpAddress": "172.31.16.11", "SecurityGroupIds": {"SecurityGroupId": ["sg-c"]}},
        {"NetworkInterfaceId": "eni-3", "PrivateIpAddress": "172.31.16.300"}
    ]}}"#,
    );
    let membership = |text: &str| manifest.interfaces.membership(text.parse().unwrap());
    let both = ["sg-a".to_owned(), "sg-b".to_owned()];
    for address in [
        "172.31.16.10",
        "172.31.16.139",
        "2001:db8::7",
        "172.31.20.31",
    ] {
        assert_eq!(membership(address), Membership::Groups(&both), "{address}");
    }
    assert_eq!(
        membership("172.31.16.11"),
        Membership::Groups(&["sg-c".to_owned()])
    );
    assert_eq!(membership("172.31.20.32"), Membership::Unknown);
    assert_eq!(membership("203.0.113.9"), Membership::Outside);
    let issues = issues(&manifest);
    assert_eq!(issues.len(), 1, "{issues:?}");
    assert!(issues[0].contains("172.31.16.300"), "{issues:?}");
}
