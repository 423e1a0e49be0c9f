//! Address and time window → who held it, or why that cannot be said.
//!
//! An interval has a core, during which its holder surely held the address, and an outer part around it, during which
//! it possibly did. A window that touches the outer parts of two holders is ambiguous, and so is one that touches no
//! core: a guess would be worse than a gap. Finished pods have given their address back when their interval ends;
//! host-network pods share the node's address and are known as the node.
//!
//! The clocks of the log and of the inventory may be apart. So an outer part reaches as far again on either side, and where
//! nobody watched when a core began or ended, what is so near to that end does not count: someone whom nobody saw may have
//! held the address before or next.

mod candidate;
mod doubt;
mod interface;
pub mod ranges;
mod site;
pub mod unseen;
mod vpc;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use flowaudit_lake::table::endpoints::EndpointRow;
use ipnet::IpNet;

use self::candidate::{Candidate, Evidence, Rank, join_cores, moved};
pub use self::doubt::Doubt;
use self::ranges::{CIDR_SET, NamedRange, Ranges};
pub use self::site::Site;
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

/// As many names are told of those that an address may have belonged to.
pub const CANDIDATES_MAX: usize = 16;

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

/// The answer for one address and window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Held {
    /// By exactly one holder.
    By {
        /// Number of the identity in [`Book::identity`].
        identity: u32,
        /// The endpoint rows of that holder whose times the window may touch: more than one when its labels changed.
        versions: Vec<u32>,
        /// Whether only the node or interface where the record was made tells it from others.
        by_eni: bool,
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

/// All holders of all addresses over some time.
#[derive(Debug, Default)]
pub struct Book {
    rows: Vec<EndpointRow>,
    identities: Vec<Identity>,
    by_address: HashMap<IpAddr, Vec<Candidate>>,
    ranges: Ranges,
    cluster_ranges: Vec<IpNet>,
    /// /24 and /64 networks in which the inventory knows private addresses of pods or nodes, with their VPCs.
    neighbourhoods: HashMap<IpNet, BTreeSet<Option<String>>>,
    /// Numbers of nodes, by cluster and name.
    nodes: HashMap<(String, String), u32>,
    /// Numbers of nodes by their ECS instance.
    instances: HashMap<String, u32>,
    /// Numbers of interfaces that are a pod's own.
    enis: HashMap<String, u32>,
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
                let vpcs = book.neighbourhoods.entry(neighbourhood(address));
                vpcs.or_default().insert(row.vpc_id.clone());
            }
            let (core, outer) = Stretch::core_and_outer(
                row.valid_from_us,
                row.valid_to_us,
                row.from_slack_ms,
                row.to_slack_ms,
            );
            let node = row.node.as_ref().filter(|_| rank == Rank::Pod);
            let node = node.map_or(0, |node| book.node(&row.cluster, node));
            let eni = row.eni_id.as_ref().filter(|_| rank == Rank::Pod);
            let eni = eni.map_or(0, |eni| {
                let next = book.enis.len() as u32 + 1;
                *book.enis.entry(eni.clone()).or_insert(next)
            });
            let evidence: Evidence = serde_json::from_str(&row.evidence).unwrap_or_default();
            let candidate = Candidate {
                row: n as u32,
                identity: number,
                rank,
                site: Site { node, eni },
                core,
                outer,
                sure: core,
                reach: outer,
                in_force: outer,
                covered: core,
                seen_to_begin: evidence.seen_to_begin(),
                gone: evidence.gone(),
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

    /// The number of a node.
    fn node(&mut self, cluster: &str, name: &str) -> u32 {
        let next = self.nodes.len() as u32 + 1;
        *self
            .nodes
            .entry((cluster.to_owned(), name.to_owned()))
            .or_insert(next)
    }

    /// The same book, with the ECS instances of nodes: instance, cluster and name of the node.
    pub fn with_instances(
        mut self,
        instances: impl IntoIterator<Item = (String, String, String)>,
    ) -> Book {
        for (instance, cluster, name) in instances {
            let number = self.node(&cluster, &name);
            self.instances.insert(instance, number);
        }
        self
    }

    /// The number of the node that an ECS instance is; 0 where it is none that is known.
    pub fn node_of_instance(&self, instance: &str) -> u32 {
        self.instances.get(instance).copied().unwrap_or(0)
    }

    /// The number of an interface; 0 where it is nobody's own, or not known.
    pub fn number_of_eni(&self, eni: &str) -> u32 {
        self.enis.get(eni).copied().unwrap_or(0)
    }

    /// Whether any pod has an interface of its own: then those of records tell something.
    pub fn has_enis(&self) -> bool {
        !self.enis.is_empty()
    }

    /// Where whoever holds an address is, as far as records made elsewhere speak against it.
    pub fn site_of(&self, held: &Held) -> Site {
        match held {
            Held::By { versions, .. } => {
                let rows = versions.iter().map(|row| self.row(*row));
                let mut sites = rows
                    .filter(|row| row.kind == "pod" && !row.host_network)
                    .map(|row| self.site(row));
                let first = sites.next().unwrap_or_default();
                let is_same = sites.all(|site| site.eni == first.eni);
                Site {
                    eni: if is_same { first.eni } else { 0 },
                    ..first
                }
            }
            // Every place may choose between them.
            Held::Unclear(Doubt::TwoHolders | Doubt::SeveralVpcs) => Site::ELSEWHERE,
            _ => Site::ANYWHERE,
        }
    }

    fn site(&self, row: &EndpointRow) -> Site {
        let node = row.node.clone().map(|node| (row.cluster.clone(), node));
        let node = node.and_then(|node| self.nodes.get(&node).copied());
        Site {
            node: node.unwrap_or(0),
            eni: row
                .eni_id
                .as_deref()
                .map_or(0, |eni| self.number_of_eni(eni)),
        }
    }

    /// The same book, where nodes may need that long to enforce a change of labels.
    pub fn with_grace(mut self, grace_us: i64) -> Book {
        for candidate in self.by_address.values_mut().flatten() {
            candidate.in_force.to = moved(candidate.reach.to, grace_us);
        }
        self
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
        self.held_on(address, vpc, window, Site::ANYWHERE)
    }

    /// The same, for the end of a record that is at `on`: where it was made.
    pub fn held_on(&self, address: IpAddr, vpc: Option<&str>, window: Stretch, on: Site) -> Held {
        let Some(candidates) = self.by_address.get(&address) else {
            return self.not_held(address, vpc, window);
        };
        for rank in [Rank::Pod, Rank::Node, Rank::Other] {
            let touching: Vec<&Candidate> = candidates
                .iter()
                .filter(|candidate| candidate.rank == rank && self.same_vpc(candidate, vpc))
                .filter(|candidate| candidate.reach.touches(window))
                .collect();
            let mut touching = self.best_named(touching);
            let several = |touching: &[&Candidate]| {
                touching
                    .iter()
                    .any(|one| one.identity != touching[0].identity)
            };
            if touching.is_empty() {
                continue;
            }
            let were_several = several(&touching);
            touching.retain(|one| !one.site.is_other_than(on));
            let Some(first) = touching.first() else {
                return Held::Unclear(Doubt::OtherNode);
            };
            let same = |candidate: &&Candidate| candidate.identity == first.identity;
            let doubt = if !touching.iter().all(same) {
                Some(Doubt::TwoHolders)
            } else if touching.iter().any(|one| one.is_surely_of(window)) {
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
                None if vpc.is_none() && self.is_of_several_vpcs(address, first, on) => {
                    Held::Unclear(Doubt::SeveralVpcs)
                }
                None => Held::By {
                    identity: first.identity,
                    versions: self.versions(candidates, first, window),
                    by_eni: were_several,
                },
            };
        }
        self.not_held(address, vpc, window)
    }

    /// The rows of a holder that nodes may have gone by during `window`, in order of time.
    fn versions(&self, candidates: &[Candidate], holder: &Candidate, window: Stretch) -> Vec<u32> {
        let of_holder = candidates.iter().filter(|one| {
            (one.rank, one.identity) == (holder.rank, holder.identity)
                && one.in_force.touches(window)
        });
        of_holder.map(|one| one.row).collect()
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

    /// Names of those whom `address` (in `vpc`, where known) possibly belonged to at some instant of `window`:
    /// `namespace/pod` for pods, at most [`CANDIDATES_MAX`] of them, in order. Of a node of the cluster `of_host`, those of pods on its network.
    pub fn candidates(
        &self,
        address: IpAddr,
        vpc: Option<&str>,
        window: Stretch,
        of_host: Option<&str>,
    ) -> Vec<String> {
        let held = self.by_address.get(&address);
        let held = held.map_or(&[][..], Vec::as_slice).iter();
        let touching = held.filter(|one| one.reach.touches(window) && self.same_vpc(one, vpc));
        let names = touching.filter_map(|one| {
            let row = self.row(one.row);
            let wanted = match one.rank {
                Rank::Pod => of_host.is_none(),
                Rank::Node => of_host == Some(&row.cluster) && row.kind == "pod",
                Rank::Other => false,
            };
            wanted.then(|| match &row.namespace {
                Some(namespace) => format!("{namespace}/{}", row.name),
                None => row.name.clone(),
            })
        });
        let names: BTreeSet<String> = names.collect();
        names.into_iter().take(CANDIDATES_MAX).collect()
    }

    /// The instants within `within` at which the answer for `address` may change; empty for the great majority.
    ///
    /// Between two neighbouring instants all windows get the same answer, so an answer depends only on the numbers of
    /// the stretches that hold a window's two ends.
    pub fn cuts(&self, address: IpAddr, within: Stretch) -> Vec<i64> {
        let candidates = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        let of_holders = candidates.iter().flat_map(|candidate| {
            [
                candidate.reach,
                candidate.core,
                candidate.covered,
                candidate.in_force,
            ]
        });
        let gaps = self.unseen.all();
        let gaps = gaps
            .iter()
            .filter(|_| self.ours(address, None).is_some())
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

    fn not_held(&self, address: IpAddr, vpc: Option<&str>, window: Stretch) -> Held {
        let ours = self.ours(address, vpc);
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
    fn ours(&self, address: IpAddr, vpc: Option<&str>) -> Option<u8> {
        let of_cluster = |one: &Candidate| one.rank != Rank::Other && self.same_vpc(one, vpc);
        let held = self.by_address.get(&address);
        if held.is_some_and(|held| held.iter().any(of_cluster)) {
            return Some(u8::MAX);
        }
        let is_near = |vpcs: &BTreeSet<Option<String>>| {
            let same = |of: &Option<String>| match (of.as_deref(), vpc) {
                (Some(of), Some(vpc)) => of == vpc,
                _ => true,
            };
            vpcs.iter().any(same)
        };
        let ranges = self.cluster_ranges.iter();
        let around = ranges.filter(|net| net.contains(&address));
        let near = Some(neighbourhood(address))
            .filter(|net| is_private(address) && self.neighbourhoods.get(net).is_some_and(is_near));
        around.chain(near.as_ref()).map(IpNet::prefix_len).max()
    }
}

impl Book {
    /// Without what the cloud calls an address that a cluster has a name for, and without the interfaces of what has a name of its own: the
    /// balancer of a Service is one thing, and so is a gateway.
    fn best_named<'c>(&self, candidates: Vec<&'c Candidate>) -> Vec<&'c Candidate> {
        let rank = |candidate: &&Candidate| {
            let row = self.row(candidate.row);
            (!row.cluster.is_empty(), row.kind != "eni")
        };
        let best = candidates.iter().map(rank).max();
        let is_best = |candidate: &&Candidate| Some(rank(candidate)) == best;
        candidates.into_iter().filter(is_best).collect()
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
