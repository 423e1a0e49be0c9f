//! Who we are to Alibaba Cloud: the default credential chain of the official SDKs.
//!
//! ```text
//! environment → OIDC (RRSA) → CLI file → shared file → ECS RAM role → credentials URI
//! ```
//!
//! in the order of `alibabacloud-credentials` 1.0.12; the first that works is kept for the life of the process. Unlike
//! other implementations OIDC comes early: on a node with a role of its own, a pod must get the rights set up for the
//! pod.
//!
//! Variables, home directory, endpoints and clock come in [`Surroundings`], so that nothing here reads globals.
//! Keys are refreshed before they expire and when the service rejects them, one refresh at a time ([`Chain`]).

mod cache;
mod chain;
mod cli_file;
mod http;
mod ini_file;
mod metadata;
mod profile;
mod rpc;
mod sts;
mod surroundings;
mod uri;

pub use self::cache::Chain;
pub use self::chain::{Attempt, CredentialsError, Source};
pub use self::rpc::rpc_signature;
pub use self::surroundings::{Clock, Surroundings, Variables};

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// An access key, with the security token that belongs to it when it is a temporary one.
#[derive(Clone)]
pub struct Credentials {
    /// The id of the key; not secret, yet shown shortened.
    pub access_key_id: String,
    /// The secret.
    pub access_key_secret: SecretString,
    /// The token to send along; `None` for a key that does not expire.
    pub security_token: Option<SecretString>,
    /// When it expires, in seconds since the epoch; `None` when it does not or nobody said.
    pub expires_at: Option<i64>,
}

impl Credentials {
    /// A key that does not expire.
    pub fn lasting(access_key_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            access_key_secret: SecretString::from(secret.into()),
            security_token: None,
            expires_at: None,
        }
    }

    /// The same key with a security token.
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(SecretString::from(token.into()));
        self
    }

    /// The secret, for signing.
    pub fn secret(&self) -> &str {
        self.access_key_secret.expose_secret()
    }

    /// The token, for the header that carries it.
    pub fn token(&self) -> Option<&str> {
        self.security_token
            .as_ref()
            .map(ExposeSecret::expose_secret)
    }

    /// The id as it may be shown: its first eight characters.
    pub fn shown_id(&self) -> String {
        let head: String = self.access_key_id.chars().take(8).collect();
        format!("{head}…")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.shown_id())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
