//! The fields of a flow-log record, under every spelling they have been seen in.
//!
//! A decoder fills a [`RawRecord`]: one slot per known field, borrowed from the input wherever the input allows it.
//! `-`, an empty value, `null` and an absent key are the same thing here: an empty slot.

use std::borrow::Cow;

use super::Unreadable;

/// One field of the record, as the VPC documentation lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Field {
    /// Version of the record; nothing depends on it.
    Version,
    /// The account that owns the interface.
    AccountId,
    /// The interface where the record was made.
    EniId,
    /// The ECS instance the interface is attached to.
    VmId,
    /// The vSwitch of the interface.
    VswitchId,
    /// The VPC of the interface.
    VpcId,
    /// Region id; only some destinations add it.
    Region,
    /// `IPv4` or `IPv6`; the addresses say it better.
    Type,
    /// IANA protocol number.
    Protocol,
    /// Where the packets came from.
    SrcAddr,
    /// Port the packets came from.
    SrcPort,
    /// Where the packets went.
    DstAddr,
    /// Port the packets went to.
    DstPort,
    /// `in` or `out`, seen from the interface.
    Direction,
    /// `ACCEPT` or `REJECT`, by security group or network ACL.
    Action,
    /// Packets of the entry.
    Packets,
    /// Bytes of the entry.
    Bytes,
    /// First packet of the entry.
    Start,
    /// End of the window, or of the connection.
    End,
    /// TCP flags of all packets, OR-ed.
    TcpFlags,
    /// `OK`, `NODATA` or `SKIPDATA`.
    LogStatus,
    /// Code of the way the packets took.
    TrafficPath,
}

/// How many fields there are.
pub const FIELDS: usize = 22;

/// Longest name, without separators, that can still be a field.
const NAME_MAX: usize = 12;

impl Field {
    /// All fields, each at the place of its number.
    pub const ALL: [Field; FIELDS] = [
        Field::Version,
        Field::AccountId,
        Field::EniId,
        Field::VmId,
        Field::VswitchId,
        Field::VpcId,
        Field::Region,
        Field::Type,
        Field::Protocol,
        Field::SrcAddr,
        Field::SrcPort,
        Field::DstAddr,
        Field::DstPort,
        Field::Direction,
        Field::Action,
        Field::Packets,
        Field::Bytes,
        Field::Start,
        Field::End,
        Field::TcpFlags,
        Field::LogStatus,
        Field::TrafficPath,
    ];

    /// The name as the documentation writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Field::Version => "version",
            Field::AccountId => "account-id",
            Field::EniId => "eni-id",
            Field::VmId => "vm-id",
            Field::VswitchId => "vswitch-id",
            Field::VpcId => "vpc-id",
            Field::Region => "region",
            Field::Type => "type",
            Field::Protocol => "protocol",
            Field::SrcAddr => "srcaddr",
            Field::SrcPort => "srcport",
            Field::DstAddr => "dstaddr",
            Field::DstPort => "dstport",
            Field::Direction => "direction",
            Field::Action => "action",
            Field::Packets => "packets",
            Field::Bytes => "bytes",
            Field::Start => "start",
            Field::End => "end",
            Field::TcpFlags => "tcp-flags",
            Field::LogStatus => "log-status",
            Field::TrafficPath => "traffic_path",
        }
    }

    /// The field of that name; case, `-`, `_`, `.` and blanks make no difference.
    ///
    /// ```
    /// use flowaudit_ingest::decode::Field;
    /// for name in ["srcaddr", "src_addr", "src-addr", "srcAddr", "SrcAddr"] {
    ///     assert_eq!(Field::from_name(name.as_bytes()), Some(Field::SrcAddr));
    /// }
    /// assert_eq!(Field::from_name(b"rafficPath"), Some(Field::TrafficPath));
    /// assert_eq!(Field::from_name(b"__topic__"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Field> {
        let mut squeezed = [0_u8; NAME_MAX];
        let mut length = 0;
        for &byte in name {
            if matches!(byte, b'-' | b'_' | b'.' | b' ') {
                continue;
            }
            *squeezed.get_mut(length)? = byte.to_ascii_lowercase();
            length += 1;
        }
        Some(match squeezed.get(..length)? {
            b"version" => Field::Version,
            b"accountid" => Field::AccountId,
            b"eniid" => Field::EniId,
            b"vmid" => Field::VmId,
            b"vswitchid" => Field::VswitchId,
            b"vpcid" => Field::VpcId,
            b"region" | b"regionid" => Field::Region,
            b"type" => Field::Type,
            b"protocol" => Field::Protocol,
            b"srcaddr" => Field::SrcAddr,
            b"srcport" => Field::SrcPort,
            b"dstaddr" => Field::DstAddr,
            b"dstport" => Field::DstPort,
            b"direction" => Field::Direction,
            b"action" => Field::Action,
            b"packets" => Field::Packets,
            b"bytes" => Field::Bytes,
            b"start" => Field::Start,
            b"end" => Field::End,
            b"tcpflags" => Field::TcpFlags,
            b"logstatus" => Field::LogStatus,
            // The documentation of earlier years lost the first letter.
            b"trafficpath" | b"rafficpath" => Field::TrafficPath,
            _ => return None,
        })
    }
}

/// One record as the source gave it: a text per known field, empty where the source said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord<'a> {
    values: [Cow<'a, str>; FIELDS],
}

impl Default for RawRecord<'_> {
    fn default() -> Self {
        RawRecord {
            values: [const { Cow::Borrowed("") }; FIELDS],
        }
    }
}

impl<'a> RawRecord<'a> {
    /// The value of a field, `None` where the source said nothing.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&str> {
        match self.values.get(field as usize).map(Cow::as_ref) {
            Some("") | None => None,
            value => value,
        }
    }

    /// Takes all values away.
    pub fn clear(&mut self) {
        self.values.fill(const { Cow::Borrowed("") });
    }

    /// Gives a field its value. A second, different value for the same field is refused: which one holds is not ours
    /// to guess.
    pub fn set(&mut self, field: Field, value: Cow<'a, str>) -> Result<(), Unreadable> {
        let value = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
            Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_owned()),
        };
        if is_absent(&value) {
            return Ok(());
        }
        let Some(slot) = self.values.get_mut(field as usize) else {
            return Ok(());
        };
        if !slot.is_empty() && *slot != value {
            return Err(Unreadable::TwoValues { field });
        }
        *slot = value;
        Ok(())
    }

    /// Gives a field this value, whatever it had before; none where the text says nothing.
    #[inline]
    pub fn replace(&mut self, field: Field, text: &'a str) {
        let text = text.trim_ascii();
        let text = if is_absent(text) { "" } else { text };
        if let Some(slot) = self.values.get_mut(field as usize) {
            *slot = Cow::Borrowed(text);
        }
    }

    /// How many fields have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.iter().filter(|value| !value.is_empty()).count()
    }

    /// Whether no field has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|value| value.is_empty())
    }
}

/// The ways a source writes "nothing here". `\N` and `null` are what database exports leave in text.
fn is_absent(value: &str) -> bool {
    match value.len() {
        0 => true,
        1 => value == "-",
        2 => value == "\\N",
        4 => value.eq_ignore_ascii_case("null"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_stands_at_its_number_and_knows_its_own_name() {
        for (number, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, number);
            assert_eq!(Field::from_name(field.name().as_bytes()), Some(field));
        }
    }

    #[test]
    fn every_spelling_is_the_same_field() {
        for name in [
            "traffic_path",
            "traffic-path",
            "trafficPath",
            "TrafficPath",
            "rafficPath",
        ] {
            assert_eq!(
                Field::from_name(name.as_bytes()),
                Some(Field::TrafficPath),
                "{name}"
            );
        }
        for name in [
            "tcp-flags",
            "tcp_flags",
            "tcpFlags",
            "TcpFlags",
            "TCP FLAGS",
            "TCPFLAGS",
        ] {
            assert_eq!(
                Field::from_name(name.as_bytes()),
                Some(Field::TcpFlags),
                "{name}"
            );
        }
        for name in [
            "",
            "-",
            "srctype",
            "__time__",
            "traffic_pathway",
            "sourceaddress",
            "\u{feff}version",
        ] {
            assert_eq!(Field::from_name(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn nothing_is_written_in_many_ways() {
        let mut record = RawRecord::default();
        for nothing in ["-", "", "  ", " - ", "null", "NULL", "\\N"] {
            record.set(Field::VmId, nothing.into()).unwrap();
            assert_eq!(record.get(Field::VmId), None, "{nothing:?}");
        }
        record.set(Field::VmId, " i-1 ".into()).unwrap();
        assert_eq!(record.get(Field::VmId), Some("i-1"));
        record.set(Field::VmId, "-".into()).unwrap();
        record.set(Field::VmId, "i-1".into()).unwrap();
        assert_eq!(
            record.set(Field::VmId, "i-2".into()),
            Err(Unreadable::TwoValues { field: Field::VmId })
        );
        assert_eq!(record.len(), 1);
    }
}
