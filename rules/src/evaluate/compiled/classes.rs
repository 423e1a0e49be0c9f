//! Pods that no policy can tell apart are one class.
//!
//! A class is what policies can see of a pod at one of its addresses: namespace, labels, service account, ports, and
//! in which of the blocks that policies name the address lies. Pods that share their node's network have none.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use roaring::{MultiOps, RoaringBitmap};

use super::index::{LabelIndex, Of};
use crate::cidr::Block;
use crate::cluster::{Cluster, ContainerPort, Labels, NAME_LABEL, Pod};
use crate::label::{Key, PodInNamespace};
use crate::policy::{Namespaces, Pods};

/// The classes of one world.
#[derive(Debug)]
pub(super) struct Classes<'a> {
    cluster: &'a Cluster,
    /// One pod of each class.
    members: Vec<&'a Pod>,
    places: Places,
    /// The classes at the addresses of each piece, by its number.
    by_place: BTreeMap<usize, RoaringBitmap>,
    /// The classes of pods whose address is not known.
    placeless: RoaringBitmap,
    /// How many pods each class has.
    sizes: Vec<u32>,
    /// For each pod, in the order of [`Cluster::pods`], its addresses with their classes.
    of_pod: Vec<Vec<(Option<IpAddr>, u32)>>,
    labels: LabelIndex<'a>,
    by_namespace: HashMap<&'a str, RoaringBitmap>,
}

/// What policies can see of a pod at one address.
#[derive(PartialEq, Eq, Hash)]
struct Signature<'a> {
    namespace: &'a str,
    labels: &'a Labels,
    service_account: Option<&'a str>,
    ports: Vec<&'a ContainerPort>,
    /// `None` when the address is not known.
    place: Option<usize>,
}

impl<'a> Classes<'a> {
    /// The classes of `cluster` as far as policies that name `cidrs` can tell.
    pub(super) fn new(cluster: &'a Cluster, cidrs: impl Iterator<Item = IpNet>) -> Self {
        let mut known: HashMap<Signature<'a>, u32> = HashMap::new();
        let mut classes = Self {
            cluster,
            members: Vec::new(),
            places: Places::new(cidrs),
            by_place: BTreeMap::new(),
            placeless: RoaringBitmap::new(),
            sizes: Vec::new(),
            of_pod: Vec::with_capacity(cluster.pods().len()),
            labels: LabelIndex::default(),
            by_namespace: HashMap::new(),
        };
        for pod in cluster.pods() {
            let mut of_pod = Vec::new();
            if !pod.host_network {
                let addresses = pod.addresses.iter().copied().map(Some);
                let unknown = pod.addresses.is_empty().then_some(None);
                for address in addresses.chain(unknown) {
                    let signature = Signature {
                        namespace: &pod.namespace,
                        labels: &pod.labels,
                        service_account: pod.service_account.as_deref(),
                        ports: pod.ports.iter().collect(),
                        place: address.map(|address| classes.places.of(address.to_canonical())),
                    };
                    let next = classes.members.len() as u32;
                    let place = signature.place;
                    let class = *known.entry(signature).or_insert(next);
                    if class == next {
                        classes.add(pod, place, class);
                    }
                    if let Some(size) = classes.sizes.get_mut(class as usize) {
                        *size += 1;
                    }
                    of_pod.push((address, class));
                }
            }
            classes.of_pod.push(of_pod);
        }
        classes
    }

    fn add(&mut self, pod: &'a Pod, place: Option<usize>, class: u32) {
        self.members.push(pod);
        self.sizes.push(0);
        match place {
            Some(place) => self.by_place.entry(place).or_default().insert(class),
            None => self.placeless.insert(class),
        };
        self.labels.add(class);
        for (key, value) in &pod.labels {
            self.labels.label(class, Key::Label(key.clone()), value);
        }
        let namespace = self.cluster.namespace(&pod.namespace);
        for (key, value) in namespace.iter().flat_map(|namespace| &namespace.labels) {
            if key != NAME_LABEL {
                self.labels
                    .label(class, Key::NamespaceLabel(key.clone()), value);
            }
        }
        let name_label = Key::NamespaceLabel(NAME_LABEL.to_owned());
        self.labels.label(class, name_label, &pod.namespace);
        self.labels.label(class, Key::Namespace, &pod.namespace);
        let account = pod.service_account.as_deref().unwrap_or("default");
        self.labels.label(class, Key::ServiceAccount, account);
        let classes = self.by_namespace.entry(&pod.namespace).or_default();
        classes.insert(class);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// All of them.
    pub(super) fn all(&self) -> &RoaringBitmap {
        self.labels.all()
    }

    /// The class of `pod` at `address`; `None` for a pod that is not of this world or shares its node's network, and
    /// for an address that is not the pod's.
    pub(super) fn of(&self, pod: &Pod, address: Option<IpAddr>) -> Option<u32> {
        let index = self.cluster.pod_index(&pod.namespace, &pod.name)?;
        // A caller may ask about a pod that only has the name of one of ours.
        if !std::ptr::eq(self.cluster.pods().get(index)?, pod) {
            return None;
        }
        let of_pod = self.of_pod.get(index)?;
        let same = |known: &Option<IpAddr>| {
            known.map(|known| known.to_canonical()) == address.map(|address| address.to_canonical())
        };
        let found = of_pod.iter().find(|(known, _)| same(known));
        found.map(|(_, class)| *class)
    }

    /// The classes whose pods `pods` selects.
    pub(super) fn select(&self, pods: &Pods) -> RoaringBitmap {
        let mut selected = match &pods.namespaces {
            Namespaces::Named(name) => {
                let of_one = self.by_namespace.get(name.as_str());
                of_one.cloned().unwrap_or_default()
            }
            Namespaces::Matching(selector) => {
                self.labels.select(&selector.expression, Of::Namespaces)
            }
        };
        if !pods.pods.is_everything() && !selected.is_empty() {
            match selected.len() < FEW {
                true => {
                    selected = selected
                        .into_iter()
                        .filter(|class| self.holds(*class, pods))
                        .collect();
                }
                false => selected &= self.labels.select(&pods.pods.expression, Of::Pods),
            }
        }
        selected
    }

    /// The classes whose address lies in `block`, one that policies name.
    pub(super) fn within(&self, block: &Block) -> RoaringBitmap {
        let mut classes = self.within_net(&block.cidr);
        for except in &block.except {
            classes -= self.within_net(except);
        }
        classes
    }

    /// The classes whose address lies in `net`, one that policies name.
    pub(super) fn within_net(&self, net: &IpNet) -> RoaringBitmap {
        let places = self.by_place.range(self.places.range(net));
        places.map(|(_, classes)| classes).union()
    }

    /// The classes of pods whose address is not known.
    pub(super) fn placeless(&self) -> &RoaringBitmap {
        &self.placeless
    }

    /// The classes that have some of `pods`, and those that have no others.
    pub(super) fn holding<'p>(
        &self,
        pods: impl Iterator<Item = &'p Pod>,
    ) -> (RoaringBitmap, RoaringBitmap) {
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for pod in pods {
            let index = self.cluster.pod_index(&pod.namespace, &pod.name);
            let of_pod = index.and_then(|index| self.of_pod.get(index));
            for (_, class) in of_pod.into_iter().flatten() {
                *counts.entry(*class).or_default() += 1;
            }
        }
        let some = counts.keys().copied().collect();
        let only = counts
            .iter()
            .filter(|(class, count)| self.sizes.get(**class as usize) == Some(count));
        (some, only.map(|(class, _)| *class).collect())
    }

    fn holds(&self, class: u32, pods: &Pods) -> bool {
        self.members.get(class as usize).is_some_and(|pod| {
            pods.pods.matches(&PodInNamespace {
                pod,
                namespace: self.cluster.namespace(&pod.namespace),
            })
        })
    }
}

/// Fewer classes than this are asked one by one; more are cheaper by set algebra.
const FEW: u64 = 32;

/// The pieces into which blocks cut the addresses: within a piece all addresses lie in the same blocks.
#[derive(Debug)]
struct Places {
    /// Where a piece begins, upwards; IPv4 before IPv6.
    begins: Vec<(bool, u128)>,
}

impl Places {
    fn new(cidrs: impl Iterator<Item = IpNet>) -> Self {
        let mut begins = Vec::new();
        for cidr in cidrs {
            let is_v6 = cidr.network().is_ipv6();
            begins.push((is_v6, number(cidr.network())));
            // The last address of all has no successor, and needs none.
            if let Some(after) = number(cidr.broadcast()).checked_add(1) {
                begins.push((is_v6, after));
            }
        }
        // The families are told apart even where no block is named.
        begins.push((true, 0));
        begins.sort_unstable();
        begins.dedup();
        Self { begins }
    }

    /// The numbers of the pieces that lie in `cidr`, one of those this was made of.
    fn range(&self, cidr: &IpNet) -> Range<usize> {
        let last = self.of(cidr.broadcast());
        self.of(cidr.network())..last + 1
    }

    /// The number of the piece that holds `address`.
    fn of(&self, address: IpAddr) -> usize {
        let at = (address.is_ipv6(), number(address));
        self.begins.partition_point(|begin| *begin <= at)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}
