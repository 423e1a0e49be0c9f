//! gzip, zstd and snappy, recognised by their first bytes and undone as a stream.
//!
//! Several gzip members or zstd frames one after the other are one stream, as `cat a.gz b.gz` and appending writers make
//! them. Memory is bounded by the decoders' windows (zstd refuses windows above 128 MiB).

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use super::snappy::{Framing, Snappy};

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// Snappy, divided so.
    Snappy(Framing),
}

impl Compression {
    /// What the first bytes say; four are enough.
    #[must_use]
    pub fn from_magic(first: &[u8]) -> Compression {
        match first {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// Name for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "plain",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Snappy(_) => "snappy",
        }
    }

    /// What the first bytes of an object say, which may also be snappy; 64 are enough.
    #[must_use]
    pub fn of_object(first: &[u8]) -> Compression {
        match Compression::from_magic(first) {
            Compression::None => {
                Framing::recognise(first).map_or(Compression::None, Compression::Snappy)
            }
            known => known,
        }
    }
}

/// The decoded bytes of a stream.
pub enum Decompress<R: BufRead> {
    /// As they are.
    None(R),
    /// gzip members.
    Gzip(Box<MultiGzDecoder<R>>),
    /// zstd frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
    /// Snappy.
    Snappy(Snappy<R>),
}

impl<R: BufRead> Decompress<R> {
    /// Undoes the compression that the first bytes announce.
    pub fn new(mut input: R) -> io::Result<(Self, Compression)> {
        let compression = Compression::from_magic(peek(&mut input)?);
        Ok((Decompress::of(input, compression)?, compression))
    }

    /// Undoes this compression.
    pub fn of(input: R, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Decompress::None(input),
            Compression::Gzip => Decompress::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                Decompress::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(input)?))
            }
            Compression::Snappy(framing) => Decompress::Snappy(Snappy::new(input, framing)),
        })
    }

    /// The packed stream below.
    pub fn get_ref(&self) -> &R {
        match self {
            Decompress::None(input) => input,
            Decompress::Gzip(decoder) => decoder.get_ref(),
            Decompress::Zstd(decoder) => decoder.get_ref(),
            Decompress::Snappy(decoder) => decoder.get_ref(),
        }
    }
}

fn peek<R: BufRead>(input: &mut R) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    input.fill_buf()
}

impl<R: BufRead> Read for Decompress<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Decompress::None(input) => input.read(into),
            Decompress::Gzip(decoder) => decoder.read(into),
            Decompress::Zstd(decoder) => decoder.read(into),
            Decompress::Snappy(decoder) => decoder.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(bytes: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let (mut decompress, _) = match Decompress::new(bytes) {
            Ok(decompress) => decompress,
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut out = Vec::new();
        let result = decompress.read_to_end(&mut out).map(|_| ());
        (out, result)
    }

    #[test]
    fn members_and_frames_are_one_stream() {
        let many = [gzip(b"one\n"), gzip(b""), gzip(b"two\n")].concat();
        assert_eq!(decoded(&many).0, b"one\ntwo\n");
        let many = [
            zstd::encode_all(&b"one\n"[..], 1).unwrap(),
            zstd::encode_all(&b"two\n"[..], 1).unwrap(),
        ]
        .concat();
        assert_eq!(decoded(&many).0, b"one\ntwo\n");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9], many.as_slice()].concat();
        assert_eq!(decoded(&skippable).0, b"one\ntwo\n");
        assert_eq!(decoded(b"plain").0, b"plain");
        assert_eq!(decoded(b"").0, b"");
    }

    #[test]
    fn a_cut_stream_gives_what_it_has_and_an_error() {
        let text: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
            .collect();
        for whole in [gzip(&text), zstd::encode_all(&text[..], 1).unwrap()] {
            let (out, result) = decoded(&whole[..whole.len() / 2]);
            assert!(result.is_err());
            assert!(!out.is_empty() && text.starts_with(&out));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(magic in prop::sample::select(vec![&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b""]), rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decoded(&[magic, rest.as_slice()].concat());
        }
    }
}
