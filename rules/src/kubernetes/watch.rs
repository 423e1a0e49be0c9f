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
    documents(&lines, |line, document| match document {
        Ok(document) => event(file, &lines, &document, line, &mut watch),
        Err(reason) => {
            let severity = if reason.cut {
                Severity::Warning
            } else {
                Severity::Error
            };
            let help = "a watch that is cut off is usual; every event before that was read";
            let help = if reason.cut {
                Some(help.to_owned())
            } else {
                reason.help.clone()
            };
            watch.issues.push(Issue {
                severity,
                help,
                ..unreadable(file, reason)
            });
        }
    });
    watch
}

fn event(file: &str, lines: &Lines<'_>, document: &Value<'_>, line: u32, watch: &mut Watch) {
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
        Some("BOOKMARK") => return,
        Some("ERROR") => {
            let status = document.get("object");
            let said = status
                .and_then(|status| status.text("message"))
                .unwrap_or("no message");
            let help = "what happened after this event is not in the file";
            return note(
                Severity::Warning,
                format!("the watch ended: {}", shorten(said)),
                Some(help),
            );
        }
        _ => {
            let help = r#"a watch event looks like {"type":"ADDED","object":{…}}"#;
            return note(Severity::Error, "not a watch event".to_owned(), Some(help));
        }
    };
    let Some(object) = document.get("object") else {
        return note(
            Severity::Error,
            "a watch event without its object".to_owned(),
            None,
        );
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
}
