//! What a log says of holders, put together as it comes. Pure.
//!
//! A pod is told of many times in its life, and a log of weeks of many pods: what is the same each time is kept once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::history::{By, Facts};
use super::sighting::{Held, Holder, Shape};

/// What is known of each holder.
#[derive(Debug, Default)]
pub(crate) struct Gathered(BTreeMap<Holder, Sightings>);

/// When a holder was seen, what it was like, and what is known beside that.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    pub(super) facts: Facts,
    pub(super) seen: Vec<(i64, Arc<Shape>, By)>,
}

impl Gathered {
    pub(super) fn add(&mut self, held: Held, by: By) {
        let of = self.0.entry(held.holder).or_default();
        of.facts.add(&held.facts);
        let Some(at) = held.at else { return };
        let last = of.seen.last().map(|(_, shape, _)| shape);
        let shape = match last.filter(|last| ***last == held.shape) {
            Some(last) => Arc::clone(last),
            None => Arc::new(held.shape),
        };
        of.seen.push((at, shape, by));
    }

    /// What is known of each beside when it was seen.
    pub(super) fn facts_mut(&mut self) -> impl Iterator<Item = &mut Facts> {
        self.0.values_mut().map(|sightings| &mut sightings.facts)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Holder, &Sightings)> {
        self.0.iter()
    }
}
