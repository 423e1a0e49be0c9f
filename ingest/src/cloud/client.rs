//! One call to the control plane: signed, tried again where that helps, its answer bounded.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use flowaudit_lake::cloud::credentials::{Chain, Clock, Credentials};
use reqwest::redirect::Policy;

use super::error::{Cause, Class, CloudError, Refusal};
use super::sign::{Call, headers, query};

/// A page of a thousand rules takes less.
const ANSWER_BYTES_MAX: usize = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the control plane is, and how patiently it is asked.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The region.
    pub region: String,
    /// Whether we are inside a VPC of the region, where each product has a host of its own.
    pub internal: bool,
    /// Hosts by product (`ecs`, `vpc`, `slb`, `nlb`, `alb`) where they are not the usual ones; with `http://` before them unencrypted.
    pub endpoints: BTreeMap<String, String>,
    /// How often a call is tried.
    pub attempts: u32,
    /// The first wait between two tries; doubled each time.
    pub first_wait: Duration,
}

impl ClientSettings {
    /// The usual hosts of a region.
    #[must_use]
    pub fn new(region: &str) -> Self {
        ClientSettings {
            region: region.to_owned(),
            internal: false,
            endpoints: BTreeMap::new(),
            attempts: 6,
            first_wait: Duration::from_millis(500),
        }
    }

    /// Scheme and host of a product.
    fn endpoint(&self, product: &str) -> (&'static str, String) {
        if let Some(host) = self.endpoints.get(product) {
            return match host.strip_prefix("http://") {
                Some(host) => ("http", host.trim_end_matches('/').to_owned()),
                None => {
                    let host = host.strip_prefix("https://").unwrap_or(host);
                    ("https", host.trim_end_matches('/').to_owned())
                }
            };
        }
        let network = if self.internal { "-vpc" } else { "" };
        (
            "https",
            format!("{product}{network}.{}.aliyuncs.com", self.region),
        )
    }
}

/// Calls the control plane of a region.
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    http: reqwest::Client,
    chain: Chain,
    clock: Clock,
    /// How far our clock is behind the service's, in seconds.
    behind: AtomicI64,
    nonces: AtomicU64,
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Action {
    pub(super) product: &'static str,
    pub(super) version: &'static str,
    pub(super) name: &'static str,
}

impl Client {
    /// Asks nobody yet.
    pub fn new(settings: ClientSettings, chain: Chain, clock: Clock) -> Result<Self, CloudError> {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CONNECT_TIMEOUT + READ_TIMEOUT)
            .build()
            .map_err(|error| CloudError {
                product: "ecs",
                action: "a call",
                host: settings.region.clone().into(),
                cause: Cause::Connection(whole(&error)),
            })?;
        Ok(Client {
            settings,
            http,
            chain,
            clock,
            behind: AtomicI64::new(0),
            nonces: AtomicU64::new(0),
        })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.settings.region
    }

    pub(super) fn error(&self, action: Action, cause: Cause) -> CloudError {
        CloudError {
            product: action.product,
            action: action.name,
            host: self.settings.endpoint(action.product).1.into(),
            cause,
        }
    }

    /// The body of the answer.
    pub(super) async fn call(
        &self,
        action: Action,
        parameters: &[(String, String)],
    ) -> Result<Vec<u8>, CloudError> {
        let (mut clock_set, mut keys_fetched) = (false, false);
        let mut wait = self.settings.first_wait;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let fail = |cause| self.error(action, cause);
            let keys = self.chain.get().await;
            let keys = keys.map_err(|error| fail(error.into()))?;
            let failed = match self.attempt(action, parameters, &keys).await {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            let last = attempt >= self.settings.attempts;
            match (&failed.cause, failed.class()) {
                (_, Class::Clock) if !clock_set && failed.date.is_some() => {
                    clock_set = true;
                    let theirs = failed.date.unwrap_or_default();
                    self.behind
                        .store(theirs - self.clock.now(), Ordering::SeqCst);
                }
                (_, Class::Credentials) if !keys_fetched => {
                    keys_fetched = true;
                    self.chain.reject(&keys);
                }
                (_, Class::Nonce) if !last => {}
                (_, Class::Retry) if !last => {
                    let asked = failed.retry_after.unwrap_or_default();
                    tokio::time::sleep(jittered(wait).max(asked)).await;
                    wait = (wait * 2).min(Duration::from_secs(20));
                }
                _ => return Err(fail(failed.cause)),
            }
        }
    }

    async fn attempt(
        &self,
        action: Action,
        parameters: &[(String, String)],
        keys: &Credentials,
    ) -> Result<Vec<u8>, Failed> {
        let (scheme, host) = self.settings.endpoint(action.product);
        let now = self.clock.now() + self.behind.load(Ordering::SeqCst);
        let date = DateTime::from_timestamp(now, 0).unwrap_or_default();
        let date = date.to_rfc3339_opts(SecondsFormat::Secs, true);
        let nonce = self.nonce();
        let call = Call {
            host: &host,
            action: action.name,
            version: action.version,
            query: parameters,
            date: &date,
            nonce: &nonce,
        };
        let url = format!("{scheme}://{host}/?{}", query(parameters));
        let mut request = self.http.post(url);
        for (name, value) in headers(&call, keys) {
            request = request.header(name, value);
        }
        let unreachable = |error: reqwest::Error| Cause::Connection(whole(&error.without_url()));
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        let date = header("date").and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        let date = date.map(|date| date.timestamp());
        let retry_after = header("x-acs-retry-after").and_then(|after| after.parse().ok());
        // Milliseconds, as far as anybody has seen it; an hour would be no use.
        let retry_after = retry_after.map(|ms: u64| Duration::from_millis(ms.min(20_000)));
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(Cause::TooLarge(ANSWER_BYTES_MAX).into());
            }
            body.extend_from_slice(&piece);
        }
        if status.is_success() {
            return Ok(body);
        }
        Err(Failed {
            cause: Cause::Refused(Refusal::read(status.as_u16(), &body)),
            date,
            retry_after,
        })
    }

    fn nonce(&self) -> String {
        let count = self.nonces.fetch_add(1, Ordering::SeqCst);
        let random = |half: u8| RandomState::new().hash_one((std::process::id(), count, half));
        format!("{:016x}{:016x}", random(0), random(1))
    }
}

/// One attempt that failed.
struct Failed {
    cause: Cause,
    /// The clock of the service, in Unix seconds.
    date: Option<i64>,
    retry_after: Option<Duration>,
}

impl From<Cause> for Failed {
    fn from(cause: Cause) -> Failed {
        Failed {
            cause,
            date: None,
            retry_after: None,
        }
    }
}

impl Failed {
    fn class(&self) -> Class {
        match &self.cause {
            Cause::Refused(refusal) => refusal.class(),
            Cause::Connection(_) => Class::Retry,
            _ => Class::Stop,
        }
    }
}

/// Between half of it and all of it.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    wait.mul_f64(0.5 + random / 2.0)
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
