//! The kinds of column: how a Rust value becomes Arrow and back.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, PrimitiveArray, StringArray};

use super::{ColumnType, KeyBuilder};

/// A kind of column: which Rust value it holds and how that becomes Arrow and back.
pub trait Kind {
    /// The value as an owned row holds it.
    type Owned: Clone + Debug + PartialEq;
    /// The value as it is passed to a builder or lent by a batch.
    type Ref<'a>: Copy;
    /// Collects values into an array.
    type Builder: Default + Debug;
    /// Reads values out of an array.
    type Reader<'a>: Values<Self::Ref<'a>>;

    /// The column type.
    const TYPE: ColumnType;

    /// Lends an owned value.
    fn lend(value: &Self::Owned) -> Self::Ref<'_>;
    /// Keeps a lent value.
    fn keep(value: Self::Ref<'_>) -> Self::Owned;
    /// Bytes of text in a value, to keep batches bounded.
    fn text_bytes(_value: &Self::Owned) -> usize {
        0
    }
    /// Adds a value.
    fn append(builder: &mut Self::Builder, value: Self::Ref<'_>);
    /// Adds a null.
    fn append_null(builder: &mut Self::Builder);
    /// The array of everything added; the builder is empty afterwards.
    fn finish(builder: &mut Self::Builder) -> ArrayRef;
    /// A reader of `array`, or `None` when the array has another type.
    fn reader(array: &dyn Array) -> Option<Self::Reader<'_>>;
    /// The reader of a column that a file does not have; `None` when the column may not be null.
    fn absent<'a>() -> Option<Self::Reader<'a>> {
        None
    }
}

/// Hands out the values of one array.
pub trait Values<V> {
    /// The value of one row; `None` when it is null and may not be.
    fn get(&self, row: usize) -> Option<V>;
}

/// [`ColumnType::Key`].
#[derive(Debug)]
pub enum Key {}
/// [`ColumnType::Text`].
#[derive(Debug)]
pub enum Text {}
/// [`ColumnType::Json`].
#[derive(Debug)]
pub enum Json {}
/// [`ColumnType::Time`].
#[derive(Debug)]
pub enum Time {}
/// [`ColumnType::Int`].
#[derive(Debug)]
pub enum Int {}
/// [`ColumnType::Count`].
#[derive(Debug)]
pub enum Count {}
/// [`ColumnType::Flag`].
#[derive(Debug)]
pub enum Flag {}

/// A column of kind `K` that may be null.
#[derive(Debug)]
pub struct Nullable<K>(std::marker::PhantomData<K>);

impl<K: Kind> Kind for Nullable<K> {
    type Owned = Option<K::Owned>;
    type Ref<'a> = Option<K::Ref<'a>>;
    type Builder = K::Builder;
    type Reader<'a> = NullableReader<'a, K>;
    const TYPE: ColumnType = K::TYPE;

    fn lend(value: &Self::Owned) -> Self::Ref<'_> {
        value.as_ref().map(K::lend)
    }
    fn keep(value: Self::Ref<'_>) -> Self::Owned {
        value.map(K::keep)
    }
    fn text_bytes(value: &Self::Owned) -> usize {
        value.as_ref().map_or(0, K::text_bytes)
    }
    #[inline]
    fn append(builder: &mut Self::Builder, value: Self::Ref<'_>) {
        match value {
            Some(value) => K::append(builder, value),
            None => K::append_null(builder),
        }
    }
    fn append_null(builder: &mut Self::Builder) {
        K::append_null(builder);
    }
    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        K::finish(builder)
    }
    fn reader(array: &dyn Array) -> Option<Self::Reader<'_>> {
        let present = Some(K::reader(array)?);
        Some(NullableReader { present })
    }
    fn absent<'a>() -> Option<Self::Reader<'a>> {
        Some(NullableReader { present: None })
    }
}

/// Reads a column that may hold nulls, or may not be there at all.
pub struct NullableReader<'a, K: Kind> {
    present: Option<K::Reader<'a>>,
}

impl<'a, K: Kind> Values<Option<K::Ref<'a>>> for NullableReader<'a, K> {
    #[inline]
    fn get(&self, row: usize) -> Option<Option<K::Ref<'a>>> {
        Some(self.present.as_ref().and_then(|reader| reader.get(row)))
    }
}

/// Reads text through its dictionary, or plain text as other writers store it.
pub enum TextReader<'a> {
    /// Keys into a dictionary.
    Keys(&'a DictionaryArray<Int32Type>, &'a StringArray),
    /// Plain text.
    Plain(&'a StringArray),
}

impl<'a> TextReader<'a> {
    fn new(array: &'a dyn Array) -> Option<Self> {
        if let Some(keys) = array.as_dictionary_opt::<Int32Type>() {
            return Some(Self::Keys(keys, keys.values().as_string_opt()?));
        }
        array.as_string_opt().map(Self::Plain)
    }
}

impl<'a> Values<&'a str> for TextReader<'a> {
    #[inline]
    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Keys(keys, values) => {
                if keys.is_null(row) {
                    return None;
                }
                let key = keys.keys().value(row) as usize;
                values.is_valid(key).then(|| values.value(key))
            }
            Self::Plain(values) => values.is_valid(row).then(|| values.value(row)),
        }
    }
}

impl Kind for Key {
    type Owned = String;
    type Ref<'a> = &'a str;
    type Builder = KeyBuilder;
    type Reader<'a> = TextReader<'a>;
    const TYPE: ColumnType = ColumnType::Key;

    fn lend(value: &String) -> &str {
        value
    }
    fn keep(value: &str) -> String {
        value.to_string()
    }
    fn text_bytes(value: &String) -> usize {
        value.len()
    }
    #[inline]
    fn append(builder: &mut KeyBuilder, value: &str) {
        builder.append(value);
    }
    #[inline]
    fn append_null(builder: &mut KeyBuilder) {
        builder.append_null();
    }
    fn finish(builder: &mut KeyBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
    fn reader(array: &dyn Array) -> Option<TextReader<'_>> {
        TextReader::new(array)
    }
}

macro_rules! text_kind {
    ($kind:ident) => {
        impl Kind for $kind {
            type Owned = String;
            type Ref<'a> = &'a str;
            type Builder = StringBuilder;
            type Reader<'a> = TextReader<'a>;
            const TYPE: ColumnType = ColumnType::$kind;

            fn lend(value: &String) -> &str {
                value
            }
            fn keep(value: &str) -> String {
                value.to_string()
            }
            fn text_bytes(value: &String) -> usize {
                value.len()
            }
            #[inline]
            fn append(builder: &mut StringBuilder, value: &str) {
                builder.append_value(value);
            }
            fn append_null(builder: &mut StringBuilder) {
                builder.append_null();
            }
            fn finish(builder: &mut StringBuilder) -> ArrayRef {
                Arc::new(builder.finish())
            }
            fn reader(array: &dyn Array) -> Option<TextReader<'_>> {
                TextReader::new(array)
            }
        }
    };
}
text_kind!(Text);
text_kind!(Json);

macro_rules! number_kind {
    ($kind:ident, $native:ty, $arrow:ty, $builder:ty, $finish:expr) => {
        impl Kind for $kind {
            type Owned = $native;
            type Ref<'a> = $native;
            type Builder = $builder;
            type Reader<'a> = &'a PrimitiveArray<$arrow>;
            const TYPE: ColumnType = ColumnType::$kind;

            fn lend(value: &$native) -> $native {
                *value
            }
            fn keep(value: $native) -> $native {
                value
            }
            #[inline]
            fn append(builder: &mut $builder, value: $native) {
                builder.append_value(value);
            }
            #[inline]
            fn append_null(builder: &mut $builder) {
                builder.append_null();
            }
            fn finish(builder: &mut $builder) -> ArrayRef {
                let finish: fn(PrimitiveArray<$arrow>) -> PrimitiveArray<$arrow> = $finish;
                Arc::new(finish(builder.finish()))
            }
            fn reader(array: &dyn Array) -> Option<&PrimitiveArray<$arrow>> {
                array.as_primitive_opt::<$arrow>()
            }
        }

        impl Values<$native> for &PrimitiveArray<$arrow> {
            #[inline]
            fn get(&self, row: usize) -> Option<$native> {
                self.is_valid(row).then(|| self.value(row))
            }
        }
    };
}
number_kind!(Int, i32, Int32Type, Int32Builder, |array| array);
number_kind!(Count, i64, Int64Type, Int64Builder, |array| array);
number_kind!(
    Time,
    i64,
    TimestampMicrosecondType,
    TimestampMicrosecondBuilder,
    |array| array.with_timezone("UTC")
);

impl Kind for Flag {
    type Owned = bool;
    type Ref<'a> = bool;
    type Builder = BooleanBuilder;
    type Reader<'a> = &'a BooleanArray;
    const TYPE: ColumnType = ColumnType::Flag;

    fn lend(value: &bool) -> bool {
        *value
    }
    fn keep(value: bool) -> bool {
        value
    }
    fn append(builder: &mut BooleanBuilder, value: bool) {
        builder.append_value(value);
    }
    fn append_null(builder: &mut BooleanBuilder) {
        builder.append_null();
    }
    fn finish(builder: &mut BooleanBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
    fn reader(array: &dyn Array) -> Option<&BooleanArray> {
        array.as_boolean_opt()
    }
}

impl Values<bool> for &BooleanArray {
    fn get(&self, row: usize) -> Option<bool> {
        self.is_valid(row).then(|| self.value(row))
    }
}
