//! Whether one selector, block, port, peer or rule surely covers another: everything the one matches, the other matches
//! too, whatever pods and namespaces there are.
//!
//! What cannot be proved counts as not covered. Where a proof needs one of the points on which engines differ to be read
//! in one way, it says so (policy-semantics §5).

use std::collections::{BTreeMap, BTreeSet};

use crate::cidr::Block;
use crate::cluster::{Labels, NAME_LABEL};
use crate::dialect::network_policy::{Peer, Rule};
use crate::port::PortMatch;
use crate::selector::{Operator, Requirement, Selector};
use crate::verdict::Unspecified;

/// A proof that something is covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    /// The points that an engine may read so that it is not covered after all.
    pub(super) unless: BTreeSet<Unspecified>,
}

impl Proof {
    fn unless(point: Unspecified) -> Self {
        Self {
            unless: [point].into(),
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.unless.extend(other.unless);
        self
    }
}

/// What a selector demands of one label, its requirements taken together.
#[derive(Default)]
struct Demand<'s> {
    /// The label is there with one of these values.
    one_of: Option<BTreeSet<&'s str>>,
    /// The label is not there, or has none of these values.
    none_of: BTreeSet<&'s str>,
    present: bool,
    absent: bool,
}

impl<'s> Demand<'s> {
    fn only(&mut self, values: impl Iterator<Item = &'s str>) {
        let values: BTreeSet<&str> = values.collect();
        self.one_of = Some(match self.one_of.take() {
            Some(earlier) => earlier.intersection(&values).copied().collect(),
            None => values,
        });
    }

    /// The values that remain, where they can be listed.
    fn values(&self) -> Option<impl Iterator<Item = &'s str>> {
        let one_of = self.one_of.as_ref()?;
        Some(one_of.difference(&self.none_of).copied())
    }

    fn is_present(&self) -> bool {
        self.present || self.one_of.is_some()
    }

    fn contradicts_itself(&self) -> bool {
        (self.is_present() && self.absent)
            || self
                .values()
                .is_some_and(|mut values| values.next().is_none())
    }

    fn implies(&self, operator: &Operator) -> bool {
        match operator {
            Operator::In(values) => self
                .values()
                .is_some_and(|mut own| own.all(|value| values.iter().any(|v| v == value))),
            Operator::NotIn(values) => {
                self.absent
                    || values.iter().all(|v| self.none_of.contains(v.as_str()))
                    || self
                        .values()
                        .is_some_and(|mut own| own.all(|value| !values.iter().any(|v| v == value)))
            }
            Operator::Exists => self.is_present(),
            Operator::DoesNotExist => self.absent,
        }
    }
}

fn demands(selector: &Selector) -> BTreeMap<&str, Demand<'_>> {
    let mut demands: BTreeMap<&str, Demand<'_>> = BTreeMap::new();
    for (key, value) in &selector.labels {
        let demand = demands.entry(key).or_default();
        demand.only(std::iter::once(value.as_str()));
    }
    for Requirement { key, operator } in &selector.expressions {
        let demand = demands.entry(key).or_default();
        match operator {
            Operator::In(values) => demand.only(values.iter().map(String::as_str)),
            Operator::NotIn(values) => demand.none_of.extend(values.iter().map(String::as_str)),
            Operator::Exists => demand.present = true,
            Operator::DoesNotExist => demand.absent = true,
        }
    }
    demands
}

/// The label of which a selector demands what no label can be.
pub(super) fn contradiction(selector: &Selector) -> Option<&str> {
    let demands = demands(selector);
    let found = demands.into_iter().find(|(_, d)| d.contradicts_itself());
    found.map(|(key, _)| key)
}

/// Labels that a selector matches, and no others than it demands; `None` where it can match none.
pub(super) fn witness(selector: &Selector) -> Option<Labels> {
    let mut labels = Labels::new();
    for (key, demand) in demands(selector) {
        if demand.contradicts_itself() {
            return None;
        }
        let listed = demand.values().and_then(|mut values| values.next());
        let value = match listed {
            Some(value) => value.to_owned(),
            None if demand.present => unlisted(&demand.none_of),
            None => continue,
        };
        labels.insert(key.to_owned(), value);
    }
    Some(labels)
}

/// A value that is not among these.
fn unlisted(values: &BTreeSet<&str>) -> String {
    let candidates = (0..=values.len()).map(|number| format!("any-{number}"));
    let mut free = candidates.filter(|value| !values.contains(value.as_str()));
    free.next().unwrap_or_default()
}

/// Whether every set of labels that `inner` matches is matched by `outer`.
pub(super) fn selector(inner: &Selector, outer: &Selector) -> bool {
    if outer.is_empty() || inner == outer {
        return true;
    }
    let demands = demands(inner);
    if demands.values().any(Demand::contradicts_itself) {
        return true;
    }
    let implies = |key: &str, operator: &Operator| {
        demands
            .get(key)
            .is_some_and(|demand| demand.implies(operator))
    };
    outer
        .labels
        .iter()
        .all(|(key, value)| implies(key, &Operator::In(vec![value.clone()])))
        && outer
            .expressions
            .iter()
            .all(|requirement| implies(&requirement.key, &requirement.operator))
}

/// Whether every address of `inner` is in `outer`.
pub(super) fn block(inner: &Block, outer: &Block) -> bool {
    outer.cidr.contains(&inner.cidr)
        && outer.except.iter().all(|hole| {
            let is_apart = !hole.contains(&inner.cidr) && !inner.cidr.contains(hole);
            is_apart || inner.except.iter().any(|own| own.contains(hole))
        })
}

/// Whether every port of `inner` is one of `outer`'s.
pub(super) fn port(inner: &PortMatch, outer: &PortMatch) -> Option<Proof> {
    if inner.protocol() != outer.protocol() {
        return None;
    }
    match (inner, outer) {
        (_, PortMatch::All(_)) => Some(Proof::default()),
        (PortMatch::Named { name, .. }, PortMatch::Named { name: outer, .. }) => {
            (name == outer).then(Proof::default)
        }
        (
            PortMatch::Range { first, last, .. },
            PortMatch::Range {
                first: outer_first,
                last: outer_last,
                ..
            },
        ) if outer_first <= first && last <= outer_last => Some(if first == outer_first {
            Proof::default()
        } else {
            // An engine without endPort takes the first port of a range for all of it.
            Proof::unless(Unspecified::EndPort)
        }),
        _ => None,
    }
}

/// Whether everything that `inner` means is meant by `outer`, in policies of `namespace`.
pub(super) fn peer(inner: &Peer, outer: &Peer, namespace: &str) -> Option<Proof> {
    match (inner, outer) {
        (Peer::Block(inner), Peer::Block(outer)) => block(inner, outer).then(Proof::default),
        (
            Peer::Pods { namespaces, pods },
            Peer::Pods {
                namespaces: outer_namespaces,
                pods: outer_pods,
            },
        ) => {
            let is_in_namespaces = match (namespaces, outer_namespaces) {
                (None, None) => true,
                (Some(inner), Some(outer)) => selector(inner, outer),
                (None, Some(outer)) => selector(&named(namespace), outer),
                (Some(inner), None) => selector(inner, &named(namespace)),
            };
            let everything = Selector::default();
            let is_among_pods = match outer_pods {
                None => true,
                Some(outer) => selector(pods.as_ref().unwrap_or(&everything), outer),
            };
            let leaves_pods_open = |namespaces: &Option<Selector>, pods: &Option<Selector>| {
                namespaces.is_some() && pods.as_ref().is_none_or(Selector::is_empty)
            };
            let differ = leaves_pods_open(namespaces, pods)
                && !leaves_pods_open(outer_namespaces, outer_pods);
            (is_in_namespaces && is_among_pods).then(|| match differ {
                // Some engines let a namespaceSelector that leaves pods open match host-network pods.
                true => Proof::unless(Unspecified::HostNetwork),
                false => Proof::default(),
            })
        }
        _ => None,
    }
}

/// The selector of the one namespace of this name: every namespace has this label, and no other has that value.
fn named(namespace: &str) -> Selector {
    Selector {
        labels: [(NAME_LABEL.to_owned(), namespace.to_owned())].into(),
        expressions: Vec::new(),
    }
}

/// Whether everything that `inner` admits is admitted by `outer`, both in policies of `namespace`.
pub(super) fn rule(inner: &Rule, outer: &Rule, namespace: &str) -> Option<Proof> {
    let peers = entries(&inner.peers, &outer.peers, |a, b| peer(a, b, namespace))?;
    let ports = entries(&inner.ports, &outer.ports, port)?;
    let proof = peers.and(ports);
    Some(if outer.ports.is_empty() && !inner.ports.is_empty() {
        // Some engines deny protocols without ports as soon as any rule has ports, so taking `inner` away opens them.
        proof.and(Proof::unless(Unspecified::OtherProtocol))
    } else {
        proof
    })
}

/// Whether every entry of one list is covered by some entry of another; an empty list restricts nothing.
fn entries<T>(inner: &[T], outer: &[T], covers: impl Fn(&T, &T) -> Option<Proof>) -> Option<Proof> {
    if outer.is_empty() {
        return Some(Proof::default());
    }
    if inner.is_empty() {
        return None;
    }
    let mut all = Proof::default();
    for entry in inner {
        let proofs = outer.iter().filter_map(|outer| covers(entry, outer));
        all = all.and(proofs.min_by_key(|proof| proof.unless.len())?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cidr;
    use crate::cluster::Protocol;

    /// `k=v`, `k in (a,b)`, `k notin (a,b)`, `k`, `!k`, joined by `;`.
    fn parse(text: &str) -> Selector {
        let mut selector = Selector::default();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let list = |rest: &str| {
                rest.trim_matches(['(', ')'])
                    .split(',')
                    .map(String::from)
                    .collect()
            };
            let (key, operator) = if let Some((key, rest)) = part.split_once(" in ") {
                (key, Operator::In(list(rest)))
            } else if let Some((key, rest)) = part.split_once(" notin ") {
                (key, Operator::NotIn(list(rest)))
            } else if let Some((key, value)) = part.split_once('=') {
                selector.labels.insert(key.into(), value.into());
                continue;
            } else if let Some(key) = part.strip_prefix('!') {
                (key, Operator::DoesNotExist)
            } else {
                (part, Operator::Exists)
            };
            let key = key.to_owned();
            selector.expressions.push(Requirement { key, operator });
        }
        selector
    }

    #[test]
    fn selectors() {
        for (inner, outer) in [
            ("a=1", ""),
            ("a=1", "a=1"),
            ("a=1;b=2", "b=2"),
            ("a=1", "a in (1,2)"),
            ("a in (1,2)", "a in (1,2,3)"),
            ("a in (1,2);a in (2,3)", "a=2"),
            ("a in (1,2);a notin (1)", "a=2"),
            ("a=1", "a"),
            ("a in (1,2)", "a"),
            ("a=1", "a notin (2,3)"),
            ("!a", "a notin (2,3)"),
            ("a notin (1,2,3)", "a notin (2,3)"),
            ("a notin (1);a notin (2)", "a notin (1,2)"),
            ("!a", "!a"),
            ("!a;b", "b"),
            // What selects nothing is covered by anything.
            ("a=1;!a", "b=2"),
        ] {
            assert!(selector(&parse(inner), &parse(outer)), "{inner} in {outer}");
        }
        for (inner, outer) in [
            ("", "a=1"),
            ("", "a notin (1)"),
            ("a", "a=1"),
            ("a in (1,2)", "a=1"),
            ("a=1", "b=1"),
            ("a=1", "a=2"),
            ("a=1", "a=1;b=2"),
            ("a notin (1)", "a"),
            ("a notin (1)", "!a"),
            ("a notin (1)", "a notin (1,2)"),
            ("a", "a notin (1)"),
            ("!a", "a"),
            ("a=1", "!a"),
        ] {
            assert!(
                !selector(&parse(inner), &parse(outer)),
                "{inner} in {outer}"
            );
        }
    }

    #[test]
    fn contradictions() {
        assert_eq!(contradiction(&parse("a=1;a in (2,3)")), Some("a"));
        assert_eq!(contradiction(&parse("a=1;a notin (1)")), Some("a"));
        assert_eq!(contradiction(&parse("b=1;a;!a")), Some("a"));
        assert_eq!(contradiction(&parse("a=1;a in (1,2);b notin (1);!b")), None);
    }

    #[test]
    fn witnesses() {
        for text in [
            "",
            "a=1",
            "a in (1,2);a notin (1)",
            "a",
            "a;a notin (any-0)",
            "!a",
            "a notin (1);b=1",
        ] {
            let selector = parse(text);
            let labels = witness(&selector).unwrap();
            assert!(selector.matches(&labels), "{text}: {labels:?}");
        }
        assert_eq!(witness(&parse("a=1;a notin (1)")), None);
    }

    #[test]
    fn blocks() {
        let parse = |cidr: &str, except: &[&str]| Block {
            cidr: cidr::parse(cidr).unwrap(),
            except: except.iter().map(|e| cidr::parse(e).unwrap()).collect(),
        };
        let ten = parse("10.0.0.0/8", &["10.1.0.0/16"]);
        for (inner, covered) in [
            (parse("10.2.0.0/16", &[]), true),
            (parse("10.0.0.0/8", &["10.1.0.0/16"]), true),
            (parse("10.0.0.0/8", &["10.0.0.0/15"]), true),
            (parse("10.0.0.0/8", &[]), false),
            (parse("10.0.0.0/8", &["10.1.1.0/24"]), false),
            (parse("10.1.1.0/24", &[]), false),
            (parse("0.0.0.0/0", &[]), false),
            (parse("2001:db8::/32", &[]), false),
        ] {
            assert_eq!(block(&inner, &ten), covered, "{inner:?}");
        }
    }

    #[test]
    fn ports() {
        let range = |first, last| PortMatch::Range {
            protocol: Protocol::Tcp,
            first,
            last,
        };
        let name = |name: &str| PortMatch::Named {
            protocol: Protocol::Tcp,
            name: name.into(),
        };
        let all = PortMatch::All(Protocol::Tcp);
        let sure = Some(Proof::default());
        assert_eq!(port(&range(80, 80), &range(80, 80)), sure);
        assert_eq!(port(&range(80, 80), &range(80, 90)), sure);
        assert_eq!(
            port(&range(81, 81), &range(80, 90)),
            Some(Proof::unless(Unspecified::EndPort))
        );
        assert_eq!(port(&range(80, 91), &range(80, 90)), None);
        assert_eq!(port(&range(79, 90), &range(80, 90)), None);
        assert_eq!(port(&range(80, 80), &all), sure);
        assert_eq!(port(&name("http"), &all), sure);
        assert_eq!(port(&name("http"), &name("http")), sure);
        assert_eq!(port(&name("http"), &name("web")), None);
        assert_eq!(port(&name("http"), &range(1, 65535)), None);
        assert_eq!(port(&all, &range(1, 65535)), None);
        assert_eq!(port(&range(80, 80), &PortMatch::All(Protocol::Udp)), None);
    }

    #[test]
    fn peers() {
        let pods = |namespaces: Option<&str>, pods: Option<&str>| Peer::Pods {
            namespaces: namespaces.map(parse),
            pods: pods.map(parse),
        };
        let sure = Some(Proof::default());
        let name = "kubernetes.io/metadata.name=shop";
        let check = |inner: &Peer, outer: &Peer, expected: Option<Proof>| {
            assert_eq!(
                peer(inner, outer, "shop"),
                expected,
                "{inner:?} in {outer:?}"
            );
        };
        check(
            &pods(None, Some("a=1")),
            &pods(None, Some("")),
            sure.clone(),
        );
        check(
            &pods(None, Some("a=1")),
            &pods(Some(""), None),
            sure.clone(),
        );
        check(
            &pods(None, Some("a=1")),
            &pods(Some(name), Some("a=1")),
            sure.clone(),
        );
        check(
            &pods(Some(name), Some("a=1")),
            &pods(None, Some("a=1")),
            sure.clone(),
        );
        check(&pods(Some("t=1"), None), &pods(Some(""), Some("")), sure);
        check(
            &pods(Some(name), None),
            &pods(None, Some("")),
            Some(Proof::unless(Unspecified::HostNetwork)),
        );
        check(
            &pods(None, Some("a=1")),
            &pods(Some("team=ops"), None),
            None,
        );
        check(&pods(Some(""), None), &pods(None, Some("")), None);
        check(&pods(Some(""), None), &pods(Some(""), Some("a=1")), None);
    }
}
