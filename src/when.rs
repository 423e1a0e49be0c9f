//! Instants and spans as a person types them: `24h`, `2026-11-23T08:00:00Z`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::failure::{Failure, Mistake};

/// Units and their seconds.
const UNITS: [(char, i64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

/// A span: a number with its unit, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub TimeDelta);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || {
            format!("`{text}` is not a span: write a number and s, m, h or d, as in `90s` or `24h`")
        };
        let unit = text.chars().next_back().ok_or_else(refused)?;
        let number = text.strip_suffix(unit).unwrap_or_default();
        let number: u32 = number.parse().map_err(|_| refused())?;
        let (_, seconds) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(refused)?;
        // A u32 of days is far inside what a delta holds.
        Ok(Span(TimeDelta::seconds(i64::from(number) * seconds)))
    }
}

impl Span {
    /// In microseconds.
    pub(crate) fn us(self) -> i64 {
        self.0.num_microseconds().unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.num_seconds();
        let whole = UNITS
            .iter()
            .rev()
            .find(|(_, unit)| seconds != 0 && seconds % unit == 0);
        let (name, unit) = whole.copied().unwrap_or(('s', 1));
        write!(f, "{}{name}", seconds / unit)
    }
}

/// How long something takes, for people: `3d 4h`, `2h 5min`, `40s`.
pub(crate) fn in_words(seconds: i64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, minutes) => format!("{minutes}min {rest}s"),
        (0, hours, minutes) => format!("{hours}h {minutes}min"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// An instant, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// RFC 3339.
    At(DateTime<Utc>),
    /// A span before now.
    Ago(Span),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(When::At(at.to_utc()));
        }
        text.parse().map(When::Ago).map_err(|_| {
            format!("`{text}` is not a time: write RFC 3339 as in `2026-11-23T08:00:00Z`, or how long ago as in `24h`")
        })
    }
}

impl When {
    /// The instant, seen from `now`.
    pub(crate) fn seen_from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            When::At(at) => at,
            When::Ago(span) => now
                .checked_sub_signed(span.0)
                .unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

/// The instant asked for, else `now`.
pub(crate) fn or_now(when: Option<When>, now: DateTime<Utc>) -> DateTime<Utc> {
    when.map_or(now, |when| when.seen_from(now))
}

/// The stretch of time a command looks at.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Window {
    /// Begin: RFC 3339, or how long ago, as in `24h`
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,
    /// End, not included
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
}

impl Window {
    /// Begin and end in microseconds since the epoch.
    pub(crate) fn us(self, now: DateTime<Utc>) -> Result<(Option<i64>, Option<i64>), Failure> {
        let us = |when: When| when.seen_from(now).timestamp_micros();
        match (self.since.map(us), self.until.map(us)) {
            (Some(since), Some(until)) if since >= until => {
                let (since, until) = (rfc3339(since), rfc3339(until));
                let mistake = format!("nothing lies between --since {since} and --until {until}");
                let help = "name a begin before the end; the end is not included";
                Err(Failure::usage(Mistake(mistake), Some(help.to_owned())))
            }
            window => Ok(window),
        }
    }
}

/// An instant of the lake for people: `2026-11-23T08:00:00Z`.
pub(crate) fn rfc3339(at_us: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(at_us).map_or_else(
        || at_us.to_string(),
        |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_instants_are_told_apart() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let seen = |text: &str| {
            text.parse::<When>()
                .map(|when| when.seen_from(now).timestamp())
        };
        assert_eq!(seen("24h"), Ok(1_000_000 - 86_400));
        assert_eq!(seen("90s"), Ok(1_000_000 - 90));
        assert_eq!(seen("1970-01-01T00:00:07+00:00"), Ok(7));
        for wrong in [
            "",
            "h",
            "24",
            "24w",
            "-1h",
            "1.5h",
            "99999999999d",
            "ü",
            "yesterday",
        ] {
            assert!(seen(wrong).is_err(), "{wrong}");
        }
        assert!(seen("4294967295d").is_ok());
        for text in ["0s", "90s", "6h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }
}
