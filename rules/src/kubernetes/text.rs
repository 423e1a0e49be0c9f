//! From text to trees: documents, JSON or YAML, and the lines on which things stand.

use serde::de::DeserializeSeed;
use serde_saphyr::Error as YamlError;

use super::tree::{Answer, Document, Value};

/// Nothing of Kubernetes nests deeper; the bound keeps hostile input from exhausting the stack.
const DEPTH_MAX: usize = 100;

/// A YAML document is read at some 10 MB/s; beyond this size JSON, read fifty times as fast, is the better form.
const YAML_BYTES_MAX: usize = 512 << 20;

/// How many events aliases of one document may expand to. Manifests use a few; a bomb wants billions.
const ALIAS_EVENTS_MAX: usize = 200_000;

/// Where in a text lines begin.
pub(crate) struct Lines<'t> {
    text: &'t str,
    breaks: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { text, breaks }
    }

    /// The line, counted from 1, on which `part` begins, if `part` is a slice of the text.
    pub(crate) fn of(&self, part: &str) -> Option<u32> {
        let offset = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        if offset > self.text.len() {
            return None;
        }
        let line = self.breaks.partition_point(|&at| at < offset) + 1;
        u32::try_from(line).ok()
    }

    /// Whether `word` stands in the text as an unquoted `yes`, `no`, `on` or `off`: a boolean to kubectl, which
    /// follows YAML 1.1 there, a text to YAML 1.2.
    pub(crate) fn old_boolean(&self, word: &str) -> Option<bool> {
        let value = match word {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" => true,
            "no" | "No" | "NO" | "off" | "Off" | "OFF" => false,
            _ => return None,
        };
        let offset = (word.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        let before = self.text.as_bytes().get(offset.checked_sub(1)?)?;
        let is_slice = self.text.get(offset..offset + word.len()) == Some(word);
        (is_slice && !matches!(before, b'"' | b'\'')).then_some(value)
    }

    /// The line on which `value` begins, as far as something in it is a slice of the text.
    pub(crate) fn of_value(&self, value: &Value<'_>) -> Option<u32> {
        match value {
            Value::Text(text) => self.of(text),
            Value::Map(entries) => entries.iter().find_map(|(key, _)| self.of(key)),
            Value::List(items) => items.first().and_then(|item| self.of_value(item)),
            _ => None,
        }
    }
}

/// Why a document could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Counted from 1 in the whole text.
    pub(crate) line: u32,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The text ended within the value.
    pub(crate) cut: bool,
}

/// Hands every document of `text` to `each`, in order: YAML documents, JSON values one after the other, or a mixture.
/// A document that cannot be read is handed over as its reason; those after it are still read. With each comes the
/// line where it begins, as far as that is known.
pub(crate) fn documents<'t>(
    lines: &Lines<'t>,
    each: impl FnMut(u32, Result<Value<'t>, Unreadable>),
) {
    documents_by(Document, lines, each);
}

/// The same, keeping of each what `seed` keeps.
pub(crate) fn documents_by<'t>(
    seed: impl DeserializeSeed<'t, Value = Value<'t>> + Copy,
    lines: &Lines<'t>,
    mut each: impl FnMut(u32, Result<Value<'t>, Unreadable>),
) {
    for chunk in chunks(lines) {
        let first_line = lines.of(chunk).unwrap_or(1);
        let body = without_marker(chunk);
        if body.starts_with(['{', '[']) {
            let body_line = lines.of(body).unwrap_or(first_line);
            if read_json(seed, body, body_line, &mut each) {
                continue;
            }
        }
        if let Some(content) = first_content(chunk) {
            each(
                lines.of(content).unwrap_or(first_line),
                read_yaml(seed, chunk, first_line),
            );
        }
    }
}

/// Hands every JSON value of `text` to `each`, all of it, in order. What is not JSON ends it with its reason.
pub(crate) fn answers<'t>(
    lines: &Lines<'t>,
    mut each: impl FnMut(u32, Result<Value<'t>, Unreadable>),
) {
    let body = lines.text.trim_start_matches('\u{feff}').trim_start();
    let line = lines.of(body).unwrap_or(1);
    if !body.is_empty() && !read_json(Answer, body, line, &mut each) {
        let reason = Unreadable {
            line,
            message: "this is not JSON".to_owned(),
            help: Some("give what the API answered, as it came".to_owned()),
            cut: false,
        };
        each(line, Err(reason));
    }
}

/// Splits at document markers. At the start of a line `---` and `...` are markers wherever they stand, also within
/// a quoted text, and JSON cannot have them there. A chunk begins with its marker, if it has one.
fn chunks<'t>(lines: &Lines<'t>) -> impl Iterator<Item = &'t str> {
    let text = lines.text;
    let is_marker = move |at: usize| {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        (rest.starts_with(b"---") || rest.starts_with(b"..."))
            && matches!(rest.get(3), None | Some(b' ' | b'\t' | b'\r' | b'\n'))
    };
    let starts = lines
        .breaks
        .iter()
        .map(|at| at + 1)
        .filter(move |&at| is_marker(at));
    let mut from = 0;
    starts.chain([text.len()]).filter_map(move |to| {
        let chunk = text.get(from..to);
        from = to;
        chunk.filter(|chunk| !chunk.is_empty())
    })
}

/// What follows the byte order mark, the marker line and blanks.
fn without_marker(chunk: &str) -> &str {
    let chunk = chunk.trim_start_matches('\u{feff}');
    let after = chunk
        .strip_prefix("---")
        .or_else(|| chunk.strip_prefix("..."));
    after.unwrap_or(chunk).trim_start()
}

/// The first line of a chunk that is more than blank, a comment or a directive; `None` when it holds no document.
fn first_content(chunk: &str) -> Option<&str> {
    without_marker(chunk).lines().find(|line| {
        let content = line.trim_start();
        !content.is_empty() && !content.starts_with('#') && !line.starts_with('%')
    })
}

/// Reads JSON values one after the other. Returns whether this was JSON at all: `{a: b}` is YAML.
fn read_json<'t>(
    seed: impl DeserializeSeed<'t, Value = Value<'t>> + Copy,
    text: &'t str,
    first_line: u32,
    each: &mut impl FnMut(u32, Result<Value<'t>, Unreadable>),
) -> bool {
    use serde_json::error::Category;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    for count in 0_u64.. {
        match seed.deserialize(&mut deserializer) {
            Ok(value) => each(first_line, Ok(value)),
            Err(error) if count == 0 && error.classify() == Category::Syntax => return false,
            Err(error) => {
                let cut = error.classify() == Category::Eof;
                let line = line_within(first_line, error.line());
                let reason = Unreadable {
                    line,
                    message: if cut {
                        "the text ends in the middle of a value".to_owned()
                    } else {
                        before_location(&error.to_string())
                    },
                    help: cut.then(|| "the file was cut short; write it again".to_owned()),
                    cut,
                };
                each(line, Err(reason));
                return true;
            }
        }
        if deserializer.end().is_ok() {
            return true;
        }
    }
    true
}

fn read_yaml<'t>(
    seed: impl DeserializeSeed<'t, Value = Value<'t>>,
    text: &'t str,
    first_line: u32,
) -> Result<Value<'t>, Unreadable> {
    if text.len() > YAML_BYTES_MAX {
        return Err(Unreadable {
            line: first_line,
            message: format!("a YAML document of {} MiB is too large", text.len() >> 20),
            help: Some("write it as JSON: kubectl get -o json".to_owned()),
            cut: false,
        });
    }
    let text = if text.starts_with("...") {
        text.get(3..).unwrap_or_default()
    } else {
        text
    };
    serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(text.len()), |yaml| {
        seed.deserialize(yaml)
    })
    .map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        Unreadable {
            line: line_within(first_line, usize::try_from(line).unwrap_or(1)),
            message: yaml_message(&error),
            help: yaml_help(&error),
            cut: false,
        }
    })
}

/// The text is in memory already, so its own size bounds what it holds; only what aliases repeat needs a limit.
fn yaml_options(text_bytes: usize) -> serde_saphyr::Options {
    let size = text_bytes.saturating_mul(2).saturating_add(1_000);
    let mut budget = serde_saphyr::Budget::default();
    budget.max_events = size.saturating_add(ALIAS_EVENTS_MAX);
    budget.max_nodes = size.saturating_add(ALIAS_EVENTS_MAX);
    // Texts are borrowed, so repeating one costs nothing by itself.
    budget.max_total_scalar_bytes = usize::MAX;
    budget.max_depth = DEPTH_MAX;
    budget.max_documents = usize::MAX;
    budget.enforce_alias_anchor_ratio = false;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = ALIAS_EVENTS_MAX;
    options.emit_comments = false;
    options.with_snippet = false;
    // What kubectl's own reader takes an unquoted 0777 for.
    options.legacy_octal_numbers = true;
    // `y` and `n` are texts to most writers. What kubectl takes for a boolean is sorted out by `Lines::old_boolean`.
    options.strict_booleans = true;
    options
}

fn yaml_message(error: &YamlError) -> String {
    match error {
        YamlError::AliasError { error, .. } => yaml_message(error),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{}` is there twice", super::tree::shorten(key))
        }
        YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => {
            "its aliases expand to more than any manifest needs".to_owned()
        }
        YamlError::Budget { .. } => format!(
            "too large or too deep: {}",
            before_location(&error.to_string())
        ),
        _ => before_location(&error.to_string()),
    }
}

fn yaml_help(error: &YamlError) -> Option<String> {
    match error {
        YamlError::AliasError { error, .. } => yaml_help(error),
        YamlError::DuplicateMappingKey { .. } => Some(
            "keep one of them, or join them into one; readers disagree on which would count"
                .to_owned(),
        ),
        YamlError::Budget { .. } | YamlError::AliasReplayLimitExceeded { .. } => None,
        _ => Some("nothing of this document was used; the others of the file were".to_owned()),
    }
}

/// The message without its own idea of where, which counts from the start of the document.
fn before_location(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let end = line.find(" at line ").unwrap_or(line.len());
    super::tree::shorten(line.get(..end).unwrap_or(line)).into_owned()
}

fn line_within(first_line: u32, line: usize) -> u32 {
    first_line.saturating_add(u32::try_from(line.saturating_sub(1)).unwrap_or(u32::MAX))
}
