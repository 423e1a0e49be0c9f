//! One rule of a group.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{PRIORITY_DEFAULT, PRIORITY_MAX, Peer, PortRange, Ports, Rule};
use super::{ACTIONS, direction, text, word};
use crate::cidr;
use crate::cluster::Protocol;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::tree::{Value, shorten};
use crate::policy::Direction;

/// What one may do about a rule that cannot be read.
const HELP: &str = "the rule cannot be judged, so verdicts it may change are unspecified";

/// Reads a rule, or says at which direction the one that could not be read looks.
pub(super) fn rule(
    entry: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> Result<Rule, Option<Direction>> {
    entry.expect_map(notes);
    let direction_field = entry.get("Direction");
    let looks_at = direction(&direction_field, notes);
    if looks_at.is_none() && !notes.refused() {
        notes.error(
            &direction_field,
            "is missing".to_owned(),
            Some(HELP.to_owned()),
        );
    }
    let policy = entry.get("Policy");
    let action = word(&policy, &ACTIONS, notes);
    if action.is_none() && !notes.refused() {
        notes.error(&policy, "is missing".to_owned(), Some(HELP.to_owned()));
    }
    let priority = priority(&entry.get("Priority"), notes);
    let protocol = protocol(&entry.get("IpProtocol"), notes);
    let (ports, source_ports) = ports(entry, notes);
    let source = peers(
        entry,
        ["SourceCidrIp", "Ipv6SourceCidrIp"],
        [
            "SourceGroupId",
            "SourceGroupOwnerAccount",
            "SourcePrefixListId",
        ],
        notes,
    );
    let destination = peers(
        entry,
        ["DestCidrIp", "Ipv6DestCidrIp"],
        ["DestGroupId", "DestGroupOwnerAccount", "DestPrefixListId"],
        notes,
    );
    let id = text(&entry.get("SecurityGroupRuleId"), notes);
    let rule = || {
        Some(Rule {
            id: id.unwrap_or_default().to_owned(),
            direction: looks_at?,
            action: action?,
            priority: priority?,
            protocol: protocol?,
            ports,
            source_ports,
            source,
            destination,
        })
    };
    if notes.refused() {
        return Err(looks_at);
    }
    rule().ok_or(looks_at)
}

/// From 1 to 100, as a number or as text; 1 when not said.
fn priority(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<u8> {
    let number = match field.value() {
        None => return Some(PRIORITY_DEFAULT),
        Some(Value::Int(number)) => u8::try_from(*number).ok(),
        Some(_) => match text(field, notes) {
            None => return Some(PRIORITY_DEFAULT),
            Some(said) => said.parse().ok(),
        },
    };
    let known = number.filter(|number| (PRIORITY_DEFAULT..=PRIORITY_MAX).contains(number));
    if known.is_none() {
        notes.error(
            field,
            format!("is not a priority from {PRIORITY_DEFAULT} to {PRIORITY_MAX}"),
            Some(HELP.to_owned()),
        );
    }
    known
}

/// `Some(None)` is `ALL`.
fn protocol(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Option<Protocol>> {
    if let Some(Value::Int(number)) = field.value()
        && let Ok(number) = u8::try_from(*number)
    {
        return Some(Some(Protocol::from_number(number)));
    }
    let Some(said) = text(field, notes) else {
        if !notes.refused() {
            notes.error(field, "is missing".to_owned(), Some(HELP.to_owned()));
        }
        return None;
    };
    if said.eq_ignore_ascii_case("ALL") {
        return Some(None);
    }
    if said.eq_ignore_ascii_case("GRE") {
        return Some(Some(Protocol::Other(47)));
    }
    let known = said.parse().ok();
    if known.is_none() {
        notes.error(
            field,
            format!("`{}` is not a protocol", shorten(said)),
            Some(HELP.to_owned()),
        );
    }
    known.map(Some)
}

/// The server's ports and the client's.
fn ports(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> (Ports, Ports) {
    let [own, source, list] =
        ["PortRange", "SourcePortRange", "PortRangeListId"].map(|key| entry.get(key));
    let list_id = text(&list, notes);
    let mut read = |field: &Field<'_, '_>, may_be_absent: bool| match text(field, notes) {
        None => {
            if !may_be_absent && !notes.refused() {
                notes.error(field, "is missing".to_owned(), Some(HELP.to_owned()));
            }
            Ports::All
        }
        Some("-1/-1") => Ports::All,
        Some(_) => range(field, notes).map_or(Ports::All, Ports::Range),
    };
    let own_ports = read(&own, list_id.is_some());
    let source_ports = read(&source, true);
    match (list_id, own_ports) {
        (None, ports) => (ports, source_ports),
        (Some(id), Ports::All) => (Ports::List(id.to_owned()), source_ports),
        (Some(_), ports) => {
            let message = "must not stand beside a port range".to_owned();
            notes.error(&list, message, Some(HELP.to_owned()));
            (ports, source_ports)
        }
    }
}

/// `80/80`.
pub(super) fn range(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<PortRange> {
    let said = text(field, notes)?;
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let range = said
        .split_once('/')
        .and_then(|(first, last)| Some((number(first)?, number(last)?)))
        .filter(|(first, last)| first <= last)
        .map(|(first, last)| PortRange { first, last });
    if range.is_none() {
        notes.error(
            field,
            format!("`{}` is not a range of ports", shorten(said)),
            Some(HELP.to_owned()),
        );
    }
    range
}

/// Every way in which the rule names one end.
fn peers(
    entry: &Field<'_, '_>,
    blocks: [&str; 2],
    [group, account, prefix_list]: [&str; 3],
    notes: &mut Notes<'_>,
) -> Vec<Peer> {
    let mut peers = Vec::new();
    for key in blocks {
        let field = entry.get(key);
        if text(&field, notes).is_some() {
            peers.extend(block(&field, notes).map(Peer::Block));
        }
    }
    if let Some(id) = text(&entry.get(group), notes) {
        let account = text(&entry.get(account), notes).unwrap_or_default();
        peers.push(Peer::Group {
            id: id.to_owned(),
            account: account.to_owned(),
        });
    }
    let list = text(&entry.get(prefix_list), notes);
    peers.extend(list.map(|id| Peer::PrefixList(id.to_owned())));
    peers
}

/// An address block, or one address.
pub(super) fn block(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<IpNet> {
    let said = text(field, notes)?;
    let block = cidr::parse(said).or_else(|| {
        let address: IpAddr = cidr::parse_address(said)?;
        Some(IpNet::from(address))
    });
    if block.is_none() {
        notes.error(
            field,
            format!("`{}` is not an address block", shorten(said)),
            Some(HELP.to_owned()),
        );
    }
    block
}
