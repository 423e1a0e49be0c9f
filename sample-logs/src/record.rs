//! One flow-log record in the official shape.

use std::fmt::Write as _;
use std::net::IpAddr;

/// TCP flag FIN.
pub const FIN: u8 = 1;
/// TCP flag SYN.
pub const SYN: u8 = 2;
/// TCP flag RST.
pub const RST: u8 = 4;
/// TCP flag PSH.
pub const PSH: u8 = 8;
/// TCP flag ACK.
pub const ACK: u8 = 16;

/// One entry as the log service holds it, ids borrowed from the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Account, a decimal string.
    pub account_id: &'a str,
    /// The observing interface.
    pub eni_id: &'a str,
    /// The instance it is attached to.
    pub vm_id: &'a str,
    /// Its vSwitch.
    pub vswitch_id: &'a str,
    /// Its VPC.
    pub vpc_id: &'a str,
    /// Its region.
    pub region: &'a str,
    /// First packet inside the window (for a gap: its begin), seconds since the epoch.
    pub start_s: i64,
    /// Window end, or close time of what ended inside it, seconds since the epoch.
    pub end_s: i64,
    /// What was seen, or why nothing was.
    pub seen: Seen,
}

/// What a record says about its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Log status OK.
    Traffic(Traffic),
    /// Nothing passed the interface.
    Nodata,
    /// Entries were lost inside the service.
    Skipdata,
}

/// One direction of one five-tuple at one interface in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Source of the packets.
    pub src_addr: IpAddr,
    /// Its port; 0 for ICMP.
    pub src_port: u16,
    /// Destination of the packets.
    pub dst_addr: IpAddr,
    /// Its port; 0 for ICMP.
    pub dst_port: u16,
    /// IANA number.
    pub protocol: u8,
    /// Seen from the interface.
    pub direction: Direction,
    /// What security group and network ACL did.
    pub action: Action,
    /// Packets of the entry.
    pub packets: u64,
    /// Bytes of the entry.
    pub bytes: u64,
    /// OR over its TCP packets; `None` for other protocols.
    pub tcp_flags: Option<u8>,
    /// Path code; `None` on entries that came in.
    pub traffic_path: Option<u8>,
}

/// Which way packets crossed the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Into the interface.
    In,
    /// Out of the interface.
    Out,
}

/// What security group and network ACL did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Let it pass.
    Accept,
    /// Refused it.
    Reject,
}

impl Direction {
    /// `in` or `out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl Action {
    /// `ACCEPT` or `REJECT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
        }
    }
}

impl Record<'_> {
    /// `OK`, `NODATA` or `SKIPDATA`.
    pub fn log_status(&self) -> &'static str {
        match self.seen {
            Seen::Traffic(_) => "OK",
            Seen::Nodata => "NODATA",
            Seen::Skipdata => "SKIPDATA",
        }
    }

    /// The record as one JSON object without line end: official keys, every value a string.
    pub fn to_json(&self) -> String {
        let mut line = String::with_capacity(480);
        self.write_json(&mut line);
        line
    }

    /// Appends what [`Record::to_json`] gives to `line`.
    pub fn write_json(&self, line: &mut String) {
        let Self {
            account_id,
            eni_id,
            vm_id,
            vswitch_id,
            vpc_id,
            region,
            start_s,
            end_s,
            ..
        } = self;
        let status = self.log_status();
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            r#"{{"version":"1","account-id":"{account_id}","eni-id":"{eni_id}","vm-id":"{vm_id}","vswitch-id":"{vswitch_id}","vpc-id":"{vpc_id}","region":"{region}","#
        );
        let _ = match &self.seen {
            Seen::Traffic(traffic) => traffic.write_json(line),
            Seen::Nodata | Seen::Skipdata => line.write_str(
                r#""type":"-","srcaddr":"-","srcport":"-","dstaddr":"-","dstport":"-","protocol":"-","direction":"-","action":"-","packets":"-","bytes":"-","tcp-flags":"-","traffic_path":"-","#,
            ),
        };
        let _ = write!(
            line,
            r#""start":"{start_s}","end":"{end_s}","log-status":"{status}"}}"#
        );
    }
}

impl Traffic {
    fn write_json(&self, line: &mut String) -> std::fmt::Result {
        let family = if self.src_addr.is_ipv6() {
            "IPv6"
        } else {
            "IPv4"
        };
        let Self {
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            protocol,
            packets,
            bytes,
            ..
        } = self;
        let (direction, action) = (self.direction.as_str(), self.action.as_str());
        write!(
            line,
            r#""type":"{family}","srcaddr":"{src_addr}","srcport":"{src_port}","dstaddr":"{dst_addr}","dstport":"{dst_port}","protocol":"{protocol}","direction":"{direction}","action":"{action}","packets":"{packets}","bytes":"{bytes}","#
        )?;
        write_code(line, "tcp-flags", self.tcp_flags)?;
        write_code(line, "traffic_path", self.traffic_path)
    }
}

fn write_code(line: &mut String, key: &str, code: Option<u8>) -> std::fmt::Result {
    match code {
        Some(code) => write!(line, r#""{key}":"{code}","#),
        None => write!(line, r#""{key}":"-","#),
    }
}
