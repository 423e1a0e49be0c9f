//! One rule of a section: its peers, and what goes with them.

use ipnet::IpNet;

use super::super::selector::selector;
use super::super::{CidrRule, DomainName, Peers, Rule, ServiceRef};
use super::{block, entity, port};
use crate::cidr::Block;
use crate::kubernetes::field::{Field, Notes};
use crate::kubernetes::tree::shorten;

/// The fields of one direction.
pub(super) struct Names {
    endpoints: &'static str,
    nodes: &'static str,
    entities: &'static str,
    cidr: &'static str,
    cidr_set: &'static str,
    groups: &'static str,
    requires: &'static str,
    /// `toServices` and `toFQDNs`, which only egress has.
    is_egress: bool,
}

pub(super) const INGRESS: Names = Names {
    endpoints: "fromEndpoints",
    nodes: "fromNodes",
    entities: "fromEntities",
    cidr: "fromCIDR",
    cidr_set: "fromCIDRSet",
    groups: "fromGroups",
    requires: "fromRequires",
    is_egress: false,
};

pub(super) const EGRESS: Names = Names {
    endpoints: "toEndpoints",
    nodes: "toNodes",
    entities: "toEntities",
    cidr: "toCIDR",
    cidr_set: "toCIDRSet",
    groups: "toGroups",
    requires: "toRequires",
    is_egress: true,
};

/// Reads a rule of `ingress`, `egress`, or of their deny sections.
pub(super) fn rule(
    entry: &Field<'_, '_>,
    names: &'static Names,
    is_deny: bool,
    of_nodes: bool,
    notes: &mut Notes<'_>,
) -> Rule {
    entry.expect_map(notes);
    let mut known = vec![
        names.endpoints,
        names.nodes,
        names.entities,
        names.cidr,
        names.cidr_set,
        names.groups,
        names.requires,
        "toPorts",
        "icmps",
    ];
    if names.is_egress {
        known.push("toServices");
    }
    if names.is_egress && !is_deny {
        known.push("toFQDNs");
    }
    if !is_deny {
        known.push("authentication");
    }
    entry.expect_keys(&known, notes);

    let peers = peers(entry, names, is_deny, notes);
    let mut requires = Vec::new();
    for field in entry.get(names.requires).items(notes) {
        requires.extend(some_selector(&field, notes));
    }
    let to_ports = entry.get("toPorts");
    let mut ports = Vec::new();
    for field in to_ports.items(notes) {
        ports.push(port::port_rule(&field, names.is_egress, is_deny, notes));
    }
    let has_content = ports.iter().any(|rule| !rule.content.is_empty());
    if of_nodes && has_content {
        notes.error(
            &to_ports,
            "must not speak of the content of connections in a policy for nodes".to_owned(),
            Some("admit the ports only".to_owned()),
        );
    }
    if matches!(peers, Peers::Services(_)) && !ports.is_empty() {
        let help = "name the pods behind the Service by toEndpoints";
        notes.error(
            &to_ports,
            "must not stand beside toServices".to_owned(),
            Some(help.to_owned()),
        );
    }
    let icmp_field = entry.get("icmps");
    let icmps = port::icmps(&icmp_field, notes);
    if !icmps.is_empty() && !ports.is_empty() {
        notes.error(
            &icmp_field,
            "must not stand beside toPorts".to_owned(),
            Some("make two rules of it".to_owned()),
        );
    }
    let authentication = entry.get("authentication");
    let mode = authentication.get("mode");
    Rule {
        peers,
        requires,
        ports,
        icmps,
        authentication: matches!(mode.text(notes), Some(mode) if mode != "disabled"),
    }
}

/// The one kind of peers that a rule has.
fn peers(
    entry: &Field<'_, '_>,
    names: &'static Names,
    is_deny: bool,
    notes: &mut Notes<'_>,
) -> Peers {
    let mut found: Vec<(&str, Peers)> = Vec::new();
    let mut nobody = false;
    let mut list =
        |key: &'static str,
         notes: &mut Notes<'_>,
         read: &mut dyn FnMut(&[Field<'_, '_>], &mut Notes<'_>) -> Peers| {
            let field = entry.get(key);
            let items: Vec<Field<'_, '_>> = field.items(notes).collect();
            if !items.is_empty() {
                found.push((key, read(&items, notes)));
            }
            // Only these know an empty list from none at all.
            let is_selecting = !matches!(key, "toServices" | "toFQDNs") && key != names.groups;
            nobody |= is_selecting && !field.is_absent() && items.is_empty();
        };
    list(names.endpoints, notes, &mut |items, notes| {
        Peers::Endpoints(each(items, notes, some_selector))
    });
    list(names.nodes, notes, &mut |items, notes| {
        Peers::Nodes(each(items, notes, some_selector))
    });
    list(names.entities, notes, &mut |items, notes| {
        Peers::Entities(each(items, notes, entity_of))
    });
    list(names.cidr, notes, &mut |items, notes| {
        let blocks = each(items, notes, |field, notes| block(field, false, notes));
        let rules = blocks.into_iter().map(|cidr| {
            CidrRule::Block(Block {
                cidr,
                except: Vec::new(),
            })
        });
        Peers::Blocks(rules.collect())
    });
    list(names.cidr_set, notes, &mut |items, notes| {
        Peers::Blocks(each(items, notes, cidr_rule))
    });
    list(names.groups, notes, &mut |items, notes| {
        if let Some(first) = items.first() {
            let message = "is not evaluated: verdicts it may change are unspecified".to_owned();
            notes.warn(first, message, None);
        }
        Peers::Groups
    });
    if names.is_egress {
        list("toServices", notes, &mut |items, notes| {
            Peers::Services(each(items, notes, service))
        });
        if !is_deny {
            list("toFQDNs", notes, &mut |items, notes| {
                Peers::Names(each(items, notes, domain_name))
            });
        }
    }
    if let [(first, _), (second, _), ..] = found.as_slice() {
        let help = "a rule has one kind of peers; make two rules of it: then either may match";
        notes.error(
            &entry.get(second),
            format!("must not stand beside {first}"),
            Some(help.to_owned()),
        );
    }
    match found.pop() {
        _ if nobody => Peers::Nobody,
        Some((_, peers)) => peers,
        None => Peers::Unsaid,
    }
}

/// What can be read of each item.
fn each<T>(
    items: &[Field<'_, '_>],
    notes: &mut Notes<'_>,
    mut read: impl FnMut(&Field<'_, '_>, &mut Notes<'_>) -> Option<T>,
) -> Vec<T> {
    items.iter().filter_map(|item| read(item, notes)).collect()
}

/// A selector in a list, where nothing at all is a mistake: `- ` is not `- {}`.
fn some_selector(
    field: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> Option<crate::selector::Selector> {
    if field.is_absent() {
        let help = "write `{}` to select everything, or remove the dash";
        notes.error(field, "is empty".to_owned(), Some(help.to_owned()));
        return None;
    }
    Some(selector(field, notes))
}

fn entity_of(
    field: &Field<'_, '_>,
    notes: &mut Notes<'_>,
) -> Option<Option<crate::policy::Entity>> {
    let word = field.text(notes).unwrap_or_default();
    let known = entity(word);
    if known.is_none() {
        let shown = shorten(word);
        notes.error(
            field,
            format!("`{shown}` is not an entity"),
            Some("the entities are host, remote-node, kube-apiserver, cluster, world, world-ipv4, world-ipv6, init, health, unmanaged, ingress, none and all".to_owned()),
        );
    }
    known
}

fn cidr_rule(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<CidrRule> {
    entry.expect_map(notes);
    entry.expect_keys(
        &["cidr", "cidrGroupRef", "cidrGroupSelector", "except"],
        notes,
    );
    let cidr = entry.get("cidr");
    let group = entry.get("cidrGroupRef");
    let groups = entry.get("cidrGroupSelector");
    let given = [&cidr, &group, &groups];
    let given: Vec<_> = given
        .into_iter()
        .filter(|field| !field.is_absent())
        .collect();
    if let [_, second, ..] = given.as_slice() {
        notes.error(
            second,
            "must not stand beside another way to name blocks".to_owned(),
            Some("make two entries of it: then either may match".to_owned()),
        );
    }
    let mut except: Vec<IpNet> = Vec::new();
    let block_of = match given.first() {
        None => block(&cidr, true, notes),
        Some(_) if !cidr.is_absent() => block(&cidr, true, notes),
        Some(_) => None,
    };
    for field in entry.get("except").items(notes) {
        let Some(exception) = block(&field, true, notes) else {
            continue;
        };
        if let Some(cidr) = block_of
            && !cidr.contains(&exception)
        {
            notes.error(
                &field,
                format!("`{exception}` is not inside `{cidr}`"),
                Some("an exception must be a part of its own block".to_owned()),
            );
        }
        except.push(exception);
    }
    if let Some(cidr) = block_of {
        return Some(CidrRule::Block(Block { cidr, except }));
    }
    if !group.is_absent() {
        let name = group.short_text(253, notes)?.to_owned();
        return Some(CidrRule::Group { name, except });
    }
    (!groups.is_absent()).then(|| CidrRule::Groups {
        selector: selector(&groups, notes),
        except,
    })
}

fn service(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<ServiceRef> {
    entry.expect_map(notes);
    entry.expect_keys(&["k8sService", "k8sServiceSelector"], notes);
    let (named, labelled) = (entry.get("k8sService"), entry.get("k8sServiceSelector"));
    let namespace = |field: &Field<'_, '_>, notes: &mut Notes<'_>| {
        let namespace = field.get("namespace");
        let text = namespace
            .short_text(63, notes)
            .filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    if !named.is_absent() {
        let name = named.get("serviceName");
        let Some(text) = name.short_text(253, notes).filter(|text| !text.is_empty()) else {
            notes.error(
                &name,
                "is missing".to_owned(),
                Some("name the Service".to_owned()),
            );
            return None;
        };
        let namespace = namespace(&named, notes);
        if namespace.is_none() {
            let message = "is missing: whether the rule matches is unspecified".to_owned();
            notes.warn(
                &named.get("namespace"),
                message,
                Some("name the Service's namespace".to_owned()),
            );
        }
        return Some(ServiceRef::Named {
            namespace,
            name: text.to_owned(),
        });
    }
    if labelled.is_absent() {
        let help = "give k8sService or k8sServiceSelector";
        notes.error(entry, "names no Service".to_owned(), Some(help.to_owned()));
        return None;
    }
    Some(ServiceRef::Labelled {
        namespace: namespace(&labelled, notes),
        selector: selector(&labelled.get("selector"), notes),
    })
}

fn domain_name(entry: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<DomainName> {
    entry.expect_map(notes);
    entry.expect_keys(&["matchName", "matchPattern"], notes);
    let (name, pattern) = (entry.get("matchName"), entry.get("matchPattern"));
    let given = |field: &Field<'_, '_>, notes: &mut Notes<'_>| {
        field
            .short_text(255, notes)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let (name_text, pattern_text) = (given(&name, notes), given(&pattern, notes));
    let is_name = |text: &str| {
        let is_allowed =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*');
        text.bytes().all(is_allowed)
    };
    match (name_text, pattern_text) {
        (Some(text), None) if is_name(&text) && !text.contains('*') => {
            Some(DomainName::Exact(text))
        }
        (None, Some(text)) if is_name(&text) => Some(DomainName::Pattern(text)),
        (Some(_), Some(_)) => {
            let help = "make two entries of it";
            notes.error(
                &pattern,
                "must not stand beside matchName".to_owned(),
                Some(help.to_owned()),
            );
            None
        }
        (None, None) => {
            let help = "give matchName or matchPattern";
            notes.error(entry, "names no domain".to_owned(), Some(help.to_owned()));
            None
        }
        (Some(text), None) => {
            not_a_name(
                &name,
                &text,
                "write it without stars, or as matchPattern",
                notes,
            );
            None
        }
        (None, Some(text)) => {
            not_a_name(
                &pattern,
                &text,
                "a pattern has the characters of domain names, and *",
                notes,
            );
            None
        }
    }
}

fn not_a_name(field: &Field<'_, '_>, text: &str, help: &str, notes: &mut Notes<'_>) {
    let shown = shorten(text);
    notes.error(
        field,
        format!("`{shown}` is not the name of a domain"),
        Some(help.to_owned()),
    );
}
