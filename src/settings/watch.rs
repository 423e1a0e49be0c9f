//! Watching a cluster: `watch:` in the file.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use flowaudit_ingest::kubernetes::{LeaseSettings, Login, Tuning, WatchSettings};
use serde::Deserialize;

use super::keys::text;
use crate::failure::{Failure, Mistake};
use crate::when::Span;

/// Between two commits.
const EVERY: Span = Span::seconds(30);
/// What is borne of a server.
const PATIENCE: Span = Span::seconds(120);

/// What was typed.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[group(skip)]
#[command(next_help_heading = "Watching")]
pub(crate) struct Watch {
    /// Kubeconfig [default: that of `KUBECONFIG`, in a pod its service account, else ~/.kube/config]
    #[arg(
        long,
        value_name = "FILE",
        env = "FLOWAUDIT_KUBECONFIG",
        hide_env_values = true
    )]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(
        long,
        value_name = "NAME",
        env = "FLOWAUDIT_CONTEXT",
        hide_env_values = true
    )]
    pub context: Option<String>,
    /// What was heard is committed this often [default: 30s]
    #[arg(
        long,
        value_name = "SPAN",
        env = "FLOWAUDIT_WATCH_EVERY",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub every: Option<Span>,
    /// A token that is refused is borne this long, and with `--once` a server that is away [default: 2m]
    #[arg(
        long,
        value_name = "SPAN",
        env = "FLOWAUDIT_WATCH_PATIENCE",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub patience: Option<Span>,
    /// The Lease by which only one of several replicas writes [default: flowaudit-inventory]
    #[arg(
        long,
        value_name = "NAME",
        env = "FLOWAUDIT_LEASE",
        hide_env_values = true
    )]
    pub lease: Option<String>,
    /// Namespace of the Lease [default: that of the pod, or of the context]
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "FLOWAUDIT_LEASE_NAMESPACE",
        hide_env_values = true
    )]
    pub lease_namespace: Option<String>,
}

/// What is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watching {
    /// How the cluster is reached.
    pub login: Login,
    /// Between two commits.
    pub every: Span,
    /// How long a refused token, or with `--once` an absent server, is borne.
    pub patience: Span,
    /// Name of the lease.
    pub lease: String,
    /// Its namespace, if named.
    pub lease_namespace: Option<String>,
}

impl Watch {
    /// What is meant.
    pub(super) fn check(self) -> Result<Watching, Failure> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let watching = Watching {
            login: Login {
                kubeconfig: self.kubeconfig.filter(|path| !path.as_os_str().is_empty()),
                context: filled(self.context),
            },
            every: self.every.unwrap_or(EVERY),
            patience: self.patience.unwrap_or(PATIENCE),
            lease: filled(self.lease).unwrap_or_else(|| LeaseSettings::default().name),
            lease_namespace: filled(self.lease_namespace),
        };
        let every = watching.every.us();
        if !(Span::seconds(1).us()..=Span::seconds(3600).us()).contains(&every) {
            let mistake = Mistake(format!(
                "setting `watch.every` cannot be {}",
                watching.every
            ));
            let help = "write a span from `1s` to `1h`: each commit is a few small files";
            return Err(Failure::usage(mistake, Some(help.to_owned())));
        }
        for name in [Some(&watching.lease), watching.lease_namespace.as_ref()] {
            check_name(name.map_or("", String::as_str))?;
        }
        Ok(watching)
    }
}

/// Names of objects: RFC 1123.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    if name.len() <= 253 && name.bytes().all(is_plain) {
        return Ok(());
    }
    let mistake = Mistake(format!("`{name}` is no name in a cluster"));
    let help = "leases and namespaces are called with lower-case letters, digits, `-` and `.`";
    Err(Failure::usage(mistake, Some(help.to_owned())))
}

impl Watching {
    /// How the cluster is watched.
    pub(crate) fn settings(&self, once: bool, has_lease: bool) -> WatchSettings {
        let patience = self.patience.duration();
        let usual = Tuning::default();
        WatchSettings {
            login: self.login.clone(),
            every: self.every.duration(),
            once,
            lease: has_lease.then(|| LeaseSettings {
                namespace: self.lease_namespace.clone(),
                name: self.lease.clone(),
                ..LeaseSettings::default()
            }),
            tuning: Tuning {
                unauthorized_max: patience,
                login_max: usual.login_max.min(patience),
                outage_max: patience,
                ..usual
            },
            signals: true,
        }
    }

    /// Keys and values, for `config show`.
    pub(super) fn rows(&self) -> [(&'static str, String); 6] {
        let login = &self.login;
        let kubeconfig = login.kubeconfig.as_ref();
        [
            (
                "watch.kubeconfig",
                kubeconfig.map_or_else(String::new, |path| path.display().to_string()),
            ),
            ("watch.context", login.context.clone().unwrap_or_default()),
            ("watch.every", self.every.to_string()),
            ("watch.patience", self.patience.to_string()),
            ("watch.lease", self.lease.clone()),
            (
                "watch.lease-namespace",
                self.lease_namespace.clone().unwrap_or_default(),
            ),
        ]
    }
}

impl Span {
    const fn seconds(seconds: i64) -> Span {
        Span(chrono::TimeDelta::seconds(seconds))
    }

    fn duration(self) -> Duration {
        // Spans are not negative.
        self.0.to_std().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let watch = |every: &str, lease: &str| {
            Watch {
                every: Some(every.parse().unwrap()),
                lease: Some(lease.to_owned()),
                ..Watch::default()
            }
            .check()
        };
        assert!(watch("0s", "one").is_err());
        assert!(watch("2h", "one").is_err());
        assert!(watch("5s", "One").is_err());
        assert!(watch("5s", "../secrets").is_err());
        let watching = watch("5s", "one").unwrap();
        let settings = watching.settings(true, true);
        assert_eq!(settings.every, Duration::from_secs(5));
        assert_eq!(settings.lease.unwrap().name, "one");
        assert_eq!(watching.settings(false, false).lease, None);
    }
}
