//! A compressed stream: whatever it announces, what comes out is read in bounded steps; what is packed comes out again.
#![no_main]

use std::io::{self, Read, Write};

use flate2::write::GzEncoder;
use flowaudit_ingest::decode::compressed::{Compression, Decompress};
use libfuzzer_sys::fuzz_target;

/// Enough to pass over several frames, too little for a bomb to hurt.
const READ_BYTES_MAX: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    _ = unpacked(data);

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
    let mut bytes = Vec::new();
    stream.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok((bytes, compression))
}
