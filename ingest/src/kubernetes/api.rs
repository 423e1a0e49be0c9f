//! Requests to an API server: bounded in size and time, with what went wrong sorted by what can be done about it.
//!
//! `kube` brings TLS and credentials. A refused token is renewed here: kubeconfig, token file or plugin are asked again, once per
//! request, whoever of the tasks comes first; and so is the authority that vouches for the server, where it has a new certificate.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::login::{Login, LoginError, is_of_credentials, is_untrusted, naming, plugin, words};

/// A plugin that asks a person a question gets no answer from a service.
const PLUGIN_WITHIN: Duration = Duration::from_secs(60);
/// Clocks may be off by 3 s each, and a header is cut to the second. What is dated by a clock that is further from the server's would name
/// the wrong ones, for an analysis allows for no more.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(7);
/// An answer that explains an error is not longer.
const STATUS_BYTES_MAX: usize = 64 << 10;

/// Why a request has no answer that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 401: the token is not, or no longer, good.
    Unauthorized(String),
    /// 403: it lacks a right.
    Forbidden(String),
    /// 404: this is not served.
    NotFound,
    /// 409: somebody else was faster.
    Conflict,
    /// 410: the resource version is too old.
    Gone,
    /// 429 and 5xx: later, perhaps after this long.
    Busy(String, Option<Duration>),
    /// Any other status.
    Status(u16, String),
    /// No answer, or it broke off.
    Broken(String),
    /// The answer is longer than it may be.
    TooLong,
    /// There are no credentials to send.
    NoCredentials(String),
    /// The server's certificate: nobody that we know vouches for it, or it has expired.
    Untrusted(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Unauthorized(text) => write!(f, "401: {text}"),
            Refusal::Forbidden(text) => write!(f, "403: {text}"),
            Refusal::NotFound => f.write_str("404: it is not served"),
            Refusal::Conflict => f.write_str("409: it was changed meanwhile"),
            Refusal::Gone => f.write_str("410: the resource version is too old"),
            Refusal::Busy(text, _) | Refusal::Broken(text) => f.write_str(text),
            Refusal::Status(status, text) => write!(f, "{status}: {text}"),
            Refusal::TooLong => f.write_str("the answer is longer than any should be"),
            Refusal::NoCredentials(text) => write!(f, "no credentials: {text}"),
            Refusal::Untrusted(text) => write!(f, "the server's certificate is refused: {text}"),
        }
    }
}

/// `metav1.Status`, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) code: Option<u16>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u32>,
}

impl Status {
    /// What it means, as the answer to a request or as an event of a watch.
    pub(super) fn refusal(self) -> Refusal {
        let text = shorten(self.message.as_deref().or(self.reason.as_deref()));
        let after = self.details.and_then(|details| details.retry_after_seconds);
        match (self.code.unwrap_or(0), self.reason.as_deref()) {
            (401, _) => Refusal::Unauthorized(text),
            (403, _) => Refusal::Forbidden(text),
            (404, _) => Refusal::NotFound,
            (409, _) => Refusal::Conflict,
            (410, _) | (_, Some("Expired" | "Gone")) => Refusal::Gone,
            (429 | 500..=599, _) => {
                let after = after.map(|seconds| Duration::from_secs(seconds.into()));
                Refusal::Busy(text, after)
            }
            (code, _) => Refusal::Status(code, text),
        }
    }
}

/// The first line of what a server says, short enough to be shown.
fn shorten(text: Option<&str>) -> String {
    let line = text.unwrap_or_default().lines().next().unwrap_or_default();
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None if line.is_empty() => "no reason given".to_owned(),
        None => line.to_owned(),
    }
}

/// The API of one cluster; clones share it.
#[derive(Clone)]
pub(super) struct Api(Arc<Shared>);

struct Shared {
    login: Login,
    server: String,
    namespace: String,
    /// What is run for credentials.
    plugin: Option<String>,
    /// Counts how often it was renewed.
    client: Mutex<(u64, Client)>,
    /// Without a byte for this long an answer counts as broken.
    idle: Duration,
}

impl Api {
    /// Reads the login; nothing is sent, but a plugin may be run.
    pub(super) async fn new(login: Login, idle: Duration) -> Result<Self, LoginError> {
        let Connected {
            server,
            namespace,
            plugin,
            client,
        } = connect(&login).await?;
        Ok(Api(Arc::new(Shared {
            login,
            server,
            namespace,
            plugin,
            client: Mutex::new((0, client)),
            idle,
        })))
    }

    /// The API server, for messages.
    pub(super) fn server(&self) -> &str {
        &self.0.server
    }

    /// The namespace of the service account or the context.
    pub(super) fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The body of an answer, of at most `max` bytes.
    pub(super) async fn get(&self, path: &str, max: usize) -> Result<Vec<u8>, Refusal> {
        self.call(Method::GET, path, Vec::new(), max).await
    }

    /// Sends JSON and gives the body of the answer, of at most `max` bytes.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        max: usize,
    ) -> Result<Vec<u8>, Refusal> {
        let answer = self.send(method, path, body).await?;
        read(answer, max, self.0.idle).await
    }

    /// Asks for a stream: its body, as it comes.
    pub(super) async fn stream(&self, path: &str) -> Result<Body, Refusal> {
        self.send(Method::GET, path, Vec::new()).await
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Body, Refusal> {
        let (used, client) = self.0.client.lock().await.clone();
        match self.try_send(&client, &method, path, &body).await {
            Err(Refusal::Unauthorized(_) | Refusal::NoCredentials(_) | Refusal::Untrusted(_)) => {
                let client = self.renewed(used).await?;
                self.try_send(&client, &method, path, &body).await
            }
            answered => answered,
        }
    }

    async fn try_send(
        &self,
        client: &Client,
        method: &Method,
        path: &str,
        body: &[u8],
    ) -> Result<Body, Refusal> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_vec()))
            .map_err(|error| Refusal::Broken(error.to_string()))?;
        let sent = Utc::now();
        let answer = timeout(self.0.idle, client.send(request)).await;
        let answer = answer.map_err(|_| silent(self.0.idle))?.map_err(|error| {
            let reason = words(&error);
            match is_of_credentials(&error) {
                true => Refusal::NoCredentials(naming(self.0.plugin.as_deref(), &reason)),
                false if is_untrusted(&reason) => Refusal::Untrusted(reason),
                false => Refusal::Broken(reason),
            }
        })?;
        let status = answer.status();
        if status.is_success() {
            let kind = answer.headers().get(http::header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok());
            if let Some(kind) = kind.filter(|kind| !kind.starts_with("application/json")) {
                let kind = shorten(Some(kind));
                return Err(Refusal::Broken(format!(
                    "something else than an API server answers, perhaps a proxy: `{kind}` instead of JSON"
                )));
            }
            let date = answer.headers().get(http::header::DATE);
            let date = date.and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
            return match date.and_then(|date| clocks_apart(date.to_utc(), sent, Utc::now())) {
                Some(apart) => Err(Refusal::Broken(apart)),
                None => Ok(answer.into_body()),
            };
        }
        Err(self.refused(status, answer.into_body()).await)
    }

    async fn refused(&self, code: StatusCode, body: Body) -> Refusal {
        let body = read(body, STATUS_BYTES_MAX, self.0.idle).await;
        let mut status: Status = match body {
            Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
            Err(_) => Status::default(),
        };
        if status.message.is_none() {
            status.message = code.canonical_reason().map(str::to_owned);
        }
        // What HTTP says counts; proxies answer in words of their own.
        status.code = Some(code.as_u16());
        match status.refusal() {
            Refusal::Busy(text, after) => {
                Refusal::Busy(format!("{}: {text}", code.as_u16()), after)
            }
            refusal => refusal,
        }
    }

    /// A client with credentials newer than those `used`.
    async fn renewed(&self, used: u64) -> Result<Client, Refusal> {
        let mut shared = self.0.client.lock().await;
        if shared.0 == used {
            let connected = connect(&self.0.login)
                .await
                .map_err(|error| Refusal::NoCredentials(error.to_string()))?;
            *shared = (used + 1, connected.client);
        }
        Ok(shared.1.clone())
    }
}

/// A way in.
struct Connected {
    server: String,
    namespace: String,
    plugin: Option<String>,
    client: Client,
}

async fn connect(login: &Login) -> Result<Connected, LoginError> {
    let config = login.load().await?;
    let plugin = plugin(&config);
    let server = config.cluster_url.to_string();
    let server = server.trim_end_matches('/').to_owned();
    let namespace = config.default_namespace.clone();
    // A plugin is waited for.
    let made = tokio::task::spawn_blocking(move || Client::try_from(config));
    let reason = match timeout(PLUGIN_WITHIN, made).await {
        Ok(Ok(Ok(client))) => {
            return Ok(Connected {
                server,
                namespace,
                plugin,
                client,
            });
        }
        Ok(Ok(Err(error))) => words(&error),
        Ok(Err(_)) => "they could not be made".to_owned(),
        Err(_) => format!("its plugin said nothing for {} s", PLUGIN_WITHIN.as_secs()),
    };
    let reason = naming(plugin.as_deref(), &reason);
    Err(LoginError::Credentials { server, reason })
}

/// In words how far the clock here is from the server's, if that is too far: it wrote `date` between `sent` and `now` by ours.
fn clocks_apart(date: DateTime<Utc>, sent: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    let ahead = (sent - date).max(date - now).to_std().unwrap_or_default();
    (ahead > CLOCKS_APART_MAX).then(|| {
        let seconds = ahead.as_secs();
        let way = if date < sent { "ahead of" } else { "behind" };
        format!("the clock here is {seconds} s {way} the server's: what happens cannot be dated")
    })
}

fn silent(idle: Duration) -> Refusal {
    Refusal::Broken(format!("no answer for {} s", idle.as_secs()))
}

/// The whole body, of at most `max` bytes, as long as it keeps coming.
async fn read(mut body: Body, max: usize, idle: Duration) -> Result<Vec<u8>, Refusal> {
    let mut whole = Vec::new();
    loop {
        let frame = timeout(idle, body.frame())
            .await
            .map_err(|_| silent(idle))?;
        let Some(frame) = frame else {
            return Ok(whole);
        };
        let frame = frame.map_err(|error| Refusal::Broken(words(&error_of(error))))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > max {
            return Err(Refusal::TooLong);
        }
        whole.extend_from_slice(&data);
    }
}

/// An error of a body as one of the client, for its words.
pub(super) fn error_of(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> kube::Error {
    kube::Error::Service(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Refusal {
        serde_json::from_str::<Status>(text).unwrap().refusal()
    }

    #[test]
    fn clocks_that_are_apart_are_told() {
        let at = |second: i64| DateTime::from_timestamp(1_795_507_200 + second, 0).unwrap();
        assert_eq!(clocks_apart(at(0), at(0), at(1)), None);
        // An answer may take long, and both clocks be off a little.
        assert_eq!(clocks_apart(at(3), at(-20), at(30)), None);
        assert_eq!(clocks_apart(at(-7), at(0), at(1)), None);
        let little = clocks_apart(at(-8), at(0), at(1)).unwrap();
        assert!(little.contains("8 s ahead of the server's"), "{little}");
        let little = clocks_apart(at(9), at(0), at(1)).unwrap();
        assert!(little.contains("8 s behind the server's"), "{little}");
        let ahead = clocks_apart(at(-3600), at(0), at(1)).unwrap();
        assert!(ahead.contains("3600 s ahead of the server's"), "{ahead}");
        let behind = clocks_apart(at(61), at(0), at(1)).unwrap();
        assert!(behind.contains("60 s behind the server's"), "{behind}");
    }

    #[test]
    fn a_status_is_sorted_by_what_can_be_done() {
        assert_eq!(refusal(r#"{"code":410,"reason":"Expired"}"#), Refusal::Gone);
        assert_eq!(refusal(r#"{"reason":"Expired"}"#), Refusal::Gone);
        let busy = r#"{"code":429,"message":"slow down","details":{"retryAfterSeconds":7}}"#;
        let after = Some(Duration::from_secs(7));
        assert_eq!(refusal(busy), Refusal::Busy("slow down".to_owned(), after));
        let long = format!(r#"{{"code":403,"message":"{}\nmore"}}"#, "é".repeat(400));
        let Refusal::Forbidden(text) = refusal(&long) else {
            panic!("{:?}", refusal(&long));
        };
        assert_eq!(text.chars().count(), 301);
    }
}
