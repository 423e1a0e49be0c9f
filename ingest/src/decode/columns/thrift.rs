//! Thrift's compact protocol, as far as it takes to see what a header announces before anything is done about it.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

/// Structures within structures; no header of Parquet comes near it.
const DEPTH_MAX: u32 = 16;

/// Types of the protocol, as far as they are looked at.
pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const I32: u8 = 5;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Bytes that are not read yet. Everything is `None` where they end too early or cannot be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thrift<'b> {
    rest: &'b [u8],
}

/// A field of a structure, whose value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) id: i64,
    pub(super) kind: u8,
}

impl<'b> Thrift<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Thrift { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// A ULEB128 number.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit.
                return (shift < 63 || byte <= 1).then_some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The value of a field of type [`I32`].
    pub(super) fn i32(&mut self) -> Option<i32> {
        i32::try_from(self.signed()?).ok()
    }

    /// The next field of a structure whose last one was `before`; `Some(None)` is its end.
    pub(super) fn field(&mut self, before: i64) -> Option<Option<Field>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let id = match head >> 4 {
            0 => i64::from(i16::try_from(self.signed()?).ok()?),
            delta => before.checked_add(i64::from(delta))?,
        };
        let kind = head & 0x0f;
        Some(Some(Field { id, kind }))
    }

    /// The type of the elements of a list, and how many there are.
    pub(super) fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.number()?,
            count => u64::from(count),
        };
        // No element takes less than a byte.
        (count <= self.left() as u64).then_some((head & 0x0f, count))
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, kind: u8) -> Option<()> {
        self.skip_within(kind, DEPTH_MAX)
    }

    fn skip_within(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            3 => self.pass(1),
            4..=6 => self.number().map(drop),
            7 => self.pass(8),
            8 => {
                let bytes = self.number()?;
                self.pass(bytes)
            }
            LIST | 10 => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => {
                let count = self.number()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                if count > self.left() as u64 {
                    return None;
                }
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0f, depth)
                })
            }
            STRUCT => {
                let mut before = 0;
                while let Some(field) = self.field(before)? {
                    self.skip_within(field.kind, depth)?;
                    before = field.id;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn skip_element(&mut self, kind: u8, depth: u32) -> Option<()> {
        match kind {
            // Within a collection a truth value takes a byte.
            TRUE | FALSE => self.pass(1),
            kind => self.skip_within(kind, depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_and_passed_over() {
        // 1: i32 -3, 2: true, 4: binary "ab", 40: list of two structures, then the end.
        let bytes = [
            0x15, 5, 0x11, 0x28, 2, b'a', b'b', 0x09, 80, 0x2c, 0x15, 2, 0, 0, 0, 99,
        ];
        let mut thrift = Thrift::new(&bytes);
        let mut seen = Vec::new();
        let mut before = 0;
        while let Some(field) = thrift.field(before).unwrap() {
            before = field.id;
            seen.push((field.id, field.kind));
            match field.kind {
                I32 => assert_eq!(thrift.i32(), Some(-3)),
                kind => thrift.skip(kind).unwrap(),
            }
        }
        assert_eq!(seen, [(1, I32), (2, TRUE), (4, 8), (40, LIST)]);
        assert_eq!(thrift.left(), 1);
    }

    #[test]
    fn what_cannot_be_is_nothing() {
        for bytes in [
            // A number that never ends, one that is too large, a text beyond the end, a list beyond it.
            &[
                0x15, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
            ][..],
            &[0x15, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x18, 0x7f],
            &[0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x1d],
        ] {
            let mut thrift = Thrift::new(bytes);
            let field = thrift.field(0).unwrap().unwrap();
            let read = match field.kind {
                I32 => thrift.i32().map(drop),
                kind => thrift.skip(kind),
            };
            assert_eq!(read, None, "{bytes:?}");
        }
        // Nesting without end.
        assert_eq!(Thrift::new(&[0x1c; 1000]).skip(STRUCT), None);
        assert_eq!(Thrift::new(&[0x19; 1000]).skip(LIST), None);
    }
}
