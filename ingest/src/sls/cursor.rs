//! Places in a shard, as the service names them.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

/// A cursor has 28 bytes; a longer text than this is none.
const CURSOR_BYTES_MAX: usize = 1024;

/// The service pads cursors, mostly.
const CURSOR: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A place in a shard, as the service names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

impl Cursor {
    /// The number inside, where there is one: what can be compared. Cursors are opaque by contract, and in fact the
    /// base64 of a decimal number.
    ///
    /// ```
    /// use flowaudit_ingest::sls::Cursor;
    /// assert_eq!(Cursor("MTcyOTA3MDYxODQyODA0NDY1NQ==".to_owned()).number(), Some(1729070618428044655));
    /// assert_eq!(Cursor("MTcyOTA3MDYxODQyODA0NDY1NQ".to_owned()).number(), Some(1729070618428044655));
    /// assert_eq!(Cursor("opaque".to_owned()).number(), None);
    /// ```
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let text = CURSOR.decode(&self.0).ok()?;
        let text = std::str::from_utf8(&text).ok()?;
        // The lake counts in signed numbers.
        let number = text.parse().ok()?;
        i64::try_from(number).is_ok().then_some(number)
    }

    /// Whether both name the same place, padded or not.
    #[must_use]
    pub fn is(&self, other: &Cursor) -> bool {
        self.0.trim_end_matches('=') == other.0.trim_end_matches('=')
    }
}

/// Every position that the lake keeps has one.
pub(super) fn is_cursor(text: &str) -> bool {
    (1..=CURSOR_BYTES_MAX).contains(&text.len())
}
