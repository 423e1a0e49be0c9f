//! Whether what a reply says of itself can be true. Pure.
//!
//! The position moves to the cursor that a reply names, and what lies before it is never asked for again. So a reply whose
//! cursor, counts and body do not fit together is not taken, however well it unpacks: it is asked for again, and in the
//! end the run fails with the position where it was.

use thiserror::Error;

use super::cursor::Cursor;
use super::decode::Tally;

/// What does not fit together in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Contradiction {
    /// The body holds another number of log groups than the reply says.
    #[error("it says it has {announced} log groups and has {found}")]
    Groups {
        /// `x-log-count`.
        announced: u64,
        /// What the body holds.
        found: u64,
    },
    /// More than was asked for.
    #[error("it has {found} log groups, and {asked} were asked for")]
    TooMany {
        /// What the request asked for.
        asked: u64,
        /// What the body holds.
        found: u64,
    },
    /// After a query: another number of records than the reply says.
    #[error("it says the query left {announced} records, and it has {found}")]
    Lines {
        /// `x-log-resultlines`.
        announced: u64,
        /// What the body holds.
        found: u64,
    },
    /// The cursor says that there is nothing, and there is something.
    #[error("its cursor says that there is nothing more, and it has {groups} log groups")]
    Stays {
        /// How many log groups there are, before a query.
        groups: u64,
    },
    /// The cursor goes on, and there is nothing in between.
    #[error("its cursor goes on, and it has no log group")]
    Leaps,
    /// The cursor goes back.
    #[error("its cursor goes back, from {from} to {to}")]
    Backwards {
        /// The number in the cursor of the request.
        from: u64,
        /// The number in the cursor of the reply.
        to: u64,
    },
    /// The last log group does not lie between the two cursors.
    #[error(
        "its last log group is {last}, which does not lie between its cursors, {from} and {to}"
    )]
    Outside {
        /// `x-log-read-last-cursor`.
        last: u64,
        /// The number in the cursor of the request.
        from: u64,
        /// The number in the cursor of the reply.
        to: u64,
    },
    /// Nothing more is said to be there, before the end that the service itself has named.
    #[error("nothing comes after {at}, and the end of the shard is {end}")]
    EndsEarly {
        /// How far the shard was read.
        at: u64,
        /// The number in the cursor of the end.
        end: u64,
    },
}

/// What a reply to `PullLogs` says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'r> {
    /// The cursor of the request.
    pub(super) asked: &'r Cursor,
    /// How many log groups it asked for at most.
    pub(super) asked_groups: u64,
    /// Where to go on.
    pub(super) next: &'r Cursor,
    /// What the body holds.
    pub(super) tally: Tally,
    /// How many log groups it is said to hold.
    pub(super) count: u64,
    /// The number of the last log group, where it is said.
    pub(super) last: Option<u64>,
    /// With a query: what is said of before and after it.
    pub(super) query: Option<Queried>,
}

/// What a reply says of a query.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queried {
    /// Log groups that were looked through.
    pub(super) groups: Option<u64>,
    /// Records that are left.
    pub(super) results: Option<u64>,
}

impl Said<'_> {
    /// Cursors are opaque by contract: what their numbers say is gone by only where both have one.
    pub(super) fn check(&self) -> Result<(), Contradiction> {
        let found = self.tally.groups;
        let announced = self.count;
        // After a query the count may be that of before.
        let before = self.query.and_then(|query| query.groups);
        let is_told = self.query.is_none() || before.is_some();
        if is_told && announced != found && Some(announced) != before {
            return Err(Contradiction::Groups { announced, found });
        }
        if found > self.asked_groups {
            let asked = self.asked_groups;
            return Err(Contradiction::TooMany { asked, found });
        }
        let results = self.query.and_then(|query| query.results);
        if let Some(announced) = results.filter(|results| *results != self.tally.logs) {
            let found = self.tally.logs;
            return Err(Contradiction::Lines { announced, found });
        }
        // What a query leaves out is passed over, too.
        let groups = before.unwrap_or_default().max(found);
        match self.next.is(self.asked) {
            true if groups > 0 => return Err(Contradiction::Stays { groups }),
            false if groups == 0 && (self.query.is_none() || before.is_some()) => {
                return Err(Contradiction::Leaps);
            }
            _ => {}
        }
        let (Some(from), Some(to)) = (self.asked.number(), self.next.number()) else {
            return Ok(());
        };
        if to < from {
            return Err(Contradiction::Backwards { from, to });
        }
        match self.last.filter(|_| found > 0) {
            Some(last) if last >= to || last < from.saturating_add(found - 1) => {
                Err(Contradiction::Outside { last, from, to })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn cursor(number: u64) -> Cursor {
        Cursor(STANDARD.encode(number.to_string()))
    }

    fn check(
        (from, to): (&Cursor, &Cursor),
        (count, groups, logs): (u64, u64, u64),
        last: Option<u64>,
        query: Option<Queried>,
    ) -> Result<(), Contradiction> {
        let tally = Tally { groups, logs };
        Said {
            asked: from,
            asked_groups: 100,
            next: to,
            tally,
            count,
            last,
            query,
        }
        .check()
    }

    #[test]
    fn what_fits_together_and_what_does_not() {
        let (a, b) = (&cursor(50), &cursor(60));
        assert_eq!(check((a, b), (10, 10, 200), Some(59), None), Ok(()));
        assert_eq!(check((a, a), (0, 0, 0), None, None), Ok(()));
        // Times may lie between log groups, and some cursors have no number.
        assert_eq!(check((a, b), (3, 3, 9), Some(55), None), Ok(()));
        let opaque = &Cursor("opaque".to_owned());
        assert_eq!(check((a, opaque), (3, 3, 9), Some(55), None), Ok(()));
        for (way, counts, last, expected) in [
            (
                (a, b),
                (10, 9, 180),
                Some(59),
                Contradiction::Groups {
                    announced: 10,
                    found: 9,
                },
            ),
            (
                (a, b),
                (101, 101, 101),
                None,
                Contradiction::TooMany {
                    asked: 100,
                    found: 101,
                },
            ),
            (
                (a, a),
                (10, 10, 200),
                Some(59),
                Contradiction::Stays { groups: 10 },
            ),
            ((a, b), (0, 0, 0), None, Contradiction::Leaps),
            (
                (b, a),
                (10, 10, 200),
                None,
                Contradiction::Backwards { from: 60, to: 50 },
            ),
            (
                (a, b),
                (10, 10, 200),
                Some(60),
                Contradiction::Outside {
                    last: 60,
                    from: 50,
                    to: 60,
                },
            ),
            (
                (a, b),
                (10, 10, 200),
                Some(58),
                Contradiction::Outside {
                    last: 58,
                    from: 50,
                    to: 60,
                },
            ),
        ] {
            assert_eq!(check(way, counts, last, None), Err(expected));
        }
    }

    #[test]
    fn after_a_query() {
        let (a, b) = (&cursor(50), &cursor(60));
        let query = |groups, results| {
            Some(Queried {
                groups: Some(groups),
                results: Some(results),
            })
        };
        // Everything left out, some left out, counted after and before.
        assert_eq!(check((a, b), (0, 0, 0), None, query(10, 0)), Ok(()));
        assert_eq!(check((a, b), (2, 2, 7), None, query(10, 7)), Ok(()));
        assert_eq!(check((a, b), (10, 2, 7), None, query(10, 7)), Ok(()));
        // A service that says less.
        let silent = Some(Queried::default());
        assert_eq!(check((a, b), (0, 0, 0), None, silent), Ok(()));
        assert_eq!(check((a, b), (9, 2, 7), None, silent), Ok(()));
        for (way, counts, query, expected) in [
            (
                (a, b),
                (2, 2, 7),
                query(10, 8),
                Contradiction::Lines {
                    announced: 8,
                    found: 7,
                },
            ),
            (
                (a, b),
                (3, 2, 7),
                query(10, 7),
                Contradiction::Groups {
                    announced: 3,
                    found: 2,
                },
            ),
            (
                (a, a),
                (0, 0, 0),
                query(10, 0),
                Contradiction::Stays { groups: 10 },
            ),
            ((a, b), (0, 0, 0), query(0, 0), Contradiction::Leaps),
        ] {
            assert_eq!(check(way, counts, None, query), Err(expected));
        }
    }
}
