//! How peers and selectors are called in messages.

use crate::dialect::network_policy::{NetworkPolicy, Peer};
use crate::port::{PortMatch, Traffic};
use crate::selector::Selector;

/// ``pods `app=cart` of namespace shop``, `all pods of namespaces …`, `10.0.0.0/8 except 10.1.0.0/16`.
pub(super) fn peer(peer: &Peer, namespace: &str) -> String {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let pods = pods_with(pods.as_ref());
            match namespaces {
                None => format!("{pods} of namespace {namespace}"),
                Some(selector) if selector.is_empty() => format!("{pods} of all namespaces"),
                Some(selector) => format!("{pods} of namespaces `{}`", short(selector)),
            }
        }
        Peer::Block(block) if block.except.is_empty() => block.cidr.to_string(),
        Peer::Block(block) => {
            let shown: Vec<String> = block.except.iter().take(3).map(|e| e.to_string()).collect();
            let more = if block.except.len() > shown.len() {
                ", …"
            } else {
                ""
            };
            format!("{} except {}{more}", block.cidr, shown.join(", "))
        }
    }
}

/// ``pods `app=cart` of namespace shop``: whom a policy selects.
pub(super) fn subject(policy: &NetworkPolicy) -> String {
    let pods = pods_with(Some(&policy.pod_selector));
    format!("{pods} of namespace {}", policy.namespace)
}

/// ``pods `app=cart` `` or `all pods`.
pub(super) fn pods_with(selector: Option<&Selector>) -> String {
    match selector.filter(|selector| !selector.is_empty()) {
        Some(selector) => format!("pods `{}`", short(selector)),
        None => "all pods".to_owned(),
    }
}

/// ``TCP 80``, ``TCP port `http` ``.
pub(super) fn port(port: &PortMatch) -> String {
    Traffic::from(port).to_string()
}

/// A selector as `kubectl -l` takes it, cut where it would fill the line.
pub(super) fn short(selector: &Selector) -> String {
    const LENGTH_MAX: usize = 120;
    let text = selector.to_string();
    if text.chars().count() <= LENGTH_MAX {
        return text;
    }
    let mut text: String = text.chars().take(LENGTH_MAX).collect();
    text.push('…');
    text
}

/// `a`, `a and b`, `a, b and 3 more`.
pub(super) fn list(items: &[String], shown_max: usize) -> String {
    let more = items.len().saturating_sub(shown_max);
    let shown = items.get(..items.len() - more).unwrap_or_default();
    match (shown, more) {
        ([rest @ .., last], 0) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        (_, 0) => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}
