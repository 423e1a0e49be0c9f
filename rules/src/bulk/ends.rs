//! Who the ends of probes are. What a probe needs of a pod lies close together here: most of the time of an answer goes
//! into waiting for memory.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::probe::{ProbeError, shorten};
use crate::cluster::{Cluster, Holder, Pod};
use crate::evaluate::Party;

/// The pods of a world by `namespace/name`.
pub(super) struct Ends<'a> {
    pods: HashMap<String, NamedPod<'a>, RandomState>,
}

/// A pod as probes name it.
#[derive(Clone, Copy)]
pub(super) struct NamedPod<'a> {
    pub(super) pod: &'a Pod,
    /// Its place among the pods of the cluster.
    pub(super) index: usize,
    /// Its first address of each family, in its order; those of its node while it has none.
    addresses: [Option<IpAddr>; 2],
}

/// An end of a probe.
pub(super) enum Named<'a> {
    Pod(NamedPod<'a>),
    Address(IpAddr),
}

impl<'a> Ends<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        let pods = cluster.pods().iter().enumerate();
        let named = |(index, pod): (usize, &'a Pod)| NamedPod {
            pod,
            index,
            addresses: first_of_each_family(match pod.addresses.is_empty() {
                true => &pod.host_addresses,
                false => &pod.addresses,
            }),
        };
        Self {
            pods: pods.map(|pod| (pod.1.key(), named(pod))).collect(),
        }
    }

    /// What `text` names.
    pub(super) fn named(&self, text: &str) -> Result<Named<'a>, ProbeError> {
        match text.contains('/') {
            true => match self.pods.get(text) {
                Some(pod) => Ok(Named::Pod(*pod)),
                None => Err(ProbeError::UnknownPod(shorten(text))),
            },
            false => match text.parse::<IpAddr>() {
                Ok(address) => Ok(Named::Address(address.to_canonical())),
                Err(_) => Err(ProbeError::NeitherPodNorAddress(shorten(text))),
            },
        }
    }
}

impl<'a> NamedPod<'a> {
    /// The pod by one of its addresses, or as it is known without.
    pub(super) fn party(&self, address: Option<IpAddr>) -> Party<'a> {
        match address {
            Some(_) => Party {
                address,
                holder: Holder::Pod(self.pod),
            },
            None => Party::pod(self.pod),
        }
    }
}

impl Named<'_> {
    fn addresses(&self) -> [Option<IpAddr>; 2] {
        match self {
            Self::Pod(pod) => pod.addresses,
            Self::Address(address) => [Some(*address), None],
        }
    }
}

fn first_of_each_family(addresses: &[IpAddr]) -> [Option<IpAddr>; 2] {
    let first = addresses.first().copied();
    let is_other = |address: &&IpAddr| first.is_some_and(|f| f.is_ipv4() != address.is_ipv4());
    [first, addresses.iter().find(is_other).copied()]
}

/// The addresses of the first family of the client that the server has too.
pub(super) fn shared_family(client: &Named<'_>, server: &Named<'_>) -> Option<(IpAddr, IpAddr)> {
    let theirs = server.addresses();
    client.addresses().into_iter().flatten().find_map(|ours| {
        let mut theirs = theirs.into_iter().flatten();
        let same = theirs.find(|theirs| theirs.is_ipv4() == ours.is_ipv4())?;
        Some((ours, same))
    })
}
