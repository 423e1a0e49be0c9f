//! Who we are to a cluster: the service account of a pod, or a kubeconfig. Secrets are never shown.
//!
//! What `kube` says of a mistake may quote the file or what a plugin printed, and with it a token: here it is said anew, without.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;

/// Where a pod finds its service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How a cluster is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// This kubeconfig. Otherwise `KUBECONFIG`, else the service account where this is a pod, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// This context of the kubeconfig; otherwise its current one.
    pub context: Option<String>,
}

/// Why a cluster cannot be reached as wished. Nothing was sent.
#[derive(Debug, Error)]
pub enum LoginError {
    /// There is neither a kubeconfig nor a service account.
    #[error("there is no kubeconfig, and this is no pod")]
    Nothing,
    /// The service account cannot be used.
    #[error("the service account of this pod cannot be used: {reason}")]
    InCluster {
        /// Why.
        reason: String,
    },
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {file} cannot be used: {reason}")]
    Kubeconfig {
        /// The file, in backticks, or where it was looked for.
        file: String,
        /// Whether it could be read at all.
        is_there: bool,
        /// Why.
        reason: String,
    },
    /// The credentials that it names cannot be had.
    #[error("the credentials for `{server}` cannot be had: {reason}")]
    Credentials {
        /// The API server.
        server: String,
        /// Why.
        reason: String,
    },
}

impl LoginError {
    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let help = match self {
            LoginError::Nothing => {
                "give `--kubeconfig FILE`, or run in a pod with a service account"
            }
            LoginError::InCluster { .. } => {
                "see that the pod has `automountServiceAccountToken` and a service account; outside a cluster give `--kubeconfig FILE`"
            }
            LoginError::Kubeconfig {
                is_there: false, ..
            } => {
                "`--kubeconfig FILE` names another; `kubectl config view` shows which one kubectl uses"
            }
            LoginError::Kubeconfig { .. } => {
                "`kubectl config get-contexts` lists what a kubeconfig holds; `--context NAME` chooses"
            }
            LoginError::Credentials { .. } => {
                "see whether `kubectl get pods -A` works with the same kubeconfig and context"
            }
        };
        Some(help.to_owned())
    }
}

impl Login {
    /// Reads it, and what it refers to, as they are now.
    pub(super) async fn load(&self) -> Result<Config, LoginError> {
        let is_asked = self.kubeconfig.is_some() || self.context.is_some();
        let is_set = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
        let is_pod =
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(TOKEN).exists();
        let mut config = match is_pod && !is_asked && !is_set {
            true => Config::incluster().map_err(|error| LoginError::InCluster {
                reason: chain(&error),
            })?,
            false => self.load_kubeconfig().await?,
        };
        config.connect_timeout = Some(Duration::from_secs(10));
        // Each call has a limit of its own, and what is tried again is decided there.
        config.read_timeout = None;
        config.default_retry = false;
        let agent =
            http::HeaderValue::from_static(concat!("flowaudit/", env!("CARGO_PKG_VERSION")));
        config.headers.push((http::header::USER_AGENT, agent));
        Ok(config)
    }

    async fn load_kubeconfig(&self) -> Result<Config, LoginError> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let file = match (&self.kubeconfig, std::env::var_os("KUBECONFIG")) {
            (Some(path), _) => format!("`{}`", path.display()),
            (None, Some(paths)) => format!("`{}` (KUBECONFIG)", paths.display()),
            (None, None) => "`~/.kube/config`".to_owned(),
        };
        let loaded = match &self.kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            },
            None => Config::from_kubeconfig(&options).await,
        };
        loaded.map_err(|error| match (&error, &self.kubeconfig) {
            (KubeconfigError::FindPath, None) => LoginError::Nothing,
            (KubeconfigError::ReadConfig(source, _), None)
                if source.kind() == std::io::ErrorKind::NotFound
                    && std::env::var_os("KUBECONFIG").is_none() =>
            {
                LoginError::Nothing
            }
            _ => LoginError::Kubeconfig {
                file,
                is_there: !matches!(
                    error,
                    KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath
                ),
                reason: reason(&error),
            },
        })
    }
}

/// Why a kubeconfig cannot be used, without quoting it.
fn reason(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::CurrentContextNotSet => "it names no current context".to_owned(),
        KubeconfigError::LoadContext(name) => format!("it has no context `{name}`"),
        KubeconfigError::LoadClusterOfContext(name) => format!("it has no cluster `{name}`"),
        KubeconfigError::FindPath => "it was not found".to_owned(),
        KubeconfigError::ReadConfig(source, path) => format!("`{}`: {source}", path.display()),
        KubeconfigError::Parse(error) => match error.location() {
            Some(location) => format!("line {} is no kubeconfig", location.line()),
            None => "it is no kubeconfig".to_owned(),
        },
        KubeconfigError::MissingClusterUrl => "its cluster names no server".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => "the server of its cluster is no URL".to_owned(),
        KubeconfigError::ParseProxyUrl(_) => "its proxy is no URL".to_owned(),
        KubeconfigError::LoadCertificateAuthority(_) => {
            "the certificate authority of its cluster cannot be read".to_owned()
        }
        KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
            "the certificate or key of its user cannot be read".to_owned()
        }
        _ => "what it says cannot be used together".to_owned(),
    }
}

/// Why there is no client, without quoting what a plugin printed.
pub(super) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Auth(auth) => return auth_words(auth),
        // The URL of a proxy may hold a password.
        kube::Error::ProxyProtocolDisabled { .. }
        | kube::Error::ProxyProtocolUnsupported { .. } => {
            return "its proxy is neither http nor https".to_owned();
        }
        _ => {}
    }
    let mut link: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(cause) = link {
        if let Some(auth) = cause.downcast_ref::<kube::client::AuthError>() {
            return auth_words(auth);
        }
        link = cause.source();
    }
    match error {
        kube::Error::Service(cause) => chain(cause.as_ref()),
        error => chain(error),
    }
}

/// The program that the kubeconfig names for credentials. Its arguments may be secrets.
pub(super) fn plugin(config: &Config) -> Option<String> {
    config.auth_info.exec.as_ref()?.command.clone()
}

/// Why credentials cannot be had, with the name of the plugin that was to give them.
pub(super) fn naming(plugin: Option<&str>, reason: &str) -> String {
    match plugin {
        Some(plugin) => reason.replacen("its plugin", &format!("its plugin `{plugin}`"), 1),
        None => reason.to_owned(),
    }
}

/// Whether the server's certificate is refused.
pub(super) fn is_untrusted(reason: &str) -> bool {
    // As rustls says it; its error is behind several others that hide it.
    reason.contains("invalid peer certificate")
}

/// Whether the credentials could not be had, rather than the server not reached.
pub(super) fn is_of_credentials(error: &kube::Error) -> bool {
    let mut link: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = link {
        if cause.is::<kube::client::AuthError>() {
            return true;
        }
        link = cause.source();
    }
    false
}

fn auth_words(error: &kube::client::AuthError) -> String {
    use kube::client::AuthError;
    match error {
        // Arguments and variables of a plugin may be secrets, too.
        AuthError::AuthExecRun { out, .. } => format!("its plugin failed with {}", out.status),
        AuthError::AuthExecStart(source) => format!("its plugin cannot be started: {source}"),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "what its plugin printed are no credentials".to_owned()
        }
        AuthError::ReadTokenFile(source, path) => {
            format!("the token file `{}`: {source}", path.display())
        }
        AuthError::InvalidBearerToken(_) => "the token holds what no header can".to_owned(),
        AuthError::InvalidBasicAuth(_) => "user and password hold what no header can".to_owned(),
        AuthError::MissingCommand => "its plugin names no command".to_owned(),
        _ => "the way its user logs in is not supported".to_owned(),
    }
}

/// An error and its causes on one line; what a cause repeats is left out.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut link = error.source();
    while let Some(cause) = link {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        link = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, context: Option<&str>) -> Result<Config, LoginError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, text).unwrap();
        let login = Login {
            kubeconfig: Some(path),
            context: context.map(str::to_owned),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(login.load())
    }

    const GOOD: &str = "{apiVersion: v1, kind: Config, current-context: one, contexts: [{name: one, context: {cluster: c, user: u, namespace: audit}}], \
                        clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443'}}], users: [{name: u, user: {token: s3cr3t-t0ken}}]}";

    #[test]
    fn a_kubeconfig_is_read_and_its_token_never_shown() {
        let config = load(GOOD, None).unwrap();
        assert_eq!(config.default_namespace, "audit");
        assert!(!format!("{config:?}").contains("s3cr3t-t0ken"));
    }

    #[test]
    fn mistakes_are_said_without_what_the_file_says() {
        let error = load(GOOD, Some("two")).unwrap_err().to_string();
        assert!(error.ends_with("it has no context `two`"), "{error}");
        for broken in [
            "users: [{name: u, user: {token: s3cr3t-t0ken}",
            "{users: s3cr3t-t0ken}",
        ] {
            let error = load(broken, None).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("s3cr3t"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn what_a_plugin_printed_is_not_repeated() {
        let exec = "{apiVersion: v1, kind: Config, current-context: one, contexts: [{name: one, context: {cluster: c, user: u}}], \
                    clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], \
                    users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: ['-c', 'echo s3cr3t-t0ken; exit 3']}}}]}";
        let config = load(exec, None).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let Err(error) = kube::Client::try_from(config) else {
            panic!("a plugin that fails gives no client");
        };
        let text = words(&error);
        assert!(
            text.contains("plugin failed with") && !text.contains("s3cr3t"),
            "{text}"
        );
    }
}
