//! What is known and cannot all be true. Pure.

use super::rows::Draft;

/// What cannot be true beside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The address.
    pub addr: String,
    /// Name of a holder that surely held it all the time, `namespace/name`.
    pub holder: String,
    /// What speaks against it.
    pub against: Against,
    /// What the two rest on, as in `audit+event`; nothing where it is not a row.
    pub rests: [String; 2],
    /// From when on, microseconds since the epoch.
    pub from_us: i64,
    /// Until when, microseconds since the epoch.
    pub to_us: i64,
}

/// What speaks against a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// Another one surely held the address at the same time.
    Holder(String),
    /// Terway says that its network was gone.
    Returned,
}

/// Lets the holders of one address follow each other; what cannot all be true is returned.
pub(super) fn settle(addr: &str, drafts: &mut [Draft<'_>]) -> Vec<Contradiction> {
    drafts.sort_by(|a, b| {
        (a.span.start, a.span.end, a.holder).cmp(&(b.span.start, b.span.end, b.holder))
    });
    let mut contradictions = Vec::new();
    for index in 0..drafts.len() {
        let (before, after) = drafts.split_at_mut(index + 1);
        let Some(earlier) = before.last_mut().filter(|draft| draft.is_exclusive()) else {
            continue;
        };
        for later in after.iter_mut().filter(|draft| draft.is_exclusive()) {
            if later.holder.subject == earlier.holder.subject {
                continue;
            }
            let (from_us, to_us) = (later.span.start, earlier.span.end.min(later.span.end));
            if !earlier.span.hand_over_to(&mut later.span) {
                contradictions.push(Contradiction {
                    addr: addr.to_owned(),
                    holder: earlier.holder.title(),
                    against: Against::Holder(later.holder.title()),
                    rests: [earlier.rests_on(), later.rests_on()],
                    from_us,
                    to_us,
                });
            } else if from_us > to_us {
                break;
            }
        }
    }
    once(contradictions)
}

impl Against {
    /// The other holder, if it is one.
    fn holder(&self) -> Option<&str> {
        match self {
            Against::Holder(name) => Some(name),
            Against::Returned => None,
        }
    }
}

/// Rows of one holder that follow each other, as its labels change, contradict another holder once.
fn once(contradictions: Vec<Contradiction>) -> Vec<Contradiction> {
    let mut told: Vec<Contradiction> = Vec::with_capacity(contradictions.len());
    for one in contradictions {
        let is_same = |other: &&mut Contradiction| {
            let pair = [Some(other.holder.as_str()), other.against.holder()];
            let own = [Some(one.holder.as_str()), one.against.holder()];
            pair == own || pair == [own[1], own[0]]
        };
        match told.iter_mut().find(is_same) {
            Some(other) => {
                other.from_us = other.from_us.min(one.from_us);
                other.to_us = other.to_us.max(one.to_us);
            }
            None => told.push(one),
        }
    }
    told
}
