//! Numbers of bytes as people write them.

use std::fmt::Display;
use std::str::FromStr;

/// A number of bytes: `512KiB`, `64MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sized = UNITS.iter().find_map(|(unit, bytes)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(*bytes)
        });
        sized.map(Size).ok_or_else(|| {
            format!("`{text}` is not a size: write a number and B, KiB, MiB or GiB, as in `64MiB`")
        })
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, bytes)| self.0.is_multiple_of(*bytes));
        let (unit, bytes) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_units() {
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!(Size(1536 << 10).to_string(), "1536KiB");
        for wrong in [
            "",
            "64",
            "MiB",
            "-1MiB",
            "1.5GiB",
            "99999999999999999GiB",
            "64MB",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
