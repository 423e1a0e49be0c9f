//! Where the keys come from that requests are signed with.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

use super::sign::Keys;

/// An access key, with a token when it is a temporary one. Shown by the first characters of its id only.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Access key id.
    pub id: String,
    /// Access key secret.
    pub secret: String,
    /// Security token.
    pub token: Option<String>,
}

impl Credentials {
    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys {
            id: &self.id,
            secret: &self.secret,
            token: self.token.as_deref(),
        }
    }

    /// The id as it may be shown.
    #[must_use]
    pub fn shown_id(&self) -> String {
        self.id.chars().take(8).chain(['…']).collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials")
            .field(&self.shown_id())
            .finish()
    }
}

/// No keys were to be had.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct NoCredentials {
    /// What was tried and why it failed.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// What [`Provider::get`] gives.
pub type Getting<'p> =
    Pin<Box<dyn Future<Output = Result<Arc<Credentials>, NoCredentials>> + Send + 'p>>;

/// Something that has keys, and gets new ones when they expire.
pub trait Provider: fmt::Debug + Send + Sync {
    /// The keys to sign with now.
    fn get(&self) -> Getting<'_>;

    /// The service did not accept these keys: the next [`get`](Self::get) should give others, if there are any.
    fn reject(&self, refused: &Arc<Credentials>);
}

/// Keys that do not change.
#[derive(Debug)]
pub struct Fixed(Arc<Credentials>);

impl Fixed {
    /// These keys.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Fixed(Arc::new(credentials))
    }
}

impl Provider for Fixed {
    fn get(&self) -> Getting<'_> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn reject(&self, _: &Arc<Credentials>) {}
}
