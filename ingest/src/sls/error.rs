//! What the service answers when it does not do what was asked, and what is to be done about each answer.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::contradiction::Contradiction;
use super::credentials::CredentialsError;
use super::decode::Malformed;
use super::unpack::Damaged;

/// Longest text of the service that is repeated in a message, in characters.
const TEXT_CHARACTERS_MAX: usize = 300;

/// Stands for the code where an answer has none.
const NO_CODE: &str = "no error code";

/// A call that did not succeed.
#[derive(Debug, Error)]
#[error("{call} of {target} failed")]
pub struct SlsError {
    /// `PullLogs`, `ListShards` …
    pub call: &'static str,
    /// Project and logstore, with the shard where there is one.
    pub target: String,
    /// Why.
    #[source]
    pub cause: Cause,
}

/// Why a call did not succeed.
#[derive(Debug, Error)]
pub enum Cause {
    /// The service refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No answer.
    #[error("no answer: {0}")]
    Transport(String),
    /// An answer that is not what the service says it is.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// An answer that is not what the service says it is.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An answer that cannot be true.
    #[error("the answer contradicts itself: {0}, request {1}")]
    Contradiction(Contradiction, String),
    /// An answer without what it must have.
    #[error("the answer has no {0}")]
    Missing(&'static str),
    /// More shards than any logstore has.
    #[error("the logstore has {found} shards, and {max} can be read")]
    TooManyShards {
        /// How many the service lists.
        found: usize,
        /// How many are read.
        max: usize,
    },
    /// An answer larger than may be held.
    #[error("the answer has more than {max} bytes")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// Nothing to sign with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Tried for long enough.
    #[error("gave up after {tries} tries in {} s", spent.as_secs())]
    GaveUp {
        /// How often.
        tries: u32,
        /// How long.
        spent: Duration,
        /// What happened the last time.
        #[source]
        last: Box<Cause>,
    },
}

/// A refusal in the words of the service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code} ({status}): {message}, request {request}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `errorCode`, or what stands for it when the body is none of the service's.
    pub code: String,
    /// `errorMessage`, shortened.
    pub message: String,
    /// `x-log-requestid`.
    pub request: String,
}

/// What is to be done about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again soon.
    Retry,
    /// Try again, slower.
    Throttled,
    /// Correct the clock once.
    Clock,
    /// Get other keys once.
    Credentials,
    /// The rights are missing.
    Denied,
    /// Wrong project, logstore or query: no use in trying again.
    Target,
    /// The shard is gone: look at the list of shards.
    Shard,
    /// The cursor is too old.
    Cursor,
    /// The consumer does not hold the shard, or the group does not know it.
    Group,
    /// The consumer group exists already.
    GroupExists,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Body {
    error_code: String,
    error_message: String,
}

impl Refusal {
    /// What a reply with a status other than 200 says, with `secret` taken out: the service may repeat what was signed.
    /// Proxies on the way answer in HTML.
    #[must_use]
    pub fn read(status: u16, request: &str, body: &[u8], secret: Option<&str>) -> Self {
        let read: Body = serde_json::from_slice(body).unwrap_or_default();
        let short = |text: &str| -> String {
            let text = match secret {
                Some(secret) if !secret.is_empty() => text.replace(secret, "***"),
                _ => text.to_owned(),
            };
            let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            line.take(TEXT_CHARACTERS_MAX).collect()
        };
        let (code, message) = match read.error_code.as_str() {
            "" => (NO_CODE, "the answer does not come from the log service"),
            code => (code, read.error_message.as_str()),
        };
        Refusal {
            status,
            code: short(code),
            message: short(message),
            request: match request {
                "" => "without an id".to_owned(),
                id => short(id),
            },
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn class(&self) -> Class {
        let says = |words: &str| self.message.to_ascii_lowercase().contains(words);
        match (self.status, self.code.as_str()) {
            (429, _)
            | (
                _,
                "ReadQuotaExceed"
                | "ShardReadQuotaExceed"
                | "QuotaExceed"
                | "ExceedQuota"
                | "WriteQuotaExceed",
            ) => Class::Throttled,
            // A proxy's, whatever its number: the service always says why.
            (_, NO_CODE) => Class::Retry,
            (403, _) if says("quota exceed") || says("read qps exceed") => Class::Throttled,
            (_, "RequestTimeExpired" | "RequestTimeTooSkewed") => Class::Clock,
            (_, "Unauthorized") if says("denied by sts or ram") || says("no permission") => {
                Class::Denied
            }
            (_, "Unauthorized" | "SignatureNotMatch" | "InvalidAccessKeyId")
            | (_, "SecurityTokenExpired" | "SecurityToken.Expired" | "MissAccessKeyId")
            | (401, _) => Class::Credentials,
            (_, "InvalidCursor") => Class::Cursor,
            (_, "ShardNotExist" | "ShardNotExsit" | "LogStoreWithoutShard") => Class::Shard,
            (_, "ConsumerGroupAlreadyExist") => Class::GroupExists,
            (
                _,
                "NotExistConsumerWithBody" | "InvalidShardCheckPoint" | "ConsumerGroupNotExist",
            )
            | (_, "ConsumerNotExist" | "ConsumerNotExsit" | "ConsumerNotMatch") => Class::Group,
            (500.., _)
            | (408, _)
            | (_, "RequestTimeout" | "InternalServerError" | "ServerBusy") => Class::Retry,
            _ => Class::Target,
        }
    }
}

impl Cause {
    /// What is to be done about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Cause::Refused(refusal) => refusal.class(),
            Cause::Damaged(Damaged::TooLarge { .. })
            | Cause::TooLarge { .. }
            | Cause::TooManyShards { .. } => Class::Target,
            Cause::Transport(_)
            | Cause::Damaged(_)
            | Cause::Malformed(_)
            | Cause::Contradiction(..)
            | Cause::Missing(_) => Class::Retry,
            Cause::Credentials(_) => Class::Denied,
            Cause::GaveUp { last, .. } => last.class(),
        }
    }

    /// What happened, without how often it did.
    fn last(&self) -> &Cause {
        match self {
            Cause::GaveUp { last, .. } => last.last(),
            cause => cause,
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self.last() {
            Cause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl SlsError {
    /// What is to be done about it.
    #[must_use]
    pub fn class(&self) -> Class {
        self.cause.class()
    }

    /// What does not fit together in the answer, where that is it.
    #[must_use]
    pub fn contradiction(&self) -> Option<Contradiction> {
        match self.cause.last() {
            Cause::Contradiction(contradiction, _) => Some(*contradiction),
            _ => None,
        }
    }

    /// Whether the service does not know the consumer group at all.
    pub(super) fn is_group_gone(&self) -> bool {
        let refusal = self.cause.refusal();
        refusal.is_some_and(|refusal| refusal.code == "ConsumerGroupNotExist")
    }

    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        if let Cause::Credentials(none) = self.cause.last() {
            return none.help();
        }
        if self.contradiction().is_some() {
            let help = "nothing was lost, the position stays where it was: run again; if it stays, see that nothing between here and the service changes answers, and show the service's support the request";
            return Some(help.to_owned());
        }
        let code = self.cause.refusal().map(|refusal| refusal.code.as_str());
        let text = match (self.class(), code) {
            (_, Some("ProjectNotExist")) => {
                "check `project`, and that `endpoint` is the region the project is in: a project is only known in its own region"
            }
            (_, Some("LogStoreNotExist")) => {
                "check `logstore`: the console shows it under the project, and the flow log names it as its destination"
            }
            (_, Some("ProjectForbidden")) => "the project is suspended: see the account's bills",
            (Class::Credentials, Some("SignatureNotMatch")) => {
                "check the access key secret, and for signature version 4 that `region` is the region of the project"
            }
            (Class::Credentials, _) => {
                "check that the access key exists and is enabled, and that a temporary one has its security token and has not expired"
            }
            (Class::Denied, _) => {
                "grant the action that the message names; `docs/ram/sls-read.json` has the smallest policy"
            }
            (Class::Clock, _) => "set the clock of this machine: it is more than 15 minutes off",
            (Class::Throttled, _) => {
                "nothing was lost: run again later, split shards, or ask for a higher read quota"
            }
            (Class::Retry, _) => {
                "nothing was lost: run again; if it stays, see that the endpoint can be reached from here (inside a VPC its `-intranet` form)"
            }
            (Class::Cursor, _) => "the position is too old for the logstore; run again",
            (Class::Shard, _) => "the shard is gone; run again, which looks at the list of shards",
            (Class::Group | Class::GroupExists, _) => {
                "nothing was lost: the consumer group gave the shard to another; run again"
            }
            (
                Class::Target,
                Some(
                    "InvalidLogStoreQuery"
                    | "InvalidQueryString"
                    | "ParameterInvalid"
                    | "InvalidParameter",
                ),
            ) => "check `query`: it is SPL and begins with `*`",
            (Class::Target, None) => match self.cause.last() {
                Cause::TooManyShards { .. } => {
                    "merge shards; those that were split go when the retention of the logstore is over"
                }
                _ if self.call == "PullLogs" => "raise `memory`",
                _ => "see that `endpoint` is the log service: it does not answer so",
            },
            (Class::Target, Some(_)) => "the service will not do this; its message says why",
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, code: &str, message: &str) -> Class {
        let body = serde_json::json!({"errorCode": code, "errorMessage": message});
        Refusal::read(status, "id", body.to_string().as_bytes(), None).class()
    }

    #[test]
    fn the_table_of_classes() {
        for (status, code, message, expected) in [
            (500, "InternalServerError", "", Class::Retry),
            (503, "ServerBusy", "", Class::Retry),
            (400, "RequestTimeout", "", Class::Retry),
            (403, "ReadQuotaExceed", "", Class::Throttled),
            (403, "ShardReadQuotaExceed", "", Class::Throttled),
            (403, "WriteQuotaExceed", "", Class::Throttled),
            (403, "Forbidden", "Read QPS Exceed", Class::Throttled),
            (429, "TooManyRequests", "", Class::Throttled),
            (400, "RequestTimeExpired", "", Class::Clock),
            (403, "RequestTimeTooSkewed", "", Class::Clock),
            (
                401,
                "Unauthorized",
                "The security token you provided has expired.",
                Class::Credentials,
            ),
            (
                401,
                "Unauthorized",
                "denied by sts or ram, action: log:ListShards, resource: x",
                Class::Denied,
            ),
            (403, "Unauthorized", "", Class::Credentials),
            (401, "SignatureNotMatch", "", Class::Credentials),
            (400, "SecurityToken.Expired", "", Class::Credentials),
            (404, "ProjectNotExist", "", Class::Target),
            (404, "LogStoreNotExist", "", Class::Target),
            (400, "InvalidLogStoreQuery", "", Class::Target),
            (400, "ShardNotExist", "", Class::Shard),
            (404, "ShardNotExsit", "", Class::Shard),
            (400, "InvalidCursor", "", Class::Cursor),
            (400, "NotExistConsumerWithBody", "", Class::Group),
            (404, "ConsumerNotExsit", "", Class::Group),
            (400, "ConsumerGroupAlreadyExist", "", Class::GroupExists),
        ] {
            assert_eq!(class(status, code, message), expected, "{status} {code}");
        }
        for status in [204, 302, 401, 403, 404, 407] {
            let html = Refusal::read(status, "", b"<html>please log in</html>", None);
            assert_eq!(html.class(), Class::Retry, "{status}");
        }
        let html = Refusal::read(502, "", b"<html>bad gateway</html>", None);
        assert_eq!(html.class(), Class::Retry);
        assert!(
            html.to_string()
                .contains("does not come from the log service")
        );
    }

    #[test]
    fn the_words_of_the_service_stay_short_and_on_one_line() {
        let message = "x\n".repeat(1000);
        let body = serde_json::json!({"errorCode": "Y", "errorMessage": message});
        let refusal = Refusal::read(400, "id", body.to_string().as_bytes(), None);
        assert_eq!(refusal.message.chars().count(), TEXT_CHARACTERS_MAX);
        assert!(!refusal.message.contains('\n'));
    }
    #[test]
    fn a_token_that_the_service_repeats_is_taken_out() {
        let message = format!(
            "signed {}: CAISsecret==",
            "x".repeat(TEXT_CHARACTERS_MAX - 15)
        );
        let body = serde_json::json!({"errorCode": "SignatureNotMatch", "errorMessage": message});
        let body = body.to_string();
        let refusal = Refusal::read(401, "id", body.as_bytes(), Some("CAISsecret=="));
        assert!(!refusal.message.contains("CAIS"), "{}", refusal.message);
    }
}
