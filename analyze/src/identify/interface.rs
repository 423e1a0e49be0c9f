//! Interfaces as the cloud lists them: behind one that is not an instance's own there may be a pod.
//!
//! Terway gives pods the first address of a whole interface, too. So where no pod is known to have held it, such an address of a
//! cluster is called by its interface, and what is declared about it depends on a pod that nobody saw.

use serde::Deserialize;

use super::Book;

/// The type of the interface that an instance has as long as it lives.
const PRIMARY: &str = "Primary";

/// What the column `evidence` says of an interface.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Evidence {
    /// As the cloud calls it: `Primary`, `Secondary`, `Member` and so on.
    r#type: Option<String>,
}

impl Book {
    /// Whether a row is an interface of a cluster that may be a pod's.
    pub fn is_perhaps_of_a_pod(&self, row: u32) -> bool {
        let row = self.row(row);
        let Some(address) = row.addr.parse().ok().filter(|_| row.kind == "eni") else {
            return false;
        };
        let evidence: Evidence = serde_json::from_str(&row.evidence).unwrap_or_default();
        evidence.r#type.as_deref() != Some(PRIMARY)
            && self.ours(address, row.vpc_id.as_deref()).is_some()
    }
}
