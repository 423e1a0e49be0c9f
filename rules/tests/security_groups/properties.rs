//! What must hold for every world of groups: few groups, few ports, few blocks, so that things collide.

use std::net::IpAddr;

use flowaudit_rules::cidr;
use flowaudit_rules::cluster::Protocol;
use flowaudit_rules::policy::Direction;
use flowaudit_rules::security_group::{
    Action, GroupType, Interface, InterfaceConnection, Membership, Peer, PortRange, Ports, Rule,
    SecurityGroup, SecurityGroups, SecurityReason, SecuritySide, read,
};
use flowaudit_rules::verdict::Outcome;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::FileFailurePersistence;

/// Groups that the world has.
const IDS: [&str; 3] = ["sg-a", "sg-b", "sg-c"];
const BLOCKS: [&str; 5] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/30",
    "10.0.0.1/32",
    "::/0",
];
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.0.6", "203.0.113.7", "2001:db8::1"];
const PORTS: [u16; 4] = [25, 80, 81, 443];

/// An end: its address, and its groups, or `None` outside.
type End = (IpAddr, Option<Vec<String>>);

#[derive(Clone, Debug)]
struct World {
    groups: SecurityGroups,
    client: End,
    server: End,
    port: u16,
    protocol: Protocol,
}

impl World {
    /// Egress and ingress under these groups.
    fn sides(&self, groups: &SecurityGroups) -> [SecuritySide; 2] {
        let verdict = groups.judge(&InterfaceConnection {
            client: interface(&self.client),
            server: interface(&self.server),
            port: self.port,
            client_port: None,
            protocol: self.protocol,
        });
        [verdict.egress, verdict.ingress]
    }

    fn outcomes(&self, groups: &SecurityGroups) -> [Outcome; 2] {
        self.sides(groups).map(|side| side.outcome)
    }
}

fn interface((address, ids): &End) -> Interface<'_> {
    Interface {
        address: Some(*address),
        membership: match ids {
            Some(ids) => Membership::Groups(ids),
            None => Membership::Outside,
        },
    }
}

fn direction() -> impl Strategy<Value = Direction> {
    select(&[Direction::Ingress, Direction::Egress][..])
}

fn action() -> impl Strategy<Value = Action> {
    select(&[Action::Accept, Action::Drop][..])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(
        &[
            Protocol::Tcp,
            Protocol::Tcp,
            Protocol::Udp,
            Protocol::Other(1),
        ][..],
    )
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        4 => select(&BLOCKS[..]).prop_map(|block| Peer::Block(cidr::parse(block).unwrap())),
        1 => select(&IDS[..]).prop_map(|id| Peer::Group { id: id.to_owned(), account: String::new() }),
        1 => select(&["pl-a", "pl-b"][..]).prop_map(|id| Peer::PrefixList(id.to_owned())),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let range = (select(&PORTS[..]), select(&PORTS[..]));
    let ports = prop_oneof![
        Just(Ports::All),
        range.prop_map(|(a, b)| Ports::Range(PortRange {
            first: a.min(b),
            last: a.max(b)
        })),
    ];
    (
        direction(),
        action(),
        1_u8..4,
        option::of(protocol()),
        ports,
        peer(),
    )
        .prop_map(|(direction, action, priority, protocol, ports, peer)| {
            let has_ports = matches!(protocol, Some(Protocol::Tcp | Protocol::Udp));
            let (source, destination) = match direction {
                Direction::Ingress => (vec![peer], vec![]),
                Direction::Egress => (vec![], vec![peer]),
            };
            Rule {
                id: String::new(),
                direction,
                action,
                priority,
                protocol,
                ports: if has_ports { ports } else { Ports::All },
                source_ports: Ports::All,
                source,
                destination,
            }
        })
}

fn group(id: &'static str) -> impl Strategy<Value = SecurityGroup> {
    let group_type = select(&[Some(GroupType::Basic), Some(GroupType::Enterprise), None][..]);
    (group_type, option::of(action()), vec(rule(), 0..6)).prop_map(
        move |(group_type, inner_access, rules)| {
            let numbered = rules.into_iter().enumerate();
            SecurityGroup {
                id: id.to_owned(),
                group_type,
                inner_access,
                rules: numbered
                    .map(|(index, rule)| Rule {
                        id: format!("{id}-{index}"),
                        ..rule
                    })
                    .collect(),
                ..SecurityGroup::default()
            }
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    let ids =
        subsequence(&IDS[..], 1..3).prop_map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    (select(&ADDRESSES[..]), option::weighted(0.9, ids))
        .prop_map(|(address, ids)| (address.parse().unwrap(), ids))
}

fn world() -> impl Strategy<Value = World> {
    let groups = (group("sg-a"), group("sg-b"), group("sg-c"));
    (groups, end(), end(), select(&PORTS[..]), protocol()).prop_map(
        |((a, b, c), client, server, port, protocol)| {
            let groups = [a, b, c].map(|group| (group.id.clone(), group));
            World {
                groups: SecurityGroups {
                    groups: groups.into(),
                    ..SecurityGroups::default()
                },
                client,
                server,
                port: if matches!(protocol, Protocol::Other(_)) {
                    0
                } else {
                    port
                },
                protocol,
            }
        },
    )
}

/// A list that turns out to hold everything, or nothing.
fn resolved(groups: &SecurityGroups, everything: [bool; 2]) -> SecurityGroups {
    let mut groups = groups.clone();
    for (id, everything) in ["pl-a", "pl-b"].into_iter().zip(everything) {
        let blocks = ["0.0.0.0/0", "::/0"].map(|block| cidr::parse(block).unwrap());
        let blocks = if everything {
            blocks.to_vec()
        } else {
            Vec::new()
        };
        groups.prefix_lists.insert(id.to_owned(), blocks);
    }
    groups
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/security_groups/regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_order_of_rules_does_not_matter(world in world(), turns in any::<Index>()) {
        let mut turned = world.groups.clone();
        for group in turned.groups.values_mut() {
            group.rules.reverse();
            let length = group.rules.len();
            if length > 0 {
                group.rules.rotate_left(turns.index(length));
            }
        }
        prop_assert_eq!(world.outcomes(&turned), world.outcomes(&world.groups));
    }

    /// One group, everything known: the strongest rule that matches decides, drop first; written here once more, in the
    /// shortest form.
    #[test]
    fn one_group_is_a_sorted_list(world in world(), everything in any::<[bool; 2]>()) {
        let mut world = world;
        world.groups = resolved(&world.groups, everything);
        for group in world.groups.groups.values_mut() {
            group.inner_access = Some(Action::Drop);
        }
        let sides = world.outcomes(&world.groups);
        for (outcome, own, other, direction) in [
            (sides[0], &world.client, &world.server, Direction::Egress),
            (sides[1], &world.server, &world.client, Direction::Ingress),
        ] {
            let Some([id]) = own.1.as_deref() else { continue };
            let group = &world.groups.groups[id];
            let matching = group.rules.iter().filter(|rule| {
                let has_port = match &rule.ports {
                    Ports::Range(range) => (range.first..=range.last).contains(&world.port),
                    _ => true,
                };
                let is_peer = rule.peers().iter().all(|peer| match peer {
                    Peer::Block(block) => block.contains(&other.0),
                    Peer::Group { id, .. } => other.1.iter().flatten().any(|own| own == id),
                    Peer::PrefixList(id) => everything[usize::from(id == "pl-b")],
                });
                let has_protocol = rule.protocol.is_none_or(|protocol| protocol == world.protocol);
                rule.direction == direction && has_port && is_peer && has_protocol
            });
            let decides = matching.min_by_key(|rule| (rule.priority, rule.action == Action::Accept));
            let expected = match (decides.map(|rule| rule.action), direction, group.known_type()) {
                (Some(Action::Accept), ..) | (None, Direction::Egress, Some(GroupType::Basic)) => Outcome::Allowed,
                (None, Direction::Egress, None) => Outcome::Unspecified,
                _ => Outcome::Denied,
            };
            let is_mail = direction == Direction::Egress && world.protocol == Protocol::Tcp && world.port == 25;
            let expected = if is_mail && expected == Outcome::Allowed { Outcome::Unspecified } else { expected };
            prop_assert_eq!(outcome, expected);
        }
    }

    /// Without the rule that decides the answer is another, or another reason is named for the same.
    #[test]
    fn the_deciding_rule_is_the_reason(world in world()) {
        for (at, side) in world.sides(&world.groups).into_iter().enumerate() {
            prop_assert!(!side.reasons.is_empty());
            let Some(SecurityReason::Rule(decides)) = side.reasons.first() else { continue };
            let mut without = world.groups.clone();
            let rules = &mut without.groups.get_mut(&decides.group).unwrap().rules;
            let before = rules.len();
            rules.retain(|rule| rule.id != decides.rule);
            prop_assert_eq!(rules.len() + 1, before);
            let after = world.sides(&without)[at].clone();
            prop_assert!(after.outcome != side.outcome || after.reasons != side.reasons, "{:?}", after);
            prop_assert!(!after.reasons.iter().any(|reason| matches!(reason, SecurityReason::Rule(rule) if rule == decides)));
        }
    }

    /// What is learnt later fills in what was open and never turns an answer round.
    #[test]
    fn reading_a_list_never_contradicts(world in world(), everything in any::<[bool; 2]>()) {
        let before = world.outcomes(&world.groups);
        let after = world.outcomes(&resolved(&world.groups, everything));
        for (before, after) in before.into_iter().zip(after) {
            prop_assert!(before == Outcome::Unspecified || after == before, "{before:?} became {after:?}");
        }
    }

    #[test]
    fn reading_a_group_never_contradicts(world in world(), id in select(&IDS[..])) {
        let mut partly = world.groups.clone();
        partly.groups.remove(id);
        let mut without_page = world.groups.clone();
        let group = without_page.groups.get_mut(id).unwrap();
        group.incomplete = true;
        group.rules.pop();
        for less in [partly, without_page] {
            for (before, after) in world.outcomes(&less).into_iter().zip(world.outcomes(&world.groups)) {
                prop_assert!(before == Outcome::Unspecified || after == before, "{before:?} became {after:?}");
            }
        }
    }

    #[test]
    fn a_verdict_is_consistent_with_itself(world in world()) {
        for side in world.sides(&world.groups) {
            prop_assert_eq!(side.outcome == Outcome::Unspecified, !side.unspecified.is_empty());
            let sentences: Vec<String> = side.reasons.iter().map(ToString::to_string).collect();
            prop_assert!(sentences.iter().all(|sentence| !sentence.contains('\n') && !sentence.is_empty()));
        }
    }

    #[test]
    fn printing_and_reading_gives_the_same_groups(world in world(), everything in any::<[bool; 2]>()) {
        let groups = resolved(&world.groups, everything);
        let printed = groups.to_json();
        let again = read([("sg.json", printed.as_str())]);
        let all_odd = again.issues.iter().all(|issue| issue.message.contains("only basic groups"));
        prop_assert!(all_odd, "{:?}", again.issues);
        prop_assert_eq!(again.groups, groups);
    }

    #[test]
    fn reading_never_panics(text in "[\\[\\]{}\":,A-Za-z0-9/.\n -]{0,200}") {
        read([("sg.json", text.as_str())]);
    }
}
