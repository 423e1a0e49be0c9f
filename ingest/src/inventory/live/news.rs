//! What is known and not in the lake yet, and since when the lake says something else. Pure.

use super::compact::Name;
use super::heard::KindId;
use super::hold::Hold;
use super::state::State;
use super::version::Version;
use crate::inventory::span::Span;

/// A version that is in force now.
pub(super) struct InForce<'s> {
    pub(super) kind: &'s KindId,
    pub(super) name: &'s Name,
    pub(super) uid: &'s str,
    pub(super) version: &'s Version,
    pub(super) span: Span,
}

impl State {
    /// All addresses that are held now, with when their kinds were last heard.
    pub(super) fn holds(&self) -> impl Iterator<Item = (&Hold, Option<i64>)> {
        self.kinds.values().flat_map(|kind| {
            let holds = kind.objects.values().flat_map(|entry| &entry.holds);
            holds.map(|hold| (hold, kind.seen))
        })
    }

    /// All versions that are in force now, with kind, name and uid, and when their kinds were last heard.
    pub(super) fn in_force(&self) -> impl Iterator<Item = InForce<'_>> {
        self.kinds.iter().flat_map(|(id, kind)| {
            kind.objects.iter().filter_map(|(name, entry)| {
                Some(InForce {
                    kind: id,
                    name,
                    uid: &entry.uid,
                    version: entry.version.as_ref()?,
                    span: entry.version.as_ref()?.span(kind.seen),
                })
            })
        })
    }

    /// All of it is in the lake now. What is marked of what has ended is there for good, and forgotten here.
    pub(super) fn published(&mut self, for_good: Option<&[bool]>) {
        self.settled.published(for_good);
        for kind in self.kinds.values_mut() {
            for entry in kind.objects.values_mut() {
                for hold in &mut entry.holds {
                    hold.published = Some(hold.span(kind.seen));
                }
                if let Some(version) = &mut entry.version {
                    version.published = Some(version.span(kind.seen));
                }
            }
        }
        self.versions.clear();
        self.gaps.clear();
        self.spans.clear();
        (self.is_changed, self.is_declared) = (false, false);
    }

    /// Since when the lake says something else, microseconds since the epoch; `i64::MIN` where that has no known beginning.
    ///
    /// Where an address was surely held longer than the lake knows, it is known differently from the end that the lake has on: what was
    /// analysed before that end stays as it is. That a version is still in force is no news.
    pub(super) fn changed_from(&self) -> Option<i64> {
        let news = |span: Span, published: Option<Span>| match published {
            Some(published) => span.differs_from(published),
            None => Some(span.low.unwrap_or(i64::MIN)),
        };
        let open = self
            .holds()
            .filter_map(|(hold, seen)| news(hold.span(seen), hold.published));
        let ended = self
            .settled
            .iter()
            .filter_map(|closed| news(closed.span, closed.hold.published));
        let dropped = self
            .settled
            .dropped()
            .iter()
            .map(|span| span.low.unwrap_or(i64::MIN));
        let in_force = self.in_force().filter_map(|one| {
            let published = one.version.published.map(|span| Span {
                end: one.span.end,
                ..span
            });
            news(one.span, published)
        });
        let over = self
            .versions
            .iter()
            .filter_map(|closed| news(closed.span, closed.version.published));
        let gaps = self.gaps.iter().map(|gap| gap.from);
        open.chain(ended)
            .chain(dropped)
            .chain(in_force)
            .chain(over)
            .chain(gaps)
            .min()
    }
}
