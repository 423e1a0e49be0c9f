//! Checksums: of data files while they are written, and of our own JSON files in their last field. Pure.
//!
//! CRC-32C (Castagnoli, RFC 3720 B.4): every single flipped bit and every burst of up to 32 bits is found. It is held
//! against damage, not against forgery.

use std::fmt;
use std::str::FromStr;

use crc_fast::CrcAlgorithm::Crc32Iscsi;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A CRC-32C, written as eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum(pub u32);

/// A text that is no [`Checksum`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a checksum is eight hexadecimal digits in lower case")]
pub struct ChecksumError;

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        let value = u32::from_str_radix(text, 16).map_err(|_| ChecksumError)?;
        let checksum = Self(value);
        // One form only, so that a damaged text is never taken for a sound one.
        (checksum.to_string() == text)
            .then_some(checksum)
            .ok_or(ChecksumError)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Sums up bytes as they pass.
#[derive(Debug, Clone)]
pub struct Digest(crc_fast::Digest);

impl Default for Digest {
    fn default() -> Self {
        Self(crc_fast::Digest::new(Crc32Iscsi))
    }
}

impl Digest {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything added so far.
    pub fn value(&self) -> Checksum {
        // The algorithm has 32 bits; the library hands all widths out in 64.
        Checksum(self.0.finalize() as u32)
    }
}

/// The checksum of some bytes.
pub fn checksum(bytes: &[u8]) -> Checksum {
    let mut digest = Digest::default();
    digest.update(bytes);
    digest.value()
}

const SEAL: &str = ",\"crc32c\":\"";
const SEAL_END: &str = "\"}\n";
const DIGITS: usize = 8;

/// Why a sealed text cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It does not end in a checksum.
    #[error("it does not end in its checksum")]
    Absent,
    /// The checksum is that of another text.
    #[error("its checksum is {found}, and it says {recorded}")]
    Mismatch {
        /// Of the text.
        found: Checksum,
        /// What it ends in.
        recorded: Checksum,
    },
}

/// Adds the checksum of everything before it as last field. `json` is one object on one line.
pub(crate) fn seal(mut json: Vec<u8>) -> Vec<u8> {
    let body = json.trim_ascii_end().len().saturating_sub(1);
    json.truncate(body);
    let sum = checksum(&json);
    json.extend_from_slice(format!("{SEAL}{sum}{SEAL_END}").as_bytes());
    json
}

/// Takes the checksum off again: the object without it.
pub(crate) fn unseal(bytes: &[u8]) -> Result<Vec<u8>, SealError> {
    let rest = bytes.strip_suffix(SEAL_END.as_bytes());
    let rest = rest.ok_or(SealError::Absent)?;
    let at = rest.len().checked_sub(DIGITS).ok_or(SealError::Absent)?;
    let (rest, digits) = rest.split_at(at);
    let body = rest
        .strip_suffix(SEAL.as_bytes())
        .ok_or(SealError::Absent)?;
    let recorded = std::str::from_utf8(digits).ok();
    let recorded = recorded.and_then(|digits| digits.parse::<Checksum>().ok());
    let recorded = recorded.ok_or(SealError::Absent)?;
    let found = checksum(body);
    if found != recorded {
        return Err(SealError::Mismatch { found, recorded });
    }
    let mut inner = body.to_vec();
    inner.push(b'}');
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_sums_of_rfc_3720() {
        // Appendix B.4, whose bytes are printed in transmission order.
        assert_eq!(checksum(&[0; 32]), Checksum(0x8a91_36aa));
        assert_eq!(checksum(&[0xff; 32]), Checksum(0x62a8_ab43));
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(checksum(&rising), Checksum(0x46dd_794e));
        // The check value of every catalogue of CRCs.
        assert_eq!(checksum(b"123456789"), Checksum(0xe306_9283));
    }

    #[test]
    fn one_form_only() {
        assert_eq!("0000002a".parse(), Ok(Checksum(42)));
        for text in ["2a", "0000002A", "+000002a", "00000002a", "", "0000002g"] {
            assert_eq!(text.parse::<Checksum>(), Err(ChecksumError), "{text}");
        }
    }

    #[test]
    fn every_flipped_bit_breaks_the_seal() {
        let sealed = seal(b"{\"version\":2,\"number\":7}\n".to_vec());
        assert_eq!(
            unseal(&sealed).unwrap(),
            b"{\"version\":2,\"number\":7}".as_slice()
        );
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut bytes = sealed.clone();
                bytes[at] ^= 1 << bit;
                assert!(unseal(&bytes).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert!(unseal(&sealed[..sealed.len() - 1]).is_err());
        assert!(unseal(b"").is_err());
    }

    proptest! {
        #[test]
        fn pieces_add_up(bytes: Vec<u8>, cut: prop::sample::Index) {
            let at = cut.index(bytes.len() + 1);
            let mut digest = Digest::default();
            digest.update(&bytes[..at]);
            digest.update(&bytes[at..]);
            prop_assert_eq!(digest.value(), checksum(&bytes));
        }

        #[test]
        fn what_is_sealed_is_unsealed(text in "[a-z\",:]{0,80}") {
            let json = format!("{{{text}}}");
            prop_assert_eq!(unseal(&seal(format!("{json}\n").into_bytes())), Ok(json.into_bytes()));
        }
    }
}
