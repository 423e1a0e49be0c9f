//! Snappy as a stream, in the three ways it is written into objects.
//!
//! What the shipping of the log service writes is not documented beyond "snappy"; the tools it names write Hadoop's blocks.
//! So the first bytes decide: the [framing format](https://github.com/google/snappy/blob/main/framing_format.txt) has a
//! magic; Hadoop writes lengths in big-endian before [raw blocks](https://github.com/google/snappy/blob/main/format_description.txt);
//! else it is one raw block.
//!
//! Memory is bounded whatever the lengths say: a raw block is undone as it comes, with the last 64 KiB as history. Encoders
//! cut their input into pieces of 64 KiB and never point further back; data that does is refused.

use std::io::{self, BufRead, Read};

/// How far a copy may point back.
const HISTORY_BYTES: usize = 64 * 1024;
/// So much is undone at once.
const STEP_BYTES: usize = 64 * 1024;
/// Hadoop's writers cut at 256 KiB; whole objects are 256 MB at most.
const BLOCK_BYTES_MAX: u32 = 512 << 20;
/// The stream identifier of the framing format.
const FRAME_MAGIC: [u8; 10] = [0xff, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y'];

/// How snappy data is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The framing format, with checksums.
    Frames,
    /// Lengths in big-endian before raw blocks, as Hadoop and its kin write.
    Hadoop,
    /// One raw block.
    Block,
}

impl Framing {
    /// What the first bytes say; `None` where they are no snappy data. 64 bytes are enough.
    ///
    /// Text is never taken for snappy: its first four bytes would be the length of a block above the bound.
    #[must_use]
    pub fn recognise(first: &[u8]) -> Option<Framing> {
        if first.starts_with(&FRAME_MAGIC) {
            return Some(Framing::Frames);
        }
        if is_hadoop(first) {
            return Some(Framing::Hadoop);
        }
        is_block(first).then_some(Framing::Block)
    }
}

fn is_hadoop(first: &[u8]) -> bool {
    let word = |at: usize| {
        let bytes: [u8; 4] = first.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    let (Some(raw), Some(packed)) = (word(0), word(4)) else {
        return false;
    };
    if raw.to_be_bytes().trim_ascii().is_empty() {
        // Blank lines before a text: as a length it would be more than 150 MB.
        return false;
    }
    let Some((length, _)) = first.get(8..).and_then(varint) else {
        return false;
    };
    let packed_max = u64::from(raw) + u64::from(raw) / 6 + 32;
    (1..=BLOCK_BYTES_MAX).contains(&raw)
        && u64::from(packed) <= packed_max
        && packed > 0
        && (1..=u64::from(raw)).contains(&length)
}

/// A raw block begins with its length, and its first element can only be a literal: there is nothing to copy yet.
fn is_block(first: &[u8]) -> bool {
    let Some((length, used)) = varint(first) else {
        return false;
    };
    let Some(tag) = first.get(used) else {
        return false;
    };
    let text = first
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
    !text && tag & 3 == 0 && (1..=u64::from(BLOCK_BYTES_MAX)).contains(&length)
}

/// A length in base 128, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Undoes snappy.
pub enum Snappy<R: BufRead> {
    /// The framing format.
    Frames(Box<snap::read::FrameDecoder<R>>),
    /// Raw blocks.
    Blocks(Box<Blocks<R>>),
}

impl<R: BufRead> Snappy<R> {
    /// Undoes what is divided so.
    pub fn new(input: R, framing: Framing) -> Self {
        match framing {
            Framing::Frames => Snappy::Frames(Box::new(snap::read::FrameDecoder::new(input))),
            Framing::Hadoop | Framing::Block => Snappy::Blocks(Box::new(Blocks {
                input,
                hadoop: framing == Framing::Hadoop,
                begun: false,
                outer: 0,
                chunk: u64::MAX,
                left: 0,
                literal: 0,
                produced: 0,
                out: Vec::new(),
                given: 0,
            })),
        }
    }

    /// The packed stream below.
    pub fn get_ref(&self) -> &R {
        match self {
            Snappy::Frames(decoder) => decoder.get_ref(),
            Snappy::Blocks(blocks) => &blocks.input,
        }
    }
}

impl<R: BufRead> Read for Snappy<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Snappy::Frames(decoder) => decoder.read(into),
            Snappy::Blocks(blocks) => blocks.read(into),
        }
    }
}

/// Raw blocks, with or without Hadoop's lengths.
pub struct Blocks<R> {
    input: R,
    hadoop: bool,
    /// A lone block was begun.
    begun: bool,
    /// Hadoop: bytes still to come of what the outer length announced.
    outer: u64,
    /// Packed bytes that may still be read of this raw block.
    chunk: u64,
    /// Bytes that this raw block still gives.
    left: u64,
    /// Bytes still to come of the literal that was begun.
    literal: u64,
    /// Bytes that this raw block has given.
    produced: u64,
    /// History, and what was not handed out yet.
    out: Vec<u8>,
    given: usize,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: BufRead> Blocks<R> {
    fn take(&mut self, into: &mut [u8]) -> io::Result<()> {
        let bytes = into.len() as u64;
        if self.chunk < bytes {
            return Err(damaged("a snappy block is longer than its length says"));
        }
        self.chunk -= bytes;
        self.input.read_exact(into)
    }

    fn little(&mut self, bytes: usize) -> io::Result<u64> {
        let mut value = [0; 8];
        self.take(value.get_mut(..bytes).unwrap_or_default())?;
        Ok(u64::from_le_bytes(value))
    }

    /// A big-endian length outside the blocks; `None` at the end of the stream.
    fn big(&mut self, may_end: bool) -> io::Result<Option<u32>> {
        if may_end && self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut word = [0; 4];
        self.input.read_exact(&mut word)?;
        Ok(Some(u32::from_be_bytes(word)))
    }

    /// Goes to the next raw block; whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        if self.hadoop {
            if self.begun && self.chunk > 0 {
                return Err(damaged("a snappy block is shorter than its length says"));
            }
            while self.outer == 0 {
                let Some(outer) = self.big(true)? else {
                    return Ok(false);
                };
                self.outer = u64::from(outer);
            }
            self.chunk = u64::from(self.big(false)?.unwrap_or_default());
        } else if self.begun {
            return match self.input.fill_buf()?.is_empty() {
                true => Ok(false),
                false => Err(damaged("something follows the snappy block")),
            };
        }
        self.begun = true;
        let (mut length, mut shift) = (0_u64, 0);
        loop {
            let byte = self.little(1)?;
            length |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return Err(damaged("the length of a snappy block is no number"));
            }
        }
        if self.hadoop {
            self.outer = self
                .outer
                .checked_sub(length)
                .ok_or_else(|| damaged("a snappy block gives more than was announced"))?;
        }
        (self.left, self.produced) = (length, 0);
        Ok(true)
    }

    /// Undoes one element of the block.
    fn element(&mut self) -> io::Result<()> {
        let tag = self.little(1)?;
        let short = tag >> 2;
        let (length, back) = match tag & 3 {
            0 if short < 60 => (short + 1, 0),
            0 => (self.little(short as usize - 59)? + 1, 0),
            1 => ((short & 7) + 4, (tag >> 5) << 8 | self.little(1)?),
            2 => (short + 1, self.little(2)?),
            _ => (short + 1, self.little(4)?),
        };
        if length > self.left {
            return Err(damaged("a snappy block gives more than its length says"));
        }
        self.left -= length;
        self.produced += length;
        if tag & 3 == 0 {
            self.literal = length;
            return Ok(());
        }
        let back = usize::try_from(back).unwrap_or(usize::MAX);
        let known = (self.produced - length).min(HISTORY_BYTES as u64);
        if back == 0 || back as u64 > known || back > self.out.len() {
            return Err(damaged("a snappy block points back too far"));
        }
        // What is copied may reach into what the copy itself gives.
        for _ in 0..length {
            let byte = self.out.get(self.out.len() - back).copied();
            self.out.push(byte.unwrap_or_default());
        }
        Ok(())
    }

    /// The next piece of a literal, which may be as long as the block.
    fn literal(&mut self) -> io::Result<()> {
        let now = self.literal.min(STEP_BYTES as u64);
        let begin = self.out.len();
        let mut out = std::mem::take(&mut self.out);
        out.resize(begin + now as usize, 0);
        let read = self.take(out.get_mut(begin..).unwrap_or_default());
        self.out = out;
        self.literal -= now;
        read
    }

    /// Drops what was handed out and is too old to be pointed at.
    fn trim(&mut self) {
        let old = self.given.saturating_sub(HISTORY_BYTES);
        if old > 4 * STEP_BYTES {
            self.out.drain(..old);
            self.given -= old;
        }
    }
}

impl<R: BufRead> Read for Blocks<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while self.out.len() == self.given {
            if self.left + self.literal == 0 {
                if !self.begin()? {
                    return Ok(0);
                }
                continue;
            }
            self.trim();
            while self.left + self.literal > 0 && self.out.len() - self.given < STEP_BYTES {
                match self.literal {
                    0 => self.element()?,
                    _ => self.literal()?,
                }
            }
        }
        let ready = self.out.get(self.given..).unwrap_or_default();
        let bytes = ready.len().min(into.len());
        if let (Some(into), Some(ready)) = (into.get_mut(..bytes), ready.get(..bytes)) {
            into.copy_from_slice(ready);
        }
        self.given += bytes;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn raw(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    fn frames(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.into_inner().unwrap()
    }

    /// As Hadoop's `BlockCompressorStream` writes: a length, then its chunks.
    fn hadoop(bytes: &[u8], block: usize, chunk: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for block in bytes.chunks(block.max(1)) {
            out.extend((block.len() as u32).to_be_bytes());
            for chunk in block.chunks(chunk.max(1)) {
                let packed = raw(chunk);
                out.extend((packed.len() as u32).to_be_bytes());
                out.extend(packed);
            }
        }
        out
    }

    fn undone(bytes: &[u8], framing: Framing) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Snappy::new(bytes, framing).read_to_end(&mut out)?;
        Ok(out)
    }

    fn text(lines: usize) -> Vec<u8> {
        (0..lines)
            .flat_map(|n| {
                format!("{{\"srcaddr\":\"10.0.{}.{}\",\"n\":{n}}}\n", n % 7, n % 250).into_bytes()
            })
            .collect()
    }

    #[test]
    fn each_framing_is_recognised_and_undone() {
        for bytes in [text(1), text(3), text(50_000)] {
            let all = [
                (Framing::Frames, frames(&bytes)),
                (Framing::Hadoop, hadoop(&bytes, 256 << 10, 256 << 10)),
                (Framing::Hadoop, hadoop(&bytes, 1 << 20, 64 << 10)),
                (Framing::Block, raw(&bytes)),
            ];
            for (framing, packed) in all {
                let first = &packed[..packed.len().min(64)];
                assert_eq!(Framing::recognise(first), Some(framing), "{}", bytes.len());
                assert!(undone(&packed, framing).unwrap() == bytes);
                // Cut anywhere it is an error, except for Hadoop's between two blocks.
                for cut in [packed.len() - 1, packed.len() / 2] {
                    let cut = undone(&packed[..cut], framing);
                    assert!(cut.is_err() || cut.unwrap().len() < bytes.len());
                }
            }
        }
    }

    #[test]
    fn text_is_not_snappy() {
        for plain in [
            "start,end,srcaddr,dstaddr",
            "version,account-id",
            "{\"__time__\":1,\"srcaddr\":\"10.0.0.1\"}",
            "1 1210 eni-1",
            "",
            "x",
        ] {
            assert_eq!(Framing::recognise(plain.as_bytes()), None, "{plain}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_an_error() {
        let long = raw(&text(100));
        let mut more = long.clone();
        more.push(0);
        assert!(undone(&more, Framing::Block).is_err());
        // A copy before anything is there.
        assert!(undone(&[10, 0b0000_0001, 1], Framing::Block).is_err());
        // A block that gives more than Hadoop's outer length says.
        let mut packed = hadoop(&text(10), 1 << 20, 1 << 20);
        packed[3] -= 1;
        assert!(undone(&packed, Framing::Hadoop).is_err());
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(bytes in proptest::collection::vec(0..4_u8, 0..5000), block in 1..3000_usize) {
            prop_assert_eq!(&undone(&raw(&bytes), Framing::Block).unwrap(), &bytes);
            prop_assert_eq!(&undone(&frames(&bytes), Framing::Frames).unwrap(), &bytes);
            prop_assert_eq!(&undone(&hadoop(&bytes, block * 3, block), Framing::Hadoop).unwrap(), &bytes);
        }

        #[test]
        fn anything_at_all_is_undone_or_refused(bytes: Vec<u8>) {
            for framing in [Framing::Frames, Framing::Hadoop, Framing::Block] {
                let _ = undone(&bytes, framing);
            }
            let _ = Framing::recognise(&bytes);
        }
    }
}
