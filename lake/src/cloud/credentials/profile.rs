//! A way to get credentials, as a file or the environment describes it.

use std::path::PathBuf;

use super::Credentials;

/// How long assumed roles are asked for, in seconds; the default of the service and of its SDKs.
pub(super) const SESSION_SECONDS: u64 = 3600;

/// The session name when none is set: it appears in the audit log of the account.
pub(super) const SESSION_NAME: &str = "flowaudit";

/// A way to get credentials.
#[derive(Debug, Clone)]
pub(super) enum Profile {
    /// They are written down.
    Keys(Credentials),
    /// A role, assumed with the credentials of another profile.
    Role {
        base: Box<Profile>,
        role: Role,
        external_id: Option<String>,
    },
    /// A role, assumed with an identity token that lies in a file.
    Oidc {
        role: Role,
        provider_arn: String,
        token_file: PathBuf,
    },
    /// The role of the ECS instance; its name is asked for when it is not known.
    EcsRole { name: Option<String> },
    /// Somebody hands them out at this address.
    Uri(String),
}

/// A role to assume.
#[derive(Debug, Clone, Default)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: Option<String>,
    pub(super) seconds: Option<u64>,
    pub(super) policy: Option<String>,
    pub(super) sts_region: Option<String>,
    pub(super) in_vpc: bool,
}

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProfileError {
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("`{path}` is not what the official tools write: {reason}")]
    Garbage { path: String, reason: String },
    #[error("`{path}` has no profile `{profile}`")]
    NoProfile { path: String, profile: String },
    #[error("profile `{profile}` lacks `{key}`")]
    Lacks { profile: String, key: &'static str },
    #[error("profile `{profile}` has the mode `{mode}`, which needs a person or another program")]
    Interactive { profile: String, mode: String },
    #[error("profile `{profile}` has the unknown mode `{mode}`")]
    UnknownMode { profile: String, mode: String },
    #[error("profile `{profile}` takes its source from itself, by way of others")]
    Loop { profile: String },
}

/// A file of at most a megabyte; far more than any of them has.
pub(super) fn read_file(path: &std::path::Path) -> Result<Option<String>, ProfileError> {
    use std::io::Read;
    const BYTES_MAX: u64 = 1 << 20;
    let unreadable = |reason: String| ProfileError::Unreadable {
        path: path.display().to_string(),
        reason,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let mut text = String::new();
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| unreadable(error.to_string()))?;
    if read as u64 > BYTES_MAX {
        return Err(unreadable("it is larger than a megabyte".to_string()));
    }
    Ok(Some(text))
}
