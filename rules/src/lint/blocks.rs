//! Address blocks that admit nothing, or that mean pods on one engine and not on another (policy-semantics §1.3, §4.2).

use std::net::IpAddr;

use ipnet::IpNet;

use super::world::{Declared, World};
use super::{Found, Lint, Needs, Severity};
use crate::cidr::Block;
use crate::cluster::Pod;
use crate::dialect::network_policy::Peer;
use crate::reading::Engine;

pub(super) const EXCEPT_COVERS_ALL: Lint = Lint {
    id: "except-covers-block",
    severity: Severity::Medium,
    finds: "Exceptions that together cover the whole of their block.",
    matters: "The entry admits nobody.",
    wrong: "It is meant to switch the entry off.",
    fix: "Remove the exceptions that go too far, or the entry.",
    needs: Needs::Policies,
};

pub(super) const COVERS_PODS: Lint = Lint {
    id: "block-covers-pods",
    severity: Severity::Medium,
    finds: "An `ipBlock` with addresses of pods in it.",
    matters: "Whether it matches pods depends on the engine: Felix compares addresses, Cilium does not. On an ACK cluster \
        with eBPF it admits none of these pods, and what works on an older cluster fails on a newer one.",
    wrong: "The block is meant for what lies outside, and pods are admitted or kept out by other entries: low for blocks \
        that reach beyond private addresses. With `--engine felix` nothing is reported.",
    fix: "Admit pods by `podSelector` and `namespaceSelector`, and keep `ipBlock` for addresses outside the cluster.",
    needs: Needs::Pods,
};

/// Private addresses: a block within them is hardly meant for the Internet.
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

/// How many pods of a block are held against its exceptions.
const PODS_TRIED: usize = 1_000;

pub(super) fn find(world: &World<'_>, found: &mut Found) {
    let private: Vec<IpNet> = PRIVATE
        .iter()
        .filter_map(|text| crate::cidr::parse(text))
        .collect();
    let pods = pods_by_address(world);
    for declared in world.checked() {
        for (_, field, peer) in declared.peers() {
            let Peer::Block(block) = peer else { continue };
            let at = (declared, format!("{field}.ipBlock"));
            if is_all_excepted(block) {
                let message = format!(
                    "the exceptions cover all of {}, so it admits nobody",
                    block.cidr
                );
                let field = format!("{}.except", at.1);
                found.add(
                    &EXCEPT_COVERS_ALL,
                    (declared, &field),
                    message,
                    "remove the exceptions that go too far, or the entry",
                );
            } else if world.engine != Engine::Felix {
                let inside = first_inside(&pods, block);
                if let Some((address, pod)) = inside {
                    let is_private = private.iter().any(|net| net.contains(&block.cidr));
                    covers_pods(
                        world,
                        found,
                        (declared, &at.1),
                        block,
                        (address, pod),
                        is_private,
                    );
                }
            }
        }
    }
}

fn covers_pods(
    world: &World<'_>,
    found: &mut Found,
    at: (&Declared<'_>, &str),
    block: &Block,
    (address, pod): (IpAddr, &Pod),
    is_private: bool,
) {
    let depends = match world.engine {
        Engine::Cilium => "on Cilium ipBlock never matches pods, so these are not admitted",
        _ => "Felix admits them, Cilium does not",
    };
    let message = format!(
        "{} covers addresses of pods, such as {address} of {}; {depends}",
        block.cidr,
        pod.key()
    );
    let severity = match is_private {
        true => Severity::Medium,
        false => Severity::Low,
    };
    let fix = "admit pods by podSelector and namespaceSelector; keep ipBlock for addresses outside the cluster";
    found.add_as(&COVERS_PODS, severity, at, message, fix);
}

/// Each exception is smaller than the block, but together they may be all of it.
fn is_all_excepted(block: &Block) -> bool {
    !block.except.is_empty() && IpNet::aggregate(&block.except).contains(&block.cidr)
}

/// Unfinished pods with a network of their own, by address.
fn pods_by_address<'a>(world: &World<'a>) -> Vec<(IpAddr, &'a Pod)> {
    let pods = world.cluster.pods().iter();
    let mut addresses: Vec<(IpAddr, &Pod)> = pods
        .filter(|pod| !pod.is_finished() && !pod.host_network)
        .flat_map(|pod| pod.addresses.iter().map(move |address| (*address, pod)))
        .collect();
    addresses.sort_by_key(|(address, _)| *address);
    addresses
}

fn first_inside<'a>(pods: &[(IpAddr, &'a Pod)], block: &Block) -> Option<(IpAddr, &'a Pod)> {
    let from = pods.partition_point(|(address, _)| *address < block.cidr.network());
    let inside = pods.get(from..)?.iter();
    inside
        .take_while(|(address, _)| block.cidr.contains(address))
        .take(PODS_TRIED)
        .find(|(address, _)| block.contains(*address))
        .copied()
}
