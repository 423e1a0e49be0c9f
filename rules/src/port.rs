//! Port clauses: the third of the three matchers (policy-semantics §1.5).

use std::fmt;

use crate::cluster::Protocol;

/// One entry of a rule's `ports`. The protocol is one of the three that have ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortMatch {
    /// Every port of the protocol.
    All(Protocol),
    /// A closed range; a single number is a range of one.
    Range {
        /// Its protocol.
        protocol: Protocol,
        /// `port`.
        first: u16,
        /// `endPort`, or `port` again.
        last: u16,
    },
    /// A port by its name on the pod that receives the connection.
    Named {
        /// Its protocol.
        protocol: Protocol,
        /// The name.
        name: String,
    },
}

impl PortMatch {
    /// The protocol it speaks of.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::All(protocol) | Self::Range { protocol, .. } | Self::Named { protocol, .. } => {
                *protocol
            }
        }
    }
}

impl fmt::Display for PortMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(protocol) => write!(f, "any {protocol} port"),
            Self::Range {
                protocol,
                first,
                last,
            } if first == last => write!(f, "{protocol} {first}"),
            Self::Range {
                protocol,
                first,
                last,
            } => write!(f, "{protocol} {first}-{last}"),
            Self::Named { protocol, name } => write!(f, "{protocol} port `{name}`"),
        }
    }
}

/// Whether `name` may name a port: 1 to 15 characters of `a-z0-9-`, at least one letter, no `--`, no `-` at either end.
pub fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_names() {
        for name in ["http", "a", "0a", "http-8080", "abcdefghijklmno"] {
            assert!(is_port_name(name), "{name}");
        }
        for name in [
            "",
            "80",
            "HTTP",
            "a--b",
            "-a",
            "a-",
            "abcdefghijklmnop",
            "a_b",
            "é",
            "1-2",
        ] {
            assert!(!is_port_name(name), "{name}");
        }
    }
}
