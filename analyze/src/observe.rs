//! What the wire shows about an oriented tuple.

use crate::fold::{Traffic, Tuple, Way};
use crate::wire::{ACK, FIN, PSH, RST, SYN, TCP};

/// A TCP segment of at most this size, headers included, carries no payload.
const BARE_SEGMENT_BYTES: i64 = 60;

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Observed {
    /// The server sent SYN-ACK or payload.
    Established,
    /// Only a reset came back: the packet got through, nobody listened.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// A security group or network ACL refused it.
    Rejected,
    /// Nothing that came back is in the log, but near it records were lost (see [`crate::gaps`]).
    Unknown,
}

impl Observed {
    /// All of them.
    pub const ALL: [Observed; 5] = [
        Observed::Established,
        Observed::Refused,
        Observed::Unanswered,
        Observed::Rejected,
        Observed::Unknown,
    ];

    /// The word in the column `observation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Observed::Established => "established",
            Observed::Refused => "refused",
            Observed::Unanswered => "unanswered",
            Observed::Rejected => "rejected",
            Observed::Unknown => "unknown",
        }
    }
}

/// What happened to the connection whose packets went `forward` from client to server.
///
/// Never [`Observed::Unknown`]: a log without gaps is assumed.
///
/// A reply that was accepted proves more than a rejected record: windows before a change of security group may show the
/// one and those after it the other.
pub fn observe(tuple: &Tuple, forward: Way) -> Observed {
    let back = forward.turned();
    let reply = tuple.counted_once(back);
    let answered = tuple.accepted(back);
    let rejected = tuple.rejected(forward);
    if tuple.key.protocol != TCP {
        return match (answered, rejected) {
            (true, _) => Observed::Established,
            (false, true) => Observed::Rejected,
            (false, false) => Observed::Unanswered,
        };
    }
    let established = match tuple.flags(back) {
        _ if !answered => false,
        Some(flags) => replies(flags, tuple.flags(forward)),
        None => carries_payload(reply),
    };
    match (established, rejected, answered) {
        (true, ..) => Observed::Established,
        (false, true, _) => Observed::Rejected,
        (false, false, true) => Observed::Refused,
        (false, false, false) => Observed::Unanswered,
    }
}

/// Whether the server's flags, OR-ed over a window, show more than a reset.
fn replies(server: u8, client: Option<u8>) -> bool {
    let handshake = server & (SYN | ACK) == SYN | ACK;
    let payload_or_end = server & (PSH | FIN) != 0;
    let bare_ack = server & ACK != 0 && server & RST == 0;
    // RST+ACK answers a SYN and also aborts a connection; a client that acknowledged something was connected.
    let aborted = server & RST != 0
        && client.is_some_and(|flags| flags & (ACK | PSH) != 0 && flags & RST == 0);
    handshake || payload_or_end || bare_ack || aborted
}

/// Without flags only sizes are left: resets carry no payload.
fn carries_payload(reply: Traffic) -> bool {
    reply.bytes > reply.packets.saturating_mul(BARE_SEGMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Observation, TupleKey, TupleTable};

    fn check(protocol: u8, records: &[(Way, bool, Option<u8>, i64)], expected: Observed) {
        let key = TupleKey {
            a: 1,
            b: 2,
            port_a: 40_000,
            port_b: 80,
            span: 0,
            protocol,
        };
        let mut table = TupleTable::default();
        for (way, rejected, tcp_flags, bytes) in records {
            let record = Observation {
                way: *way,
                at_source: true,
                rejected: *rejected,
                packets: 1,
                bytes: *bytes,
                tcp_flags: *tcp_flags,
                start_us: 0,
                end_us: 1,
                near_border: [false; 2],
            };
            table.fold(&[key], &[record]);
        }
        assert_eq!(
            observe(&table.tuples()[0], Way::Forth),
            expected,
            "{records:?}"
        );
    }

    #[test]
    fn tcp_by_flags() {
        use Way::{Back, Forth};
        check(
            6,
            &[(Forth, false, Some(27), 60), (Back, false, Some(27), 60)],
            Observed::Established,
        );
        check(
            6,
            &[(Forth, false, Some(2), 60), (Back, false, Some(18), 60)],
            Observed::Established,
        );
        check(
            6,
            &[(Forth, false, Some(16), 60), (Back, false, Some(16), 60)],
            Observed::Established,
        );
        check(
            6,
            &[(Forth, false, Some(2), 60), (Back, false, Some(20), 40)],
            Observed::Refused,
        );
        check(
            6,
            &[(Forth, false, Some(2), 60), (Back, false, Some(4), 40)],
            Observed::Refused,
        );
        check(
            6,
            &[(Forth, false, Some(24), 600), (Back, false, Some(20), 40)],
            Observed::Established,
        );
        check(6, &[(Forth, false, Some(2), 60)], Observed::Unanswered);
        check(6, &[(Forth, true, Some(2), 60)], Observed::Rejected);
        check(
            6,
            &[(Forth, true, Some(2), 60), (Back, false, Some(20), 40)],
            Observed::Rejected,
        );
        check(
            6,
            &[(Forth, true, Some(2), 60), (Back, false, Some(26), 400)],
            Observed::Established,
        );
    }

    #[test]
    fn without_flags_by_size() {
        use Way::{Back, Forth};
        check(
            6,
            &[(Forth, false, None, 60), (Back, false, None, 1400)],
            Observed::Established,
        );
        check(
            6,
            &[(Forth, false, None, 60), (Back, false, None, 40)],
            Observed::Refused,
        );
        check(
            17,
            &[(Forth, false, None, 60), (Back, false, None, 40)],
            Observed::Established,
        );
        check(
            17,
            &[(Forth, false, None, 60), (Back, true, None, 40)],
            Observed::Unanswered,
        );
        check(17, &[(Forth, true, None, 60)], Observed::Rejected);
    }
}
