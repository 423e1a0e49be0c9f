//! A compressed stream: whatever it announces, what comes out is read in bounded steps; what is packed comes out again.
#![no_main]

use std::io::{self, Read, Write};

use flate2::write::GzEncoder;
use flowaudit_ingest::decode::compressed::{Compression, Decompress};
use flowaudit_ingest::decode::snappy::Framing;
use libfuzzer_sys::fuzz_target;

/// Enough to pass over several frames, too little for a bomb to hurt.
const READ_BYTES_MAX: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    _ = unpacked(data);
    // The packings that objects have besides: recognised, and taken at their word whatever they are.
    let found = Compression::of_object(data);
    let divided = [Framing::Frames, Framing::Hadoop, Framing::Block].map(Compression::Snappy);
    for compression in divided.into_iter().chain([found]) {
        _ = undone(data, compression);
    }

    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(data).expect("memory takes everything");
    let gzip = gzip.finish().expect("memory takes everything");
    let zstd = zstd::encode_all(data, 1).expect("memory takes everything");
    for (packed, compression) in [(gzip, Compression::Gzip), (zstd, Compression::Zstd)] {
        assert_eq!(
            unpacked(&packed).expect("what was packed is whole"),
            (data.to_vec(), compression)
        );
    }
});

fn unpacked(packed: &[u8]) -> io::Result<(Vec<u8>, Compression)> {
    let (stream, compression) = Decompress::new(packed)?;
    Ok((read(stream)?, compression))
}

fn undone(packed: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    read(Decompress::of(packed, compression)?)
}

fn read(stream: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
