//! Time to partition: hours, days, and the folders named for them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LayoutError;
use crate::table::Partitioning;

/// How far an hour looks into its neighbours, microseconds: the longest aggregation window of a flow log, 10 minutes.
///
/// A record is in the hour in which it begins. Its other half (the answer, the opening, what the interface at the other
/// end logged) may begin in the next hour or in the one before, this far from their common border at most. So an
/// hour must be looked at again when something changes this close to it.
pub const HOUR_MARGIN_US: i64 = 600_000_000;

const US_PER_HOUR: i64 = 3_600_000_000;
const HOURS_PER_DAY: i64 = 24;

/// One hour, counted from the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

/// One day, counted from the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i64);

/// One directory of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// The table is not cut.
    None,
    /// `date=2026-11-24`
    Date(Date),
    /// `date=2026-11-24/hour=08`
    Hour(Hour),
}

impl Hour {
    /// The hour that holds an instant, given in microseconds since the epoch.
    pub fn of_us(at_us: i64) -> Self {
        Self(at_us.div_euclid(US_PER_HOUR))
    }

    /// The first instant of the hour in microseconds since the epoch.
    pub fn start_us(self) -> i64 {
        self.0.saturating_mul(US_PER_HOUR)
    }

    /// The first instant after the hour in microseconds since the epoch.
    pub fn end_us(self) -> i64 {
        self.next().start_us()
    }

    /// The hour after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The hour before this one.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Whether a stretch, half-open in microseconds since the epoch, lies in the hour or within its margin.
    pub fn is_concerned_by(self, from_us: i64, to_us: i64) -> bool {
        from_us < self.end_us().saturating_add(HOUR_MARGIN_US)
            && to_us > self.start_us().saturating_sub(HOUR_MARGIN_US)
    }

    /// The day that holds the hour.
    pub fn date(self) -> Date {
        Date(self.0.div_euclid(HOURS_PER_DAY))
    }

    /// The hour of the day, 0 to 23.
    pub fn of_day(self) -> i64 {
        self.0.rem_euclid(HOURS_PER_DAY)
    }
}

impl Date {
    /// The day that holds an instant, given in microseconds since the epoch.
    pub fn of_us(at_us: i64) -> Self {
        Hour::of_us(at_us).date()
    }

    /// The first instant of the day in microseconds since the epoch.
    pub fn start_us(self) -> i64 {
        Hour(self.0.saturating_mul(HOURS_PER_DAY)).start_us()
    }

    /// The calendar day; `None` outside the years 0 to 9999, which no directory may be named for.
    fn calendar(self) -> Option<NaiveDate> {
        let seconds = self.0.checked_mul(HOURS_PER_DAY * 3600)?;
        let day = DateTime::from_timestamp(seconds, 0)?.date_naive();
        (0..=9999).contains(&day.year()).then_some(day)
    }
}

impl Partition {
    /// The partition of an instant in a table cut by hour.
    pub fn hour_of_us(at_us: i64) -> Self {
        Self::Hour(Hour::of_us(at_us))
    }

    /// The partition of an instant in a table cut by day.
    pub fn date_of_us(at_us: i64) -> Self {
        Self::Date(Date::of_us(at_us))
    }

    /// How a table with this partition is cut.
    pub fn partitioning(self) -> Partitioning {
        match self {
            Self::None => Partitioning::None,
            Self::Date(_) => Partitioning::Date,
            Self::Hour(_) => Partitioning::Hour,
        }
    }

    /// Whether the partition's name can be written and read back: years 0 to 9999.
    pub fn is_writable(self) -> bool {
        match self {
            Self::None => true,
            Self::Date(date) => date.calendar().is_some(),
            Self::Hour(hour) => hour.date().calendar().is_some(),
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.calendar() {
            Some(day) => write!(f, "{}", day.format("%Y-%m-%d")),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date().calendar() {
            Some(day) => write!(f, "{}T{:02}", day.format("%Y-%m-%d"), self.of_day()),
            None => write!(f, "hour {}", self.0),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Date(date) => write!(f, "date={date}"),
            Self::Hour(hour) => write!(f, "date={}/hour={:02}", hour.date(), hour.of_day()),
        }
    }
}

impl FromStr for Date {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let wrong = || LayoutError::new(text, "day", "2026-11-24");
        let parsed = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
        let midnight = parsed.and_hms_opt(0, 0, 0).ok_or_else(wrong)?;
        let date = Self(
            midnight
                .and_utc()
                .timestamp()
                .div_euclid(HOURS_PER_DAY * 3600),
        );
        // One spelling only: what is accepted prints as it was.
        if date.to_string() == text {
            Ok(date)
        } else {
            Err(wrong())
        }
    }
}

impl FromStr for Hour {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let wrong = || LayoutError::new(text, "hour", "2026-11-24T08");
        let (date, hour) = text.split_once('T').ok_or_else(wrong)?;
        let date: Date = date.parse().map_err(|_| wrong())?;
        hour_of_day(hour)
            .map(|hour| Self(date.0 * HOURS_PER_DAY + hour))
            .ok_or_else(wrong)
    }
}

impl FromStr for Partition {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let wrong = || LayoutError::new(text, "partition", "date=2026-11-24/hour=08");
        if text.is_empty() {
            return Ok(Self::None);
        }
        let text_after = text.strip_prefix("date=").ok_or_else(wrong)?;
        match text_after.split_once("/hour=") {
            None => text_after.parse().map(Self::Date).map_err(|_| wrong()),
            Some((date, hour)) => {
                let date: Date = date.parse().map_err(|_| wrong())?;
                let hour = hour_of_day(hour).ok_or_else(wrong)?;
                Ok(Self::Hour(Hour(date.0 * HOURS_PER_DAY + hour)))
            }
        }
    }
}

fn hour_of_day(text: &str) -> Option<i64> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let hour: i64 = if digits {
        text.parse().ok()?
    } else {
        return None;
    };
    (hour < HOURS_PER_DAY).then_some(hour)
}

as_text!(Hour);
as_text!(Partition);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for at in [i64::MIN, i64::MAX] {
            let hour = Hour::of_us(at);
            assert!(!Partition::Hour(hour).is_writable());
            assert!(!Partition::Date(hour.date()).is_writable());
            assert!(hour.to_string().starts_with("hour "));
            assert!(hour.start_us() <= hour.end_us());
        }
        assert_eq!(Hour(i64::MAX).next(), Hour(i64::MAX));
        assert!(!Partition::Hour(Hour(i64::MIN)).is_writable());
        assert_eq!(Date(i64::MAX).start_us(), i64::MAX);
    }
}
