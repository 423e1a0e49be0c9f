//! An object of JSON lines, CSV or text, from where it was left to its end.

use std::io::{self, BufRead, BufReader};

use super::fetch::Fetched;
use super::position::Reached;
use crate::decode::Format;
use crate::decode::compressed::{Compression, Decompress};
use crate::decode::format::{Decoder, WINDOW_BYTES};
use crate::decode::split::{Piece, Pieces, Splitting};
use crate::decode::text::Layout;

/// How an object is packed, when its settings do not say: so many bytes tell it.
const SNIFF_BYTES: usize = 64;

/// What stopped the reading of one object.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Its bytes do not come; [`Lines::fetched`] knows why.
    Fetching,
    /// It cannot be understood: what is the matter, and what to do.
    Object(String, String),
}

/// The records of one object.
pub(super) struct Lines {
    pieces: Pieces<Decompress<BufReader<Fetched>>>,
    format: Format,
    decoder: Decoder,
    packing: Compression,
}

impl Lines {
    /// Whether these are the first bytes of a format that is read from its end, without taking them.
    pub(super) fn peek(input: &mut BufReader<Fetched>) -> io::Result<[u8; 4]> {
        let mut first = [0; 4];
        let window = input.fill_buf()?;
        for (to, from) in first.iter_mut().zip(window) {
            *to = *from;
        }
        Ok(first)
    }

    /// Goes to where reading begins. `None` is an object without records.
    pub(super) fn open(
        mut input: BufReader<Fetched>,
        packing: Option<Compression>,
        format: Option<&Format>,
        fields: Option<&Layout>,
        reached: &Reached,
        record_bytes_max: usize,
    ) -> Result<Option<Lines>, Stopped> {
        let window = input.fill_buf().map_err(|_| Stopped::Fetching)?;
        if window.is_empty() {
            return Ok(None);
        }
        let sniffed = Compression::of_object(window.get(..SNIFF_BYTES).unwrap_or(window));
        let packing = match packing {
            // How snappy data is divided is always looked for.
            Some(Compression::Snappy(_)) | None => sniffed,
            Some(packing) => packing,
        };
        let input = Decompress::of(input, packing).map_err(|_| Stopped::Fetching)?;
        let mut pieces = Pieces::new(input, 0, Splitting::Lines, record_bytes_max);
        let known = reached.format.as_ref().or(format);
        let format = match known {
            Some(format) => format.clone(),
            None => {
                // Of blank lines nothing can be told, and they are no reason to refuse what comes after them.
                let mut blank = blank(pieces.peek(WINDOW_BYTES));
                while blank == WINDOW_BYTES {
                    pieces.skip(blank as u64);
                    blank = self::blank(pieces.peek(WINDOW_BYTES));
                }
                let window = pieces.peek(WINDOW_BYTES);
                if blank == window.len() && pieces.failure().is_none() {
                    return Ok(None);
                }
                let window = pieces.peek(WINDOW_BYTES);
                let (empty, whole) = (window.is_empty(), window.len() < WINDOW_BYTES);
                match Format::recognise(window, whole, fields) {
                    _ if pieces.failure().is_some() => return Err(failed(&pieces, packing)),
                    _ if empty => return Ok(None),
                    Ok(format) => format,
                    Err(error) => {
                        let help = "if it is CSV without a header, name its columns with `columns` in the settings of the source; else let the shipping job write JSON, CSV or Parquet";
                        return Err(Stopped::Object(error.to_string(), help.to_owned()));
                    }
                }
            }
        };
        if reached.at == 0 && pieces.peek(3) == b"\xef\xbb\xbf" {
            pieces.skip(3);
        }
        let missing = reached.at.saturating_sub(pieces.position());
        if pieces.skip(missing) < missing {
            return Err(failed(&pieces, packing));
        }
        let decoder = Decoder::new(&format).map_err(|error| {
            Stopped::Object(error.to_string(), error.help().unwrap_or_default())
        })?;
        pieces.split_by(format.splitting());
        Ok(Some(Lines {
            pieces,
            format,
            decoder,
            packing,
        }))
    }

    /// The next record, and what decodes it.
    pub(super) fn next(&mut self) -> Option<(Piece<'_>, &mut Decoder)> {
        let piece = self.pieces.next_piece()?;
        Some((piece, &mut self.decoder))
    }

    /// Why there is no next one, unless it is the end.
    pub(super) fn failure(&self) -> Option<Stopped> {
        self.pieces
            .failure()
            .is_some()
            .then(|| failed(&self.pieces, self.packing))
    }

    /// How the records are written.
    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    /// Decoded bytes so far.
    pub(super) fn position(&self) -> u64 {
        self.pieces.position()
    }

    /// The bytes as they come.
    pub(super) fn fetched(&self) -> &Fetched {
        fetched(&self.pieces)
    }
}

/// How many of the first bytes say nothing.
fn blank(window: &[u8]) -> usize {
    let marked = window.strip_prefix(b"\xef\xbb\xbf").unwrap_or(window);
    let said = marked.trim_ascii_start();
    window.len() - if said.is_empty() { 0 } else { said.len() }
}

fn fetched(pieces: &Pieces<Decompress<BufReader<Fetched>>>) -> &Fetched {
    pieces.get_ref().get_ref().get_ref()
}

fn failed(pieces: &Pieces<Decompress<BufReader<Fetched>>>, packing: Compression) -> Stopped {
    let fetched = fetched(pieces);
    if fetched.failure.get().is_some() {
        return Stopped::Fetching;
    }
    let cut = pieces
        .failure()
        .is_none_or(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    Stopped::Object(
        format!(
            "{}: its {} data ends after {} bytes, {} unpacked",
            if cut { "is cut off" } else { "is damaged" },
            packing.name(),
            fetched.bytes,
            pieces.position()
        ),
        "every record before that is in the lake; let the shipping job write it again, or name its key under `skip` in the settings of the source: what it held becomes a gap".to_owned(),
    )
}
