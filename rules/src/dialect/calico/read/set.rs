//! Tier, NetworkSet, GlobalNetworkSet and HostEndpoint.

use ipnet::IpNet;

use super::super::{DEFAULT_TIER, HostEndpoint, NetworkSet, Tier};
use super::order;
use super::rule::net;
use crate::cidr;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::metadata::Metadata;
use crate::kubernetes::names::{NAME_LENGTH_MAX, is_dns_label};
use crate::kubernetes::tree::{Value, shorten};

/// The tiers that every cluster has: name, order, whether they pass on what no rule matches (§3.1).
const BUILT_IN: [(&str, f64, bool); 3] = [
    ("kube-admin", 1_000.0, true),
    (DEFAULT_TIER, 1_000_000.0, false),
    ("kube-baseline", 10_000_000.0, true),
];

pub(super) fn tier(
    common: &Metadata,
    root: &Field<'_, '_>,
    spec: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> Tier {
    spec.expect_keys(&["order", "defaultAction"], notes);
    let name = &common.name;
    if !is_dns_label(name) {
        let metadata = root.get("metadata");
        notes.error(
            &metadata.get("name"),
            format!("`{}` is not a name for a tier", shorten(name)),
            Some("use at most 63 of a-z, 0-9 and -; policies carry it before a dot".to_owned()),
        );
    }
    let (order_field, action) = (spec.get("order"), spec.get("defaultAction"));
    let order = order(&order_field, notes);
    let built_in = BUILT_IN.into_iter().find(|(built_in, ..)| built_in == name);
    let default_passes = match action.text(notes) {
        None => built_in.is_some_and(|(.., passes)| passes),
        Some("Deny") => false,
        Some("Pass") => true,
        Some(other) => {
            notes.error(
                &action,
                format!("`{}` is not a default action", shorten(other)),
                Some("write Deny or Pass".to_owned()),
            );
            false
        }
    };
    if let Some((built_in, fixed, passes)) = built_in {
        if order != Some(fixed) {
            notes.error(
                &order_field,
                format!("of the tier `{built_in}` is always {fixed}"),
                Some(format!("write `order: {fixed}`")),
            );
        }
        if default_passes != passes {
            let word = if passes { "Pass" } else { "Deny" };
            notes.error(
                &action,
                format!("of the tier `{built_in}` is always {word}"),
                Some("remove it".to_owned()),
            );
        }
    }
    Tier {
        name: name.clone(),
        order,
        default_passes,
    }
}

pub(super) fn network_set(
    common: &Metadata,
    spec: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> NetworkSet {
    spec.expect_keys(&["nets", "allowedEgressDomains"], notes);
    let mut nets = Vec::new();
    for entry in spec.get("nets").items(notes) {
        // In a set an address may stand for itself.
        let alone = match entry.value() {
            Some(Value::Text(text)) => cidr::parse_address(text).map(IpNet::from),
            _ => None,
        };
        nets.extend(alone.or_else(|| net(&entry, notes)));
    }
    let mut domains = Vec::new();
    for entry in spec.get("allowedEgressDomains").items(notes) {
        let domain = entry.short_text(NAME_LENGTH_MAX, notes);
        domains.extend(domain.map(str::to_owned));
    }
    NetworkSet {
        namespace: common.namespace.clone(),
        name: common.name.clone(),
        labels: common.labels.clone(),
        nets,
        domains,
    }
}

pub(super) fn host_endpoint(
    common: &Metadata,
    spec: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> HostEndpoint {
    let node = spec.get("node");
    if node.is_absent() {
        notes.error(
            &node,
            "is missing".to_owned(),
            Some("give the name of the node".to_owned()),
        );
    }
    let ips = spec.get("expectedIPs");
    let mut addresses = Vec::new();
    let mut is_given = false;
    for entry in ips.items(notes) {
        is_given = true;
        let text = entry.text(notes).unwrap_or_default();
        match cidr::parse_address(text) {
            Some(address) => addresses.push(address.to_canonical()),
            None => notes.error(
                &entry,
                format!("`{}` is not an address", shorten(text)),
                None,
            ),
        }
    }
    let interface = spec.get("interfaceName");
    if interface.is_absent() && !is_given {
        notes.error(
            &interface,
            "is missing".to_owned(),
            Some("give interfaceName or expectedIPs".to_owned()),
        );
    }
    let interface = interface.short_text(NAME_LENGTH_MAX, notes);
    HostEndpoint {
        name: common.name.clone(),
        labels: common.labels.clone(),
        node: node
            .short_text(NAME_LENGTH_MAX, notes)
            .unwrap_or_default()
            .to_owned(),
        interface: interface.map(str::to_owned),
        addresses,
    }
}
