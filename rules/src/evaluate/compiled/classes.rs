//! Pods that no selector can tell apart are one class: those of one namespace, with the same labels and the same
//! service account. Pods that share their node's network have none.
//!
//! Classes do not depend on policies. Addresses and ports are not part of them: comparing those is as cheap as looking
//! a class up, and a policy that comes or goes then never divides a class.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use super::index::{LabelIndex, Of};
use crate::cluster::{Cluster, Labels, NAME_LABEL, Pod};
use crate::label::{Key, PodInNamespace};
use crate::policy::{Namespaces, Pods};

/// The classes of one world.
#[derive(Debug, Default)]
pub(super) struct Classes {
    by_look: HashMap<Look, u32, RandomState>,
    /// By number; `None` for numbers that are free.
    classes: Vec<Option<Class>>,
    free: Vec<u32>,
    labels: LabelIndex,
    by_namespace: HashMap<String, RoaringBitmap, RandomState>,
}

#[derive(Debug)]
struct Class {
    look: Look,
    pods: usize,
}

/// A pod reduced to what selectors can see of it.
#[derive(Clone, Debug)]
struct Look(Pod);

impl Look {
    fn of(pod: &Pod) -> Self {
        Self(Pod {
            namespace: pod.namespace.clone(),
            labels: pod.labels.clone(),
            service_account: pod.service_account.clone(),
            ..Pod::default()
        })
    }

    fn parts(&self) -> (&str, &Labels, Option<&str>) {
        let Self(pod) = self;
        let account = pod.service_account.as_deref();
        (&pod.namespace, &pod.labels, account)
    }
}

impl PartialEq for Look {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Look {}

impl Hash for Look {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Classes {
    /// Counts a pod of `cluster` in; returns its class, and whether that is new.
    pub(super) fn enter(&mut self, pod: &Pod, cluster: &Cluster) -> (u32, bool) {
        let look = Look::of(pod);
        if let Some(&class) = self.by_look.get(&look) {
            if let Some(Some(known)) = self.classes.get_mut(class as usize) {
                known.pods += 1;
            }
            return (class, false);
        }
        let entry = Some(Class {
            look: look.clone(),
            pods: 1,
        });
        let class = match self.free.pop() {
            Some(class) => class,
            None => {
                self.classes.push(None);
                // As many classes as pods at most, of which there are fewer than that.
                (self.classes.len() - 1) as u32
            }
        };
        if let Some(slot) = self.classes.get_mut(class as usize) {
            *slot = entry;
        }
        self.by_look.insert(look, class);
        self.labels.add(class);
        each_own_label(pod, |key, value| self.labels.label(class, key, value));
        let namespace = cluster.namespace(&pod.namespace);
        let of_namespace = namespace.map(|namespace| &namespace.labels);
        self.label_by_namespace(class, of_namespace);
        match self.by_namespace.get_mut(&pod.namespace) {
            Some(classes) => {
                classes.insert(class);
            }
            None => {
                let classes = [class].into();
                self.by_namespace.insert(pod.namespace.clone(), classes);
            }
        }
        (class, true)
    }

    /// Counts a pod of `class` out; returns whether it was the last. `cluster` shows the namespace as it was entered.
    pub(super) fn leave(&mut self, class: u32, cluster: &Cluster) -> bool {
        let Some(slot) = self.classes.get_mut(class as usize) else {
            return false;
        };
        match slot {
            Some(known) if known.pods > 1 => {
                known.pods -= 1;
                return false;
            }
            _ => {}
        }
        let Some(gone) = slot.take() else {
            return false;
        };
        let Look(pod) = &gone.look;
        let namespace = cluster.namespace(&pod.namespace);
        self.unlabel_by_namespace(class, namespace.map(|namespace| &namespace.labels));
        each_own_label(pod, |key, value| self.labels.unlabel(class, key, value));
        self.labels.remove(class);
        if let Some(classes) = self.by_namespace.get_mut(&pod.namespace) {
            classes.remove(class);
            if classes.is_empty() {
                self.by_namespace.remove(&pod.namespace);
            }
        }
        self.by_look.remove(&gone.look);
        self.free.push(class);
        true
    }

    /// Gives `class` the labels of its namespace.
    pub(super) fn label_by_namespace(&mut self, class: u32, labels: Option<&Labels>) {
        each_namespace_label(labels, |key, value| self.labels.label(class, key, value));
    }

    /// Takes them away.
    pub(super) fn unlabel_by_namespace(&mut self, class: u32, labels: Option<&Labels>) {
        each_namespace_label(labels, |key, value| self.labels.unlabel(class, key, value));
    }

    /// How many pods a class has.
    pub(super) fn pods(&self, class: u32) -> usize {
        let class = self.classes.get(class as usize);
        class.and_then(Option::as_ref).map_or(0, |class| class.pods)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_look.len()
    }

    /// Every number is below this.
    pub(super) fn end(&self) -> usize {
        self.classes.len()
    }

    /// The classes of one namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> RoaringBitmap {
        let classes = self.by_namespace.get(namespace);
        classes.cloned().unwrap_or_default()
    }

    /// The namespace of a class.
    pub(super) fn namespace(&self, class: u32) -> Option<&str> {
        self.look(class).map(|pod| pod.namespace.as_str())
    }

    /// The classes whose pods `pods` selects.
    pub(super) fn select(&self, pods: &Pods, cluster: &Cluster) -> RoaringBitmap {
        let mut selected = match &pods.namespaces {
            Namespaces::Named(name) => self.of_namespace(name),
            Namespaces::Matching(selector) => {
                self.labels.select(&selector.expression, Of::Namespaces)
            }
        };
        if !pods.pods.is_everything() && !selected.is_empty() {
            match selected.len() < FEW {
                true => {
                    selected = selected
                        .into_iter()
                        .filter(|class| self.holds(*class, pods, cluster))
                        .collect();
                }
                false => selected &= self.labels.select(&pods.pods.expression, Of::Pods),
            }
        }
        selected
    }

    /// Whether the pods of `class` are among `pods`.
    pub(super) fn is_selected(&self, class: u32, pods: &Pods, cluster: &Cluster) -> bool {
        let look = self.look(class);
        look.is_some_and(|pod| pods.select(&in_namespace(pod, cluster)))
    }

    fn holds(&self, class: u32, pods: &Pods, cluster: &Cluster) -> bool {
        let look = self.look(class);
        look.is_some_and(|pod| pods.pods.matches(&in_namespace(pod, cluster)))
    }

    fn look(&self, class: u32) -> Option<&Pod> {
        let class = self.classes.get(class as usize)?.as_ref()?;
        let Look(pod) = &class.look;
        Some(pod)
    }
}

/// Fewer classes than this are asked one by one; more are cheaper by set algebra.
const FEW: u64 = 32;

fn in_namespace<'p>(pod: &'p Pod, cluster: &'p Cluster) -> PodInNamespace<'p> {
    PodInNamespace {
        pod,
        namespace: cluster.namespace(&pod.namespace),
    }
}

/// What the index knows of a pod apart from the labels of its namespace.
fn each_own_label(pod: &Pod, mut see: impl FnMut(&Key, &str)) {
    for (key, value) in &pod.labels {
        see(&Key::Label(key.clone()), value);
    }
    let name_label = Key::NamespaceLabel(NAME_LABEL.to_owned());
    see(&name_label, &pod.namespace);
    see(&Key::Namespace, &pod.namespace);
    let account = pod.service_account.as_deref().unwrap_or("default");
    see(&Key::ServiceAccount, account);
}

fn each_namespace_label(labels: Option<&Labels>, mut see: impl FnMut(&Key, &str)) {
    for (key, value) in labels.into_iter().flatten() {
        if key != NAME_LABEL {
            see(&Key::NamespaceLabel(key.clone()), value);
        }
    }
}
