//! What is known of a holder beside its sightings, in words; and where it is kept for one that nobody has seen yet. Pure.
//!
//! An event says when an address was given and to whom, but not what the pod is like, and it may be imported before whatever shows the pod.
//! It makes no row of `endpoints`; it waits among the rows that an import keeps for itself in `objects`, until the holder is seen.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use flowaudit_lake::table::objects::ObjectRow;
use serde::{Deserialize, Serialize};

use super::history::{By, Facts, History};
use super::ledger::Subject;
use super::rows::{LEDGER_GROUP, LEDGER_UNSEEN, some, subject_of, time};
use super::sighting::{Holder, HolderKind, Shape, us};

/// [`Facts`] as the lake writes them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Words {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    started: BTreeSet<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lingers: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    open_end: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    returned: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    came: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    watched_on: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    labelled: BTreeSet<DateTime<Utc>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    dated_by: BTreeSet<By>,
}

impl Words {
    pub(super) fn of(facts: &Facts) -> Words {
        Words {
            started: facts.starts.iter().copied().map(time).collect(),
            not_before: facts.not_before.map(time),
            gone: facts.gone.map(time),
            lingers: facts.lingers.map(time),
            open_end: facts.open_end,
            returned: facts.returned.map(time),
            came: facts.came,
            watched_on: facts.watched_on,
            labelled: facts.labelled.iter().copied().map(time).collect(),
            dated_by: facts.dated_by.clone(),
        }
    }

    pub(super) fn facts(self) -> Facts {
        Facts {
            starts: self.started.into_iter().map(us).collect(),
            not_before: self.not_before.map(us),
            gone: self.gone.map(us),
            lingers: self.lingers.map(us),
            open_end: self.open_end,
            returned: self.returned.map(us),
            came: self.came,
            watched_on: self.watched_on,
            labelled: self.labelled.into_iter().map(us).collect(),
            dated_by: self.dated_by,
        }
    }
}

/// Whose words they are.
#[derive(Debug, Serialize, Deserialize)]
struct Unseen {
    kind: String,
    addr: String,
    #[serde(flatten)]
    words: Words,
}

/// The row that keeps what is known of a holder; nothing where rows of `endpoints` do.
pub(super) fn row(holder: &Holder, history: &History<Shape>, cluster: &str) -> Option<ObjectRow> {
    let facts = history.facts();
    let times = facts.starts.first().copied();
    let times = times.into_iter().chain(facts.gone).chain(facts.not_before);
    let at = times.min().filter(|_| history.runs().is_empty())?;
    let unseen = Unseen {
        kind: holder.kind.as_str().to_owned(),
        addr: holder.addr.clone(),
        words: Words::of(facts),
    };
    Some(ObjectRow {
        group: LEDGER_GROUP.to_owned(),
        kind: LEDGER_UNSEEN.to_owned(),
        namespace: holder.subject.namespace.clone(),
        name: holder.subject.name.clone(),
        uid: some(&holder.subject.uid),
        valid_from_us: at,
        valid_to_us: Some(at),
        from_slack_ms: Some(0),
        to_slack_ms: Some(0),
        spec: serde_json::to_string(&unseen).unwrap_or_default(),
        origin: String::new(),
        cluster: cluster.to_owned(),
    })
}

/// Whether it is such a row.
pub(super) fn is_unseen(row: &ObjectRow) -> bool {
    row.group == LEDGER_GROUP && row.kind == LEDGER_UNSEEN
}

/// What such a row keeps; nothing where it is none.
pub(super) fn read_back(row: &ObjectRow) -> Option<(Holder, Facts)> {
    let unseen = is_unseen(row).then(|| serde_json::from_str(&row.spec).ok());
    let unseen: Unseen = unseen??;
    let kind = HolderKind::from_text(&unseen.kind)?;
    let subject = Subject {
        group: String::new(),
        kind: kind.object_kind().to_owned(),
        ..subject_of(row)
    };
    let holder = Holder {
        kind,
        subject,
        addr: unseen.addr,
    };
    Some((holder, unseen.words.facts()))
}
