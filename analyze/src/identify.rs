//! Address and time window → who held it, or why that cannot be said.
//!
//! An interval has a core, during which its holder surely held the address, and an outer part around it, during which
//! it possibly did. A window that touches the outer parts of two holders is ambiguous, and so is one that touches no
//! core: a guess would be worse than a gap. Finished pods have given their address back when their interval ends;
//! host-network pods share the node's address and are known as the node.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use flowaudit_lake::table::endpoints::EndpointRow;
use ipnet::IpNet;

/// A stretch of time, both ends included, microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// First instant.
    pub from: i64,
    /// Last instant.
    pub to: i64,
}

impl Stretch {
    /// The core of a row of `endpoints` or `objects` and the outer stretch around it; no slack given is no bound.
    pub fn core_and_outer(
        valid_from_us: i64,
        valid_to_us: Option<i64>,
        from_slack_ms: Option<i64>,
        to_slack_ms: Option<i64>,
    ) -> (Stretch, Stretch) {
        let us = |ms: i64| ms.saturating_mul(1000);
        let core = Stretch {
            from: valid_from_us,
            to: valid_to_us.unwrap_or(i64::MAX),
        };
        let outer = Stretch {
            from: from_slack_ms.map_or(i64::MIN, |slack| core.from.saturating_sub(us(slack))),
            to: to_slack_ms.map_or(i64::MAX, |slack| core.to.saturating_add(us(slack))),
        };
        (core, outer)
    }

    /// Whether the two have an instant in common.
    pub fn touches(self, other: Stretch) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    /// The stretch and `by` more on either side.
    pub fn widened(self, by: i64) -> Stretch {
        Stretch {
            from: self.from.saturating_sub(by),
            to: self.to.saturating_add(by),
        }
    }
}

/// Whom an edge names: the holder without its times.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `pod`, `node`, `service`, `load-balancer`, `eni`, `cidr-set`.
    pub kind: String,
    /// Cluster.
    pub cluster: String,
    /// Namespace, where the kind has one.
    pub namespace: Option<String>,
    /// Kind of the owning workload.
    pub workload_kind: Option<String>,
    /// Name of the owning workload.
    pub workload: Option<String>,
    /// Name.
    pub name: String,
    /// uid, where known.
    pub uid: Option<String>,
}

/// Why a holder is not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// The window touches the times of two holders.
    TwoHolders,
    /// One holder possibly held the address, but surely at no instant of the window.
    OutsideCore,
    /// The address belongs to the cluster, but nobody is known to have held it then.
    NoHolder,
}

impl Doubt {
    /// The word in `client_identified_by` and in coverage.
    pub fn as_str(self) -> &'static str {
        match self {
            Doubt::TwoHolders => "ambiguous-two-holders",
            Doubt::OutsideCore => "ambiguous-outside-core",
            Doubt::NoHolder => "unidentified",
        }
    }
}

/// The answer for one address and window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Held {
    /// By exactly one holder.
    By {
        /// Number of the identity in [`Book::identity`].
        identity: u32,
        /// The endpoint rows of that holder whose times the window may touch: more than one when its labels changed.
        versions: Vec<u32>,
    },
    /// By a range that the inventory names.
    Range {
        /// Number of the identity.
        identity: u32,
    },
    /// By nobody of ours.
    External,
    /// Not known.
    Unclear(Doubt),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Pod,
    Node,
    Other,
}

#[derive(Debug, Clone)]
struct Candidate {
    row: u32,
    identity: u32,
    rank: Rank,
    core: Stretch,
    outer: Stretch,
}

/// All holders of all addresses over some time.
#[derive(Debug, Default)]
pub struct Book {
    rows: Vec<EndpointRow>,
    identities: Vec<Identity>,
    by_address: HashMap<IpAddr, Vec<Candidate>>,
    ranges: Vec<(IpNet, u32)>,
    cluster_ranges: Vec<IpNet>,
    /// /24 and /64 networks in which the inventory knows private addresses of pods or nodes.
    neighbourhoods: HashSet<IpNet>,
    skew_us: i64,
}

impl Book {
    /// The book of these endpoints. Rows whose address is no address are left out (`cidr-set` rows name a range).
    pub fn new(rows: Vec<EndpointRow>, skew_us: i64, cluster_ranges: &[IpNet]) -> Book {
        let mut book = Book {
            skew_us,
            cluster_ranges: cluster_ranges.to_vec(),
            ..Book::default()
        };
        let mut numbers: BTreeMap<Identity, u32> = BTreeMap::new();
        for (n, row) in rows.iter().enumerate() {
            let identity = identity_of(row);
            let number = *numbers.entry(identity.clone()).or_insert_with(|| {
                book.identities.push(identity);
                book.identities.len() as u32 - 1
            });
            if row.kind == "cidr-set" {
                book.ranges
                    .extend(row.addr.parse().ok().map(|net: IpNet| (net, number)));
                continue;
            }
            let Ok(address) = row.addr.parse::<IpAddr>() else {
                continue;
            };
            let address = address.to_canonical();
            let rank = match row.kind.as_str() {
                "pod" if !row.host_network => Rank::Pod,
                "pod" | "node" => Rank::Node,
                _ => Rank::Other,
            };
            if rank != Rank::Other && is_private(address) {
                book.neighbourhoods.insert(neighbourhood(address));
            }
            let (core, outer) = Stretch::core_and_outer(
                row.valid_from_us,
                row.valid_to_us,
                row.from_slack_ms,
                row.to_slack_ms,
            );
            let candidate = Candidate {
                row: n as u32,
                identity: number,
                rank,
                core,
                outer,
            };
            book.by_address.entry(address).or_default().push(candidate);
        }
        // The widest range last, so that the first that contains an address is the closest.
        book.ranges
            .sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        book.rows = rows;
        for candidates in book.by_address.values_mut() {
            join_cores(candidates);
            candidates
                .sort_by_key(|candidate| (candidate.rank, candidate.identity, candidate.core.from));
        }
        book
    }

    /// The identity with that number.
    pub fn identity(&self, number: u32) -> &Identity {
        &self.identities[number as usize]
    }

    /// The endpoint row with that number.
    pub fn row(&self, number: u32) -> &EndpointRow {
        &self.rows[number as usize]
    }

    /// All endpoint rows.
    pub fn rows(&self) -> &[EndpointRow] {
        &self.rows
    }

    /// Who held `address` (in `vpc`, where known) during `window`.
    pub fn held(&self, address: IpAddr, vpc: Option<&str>, window: Stretch) -> Held {
        let Some(candidates) = self.by_address.get(&address) else {
            return self.not_held(address);
        };
        for rank in [Rank::Pod, Rank::Node, Rank::Other] {
            let touching: Vec<&Candidate> = candidates
                .iter()
                .filter(|candidate| candidate.rank == rank && self.same_vpc(candidate, vpc))
                .filter(|candidate| candidate.outer.widened(self.skew_us).touches(window))
                .collect();
            let Some(first) = touching.first() else {
                continue;
            };
            if touching
                .iter()
                .any(|candidate| candidate.identity != first.identity)
            {
                return Held::Unclear(Doubt::TwoHolders);
            }
            if !touching
                .iter()
                .any(|candidate| candidate.core.touches(window))
            {
                return Held::Unclear(Doubt::OutsideCore);
            }
            return Held::By {
                identity: first.identity,
                versions: touching.iter().map(|candidate| candidate.row).collect(),
            };
        }
        self.not_held(address)
    }

    /// The instants within `within` at which the answer for `address` may change; empty for the great majority.
    ///
    /// Between two neighbouring instants all windows get the same answer, so an answer depends only on the numbers of
    /// the stretches that hold a window's two ends.
    pub fn cuts(&self, address: IpAddr, within: Stretch) -> Vec<i64> {
        let candidates = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        let mut cuts: Vec<i64> = candidates
            .iter()
            .flat_map(|candidate| {
                let outer = candidate.outer.widened(self.skew_us);
                [
                    outer.from,
                    outer.to.saturating_add(1),
                    candidate.core.from,
                    candidate.core.to.saturating_add(1),
                ]
            })
            .filter(|cut| within.from < *cut && *cut <= within.to)
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    fn same_vpc(&self, candidate: &Candidate, vpc: Option<&str>) -> bool {
        match (self.row(candidate.row).vpc_id.as_deref(), vpc) {
            (Some(held), Some(asked)) => held == asked,
            _ => true,
        }
    }

    fn not_held(&self, address: IpAddr) -> Held {
        if let Some((_, identity)) = self.ranges.iter().find(|(net, _)| net.contains(&address)) {
            return Held::Range {
                identity: *identity,
            };
        }
        let ours = self
            .by_address
            .get(&address)
            .is_some_and(|held| held.iter().any(|one| one.rank != Rank::Other))
            || self.cluster_ranges.iter().any(|net| net.contains(&address))
            || is_private(address) && self.neighbourhoods.contains(&neighbourhood(address));
        if ours {
            Held::Unclear(Doubt::NoHolder)
        } else {
            Held::External
        }
    }
}

/// A holder whose labels changed has several rows. It held the address between them as well: an address does not
/// leave a pod and come back. The core of each row is therefore the hull of all of them.
fn join_cores(candidates: &mut [Candidate]) {
    let mut hulls: HashMap<u32, Stretch> = HashMap::new();
    for candidate in candidates.iter() {
        let hull = hulls.entry(candidate.identity).or_insert(candidate.core);
        hull.from = hull.from.min(candidate.core.from);
        hull.to = hull.to.max(candidate.core.to);
    }
    for candidate in candidates {
        candidate.core = hulls[&candidate.identity];
    }
}

fn identity_of(row: &EndpointRow) -> Identity {
    let host_pod_on = row
        .node
        .clone()
        .filter(|_| row.kind == "pod" && row.host_network);
    match host_pod_on {
        // The address cannot tell a node's daemons from its host-network pods.
        Some(node) => Identity {
            kind: "node".into(),
            cluster: row.cluster.clone(),
            namespace: None,
            workload_kind: None,
            workload: None,
            name: node,
            uid: None,
        },
        None => Identity {
            kind: row.kind.clone(),
            cluster: row.cluster.clone(),
            namespace: row.namespace.clone(),
            workload_kind: row.workload_kind.clone(),
            workload: row.workload.clone(),
            name: row.name.clone(),
            // A node keeps its name and address over a re-registration; host-network pods know it by name only.
            uid: row.uid.clone().filter(|_| row.kind != "node"),
        },
    }
}

/// Addresses that are only meaningful inside some network (RFC 1918, RFC 6598 is the cloud's own, RFC 4193).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(_) => true,
    }
}

/// The /24 or /64 around an address.
pub(crate) fn neighbourhood(address: IpAddr) -> IpNet {
    let net = IpNet::new(address, if address.is_ipv4() { 24 } else { 64 });
    net.map_or_else(|_| IpNet::from(address), |net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn pod(name: &str, from: i64, to: Option<i64>, slack_ms: Option<i64>) -> EndpointRow {
        EndpointRow {
            addr: "10.0.3.7".into(),
            vpc_id: None,
            valid_from_us: from * SECOND,
            valid_to_us: to.map(|to| to * SECOND),
            from_slack_ms: Some(0),
            to_slack_ms: slack_ms,
            kind: "pod".into(),
            cluster: "c".into(),
            namespace: Some("shop".into()),
            name: name.into(),
            uid: Some(format!("uid-{name}")),
            workload_kind: None,
            workload: None,
            labels: None,
            host_network: false,
            node: Some("n1".into()),
            container_ports: None,
            service_account: None,
            evidence: "snapshot".into(),
        }
    }

    fn ask(book: &Book, from: i64, to: i64) -> Result<String, Held> {
        let address = "10.0.3.7".parse().unwrap();
        match book.held(
            address,
            None,
            Stretch {
                from: from * SECOND,
                to: to * SECOND,
            },
        ) {
            Held::By { identity, .. } => Ok(book.identity(identity).name.clone()),
            other => Err(other),
        }
    }

    fn book(rows: Vec<EndpointRow>) -> Book {
        Book::new(rows, 3 * SECOND, &[])
    }

    #[test]
    fn a_reused_address_belongs_to_each_in_its_time() {
        let book = book(vec![
            pod("cart", 0, Some(100), Some(2000)),
            pod("redis", 104, None, None),
        ]);
        assert_eq!(ask(&book, 10, 70), Ok("cart".into()));
        assert_eq!(ask(&book, 120, 180), Ok("redis".into()));
        assert_eq!(ask(&book, 60, 120), Err(Held::Unclear(Doubt::TwoHolders)));
        assert_eq!(
            ask(&book, 102, 103),
            Err(Held::Unclear(Doubt::TwoHolders)),
            "within the skew of both"
        );
    }

    #[test]
    fn a_window_that_outlasts_its_only_holder_is_still_its_holders() {
        let book = book(vec![pod("cart", 0, Some(100), Some(0))]);
        assert_eq!(ask(&book, 90, 600), Ok("cart".into()));
        assert_eq!(
            ask(&book, 102, 600),
            Err(Held::Unclear(Doubt::OutsideCore)),
            "only within the skew"
        );
        assert_eq!(
            ask(&book, 300, 600),
            Err(Held::Unclear(Doubt::NoHolder)),
            "never taken for external"
        );
    }

    #[test]
    fn after_the_last_look_nothing_is_sure() {
        let book = book(vec![pod("cart", 0, Some(100), None)]);
        assert_eq!(ask(&book, 200, 260), Err(Held::Unclear(Doubt::OutsideCore)));
    }

    #[test]
    fn changed_labels_do_not_make_two_holders() {
        let book = book(vec![
            pod("cart", 0, Some(100), Some(50_000)),
            pod("cart", 150, Some(300), Some(0)),
        ]);
        let address = "10.0.3.7".parse().unwrap();
        let held = book.held(
            address,
            None,
            Stretch {
                from: 120 * SECOND,
                to: 160 * SECOND,
            },
        );
        assert_eq!(
            held,
            Held::By {
                identity: 0,
                versions: vec![0, 1]
            }
        );
    }

    #[test]
    fn cuts_are_where_answers_change_and_nowhere_else() {
        let book = book(vec![
            pod("cart", 10, Some(100), Some(2000)),
            pod("redis", 104, Some(200), Some(0)),
        ]);
        let address: IpAddr = "10.0.3.7".parse().unwrap();
        let within = Stretch {
            from: 0,
            to: 300 * SECOND,
        };
        let cuts = book.cuts(address, within);
        let stretch_of = |at: i64| cuts.partition_point(|cut| *cut <= at);
        let mut answers: HashMap<(usize, usize), Held> = HashMap::new();
        for from in (0..300).step_by(1) {
            for to in (from..300).step_by(7) {
                let window = Stretch {
                    from: from * SECOND,
                    to: to * SECOND,
                };
                let held = book.held(address, None, window);
                let known = answers
                    .entry((stretch_of(window.from), stretch_of(window.to)))
                    .or_insert(held.clone());
                assert_eq!(*known, held, "{from}..{to}");
            }
        }
        assert!(book.cuts("10.9.9.9".parse().unwrap(), within).is_empty());
    }

    #[test]
    fn unknown_addresses_near_pods_are_not_called_external() {
        let book = book(vec![pod("cart", 0, None, None)]);
        let at = Stretch { from: 0, to: 1 };
        let held = |text: &str| book.held(text.parse().unwrap(), None, at);
        assert_eq!(held("10.0.3.99"), Held::Unclear(Doubt::NoHolder));
        assert_eq!(held("10.0.4.99"), Held::External);
        assert_eq!(held("198.51.100.7"), Held::External);
    }
}
