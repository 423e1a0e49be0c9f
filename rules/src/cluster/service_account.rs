//! A service account: who pods are to the API server, and to policies that speak of it.

use super::Labels;

/// One service account at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}
