//! The body of a reply as it came → the protobuf in it, of the size that was announced and no larger. Pure.

use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use thiserror::Error;

/// LZ4 can say 255 bytes in one, and no more.
const LZ4_RATIO_MAX: u64 = 255;
/// A zstd frame may ask for as much memory as its content has bytes, or for what levels up to 19 ask for.
const ZSTD_WINDOW_LOG: (u32, u32) = (23, 27);
/// The output grows by this much at first: the announced size is only trusted as an upper bound.
const FIRST_BYTES: usize = 1 << 20;

/// How a body is packed, by `x-log-compresstype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// One raw LZ4 block: no frame, no size before it.
    Lz4,
    /// Zstandard frames.
    Zstd,
    /// A zlib stream; `gzip` is one too, for the SDKs. What it really is, is looked for.
    Deflate,
}

impl Packing {
    /// As `Accept-Encoding` and `x-log-compresstype` name it; nothing for plain.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Packing::Plain => "",
            Packing::Lz4 => "lz4",
            Packing::Zstd => "zstd",
            Packing::Deflate => "deflate",
        }
    }

    /// What the header of the reply says.
    #[must_use]
    pub fn from_header(name: &str) -> Option<Packing> {
        Some(match name.trim() {
            "" | "none" | "identity" => Packing::Plain,
            "lz4" => Packing::Lz4,
            "zstd" => Packing::Zstd,
            "deflate" | "gzip" => Packing::Deflate,
            _ => return None,
        })
    }
}

/// A body that is not what its headers say.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damaged {
    /// Larger than may be held.
    #[error("the reply unpacks to {bytes} bytes, more than the {max} that may be held")]
    TooLarge {
        /// The announced size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// Another size than announced.
    #[error("the reply unpacks to {found} bytes, `x-log-bodyrawsize` says {announced}")]
    OtherSize {
        /// What came out, as far as it was looked at.
        found: u64,
        /// What was announced.
        announced: u64,
    },
    /// Not what the packing says.
    #[error("the reply is not {packing}: {reason}")]
    NotPacked {
        /// The packing.
        packing: &'static str,
        /// The decoder's words.
        reason: String,
    },
}

/// Undoes the packing. `announced` is `x-log-bodyrawsize`; nothing above `max` is ever allocated.
pub fn unpack(
    body: Vec<u8>,
    packing: Packing,
    announced: u64,
    max: u64,
) -> Result<Vec<u8>, Damaged> {
    unpack_into(Vec::new(), body, packing, announced, max)
}

/// The same into memory that held another reply before, whose bytes are of no account: to touch memory for the first
/// time costs more than to unpack into it.
pub fn unpack_into(
    spare: Vec<u8>,
    body: Vec<u8>,
    packing: Packing,
    announced: u64,
    max: u64,
) -> Result<Vec<u8>, Damaged> {
    if announced > max {
        return Err(Damaged::TooLarge {
            bytes: announced,
            max,
        });
    }
    if announced == 0 {
        // Nothing to decode, whatever else was sent: decompressors choke on the empty body.
        return Ok(Vec::new());
    }
    let unpacked = match packing {
        Packing::Plain => body,
        Packing::Lz4 => lz4(spare, &body, announced)?,
        Packing::Zstd => {
            let damaged = |error| not_packed("zstd", &error);
            let mut decoder = zstd::stream::read::Decoder::new(body.as_slice()).map_err(damaged)?;
            let (least, most) = ZSTD_WINDOW_LOG;
            let log = announced.next_power_of_two().trailing_zeros();
            decoder
                .window_log_max(log.clamp(least, most))
                .map_err(damaged)?;
            stream(spare, decoder, "zstd", announced)?
        }
        Packing::Deflate => match body.as_slice() {
            [0x1f, 0x8b, ..] => stream(spare, GzDecoder::new(body.as_slice()), "gzip", announced)?,
            // The check bits of a zlib header.
            [cmf @ 0x08..=0x78, flags, ..]
                if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0 =>
            {
                stream(spare, ZlibDecoder::new(body.as_slice()), "zlib", announced)?
            }
            raw => stream(spare, DeflateDecoder::new(raw), "deflate", announced)?,
        },
    };
    match unpacked.len() as u64 {
        found if found == announced => Ok(unpacked),
        found => Err(Damaged::OtherSize { found, announced }),
    }
}

fn lz4(mut out: Vec<u8>, body: &[u8], announced: u64) -> Result<Vec<u8>, Damaged> {
    if announced > (body.len() as u64 + 1) * LZ4_RATIO_MAX {
        return Err(Damaged::NotPacked {
            packing: "lz4",
            reason: format!("{} bytes cannot hold {announced}", body.len()),
        });
    }
    let size = usize::try_from(announced).unwrap_or(usize::MAX);
    if out.capacity() < size {
        // Replies are of about one size, and memory that is a little larger serves all of them.
        out = Vec::with_capacity(size + size / 4);
    }
    out.resize(size, 0);
    let length =
        lz4_flex::block::decompress_into(body, &mut out).map_err(|error| Damaged::NotPacked {
            packing: "lz4",
            reason: error.to_string().to_lowercase(),
        })?;
    out.truncate(length);
    Ok(out)
}

fn stream(
    mut out: Vec<u8>,
    input: impl Read,
    packing: &'static str,
    announced: u64,
) -> Result<Vec<u8>, Damaged> {
    let size = usize::try_from(announced).unwrap_or(usize::MAX);
    out.clear();
    out.reserve(size.min(FIRST_BYTES));
    // One byte more than announced tells a longer stream; the rest of it is not looked at.
    input
        .take(announced.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|error| not_packed(packing, &error))?;
    Ok(out)
}

fn not_packed(packing: &'static str, error: &std::io::Error) -> Damaged {
    Damaged::NotPacked {
        packing,
        reason: error.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use proptest::prelude::*;

    use super::*;

    /// P2 of the Python SDK: 257 bytes, packed by the `lz4` it uses.
    const P2: &str = "f11d0afe010a4b08b8e6c3b40612180a0773726361646472120d3137322e33312e31362e31333912170a076473741a00160c1a00ff09323112100a06616374696f6e12064143434550540a4b08b94d00391fba4d0036f0081a08666c6f775f6c6f67220b6c6f675f73657276696365";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn packed(raw: &[u8], packing: Packing) -> Vec<u8> {
        match packing {
            Packing::Plain => raw.to_vec(),
            Packing::Lz4 => lz4_flex::block::compress(raw),
            Packing::Zstd => zstd::encode_all(raw, 1).unwrap(),
            Packing::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(raw).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    const ALL: [Packing; 4] = [
        Packing::Plain,
        Packing::Lz4,
        Packing::Zstd,
        Packing::Deflate,
    ];

    #[test]
    fn the_block_of_the_python_sdk() {
        use md5::{Digest, Md5};
        let raw = unpack(bytes(P2), Packing::Lz4, 257, 1 << 20).unwrap();
        let md5: String = Md5::digest(&raw)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(md5, "95c3d007ad5e50137d203cc085af2327");
    }

    #[test]
    fn every_packing_and_what_is_wrong_with_it() {
        let raw: Vec<u8> = (0..5000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let size = raw.len() as u64;
        for packing in ALL {
            let body = packed(&raw, packing);
            assert_eq!(unpack(body.clone(), packing, size, size).unwrap(), raw);
            assert!(unpack(body.clone(), packing, 0, size).unwrap().is_empty());
            assert!(unpack(Vec::new(), packing, 0, size).unwrap().is_empty());
            for announced in [1, size - 1, size + 1] {
                let unpacked = unpack(body.clone(), packing, announced, size * 2);
                assert!(unpacked.is_err(), "{packing:?} {announced}");
            }
            assert_eq!(
                unpack(body.clone(), packing, size, size - 1),
                Err(Damaged::TooLarge {
                    bytes: size,
                    max: size - 1
                })
            );
            let cut = body[..body.len() / 2].to_vec();
            assert!(unpack(cut, packing, size, size).is_err(), "{packing:?}");
        }
    }

    #[test]
    fn a_zstd_frame_gets_no_more_memory_than_its_content_has_bytes() {
        let raw = b"srcaddr dstaddr".repeat(1000);
        let frame = |window: u32| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window).unwrap();
            // Without the size of the content in its head, as of a stream.
            encoder.include_contentsize(false).unwrap();
            encoder.write_all(&raw).unwrap();
            encoder.flush().unwrap();
            encoder.finish().unwrap()
        };
        let size = raw.len() as u64;
        assert_eq!(unpack(frame(22), Packing::Zstd, size, size).unwrap(), raw);
        let unpacked = unpack(frame(27), Packing::Zstd, size, size);
        assert!(
            matches!(unpacked, Err(Damaged::NotPacked { .. })),
            "{unpacked:?}"
        );
    }

    #[test]
    fn gzip_and_bare_deflate_pass_for_deflate() {
        let raw = b"srcaddr dstaddr srcaddr dstaddr".repeat(9);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&raw).unwrap();
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(&raw).unwrap();
        for body in [gzip.finish().unwrap(), bare.finish().unwrap()] {
            let unpacked = unpack(body, Packing::Deflate, raw.len() as u64, 1 << 20);
            assert_eq!(unpacked.unwrap(), raw);
        }
    }

    #[test]
    fn a_size_that_lz4_cannot_reach_is_refused_before_anything_is_allocated() {
        let unpacked = unpack(vec![0; 100], Packing::Lz4, 1 << 40, 1 << 41);
        assert!(matches!(unpacked, Err(Damaged::NotPacked { .. })));
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(raw in proptest::collection::vec(any::<u8>(), 1..3000), at in 0..4_usize) {
            let size = raw.len() as u64;
            let unpacked = unpack(packed(&raw, ALL[at]), ALL[at], size, 4096);
            prop_assert_eq!(unpacked.unwrap(), raw.clone());
            let unpacked = unpack_into(vec![1; 700], packed(&raw, ALL[at]), ALL[at], size, 4096);
            prop_assert_eq!(unpacked.unwrap(), raw);
        }

        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..600), at in 0..4_usize, size in 0..5000_u64) {
            if let Ok(unpacked) = unpack(body, ALL[at], size, 4096) {
                prop_assert_eq!(unpacked.len() as u64, size);
            }
        }
    }
}
