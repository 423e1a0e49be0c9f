//! The order in which sources are tried.

use std::fmt;

use super::http::{FetchError, Http};
use super::profile::{Profile, ProfileError, Role, read_file};
use super::{Credentials, Surroundings, cli_file, ini_file, metadata, sts, uri};

/// Where credentials came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Variables `ALIBABA_CLOUD_ACCESS_KEY_ID` and `…_SECRET`.
    Environment,
    /// The identity token of a pod (RRSA).
    Oidc,
    /// `~/.aliyun/config.json`.
    CliFile,
    /// `~/.alibabacloud/credentials.ini`.
    SharedFile,
    /// The role of the ECS instance.
    EcsRole,
    /// The address in `ALIBABA_CLOUD_CREDENTIALS_URI`.
    Uri,
    /// Given by the caller.
    Given,
}

impl Source {
    /// The chain, in the order of the official SDK.
    pub const CHAIN: [Self; 6] = [
        Self::Environment,
        Self::Oidc,
        Self::CliFile,
        Self::SharedFile,
        Self::EcsRole,
        Self::Uri,
    ];
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment variables",
            Self::Oidc => "OIDC role (RRSA)",
            Self::CliFile => "command line profile",
            Self::SharedFile => "shared credentials file",
            Self::EcsRole => "ECS instance role",
            Self::Uri => "credentials address",
            Self::Given => "settings",
        })
    }
}

/// Why one source gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The source.
    pub source: Source,
    /// Why; `None` when it is not set up.
    pub reason: Option<String>,
}

/// Nobody gave credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no credentials for Alibaba Cloud: {}", shown(.attempts))]
pub struct CredentialsError {
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
}

fn shown(attempts: &[Attempt]) -> String {
    let shown = attempts.iter().map(|attempt| match &attempt.reason {
        Some(reason) => format!("{}: {reason}", attempt.source),
        None => format!("{}: not set up", attempt.source),
    });
    shown.collect::<Vec<_>>().join("; ")
}

impl CredentialsError {
    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = "set `ALIBABA_CLOUD_ACCESS_KEY_ID` and `ALIBABA_CLOUD_ACCESS_KEY_SECRET`, run `aliyun configure`, or give \
             the pod a RAM role (RRSA)";
        Some(text.to_string())
    }
}

/// How a source is set up; `None` when it is not.
pub(super) fn profile(
    source: Source,
    surroundings: &Surroundings,
) -> Result<Option<Profile>, ProfileError> {
    let variable = |name| surroundings.variable(name);
    match source {
        Source::Environment => {
            let id = variable("ALIBABA_CLOUD_ACCESS_KEY_ID");
            let secret = variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET");
            Ok(id.zip(secret).map(|(id, secret)| {
                let keys = Credentials::lasting(id, secret);
                Profile::Keys(match variable("ALIBABA_CLOUD_SECURITY_TOKEN") {
                    Some(token) => keys.with_token(token),
                    None => keys,
                })
            }))
        }
        Source::Oidc => {
            let role = variable("ALIBABA_CLOUD_ROLE_ARN");
            let provider = variable("ALIBABA_CLOUD_OIDC_PROVIDER_ARN");
            let token_file = surroundings.path("ALIBABA_CLOUD_OIDC_TOKEN_FILE");
            let all = role.zip(provider).zip(token_file);
            Ok(all.map(|((role, provider), token_file)| Profile::Oidc {
                role: Role {
                    arn: role.to_string(),
                    ..Role::default()
                },
                provider_arn: provider.to_string(),
                token_file,
            }))
        }
        Source::CliFile => {
            if surroundings.is_true("ALIBABA_CLOUD_CLI_PROFILE_DISABLED") {
                return Ok(None);
            }
            let home = surroundings.home.as_ref();
            let Some(path) = home.map(|home| home.join(".aliyun/config.json")) else {
                return Ok(None);
            };
            let text = read_file(&path)?;
            let name = variable("ALIBABA_CLOUD_PROFILE");
            let path = path.display().to_string();
            text.map(|text| cli_file::parse(&path, &text, name))
                .transpose()
        }
        Source::SharedFile => {
            let home = surroundings.home.as_ref();
            let path = surroundings
                .path("ALIBABA_CLOUD_CREDENTIALS_FILE")
                .or_else(|| home.map(|home| home.join(".alibabacloud/credentials.ini")));
            let Some(path) = path else { return Ok(None) };
            let text = read_file(&path)?;
            let name = variable("ALIBABA_CLOUD_PROFILE").unwrap_or("default");
            let path = path.display().to_string();
            text.map(|text| ini_file::parse(&path, &text, name))
                .transpose()
        }
        Source::EcsRole => {
            let off = surroundings.is_true("ALIBABA_CLOUD_ECS_METADATA_DISABLED");
            Ok((!off).then_some(Profile::EcsRole { name: None }))
        }
        Source::Uri => {
            let uri = variable("ALIBABA_CLOUD_CREDENTIALS_URI");
            Ok(uri.map(|uri| Profile::Uri(uri.to_string())))
        }
        Source::Given => Ok(None),
    }
}

/// Gets credentials by a profile.
pub(super) fn fetch<'a>(
    profile: &'a Profile,
    http: &'a Http,
    surroundings: &'a Surroundings,
) -> futures_util::future::BoxFuture<'a, Result<Credentials, FetchError>> {
    Box::pin(async move {
        match profile {
            Profile::Keys(keys) => Ok(keys.clone()),
            Profile::Role {
                base,
                role,
                external_id,
            } => {
                let base = fetch(base, http, surroundings).await?;
                sts::assume(http, surroundings, &base, role, external_id.as_deref()).await
            }
            Profile::Oidc {
                role,
                provider_arn,
                token_file,
            } => sts::assume_with_oidc(http, surroundings, role, provider_arn, token_file).await,
            Profile::EcsRole { name } => metadata::fetch(http, surroundings, name.as_deref()).await,
            Profile::Uri(uri) => uri::fetch(http, uri).await,
        }
    })
}
