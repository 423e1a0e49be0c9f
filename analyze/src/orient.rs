//! Which end of a tuple opened the connection, and how that is known.
//!
//! Evidence in order: a SYN without ACK; the side that declares the port; the side whose port many peers use; the
//! ephemeral range; packets that went one way only. Flags that were OR-ed over a whole connection show SYN and ACK on
//! both ends and separate nothing. What contradicts itself stays unknown: a port that a busy client uses again and again has many peers, too.

use crate::fold::{Tuple, Way};
use crate::wire::{ACK, RST, SCTP, SYN, TCP, UDP};

/// First port that Linux hands out to clients by default (`net.ipv4.ip_local_port_range`).
const EPHEMERAL_MIN: u16 = 32_768;
/// Ports below are opened by servers only, unless someone takes care to do otherwise.
const PRIVILEGED_MAX: u16 = 1023;
/// Peers that make a port look like a server's, and how many times more than the other end's.
const FAN_IN_MIN: u32 = 3;
const FAN_IN_RATIO: u32 = 3;

/// What was the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// One end sent a SYN without ACK.
    Syn,
    /// One end declares the port (container port, Service target, node port).
    DeclaredPort,
    /// Many peers use one end's port, and the numbers of the ports say the same.
    FanIn,
    /// One port is in the ephemeral range, the other is not.
    EphemeralRange,
    /// Many peers use one end's port, and the numbers tell nothing.
    FanInAlone,
    /// Packets were seen one way only.
    OnlySender,
    /// None.
    Unknown,
}

impl Evidence {
    /// All kinds, in order of strength.
    pub const ALL: [Evidence; 7] = [
        Evidence::Syn,
        Evidence::DeclaredPort,
        Evidence::FanIn,
        Evidence::EphemeralRange,
        Evidence::FanInAlone,
        Evidence::OnlySender,
        Evidence::Unknown,
    ];

    /// The word in `oriented_by` and in coverage.
    pub fn as_str(self) -> &'static str {
        match self {
            Evidence::Syn => "syn",
            Evidence::DeclaredPort => "declared-port",
            Evidence::FanIn => "fan-in",
            Evidence::EphemeralRange => "ephemeral-range",
            Evidence::FanInAlone => "fan-in-alone",
            Evidence::OnlySender => "only-sender",
            Evidence::Unknown => "unknown",
        }
    }

    /// Whether it may well be the other way round: nothing that is declared denied counts as such unless it is so either way.
    pub fn is_guess(self) -> bool {
        matches!(self, Evidence::FanInAlone | Evidence::OnlySender)
    }
}

/// What may be asked about the two ends beside their packets; asked only where it matters.
pub trait Ends {
    /// Whether end `a` (0), `b` (1) declares its port.
    fn declares(&mut self, end: usize) -> bool;
    /// How many peers use the port of that end.
    fn peers(&mut self, end: usize) -> u32;
}

/// The way from client to server, and the evidence. With [`Evidence::Unknown`] the way means nothing.
pub fn orient(tuple: &Tuple, ends: &mut impl Ends) -> (Way, Evidence) {
    let key = &tuple.key;
    if key.protocol == TCP {
        match (opens(tuple, Way::Forth), opens(tuple, Way::Back)) {
            (true, false) => return (Way::Forth, Evidence::Syn),
            (false, true) => return (Way::Back, Evidence::Syn),
            _ => {}
        }
    }
    if [TCP, UDP, SCTP].contains(&key.protocol) {
        match (ends.declares(0), ends.declares(1)) {
            (false, true) => return (Way::Forth, Evidence::DeclaredPort),
            (true, false) => return (Way::Back, Evidence::DeclaredPort),
            _ => {}
        }
        let by_numbers = by_numbers(key.port_a, key.port_b);
        match (by_fan_in([ends.peers(0), ends.peers(1)]), by_numbers) {
            (Some(way), Some(same)) if way == same => return (way, Evidence::FanIn),
            (Some(_), Some(_)) => return (Way::Forth, Evidence::Unknown),
            (Some(way), None) => return (way, Evidence::FanInAlone),
            (None, Some(way)) => return (way, Evidence::EphemeralRange),
            (None, None) => {}
        }
    }
    match (tuple.any(Way::Forth), tuple.any(Way::Back)) {
        (true, false) if may_begin(tuple, Way::Forth) => (Way::Forth, Evidence::OnlySender),
        (false, true) if may_begin(tuple, Way::Back) => (Way::Back, Evidence::OnlySender),
        _ => (Way::Forth, Evidence::Unknown),
    }
}

fn opens(tuple: &Tuple, way: Way) -> bool {
    tuple
        .flags(way)
        .is_some_and(|flags| flags & (SYN | ACK) == SYN)
}

/// Whether packets of which nothing else is logged may be the first ones: what acknowledges or resets was preceded by others.
fn may_begin(tuple: &Tuple, way: Way) -> bool {
    let flags = tuple.flags(way).filter(|_| tuple.key.protocol == TCP);
    flags.is_none_or(|flags| flags & (ACK | RST) == 0)
}

/// To the port that many peers use.
fn by_fan_in(peers: [u32; 2]) -> Option<Way> {
    let many =
        |n: usize| peers[n] >= FAN_IN_MIN && peers[n] >= FAN_IN_RATIO.saturating_mul(peers[1 - n]);
    match (many(0), many(1)) {
        (true, false) => Some(Way::Back),
        (false, true) => Some(Way::Forth),
        _ => None,
    }
}

/// From the port that a client was given to one that it was not.
fn by_numbers(port_a: u16, port_b: u16) -> Option<Way> {
    let is_given = |port: u16| port >= EPHEMERAL_MIN;
    let is_privileged = |port: u16| port <= PRIVILEGED_MAX;
    match (is_given(port_a), is_given(port_b)) {
        (true, false) => return Some(Way::Forth),
        (false, true) => return Some(Way::Back),
        _ => {}
    }
    match (is_privileged(port_a), is_privileged(port_b)) {
        (false, true) => Some(Way::Forth),
        (true, false) => Some(Way::Back),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Observation, TupleKey, TupleTable};

    fn tuple(protocol: u8, ports: (u16, u16), records: &[(Way, Option<u8>)]) -> Tuple {
        let key = TupleKey {
            a: 1,
            b: 2,
            port_a: ports.0,
            port_b: ports.1,
            span: 0,
            protocol,
        };
        let mut table = TupleTable::default();
        for (way, tcp_flags) in records {
            let record = Observation {
                way: *way,
                at_source: true,
                rejected: false,
                packets: 1,
                bytes: 60,
                tcp_flags: *tcp_flags,
                start_us: 0,
                end_us: 1,
                near_border: [false; 2],
            };
            table.fold(&[key], &[record]);
        }
        table.tuples()[0]
    }

    #[derive(Default)]
    struct Told {
        declares: [bool; 2],
        peers: [u32; 2],
    }

    impl Ends for Told {
        fn declares(&mut self, end: usize) -> bool {
            self.declares[end]
        }

        fn peers(&mut self, end: usize) -> u32 {
            self.peers[end]
        }
    }

    fn check(tuple: &Tuple, mut ends: Told, expected: (Way, Evidence)) {
        assert_eq!(orient(tuple, &mut ends), expected);
    }

    #[test]
    fn a_syn_without_ack_is_the_clients_whatever_the_ports() {
        let t = tuple(TCP, (443, 50_000), &[(Way::Forth, Some(2))]);
        check(
            &t,
            Told {
                declares: [true, false],
                peers: [100, 1],
            },
            (Way::Forth, Evidence::Syn),
        );
        let t = tuple(
            TCP,
            (443, 50_000),
            &[(Way::Forth, Some(20)), (Way::Back, Some(2))],
        );
        check(&t, Told::default(), (Way::Back, Evidence::Syn));
    }

    #[test]
    fn completed_connections_are_told_by_the_declared_port() {
        let both = [(Way::Forth, Some(27)), (Way::Back, Some(27))];
        let t = tuple(TCP, (50_051, 33_000), &both);
        check(
            &t,
            Told {
                declares: [true, false],
                peers: [1, 1],
            },
            (Way::Back, Evidence::DeclaredPort),
        );
        check(
            &t,
            Told {
                declares: [true, true],
                peers: [40, 1],
            },
            (Way::Back, Evidence::FanInAlone),
        );
        check(
            &t,
            Told {
                declares: [false, false],
                peers: [1, 1],
            },
            (Way::Forth, Evidence::Unknown),
        );
    }

    #[test]
    fn fan_in_against_the_port_numbers_proves_nothing() {
        let both = [(Way::Forth, None), (Way::Back, None)];
        let t = tuple(UDP, (53, 40_000), &both);
        check(
            &t,
            Told {
                declares: [false; 2],
                peers: [1, 90],
            },
            (Way::Forth, Evidence::Unknown),
        );
        check(
            &t,
            Told {
                declares: [false; 2],
                peers: [1, 1],
            },
            (Way::Back, Evidence::EphemeralRange),
        );
        check(
            &t,
            Told {
                declares: [false; 2],
                peers: [90, 2],
            },
            (Way::Back, Evidence::FanIn),
        );
    }

    /// A proxy asks many servers from one port in the course of an hour.
    #[test]
    fn a_port_that_a_client_uses_again_and_again_is_not_taken_for_a_servers() {
        let both = [(Way::Forth, Some(27)), (Way::Back, Some(27))];
        for server in [8080, 443] {
            let told = Told {
                peers: [1, 5],
                ..Told::default()
            };
            let t = tuple(TCP, (server, 41_132), &both);
            check(&t, told, (Way::Forth, Evidence::Unknown));
        }
    }

    /// Of a connection of which only one record is there, that may be one of its answers.
    #[test]
    fn who_answers_is_not_taken_for_a_client() {
        let alone = |protocol, flags| tuple(protocol, (48_230, 50_000), &[(Way::Back, flags)]);
        for flags in [16, 18, 24, 17, 27, 4, 20] {
            let t = alone(TCP, Some(flags));
            check(&t, Told::default(), (Way::Forth, Evidence::Unknown));
        }
        let sender = (Way::Back, Evidence::OnlySender);
        for (protocol, flags) in [(TCP, Some(1)), (TCP, Some(0)), (TCP, None), (UDP, None)] {
            check(&alone(protocol, flags), Told::default(), sender);
        }
    }

    #[test]
    fn protocols_without_ports_go_by_the_only_sender() {
        check(
            &tuple(1, (0, 0), &[(Way::Back, None)]),
            Told::default(),
            (Way::Back, Evidence::OnlySender),
        );
        let t = tuple(1, (0, 0), &[(Way::Forth, None), (Way::Back, None)]);
        check(&t, Told::default(), (Way::Forth, Evidence::Unknown));
    }
}
