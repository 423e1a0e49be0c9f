//! A line of `expect.txt`: who asks whom, what the verdict is, and what decided.

use flowaudit_rules::cluster::Cluster;
use flowaudit_rules::evaluate::Party;
use flowaudit_rules::verdict::{Action, Kind, Outcome, Reason, Side, Tier, Verdict};

/// The line that `verdict` makes of a probe.
pub(crate) fn line(
    client: &str,
    server: &str,
    protocol: &str,
    port: &str,
    verdict: &Verdict,
) -> String {
    let outcome = verdict.outcome.to_string();
    let decided = decided(verdict);
    format!("{client:<20} → {server:<20} {protocol:<4} {port:<6} {outcome:<11} {decided}")
}

/// A pod by name, or whoever holds an address.
pub(crate) fn party<'a>(text: &str, cluster: &'a Cluster) -> Party<'a> {
    match text.split_once('/') {
        Some((namespace, name)) => Party::pod(
            cluster
                .pod(namespace, name)
                .unwrap_or_else(|| panic!("no pod {text}; was it refused?")),
        ),
        None => {
            let address = text.parse().unwrap();
            Party {
                address: Some(address),
                holder: cluster.holders(address)[0],
            }
        }
    }
}

fn decided(verdict: &Verdict) -> String {
    let sides = [("egress", &verdict.egress), ("ingress", &verdict.ingress)];
    let is_split = verdict.outcome == Outcome::Denied
        && sides
            .iter()
            .all(|(_, side)| side.outcome != Outcome::Denied);
    let parts: Vec<String> = match verdict.outcome {
        _ if is_split => vec!["one side or the other, by reading".to_owned()],
        Outcome::Unspecified => {
            let points: Vec<&str> = verdict
                .unspecified
                .iter()
                .map(|point| point.as_str())
                .collect();
            vec![
                points.join(", "),
                format!("by default {}", verdict.default_reading),
            ]
        }
        Outcome::Denied => {
            let denied = sides
                .into_iter()
                .filter(|(_, side)| side.outcome == Outcome::Denied);
            denied
                .map(|(name, side)| match named(side, Some(Action::Deny)) {
                    rules if rules.is_empty() => {
                        format!("{name} isolated by {}", named(side, None))
                    }
                    rules => format!("{name} denied by {rules}"),
                })
                .collect()
        }
        Outcome::Allowed => sides
            .into_iter()
            .filter_map(|(name, side)| match side.tier {
                Tier::Exempt => Some(format!("{name} exempt")),
                Tier::Default | Tier::NoPod => None,
                tier => {
                    assert!(tier.is_by_rule());
                    let rules = named(side, Some(Action::Allow));
                    Some(format!("{name} by {rules}"))
                }
            })
            .collect(),
    };
    if parts.is_empty() {
        "nothing isolates".to_owned()
    } else {
        parts.join("; ")
    }
}

/// The rules that do `action`, or the policies that isolate. Kinds other than NetworkPolicy are named.
fn named(side: &Side, action: Option<Action>) -> String {
    let named = |kind: Kind, policy: &str| match kind {
        Kind::NetworkPolicy => policy.to_owned(),
        _ => format!("{kind} {policy}"),
    };
    let names = side.reasons.iter().filter_map(|reason| match reason {
        Reason::Rule {
            kind,
            policy,
            rule,
            action: does,
            ..
        } if action == Some(*does) => Some(format!("{} rule {rule}", named(*kind, policy))),
        Reason::NoRule { kind, policy, .. } if action.is_none() => Some(named(*kind, policy)),
        _ => None,
    });
    names.collect::<Vec<_>>().join(", ")
}
