//! How a compiled world moves on.
//!
//! | what changes | what is worked out again |
//! |---|---|
//! | a policy | its selectors, unless others write them too; the lists of the classes that its subject selects |
//! | a pod | nothing, or what selectors say of its class where that is new |
//! | labels of a namespace | what selectors that may select any namespace say of its classes |

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::prepared::Prepared;
use super::{Compiled, Selected};
use crate::cluster::{Namespace, Pod};
use crate::policy::{Direction, Policy, PolicyId};

impl Compiled<'_> {
    /// Puts `parts` in the place of whatever one object was before; none take it away. As
    /// [`PolicySet::replace_object`](crate::policy_set::PolicySet::replace_object).
    pub fn set_policy(&mut self, id: &PolicyId, parts: Vec<Policy>) {
        let replaced = self.policies.to_mut().replace(id, parts);
        for policy in replaced.gone {
            self.remove(&policy);
        }
        for policy in replaced.come {
            let number = self.prepare(Arc::clone(&policy));
            let position = self.policies.position(&policy);
            self.each_list(number, |list, this| {
                let place = list.partition_point(|other| this.position(*other) < position);
                list.insert(place, number);
            });
        }
    }

    /// Adds a pod or replaces the one of its name. As [`Cluster::set_pod`](crate::cluster::Cluster::set_pod).
    pub fn set_pod(&mut self, pod: Pod) {
        let index = self.cluster.to_mut().set_pod(pod);
        let before = self.class_of_pod.get(index).copied().flatten();
        let pod = self.cluster.pods().get(index);
        let after = pod.filter(|pod| !pod.host_network).map(|pod| {
            let (class, is_new) = self.classes.enter(pod, &self.cluster);
            (class, is_new)
        });
        match self.class_of_pod.get_mut(index) {
            Some(class) => *class = after.map(|(class, _)| class),
            None => self.class_of_pod.push(after.map(|(class, _)| class)),
        }
        if let Some((class, true)) = after {
            if self.selected.len() < self.classes.end() {
                self.selected
                    .resize(self.classes.end(), Selected::default());
            }
            self.ask_again(class);
        }
        if let Some(class) = before {
            self.leave(class);
        }
    }

    /// Takes a pod away; the last of [`Cluster::pods`](crate::cluster::Cluster::pods) takes its place there.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        let Some(index) = self.cluster.to_mut().remove_pod(namespace, name) else {
            return;
        };
        if let Some(class) = self.class_of_pod.swap_remove(index) {
            self.leave(class);
        }
    }

    /// Adds a namespace or replaces the one of its name.
    pub fn set_namespace(&mut self, namespace: Namespace) {
        let name = namespace.name.clone();
        let classes = self.classes.of_namespace(&name);
        let labels = |this: &Self| {
            let namespace = this.cluster.namespace(&name);
            namespace.map(|namespace| namespace.labels.clone())
        };
        let before = labels(self);
        self.cluster.to_mut().set_namespace(namespace);
        let after = labels(self);
        if before == after {
            return;
        }
        for class in classes {
            self.classes.unlabel_by_namespace(class, before.as_ref());
            self.classes.label_by_namespace(class, after.as_ref());
            self.ask_again(class);
        }
    }

    /// A pod of a class has gone or is of another class now.
    fn leave(&mut self, class: u32) {
        // While the class is known the selectors that may select it are.
        if self.classes.pods(class) == 1 {
            self.selections.forget(class, &self.classes);
            if let Some(selected) = self.selected.get_mut(class as usize) {
                *selected = Selected::default();
            }
        }
        self.classes.leave(class, &self.cluster);
    }

    /// Finds out which selectors select `class`, and so which policies.
    fn ask_again(&mut self, class: u32) {
        self.selections
            .ask_again(class, &self.classes, &self.cluster);
        let selecting = self.selections.selecting(class, &self.classes);
        let policies = selecting.filter_map(|number| self.subjects.get(&number));
        let mut policies: Vec<u32> = policies.flatten().copied().collect();
        policies.sort_by_key(|number| self.position(*number));
        let says = |direction| {
            let policies = policies.iter().copied();
            policies
                .filter(|number| self.says(*number, direction))
                .collect()
        };
        let selected = Selected {
            ingress: says(Direction::Ingress),
            egress: says(Direction::Egress),
        };
        if let Some(slot) = self.selected.get_mut(class as usize) {
            *slot = selected;
        }
    }

    /// Whether a policy says something of `direction`.
    fn says(&self, number: u32, direction: Direction) -> bool {
        let prepared = self.prepared(number);
        prepared.is_some_and(|prepared| prepared.policy.section(direction).is_some())
    }

    /// Replaces the selectors of a policy by what they select. The lists of classes are for the caller.
    pub(super) fn prepare(&mut self, policy: Arc<Policy>) -> u32 {
        let id = policy.id.clone();
        let prepared = Prepared::new(
            policy,
            &mut self.tiers,
            &mut self.selections,
            &self.classes,
            &self.cluster,
        );
        let subject = prepared.subject;
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.prepared.push(None);
                // Each was read from text of far less than 4 GiB.
                (self.prepared.len() - 1) as u32
            }
        };
        if let Some(slot) = self.prepared.get_mut(number as usize) {
            *slot = Some(prepared);
        }
        self.by_id.entry(id).or_default().push(number);
        if let Some(subject) = subject {
            self.subjects.entry(subject).or_default().push(number);
        }
        number
    }

    /// Forgets a policy.
    fn remove(&mut self, policy: &Arc<Policy>) {
        let Some(numbers) = self.by_id.get_mut(&policy.id) else {
            return;
        };
        let prepared = &self.prepared;
        let is_it = |number: &u32| {
            let slot = prepared.get(*number as usize);
            matches!(slot, Some(Some(prepared)) if Arc::ptr_eq(&prepared.policy, policy))
        };
        let Some(number) = numbers.iter().copied().find(is_it) else {
            return;
        };
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.by_id.remove(&policy.id);
        }
        self.each_list(number, |list, _| list.retain(|other| *other != number));
        let slot = self.prepared.get_mut(number as usize);
        let Some(gone) = slot.and_then(Option::take) else {
            return;
        };
        if let Some(subject) = gone.subject
            && let Some(policies) = self.subjects.get_mut(&subject)
        {
            policies.retain(|other| *other != number);
            if policies.is_empty() {
                self.subjects.remove(&subject);
            }
        }
        gone.give_back(&mut self.selections);
        self.free.push(number);
    }

    /// Changes the lists that hold a policy: of each class that it selects, in the directions it speaks of.
    pub(super) fn each_list(&mut self, number: u32, mut change: impl FnMut(&mut Vec<u32>, &Self)) {
        let subject = self.prepared(number).and_then(|prepared| prepared.subject);
        let classes = subject.and_then(|subject| self.selections.classes(subject));
        let classes: RoaringBitmap = classes.cloned().unwrap_or_default();
        let says = [Direction::Ingress, Direction::Egress].map(|d| self.says(number, d));
        let mut lists = std::mem::take(&mut self.selected);
        for class in classes {
            let Some(selected) = lists.get_mut(class as usize) else {
                continue;
            };
            for (list, says) in [&mut selected.ingress, &mut selected.egress]
                .into_iter()
                .zip(says)
            {
                if says {
                    change(list, self);
                }
            }
        }
        self.selected = lists;
    }

    /// Where a policy stands in the order in which they are walked.
    fn position(&self, number: u32) -> Option<usize> {
        self.policies.position(&self.prepared(number)?.policy)
    }
}
