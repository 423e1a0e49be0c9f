//! An address that hands out credentials.

use super::Credentials;
use super::http::{FetchError, Http, Printed, send};

/// What is handed out there.
pub(super) async fn fetch(http: &Http, uri: &str) -> Result<Credentials, FetchError> {
    Printed::parse(&send(http.outside.get(uri)).await?)
}
