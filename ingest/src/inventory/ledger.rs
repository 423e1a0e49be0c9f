//! Which snapshots were taken, and what each would have shown. Pure.
//!
//! A snapshot covers pairs of kind and namespace: whatever of that kind is in that namespace and not in the snapshot was
//! not there. What a file covers:
//!
//! - A **list** (`kubectl get … -o yaml`, a raw API list) covers the namespaces its items are in. If any of its kinds
//!   has items in two namespaces it was asked for all of them (`-A`), and covers all namespaces for all its kinds.
//!   Kinds without a namespace are covered as a whole.
//! - An **object on its own** (`kubectl get pod x -o yaml`, a manifest) covers nothing but itself.
//! - A kind of which an object in the file could not be used covers only the objects that could, and so does every kind
//!   when a whole document could not be read: what is missing may be what was not read.
//! - `Partial` lets everything cover only itself, for lists made with a selector or with names. `Complete` lets every
//!   kind that is there at all cover all namespaces, for dumps that were put together from parts.
//!
//! A kind of which a list holds nothing is not covered: from an empty list no one can tell what was asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Every namespace.
const ALL: &str = "*";

/// One thing: what makes two sightings sightings of the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace, if the kind has one.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Uid; empty when unknown.
    pub uid: String,
}

impl Subject {
    fn kind_key(&self) -> String {
        format!("{}/{}", self.group, self.kind)
    }

    /// `/Pod/shop/cart-7d9f/<uid>`
    fn key(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        format!(
            "{}/{}/{namespace}/{}/{}",
            self.group, self.kind, self.name, self.uid
        )
    }
}

/// How much a file is taken to cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coverage {
    /// What its lists show.
    #[default]
    Detect,
    /// Every kind in it, in all namespaces.
    Complete,
    /// Only the objects in it.
    Partial,
}

/// What one snapshot would have shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// Group and kind → namespaces, `*` for all.
    kinds: BTreeMap<String, BTreeSet<String>>,
    /// Objects covered by themselves.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    objects: BTreeSet<String>,
}

impl Covered {
    /// What one list, or one object on its own (`is_list` false), covers.
    pub fn add<'s>(
        &mut self,
        subjects: impl Iterator<Item = &'s Subject> + Clone,
        is_list: bool,
        coverage: Coverage,
    ) {
        if coverage == Coverage::Partial || coverage == Coverage::Detect && !is_list {
            self.objects.extend(subjects.map(Subject::key));
            return;
        }
        let mut spread: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for subject in subjects {
            let namespace = subject.namespace.as_deref().unwrap_or(ALL);
            spread
                .entry(subject.kind_key())
                .or_default()
                .insert(namespace);
        }
        let all = coverage == Coverage::Complete
            || spread.values().any(|namespaces| namespaces.len() > 1);
        for (kind, namespaces) in spread {
            let covered = self.kinds.entry(kind).or_default();
            if all {
                covered.insert(ALL.to_owned());
            } else {
                covered.extend(namespaces.into_iter().map(str::to_owned));
            }
        }
    }

    /// Everything of a kind in a namespace, also where there is nothing.
    pub fn cover_namespace(&mut self, group: &str, kind: &str, namespace: &str) {
        let kinds = self.kinds.entry(format!("{group}/{kind}")).or_default();
        kinds.insert(namespace.to_owned());
    }

    /// Whether the snapshot would have shown it.
    #[must_use]
    pub fn covers(&self, subject: &Subject) -> bool {
        self.covers_kind(subject)
            || !self.objects.is_empty() && self.objects.contains(&subject.key())
    }

    fn covers_kind(&self, subject: &Subject) -> bool {
        let namespace = subject.namespace.as_deref().unwrap_or(ALL);
        let namespaces = self.kinds.get(&subject.kind_key());
        namespaces
            .is_some_and(|namespaces| namespaces.contains(ALL) || namespaces.contains(namespace))
    }

    /// Adds what another part of the same snapshot covers.
    pub fn merge(&mut self, other: Covered) {
        for (kind, namespaces) in other.kinds {
            self.kinds.entry(kind).or_default().extend(namespaces);
        }
        self.objects.extend(other.objects);
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.objects.is_empty()
    }
}

/// All snapshots of one cluster, by time in microseconds since the epoch.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    snapshots: BTreeMap<i64, Covered>,
    /// The lists of live watches.
    lists: BTreeMap<i64, Covered>,
    /// Times by kind and namespace, filled when asked for.
    by_kind: HashMap<(String, String), Arc<[i64]>>,
    /// Times of objects covered by themselves.
    by_object: HashMap<String, BTreeSet<i64>>,
}

impl Ledger {
    /// The snapshots, in order.
    pub fn snapshots(&self) -> impl Iterator<Item = (i64, &Covered)> {
        self.snapshots.iter().map(|(at, covered)| (*at, covered))
    }

    /// Adds a snapshot, or another part of one.
    pub fn add(&mut self, at: i64, covered: Covered) {
        if covered.is_empty() {
            return;
        }
        self.by_kind.clear();
        for object in &covered.objects {
            self.by_object.entry(object.clone()).or_default().insert(at);
        }
        self.snapshots.entry(at).or_default().merge(covered);
    }

    /// Adds the list of a live watch, which others keep.
    pub fn add_list(&mut self, at: i64, covered: Covered) {
        self.by_kind.clear();
        self.lists.entry(at).or_default().merge(covered);
    }

    /// When a snapshot or a list was taken that would have shown it, in order.
    pub fn covering(&mut self, subject: &Subject) -> Arc<[i64]> {
        let place = (
            subject.kind_key(),
            subject.namespace.clone().unwrap_or_default(),
        );
        let all = self.snapshots.iter().chain(&self.lists);
        let by_kind = self.by_kind.entry(place).or_insert_with(|| {
            let covering = all.filter(|(_, covered)| covered.covers_kind(subject));
            let times: BTreeSet<i64> = covering.map(|(at, _)| *at).collect();
            times.into_iter().collect()
        });
        let times = Arc::clone(by_kind);
        match if self.by_object.is_empty() {
            None
        } else {
            self.by_object.get(&subject.key())
        } {
            None => times,
            Some(own) => own
                .iter()
                .chain(times.iter())
                .copied()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: &str, namespace: &str, name: &str) -> Subject {
        Subject {
            group: String::new(),
            kind: kind.to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: name.to_owned(),
            uid: String::new(),
        }
    }

    fn covered(subjects: &[Subject], is_list: bool, coverage: Coverage) -> Covered {
        let mut covered = Covered::default();
        covered.add(subjects.iter(), is_list, coverage);
        covered
    }

    #[test]
    fn what_covers_what() {
        let [a, b, other] = ["shop", "shop", "web"].map(|namespace| subject("Pod", namespace, "x"));
        let policy = subject("NetworkPolicy", "shop", "p");
        let one_namespace = covered(
            &[a.clone(), b.clone(), policy.clone()],
            true,
            Coverage::Detect,
        );
        assert!(one_namespace.covers(&subject("Pod", "shop", "gone")));
        assert!(!one_namespace.covers(&other));
        let all = covered(
            &[a.clone(), other.clone(), policy.clone()],
            true,
            Coverage::Detect,
        );
        assert!(all.covers(&subject("Pod", "empty", "gone")));
        assert!(
            all.covers(&subject("NetworkPolicy", "web", "gone")),
            "the same request asked for policies everywhere"
        );
        assert!(
            !all.covers(&subject("Service", "shop", "gone")),
            "no Service, so none may have been asked for"
        );
        let nodes = covered(&[subject("Node", "", "n")], true, Coverage::Detect);
        assert!(nodes.covers(&subject("Node", "", "gone")));
    }

    #[test]
    fn an_object_on_its_own_and_a_partial_list_cover_themselves() {
        let a = subject("Pod", "shop", "x");
        for alone in [
            covered(std::slice::from_ref(&a), false, Coverage::Detect),
            covered(std::slice::from_ref(&a), true, Coverage::Partial),
        ] {
            assert!(alone.covers(&a));
            assert!(!alone.covers(&subject("Pod", "shop", "gone")));
        }
        let complete = covered(std::slice::from_ref(&a), false, Coverage::Complete);
        assert!(complete.covers(&subject("Pod", "web", "gone")));
    }

    #[test]
    fn times_of_parts_and_objects_come_together() {
        let (a, b) = (subject("Pod", "shop", "a"), subject("Pod", "shop", "b"));
        let mut ledger = Ledger::default();
        ledger.add(5, covered(std::slice::from_ref(&a), true, Coverage::Detect));
        ledger.add(
            3,
            covered(std::slice::from_ref(&b), false, Coverage::Detect),
        );
        assert_eq!(*ledger.covering(&a), [5]);
        assert_eq!(*ledger.covering(&b), [3, 5]);
        ledger.add(
            1,
            covered(&[subject("Pod", "web", "c")], true, Coverage::Complete),
        );
        assert_eq!(*ledger.covering(&b), [1, 3, 5]);
        let text = serde_json::to_string(ledger.snapshots().next().unwrap().1).unwrap();
        assert_eq!(text, r#"{"kinds":{"/Pod":["*"]}}"#);
    }
}
