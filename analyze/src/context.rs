//! What deciding needs to know of the hour, and what it asks of the two ends of a tuple.

use std::net::IpAddr;

use flowaudit_lake::Hour;

use crate::edges::Party;
use crate::fanin::{FanIn, service_hash};
use crate::fold::{Tuple, Way};
use crate::gaps::Blind;
use crate::identify::{Book, Held};
use crate::judge::{Judge, Seen};
use crate::observe::{Observed, observe};
use crate::orient::{self, Evidence, orient};
use crate::parties::Parties;
use crate::timeline::{Spans, Timeline};

/// What deciding needs to know of the hour.
pub struct Context<'a> {
    /// The hour.
    pub hour: Hour,
    /// How far the clocks of two logs of the same packet may be apart.
    pub apart_us: i64,
    /// Who held what.
    pub book: &'a Book,
    /// What was declared.
    pub timeline: &'a Timeline,
    /// Addresses and holdings of the tuples.
    pub parties: &'a Parties,
    /// Spans of the tuples.
    pub spans: &'a Spans,
    /// What the log lost.
    pub blind: &'a Blind,
    /// Fan-in of the whole hour, made when it is first asked for.
    pub fan_in: &'a dyn Fn() -> &'a FanIn,
}

/// Addresses (by number) and ports of both ends, and the protocol.
pub(crate) type FiveTuple = (u32, u32, u16, u16, u8);

/// What orientation may ask about the ends of a tuple.
pub(crate) struct EndsOf<'e, 'a, 'j> {
    pub(crate) context: &'e Context<'a>,
    pub(crate) judge: &'e mut Judge<'j>,
    pub(crate) tuple: &'e Tuple,
    /// Remembered per holding where nothing changes within the hour.
    pub(crate) served: Option<&'e mut ServedByHolding>,
}

/// Ports that a holding serves, with their protocols, sorted; by number of the holding, as far as it was asked.
pub(crate) type ServedByHolding = Vec<Option<Vec<(u16, u8)>>>;

impl EndsOf<'_, '_, '_> {
    fn end(&self, end: usize) -> (u32, u16) {
        let key = &self.tuple.key;
        if end == 0 {
            (key.a, key.port_a)
        } else {
            (key.b, key.port_b)
        }
    }
}

impl orient::Ends for EndsOf<'_, '_, '_> {
    fn declares(&mut self, end: usize) -> bool {
        let (holding, port) = self.end(end);
        let served = (port, self.tuple.key.protocol);
        let epoch = self.context.spans.span(self.tuple.key.span).last;
        let Some(known) = &mut self.served else {
            let seen = self.context.end(holding).last_seen();
            return self
                .judge
                .served(epoch, seen)
                .binary_search(&served)
                .is_ok();
        };
        let holding = holding as usize;
        if known.len() <= holding {
            known.resize(holding + 1, None);
        }
        let (context, judge) = (self.context, &mut *self.judge);
        let ports = known[holding].get_or_insert_with(|| {
            judge
                .served(epoch, context.end(holding as u32).last_seen())
                .to_vec()
        });
        ports.binary_search(&served).is_ok()
    }

    fn peers(&mut self, end: usize) -> u32 {
        let (holding, port) = self.end(end);
        let address = self.context.parties.address_of(holding).hash;
        (self.context.fan_in)().peers(service_hash(address, port, self.tuple.key.protocol))
    }
}

impl Context<'_> {
    /// Whether no other tuple can belong to the same five-tuple.
    pub(crate) fn is_whole(&self, tuple: &Tuple) -> bool {
        tuple.key.span == Spans::ANY
            && !tuple.is_at_edge()
            && self.parties.is_constant(tuple.key.a)
            && self.parties.is_constant(tuple.key.b)
    }

    pub(crate) fn five_tuple(&self, tuple: &Tuple) -> FiveTuple {
        let key = &tuple.key;
        let (a, b) = (self.parties.holding(key.a), self.parties.holding(key.b));
        (a.address, b.address, key.port_a, key.port_b, key.protocol)
    }

    /// What happened to a connection, as far as the log can tell.
    pub(crate) fn observe(&self, tuple: &Tuple, forward: Way) -> Observed {
        match observe(tuple, forward) {
            Observed::Unanswered if self.blind.may_hide_answer(tuple, forward, self.parties) => {
                Observed::Unknown
            }
            observed => observed,
        }
    }

    /// Client to server; where nothing tells, from the lower address, so that it is the same each time.
    pub(crate) fn orient(&self, tuple: &Tuple, ends: &mut impl orient::Ends) -> (Way, Evidence) {
        match orient(tuple, ends) {
            (_, Evidence::Unknown) => {
                let is_lower = self.end(tuple.key.a).address <= self.end(tuple.key.b).address;
                (
                    if is_lower { Way::Forth } else { Way::Back },
                    Evidence::Unknown,
                )
            }
            known => known,
        }
    }

    pub(crate) fn end(&self, holding: u32) -> End<'_> {
        let held = &self.parties.holding(holding).held;
        End {
            held,
            address: self.parties.address_of(holding).address,
            book: self.book,
        }
    }
}

/// One end of a tuple.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) held: &'a Held,
    pub(crate) address: IpAddr,
    book: &'a Book,
}

impl<'a> End<'a> {
    pub(crate) fn party(self) -> Party {
        let address = self.address;
        match self.held {
            Held::By { identity, .. } => Party::Known {
                identity: *identity,
                address,
            },
            Held::Range { identity } => Party::External {
                range: Some(*identity),
                address,
            },
            Held::External => Party::External {
                range: None,
                address,
            },
            Held::Unclear(doubt) => Party::Unclear {
                doubt: *doubt,
                address,
            },
        }
    }

    /// How policies may see it; empty where the holder is not certain.
    pub(crate) fn seen(self) -> Vec<Seen> {
        match self.held {
            Held::By { versions, .. } => versions.iter().map(|row| self.seen_row(*row)).collect(),
            Held::Range { .. } | Held::External => vec![Seen::External],
            Held::Unclear(_) => Vec::new(),
        }
    }

    pub(crate) fn last_seen(self) -> Seen {
        match self.held {
            Held::By { versions, .. } => versions
                .last()
                .map_or(Seen::External, |row| self.seen_row(*row)),
            _ => Seen::External,
        }
    }

    fn seen_row(self, row: u32) -> Seen {
        let endpoint = self.book.row(row);
        match endpoint.kind.as_str() {
            "pod" if !endpoint.host_network => Seen::Pod { row },
            "pod" | "node" => Seen::Node { row },
            "service" | "load-balancer" => Seen::Service { row },
            "eni" if self.book.is_perhaps_of_a_pod(row) => Seen::Unsure,
            _ => Seen::External,
        }
    }

    /// Since when it may have been there.
    pub(crate) fn since(self) -> i64 {
        match self.held {
            Held::By { versions, .. } => versions
                .iter()
                .map(|row| self.book.row(*row).valid_from_us)
                .min()
                .unwrap_or(i64::MIN),
            _ => i64::MIN,
        }
    }
}

/// Holdings of client and server, and the server's port.
pub(crate) fn client_and_server(tuple: &Tuple, forward: Way) -> (u32, u32, u16) {
    let key = &tuple.key;
    match forward {
        Way::Forth => (key.a, key.b, key.port_b),
        Way::Back => (key.b, key.a, key.port_a),
    }
}
