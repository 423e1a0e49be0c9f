//! Files → snapshots and watches, each with its time.
//!
//! The files of Kubernetes carry no time of their own. In this order: the time given by the user, a time in the file's name or
//! the name of a directory above it (`2026-11-24T08:00:00Z`, `2026-11-24T08-00-00Z`, `20261124T080000Z`; always UTC,
//! always with `Z`), the time the file was last written, which is noted, for copying a file changes it. A file cannot
//! be older than the times written in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};
use flowaudit_rules::kubernetes::{self, Issue, Manifest, Severity, Watch};

use super::ImportSettings;
use super::past::Past;
use super::past::text::{is_past, values};
use super::rendered;
use super::sighting::{latest_time, us};
use crate::decode::compressed::Decompress;
use crate::source::Problem;
use crate::source::file::Counted;
use crate::source::input::{Located, reason};

/// Clocks of nodes and of who dumped the cluster may differ by this much.
const SKEW_US: i64 = 60_000_000;

/// What one file holds.
#[derive(Debug)]
pub enum Content {
    /// Objects as they were at one time.
    Snapshot(Manifest),
    /// Events.
    Watch(Watch),
    /// Audit events or events of Kubernetes, which were handed on.
    Past {
        /// How many.
        entries: usize,
    },
}

/// One file that was read.
#[derive(Debug)]
pub struct Part {
    /// What it holds.
    pub content: Content,
    /// The time of the snapshot, or the end of the watch; microseconds since the epoch. Of a watch it may be unknown.
    pub at: Option<i64>,
    /// What was left out of it: what seems to be missing may be that.
    pub left_out: LeftOut,
}

/// What was left out of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// A whole document, which may have held anything.
    pub anything: bool,
    /// Objects of these kinds.
    pub kinds: BTreeSet<String>,
}

impl LeftOut {
    fn of(issues: &[Issue]) -> LeftOut {
        let mut left_out = LeftOut::default();
        for issue in issues
            .iter()
            .filter(|issue| issue.severity == Severity::Error)
        {
            // `NetworkPolicy shop/redis`
            match issue
                .object
                .as_deref()
                .and_then(|title| title.split(' ').next())
            {
                Some(kind) => drop(left_out.kinds.insert(kind.to_owned())),
                None => left_out.anything = true,
            }
        }
        left_out
    }

    /// Whether objects of a kind may be missing.
    #[must_use]
    pub fn may_hold(&self, kind: &str) -> bool {
        self.anything || self.kinds.contains(kind)
    }
}

impl Part {
    /// What was left out, and what is odd.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        match &self.content {
            Content::Snapshot(manifest) => &manifest.issues,
            Content::Watch(watch) => &watch.issues,
            Content::Past { .. } => &[],
        }
    }
}

/// Whether a file in a directory may hold inventory.
#[must_use]
pub fn is_wanted(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let bare = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(&name);
    let is_audit_log = bare.contains("audit") && bare.ends_with(".log") || bare.ends_with(".audit");
    is_audit_log
        || [".json", ".yaml", ".yml", ".ndjson", ".jsonl"]
            .iter()
            .any(|ending| bare.ends_with(ending))
}

/// Reads one file. What is wrong with it as a whole is a problem; nothing of it is used then.
pub fn read(
    located: &Located,
    settings: &ImportSettings,
    now: DateTime<Utc>,
    past: &mut Past,
    problems: &mut Vec<Problem>,
) -> Option<Part> {
    let name = located.name();
    let (text, cut, written) = match text_of(located, settings.text_bytes_max) {
        Ok(text) => text,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    if is_past(&text) {
        return Some(read_past(&name, &text, cut, past, problems));
    }
    let content = if is_watch(&text) {
        Content::Watch(kubernetes::read_watch(&name, &text))
    } else {
        Content::Snapshot(kubernetes::read(&name, &text))
    };
    if cut {
        let message = "is cut off: its packed data ends too early";
        match content {
            Content::Watch(_) => problems.push(Problem::note(
                &name,
                format!("{message}; the events before that are used"),
            )),
            Content::Snapshot(_) => {
                let help = "nothing of it was used, for what is missing would look gone; import the whole file";
                problems.push(Problem::failed(&name, message, help));
                return None;
            }
            Content::Past { .. } => {}
        }
    }
    if let Content::Snapshot(manifest) = &content
        && let Some(problem) = rendered::template(&name, &text, manifest)
    {
        problems.push(problem);
        return None;
    }
    let latest = match &content {
        Content::Snapshot(manifest) => manifest.objects.iter().filter_map(latest_time).max(),
        Content::Watch(watch) => watch
            .events
            .iter()
            .filter_map(|event| latest_time(&event.object))
            .max(),
        Content::Past { .. } => None,
    };
    let part = Part {
        content,
        at: None,
        left_out: LeftOut::default(),
    };
    let left_out = LeftOut::of(part.issues());
    let said = settings.declared_from.or(settings.at);
    let said = said.or_else(|| time_in_path(located));
    let at = match (&part.content, said) {
        (Content::Watch(watch), Some(_)) if cut || watch.is_broken_off => {
            let message = "broke off: it is taken to end with the last time written in it, for what came after that may be missing";
            problems.push(Problem::note(&name, message));
            None
        }
        (_, Some(said)) => {
            let is_seen = settings.declared_from.is_none();
            if is_seen && us(said) > us(now).saturating_add(SKEW_US) {
                let text = said.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                let message = format!("cannot be from {text}: that is yet to come");
                let help = "say when it was made with `--at`; nothing of it was used";
                problems.push(Problem::failed(&name, message, help));
                return None;
            }
            Some(checked(&name, us(said), latest, problems)?)
        }
        (Content::Watch(_) | Content::Past { .. }, None) => None,
        (Content::Snapshot(manifest), None) => {
            let written = written.unwrap_or(now).min(now);
            let at = us(written).max(latest.unwrap_or(i64::MIN));
            let from_file = *located != Located::Stdin && !manifest.objects.is_empty();
            if from_file {
                let text = written.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                problems.push(Problem {
                    help: Some("if the file was copied since, say when it was made with `--at`, or put the time into its name".to_owned()),
                    ..Problem::note(&name, format!("is taken to be from {text}, when it was last written"))
                });
            }
            Some(at)
        }
    };
    Some(Part {
        at,
        left_out,
        ..part
    })
}

/// Hands on what a log holds. It has times of its own, and what is damaged in it is passed over.
fn read_past(
    name: &str,
    text: &str,
    cut: bool,
    past: &mut Past,
    problems: &mut Vec<Problem>,
) -> Part {
    let mut entries = 0;
    let unread = values(text, |value| {
        entries += 1;
        past.read(value);
    });
    if cut || unread.cut {
        let message = "is cut off; the entries before that are used";
        problems.push(Problem::note(name, message));
    }
    if unread.lines > 0 {
        let message = format!(
            "{} lines in it are no JSON and were passed over",
            unread.lines
        );
        problems.push(Problem::note(name, message));
    }
    Part {
        content: Content::Past { entries },
        at: None,
        left_out: LeftOut::default(),
    }
}

/// The time, unless something in the file is from later.
fn checked(name: &str, said: i64, latest: Option<i64>, problems: &mut Vec<Problem>) -> Option<i64> {
    let Some(latest) = latest.filter(|latest| *latest > said) else {
        return Some(said);
    };
    if latest - said <= SKEW_US {
        return Some(latest);
    }
    let text = |at| {
        DateTime::from_timestamp_micros(at)
            .unwrap_or_default()
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    };
    problems.push(Problem::failed(
        name,
        format!(
            "cannot be from {}: something in it is from {}",
            text(said),
            text(latest)
        ),
        "say when it was made with `--at`; nothing of it was used",
    ));
    None
}

pub(crate) type Text = (String, bool, Option<DateTime<Utc>>);

/// The text of a file, whether it was cut off, and when it was last written.
pub(crate) fn text_of(located: &Located, max: u64) -> Result<Text, Problem> {
    let name = located.name();
    let unreadable = |error: io::Error| {
        Problem::failed(
            &name,
            format!("cannot be read: {}", reason(&error)),
            "see to it that this user may read it, and run again",
        )
    };
    match located {
        Located::Stdin => {
            text_from(&name, io::stdin().lock(), max).map(|(text, cut)| (text, cut, None))
        }
        Located::File(path) | Located::Stream(path) => {
            let file = File::open(path).map_err(unreadable)?;
            let written = file
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
                .map(DateTime::from);
            text_from(&name, file, max).map(|(text, cut)| (text, cut, written))
        }
    }
}

fn text_from(name: &str, input: impl Read, max: u64) -> Result<(String, bool), Problem> {
    let unreadable = |error: &io::Error| {
        Problem::failed(
            name,
            format!("cannot be read: {}", reason(error)),
            "see to it that this user may read it, and run again",
        )
    };
    let (mut decompress, _) =
        Decompress::new(Counted::new(input)).map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    let read = decompress.by_ref().take(max + 1).read_to_end(&mut bytes);
    let cut = match read {
        Ok(_) => false,
        Err(error) if decompress.get_ref().get_ref().failed => return Err(unreadable(&error)),
        Err(_) => true,
    };
    if bytes.len() as u64 > max {
        return Err(Problem::failed(
            name,
            format!("holds more than {max} bytes"),
            "import it in parts; nothing of it was used",
        ));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Problem::failed(
            name,
            "is written in UTF-16, as PowerShell does where output goes to a file",
            "write it as UTF-8, as with `| Out-File -Encoding utf8`; nothing of it was used",
        ));
    }
    let valid = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.len(),
        // A cut may fall into a character.
        Err(error) if cut && error.error_len().is_none() => error.valid_up_to(),
        Err(error) => {
            return Err(Problem::failed(
                name,
                format!("is not text: byte {} is not UTF-8", error.valid_up_to()),
                "inventory is YAML or JSON, as `kubectl get … -o yaml` writes it; nothing of it was used",
            ));
        }
    };
    bytes.truncate(valid);
    Ok((String::from_utf8(bytes).unwrap_or_default(), cut))
}

/// `{"type":"ADDED","object":…`, or the same as YAML.
fn is_watch(text: &str) -> bool {
    const CHANGES: [&str; 5] = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"];
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let json = text
        .strip_prefix('{')
        .map(str::trim_start)
        .and_then(|rest| rest.strip_prefix("\"type\""));
    if let Some(rest) = json
        .map(str::trim_start)
        .and_then(|rest| rest.strip_prefix(':'))
    {
        let word = rest.trim_start().trim_start_matches('"');
        return CHANGES.iter().any(|change| word.starts_with(change));
    }
    let change = |line: &str| {
        line.strip_prefix("type:")
            .is_some_and(|word| CHANGES.contains(&word.trim().trim_matches('"')))
    };
    !text.starts_with('{')
        && text.lines().any(|line| line.trim_end() == "object:")
        && text.lines().any(change)
}

/// A time in the name of the file, else in the nearest directory that has one.
pub(crate) fn time_in_path(located: &Located) -> Option<DateTime<Utc>> {
    let (Located::File(path) | Located::Stream(path)) = located else {
        return None;
    };
    path.components()
        .rev()
        .find_map(|component| time_in(&component.as_os_str().to_string_lossy()))
}

/// `2026-11-24T08:00:00Z`, `2026-11-24T08-00-00Z`, `20261124T080000Z` anywhere in a name.
fn time_in(name: &str) -> Option<DateTime<Utc>> {
    name.match_indices('T').find_map(|(at, _)| {
        let (date, time) = (name.get(..at)?, name.get(at + 1..)?);
        let end = time.find('Z')?;
        let time: String = digits(time.get(..end)?, &['-', ':', '_'])?;
        // The longer form first: its end looks like the shorter one's.
        let date = [10, 8].into_iter().find_map(|length| {
            let text = date.get(date.len().checked_sub(length)?..)?;
            let digits = digits(text, &['-', '_'])?;
            (digits.len() == 8).then(|| NaiveDate::parse_from_str(&digits, "%Y%m%d").ok())?
        })?;
        let part = |from: usize| time.get(from..from + 2)?.parse::<u32>().ok();
        (time.len() == 6)
            .then(|| date.and_hms_opt(part(0)?, part(2)?, part(4)?))?
            .map(|time| time.and_utc())
    })
}

/// The digits of a text that holds nothing but digits and separators.
fn digits(text: &str, separators: &[char]) -> Option<String> {
    let bare: String = text
        .chars()
        .filter(|character| !separators.contains(character))
        .collect();
    bare.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_names() {
        let expected: DateTime<Utc> = "2026-11-24T08:00:00Z".parse().unwrap();
        for name in [
            "2026-11-24T08:00:00Z.yaml",
            "pods-2026-11-24T08-00-00Z.json.gz",
            "20261124T080000Z",
            "TEST-snapshot_20261124T080000Z_all.yaml",
            "x2026_11_24T08_00_00Z",
        ] {
            assert_eq!(time_in(name), Some(expected), "{name}");
        }
        for name in [
            "",
            "T",
            "TZ",
            "2026-11-24",
            "2026-11-24T08:00:00",
            "2026-13-24T08:00:00Z",
            "2026-11-24T25:00:00Z",
            "ÄT08:00:00Z",
            "20261124T08000ÄZ",
        ] {
            assert_eq!(time_in(name), None, "{name}");
        }
        let path = Located::File("/dump/20261124T080000Z/shop/pods.json".into());
        assert_eq!(time_in_path(&path), Some(expected));
    }

    #[test]
    fn watches_are_recognised() {
        assert!(is_watch(r#"{"type":"ADDED","object":{}}"#));
        assert!(is_watch("{\n  \"type\": \"BOOKMARK\",\n"));
        assert!(is_watch("object:\n  kind: Pod\ntype: ADDED\n---\n"));
        for text in [
            "",
            "{",
            r#"{"type":"Opaque"}"#,
            "apiVersion: v1\ntype: Opaque\n",
            "kind: Pod\nspec:\n  type: ADDED\n",
        ] {
            assert!(!is_watch(text), "{text}");
        }
    }

    #[test]
    fn wanted_files() {
        for (name, wanted) in [
            ("a/pods.json", true),
            ("b.YAML.gz", true),
            ("c.ndjson.zst", true),
            ("audit_logs/node-1-audit-20261124.log.gz", true),
            ("kubernetes.audit", true),
            ("logs.txt", false),
            ("kubelet.log", false),
            (".gz", false),
        ] {
            assert_eq!(is_wanted(Path::new(name)), wanted, "{name}");
        }
    }
}
