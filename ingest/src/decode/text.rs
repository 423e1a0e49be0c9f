//! Space-separated text → [`RawRecord`].
//!
//! Without a header and without `--fields` the values stand in the documented order of the record:
//!
//! ```text
//! version account-id eni-id vm-id vswitch-id vpc-id [type] protocol srcaddr srcport dstaddr dstport
//! direction action packets bytes start end [tcp-flags] log-status [traffic_path]
//! ```
//!
//! The three in brackets came or went over the years; each line is looked at on its own.

use std::borrow::Cow;

use super::{Field, RawRecord, Unreadable, as_text};

/// A line with more values is none of ours.
const VALUES_MAX: usize = 64;

const BEGINNING: [Field; 6] = [
    Field::Version,
    Field::AccountId,
    Field::EniId,
    Field::VmId,
    Field::VswitchId,
    Field::VpcId,
];

const MIDDLE: [Field; 11] = [
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
];

/// All fields of the documented order.
const DOCUMENTED: usize = BEGINNING.len() + 1 + MIDDLE.len() + 3;

/// Which value stands where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Layout {
    /// The documented order.
    #[default]
    Documented,
    /// The order a header line or the user gave; `None` is a column to pass over.
    Named(Vec<Option<Field>>),
}

impl Layout {
    /// Reads field names, separated by blanks or commas; names of no field are columns to pass over.
    ///
    /// `None` when fewer than three of the names are fields of a flow log.
    #[must_use]
    pub fn from_names(names: &str) -> Option<Layout> {
        let columns: Vec<_> = names
            .split(|separator: char| separator == ',' || separator.is_ascii_whitespace())
            .filter(|name| !name.is_empty())
            .take(VALUES_MAX + 1)
            .map(|name| Field::from_name(name.as_bytes()))
            .collect();
        let usable = columns.len() <= VALUES_MAX && columns.iter().flatten().count() >= 3;
        usable.then_some(Layout::Named(columns))
    }

    /// The names again, for [`Layout::from_names`]; empty for the documented order.
    #[must_use]
    pub fn names(&self) -> String {
        match self {
            Layout::Documented => String::new(),
            Layout::Named(columns) => {
                let names: Vec<_> = columns
                    .iter()
                    .map(|column| column.map_or("?", Field::name))
                    .collect();
                names.join(" ")
            }
        }
    }
}

/// Decodes one line.
///
/// ```
/// use flowaudit_ingest::decode::{text, Field};
/// let line = b"1 1210 eni-1 i-1 vsw-1 vpc-1 6 10.0.0.1 41332 10.0.0.2 80 out ACCEPT 10 2048 1720775420 1720775480 27 OK 2";
/// let record = text::record(line, &text::Layout::Documented).unwrap();
/// assert_eq!(record.get(Field::DstPort), Some("80"));
/// assert_eq!(record.get(Field::TrafficPath), Some("2"));
/// ```
pub fn record<'a>(line: &'a [u8], layout: &Layout) -> Result<RawRecord<'a>, Unreadable> {
    let text = as_text(line)?;
    let mut values = [""; VALUES_MAX];
    let mut found = 0;
    for value in text.split_ascii_whitespace() {
        if let Some(slot) = values.get_mut(found) {
            *slot = value;
        }
        found += 1;
    }
    let values = values.get(..found.min(VALUES_MAX)).unwrap_or_default();
    let mut raw = RawRecord::default();
    match layout {
        Layout::Named(columns) => {
            if found != columns.len() {
                return Err(Unreadable::FieldCount {
                    found,
                    expected: columns.len(),
                });
            }
            for (value, column) in values.iter().zip(columns) {
                if let Some(field) = *column {
                    raw.set(field, Cow::Borrowed(value))?;
                }
            }
        }
        Layout::Documented => {
            let wrong = Unreadable::FieldCount {
                found,
                expected: DOCUMENTED,
            };
            if found > DOCUMENTED {
                return Err(wrong);
            }
            documented(values, &mut raw)?.ok_or(wrong)?;
        }
    }
    Ok(raw)
}

/// Whether a line fits the documented order, so that a file of such lines can be recognised.
#[must_use]
pub fn is_documented(line: &[u8]) -> bool {
    record(line, &Layout::Documented).is_ok_and(|raw| {
        let a_number = |field| {
            raw.get(field)
                .is_some_and(|value| value.parse::<u64>().is_ok())
        };
        let an_address = |field| {
            raw.get(field)
                .is_none_or(|value| value.parse::<std::net::IpAddr>().is_ok())
        };
        a_number(Field::Start)
            && a_number(Field::End)
            && an_address(Field::SrcAddr)
            && an_address(Field::DstAddr)
    })
}

/// Fills the record in the documented order; `None` when there are too few or too many values for it.
fn documented<'a>(values: &[&'a str], raw: &mut RawRecord<'a>) -> Result<Option<()>, Unreadable> {
    let has_type = values.len() == DOCUMENTED
        || values
            .get(BEGINNING.len())
            .is_some_and(|value| is_type(value));
    let mut values = values.iter().copied();
    for field in BEGINNING {
        let Some(value) = values.next() else {
            return Ok(None);
        };
        raw.set(field, Cow::Borrowed(value))?;
    }
    if has_type {
        // The addresses say it better.
        values.next();
    }
    for field in MIDDLE {
        let Some(value) = values.next() else {
            return Ok(None);
        };
        raw.set(field, Cow::Borrowed(value))?;
    }
    let Some(mut value) = values.next() else {
        return Ok(None);
    };
    if !is_log_status(value) {
        raw.set(Field::TcpFlags, Cow::Borrowed(value))?;
        let Some(status) = values.next() else {
            return Ok(None);
        };
        value = status;
    }
    raw.set(Field::LogStatus, Cow::Borrowed(value))?;
    if let Some(path) = values.next() {
        raw.set(Field::TrafficPath, Cow::Borrowed(path))?;
    }
    Ok(values.next().is_none().then_some(()))
}

fn is_type(value: &str) -> bool {
    value.eq_ignore_ascii_case("ipv4") || value.eq_ignore_ascii_case("ipv6")
}

fn is_log_status(value: &str) -> bool {
    ["OK", "NODATA", "SKIPDATA"]
        .iter()
        .any(|status| value.eq_ignore_ascii_case(status))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "1 1210 eni-1 i-1 vsw-1 vpc-1";
    const MIDDLE: &str = "6 10.0.0.1 41332 10.0.0.2 80 out ACCEPT 10 2048 1720775420 1720775480";

    #[test]
    fn the_documented_order_of_every_year() {
        for (line, flags, path) in [
            (format!("{HEAD} {MIDDLE} 27 OK 2"), Some("27"), Some("2")),
            (
                format!("{HEAD} IPv4 {MIDDLE} 27 OK 2"),
                Some("27"),
                Some("2"),
            ),
            (format!("{HEAD} {MIDDLE} 27 OK"), Some("27"), None),
            (format!("{HEAD}\t{MIDDLE} OK\r"), None, None),
            (format!("{HEAD} {MIDDLE} - OK -"), None, None),
            (format!("{HEAD} ipv4 {MIDDLE} OK 2"), None, Some("2")),
        ] {
            let raw = record(line.as_bytes(), &Layout::Documented).unwrap();
            assert_eq!(raw.get(Field::Protocol), Some("6"), "{line}");
            assert_eq!(raw.get(Field::LogStatus), Some("OK"), "{line}");
            assert_eq!(raw.get(Field::TcpFlags), flags, "{line}");
            assert_eq!(raw.get(Field::TrafficPath), path, "{line}");
            assert!(is_documented(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn a_line_without_traffic() {
        for line in [
            format!("{HEAD} - - - - - - - - - - 1 2 - NODATA -"),
            format!("{HEAD} - - - - - - - - - 1 2 - NODATA -"),
        ] {
            let raw = record(line.as_bytes(), &Layout::Documented).unwrap();
            assert_eq!(
                (raw.get(Field::Start), raw.get(Field::End)),
                (Some("1"), Some("2")),
                "{line}"
            );
            assert_eq!(raw.get(Field::LogStatus), Some("NODATA"), "{line}");
        }
    }

    #[test]
    fn named_columns() {
        let layout = Layout::from_names("srcAddr, dstaddr  whatever start").unwrap();
        let raw = record(b"10.0.0.1 10.0.0.2 x 7", &layout).unwrap();
        assert_eq!(raw.get(Field::Start), Some("7"));
        assert_eq!(
            record(b"10.0.0.1", &layout).unwrap_err().to_string(),
            "1 values for 4 fields"
        );
        assert_eq!(Layout::from_names(&layout.names()).unwrap(), layout);
        assert_eq!(Layout::from_names("the quick brown fox"), None);
    }

    #[test]
    fn prose_is_no_record() {
        let prose = "the quick brown fox jumps over the lazy dog and then it goes on for quite a while longer still";
        assert!(!is_documented(prose.as_bytes()));
        assert!(record(b"", &Layout::Documented).is_err());
        assert!(record("x ".repeat(100_000).as_bytes(), &Layout::Documented).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), values in prop::collection::vec("-|OK|IPv4|[0-9]{1,3}", 0..24)) {
            let _ = record(&bytes, &Layout::Documented);
            let _ = record(values.join(" ").as_bytes(), &Layout::Documented);
        }
    }
}
