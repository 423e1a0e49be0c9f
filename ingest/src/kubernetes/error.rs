//! Why a live watch of a cluster ended.

use flowaudit_lake::LakeError;
use thiserror::Error;

use super::login::LoginError;

/// Why a live watch of a cluster ended. What was published before stays.
#[derive(Debug, Error)]
pub enum KubernetesError {
    /// There is no way in. Nothing was sent.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The token is refused, and no newer one was to be had.
    #[error("the API server `{server}` does not accept the token: {reason}")]
    Unauthorized {
        /// The API server.
        server: String,
        /// What it says.
        reason: String,
    },
    /// It cannot be reached, or does not answer.
    #[error("the API server `{server}` cannot be asked: {reason}")]
    Unreachable {
        /// The API server.
        server: String,
        /// What happened.
        reason: String,
    },
    /// The lease cannot be had for want of a right.
    #[error("the lease `{lease}` cannot be held: {reason}")]
    LeaseForbidden {
        /// Namespace and name.
        lease: String,
        /// What the server says.
        reason: String,
    },
    /// The storage of the lake fails. What was committed before is good.
    #[error("what was heard since {since} cannot be written to the lake")]
    Unwritten {
        /// When the last commit was made, or recording began; UTC.
        since: String,
        /// What failed.
        #[source]
        cause: Box<LakeError>,
    },
    /// Another one holds the lease.
    #[error("`{holder}` holds the lease `{lease}`")]
    LeaseHeld {
        /// Namespace and name.
        lease: String,
        /// Who.
        holder: String,
    },
}

impl KubernetesError {
    /// Whether the arguments were at fault, and nothing was read or written.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            KubernetesError::Login(error) => !matches!(error, LoginError::Credentials { .. }),
            _ => false,
        }
    }

    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let help = match self {
            KubernetesError::Login(error) => return error.help(),
            KubernetesError::Unauthorized { .. } => {
                "nothing was lost: what was heard is written, and the next run goes on from a new list; log in anew, or see that the pod's service account still exists and its token is mounted"
            }
            KubernetesError::Unreachable { .. } => {
                "nothing was lost, repeat; see whether `kubectl get --raw /version` works from here"
            }
            KubernetesError::LeaseForbidden { .. } => {
                "allow it as in docs/kubernetes/rbac.yaml, or give `--no-lease` if this is the only one that writes"
            }
            KubernetesError::Unwritten { cause, .. } => {
                let first = cause
                    .help()
                    .map_or(String::new(), |help| format!("{help}; "));
                return Some(format!(
                    "{first}the next run lists everything anew, and says in `gaps` that nobody watched since then"
                ));
            }
            KubernetesError::LeaseHeld { .. } => {
                "let that one write, or stop it; its lease ends by itself some seconds later"
            }
        };
        Some(help.to_owned())
    }
}
