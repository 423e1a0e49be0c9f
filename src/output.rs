//! Results on standard output: as a table for people, as JSON for programs.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::str::FromStr;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

/// A narrower terminal wraps better by itself.
const TERMINAL_WIDTH_MIN: u16 = 80;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON value.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values, with a line of names.
    Csv,
    /// SARIF 2.1.0, for pull requests.
    Sarif,
    /// A graph in Graphviz's language.
    Dot,
}

impl Format {
    /// What commands print unless they say otherwise.
    pub(crate) const COMMON: &[Format] = &[Format::Table, Format::Json, Format::Ndjson];

    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Format::Table => "table",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
            Format::Sarif => "sarif",
            Format::Dot => "dot",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        clap::ValueEnum::from_str(text, false).map_err(|_| {
            format!("`{text}` is not a format: write table, json, ndjson, csv, sarif or dot")
        })
    }
}

/// Prints a list: a table of `cells` under `headers`, or the items as JSON.
pub(crate) fn list<T: Serialize>(
    format: Format,
    items: &[T],
    headers: &[&str],
    cells: impl Fn(&T) -> Vec<String>,
) -> io::Result<()> {
    match format {
        Format::Table => print(&table(headers, items.iter().map(cells))),
        _ => json(format, items),
    }
}

/// Prints text of ours; what in it came from outside is printable already.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints items as one JSON array, or one to a line.
pub(crate) fn json<T: Serialize>(format: Format, items: &[T]) -> io::Result<()> {
    let mut out = stdout();
    if format == Format::Ndjson {
        for item in items {
            serde_json::to_writer(&mut out, item)?;
            writeln!(out)?;
        }
    } else {
        serde_json::to_writer_pretty(&mut out, items)?;
        writeln!(out)?;
    }
    out.flush()
}

/// Prints one thing: its text, or itself as JSON.
pub(crate) fn one<T: Serialize>(
    format: Format,
    item: &T,
    text: impl FnOnce() -> String,
) -> io::Result<()> {
    let mut out = stdout();
    match format {
        Format::Table => write!(out, "{}", printable(&text()))?,
        Format::Ndjson => {
            serde_json::to_writer(&mut out, item)?;
            writeln!(out)?;
        }
        _ => {
            serde_json::to_writer_pretty(&mut out, item)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

/// A table as text.
pub(crate) fn table(headers: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // In a pipe nothing is wrapped: one row stays one line.
    let is_wide_enough = table
        .width()
        .is_some_and(|width| width >= TERMINAL_WIDTH_MIN);
    if io::stdout().is_terminal() && is_wide_enough {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(headers.iter().map(|header| header.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell).into_owned()));
    }
    // Only the widest column, which holds sentences, gives way; ids and times stay in one piece.
    let widths = table.column_max_content_widths();
    let widest = widths.iter().max().copied().unwrap_or_default();
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_padding((0, 2));
        if width < widest {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt() + "\n"
}

/// Standard output, buffered.
pub(crate) fn stdout() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 18, io::stdout().lock())
}

/// Text in which nothing steers the terminal: names and raw lines come from outside.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) {
        let escaped = text.chars().map(|c| match steers(c) {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        });
        Cow::Owned(escaped.collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `1,234 records`
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `12.4 MiB`
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = number as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{number} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "flow", "flows"), "1 flow");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("\x1b[2Jshop/cart\r"), "\\u{1b}[2Jshop/cart\\r");
        assert_eq!(printable("two\nlines"), "two\nlines");
    }
}
