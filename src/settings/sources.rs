//! Where flow logs come from besides files: `sources:` in the settings file, each under a name of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flowaudit_ingest::sls::unpack::Packing;
use flowaudit_ingest::sls::{ClientSettings, GroupSettings, Place, PullSettings};
use serde::Deserialize;

use super::keys::text;
use super::shipped::Shipped;
use super::size::Size;
use crate::failure::{Failure, Mistake};
use crate::when::{Span, When};

/// Less memory than this does not hold a batch.
const MEMORY_MIN: u64 = 64 << 20;
/// Between two heartbeats of a consumer group, and how long its leases last: what the official SDKs take.
const HEARTBEAT: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(60);

/// The sources by name.
pub(crate) type Sources = BTreeMap<String, Source>;

/// One source as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// A logstore of the log service.
    Sls(Box<Sls>),
    /// Objects that a shipping job writes to a bucket.
    Oss(Box<Shipped>),
}

impl Source {
    /// Whether it can be meant. Nobody is asked yet.
    pub(super) fn check(&self, now: DateTime<Utc>) -> Result<(), Failure> {
        match self {
            Source::Sls(sls) => sls.pull(false, None, now).map(drop),
            Source::Oss(shipped) => {
                shipped.bucket()?;
                shipped.pull(false, None, now).map(drop)
            }
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Sls(sls) => write!(
                f,
                "sls {}/{} at {}",
                sls.project, sls.logstore, sls.endpoint
            ),
            Source::Oss(shipped) => write!(f, "oss {}/{}", shipped.bucket, shipped.prefix),
        }
    }
}

/// A logstore of the log service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Sls {
    /// Endpoint of the region, without the project.
    pub endpoint: String,
    /// Project.
    pub project: String,
    /// Logstore.
    pub logstore: String,
    /// Region, where the endpoint does not tell.
    pub region: Option<String>,
    /// `v4`, or `v1`, which needs no region.
    #[serde(default)]
    pub signature: Signature,
    /// Whether http will do.
    #[serde(default)]
    pub insecure: bool,
    /// Where requests go through.
    pub proxy: Option<String>,
    /// Where a logstore begins that was never read: `begin`, `end`, a time, or how long ago.
    #[serde(default, deserialize_with = "text")]
    pub start: Option<Start>,
    /// An SPL statement that the service applies before it sends.
    pub query: Option<String>,
    /// How replies are packed.
    #[serde(default)]
    pub compression: Compression,
    /// What reading may hold in memory.
    #[serde(default, deserialize_with = "text")]
    pub memory: Option<Size>,
    /// A batch is published after this long, however small it is.
    #[serde(default, deserialize_with = "text")]
    pub batch_interval: Option<Span>,
    /// Shares the logstore with the other consumers of this group.
    pub consumer_group: Option<String>,
    /// Name of this process in the group.
    pub consumer: Option<String>,
}

/// How requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Signature {
    #[default]
    V4,
    V1,
}

/// How replies are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Compression {
    #[default]
    Lz4,
    Zstd,
    Deflate,
    None,
}

/// Where a logstore begins that was never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Begin,
    End,
    At(When),
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "begin" => Ok(Start::Begin),
            "end" => Ok(Start::End),
            time => time.parse().map(Start::At).map_err(|_: String| {
                format!("`{time}` is no place to start: write begin, end, a time as in `2026-11-23T08:00:00Z`, or how long ago as in `24h`")
            }),
        }
    }
}

impl Sls {
    /// What the client needs.
    pub(crate) fn client(&self, insecure: bool, follow: bool) -> ClientSettings {
        let mut settings = ClientSettings::new(&self.endpoint, &self.project, &self.logstore);
        settings.insecure = insecure || self.insecure;
        settings.region = self.region.clone();
        settings.sign_v1 = self.signature == Signature::V1;
        settings.proxy = self.proxy.clone();
        if follow {
            // What is to run for months waits for the service as long as it takes, and says so.
            settings.patience = None;
        }
        settings
    }

    /// How it is read.
    pub(crate) fn pull(
        &self,
        follow: bool,
        until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<PullSettings, Failure> {
        let mut settings = PullSettings {
            follow,
            until,
            query: self.query.clone(),
            packing: match self.compression {
                Compression::Lz4 => Packing::Lz4,
                Compression::Zstd => Packing::Zstd,
                Compression::Deflate => Packing::Deflate,
                Compression::None => Packing::Plain,
            },
            signals: true,
            ..PullSettings::default()
        };
        settings.start = match self.start {
            None | Some(Start::Begin) => Place::Begin,
            Some(Start::End) => Place::End,
            Some(Start::At(when)) => Place::Received(when.seen_from(now).timestamp()),
        };
        if let Some(size) = self.memory {
            settings.memory_bytes = enough(size)?;
        }
        if let Some(span) = self.batch_interval {
            settings.batch_pause = span.0.to_std().unwrap_or(settings.batch_pause);
        }
        settings.group = self.consumer_group.as_ref().map(|group| GroupSettings {
            group: group.clone(),
            consumer: self.consumer.clone().unwrap_or_else(own_name),
            heartbeat: HEARTBEAT,
            timeout: TIMEOUT,
        });
        Ok(settings)
    }
}

/// Memory in bytes that holds a batch.
pub(super) fn enough(size: Size) -> Result<u64, Failure> {
    if size.0 < MEMORY_MIN {
        let mistake = format!("`memory: {size}` is too little");
        let help = format!("give {} at least", Size(MEMORY_MIN));
        return Err(Failure::usage(Mistake(mistake), Some(help)));
    }
    Ok(size.0)
}

/// A name that no other process has: the pod's or machine's, and the process.
fn own_name() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    let host: String = host
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(64)
        .collect();
    format!("flowaudit-{host}-{}", std::process::id())
}
