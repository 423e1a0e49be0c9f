//! The path format of a shipping job ↔ the times its objects were written. Pure.
//!
//! An object is called `<prefix>/<path format>_<number>_<number><suffix>`, where the path format is strftime, rendered with
//! the time at which the shipping task was made. Its beginning, as far as it goes from the year to smaller units, sorts by
//! time; what follows is opaque.

use std::fmt::Write;
use std::str::FromStr;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, TimeDelta, Timelike};
use thiserror::Error;

/// A path format that cannot be listed by time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// Keys do not sort by time.
    #[error("path format `{0}` does not begin with year, month and day")]
    NoDate(String),
    /// Not an offset.
    #[error("`{0}` is no time zone")]
    Zone(String),
}

impl LayoutError {
    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(
            match self {
                LayoutError::NoDate(_) => "only formats like `%Y/%m/%d/%H/%M`, from the year to smaller units, can be read bit by bit; set the shipping job so",
                LayoutError::Zone(_) => "write it as the shipping job has it, like `+0800`",
            }
            .to_owned(),
        )
    }
}

/// Units from large to small, with their digits and seconds.
const UNITS: [(char, usize, i64); 6] = [
    ('Y', 4, 0),
    ('m', 2, 0),
    ('d', 2, 86_400),
    ('H', 2, 3_600),
    ('M', 2, 60),
    ('S', 2, 1),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// By its place in [`UNITS`].
    Unit(usize),
}

/// A path format and the zone it is rendered in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFormat {
    text: String,
    zone: FixedOffset,
    /// What sorts by time.
    parts: Vec<Part>,
    /// How long the smallest of its units lasts, in seconds.
    step_s: i64,
}

impl PathFormat {
    /// What shipping jobs take by default.
    pub const DEFAULT: &'static str = "%Y/%m/%d/%H/%M";

    /// Reads a path format and a time zone such as `+0800`.
    ///
    /// ```
    /// use flowaudit_ingest::oss::PathFormat;
    /// let format = PathFormat::new(PathFormat::DEFAULT, "+0800").unwrap();
    /// let at = format.time_of("2022/01/26/20/54_1453812893059571256_937.json").unwrap();
    /// assert_eq!(at, 1_643_201_640); // 2022-01-26T12:54:00Z
    /// assert_eq!(format.bound(at), "2022/01/26/20/54");
    /// assert_eq!(format.time_of("README.md"), None);
    /// ```
    pub fn new(text: &str, zone: &str) -> Result<PathFormat, LayoutError> {
        let zone = FixedOffset::from_str(zone).map_err(|_| LayoutError::Zone(zone.to_owned()))?;
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut units = 0;
        let expanded = text.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S");
        let mut letters = expanded.chars();
        while let Some(letter) = letters.next() {
            let unit = match letter {
                '%' => letters.next(),
                letter => {
                    literal.push(letter);
                    continue;
                }
            };
            match unit {
                Some('%') => literal.push('%'),
                Some(unit) if UNITS.get(units).is_some_and(|(name, ..)| *name == unit) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Unit(units));
                    units += 1;
                }
                // Anything else is opaque, and all that follows it.
                _ => break,
            }
        }
        let step_s = units
            .checked_sub(1)
            .and_then(|last| UNITS.get(last))
            .map_or(0, |(_, _, step)| *step);
        if step_s == 0 {
            return Err(LayoutError::NoDate(text.to_owned()));
        }
        Ok(PathFormat {
            text: text.to_owned(),
            zone,
            parts,
            step_s,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How long the smallest unit that sorts lasts, in seconds.
    #[must_use]
    pub fn step_s(&self) -> i64 {
        self.step_s
    }

    /// The key, without the prefix, before which nothing of `at` (Unix seconds) or later lies.
    #[must_use]
    pub fn bound(&self, at: i64) -> String {
        let at = DateTime::from_timestamp(at, 0).unwrap_or_default();
        let at = at.with_timezone(&self.zone);
        let mut bound = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => bound.push_str(text),
                Part::Unit(unit) => {
                    let value = match unit {
                        0 => i64::from(at.year()),
                        1 => i64::from(at.month()),
                        2 => i64::from(at.day()),
                        3 => i64::from(at.hour()),
                        4 => i64::from(at.minute()),
                        _ => i64::from(at.second()),
                    };
                    let digits = UNITS.get(*unit).map_or(2, |(_, digits, _)| *digits);
                    // Writing to a String cannot fail.
                    let _ = write!(bound, "{value:0digits$}");
                }
            }
        }
        bound
    }

    /// When the shipping task of an object was made, in Unix seconds, as exactly as the key tells; `tail` is the key
    /// without the prefix. `None` where it is no object of a shipping job.
    #[must_use]
    pub fn time_of(&self, tail: &str) -> Option<i64> {
        let mut values = [0_u32, 1, 1, 0, 0, 0];
        let mut rest = tail;
        for part in &self.parts {
            match part {
                Part::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Unit(unit) => {
                    let (_, digits, _) = UNITS.get(*unit)?;
                    let (value, after) = rest.split_at_checked(*digits)?;
                    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
                        return None;
                    }
                    *values.get_mut(*unit)? = value.parse().ok()?;
                    rest = after;
                }
            }
        }
        let [year, month, day, hour, minute, second] = values;
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        let local = date.and_hms_opt(hour, minute, second)?;
        let utc =
            local.checked_sub_signed(TimeDelta::seconds(self.zone.local_minus_utc().into()))?;
        Some(utc.and_utc().timestamp())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats_that_sort_by_time_and_others() {
        for (text, step) in [
            ("%Y/%m/%d/%H/%M", 60),
            ("%Y/%m/%d/%H", 3600),
            ("%Y_%m_%d/good", 86_400),
            ("%F/%H", 3600),
            ("dt=%Y%m%d/h=%H/%Y-%M", 3600),
            ("100%%/%Y%m%d%H%M%S", 1),
        ] {
            let format = PathFormat::new(text, "+0800").unwrap();
            assert_eq!(format.step_s(), step, "{text}");
        }
        for text in ["", "logs", "%H/%Y/%m/%d", "%Y/%m", "%d/%m/%Y", "%Y/%j"] {
            let error = PathFormat::new(text, "+0800").unwrap_err();
            assert!(error.help().is_some(), "{text}");
        }
        assert!(PathFormat::new("%F", "CST").is_err());
    }

    #[test]
    fn only_keys_of_the_format_have_a_time() {
        let format = PathFormat::new("%Y/%m/%d/%H/%M", "+0000").unwrap();
        assert_eq!(format.time_of("1970/01/02/00/01_1_2.gz"), Some(86_460));
        for other in [
            "",
            "1970",
            "1970/13/01/00/00_1",
            "1970/1/1/0/0_1",
            "x/1970/01/01/00/00",
            "19日0/01/01",
        ] {
            assert_eq!(format.time_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_times(a in 0..4_000_000_000_i64, b in 0..4_000_000_000_i64, text in "%Y/%m/%d/%H/%M|%F|%Y%m%d/%H") {
            let format = PathFormat::new(&text, "-0330").unwrap();
            let key = |at| format!("{}_1_2.json", format.bound(at));
            let time = |at| format.time_of(&key(at)).unwrap();
            prop_assert!(time(a) <= a && a < time(a) + format.step_s());
            prop_assert_eq!(time(a).cmp(&time(b)), format.bound(a).cmp(&format.bound(b)));
            // What is listed after the bound is what is not older.
            prop_assert_eq!(key(a) > format.bound(b), time(a) >= time(b));
        }
    }
}
