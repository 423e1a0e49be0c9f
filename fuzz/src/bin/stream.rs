//! A whole stream: recognised, cut into pieces, decoded, normalised, as `ingest` does it.
#![no_main]

use flowaudit_ingest::decode::split::{PieceEnd, Pieces};
use flowaudit_ingest::decode::{Decoder, Format};
use flowaudit_ingest::normalize::normalize;
use libfuzzer_sys::fuzz_target;

/// Small, so that pieces beyond the bound are usual.
const PIECE_BYTES_MAX: usize = 512;

fuzz_target!(|data: &[u8]| {
    for whole in [true, false] {
        let Ok(format) = Format::recognise(data, whole, None) else {
            continue;
        };
        let mut decoder = Decoder::new(&format).expect("a format that was recognised");
        let mut pieces = Pieces::new(data, 0, format.splitting(), PIECE_BYTES_MAX);
        let mut next = 0;
        while let Some(piece) = pieces.next_piece() {
            assert!(
                next <= piece.at && piece.at <= piece.next,
                "pieces follow each other"
            );
            let overlong = matches!(piece.end, PieceEnd::Overlong(_));
            assert!(
                overlong || piece.bytes.len() <= PIECE_BYTES_MAX,
                "pieces are bounded"
            );
            next = piece.next;
            if let Ok(Some(record)) = decoder.decode(piece.bytes) {
                _ = normalize(&record);
            }
        }
        assert!(
            next <= data.len() as u64,
            "nothing is read that is not there"
        );
    }
});
