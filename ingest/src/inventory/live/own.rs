//! Addresses on interfaces that are a pod's own, as PodENIs show them. Pure.
//!
//! A pod shows one address of each family; the PodENI of its name shows all of its interfaces. What of them the pod does not show is held like what it
//! shows: from when its network was made, as long as it lives. The PodENI leaves `Bind` after its pod has exited, and the two are heard
//! of in either order.

use std::net::IpAddr;
use std::sync::Arc;

use super::compact::Name;
use super::heard::KindId;
use super::hold::{End, Hold, STATUS_LAG_US};
use super::state::{Entry, Seen, State};
use crate::inventory::history::SKEW_US;
use crate::inventory::interfaces::{Interface, SeenEni};

/// The kind of PodENIs.
pub(super) fn pod_enis() -> KindId {
    KindId::new("network.alibabacloud.com", "PodENI")
}

fn pods() -> KindId {
    KindId::new("", "Pod")
}

/// What a PodENI gives to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    uid: Arc<str>,
    addresses: Vec<(IpAddr, Arc<Interface>)>,
}

impl State {
    /// The interface of a pod's own that an address is on.
    pub(super) fn interface(&self, name: &Name, uid: &str, addr: IpAddr) -> Option<Arc<Interface>> {
        let claim = self.claims.get(name).filter(|claim| *claim.uid == *uid)?;
        let of_addr = claim.addresses.iter().find(|(of, _)| *of == addr);
        of_addr.map(|(_, interface)| Arc::clone(interface))
    }

    /// The addresses of a pod's own interfaces. Until PodENIs were listed they are those that were known before.
    pub(super) fn own_addresses(&self, name: &Name, entry: &Entry) -> Vec<IpAddr> {
        let claim = self.claims.get(name);
        match claim.filter(|claim| claim.uid == entry.uid) {
            Some(claim) => claim.addresses.iter().map(|(addr, _)| *addr).collect(),
            None if self.kinds.get(&pod_enis()).is_some_and(|kind| kind.is_live) => Vec::new(),
            None => {
                let own = entry.holds.iter().filter(|hold| hold.is_further());
                own.map(|hold| hold.addr).collect()
            }
        }
    }

    /// Whether whoever had an address by a PodENI just before was seen as well.
    pub(super) fn watches_enis(&self, at: Option<i64>) -> bool {
        let kind = self.kinds.get(&pod_enis());
        let begun = kind.filter(|kind| kind.is_live).map(|kind| kind.list.begun);
        let begun = begun.zip(at).map(|(begun, at)| at.saturating_sub(begun));
        begun.is_some_and(|for_us| for_us > STATUS_LAG_US + SKEW_US)
    }

    /// A PodENI was seen.
    pub(super) fn claim(&mut self, name: &Name, pod_eni: &SeenEni, seen: Seen) {
        let claim = pod_eni.uid.as_ref().map(|uid| Claim {
            uid: uid.as_str().into(),
            addresses: {
                let addresses = pod_eni.addresses.iter();
                let shared = addresses.map(|(addr, of)| (*addr, Arc::new(of.clone())));
                shared.collect()
            },
        });
        if self.claims.get(name) == claim.as_ref() {
            return;
        }
        match claim {
            Some(claim) => drop(self.claims.insert(name.clone(), claim)),
            None => drop(self.claims.remove(name)),
        }
        self.leave_further(name, seen.by, seen.last);
        self.take_further(name);
    }

    /// The PodENI of that name is there no more.
    pub(super) fn unclaim(&mut self, name: &Name, at: i64, last: Option<i64>) {
        if self.claims.remove(name).is_some() {
            self.leave_further(name, at, last);
        }
    }

    /// All PodENIs were listed up to `at`: what is held by none of them is not held any more.
    pub(super) fn sweep(&mut self, at: i64) {
        let last = self.kind(&pod_enis()).seen;
        let objects = &self.kind(&pods()).objects;
        let has_further = |entry: &Entry| entry.holds.iter().any(Hold::is_further);
        let mut names: Vec<Name> = Vec::new();
        for (name, entry) in objects {
            if has_further(entry) {
                names.push(name.clone());
            }
        }
        names.sort_unstable();
        for name in names {
            self.leave_further(&name, at, last);
        }
    }

    /// Ends what a pod holds by a PodENI that does not say so any more; `last` is when PodENIs were last heard before.
    fn leave_further(&mut self, name: &Name, by: i64, last: Option<i64>) {
        let claimed = self.claims.get(name).cloned();
        let kind = self.kind(&pods());
        let pods_seen = kind.seen;
        let Some(entry) = kind.objects.get_mut(name) else {
            return;
        };
        let is_claimed = |hold: &Hold| {
            let claim = claimed.as_ref().filter(|claim| claim.uid == hold.uid);
            claim.is_some_and(|claim| claim.addresses.iter().any(|(addr, _)| *addr == hold.addr))
        };
        let (left, stay): (Vec<Hold>, Vec<Hold>) = std::mem::take(&mut entry.holds)
            .into_iter()
            .partition(|hold| hold.is_further() && !is_claimed(hold));
        entry.holds = stay;
        for mut hold in left {
            // Its pod had exited before, and the API server heard of that late.
            let sure = hold.end(pods_seen).min(last.unwrap_or(i64::MAX));
            let sure = sure.saturating_sub(STATUS_LAG_US).max(hold.begin());
            hold.ended = Some(hold.ended.map_or(sure, |ended| ended.min(sure)));
            self.close(hold, pods_seen, End::Gone(by));
        }
    }

    /// What a pod that is watched holds by a PodENI, as long as what it shows in its present look.
    fn take_further(&mut self, name: &Name) {
        let Some(claim) = self.claims.get(name).cloned() else {
            return;
        };
        let kind = self.kind(&pods());
        let (is_live, pods_seen) = (kind.is_live, kind.seen);
        let is_meant = |entry: &Entry| entry.uid == claim.uid && !entry.has_finished;
        if !kind.objects.get(name).is_some_and(is_meant) {
            return;
        }
        let mut added = Vec::new();
        let watched = self.watches_enis(pods_seen);
        let kind = self.kind(&pods());
        let Some(entry) = kind.objects.get_mut(name) else {
            return;
        };
        let shown = entry.holds.iter().find(|hold| hold.is_exclusive()).cloned();
        for (addr, interface) in &claim.addresses {
            let known = entry.holds.iter_mut().find(|hold| hold.addr == *addr);
            match (known, &shown) {
                (Some(hold), _) if hold.interface.as_ref() == Some(interface) => {}
                (Some(hold), _) => {
                    hold.interface = Some(Arc::clone(interface));
                    hold.published = None;
                }
                (None, Some(shown)) if is_live => added.push(Hold {
                    addr: *addr,
                    interface: Some(Arc::clone(interface)),
                    came: shown.came && watched,
                    // In the look before it may have had this address, too.
                    before: shown.before.filter(|_| !shown.is_relooked),
                    floor: None,
                    cut: None,
                    published: None,
                    ..shown.clone()
                }),
                // The next word of the pod brings it.
                (None, _) => {}
            }
        }
        self.is_changed = true;
        for mut hold in added {
            hold.by = Arc::clone(&self.further);
            self.settled.hand_over_to(&mut hold, pods_seen);
            self.hold_again(&pods(), hold);
        }
    }
}
