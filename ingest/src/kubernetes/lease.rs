//! One writer among replicas: a Lease of coordination.k8s.io, held as client-go holds it.
//!
//! Whoever does not hold it watches the record: if it does not change for as long as the holder promised to renew it, by our own clock,
//! it may be taken, with its resource version as a guard. Whoever holds it renews it, and stops by itself some seconds before others may
//! take it. The lake lets only one of two commits win in any case; the lease keeps the loser from trying.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::api::{Api, Refusal};
use super::pause::Backoff;
use crate::sls::sign::encode;

const BYTES_MAX: usize = 1 << 20;

/// The lease and how it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Its namespace; otherwise that of the pod or the context.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Who we are among the replicas.
    pub identity: String,
    /// What is not renewed for this long may be taken by another.
    pub duration: Duration,
    /// What could not be renewed for this long is given up by ourselves.
    pub renew_within: Duration,
    /// How often it is renewed, or looked at.
    pub pause: Duration,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        LeaseSettings {
            namespace: None,
            name: "flowaudit-inventory".to_owned(),
            identity: identity(),
            duration: Duration::from_secs(15),
            renew_within: Duration::from_secs(10),
            pause: Duration::from_secs(2),
        }
    }
}

/// The pod or machine, and something that no second process has.
fn identity() -> String {
    let name = std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .unwrap_or_default();
    let name = match name.trim() {
        "" => "flowaudit",
        name => name,
    };
    let unique = RandomState::new().hash_one(std::process::id());
    format!("{name}_{unique:016x}")
}

/// How it stands with the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is known yet.
    Unknown,
    /// It is ours until then, if it is not renewed.
    Ours(Instant),
    /// Somebody else's.
    Theirs(String),
    /// It cannot be had.
    Forbidden(String),
    /// The server cannot be asked.
    Trouble(String),
}

impl Standing {
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Standing::Ours(until) if Instant::now() < *until)
    }
}

/// Tries to hold a lease.
pub(super) struct Elector {
    api: Api,
    settings: LeaseSettings,
    namespace: String,
    standing: watch::Sender<Standing>,
    /// The record as it was last seen, and since when it is so.
    seen: Option<(Value, Instant)>,
}

/// What one try came to.
enum Tried {
    Ours,
    Theirs(String),
}

impl Elector {
    pub(super) fn new(
        api: Api,
        settings: LeaseSettings,
        standing: watch::Sender<Standing>,
    ) -> Self {
        let namespace = settings.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| api.namespace().to_owned());
        Elector {
            api,
            settings,
            namespace,
            standing,
            seen: None,
        }
    }

    /// How messages name the lease.
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.settings.name)
    }

    /// Holds the lease for as long as it can, for ever.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.settings.pause, self.settings.pause * 4);
        loop {
            let asked = Instant::now();
            // A server that does not answer must not keep us from noticing that it is over.
            let tried = timeout(self.settings.renew_within / 2, self.try_once()).await;
            let tried = tried.unwrap_or_else(|_| Err(Refusal::Broken("no answer".to_owned())));
            let is_ours = self.standing.borrow().is_ours();
            let wait = match tried {
                Ok(Tried::Ours) => {
                    let until = asked + self.settings.renew_within;
                    self.standing.send_replace(Standing::Ours(until));
                    backoff.reset();
                    self.settings.pause
                }
                Ok(Tried::Theirs(holder)) => {
                    self.standing.send_replace(Standing::Theirs(holder));
                    backoff.reset();
                    backoff.spread(self.settings.pause)
                }
                // Somebody wrote at the same moment: look who.
                Err(Refusal::Conflict) => backoff.spread(self.settings.pause / 4),
                // Ours until its time is up.
                Err(_) if is_ours => backoff.spread(self.settings.pause / 2),
                Err(Refusal::Forbidden(text)) => {
                    self.standing.send_replace(Standing::Forbidden(text));
                    backoff.next()
                }
                Err(refusal) => {
                    let text = refusal.to_string();
                    self.standing.send_replace(Standing::Trouble(text));
                    backoff.next()
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn path(&self) -> String {
        format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
            encode(&self.namespace)
        )
    }

    async fn try_once(&mut self) -> Result<Tried, Refusal> {
        let one = format!("{}/{}", self.path(), encode(&self.settings.name));
        let now = Utc::now();
        let found = match self.api.get(&one, BYTES_MAX).await {
            Ok(body) => serde_json::from_slice::<Value>(&body)
                .map_err(|_| Refusal::Broken("the lease cannot be read".to_owned()))?,
            Err(Refusal::NotFound) => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self.settings.name, "namespace": self.namespace},
                    "spec": self.spec(&Value::Null, now),
                });
                let written = self.write(Method::POST, &self.path(), lease).await;
                return written.map_err(|refusal| match refusal {
                    Refusal::NotFound => {
                        Refusal::Status(404, format!("there is no namespace `{}`", self.namespace))
                    }
                    refusal => refusal,
                });
            }
            Err(refusal) => return Err(refusal),
        };
        let spec = found.get("spec").cloned().unwrap_or(Value::Null);
        let holder = text(&spec, "holderIdentity");
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != spec) {
            self.seen = Some((spec.clone(), Instant::now()));
        }
        if !holder.is_empty() && holder != self.settings.identity {
            let promised = spec.get("leaseDurationSeconds").and_then(Value::as_u64);
            let promised = promised.map_or(self.settings.duration, Duration::from_secs);
            let is_alive = self
                .seen
                .as_ref()
                .is_some_and(|(_, since)| since.elapsed() < promised);
            if is_alive {
                return Ok(Tried::Theirs(holder));
            }
        }
        let mut lease = found;
        let spec = self.spec(&spec, now);
        if let Some(fields) = lease.as_object_mut() {
            fields.insert("spec".to_owned(), spec);
        }
        self.write(Method::PUT, &one, lease).await
    }

    /// What we write over `before`; fields that are not ours stay.
    fn spec(&self, before: &Value, now: DateTime<Utc>) -> Value {
        let mut spec = match before {
            Value::Object(fields) => fields.clone(),
            _ => serde_json::Map::new(),
        };
        let now = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let seconds = self.settings.duration.as_secs().max(1);
        if text(before, "holderIdentity") != self.settings.identity {
            let transitions = before.get("leaseTransitions").and_then(Value::as_u64);
            let transitions = transitions.map_or(0, |before| before.saturating_add(1));
            spec.insert("leaseTransitions".to_owned(), transitions.into());
            spec.insert("acquireTime".to_owned(), now.clone().into());
        }
        let identity = self.settings.identity.clone();
        spec.insert("holderIdentity".to_owned(), identity.into());
        spec.insert("leaseDurationSeconds".to_owned(), seconds.into());
        spec.insert("renewTime".to_owned(), now.into());
        Value::Object(spec)
    }

    /// Writes the lease; its resource version, which it carries, is the guard.
    async fn write(&mut self, method: Method, path: &str, lease: Value) -> Result<Tried, Refusal> {
        let body = self
            .api
            .call(method, path, lease.to_string().into_bytes(), BYTES_MAX)
            .await?;
        let written = serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null);
        if let Some(spec) = written.get("spec") {
            self.seen = Some((spec.clone(), Instant::now()));
        }
        Ok(Tried::Ours)
    }
}

/// Gives the lease back, so that another need not wait for its end. Only after the last commit.
pub(super) async fn release(api: &Api, settings: &LeaseSettings) -> Result<(), Refusal> {
    let (standing, _) = watch::channel(Standing::Unknown);
    let elector = Elector::new(api.clone(), settings.clone(), standing);
    let one = format!("{}/{}", elector.path(), encode(&settings.name));
    let body = api.get(&one, BYTES_MAX).await?;
    let mut lease = serde_json::from_slice::<Value>(&body)
        .map_err(|_| Refusal::Broken("the lease cannot be read".to_owned()))?;
    let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    if spec.get("holderIdentity").and_then(Value::as_str) != Some(&settings.identity) {
        return Ok(());
    }
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    spec.insert("holderIdentity".to_owned(), "".into());
    spec.insert("leaseDurationSeconds".to_owned(), 1.into());
    spec.insert("renewTime".to_owned(), now.into());
    let body = lease.to_string().into_bytes();
    api.call(Method::PUT, &one, body, BYTES_MAX).await.map(drop)
}

fn text(spec: &Value, key: &str) -> String {
    let value = spec.get(key).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}
