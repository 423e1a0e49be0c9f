//! Interfaces that are a pod's own, as Terway's PodENIs say → addresses of that pod (history 5.3). Pure.
//!
//! A PodENI in phase `Bind` gives its addresses to the pod whose uid it names. A pod's network is not made before that, and what it is
//! made of stays while the pod lives. So the pod holds each of these addresses as long as the one that its status shows; those of its
//! further interfaces are in no status. In another phase, and of a pod with another uid, an address that outlives pods is nobody's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flowaudit_rules::kubernetes::{Body, Object};

use super::history::{By, History};
use super::ledger::Subject;
use super::rows::Known;
use super::sighting::{Holder, HolderKind, Shape};

/// An interface that is a pod's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface {
    /// As `eni_id` of flows.
    pub id: String,
    /// Its VPC, where that is known.
    pub vpc: Option<String>,
}

/// That an address is on an interface of the pod that holds it. Times are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The interface.
    pub interface: Interface,
    /// When it was first and last seen to be the pod's.
    pub bound: (i64, i64),
    /// When it was first seen not to be the pod's any more.
    pub left: Option<i64>,
}

/// A PodENI as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEni {
    /// Namespace and name, which are the pod's.
    pub name: (String, String),
    /// The uid of the pod, where the addresses are a pod's.
    pub uid: Option<String>,
    /// The addresses, each with its interface.
    pub addresses: Vec<(IpAddr, Interface)>,
}

/// What a PodENI says; nothing where the object is none.
#[must_use]
pub fn seen(object: &Object) -> Option<SeenEni> {
    let Body::PodEni(pod_eni) = &object.body else {
        return None;
    };
    // One that is being deleted keeps its phase for a while.
    let is_bound = pod_eni.is_bound && object.deletion.is_none() && !pod_eni.pod_uid.is_empty();
    let addresses = pod_eni.allocations.iter().flat_map(|allocation| {
        let interface = Interface {
            id: allocation.eni.clone(),
            vpc: allocation.vpc.clone(),
        };
        let addresses = allocation.addresses.iter();
        addresses.map(move |addr| (*addr, interface.clone()))
    });
    Some(SeenEni {
        name: (
            object.namespace.clone().unwrap_or_default(),
            object.name.clone(),
        ),
        uid: is_bound.then(|| pod_eni.pod_uid.clone()),
        addresses: addresses.collect(),
    })
}

/// All that is known of the interfaces of pods.
#[derive(Debug, Clone, Default)]
pub struct Interfaces {
    claims: BTreeMap<Holder, Claim>,
    /// By namespace and name: which pod it was bound to when.
    seen: BTreeMap<(String, String), BTreeMap<i64, Option<String>>>,
}

/// An address of a pod that its status does not show.
#[derive(Debug, Clone)]
pub struct Further {
    pub(super) holder: Holder,
    pub(super) history: History<Shape>,
    pub(super) claim: Claim,
}

impl Interfaces {
    /// A PodENI was seen at `at`.
    pub fn see(&mut self, at: i64, seen: &SeenEni) {
        let bound = self.seen.entry(seen.name.clone()).or_default();
        bound.insert(at, seen.uid.clone());
        for (addr, interface) in seen.addresses.iter().filter(|_| seen.uid.is_some()) {
            let holder = Holder {
                kind: HolderKind::Pod,
                subject: Subject {
                    group: String::new(),
                    kind: HolderKind::Pod.object_kind().to_owned(),
                    namespace: Some(seen.name.0.clone()),
                    name: seen.name.1.clone(),
                    uid: seen.uid.clone().unwrap_or_default(),
                },
                addr: addr.to_string(),
            };
            let claim = Claim {
                interface: interface.clone(),
                bound: (at, at),
                left: None,
            };
            self.claim(holder, claim);
        }
    }

    /// That an address is on an interface of its holder, beside what is known of that.
    pub fn claim(&mut self, holder: Holder, claim: Claim) {
        let known = self.claims.entry(holder).or_insert_with(|| claim.clone());
        // An interface is another one only if somebody wrote what cannot be; the same one stays in any order.
        let is_later = (claim.bound.1, &claim.interface) > (known.bound.1, &known.interface);
        if is_later {
            known.interface = claim.interface;
        }
        known.bound.0 = known.bound.0.min(claim.bound.0);
        known.bound.1 = known.bound.1.max(claim.bound.1);
        known.left = known.left.into_iter().chain(claim.left).min();
    }

    /// The interface of a holder of an address.
    #[must_use]
    pub fn of(&self, holder: &Holder) -> Option<&Claim> {
        self.claims.get(holder)
    }

    fn left(&self, holder: &Holder, claim: &Claim) -> Option<i64> {
        let subject = &holder.subject;
        let name = (
            subject.namespace.clone().unwrap_or_default(),
            subject.name.clone(),
        );
        let seen = self.seen.get(&name).into_iter().flatten();
        let others = seen.filter(|(_, uid)| uid.as_ref() != Some(&subject.uid));
        let others = others.map(|(at, _)| *at).chain(claim.left);
        others.filter(|at| *at > claim.bound.1).min()
    }
}

impl Known {
    /// The addresses that only PodENIs show, of pods that are known: as long as the one that the pod shows.
    pub(super) fn further(&self) -> Vec<Further> {
        let mut further = Vec::new();
        let is_seen = |history: &History<Shape>| !history.runs().is_empty();
        let is_shown = |holder: &Holder| self.holders.get(holder).is_some_and(is_seen);
        let claims = self.interfaces.claims.iter();
        for (holder, claim) in claims.filter(|(holder, _)| !is_shown(holder)) {
            let first = Holder {
                addr: String::new(),
                ..holder.clone()
            };
            let shown = self
                .holders
                .range(first..)
                .take_while(|(shown, _)| shown.subject == holder.subject)
                .find(|(_, history)| is_seen(history));
            let Some((_, history)) = shown else {
                continue;
            };
            if history.runs().iter().any(|run| run.content.host_network) {
                continue;
            }
            let left = self.interfaces.left(holder, claim);
            further.push(Further {
                holder: holder.clone(),
                history: history.along(By::PodEni, (claim.bound.1, left)),
                claim: claim.clone(),
            });
        }
        further
    }
}
