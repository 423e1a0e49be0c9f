//! Which of many labelled things an expression holds for: set algebra instead of asking each.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use roaring::{MultiOps, RoaringBitmap};

use crate::label::{Expression, Key};

/// The classes of pods that have a label, by its key and value. They are numbered from 0.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    all: RoaringBitmap,
    by_key: HashMap<Key, BTreeMap<String, RoaringBitmap>>,
}

/// Whose labels an expression speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The pods themselves.
    Pods,
    /// Their namespaces, which have fewer and know their labels by another name.
    Namespaces,
}

impl Of {
    /// The key under which the index holds what `key` means there; `None` for what is never there.
    fn key(self, key: &Key) -> Option<Cow<'_, Key>> {
        match (self, key) {
            (Self::Pods, key) => Some(Cow::Borrowed(key)),
            (Self::Namespaces, Key::Label(label)) => {
                Some(Cow::Owned(Key::NamespaceLabel(label.clone())))
            }
            (Self::Namespaces, Key::NamespaceLabel(_) | Key::Namespace) => Some(Cow::Borrowed(key)),
            (Self::Namespaces, Key::ServiceAccount | Key::Constant(_)) => None,
        }
    }
}

impl LabelIndex {
    /// Notes that `thing` exists.
    pub(super) fn add(&mut self, thing: u32) {
        self.all.insert(thing);
    }

    /// Forgets `thing`, whose labels were taken away.
    pub(super) fn remove(&mut self, thing: u32) {
        self.all.remove(thing);
    }

    /// Notes that `thing` has a label.
    pub(super) fn label(&mut self, thing: u32, key: &Key, value: &str) {
        if !self.by_key.contains_key(key) {
            self.by_key.insert(key.clone(), BTreeMap::new());
        }
        let Some(values) = self.by_key.get_mut(key) else {
            return;
        };
        match values.get_mut(value) {
            Some(things) => {
                things.insert(thing);
            }
            None => {
                values.insert(value.to_owned(), [thing].into());
            }
        }
    }

    /// Takes a label away from `thing`.
    pub(super) fn unlabel(&mut self, thing: u32, key: &Key, value: &str) {
        let Some(values) = self.by_key.get_mut(key) else {
            return;
        };
        if let Some(things) = values.get_mut(value) {
            things.remove(thing);
            if things.is_empty() {
                values.remove(value);
            }
        }
        if values.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// Those for which `expression` holds; equals asking each with [`Expression::holds`].
    pub(super) fn select(&self, expression: &Expression, of: Of) -> RoaringBitmap {
        match expression {
            Expression::All(parts) => match parts.split_first() {
                None => self.all.clone(),
                Some((first, rest)) => {
                    let mut selected = self.select(first, of);
                    for part in rest {
                        if selected.is_empty() {
                            break;
                        }
                        selected &= self.select(part, of);
                    }
                    selected
                }
            },
            Expression::Any(parts) => {
                let mut selected = RoaringBitmap::new();
                for part in parts {
                    selected |= self.select(part, of);
                }
                selected
            }
            Expression::Not(part) => &self.all - self.select(part, of),
            Expression::Has(key) => self.with_value(key, of, |_| true),
            Expression::In(key, values) => self.with_one(key, of, values),
            Expression::Contains(key, text) => {
                self.with_value(key, of, |value| value.contains(text.as_str()))
            }
            Expression::StartsWith(key, text) => {
                self.with_value(key, of, |value| value.starts_with(text.as_str()))
            }
            Expression::EndsWith(key, text) => {
                self.with_value(key, of, |value| value.ends_with(text.as_str()))
            }
        }
    }

    /// Those with one of `values`.
    fn with_one(&self, key: &Key, of: Of, values: &[String]) -> RoaringBitmap {
        let key = of.key(key);
        if let Some(Key::Constant(constant)) = key.as_deref() {
            return self.if_all(values.iter().any(|value| value == constant));
        }
        let mut selected = RoaringBitmap::new();
        let Some(known) = key.and_then(|key| self.by_key.get(key.as_ref())) else {
            return selected;
        };
        for things in values.iter().filter_map(|value| known.get(value.as_str())) {
            selected |= things;
        }
        selected
    }

    /// Those with a value for which `holds`.
    fn with_value(&self, key: &Key, of: Of, holds: impl Fn(&str) -> bool) -> RoaringBitmap {
        let key = of.key(key);
        if let Some(Key::Constant(constant)) = key.as_deref() {
            return self.if_all(holds(constant));
        }
        let known = key.and_then(|key| self.by_key.get(key.as_ref()));
        let with = known.into_iter().flatten();
        with.filter(|(value, _)| holds(value))
            .map(|(_, things)| things)
            .union()
    }

    fn if_all(&self, holds: bool) -> RoaringBitmap {
        match holds {
            true => self.all.clone(),
            false => RoaringBitmap::new(),
        }
    }
}
