//! Address blocks: the second of the three matchers (policy-semantics §1.3 and §1.7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// An address block with exceptions: `ipBlock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The block; host bits are zero.
    pub cidr: IpNet,
    /// Blocks strictly inside that do not count. They limit this block only.
    pub except: Vec<IpNet>,
}

impl Block {
    /// Whether `address` is in the block and in none of its exceptions. Families do not mix.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|except| except.contains(&address))
    }
}

/// Reads `address/length` as the API server does: nothing but that form; host bits are masked; leading zeros in the
/// octets of a v4 address, which legacy objects have, are decimal.
pub fn parse(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let digits =
        !length.is_empty() && length.len() <= 3 && length.bytes().all(|b| b.is_ascii_digit());
    let canonical = length == "0" || !length.starts_with('0');
    if !digits || !canonical {
        return None;
    }
    let net = IpNet::new(parse_address(address)?, length.parse().ok()?).ok()?;
    Some(net.trunc())
}

/// Reads an address; leading zeros in v4 octets are decimal.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = part.trim_start_matches('0');
        *octet = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
    }
    parts
        .next()
        .is_none()
        .then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// Whether `inner` is a part of `outer` and not all of it.
pub fn strictly_inside(inner: &IpNet, outer: &IpNet) -> bool {
    outer.contains(inner) && inner.prefix_len() > outer.prefix_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_host_bits_and_reads_legacy_octets() {
        let shown = |text| parse(text).map(|net| net.to_string());
        assert_eq!(shown("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(shown("010.001.000.000/16").as_deref(), Some("10.1.0.0/16"));
        assert_eq!(shown("2001:db8::7/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(shown("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
    }

    #[test]
    fn refuses_every_other_form() {
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/255.0.0.0",
            "10.0.0/8",
            "10.0.0.0.0/8",
            "10.0.0.256/8",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "2001:db8::/129",
            "::/",
            "a/8",
            "10.0.0.-1/8",
            "10.0.0.0/-1",
            "10..0.0/8",
            "fe80::1%eth0/64",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn exceptions_limit_their_block() {
        let block = Block {
            cidr: parse("10.0.0.0/8").unwrap(),
            except: vec![parse("10.1.0.0/16").unwrap()],
        };
        assert!(block.contains("10.2.0.1".parse().unwrap()));
        assert!(!block.contains("10.1.0.1".parse().unwrap()));
        assert!(!block.contains("::ffff:10.2.0.1".parse().unwrap()));
        let all_v4 = Block {
            cidr: parse("0.0.0.0/0").unwrap(),
            except: vec![],
        };
        assert!(!all_v4.contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn strictly_inside_is_not_equal() {
        let net = |text| parse(text).unwrap();
        assert!(strictly_inside(&net("10.1.0.0/16"), &net("10.0.0.0/8")));
        assert!(!strictly_inside(&net("10.0.0.0/8"), &net("10.0.0.0/8")));
        assert!(!strictly_inside(&net("10.0.0.0/8"), &net("10.1.0.0/16")));
        assert!(!strictly_inside(&net("2001:db8::/64"), &net("0.0.0.0/0")));
    }
}
