//! Requests to those who hand out credentials: short, never through a redirect, answers bounded.

use std::time::Duration;

use chrono::DateTime;
use reqwest::redirect::Policy;
use secrecy::SecretString;
use serde::Deserialize;

use super::Credentials;

/// Answers are a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Two clients: to STS and credential addresses like any other service; to the metadata service quickly and never
/// through a proxy.
#[derive(Debug, Clone)]
pub(super) struct Http {
    pub(super) outside: reqwest::Client,
    pub(super) metadata: reqwest::Client,
}

/// Why nobody answered with credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Unreachable(String),
    #[error("the answer is HTTP {status}{detail}")]
    Refused { status: u16, detail: String },
    #[error("the answer is not understood: {0}")]
    Garbage(String),
}

impl Http {
    pub(super) fn new() -> Result<Self, FetchError> {
        let build = |builder: reqwest::ClientBuilder, connect: u64, read: u64| {
            let built = builder
                .redirect(Policy::none())
                .connect_timeout(Duration::from_secs(connect))
                .timeout(Duration::from_secs(connect + read))
                .build();
            built.map_err(|error| FetchError::Unreachable(whole(&error)))
        };
        Ok(Self {
            // The time-outs of the official SDK.
            outside: build(reqwest::Client::builder(), 5, 10)?,
            metadata: build(reqwest::Client::builder().no_proxy(), 1, 1)?,
        })
    }
}

/// Sends a request and reads its answer. The URL is left out of errors: it may carry a token.
pub(super) async fn send(request: reqwest::RequestBuilder) -> Result<Vec<u8>, FetchError> {
    let unreachable = |error: reqwest::Error| FetchError::Unreachable(whole(&error.without_url()));
    let mut answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(FetchError::Garbage("it does not end".to_string()));
        }
        body.extend_from_slice(&piece);
    }
    if status.is_success() {
        return Ok(body);
    }
    Err(FetchError::Refused {
        status: status.as_u16(),
        detail: refusal(&body),
    })
}

/// What an error answer says: the code only, because messages may repeat what was sent.
fn refusal(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "Code")]
        code: String,
    }
    serde_json::from_slice::<Refusal>(body).map_or(String::new(), |refusal| {
        let code: String = refusal.code.chars().take(100).collect();
        format!(", `{code}`")
    })
}

/// An error with what caused it.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// Credentials as STS, the metadata service and credential addresses print them.
#[derive(Deserialize)]
pub(super) struct Printed {
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "AccessKeyId")]
    access_key_id: Option<String>,
    #[serde(rename = "AccessKeySecret")]
    access_key_secret: Option<SecretString>,
    #[serde(rename = "SecurityToken")]
    security_token: Option<SecretString>,
    #[serde(rename = "Expiration")]
    expiration: Option<String>,
}

impl Printed {
    pub(super) fn parse(body: &[u8]) -> Result<Credentials, FetchError> {
        let printed: Self = serde_json::from_slice(body).map_err(garbage)?;
        printed.credentials()
    }

    pub(super) fn credentials(self) -> Result<Credentials, FetchError> {
        if let Some(code) = self.code.filter(|code| code != "Success") {
            let code: String = code.chars().take(100).collect();
            return Err(FetchError::Garbage(format!("its code is `{code}`")));
        }
        let lacks = |name: &str| FetchError::Garbage(format!("`{name}` is missing"));
        let id = self.access_key_id.filter(|id| !id.is_empty());
        let expiration = self.expiration.ok_or_else(|| lacks("Expiration"))?;
        let expires_at = DateTime::parse_from_rfc3339(&expiration);
        let expires_at = expires_at
            .map_err(|_| FetchError::Garbage("`Expiration` is no time".to_string()))?
            .timestamp();
        Ok(Credentials {
            access_key_id: id.ok_or_else(|| lacks("AccessKeyId"))?,
            access_key_secret: self
                .access_key_secret
                .ok_or_else(|| lacks("AccessKeySecret"))?,
            security_token: Some(self.security_token.ok_or_else(|| lacks("SecurityToken"))?),
            expires_at: Some(expires_at),
        })
    }
}

/// A JSON error without the text it is about.
pub(super) fn garbage(error: serde_json::Error) -> FetchError {
    FetchError::Garbage(format!("{:?} error in its JSON", error.classify()))
}
