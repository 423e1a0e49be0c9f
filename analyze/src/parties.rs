//! All addresses that the records of an hour name, and who held each of them when.
//!
//! Numbers are given in the order in which threads meet the addresses: they tell parties apart within one scan and
//! mean nothing outside it. What must be the same in every run goes by [`Address::hash`] or by the address itself.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr};

use crate::identify::{Book, Held, Site, Stretch};
use crate::timeline::Timeline;

/// The seed is fixed: the bucket of an address pair is the same on every machine and in every run.
const HASHER: foldhash::fast::FixedState = foldhash::fast::FixedState::with_seed(0x0061_7564_6974);

/// One address in one VPC.
#[derive(Debug)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Number of the VPC of the records, see [`Parties::vpc`]; part of what makes the address this one.
    pub vpc: u32,
    /// Stable hash of address and VPC.
    pub hash: u64,
    /// Instants at which its holder may change; empty for most.
    cuts: Vec<i64>,
    /// The holding where there are no cuts.
    whole: u32,
    /// Some record was made elsewhere than where its holder is: not all of its records have one holding.
    torn: bool,
}

impl Address {
    /// Its holding, unless its holder changes meanwhile.
    pub(crate) fn whole(&self) -> Option<u32> {
        self.cuts.is_empty().then_some(self.whole)
    }
}

/// An address as held by one holder (or none that is known) for the windows of some records.
#[derive(Debug)]
pub struct Holding {
    /// Number of the address.
    pub address: u32,
    /// Who held it.
    pub held: Held,
    /// Whether what is declared may change for this holder, see [`Timeline::concerns`].
    pub concerned: bool,
}

/// What is known about holders and their policies, and for which time it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Who held what.
    pub book: &'a Book,
    /// What was declared.
    pub timeline: &'a Timeline,
    /// The time that windows of the records may touch.
    pub within: Stretch,
}

impl Known<'_> {
    fn concerned(&self, held: &Held) -> bool {
        match held {
            Held::By { identity, .. } => {
                let identity = self.book.identity(*identity);
                let namespace = identity.namespace.as_deref();
                self.timeline.concerns(&identity.kind, namespace)
            }
            Held::Range { .. } => self.timeline.concerns("cidr-set", None),
            Held::External => self.timeline.concerns("external", None),
            // Never judged.
            Held::Unclear(_) => false,
        }
    }
}

/// All addresses and holdings that the records of one hour name.
#[derive(Debug, Default)]
pub struct Parties {
    addresses: Vec<Address>,
    holdings: Vec<Holding>,
    /// VPCs met so far; records that name none have a number, too.
    vpcs: Vec<Option<String>>,
    /// By IPv4 address and number of its VPC.
    found_v4: HashMap<u64, Found, foldhash::fast::FixedState>,
    /// By IPv6 address and number of its VPC.
    found_v6: HashMap<(u128, u32), Found, foldhash::fast::FixedState>,
    slices: HashMap<(u32, Held), u32>,
    /// Of addresses whose holder changes, the holdings of windows met so far.
    windows: Vec<Windows>,
}

/// An address that was met.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Its number.
    number: u32,
    /// Its only holding, if it has one all the time; else [`CHANGES`] and where its windows are.
    holding: u32,
}

/// The bit that tells places of windows from holdings.
const CHANGES: u32 = 1 << 31;

/// The holdings of one address, by the stretches between its cuts in which a window begins and ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Windows {
    /// How many cuts there are.
    cuts: usize,
    /// The cuts, and then by the number of the stretch of the end and that of the beginning the holdings; [`NONE`] where none was asked for. All
    /// in one piece, for one look reads both.
    table: Vec<i64>,
}

/// No number of a holding.
const NONE: i64 = -1;

fn key_v4(address: Ipv4Addr, of_vpc: u32) -> u64 {
    u64::from(of_vpc) << 32 | u64::from(u32::from(address))
}

/// An address with more cuts in an hour is looked up in the book each time: tables would grow with their square.
const CUTS_MAX: usize = 62;

impl Windows {
    fn new(cuts: &[i64]) -> Windows {
        let stretches = cuts.len() + 1;
        let holdings = match cuts.len() {
            0..=CUTS_MAX => stretches * stretches,
            _ => 0,
        };
        let mut table = cuts.to_vec();
        table.resize(cuts.len() + holdings, NONE);
        Windows {
            cuts: cuts.len(),
            table,
        }
    }

    fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    #[inline]
    fn place(&self, window: Stretch) -> usize {
        let cuts = &self.table[..self.cuts];
        // Not bisected: there are few, and each step of that would wait for the one before.
        let until = |at: i64| {
            cuts.iter()
                .map(|cut| usize::from(*cut <= at))
                .sum::<usize>()
        };
        self.cuts + until(window.to) * (self.cuts + 1) + until(window.from)
    }

    /// The holding for a window, if one of the same stretches was asked for.
    #[inline]
    pub(crate) fn get(&self, window: Stretch) -> Option<u32> {
        let holding = *self.table.get(self.place(window))?;
        (holding != NONE).then_some(holding as u32)
    }

    pub(crate) fn put(&mut self, window: Stretch, holding: u32) {
        let place = self.place(window);
        if let Some(slot) = self.table.get_mut(place) {
            *slot = i64::from(holding);
        }
    }
}

impl Parties {
    /// The holding with that number.
    pub fn holding(&self, number: u32) -> &Holding {
        &self.holdings[number as usize]
    }

    /// The address of a holding.
    pub fn address_of(&self, holding: u32) -> &Address {
        &self.addresses[self.holding(holding).address as usize]
    }

    /// Whether the address of a holding has one holder (or none) all the time.
    pub fn is_constant(&self, holding: u32) -> bool {
        let address = self.address_of(holding);
        address.cuts.is_empty() && !address.torn
    }

    /// The VPC with that number; numbers are given in the order in which threads meet them.
    pub fn vpc(&self, number: u32) -> Option<&str> {
        self.vpcs.get(number as usize)?.as_deref()
    }

    /// The address with that number.
    pub fn address_at(&self, number: u32) -> &Address {
        &self.addresses[number as usize]
    }

    /// The holding of `address` (in `vpc`, where known) for a window. The same as [`Book::held`] says, and fast where the
    /// same address was asked for before.
    #[inline]
    pub fn lookup(
        &mut self,
        address: IpAddr,
        vpc: Option<&str>,
        known: &Known<'_>,
        window: Stretch,
    ) -> u32 {
        let Found { number, holding } = self.find(address, vpc, known);
        if holding & CHANGES == 0 {
            return holding;
        }
        let place = (holding & !CHANGES) as usize;
        if let Some(holding) = self.windows[place].get(window) {
            return holding;
        }
        let holding = self.slice(number, known, window, Site::ANYWHERE);
        if self.windows[place].is_empty() {
            self.windows[place] = self.windows_of(number);
        }
        self.windows[place].put(window, holding);
        holding
    }

    /// A table for the windows of an address.
    pub(crate) fn windows_of(&self, address: u32) -> Windows {
        Windows::new(&self.addresses[address as usize].cuts)
    }

    /// The address with its number; noted if it is new.
    pub(crate) fn address(
        &mut self,
        address: IpAddr,
        vpc: Option<&str>,
        known: &Known<'_>,
    ) -> (u32, &Address) {
        let Found { number, .. } = self.find(address, vpc, known);
        (number, &self.addresses[number as usize])
    }

    /// What is known of an address; noted if it is new.
    #[inline]
    fn find(&mut self, address: IpAddr, vpc: Option<&str>, known: &Known<'_>) -> Found {
        let of_vpc = match self.vpcs.iter().position(|of| of.as_deref() == vpc) {
            Some(of_vpc) => of_vpc as u32,
            None => {
                self.vpcs.push(vpc.map(str::to_owned));
                self.vpcs.len() as u32 - 1
            }
        };
        let found = match address {
            IpAddr::V4(v4) => self.found_v4.get(&key_v4(v4, of_vpc)),
            IpAddr::V6(v6) => self.found_v6.get(&(u128::from(v6), of_vpc)),
        };
        match found {
            Some(found) => *found,
            None => self.note(address, of_vpc, known),
        }
    }

    fn note(&mut self, address: IpAddr, of_vpc: u32, known: &Known<'_>) -> Found {
        let number = self.addresses.len() as u32;
        self.addresses.push(Address {
            address,
            hash: HASHER.hash_one((address, self.vpc(of_vpc))),
            vpc: of_vpc,
            cuts: known.book.cuts(address, known.within),
            whole: 0,
            torn: false,
        });
        let whole = self.slice(number, known, known.within, Site::ANYWHERE);
        let noted = &mut self.addresses[number as usize];
        noted.whole = whole;
        let holding = noted.whole().unwrap_or_else(|| {
            // Its table is made when it is asked for.
            self.windows.push(Windows::default());
            CHANGES | (self.windows.len() as u32 - 1)
        });
        let found = Found { number, holding };
        match address {
            IpAddr::V4(v4) => self.found_v4.insert(key_v4(v4, of_vpc), found),
            IpAddr::V6(v6) => self.found_v6.insert((u128::from(v6), of_vpc), found),
        };
        found
    }

    /// The holding of an address for one window, as a record shows it that was made at `on`.
    pub(crate) fn slice(
        &mut self,
        address: u32,
        known: &Known<'_>,
        window: Stretch,
        on: Site,
    ) -> u32 {
        let asked = &mut self.addresses[address as usize];
        asked.torn |= on != Site::ANYWHERE;
        let vpc = self.vpcs[asked.vpc as usize].as_deref();
        let held = known.book.held_on(asked.address, vpc, window, on);
        let next = self.holdings.len() as u32;
        let number = *self.slices.entry((address, held.clone())).or_insert(next);
        if number == next {
            let concerned = known.concerned(&held);
            self.holdings.push(Holding {
                address,
                held,
                concerned,
            });
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use flowaudit_lake::table::endpoints::EndpointRow;
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn row(name: u8, from: i64, lasts: i64, slack: (i64, i64), vpc: u8) -> EndpointRow {
        EndpointRow {
            addr: "10.0.3.7".into(),
            vpc_id: (vpc > 0).then(|| format!("vpc-{vpc}")),
            valid_from_us: from * SECOND,
            valid_to_us: (lasts > 0).then_some((from + lasts) * SECOND),
            from_slack_ms: Some(slack.0 * 1000),
            to_slack_ms: (slack.1 > 0).then_some(slack.1 * 1000),
            kind: if name == 0 { "node" } else { "pod" }.into(),
            cluster: "c".into(),
            namespace: Some("shop".into()),
            name: name.to_string(),
            uid: None,
            workload_kind: None,
            workload: None,
            labels: None,
            host_network: false,
            node: None,
            container_ports: None,
            service_account: None,
            eni_id: None,
            evidence: String::new(),
        }
    }

    proptest! {
        /// Whatever was asked before, the fast answer is the book's.
        #[test]
        fn a_lookup_says_what_the_book_says(
            rows in proptest::collection::vec((0u8..4, 0i64..300, 0i64..80, (0i64..20, 0i64..20), 0u8..3), 1..12),
            asked in proptest::collection::vec((0i64..400, 0i64..60, 0u8..3), 1..60),
        ) {
            let rows = rows.into_iter().map(|(name, from, lasts, slack, vpc)| row(name, from, lasts, slack, vpc));
            let book = Book::new(rows.collect(), 6 * SECOND, &[]);
            let within = Stretch { from: 0, to: 500 * SECOND };
            let timeline = Timeline::new(&[], within, 0, Default::default());
            let known = Known { book: &book, timeline: &timeline, within };
            let mut parties = Parties::default();
            let address: IpAddr = "10.0.3.7".parse().unwrap();
            for (from, lasts, vpc) in asked {
                let window = Stretch { from: from * SECOND, to: (from + lasts) * SECOND };
                let vpc = (vpc > 0).then(|| format!("vpc-{vpc}"));
                let holding = parties.lookup(address, vpc.as_deref(), &known, window);
                let held = book.held(address, vpc.as_deref(), window);
                prop_assert_eq!(&parties.holding(holding).held, &held);
            }
        }
    }
}
