//! `LogGroupList`, the protobuf of a reply → raw records. Borrows everything, allocates nothing per record. Pure.
//!
//! ```text
//! LogContent   { string Key = 1; bytes Value = 2; }
//! Log          { uint32 Time = 1; repeated LogContent Contents = 2; fixed32 Time_ns = 4; }
//! LogTag       { string Key = 1; string Value = 2; }
//! LogGroup     { repeated Log Logs = 1; string Category = 2, Topic = 3, Source = 4, MachineUUID = 5; repeated LogTag LogTags = 6; }
//! LogGroupList { repeated LogGroup LogGroups = 1; }
//! ```
//!
//! Fields that are not known are skipped. A value may be any bytes; one of a known field that is not UTF-8 costs its
//! record, not the reply. `Log.Time` is the writer's time and often far after the traffic: nothing reads it.
//!
//! [`check`] walks a whole reply first, so that one that was damaged on its way is fetched again before anything of it
//! was taken. A test holds the walk against prost.

use std::borrow::Cow;

use thiserror::Error;

use crate::decode::{FIELDS, Field, RawRecord, Unreadable};

/// A log of more pairs than this is not gone by.
const PAIRS_MAX: usize = 64;
/// The tag of field 2, of bytes: a pair of a log.
const PAIR: u8 = 0x12;
/// Groups of the old wire format may be nested this deep.
const DEPTH_MAX: usize = 100;

/// Bytes that are not the protobuf they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The message ends inside a value.
    #[error("the protobuf ends inside a value")]
    CutOff,
    /// A number of more than 64 bits.
    #[error("the protobuf holds a number of more than 64 bits")]
    Overlong,
    /// A tag that cannot be.
    #[error("the protobuf holds a tag that cannot be")]
    Tag,
    /// A known field of another kind.
    #[error("the protobuf has a known field of another kind")]
    Kind,
}

/// What a reply holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Log groups.
    pub groups: u64,
    /// Records in them.
    pub logs: u64,
}

/// Walks every field of a reply; afterwards its records can be taken without surprise.
pub fn check(list: &[u8]) -> Result<Tally, Malformed> {
    let mut tally = Tally::default();
    for group in groups(list) {
        let mut rest = group?;
        tally.groups += 1;
        while let Some((number, value)) = next(&mut rest)? {
            match number {
                1 => {
                    tally.logs += 1;
                    check_log(value.bytes()?)?;
                }
                2..=5 => drop(value.bytes()?),
                6 => check_pair(value.bytes()?)?,
                _ => {}
            }
        }
    }
    Ok(tally)
}

fn check_log(mut log: &[u8]) -> Result<(), Malformed> {
    loop {
        if let Some((encoded, ..)) = short_pair(log) {
            log = log.get(encoded.len()..).unwrap_or_default();
            continue;
        }
        let Some((number, value)) = next(&mut log)? else {
            return Ok(());
        };
        match (number, value) {
            (2, value) => check_pair(value.bytes()?)?,
            (1, Value::Varint) | (4, Value::Fixed32) => {}
            (1 | 4, _) => return Err(Malformed::Kind),
            _ => {}
        }
    }
}

fn check_pair(mut pair: &[u8]) -> Result<(), Malformed> {
    while let Some((number, value)) = next(&mut pair)? {
        if matches!(number, 1 | 2) {
            value.bytes()?;
        }
    }
    Ok(())
}

/// The log groups of a reply, in the order in which the service received them.
pub fn groups(list: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    repeated(list)
}

/// The logs of a group.
pub fn logs(group: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    repeated(group)
}

/// The values of field 1 of a message. Ends after a mistake.
fn repeated(mut message: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    std::iter::from_fn(move || {
        loop {
            let one = match next(&mut message) {
                Ok(None) => return None,
                Ok(Some((1, value))) => value.bytes(),
                Ok(Some(_)) => continue,
                Err(malformed) => Err(malformed),
            };
            if one.is_err() {
                message = &[];
            }
            return Some(one);
        }
    })
}

/// The key-value pairs of a log, as bytes. Ends after a mistake.
pub fn contents(mut log: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Malformed>> {
    std::iter::from_fn(move || {
        let one = next_pair(&mut log).transpose()?;
        if one.is_err() {
            log = &[];
        }
        Some(one.map(|(_, key, value)| (key, value)))
    })
}

/// The next pair of a log: as it is encoded if that is in the usual form, its key and its value.
#[expect(clippy::type_complexity, reason = "three parts of one slice")]
fn next_pair<'a>(
    log: &mut &'a [u8],
) -> Result<Option<(Option<&'a [u8]>, &'a [u8], &'a [u8])>, Malformed> {
    loop {
        if let Some((encoded, key, value)) = short_pair(log) {
            *log = log.get(encoded.len()..).unwrap_or_default();
            return Ok(Some((Some(encoded), key, value)));
        }
        match next(log)? {
            None => return Ok(None),
            Some((2, value)) => {
                let (key, value) = pair(value.bytes()?)?;
                return Ok(Some((None, key, value)));
            }
            Some(_) => {}
        }
    }
}

/// The pair at the front of a log, as it is encoded, its key and its value, if it has the usual form: the key before the
/// value, nothing beside them, each length in one byte.
#[inline]
fn short_pair(log: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let [PAIR, length @ ..0x80, inner @ ..] = log else {
        return None;
    };
    let inner = inner.get(..usize::from(*length))?;
    let [0x0a, key_length @ ..0x80, inner @ ..] = inner else {
        return None;
    };
    let (key, inner) = inner.split_at_checked(usize::from(*key_length))?;
    let [0x12, value_length @ ..0x80, value @ ..] = inner else {
        return None;
    };
    if value.len() != usize::from(*value_length) {
        return None;
    }
    let encoded = log.get(..2 + usize::from(*length))?;
    Some((encoded, key, value))
}

fn pair(mut bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut text): (&[u8], &[u8]) = (&[], &[]);
    while let Some((number, value)) = next(&mut bytes)? {
        match number {
            1 => key = value.bytes()?,
            2 => text = value.bytes()?,
            _ => {}
        }
    }
    Ok((key, text))
}

/// Why a log is not a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotARecord {
    /// The reply is damaged; [`check`] would have said so.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The log is not a flow-log record.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Turns the logs of a reply into records, one after the other. The logs of a flow log have the same keys in the same
/// order, and half of their values again and again: a pair of the very bytes it had in the log before costs one
/// comparison, another value of the same key no look-up.
#[derive(Debug, Default)]
pub struct LogDecoder<'a> {
    record: RawRecord<'a>,
    /// The pairs of the log that `record` is from, in order; empty unless they are few, each of the usual form and no
    /// two of them the same field.
    before: Vec<Pair<'a>>,
}

/// A pair as it stood in a log.
#[derive(Debug)]
struct Pair<'a> {
    encoded: &'a [u8],
    key: &'a [u8],
    field: Option<Field>,
}

impl<'a> LogDecoder<'a> {
    /// One log as a record; unknown keys are passed over.
    pub fn record(&mut self, log: &'a [u8]) -> Result<&RawRecord<'a>, NotARecord> {
        if !self.reads_as_before(log)? {
            self.read_afresh(log)?;
        }
        Ok(&self.record)
    }

    /// Makes `record` what the log says, if it has the keys of the log before in the same order.
    fn reads_as_before(&mut self, log: &'a [u8]) -> Result<bool, Malformed> {
        if self.before.is_empty() {
            return Ok(false);
        }
        let mut rest = log;
        // The time stands before the pairs.
        while !matches!(rest, [PAIR, ..]) {
            if next(&mut rest)?.is_none() {
                return Ok(false);
            }
        }
        for pair in &mut self.before {
            if let Some(after) = rest.strip_prefix(pair.encoded) {
                rest = after;
                continue;
            }
            let Some((encoded, key, value)) = short_pair(rest) else {
                return Ok(false);
            };
            if key != pair.key {
                return Ok(false);
            }
            if let Some(field) = pair.field {
                let Ok(text) = std::str::from_utf8(value) else {
                    return Ok(false);
                };
                self.record.replace(field, text);
            }
            pair.encoded = encoded;
            rest = rest.get(encoded.len()..).unwrap_or_default();
        }
        // Nanoseconds may stand behind them.
        while let Some((number, _)) = next(&mut rest)? {
            if number == 2 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_afresh(&mut self, log: &'a [u8]) -> Result<(), NotARecord> {
        self.record.clear();
        let mut pairs = std::mem::take(&mut self.before);
        pairs.clear();
        let (mut rest, mut usual, mut seen) = (log, true, [false; FIELDS]);
        while let Some((encoded, key, value)) = next_pair(&mut rest)? {
            let field = Field::from_name(key);
            if let Some(field) = field {
                usual &= !std::mem::replace(&mut seen[field as usize], true);
                let text = std::str::from_utf8(value).map_err(|error| Unreadable::NotUtf8 {
                    at: error.valid_up_to(),
                })?;
                self.record.set(field, Cow::Borrowed(text))?;
            }
            match encoded {
                Some(encoded) if pairs.len() < PAIRS_MAX => pairs.push(Pair {
                    encoded,
                    key,
                    field,
                }),
                _ => usual = false,
            }
        }
        if !seen.contains(&true) {
            return Err(Unreadable::NoField.into());
        }
        if usual {
            self.before = pairs;
        }
        Ok(())
    }
}

/// A log as one line of JSON, to be kept with the rejects: at most about `max` bytes of it, what is not UTF-8
/// replaced.
#[must_use]
pub fn to_json(log: &[u8], max: usize) -> String {
    let mut line = String::from("{");
    for (key, value) in contents(log).map_while(Result::ok) {
        if line.len() >= max {
            break;
        }
        if line.len() > 1 {
            line.push(',');
        }
        let part = |bytes: &[u8]| {
            let kept = bytes.get(..bytes.len().min(max)).unwrap_or_default();
            serde_json::Value::from(String::from_utf8_lossy(kept)).to_string()
        };
        line += &part(key);
        line.push(':');
        line += &part(value);
    }
    line.push('}');
    line
}

/// A value of the wire.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint,
    Fixed32,
    /// 64 bits, or a skipped group: no field of ours is one.
    Other,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::Kind),
        }
    }
}

/// The next field of a message: its number and value.
#[inline]
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<(u32, Value<'a>)>, Malformed> {
    if rest.is_empty() {
        return Ok(None);
    }
    let (number, kind) = tag(rest)?;
    value(rest, number, kind, DEPTH_MAX).map(|value| Some((number, value)))
}

fn value<'a>(
    rest: &mut &'a [u8],
    number: u32,
    kind: u8,
    depth: usize,
) -> Result<Value<'a>, Malformed> {
    Ok(match kind {
        0 => {
            varint(rest)?;
            Value::Varint
        }
        1 => {
            take(rest, 8)?;
            Value::Other
        }
        2 => {
            let length = varint(rest)?;
            Value::Bytes(take(rest, length)?)
        }
        3 => {
            let depth = depth.checked_sub(1).ok_or(Malformed::Tag)?;
            loop {
                match tag(rest)? {
                    (end, 4) if end == number => break Value::Other,
                    (_, 4) => return Err(Malformed::Tag),
                    (number, kind) => drop(value(rest, number, kind, depth)?),
                }
            }
        }
        5 => {
            take(rest, 4)?;
            Value::Fixed32
        }
        _ => return Err(Malformed::Tag),
    })
}

#[inline]
fn tag(rest: &mut &[u8]) -> Result<(u32, u8), Malformed> {
    let tag = u32::try_from(varint(rest)?).map_err(|_| Malformed::Tag)?;
    match tag >> 3 {
        0 => Err(Malformed::Tag),
        number => Ok((number, (tag & 7) as u8)),
    }
}

#[inline]
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    // Nearly all are lengths and tags of one byte.
    if let [byte @ ..0x80, tail @ ..] = *rest {
        *rest = tail;
        return Ok(u64::from(*byte));
    }
    let mut number = 0_u64;
    for at in 0..10 {
        let byte = *rest.get(at).ok_or(Malformed::CutOff)?;
        if at == 9 && byte > 1 {
            return Err(Malformed::Overlong);
        }
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *rest = rest.get(at + 1..).unwrap_or_default();
            return Ok(number);
        }
    }
    Err(Malformed::Overlong)
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed::CutOff)?;
    let (taken, tail) = rest.split_at_checked(length).ok_or(Malformed::CutOff)?;
    *rest = tail;
    Ok(taken)
}

#[cfg(test)]
mod tests;
