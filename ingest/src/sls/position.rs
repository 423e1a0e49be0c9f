//! How far a shard was read, as the lake keeps it beside the data. Pure.

use flowaudit_lake::checkpoint::Position;
use serde::{Deserialize, Serialize};

use super::cursor::Cursor;

/// Version of [`Resume`], and of one that stands within a reply: who does not know that would read its beginning again.
const VERSION: u64 = 1;
const VERSION_WITHIN: u64 = 2;

/// How far a shard was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// What the lake compares: the number inside the cursor where there is one, in any case larger after each move.
    pub at: u64,
    /// Where the service goes on.
    pub cursor: Cursor,
    /// When something at or shortly before the cursor was received, in Unix seconds; 0 when that is not known.
    pub received: i64,
    /// The shard takes nothing more and was read to its end.
    pub done: bool,
    /// Records after the cursor that were read too: a reply of very many is published in parts.
    pub within: Option<Within>,
}

/// A place between two cursors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Within {
    /// So many records after the cursor.
    pub records: u64,
    /// The statement that was applied to them: with another one they are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Resume {
    v: u64,
    cursor: Cursor,
    received: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    done: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<Within>,
}

impl Reached {
    /// The first position of a shard.
    #[must_use]
    pub fn first(cursor: Cursor, received: i64) -> Self {
        Reached {
            at: cursor.number().unwrap_or_default(),
            cursor,
            received,
            done: false,
            within: None,
        }
    }

    /// What the lake keeps; `None` when a newer version of the program wrote it.
    #[must_use]
    pub fn read(position: &Position) -> Option<Self> {
        let resume: Resume = serde_json::from_str(&position.resume).ok()?;
        [VERSION, VERSION_WITHIN]
            .contains(&resume.v)
            .then_some(Reached {
                at: position.at,
                cursor: resume.cursor,
                received: resume.received,
                done: resume.done,
                within: resume.within,
            })
    }

    /// As the lake keeps it.
    #[must_use]
    pub fn to_position(&self) -> Position {
        let resume = Resume {
            v: match self.within {
                None => VERSION,
                Some(_) => VERSION_WITHIN,
            },
            cursor: self.cursor.clone(),
            received: self.received,
            done: self.done,
            within: self.within.clone(),
        };
        Position {
            at: self.at,
            resume: serde_json::to_string(&resume).unwrap_or_default(),
        }
    }

    /// After going on to `next`. Were cursors not the numbers they seem to be, counting moves would do.
    #[must_use]
    pub fn moved(&self, next: Cursor) -> Self {
        let after = self.at.saturating_add(1);
        Reached {
            at: next.number().unwrap_or_default().max(after),
            cursor: next,
            within: None,
            ..self.clone()
        }
    }

    /// So many records after the same cursor.
    #[must_use]
    pub(super) fn moved_within(&self, records: u64, query: Option<&str>) -> Self {
        Reached {
            at: self.at.saturating_add(1),
            within: Some(Within {
                records,
                query: query.map(str::to_owned),
            }),
            ..self.clone()
        }
    }

    /// How many records after the cursor were read, as far as they are those that come now.
    pub(super) fn records_within(&self, query: Option<&str>) -> u64 {
        let within = self.within.as_ref();
        let same = within.filter(|within| within.query.as_deref() == query);
        same.map_or(0, |within| within.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Cursor {
        Cursor(text.to_owned())
    }

    #[test]
    fn positions_come_back_and_always_grow() {
        let first = Reached::first(cursor("MTcyOTA3MDYxODQyODA0NDY1NQ=="), 1_729_070_618);
        assert_eq!(first.at, 1_729_070_618_428_044_655);
        assert_eq!(Reached::read(&first.to_position()), Some(first.clone()));
        // Opaque, then smaller than before, then a real one.
        let opaque = first.moved(cursor("next"));
        assert_eq!(opaque.at, first.at + 1);
        let smaller = opaque.moved(cursor("MTA="));
        assert_eq!(smaller.at, first.at + 2);
        let larger = smaller.moved(cursor("MTcyOTA3MDYxODQyODA0NDc1NQ=="));
        assert_eq!(larger.at, 1_729_070_618_428_044_755);
        assert_eq!(larger.received, first.received);
        assert_eq!(Reached::first(cursor("opaque"), 0).at, 0);
    }

    #[test]
    fn a_place_within_a_reply_counts_for_the_statement_it_was_read_with() {
        let first = Reached::first(cursor("MTA="), 1);
        assert_eq!(first.at, 10);
        let within = first.moved_within(7, None);
        assert_eq!(
            (
                within.at,
                within.records_within(None),
                within.records_within(Some("*"))
            ),
            (11, 7, 0)
        );
        assert!(!first.to_position().resume.contains("within"));
        assert!(within.to_position().resume.starts_with("{\"v\":2,"));
        let filtered = within.moved_within(9, Some("*"));
        assert_eq!(
            Reached::read(&filtered.to_position()),
            Some(filtered.clone())
        );
        assert_eq!(filtered.records_within(Some("*")), 9);
        let next = filtered.moved(cursor("MTE="));
        assert_eq!((next.at, next.within), (13, None));
    }

    #[test]
    fn what_a_newer_version_wrote_is_not_guessed_at() {
        let newer = Position {
            at: 1,
            resume: r#"{"v":3,"cursor":"x","received":1}"#.to_owned(),
        };
        assert_eq!(Reached::read(&newer), None);
        assert_eq!(Reached::read(&Position::at(1)), None);
    }
}
