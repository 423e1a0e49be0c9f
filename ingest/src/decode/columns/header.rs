//! What a page or a footer of Parquet announces, checked before anything is done about it. Pure.
//!
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>

use parquet::basic::Encoding;

use super::thrift::{FALSE, Field, I32, LIST, STRUCT, TRUE, Thrift};

/// Columns within columns, and how many there are in all: schemas of flow logs are flat.
const SCHEMA_DEPTH_MAX: usize = 16;
const SCHEMA_ELEMENTS_MAX: u64 = 4096;

/// The header of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Length of what follows it, in bytes.
    pub(super) packed: usize,
    /// The same, unpacked.
    pub(super) unpacked: usize,
    pub(super) kind: Kind,
}

/// What the page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dictionary {
        values: u32,
        encoding: Encoding,
        sorted: bool,
    },
    Data {
        values: u32,
        encoding: Encoding,
        /// Whether definition levels, if there are any, are written as RLE. Where there are none, writers say anything.
        levels_rle: bool,
    },
    DataV2 {
        values: u32,
        encoding: Encoding,
        nulls: u32,
        /// Bytes of definition levels.
        levels: u32,
        packed: bool,
    },
    /// Nothing that is needed.
    Other,
}

/// The numbers of a structure by field id, as far as they are numbers.
#[derive(Debug, Default)]
struct Numbers([Option<i32>; 9]);

impl Numbers {
    fn read(thrift: &mut Thrift<'_>) -> Option<Numbers> {
        let mut numbers = Numbers::default();
        let mut before = 0;
        while let Some(Field { id, kind }) = thrift.field(before)? {
            before = id;
            let value = match kind {
                I32 => Some(thrift.i32()?),
                TRUE => Some(1),
                FALSE => Some(0),
                kind => {
                    thrift.skip(kind)?;
                    None
                }
            };
            let slot = usize::try_from(id)
                .ok()
                .and_then(|id| numbers.0.get_mut(id));
            if let (Some(slot), Some(value)) = (slot, value)
                && slot.replace(value).is_some()
            {
                return None;
            }
        }
        Some(numbers)
    }

    fn get(&self, id: usize) -> Option<i32> {
        self.0.get(id).copied().flatten()
    }

    fn count(&self, id: usize) -> Option<u32> {
        u32::try_from(self.get(id)?).ok()
    }

    fn encoding(&self, id: usize) -> Option<Encoding> {
        Some(match self.get(id)? {
            0 => Encoding::PLAIN,
            2 => Encoding::PLAIN_DICTIONARY,
            3 => Encoding::RLE,
            5 => Encoding::DELTA_BINARY_PACKED,
            6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            7 => Encoding::DELTA_BYTE_ARRAY,
            8 => Encoding::RLE_DICTIONARY,
            9 => Encoding::BYTE_STREAM_SPLIT,
            _ => return None,
        })
    }
}

/// The header at the beginning of these bytes, and its own length; `None` where it is none.
pub(super) fn page(bytes: &[u8]) -> Option<(Header, usize)> {
    let mut thrift = Thrift::new(bytes);
    let mut own = [None; 4];
    let (mut data, mut dictionary, mut data_v2) = (None, None, None);
    let mut before = 0;
    while let Some(field) = thrift.field(before)? {
        before = field.id;
        let slot = match (field.id, field.kind) {
            (5, STRUCT) => Some(&mut data),
            (7, STRUCT) => Some(&mut dictionary),
            (8, STRUCT) => Some(&mut data_v2),
            _ => None,
        };
        if let Some(slot) = slot {
            if slot.replace(Numbers::read(&mut thrift)?).is_some() {
                return None;
            }
            continue;
        }
        match (usize::try_from(field.id), field.kind) {
            (Ok(id @ 1..=3), I32) => {
                if own.get_mut(id)?.replace(thrift.i32()?).is_some() {
                    return None;
                }
            }
            (Ok(1..=3), _) => return None,
            (_, kind) => thrift.skip(kind)?,
        }
    }
    let [_, kind, unpacked, packed] = own;
    let kind = match kind? {
        0 => {
            let data = data?;
            Kind::Data {
                values: data.count(1)?,
                encoding: data.encoding(2)?,
                levels_rle: data.get(3) == Some(3),
            }
        }
        2 => {
            let dictionary = dictionary?;
            Kind::Dictionary {
                values: dictionary.count(1)?,
                encoding: dictionary.encoding(2)?,
                sorted: dictionary.get(3) == Some(1),
            }
        }
        3 => {
            let data = data_v2?;
            // A page of a flat column has no repetition levels, and a row for every value.
            if data.count(6)? != 0 || data.count(3)? != data.count(1)? {
                return None;
            }
            Kind::DataV2 {
                values: data.count(1)?,
                nulls: data.count(2)?,
                encoding: data.encoding(4)?,
                levels: data.count(5)?,
                packed: data.get(7) != Some(0),
            }
        }
        _ => Kind::Other,
    };
    let header = Header {
        packed: usize::try_from(packed?).ok()?,
        unpacked: usize::try_from(unpacked?).ok()?,
        kind,
    };
    Some((header, bytes.len() - thrift.left()))
}

/// Whether the schema in a footer is one that may be walked by recursion.
pub(super) fn is_schema_walkable(footer: &[u8]) -> bool {
    walk_schema(footer) == Some(())
}

fn walk_schema(footer: &[u8]) -> Option<()> {
    let mut thrift = Thrift::new(footer);
    let mut before = 0;
    while let Some(field) = thrift.field(before)? {
        before = field.id;
        if (field.id, field.kind) != (2, LIST) {
            thrift.skip(field.kind)?;
            continue;
        }
        let (kind, count) = thrift.list()?;
        if kind != STRUCT || count > SCHEMA_ELEMENTS_MAX {
            return None;
        }
        // Children that are still to come, of each group that is open.
        let mut open: Vec<i32> = Vec::new();
        for _ in 0..count {
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(children) = open.last_mut() {
                *children -= 1;
            }
            let children = Numbers::read(&mut thrift)?.get(5).unwrap_or(0);
            if children > 0 {
                open.push(children);
            }
            if open.len() > SCHEMA_DEPTH_MAX {
                return None;
            }
        }
    }
    Some(())
}

/// How many values a delta-encoded block announces; `None` where it is none.
pub(super) fn delta_values(block: &[u8]) -> Option<u64> {
    let mut numbers = Thrift::new(block);
    let (_size, parts, values) = (numbers.number()?, numbers.number()?, numbers.number()?);
    // Each part of a block takes a byte for its width.
    (parts <= block.len() as u64).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page header, by hand.
    fn data_page(unpacked: u8, packed: u8) -> Vec<u8> {
        vec![
            0x15, 0, 0x15, unpacked, 0x15, packed, // type, sizes
            0x2c, 0x15, 20, 0x15, 16, 0x15, 6, 0x15, 6, 0, // ten values, by dictionary
            0, 0xaa, 0xaa,
        ]
    }

    #[test]
    fn a_header_is_read_and_its_own_length_known() {
        let bytes = data_page(100, 60);
        let (header, length) = page(&bytes).unwrap();
        assert_eq!(
            header,
            Header {
                packed: 30,
                unpacked: 50,
                kind: Kind::Data {
                    values: 10,
                    encoding: Encoding::RLE_DICTIONARY,
                    levels_rle: true,
                },
            }
        );
        assert_eq!(length, bytes.len() - 2);
        for cut in 0..length {
            assert_eq!(page(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn sizes_below_zero_and_given_twice_are_none() {
        assert_eq!(page(&data_page(101, 60)), None);
        let mut twice = data_page(100, 60);
        twice.splice(6..6, [0x05, 4, 120]);
        assert_eq!(page(&twice), None);
    }

    #[test]
    fn deep_and_endless_schemas_are_not_walked() {
        let schema = |children: &[u8]| {
            let mut footer = vec![0x29, 0xfc, children.len() as u8];
            for count in children {
                footer.extend([0x55, count << 1, 0]);
            }
            footer.push(0);
            footer
        };
        assert!(is_schema_walkable(&schema(&[3, 0, 0, 0])));
        assert!(is_schema_walkable(&schema(&[1; 10])));
        assert!(!is_schema_walkable(&schema(&[1; 100])));
        assert!(!is_schema_walkable(&[0x29, 0xfc, 0xff, 0xff, 0x7f]));
    }
}
