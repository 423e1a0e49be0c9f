//! Ranges of addresses that have a name: those of the cloud's own services, and those that the user names.
//!
//! The closest range that contains an address is its name; of two equal ones the user's. Where a pod or node is known to
//! have held an address, no range is asked.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

/// A range with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRange {
    /// Its name.
    pub name: String,
    /// What it is: [`CIDR_SET`] for what the user names, [`CLOUD_SERVICE`].
    pub kind: &'static str,
    /// The range.
    pub net: IpNet,
    /// The VPC in which the addresses are meant; any where it is not set.
    pub vpc: Option<String>,
}

/// The kind of what the user names.
pub const CIDR_SET: &str = "cidr-set";
/// The kind of what Alibaba Cloud runs: DNS, metadata, and what else answers in 100.64.0.0/10.
pub const CLOUD_SERVICE: &str = "cloud-service";
/// What a client is in 100.64.0.0/10: load balancers forward and check health from there.
pub const LOAD_BALANCER_RANGE: &str = "load-balancer-range";

/// Names of the ranges that are built in, see `aliyun.md` 1.6 of the reference: the resolvers of the VPC and those beside
/// them that are kept for it, the metadata service, and the range of the cloud's services and load balancers.
const BUILT_IN: [(&str, &str); 6] = [
    ("dns", "100.100.2.116/31"),
    ("dns", "100.100.2.118/32"),
    ("dns", "100.100.2.136/31"),
    ("dns", "100.100.2.138/32"),
    ("metadata", "100.100.100.200/32"),
    (SHARED, "100.64.0.0/10"),
];

/// The name of 100.64.0.0/10 as a whole.
const SHARED: &str = "alibaba-cloud";

/// The ranges that are built in.
pub fn built_in() -> impl Iterator<Item = NamedRange> {
    let range = |(name, net): (&str, &str)| {
        Some(NamedRange {
            name: name.to_owned(),
            kind: CLOUD_SERVICE,
            net: net.parse().ok()?,
            vpc: None,
        })
    };
    BUILT_IN.into_iter().filter_map(range)
}

/// Whether findings and edges treat a party of that kind as someone outside, at an address of a range.
pub fn is_range(kind: &str) -> bool {
    matches!(kind, CIDR_SET | CLOUD_SERVICE | LOAD_BALANCER_RANGE)
}

/// The word for what a client is: what asks from the range of the cloud's services is a load balancer.
pub fn kind_of_client<'k>(kind: &'k str, name: &str) -> &'k str {
    match (kind, name) {
        (CLOUD_SERVICE, SHARED) => LOAD_BALANCER_RANGE,
        _ => kind,
    }
}

/// Ranges, found by an address.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Per range, what it stands for, by VPC; earlier entries first.
    by_net: HashMap<IpNet, Vec<(Option<String>, u32)>>,
    /// Lengths of the ranges.
    lengths: BTreeSet<u8>,
}

impl Ranges {
    /// Adds a range that stands for `identity`. What was added before goes first.
    pub(super) fn add(&mut self, net: IpNet, vpc: Option<String>, identity: u32) {
        let net = net.trunc();
        self.lengths.insert(net.prefix_len());
        self.by_net.entry(net).or_default().push((vpc, identity));
    }

    /// The closest range around an address, by its length and what it stands for. One of a VPC is not asked where it is not
    /// known in which VPC the address is meant.
    pub(super) fn closest(&self, address: IpAddr, vpc: Option<&str>) -> Option<(u8, u32)> {
        self.lengths.iter().rev().find_map(|length| {
            let net = IpNet::new(address, *length).ok()?.trunc();
            let same = |(of, _): &&(Option<String>, u32)| match (of.as_deref(), vpc) {
                (Some(of), vpc) => Some(of) == vpc,
                (None, _) => true,
            };
            let (_, identity) = self.by_net.get(&net)?.iter().find(same)?;
            Some((*length, *identity))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_range_names_an_address() {
        let mut ranges = Ranges::default();
        let nets = ["10.0.0.0/8", "10.8.0.0/16", "10.8.1.5/32", "2001:db8::/32"];
        for (number, net) in nets.iter().enumerate() {
            ranges.add(net.parse().unwrap(), None, number as u32);
        }
        let of = |text: &str| ranges.closest(text.parse().unwrap(), Some("vpc-1"));
        assert_eq!(of("10.9.0.1"), Some((8, 0)));
        assert_eq!(of("10.8.1.4"), Some((16, 1)));
        assert_eq!(of("10.8.1.5"), Some((32, 2)));
        assert_eq!(of("2001:db8::7"), Some((32, 3)));
        assert_eq!(of("192.0.2.1"), None);
    }

    #[test]
    fn a_range_of_one_vpc_says_nothing_of_another() {
        let mut ranges = Ranges::default();
        let net: IpNet = "10.8.0.0/16".parse().unwrap();
        ranges.add(net, Some("vpc-1".into()), 1);
        ranges.add(net, Some("vpc-2".into()), 2);
        let of = |vpc| ranges.closest("10.8.1.4".parse().unwrap(), vpc);
        assert_eq!(of(Some("vpc-2")), Some((16, 2)));
        assert_eq!(of(Some("vpc-3")), None);
        assert_eq!(of(None), None);
    }

    #[test]
    fn what_is_built_in_is_well_written() {
        assert_eq!(built_in().count(), BUILT_IN.len());
        for range in built_in() {
            assert_eq!(range.net, range.net.trunc());
        }
    }
}
