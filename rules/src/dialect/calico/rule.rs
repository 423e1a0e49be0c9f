//! One rule of a Calico policy (policy-semantics §3.3).

use ipnet::IpNet;

use super::selector::Selector;
use crate::cluster::Protocol;
use crate::policy::{Action, Family};
use crate::port::PortClause;

/// One rule. It matches what fulfils all of its criteria, the negated ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it does with what it matches.
    pub action: Action,
    /// `ipVersion`.
    pub family: Option<Family>,
    /// `protocol`.
    pub protocol: Option<Protocol>,
    /// `notProtocol`.
    pub not_protocol: Option<Protocol>,
    /// `icmp`.
    pub icmp: Option<Icmp>,
    /// `notICMP`.
    pub not_icmp: Option<Icmp>,
    /// Who opens the connection.
    pub source: Entity,
    /// Who receives it.
    pub destination: Entity,
    /// Whether it has an `http` clause, of which no flow record tells anything.
    pub http: bool,
}

/// Which ICMP messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Icmp {
    /// `type`; `None` is any.
    pub kind: Option<u8>,
    /// `code`; `None` is any.
    pub code: Option<u8>,
}

/// One end of a connection, as a rule describes it. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// `nets`: an address in one of these; empty restricts nothing.
    pub nets: Vec<IpNet>,
    /// `notNets`: an address in none of these.
    pub not_nets: Vec<IpNet>,
    /// `selector`: an endpoint or network set with these labels.
    pub selector: Option<Selector>,
    /// `notSelector`: no endpoint or network set with these labels. What is neither has none.
    pub not_selector: Option<Selector>,
    /// `namespaceSelector`.
    pub namespace_selector: Option<Selector>,
    /// `ports`; empty restricts nothing.
    pub ports: Vec<PortClause>,
    /// `notPorts`.
    pub not_ports: Vec<PortClause>,
    /// `serviceAccounts`.
    pub service_accounts: Option<ServiceAccounts>,
    /// `services`.
    pub service: Option<ServiceName>,
}

/// Service accounts by name and label. Both must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccounts {
    /// One of these names; empty restricts nothing.
    pub names: Vec<String>,
    /// With these labels.
    pub selector: Option<Selector>,
}

/// A Service, for the addresses and ports of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// Its namespace; `None` is the policy's own.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}
