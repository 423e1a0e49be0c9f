//! Instants and spans as plain milliseconds, and the texts they are written in.

use chrono::{DateTime, Utc};
use serde::de::{self, Deserialize, Deserializer};

/// One second in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A span in milliseconds, written `2h30m`, `90s`, `400ms` or `-1s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Its length in milliseconds; may be negative.
    pub ms: i64,
}

/// An instant in milliseconds since the epoch, written in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant {
    /// Milliseconds since the epoch.
    pub ms: i64,
}

/// Reads a span; `None` when the text is none.
pub fn parse_span(text: &str) -> Option<Span> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if rest == "0" {
        return Some(Span::default());
    }
    if rest.is_empty() {
        return None;
    }
    let mut total_ms = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => SECOND_MS,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => 24 * HOUR_MS,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        rest = &rest[letters..];
    }
    Some(Span {
        ms: sign * total_ms,
    })
}

/// `2026-11-23T08:00:00Z`: how Kubernetes writes a time, cut to the second.
pub fn rfc3339(at_ms: i64) -> String {
    format(at_ms, "%Y-%m-%dT%H:%M:%SZ")
}

/// `2026-11-23T08:00:00.123456Z`: how the API server writes the times of a request, in microseconds since the epoch.
pub fn rfc3339_us(at_us: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_micros(at_us).unwrap_or_default();
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `20261123T080000Z`: how file names carry a time.
pub fn compact(at_ms: i64) -> String {
    format(at_ms, "%Y%m%dT%H%M%SZ")
}

fn format(at_ms: i64, pattern: &str) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
    at.format(pattern).to_string()
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a span; write it like 90s, 2h30m or 400ms"
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|at| Instant {
                ms: at.timestamp_millis(),
            })
            .map_err(|_| {
                de::Error::custom(format!(
                    "`{text}` is not an instant; write it like 2026-11-23T08:00:00Z"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_written() {
        for (text, ms) in [
            ("90s", 90_000),
            ("2h30m", 9_000_000),
            ("400ms", 400),
            ("-1s", -1_000),
            ("0", 0),
        ] {
            assert_eq!(parse_span(text), Some(Span { ms }), "{text}");
        }
        for text in ["", "s", "5", "5x", "1h-2m", "99999999999999999999s", "-"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(1_795_420_800_999), "2026-11-23T08:00:00Z");
        assert_eq!(compact(1_795_420_800_000), "20261123T080000Z");
    }
}
