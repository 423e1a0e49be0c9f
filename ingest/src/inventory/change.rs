//! Old rows and new rows → since when something is known differently now. Pure.
//!
//! A snapshot that confirms what was known changes little: the core grows, and only what came after its old end has to be
//! looked at again. How long a change reaches is open: a connection may have been opened under what was declared long ago.

use std::cmp::Ordering;

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;

/// When a row holds: core and outer part, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    low: i64,
    start: i64,
    end: i64,
    high: i64,
}

/// A row that holds for some time.
trait Timed: Clone + Ord {
    fn times(&self) -> Times;
    /// The row without its times and without what it rests on.
    fn timeless(&self) -> Self;
}

impl Timed for EndpointRow {
    fn times(&self) -> Times {
        times(
            self.valid_from_us,
            self.valid_to_us,
            self.from_slack_ms,
            self.to_slack_ms,
        )
    }

    fn timeless(&self) -> Self {
        EndpointRow {
            valid_from_us: 0,
            valid_to_us: None,
            from_slack_ms: None,
            to_slack_ms: None,
            evidence: String::new(),
            ..self.clone()
        }
    }
}

impl Timed for ObjectRow {
    fn times(&self) -> Times {
        times(
            self.valid_from_us,
            self.valid_to_us,
            self.from_slack_ms,
            self.to_slack_ms,
        )
    }

    fn timeless(&self) -> Self {
        ObjectRow {
            valid_from_us: 0,
            valid_to_us: None,
            from_slack_ms: None,
            to_slack_ms: None,
            origin: String::new(),
            ..self.clone()
        }
    }
}

fn times(
    from: i64,
    to: Option<i64>,
    from_slack_ms: Option<i64>,
    to_slack_ms: Option<i64>,
) -> Times {
    let us = |ms: i64| ms.saturating_mul(1000);
    let end = to.unwrap_or(i64::MAX);
    Times {
        low: from_slack_ms.map_or(i64::MIN, |slack| from.saturating_sub(us(slack))),
        start: from,
        end,
        high: to_slack_ms.map_or(i64::MAX, |slack| end.saturating_add(us(slack))),
    }
}

/// The first instant at which something is known differently, in microseconds since the epoch; `i64::MIN` where it has no
/// known beginning, `None` where nothing changed.
#[must_use]
pub fn changed_from(
    endpoints: (&[EndpointRow], &[EndpointRow]),
    objects: (&[ObjectRow], &[ObjectRow]),
) -> Option<i64> {
    let endpoints = first_change(endpoints.0, endpoints.1);
    let objects = first_change(objects.0, objects.1);
    endpoints.into_iter().chain(objects).min()
}

fn first_change<R: Timed>(old: &[R], new: &[R]) -> Option<i64> {
    let keyed = |rows: &[R]| {
        let mut rows: Vec<_> = rows
            .iter()
            .map(|row| (row.timeless(), row.times()))
            .collect();
        rows.sort_by(|a, b| (&a.0, a.1.start).cmp(&(&b.0, b.1.start)));
        rows
    };
    let (old, new) = (keyed(old), keyed(new));
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut first: Option<i64> = None;
    let mut note = |at: i64| first = Some(first.map_or(at, |first| first.min(at)));
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return first,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.0.cmp(&new.0),
        };
        let alone = match order {
            Ordering::Less => old.next(),
            Ordering::Greater => new.next(),
            Ordering::Equal => {
                if let (Some((_, old)), Some((_, new))) = (old.next(), new.next()) {
                    old.differ_from(*new).into_iter().for_each(&mut note);
                }
                None
            }
        };
        if let Some((_, times)) = alone {
            note(times.low);
        }
    }
}

impl Times {
    /// The first instant at which one row may hold and the other not, or both hold but one not surely.
    fn differ_from(self, other: Times) -> Option<i64> {
        [
            (self.low, other.low),
            (self.start, other.start),
            (self.end, other.end),
            (self.high, other.high),
        ]
        .into_iter()
        .filter(|(one, other)| one != other)
        .map(|(one, other)| one.min(other))
        .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Times = Times {
        low: 10,
        start: 20,
        end: 30,
        high: 40,
    };

    #[test]
    fn rows_differ_from_where_the_first_of_their_ends_moved() {
        assert_eq!(HELD.differ_from(HELD), None);
        assert_eq!(HELD.differ_from(Times { low: 12, ..HELD }), Some(10));
        assert_eq!(HELD.differ_from(Times { start: 15, ..HELD }), Some(15));
        assert_eq!(HELD.differ_from(Times { end: 35, ..HELD }), Some(30));
        assert_eq!(
            HELD.differ_from(Times {
                end: 35,
                high: 36,
                ..HELD
            }),
            Some(30)
        );
        assert_eq!(
            HELD.differ_from(Times {
                high: i64::MAX,
                ..HELD
            }),
            Some(40)
        );
    }
}
