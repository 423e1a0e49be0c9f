//! What really happened, in the form it is written and read back.
//!
//! Times are milliseconds since the epoch (`*_ms`), because the simulator knows them that well.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::scenario::{Egress, Ingress, Intended, Protocol};

/// How far around a record's times a second holder of an address makes it unidentifiable, where clocks are at most a
/// second off; see [`Scenario::skew_ms`](crate::Scenario::skew_ms) for others.
pub const SKEW_MS: i64 = 3_000;

/// One connection, whether the log shows it or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionTruth {
    /// Its number; [`RecordTruth::connection`] refers to it.
    pub id: u64,
    /// The traffic line of the scenario it belongs to.
    pub line: String,
    /// Who opened it.
    pub client: Identity,
    /// Who was asked.
    pub server: Identity,
    /// Address it was opened from.
    pub client_addr: IpAddr,
    /// Port it was opened from; 0 for ICMP.
    pub client_port: u16,
    /// Address asked.
    pub server_addr: IpAddr,
    /// Port asked; 0 for ICMP.
    pub server_port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// First packet of the client.
    pub opened_at_ms: i64,
    /// Last packet; `None` when it outlasts the run.
    pub closed_at_ms: Option<i64>,
    /// What the policies in force at the opening mean for it.
    pub intended: Intended,
    /// Why, on the egress side of the client.
    pub egress: Egress,
    /// Why, on the ingress side of the server.
    pub ingress: Ingress,
    /// What happened.
    pub observation: Observation,
    /// Whether the log holds at least one record of it.
    pub visible: bool,
    /// Whether some policy began or ended while it was open (the grace of 20 seconds included).
    pub spans_policy_change: bool,
    /// Packets from client to server as the log shows them, counted once.
    pub forward_packets: u64,
    /// Bytes from client to server as the log shows them, counted once.
    pub forward_bytes: u64,
    /// Packets from server to client as the log shows them, counted once.
    pub reverse_packets: u64,
    /// Bytes from server to client as the log shows them, counted once.
    pub reverse_bytes: u64,
}

/// Who stood at one end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Identity {
    /// A pod with a network of its own.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// Kind of what owns it: Deployment, StatefulSet, DaemonSet, CronJob, or Pod for itself.
        workload_kind: String,
        /// Name of what owns it.
        workload: String,
        /// Where it runs.
        node: String,
    },
    /// A node: its own processes, or a pod on its network.
    Node {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// The host-network pod behind it, `namespace/name`, which no record can tell.
        pod: Option<String>,
    },
    /// An address outside the cluster.
    External {
        /// What the scenario calls it.
        name: String,
    },
}

/// What the wire shows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// The server answered.
    Established,
    /// Only RST came back.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// The security group refused it.
    Rejected,
}

/// The truth about one line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordTruth {
    /// Its number: 0 for the first line of the first file, and on through all files.
    pub index: u64,
    /// `flow`, `nodata` or `skipdata`.
    pub status: RecordStatus,
    /// Whether an earlier line was exactly this one.
    pub repeated: bool,
    /// Whether it was delivered after its time.
    pub late: bool,
    /// The connection; `None` when it is no flow.
    pub connection: Option<u64>,
    /// Which end of the connection the packets come from.
    pub src_is: Option<End>,
    /// Who sent them.
    pub src: Option<Holder>,
    /// Who was to get them.
    pub dst: Option<Holder>,
}

/// What a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// Traffic.
    Flow,
    /// Nothing passed.
    Nodata,
    /// Entries were lost.
    Skipdata,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The one who opened.
    Client,
    /// The one who was asked.
    Server,
}

/// Who held an address while a record was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Uid of the pod or node; `None` for an external address.
    pub uid: Option<String>,
    /// Whether it can be known: nobody else held the address within the skew of the clocks of the record, and the
    /// inventory as written shows that the holder lived.
    pub identifiable: bool,
}

/// A finding that follows from the scenario's own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedFinding {
    /// `policy-not-enforced`, `unprotected-ingress`, `unprotected-egress`, `blocked-attempt`,
    /// `security-group-contradicts-policy` or `default-deny-missing`.
    pub detection: String,
    /// Who opened, where the detection is about that.
    pub client: Option<Subject>,
    /// Who was asked, where the detection is about that.
    pub server: Option<Subject>,
    /// The server's port, for detections that are per port.
    pub port: Option<u16>,
    /// The protocol, for detections that are per port.
    pub protocol: Option<Protocol>,
    /// `ingress` or `egress`, for `default-deny-missing`.
    pub direction: Option<String>,
    /// Whether an analysis must find it: some connection behind it spans no policy change and has two
    /// identifiable ends. Where only others are behind it, finding it is right and so is not finding it.
    pub certain: bool,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// Pods of one owner.
    Workload {
        /// Its namespace.
        namespace: String,
        /// Deployment, StatefulSet, DaemonSet, CronJob, or Pod for a pod that no one owns.
        workload_kind: String,
        /// Its name.
        workload: String,
    },
    /// One node.
    Node {
        /// Its name.
        name: String,
    },
    /// All external addresses together.
    External,
    /// One namespace.
    Namespace {
        /// Its name.
        namespace: String,
    },
}
