//! `toPorts` and `icmps`.

use super::super::{ENTRIES_MAX, Icmp, Port, PortNumber, PortRule};
use crate::cluster::Protocol;
use crate::kubernetes::field::{Field, Notes, describe};
use crate::kubernetes::tree::{Value, shorten};
use crate::policy::Family;
use crate::port::is_port_name;

/// The layer-7 languages of `rules`; only these are content.
const LANGUAGES: [&str; 5] = ["http", "kafka", "dns", "l7proto", "l7"];

/// Fields of an entry that speak of what is said within the connection.
const CONTENT: [&str; 4] = [
    "terminatingTLS",
    "originatingTLS",
    "serverNames",
    "listener",
];

/// Reads one entry of `toPorts`.
pub(super) fn port_rule(
    entry: &Field<'_, '_>,
    is_egress: bool,
    is_deny: bool,
    notes: &mut Notes<'_>,
) -> PortRule {
    entry.expect_map(notes);
    let mut known = vec!["ports"];
    if !is_deny {
        known.push("rules");
        known.extend(CONTENT);
    }
    entry.expect_keys(&known, notes);
    let list = entry.get("ports");
    let mut ports = Vec::new();
    let mut count = 0;
    for field in list.items(notes) {
        count += 1;
        ports.extend(port(&field, notes));
    }
    if count > ENTRIES_MAX {
        too_many(&list, count, notes);
    }
    let mut content = Vec::new();
    if !is_deny {
        let rules = entry.get("rules");
        languages(&rules, &ports, is_egress, &mut content, notes);
        for key in CONTENT {
            if !is_nothing(&entry.get(key)) {
                content.push(key.to_owned());
            }
        }
    }
    if ports.is_empty() && count == 0 {
        notes.warn(
            &list,
            "is empty: whether the rule matches is unspecified".to_owned(),
            Some("list the ports, or `port: \"0\"` for all".to_owned()),
        );
    }
    PortRule { ports, content }
}

fn too_many(field: &Field<'_, '_>, count: usize, notes: &mut Notes<'_>) {
    notes.error(
        field,
        format!("has {count} entries, at most {ENTRIES_MAX} are allowed"),
        Some("make several entries of it".to_owned()),
    );
}

/// Absent, or a list or map without anything in it.
fn is_nothing(field: &Field<'_, '_>) -> bool {
    match field.value() {
        None => true,
        Some(Value::List(items)) => items.is_empty(),
        Some(Value::Map(entries)) => entries.is_empty(),
        Some(Value::Text(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// `rules`: what they demand, as far as it can be demanded of these ports.
fn languages(
    rules: &Field<'_, '_>,
    ports: &[Port],
    is_egress: bool,
    content: &mut Vec<String>,
    notes: &mut Notes<'_>,
) {
    rules.expect_map(notes);
    rules.expect_keys(&LANGUAGES, notes);
    let given = LANGUAGES.iter().filter(|key| !is_nothing(&rules.get(key)));
    let given: Vec<&str> = given.copied().collect();
    let refuse = |notes: &mut Notes<'_>, message: &str, help: &str| {
        notes.error(rules, message.to_owned(), Some(help.to_owned()));
    };
    let kinds = given.iter().filter(|key| **key != "l7").count();
    if kinds > 1 {
        refuse(
            notes,
            "speak of several protocols at once",
            "make an entry of toPorts for each",
        );
    }
    if given.contains(&"l7") && !given.contains(&"l7proto") {
        refuse(notes, "have l7 without l7proto", "name the protocol");
    }
    let is_dns = given.contains(&"dns");
    if is_dns && !is_egress {
        refuse(
            notes,
            "must not speak of DNS on ingress",
            "DNS is looked at where it is asked: on egress",
        );
    }
    if !given.is_empty() {
        let any_port = |port: &Port| port.number == PortNumber::Any;
        if ports.iter().any(any_port) {
            refuse(notes, "need a port other than 0", "name the port");
        }
        let is_tcp = |port: &Port| port.protocol == Some(Protocol::Tcp);
        if !is_dns && !ports.iter().all(is_tcp) {
            refuse(
                notes,
                "need TCP as the protocol of every port",
                "write `protocol: TCP`",
            );
        }
    }
    content.extend(given.iter().map(|key| format!("rules.{key}")));
}

fn port(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Port> {
    entry.expect_map(notes);
    entry.expect_keys(&["port", "endPort", "protocol"], notes);
    let protocol = protocol(&entry.get("protocol"), notes);
    let field = entry.get("port");
    let text = match field.value() {
        None => {
            let help = "write a number in quotes, a name, or \"0\" for every port";
            notes.error(&field, "is missing".to_owned(), Some(help.to_owned()));
            return None;
        }
        Some(Value::Text(text)) => text.as_ref(),
        Some(other) => {
            let shown = match other {
                Value::Int(number) => format!("write it in quotes: \"{number}\""),
                _ => "write a number in quotes, or a name".to_owned(),
            };
            notes.error(
                &field,
                format!("must be a text, is {}", describe(other)),
                Some(shown),
            );
            return None;
        }
    };
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let lower = text.to_ascii_lowercase();
    let number = match (is_number, text.parse::<u16>()) {
        (true, Ok(0)) => PortNumber::Any,
        (true, Ok(first)) => {
            let last = end_port(&entry.get("endPort"), first, notes);
            PortNumber::Range(first, last)
        }
        _ if is_port_name(&lower) => PortNumber::Named(lower),
        _ => {
            let help = "write a number from 0 to 65535 in quotes, or a name of 1 to 15 letters, digits and -";
            notes.error(
                &field,
                format!("`{}` is not a port", shorten(text)),
                Some(help.to_owned()),
            );
            return None;
        }
    };
    Some(Port {
        number,
        protocol: protocol?,
    })
}

/// The last port of a range. One that is not above the first adds nothing.
fn end_port(field: &Field<'_, '_>, first: u16, notes: &mut Notes<'_>) -> u16 {
    let Some(number) = field.int(notes) else {
        return first;
    };
    match u16::try_from(number) {
        Ok(last) if last >= first => last,
        Ok(0) => first,
        Ok(last) => {
            notes.warn(
                field,
                format!("{last} is below the port {first} and adds nothing"),
                Some("the range is closed and goes upwards".to_owned()),
            );
            first
        }
        Err(_) => {
            let help = "a range ends at 65535 at the latest";
            notes.error(
                field,
                format!("{number} is not a port"),
                Some(help.to_owned()),
            );
            first
        }
    }
}

/// `Some(None)` is any.
fn protocol(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Option<Protocol>> {
    if field.is_absent() {
        return Some(None);
    }
    match field.text(notes)? {
        "" | "ANY" => Some(None),
        "TCP" => Some(Some(Protocol::Tcp)),
        "UDP" => Some(Some(Protocol::Udp)),
        "SCTP" => Some(Some(Protocol::Sctp)),
        other => {
            let shown = shorten(other);
            notes.error(
                field,
                format!("`{shown}` is not a protocol here"),
                Some("write TCP, UDP, SCTP or ANY, in capitals; ICMP has `icmps`".to_owned()),
            );
            None
        }
    }
}

/// Reads `icmps`.
pub(super) fn icmps(list: &Field<'_, '_>, notes: &mut Notes<'_>) -> Vec<Icmp> {
    let mut icmps = Vec::new();
    let entries: Vec<Field<'_, '_>> = list.items(notes).collect();
    for entry in &entries {
        entry.expect_map(notes);
        entry.expect_keys(&["fields"], notes);
        let fields = entry.get("fields");
        let before = icmps.len();
        for field in fields.items(notes) {
            icmps.extend(icmp(&field, notes));
        }
        if icmps.len() - before > ENTRIES_MAX {
            too_many(&fields, icmps.len() - before, notes);
        }
    }
    icmps
}

fn icmp(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Icmp> {
    entry.expect_map(notes);
    entry.expect_keys(&["family", "type"], notes);
    let family = entry.get("family");
    let read = match family.text(notes).unwrap_or_default() {
        "" | "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        other => {
            let shown = shorten(other);
            notes.error(
                &family,
                format!("`{shown}` is not an address family"),
                Some("write IPv4 or IPv6".to_owned()),
            );
            None
        }
    };
    let field = entry.get("type");
    let help = "write a number from 0 to 255, or a name such as EchoRequest";
    let message = match field.value() {
        Some(Value::Int(number)) => u8::try_from(*number).ok().map(|n| n.to_string()),
        Some(Value::Text(name)) => {
            let is_word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
            let is_number = name.bytes().all(|b| b.is_ascii_digit());
            let is_known =
                is_word && name.len() <= 64 && (!is_number || name.parse::<u8>().is_ok());
            is_known.then(|| match name.parse::<u8>() {
                Ok(number) => number.to_string(),
                Err(_) => name.clone().into_owned(),
            })
        }
        _ => None,
    };
    if message.is_none() {
        notes.error(
            &field,
            "is not the type of an ICMP message".to_owned(),
            Some(help.to_owned()),
        );
    }
    Some(Icmp {
        family: read?,
        message: message?,
    })
}
