//! Pieces, whatever the reads and whatever is wrong with the input.

use proptest::prelude::*;

use super::*;

const CSV: Splitting = Splitting::Csv {
    delimiter: b',',
    columns: 3,
};

/// Gives the bytes in small reads, then perhaps an error.
struct Drip<'a>(&'a [u8], usize, bool);

impl Read for Drip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() && self.2 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let step = self.1.min(into.len()).min(self.0.len());
        into[..step].copy_from_slice(&self.0[..step]);
        self.0 = &self.0[step..];
        Ok(step)
    }
}

fn pieces(
    bytes: &[u8],
    splitting: Splitting,
    max: usize,
    step: usize,
) -> Vec<(String, u64, u64, PieceEnd)> {
    let mut pieces = Pieces::new(Drip(bytes, step, false), 0, splitting, max);
    let mut out = Vec::new();
    while let Some(piece) = pieces.next_piece() {
        out.push((
            String::from_utf8_lossy(piece.bytes).into_owned(),
            piece.at,
            piece.next,
            piece.end,
        ));
    }
    assert_eq!(pieces.position(), bytes.len() as u64);
    out
}

#[track_caller]
fn check(bytes: &str, splitting: Splitting, max: usize, expected: &[(&str, PieceEnd)]) {
    for step in [1, 3, 1000] {
        let got = pieces(bytes.as_bytes(), splitting, max, step);
        let got: Vec<_> = got
            .iter()
            .map(|(text, _, _, end)| (text.as_str(), *end))
            .collect();
        assert_eq!(got, expected, "read by {step}");
    }
}

use PieceEnd::{Overlong, Seen, StreamEnd};

#[test]
fn lines() {
    check(
        "a\n\n \r\nb\r\nc",
        Splitting::Lines,
        100,
        &[("a", Seen), ("b", Seen), ("c", StreamEnd)],
    );
    check("", Splitting::Lines, 100, &[]);
    check("\n", Splitting::Lines, 100, &[]);
    check(
        "a\n12345678901\nb\n",
        Splitting::Lines,
        10,
        &[("a", Seen), ("12345678901", Overlong(12)), ("b", Seen)],
    );
    check(
        "1234567890\n",
        Splitting::Lines,
        10,
        &[("1234567890", Seen)],
    );
    check(
        "12345678901",
        Splitting::Lines,
        10,
        &[("12345678901", Overlong(11))],
    );
}

#[test]
fn of_a_long_line_the_head_is_kept_and_reading_goes_on() {
    let long = "x".repeat(1_000_000);
    for splitting in [Splitting::Lines, CSV] {
        let got = pieces(format!("a\n{long}\nb").as_bytes(), splitting, 1000, 777);
        assert_eq!(got.len(), 3);
        assert_eq!(
            (got[1].0.len(), got[1].1, got[1].2, got[1].3),
            (got[1].0.len(), 2, 1_000_003, Overlong(1_000_001))
        );
        assert!(got[1].0.len() <= KEPT_BYTES_MAX);
        assert_eq!(got[2].0, "b");
    }
}

#[test]
fn csv_quotes() {
    check(
        "a,b,\"c\nd\"\nx,y,z\n",
        CSV,
        100,
        &[("a,b,\"c\nd\"", Seen), ("x,y,z", Seen)],
    );
    check(
        "a,b,\"c \"\"\nd\"\"\"\r\nx",
        CSV,
        100,
        &[("a,b,\"c \"\"\nd\"\"\"", Seen), ("x", StreamEnd)],
    );
    check(
        "a,b\"c,\"\"\nx\n",
        CSV,
        100,
        &[("a,b\"c,\"\"", Seen), ("x", Seen)],
    );
}

#[test]
fn a_stray_quote_costs_one_line() {
    check(
        "a,\"b,c\nd,e,f\ng,h,i\n",
        CSV,
        100,
        &[("a,\"b,c", Seen), ("d,e,f", Seen), ("g,h,i", Seen)],
    );
    check(
        "a,\"b,c\nd,e,f\ng,\"h,i\nj,k,l\n",
        CSV,
        100,
        &[
            ("a,\"b,c", Seen),
            ("d,e,f", Seen),
            ("g,\"h,i", Seen),
            ("j,k,l", Seen),
        ],
    );
    let many = format!("a,\"b,c\n{}", "d,e,f\n".repeat(100));
    for step in [1, 1000] {
        let got = pieces(many.as_bytes(), CSV, 50, step);
        assert_eq!(got.len(), 101, "read by {step}");
        assert!(got.iter().all(|(text, ..)| text.len() <= 6));
    }
}

#[test]
fn json_objects() {
    let array = "[\n {\"a\": \"}\\\"{\",\n \"b\": [{}]} , {\"c\":1}\n]\n";
    check(
        array,
        Splitting::JsonObjects,
        100,
        &[
            ("{\"a\": \"}\\\"{\",\n \"b\": [{}]}", Seen),
            ("{\"c\":1}", Seen),
        ],
    );
    check(
        "[{\"a\": \"b\n},{\"c\":1}]",
        Splitting::JsonObjects,
        100,
        &[("{\"a\": \"b\n", Seen), ("},", Seen), ("{\"c\":1}", Seen)],
    );
    check(
        "{}{}",
        Splitting::JsonObjects,
        100,
        &[("{}", Seen), ("{}", Seen)],
    );
    check(
        "[{\"a\":1},garbage {\"b\":2}, 7\n{\"c\"",
        Splitting::JsonObjects,
        100,
        &[
            ("{\"a\":1}", Seen),
            ("garbage ", Seen),
            ("{\"b\":2}", Seen),
            ("7\n", Seen),
            ("{\"c\"", StreamEnd),
        ],
    );
    check(
        "[{\"a\":\"12345678901234567890\"},{\"b\":1}]",
        Splitting::JsonObjects,
        10,
        &[
            ("{\"a\":\"12345678901234567890\"}", Overlong(28)),
            ("{\"b\":1}", Seen),
        ],
    );
}

#[test]
fn a_broken_stream_gives_what_was_whole() {
    let mut pieces = Pieces::new(Drip(b"a\nb\nc", 2, true), 0, Splitting::Lines, 100);
    assert_eq!(
        pieces.next_piece().map(|piece| piece.bytes.to_vec()),
        Some(b"a".to_vec())
    );
    assert_eq!(
        pieces.next_piece().map(|piece| piece.bytes.to_vec()),
        Some(b"b".to_vec())
    );
    assert_eq!(
        pieces.next_piece().map(|piece| piece.end),
        Some(PieceEnd::Cut)
    );
    assert!(pieces.next_piece().is_none());
    assert_eq!(
        pieces.failure().map(io::Error::kind),
        Some(io::ErrorKind::UnexpectedEof)
    );
}

#[test]
fn peeking_and_skipping() {
    let mut pieces = Pieces::new(Drip(b"abc\ndef\n", 1, false), 0, Splitting::Lines, 100);
    assert_eq!(pieces.peek(2), b"ab");
    assert_eq!(pieces.peek(100), b"abc\ndef\n");
    assert_eq!(pieces.skip(4), 4);
    assert_eq!(pieces.position(), 4);
    assert_eq!(
        pieces.next_piece().map(|piece| (piece.at, piece.next)),
        Some((4, 8))
    );
    assert_eq!(pieces.skip(9), 0);
}

proptest! {
    #[test]
    fn reads_of_any_size_give_the_same_pieces(
        bytes in "[a,\"\n{}\\[\\]\\\\ \r]{0,60}", max in 1_usize..70, step in 1_usize..70,
        splitting in prop::sample::select(vec![Splitting::Lines, CSV, Splitting::JsonObjects]),
    ) {
        let all = pieces(bytes.as_bytes(), splitting, max, 1000);
        let some = pieces(bytes.as_bytes(), splitting, max, step);
        prop_assert_eq!(all.len(), some.len());
        let mut last = 0;
        for (one, other) in all.iter().zip(&some) {
            prop_assert_eq!((one.1, one.2, one.3), (other.1, other.2, other.3));
            prop_assert!(last <= one.1 && one.1 < one.2, "positions rise");
            last = one.2;
        }
    }
}
