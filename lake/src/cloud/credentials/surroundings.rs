//! What the chain looks at: variables, home directory, endpoints, the clock.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// The address of the metadata service inside an ECS instance, link-local and without TLS.
const METADATA: &str = "http://100.100.100.200";

/// What the credential chain looks at.
#[derive(Clone)]
pub struct Surroundings {
    /// The variables `ALIBABA_CLOUD_…`.
    pub variables: Variables,
    /// The home directory, for the two files.
    pub home: Option<PathBuf>,
    /// Scheme and host of the metadata service.
    pub metadata_endpoint: String,
    /// Scheme and host of STS; `None` for the one that the region asks for.
    pub sts_endpoint: Option<String>,
    /// The time.
    pub clock: Clock,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let ours = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.into_string().ok()?;
            let ours = name.starts_with("ALIBABA_CLOUD_");
            Some((name, value.into_string().ok()?)).filter(|_| ours)
        };
        Self {
            variables: std::env::vars_os().filter_map(ours).collect(),
            home: std::env::home_dir(),
            metadata_endpoint: METADATA.to_string(),
            sts_endpoint: None,
            clock: Clock::system(),
        }
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Whether a variable says `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.variable(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A variable that names a file, without what surrounds it.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from)
    }
}

impl fmt::Debug for Surroundings {
    /// Names of variables only: some of their values are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .field("metadata_endpoint", &self.metadata_endpoint)
            .field("sts_endpoint", &self.sts_endpoint)
            .finish_non_exhaustive()
    }
}

/// Tells the time, in seconds since the epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The clock of the system.
    pub fn system() -> Self {
        Self::from_fn(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            })
        })
    }

    /// A clock that somebody else sets.
    pub fn from_fn(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Seconds since the epoch.
    pub fn now(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
