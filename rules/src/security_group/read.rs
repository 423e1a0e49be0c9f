//! From what the API answered to security groups.
//!
//! `DescribeSecurityGroupAttribute` has the rules, in pages; `DescribeSecurityGroups` the type of each group;
//! `DescribePrefixListAttributes` the blocks of a prefix list. An answer about a port list does not say which list,
//! so `PortRangeListId` must be added to it. `DescribeNetworkInterfaces` says which groups an address has. Fields nobody here needs are passed over. A rule that cannot be
//! understood is named, and from then on may say anything: leaving it out could turn a verdict round.

use std::collections::{BTreeMap, HashSet};

use super::print::direction_of;
use super::{Action, GroupType, SecurityGroup};
use super::{Interfaces, SecurityGroups};
use crate::kubernetes::field::{Field, Notes, describe};
use crate::kubernetes::text::{Lines, answers};
use crate::kubernetes::tree::{Value, shorten};
use crate::kubernetes::{Cause, Issue, Severity};

mod interface;
mod rule;

/// No id or name of the API is longer.
const TEXT_LENGTH_MAX: usize = 256;

/// What several texts held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroupManifest {
    /// What can be used.
    pub groups: SecurityGroups,
    /// The interfaces that have them.
    pub interfaces: Interfaces,
    /// What could not be understood, and what is odd.
    pub issues: Vec<Issue>,
}

/// Reads answers of the API from texts, each with the name that issues carry. A text holds JSON: one answer, a list
/// of them, or one after the other. Pages of one group follow each other, within a text or from one to the next, and
/// are the pages of a call without a direction, or with `Direction=all`.
///
/// ```
/// let manifest = flowaudit_rules::security_group::read([("sg.json", r#"{
///   "SecurityGroupId": "sg-a", "InnerAccessPolicy": "Accept", "NextToken": "",
///   "Permissions": {"Permission": [{
///     "SecurityGroupRuleId": "sgr-1", "Direction": "ingress", "Policy": "Accept", "Priority": "1",
///     "IpProtocol": "TCP", "PortRange": "443/443", "SourceCidrIp": "10.0.0.0/8"
///   }]}
/// }"#)]);
/// assert_eq!(manifest.issues, []);
/// assert_eq!(manifest.groups.groups["sg-a"].rules[0].to_string(), "TCP port 443 from 10.0.0.0/8");
/// ```
pub fn read<'t>(texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> SecurityGroupManifest {
    let mut reader = Reader::default();
    for (file, text) in texts {
        let lines = Lines::new(text);
        answers(&lines, |line, answer| match answer {
            Ok(value) => reader.value(
                &Place {
                    file,
                    lines: &lines,
                },
                &value,
                line,
            ),
            Err(reason) => reader.issues.push(Issue {
                severity: Severity::Error,
                cause: Cause::Unreadable,
                file: file.to_owned(),
                line: Some(reason.line),
                object: None,
                field: None,
                message: reason.message,
                help: reason.help,
            }),
        });
    }
    reader.finish()
}

/// Where an answer stands.
struct Place<'p> {
    file: &'p str,
    lines: &'p Lines<'p>,
}

#[derive(Default)]
struct Reader {
    groups: BTreeMap<String, Reading>,
    /// What `DescribeSecurityGroups` said.
    listed: BTreeMap<String, SecurityGroup>,
    lists: SecurityGroups,
    interfaces: Interfaces,
    issues: Vec<Issue>,
}

/// A group of which some pages were read.
#[derive(Default)]
struct Reading {
    group: SecurityGroup,
    rule_ids: HashSet<String>,
    /// The last page said that another follows.
    more: bool,
    file: String,
    line: u32,
}

impl Reader {
    fn value(&mut self, place: &Place<'_>, value: &Value<'_>, line: u32) {
        let line = place.lines.of_value(value).unwrap_or(line);
        let root = Field::root(value);
        match value {
            Value::Null => {}
            Value::List(items) => {
                for item in items {
                    self.value(place, item, line);
                }
            }
            _ if !root.get("NetworkInterfaceSets").is_absent() => {
                self.network_interfaces(place, &root, line);
            }
            _ if !root.get("SecurityGroups").is_absent() => self.summaries(place, &root, line),
            _ if !root.get("SecurityGroupId").is_absent() => self.page(place, &root, line),
            _ if !root.get("PrefixListId").is_absent() => self.prefix_list(place, &root, line),
            _ if !root.get("PortRangeListId").is_absent() => self.port_list(place, &root, line),
            _ => self.refuse(place, value, line),
        }
    }

    fn refuse(&mut self, place: &Place<'_>, value: &Value<'_>, line: u32) {
        let (message, help) = match (value.text("Code"), value.text("Message")) {
            (Some(code), Some(said)) => (
                format!(
                    "the API refused with `{}`: {}",
                    shorten(code),
                    shorten(said)
                ),
                "ask again, with the right to read security groups",
            ),
            _ if value.get("Permissions").is_some() => (
                "these rules do not say of which group they are".to_owned(),
                "add SecurityGroupId to the answer",
            ),
            _ if matches!(value, Value::Map(_)) => (
                "this is no answer about a security group".to_owned(),
                "give what DescribeSecurityGroupAttribute answered",
            ),
            _ => (
                format!("not an answer of the API but {}", describe(value)),
                "give what DescribeSecurityGroupAttribute answered",
            ),
        };
        self.issues.push(Issue {
            severity: Severity::Error,
            cause: Cause::Unreadable,
            file: place.file.to_owned(),
            line: Some(line),
            object: None,
            field: None,
            message,
            help: Some(help.to_owned()),
        });
    }

    /// `DescribeSecurityGroups`.
    fn summaries(&mut self, place: &Place<'_>, root: &Field<'_, '_>, line: u32) {
        let Self { listed, issues, .. } = self;
        let mut notes = Notes::new(
            place.file,
            place.lines,
            "security groups".to_owned(),
            line,
            issues,
        );
        let wrapper = root.get("SecurityGroups");
        for entry in list(&wrapper, &wrapper.get("SecurityGroup"), &mut notes) {
            let group = head(&entry, &mut notes);
            if group.id.is_empty() {
                notes.error(&entry.get("SecurityGroupId"), "is missing".to_owned(), None);
            } else {
                listed.insert(group.id.clone(), group);
            }
        }
    }

    /// One page of `DescribeSecurityGroupAttribute`.
    fn page(&mut self, place: &Place<'_>, root: &Field<'_, '_>, line: u32) {
        let Self { groups, issues, .. } = self;
        let id = root.value().and_then(|value| value.text("SecurityGroupId"));
        let title = format!("security group {}", shorten(id.unwrap_or_default()));
        let mut notes = Notes::new(place.file, place.lines, title.clone(), line, issues);
        let group = head(root, &mut notes);
        if group.id.is_empty() {
            return;
        }
        let more = text(&root.get("NextToken"), &mut notes).is_some();
        let earlier = groups.get(&group.id);
        let goes_on = earlier.is_some_and(|earlier| earlier.more);
        if let (Some(earlier), false) = (earlier, goes_on) {
            let message = format!(
                "came before, at {}:{}, with all its pages; this one counts",
                earlier.file, earlier.line
            );
            let help = "ask for both directions at once, and keep one answer for each group";
            let field = root.get("SecurityGroupId");
            notes.warn_of(Cause::Repeated, &field, message, Some(help.to_owned()));
        }
        if !goes_on {
            groups.remove(&group.id);
        }
        let reading = groups.entry(group.id.clone()).or_insert_with(|| Reading {
            group,
            file: place.file.to_owned(),
            line,
            ..Reading::default()
        });
        reading.more = more;
        let wrapper = root.get("Permissions");
        let permissions = wrapper.get("Permission");
        let entries: Vec<Field<'_, '_>> = list(&wrapper, &permissions, &mut notes).collect();
        for entry in entries {
            let mut notes = Notes::new(place.file, place.lines, title.clone(), line, issues);
            match rule::rule(&entry, &mut notes) {
                Ok(rule) => {
                    // Pages may overlap while rules change.
                    if rule.id.is_empty() || reading.rule_ids.insert(rule.id.clone()) {
                        reading.group.rules.push(rule);
                    }
                }
                Err(direction) => reading.group.unreadable.push(direction),
            }
        }
    }

    /// `DescribePrefixListAttributes`.
    fn prefix_list(&mut self, place: &Place<'_>, root: &Field<'_, '_>, line: u32) {
        let Self { lists, issues, .. } = self;
        let mut notes = Notes::new(
            place.file,
            place.lines,
            "prefix list".to_owned(),
            line,
            issues,
        );
        let wrapper = root.get("Entries");
        let mut blocks = Vec::new();
        for entry in list(&wrapper, &wrapper.get("Entry"), &mut notes) {
            blocks.extend(rule::block(&entry.get("Cidr"), &mut notes));
        }
        // A list of which a part is not known cannot be used: the rules that name it stay undecided.
        if let Some(id) = text(&root.get("PrefixListId"), &mut notes)
            && !notes.refused()
        {
            lists.prefix_lists.insert(id.to_owned(), blocks);
        }
    }

    /// `DescribePortRangeListEntries`, with the id of the list added.
    fn port_list(&mut self, place: &Place<'_>, root: &Field<'_, '_>, line: u32) {
        let Self { lists, issues, .. } = self;
        let mut notes = Notes::new(
            place.file,
            place.lines,
            "port list".to_owned(),
            line,
            issues,
        );
        let wrapper = root.get("Entries");
        let mut ranges = Vec::new();
        for entry in list(&wrapper, &wrapper.get("Entry"), &mut notes) {
            ranges.extend(rule::range(&entry.get("PortRange"), &mut notes));
        }
        if let Some(id) = text(&root.get("PortRangeListId"), &mut notes)
            && !notes.refused()
        {
            lists.port_lists.insert(id.to_owned(), ranges);
        }
    }

    /// `DescribeNetworkInterfaces`.
    fn network_interfaces(&mut self, place: &Place<'_>, root: &Field<'_, '_>, line: u32) {
        let Self {
            interfaces, issues, ..
        } = self;
        let title = "network interfaces".to_owned();
        let mut notes = Notes::new(place.file, place.lines, title, line, issues);
        let sets = root.get("NetworkInterfaceSets");
        for entry in list(&sets, &sets.get("NetworkInterfaceSet"), &mut notes) {
            interface::read(&entry, interfaces, &mut notes);
        }
    }

    fn finish(mut self) -> SecurityGroupManifest {
        let mut groups = self.lists;
        for (id, reading) in self.groups {
            let mut group = reading.group;
            group.incomplete |= reading.more;
            let listed = self.listed.remove(&id);
            if let Some(listed) = listed {
                group.group_type = group.group_type.or(listed.group_type);
                for (own, other) in [
                    (&mut group.name, listed.name),
                    (&mut group.vpc_id, listed.vpc_id),
                ] {
                    if own.is_empty() {
                        *own = other;
                    }
                }
            }
            let mut warn = |cause, message: &str, help: &str| {
                self.issues.push(Issue {
                    severity: Severity::Warning,
                    cause,
                    file: reading.file.clone(),
                    line: Some(reading.line),
                    object: Some(format!("security group {id}")),
                    field: None,
                    message: message.to_owned(),
                    help: Some(help.to_owned()),
                });
            };
            if reading.more {
                warn(
                    Cause::NotEvaluated,
                    "its last page says that another follows, which is missing: what it means stays open",
                    "ask for the page of its NextToken",
                );
            }
            let type_told = group.group_type.take();
            if type_told == Some(GroupType::Enterprise) && group.known_type().is_some() {
                warn(
                    Cause::Odd,
                    "is an enterprise group, but has what only basic groups can have",
                    "an enterprise group neither names groups nor lets its members reach each other",
                );
            }
            group.group_type = type_told;
            groups.groups.insert(id, group);
        }
        // What is only listed has rules that nobody read.
        for (id, listed) in self.listed {
            groups.groups.insert(
                id,
                SecurityGroup {
                    incomplete: true,
                    ..listed
                },
            );
        }
        SecurityGroupManifest {
            groups,
            interfaces: self.interfaces,
            issues: self.issues,
        }
    }
}

/// What both calls say of a group.
fn head(root: &Field<'_, '_>, notes: &mut Notes<'_>) -> SecurityGroup {
    let short =
        |key, notes: &mut Notes<'_>| text(&root.get(key), notes).unwrap_or_default().to_owned();
    SecurityGroup {
        id: short("SecurityGroupId", notes),
        name: short("SecurityGroupName", notes),
        vpc_id: short("VpcId", notes),
        group_type: word(
            &root.get("SecurityGroupType"),
            &[
                ("normal", GroupType::Basic),
                ("enterprise", GroupType::Enterprise),
            ],
            notes,
        ),
        inner_access: word(&root.get("InnerAccessPolicy"), &ACTIONS, notes),
        ..SecurityGroup::default()
    }
}

const ACTIONS: [(&str, Action); 2] = [("Accept", Action::Accept), ("Drop", Action::Drop)];

/// The items of a list in its wrapper (`Xs.X[]`), or without one. An absent wrapper is an empty list.
fn list<'a, 't>(
    wrapper: &'a Field<'a, 't>,
    inner: &'a Field<'a, 't>,
    notes: &mut Notes<'_>,
) -> impl Iterator<Item = Field<'a, 't>> + use<'a, 't> {
    let is_bare = matches!(wrapper.value(), Some(Value::List(_)));
    if !is_bare {
        wrapper.expect_map(notes);
    }
    (if is_bare { wrapper } else { inner }).items(notes)
}

/// A text of bounded length; the empty one counts as absent, for unused fields are there as `""`.
fn text<'a>(field: &Field<'a, '_>, notes: &mut Notes<'_>) -> Option<&'a str> {
    field
        .short_text(TEXT_LENGTH_MAX, notes)
        .filter(|text| !text.is_empty())
}

/// One of several words, in any case. Another one is reported and counts as not said.
fn word<T: Copy>(field: &Field<'_, '_>, words: &[(&str, T)], notes: &mut Notes<'_>) -> Option<T> {
    let said = text(field, notes)?;
    let known = words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(said));
    if known.is_none() {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        notes.error(
            field,
            format!("`{}` is none of {}", shorten(said), list.join(" and ")),
            Some("give the answer as it came from the API".to_owned()),
        );
    }
    known.map(|(_, meaning)| *meaning)
}

/// A direction, in any case.
fn direction(field: &Field<'_, '_>, notes: &mut Notes<'_>) -> Option<crate::policy::Direction> {
    let said = text(field, notes)?;
    let known = direction_of(said);
    if known.is_none() {
        notes.error(
            field,
            format!("`{}` is neither ingress nor egress", shorten(said)),
            Some("give the answer as it came from the API".to_owned()),
        );
    }
    known
}
