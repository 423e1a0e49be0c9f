//! Selectors of pods, each once however many policies write it, with the classes that it selects.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use super::classes::Classes;
use crate::cluster::Cluster;
use crate::policy::{Namespaces, Pods};

/// Every selector that policies use at the moment.
#[derive(Debug, Default)]
pub(super) struct Selections {
    numbers: HashMap<Arc<Pods>, u32, RandomState>,
    /// By number; `None` for numbers that are free.
    selections: Vec<Option<Selection>>,
    free: Vec<u32>,
    /// Those that can only select pods of one namespace.
    of_namespace: HashMap<String, RoaringBitmap, RandomState>,
    /// Those that may select pods of any namespace.
    of_any: RoaringBitmap,
}

#[derive(Debug)]
struct Selection {
    pods: Arc<Pods>,
    classes: RoaringBitmap,
    /// How often it is written.
    uses: usize,
}

impl Selections {
    /// The number of a selector that is written once more.
    pub(super) fn take(&mut self, pods: &Pods, classes: &Classes, cluster: &Cluster) -> u32 {
        if let Some(&number) = self.numbers.get(pods) {
            if let Some(Some(known)) = self.selections.get_mut(number as usize) {
                known.uses += 1;
            }
            return number;
        }
        let pods = Arc::new(pods.clone());
        let selection = Selection {
            classes: classes.select(&pods, cluster),
            pods: Arc::clone(&pods),
            uses: 1,
        };
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.selections.push(None);
                // Each is written somewhere, in text of far less than 4 GiB.
                (self.selections.len() - 1) as u32
            }
        };
        if let Some(slot) = self.selections.get_mut(number as usize) {
            *slot = Some(selection);
        }
        self.beside(&pods.namespaces).insert(number);
        self.numbers.insert(pods, number);
        number
    }

    /// A selector is written once less.
    pub(super) fn give_back(&mut self, number: u32) {
        let Some(slot) = self.selections.get_mut(number as usize) else {
            return;
        };
        match slot {
            Some(known) if known.uses > 1 => known.uses -= 1,
            _ => {
                if let Some(gone) = slot.take() {
                    self.numbers.remove(&gone.pods);
                    self.beside(&gone.pods.namespaces).remove(number);
                    self.free.push(number);
                }
            }
        }
    }

    /// Whether a selector selects the pods of `class`.
    pub(super) fn selects(&self, number: u32, class: u32) -> bool {
        let selected = self.classes(number);
        selected.is_some_and(|classes| classes.contains(class))
    }

    /// The classes that a selector selects.
    pub(super) fn classes(&self, number: u32) -> Option<&RoaringBitmap> {
        let selection = self.selections.get(number as usize)?.as_ref()?;
        Some(&selection.classes)
    }

    /// Asks the selectors about `class` that may select it: it is new, or the labels of its namespace are others now.
    pub(super) fn ask_again(&mut self, class: u32, classes: &Classes, cluster: &Cluster) {
        self.each_of(class, classes, |selection| {
            match classes.is_selected(class, &selection.pods, cluster) {
                true => selection.classes.insert(class),
                false => selection.classes.remove(class),
            };
        });
    }

    /// Forgets `class`, which is still known.
    pub(super) fn forget(&mut self, class: u32, classes: &Classes) {
        self.each_of(class, classes, |selection| {
            selection.classes.remove(class);
        });
    }

    /// The selectors that select the pods of `class`.
    pub(super) fn selecting(&self, class: u32, classes: &Classes) -> impl Iterator<Item = u32> {
        let namespace = classes.namespace(class);
        let of_one = namespace.and_then(|namespace| self.of_namespace.get(namespace));
        let may = of_one.into_iter().chain([&self.of_any]).flatten();
        may.filter(move |number| self.selects(*number, class))
    }

    /// The selectors that may select the pods of `class`.
    fn each_of(&mut self, class: u32, classes: &Classes, mut see: impl FnMut(&mut Selection)) {
        let namespace = classes.namespace(class);
        let of_one = namespace.and_then(|namespace| self.of_namespace.get(namespace));
        for number in of_one.into_iter().chain([&self.of_any]).flatten() {
            if let Some(Some(selection)) = self.selections.get_mut(number as usize) {
                see(selection);
            }
        }
    }

    fn beside(&mut self, namespaces: &Namespaces) -> &mut RoaringBitmap {
        match namespaces {
            Namespaces::Named(name) => self.of_namespace.entry(name.clone()).or_default(),
            Namespaces::Matching(_) => &mut self.of_any,
        }
    }
}
