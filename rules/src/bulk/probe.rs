//! A probe line, and why one cannot be answered.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::cluster::Protocol;

/// A longer line is not a probe: two names of at most 253 + 63 characters leave room for blanks and fields of others.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A probe line that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The line is not JSON, or lacks something.
    #[error("not a probe: {message}")]
    NotAProbe {
        /// What the JSON reader says.
        message: String,
    },
    /// More text than a probe can have.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes, which no probe is")]
    TooLong,
    /// The pod is not in the inventory.
    #[error("there is no pod `{0}` in the inventory")]
    UnknownPod(String),
    /// The text is neither.
    #[error("`{0}` is neither `namespace/pod` nor an address")]
    NeitherPodNorAddress(String),
    /// The protocol is none.
    #[error("`{0}` is not an IP protocol")]
    Protocol(String),
    /// The protocol has ports and the probe none.
    #[error("a probe of {0} needs a port")]
    NoPort(Protocol),
}

impl ProbeError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::UnknownPod(_) => {
                "give the pod's manifest or its `kubectl get -o yaml` with --inventory"
            }
            Self::Protocol(_) => "write TCP, UDP, SCTP, ICMP, ICMPv6 or the protocol's number",
            _ => {
                r#"a probe is {"src":"ns/pod" or "ADDR","dst":"ns/pod" or "ADDR","port":80,"protocol":"TCP"}"#
            }
        };
        Some(help.to_owned())
    }
}

/// A question, checked.
pub(super) struct Probe<'p> {
    pub(super) src: Cow<'p, str>,
    pub(super) dst: Cow<'p, str>,
    /// 0 for protocols without.
    pub(super) port: u16,
    pub(super) protocol: Word<'p>,
    /// What `protocol` says.
    pub(super) number: Protocol,
}

#[derive(Deserialize)]
struct Line<'p> {
    #[serde(borrow)]
    src: Cow<'p, str>,
    #[serde(borrow)]
    dst: Cow<'p, str>,
    port: Option<u16>,
    #[serde(borrow, default)]
    protocol: Word<'p>,
}

impl<'p> Probe<'p> {
    /// Reads a line.
    pub(super) fn read(line: &'p str) -> Result<Self, ProbeError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(ProbeError::TooLong);
        }
        let line: Line<'p> = serde_json::from_str(line).map_err(|error| ProbeError::NotAProbe {
            message: error.to_string(),
        })?;
        let number = match &line.protocol {
            Word::Number(number) => u8::try_from(*number).ok().map(Protocol::from_number),
            Word::Text(text) => text.parse().ok(),
        };
        let Some(number) = number else {
            return Err(ProbeError::Protocol(line.protocol.to_string()));
        };
        let port = match line.port {
            Some(port) => port,
            None if number.has_ports() => return Err(ProbeError::NoPort(number)),
            None => 0,
        };
        Ok(Self {
            src: line.src,
            dst: line.dst,
            port,
            protocol: line.protocol,
            number,
        })
    }
}

/// A protocol as the probe wrote it; the answer repeats it.
pub(super) enum Word<'p> {
    Text(Cow<'p, str>),
    Number(u64),
}

impl Default for Word<'_> {
    fn default() -> Self {
        Self::Text(Cow::Borrowed("TCP"))
    }
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&shorten(text)),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl<'de: 'p, 'p> Deserialize<'de> for Word<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl<'de> Visitor<'de> for WordVisitor {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a protocol, by name or number")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Word<'de>, E> {
                Ok(Word::Number(number))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Word<'de>, E> {
                Ok(Word::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Word<'de>, E> {
                Ok(Word::Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_any(WordVisitor)
    }
}

/// What a message repeats of the line.
pub(super) fn shorten(text: &str) -> String {
    crate::kubernetes::tree::shorten(text).into_owned()
}
