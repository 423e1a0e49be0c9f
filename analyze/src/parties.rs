//! All addresses that the records of an hour name, and who held each of them when.
//!
//! Numbers are given in the order in which threads meet the addresses: they tell parties apart within one scan and
//! mean nothing outside it. What must be the same in every run goes by [`Address::hash`] or by the address itself.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::identify::{Book, Held, Stretch};
use crate::timeline::Timeline;

/// The seed is fixed: the bucket of an address pair is the same on every machine and in every run.
const HASHER: foldhash::fast::FixedState = foldhash::fast::FixedState::with_seed(0x0061_7564_6974);

/// One address in one VPC.
#[derive(Debug)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The VPC of the records; part of what makes the address this one.
    pub vpc: Option<String>,
    /// Stable hash of address and VPC.
    pub hash: u64,
    /// Instants at which its holder may change; empty for most.
    cuts: Vec<i64>,
    /// The holding where there are no cuts.
    whole: u32,
}

impl Address {
    /// Numbers of the stretches between its cuts that hold the two ends of a window.
    pub(crate) fn stretches(&self, window: Stretch) -> (usize, usize) {
        (
            self.cuts.partition_point(|cut| *cut <= window.from),
            self.cuts.partition_point(|cut| *cut <= window.to),
        )
    }

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
    numbers: HashMap<(IpAddr, Option<String>), u32>,
    slices: HashMap<(u32, Held), u32>,
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
        self.address_of(holding).cuts.is_empty()
    }

    /// The address with that number.
    pub fn address_at(&self, number: u32) -> &Address {
        &self.addresses[number as usize]
    }

    /// The address with its number; noted if it is new.
    pub(crate) fn address(
        &mut self,
        text: IpAddr,
        vpc: Option<&str>,
        known: &Known<'_>,
    ) -> (u32, &Address) {
        let key = (text, vpc.map(str::to_owned));
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => self.note(key, known),
        };
        (number, &self.addresses[number as usize])
    }

    fn note(&mut self, key: (IpAddr, Option<String>), known: &Known<'_>) -> u32 {
        let number = self.addresses.len() as u32;
        self.addresses.push(Address {
            address: key.0,
            vpc: key.1.clone(),
            hash: HASHER.hash_one((key.0, key.1.as_deref())),
            cuts: known.book.cuts(key.0, known.within),
            whole: 0,
        });
        self.numbers.insert(key, number);
        let whole = self.slice(number, known, known.within);
        self.addresses[number as usize].whole = whole;
        number
    }

    /// The holding of an address for one window.
    pub(crate) fn slice(&mut self, address: u32, known: &Known<'_>, window: Stretch) -> u32 {
        let asked = &self.addresses[address as usize];
        let held = known.book.held(asked.address, asked.vpc.as_deref(), window);
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
