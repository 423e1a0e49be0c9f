//! Rows of the lake → what was open when they were written. Pure.
//!
//! A run begins with what the one before it left open, and with what imports know of the cluster. Until it is heard of again, it is as it
//! was then. The same is done with what another writer has put into new files meanwhile, an import for instance: what is heard here
//! is known better, and what was not known here is taken up.

use std::sync::Arc;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;

use super::heard::KindId;
use super::hold::{Closed, End, Hold};
use super::resync::{kind_of, watch_of};
use super::state::{Entry, State};
use super::version::Version;
use crate::inventory::draft::{interface_of, is_unlabelled, read_back};
use crate::inventory::rows::is_ledger;
use crate::inventory::sighting::HolderKind;
use crate::inventory::span::Span;

/// The times of a row; nothing where it has no end at all.
fn span_of(
    from: i64,
    to: Option<i64>,
    before_ms: Option<i64>,
    after_ms: Option<i64>,
) -> Option<Span> {
    let end = to?;
    Some(Span {
        start: from,
        end,
        low: before_ms.map(|ms| from.saturating_sub(ms.saturating_mul(1000))),
        high: after_ms.map(|ms| end.saturating_add(ms.saturating_mul(1000))),
    })
}

impl State {
    /// Takes up a row of the cluster, if it is one whose end is open, or one that is known better here. Whoever keeps the row leaves out
    /// what was taken up.
    pub(super) fn adopt_endpoint(&mut self, row: &EndpointRow) -> bool {
        let Some(kind) = HolderKind::from_text(&row.kind) else {
            return false;
        };
        let id = KindId::new("", kind.object_kind());
        let name = self.words.name(row.namespace.as_deref(), &row.name);
        let uid = row.uid.as_deref().unwrap_or_default();
        let Ok(addr) = row.addr.parse() else {
            return false;
        };
        let times = (row.valid_to_us, row.from_slack_ms, row.to_slack_ms);
        let Some(span) = span_of(row.valid_from_us, times.0, times.1, times.2) else {
            return false;
        };
        let is_open = span.high.is_none();
        let state = self.kind(&id);
        let (is_live, seen, is_new) = (state.is_live, state.seen, state.list.number == 0);
        if is_new && !is_open {
            return false;
        }
        let entry = state.objects.get_mut(&name);
        let entry = entry.filter(|entry| *entry.uid == *uid);
        let is_known = entry.is_some();
        if let Some(entry) = entry {
            let own = |hold: &&mut Hold| hold.kind == kind && hold.addr == addr;
            if let Some(hold) = entry.holds.iter_mut().find(own) {
                // What it has while it holds the address is known better here.
                if hold.begin() > span.end {
                    return is_open;
                }
                let Some((_, run, facts)) = read_back(row) else {
                    return false;
                };
                if hold.look.shape() != run.content && !is_open && span.end < hold.first {
                    // Its own word of when it began is not of this look.
                    let is_known = !is_unlabelled(row);
                    if is_known {
                        hold.looked_otherwise(span.end);
                    }
                    return !is_known;
                }
                if hold.look.shape() == run.content {
                    hold.by = Arc::new(hold.by.union(&run.by).copied().collect());
                    hold.first = hold.first.min(run.first);
                    hold.came |= facts.came;
                    hold.began(facts.starts.first().copied());
                }
                return true;
            }
        }
        if !is_open {
            return false;
        }
        let Some((_, run, facts)) = read_back(row) else {
            return false;
        };
        if is_known && !is_new || self.settled.holds(uid, addr) {
            // It has let go of it since.
            return true;
        }
        let labelled = facts.labelled.range(..=run.first).next_back().copied();
        let mut hold = Hold {
            kind,
            name: name.clone(),
            uid: uid.into(),
            addr,
            look: self.words.look(&run.content),
            interface: interface_of(row).map(Arc::new),
            by: Arc::new(run.by),
            first: run.first.max(span.start),
            origin: span.start,
            last: Some(span.end),
            start: Some(span.start),
            begun: facts.starts.first().copied().filter(|_| labelled.is_some()),
            labelled,
            anew: None,
            not_before: facts.not_before,
            came: facts.came,
            // What its own word says of its beginning is in the row; what it says later may be of a look before, or of a container since.
            is_relooked: true,
            before: span.low,
            floor: None,
            cut: None,
            ended: facts.lingers.is_some().then_some(span.end),
            lingers: facts.lingers,
            published: None,
        };
        // Slack is written in milliseconds: what is taken up is no news.
        hold.published = Some(hold.span(None));
        if facts.open_end {
            self.settled.push(Closed {
                hold,
                span,
                end: End::Unsaid,
                returned: facts.returned,
                workload: row.workload_kind.clone().zip(row.workload.clone()),
            });
            return true;
        }
        if is_live {
            // The kind is watched, and it is not there.
            let at = seen.unwrap_or(span.end);
            self.settled
                .push(Closed::new(hold, seen, End::Gone(at), &self.owners));
            return true;
        }
        let state = self.kind(&id);
        let entry = state.objects.entry(name).or_insert_with(|| Entry::of(uid));
        if *entry.uid != *uid {
            // Another one of that name was there before, or will be.
            return false;
        }
        self.hold_again(&id, hold);
        true
    }

    /// The same for a version of a declared object, and for how far the run before came.
    pub(super) fn adopt_object(&mut self, row: &ObjectRow) -> bool {
        if is_ledger(row) {
            return self.adopt_span(row);
        }
        let times = (row.valid_to_us, row.from_slack_ms, row.to_slack_ms);
        let Some(span) = span_of(row.valid_from_us, times.0, times.1, times.2) else {
            return false;
        };
        if span.high.is_some() {
            return false;
        }
        let id = KindId::new(&row.group, &row.kind);
        let name = self.words.name(row.namespace.as_deref(), &row.name);
        let uid = row.uid.as_deref().unwrap_or_default();
        let origin = self.words.word(&row.origin);
        let kind = self.kind(&id);
        let (is_live, seen) = (kind.is_live, kind.seen);
        let recorded = kind.watched.recorded;
        let entry = kind.objects.get_mut(&name);
        if let Some(entry) = entry.filter(|entry| *entry.uid == *uid) {
            if let Some(version) = &mut entry.version
                && *version.spec == *row.spec
            {
                version.first = version.first.min(span.start);
            }
            if entry.version.is_some() {
                return true;
            }
        }
        // Up to where its kind was watched without a break, nothing changed.
        let end = match recorded {
            Some((from, to)) if !is_live && from <= span.end => span.end.max(to),
            _ => span.end,
        };
        let mut version = Version {
            spec: row.spec.as_str().into(),
            origin,
            first: span.start,
            last: Some(end),
            start: None,
            not_before: None,
            before: span.low,
            published: None,
        };
        version.published = Some(Span {
            end: span.end,
            ..version.span(None)
        });
        if is_live {
            let at = seen.unwrap_or(span.end);
            self.end_version(&id, &name, &Arc::from(uid), version, at);
            return true;
        }
        let kind = self.kind(&id);
        let entry = kind.objects.entry(name).or_insert_with(|| Entry::of(uid));
        if *entry.uid != *uid || entry.version.is_some() {
            return false;
        }
        entry.version = Some(version);
        true
    }

    /// How far a kind was watched. The rows of the spans that are open here are written anew; all others stay.
    fn adopt_span(&mut self, row: &ObjectRow) -> bool {
        let Some(spec) = watch_of(row) else {
            return false;
        };
        let kind = self.kind(&kind_of(row));
        if kind.list.number > 0 || kind.watched.lost.is_some() {
            let lost = kind.watched.lost.as_ref().map(|(at, _)| *at);
            return kind.watched.since.or(lost) == Some(row.valid_from_us);
        }
        let span = (
            row.valid_from_us,
            row.valid_to_us.unwrap_or(row.valid_from_us),
        );
        if spec.is_listed() && kind.seen.is_none_or(|seen| seen < span.1) {
            kind.seen = Some(span.1);
            kind.watched.recorded = Some(span);
        }
        false
    }
}
