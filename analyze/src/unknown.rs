//! Versions of objects whose content nobody saw, and pods whose labels nobody saw: whom they may concern. A verdict that one of these can
//! touch is not given.

use std::collections::BTreeSet;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;

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
    everyone: bool,
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
    /// An object of that kind. A policy with a namespace concerns its pods; whatever else there is, labels of namespaces
    /// included, may concern anyone.
    pub fn add(&mut self, kind: &str, namespace: &str) {
        if kind == "Namespace" || namespace.is_empty() {
            self.everyone = true;
        } else {
            self.namespaces.insert(namespace.to_owned());
        }
    }

    /// Whether an end may be concerned: a pod by its namespace.
    pub fn concerns(&self, namespace: Option<&str>) -> bool {
        self.everyone || namespace.is_some_and(|namespace| self.namespaces.contains(namespace))
    }

    /// Whether everything is known.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && !self.everyone
    }
}
