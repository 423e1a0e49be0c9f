//! The world at one instant: who exists, with which labels, ports and addresses.

mod change;
pub mod endpoint_slice;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod protocol;
pub mod service;
pub mod service_account;
pub mod workload;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::OnceLock;

pub use endpoint_slice::{EndpointSlice, SliceEndpoint, SlicePort, Target};
use foldhash::fast::RandomState;
pub use namespace::{NAME_LABEL, Namespace};
pub use node::Node;
pub use pod::{ContainerPort, Owner, Phase, Pod, PodTimes, PortOwner};
pub use protocol::{Protocol, UnknownProtocol};
pub use service::{Service, ServicePort, TargetPort};
pub use service_account::ServiceAccount;
pub use workload::{Owners, Workload, workload_of};

use crate::kubernetes::{Body, Issue, Object};

/// Labels of an object: key to value.
pub type Labels = BTreeMap<String, String>;

/// Who holds an address, as far as one cluster can tell (policy-semantics §0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A pod. When found by address: one with a network of its own. When named: also a host-network pod.
    Pod(&'a Pod),
    /// A node: its daemons, and every host-network pod on it, which the address cannot tell apart.
    Node(&'a Node),
    /// An address that stands for others: a ClusterIP or a load balancer of this Service.
    Service(&'a Service),
    /// Anything else.
    External,
}

/// The world at one instant, with the indexes that judging needs. [`set_pod`](Cluster::set_pod) and its like move it
/// to the next instant; what they leave is what [`Cluster::new`] would make of the same objects.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    namespaces: BTreeMap<String, Namespace>,
    /// As they were declared, without what pods tell of them.
    declared_nodes: Vec<Node>,
    /// Those declared, then those that only pods mention, by name.
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    services: Vec<Service>,

    pods_by_name: ByName,
    nodes_by_name: HashMap<String, usize>,
    services_by_name: HashMap<String, HashMap<String, usize>>,
    /// Pods with a network of their own that have not finished.
    pods_by_address: HashMap<IpAddr, Vec<usize>>,
    nodes_by_address: HashMap<IpAddr, usize>,
    services_by_address: HashMap<IpAddr, usize>,
    services_by_node_port: HashMap<(u16, Protocol), usize>,
    pods_by_namespace: HashMap<String, Vec<usize>>,
    /// Pods that say where they run, by the name of the node or, without one, its address.
    pods_by_node: BTreeMap<String, Vec<usize>>,
    /// The ready pods behind each Service, in the order of `services`.
    backends: Vec<OnceLock<Vec<usize>>>,
    /// Unfinished host-network pods by the node they run on.
    host_pods_by_node: HashMap<String, Vec<usize>>,
    /// What the whole cluster declares under one port name, and how often; ordinary init containers left out.
    named_ports: HashMap<String, BTreeMap<(Protocol, u16), usize>>,
}

/// Positions by namespace and name.
type ByName = HashMap<String, HashMap<String, usize, RandomState>, RandomState>;

impl Cluster {
    /// Builds the world. Of several objects with one name the last counts. Namespaces and nodes that only pods
    /// mention are added: every namespace has [`NAME_LABEL`], and a pod's host addresses are its node's.
    pub fn new(
        namespaces: Vec<Namespace>,
        nodes: Vec<Node>,
        pods: Vec<Pod>,
        services: Vec<Service>,
    ) -> Self {
        let mut cluster = Self::default();
        for namespace in namespaces {
            cluster
                .namespaces
                .insert(namespace.name.clone(), namespace.with_name_label());
        }
        for node in nodes {
            cluster.add_node(node);
        }
        for pod in pods {
            cluster.add_pod(pod);
        }
        for service in services {
            cluster.add_service(service);
        }
        cluster.index_services();
        for index in 0..cluster.pods.len() {
            cluster.index_pod(index);
        }
        cluster.find_nodes();
        cluster
    }

    /// The world that `objects` describe, and a warning for every object that came more than once.
    pub fn from_objects(objects: &[Object]) -> (Self, Vec<Issue>) {
        let (mut namespaces, mut nodes, mut pods, mut services) = (vec![], vec![], vec![], vec![]);
        let mut seen = HashMap::new();
        let mut issues = Vec::new();
        for object in objects {
            match &object.body {
                Body::Namespace(namespace) => namespaces.push(namespace.clone()),
                Body::Node(node) => nodes.push(node.clone()),
                Body::Pod(pod) => pods.push(pod.clone()),
                Body::Service(service) => services.push(service.clone()),
                _ => continue,
            }
            let key = (
                object.kind.as_str(),
                object.namespace.as_deref(),
                object.name.as_str(),
            );
            if let Some(earlier) = seen.insert(key, object) {
                issues.push(Issue::repeated(object, earlier));
            }
        }
        (Self::new(namespaces, nodes, pods, services), issues)
    }

    /// All namespaces, by name.
    pub fn namespaces(&self) -> &BTreeMap<String, Namespace> {
        &self.namespaces
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All pods, finished ones too.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// All Services.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The namespace called `name`.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(name)
    }

    /// The pod called `name` in `namespace`.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.get(self.pod_index(namespace, name)?)
    }

    /// Where that pod stands in [`Cluster::pods`].
    pub fn pod_index(&self, namespace: &str, name: &str) -> Option<usize> {
        self.pods_by_name.get(namespace)?.get(name).copied()
    }

    /// The Service called `name` in `namespace`.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        let index = *self.services_by_name.get(namespace)?.get(name)?;
        self.services.get(index)
    }

    /// The node called `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(*self.nodes_by_name.get(name)?)
    }

    /// Who holds `address`: unfinished pods with a network of their own, else a node, else a Service, else no one we
    /// know (policy-semantics §0). Never empty; several pods only where the inventory contradicts itself.
    pub fn holders(&self, address: IpAddr) -> Vec<Holder<'_>> {
        let address = address.to_canonical();
        if let Some(indexes) = self.pods_by_address.get(&address) {
            return indexes
                .iter()
                .filter_map(|&index| self.pods.get(index))
                .map(Holder::Pod)
                .collect();
        }
        let node = self
            .nodes_by_address
            .get(&address)
            .and_then(|&i| self.nodes.get(i));
        let service = || {
            self.services_by_address
                .get(&address)
                .and_then(|&i| self.services.get(i))
        };
        vec![match node {
            Some(node) => Holder::Node(node),
            None => service().map_or(Holder::External, Holder::Service),
        }]
    }

    /// The unfinished host-network pods of a node: under reading (b) of policy-semantics §1.6 each of them may be
    /// behind the node's address.
    pub fn host_pods(&self, node: &str) -> impl Iterator<Item = &Pod> {
        let indexes = self
            .host_pods_by_node
            .get(node)
            .map(Vec::as_slice)
            .unwrap_or_default();
        indexes.iter().filter_map(|&index| self.pods.get(index))
    }

    /// The Service that opened `port` on every node.
    pub fn node_port(&self, port: u16, protocol: Protocol) -> Option<(&Service, &ServicePort)> {
        let service = self
            .services
            .get(*self.services_by_node_port.get(&(port, protocol))?)?;
        let port = service
            .ports
            .iter()
            .find(|p| p.node_port == Some(port) && p.protocol == protocol)?;
        Some((service, port))
    }

    /// The ready pods that a connection to `service` may end at. Worked out when first asked about a Service.
    pub fn backends(&self, service: &Service) -> impl Iterator<Item = &Pod> {
        let by_name = self.services_by_name.get(&service.namespace);
        let index = by_name
            .and_then(|by_name| by_name.get(&service.name))
            .copied();
        // A caller may ask about a Service that only has the name of one of ours.
        let is_ours = |&index: &usize| {
            self.services
                .get(index)
                .is_some_and(|ours| std::ptr::eq(ours, service))
        };
        let known = index
            .filter(is_ours)
            .and_then(|index| self.backends.get(index));
        let indexes = match known {
            Some(known) => {
                Cow::Borrowed(known.get_or_init(|| self.find_backends(service)).as_slice())
            }
            None => Cow::Owned(self.find_backends(service)),
        };
        (0..indexes.len()).filter_map(move |at| self.pods.get(*indexes.get(at)?))
    }

    fn find_backends(&self, service: &Service) -> Vec<usize> {
        let in_namespace = self
            .pods_by_namespace
            .get(&service.namespace)
            .into_iter()
            .flatten();
        let is_behind = |pod: &Pod| service.selects(pod) && pod.is_ready_backend();
        in_namespace
            .copied()
            .filter(|&index| self.pods.get(index).is_some_and(is_behind))
            .collect()
    }

    /// The numbers that pods anywhere in the cluster declare under a port name.
    pub fn numbers_named(&self, name: &str, protocol: Protocol) -> impl Iterator<Item = u16> {
        let declared = self.named_ports.get(name).into_iter().flatten();
        declared
            .map(|(declared, _)| *declared)
            .filter(move |(p, _)| *p == protocol)
            .map(|(_, number)| number)
    }

    fn add_node(&mut self, mut node: Node) {
        for address in &mut node.addresses {
            *address = address.to_canonical();
        }
        match self
            .nodes_by_name
            .get(&node.name)
            .and_then(|&index| self.declared_nodes.get_mut(index))
        {
            Some(earlier) => *earlier = node,
            None => {
                self.nodes_by_name
                    .insert(node.name.clone(), self.declared_nodes.len());
                self.declared_nodes.push(node);
            }
        }
    }

    /// Puts a pod in its place and says which; the indexes are not touched.
    fn add_pod(&mut self, mut pod: Pod) -> usize {
        for address in pod.addresses.iter_mut().chain(&mut pod.host_addresses) {
            *address = address.to_canonical();
        }
        if !self.namespaces.contains_key(&pod.namespace) {
            self.namespaces
                .insert(pod.namespace.clone(), Namespace::named(&pod.namespace));
        }
        let by_name = self.pods_by_name.entry(pod.namespace.clone()).or_default();
        let next = self.pods.len();
        let index = *by_name.entry(pod.name.clone()).or_insert(next);
        match self.pods.get_mut(index) {
            Some(earlier) => *earlier = pod,
            None => self.pods.push(pod),
        }
        index
    }

    fn add_service(&mut self, mut service: Service) {
        for address in service
            .cluster_addresses
            .iter_mut()
            .chain(&mut service.load_balancer_addresses)
        {
            *address = address.to_canonical();
        }
        let by_name = self
            .services_by_name
            .entry(service.namespace.clone())
            .or_default();
        match by_name
            .get(&service.name)
            .and_then(|&index| self.services.get_mut(index))
        {
            Some(earlier) => *earlier = service,
            None => {
                by_name.insert(service.name.clone(), self.services.len());
                self.services.push(service);
            }
        }
    }

    fn index_services(&mut self) {
        self.backends = self.services.iter().map(|_| OnceLock::new()).collect();
        for (index, service) in self.services.iter().enumerate() {
            for address in service
                .cluster_addresses
                .iter()
                .chain(&service.load_balancer_addresses)
            {
                self.services_by_address.entry(*address).or_insert(index);
            }
            for port in &service.ports {
                if let Some(node_port) = port.node_port {
                    self.services_by_node_port
                        .entry((node_port, port.protocol))
                        .or_insert(index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
