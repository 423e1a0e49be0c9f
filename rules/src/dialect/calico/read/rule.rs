//! The rules of a policy, and what Calico refuses in them.

use ipnet::IpNet;

use super::super::rule::{Entity, Icmp, Rule, ServiceAccounts, ServiceName};
use super::policy::Scope;
use super::{any_selector, selector};
use crate::cidr;
use crate::cluster::Protocol;
use crate::kubernetes::field::{Field, Notes, describe};
use crate::kubernetes::names::{NAME_LENGTH_MAX, is_dns_subdomain};
use crate::kubernetes::tree::{Value, shorten};
use crate::policy::{Action, Direction, Family};
use crate::port::PortClause;

/// The longest name of a port.
const PORT_NAME_LENGTH_MAX: usize = 128;

/// The rules of one direction.
pub(super) fn rules(
    section: &Field<'_, '_>,
    direction: Direction,
    scope: Scope,
    notes: &mut Notes<'_>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in section.items(notes) {
        rules.push(rule(&entry, direction, scope, notes));
    }
    rules
}

fn rule(entry: &Field<'_, '_>, direction: Direction, scope: Scope, notes: &mut Notes<'_>) -> Rule {
    entry.expect_map(notes);
    entry.expect_keys(
        &[
            "action",
            "ipVersion",
            "protocol",
            "notProtocol",
            "icmp",
            "notICMP",
            "source",
            "destination",
            "http",
            "metadata",
        ],
        notes,
    );
    let http = entry.get("http");
    http.expect_map(notes);
    let rule = Rule {
        action: action(&entry.get("action"), notes).unwrap_or_default(),
        family: family(&entry.get("ipVersion"), notes),
        protocol: protocol(&entry.get("protocol"), notes),
        not_protocol: protocol(&entry.get("notProtocol"), notes),
        icmp: icmp(&entry.get("icmp"), notes),
        not_icmp: icmp(&entry.get("notICMP"), notes),
        source: entity(&entry.get("source"), notes),
        destination: entity(&entry.get("destination"), notes),
        http: !http.is_absent(),
    };
    check_protocol(entry, &rule, notes);
    check_families(entry, &rule, notes);
    check_services(entry, &rule, direction, scope, notes);
    if rule.http {
        check_http(&http, &rule, direction, notes);
    }
    rule
}

fn action(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Action> {
    let text = field.text(notes);
    let action = match text {
        Some("Allow") => Some(Action::Allow),
        Some("Deny") => Some(Action::Deny),
        Some("Pass") => Some(Action::Pass),
        Some("Log") => Some(Action::Log),
        _ => None,
    };
    if action.is_none() {
        let message = match text {
            Some(text) => format!("`{}` is not an action", shorten(text)),
            None => "is missing".to_owned(),
        };
        let help = "write Allow, Deny, Pass or Log";
        notes.error(field, message, Some(help.to_owned()));
    }
    action
}

fn family(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Family> {
    match field.int(notes)? {
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        other => {
            notes.error(
                field,
                format!("{other} is not an IP version"),
                Some("write 4 or 6".to_owned()),
            );
            None
        }
    }
}

/// A protocol by one of the names Calico knows, in any case, or by number.
fn protocol(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Protocol> {
    let named = [
        ("TCP", Protocol::Tcp),
        ("UDP", Protocol::Udp),
        ("SCTP", Protocol::Sctp),
        ("ICMP", Protocol::ICMP),
        ("ICMPv6", Protocol::ICMP_V6),
        ("UDPLite", Protocol::Other(136)),
    ];
    let number = |number: u8| Some(Protocol::from_number(number)).filter(|_| number > 0);
    let protocol = match field.value()? {
        Value::Int(value) => u8::try_from(*value).ok().and_then(number),
        Value::Text(text) => named
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, protocol)| *protocol)
            .or_else(|| text.parse().ok().and_then(number)),
        _ => None,
    };
    if protocol.is_none() {
        let shown = field.value().map(describe).unwrap_or_default();
        notes.error(
            field,
            format!("{shown} is not a protocol here"),
            Some(
                "write TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite or a number from 1 to 255".to_owned(),
            ),
        );
    }
    protocol
}

fn icmp(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Icmp> {
    if field.is_absent() {
        return None;
    }
    field.expect_map(notes);
    field.expect_keys(&["type", "code"], notes);
    let (kind, code) = (field.get("type"), field.get("code"));
    let icmp = Icmp {
        kind: up_to(254, &kind, notes),
        code: up_to(255, &code, notes),
    };
    if kind.is_absent() && !code.is_absent() {
        notes.error(
            &code,
            "must not stand without a type".to_owned(),
            Some("give the type as well".to_owned()),
        );
    }
    Some(icmp)
}

fn up_to(max: u8, field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<u8> {
    let number = field.int(notes)?;
    let within = u8::try_from(number).ok().filter(|number| *number <= max);
    if within.is_none() {
        notes.error(
            field,
            format!("{number} is out of range"),
            Some(format!("it goes from 0 to {max}")),
        );
    }
    within
}

fn entity(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Entity {
    field.expect_map(notes);
    field.expect_keys(
        &[
            "nets",
            "notNets",
            "selector",
            "notSelector",
            "namespaceSelector",
            "ports",
            "notPorts",
            "serviceAccounts",
            "services",
        ],
        notes,
    );
    Entity {
        nets: nets(&field.get("nets"), notes),
        not_nets: nets(&field.get("notNets"), notes),
        selector: selector(&field.get("selector"), notes),
        not_selector: selector(&field.get("notSelector"), notes),
        namespace_selector: any_selector(&field.get("namespaceSelector"), notes),
        ports: ports(&field.get("ports"), notes),
        not_ports: ports(&field.get("notPorts"), notes),
        service_accounts: service_accounts(&field.get("serviceAccounts"), notes),
        service: service(&field.get("services"), notes),
    }
}

fn nets(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for entry in field.items(notes) {
        nets.extend(net(&entry, notes));
    }
    nets
}

/// An address block.
pub(super) fn net(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<IpNet> {
    let text = match entry.value() {
        Some(_) => entry.text(notes)?,
        None => "",
    };
    let parsed = cidr::parse(text);
    if parsed.is_none() {
        notes.error(
            entry,
            format!("`{}` is not an address block", shorten(text)),
            Some(
                "write address/length, such as 10.0.0.0/8, or /32 for a single address".to_owned(),
            ),
        );
    }
    parsed
}

fn ports(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Vec<PortClause> {
    let mut ports = Vec::new();
    for entry in field.items(notes) {
        ports.extend(port(&entry, notes));
    }
    ports
}

/// A number, a range `first:last`, or a name. A number may stand in quotes.
fn port(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<PortClause> {
    let text = match entry.value() {
        Some(Value::Text(text)) => text,
        Some(_) => return entry.port(notes).map(|port| PortClause::Range(port, port)),
        None => {
            notes.error(entry, "is missing".to_owned(), None);
            return None;
        }
    };
    let number = |text: &str| -> Option<u16> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let port = digits.then(|| text.parse().ok()).flatten();
        port.filter(|port| *port > 0)
    };
    let range = match text.split_once(':') {
        Some((first, last)) => number(first).zip(number(last)),
        None => number(text).map(|port| (port, port)),
    };
    match range {
        Some((first, last)) if first <= last => return Some(PortClause::Range(first, last)),
        Some((first, last)) => {
            notes.error(
                entry,
                format!("{last} is below {first}"),
                Some("a range goes upwards".to_owned()),
            );
            return None;
        }
        None => {}
    }
    if is_name(text) {
        return Some(PortClause::Named(text.clone().into_owned()));
    }
    notes.error(
        entry,
        format!("`{}` is not a port", shorten(text)),
        Some("write a number from 1 to 65535, a range such as 8000:8999, or a name".to_owned()),
    );
    None
}

/// Whether `text` may name a port in Calico: anything of these characters that is no number.
fn is_name(text: &str) -> bool {
    (1..=PORT_NAME_LENGTH_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !text.bytes().all(|b| b.is_ascii_digit())
}

fn service_accounts(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<ServiceAccounts> {
    if field.is_absent() {
        return None;
    }
    field.expect_map(notes);
    field.expect_keys(&["names", "selector"], notes);
    let mut names = Vec::new();
    for entry in field.get("names").items(notes) {
        names.extend(object_name(&entry, notes));
    }
    let accounts = ServiceAccounts {
        names,
        selector: selector(&field.get("selector"), notes),
    };
    // With neither, it restricts nothing.
    (accounts != ServiceAccounts::default()).then_some(accounts)
}

fn service(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<ServiceName> {
    if field.is_absent() {
        return None;
    }
    field.expect_map(notes);
    field.expect_keys(&["name", "namespace"], notes);
    let name = field.get("name");
    if name.is_absent() {
        notes.error(
            &name,
            "is missing".to_owned(),
            Some("give the name of the Service".to_owned()),
        );
    }
    let namespace = field.get("namespace");
    Some(ServiceName {
        namespace: match namespace.is_absent() {
            true => None,
            false => object_name(&namespace, notes),
        },
        name: object_name(&name, notes).unwrap_or_default(),
    })
}

fn object_name(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<String> {
    let name = field.short_text(NAME_LENGTH_MAX, notes)?;
    if !is_dns_subdomain(name) {
        notes.error(
            field,
            format!("`{}` is not a name Kubernetes accepts", shorten(name)),
            Some("use a-z, 0-9, - and .".to_owned()),
        );
    }
    Some(name.to_owned())
}

/// Ports need a protocol that has them, ICMP types need ICMP.
fn check_protocol(entry: &Field<'_, '_>, rule: &Rule, notes: &mut Notes<'_>) {
    let has_ports = rule.protocol.is_some_and(Protocol::has_ports);
    for (end, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
        for (list, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
            if !ports.is_empty() && !has_ports {
                notes.error(
                    &entry.get(end).get(list),
                    "needs TCP, UDP or SCTP as protocol of the rule".to_owned(),
                    Some("give the rule a protocol, or make a rule for each".to_owned()),
                );
            }
        }
    }
    let is_icmp = matches!(rule.protocol, Some(Protocol::ICMP | Protocol::ICMP_V6));
    for (key, icmp) in [("icmp", rule.icmp), ("notICMP", rule.not_icmp)] {
        if icmp.is_some() && !is_icmp {
            notes.error(
                &entry.get(key),
                "needs ICMP or ICMPv6 as protocol of the rule".to_owned(),
                Some("add `protocol: ICMP`".to_owned()),
            );
        }
    }
    let family_of = |protocol| match protocol {
        Some(Protocol::ICMP) => Some(Family::V4),
        Some(Protocol::ICMP_V6) => Some(Family::V6),
        _ => None,
    };
    for protocol in [rule.protocol, rule.not_protocol] {
        if let (Some(needed), Some(family)) = (family_of(protocol), rule.family)
            && needed != family
        {
            notes.error(
                &entry.get("ipVersion"),
                "is not the IP version of this ICMP".to_owned(),
                Some("ICMP goes with 4, ICMPv6 with 6".to_owned()),
            );
        }
    }
}

/// One rule speaks of one family of addresses.
fn check_families(entry: &Field<'_, '_>, rule: &Rule, notes: &mut Notes<'_>) {
    let mut seen = rule.family;
    for (end, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
        for (list, nets) in [("nets", &entity.nets), ("notNets", &entity.not_nets)] {
            let families = nets.iter().map(|net| match net {
                IpNet::V4(_) => Family::V4,
                IpNet::V6(_) => Family::V6,
            });
            for family in families {
                if *seen.get_or_insert(family) != family {
                    let message = match rule.family {
                        Some(_) => "has addresses of another family than ipVersion",
                        None => "mixes IPv4 and IPv6 within one rule",
                    };
                    notes.error(
                        &entry.get(end).get(list),
                        message.to_owned(),
                        Some("make a rule for each family".to_owned()),
                    );
                    return;
                }
            }
        }
    }
}

/// A Service stands for addresses and ports, so neither stands beside it, and only at the far end.
fn check_services(
    entry: &Field<'_, '_>,
    rule: &Rule,
    direction: Direction,
    scope: Scope,
    notes: &mut Notes<'_>,
) {
    for (end, entity, is_far) in [
        ("source", &rule.source, direction == Direction::Ingress),
        (
            "destination",
            &rule.destination,
            direction == Direction::Egress,
        ),
    ] {
        let Some(service) = &entity.service else {
            continue;
        };
        let end_field = entry.get(end);
        let field = end_field.get("services");
        let mut refuse = |message: &str, help: &str| {
            notes.error(&field, message.to_owned(), Some(help.to_owned()));
        };
        if !is_far {
            refuse(
                "must name the other end",
                "write it as destination of an egress rule, or as source of an ingress rule",
            );
        }
        if scope == Scope::Global && service.namespace.is_none() {
            refuse(
                "needs a namespace",
                "a GlobalNetworkPolicy has none of its own; add `namespace`",
            );
        }
        let has_selector = entity.selector.is_some()
            || entity.not_selector.is_some()
            || entity.namespace_selector.is_some()
            || entity.service_accounts.is_some();
        if has_selector || !entity.nets.is_empty() || !entity.not_nets.is_empty() {
            refuse(
                "must not stand beside nets or selectors",
                "make two rules of it",
            );
        }
        let has_ports = !entity.ports.is_empty() || !entity.not_ports.is_empty();
        if has_ports && direction == Direction::Egress {
            refuse(
                "must not stand beside ports",
                "the ports are those of the Service",
            );
        }
    }
}

fn check_http(http: &Field<'_, '_>, rule: &Rule, direction: Direction, notes: &mut Notes<'_>) {
    if direction == Direction::Egress || rule.action != Action::Allow {
        notes.error(
            http,
            "is only for ingress rules that allow".to_owned(),
            Some("remove it".to_owned()),
        );
    }
    if rule
        .protocol
        .is_some_and(|protocol| protocol != Protocol::Tcp)
    {
        notes.error(
            http,
            "needs TCP as protocol of the rule".to_owned(),
            Some("write `protocol: TCP`".to_owned()),
        );
    }
}
