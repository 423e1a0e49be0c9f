//! Raw record → flow, gap or reject. A function of the record alone: read twice, it means the same.
//!
//! | the record says | becomes |
//! | --- | --- |
//! | log-status `OK` or nothing, and all a flow needs | a flow |
//! | log-status `NODATA`, `SKIPDATA` and a window | a gap |
//! | anything else | a reject with its reason |
//!
//! Choices, each with its reason:
//!
//! - **Ids are never judged by their form**: the documentation's own samples have them shifted. An absent ENI is kept
//!   as `-`, for the traffic is evidence all the same.
//! - **Action `-` beside traffic is a reject.** Whether the packets passed is the one thing such a record must say;
//!   taking either answer would be a guess.
//! - **Ports** may be absent except for TCP, UDP and SCTP; then they are 0. ICMP keeps what the source wrote.
//! - **Times** are Unix seconds; milli-, micro- and nanoseconds are told by their size. Outside 2009 to 2100, or in
//!   a window longer than a day, they are no times of a flow (the longest aggregation interval is ten minutes). The clock
//!   has no say, so that reading the same file later gives the same flows.
//! - **Whole numbers** may carry a fraction of zeros (`80.0`), as spreadsheets and data frames write them.
//! - **Values past what the lake holds** (counters above 2^63 − 1) are rejects, not clipped.
//! - An unknown name in `traffic_path` is null: names of earlier years are translated, the code list still grows.

use std::borrow::Cow;
use std::net::IpAddr;

use thiserror::Error;

use crate::decode::{Field, RawRecord};

/// 2009-01-01, in seconds: no flow log is older than the cloud.
const EARLIEST_S: u64 = 1_230_768_000;
/// 2100-01-01, in seconds.
const LATEST_S: u64 = 4_102_444_800;
/// A window may last this long.
const WINDOW_S_MAX: i64 = 24 * 60 * 60;
const US_PER_S: i64 = 1_000_000;

/// Where an interface saw the packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Into the interface.
    In,
    /// Out of the interface.
    Out,
}

impl Direction {
    /// As the lake writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// What security group and network ACL decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Both let the packets pass.
    Accept,
    /// One of them refused.
    Reject,
}

impl Action {
    /// As the lake writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Accept => "ACCEPT",
            Action::Reject => "REJECT",
        }
    }
}

/// One normalised record. Texts are borrowed from the raw record wherever they are canonical there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow<'a> {
    /// First packet, microseconds since the epoch.
    pub start_us: i64,
    /// End of the window, microseconds since the epoch; not before `start_us`.
    pub end_us: i64,
    /// Where the record was made; `-` when it does not say.
    pub eni_id: &'a str,
    /// The instance.
    pub vm_id: Option<&'a str>,
    /// The VPC.
    pub vpc_id: Option<&'a str>,
    /// The vSwitch.
    pub vswitch_id: Option<&'a str>,
    /// The account.
    pub account_id: Option<&'a str>,
    /// The region.
    pub region: Option<&'a str>,
    /// Into or out of the interface.
    pub direction: Direction,
    /// Source address, canonical text.
    pub src_addr: Cow<'a, str>,
    /// Source port, 0 where the protocol has none.
    pub src_port: u16,
    /// Destination address, canonical text.
    pub dst_addr: Cow<'a, str>,
    /// Destination port, 0 where the protocol has none.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Packets.
    pub packets: i64,
    /// Bytes.
    pub bytes: i64,
    /// OR of the TCP flags.
    pub tcp_flags: Option<u16>,
    /// What security group and network ACL decided.
    pub action: Action,
    /// Code of the way the packets took.
    pub traffic_path: Option<i32>,
}

/// Why a stretch was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The interface had no traffic.
    NoData,
    /// Entries were lost inside the log service: absence of evidence is void there.
    SkipData,
}

impl GapReason {
    /// As the lake writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::NoData => "nodata",
            GapReason::SkipData => "skipdata",
        }
    }
}

/// One stretch not seen at one interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gap<'a> {
    /// The interface.
    pub eni_id: Option<&'a str>,
    /// Begin, microseconds since the epoch.
    pub from_us: i64,
    /// End, microseconds since the epoch.
    pub to_us: i64,
    /// Why.
    pub reason: GapReason,
}

/// What a record became.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry<'a> {
    /// Traffic.
    Flow(Flow<'a>),
    /// A stretch not seen.
    Gap(Gap<'a>),
}

/// Why a record is not a flow.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// A field that a flow needs has no value.
    #[error("`{}` is absent", field.name())]
    Absent {
        /// The field.
        field: Field,
    },
    /// Not a whole number.
    #[error("`{}` is `{value}`, not a whole number", field.name())]
    NotANumber {
        /// The field.
        field: Field,
        /// Its value, shortened.
        value: String,
    },
    /// A number above what the field can hold.
    #[error("`{}` is `{value}`, above {max}", field.name())]
    TooLarge {
        /// The field.
        field: Field,
        /// Its value, shortened.
        value: String,
        /// The largest that can be.
        max: u64,
    },
    /// Not an IP address.
    #[error("`{}` is `{value}`, not an address", field.name())]
    NotAnAddress {
        /// The field.
        field: Field,
        /// Its value, shortened.
        value: String,
    },
    /// One address is IPv4, the other IPv6.
    #[error("`srcaddr` and `dstaddr` are of different families")]
    Families,
    /// Not one of the words that the field can hold.
    #[error("`{}` is `{value}`, not {expected}", field.name())]
    NotAWord {
        /// The field.
        field: Field,
        /// Its value, shortened.
        value: String,
        /// The words.
        expected: &'static str,
    },
    /// A time outside 2009 to 2100.
    #[error("`{}` is `{value}`, no time between 2009 and 2100", field.name())]
    NotATime {
        /// The field.
        field: Field,
        /// Its value, shortened.
        value: String,
    },
    /// The window ends before it begins.
    #[error("`end` is {seconds} s before `start`")]
    Backwards {
        /// By how much.
        seconds: i64,
    },
    /// The window is longer than a day.
    #[error("`end` is {seconds} s after `start`, longer than any window")]
    TooLong {
        /// How long it is.
        seconds: i64,
    },
}

impl Refused {
    /// The cause without its particulars, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Refused::Absent { .. } => "needed field absent",
            Refused::NotANumber { .. } => "not a whole number",
            Refused::TooLarge { .. } => "number too large",
            Refused::NotAnAddress { .. } => "not an address",
            Refused::Families => "addresses of two families",
            Refused::NotAWord { .. } => "unknown word",
            Refused::NotATime { .. } => "not a time",
            Refused::Backwards { .. } => "end before start",
            Refused::TooLong { .. } => "window too long",
        }
    }
}

/// What a raw record means.
///
/// ```
/// use flowaudit_ingest::decode::json;
/// use flowaudit_ingest::normalize::{normalize, Entry};
/// let record = json::record(br#"{"eni-id":"eni-1","start":"1720772430","end":"1720772610","log-status":"SKIPDATA","srcaddr":"-"}"#).unwrap();
/// let Ok(Entry::Gap(gap)) = normalize(&record) else { panic!("lost entries are a gap") };
/// assert_eq!(gap.to_us - gap.from_us, 180_000_000);
/// ```
pub fn normalize<'a>(record: &'a RawRecord<'_>) -> Result<Entry<'a>, Refused> {
    let reason = match record.get(Field::LogStatus) {
        None => None,
        Some(status) if status.eq_ignore_ascii_case("ok") => None,
        Some(status) if status.eq_ignore_ascii_case("nodata") => Some(GapReason::NoData),
        Some(status) if status.eq_ignore_ascii_case("skipdata") => Some(GapReason::SkipData),
        Some(status) => {
            return Err(not_a_word(
                Field::LogStatus,
                status,
                "`OK`, `NODATA` or `SKIPDATA`",
            ));
        }
    };
    let (start_us, end_us) = window(record)?;
    match reason {
        Some(reason) => Ok(Entry::Gap(Gap {
            eni_id: record.get(Field::EniId),
            from_us: start_us,
            to_us: end_us,
            reason,
        })),
        None => flow(record, start_us, end_us).map(Entry::Flow),
    }
}

fn flow<'a>(record: &'a RawRecord<'_>, start_us: i64, end_us: i64) -> Result<Flow<'a>, Refused> {
    let (src_addr, src) = address(record, Field::SrcAddr)?;
    let (dst_addr, dst) = address(record, Field::DstAddr)?;
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(Refused::Families);
    }
    let protocol = protocol(record)?;
    Ok(Flow {
        start_us,
        end_us,
        eni_id: record.get(Field::EniId).unwrap_or("-"),
        vm_id: record.get(Field::VmId),
        vpc_id: record.get(Field::VpcId),
        vswitch_id: record.get(Field::VswitchId),
        account_id: record.get(Field::AccountId),
        region: record.get(Field::Region),
        direction: direction(record)?,
        src_addr,
        src_port: port(record, Field::SrcPort, protocol)?,
        dst_addr,
        dst_port: port(record, Field::DstPort, protocol)?,
        protocol,
        packets: counter(record, Field::Packets)?,
        bytes: counter(record, Field::Bytes)?,
        tcp_flags: match record.get(Field::TcpFlags) {
            None => None,
            Some(value) => Some(whole(Field::TcpFlags, value, 0x1ff)? as u16),
        },
        action: action(record)?,
        traffic_path: record.get(Field::TrafficPath).and_then(traffic_path),
    })
}

fn window(record: &RawRecord<'_>) -> Result<(i64, i64), Refused> {
    let start_us = time(record, Field::Start)?;
    let end_us = time(record, Field::End)?;
    let seconds = (end_us - start_us) / US_PER_S;
    if end_us < start_us {
        return Err(Refused::Backwards { seconds: -seconds });
    }
    if seconds > WINDOW_S_MAX {
        return Err(Refused::TooLong { seconds });
    }
    Ok((start_us, end_us))
}

/// Seconds, or a finer unit told by its size: the ranges of the four units for the years 2009 to 2100 do not touch.
fn time(record: &RawRecord<'_>, field: Field) -> Result<i64, Refused> {
    let value = needed(record, field)?;
    let number = whole(field, value, u64::MAX)?;
    let micros = |per_second: u64| {
        let seconds = number / per_second;
        let rest = number % per_second;
        let us_per_second = US_PER_S as u64;
        (EARLIEST_S..LATEST_S).contains(&seconds).then(|| {
            let rest_us = if per_second > us_per_second {
                rest / (per_second / us_per_second)
            } else {
                rest * (us_per_second / per_second)
            };
            (seconds * us_per_second + rest_us) as i64
        })
    };
    [1, 1_000, 1_000_000, 1_000_000_000]
        .into_iter()
        .find_map(micros)
        .ok_or_else(|| Refused::NotATime {
            field,
            value: shortened(value),
        })
}

fn address<'a>(record: &'a RawRecord<'_>, field: Field) -> Result<(Cow<'a, str>, IpAddr), Refused> {
    let value = needed(record, field)?;
    let address: IpAddr = value.parse().map_err(|_| Refused::NotAnAddress {
        field,
        value: shortened(value),
    })?;
    // The text of an IPv4 address that parses is canonical: leading zeros do not parse.
    if address.is_ipv4() {
        return Ok((Cow::Borrowed(value), address));
    }
    let address = address.to_canonical();
    Ok((Cow::Owned(address.to_string()), address))
}

fn protocol(record: &RawRecord<'_>) -> Result<u8, Refused> {
    let value = needed(record, Field::Protocol)?;
    for (name, number) in [
        ("tcp", 6),
        ("udp", 17),
        ("icmp", 1),
        ("icmpv6", 58),
        ("ipv6-icmp", 58),
        ("sctp", 132),
    ] {
        if value.eq_ignore_ascii_case(name) {
            return Ok(number);
        }
    }
    whole(Field::Protocol, value, u64::from(u8::MAX)).map(|number| number as u8)
}

fn direction(record: &RawRecord<'_>) -> Result<Direction, Refused> {
    match needed(record, Field::Direction)? {
        value if value.eq_ignore_ascii_case("in") => Ok(Direction::In),
        value if value.eq_ignore_ascii_case("out") => Ok(Direction::Out),
        value => Err(not_a_word(Field::Direction, value, "`in` or `out`")),
    }
}

fn action(record: &RawRecord<'_>) -> Result<Action, Refused> {
    match needed(record, Field::Action)? {
        value if value.eq_ignore_ascii_case("accept") => Ok(Action::Accept),
        value if value.eq_ignore_ascii_case("reject") => Ok(Action::Reject),
        value => Err(not_a_word(Field::Action, value, "`ACCEPT` or `REJECT`")),
    }
}

fn port(record: &RawRecord<'_>, field: Field, protocol: u8) -> Result<u16, Refused> {
    let has_ports = matches!(protocol, 6 | 17 | 132);
    match record.get(field) {
        None if has_ports => Err(Refused::Absent { field }),
        None => Ok(0),
        Some(value) => whole(field, value, u64::from(u16::MAX)).map(|number| number as u16),
    }
}

fn counter(record: &RawRecord<'_>, field: Field) -> Result<i64, Refused> {
    whole(field, needed(record, field)?, i64::MAX as u64).map(|number| number as i64)
}

/// Codes, and the names of earlier years (aliyun 1.2, 1.4).
fn traffic_path(value: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 6] = [
        ("gatewayEndpoint", 6),
        ("natGateway", 7),
        ("transitRouter", 8),
        ("vpnGateway", 9),
        ("virtualBorderRouter", 10),
        ("ipv4Gateway", 13),
    ];
    let name = NAMES
        .iter()
        .find(|(name, _)| value.eq_ignore_ascii_case(name))
        .map(|(_, code)| *code);
    name.or_else(|| {
        whole(Field::TrafficPath, value, i32::MAX as u64)
            .ok()
            .map(|code| code as i32)
    })
}

fn needed<'a>(record: &'a RawRecord<'_>, field: Field) -> Result<&'a str, Refused> {
    record.get(field).ok_or(Refused::Absent { field })
}

/// A whole number, with at most a fraction of zeros.
fn whole(field: Field, value: &str, max: u64) -> Result<u64, Refused> {
    match short_number(value) {
        Some(number) if number <= max => Ok(number),
        _ => any_whole(field, value, max),
    }
}

/// Up to 19 digits, which always fit, and nothing else.
#[inline]
fn short_number(value: &str) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.bytes().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

fn any_whole(field: Field, value: &str, max: u64) -> Result<u64, Refused> {
    let digits = match value.split_once('.') {
        Some((digits, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            digits
        }
        _ => value,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refused::NotANumber {
            field,
            value: shortened(value),
        });
    }
    match digits.parse() {
        Ok(number) if number <= max => Ok(number),
        _ => Err(Refused::TooLarge {
            field,
            value: shortened(value),
            max,
        }),
    }
}

fn not_a_word(field: Field, value: &str, expected: &'static str) -> Refused {
    Refused::NotAWord {
        field,
        value: shortened(value),
        expected,
    }
}

/// Enough of a value to find it again. Values come from strangers: the reason must stay short and on one line.
fn shortened(value: &str) -> String {
    const CHARACTERS_MAX: usize = 48;
    let mut out: String = value
        .chars()
        .take(CHARACTERS_MAX)
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect();
    if value.chars().nth(CHARACTERS_MAX).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests;
