//! Random policies of the common form: what no single dialect can say, and all of them together.

use flowaudit_rules::cidr::{self, Block};
use flowaudit_rules::label::{Expression, Key, LabelMatch};
use flowaudit_rules::policy::{
    Action, Entity, Family, Kind, Namespaces, Order, Peer, Pods, Policy, PolicyId, Reach, Rule,
    Section, Subject, Tier,
};
use flowaudit_rules::port::{PortClause, Traffic};
use flowaudit_rules::verdict::Unspecified;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::worlds::{BLOCKS, KEYS, MOSTLY_SHOP, NAMES, PORTS, VALUES, protocol, selector};

fn key() -> impl Strategy<Value = Key> {
    let label = || select(&KEYS[..]).prop_map(String::from);
    prop_oneof![
        4 => label().prop_map(Key::Label),
        2 => label().prop_map(Key::NamespaceLabel),
        1 => Just(Key::Namespace),
        1 => Just(Key::ServiceAccount),
        1 => Just(Key::Constant("shop")),
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let value = || select(&VALUES[..]).prop_map(String::from);
    let leaf = prop_oneof![
        key().prop_map(Expression::Has),
        (key(), vec(value(), 0..3)).prop_map(|(key, values)| Expression::In(key, values)),
        (key(), value()).prop_map(|(key, text)| Expression::Contains(key, text)),
        (key(), value()).prop_map(|(key, text)| Expression::StartsWith(key, text)),
        (key(), value()).prop_map(|(key, text)| Expression::EndsWith(key, text)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Expression::All),
            vec(inner.clone(), 0..3).prop_map(Expression::Any),
            inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

fn label_match() -> impl Strategy<Value = LabelMatch> {
    prop_oneof![
        1 => Just(LabelMatch::default()),
        2 => selector().prop_map(|selector| LabelMatch::from(&selector)),
        2 => expression().prop_map(|expression| LabelMatch { expression, words: "…".to_owned() }),
    ]
}

fn pods() -> impl Strategy<Value = Pods> {
    let namespaces = prop_oneof![
        select(&MOSTLY_SHOP[..]).prop_map(|name| Namespaces::Named(name.to_owned())),
        label_match().prop_map(Namespaces::Matching),
    ];
    (namespaces, label_match()).prop_map(|(namespaces, pods)| Pods { namespaces, pods })
}

fn addresses() -> impl Strategy<Value = Peer> {
    let reach = select(&[Reach::ByEngine, Reach::Everyone, Reach::Outside][..]);
    (select(&BLOCKS[..]), vec(select(&BLOCKS[..]), 0..2), reach).prop_map(
        |(cidr, except, reach)| {
            let cidr = cidr::parse(cidr).unwrap();
            let except = except.into_iter().map(|text| cidr::parse(text).unwrap());
            let except = except.filter(|inner| cidr::strictly_inside(inner, &cidr));
            let except = except.collect();
            let block = Block { cidr, except };
            Peer::Addresses { block, reach }
        },
    )
}

fn peer() -> impl Strategy<Value = Peer> {
    const ENTITIES: [Entity; 9] = [
        Entity::Host,
        Entity::RemoteNode,
        Entity::KubeApiserver,
        Entity::Cluster,
        Entity::World,
        Entity::WorldIpv4,
        Entity::WorldIpv6,
        Entity::All,
        Entity::Internal("init"),
    ];
    let leaf = prop_oneof![
        4 => pods().prop_map(Peer::Pods),
        3 => addresses(),
        1 => label_match().prop_map(Peer::Nodes),
        1 => select(&ENTITIES[..]).prop_map(Peer::Entity),
        1 => Just(Peer::Service { namespace: "shop".into(), name: "front".into() }),
        1 => Just(Peer::Open(Unspecified::DomainName)),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Peer::All),
            vec(inner.clone(), 0..3).prop_map(Peer::Any),
            inner.prop_map(|part| Peer::Not(Box::new(part))),
        ]
    })
}

fn traffic() -> impl Strategy<Value = Traffic> {
    let port = prop_oneof![
        (select(&PORTS[..]), select(&PORTS[..]))
            .prop_map(|(a, b)| PortClause::Range(a.min(b), a.max(b))),
        select(&NAMES[..]).prop_map(|name| PortClause::Named(name.to_owned())),
    ];
    (option::of(protocol()), option::of(port))
        .prop_map(|(protocol, port)| Traffic { protocol, port })
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = select(
        &[
            Action::Allow,
            Action::Allow,
            Action::Deny,
            Action::Pass,
            Action::Log,
        ][..],
    );
    let family = option::weighted(0.1, select(&[Family::V4, Family::V6][..]));
    let open = option::weighted(0.1, Just(Unspecified::ApplicationLayer));
    (
        action,
        vec(peer(), 0..3),
        prop_oneof![4 => Just(vec![]), 1 => vec(peer(), 1..3)],
        vec(traffic(), 0..3),
        prop_oneof![4 => Just(vec![]), 1 => vec(traffic(), 1..2)],
        family,
        open,
    )
        .prop_map(
            |(action, peers, own, traffic, not_traffic, family, open)| Rule {
                action,
                peers,
                own,
                traffic,
                not_traffic,
                family,
                open,
            },
        )
}

fn section() -> impl Strategy<Value = Section> {
    (vec(rule(), 0..4), any::<bool>()).prop_map(|(rules, isolates)| Section { rules, isolates })
}

/// One policy of the common form.
pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    const KINDS: [Kind; 7] = [
        Kind::NetworkPolicy,
        Kind::AdminNetworkPolicy,
        Kind::ClusterNetworkPolicy,
        Kind::CalicoNetworkPolicy,
        Kind::CalicoGlobalNetworkPolicy,
        Kind::CiliumNetworkPolicy,
        Kind::AckGlobalNetworkPolicy,
    ];
    let subject = prop_oneof![
        6 => pods().prop_map(Subject::Pods),
        1 => label_match().prop_map(Subject::Nodes),
    ];
    (
        (select(&KINDS[..]), 0..6_u8),
        select(vec![
            Tier::FIRST,
            Tier::ADMIN,
            Tier::DEFAULT,
            Tier::DEFAULT,
            Tier::BASELINE,
        ]),
        select(&[1.0, 2.0, 1000.0][..]),
        subject,
        option::of(section()),
        option::of(section()),
        option::weighted(0.05, Just(Unspecified::NotEvaluated)),
    )
        .prop_map(
            |((kind, number), tier, order, subject, ingress, egress, open)| Policy {
                id: PolicyId {
                    kind,
                    namespace: None,
                    name: format!("p{number}"),
                },
                tier,
                order: Order(order),
                subject,
                ingress,
                egress,
                open,
            },
        )
}
