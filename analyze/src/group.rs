//! All tuples of one five-tuple, looked at together.
//!
//! Nearly all five-tuples are one tuple of one hour. One whose records lie in several spans of epochs, whose address
//! changed hands, or that goes on beyond the hour is several: the opening of a connection may stand in an earlier one, its
//! answer in a later one, and the two interfaces that logged it may cut time differently.

use flowaudit_lake::layout::HOUR_MARGIN_US;

use crate::classify::classify;
use crate::context::{Context, End, EndsOf, client_and_server};
use crate::coverage::Coverage;
use crate::edges::{EdgeKey, EdgeSums, Edges, evidence_bit};
use crate::fold::{Traffic, Tuple, Way};
use crate::identify::{Held, Stretch};
use crate::judge::Judge;
use crate::orient::Evidence;
use crate::outcome::{Outcome, cover};
use crate::timeline::{Span, Spans};
use crate::wire::{SYN, TCP};

/// What a part is of the hour that is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Of the hour before: evidence only.
    Before,
    /// Of the hour itself.
    Own,
    /// Of the hour after: evidence only.
    After,
}

/// One tuple of the five-tuple.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) tuple: Tuple,
    pub(crate) role: Role,
}

/// All tuples of one five-tuple, in and beside one hour.
#[derive(Debug, Default)]
pub(crate) struct Group {
    parts: Vec<Part>,
    /// Records that reach over the hour's first and over its last instant.
    straddling: [Option<Tuple>; 2],
}

impl Group {
    /// A five-tuple that is one tuple.
    pub(crate) fn of(tuple: &Tuple) -> Group {
        Group {
            parts: vec![Part {
                tuple: *tuple,
                role: Role::Own,
            }],
            straddling: Default::default(),
        }
    }

    pub(crate) fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Adds records that reach over the hour's first (0) or last (1) instant.
    pub(crate) fn add_straddling(&mut self, border: usize, tuple: &Tuple) {
        match &mut self.straddling[border] {
            Some(known) => known.merge(tuple),
            none => *none = Some(*tuple),
        }
    }

    fn own(&self) -> impl Iterator<Item = &Tuple> {
        let own = self.parts.iter().filter(|part| part.role == Role::Own);
        own.map(|part| &part.tuple)
    }

    pub(crate) fn decide(
        mut self,
        context: &Context<'_>,
        judge: &mut Judge<'_>,
        edges: &mut Edges,
        coverage: &mut Coverage,
    ) {
        let logging = [self.logging_near(0), self.logging_near(1)];
        self.put_in_order(context);
        let own: Vec<Tuple> = self.own().copied().collect();
        let [first, rest @ ..] = &own[..] else {
            return;
        };
        let mut whole = *first;
        rest.iter().for_each(|part| whole.merge(part));
        // What the ends serve is asked as of the last part.
        whole.key = own[own.len() - 1].key;
        let beside = self.parts.iter().filter(|part| part.role != Role::Own);
        beside.for_each(|part| whole.merge_evidence(&part.tuple));
        let mut ends = EndsOf {
            context,
            judge,
            tuple: &whole,
            served: None,
        };
        let (forward, evidence) = context.orient(&whole, &mut ends);
        let view = match self.is_torn(context) {
            true => View::At(usize::from(!lower_is_a(&own, context))),
            false => View::of(&own, self.straddling.iter().zip(logging), context),
        };
        let mut counted: Vec<EdgeKey> = Vec::new();
        for (n, part) in self.parts.iter().enumerate() {
            if part.role != Role::Own {
                continue;
            }
            let part = &part.tuple;
            let key = self.edge_key(n, forward, evidence, context, judge);
            let outcome = Outcome::of(&key, evidence);
            cover(outcome, u64::from(part.records), judge, coverage);
            if !view.holds(part) {
                // The other interface's view of packets that are counted already.
                continue;
            }
            let fresh = !counted.contains(&key);
            let mut sums = sums_of(part, forward, evidence, fresh, view);
            let (client, server, _) = client_and_server(part, forward);
            let by_eni =
                |holding| matches!(context.end(holding).held, Held::By { by_eni: true, .. });
            sums.by_eni = [by_eni(client), by_eni(server)];
            edges.add(key, sums);
            if fresh && own.len() > 1 {
                counted.push(key);
            }
        }
    }

    /// Whether the two interfaces logged the same packets in two hours because their clocks are apart: packets of one way
    /// are in this hour at one of them only, and within that time of its border beyond it at the other one only. The hour
    /// beside this one sees the same.
    fn is_torn(&self, context: &Context<'_>) -> bool {
        let borders = [
            (Role::Before, context.hour.start_us()),
            (Role::After, context.hour.end_us()),
        ];
        borders.into_iter().any(|(role, border_us)| {
            let near = Stretch {
                from: border_us,
                to: border_us,
            }
            .widened(context.apart_us);
            let logged = |role: Role, way: usize, end: usize| {
                self.parts.iter().any(|part| {
                    part.role == role
                        && near.touches(Stretch {
                            from: part.tuple.first_us,
                            to: part.tuple.first_us,
                        })
                        && part.tuple.seen[way][end] != Traffic::default()
                })
            };
            (0..2).any(|way| {
                let own = [0, 1].map(|end| logged(Role::Own, way, end));
                let beyond = [0, 1].map(|end| logged(role, way, end));
                own[0] != own[1] && own == [beyond[1], beyond[0]]
            })
        })
    }

    /// Which of the two interfaces logged anything within a margin of the hour's first (0), last (1) instant, on either
    /// side of it: the hour beside this one sees the same.
    fn logging_near(&self, border: usize) -> [bool; 2] {
        let beside = [Role::Before, Role::After][border];
        [0, 1].map(|end| {
            self.parts.iter().any(|part| {
                part.role == Role::Own && part.tuple.logged_near(border, end)
                    || part.role == beside && View::At(end).holds(&part.tuple)
            })
        })
    }

    /// By time, without what is too far from this hour's own records to belong to them.
    fn put_in_order(&mut self, context: &Context<'_>) {
        let first_us = self.own().map(|part| part.first_us).min();
        let last_us = self.own().map(|part| part.last_us).max();
        let (Some(first_us), Some(last_us)) = (first_us, last_us) else {
            return;
        };
        let near = Stretch {
            from: first_us,
            to: last_us,
        }
        .widened(HOUR_MARGIN_US);
        self.parts
            .retain(|part| near.touches(window_of(&part.tuple)));
        // Times first, then anything that tells parts apart independently of the order in which they were met.
        self.parts.sort_by_key(|part| {
            (
                part.tuple.first_us,
                part.tuple.last_us,
                context.spans.span(part.tuple.key.span),
                part.role,
                part.tuple.records,
                part.tuple.key,
            )
        });
    }

    pub(crate) fn edge_key(
        &self,
        n: usize,
        forward: Way,
        evidence: Evidence,
        context: &Context<'_>,
        judge: &mut Judge<'_>,
    ) -> EdgeKey {
        let part = self.with_evidence(n);
        let (client, server, port) = client_and_server(&part, forward);
        // That of the records, so of both ends.
        let vpc = context.parties.address_of(client).vpc;
        let (client, server) = (context.end(client), context.end(server));
        let observed = context.observe(&part, forward);
        let (judged, port) = match (client.held, server.held) {
            _ if evidence == Evidence::Unknown => (judge.undecided("orientation-unknown"), 0),
            (Held::Unclear(doubt), _) | (_, Held::Unclear(doubt)) => {
                (judge.undecided(doubt.as_str()), port)
            }
            _ => {
                let ends = (client, server, port);
                let judged = self.judge(n, forward, ends, context, judge);
                let is_denied =
                    |judge: &Judge<'_>, judged| judge.judged(judged).declared.is_denied();
                if evidence.is_guess() && is_denied(judge, judged) {
                    // It may be the other way round, and then it has to be denied as well.
                    let (.., client_port) = client_and_server(&part, forward.turned());
                    let ends = (server, client, client_port);
                    let turned = self.judge(n, forward.turned(), ends, context, judge);
                    match is_denied(judge, turned) {
                        true => (judged, port),
                        false => (judge.undecided("orientation-guessed"), port),
                    }
                } else {
                    (judged, port)
                }
            }
        };
        EdgeKey {
            vpc,
            client: client.party(),
            server: server.party(),
            port,
            protocol: part.key.protocol,
            observed,
            judged,
            class: classify(judge.judged(judged).declared, observed),
        }
    }

    /// The part, with what others prove about the same packets (a rejection is logged at one interface only) or
    /// about their answer (which may stand in the next hour).
    fn with_evidence(&self, n: usize) -> Tuple {
        let mut part = self.parts[n].tuple;
        let window = window_of(&part);
        for (m, other) in self.parts.iter().enumerate() {
            let near = match other.role {
                Role::Own => window,
                Role::Before | Role::After => window.widened(HOUR_MARGIN_US),
            };
            if m != n && near.touches(window_of(&other.tuple)) {
                part.merge(&other.tuple);
                (part.first_us, part.last_us) = (window.from, window.to);
            }
        }
        part
    }

    fn judge(
        &self,
        n: usize,
        forward: Way,
        (client, server, port): (End<'_>, End<'_>, u16),
        context: &Context<'_>,
        judge: &mut Judge<'_>,
    ) -> u32 {
        let key = &self.parts[n].tuple.key;
        let since_us = client.since().max(server.since());
        let span = self.opened_in(n, forward, since_us, context);
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
                        key.protocol,
                    ));
                }
            }
        }
        let own = context.spans.span(key.span);
        let reason = if span == own {
            "changed-during-flow"
        } else {
            "opened-before-change"
        };
        judge.agree(&numbers, reason)
    }

    /// The epochs in which the connection may have been opened: policy judges the opening packet.
    fn opened_in(&self, n: usize, forward: Way, since_us: i64, context: &Context<'_>) -> Span {
        let part = &self.parts[n].tuple;
        let span_of = |other: &Tuple| context.spans.span(other.key.span);
        let own = span_of(part);
        if part.key.span == Spans::ANY {
            return own;
        }
        let opens = |part: &Tuple| part.flags(forward).map(|flags| flags & SYN != 0);
        let same_ends = |other: &&Tuple| (other.key.a, other.key.b) == (part.key.a, part.key.b);
        let tuples = || self.parts.iter().map(|part| &part.tuple);
        if part.key.protocol == TCP && opens(part).is_some() {
            // The latest opening so far; of two views of the same one, the one that dates it more closely.
            let opening = tuples()
                .filter(same_ends)
                .filter(|other| other.first_us <= part.first_us && opens(other) == Some(true))
                .map(|other| (other.first_us, span_of(other)))
                .max_by_key(|(first_us, span)| {
                    (*first_us, std::cmp::Reverse(span.last - span.first))
                });
            return match opening {
                Some((_, span)) => span,
                // Further back, or lost: any epoch since both ends were there.
                None => {
                    let since = context.timeline.span(Stretch {
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
        match tuples().take(n).find(same_ends) {
            Some(first) => Span {
                first: span_of(first).first.min(own.first),
                last: own.last,
            },
            None => own,
        }
    }
}

/// Whether the lower address is that of end `a`.
fn lower_is_a(own: &[Tuple], context: &Context<'_>) -> bool {
    let address = |holding| context.parties.address_of(holding).address;
    own.first()
        .is_some_and(|tuple| address(tuple.key.a) <= address(tuple.key.b))
}

fn window_of(tuple: &Tuple) -> Stretch {
    Stretch {
        from: tuple.first_us,
        to: tuple.last_us,
    }
}

/// Whose interface counts. With one tuple, each way takes the fuller of its two logs; with several, one interface is
/// followed throughout, because the other may have cut time differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// The fuller log of each way.
    Fuller,
    /// What the interface at end `a` (0) or `b` (1) logged.
    At(usize),
}

impl View {
    fn of<'s>(
        own: &[Tuple],
        borders: impl Iterator<Item = (&'s Option<Tuple>, [bool; 2])>,
        context: &Context<'_>,
    ) -> View {
        let lower_is_a = lower_is_a(own, context);
        if let Some(view) = View::across(own, borders, lower_is_a) {
            return view;
        }
        if own.len() == 1 {
            return View::Fuller;
        }
        let certain = |part: &&Tuple| {
            let unclear =
                |holding| matches!(context.parties.holding(holding).held, Held::Unclear(_));
            let span = context.spans.span(part.key.span);
            !unclear(part.key.a) && !unclear(part.key.b) && span.first == span.last
        };
        let rank = |end: usize| {
            let parts = || own.iter().filter(move |part| View::At(end).holds(part));
            let packets: i64 = parts().map(|part| View::At(end).packets(part)).sum();
            (packets, parts().filter(certain).count(), parts().count())
        };
        let (a, b) = (rank(0), rank(1));
        if a.0 == 0 && b.0 == 0 {
            return View::Fuller;
        }
        View::At(usize::from(a < b || a == b && !lower_is_a))
    }

    /// The interface to follow where records reach over a border of the hour. The packets of such a record are in
    /// the hour in which it begins; those of them that the other interface logged in the next hour must not be counted
    /// again. Both hours see what was logged near their border and choose by that alone, so they choose alike: the
    /// lower address, if its interface logged there at all. Only an interface that lost more than the records that
    /// reach over hold is not followed.
    fn across<'s>(
        own: &[Tuple],
        borders: impl Iterator<Item = (&'s Option<Tuple>, [bool; 2])>,
        lower_is_a: bool,
    ) -> Option<View> {
        let lower = usize::from(!lower_is_a);
        let logged = |end: usize| -> i64 {
            let each = own.iter().map(|tuple| View::At(end).packets(tuple));
            each.fold(0, i64::saturating_add)
        };
        // The first border first: nothing of a connection may be left beyond the last one.
        for (straddling, logging) in borders {
            let Some(reaching) = straddling else { continue };
            let end = if logging[lower] { lower } else { 1 - lower };
            let reach = [0, 1].map(|end| View::At(end).packets(reaching));
            if logged(1 - end).saturating_sub(logged(end)) <= reach[0].max(reach[1]) {
                return Some(View::At(end));
            }
        }
        None
    }

    fn packets(self, tuple: &Tuple) -> i64 {
        self.forth(tuple)
            .packets
            .saturating_add(self.back(tuple).packets)
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

pub(crate) fn sums_of(
    part: &Tuple,
    forward: Way,
    evidence: Evidence,
    fresh: bool,
    view: View,
) -> EdgeSums {
    let tcp = part.key.protocol == TCP;
    let side = |way: Way| {
        let traffic = if way == Way::Forth {
            view.forth(part)
        } else {
            view.back(part)
        };
        (traffic, part.flags(way).filter(|_| tcp && part.any(way)))
    };
    let back = forward.turned();
    let ((forward, forward_flags), (reverse, reverse_flags)) = (side(forward), side(back));
    EdgeSums {
        connections: u64::from(fresh),
        forward,
        reverse,
        forward_flags,
        reverse_flags,
        oriented_by: evidence_bit(evidence),
        by_eni: [false; 2],
        first_us: part.first_us,
        last_us: part.last_us,
        records: u64::from(part.records),
    }
}
