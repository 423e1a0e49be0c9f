//! Addresses that a recorded watch shows and does not pin: nothing tells when the state that shows them was so. Pure.
//!
//! Where no other state of the same object shows such an address, it was held when the object says that it began; and if it does not say so, who had
//! the address before and next is not known by this watch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowaudit_rules::kubernetes::{Object, WatchEvent};

use super::sighting::{self, HolderKind};
use super::watch::{Recorded, Sighted, ended};

/// States that nothing pins, by uid and the address that is new in them.
#[derive(Default)]
pub(super) struct Unpinned<'w>(BTreeMap<(&'w str, String), State<'w>>);

struct State<'w> {
    object: &'w Object,
    /// When it began, by its own word.
    start: Option<i64>,
    /// The addresses it had until the watch had surely begun.
    had: Arc<BTreeSet<String>>,
}

impl<'w> Unpinned<'w> {
    /// Notes what an object has in such a state and did not have in the event before.
    pub(super) fn add(
        &mut self,
        object: &'w Object,
        before: Option<&WatchEvent>,
        had: &Arc<BTreeSet<String>>,
    ) {
        let before = before.map(|event| sighting::held(&event.object, i64::MAX));
        let before: Vec<String> = before
            .into_iter()
            .flatten()
            .map(|held| held.holder.addr)
            .collect();
        for held in sighting::held(object, i64::MAX) {
            let addr = held.holder.addr;
            if held.holder.kind == HolderKind::Pod && !before.contains(&addr) {
                // Its labels may have been others when it began.
                let start = held.facts.starts.last().copied();
                let start = start.filter(|start| held.facts.labelled.last() < Some(start));
                let state = || State {
                    object,
                    start,
                    had: Arc::clone(had),
                };
                self.0.entry((&object.uid, addr)).or_insert_with(state);
            }
        }
    }

    /// Tells what no other state of the same object shows.
    pub(super) fn tell(mut self, recorded: &mut Recorded<'w>) {
        if self.0.is_empty() {
            return;
        }
        let dated = recorded.gone.iter().filter(|gone| {
            let ended = ended(gone.object, gone.by);
            ended.iter().any(|held| held.at.is_some())
        });
        let dated = dated.map(|gone| gone.object);
        let sighted = recorded.sightings.iter().map(|sighted| sighted.object);
        for object in dated.chain(sighted) {
            for held in sighting::held(object, i64::MAX) {
                self.0.remove(&(object.uid.as_str(), held.holder.addr));
            }
        }
        let mut undated = BTreeSet::new();
        for ((_, addr), State { object, start, had }) in self.0 {
            match start {
                Some(at) => recorded.sightings.push(Sighted { object, at, had }),
                None => drop(undated.insert(addr)),
            }
        }
        doubt(recorded, &undated);
    }
}

/// Nobody knows when these addresses were held: who had them before and next is not known by this watch.
fn doubt(recorded: &mut Recorded<'_>, addrs: &BTreeSet<String>) {
    if addrs.is_empty() {
        return;
    }
    let is_theirs = |object: &Object| {
        let mut held = sighting::held(object, i64::MAX).into_iter();
        held.any(|held| addrs.contains(&held.holder.addr))
    };
    let gone = recorded.gone.iter_mut();
    for gone in gone.filter(|gone| is_theirs(gone.object)) {
        gone.watched_on = false;
        Arc::make_mut(&mut gone.had).extend(addrs.iter().cloned());
    }
    let sighted = recorded.sightings.iter_mut();
    for sighted in sighted.filter(|sighted| is_theirs(sighted.object)) {
        Arc::make_mut(&mut sighted.had).extend(addrs.iter().cloned());
    }
}
