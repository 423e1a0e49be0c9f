//! Sends signed requests, and again where that helps.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};

use super::address::Address;
use super::error::{Class, OssError, Refusal, masked};
use super::sign::{Signable, UNSIGNED_PAYLOAD, v4, v4_time};
use crate::cloud::credentials::{Chain, Clock, Credentials};

/// Answers that are read whole: listings of a thousand keys of a kilobyte, escaped.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// After three times [`Retries::silence`] a body must have come at this rate, in bytes per second.
const RATE_MIN: f64 = 4096.0;

/// How long was waited for a body, and what came. What its reader does meanwhile is not counted.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// The next piece; an error where they only trickle: waiting for the rest would take days.
    pub(super) async fn next(
        &mut self,
        response: &mut Response,
        silence: Duration,
    ) -> Result<Option<Bytes>, OssError> {
        let begun = Instant::now();
        let piece = response.chunk().await.map_err(connection)?;
        self.waited += begun.elapsed();
        self.bytes += piece.as_ref().map_or(0, Bytes::len) as u64;
        let trickles = (self.bytes as f64) < RATE_MIN * self.waited.as_secs_f64();
        if piece.is_some() && trickles && self.waited > 3 * silence {
            let seconds = self.waited.as_secs();
            let text = format!("only {} bytes came in {seconds} s", self.bytes);
            return Err(OssError::Connection(text));
        }
        Ok(piece)
    }

    /// Whether enough came to call the connection a good one.
    pub(super) fn is_good(&self) -> bool {
        self.bytes >= 64 * 1024
    }
}

/// How often and how patiently a request is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// Tries in all.
    pub attempts: u32,
    /// The first wait is about this long, each further one twice as long …
    pub first_wait: Duration,
    /// … up to this.
    pub longest_wait: Duration,
    /// Nothing arrives for this long: the connection counts as broken.
    pub silence: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(20),
            silence: Duration::from_secs(20),
        }
    }
}

impl Retries {
    /// The wait before try number `attempt`, counted from 1: between half and all of what doubling gives.
    pub fn wait(&self, attempt: u32) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << attempt.min(16));
        let full = doubled.min(self.longest_wait);
        let jitter = RandomState::new().hash_one(attempt) % 1000;
        full / 2 + full.mul_f64(jitter as f64 / 2000.0)
    }
}

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) key: Option<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Bytes,
    /// Whether doing it twice is as good as once, so that a lost answer is no obstacle to trying again.
    pub(super) repeatable: bool,
    /// Whether only the caller tries it again, who knows what a second answer means.
    pub(super) once: bool,
}

impl Call {
    pub(super) fn new(method: Method, key: Option<&str>) -> Self {
        Self {
            method,
            key: key.map(str::to_string),
            query: Vec::new(),
            headers: BTreeMap::new(),
            body: Bytes::new(),
            repeatable: true,
            once: false,
        }
    }

    pub(super) fn query(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query.push((key.to_string(), value.into()));
        self
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_string(), value.into());
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// A connection to one bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    address: Address,
    chain: Chain,
    clock: Clock,
    /// Seconds that the service's clock is ahead of ours; zero until it complains.
    ahead: AtomicI64,
    retries: Retries,
}

impl Client {
    pub(super) fn new(
        address: Address,
        chain: Chain,
        clock: Clock,
        retries: Retries,
    ) -> Result<Self, OssError> {
        // What is stored is what we want: no decompression on the way, which would break ranges and checksums.
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(retries.silence)
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build();
        let http = http.map_err(connection)?;
        Ok(Self {
            shared: Arc::new(Shared {
                http,
                address,
                chain,
                clock,
                ahead: AtomicI64::new(0),
                retries,
            }),
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.shared.address
    }

    pub(super) fn retries(&self) -> &Retries {
        &self.shared.retries
    }

    /// Sends a call until it is answered with success, or nothing more can be done.
    pub(super) async fn send(&self, call: &Call) -> Result<Response, OssError> {
        let mut attempt = 0;
        let (mut renewed, mut corrected) = (false, false);
        loop {
            let error = match self.send_once(call).await {
                Ok(response) => return Ok(response),
                Err((error, reached)) => {
                    // Whether it was done is not known: only the caller can tell what that means.
                    let unsure = reached && !call.repeatable;
                    match error.class() {
                        Class::Credentials if !renewed => {
                            renewed = true;
                            continue;
                        }
                        Class::Clock if !corrected => {
                            corrected = true;
                            continue;
                        }
                        Class::Retry if !unsure && !call.once => error,
                        _ => return Err(error),
                    }
                }
            };
            attempt += 1;
            if attempt >= self.shared.retries.attempts {
                return Err(error);
            }
            tokio::time::sleep(self.shared.retries.wait(attempt)).await;
        }
    }

    /// One try; of a failure also whether the service may have acted.
    async fn send_once(&self, call: &Call) -> Result<Response, (OssError, bool)> {
        let shared = &self.shared;
        let credentials = shared.chain.get().await;
        let credentials = credentials.map_err(|error| (error.into(), false))?;
        let at = self.now();
        let mut headers = call.headers.clone();
        headers.insert("x-oss-date".to_string(), v4_time(at));
        headers.insert(
            "x-oss-content-sha256".to_string(),
            UNSIGNED_PAYLOAD.to_string(),
        );
        if let Some(token) = credentials.token() {
            headers.insert("x-oss-security-token".to_string(), token.to_string());
        }
        let signable = Signable {
            method: call.method.as_str(),
            bucket: Some(shared.address.bucket()),
            key: call.key.as_deref(),
            query: &call.query,
            headers,
        };
        let authorization = v4(&signable, at, shared.address.region(), &credentials);
        let url = shared.address.url(call.key.as_deref(), &call.query);
        let mut request = shared.http.request(call.method.clone(), url);
        for (name, value) in &signable.headers {
            request = request.header(name, value);
        }
        let request = request
            .header("authorization", authorization)
            .body(call.body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let reached = !error.is_connect();
                return Err((connection(error), reached));
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let error = match refused(response, &credentials, shared.retries.silence).await {
            // A proxy's page: the service says why. To `HEAD` it cannot, and old buckets say nothing in a header either.
            OssError::Refused(refusal)
                if refusal.code.is_empty()
                    && call.method != Method::HEAD
                    && (300..500).contains(&refusal.status)
                    && ![304, 408, 429].contains(&refusal.status) =>
            {
                let text = format!("HTTP {} without an error of OSS", refusal.status);
                OssError::Garbage(text)
            }
            error => error,
        };
        match error.class() {
            Class::Credentials => shared.chain.reject(&credentials),
            Class::Clock => self.correct_clock(error.refusal()),
            Class::Retry | Class::Stop => {}
        }
        // A busy service turns the request away; one that breaks down may have done half of it.
        let turned_away = error
            .refusal()
            .is_some_and(|refusal| [429, 503].contains(&refusal.status));
        Err((error, !turned_away))
    }

    /// The time as the service sees it.
    fn now(&self) -> DateTime<Utc> {
        let ahead = self.shared.ahead.load(Ordering::Relaxed);
        let seconds = self.shared.clock.now().saturating_add(ahead);
        DateTime::from_timestamp(seconds, 0).unwrap_or_default()
    }

    fn correct_clock(&self, refusal: Option<&Refusal>) {
        let time = refusal.and_then(|refusal| refusal.server_time.as_deref());
        let time = time.and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        if let Some(time) = time {
            let here = DateTime::from_timestamp(self.shared.clock.now(), 0).unwrap_or_default();
            let ahead: TimeDelta = time.to_utc() - here;
            self.shared
                .ahead
                .store(ahead.num_seconds(), Ordering::Relaxed);
        }
    }

    /// Sends a call and reads its whole answer.
    pub(super) async fn fetch(&self, call: &Call) -> Result<(Response, Vec<u8>), OssError> {
        let mut attempt = 0;
        loop {
            let mut response = self.send(call).await?;
            match read_all(&mut response, self.shared.retries.silence).await {
                Ok(body) => return Ok((response, body)),
                Err(error) if call.repeatable && !call.once && error.class() == Class::Retry => {
                    attempt += 1;
                    if attempt >= self.shared.retries.attempts {
                        return Err(error);
                    }
                    tokio::time::sleep(self.shared.retries.wait(attempt)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A header as text.
pub(super) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The whole body, up to a bound.
async fn read_all(response: &mut Response, silence: Duration) -> Result<Vec<u8>, OssError> {
    let (mut body, mut pace) = (Vec::new(), Pace::default());
    while let Some(piece) = pace.next(response, silence).await? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(OssError::Garbage("it does not end".to_string()));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What an answer without success says, without what was signed with. To `HEAD` it has no body, and the XML stands in a
/// header.
async fn refused(mut response: Response, credentials: &Credentials, silence: Duration) -> OssError {
    use base64::Engine;
    let status = response.status();
    let in_header = header(&response, "x-oss-err")
        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let date = header(&response, "date").map(str::to_string);
    let body = read_all(&mut response, silence).await.unwrap_or_default();
    let body = if body.is_empty() {
        in_header.unwrap_or_default()
    } else {
        body
    };
    let secrets = [
        credentials.token().unwrap_or_default(),
        credentials.secret(),
    ];
    let mut refusal = Refusal::read(status.as_u16(), &body, &secrets);
    if refusal.request_id.is_empty() {
        let id = header(&response, "x-oss-request-id").unwrap_or_default();
        refusal.request_id = masked(id, &secrets).chars().take(100).collect();
    }
    if refusal.server_time.is_none() && status == StatusCode::FORBIDDEN {
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        refusal.server_time = date.map(|date| date.to_rfc3339());
    }
    OssError::Refused(Box::new(refusal))
}

/// A failed connection, without the URL: a presigned one would tell a signature.
pub(super) fn connection(error: reqwest::Error) -> OssError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    OssError::Connection(text)
}
