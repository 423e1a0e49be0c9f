//! The calls of the log service that reading needs: signed, retried by what the service answers, bounded in size.
//!
//! What is done about a failure is said in [`error`](super::error); here it is done: again after a growing, jittered
//! wait, slower when the service throttles, once with the clock corrected, once with other keys, otherwise not at all.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;

use super::credentials::{Credentials, Provider, keys};
use super::endpoint::{Endpoint, EndpointError, check_name};
use super::error::{Cause, Class, Refusal, SlsError};
use super::sign::{Request, Scheme, encode, sign};
use super::spare::Spares;

/// A longer answer to a call that answers in JSON is none.
const JSON_BYTES_MAX: u64 = 4 << 20;
/// A longer error body is not read further.
const ERROR_BYTES_MAX: u64 = 64 << 10;
/// Between two tries, in seconds.
const WAIT_S: Waits = Waits {
    first: 0.5,
    factor: 1.5,
    max: 20.0,
};
/// Between two tries while the service throttles. The SDKs wait five seconds, always.
const THROTTLED_WAIT_S: Waits = Waits {
    first: 2.0,
    factor: 2.0,
    max: 60.0,
};
/// After this many tries a call is worth a word.
const TROUBLE_TRIES: u32 = 4;
/// An answer that contradicts itself is asked for so often, however patient the client: waiting makes nothing true.
const CONTRADICTIONS_MAX: u32 = 8;
/// After twice the read time-out an answer must have come at this rate, in bytes per second.
const RATE_MIN: f64 = 4096.0;
/// Nobody waits longer for keys at once.
const KEYS_PATIENCE: Duration = Duration::from_secs(30);
/// A try with corrected clock is not made for less.
const SKEW_MIN: TimeDelta = TimeDelta::seconds(30);

struct Waits {
    first: f64,
    factor: f64,
    max: f64,
}

/// How the client goes about it.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Endpoint of the region, without the project.
    pub endpoint: String,
    /// Whether http will do.
    pub insecure: bool,
    /// Project.
    pub project: String,
    /// Logstore.
    pub logstore: String,
    /// Region for signature V4, where the endpoint does not tell.
    pub region: Option<String>,
    /// Whether to sign by V1, which needs no region.
    pub sign_v1: bool,
    /// Where requests go through; otherwise what `http_proxy`, `https_proxy` and `no_proxy` say.
    pub proxy: Option<String>,
    /// How long one call is tried; `None` for ever.
    pub patience: Option<Duration>,
    /// How long nothing may come while an answer is read.
    pub read_timeout: Duration,
    /// Shortens every wait between tries; tests set it below 1.
    pub wait_factor: f64,
}

/// Patience of a run that ends by itself: as long as the Go SDK tries.
pub const PATIENCE: Duration = Duration::from_secs(90);

impl ClientSettings {
    /// Settings for a logstore, everything else as it is best for most.
    #[must_use]
    pub fn new(endpoint: &str, project: &str, logstore: &str) -> Self {
        ClientSettings {
            endpoint: endpoint.to_owned(),
            insecure: false,
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            region: None,
            sign_v1: false,
            proxy: None,
            patience: Some(PATIENCE),
            read_timeout: Duration::from_secs(30),
            wait_factor: 1.0,
        }
    }
}

/// Why no client can be made of the settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Endpoint or a name.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// V4 needs a region.
    #[error("endpoint `{endpoint}` does not tell the region, which signature version 4 needs")]
    NoRegion {
        /// The endpoint.
        endpoint: String,
    },
    /// Proxy, certificates.
    #[error("no connections can be made: {reason}")]
    Http {
        /// Why.
        reason: String,
    },
}

impl ClientError {
    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            ClientError::Endpoint(error) => error.help(),
            ClientError::NoRegion { .. } => {
                Some("set `region`, as in `cn-hangzhou`, or `signature: v1`".to_owned())
            }
            ClientError::Http { .. } => Some(
                "see that `proxy` is a URL and that this machine has root certificates".to_owned(),
            ),
        }
    }
}

/// A client of one logstore. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    settings: ClientSettings,
    endpoint: Endpoint,
    scheme: Scheme,
    credentials: Arc<dyn Provider>,
    /// What is added to this machine's clock, in milliseconds.
    clock_offset_ms: AtomicI64,
    jitter: RandomState,
    calls: AtomicU64,
    throttled: AtomicU64,
    /// What a call waits for that has been tried often.
    trouble: Mutex<Option<String>>,
    /// Whether there were keys once: that they do not come now may pass.
    had_keys: AtomicBool,
    spares: Spares,
}

/// A call before it is sent.
pub(super) struct Call<'c> {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    /// Below `/logstores/{logstore}`.
    pub(super) path: &'c str,
    pub(super) query: &'c [(&'c str, &'c str)],
    pub(super) body: &'c [u8],
    /// The shard, for messages.
    pub(super) shard: Option<u32>,
    /// Headers that are not signed.
    pub(super) accept: &'c [(&'static str, &'static str)],
    /// A longer answer is refused.
    pub(super) bytes_max: u64,
}

impl<'c> Call<'c> {
    pub(super) fn get(
        name: &'static str,
        path: &'c str,
        query: &'c [(&'c str, &'c str)],
        shard: Option<u32>,
    ) -> Self {
        Call {
            name,
            method: "GET",
            path,
            query,
            body: b"",
            shard,
            accept: &[],
            bytes_max: JSON_BYTES_MAX,
        }
    }

    pub(super) fn post(
        name: &'static str,
        path: &'c str,
        query: &'c [(&'c str, &'c str)],
        body: &'c [u8],
    ) -> Self {
        Call {
            method: "POST",
            body,
            ..Call::get(name, path, query, None)
        }
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// What the service's support asks for.
    pub(super) fn request(&self) -> String {
        let request = self.header("x-log-requestid").unwrap_or("without an id");
        request.chars().take(100).collect()
    }
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(
        settings: ClientSettings,
        credentials: Arc<dyn Provider>,
    ) -> Result<Self, ClientError> {
        let endpoint = Endpoint::new(&settings.endpoint, &settings.project, settings.insecure)?;
        check_name("logstore", &settings.logstore)?;
        let region = settings.region.clone().or_else(|| endpoint.region.clone());
        let scheme = match (settings.sign_v1, region) {
            (true, _) => Scheme::V1,
            (false, Some(region)) => Scheme::V4 { region },
            (false, None) => {
                return Err(ClientError::NoRegion {
                    endpoint: settings.endpoint.clone(),
                });
            }
        };
        let refused = |error: reqwest::Error| ClientError::Http {
            reason: words(&error),
        };
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("flowaudit/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(settings.read_timeout)
            // Signed requests must not be sent elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            // Bodies come packed in the service's own ways.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if let Some(proxy) = &settings.proxy {
            http = http.proxy(reqwest::Proxy::all(proxy).map_err(refused)?);
        }
        if endpoint.is_address {
            // HTTP/2 would send the address for the host.
            http = http.http1_only();
        }
        Ok(Client {
            shared: Arc::new(Shared {
                http: http.build().map_err(refused)?,
                settings,
                endpoint,
                scheme,
                credentials,
                clock_offset_ms: AtomicI64::new(0),
                jitter: RandomState::new(),
                calls: AtomicU64::new(0),
                throttled: AtomicU64::new(0),
                trouble: Mutex::new(None),
                had_keys: AtomicBool::new(false),
                spares: Spares::default(),
            }),
        })
    }

    /// How the lake names the logstore: `sls:PROJECT/LOGSTORE`.
    #[must_use]
    pub fn source(&self) -> String {
        let settings = &self.shared.settings;
        format!("sls:{}/{}", settings.project, settings.logstore)
    }

    /// Whether a call that keeps failing ends at some time.
    pub(super) fn gives_up(&self) -> bool {
        self.shared.settings.patience.is_some()
    }

    /// How often the service throttled a call.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.shared.throttled.load(Ordering::Relaxed)
    }

    /// By how much the clock of this machine was corrected.
    #[must_use]
    pub fn clock_offset(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.shared.clock_offset_ms.load(Ordering::Relaxed))
    }

    /// What calls are waiting for just now, if they have been tried often.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        let trouble = self.shared.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn trouble(&self, text: Option<String>) {
        let trouble = self.shared.trouble.lock();
        *trouble.unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.clock_offset()
    }

    /// Memory for replies.
    pub(super) fn spares(&self) -> &Spares {
        &self.shared.spares
    }

    /// An error of this logstore.
    pub(super) fn error(&self, name: &'static str, shard: Option<u32>, cause: Cause) -> SlsError {
        let settings = &self.shared.settings;
        let shard = shard.map_or(String::new(), |shard| format!(" shard {shard}"));
        SlsError {
            call: name,
            target: format!("`{}/{}`{shard}", settings.project, settings.logstore),
            cause,
        }
    }

    /// Sends a call until it succeeds or there is no use in trying again, and takes the answer apart. An answer that
    /// cannot be taken apart was damaged on its way and is asked for again.
    pub(super) async fn call<T>(
        &self,
        call: Call<'_>,
        take: impl Fn(Reply) -> Result<T, Cause>,
    ) -> Result<T, SlsError> {
        let begun = Instant::now();
        let (mut tries, mut corrected, mut refreshed) = (0_u32, false, false);
        let (mut slow_tries, mut contradictions) = (0_u32, 0_u32);
        loop {
            tries += 1;
            let mut cause = match self.keys().await {
                Err(cause) => cause,
                Ok(held) => match self.send(&call, keys(&held), self.now()).await {
                    Ok(Answer::Reply(reply)) => match take(reply) {
                        Ok(taken) => {
                            if tries > TROUBLE_TRIES {
                                self.trouble(None);
                            }
                            return Ok(taken);
                        }
                        Err(cause) => cause,
                    },
                    Ok(Answer::Refusal(refusal, date)) => {
                        match refusal.class() {
                            Class::Clock if !corrected => {
                                corrected = true;
                                if self.correct_clock(date) {
                                    continue;
                                }
                            }
                            Class::Credentials if !refreshed => {
                                refreshed = true;
                                self.shared.credentials.reject(&held);
                                continue;
                            }
                            _ => {}
                        }
                        Cause::Refused(refusal)
                    }
                    Err(cause) => cause,
                },
            };
            let had_keys = self.shared.had_keys.load(Ordering::Relaxed);
            let wait = match cause.class() {
                Class::Retry => self.wait(&WAIT_S, tries),
                // Whoever gives them out is away at present.
                _ if had_keys && matches!(cause, Cause::Credentials(_)) => {
                    self.wait(&WAIT_S, tries)
                }
                Class::Throttled => {
                    self.shared.throttled.fetch_add(1, Ordering::Relaxed);
                    slow_tries += 1;
                    self.wait(&THROTTLED_WAIT_S, slow_tries)
                }
                _ => return Err(self.error(call.name, call.shard, cause)),
            };
            let spent = begun.elapsed();
            if tries >= TROUBLE_TRIES {
                let error = self.error(call.name, call.shard, cause);
                self.trouble(Some(format!("{error} {tries} times: {}", error.cause)));
                cause = error.cause;
            }
            contradictions += u32::from(matches!(cause, Cause::Contradiction(..)));
            let patience = self.shared.settings.patience;
            if contradictions >= CONTRADICTIONS_MAX
                || patience.is_some_and(|patience| spent + wait > patience)
            {
                let last = Box::new(cause);
                let cause = Cause::GaveUp { tries, spent, last };
                return Err(self.error(call.name, call.shard, cause));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// What to sign with, in bounded time.
    async fn keys(&self) -> Result<Arc<Credentials>, Cause> {
        let patience = KEYS_PATIENCE.mul_f64(self.shared.settings.wait_factor);
        match tokio::time::timeout(patience, self.shared.credentials.get()).await {
            Ok(Ok(held)) => {
                self.shared.had_keys.store(true, Ordering::Relaxed);
                Ok(held)
            }
            Ok(Err(none)) => Err(none.into()),
            Err(_) => {
                let text = "whoever gives out credentials did not answer in time";
                Err(Cause::Transport(text.to_owned()))
            }
        }
    }

    /// A call that answers in JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, SlsError> {
        let missing = match call.name {
            "GetCursorTime" => "`cursor_time` in its JSON",
            _ => "JSON of the expected form",
        };
        let take =
            |reply: Reply| serde_json::from_slice(&reply.body).map_err(|_| Cause::Missing(missing));
        self.call(call, take).await
    }

    async fn send(
        &self,
        call: &Call<'_>,
        keys: super::sign::Keys<'_>,
        now: DateTime<Utc>,
    ) -> Result<Answer, Cause> {
        let shared = &*self.shared;
        let path = format!("/logstores/{}{}", shared.settings.logstore, call.path);
        let request = Request {
            method: call.method,
            host: &shared.endpoint.host,
            path: &path,
            query: call.query,
            body: call.body,
        };
        let mut url = format!("{}{path}", shared.endpoint.base);
        for (at, (key, value)) in call.query.iter().enumerate() {
            url += if at == 0 { "?" } else { "&" };
            url += key;
            url += "=";
            url += &encode(value);
        }
        let method = match call.method {
            "POST" => reqwest::Method::POST,
            "PUT" => reqwest::Method::PUT,
            "DELETE" => reqwest::Method::DELETE,
            _ => reqwest::Method::GET,
        };
        let mut http = shared.http.request(method, url);
        for (name, value) in sign(&request, &shared.scheme, keys, now) {
            let mut value = reqwest::header::HeaderValue::from_str(&value)
                .map_err(|_| Cause::Transport(format!("`{name}` cannot be sent in a header")))?;
            value.set_sensitive(matches!(name, "authorization" | "x-acs-security-token"));
            http = http.header(name, value);
        }
        for (name, value) in call.accept {
            http = http.header(*name, *value);
        }
        if shared.endpoint.is_address {
            http = http.header("host", &shared.endpoint.host);
        }
        if !call.body.is_empty() {
            http = http.body(call.body.to_vec());
        }
        let slow = 2 * shared.settings.read_timeout;
        let mut response = http.send().await.map_err(transport)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if status != 200 {
            // A body that breaks off says less, but the status says enough.
            let body = read(&mut response, ERROR_BYTES_MAX, slow)
                .await
                .unwrap_or_default();
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            let refusal = Refusal::read(
                status,
                text("x-log-requestid").unwrap_or_default(),
                &body,
                keys.token,
            );
            let date = text("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
            return Ok(Answer::Refusal(refusal, date.map(Into::into)));
        }
        let body = read(&mut response, call.bytes_max, slow).await?;
        Ok(Answer::Reply(Reply { headers, body }))
    }

    /// Takes the service's clock for ours; whether that changes anything.
    fn correct_clock(&self, date: Option<DateTime<Utc>>) -> bool {
        let Some(date) = date else { return false };
        let offset = date - Utc::now();
        if (offset - self.clock_offset()).abs() < SKEW_MIN {
            return false;
        }
        let ms = offset.num_milliseconds();
        self.shared.clock_offset_ms.store(ms, Ordering::Relaxed);
        true
    }

    /// How long to wait before another try: grows, and differs by up to a half between callers.
    fn wait(&self, waits: &Waits, tries: u32) -> Duration {
        let exponent = i32::try_from(tries.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = (waits.first * waits.factor.powi(exponent.min(64))).min(waits.max);
        let call = self.shared.calls.fetch_add(1, Ordering::Relaxed);
        let jitter = 0.5 + (self.shared.jitter.hash_one(call) % 1000) as f64 / 1000.0;
        Duration::from_secs_f64(seconds * jitter * self.shared.settings.wait_factor)
    }
}

enum Answer {
    Reply(Reply),
    Refusal(Refusal, Option<DateTime<Utc>>),
}

/// The body, of at most `max` bytes. One that still trickles after `slow` is given up: it would hold its memory for days.
async fn read(
    response: &mut reqwest::Response,
    max: u64,
    slow: Duration,
) -> Result<Vec<u8>, Cause> {
    let begun = Instant::now();
    let announced = response.content_length();
    if announced.is_some_and(|bytes| bytes > max) {
        return Err(Cause::TooLarge { max });
    }
    // Within the bound, which was set aside; growing bit by bit would hold it twice.
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    let mut body = Vec::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if (body.len() + chunk.len()) as u64 > max {
            return Err(Cause::TooLarge { max });
        }
        body.extend_from_slice(&chunk);
        let spent = begun.elapsed();
        if spent > slow && (body.len() as f64) < RATE_MIN * spent.as_secs_f64() {
            let text = format!("only {} bytes in {} s", body.len(), spent.as_secs());
            return Err(Cause::Transport(text));
        }
    }
    Ok(body)
}

fn transport(error: reqwest::Error) -> Cause {
    Cause::Transport(words(&error.without_url()))
}

/// What failed, down to the cause: reqwest's own sentence says little.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text += ": ";
            text += &words;
        }
        source = cause.source();
    }
    text
}
