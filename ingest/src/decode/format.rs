//! From the first bytes of a stream: how its records are written, and the decoder for them.

use thiserror::Error;

use super::csv::{CsvDecoder, HeaderError};
use super::json::JsonDecoder;
use super::split::Splitting;
use super::text::{self, Layout};
use super::{Field, RawRecord, Unreadable, as_text};

/// How many bytes of a stream are looked at to recognise it.
pub const WINDOW_BYTES: usize = 64 * 1024;

/// A JSON object with fewer known fields does not make its file a flow log.
const KNOWN_MIN: usize = 3;

/// Why a stream is not a flow log that we can read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAFlowLog {
    /// A known format that is read by something else, or by nothing.
    #[error("is {what}, not a flow log")]
    Other {
        /// The format, with its article.
        what: &'static str,
        /// What to do with it.
        help: &'static str,
    },
    /// Bytes that are no text.
    #[error("is binary data, not a flow log")]
    Binary,
    /// Text in which nothing looks like a record.
    #[error("is not a flow log: no line in its first {bytes} bytes is a record or a header")]
    NoRecord {
        /// How many bytes were looked at.
        bytes: usize,
    },
    /// A CSV header that lacks what every flow needs.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl NotAFlowLog {
    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            NotAFlowLog::Other { help, .. } => (*help).to_owned(),
            NotAFlowLog::Binary => "flow logs are JSON lines, CSV with a header, or space-separated text, as they are or packed by gzip or zstd".to_owned(),
            NotAFlowLog::NoRecord { .. } => {
                "if these are space-separated records in an order of their own, name the order with `--fields`".to_owned()
            }
            NotAFlowLog::Header(_) => "export the records with all their fields".to_owned(),
        })
    }
}

/// How the records of a stream are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    JsonLines,
    /// JSON objects over several lines, one after the other or in one list.
    JsonObjects,
    /// CSV under this header, which is the first line of the stream.
    Csv {
        /// The header as written.
        header: String,
    },
    /// Space-separated text. A header line in the stream names the layout.
    Text {
        /// What stands where.
        layout: Layout,
    },
}

impl Format {
    /// Recognises a stream by its beginning. `fields` is the order of space-separated values as the user gave it;
    /// `whole` says that the window is all there is.
    ///
    /// ```
    /// use flowaudit_ingest::decode::Format;
    /// let log = br#"{"srcaddr":"10.0.0.1","dstaddr":"10.0.0.2","start":"1"}"#;
    /// assert_eq!(Format::recognise(log, true, None), Ok(Format::JsonLines));
    /// ```
    pub fn recognise(
        window: &[u8],
        whole: bool,
        fields: Option<&Layout>,
    ) -> Result<Format, NotAFlowLog> {
        if let Some((what, help)) = known_stranger(window) {
            return Err(NotAFlowLog::Other { what, help });
        }
        let text = window.strip_prefix(b"\xef\xbb\xbf").unwrap_or(window);
        let last_is_cut = !whole;
        let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        let complete = if last_is_cut && lines.len() > 1 {
            lines.len() - 1
        } else {
            lines.len()
        };
        let mut lines = lines
            .iter()
            .take(complete)
            .map(|line| line.trim_ascii())
            .filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        match first {
            [b'[', ..] | b"{" => return json_objects(text, whole),
            _ => {}
        }
        if first.len() > 2 {
            match CsvDecoder::new(first) {
                Ok(decoder) => {
                    return Ok(Format::Csv {
                        header: decoder.header().to_owned(),
                    });
                }
                Err(HeaderError::NotAHeader) => {}
                Err(error) if !first.contains(&b'{') => match header_layout(first) {
                    Some(layout) => return Ok(Format::Text { layout }),
                    None => return Err(error.into()),
                },
                Err(_) => {}
            }
        }
        for line in std::iter::once(first).chain(lines) {
            if let Some(format) = of_line(line, fields) {
                return Ok(format);
            }
        }
        if memchr::memchr(0, window).is_some() {
            return Err(NotAFlowLog::Binary);
        }
        // One line that fills the window: its length is not known, and what follows may be good.
        if last_is_cut
            && complete == 1
            && as_text(text.get(..text.len().saturating_sub(4)).unwrap_or_default()).is_ok()
        {
            return Ok(Format::JsonLines);
        }
        if window_is_binary(window) {
            return Err(NotAFlowLog::Binary);
        }
        if contains(window, b"apiVersion") {
            return Err(NotAFlowLog::Other {
                what: "a Kubernetes manifest",
                help: "bring inventory in with `flowaudit inventory import`",
            });
        }
        Err(NotAFlowLog::NoRecord {
            bytes: window.len(),
        })
    }

    /// As checkpoints keep it: `json-lines`, `json-objects`, `csv` or `text`, and the CSV header, or the names of the
    /// text's columns.
    #[must_use]
    pub fn to_names(&self) -> (&'static str, String) {
        match self {
            Format::JsonLines => ("json-lines", String::new()),
            Format::JsonObjects => ("json-objects", String::new()),
            Format::Csv { header } => ("csv", header.clone()),
            Format::Text { layout } => ("text", layout.names()),
        }
    }

    /// The format that [`to_names`](Self::to_names) gave these for.
    #[must_use]
    pub fn from_names(name: &str, header: &str) -> Option<Format> {
        Some(match name {
            "json-lines" => Format::JsonLines,
            "json-objects" => Format::JsonObjects,
            "csv" => Format::Csv {
                header: header.to_owned(),
            },
            "text" if header.is_empty() => Format::Text {
                layout: Layout::Documented,
            },
            "text" => Format::Text {
                layout: Layout::from_names(header)?,
            },
            _ => return None,
        })
    }

    /// Where its records end.
    #[must_use]
    pub fn splitting(&self) -> Splitting {
        match self {
            Format::JsonLines | Format::Text { .. } => Splitting::Lines,
            Format::JsonObjects => Splitting::JsonObjects,
            Format::Csv { header } => match CsvDecoder::new(header.as_bytes()) {
                Ok(decoder) => Splitting::Csv {
                    delimiter: decoder.delimiter(),
                    columns: decoder.columns(),
                },
                Err(_) => Splitting::Lines,
            },
        }
    }
}

/// What one line alone makes of its file.
fn of_line(line: &[u8], fields: Option<&Layout>) -> Option<Format> {
    if line.first() == Some(&b'{') {
        let known = super::json::record(line).is_ok_and(|record| record.len() >= KNOWN_MIN);
        return known.then_some(Format::JsonLines);
    }
    if let Some(layout) = header_layout(line) {
        return Some(Format::Text { layout });
    }
    let layout = fields.unwrap_or(&Layout::Documented);
    let fits = match layout {
        Layout::Documented => text::is_documented(line),
        Layout::Named(_) => text::record(line, layout).is_ok(),
    };
    fits.then(|| Format::Text {
        layout: layout.clone(),
    })
}

/// The layout that a line of field names gives.
fn header_layout(line: &[u8]) -> Option<Layout> {
    let names = as_text(line).ok()?;
    if names.contains(['{', ','])
        || names
            .split_ascii_whitespace()
            .any(|name| name.parse::<f64>().is_ok())
    {
        return None;
    }
    let layout = Layout::from_names(names)?;
    let Layout::Named(columns) = &layout else {
        return None;
    };
    [Field::Start, Field::SrcAddr, Field::DstAddr]
        .iter()
        .all(|field| columns.contains(&Some(*field)))
        .then_some(layout)
}

/// Whether a window of JSON that goes over several lines holds a record.
fn json_objects(text: &[u8], whole: bool) -> Result<Format, NotAFlowLog> {
    let mut pieces = super::split::Pieces::new(text, 0, Splitting::JsonObjects, text.len().max(1));
    let mut some = false;
    while let Some(piece) = pieces.next_piece() {
        // The last one is cut by the window.
        some |= piece.end == super::split::PieceEnd::Seen;
        if super::json::record(piece.bytes).is_ok_and(|record| record.len() >= KNOWN_MIN) {
            return Ok(Format::JsonObjects);
        }
    }
    if !some && !whole {
        return Ok(Format::JsonObjects);
    }
    if contains(text, b"apiVersion") {
        return Err(NotAFlowLog::Other {
            what: "a Kubernetes manifest",
            help: "bring inventory in with `flowaudit inventory import`",
        });
    }
    if window_is_binary(text) {
        return Err(NotAFlowLog::Binary);
    }
    Err(NotAFlowLog::NoRecord { bytes: text.len() })
}

/// Formats people are likely to have lying beside their logs.
fn known_stranger(window: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match window {
        [b'P', b'A', b'R', b'1', ..] => {
            ("a Parquet file", "export the records as JSON lines or CSV")
        }
        [b'P', b'K', 3, 4, ..] => (
            "a zip archive",
            "unpack it first; gzip and zstd are read as they are",
        ),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => (
            "packed by xz",
            "unpack it first; gzip and zstd are read as they are",
        ),
        [b'B', b'Z', b'h', ..] => (
            "packed by bzip2",
            "unpack it first; gzip and zstd are read as they are",
        ),
        [0x04, 0x22, 0x4d, 0x18, ..] => (
            "packed by lz4",
            "unpack it first; gzip and zstd are read as they are",
        ),
        [0xff, b'O', ..] | [b'O', b'R', b'C', ..] => {
            ("an ORC file", "export the records as JSON lines or CSV")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => (
            "UTF-16 text",
            "write it as UTF-8, for example with `iconv -f UTF-16 -t UTF-8`",
        ),
        [0x1f, 0x8b, ..] => ("packed twice by gzip", "unpack it once"),
        _ if window.get(257..262) == Some(b"ustar") => {
            ("a tar archive", "unpack it and name the directory")
        }
        _ => return None,
    })
}

/// Whether more than a tenth of the bytes are such as text does not have.
fn window_is_binary(window: &[u8]) -> bool {
    let strange = window
        .iter()
        .filter(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127))
        .count();
    let invalid = std::str::from_utf8(window).is_err_and(|error| error.error_len().is_some());
    strange * 10 > window.len() || invalid
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}

/// The decoder of a format.
#[derive(Debug)]
pub enum Decoder {
    /// JSON objects.
    Json(JsonDecoder),
    /// CSV records.
    Csv(Box<CsvDecoder>),
    /// Lines of text.
    Text {
        /// What stands where.
        layout: Layout,
        /// Whether a line of field names may stand between the records.
        header: bool,
    },
}

impl Decoder {
    /// The decoder of a format.
    pub fn new(format: &Format) -> Result<Self, NotAFlowLog> {
        Ok(match format {
            Format::JsonLines | Format::JsonObjects => Decoder::Json(JsonDecoder::default()),
            Format::Csv { header } => Decoder::Csv(Box::new(CsvDecoder::new(header.as_bytes())?)),
            Format::Text { layout } => Decoder::Text {
                layout: layout.clone(),
                header: matches!(layout, Layout::Named(_)),
            },
        })
    }

    /// Decodes one piece. `None` is a header, which is known already and stands again where files were joined; it is no
    /// record and not counted.
    pub fn decode<'a>(&'a mut self, piece: &'a [u8]) -> Result<Option<RawRecord<'a>>, Unreadable> {
        match self {
            Decoder::Json(decoder) => decoder.record(piece).map(Some),
            Decoder::Csv(decoder) => {
                let bare = piece
                    .strip_prefix(b"\xef\xbb\xbf")
                    .unwrap_or(piece)
                    .trim_ascii_end();
                if bare == decoder.header().as_bytes().trim_ascii_end() {
                    return Ok(None);
                }
                decoder.record(piece).map(Some)
            }
            Decoder::Text { layout, header } => {
                if *header && header_layout(piece).as_ref() == Some(layout) {
                    return Ok(None);
                }
                text::record(piece, layout).map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"{"srcaddr":"10.0.0.1","dstaddr":"10.0.0.2","start":"1"}"#;
    const TEXT: &str = "1 1210 eni-1 i-1 vsw-1 vpc-1 6 10.0.0.1 41332 10.0.0.2 80 out ACCEPT 10 2048 1720775420 1720775480 27 OK 2";

    fn recognise(text: &str) -> Result<Format, NotAFlowLog> {
        Format::recognise(text.as_bytes(), true, None)
    }

    #[test]
    fn each_format_by_its_content() {
        assert_eq!(recognise(JSON), Ok(Format::JsonLines));
        assert_eq!(
            recognise(&format!("\u{feff}\n\n{JSON}\n")),
            Ok(Format::JsonLines)
        );
        assert_eq!(recognise(&format!("[{JSON}]")), Ok(Format::JsonObjects));
        assert_eq!(recognise(&format!("[\n{JSON}\n]")), Ok(Format::JsonObjects));
        assert_eq!(
            recognise("{\n\"srcaddr\":\"10.0.0.1\",\n\"dstaddr\":\"b\",\"start\":1\n}"),
            Ok(Format::JsonObjects)
        );
        let header = "start,end,srcaddr,dstaddr,protocol";
        assert_eq!(
            recognise(&format!("{header}\r\n1,2")),
            Ok(Format::Csv {
                header: header.to_owned()
            })
        );
        assert_eq!(
            recognise(TEXT),
            Ok(Format::Text {
                layout: Layout::Documented
            })
        );
        let Ok(Format::Text {
            layout: Layout::Named(columns),
        }) = recognise("srcaddr dstaddr start end protocol\n")
        else {
            panic!("a header line of names");
        };
        assert_eq!(columns.len(), 5);
        let fields = Layout::from_names("srcaddr dstaddr start").unwrap();
        let given = Format::recognise(b"10.0.0.1 10.0.0.2 7", true, Some(&fields));
        assert_eq!(given, Ok(Format::Text { layout: fields }));
    }

    #[test]
    fn broken_lines_before_good_ones_do_not_hide_them() {
        assert_eq!(
            recognise(&format!("{{\"srcaddr\":\nnonsense\0\n{JSON}\n")),
            Ok(Format::JsonLines)
        );
        assert_eq!(
            recognise(&format!("half a line\n{TEXT}\n")),
            Ok(Format::Text {
                layout: Layout::Documented
            })
        );
        let long = "x".repeat(WINDOW_BYTES);
        assert_eq!(
            Format::recognise(long.as_bytes(), false, None),
            Ok(Format::JsonLines)
        );
    }

    #[track_caller]
    fn check_stranger(bytes: &[u8], message: &str) {
        let error = Format::recognise(bytes, true, None).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.help().is_some());
    }

    #[test]
    fn strangers_are_named() {
        check_stranger(b"PAR1\x15\x04", "is a Parquet file, not a flow log");
        check_stranger(b"\xff\xfe{\0\"\0", "is UTF-16 text, not a flow log");
        check_stranger(
            b"\x7fELF\x02\x01\x01\0\0\0",
            "is binary data, not a flow log",
        );
        check_stranger(b"\x80\x81\x82\x83", "is binary data, not a flow log");
        check_stranger(
            b"apiVersion: v1\nkind: Pod\n",
            "is a Kubernetes manifest, not a flow log",
        );
        check_stranger(
            b"{\n  \"apiVersion\": \"v1\",\n \"items\": [] }",
            "is a Kubernetes manifest, not a flow log",
        );
        check_stranger(
            b"# Read me\nThis is prose.\n",
            "is not a flow log: no line in its first 25 bytes is a record or a header",
        );
        check_stranger(
            b"{\"a\":1}\n{\"b\":2}\n",
            "is not a flow log: no line in its first 16 bytes is a record or a header",
        );
        check_stranger(
            b"start,end,srcaddr,protocol\n1,2,3,4\n",
            "the header has no column `dstaddr`",
        );
    }

    #[test]
    fn a_header_that_stands_again_is_no_record() {
        for (first, record) in [
            ("start,end,srcaddr,dstaddr,protocol", "1,2,a,b,6"),
            ("srcaddr dstaddr start end", "a b 1 2"),
        ] {
            let mut decoder = Decoder::new(&recognise(first).unwrap()).unwrap();
            assert!(matches!(decoder.decode(first.as_bytes()), Ok(None)));
            assert!(matches!(decoder.decode(record.as_bytes()), Ok(Some(_))));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), whole in any::<bool>()) {
            if let Ok(format) = Format::recognise(&bytes, whole, None) {
                let _ = Decoder::new(&format).map(|mut decoder| decoder.decode(&bytes).is_ok());
            }
        }
    }
}
