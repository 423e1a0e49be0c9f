//! Security groups: the layer of the cloud below policies, which judges what passes an elastic network interface.
//!
//! [`read`] takes what `DescribeSecurityGroupAttribute` and its neighbours answer, [`SecurityGroups`] holds it, and
//! [`SecurityGroups::judge`] says what it means for one connection: egress at the client's interface, ingress at the
//! server's. Groups are stateful, so replies pass and only the opening direction is asked. How a group decides is
//! written in section 6.3 of the notes on the cloud's API; where they are silent or unconfirmed the verdict is
//! unspecified and says why.
//!
//! Network ACLs are another layer and not looked at here. Nor does this layer see what never leaves a node.

mod interfaces;
mod judge;
mod layered;
mod print;
mod read;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use crate::cluster::Protocol;
use crate::policy::Direction;

pub use interfaces::Interfaces;
pub use judge::{Interface, InterfaceConnection, Membership};
pub use layered::LayeredVerdict;
pub use read::{SecurityGroupManifest, read};
pub use verdict::{SecurityReason, SecuritySide, SecurityVerdict, Unspecified};

/// The priority of a rule that has none; smaller is stronger.
pub const PRIORITY_DEFAULT: u8 = 1;

/// The weakest priority.
pub const PRIORITY_MAX: u8 = 100;

/// Everything that was read, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroups {
    /// The groups.
    pub groups: BTreeMap<String, SecurityGroup>,
    /// The blocks of prefix lists. A list that rules name and that is not here leaves them undecided.
    pub prefix_lists: BTreeMap<String, Vec<IpNet>>,
    /// The ranges of port lists, in the same way.
    pub port_lists: BTreeMap<String, Vec<PortRange>>,
}

/// One security group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: String,
    /// Its name; empty when none was given.
    pub name: String,
    /// Its VPC; empty when none was given.
    pub vpc_id: String,
    /// What was said of its type.
    pub group_type: Option<GroupType>,
    /// Whether members reach each other without a rule (`InnerAccessPolicy`); `None` when not said.
    pub inner_access: Option<Action>,
    /// Its rules, in the order of the answer, which means nothing.
    pub rules: Vec<Rule>,
    /// Rules that could not be understood: each may say anything. One entry is their direction, where that was clear.
    pub unreadable: Vec<Option<Direction>>,
    /// A page of its rules is missing.
    pub incomplete: bool,
}

impl SecurityGroup {
    /// Its type: as told, or as it follows from what only basic groups can have.
    pub fn known_type(&self) -> Option<GroupType> {
        let names_a_group = |rule: &Rule| {
            let peers = rule.source.iter().chain(&rule.destination);
            peers
                .into_iter()
                .any(|peer| matches!(peer, Peer::Group { .. }))
        };
        let only_basic =
            self.inner_access == Some(Action::Accept) || self.rules.iter().any(names_a_group);
        self.group_type
            .or_else(|| only_basic.then_some(GroupType::Basic))
    }
}

/// The two types of group. All groups of one interface are of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupType {
    /// `normal`: egress that no rule matches is accepted.
    Basic,
    /// `enterprise`, also called advanced: egress that no rule matches is refused; cannot name groups.
    Enterprise,
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            Self::Enterprise => "enterprise",
        })
    }
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Lets it through.
    Accept,
    /// Refuses it. Wins over `Accept` of the same priority.
    Drop,
}

impl Action {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::Drop => "Drop",
        }
    }
}

/// One rule. It matches what every one of its fields matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `sgr-…`; empty when none was given.
    pub id: String,
    /// At which direction it looks.
    pub direction: Direction,
    /// What it does.
    pub action: Action,
    /// From 1 to [`PRIORITY_MAX`], smaller is stronger.
    pub priority: u8,
    /// The protocol; `None` is `ALL`.
    pub protocol: Option<Protocol>,
    /// The server's port.
    pub ports: Ports,
    /// The client's port.
    pub source_ports: Ports,
    /// Who opens the connection; empty restricts nothing, on the side that is not the rule's own peer.
    pub source: Vec<Peer>,
    /// Who receives it, in the same way.
    pub destination: Vec<Peer>,
}

impl Rule {
    /// The side it names as the other one: `source` of ingress, `destination` of egress.
    pub fn peers(&self) -> &[Peer] {
        match self.direction {
            Direction::Ingress => &self.source,
            Direction::Egress => &self.destination,
        }
    }
}

/// Which ports a rule matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// `-1/-1`, or nothing said.
    #[default]
    All,
    /// `first/last`.
    Range(PortRange),
    /// A port list, by its id.
    List(String),
}

/// A closed range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

impl PortRange {
    /// Whether `port` is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// One way in which a rule names an end of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Addresses. Families do not mix.
    Block(IpNet),
    /// The private addresses of a group's members.
    Group {
        /// Its id.
        id: String,
        /// The account it belongs to, if another one's; empty otherwise.
        account: String,
    },
    /// A prefix list, by its id.
    PrefixList(String),
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("any port"),
            Self::Range(PortRange { first, last }) if first == last => write!(f, "port {first}"),
            Self::Range(PortRange { first, last }) => write!(f, "ports {first}-{last}"),
            Self::List(id) => write!(f, "the ports of list {id}"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => write!(f, "{block}"),
            Self::Group { id, account } if account.is_empty() => write!(f, "members of {id}"),
            Self::Group { id, account } => write!(f, "members of {id} of account {account}"),
            Self::PrefixList(id) => write!(f, "the addresses of list {id}"),
        }
    }
}

impl fmt::Display for Rule {
    /// `TCP port 443 from 10.0.0.0/8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            None => f.write_str("every protocol")?,
            Some(Protocol::Other(1)) => f.write_str("ICMP")?,
            Some(Protocol::Other(58)) => f.write_str("ICMPv6")?,
            Some(Protocol::Other(47)) => f.write_str("GRE")?,
            Some(Protocol::Other(number)) => write!(f, "protocol {number}")?,
            Some(protocol) => write!(f, "{protocol}")?,
        }
        let has_ports = matches!(self.protocol, Some(Protocol::Tcp | Protocol::Udp));
        if has_ports || self.ports != Ports::All {
            write!(f, " {}", self.ports)?;
        }
        for (word, peers) in [("from", &self.source), ("to", &self.destination)] {
            for (index, peer) in peers.iter().enumerate() {
                let word = if index == 0 { word } else { "and" };
                write!(f, " {word} {peer}")?;
            }
        }
        if self.source_ports != Ports::All {
            write!(f, " by client {}", self.source_ports)?;
        }
        Ok(())
    }
}
