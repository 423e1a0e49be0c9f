//! What an API server said, one thing at a time: the seam between whoever listens and what is made of it.
//!
//! ```text
//! ListBegun → Listed* → ListEnded → (Applied | Deleted | Progress | Waited)* → Lost → ListBegun → …
//! ```
//!
//! Each kind has a sequence of its own. A list comes object by object, so that its pages never are in memory together; one that
//! breaks off in the middle is begun again. Reconnecting a watch where it stopped is no `Lost`: nothing was missed. A restart of the
//! process and a `410 Gone` are followed by a new list. All times are those of receipt, in microseconds since the epoch.

use flowaudit_rules::kubernetes::Object;

/// A kind, in all namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind, as in `NetworkPolicy`.
    pub kind: String,
}

impl KindId {
    /// The kind of that name in that group.
    #[must_use]
    pub fn new(group: &str, kind: &str) -> KindId {
        KindId {
            group: group.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// The kind of an object.
    #[must_use]
    pub fn of(object: &Object) -> KindId {
        KindId::new(&object.group, &object.kind)
    }
}

/// `Pod`, `networking.k8s.io/NetworkPolicy`
impl std::fmt::Display for KindId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        f.write_str(&self.kind)
    }
}

/// One thing the API server said.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A complete list of a kind is asked for; `at` is the time before the first request for it. Also after a restart, a 410
    /// and an outage.
    ListBegun {
        /// Which kind.
        kind: KindId,
        /// When.
        at: i64,
        /// When its first page came: it shows what was so at some instant between the two.
        shown: i64,
    },
    /// One object of the list that was begun.
    Listed {
        /// As the list shows it.
        object: Box<Object>,
    },
    /// That was the whole list; watching goes on from its resource version.
    ListEnded {
        /// Which kind.
        kind: KindId,
        /// When its last page came.
        at: i64,
    },
    /// `ADDED` or `MODIFIED`.
    Applied {
        /// Its new state.
        object: Box<Object>,
        /// When.
        at: i64,
    },
    /// `DELETED`.
    Deleted {
        /// Its last state.
        object: Box<Object>,
        /// When.
        at: i64,
    },
    /// Everything up to `at` was said: a bookmark, or a list or event of the same stream.
    Progress {
        /// Which kind.
        kind: KindId,
        /// When.
        at: i64,
    },
    /// Nothing of the kind had come for a while: what comes from now on may have waited, until the next [`Progress`](Heard::Progress).
    Waited {
        /// Which kind.
        kind: KindId,
        /// When it began to come again.
        at: i64,
    },
    /// The kind cannot be had (forbidden, not served), or its watch broke and could not be taken up again where it stopped. What was
    /// known holds up to the last event or [`Progress`](Heard::Progress), not up to `at`.
    Lost {
        /// Which kind.
        kind: KindId,
        /// When.
        at: i64,
        /// In words for the user, without a secret.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_as_people_name_them() {
        assert_eq!(KindId::new("", "Pod").to_string(), "Pod");
        assert_eq!(
            KindId::new("networking.k8s.io", "NetworkPolicy").to_string(),
            "networking.k8s.io/NetworkPolicy"
        );
    }
}
