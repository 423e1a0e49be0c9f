//! A kind was lost, and is listed anew: what is known of the time between (history 5.4.3).
//!
//! Everything up to `last` was said; the list shows the state at some instant after it began.
//!
//! | in the list | then |
//! | --- | --- |
//! | not there any more | it surely held up to `last`, and was gone when the list ended |
//! | there, with the same address | it held throughout, unless its network was made anew after `last` |
//! | there, with another address, other labels, another spec | it surely held up to `last`, and changed before the list |
//! | there for the first time | it began by its own word, or when the list began |
//! | a policy of the same generation | the same spec throughout |
//!
//! What was born and ended meanwhile nobody saw: from `last` to the end of the list is a row of `gaps`. Labels that were changed and
//! changed back are not seen either.
//!
//! Each span in which a kind was watched is a row of `objects`, `flowaudit/Watch`: from when its list was shown to when it was last heard. The
//! next run takes from it how far the last one came, and an import that the list would have shown what was there.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::objects::ObjectRow;
use serde::{Deserialize, Serialize};

use super::compact::Name;
use super::heard::KindId;
use super::hold::End;
use super::own::pod_enis;
use super::state::State;
use crate::inventory::rows::{LEDGER_GROUP, LEDGER_WATCH};

/// The reason of gaps of the inventory, and the beginning of their source.
pub(super) const REASON: &str = "inventory";

/// A stretch in which nobody watched a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) kind: KindId,
    pub(super) from: i64,
    /// First instant seen again.
    pub(super) to: i64,
}

impl Gap {
    pub(super) fn row(&self, cluster: &str) -> GapRow {
        GapRow {
            eni_id: None,
            from_us: self.from,
            to_us: self.to,
            reason: REASON.to_owned(),
            source: format!("{REASON}/{cluster}/{}/{}", self.kind.group, self.kind.kind),
            source_position: 0,
        }
    }
}

/// How a kind is watched.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Since when without a gap.
    pub(super) since: Option<i64>,
    /// The last span of a run before this one.
    pub(super) recorded: Option<(i64, i64)>,
    /// Why it cannot be had, and since when, if that is so.
    pub(super) lost: Option<(i64, String)>,
}

/// A span in which a kind was watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchedSpan {
    pub(super) kind: KindId,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) lost: Option<String>,
    /// Whether it began with a list.
    pub(super) is_listed: bool,
}

/// What the column `spec` of such a row says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WatchSpec {
    /// As in the rows of snapshots: what the list at its beginning would have shown.
    kinds: BTreeMap<String, BTreeSet<String>>,
    /// Why it could not be had after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<String>,
}

impl WatchedSpan {
    pub(super) fn row(&self, cluster: &str) -> ObjectRow {
        let key = format!("{}/{}", self.kind.group, self.kind.kind);
        let all = BTreeSet::from(["*".to_owned()]);
        let spec = WatchSpec {
            kinds: self.is_listed.then_some((key, all)).into_iter().collect(),
            lost: self.lost.clone(),
        };
        ObjectRow {
            group: LEDGER_GROUP.to_owned(),
            kind: LEDGER_WATCH.to_owned(),
            namespace: None,
            name: self.kind.to_string(),
            uid: None,
            valid_from_us: self.from,
            valid_to_us: Some(self.to),
            from_slack_ms: Some(0),
            to_slack_ms: Some(0),
            // Plain words in plain maps always become JSON.
            spec: serde_json::to_string(&spec).unwrap_or_default(),
            origin: String::new(),
            cluster: cluster.to_owned(),
        }
    }
}

/// The kind that such a row is about.
pub(super) fn kind_of(row: &ObjectRow) -> KindId {
    match row.name.rsplit_once('/') {
        Some((group, kind)) => KindId::new(group, kind),
        None => KindId::new("", &row.name),
    }
}

/// What such a row says; nothing where it is none.
pub(crate) fn watch_of(row: &ObjectRow) -> Option<WatchSpec> {
    let is_watch = row.group == LEDGER_GROUP && row.kind == LEDGER_WATCH;
    is_watch.then(|| serde_json::from_str(&row.spec).ok())?
}

impl WatchSpec {
    /// Whether the span began with a list.
    pub(crate) fn is_listed(&self) -> bool {
        !self.kinds.is_empty()
    }
}

impl State {
    pub(super) fn begin_list(&mut self, id: KindId, at: i64, shown: i64) {
        let kind = self.kind(&id);
        kind.is_live = false;
        kind.list.number += 1;
        kind.list.begun = at.max(kind.seen.unwrap_or(at));
        kind.list.shown = shown.max(kind.list.begun);
    }

    pub(super) fn end_list(&mut self, id: &KindId, at: i64) {
        let kind = self.kind(id);
        let number = kind.list.number;
        let mut gone: Vec<Name> = Vec::new();
        for (name, entry) in &kind.objects {
            if entry.list != number {
                gone.push(name.clone());
            }
        }
        gone.sort_unstable();
        let at = at.max(kind.list.begun);
        for name in gone {
            if let Some(entry) = self.kind(id).objects.remove(&name) {
                self.end_entry(id, &name, entry, End::Gone(at));
            }
            if *id == pod_enis() {
                self.claims.remove(&name);
            }
        }
        if *id == pod_enis() {
            self.sweep(at);
        }
        let kind = self.kind(id);
        for entry in kind.objects.values_mut() {
            entry.holds.iter_mut().for_each(|hold| hold.last = None);
            if let Some(version) = &mut entry.version {
                version.last = None;
            }
        }
        let begun = kind.list.begun;
        let last = kind.seen.replace(begun);
        kind.is_live = true;
        (kind.list.burst, kind.list.has_settled) = (at, false);
        kind.watched.lost = None;
        // What ended while the list was made may not be in it.
        let since = kind.watched.since.replace(kind.list.shown);
        if let Some(last) = last {
            self.gaps.push(Gap {
                kind: id.clone(),
                from: last,
                to: at,
            });
            self.spans.extend(since.map(|from| WatchedSpan {
                kind: id.clone(),
                from,
                to: last.max(from),
                lost: None,
                is_listed: true,
            }));
        }
        self.is_changed = true;
    }

    pub(super) fn lose(&mut self, id: &KindId, at: i64, why: &str) {
        let kind = self.kind(id);
        kind.is_live = false;
        if kind.watched.lost.is_none() {
            kind.watched.lost = Some((at, why.to_owned()));
            self.is_changed = true;
        }
    }

    /// The spans in which kinds are watched now, or were until they were lost.
    pub(super) fn open_spans(&self) -> impl Iterator<Item = WatchedSpan> {
        self.kinds.iter().filter_map(|(id, kind)| {
            let lost = kind.watched.lost.as_ref();
            let at = lost.map(|(at, _)| *at);
            let is_listed = kind.watched.since.is_some();
            let from = kind.watched.since.or(at)?;
            Some(WatchedSpan {
                kind: id.clone(),
                from,
                to: kind.seen.filter(|_| is_listed).unwrap_or(from).max(from),
                lost: lost.map(|(_, why)| why.clone()),
                is_listed,
            })
        })
    }
}
