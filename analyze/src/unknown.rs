//! Versions of objects whose content nobody saw, and pods whose labels nobody saw: whom they may concern. A verdict that one of these can
//! touch is not given.

use std::collections::BTreeSet;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_rules::verdict::{Action, Kind, Outcome, Reason, Side, Tier, Verdict};

/// How `objects` writes a content that is not known, and `endpoints` labels.
const CONTENT: &str = "null";

/// Why a verdict is not given then.
pub const REASON: &str = "policy-content-unknown";

/// The same for the labels of a pod.
pub const LABELS: &str = "labels-unknown";

/// The same where an address of a cluster is known by its interface only, which may be a pod's.
pub const HOLDER: &str = "holder-of-interface-unknown";

/// Whom objects of unknown content may concern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unknown {
    namespaces: BTreeSet<String>,
    /// Namespaces of NetworkPolicies.
    adding: BTreeSet<String>,
    everyone: bool,
}

/// What an object of unknown content may do to a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Isolate the pod and admit more: NetworkPolicies can do nothing else.
    Adds,
    /// Anything.
    Anything,
}

/// Whether a verdict stays as it is, whatever the objects say that may touch its sides.
pub fn stands(touched: [Option<Touch>; 2], verdict: &Verdict) -> bool {
    let mut sides = touched.iter().zip([&verdict.egress, &verdict.ingress]);
    sides.all(|(touch, side)| match touch {
        None => true,
        Some(Touch::Adds) => is_settled(side),
        Some(Touch::Anything) => false,
    })
}

/// Whether a side stays as it is, whatever one more NetworkPolicy says: what is decided before them, what none of them applies to, and
/// what a rule of another one admits.
fn is_settled(side: &Side) -> bool {
    let is_admitting = |reason: &Reason| {
        matches!(
            reason,
            Reason::Rule {
                kind: Kind::NetworkPolicy,
                action: Action::Allow,
                ..
            }
        )
    };
    match side.tier {
        Tier::First | Tier::Admin | Tier::Exempt | Tier::NoPod => true,
        Tier::Policy => side.outcome == Outcome::Allowed && side.reasons.iter().any(is_admitting),
        Tier::Baseline | Tier::Custom | Tier::Default => false,
    }
}

/// Whether the content of a version is not known.
pub fn is_unknown(row: &ObjectRow) -> bool {
    row.spec == CONTENT
}

/// Whether nobody saw the labels that a pod had then.
pub fn has_unknown_labels(row: &EndpointRow) -> bool {
    row.labels.as_deref() == Some(CONTENT)
}

impl Unknown {
    /// An object of that group and kind. A policy with a namespace concerns its pods; whatever else there is, labels of
    /// namespaces included, may concern anyone.
    pub fn add(&mut self, (group, kind): (&str, &str), namespace: &str) {
        if kind == "Namespace" || namespace.is_empty() {
            self.everyone = true;
        } else if (group, kind) == ("networking.k8s.io", "NetworkPolicy") {
            self.adding.insert(namespace.to_owned());
        } else {
            self.namespaces.insert(namespace.to_owned());
        }
    }

    /// How an end may be concerned, if at all: a pod by its namespace.
    pub fn touches(&self, namespace: Option<&str>) -> Option<Touch> {
        let is_in = |namespaces: &BTreeSet<String>| {
            namespace.is_some_and(|namespace| namespaces.contains(namespace))
        };
        if self.everyone || is_in(&self.namespaces) {
            Some(Touch::Anything)
        } else {
            is_in(&self.adding).then_some(Touch::Adds)
        }
    }
}
