//! Old rows and new rows → the stretches of time for which something is known differently now. Pure.
//!
//! A snapshot that confirms what was known changes little: the core grows, and only what lay between its old and its new
//! end has to be looked at again.

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;

/// More stretches than this are joined to one.
const STRETCHES_MAX: usize = 64;

/// Two stretches closer than this become one: hours are analysed as a whole.
const CLOSE_US: i64 = 3_600_000_000;

/// When a row holds: core and outer part, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    low: i64,
    start: i64,
    end: i64,
    high: i64,
}

/// Half-open stretches.
#[derive(Debug, Default)]
struct Stretches(Vec<(i64, i64)>);

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

/// What is known differently, as half-open stretches in order.
#[must_use]
pub fn changed(
    endpoints: (&[EndpointRow], &[EndpointRow]),
    objects: (&[ObjectRow], &[ObjectRow]),
) -> Vec<(i64, i64)> {
    let mut stretches = Stretches::default();
    stretches.compare(endpoints.0, endpoints.1);
    stretches.compare(objects.0, objects.1);
    stretches.joined()
}

impl Stretches {
    fn compare<R: Timed>(&mut self, old: &[R], new: &[R]) {
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
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.0.cmp(&new.0),
            };
            match order {
                std::cmp::Ordering::Less => self.whole(old.next()),
                std::cmp::Ordering::Greater => self.whole(new.next()),
                std::cmp::Ordering::Equal => {
                    if let (Some((_, old)), Some((_, new))) = (old.next(), new.next()) {
                        self.moved(old.low, new.low);
                        self.moved(old.start, new.start);
                        self.moved(old.end, new.end);
                        self.moved(old.high, new.high);
                    }
                }
            }
        }
    }

    fn whole<R>(&mut self, row: Option<&(R, Times)>) {
        if let Some((_, times)) = row {
            self.0.push((times.low, times.high.saturating_add(1)));
        }
    }

    fn moved(&mut self, old: i64, new: i64) {
        if old != new {
            self.0.push((old.min(new), old.max(new).saturating_add(1)));
        }
    }

    fn joined(mut self) -> Vec<(i64, i64)> {
        self.0.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::new();
        for (from, to) in self.0 {
            match joined.last_mut() {
                Some(last) if from <= last.1.saturating_add(CLOSE_US) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        match (joined.first(), joined.last()) {
            (Some(first), Some(last)) if joined.len() > STRETCHES_MAX => vec![(first.0, last.1)],
            _ => joined,
        }
    }
}
