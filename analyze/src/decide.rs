//! Tuples of one bucket → edges: orient, judge, observe and classify each, and count every connection once.
//!
//! Nearly all five-tuples are one tuple. A five-tuple whose records lie in several spans of epochs, or whose address
//! changed hands, is several; they are looked at together, because the opening of a connection may stand in an earlier
//! one, and because the two interfaces that logged it may cut time differently.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::classify::classify;
use crate::coverage::{Coverage, Step};
use crate::edges::{EdgeKey, EdgeSums, Edges, Party, evidence_bit};
use crate::fanin::FanIn;
use crate::fold::{Traffic, Tuple, Way};
use crate::identify::{Book, Held, Stretch};
use crate::judge::{Judge, Seen};
use crate::observe::{Observed, observe};
use crate::orient::{self, Evidence, orient};
use crate::scan::{Parties, service_hash};
use crate::timeline::{Span, Spans, Timeline};
use crate::wire::{SYN, TCP};

/// What deciding needs to know of the hour.
pub struct Context<'a> {
    /// Who held what.
    pub book: &'a Book,
    /// What was declared.
    pub timeline: &'a Timeline,
    /// Addresses and holdings of the tuples.
    pub parties: &'a Parties,
    /// Spans of the tuples.
    pub spans: &'a Spans,
    /// Fan-in of the whole hour, made when it is first asked for.
    pub fan_in: &'a dyn Fn() -> &'a FanIn,
}

/// Sums of whole tuples that mean the same, before they become an edge: most tuples differ from another one in nothing
/// but the client's port.
#[derive(Default)]
struct Alike {
    edges: HashMap<
        AlikeKey,
        (EdgeKey, EdgeSums, [u64; Evidence::ALL.len()]),
        foldhash::fast::FixedState,
    >,
    served: ServedByHolding,
}

/// Ports that a holding serves, with their protocols, sorted; by number of the holding, as far as it was asked.
type ServedByHolding = Vec<Option<Vec<(u16, u8)>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AlikeKey {
    client: u32,
    server: u32,
    port: u16,
    protocol: u8,
    observed: Observed,
    is_oriented: bool,
}

/// Decides all tuples of a bucket.
pub fn decide(
    context: &Context<'_>,
    judge: &mut Judge<'_>,
    tuples: &[Tuple],
    edges: &mut Edges,
    coverage: &mut Coverage,
) {
    let mut groups: HashMap<(u32, u32, u16, u16, u8), Vec<usize>, foldhash::fast::FixedState> =
        HashMap::default();
    let mut alike = Alike::default();
    for (n, tuple) in tuples.iter().enumerate() {
        if context.is_whole(tuple) {
            alike.add(context, judge, tuple);
        } else {
            let key = &tuple.key;
            let (a, b) = (
                context.parties.holding(key.a).address,
                context.parties.holding(key.b).address,
            );
            groups
                .entry((a, b, key.port_a, key.port_b, key.protocol))
                .or_default()
                .push(n);
        }
    }
    alike.finish(judge, edges, coverage);
    for members in groups.into_values() {
        let mut parts: Vec<Tuple> = members.into_iter().map(|n| tuples[n]).collect();
        // Times first, then anything that tells parts apart independently of the order in which they were met.
        parts.sort_by_key(|part| {
            (
                part.first_us,
                part.last_us,
                context.spans.span(part.key.span),
                part.records,
                part.key,
            )
        });
        Group {
            context,
            tuples: &parts,
        }
        .decide(judge, edges, coverage);
    }
}

impl Alike {
    fn add(&mut self, context: &Context<'_>, judge: &mut Judge<'_>, tuple: &Tuple) {
        let mut ends = EndsOf {
            context,
            judge,
            tuple,
            served: Some(&mut self.served),
        };
        let (forward, evidence) = context.orient(tuple, &mut ends);
        let (client, server, port) = client_and_server(tuple, forward);
        let key = AlikeKey {
            client,
            server,
            port,
            protocol: tuple.key.protocol,
            observed: observe(tuple, forward),
            is_oriented: evidence != Evidence::Unknown,
        };
        let sums = sums_of(tuple, forward, evidence, true, View::Fuller);
        let mut records = [0; Evidence::ALL.len()];
        records[evidence as usize] = u64::from(tuple.records);
        match self.edges.get_mut(&key) {
            Some((_, edge, known)) => {
                edge.merge(&sums);
                known
                    .iter_mut()
                    .zip(records)
                    .for_each(|(known, records)| *known += records);
            }
            None => {
                let group = Group {
                    context,
                    tuples: std::slice::from_ref(tuple),
                };
                let edge = group.edge_key(0, forward, evidence, judge);
                self.edges.insert(key, (edge, sums, records));
            }
        }
    }

    fn finish(self, judge: &Judge<'_>, edges: &mut Edges, coverage: &mut Coverage) {
        for (key, sums, records) in self.edges.into_values() {
            for (evidence, records) in Evidence::ALL.into_iter().zip(records) {
                cover(&key, evidence, records, judge, coverage);
            }
            edges.add(key, sums);
        }
    }
}

/// Holdings of client and server, and the server's port.
fn client_and_server(tuple: &Tuple, forward: Way) -> (u32, u32, u16) {
    let key = &tuple.key;
    match forward {
        Way::Forth => (key.a, key.b, key.port_b),
        Way::Back => (key.b, key.a, key.port_a),
    }
}

/// Counts records under what became of them.
fn cover(
    key: &EdgeKey,
    evidence: Evidence,
    records: u64,
    judge: &Judge<'_>,
    coverage: &mut Coverage,
) {
    let doubt = [key.client, key.server]
        .into_iter()
        .find_map(|party| match party {
            Party::Unclear { doubt, .. } => Some(doubt.as_str()),
            _ => None,
        });
    coverage.count(Step::Read, "flow", records);
    coverage.count(Step::Identify, doubt.unwrap_or("identified"), records);
    coverage.count(Step::Orient, evidence.as_str(), records);
    coverage.count(Step::Judge, judge.judged(key.judged).verdict, records);
    coverage.count(Step::Observe, key.observed.as_str(), records);
    coverage.count(Step::Classify, key.class.as_str(), records);
}

/// What orientation may ask about the ends of a tuple.
struct EndsOf<'e, 'a, 'j> {
    context: &'e Context<'a>,
    judge: &'e mut Judge<'j>,
    tuple: &'e Tuple,
    /// Remembered per holding where nothing changes within the hour.
    served: Option<&'e mut ServedByHolding>,
}

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
    fn is_whole(&self, tuple: &Tuple) -> bool {
        self.timeline.is_constant()
            && self.parties.is_constant(tuple.key.a)
            && self.parties.is_constant(tuple.key.b)
    }

    /// Client to server; where nothing tells, from the lower address, so that it is the same each time.
    fn orient(&self, tuple: &Tuple, ends: &mut impl orient::Ends) -> (Way, Evidence) {
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

    fn end(&self, holding: u32) -> End<'_> {
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
struct End<'a> {
    held: &'a Held,
    address: IpAddr,
    book: &'a Book,
}

impl<'a> End<'a> {
    fn party(self) -> Party {
        let address = self.address;
        match self.held {
            Held::By { identity, .. } | Held::Range { identity } => Party::Known {
                identity: *identity,
                address,
            },
            Held::External => Party::External { address },
            Held::Unclear(doubt) => Party::Unclear {
                doubt: *doubt,
                address,
            },
        }
    }

    /// How policies may see it; empty where the holder is not certain.
    fn seen(self) -> Vec<Seen> {
        match self.held {
            Held::By { versions, .. } => versions.iter().map(|row| self.seen_row(*row)).collect(),
            Held::Range { .. } | Held::External => vec![Seen::External],
            Held::Unclear(_) => Vec::new(),
        }
    }

    fn last_seen(self) -> Seen {
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
            _ => Seen::External,
        }
    }

    /// Since when it may have been there.
    fn since(self) -> i64 {
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

/// All tuples of one five-tuple, by time.
struct Group<'g, 'a> {
    context: &'g Context<'a>,
    tuples: &'g [Tuple],
}

impl Group<'_, '_> {
    fn decide(&self, judge: &mut Judge<'_>, edges: &mut Edges, coverage: &mut Coverage) {
        let Some(first) = self.tuples.first() else {
            return;
        };
        let mut whole = *first;
        for part in &self.tuples[1..] {
            whole.merge(part);
        }
        // What the ends serve is asked as of the last part.
        whole.key = self.tuples[self.tuples.len() - 1].key;
        let mut ends = EndsOf {
            context: self.context,
            judge,
            tuple: &whole,
            served: None,
        };
        let (forward, evidence) = self.context.orient(&whole, &mut ends);
        let view = View::of(self.tuples, self.context);
        let mut counted: Vec<EdgeKey> = Vec::new();
        for (n, part) in self.tuples.iter().enumerate() {
            let key = self.edge_key(n, forward, evidence, judge);
            cover(&key, evidence, u64::from(part.records), judge, coverage);
            if !view.holds(part) {
                // The other interface's view of packets that are counted already.
                continue;
            }
            let fresh = !counted.contains(&key);
            edges.add(key, sums_of(part, forward, evidence, fresh, view));
            if fresh && self.tuples.len() > 1 {
                counted.push(key);
            }
        }
    }

    fn edge_key(
        &self,
        n: usize,
        forward: Way,
        evidence: Evidence,
        judge: &mut Judge<'_>,
    ) -> EdgeKey {
        let part = self.with_rejections(n);
        let (client, server, port) = client_and_server(&part, forward);
        let (client, server) = (self.context.end(client), self.context.end(server));
        let observed = observe(&part, forward);
        let (judged, port) = match (client.held, server.held) {
            _ if evidence == Evidence::Unknown => (judge.undecided("orientation-unknown"), 0),
            (Held::Unclear(doubt), _) | (_, Held::Unclear(doubt)) => {
                (judge.undecided(doubt.as_str()), port)
            }
            _ => (self.judge(n, forward, (client, server, port), judge), port),
        };
        EdgeKey {
            client: client.party(),
            server: server.party(),
            port,
            protocol: part.key.protocol,
            observed,
            judged,
            class: classify(judge.judged(judged).declared, observed),
        }
    }

    /// The part, with what overlapping parts prove: a rejection is logged at one interface only.
    fn with_rejections(&self, n: usize) -> Tuple {
        let mut part = self.tuples[n];
        for other in self
            .tuples
            .iter()
            .enumerate()
            .filter(|(m, _)| *m != n)
            .map(|(_, other)| other)
        {
            if other.first_us <= part.last_us && part.first_us <= other.last_us {
                let (first_us, last_us) = (part.first_us, part.last_us);
                part.merge_evidence(other);
                (part.first_us, part.last_us) = (first_us, last_us);
            }
        }
        part
    }

    fn judge(
        &self,
        n: usize,
        forward: Way,
        (client, server, port): (End<'_>, End<'_>, u16),
        judge: &mut Judge<'_>,
    ) -> u32 {
        let protocol = self.tuples[n].key.protocol;
        let span = self.opened_in(n, forward, client.since().max(server.since()));
        let (clients, servers) = (client.seen(), server.seen());
        let mut numbers = Vec::new();
        for epoch in span.first..=span.last {
            for c in &clients {
                for s in &servers {
                    numbers.push(judge.judge(
                        epoch,
                        (*c, client.address),
                        (*s, server.address),
                        port,
                        protocol,
                    ));
                }
            }
        }
        let own = self.context.spans.span(self.tuples[n].key.span);
        let reason = if span == own {
            "changed-during-flow"
        } else {
            "opened-before-change"
        };
        judge.agree(&numbers, reason)
    }

    /// The epochs in which the connection may have been opened: policy judges the opening packet.
    fn opened_in(&self, n: usize, forward: Way, since_us: i64) -> Span {
        let part = &self.tuples[n];
        let own = self.context.spans.span(part.key.span);
        if self.context.timeline.is_constant() {
            return own;
        }
        let opens = |part: &Tuple| part.flags(forward).map(|flags| flags & SYN != 0);
        let same_ends = |other: &&Tuple| (other.key.a, other.key.b) == (part.key.a, part.key.b);
        let known = self.tuples.iter().filter(same_ends);
        let mut earlier = self.tuples[..n].iter().filter(same_ends);
        if part.key.protocol == TCP && opens(part).is_some() {
            // The latest opening so far; of two views of the same one, the one that dates it more closely.
            let opening = known
                .filter(|other| other.first_us <= part.first_us && opens(other) == Some(true))
                .map(|other| (other.first_us, self.context.spans.span(other.key.span)))
                .max_by_key(|(first_us, span)| {
                    (*first_us, std::cmp::Reverse(span.last - span.first))
                });
            return match opening {
                Some((_, span)) => span,
                // Before the hour, or lost: any epoch since both ends were there.
                None => {
                    let since = self.context.timeline.span(Stretch {
                        from: since_us,
                        to: since_us,
                    });
                    Span {
                        first: since.first.min(own.first),
                        last: own.last,
                    }
                }
            };
        }
        // Without a handshake to go by, packets of the same ports go on what was there before.
        match earlier.next() {
            Some(first) => Span {
                first: self.context.spans.span(first.key.span).first.min(own.first),
                last: own.last,
            },
            None => own,
        }
    }
}

/// Whose interface counts. With one tuple, each way takes the fuller of its two logs; with several, one interface is
/// followed throughout, because the other may have cut time differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Fuller,
    /// What the interface at end `a` (0) or `b` (1) logged.
    At(usize),
}

impl View {
    fn of(tuples: &[Tuple], context: &Context<'_>) -> View {
        if tuples.len() == 1 {
            return View::Fuller;
        }
        let certain = |part: &&Tuple| {
            let unclear =
                |holding| matches!(context.parties.holding(holding).held, Held::Unclear(_));
            let span = context.spans.span(part.key.span);
            !unclear(part.key.a) && !unclear(part.key.b) && span.first == span.last
        };
        let rank = |end: usize| {
            let parts = || tuples.iter().filter(move |part| View::At(end).holds(part));
            let packets: i64 = parts()
                .map(|part| View::At(end).forth(part).packets + View::At(end).back(part).packets)
                .sum();
            (packets, parts().filter(certain).count(), parts().count())
        };
        let (a, b) = (rank(0), rank(1));
        if a.0 == 0 && b.0 == 0 {
            return View::Fuller;
        }
        let address = |holding| context.parties.address_of(holding).address;
        let lower_is_a = address(tuples[0].key.a) <= address(tuples[0].key.b);
        View::At(usize::from(a < b || a == b && !lower_is_a))
    }

    /// Whether the view has any record of that part.
    fn holds(self, part: &Tuple) -> bool {
        match self {
            View::Fuller => true,
            View::At(_) => {
                self.forth(part) != Traffic::default() || self.back(part) != Traffic::default()
            }
        }
    }

    /// What went from `a` to `b`: logged at the source where the view is at `a`.
    fn forth(self, part: &Tuple) -> Traffic {
        match self {
            View::Fuller => part.counted_once(Way::Forth),
            View::At(end) => part.seen[Way::Forth as usize][end],
        }
    }

    fn back(self, part: &Tuple) -> Traffic {
        match self {
            View::Fuller => part.counted_once(Way::Back),
            View::At(end) => part.seen[Way::Back as usize][1 - end],
        }
    }
}

fn sums_of(part: &Tuple, forward: Way, evidence: Evidence, fresh: bool, view: View) -> EdgeSums {
    let tcp = part.key.protocol == TCP;
    let side = |way: Way| {
        let traffic = if way == Way::Forth {
            view.forth(part)
        } else {
            view.back(part)
        };
        (traffic, part.flags(way).filter(|_| tcp && part.any(way)))
    };
    let back = if forward == Way::Forth {
        Way::Back
    } else {
        Way::Forth
    };
    let ((forward, forward_flags), (reverse, reverse_flags)) = (side(forward), side(back));
    EdgeSums {
        connections: u64::from(fresh),
        forward,
        reverse,
        forward_flags,
        reverse_flags,
        oriented_by: evidence_bit(evidence),
        first_us: part.first_us,
        last_us: part.last_us,
        records: u64::from(part.records),
    }
}
