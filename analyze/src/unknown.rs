//! Versions of objects whose content nobody saw: whom they may concern. A verdict that such a version can touch is not given.

use std::collections::BTreeSet;

use flowaudit_lake::table::objects::ObjectRow;

/// How `objects` writes a content that is not known.
const CONTENT: &str = "null";

/// Why a verdict is not given then.
pub const REASON: &str = "policy-content-unknown";

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
