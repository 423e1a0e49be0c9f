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

/// Protocol and port of the receiving end, in the common form: what the port clauses of every dialect become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Its protocol; `None` is any.
    pub protocol: Option<Protocol>,
    /// Its port; `None` is any, and all of a protocol without ports.
    pub port: Option<PortClause>,
}

/// Which port, within a [`Traffic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortClause {
    /// A closed range; a single number is a range of one.
    Range(u16, u16),
    /// By its name on the pod that receives the connection.
    Named(String),
}

impl From<&PortMatch> for Traffic {
    fn from(port: &PortMatch) -> Self {
        Self {
            protocol: Some(port.protocol()),
            port: match port {
                PortMatch::All(_) => None,
                PortMatch::Range { first, last, .. } => Some(PortClause::Range(*first, *last)),
                PortMatch::Named { name, .. } => Some(PortClause::Named(name.clone())),
            },
        }
    }
}

impl fmt::Display for Traffic {
    /// `TCP 80`, `TCP port `http``, `any TCP port`, `port 80`, `protocol 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(port) = &self.port else {
            return match self.protocol {
                None => f.write_str("any port"),
                Some(protocol) if protocol.has_ports() => write!(f, "any {protocol} port"),
                Some(protocol) => write!(f, "protocol {protocol}"),
            };
        };
        match (self.protocol, port) {
            (Some(protocol), _) => write!(f, "{protocol} ")?,
            (None, PortClause::Range(..)) => f.write_str("port ")?,
            (None, PortClause::Named(_)) => {}
        }
        match port {
            PortClause::Range(first, last) if first == last => write!(f, "{first}"),
            PortClause::Range(first, last) => write!(f, "{first}-{last}"),
            PortClause::Named(name) => write!(f, "port `{name}`"),
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
