//! One version of one declared object, while it is in force and afterwards. Pure.

use std::sync::Arc;

use flowaudit_lake::table::objects::ObjectRow;

use super::compact::Name;
use super::heard::KindId;
use crate::inventory::span::Span;

/// A version of a declared object. Times are microseconds since the epoch.
#[derive(Debug, Clone)]
pub(super) struct Version {
    /// Canonical JSON.
    pub(super) spec: Arc<str>,
    pub(super) origin: Arc<str>,
    /// When it was first seen so.
    pub(super) first: i64,
    /// When it was last seen so; `None` while all of its kind is watched, and it with them.
    pub(super) last: Option<i64>,
    /// When it began by its own word.
    pub(super) start: Option<i64>,
    /// It cannot be older.
    pub(super) not_before: Option<i64>,
    /// It surely was not so yet.
    pub(super) before: Option<i64>,
    /// What the lake says of it.
    pub(super) published: Option<Span>,
}

impl Version {
    /// Until when it surely was in force; `seen` is when its kind was last heard.
    pub(super) fn end(&self, seen: Option<i64>) -> i64 {
        self.last.or(seen).unwrap_or(self.first).max(self.first)
    }

    /// When it was in force, as far as is known.
    pub(super) fn span(&self, seen: Option<i64>) -> Span {
        let start = self.start.map_or(self.first, |start| start.min(self.first));
        Span {
            start,
            end: self.end(seen),
            low: self.before.max(self.not_before).map(|low| low.min(start)),
            high: None,
        }
    }

    /// A beginning by its own word, if it is one.
    pub(super) fn began(&mut self, starts: impl IntoIterator<Item = i64>) {
        let after = self.before.unwrap_or(i64::MIN);
        let mut starts = starts.into_iter();
        self.start = starts.find(|start| after < *start && *start <= self.first);
    }

    pub(super) fn row(
        &self,
        kind: &KindId,
        name: &Name,
        uid: &str,
        span: Span,
        cluster: &str,
    ) -> ObjectRow {
        ObjectRow {
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            namespace: name.namespace.as_deref().map(str::to_owned),
            name: name.name.to_string(),
            uid: (!uid.is_empty()).then(|| uid.to_owned()),
            valid_from_us: span.start,
            valid_to_us: Some(span.end),
            from_slack_ms: span.slack_before_ms(),
            to_slack_ms: span.slack_after_ms(),
            spec: self.spec.to_string(),
            origin: self.origin.to_string(),
            cluster: cluster.to_owned(),
        }
    }
}

/// A version that was in force.
#[derive(Debug, Clone)]
pub(super) struct ClosedVersion {
    pub(super) kind: KindId,
    pub(super) name: Name,
    pub(super) uid: Arc<str>,
    pub(super) version: Version,
    pub(super) span: Span,
}

impl ClosedVersion {
    pub(super) fn row(&self, cluster: &str) -> ObjectRow {
        self.version
            .row(&self.kind, &self.name, &self.uid, self.span, cluster)
    }
}
