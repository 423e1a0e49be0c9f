//! Where the keys come from that requests are signed with: the chain of the lake, or keys that are given.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

pub use flowaudit_lake::cloud::credentials::{Chain, Credentials, CredentialsError};

use super::sign::Keys;

/// What a request is signed with.
pub(super) fn keys(credentials: &Credentials) -> Keys<'_> {
    Keys {
        id: &credentials.access_key_id,
        secret: credentials.secret(),
        token: credentials.token(),
    }
}

/// What [`Provider::get`] gives.
pub type Getting<'p> =
    Pin<Box<dyn Future<Output = Result<Arc<Credentials>, CredentialsError>> + Send + 'p>>;

/// Something that has keys, and gets new ones when they expire.
pub trait Provider: fmt::Debug + Send + Sync {
    /// The keys to sign with now.
    fn get(&self) -> Getting<'_>;

    /// The service did not accept these keys: the next [`get`](Self::get) should give others, if there are any.
    fn reject(&self, refused: &Arc<Credentials>);
}

impl Provider for Chain {
    fn get(&self) -> Getting<'_> {
        Box::pin(Chain::get(self))
    }

    fn reject(&self, refused: &Arc<Credentials>) {
        Chain::reject(self, refused);
    }
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
