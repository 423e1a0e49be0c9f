//! Rules and peers in words, written straight into the sentence they belong to.

use std::fmt::{self, Display};

use crate::dialect::network_policy::{NetworkPolicy, Peer, Rule};
use crate::selector::Selector;

/// How many alternatives a sentence lists before it counts the rest.
const LISTED_MAX: usize = 4;

/// `pods app=checkout of namespace shop on TCP 6379`: what a rule admits.
pub(super) fn rule<'w>(policy: &'w NetworkPolicy, rule: &'w Rule) -> impl Display + 'w {
    fmt::from_fn(
        move |f| match (rule.peers.is_empty(), rule.ports.is_empty()) {
            (true, true) => f.write_str("everything"),
            (_, true) => write!(f, "{}", peers(policy, rule)),
            (_, false) => write!(f, "{} on {}", peers(policy, rule), ports(rule)),
        },
    )
}

/// `TCP 80 or UDP 53`.
pub(super) fn ports(rule: &Rule) -> impl Display + '_ {
    fmt::from_fn(|f| match rule.ports.is_empty() {
        true => f.write_str("any port"),
        false => list(f, &rule.ports, |f, port| port.fmt(f)),
    })
}

/// `pods app=checkout of namespace shop or 10.0.0.0/8`.
pub(super) fn peers<'w>(policy: &'w NetworkPolicy, rule: &'w Rule) -> impl Display + 'w {
    fmt::from_fn(move |f| match rule.peers.is_empty() {
        true => f.write_str("everyone"),
        false => list(f, &rule.peers, |f, peer| write_peer(f, policy, peer)),
    })
}

fn write_peer(f: &mut fmt::Formatter<'_>, policy: &NetworkPolicy, peer: &Peer) -> fmt::Result {
    match peer {
        Peer::Block(block) => {
            write!(f, "{}", block.cidr)?;
            if block.except.is_empty() {
                return Ok(());
            }
            f.write_str(" except ")?;
            list(f, &block.except, |f, except| except.fmt(f))
        }
        Peer::Pods { namespaces, pods } => {
            f.write_str("pods")?;
            if let Some(selector) = pods.as_ref().filter(|selector| !selector.is_empty()) {
                write!(f, " {selector}")?;
            }
            match namespaces {
                None => write!(f, " of namespace {}", policy.namespace),
                Some(selector) if selector.is_empty() => f.write_str(" of any namespace"),
                Some(selector) => write!(f, " of namespaces {selector}"),
            }
        }
    }
}

/// The keys that a rule's peers speak of, for pods and for namespaces.
pub(super) struct Keys<'w> {
    pub(super) of_pods: Vec<&'w str>,
    pub(super) of_namespaces: Vec<&'w str>,
}

/// Which labels a rule's peers speak of.
pub(super) fn keys(rule: &Rule) -> Keys<'_> {
    let mut keys = Keys {
        of_pods: Vec::new(),
        of_namespaces: Vec::new(),
    };
    for peer in &rule.peers {
        if let Peer::Pods { namespaces, pods } = peer {
            keys.of_pods.extend(pods.iter().flat_map(Selector::keys));
            keys.of_namespaces
                .extend(namespaces.iter().flat_map(Selector::keys));
        }
    }
    for list in [&mut keys.of_pods, &mut keys.of_namespaces] {
        list.sort_unstable();
        list.dedup();
    }
    keys
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().take(LISTED_MAX).enumerate() {
        if index > 0 {
            f.write_str(" or ")?;
        }
        write(f, item)?;
    }
    match items.len().saturating_sub(LISTED_MAX) {
        0 => Ok(()),
        more => write!(f, " or {more} more"),
    }
}
