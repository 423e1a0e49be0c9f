//! Address and time window → who held it, or why that cannot be said.
//!
//! An interval has a core, during which its holder surely held the address, and an outer part around it, during which
//! it possibly did. A window that touches the outer parts of two holders is ambiguous, and so is one that touches no
//! core: a guess would be worse than a gap. Finished pods have given their address back when their interval ends;
//! host-network pods share the node's address and are known as the node.
//!
//! The clocks of the log and of the inventory may be apart. So an outer part reaches as far again on either side, and of a
//! core whose end is only known to lie in a longer stretch what is so near to that end does not count: someone whom
//! nobody saw may have held the address next.

pub mod ranges;
pub mod unseen;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use flowaudit_lake::table::endpoints::EndpointRow;
use ipnet::IpNet;
use serde::Deserialize;

use self::ranges::{CIDR_SET, NamedRange, Ranges};
use self::unseen::Unseen;

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

    /// Whether the two have an instant in common; one that ends before it begins has none.
    pub fn touches(self, other: Stretch) -> bool {
        self.from.max(other.from) <= self.to.min(other.to)
    }

    /// The stretch and `by` more on either side; an end without bound stays.
    pub fn widened(self, by: i64) -> Stretch {
        Stretch {
            from: moved(self.from, by.saturating_neg()),
            to: moved(self.to, by),
        }
    }
}

/// Kubernetes cuts its times to the second: what they date was up to so much later.
const CUT_US: i64 = 1_000_000;

/// Whom an edge names: the holder without its times.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `pod`, `node`, `service`, `load-balancer`, `eni`, `cidr-set`, `cloud-service`.
    pub kind: String,
    /// Cluster; empty for what belongs to none.
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
    /// One holder held the address when it was last looked at, and that was before the window.
    LastSeenBefore,
    /// Nobody watched for a part of the window that no holder's core covers.
    InGap,
    /// The address belongs to the cluster, but nobody is known to have held it then.
    NoHolder,
    /// The same, and its last holder had given it back.
    Terminated,
    /// The same, and nobody watched for a part of the window.
    NoHolderInGap,
}

impl Doubt {
    /// The word in `client_identified_by` and in coverage.
    pub fn as_str(self) -> &'static str {
        match self {
            Doubt::TwoHolders => "ambiguous-two-holders",
            Doubt::OutsideCore => "ambiguous-outside-core",
            Doubt::LastSeenBefore => "ambiguous-last-seen-before",
            Doubt::InGap => "ambiguous-inventory-gap",
            Doubt::NoHolder => "unidentified",
            Doubt::Terminated => "unidentified-terminated",
            Doubt::NoHolderInGap => "unidentified-inventory-gap",
        }
    }

    /// The same as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Doubt::TwoHolders => {
                "two holders had it, or may have, so near to that time that it cannot be told to one"
            }
            Doubt::OutsideCore => "one holder may have had it, but not surely",
            Doubt::LastSeenBefore => {
                "one holder had it when it was last looked at, which was before that time"
            }
            Doubt::InGap => "nobody watched the cluster then, and others may have had it meanwhile",
            Doubt::NoHolder => "it is an address of a cluster, and nobody is known to have had it",
            Doubt::Terminated => {
                "its last known holder had given it back, and nobody is known to have had it since"
            }
            Doubt::NoHolderInGap => {
                "it is an address of a cluster, and nobody watched the cluster then"
            }
        }
    }

    /// The word for what the party is: `ambiguous` where there are candidates, else `unidentified`.
    pub fn kind(self) -> &'static str {
        match self {
            Doubt::TwoHolders | Doubt::OutsideCore | Doubt::LastSeenBefore | Doubt::InGap => {
                "ambiguous"
            }
            Doubt::NoHolder | Doubt::Terminated | Doubt::NoHolderInGap => "unidentified",
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
    /// What of the core counts whatever the clocks say; may be empty.
    sure: Stretch,
    /// The outer part, as far as clocks may be apart.
    reach: Stretch,
    /// The core, as far as it surely held whatever clocks say; may be empty.
    covered: Stretch,
    /// Somebody watched when it ended: whoever came next is known as well.
    seen_to_end: bool,
}

/// What the column `evidence` says beside what a row rests on.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Evidence {
    /// When it was gone at the latest, as somebody saw who watched.
    gone: Option<serde::de::IgnoredAny>,
}

impl Candidate {
    /// The holder possibly held on without end when it was last looked at.
    fn is_open(&self) -> bool {
        self.outer.to == i64::MAX
    }
}

/// All holders of all addresses over some time.
#[derive(Debug, Default)]
pub struct Book {
    rows: Vec<EndpointRow>,
    identities: Vec<Identity>,
    by_address: HashMap<IpAddr, Vec<Candidate>>,
    ranges: Ranges,
    cluster_ranges: Vec<IpNet>,
    /// /24 and /64 networks in which the inventory knows private addresses of pods or nodes.
    neighbourhoods: HashSet<IpNet>,
    /// When nobody watched.
    unseen: Unseen,
}

impl Book {
    /// The book of these endpoints. Rows whose address is no address are left out (`cidr-set` rows name a range). The clocks
    /// of records and of the inventory may be `apart_us` apart.
    pub fn new(rows: Vec<EndpointRow>, apart_us: i64, cluster_ranges: &[IpNet]) -> Book {
        let mut book = Book {
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
            if row.kind == CIDR_SET {
                if let Ok(net) = row.addr.parse::<IpNet>() {
                    book.ranges.add(net, row.vpc_id.clone(), number);
                }
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
                sure: core,
                reach: outer,
                covered: core,
                seen_to_end: serde_json::from_str::<Evidence>(&row.evidence)
                    .is_ok_and(|evidence| evidence.gone.is_some()),
            };
            book.by_address.entry(address).or_default().push(candidate);
        }
        book.rows = rows;
        for candidates in book.by_address.values_mut() {
            join_cores(candidates);
            for candidate in candidates.iter_mut() {
                candidate.allow_for_clocks(apart_us);
            }
            candidates
                .sort_by_key(|candidate| (candidate.rank, candidate.identity, candidate.core.from));
        }
        book
    }

    /// The same book, with what nobody watched.
    pub fn with_unseen(self, unseen: Unseen) -> Book {
        Book { unseen, ..self }
    }

    /// The same book, with names for ranges; those that are there go first.
    pub fn with_ranges(mut self, ranges: impl IntoIterator<Item = NamedRange>) -> Book {
        let mut numbers: HashMap<(String, &str), u32> = HashMap::new();
        for range in ranges {
            let next = self.identities.len() as u32;
            let number = *numbers
                .entry((range.name.clone(), range.kind))
                .or_insert(next);
            if number == next {
                self.identities.push(Identity {
                    kind: range.kind.to_owned(),
                    cluster: String::new(),
                    namespace: None,
                    workload_kind: None,
                    workload: None,
                    name: range.name,
                    uid: None,
                });
            }
            self.ranges.add(range.net, range.vpc, number);
        }
        self
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
            return self.not_held(address, vpc, window);
        };
        for rank in [Rank::Pod, Rank::Node, Rank::Other] {
            let touching: Vec<&Candidate> = candidates
                .iter()
                .filter(|candidate| candidate.rank == rank && self.same_vpc(candidate, vpc))
                .filter(|candidate| candidate.reach.touches(window))
                .collect();
            let Some(first) = touching.first() else {
                continue;
            };
            let same = |candidate: &&Candidate| candidate.identity == first.identity;
            let doubt = if !touching.iter().all(same) {
                Some(Doubt::TwoHolders)
            } else if touching.iter().any(|one| one.sure.touches(window)) {
                None
            } else if touching
                .iter()
                .all(|one| one.is_open() && one.core.to < window.from)
            {
                Some(Doubt::LastSeenBefore)
            } else {
                Some(Doubt::OutsideCore)
            };
            // Who held a pod's address while nobody watched is known only where a core goes on through it.
            if rank == Rank::Pod && self.is_unseen(first, window) {
                return Held::Unclear(Doubt::InGap);
            }
            return match doubt {
                Some(doubt) => Held::Unclear(doubt),
                None => Held::By {
                    identity: first.identity,
                    versions: touching.iter().map(|candidate| candidate.row).collect(),
                },
            };
        }
        self.not_held(address, vpc, window)
    }

    /// Whether nobody watched the holder's cluster for a part of the window that its core does not surely cover.
    fn is_unseen(&self, candidate: &Candidate, window: Stretch) -> bool {
        let gaps = self.unseen.of(&self.row(candidate.row).cluster);
        let covered = candidate.covered;
        let before = Stretch {
            from: window.from,
            to: window.to.min(covered.from.saturating_sub(1)),
        };
        let after = Stretch {
            from: window.from.max(covered.to.saturating_add(1)),
            to: window.to,
        };
        [before, after]
            .into_iter()
            .any(|open| open.from <= open.to && gaps.touch(open))
    }

    /// The instants within `within` at which the answer for `address` may change; empty for the great majority.
    ///
    /// Between two neighbouring instants all windows get the same answer, so an answer depends only on the numbers of
    /// the stretches that hold a window's two ends.
    pub fn cuts(&self, address: IpAddr, within: Stretch) -> Vec<i64> {
        let candidates = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        let of_holders = candidates
            .iter()
            .flat_map(|candidate| [candidate.reach, candidate.core, candidate.covered]);
        let gaps = self.unseen.all();
        let gaps = gaps
            .iter()
            .filter(|_| self.ours(address).is_some())
            .copied();
        let mut cuts: Vec<i64> = of_holders
            .chain(gaps)
            .flat_map(|stretch| [stretch.from, stretch.to.saturating_add(1)])
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

    fn not_held(&self, address: IpAddr, vpc: Option<&str>, window: Stretch) -> Held {
        let ours = self.ours(address);
        match self.ranges.closest(address, vpc) {
            Some((length, identity)) if ours.is_none_or(|ours| length > ours) => {
                return Held::Range { identity };
            }
            _ if ours.is_none() => return Held::External,
            _ => {}
        }
        let before = self.by_address.get(&address).is_some_and(|held| {
            held.iter().any(|one| {
                one.rank == Rank::Pod && self.same_vpc(one, vpc) && one.reach.to < window.from
            })
        });
        let doubt = match before {
            _ if self.unseen.anywhere().touch(window) => Doubt::NoHolderInGap,
            true => Doubt::Terminated,
            false => Doubt::NoHolder,
        };
        Held::Unclear(doubt)
    }

    /// Whether the address belongs to a cluster, whoever holds it: the length of the prefix around it that does.
    fn ours(&self, address: IpAddr) -> Option<u8> {
        let held = self.by_address.get(&address);
        if held.is_some_and(|held| held.iter().any(|one| one.rank != Rank::Other)) {
            return Some(u8::MAX);
        }
        let ranges = self.cluster_ranges.iter();
        let around = ranges.filter(|net| net.contains(&address));
        let near = Some(neighbourhood(address))
            .filter(|net| is_private(address) && self.neighbourhoods.contains(net));
        around.chain(near.as_ref()).map(IpNet::prefix_len).max()
    }
}

impl Candidate {
    /// Works out what counts, whatever the clocks say: `apart_us` more around the outer part; of the core all but what is
    /// that near to an end that is not known more closely and that nobody watched.
    fn allow_for_clocks(&mut self, apart_us: i64) {
        self.reach = reach(self.outer, apart_us);
        self.covered = covered(self.core, apart_us);
        let is_vague = |slack: i64| slack > apart_us;
        let is_vague = [
            is_vague(self.core.from.saturating_sub(self.outer.from)),
            is_vague(self.outer.to.saturating_sub(self.core.to)) && !self.seen_to_end,
        ];
        self.sure = Stretch {
            from: [self.core, self.covered][usize::from(is_vague[0])].from,
            to: [self.core, self.covered][usize::from(is_vague[1])].to,
        };
    }
}

/// All that may be meant by times in `stretch`, where clocks are `apart_us` apart and times were cut to the second.
fn reach(stretch: Stretch, apart_us: i64) -> Stretch {
    Stretch {
        from: moved(stretch.from, apart_us.saturating_neg()),
        to: moved(stretch.to, apart_us.saturating_add(CUT_US)),
    }
}

/// What is surely meant by times in `stretch`; may be empty.
fn covered(stretch: Stretch, apart_us: i64) -> Stretch {
    Stretch {
        from: moved(stretch.from, apart_us.saturating_add(CUT_US)),
        to: moved(stretch.to, apart_us.saturating_neg()),
    }
}

/// An end without bound stays.
fn moved(end: i64, by: i64) -> i64 {
    match end {
        i64::MIN | i64::MAX => end,
        _ => end.saturating_add(by),
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
mod tests;
