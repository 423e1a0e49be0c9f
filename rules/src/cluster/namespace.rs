//! A namespace and the label the API server gives it.

use chrono::{DateTime, Utc};

use super::Labels;

/// The label that every namespace carries with its own name. The API server sets it and lets no one change it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// One namespace at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its uid; empty when unknown.
    pub uid: String,
    /// Its labels, [`NAME_LABEL`] among them.
    pub labels: Labels,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
}

impl Namespace {
    /// A namespace of which nothing is known but its name, as for those that only pods mention.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
        .with_name_label()
    }

    /// The same namespace with the label that the API server sets.
    pub fn with_name_label(mut self) -> Self {
        self.labels.insert(NAME_LABEL.to_owned(), self.name.clone());
        self
    }
}
