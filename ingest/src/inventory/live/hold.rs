//! One holder at one address: while it holds it ([`Hold`]), and afterwards ([`Closed`]). Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_rules::cluster::Owners;

use super::compact::{Look, Name};
use super::heard::KindId;
use super::resync::Gap;
use super::state::SECOND_US;
use crate::inventory::draft::Draft;
use crate::inventory::history::{By, Facts, Run, returned_after};
use crate::inventory::interfaces::Interface;
use crate::inventory::ledger::Subject;
use crate::inventory::sighting::{Holder, HolderKind};
use crate::inventory::span::Span;

/// A kubelet tells the API server of what happened this much later at most: it looks every second, and writes within ten.
pub(super) const STATUS_LAG_US: i64 = 11_000_000;

/// An address that is held. Times are microseconds since the epoch.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) kind: HolderKind,
    pub(super) name: Name,
    pub(super) uid: Arc<str>,
    pub(super) addr: IpAddr,
    pub(super) look: Look,
    /// The interface that it has to itself.
    pub(super) interface: Option<Arc<Interface>>,
    pub(super) by: Arc<BTreeSet<By>>,
    /// When it was first seen so.
    pub(super) first: i64,
    /// When it surely had the address, in whichever look.
    pub(super) origin: i64,
    /// When it was last seen so; `None` while all of its kind is watched, and it with them.
    pub(super) last: Option<i64>,
    /// When it began by its own word.
    pub(super) start: Option<i64>,
    /// When it began by its own word, where only rows before this one begin then.
    pub(super) begun: Option<i64>,
    /// When the labels that it had when it was first seen were written, by its own word.
    pub(super) labelled: Option<i64>,
    /// When its network was made for the last time.
    pub(super) anew: Option<i64>,
    /// It cannot be older.
    pub(super) not_before: Option<i64>,
    /// It came while its kind was watched.
    pub(super) came: bool,
    /// It looked otherwise before, so its own word of when it began is not of this look.
    pub(super) is_relooked: bool,
    /// It surely was not so yet.
    pub(super) before: Option<i64>,
    /// The one before surely held the address then.
    pub(super) floor: Option<i64>,
    /// What came before this is disputed between it and the one before.
    pub(super) cut: Option<i64>,
    /// It surely held up to here, whatever was seen later.
    pub(super) ended: Option<i64>,
    /// It was on its way out then, and possibly still held.
    pub(super) lingers: Option<i64>,
    /// What the lake says of it.
    pub(super) published: Option<Span>,
}

impl Hold {
    /// Whether no one else can hold the address at the same time.
    pub(super) fn is_exclusive(&self) -> bool {
        self.kind == HolderKind::Pod && !self.look.host_network
    }

    /// Whether only a PodENI shows the address, and its pod another one.
    pub(super) fn is_further(&self) -> bool {
        self.by.iter().eq([&By::PodEni])
    }

    /// When it began to surely hold.
    pub(super) fn begin(&self) -> i64 {
        let start = self.start.map_or(self.first, |start| start.min(self.first));
        start.max(self.cut.unwrap_or(i64::MIN))
    }

    /// Until when it surely held; `seen` is when its kind was last heard.
    pub(super) fn end(&self, seen: Option<i64>) -> i64 {
        let seen = self.last.or(seen).unwrap_or(self.first).max(self.first);
        self.ended.unwrap_or(seen).max(self.begin())
    }

    /// The same, where it has ended. What comes in the burst after a list is late: what was not heard of again after it was seen was so when it
    /// says itself that it began, at most.
    pub(super) fn sure_end(&self, seen: Option<i64>) -> i64 {
        match seen {
            Some(seen) if self.last.is_none() && seen < self.first => {
                let known = self.start.max(self.before);
                known.map_or(seen, |known| known.max(seen))
            }
            _ => self.end(seen),
        }
    }

    /// Whether it surely held at no instant: it came late, in the burst after a list, and says nothing of when it began.
    pub(super) fn is_vague(&self, seen: Option<i64>) -> bool {
        let is_late = seen.is_some_and(|seen| seen < self.first);
        is_late && self.last.is_none() && self.start.is_none() && self.ended.is_none()
    }

    /// When it held, as far as is known.
    pub(super) fn span(&self, seen: Option<i64>) -> Span {
        let start = self.begin();
        let low = self.before.max(self.floor).max(self.not_before);
        Span {
            start,
            end: self.end(seen),
            low: low.map(|low| low.min(start)),
            high: None,
        }
    }

    /// A beginning by its own word, if it is one.
    pub(super) fn began(&mut self, start: Option<i64>) {
        let after = self.before.unwrap_or(i64::MIN);
        let start = start.filter(|start| after < *start && *start <= self.first);
        let start = start.filter(|_| !self.is_relooked);
        self.start = self.start.into_iter().chain(start).min();
    }

    /// It looked otherwise at `at`, before it was first seen.
    pub(super) fn looked_otherwise(&mut self, at: i64) {
        self.is_relooked = true;
        self.before = self.before.max(Some(at));
        if self.start <= Some(at) {
            (self.start, self.labelled) = (None, None);
        }
        self.published = None;
    }

    /// The rows as long as it holds.
    pub(super) fn rows(
        &self,
        span: Span,
        cluster: &str,
        owners: &Owners,
    ) -> impl Iterator<Item = EndpointRow> + use<> {
        self.rows_with(span, Facts::default(), cluster, owners)
    }

    fn rows_with(
        &self,
        span: Span,
        ended: Facts,
        cluster: &str,
        owners: &Owners,
    ) -> impl Iterator<Item = EndpointRow> + use<> {
        let holder = Holder {
            kind: self.kind,
            subject: Subject {
                group: String::new(),
                kind: self.kind.object_kind().to_owned(),
                namespace: self.name.namespace.as_deref().map(str::to_owned),
                name: self.name.name.to_string(),
                uid: self.uid.to_string(),
            },
            addr: self.addr.to_string(),
        };
        let mut content = self.look.shape();
        if span.end < self.first && self.labelled.is_some_and(|at| span.end < at + SECOND_US) {
            // Its labels are those of later.
            content.forget_labels();
        }
        let run = Run {
            content,
            first: self.first.min(span.end),
            last: span.end,
            by: (*self.by).clone(),
        };
        let facts = Facts {
            starts: self.start.into_iter().chain(self.begun).collect(),
            labelled: self.labelled.into_iter().collect(),
            not_before: self.not_before,
            lingers: self.lingers,
            came: self.came,
            ..ended
        };
        let draft = Draft {
            holder: &holder,
            run: &run,
            facts,
            span,
            interface: self.interface.as_deref(),
            bound: None,
        };
        draft.rows(cluster, owners)
    }
}

/// How a holder let go of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It went on, but looked otherwise from then on.
    Changed(i64),
    /// It had let go of it by then.
    Gone(i64),
    /// Nobody who could know said that it let go of it: it possibly held on until the next one had it.
    Unsaid,
}

/// An address that was held.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub(super) hold: Hold,
    pub(super) span: Span,
    pub(super) end: End,
    /// When its network was gone, as Terway says.
    pub(super) returned: Option<i64>,
    /// Kind and name of the workload of a pod, as it was known when it ended.
    pub(super) workload: Option<(String, String)>,
}

impl Closed {
    pub(super) fn new(hold: Hold, seen: Option<i64>, end: End, owners: &Owners) -> Closed {
        let mut span = hold.span(seen);
        span.high = match end {
            End::Changed(at) | End::Gone(at) => Some(at.max(span.end)),
            End::Unsaid => None,
        };
        let mut rows = hold.rows(span, "", owners);
        let workload = rows
            .next()
            .and_then(|row| row.workload_kind.zip(row.workload));
        Closed {
            workload,
            hold,
            span,
            end,
            returned: None,
        }
    }

    pub(super) fn rows(&self, cluster: &str) -> impl Iterator<Item = EndpointRow> {
        let facts = Facts {
            gone: match self.end {
                End::Gone(at) => Some(at),
                End::Changed(_) | End::Unsaid => None,
            },
            // Where nobody did, there is a gap.
            watched_on: matches!(self.end, End::Gone(_)),
            open_end: self.end == End::Unsaid,
            returned: self.returned,
            dated_by: self.returned.map(|_| By::NodeRuntime).into_iter().collect(),
            ..Facts::default()
        };
        let rows = self
            .hold
            .rows_with(self.span, facts, cluster, &Owners::default());
        let (kind, name) = self.workload.clone().unzip();
        rows.map(move |row| EndpointRow {
            workload_kind: kind.clone(),
            workload: name.clone(),
            ..row
        })
    }

    /// When it may have held, up to `now`, if it surely did at no instant, and is not there any more in any look.
    pub(super) fn gap(&self, seen: Option<i64>, now: i64) -> Option<Gap> {
        let is_over = !matches!(self.end, End::Changed(_));
        let from = seen.filter(|_| is_over)?;
        Some(Gap {
            kind: KindId::new("", self.hold.kind.object_kind()),
            from,
            to: now.max(self.hold.first),
        })
    }

    /// Whether its end was said by somebody who could know. Whoever changes a label does not know whether it still has the address.
    pub(super) fn is_said(&self) -> bool {
        self.hold.ended.is_some() && matches!(self.end, End::Gone(_))
    }

    /// Its network was gone at `at`. That bounds an end that nobody said, and one that was said later; who vanished while nobody watched
    /// may have had its network made anew before.
    pub(super) fn take_back(&mut self, at: i64) {
        let is_known = match self.end {
            End::Changed(_) => return,
            End::Unsaid => true,
            End::Gone(gone) => self.is_said() && at < gone,
        };
        let is_earlier = at < self.span.start || self.hold.anew >= Some(at);
        if self.returned >= Some(at) || is_earlier || !is_known {
            return;
        }
        self.returned = Some(at);
        if let Some(back) = returned_after(at, self.hold.anew, self.span.end) {
            // Whoever had the address next may not have been seen, where its end was not.
            if self.end != End::Unsaid {
                self.end = End::Gone(back);
            }
            self.span.high = Some(self.span.high.map_or(back, |high| high.min(back)));
        }
    }

    /// The address went to the next holder.
    pub(super) fn give_to(&mut self, next: &mut Hold, seen: Option<i64>) {
        let mut span = next.span(seen);
        if next.ended.is_none() {
            // It holds on.
            span.end = i64::MAX;
        }
        let begin = span.start;
        let is_said = self.is_said();
        if pass_on(&mut self.span, is_said, &mut span) {
            // Of an end that nobody said may be heard later that it was earlier.
            let late = if is_said { 0 } else { STATUS_LAG_US };
            next.floor = next.floor.max(Some(self.span.end - late));
            if span.start != begin {
                next.cut = Some(span.start);
            }
        }
    }

    /// All that is sure is that it held at `ended`, before it was first seen like this; what it looked like then is not known.
    pub(super) fn move_to(&mut self, ended: i64) {
        if self.hold.is_relooked {
            // That it did not look so yet does not bound when it began to hold.
            self.span.low = self.hold.floor.max(self.hold.not_before);
            self.hold.labelled = self.hold.labelled.max(Some(self.hold.first));
        }
        self.span.low = self.span.low.map(|low| low.min(ended));
        (self.span.start, self.span.end) = (ended, ended);
    }

    /// It was not its any more after `at`, as became known later. False where nothing sure is left of it.
    pub(super) fn cut(&mut self, at: i64) -> bool {
        if self.span.end > at {
            self.span.end = at;
            self.hold.ended = Some(at);
        }
        self.span.start <= self.span.end
    }
}

/// An address goes from one holder to the next. An end that nobody said is only when the API server had not heard otherwise: the next
/// one knows better by what a kubelet may be late. False where the two contradict each other.
pub(super) fn pass_on(span: &mut Span, is_said: bool, next: &mut Span) -> bool {
    let late = span.end.saturating_sub(next.start);
    if !is_said && span.start < next.start && late <= STATUS_LAG_US {
        span.end = span.end.min(taken_from(span.start, *next));
    }
    let low = next.low;
    let is_handed_over = span.hand_over_to(next);
    if is_handed_over && !is_said {
        let late = span.end.saturating_sub(STATUS_LAG_US);
        next.low = low.max(Some(late.min(next.start)));
    }
    is_handed_over
}

/// Up to when one that held from `begun` on surely did, if its end is known by the next one only: that one may have begun
/// before it was seen.
pub(super) fn taken_from(begun: i64, next: Span) -> i64 {
    let low = next.low.unwrap_or(next.start - STATUS_LAG_US);
    low.min(next.start - 1).max(begun)
}
