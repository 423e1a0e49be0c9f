//! What can be set about an analysis, with defaults that suit one cluster and a machine of a few gigabytes.

use flowaudit_rules::evaluate::Engine;
use ipnet::IpNet;

use crate::identify::ranges::NamedRange;

/// Settings of one analysis. All spans are microseconds, all sizes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which engine enforces NetworkPolicy; decides where engines differ.
    pub engine: Engine,
    /// How far each clock may be off: that of a node, of an API server, of the flow log.
    pub skew_us: i64,
    /// How long nodes may take to enforce a change of policy after it was committed.
    pub enforcement_grace_us: i64,
    /// How far back a connection whose opening was not seen may have been opened.
    pub opened_lookback_us: i64,
    /// Memory for the tuples of one bucket. An hour that needs more is done in several passes.
    pub tuple_memory_bytes: usize,
    /// Threads that scan.
    pub threads: usize,
    /// External addresses per server, port and hour (or per client) above which they are folded into /24 and /64.
    pub external_addresses_max: usize,
    /// Ranges whose addresses belong to the cluster: one that nobody is known to hold is unidentified, not external.
    /// Beside these, the /24 (IPv6: /64) around every private address that a pod or node is known to have held.
    pub cluster_ranges: Vec<IpNet>,
    /// Names for ranges outside the cluster, besides those that are built in.
    pub ranges: Vec<NamedRange>,
}

impl Settings {
    /// How far two clocks may be apart: the log's and the inventory's, or those of two logs of the same packet.
    pub fn apart_us(&self) -> i64 {
        self.skew_us.saturating_mul(2)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            engine: Engine::Unknown,
            skew_us: 3_000_000,
            enforcement_grace_us: 10_000_000,
            opened_lookback_us: 6 * 3_600_000_000,
            tuple_memory_bytes: 1 << 30,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            external_addresses_max: 256,
            cluster_ranges: Vec::new(),
            ranges: Vec::new(),
        }
    }
}
