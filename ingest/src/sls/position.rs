//! How far a shard was read, as the lake keeps it beside the data. Pure.

use flowaudit_lake::checkpoint::Position;
use serde::{Deserialize, Serialize};

use super::calls::Cursor;

/// Version of [`Resume`].
const VERSION: u64 = 1;

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
}

#[derive(Serialize, Deserialize)]
struct Resume {
    v: u64,
    cursor: Cursor,
    received: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    done: bool,
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
        }
    }

    /// What the lake keeps; `None` when a newer version of the program wrote it.
    #[must_use]
    pub fn read(position: &Position) -> Option<Self> {
        let resume: Resume = serde_json::from_str(&position.resume).ok()?;
        (resume.v == VERSION).then_some(Reached {
            at: position.at,
            cursor: resume.cursor,
            received: resume.received,
            done: resume.done,
        })
    }

    /// As the lake keeps it.
    #[must_use]
    pub fn to_position(&self) -> Position {
        let resume = Resume {
            v: VERSION,
            cursor: self.cursor.clone(),
            received: self.received,
            done: self.done,
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
            ..self.clone()
        }
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
    fn what_a_newer_version_wrote_is_not_guessed_at() {
        let newer = Position {
            at: 1,
            resume: r#"{"v":2,"cursor":"x","received":1}"#.to_owned(),
        };
        assert_eq!(Reached::read(&newer), None);
        assert_eq!(Reached::read(&Position::at(1)), None);
    }
}
