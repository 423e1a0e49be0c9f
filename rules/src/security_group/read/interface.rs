//! One interface of `DescribeNetworkInterfaces`: its groups, its addresses, and the blocks its pods have addresses from.

use std::net::IpAddr;

use super::rule;
use super::{list, text};
use crate::cidr;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::tree::shorten;
use crate::security_group::Interfaces;

/// Adds an interface. What of it cannot be understood is named, and that address stays unknown.
pub(super) fn read(entry: &Field<'_, '_>, interfaces: &mut Interfaces, notes: &mut Notes<'_>) {
    let groups: Vec<String> = texts(entry, "SecurityGroupIds", "SecurityGroupId", notes);
    for key in ["PrivateIpAddress", "Ipv6Address"] {
        if let Some(address) = address(&entry.get(key), notes) {
            interfaces.add_address(address, &groups);
        }
    }
    for (wrapper, item, key) in [
        ("PrivateIpSets", "PrivateIpSet", "PrivateIpAddress"),
        ("Ipv6Sets", "Ipv6Set", "Ipv6Address"),
    ] {
        let wrapper = entry.get(wrapper);
        for item in list(&wrapper, &wrapper.get(item), notes) {
            if let Some(address) = address(&item.get(key), notes) {
                interfaces.add_address(address, &groups);
            }
        }
    }
    for (wrapper, item, key) in [
        ("Ipv4PrefixSets", "Ipv4PrefixSet", "Ipv4Prefix"),
        ("Ipv6PrefixSets", "Ipv6PrefixSet", "Ipv6Prefix"),
    ] {
        let wrapper = entry.get(wrapper);
        for item in list(&wrapper, &wrapper.get(item), notes) {
            if let Some(block) = rule::block(&item.get(key), notes) {
                interfaces.add_block(block, &groups);
            }
        }
    }
}

/// A list of texts in its wrapper.
fn texts(entry: &Field<'_, '_>, wrapper: &str, item: &str, notes: &mut Notes<'_>) -> Vec<String> {
    let wrapper = entry.get(wrapper);
    let mut texts = Vec::new();
    for item in list(&wrapper, &wrapper.get(item), notes) {
        texts.extend(text(&item, notes).map(str::to_owned));
    }
    texts
}

/// An address; the empty text counts as absent.
fn address(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<IpAddr> {
    let said = text(field, notes)?;
    let address = cidr::parse_address(said);
    if address.is_none() {
        notes.error(
            field,
            format!("`{}` is not an address", shorten(said)),
            Some("give the answer as it came from the API".to_owned()),
        );
    }
    address
}
