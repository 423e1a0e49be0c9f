//! What OSS answers when it does not do what was asked, sorted by what can be done about it.

use serde::Deserialize;

use super::sign::encode;
use crate::cloud::credentials::CredentialsError;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum OssError {
    /// The service refused.
    #[error("{}", .0.shown())]
    Refused(Box<Refusal>),
    /// Nobody answered, or the answer broke off.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// The answer is not what the service documents.
    #[error("the answer is not understood: {0}")]
    Garbage(String),
    /// What arrived is not what was stored.
    #[error(
        "the checksum of what was transferred is {found:016x}, the service says {expected:016x}"
    )]
    Checksum {
        /// Of the bytes.
        found: u64,
        /// What the service says.
        expected: u64,
    },
    /// There is nobody to sign as.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// An error answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Its code, such as `NoSuchKey`; empty when it has none.
    pub code: String,
    /// Its message, in the service's words.
    pub message: String,
    /// For those who run the service.
    pub request_id: String,
    /// The endpoint that would have been right.
    pub endpoint: Option<String>,
    /// The time of the service, as it prints it.
    pub server_time: Option<String>,
}

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait and try again.
    Retry,
    /// Fetch other credentials, once.
    Credentials,
    /// Set the clock right, once.
    Clock,
    /// Nothing.
    Stop,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    message: String,
    request_id: String,
    endpoint: Option<String>,
    server_time: Option<String>,
}

/// A text of the service without secrets, as they are or as a URL has them: it may repeat what it was sent.
pub(super) fn masked(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_string();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
        text = text.replace(&encode(secret, false), "***");
    }
    text
}

/// Why an XML cannot be read, without any text of it: that may repeat what was sent.
pub(super) fn unread(error: &quick_xml::DeError) -> &'static str {
    use quick_xml::DeError;
    match error {
        DeError::InvalidXml(_) => "it is not well-formed XML",
        DeError::UnexpectedEof => "its XML ends early",
        _ => "its XML lacks a value, or has one of another kind",
    }
}

impl Refusal {
    /// From the status and the body, which is XML or nothing.
    pub fn parse(status: u16, body: &[u8]) -> Self {
        Self::read(status, body, &[])
    }

    /// The same, with secrets taken out.
    pub fn read(status: u16, body: &[u8], secrets: &[&str]) -> Self {
        let text = String::from_utf8_lossy(body);
        let body: ErrorBody = quick_xml::de::from_str(&text).unwrap_or_default();
        let short = |text: String| masked(&text, secrets).chars().take(500).collect();
        Self {
            status,
            code: short(body.code),
            message: short(body.message),
            request_id: short(body.request_id),
            endpoint: body.endpoint.map(short),
            server_time: body.server_time.map(short),
        }
    }

    fn shown(&self) -> String {
        let mut text = match (self.code.as_str(), self.status) {
            ("", status) => format!("HTTP {status}"),
            (code, _) => format!("`{code}`"),
        };
        // This one repeats what was signed, token included.
        if !self.message.is_empty() && self.code != "SignatureDoesNotMatch" {
            text = format!("{text}: {}", self.message.trim_end_matches('.'));
        }
        if let Some(endpoint) = &self.endpoint {
            text = format!("{text} (the right endpoint is `{endpoint}`)");
        }
        if !self.request_id.is_empty() {
            text = format!("{text}, request {}", self.request_id);
        }
        text
    }

    /// What can be done.
    pub fn class(&self) -> Class {
        let code = self.code.as_str();
        match self.status {
            408 | 429 | 500.. => Class::Retry,
            401 => Class::Credentials,
            403 => match code {
                "InvalidAccessKeyId"
                | "SecurityTokenExpired"
                | "InvalidSecurityToken"
                | "SecurityTokenMalformed" => Class::Credentials,
                "RequestTimeTooSkewed" => Class::Clock,
                _ => Class::Stop,
            },
            _ => match code {
                "QpsLimitExceeded" | "DownloadTrafficRateLimitExceeded" | "RequestTimeout" => {
                    Class::Retry
                }
                _ => Class::Stop,
            },
        }
    }
}

impl OssError {
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Refused(refusal) => refusal.class(),
            // What is no answer of the service comes from somewhere on the way.
            Self::Connection(_) | Self::Checksum { .. } | Self::Garbage(_) => Class::Retry,
            Self::Credentials(_) => Class::Stop,
        }
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Refused(refusal) => match (refusal.code.as_str(), refusal.status) {
                ("NoSuchBucket", _) => "check the bucket's name and region",
                ("AccessDenied", _) if refusal.endpoint.is_some() => {
                    "set the endpoint to the one the service names"
                }
                ("AccessDenied", _) => {
                    "grant the RAM user or role the rights in `docs/oss.md`, on this bucket and prefix"
                }
                ("SignatureDoesNotMatch", _) => {
                    "check the access key secret, and that the region is the bucket's"
                }
                ("InvalidAccessKeyId", _) => "check the access key id; it may have been disabled",
                ("SecurityTokenExpired", _) => "fetch new temporary credentials",
                ("RequestTimeTooSkewed", _) => "set the clock of this machine",
                ("InvalidObjectState", _) => {
                    "the object is archived; restore it first, or leave it out"
                }
                (_, 500..) => "the service has trouble; nothing was lost, run the command again",
                _ => return None,
            },
            Self::Connection(_) => {
                "check that the endpoint is reachable from here; nothing was lost, run the command again"
            }
            Self::Credentials(error) => return error.help(),
            Self::Checksum { .. } => "run the command again; something on the way changes bytes",
            Self::Garbage(_) => "check that the endpoint is OSS",
        };
        Some(text.to_string())
    }

    /// In the words of the trait.
    pub(super) fn for_object(self, key: &str) -> object_store::Error {
        use object_store::Error;
        let path = key.to_string();
        let (code, status) = match self.refusal() {
            Some(refusal) => (refusal.code.clone(), refusal.status),
            None => (String::new(), 0),
        };
        let source = Box::new(self);
        match (code.as_str(), status) {
            ("FileAlreadyExists", _) => Error::AlreadyExists { path, source },
            (_, 404) if code != "NoSuchBucket" => Error::NotFound { path, source },
            (_, 304) => Error::NotModified { path, source },
            (_, 412) => Error::Precondition { path, source },
            (_, 401) => Error::Unauthenticated { path, source },
            (_, 403) => Error::PermissionDenied { path, source },
            _ => Error::Generic {
                store: "OSS",
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class() {
        for (status, code, class) in [
            (500, "InternalError", Class::Retry),
            (503, "", Class::Retry),
            (429, "", Class::Retry),
            (400, "QpsLimitExceeded", Class::Retry),
            (403, "SecurityTokenExpired", Class::Credentials),
            (403, "InvalidAccessKeyId", Class::Credentials),
            (403, "RequestTimeTooSkewed", Class::Clock),
            (403, "AccessDenied", Class::Stop),
            (403, "SignatureDoesNotMatch", Class::Stop),
            (404, "NoSuchKey", Class::Stop),
            (409, "FileAlreadyExists", Class::Stop),
            (416, "InvalidRange", Class::Stop),
        ] {
            let body = format!("<Error><Code>{code}</Code><Message>m.</Message></Error>");
            let refusal = Refusal::parse(status, body.as_bytes());
            assert_eq!(refusal.class(), class, "{status} {code}");
        }
    }

    #[test]
    fn what_is_said() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>The bucket must be addressed using the \
                    specified endpoint.</Message><RequestId>5C3D</RequestId><HostId>h</HostId>\
                    <Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint><EC>0003</EC></Error>";
        let error = OssError::Refused(Box::new(Refusal::parse(403, body.as_bytes())));
        assert_eq!(
            error.to_string(),
            "`AccessDenied`: The bucket must be addressed using the specified endpoint \
             (the right endpoint is `oss-cn-beijing.aliyuncs.com`), request 5C3D"
        );
        assert!(error.help().unwrap().contains("the service names"));
        assert_eq!(
            Refusal::parse(502, b"<html>bad gateway").shown(),
            "HTTP 502"
        );
        assert_eq!(Refusal::parse(500, &[0xff, 0]).shown(), "HTTP 500");
    }

    #[test]
    fn secrets_that_the_service_repeats_are_taken_out() {
        let secrets = ["CAIS+token/==", "s3cret"];
        let long = "x".repeat(490);
        let body = format!(
            "<Error><Code>s3cret</Code><Message>{long}CAIS+token/== CAIS%2Btoken%2F%3D%3D</Message>\
             <RequestId>CAIS+token/==</RequestId><Endpoint>s3cret</Endpoint></Error>"
        );
        for status in [400, 403, 500] {
            let refusal = Refusal::read(status, body.as_bytes(), &secrets);
            let said = format!("{} {refusal:?}", refusal.shown());
            assert!(!said.contains("CAIS") && !said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn what_was_signed_is_not_repeated() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>hush</Message><StringToSign>hush</StringToSign></Error>";
        assert!(
            !Refusal::parse(403, body.as_bytes())
                .shown()
                .contains("hush")
        );
    }
}
