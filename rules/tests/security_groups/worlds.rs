//! Worlds in few words, read through the reader as the API would have answered.

use std::net::IpAddr;

use flowaudit_rules::security_group::{
    Interface, InterfaceConnection, Membership, SecurityGroups, SecurityVerdict, read,
};
use flowaudit_rules::verdict::Outcome;
use serde_json::{Value, json};

/// One group.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) id: &'a str,
    /// `normal`, `enterprise`, or nothing.
    pub(crate) kind: &'a str,
    /// `Accept`, `Drop`, or nothing.
    pub(crate) inner: &'a str,
    /// `direction action priority protocol ports peer`.
    pub(crate) rules: &'a [&'a str],
}

/// These groups, and the prefix list `pl-read`.
#[track_caller]
pub(crate) fn world(groups: &[Group<'_>]) -> SecurityGroups {
    let mut answers: Vec<Value> = groups.iter().map(group_answer).collect();
    answers.push(json!({
        "PrefixListId": "pl-read",
        "AddressFamily": "IPv4",
        "Entries": {"Entry": [{"Cidr": "198.51.100.0/24"}, {"Cidr": "192.0.2.1/32"}]},
    }));
    let text = Value::Array(answers).to_string();
    let manifest = read([("sg.json", text.as_str())]);
    assert_eq!(manifest.issues, []);
    manifest.groups
}

fn group_answer(group: &Group<'_>) -> Value {
    let rules = group.rules.iter().enumerate();
    let rules: Vec<Value> = rules
        .map(|(index, rule)| rule_answer(index, rule))
        .collect();
    json!({
        "RequestId": "473469C7",
        "RegionId": "cn-hangzhou",
        "VpcId": "vpc-a",
        "SecurityGroupId": group.id,
        "SecurityGroupType": group.kind,
        "InnerAccessPolicy": group.inner,
        "NextToken": "",
        "Permissions": {"Permission": rules},
    })
}

pub(crate) fn rule_answer(index: usize, rule: &str) -> Value {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let [direction, action, priority, protocol, ports, peer] = words.as_slice() else {
        panic!("not a rule: {rule}");
    };
    let mut answer = json!({
        "SecurityGroupRuleId": format!("sgr-{index}"),
        "Direction": direction,
        "Policy": action,
        "Priority": priority,
        "IpProtocol": protocol,
        "PortRange": ports,
        "SourcePortRange": "-1/-1",
        "NicType": "intranet",
        "Description": "",
        "SourceCidrIp": "",
        "DestCidrIp": "",
        "SourceGroupId": "",
        "DestGroupId": "",
    });
    let end = if *direction == "ingress" {
        "Source"
    } else {
        "Dest"
    };
    let key = match peer {
        id if id.starts_with("sg-") => format!("{end}GroupId"),
        id if id.starts_with("pl-") => format!("{end}PrefixListId"),
        block if block.contains(':') => format!("Ipv6{end}CidrIp"),
        _ => format!("{end}CidrIp"),
    };
    answer[key] = json!(peer);
    answer
}

/// An end: its address, and the groups behind `@`.
pub(crate) struct End {
    address: Option<IpAddr>,
    groups: Option<Vec<String>>,
    is_outside: bool,
}

impl End {
    pub(crate) fn parse(text: &str) -> Self {
        let (address, groups) = match text.split_once('@') {
            Some((address, groups)) => (address, Some(groups)),
            None => (text, None),
        };
        let ids = |ids: &str| {
            ids.split(',')
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Self {
            address: address.parse().ok(),
            groups: groups.filter(|groups| *groups != "?").map(ids),
            is_outside: groups.is_none(),
        }
    }

    pub(crate) fn interface(&self) -> Interface<'_> {
        Interface {
            address: self.address,
            membership: match &self.groups {
                Some(ids) => Membership::Groups(ids),
                None if self.is_outside => Membership::Outside,
                None => Membership::Unknown,
            },
        }
    }
}

/// What the groups say. `what` is `TCP 80`, or `TCP 80 from 40000` where the client's port is known.
pub(crate) fn judge(
    world: &SecurityGroups,
    client: &str,
    server: &str,
    what: &str,
) -> SecurityVerdict {
    let (client, server) = (End::parse(client), End::parse(server));
    let words: Vec<&str> = what.split_whitespace().collect();
    world.judge(&InterfaceConnection {
        client: client.interface(),
        server: server.interface(),
        port: words[1].parse().unwrap(),
        client_port: words.get(3).map(|port| port.parse().unwrap()),
        protocol: words[0].parse().unwrap(),
    })
}

/// The outcome and what it depends on.
pub(crate) fn answer(world: &SecurityGroups, client: &str, server: &str, what: &str) -> String {
    let verdict = judge(world, client, server, what);
    let mut text = verdict.outcome.to_string();
    assert_eq!(
        verdict.outcome == Outcome::Unspecified,
        !verdict.unspecified.is_empty()
    );
    for because in &verdict.unspecified {
        text.push(' ');
        text.push_str(because.as_str());
    }
    text
}
