//! What can go wrong with a bucket as a whole, and with one object.

use flowaudit_lake::cloud::oss::{Class, OssError};
use object_store::Error;
use thiserror::Error as ThisError;

/// The bucket cannot be read. What was published before stays.
#[derive(Debug, ThisError)]
#[error("{action} `{place}` failed: {reason}")]
pub struct OssReadError {
    action: &'static str,
    place: String,
    reason: String,
    help: Option<String>,
    passes: bool,
    altered: bool,
}

impl OssReadError {
    /// From a listing.
    pub(super) fn listing(place: String, error: &OssError) -> Self {
        OssReadError {
            action: "listing",
            place,
            reason: error.to_string(),
            help: help(error),
            passes: passes(error),
            altered: is_altered(error),
        }
    }

    /// From an object.
    pub(super) fn reading(place: String, error: &Error) -> Self {
        let inner = inner(error);
        OssReadError {
            action: "reading",
            place,
            reason: inner.map_or_else(|| error.to_string(), OssError::to_string),
            help: inner.and_then(help),
            passes: inner.is_some_and(passes),
            altered: inner.is_some_and(is_altered),
        }
    }

    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        self.help.clone()
    }

    /// Whether what came was not what was stored, so that all of it must be asked for again.
    pub(super) fn is_altered(&self) -> bool {
        self.altered
    }

    /// Whether it may be over some time later.
    pub(super) fn passes(&self) -> bool {
        self.passes
    }
}

fn is_altered(error: &OssError) -> bool {
    matches!(error, OssError::Checksum { .. })
}

/// What a source needs is less than what a lake needs.
fn help(error: &OssError) -> Option<String> {
    match error.refusal() {
        Some(refusal) if refusal.code == "AccessDenied" && refusal.endpoint.is_none() => {
            let help = "grant `oss:ListObjects` on the bucket and `oss:GetObject` below the prefix; `docs/ram/oss-source.json` has the smallest policy";
            Some(help.to_owned())
        }
        _ => error.help(),
    }
}

/// A refusal that only a person can change does not pass.
fn passes(error: &OssError) -> bool {
    match error {
        OssError::Refused(refusal) => matches!(refusal.class(), Class::Retry),
        OssError::Connection(_) | OssError::Checksum { .. } => true,
        // The chain may have been asked while the metadata service was away.
        OssError::Credentials(_) => true,
        // A proxy that answers in place of the bucket.
        OssError::Garbage(_) => true,
    }
}

fn inner(error: &Error) -> Option<&OssError> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<OssError>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// What became of one object that could not be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there no more.
    Gone,
    /// Another one has its key now.
    Changed,
    /// It is archived.
    Archived,
    /// What comes is not what was stored, however often it is asked for.
    Altered,
    /// Nothing to do with this object alone.
    Service,
}

impl Fate {
    pub(super) fn of(error: &Error) -> Fate {
        let refusal = inner(error).and_then(OssError::refusal);
        match (error, inner(error)) {
            (Error::NotFound { .. }, _) => Fate::Gone,
            (Error::Precondition { .. }, _) => Fate::Changed,
            (_, Some(OssError::Checksum { .. })) => Fate::Altered,
            _ if refusal.is_some_and(|refusal| refusal.code == "InvalidObjectState") => {
                Fate::Archived
            }
            _ => Fate::Service,
        }
    }
}
