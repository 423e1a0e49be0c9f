//! Security groups as the API would answer for them. Reading it gives the same groups.

use serde_json::{Map, Value, json};

use super::{Action, GroupType, Peer, PortRange, Ports, Rule, SecurityGroup, SecurityGroups};
use crate::policy::Direction;

impl SecurityGroups {
    /// A JSON list on one line: one answer for each group and list, in order of their ids.
    pub fn to_json(&self) -> String {
        let groups = self.groups.values().map(group);
        let prefix_lists = self.prefix_lists.iter().map(|(id, blocks)| {
            let entries: Vec<Value> = blocks
                .iter()
                .map(|block| json!({ "Cidr": block.to_string() }))
                .collect();
            json!({ "PrefixListId": id, "Entries": { "Entry": entries } })
        });
        let port_lists = self.port_lists.iter().map(|(id, ranges)| {
            let entries: Vec<Value> = ranges
                .iter()
                .map(|range| json!({ "PortRange": port_range(*range) }))
                .collect();
            json!({ "PortRangeListId": id, "Entries": entries })
        });
        Value::Array(groups.chain(prefix_lists).chain(port_lists).collect()).to_string()
    }
}

fn group(group: &SecurityGroup) -> Value {
    let unreadable = group.unreadable.iter().map(|known| match known {
        Some(direction) => json!({ "Direction": direction.to_string() }),
        None => json!({}),
    });
    let rules: Vec<Value> = group.rules.iter().map(rule).chain(unreadable).collect();
    let mut fields = Map::new();
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(key.to_owned(), json!(value));
        }
    };
    set("SecurityGroupId", &group.id);
    set("SecurityGroupName", &group.name);
    set("VpcId", &group.vpc_id);
    set(
        "SecurityGroupType",
        match group.group_type {
            None => "",
            Some(GroupType::Basic) => "normal",
            Some(GroupType::Enterprise) => "enterprise",
        },
    );
    set(
        "InnerAccessPolicy",
        group.inner_access.map_or("", Action::as_str),
    );
    if group.incomplete {
        set("NextToken", "missing");
    }
    fields.insert("Permissions".to_owned(), json!({ "Permission": rules }));
    Value::Object(fields)
}

fn rule(rule: &Rule) -> Value {
    let mut fields = Map::new();
    let mut set = |key: &str, value: String| {
        if !value.is_empty() {
            fields.insert(key.to_owned(), json!(value));
        }
    };
    set("SecurityGroupRuleId", rule.id.clone());
    set("Direction", rule.direction.to_string());
    set("Policy", rule.action.as_str().to_owned());
    set("Priority", rule.priority.to_string());
    let protocol = rule.protocol.map(|protocol| protocol.to_string());
    set("IpProtocol", protocol.unwrap_or_else(|| "ALL".to_owned()));
    for (key, ports) in [
        ("PortRange", &rule.ports),
        ("SourcePortRange", &rule.source_ports),
    ] {
        match ports {
            Ports::All => set(key, "-1/-1".to_owned()),
            Ports::Range(range) => set(key, port_range(*range)),
            Ports::List(id) => set("PortRangeListId", id.clone()),
        }
    }
    for (end, peers) in [("Source", &rule.source), ("Dest", &rule.destination)] {
        for peer in peers {
            match peer {
                Peer::Block(block) if block.addr().is_ipv4() => {
                    set(&format!("{end}CidrIp"), block.to_string());
                }
                Peer::Block(block) => set(&format!("Ipv6{end}CidrIp"), block.to_string()),
                Peer::Group { id, account } => {
                    set(&format!("{end}GroupId"), id.clone());
                    set(&format!("{end}GroupOwnerAccount"), account.clone());
                }
                Peer::PrefixList(id) => set(&format!("{end}PrefixListId"), id.clone()),
            }
        }
    }
    Value::Object(fields)
}

fn port_range(PortRange { first, last }: PortRange) -> String {
    format!("{first}/{last}")
}

/// The word of the API.
pub(super) fn direction_of(word: &str) -> Option<Direction> {
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .find(|direction| direction.to_string().eq_ignore_ascii_case(word))
}
