//! What is wrong with something that was read, for the person who can put it right.

use std::fmt;

use super::Object;

/// Something wrong with one file, document or object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Whether something was left out.
    pub severity: Severity,
    /// What kind of trouble it is.
    pub cause: Cause,
    /// The file as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<u32>,
    /// `NetworkPolicy shop/redis`.
    pub object: Option<String>,
    /// `spec.ingress[0].ports[1].port`.
    pub field: Option<String>,
    /// What is wrong: lower case, one line, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// How bad an [`Issue`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Everything was used; something is odd.
    Warning,
    /// The object or document was left out.
    Error,
}

/// What kind of trouble an [`Issue`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The text is no Kubernetes object, or none that can be made out.
    Unreadable,
    /// The API server would refuse the object.
    Refused,
    /// A field that the kind does not have.
    UnknownField,
    /// Something that is written down and means nothing.
    NoEffect,
    /// Something whose meaning is not part of this version.
    NotEvaluated,
    /// A second object of one name.
    Repeated,
    /// Anything else that is odd.
    Odd,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl Issue {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        self.help.clone()
    }

    /// A warning that `object` takes the place of `earlier`, which has the same kind, namespace and name.
    pub(crate) fn repeated(object: &Object, earlier: &Object) -> Self {
        Self {
            severity: Severity::Warning,
            cause: Cause::Repeated,
            file: object.origin.file.clone(),
            line: Some(object.origin.line),
            object: Some(object.title()),
            field: None,
            message: format!("came before, at {}; this one counts", earlier.origin),
            help: Some(
                "a cluster holds one object of a name; remove the one that is out of date"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Issue {
    /// `policies.yaml:12: error: NetworkPolicy shop/redis: spec.ingress[0]: …`, without the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: ", self.severity)?;
        for part in [&self.object, &self.field].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}
