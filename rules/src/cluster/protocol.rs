//! IP protocols, as policies and flow records name them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An IP protocol. The three that NetworkPolicy knows have names, every other one keeps its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// IP protocol 6, the default of every dialect but Cilium's.
    #[default]
    Tcp,
    /// IP protocol 17.
    Udp,
    /// IP protocol 132.
    Sctp,
    /// Any other, by its IANA number: 1 is ICMP, 58 is ICMPv6.
    Other(u8),
}

impl Protocol {
    /// ICMP of IPv4.
    pub const ICMP: Self = Self::Other(1);
    /// ICMP of IPv6.
    pub const ICMP_V6: Self = Self::Other(58);

    /// The protocol with this IANA number.
    ///
    /// ```
    /// use flowaudit_rules::cluster::Protocol;
    /// assert_eq!(Protocol::from_number(17), Protocol::Udp);
    /// assert_eq!(Protocol::from_number(1), Protocol::Other(1));
    /// ```
    pub fn from_number(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }

    /// The IANA number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }

    /// Whether connections of this protocol have ports that a policy can name.
    pub fn has_ports(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("TCP"),
            Self::Udp => f.write_str("UDP"),
            Self::Sctp => f.write_str("SCTP"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

/// A protocol that is neither a name we know nor a number from 0 to 255.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IP protocol")]
pub struct UnknownProtocol(pub String);

impl UnknownProtocol {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        Some("write TCP, UDP, SCTP, ICMP, ICMPv6 or the protocol's number".to_owned())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    /// Reads a name in any case, or a number.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = [
            ("TCP", Self::Tcp),
            ("UDP", Self::Udp),
            ("SCTP", Self::Sctp),
            ("ICMP", Self::ICMP),
            ("ICMPv6", Self::ICMP_V6),
        ];
        if let Some((_, protocol)) = named
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
        {
            return Ok(*protocol);
        }
        text.parse::<u8>()
            .map(Self::from_number)
            .map_err(|_| UnknownProtocol(text.chars().take(64).collect()))
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_prints_and_reads_back() {
        for number in 0..=u8::MAX {
            let protocol = Protocol::from_number(number);
            assert_eq!(protocol.number(), number);
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
    }

    #[test]
    fn names_in_any_case_and_nothing_else() {
        assert_eq!("sctp".parse(), Ok(Protocol::Sctp));
        assert_eq!("icmp".parse(), Ok(Protocol::Other(1)));
        assert!("".parse::<Protocol>().is_err());
        assert!("256".parse::<Protocol>().is_err());
        assert!("TCP ".parse::<Protocol>().is_err());
    }

    #[test]
    fn what_is_none_says_what_to_write() {
        let error = "QUIC".parse::<Protocol>().unwrap_err();
        assert_eq!(error.to_string(), "`QUIC` is not an IP protocol");
        assert!(error.help().unwrap().starts_with("write TCP, UDP"));
    }
}
