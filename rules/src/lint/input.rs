//! What is checked, and what is around it.

use std::collections::HashMap;

use crate::cluster::Cluster;
use crate::kubernetes::{Body, Issue, Manifest, Object, Places};

/// The manifests that are checked, and the cluster they are for as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    pub(super) checked: Vec<Object>,
    /// One for each of `checked`.
    pub(super) places: Vec<Places>,
    pub(super) issues: Vec<Issue>,
    pub(super) context: Vec<Object>,
}

impl Input {
    /// Adds a manifest to be checked, as [`read_with_places`](crate::kubernetes::read_with_places) gives it. What it
    /// holds takes the place of what the context has under the same name, as when it is applied.
    pub fn check(&mut self, manifest: Manifest, mut places: Vec<Places>) {
        places.resize(manifest.objects.len(), Places::default());
        self.checked.extend(manifest.objects);
        self.places.extend(places);
        self.issues.extend(manifest.issues);
    }

    /// Adds what the cluster holds besides: it counts, and is not checked itself.
    pub fn context(&mut self, manifest: Manifest) {
        self.context.extend(manifest.objects);
    }

    /// Everything, what is checked last.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.context.iter().chain(&self.checked)
    }

    /// The world of context and manifests together.
    pub(super) fn cluster(&self) -> Cluster {
        let (mut namespaces, mut nodes, mut pods, mut services) = (vec![], vec![], vec![], vec![]);
        for object in self.objects() {
            match &object.body {
                Body::Namespace(namespace) => namespaces.push(namespace.clone()),
                Body::Node(node) => nodes.push(node.clone()),
                Body::Pod(pod) => pods.push(pod.clone()),
                Body::Service(service) => services.push(service.clone()),
                _ => {}
            }
        }
        Cluster::new(namespaces, nodes, pods, services)
    }

    /// A warning for every checked object that takes the place of another checked one.
    pub(super) fn repeated(&self) -> Vec<Issue> {
        let mut seen = HashMap::new();
        let mut issues = Vec::new();
        for object in &self.checked {
            let key = (
                object.group.as_str(),
                object.kind.as_str(),
                object.namespace.as_deref(),
                object.name.as_str(),
            );
            // A name that is made up when the object is applied is not one yet.
            if object.name.is_empty() {
                continue;
            }
            if let Some(earlier) = seen.insert(key, object) {
                issues.push(Issue::repeated(object, earlier));
            }
        }
        issues
    }
}
