//! Calico's `projectcalico.org/v3` and `crd.projectcalico.org/v1` (policy-semantics §3).

pub mod selector;

/// The label under which every namespaced thing has its namespace.
pub const NAMESPACE_KEY: &str = "projectcalico.org/namespace";
/// The label under which pods have their service account.
pub const SERVICE_ACCOUNT_KEY: &str = "projectcalico.org/serviceaccount";
/// The label by which pods are told from host endpoints.
pub const ORCHESTRATOR_KEY: &str = "projectcalico.org/orchestrator";
