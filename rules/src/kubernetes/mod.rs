//! Kubernetes objects from YAML and JSON text: what `kubectl get`, manifests, API lists and watches look like.
//!
//! Reading never fails. What cannot be used becomes an [`Issue`] that says where and why, and the rest is read.

pub mod issue;
pub mod object;
pub mod place;
pub mod watch;

pub(crate) mod field;
pub(crate) mod kinds;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod print;
mod read;
pub(crate) mod selector;
pub(crate) mod text;
pub(crate) mod tree;
mod values;

pub use issue::{Cause, Issue, Severity};
pub use object::{Body, Manifest, Object, Origin};
pub use place::Places;
pub use read::{read, read_with_places};
pub use values::values;
pub use watch::{Change, Watch, WatchEvent, read_watch};

#[cfg(test)]
mod tests;
