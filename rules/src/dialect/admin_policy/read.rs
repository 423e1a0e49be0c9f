//! From the tree to a cluster-scoped policy, refusing what the API server refuses (policy-semantics §2).

use super::{Action, AdminPolicy, AdminTier, Peer, PodGroup, Rule};
use crate::cluster::Protocol;
use crate::dialect::network_policy::read::net;
use crate::kubernetes::Cause;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::kinds::protocol;
use crate::kubernetes::metadata::Metadata;
use crate::kubernetes::selector::selector;
use crate::kubernetes::tree::{Value, shorten};
use crate::policy::Kind;
use crate::port::{PortClause, Traffic, is_port_name};
use crate::selector::Selector;

/// The highest priority number.
const PRIORITY_MAX: u16 = 1000;
/// Networks or domain names in one peer.
const LISTED_MAX: usize = 25;
/// Characters in the name of a rule.
const RULE_NAME_MAX: usize = 100;

/// What the versions of the API write differently.
struct Words {
    kind: Kind,
    allow: &'static str,
    /// The words for actions, as help prints them.
    actions: &'static str,
    ports: &'static str,
    /// Rules in one direction, and entries in `from`, `to` or `ports`.
    rules_max: usize,
}

impl Words {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::ClusterNetworkPolicy => Self {
                kind,
                allow: "Accept",
                actions: "Accept, Deny or Pass",
                ports: "protocols",
                rules_max: 25,
            },
            _ => Self {
                kind,
                allow: "Allow",
                actions: match kind {
                    Kind::BaselineAdminNetworkPolicy => "Allow or Deny",
                    _ => "Allow, Deny or Pass",
                },
                ports: "ports",
                rules_max: 100,
            },
        }
    }
}

/// Reads a policy. What is returned is only good if nothing was noted as an error.
pub(crate) fn admin_policy(
    kind: Kind,
    common: &Metadata,
    root: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> AdminPolicy {
    let words = Words::of(kind);
    let spec = root.get("spec");
    spec.expect_map(notes);
    let known: &[&str] = match kind {
        Kind::ClusterNetworkPolicy => &["tier", "priority", "subject", "ingress", "egress"],
        Kind::BaselineAdminNetworkPolicy => &["subject", "ingress", "egress"],
        _ => &["priority", "subject", "ingress", "egress"],
    };
    spec.expect_keys(known, notes);
    if kind == Kind::BaselineAdminNetworkPolicy && common.name != "default" {
        let metadata = root.get("metadata");
        notes.error(
            &metadata.get("name"),
            "must be `default`: there is one of this kind in a cluster".to_owned(),
            Some("rename it, or merge it into the one called default".to_owned()),
        );
    }
    AdminPolicy {
        kind,
        name: common.name.clone(),
        tier: match kind {
            Kind::ClusterNetworkPolicy => tier(&spec.get("tier"), notes),
            Kind::BaselineAdminNetworkPolicy => AdminTier::Baseline,
            _ => AdminTier::Admin,
        },
        priority: match kind {
            Kind::BaselineAdminNetworkPolicy => 0,
            _ => priority(&spec.get("priority"), notes),
        },
        subject: subject(&spec.get("subject"), notes),
        ingress: rules(&words, &spec.get("ingress"), "from", notes),
        egress: rules(&words, &spec.get("egress"), "to", notes),
    }
}

fn missing(field: &Field<'_, '_>, help: &str, notes: &mut Notes<'_>) {
    notes.error(field, "is missing".to_owned(), Some(help.to_owned()));
}

fn tier(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> AdminTier {
    let help = "write Admin or Baseline";
    if field.is_absent() {
        missing(field, help, notes);
    }
    match field.text(notes) {
        Some("Baseline") => AdminTier::Baseline,
        Some("Admin") | None => AdminTier::Admin,
        Some(other) => {
            let message = format!("`{}` is not a tier", shorten(other));
            notes.error(field, message, Some(help.to_owned()));
            AdminTier::Admin
        }
    }
}

fn priority(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> u16 {
    if field.is_absent() {
        missing(
            field,
            "give a number from 0 to 1000, lower goes first",
            notes,
        );
    }
    let number = field.int(notes).unwrap_or_default();
    match u16::try_from(number) {
        Ok(priority) if priority <= PRIORITY_MAX => priority,
        _ => {
            let message =
                format!("{number} is not a priority: it must be from 0 to {PRIORITY_MAX}");
            notes.error(field, message, None);
            0
        }
    }
}

/// The keys of a map that have a value, in their order.
fn given<'a>(field: &Field<'a, '_>) -> Vec<&'a str> {
    let Some(Value::Map(entries)) = field.value() else {
        return Vec::new();
    };
    let given = entries.iter().filter(|(_, value)| *value != Value::Null);
    given.map(|(key, _)| key.as_ref()).collect()
}

fn subject(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> PodGroup {
    let everyone = PodGroup {
        namespaces: Selector::default(),
        pods: None,
    };
    field.expect_map(notes);
    if let Some(early) = early_shape(field, &["namespaceSelector", "namespaceAndPodSelector"]) {
        refuse_early(field, early, notes);
        return everyone;
    }
    field.expect_keys(&["namespaces", "pods"], notes);
    let (namespaces, pods) = (field.get("namespaces"), field.get("pods"));
    match (namespaces.is_absent(), pods.is_absent()) {
        (true, true) => {
            missing(
                field,
                "give namespaces or pods; `namespaces: {}` is every pod",
                notes,
            );
            everyone
        }
        (false, false) => {
            refuse_both(field, notes);
            everyone
        }
        (false, true) => of_namespaces(&namespaces, notes).unwrap_or(everyone),
        (true, false) => of_pods(&pods, notes).unwrap_or(everyone),
    }
}

fn refuse_both(field: &Field<'_, '_>, notes: &mut Notes<'_>) {
    notes.error(
        field,
        "must have one field only".to_owned(),
        Some("make two entries or two policies of it".to_owned()),
    );
}

/// The first of `early` that is given: a field that only the first drafts of v1alpha1 had.
fn early_shape<'a>(field: &Field<'a, '_>, early: &[&str]) -> Option<&'a str> {
    given(field).into_iter().find(|key| early.contains(key))
}

fn refuse_early(field: &Field<'_, '_>, key: &str, notes: &mut Notes<'_>) {
    notes.error(
        field,
        format!("has `{key}`, which only early drafts of v1alpha1 had"),
        Some("write it as policy-api v0.1 and later do: `namespaces: {matchLabels: …}`, or `pods: {namespaceSelector: …, podSelector: …}`".to_owned()),
    );
}

/// `namespaces`: all pods of these.
fn of_namespaces(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<PodGroup> {
    let early = [
        "namespaceSelector",
        "sameLabels",
        "notSameLabels",
        "self",
        "notSelf",
    ];
    if let Some(early) = early_shape(field, &early) {
        refuse_early(field, early, notes);
        return None;
    }
    Some(PodGroup {
        namespaces: selector(field, notes),
        pods: None,
    })
}

/// `pods`: those with these labels in namespaces with those.
fn of_pods(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<PodGroup> {
    field.expect_map(notes);
    if let Some(early) = early_shape(field, &["namespaces", "pods"]) {
        refuse_early(field, early, notes);
        return None;
    }
    field.expect_keys(&["namespaceSelector", "podSelector"], notes);
    Some(PodGroup {
        namespaces: selector(&field.get("namespaceSelector"), notes),
        pods: Some(selector(&field.get("podSelector"), notes)),
    })
}

fn rules(words: &Words, section: &Field<'_, '_>, peers: &str, notes: &mut Notes<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in section.items(notes) {
        if rules.len() == words.rules_max {
            too_many(section, words.rules_max, "rules", notes);
            break;
        }
        rules.push(rule(words, &entry, peers, notes));
    }
    rules
}

fn too_many(field: &Field<'_, '_>, max: usize, what: &str, notes: &mut Notes<'_>) {
    let message = format!("has more than the {max} {what} that are allowed");
    notes.error(field, message, Some("part it into several".to_owned()));
}

fn rule(words: &Words, entry: &Field<'_, '_>, peers: &str, notes: &mut Notes<'_>) -> Rule {
    entry.expect_map(notes);
    entry.expect_keys(&["name", "action", peers, words.ports], notes);
    let name_field = entry.get("name");
    let name = name_field.text(notes).unwrap_or_default();
    if name.chars().count() > RULE_NAME_MAX {
        let message = format!("is longer than {RULE_NAME_MAX} characters");
        notes.error(&name_field, message, None);
    }
    let action = action(words, &entry.get("action"), notes);
    let peers_field = entry.get(peers);
    let mut read = Vec::new();
    for field in peers_field.items(notes) {
        if read.len() == words.rules_max {
            too_many(&peers_field, words.rules_max, "peers", notes);
            break;
        }
        read.extend(peer(&field, peers == "to", action, notes));
    }
    if given_none(&peers_field) {
        let help = "list at least one peer; `namespaces: {}` is every pod of the cluster";
        let message = if peers_field.is_absent() {
            "is missing"
        } else {
            "must not be empty"
        };
        notes.error(&peers_field, message.to_owned(), Some(help.to_owned()));
    }
    let ports = ports(words, &entry.get(words.ports), notes);
    let has_name = |port: &Traffic| matches!(port.port, Some(PortClause::Named(_)));
    let nameless = |peer: &Peer| {
        matches!(
            peer,
            Peer::Networks(_) | Peer::Nodes(_) | Peer::DomainNames(_)
        )
    };
    if ports.iter().any(has_name) && read.iter().any(nameless) {
        notes.error(
            entry,
            "has a named port beside networks, nodes or domain names, which have none".to_owned(),
            Some("give the port by its number, or make two rules of it".to_owned()),
        );
    }
    Rule {
        name: name.to_owned(),
        action,
        peers: read,
        ports,
    }
}

/// Whether a list is absent or empty.
fn given_none(field: &Field<'_, '_>) -> bool {
    match field.value() {
        None => true,
        Some(Value::List(items)) => items.is_empty(),
        Some(_) => false,
    }
}

fn action(words: &Words, field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Action {
    let help = || format!("write {}", words.actions);
    if field.is_absent() {
        missing(field, &help(), notes);
    }
    match field.text(notes) {
        Some(word) if word == words.allow => Action::Allow,
        Some("Deny") | None => Action::Deny,
        Some("Pass") if words.kind != Kind::BaselineAdminNetworkPolicy => Action::Pass,
        Some(other) => {
            let message = format!("`{}` is not an action", shorten(other));
            notes.error(field, message, Some(help()));
            Action::Deny
        }
    }
}

fn peer(
    entry: &Field<'_, '_>,
    is_egress: bool,
    action: Action,
    notes: &mut Notes<'_>,
) -> Option<Peer> {
    entry.expect_map(notes);
    let known: &[&str] = match is_egress {
        true => &["namespaces", "pods", "nodes", "networks", "domainNames"],
        false => &["namespaces", "pods"],
    };
    let given = given(entry);
    let mut ours = given.iter().filter(|key| known.contains(key));
    match (ours.next(), ours.next()) {
        (Some(_), Some(_)) => {
            refuse_both(entry, notes);
            None
        }
        (None, _) => {
            if let Some(early) = early_shape(entry, &["namespacedPods"]) {
                refuse_early(entry, early, notes);
                return None;
            }
            let effect = match action {
                Action::Allow => "the rule matches nothing",
                _ => "the rule denies everything",
            };
            notes.warn_of(
                Cause::UnknownField,
                entry,
                format!("names no peer that is known here, so that {effect}"),
                Some(format!("the peers here are `{}`", known.join("`, `"))),
            );
            Some(Peer::Unknown)
        }
        (Some(&"namespaces"), None) => {
            of_namespaces(&entry.get("namespaces"), notes).map(Peer::Pods)
        }
        (Some(&"pods"), None) => of_pods(&entry.get("pods"), notes).map(Peer::Pods),
        (Some(&"nodes"), None) => Some(Peer::Nodes(selector(&entry.get("nodes"), notes))),
        (Some(&"networks"), None) => {
            let list = entry.get("networks");
            Some(Peer::Networks(listed(&list, notes, net)))
        }
        (Some(_), None) => {
            let list = entry.get("domainNames");
            if action != Action::Allow {
                notes.error(
                    &list,
                    "may only stand in a rule that allows".to_owned(),
                    Some("deny by networks instead, below a rule that allows the names".to_owned()),
                );
            }
            Some(Peer::DomainNames(listed(&list, notes, domain_name)))
        }
    }
}

/// A list of at least one and at most [`LISTED_MAX`].
fn listed<T>(
    list: &Field<'_, '_>,
    notes: &mut Notes<'_>,
    read: impl Fn(&Field<'_, '_>, &mut Notes<'_>) -> Option<T>,
) -> Vec<T> {
    if given_none(list) {
        notes.error(list, "must not be empty".to_owned(), None);
    }
    let mut items = Vec::new();
    for (index, item) in list.items(notes).enumerate() {
        if index == LISTED_MAX {
            too_many(list, LISTED_MAX, "entries", notes);
            break;
        }
        items.extend(read(&item, notes));
    }
    items
}

fn domain_name(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<String> {
    let name = field.short_text(255, notes)?;
    let base = name.strip_prefix("*.").unwrap_or(name);
    let base = base.strip_suffix('.').unwrap_or(base);
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if !base.contains('.') || !base.split('.').all(is_label) {
        notes.error(
            field,
            format!("`{}` is not a domain name", shorten(name)),
            Some(
                "write a full name such as www.example.com, or *.example.com for all below it"
                    .to_owned(),
            ),
        );
        return None;
    }
    Some(name.to_owned())
}

fn ports(words: &Words, list: &Field<'_, '_>, notes: &mut Notes<'_>) -> Vec<Traffic> {
    let is_newer = words.kind == Kind::ClusterNetworkPolicy;
    if is_newer && !list.is_absent() && given_none(list) {
        notes.error(
            list,
            "must not be empty".to_owned(),
            Some("leave it out to mean all traffic".to_owned()),
        );
    }
    if let Some(early) = early_shape(list, &["allPorts", "list"]) {
        refuse_early(list, early, notes);
        return Vec::new();
    }
    let mut ports = Vec::new();
    for (index, entry) in list.items(notes).enumerate() {
        if index == words.rules_max {
            too_many(list, words.rules_max, "entries", notes);
            break;
        }
        entry.expect_map(notes);
        ports.extend(match is_newer {
            true => protocol_entry(&entry, notes),
            false => port_entry(&entry, notes),
        });
    }
    ports
}

/// The one field that is given, of those that may be. Anything else is an error.
fn one_of<'k>(entry: &Field<'_, '_>, known: &[&'k str], notes: &mut Notes<'_>) -> Option<&'k str> {
    entry.expect_map(notes);
    entry.expect_keys(known, notes);
    let given = given(entry);
    let mut ours = known.iter().filter(|key| given.contains(key));
    match (ours.next(), ours.next()) {
        (Some(key), None) => Some(key),
        _ => {
            notes.error(
                entry,
                format!("must have one of `{}`", known.join("`, `")),
                None,
            );
            None
        }
    }
}

/// An entry of `ports`.
fn port_entry(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Traffic> {
    let key = one_of(entry, &["portNumber", "portRange", "namedPort"], notes)?;
    let field = entry.get(key);
    match key {
        "namedPort" => named(&field, notes),
        "portNumber" => {
            field.expect_map(notes);
            field.expect_keys(&["protocol", "port"], notes);
            let port = required_port(&field.get("port"), notes)?;
            Some(Traffic {
                protocol: Some(protocol(&field.get("protocol"), notes)?),
                port: Some(PortClause::Range(port, port)),
            })
        }
        _ => {
            field.expect_map(notes);
            field.expect_keys(&["protocol", "start", "end"], notes);
            let (start, end) = range(&field, notes)?;
            if start > end {
                let message = format!("{end} is below the start {start}: the range is empty");
                notes.warn(&field.get("end"), message, None);
            }
            Some(Traffic {
                protocol: Some(protocol(&field.get("protocol"), notes)?),
                port: Some(PortClause::Range(start, end)),
            })
        }
    }
}

/// An entry of `protocols`.
fn protocol_entry(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Traffic> {
    let key = one_of(
        entry,
        &["tcp", "udp", "sctp", "destinationNamedPort"],
        notes,
    )?;
    let field = entry.get(key);
    let protocol = match key {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return named(&field, notes),
    };
    one_of(&field, &["destinationPort"], notes)?;
    let port = field.get("destinationPort");
    let (first, last) = match one_of(&port, &["number", "range"], notes)? {
        "number" => {
            let number = required_port(&port.get("number"), notes)?;
            (number, number)
        }
        _ => {
            let range_field = port.get("range");
            range_field.expect_map(notes);
            range_field.expect_keys(&["start", "end"], notes);
            let (start, end) = range(&range_field, notes)?;
            if start >= end {
                let message = format!("{end} is not above the start {start}");
                let help = "give a single port as `number`";
                notes.error(&range_field.get("end"), message, Some(help.to_owned()));
            }
            (start, end)
        }
    };
    Some(Traffic {
        protocol: Some(protocol),
        port: Some(PortClause::Range(first, last)),
    })
}

fn range(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<(u16, u16)> {
    let start = required_port(&field.get("start"), notes);
    let end = required_port(&field.get("end"), notes);
    start.zip(end)
}

fn required_port(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<u16> {
    if field.is_absent() {
        missing(field, "give a port from 1 to 65535", notes);
    }
    field.port(notes)
}

/// A port by its name, whatever the protocol.
fn named(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<Traffic> {
    let name = field.text(notes)?;
    if !is_port_name(name) {
        notes.warn(
            field,
            format!("no pod can have a port called `{}`", shorten(name)),
            Some("a port name is 1 to 15 of a-z, 0-9 and -, with a letter".to_owned()),
        );
    }
    Some(Traffic {
        protocol: None,
        port: Some(PortClause::Named(name.to_owned())),
    })
}
