//! What is known of each pod by namespace, node, address and port name, and how it changes when a pod does.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use super::{Cluster, Namespace, Node, Pod, PortOwner};

impl Cluster {
    /// Adds a namespace or replaces the one of its name.
    pub fn set_namespace(&mut self, namespace: Namespace) {
        let namespace = namespace.with_name_label();
        self.namespaces.insert(namespace.name.clone(), namespace);
    }

    /// Adds a pod, as the last of [`Cluster::pods`], or replaces the one of its name where that stands. Returns where.
    pub fn set_pod(&mut self, pod: Pod) -> usize {
        let before = self
            .pod_index(&pod.namespace, &pod.name)
            .and_then(|index| self.unindex_pod(index));
        let index = self.add_pod(pod);
        let after = self.index_pod(index);
        self.update_nodes([before, after]);
        index
    }

    /// Takes a pod away; the last of [`Cluster::pods`] takes its place, which is returned. The namespace stays.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) -> Option<usize> {
        let index = self.pod_index(namespace, name)?;
        let node = self.unindex_pod(index);
        if let Some(by_name) = self.pods_by_name.get_mut(namespace) {
            by_name.remove(name);
        }
        let last = self.pods.len() - 1;
        if index != last {
            self.unindex_pod(last);
        }
        self.pods.swap_remove(index);
        if let Some(moved) = self.pods.get(index) {
            if let Some(by_name) = self.pods_by_name.get_mut(&moved.namespace) {
                by_name.insert(moved.name.clone(), index);
            }
            self.index_pod(index);
        }
        self.update_nodes([node, None]);
        Some(index)
    }

    /// Enters a pod into the indexes; returns the name under which its node is known.
    pub(super) fn index_pod(&mut self, index: usize) -> Option<String> {
        let pod = self.pods.get(index)?;
        note(&mut self.pods_by_namespace, pod.namespace.clone(), index);
        for port in pod
            .ports
            .iter()
            .filter(|port| port.owner != PortOwner::Init)
        {
            if let Some(name) = &port.name {
                let numbers = self.named_ports.entry(name.clone()).or_default();
                *numbers.entry((port.protocol, port.port)).or_default() += 1;
            }
        }
        let node = known_node(pod);
        if let Some(node) = &node {
            let on_node = self.pods_by_node.entry(node.clone()).or_default();
            insert(on_node, index);
        }
        if !pod.is_finished() {
            match (pod.host_network, &pod.node) {
                (true, Some(node)) => note(&mut self.host_pods_by_node, node.clone(), index),
                (true, None) => {}
                (false, _) => {
                    for address in &pod.addresses {
                        note(&mut self.pods_by_address, *address, index);
                    }
                }
            }
        }
        self.forget_backends(index);
        node
    }

    /// Undoes [`index_pod`](Self::index_pod).
    fn unindex_pod(&mut self, index: usize) -> Option<String> {
        let pod = self.pods.get(index)?;
        forget(&mut self.pods_by_namespace, &pod.namespace, index);
        for port in pod
            .ports
            .iter()
            .filter(|port| port.owner != PortOwner::Init)
        {
            let numbers = port.name.as_ref().and_then(|n| self.named_ports.get_mut(n));
            if let Some(numbers) = numbers
                && let Some(times) = numbers.get_mut(&(port.protocol, port.port))
            {
                *times -= 1;
                if *times == 0 {
                    numbers.remove(&(port.protocol, port.port));
                }
            }
        }
        let node = known_node(pod);
        if let Some(on_node) = node.as_ref().and_then(|n| self.pods_by_node.get_mut(n)) {
            on_node.retain(|of| *of != index);
        }
        if let Some(node) = &pod.node {
            forget(&mut self.host_pods_by_node, node, index);
        }
        for address in &pod.addresses {
            forget(&mut self.pods_by_address, address, index);
        }
        self.forget_backends(index);
        node
    }

    /// The Services of a pod's namespace are looked through again when they are next asked about.
    fn forget_backends(&mut self, pod: usize) {
        let namespace = self.pods.get(pod).map(|pod| &pod.namespace);
        let services = namespace.and_then(|namespace| self.services_by_name.get(namespace));
        for index in services.into_iter().flat_map(HashMap::values) {
            if let Some(backends) = self.backends.get_mut(*index) {
                backends.take();
            }
        }
    }

    /// Looks through the nodes again where a change of a pod may concern one of these.
    fn update_nodes(&mut self, names: [Option<String>; 2]) {
        let is_same = |name: &String| self.node(name).cloned() == self.find_node(name);
        if !names.iter().flatten().all(is_same) {
            self.find_nodes();
        }
    }

    /// All nodes: those declared, and those and their addresses that only the status of pods tells.
    pub(super) fn find_nodes(&mut self) {
        self.pods_by_node.retain(|_, pods| !pods.is_empty());
        let declared = self.declared_nodes.iter().map(|node| &node.name);
        let mut names: Vec<&String> = declared.collect();
        let is_only_told = |name: &&String| self.declared(name).is_none();
        names.extend(self.pods_by_node.keys().filter(is_only_told));
        let found = names.into_iter().filter_map(|name| self.find_node(name));
        let nodes: Vec<Node> = found.collect();
        self.nodes_by_name.clear();
        self.nodes_by_address.clear();
        for (index, node) in nodes.iter().enumerate() {
            self.nodes_by_name.insert(node.name.clone(), index);
            for address in &node.addresses {
                self.nodes_by_address.entry(*address).or_insert(index);
            }
        }
        self.nodes = nodes;
    }

    fn declared(&self, name: &str) -> Option<&Node> {
        // Invariant: declared nodes come first among all, in their order.
        let index = *self.nodes_by_name.get(name)?;
        self.declared_nodes.get(index)
    }

    /// A node as it is declared and as the pods on it tell.
    fn find_node(&self, name: &str) -> Option<Node> {
        let pods = self.pods_by_node.get(name).filter(|pods| !pods.is_empty());
        let mut node = match (self.declared(name), pods) {
            (None, None) => return None,
            (Some(declared), _) => declared.clone(),
            (None, Some(_)) => Node {
                name: name.to_owned(),
                ..Node::default()
            },
        };
        let pods = pods
            .into_iter()
            .flatten()
            .filter_map(|&index| self.pods.get(index));
        for pod in pods {
            let shared = match pod.host_network {
                true => pod.addresses.as_slice(),
                false => &[],
            };
            for address in pod.host_addresses.iter().chain(shared) {
                if !node.addresses.contains(address) {
                    node.addresses.push(*address);
                }
            }
        }
        Some(node)
    }
}

/// The name of the pod's node; where the pod names none, its host address does.
fn known_node(pod: &Pod) -> Option<String> {
    let by_address = || pod.host_addresses.first().map(ToString::to_string);
    pod.node.clone().or_else(by_address)
}

/// Lists stay in the order of the pods, as if they had been made anew.
fn note<K: Eq + Hash, S: BuildHasher>(lists: &mut HashMap<K, Vec<usize>, S>, key: K, index: usize) {
    insert(lists.entry(key).or_default(), index);
}

fn insert(list: &mut Vec<usize>, index: usize) {
    if let Err(place) = list.binary_search(&index) {
        list.insert(place, index);
    }
}

fn forget<K, Q, S>(lists: &mut HashMap<K, Vec<usize>, S>, key: &Q, index: usize)
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
    S: BuildHasher,
{
    if let Some(list) = lists.get_mut(key) {
        list.retain(|of| *of != index);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}
