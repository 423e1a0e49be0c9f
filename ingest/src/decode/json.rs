//! One JSON object → [`RawRecord`].
//!
//! The objects of a flow log are flat and their values short, so the walk over keys and plain values is our own and
//! borrows everything; a value with an escape, and a nested value, go to serde_json. A test holds the whole against
//! serde_json. Keys come in the same order in every line of a file, so the decoder remembers the last order and only
//! compares.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::{Field, RawRecord, Unreadable, as_text};

/// More keys than this are not remembered; they are looked up each time.
const REMEMBERED_KEYS_MAX: usize = 64;

/// Decodes objects one after the other.
#[derive(Debug, Default)]
pub struct JsonDecoder {
    /// The keys of the last object in their order, and what they mean.
    remembered: Vec<(Box<str>, Option<Field>)>,
}

/// Decodes one object on its own.
///
/// ```
/// use flowaudit_ingest::decode::{json, Field};
/// let record = json::record(br#"{"src_addr":"10.0.3.7","srcPort":80,"vm-id":"-","extra":[1]}"#).unwrap();
/// assert_eq!(record.get(Field::SrcAddr), Some("10.0.3.7"));
/// assert_eq!(record.get(Field::SrcPort), Some("80"));
/// assert_eq!(record.get(Field::VmId), None);
/// ```
pub fn record(object: &[u8]) -> Result<RawRecord<'_>, Unreadable> {
    JsonDecoder::default().record(object)
}

impl JsonDecoder {
    /// Decodes one object; unknown keys are passed over, numbers keep the text they were written in.
    pub fn record<'a>(&mut self, object: &'a [u8]) -> Result<RawRecord<'a>, Unreadable> {
        let mut walk = Walk {
            text: as_text(object)?,
            at: 0,
        };
        let mut record = RawRecord::default();
        walk.expect(b'{', "`{`")?;
        let mut key_number = 0;
        let mut known = false;
        if !walk.take(b'}') {
            loop {
                let key = walk.string()?;
                let field = self.field(key_number, &key);
                key_number += 1;
                walk.expect(b':', "`:`")?;
                let value = walk.value()?;
                if let Some(field) = field {
                    known = true;
                    match value {
                        Value::Text(text) => record.set(field, text)?,
                        Value::Null => {}
                        Value::Nested => return Err(Unreadable::NotAScalar { field }),
                    }
                }
                if walk.take(b'}') {
                    break;
                }
                walk.expect(b',', "`,` or `}`")?;
            }
        }
        walk.blanks();
        if walk.at != walk.text.len() {
            return Err(walk.wrong("the end of the line"));
        }
        if known {
            Ok(record)
        } else {
            Err(Unreadable::NoField)
        }
    }

    /// What the `number`-th key means, by comparing with the object before where possible.
    fn field(&mut self, number: usize, key: &str) -> Option<Field> {
        if let Some((remembered, field)) = self.remembered.get(number)
            && **remembered == *key
        {
            return *field;
        }
        let field = Field::from_name(key.as_bytes());
        if let Some(slot) = self.remembered.get_mut(number) {
            *slot = (key.into(), field);
        } else if number == self.remembered.len() && number < REMEMBERED_KEYS_MAX {
            self.remembered.push((key.into(), field));
        }
        field
    }
}

enum Value<'a> {
    Text(Cow<'a, str>),
    Null,
    Nested,
}

/// A place in the text of one object.
struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Unreadable> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.wrong(expected))
        }
    }

    fn wrong(&self, expected: &'static str) -> Unreadable {
        Unreadable::NotJson {
            expected,
            at: self.at,
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(self.wrong("`\"`"));
        }
        let begin = self.at + 1;
        let bytes = self.text.as_bytes().get(begin..).unwrap_or_default();
        for (length, &byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.at = begin + length + 1;
                    return Ok(Cow::Borrowed(
                        self.text.get(begin..begin + length).unwrap_or_default(),
                    ));
                }
                b'\\' => return self.by_serde::<String>().map(Cow::Owned),
                0..=0x1f => {
                    self.at = begin + length;
                    return Err(self.wrong("text without control characters"));
                }
                _ => {}
            }
        }
        self.at = self.text.len();
        Err(self.wrong("`\"`"))
    }

    fn value(&mut self) -> Result<Value<'a>, Unreadable> {
        self.blanks();
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Text),
            Some(b'{' | b'[') => self.by_serde::<IgnoredAny>().map(|_| Value::Nested),
            _ => {
                for (word, value) in [
                    ("null", Value::Null),
                    ("true", Value::Text(Cow::Borrowed("true"))),
                    ("false", Value::Text(Cow::Borrowed("false"))),
                ] {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.wrong("a value"))
            }
        }
    }

    fn number(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        let begin = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Cow::Borrowed(
            self.text.get(begin..self.at).unwrap_or_default(),
        ))
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == begin {
            Err(self.wrong("a digit"))
        } else {
            Ok(())
        }
    }

    /// Reads the value that begins here with serde_json, which bounds the nesting.
    fn by_serde<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Unreadable> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            _ => Err(self.wrong("a whole value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_refused(object: &str, reason: &str) {
        assert_eq!(
            record(object.as_bytes()).unwrap_err().to_string(),
            reason,
            "{object}"
        );
    }

    #[test]
    fn values_of_every_kind() {
        let object = r#" { "srcaddr" : "10.0.0.1", "start":1720775420, "bytes":1.5e3, "vm-id":null, "region":"cn\u002dhangzhou",
                          "x":{"srcaddr":"no"}, "y":[[],"}"], "action":true } "#;
        let record = record(object.as_bytes()).unwrap();
        assert_eq!(record.get(Field::SrcAddr), Some("10.0.0.1"));
        assert_eq!(record.get(Field::Start), Some("1720775420"));
        assert_eq!(record.get(Field::Bytes), Some("1.5e3"));
        assert_eq!(record.get(Field::VmId), None);
        assert_eq!(record.get(Field::Region), Some("cn-hangzhou"));
        assert_eq!(record.get(Field::Action), Some("true"));
        assert_eq!(record.len(), 5);
    }

    #[test]
    fn what_is_no_object_says_where() {
        check_refused("", "not a JSON object: expected `{` at byte 0");
        check_refused("[]", "not a JSON object: expected `{` at byte 0");
        check_refused("{}", "no field of a flow log in it");
        check_refused(r#"{"a":1}"#, "no field of a flow log in it");
        check_refused(
            r#"{"srcaddr":"10.0.0.1""#,
            "not a JSON object: expected `,` or `}` at byte 21",
        );
        check_refused(
            r#"{"srcaddr":"10.0.0.1","#,
            "not a JSON object: expected `\"` at byte 22",
        );
        check_refused(
            r#"{"srcaddr":"10.0.0"#,
            "not a JSON object: expected `\"` at byte 18",
        );
        check_refused(
            r#"{"srcaddr":"a"} {"#,
            "not a JSON object: expected the end of the line at byte 16",
        );
        check_refused(
            r#"{"srcaddr":["10.0.0.1"]}"#,
            "field `srcaddr` holds neither text nor a number",
        );
        check_refused(
            r#"{"srcaddr":"10.0.0.1","src_addr":"10.0.0.2"}"#,
            "field `srcaddr` is given twice with different values",
        );
        check_refused("{\"srcaddr\":\"\0\"}", "byte 12 is NUL");
        check_refused(
            "{\"srcaddr\":\"\u{1}\"}",
            "not a JSON object: expected text without control characters at byte 12",
        );
        check_refused(
            r#"{"start":01}"#,
            "not a JSON object: expected `,` or `}` at byte 10",
        );
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        check_refused(&deep, "not a JSON object: expected a whole value at byte 5");
        assert_eq!(
            record(b"{\"srcaddr\":\"\xff\"}"),
            Err(Unreadable::NotUtf8 { at: 12 })
        );
    }

    #[test]
    fn a_changed_order_of_keys_is_noticed() {
        let mut decoder = JsonDecoder::default();
        for object in [
            r#"{"srcaddr":"a","dstaddr":"b"}"#,
            r#"{"dstaddr":"b","srcaddr":"a"}"#,
            r#"{"x":1,"srcaddr":"a","y":2,"dstaddr":"b"}"#,
            r#"{"src\u0061ddr":"a","dstaddr":"b"}"#,
        ] {
            let record = decoder.record(object.as_bytes()).unwrap();
            assert_eq!(
                (record.get(Field::SrcAddr), record.get(Field::DstAddr)),
                (Some("a"), Some("b")),
                "{object}"
            );
        }
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            (-1e300_f64..1e300).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
            "[a-z\"\\\\\n]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map("[a-z]{1,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn broken(text: String, cuts: &[(prop::sample::Index, u8)]) -> Vec<u8> {
        let mut bytes = text.into_bytes();
        for (place, byte) in cuts {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        bytes
    }

    proptest! {
        #[test]
        fn serde_json_reads_the_same(
            object in prop::collection::vec(("[a-z]{1,4}|srcaddr|start|\\PC{0,3}", values()), 0..6),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\ 0a-.e\n\x01\xff".to_vec())), 0..3),
        ) {
            let map: serde_json::Map<String, serde_json::Value> = object.into_iter().collect();
            let bytes = broken(serde_json::Value::Object(map).to_string(), &cuts);
            let theirs = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes);
            match (record(&bytes), theirs) {
                (Ok(ours), Ok(theirs)) => {
                    let text = theirs.get("srcaddr").and_then(|value| value.as_str()).map(str::trim_ascii);
                    if let Some(text) = text && theirs.keys().filter(|key| Field::from_name(key.as_bytes()).is_some()).count() == 1
                        && !matches!(text, "" | "-" | "\\N") {
                        prop_assert_eq!(ours.get(Field::SrcAddr), Some(text));
                    }
                }
                (Err(Unreadable::NotJson { .. }), theirs) => prop_assert!(theirs.is_err(), "{:?}", theirs),
                (Err(Unreadable::NotUtf8 { .. } | Unreadable::Nul { .. }), theirs) => prop_assert!(theirs.is_err()),
                // serde_json refuses numbers that no f64 holds; ours keeps their text.
                (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{}", error),
                (Err(_), _) => {}
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = record(&bytes);
        }
    }
}
