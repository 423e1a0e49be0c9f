//! Which interface has an address, and so which groups judge what passes there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Membership;

/// The groups of interfaces, by the addresses that `DescribeNetworkInterfaces` lists for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Empty where two interfaces of different groups have the address, as in two VPCs.
    addresses: BTreeMap<IpAddr, Vec<String>>,
    /// Blocks from which pods of an interface take their addresses (Terway's prefix mode).
    blocks: Vec<(IpNet, Vec<String>)>,
}

impl Interfaces {
    /// Whether no interface was read.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.blocks.is_empty()
    }

    /// The groups of the interface that has `address`. An address that no interface has is outside if it is public, and
    /// else not known: the answer of the API may be older than a pod.
    pub fn membership(&self, address: IpAddr) -> Membership<'_> {
        let address = address.to_canonical();
        if let Some(groups) = self.addresses.get(&address) {
            return Membership::Groups(groups);
        }
        let mut holders = self
            .blocks
            .iter()
            .filter(|(block, _)| block.contains(&address));
        match (holders.next(), holders.next()) {
            (Some((_, groups)), None) => Membership::Groups(groups),
            (Some(_), Some(_)) => Membership::Unknown,
            (None, _) if is_public(address) => Membership::Outside,
            (None, _) => Membership::Unknown,
        }
    }

    pub(super) fn add_address(&mut self, address: IpAddr, groups: &[String]) {
        self.addresses
            .entry(address.to_canonical())
            .and_modify(|known| {
                if known != groups {
                    known.clear();
                }
            })
            .or_insert_with(|| groups.to_vec());
    }

    pub(super) fn add_block(&mut self, block: IpNet, groups: &[String]) {
        let entry = (block, groups.to_vec());
        if !self.blocks.contains(&entry) {
            self.blocks.push(entry);
        }
    }
}

/// Neither private (RFC 1918, RFC 4193), shared (RFC 6598), link-local nor this machine.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && b & 0xc0 == 64;
            !(v4.is_private() || v4.is_link_local() || v4.is_loopback() || is_shared || a == 0)
        }
        IpAddr::V6(v6) => {
            !(v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_loopback()
                || v6.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_address_belongs_to_its_interface_or_to_nobody_known() {
        let mut interfaces = Interfaces::default();
        assert!(interfaces.is_empty());
        let (a, b) = (groups(&["sg-a"]), groups(&["sg-b"]));
        interfaces.add_address("10.0.0.7".parse().unwrap(), &a);
        interfaces.add_address("10.0.0.8".parse().unwrap(), &a);
        interfaces.add_address("10.0.0.8".parse().unwrap(), &b);
        interfaces.add_block("10.0.1.16/28".parse().unwrap(), &b);
        interfaces.add_block("10.0.1.16/28".parse().unwrap(), &b);
        interfaces.add_block("10.0.2.0/28".parse().unwrap(), &a);
        interfaces.add_block("10.0.2.0/28".parse().unwrap(), &b);
        let membership = |text: &str| interfaces.membership(text.parse().unwrap());
        assert_eq!(membership("10.0.0.7"), Membership::Groups(&a));
        assert_eq!(membership("::ffff:10.0.0.7"), Membership::Groups(&a));
        assert_eq!(membership("10.0.0.8"), Membership::Groups(&[]));
        assert_eq!(membership("10.0.1.20"), Membership::Groups(&b));
        assert_eq!(membership("10.0.2.1"), Membership::Unknown);
        for unknown in [
            "10.0.1.32",
            "100.64.0.1",
            "169.254.1.1",
            "fd00::1",
            "fe80::1",
            "127.0.0.1",
            "0.0.0.0",
        ] {
            assert_eq!(membership(unknown), Membership::Unknown, "{unknown}");
        }
        for outside in ["100.128.0.1", "8.8.8.8", "2400:3200::1"] {
            assert_eq!(membership(outside), Membership::Outside, "{outside}");
        }
    }
}
