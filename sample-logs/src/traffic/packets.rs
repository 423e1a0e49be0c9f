//! The packets of one connection, in bursts: what each direction sent at one instant.

use super::Connection;
use crate::random::Drops;
use crate::record::{ACK, FIN, PSH, RST, SYN};
use crate::scenario::{Protocol, TrafficSpec};
use crate::time::SECOND_MS;
use crate::truth::Observation;

/// Bytes of a TCP segment without payload.
const EMPTY_BYTES: u64 = 60;
/// When a client that is not answered tries again, after the first packet.
const TCP_RETRIES_MS: [i64; 4] = [0, SECOND_MS, 3 * SECOND_MS, 7 * SECOND_MS];
const OTHER_RETRIES_MS: [i64; 2] = [0, 5 * SECOND_MS];

/// Packets of one direction at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) at_ms: i64,
    /// From server to client.
    pub(crate) is_reverse: bool,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) flags: u8,
}

/// From the first packet of an unanswered connection to its last.
pub(super) fn unanswered_ms(protocol: Protocol) -> i64 {
    retries_ms(protocol).last().copied().unwrap_or_default()
}

fn retries_ms(protocol: Protocol) -> &'static [i64] {
    if protocol == Protocol::Tcp {
        &TCP_RETRIES_MS
    } else {
        &OTHER_RETRIES_MS
    }
}

/// All packets of `connection` up to `until_ms`, each direction in order of time. The same every time.
pub(crate) fn bursts(
    connection: &Connection,
    spec: &TrafficSpec,
    until_ms: i64,
    into: &mut Vec<Burst>,
) {
    into.clear();
    let mut drops = Drops(connection.seed);
    let mut send = |at_ms: i64, is_reverse: bool, packets: i64, bytes: i64, flags: u8| {
        // Past the end of what is asked for.
        if at_ms < until_ms {
            let flags = if spec.protocol == Protocol::Tcp {
                flags
            } else {
                0
            };
            into.push(Burst {
                at_ms,
                is_reverse,
                packets: packets as u64,
                bytes: bytes as u64,
                flags,
            });
        }
    };
    let empty = EMPTY_BYTES as i64;
    let (opened_ms, closed_ms) = (connection.opened_ms, connection.closed_ms);
    match connection.observation {
        Observation::Unanswered | Observation::Rejected => {
            let bytes = if spec.protocol == Protocol::Tcp {
                empty
            } else {
                drops.between(60, 90)
            };
            for after_ms in retries_ms(spec.protocol) {
                send(opened_ms + after_ms, false, 1, bytes, SYN);
            }
        }
        Observation::Refused => {
            send(opened_ms, false, 1, empty, SYN);
            send(closed_ms, true, 1, empty, RST | ACK);
        }
        Observation::Established => match spec.protocol {
            Protocol::Udp if spec.lasts.is_none() => {
                // A resolver asks for A and AAAA from one socket.
                let packets = drops.between(1, 2);
                send(
                    opened_ms,
                    false,
                    packets,
                    packets * drops.between(60, 95),
                    0,
                );
                send(
                    closed_ms,
                    true,
                    packets,
                    packets * drops.between(90, 260),
                    0,
                );
            }
            Protocol::Icmp => {
                for number in 0..=3 {
                    let sent_ms = opened_ms + number * SECOND_MS;
                    send(sent_ms, false, 1, 98, 0);
                    send((sent_ms + 1).min(closed_ms), true, 1, 98, 0);
                }
            }
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => {
                let round_trip_ms = drops.between(1, 3);
                send(opened_ms, false, 1, empty, SYN);
                send(
                    (opened_ms + round_trip_ms).min(closed_ms),
                    true,
                    1,
                    empty,
                    SYN | ACK,
                );
                let mut at_ms = opened_ms + round_trip_ms + 1;
                while at_ms + round_trip_ms + 2 < closed_ms && at_ms < until_ms {
                    let asked = drops.between(2, 8);
                    let answered = drops.between(2, 12);
                    send(
                        at_ms,
                        false,
                        asked,
                        asked * drops.between(70, 400),
                        PSH | ACK,
                    );
                    send(
                        at_ms + round_trip_ms,
                        true,
                        answered,
                        answered * drops.between(90, 1_200),
                        PSH | ACK,
                    );
                    at_ms += if spec.lasts.is_some() {
                        drops.between(4_000, 26_000)
                    } else {
                        closed_ms
                    };
                }
                send(
                    (closed_ms - 1).max(opened_ms + 1),
                    false,
                    2,
                    2 * empty,
                    FIN | ACK,
                );
                send(closed_ms, true, 2, 2 * empty, FIN | ACK);
            }
        },
    }
}
