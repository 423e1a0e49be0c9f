//! A stream of decoded bytes → pieces, each one record, with their positions.
//!
//! A piece never grows beyond a bound: of a longer one the head is kept, the rest is passed over, and reading goes on
//! after it. A stream that breaks (a cut gzip, a disk error) still gives every piece that was complete before.

use std::io::{self, Read};
use std::ops::Range;

/// How much of an input that could not be read is kept.
pub const KEPT_BYTES_MAX: usize = 4096;

/// A quoted value with more line breaks is a stray quote.
const QUOTED_BREAKS_MAX: usize = 100;

/// How much is asked for at once.
const READ_BYTES: usize = 256 * 1024;

/// Where one record ends and the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splitting {
    /// At each line end.
    Lines,
    /// At each line end outside quotes.
    Csv {
        /// What separates values.
        delimiter: u8,
        /// How many values a record has. A quoted line break is believed only where this number comes out, so that one
        /// stray quote costs one line and not the rest of the file.
        columns: usize,
    },
    /// Where a JSON object closes, whatever the lines; brackets and commas between objects are passed over.
    JsonObjects,
}

/// Whether a piece can be trusted to be a whole record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceEnd {
    /// Its end was seen.
    Seen,
    /// The stream ended inside it, or right after it without a line end.
    StreamEnd,
    /// The stream broke inside it, or right after it without a line end.
    Cut,
    /// It was longer than the bound; these are its first bytes, and this is its length.
    Overlong(u64),
}

/// One piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes without the line end.
    pub bytes: &'a [u8],
    /// Position of its first byte in the decoded stream.
    pub at: u64,
    /// Position after it and its line end: where reading goes on.
    pub next: u64,
    /// How it ended.
    pub end: PieceEnd,
}

/// Cuts a stream into pieces.
#[derive(Debug)]
pub struct Pieces<R> {
    input: R,
    scan: Scan,
    /// Longest piece, in bytes.
    max: usize,
    buffer: Vec<u8>,
    /// Unread bytes are `buffer[begin..end]`.
    begin: usize,
    end: usize,
    /// Position of `buffer[begin]` in the stream.
    at: u64,
    over: bool,
    failure: Option<io::Error>,
    /// The head of a piece that grew too long.
    head: Vec<u8>,
}

impl<R: Read> Pieces<R> {
    /// Begins at position `at` of the stream; `input` gives the bytes from there on.
    pub fn new(input: R, at: u64, splitting: Splitting, max: usize) -> Self {
        Pieces {
            input,
            scan: Scan::new(splitting),
            max: max.max(1),
            buffer: Vec::new(),
            begin: 0,
            end: 0,
            at,
            over: false,
            failure: None,
            head: Vec::new(),
        }
    }

    /// The coming bytes without consuming them: `bytes` of them, or fewer when the stream is shorter.
    pub fn peek(&mut self, bytes: usize) -> &[u8] {
        while self.end - self.begin < bytes && !self.over {
            self.fill();
        }
        let window = self.unread();
        window.get(..bytes.min(window.len())).unwrap_or_default()
    }

    /// Passes over `bytes` bytes; fewer when the stream ends before. How many were passed over.
    pub fn skip(&mut self, bytes: u64) -> u64 {
        let mut left = bytes;
        while left > 0 {
            if self.begin == self.end {
                if self.over {
                    break;
                }
                self.fill();
            }
            let step = (self.end - self.begin).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.consume(step);
            left -= step as u64;
        }
        bytes - left
    }

    /// Changes how the rest is cut; between pieces only.
    pub fn split_by(&mut self, splitting: Splitting) {
        self.scan = Scan::new(splitting);
    }

    /// What stopped the stream before its end.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Position of the next byte.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The stream below.
    pub fn get_ref(&self) -> &R {
        &self.input
    }

    /// The next piece; blank ones are passed over. `None` at the end of the stream, see [`Pieces::failure`].
    pub fn next_piece(&mut self) -> Option<Piece<'_>> {
        loop {
            let bytes = self.buffer.get(self.begin..self.end).unwrap_or_default();
            if let Some(found) = self.scan.scan(bytes, self.max) {
                if bytes
                    .get(found.body.clone())
                    .is_none_or(|body| body.trim_ascii().is_empty())
                {
                    self.consume(found.length);
                    continue;
                }
                return Some(self.piece(found, PieceEnd::Seen));
            }
            let blank = self.scan.blank_before();
            let unread = bytes.len() - blank;
            self.consume(blank);
            self.scan.forget(blank);
            if self.over {
                let rest = self.buffer.get(self.begin..self.end).unwrap_or_default();
                if let Some(found) = self.scan.give_up(rest) {
                    // An open quote ran to the end of the stream: only its first line is taken out.
                    return Some(self.piece(found, PieceEnd::Seen));
                }
                if rest.trim_ascii().is_empty() {
                    self.consume(unread);
                    return None;
                }
                self.scan.restart();
                let end = if self.failure.is_some() {
                    PieceEnd::Cut
                } else {
                    PieceEnd::StreamEnd
                };
                return Some(self.piece(
                    Found {
                        body: 0..unread,
                        length: unread,
                    },
                    end,
                ));
            }
            // The two bytes are a line end that may still come.
            if unread > self.max + 2 {
                let at = self.at;
                if self.pass_over() {
                    let end = match self.failure {
                        Some(_) if self.begin == self.end => PieceEnd::Cut,
                        _ => PieceEnd::Overlong(self.at - at),
                    };
                    return Some(Piece {
                        bytes: &self.head,
                        at,
                        next: self.at,
                        end,
                    });
                }
                continue;
            }
            self.fill();
        }
    }

    fn piece(&mut self, found: Found, end: PieceEnd) -> Piece<'_> {
        let at = self.at + found.body.start as u64;
        let begin = self.begin + found.body.start;
        let mut body = begin..self.begin + found.body.end;
        self.consume(found.length);
        let mut end = end;
        if body.len() > self.max && end != PieceEnd::Cut {
            body.end = begin + KEPT_BYTES_MAX.min(body.len());
            end = PieceEnd::Overlong(self.at - at);
        }
        Piece {
            bytes: self.buffer.get(body).unwrap_or_default(),
            at,
            next: self.at,
            end,
        }
    }

    /// Keeps the head of the record that begins here and reads on to its end. Whether there was anything but blanks.
    fn pass_over(&mut self) -> bool {
        self.head.clear();
        self.scan.overlong = true;
        let mut blank = true;
        loop {
            let unread = self.buffer.get(self.begin..self.end).unwrap_or_default();
            let found = self.scan.scan(unread, self.max);
            let end = found.as_ref().map_or(unread.len(), |found| found.body.end);
            let body = unread.get(..end).unwrap_or_default();
            let room = KEPT_BYTES_MAX - self.head.len();
            self.head
                .extend_from_slice(body.get(..room.min(body.len())).unwrap_or_default());
            blank = blank && body.trim_ascii().is_empty();
            let length = found.as_ref().map_or(unread.len(), |found| found.length);
            self.consume(length);
            if found.is_some() {
                return !blank;
            }
            self.scan.forget(length);
            if self.over {
                self.scan.restart();
                return !blank;
            }
            self.fill();
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    fn consume(&mut self, bytes: usize) {
        self.begin += bytes;
        self.at += bytes as u64;
    }

    /// Reads once more; at the end of the stream or on a failure, sets `over`.
    fn fill(&mut self) {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.buffer.len() < self.end + READ_BYTES {
            self.buffer.resize(self.end + READ_BYTES, 0);
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.input.read(free) {
            Ok(0) => self.over = true,
            Ok(bytes) => self.end += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.over = true;
                self.failure = Some(error);
            }
        }
    }
}

struct Found {
    /// Where the record stands in the unread bytes.
    body: Range<usize>,
    /// How many bytes to consume, with the line end.
    length: usize,
}

/// Looks for the end of the record; remembers how far it has looked.
#[derive(Debug)]
struct Scan {
    splitting: Splitting,
    /// Bytes looked at.
    looked: usize,
    /// The record is given up; only its end is looked for.
    overlong: bool,
    /// CSV: inside quotes. JSON: inside a text.
    quoted: bool,
    /// CSV: at the beginning of a value, the only place where a quote opens. JSON: after a backslash.
    fresh: bool,
    /// CSV: right after a closing quote, which a second quote opens again.
    closed: bool,
    /// CSV: something other than a delimiter followed a closing quote, so a quote was stray.
    stray: bool,
    /// CSV: values before this one. JSON: open brackets.
    count: usize,
    /// CSV: the first line break inside quotes, and how many there were.
    breaks: Option<(usize, usize)>,
    /// JSON: where the object begins.
    object: Option<usize>,
}

impl Scan {
    fn new(splitting: Splitting) -> Self {
        Scan {
            splitting,
            looked: 0,
            overlong: false,
            quoted: false,
            fresh: matches!(splitting, Splitting::Csv { .. }),
            closed: false,
            stray: false,
            count: 0,
            breaks: None,
            object: None,
        }
    }

    fn restart(&mut self) {
        *self = Scan::new(self.splitting);
    }

    /// The unread bytes now begin `bytes` later.
    fn forget(&mut self, bytes: usize) {
        self.looked = self.looked.saturating_sub(bytes);
        self.object = self.object.map(|at| at.saturating_sub(bytes));
    }

    /// Bytes before the record that belong to none.
    fn blank_before(&self) -> usize {
        match self.splitting {
            Splitting::JsonObjects => self.object.unwrap_or(self.looked),
            _ => 0,
        }
    }

    /// An open quote was never closed: only the first line is taken, and the scan begins anew after it.
    fn give_up(&mut self, bytes: &[u8]) -> Option<Found> {
        let (first, _) = self.breaks?;
        self.restart();
        Some(line_found(bytes, first))
    }

    fn scan(&mut self, bytes: &[u8], max: usize) -> Option<Found> {
        match self.splitting {
            Splitting::Csv { delimiter, columns } if !self.overlong => {
                self.csv(bytes, delimiter, columns, max)
            }
            Splitting::Lines | Splitting::Csv { .. } => self.line(bytes),
            Splitting::JsonObjects => self.json(bytes),
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Option<Found> {
        let Some(length) = memchr::memchr(b'\n', bytes.get(self.looked..)?) else {
            self.looked = bytes.len();
            return None;
        };
        let end = self.looked + length;
        self.restart();
        Some(line_found(bytes, end))
    }

    fn csv(&mut self, bytes: &[u8], delimiter: u8, columns: usize, max: usize) -> Option<Found> {
        while let Some(&byte) = bytes.get(self.looked) {
            let at = self.looked;
            self.looked += 1;
            let after_closing = std::mem::take(&mut self.closed);
            let fresh = std::mem::take(&mut self.fresh);
            self.stray |=
                after_closing && byte != delimiter && !matches!(byte, b'"' | b'\r' | b'\n');
            match byte {
                b'"' if self.quoted => {
                    self.quoted = false;
                    self.closed = true;
                }
                b'"' => self.quoted = fresh || after_closing,
                b'\n' if self.quoted => {
                    let (first, breaks) = self.breaks.unwrap_or((at, 0));
                    self.breaks = Some((first, breaks + 1));
                    if breaks >= QUOTED_BREAKS_MAX {
                        return self.give_up(bytes);
                    }
                }
                b'\n' => {
                    let end = match self.breaks {
                        Some((first, _))
                            if self.stray || self.count + 1 != columns || at > max + 1 =>
                        {
                            first
                        }
                        _ => at,
                    };
                    self.restart();
                    return Some(line_found(bytes, end));
                }
                _ if byte == delimiter && !self.quoted => {
                    self.count += 1;
                    self.fresh = true;
                }
                _ => {}
            }
        }
        if bytes.len() > max + 2 {
            self.give_up(bytes)
        } else {
            None
        }
    }

    fn json(&mut self, bytes: &[u8]) -> Option<Found> {
        while let Some(&byte) = bytes.get(self.looked) {
            let Some(begin) = self.object else {
                if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']') {
                    self.object = Some(self.looked);
                    self.count = usize::from(byte == b'{');
                }
                self.looked += 1;
                continue;
            };
            // What is no object ends where its line ends or an object begins.
            let garbage_ends = self.count == 0 && byte == b'{';
            self.looked += usize::from(!garbage_ends);
            let ends = if self.count == 0 {
                garbage_ends || byte == b'\n'
            } else if self.quoted {
                self.text_ends(byte)
            } else {
                match byte {
                    b'"' => self.quoted = true,
                    b'{' | b'[' => self.count += 1,
                    b'}' | b']' => self.count -= 1,
                    _ => {}
                }
                self.count == 0
            };
            if ends {
                let end = self.looked;
                self.restart();
                return Some(Found {
                    body: begin..end,
                    length: end,
                });
            }
        }
        None
    }

    /// One byte inside a JSON text. A line break cannot stand there: it ends the whole broken object, so that one lost
    /// quote does not swallow the rest of the file.
    fn text_ends(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.fresh) {
            return byte == b'\n';
        }
        match byte {
            b'\\' => self.fresh = true,
            b'"' => self.quoted = false,
            _ => {}
        }
        byte == b'\n'
    }
}

/// A record that ends before the line break at `end`.
fn line_found(bytes: &[u8], end: usize) -> Found {
    let carriage_return = end > 0 && bytes.get(end - 1) == Some(&b'\r');
    Found {
        body: 0..end - usize::from(carriage_return),
        length: end + 1,
    }
}

#[cfg(test)]
mod tests;
