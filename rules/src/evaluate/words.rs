//! Rules and peers in words, written straight into the sentence they belong to.

use std::fmt::{self, Display};

use crate::label::{Expression, Key};
use crate::policy::{Family, Namespaces, Peer, Pods, Rule};

/// How many alternatives a sentence lists before it counts the rest.
const LISTED_MAX: usize = 4;

/// `pods app=checkout of namespace shop on TCP 6379`: what a rule matches.
pub(super) fn rule(rule: &Rule) -> impl Display + '_ {
    fmt::from_fn(move |f| {
        match (rule.peers.is_empty(), has_ports(rule)) {
            (true, false) => f.write_str("everything")?,
            (_, false) => write!(f, "{}", peers(rule))?,
            (_, true) => write!(f, "{} on {}", peers(rule), ports(rule))?,
        }
        match rule.family {
            None => {}
            Some(Family::V4) => f.write_str(" by IPv4")?,
            Some(Family::V6) => f.write_str(" by IPv6")?,
        }
        if !rule.own.is_empty() {
            f.write_str(" for ")?;
            list(f, &rule.own, write_peer)?;
        }
        Ok(())
    })
}

fn has_ports(rule: &Rule) -> bool {
    !rule.traffic.is_empty() || !rule.not_traffic.is_empty()
}

/// `TCP 80 or UDP 53`.
pub(super) fn ports(rule: &Rule) -> impl Display + '_ {
    fmt::from_fn(|f| {
        match rule.traffic.is_empty() {
            true => f.write_str("any port")?,
            false => list(f, &rule.traffic, |f, traffic| traffic.fmt(f))?,
        }
        if !rule.not_traffic.is_empty() {
            f.write_str(" but not ")?;
            list(f, &rule.not_traffic, |f, traffic| traffic.fmt(f))?;
        }
        Ok(())
    })
}

/// `pods app=checkout of namespace shop or 10.0.0.0/8`.
pub(super) fn peers(rule: &Rule) -> impl Display + '_ {
    fmt::from_fn(move |f| match rule.peers.is_empty() {
        true => f.write_str("everyone"),
        false => list(f, &rule.peers, write_peer),
    })
}

fn write_peer(f: &mut fmt::Formatter<'_>, peer: &Peer) -> fmt::Result {
    match peer {
        Peer::Addresses { block, .. } => {
            write!(f, "{}", block.cidr)?;
            if block.except.is_empty() {
                return Ok(());
            }
            f.write_str(" except ")?;
            list(f, &block.except, |f, except| except.fmt(f))
        }
        Peer::AddressSet(set) => f.write_str(&set.name),
        Peer::Pods(pods) => write_pods(f, pods),
        Peer::Nodes(nodes) if nodes.is_everything() => f.write_str("nodes"),
        Peer::Nodes(nodes) => write!(f, "nodes {nodes}"),
        Peer::Entity(entity) => f.write_str(entity.as_str()),
        Peer::Service { namespace, name } => {
            write!(f, "pods behind Service {namespace}/{name}")
        }
        Peer::Domains(names) => list(f, names, |f, name| f.write_str(name)),
        Peer::All(parts) if parts.is_empty() => f.write_str("everyone"),
        Peer::All(parts) => write_all(f, parts),
        Peer::Any(parts) if parts.is_empty() => f.write_str("no one"),
        Peer::Any(parts) => list(f, parts, write_peer),
        Peer::Not(_) => write_all(f, std::slice::from_ref(peer)),
        Peer::Open(point) => write!(f, "what cannot be told ({point})"),
    }
}

/// `pods app=cart and 10.0.0.0/8 but not 10.0.0.9/32`.
fn write_all(f: &mut fmt::Formatter<'_>, parts: &[Peer]) -> fmt::Result {
    let is_not = |part: &&Peer| matches!(part, Peer::Not(_));
    let wanted: Vec<&Peer> = parts.iter().filter(|part| !is_not(part)).collect();
    let but = match wanted.is_empty() {
        true => "everyone but ",
        false => " but not ",
    };
    joined(f, &wanted, " and ", |f, part| write_peer(f, part))?;
    let unwanted: Vec<&Peer> = parts
        .iter()
        .filter_map(|part| match part {
            Peer::Not(part) => Some(part.as_ref()),
            _ => None,
        })
        .collect();
    if !unwanted.is_empty() {
        f.write_str(but)?;
        joined(f, &unwanted, " nor ", |f, part| write_peer(f, part))?;
    }
    Ok(())
}

fn write_pods(f: &mut fmt::Formatter<'_>, pods: &Pods) -> fmt::Result {
    f.write_str("pods")?;
    if !pods.pods.is_everything() {
        write!(f, " {}", pods.pods)?;
    }
    match &pods.namespaces {
        Namespaces::Named(name) => write!(f, " of namespace {name}"),
        Namespaces::Matching(selector) if selector.is_everything() => {
            f.write_str(" of any namespace")
        }
        Namespaces::Matching(selector) => write!(f, " of namespaces {selector}"),
    }
}

/// The keys that a rule's peers speak of, for pods and for namespaces.
#[derive(Default)]
pub(super) struct Keys<'w> {
    pub(super) of_pods: Vec<&'w str>,
    pub(super) of_namespaces: Vec<&'w str>,
    /// Whether they speak of service accounts.
    pub(super) of_accounts: bool,
}

/// What a rule's peers speak of.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    pub(super) addresses: bool,
    pub(super) others: bool,
}

/// What a rule's peers speak of, however deep.
pub(super) fn spoken_of(rule: &Rule) -> Spoken {
    let mut spoken = Spoken::default();
    for peer in &rule.peers {
        peer.each(&mut |peer| match peer {
            Peer::Addresses { .. } | Peer::AddressSet(_) => spoken.addresses = true,
            Peer::All(_) | Peer::Any(_) | Peer::Not(_) => {}
            _ => spoken.others = true,
        });
    }
    spoken
}

/// Which labels a rule's peers speak of.
pub(super) fn keys(rule: &Rule) -> Keys<'_> {
    let mut keys = Keys::default();
    for peer in &rule.peers {
        peer.each(&mut |peer| {
            if let Peer::Pods(pods) = peer {
                add_keys(&pods.pods.expression, &mut keys, false);
                if let Namespaces::Matching(selector) = &pods.namespaces {
                    add_keys(&selector.expression, &mut keys, true);
                }
            }
        });
    }
    for list in [&mut keys.of_pods, &mut keys.of_namespaces] {
        list.sort_unstable();
        list.dedup();
    }
    keys
}

fn add_keys<'w>(expression: &'w Expression, keys: &mut Keys<'w>, of_namespaces: bool) {
    expression.each_key(&mut |key| match key {
        Key::Label(label) if !of_namespaces => keys.of_pods.push(label),
        Key::Label(label) | Key::NamespaceLabel(label) => keys.of_namespaces.push(label),
        Key::ServiceAccount => keys.of_accounts = true,
        Key::Namespace | Key::Constant(_) => {}
    });
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    joined(f, items, " or ", write)
}

fn joined<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().take(LISTED_MAX).enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write(f, item)?;
    }
    match items.len().saturating_sub(LISTED_MAX) {
        0 => Ok(()),
        more => write!(f, "{separator}{more} more"),
    }
}
