//! What the API answers, in the forms in which it is saved, and what cannot be understood of it.

use flowaudit_rules::policy::Direction;
use flowaudit_rules::security_group::{GroupType, SecurityGroupManifest, SecurityGroups, read};
use serde_json::json;

use crate::worlds::{answer, rule_answer};

pub(super) fn one(text: &str) -> SecurityGroupManifest {
    read([("sg.json", text)])
}

pub(super) fn issues(manifest: &SecurityGroupManifest) -> Vec<String> {
    manifest.issues.iter().map(ToString::to_string).collect()
}

/// A page of `id` with these rules, and whether another follows.
fn page(id: &str, rules: &[(usize, &str)], more: bool) -> String {
    let rules: Vec<_> = rules
        .iter()
        .map(|(index, rule)| rule_answer(*index, rule))
        .collect();
    json!({
        "SecurityGroupId": id,
        "InnerAccessPolicy": "Drop",
        "NextToken": if more { "AAAAAdDWBF2" } else { "" },
        "Permissions": {"Permission": rules},
    })
    .to_string()
}

/// The documented answer, with its line breaks.
const DOCUMENTED: &str = r#"{
  "VpcId": "vpc-bp1opxu1zkhn00gzv****",
  "RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E",
  "InnerAccessPolicy": "accept",
  "Description": "This is description.",
  "SecurityGroupId": "sg-bp1gxw6bznjjvhu3****",
  "SecurityGroupName": "SecurityGroupName Sample",
  "RegionId": "cn-hangzhou",
  "Permissions": {
    "Permission": [
      {
        "SecurityGroupRuleId": "sgr-bp12kewq32dfwrdi****",
        "Direction": "ingress",
        "SourceGroupId": "",
        "DestGroupOwnerAccount": "",
        "DestPrefixListId": "",
        "SourceCidrIp": "0.0.0.0/0",
        "Ipv6DestCidrIp": "",
        "CreateTime": "2018-12-12T07:28:38Z",
        "Ipv6SourceCidrIp": "",
        "DestGroupId": "",
        "DestCidrIp": "",
        "IpProtocol": "TCP",
        "Priority": 3,
        "DestGroupName": "",
        "NicType": "intranet",
        "Policy": "accept",
        "Description": "",
        "PortRange": "80/80",
        "SourcePrefixListId": "",
        "SourcePortRange": ""
      }
    ]
  }
}"#;

#[test]
fn the_documented_answer() {
    let manifest = one(DOCUMENTED);
    assert_eq!(manifest.issues, []);
    let group = &manifest.groups.groups["sg-bp1gxw6bznjjvhu3****"];
    assert_eq!(group.name, "SecurityGroupName Sample");
    assert_eq!(group.vpc_id, "vpc-bp1opxu1zkhn00gzv****");
    assert_eq!(
        (group.group_type, group.known_type()),
        (None, Some(GroupType::Basic))
    );
    let rule = &group.rules[0];
    assert_eq!((rule.priority, rule.direction), (3, Direction::Ingress));
    assert_eq!(rule.to_string(), "TCP port 80 from 0.0.0.0/0");
}

#[test]
fn one_answer_a_list_or_one_after_the_other() {
    let (a, b) = (page("sg-a", &[], false), page("sg-b", &[], false));
    let expected = read([("a", a.as_str()), ("b", b.as_str())]);
    assert_eq!(expected.groups.groups.len(), 2);
    for text in [
        format!("[{a},{b}]"),
        format!("{a}\n{b}\n"),
        format!("\u{feff}[[{a}],null,{b}]"),
        format!("{b} {a}"),
    ] {
        assert_eq!(one(&text), expected, "{text}");
    }
    assert_eq!(one(""), SecurityGroupManifest::default());
    assert_eq!(one(" \n"), SecurityGroupManifest::default());
}

#[test]
fn lists_with_and_without_their_wrapper() {
    let rule = rule_answer(0, "egress Accept 1 ALL -1/-1 0.0.0.0/0");
    let wrapped = json!({"SecurityGroupId": "sg-a", "Permissions": {"Permission": [rule]}});
    let bare = json!({"SecurityGroupId": "sg-a", "Permissions": [rule]});
    assert_eq!(one(&wrapped.to_string()), one(&bare.to_string()));
    assert_eq!(one(&bare.to_string()).groups.groups["sg-a"].rules.len(), 1);
    let none = one(r#"{"SecurityGroupId": "sg-a"}"#);
    assert_eq!(
        (none.issues.len(), none.groups.groups["sg-a"].rules.len()),
        (0, 0)
    );
}

const FIRST: (usize, &str) = (0, "ingress Accept 1 TCP 80/80 0.0.0.0/0");
const SECOND: (usize, &str) = (1, "ingress Accept 1 TCP 81/81 0.0.0.0/0");

#[test]
fn pages_are_one_group() {
    let pages = [
        page("sg-a", &[FIRST], true),
        page("sg-b", &[FIRST], true),
        // Rules that came with the page before come again where rules changed in between.
        page("sg-a", &[FIRST, SECOND], false),
        page("sg-b", &[SECOND], false),
    ];
    let whole = [
        page("sg-a", &[FIRST, SECOND], false),
        page("sg-b", &[FIRST, SECOND], false),
    ];
    let expected = one(&whole.join("\n"));
    assert_eq!(expected.issues, []);
    assert_eq!(one(&pages.join("\n")), expected);
    let texts = pages.iter().map(|page| ("page.json", page.as_str()));
    assert_eq!(read(texts), expected);
}

#[test]
fn a_missing_page_leaves_it_open() {
    let manifest = one(&page("sg-a", &[FIRST], true));
    assert_eq!(
        issues(&manifest),
        [
            "sg.json:1: warning: security group sg-a: its last page says that another follows, which is missing: \
             what it means stays open"
        ]
    );
    let asked = |what| answer(&manifest.groups, "203.0.113.7", "10.0.0.1@sg-a", what);
    assert_eq!(asked("TCP 80"), "unspecified incomplete-group");
    assert_eq!(asked("TCP 81"), "unspecified incomplete-group");
}

#[test]
fn a_group_that_came_before() {
    let text = format!(
        "{}\n{}",
        page("sg-a", &[FIRST], false),
        page("sg-a", &[SECOND], false)
    );
    let manifest = one(&text);
    assert_eq!(
        issues(&manifest),
        [
            "sg.json:2: warning: security group sg-a: SecurityGroupId: came before, at sg.json:1, with all its pages; \
             this one counts"
        ]
    );
    let rules = &manifest.groups.groups["sg-a"].rules;
    assert_eq!((rules.len(), rules[0].id.as_str()), (1, "sgr-1"));
}

#[test]
fn types_come_from_the_other_call() {
    let list = json!({"TotalCount": "2", "SecurityGroups": {"SecurityGroup": [
        {"SecurityGroupId": "sg-a", "SecurityGroupType": "enterprise", "SecurityGroupName": "nodes", "VpcId": "vpc-a"},
        {"SecurityGroupId": "sg-b", "SecurityGroupType": "normal"},
    ]}});
    for text in [
        format!("{list}{}", page("sg-a", &[], false)),
        format!("{}{list}", page("sg-a", &[], false)),
    ] {
        let manifest = one(&text);
        assert_eq!(manifest.issues, []);
        let group = &manifest.groups.groups["sg-a"];
        assert_eq!(group.group_type, Some(GroupType::Enterprise));
        assert_eq!(
            (group.name.as_str(), group.vpc_id.as_str(), group.incomplete),
            ("nodes", "vpc-a", false)
        );
        // What is only listed has rules that nobody read.
        assert!(manifest.groups.groups["sg-b"].incomplete);
        assert_eq!(
            answer(&manifest.groups, "10.0.0.1@sg-b", "203.0.113.7", "TCP 80"),
            "unspecified incomplete-group"
        );
    }
}

#[test]
fn an_enterprise_group_with_what_only_basic_groups_have() {
    let text = json!({
        "SecurityGroupId": "sg-a", "SecurityGroupType": "enterprise", "InnerAccessPolicy": "Accept",
        "Permissions": {"Permission": [rule_answer(0, "egress Accept 1 ALL -1/-1 0.0.0.0/0")]},
    });
    let manifest = one(&text.to_string());
    assert_eq!(
        issues(&manifest),
        [
            "sg.json:1: warning: security group sg-a: is an enterprise group, but has what only basic groups can have"
        ]
    );
    let asked = |server| answer(&manifest.groups, "10.0.0.1@sg-a", server, "TCP 80");
    assert_eq!(asked("10.0.0.2@sg-a"), "denied");
}

#[test]
fn what_is_no_answer_says_what_to_do() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let manifest = one(text);
        assert_eq!(manifest.groups, SecurityGroups::default());
        assert_eq!(issues(&manifest), [expected]);
        assert!(manifest.issues[0].help.is_some() || expected.contains("twice"));
    }
    check(
        r#"{"RequestId": "A", "Code": "Forbidden.RAM", "Message": "User not authorized"}"#,
        "sg.json:1: error: the API refused with `Forbidden.RAM`: User not authorized",
    );
    check(
        "\n{\"Permissions\": {}}",
        "sg.json:2: error: these rules do not say of which group they are",
    );
    check(
        "{}",
        "sg.json:1: error: this is no answer about a security group",
    );
    check(
        "7",
        "sg.json:1: error: not an answer of the API but the number 7",
    );
    check("kind: Pod", "sg.json:1: error: this is not JSON");
    check(
        "{\"SecurityGroupId\":",
        "sg.json:1: error: the text ends in the middle of a value",
    );
    check(
        r#"{"SecurityGroupId": "a", "SecurityGroupId": "b"}"#,
        "sg.json:1: error: the key `SecurityGroupId` is there twice",
    );
}

/// A rule with one field changed cannot be read: it is named, and may from then on say anything.
#[test]
fn a_rule_that_cannot_be_read_may_say_anything() {
    #[track_caller]
    fn check(field: &str, value: serde_json::Value, expected: &str) {
        let mut rule = rule_answer(0, "ingress Accept 1 TCP 80/80 0.0.0.0/0");
        rule[field] = value;
        let text = json!({
            "SecurityGroupId": "sg-a", "InnerAccessPolicy": "Drop", "SecurityGroupType": "normal",
            "Permissions": {"Permission": [rule_answer(1, "ingress Accept 1 TCP 81/81 0.0.0.0/0"), rule]},
        });
        let manifest = one(&text.to_string());
        let path = "Permissions.Permission[1]";
        assert_eq!(
            issues(&manifest),
            [format!(
                "sg.json:1: error: security group sg-a: {path}.{expected}"
            )]
        );
        assert!(manifest.issues[0].help.is_some(), "{:?}", manifest.issues);
        let group = &manifest.groups.groups["sg-a"];
        assert_eq!((group.rules.len(), group.unreadable.len()), (1, 1));
        for port in ["TCP 81", "TCP 80", "UDP 53"] {
            assert_eq!(
                answer(&manifest.groups, "203.0.113.7", "10.0.0.1@sg-a", port),
                "unspecified unreadable-rule"
            );
        }
        // Nothing is said of the other direction, except where even that is not known.
        let out = answer(&manifest.groups, "10.0.0.1@sg-a", "203.0.113.7", "TCP 80");
        let expected = match group.unreadable[0] {
            Some(_) => "allowed",
            None => "unspecified unreadable-rule",
        };
        assert_eq!(out, expected);
        assert_eq!(group.unreadable[0].is_none(), field == "Direction");
    }
    check(
        "Direction",
        json!("inward"),
        "Direction: `inward` is neither ingress nor egress",
    );
    check("Direction", json!(""), "Direction: is missing");
    check(
        "Policy",
        json!("Reject"),
        "Policy: `Reject` is none of Accept and Drop",
    );
    check("Policy", json!(""), "Policy: is missing");
    check(
        "Policy",
        json!(true),
        "Policy: must be a text, is the boolean true",
    );
    check(
        "Priority",
        json!("0"),
        "Priority: is not a priority from 1 to 100",
    );
    check(
        "Priority",
        json!(101),
        "Priority: is not a priority from 1 to 100",
    );
    check(
        "Priority",
        json!("high"),
        "Priority: is not a priority from 1 to 100",
    );
    check(
        "IpProtocol",
        json!("QUIC"),
        "IpProtocol: `QUIC` is not a protocol",
    );
    check("IpProtocol", json!(""), "IpProtocol: is missing");
    check(
        "PortRange",
        json!("80"),
        "PortRange: `80` is not a range of ports",
    );
    check(
        "PortRange",
        json!("90/80"),
        "PortRange: `90/80` is not a range of ports",
    );
    check(
        "PortRange",
        json!("1/65536"),
        "PortRange: `1/65536` is not a range of ports",
    );
    check(
        "PortRange",
        json!("+1/80"),
        "PortRange: `+1/80` is not a range of ports",
    );
    check(
        "PortRange",
        json!("-1/80"),
        "PortRange: `-1/80` is not a range of ports",
    );
    check("PortRange", json!(""), "PortRange: is missing");
    check(
        "PortRangeListId",
        json!("prl-a"),
        "PortRangeListId: must not stand beside a port range",
    );
    check(
        "SourcePortRange",
        json!("a/b"),
        "SourcePortRange: `a/b` is not a range of ports",
    );
    check(
        "SourceCidrIp",
        json!("10.0.0.0/33"),
        "SourceCidrIp: `10.0.0.0/33` is not an address block",
    );
    check(
        "Ipv6SourceCidrIp",
        json!("::/x"),
        "Ipv6SourceCidrIp: `::/x` is not an address block",
    );
}

#[test]
fn numbers_and_texts_alike() {
    let mut rule = rule_answer(0, "ingress Accept 7 TCP 80/80 0.0.0.0/0");
    let group = |rule: &serde_json::Value| {
        let answer = json!({"SecurityGroupId": "sg-a", "Permissions": {"Permission": [rule]}});
        one(&answer.to_string())
    };
    let expected = group(&rule);
    assert_eq!(expected.issues, []);
    rule["Priority"] = json!(7);
    rule["IpProtocol"] = json!(6);
    assert_eq!(group(&rule), expected);
    rule["Priority"] = json!("");
    assert_eq!(group(&rule).groups.groups["sg-a"].rules[0].priority, 1);
}

/// All given fields of a rule must match: both ends, and the client's port.
#[test]
fn rules_with_five_fields() {
    let mut rule = rule_answer(0, "ingress Accept 1 TCP 80/80 203.0.113.0/24");
    rule["DestCidrIp"] = json!("10.0.0.7/32");
    rule["SourcePortRange"] = json!("40000/41000");
    let text = json!({"SecurityGroupId": "sg-a", "InnerAccessPolicy": "Drop", "Permissions": {"Permission": [rule]}});
    let manifest = one(&text.to_string());
    assert_eq!(manifest.issues, []);
    let asked = |client, server, what| answer(&manifest.groups, client, server, what);
    assert_eq!(
        asked("203.0.113.7", "10.0.0.7@sg-a", "TCP 80 from 40000"),
        "allowed"
    );
    assert_eq!(
        asked("203.0.113.7", "10.0.0.7@sg-a", "TCP 80 from 41001"),
        "denied"
    );
    assert_eq!(
        asked("203.0.113.7", "10.0.0.7@sg-a", "TCP 80"),
        "unspecified client-port"
    );
    assert_eq!(
        asked("203.0.113.7", "10.0.0.8@sg-a", "TCP 80 from 40000"),
        "denied"
    );
    assert_eq!(
        asked("203.0.114.7", "10.0.0.7@sg-a", "TCP 80 from 40000"),
        "denied"
    );
    let shown = manifest.groups.groups["sg-a"].rules[0].to_string();
    assert_eq!(
        shown,
        "TCP port 80 from 203.0.113.0/24 to 10.0.0.7/32 by client ports 40000-41000"
    );

    let mut rule = rule_answer(0, "egress Drop 1 TCP 80/80 203.0.113.0/24");
    rule["SourceCidrIp"] = json!("10.0.0.7/32");
    let text = json!({
        "SecurityGroupId": "sg-a", "SecurityGroupType": "normal", "Permissions": {"Permission": [rule]},
    });
    let manifest = one(&text.to_string());
    let asked = |client| answer(&manifest.groups, client, "203.0.113.7", "TCP 80");
    assert_eq!(asked("10.0.0.7@sg-a"), "denied");
    assert_eq!(asked("10.0.0.8@sg-a"), "allowed");
}

#[test]
fn a_rule_without_a_peer_or_with_one_of_each_family() {
    let mut rule = rule_answer(0, "ingress Accept 1 TCP 80/80 10.0.0.0/8");
    rule["Ipv6SourceCidrIp"] = json!("2001:db8::/32");
    let groups = |rule: &serde_json::Value| {
        let text = json!({"SecurityGroupId": "sg-a", "InnerAccessPolicy": "Drop", "Permissions": {"Permission": [rule]}});
        let manifest = one(&text.to_string());
        assert_eq!(manifest.issues, []);
        manifest.groups
    };
    let asked = |world: &SecurityGroups, client| answer(world, client, "10.0.0.7@sg-a", "TCP 80");
    let both = groups(&rule);
    assert_eq!(asked(&both, "10.0.0.1"), "unspecified unclear-peer");
    assert_eq!(asked(&both, "2001:db8::1"), "unspecified unclear-peer");
    assert_eq!(asked(&both, "11.0.0.1"), "denied");
    rule["SourceCidrIp"] = json!("");
    rule["Ipv6SourceCidrIp"] = json!("");
    assert_eq!(
        asked(&groups(&rule), "10.0.0.1"),
        "unspecified unclear-peer"
    );
}

#[test]
fn port_lists() {
    let mut rule = rule_answer(0, "ingress Accept 1 TCP -1/-1 0.0.0.0/0");
    rule["PortRange"] = json!("");
    rule["PortRangeListId"] = json!("prl-a");
    let group = json!({"SecurityGroupId": "sg-a", "InnerAccessPolicy": "Drop", "Permissions": {"Permission": [rule]}});
    let list = json!({"PortRangeListId": "prl-a", "Entries": [{"PortRange": "80/80"}, {"PortRange": "90/99"}]});
    let asked = |text: &str, what| {
        let manifest = one(text);
        assert_eq!(manifest.issues, []);
        answer(&manifest.groups, "203.0.113.7", "10.0.0.1@sg-a", what)
    };
    let with = format!("{group}{list}");
    assert_eq!(asked(&group.to_string(), "TCP 80"), "unspecified port-list");
    assert_eq!(asked(&group.to_string(), "UDP 80"), "denied");
    assert_eq!(asked(&with, "TCP 80"), "allowed");
    assert_eq!(asked(&with, "TCP 95"), "allowed");
    assert_eq!(asked(&with, "TCP 81"), "denied");
}

#[test]
fn a_list_with_an_entry_that_cannot_be_read_is_not_used() {
    let manifest = one(
        r#"{"PrefixListId": "pl-a", "Entries": {"Entry": [{"Cidr": "10.0.0.0/8"}, {"Cidr": "all"}]}}"#,
    );
    assert_eq!(
        issues(&manifest),
        ["sg.json:1: error: prefix list: Entries.Entry[1].Cidr: `all` is not an address block"]
    );
    assert_eq!(manifest.groups, SecurityGroups::default());
}

#[test]
fn prints_and_reads_back() {
    let mut odd = rule_answer(2, "ingress Drop 9 ICMPv6 -1/-1 2001:db8::/32");
    odd["DestCidrIp"] = json!("10.0.0.0/8");
    odd["SourcePortRange"] = json!("1/2");
    let mut broken = rule_answer(3, "egress Accept 1 TCP 80/80 10.0.0.0/8");
    broken["Priority"] = json!("x");
    let text = json!([
        {
            "SecurityGroupId": "sg-a", "SecurityGroupName": "nodes", "VpcId": "vpc-a", "SecurityGroupType": "normal",
            "InnerAccessPolicy": "Accept",
            "Permissions": {"Permission": [
                rule_answer(0, "ingress Accept 1 ALL -1/-1 sg-b"), rule_answer(1, "egress Drop 100 UDP 1/65535 pl-a"),
                odd, broken, {},
            ]},
        },
        {"SecurityGroupId": "sg-b", "SecurityGroupType": "enterprise", "NextToken": "t"},
        {"PrefixListId": "pl-a", "Entries": {"Entry": [{"Cidr": "10.0.0.0/8"}]}},
        {"PortRangeListId": "prl-a", "Entries": [{"PortRange": "80/90"}]},
    ]);
    let groups = one(&text.to_string()).groups;
    assert_eq!(
        groups.groups["sg-a"].unreadable,
        [Some(Direction::Egress), None]
    );
    let printed = groups.to_json();
    assert_eq!(one(&printed).groups, groups);
    // Each family under the field of its own, as the API writes it.
    assert!(
        printed.contains(r#""Ipv6SourceCidrIp":"2001:db8::/32""#),
        "{printed}"
    );
    assert!(
        printed.contains(r#""DestCidrIp":"10.0.0.0/8""#),
        "{printed}"
    );
}

#[test]
fn rules_in_words() {
    let shown = |rule: &str, more: &[(&str, &str)]| {
        let mut rule = rule_answer(0, rule);
        for (field, value) in more {
            rule[field] = json!(value);
        }
        let text = json!({"SecurityGroupId": "sg-a", "Permissions": {"Permission": [rule]}});
        one(&text.to_string()).groups.groups["sg-a"].rules[0].to_string()
    };
    assert_eq!(
        shown("ingress Accept 1 TCP -1/-1 sg-b", &[]),
        "TCP any port from members of sg-b"
    );
    assert_eq!(
        shown(
            "ingress Accept 1 ALL 80/80 sg-b",
            &[("SourceGroupOwnerAccount", "a@example.com")]
        ),
        "every protocol port 80 from members of sg-b of account a@example.com"
    );
    assert_eq!(
        shown("ingress Accept 1 GRE -1/-1 pl-a", &[]),
        "GRE from the addresses of list pl-a"
    );
}

/// All ports of the client, or more than all but one: whether its port is known matters only where it can differ.
#[test]
fn every_client_port() {
    let asked = |ports: &str| {
        let mut rule = rule_answer(0, "ingress Accept 1 TCP 80/80 203.0.113.0/24");
        rule["SourcePortRange"] = json!(ports);
        let text = json!({"SecurityGroupId": "sg-a", "InnerAccessPolicy": "Drop", "Permissions": {"Permission": [rule]}});
        answer(
            &one(&text.to_string()).groups,
            "203.0.113.7",
            "10.0.0.7@sg-a",
            "TCP 80",
        )
    };
    assert_eq!(asked("1/65535"), "allowed");
    assert_eq!(asked("0/65535"), "allowed");
    for ports in ["2/65535", "1/65534"] {
        assert_eq!(asked(ports), "unspecified client-port", "{ports}");
    }
}
