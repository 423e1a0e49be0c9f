//! How far an object was read, as the lake keeps it.
//!
//! The shard is `<key>@<ETag>`: an object that was replaced is another shard. The position counts decoded bytes, or rows of
//! Parquet; the text beside it says whether that is all, and what is needed to go on.

use flowaudit_lake::checkpoint::Position;
use serde::{Deserialize, Serialize};

use crate::decode::Format;

/// Version of what stands beside the position.
const VERSION: u64 = 1;

/// The shard that holds the low watermark. No object has such a key.
pub(super) const WATERMARK: &str = "/watermark";

/// What a checkpoint keeps beside the position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    v: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    done: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    format: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    header: String,
}

/// How far an object was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    /// Decoded bytes, or rows.
    pub(super) at: u64,
    /// Whether that is all.
    pub(super) done: bool,
    /// How its records are written, while it is not done; `None` for Parquet.
    pub(super) format: Option<Format>,
}

impl Reached {
    pub(super) const BEGIN: Reached = Reached {
        at: 0,
        done: false,
        format: None,
    };

    pub(super) fn to_position(&self) -> Position {
        let (format, header) = match &self.format {
            Some(format) if !self.done => format.to_names(),
            _ => ("", String::new()),
        };
        let beside = Beside {
            v: VERSION,
            done: self.done,
            format: format.to_owned(),
            header,
        };
        Position {
            at: self.at,
            resume: serde_json::to_string(&beside).unwrap_or_default(),
        }
    }

    /// `None` where a newer version wrote it.
    pub(super) fn read(position: &Position) -> Option<Reached> {
        let beside: Beside = serde_json::from_str(&position.resume).ok()?;
        let format = match beside.format.as_str() {
            "" => None,
            name => Some(Format::from_names(name, &beside.header)?),
        };
        (beside.v == VERSION).then_some(Reached {
            at: position.at,
            done: beside.done,
            format,
        })
    }
}

/// The shard of an object.
pub(super) fn shard(key: &str, e_tag: &str) -> String {
    format!("{key}@{}", e_tag.trim_matches('"'))
}

/// Key and ETag of a shard.
pub(super) fn object_of(shard: &str) -> Option<(&str, &str)> {
    shard.rsplit_once('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let csv = Format::Csv {
            header: "a,\"b\"".to_owned(),
        };
        for (done, format) in [
            (true, None),
            (false, None),
            (false, Some(csv)),
            (false, Some(Format::JsonLines)),
        ] {
            let reached = Reached {
                at: 7,
                done,
                format,
            };
            assert_eq!(Reached::read(&reached.to_position()), Some(reached));
        }
        let mut newer = Reached::BEGIN.to_position();
        newer.resume = newer.resume.replace("\"v\":1", "\"v\":2");
        assert_eq!(Reached::read(&newer), None);
        assert_eq!(
            object_of(&shard("a@b/c", "\"0F-2\"")),
            Some(("a@b/c", "0F-2"))
        );
    }
}
