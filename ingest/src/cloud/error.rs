//! What can go wrong with a call to the control plane, and what to do about it.

use flowaudit_lake::cloud::credentials::CredentialsError;
use serde::Deserialize;
use thiserror::Error;

/// A call that failed.
#[derive(Debug, Error)]
#[error("{action} at `{host}` failed: {cause}")]
pub struct CloudError {
    /// The product that RAM knows the call under.
    pub(super) product: &'static str,
    pub(super) action: &'static str,
    pub(super) host: Box<str>,
    pub(super) cause: Cause,
}

/// Why.
#[derive(Debug, Error)]
pub enum Cause {
    /// The service refused, by its own words.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer came.
    #[error("{0}")]
    Connection(String),
    /// The answer is larger than any page.
    #[error("the answer is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The pages do not end.
    #[error("its pages do not end")]
    Endless,
    /// The answer is none.
    #[error("the answer is no JSON that was expected")]
    Garbage,
    /// Nobody gave a key.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// What the service said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{status}{}{}{}{}", between(" ", code), between(": ", message), between(" (request ", request), if request.is_empty() { "" } else { ")" })]
pub struct Refusal {
    status: u16,
    code: String,
    message: String,
    request: Box<str>,
}

fn between(before: &str, text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("{before}{text}"),
    }
}

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Try again, later each time.
    Retry,
    /// The same, with another nonce at once.
    Nonce,
    /// Correct the clock, once.
    Clock,
    /// Fetch other keys, once.
    Credentials,
    /// A right is missing.
    Denied,
    /// The key is wrong.
    Key,
    /// No use in trying again.
    Stop,
}

impl Refusal {
    pub(super) fn read(status: u16, body: &[u8]) -> Refusal {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Body {
            code: String,
            message: String,
            request_id: String,
        }
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let short = |text: String, most| text.chars().take(most).collect::<String>();
        Refusal {
            status,
            code: short(body.code, 100),
            // Longer ones repeat what was sent.
            message: short(body.message, 300),
            request: short(body.request_id, 64).into(),
        }
    }

    pub(super) fn class(&self) -> Class {
        let code = self.code.as_str();
        match code {
            "SignatureNonceUsed" => Class::Nonce,
            _ if code.starts_with("InvalidTimeStamp") => Class::Clock,
            "InvalidSecurityToken.Expired"
            | "InvalidSecurityToken.Malformed"
            | "InvalidAccessKeyId.NotFound" => Class::Credentials,
            "SignatureDoesNotMatch" | "IncompleteSignature" | "InvalidAccessKeyId.Inactive" => {
                Class::Key
            }
            _ if code.starts_with("Forbidden") || code.starts_with("NoPermission") => Class::Denied,
            "ServiceUnavailable" | "InternalError" => Class::Retry,
            _ if code.starts_with("Throttling") => Class::Retry,
            _ if self.status == 429 || self.status >= 500 => Class::Retry,
            _ => Class::Stop,
        }
    }
}

impl CloudError {
    /// Whether a right is missing: other calls may do.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(&self.cause, Cause::Refused(refusal) if refusal.class() == Class::Denied)
    }

    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let text = match &self.cause {
            Cause::Refused(refusal) => match refusal.class() {
                Class::Denied => {
                    let product = self.product;
                    return Some(format!(
                        "grant `{product}:{}`; docs/ram/inventory-cloud.json has the smallest policy",
                        self.action
                    ));
                }
                Class::Credentials | Class::Key => {
                    "check that the access key exists and is enabled, and that a temporary one has its security token and has not expired"
                }
                Class::Clock => "set the clock of this machine: it is more than 15 minutes off",
                Class::Retry | Class::Nonce => "run again; what was read before is kept",
                Class::Stop => "the message of the service says why; check the region",
            },
            Cause::Connection(_) => {
                "see that the endpoint can be reached from here; inside a VPC set `internal`, and `endpoints` where it is not the usual one"
            }
            Cause::TooLarge(_) | Cause::Endless | Cause::Garbage => {
                "see that the endpoint is one of Alibaba Cloud and not a proxy's page"
            }
            Cause::Credentials(error) => return error.help(),
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_classes() {
        for (status, code, expected) in [
            (429, "", Class::Retry),
            (503, "ServiceUnavailable", Class::Retry),
            (400, "Throttling.User", Class::Retry),
            (400, "SignatureNonceUsed", Class::Nonce),
            (400, "InvalidTimeStamp.Expired", Class::Clock),
            (400, "InvalidSecurityToken.Expired", Class::Credentials),
            (404, "InvalidAccessKeyId.NotFound", Class::Credentials),
            (403, "Forbidden.RAM", Class::Denied),
            (403, "NoPermission", Class::Denied),
            (400, "SignatureDoesNotMatch", Class::Key),
            (404, "InvalidRegionId.NotFound", Class::Stop),
        ] {
            let body = format!("{{\"Code\":\"{code}\"}}");
            let refusal = Refusal::read(status, body.as_bytes());
            assert_eq!(refusal.class(), expected, "{code}");
        }
    }
}
