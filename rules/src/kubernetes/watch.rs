//! A recorded watch: `kubectl get … --watch --output-watch-events -o json` (history 5.4.4).

use super::object::{Manifest, Object};
use super::read::{Reader, unreadable};
use super::text::{Lines, documents};
use super::tree::{Value, shorten};
use super::{Cause, Issue, Severity};

/// What a recorded watch held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// The events that can be used, in order.
    pub events: Vec<WatchEvent>,
    /// What was left out, and what is odd.
    pub issues: Vec<Issue>,
    /// It ends in the middle of an event, or with an error: what happened up to its end may be missing.
    pub is_broken_off: bool,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchEvent {
    /// What happened to the object.
    pub change: Change,
    /// Its state afterwards; for [`Change::Deleted`] its last state.
    pub object: Object,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is there: it was when the watch began, or it was created.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// Reads a recorded watch: `{"type":"ADDED","object":{…}}` one after the other, as JSON or as YAML documents.
///
/// Bookmarks only move the resource version and are left out. An `ERROR` event, and a stream that ends inside a value
/// (watches are cut off all the time), are warnings: everything before them counts.
pub fn read_watch(file: &str, text: &str) -> Watch {
    let lines = Lines::new(text);
    let mut watch = Watch::default();
    // What of the issues is about the document read last, where that is no event.
    let mut last = None;
    documents(&lines, |line, document| {
        last = None;
        match document {
            Ok(document) => {
                let is_event = event(file, &lines, &document, line, &mut watch);
                if !is_event && document.get("kind").is_none() {
                    last = watch.issues.len().checked_sub(1);
                }
            }
            Err(reason) => {
                let is_cut = reason.cut;
                watch.issues.push(unreadable(file, reason));
                watch.is_broken_off |= is_cut;
                let this = watch.issues.last_mut();
                this.filter(|_| is_cut).into_iter().for_each(cut_off);
                last = watch.issues.len().checked_sub(1);
            }
        }
    });
    // kubectl sorts its keys: in YAML `type` comes after the object, and an event that is cut off has none.
    let is_yaml = !text.trim_start_matches(['\u{feff}', '\n']).starts_with('{');
    if let Some(issue) = last
        .filter(|_| is_yaml)
        .and_then(|at| watch.issues.get_mut(at))
    {
        cut_off(issue);
        watch.is_broken_off = true;
    }
    watch
}

/// Makes an issue one that is expected.
fn cut_off(issue: &mut Issue) {
    issue.severity = Severity::Warning;
    issue.help =
        Some("a watch that is cut off is usual; every event before that was read".to_owned());
}

/// Takes up one event. False where the document is none.
fn event(
    file: &str,
    lines: &Lines<'_>,
    document: &Value<'_>,
    line: u32,
    watch: &mut Watch,
) -> bool {
    let line = lines.of_value(document).unwrap_or(line);
    let mut note = |severity, message: String, help: Option<&str>| {
        watch.issues.push(Issue {
            severity,
            cause: Cause::Unreadable,
            file: file.to_owned(),
            line: Some(line),
            object: None,
            field: None,
            message,
            help: help.map(str::to_owned),
        });
    };
    let change = match document.text("type") {
        Some("ADDED") => Change::Added,
        Some("MODIFIED") => Change::Modified,
        Some("DELETED") => Change::Deleted,
        Some("BOOKMARK") => return true,
        Some("ERROR") => {
            let status = document.get("object");
            let said = status
                .and_then(|status| status.text("message"))
                .unwrap_or("no message");
            let help = "what happened after this event is not in the file";
            note(
                Severity::Warning,
                format!("the watch ended: {}", shorten(said)),
                Some(help),
            );
            watch.is_broken_off = true;
            return true;
        }
        _ => {
            let help = r#"a watch event looks like {"type":"ADDED","object":{…}}"#;
            note(Severity::Error, "not a watch event".to_owned(), Some(help));
            return false;
        }
    };
    let Some(object) = document.get("object") else {
        note(
            Severity::Error,
            "a watch event without its object".to_owned(),
            None,
        );
        return false;
    };
    let mut manifest = Manifest::default();
    let mut reader = Reader {
        file,
        lines,
        manifest: &mut manifest,
        places: None,
    };
    reader.value(object, line, None);
    watch.issues.append(&mut manifest.issues);
    watch.events.extend(
        manifest
            .objects
            .into_iter()
            .map(|object| WatchEvent { change, object }),
    );
    true
}
