//! Builds dictionary-encoded text columns quickly.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, PrimitiveArray, StringArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Collects text of few distinct values as keys into a dictionary.
///
/// Most records repeat the previous value of a column, so that is looked at first; the others cost one hash.
/// The dictionary starts anew with every finished array, so what it holds is bounded by one batch.
#[derive(Debug)]
pub struct KeyBuilder {
    keys: Vec<i32>,
    nulls: NullBufferBuilder,
    distinct: HashTable<i32>,
    text: String,
    /// Invariant: one more entry than there are distinct values; the last one is `text.len()`.
    offsets: Vec<i32>,
    last: i32,
    hasher: FixedState,
}

impl Default for KeyBuilder {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            nulls: NullBufferBuilder::new(0),
            distinct: HashTable::new(),
            text: String::new(),
            offsets: vec![0],
            last: 0,
            hasher: FixedState::default(),
        }
    }
}

impl KeyBuilder {
    /// Adds a value. The distinct values of one array may hold up to 2 GiB of text.
    #[inline]
    pub fn append(&mut self, value: &str) {
        let known = self.offsets.len() - 1;
        let key = if known > 0 && entry(&self.text, &self.offsets, self.last) == value {
            self.last
        } else {
            self.find_or_add(value)
        };
        self.last = key;
        self.keys.push(key);
        self.nulls.append_non_null();
    }

    /// Adds a null.
    #[inline]
    pub fn append_null(&mut self) {
        self.keys.push(0);
        self.nulls.append_null();
    }

    fn find_or_add(&mut self, value: &str) -> i32 {
        let hash = self.hasher.hash_one(value);
        let (text, offsets) = (&self.text, &self.offsets);
        if let Some(key) = self
            .distinct
            .find(hash, |&key| entry(text, offsets, key) == value)
        {
            return *key;
        }
        let key = (self.offsets.len() - 1) as i32;
        let end = self.text.len() + value.len();
        assert!(
            i32::try_from(end).is_ok(),
            "the distinct values of one batch exceed 2 GiB"
        );
        self.text.push_str(value);
        self.offsets.push(end as i32);
        let (text, offsets, hasher) = (&self.text, &self.offsets, &self.hasher);
        self.distinct
            .insert_unique(hash, key, |&key| hasher.hash_one(entry(text, offsets, key)));
        key
    }

    /// The array of what was added; the builder is empty afterwards and keeps its memory.
    pub fn finish(&mut self) -> DictionaryArray<Int32Type> {
        let text = Buffer::from(self.text.as_bytes());
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets.clone()));
        let values = StringArray::new(offsets, text, None);
        let rows = self.keys.len();
        let keys = ScalarBuffer::from(std::mem::replace(&mut self.keys, Vec::with_capacity(rows)));
        let keys = PrimitiveArray::<Int32Type>::new(keys, self.nulls.finish());
        self.distinct.clear();
        self.text.clear();
        self.offsets.truncate(1);
        self.last = 0;
        DictionaryArray::new(keys, Arc::new(values))
    }
}

#[inline]
fn entry<'a>(text: &'a str, offsets: &[i32], key: i32) -> &'a str {
    let key = key as usize;
    &text[offsets[key] as usize..offsets[key + 1] as usize]
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;

    fn read(array: &DictionaryArray<Int32Type>) -> Vec<Option<String>> {
        let values = array
            .values()
            .as_any()
            .downcast_ref::<StringArray>()
            .unwrap();
        array
            .keys()
            .iter()
            .map(|key| key.map(|key| values.value(key as usize).to_string()))
            .collect()
    }

    #[test]
    fn values_come_back_in_order_and_distinct_ones_are_held_once() {
        let mut builder = KeyBuilder::default();
        for value in ["in", "in", "", "out", "in"] {
            builder.append(value);
        }
        builder.append_null();
        builder.append("out");
        let array = builder.finish();
        let expected = [
            Some("in"),
            Some("in"),
            Some(""),
            Some("out"),
            Some("in"),
            None,
            Some("out"),
        ];
        assert_eq!(
            read(&array),
            expected.map(|value| value.map(str::to_string))
        );
        assert_eq!(array.values().len(), 3);
    }

    #[test]
    fn a_finished_builder_starts_anew() {
        let mut builder = KeyBuilder::default();
        builder.append("10.0.3.7");
        assert_eq!(builder.finish().values().len(), 1);
        builder.append_null();
        builder.append("2001:db8::7");
        let array = builder.finish();
        assert_eq!(read(&array), [None, Some("2001:db8::7".to_string())]);
        assert_eq!(array.values().len(), 1);
        assert_eq!(builder.finish().len(), 0);
    }

    #[test]
    fn all_null_is_a_valid_array() {
        let mut builder = KeyBuilder::default();
        builder.append_null();
        assert_eq!(read(&builder.finish()), [None]);
    }
}
