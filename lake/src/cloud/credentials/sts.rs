//! STS: roles assumed with a key, or with the identity token of a pod.

use std::hash::{BuildHasher, RandomState};

use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;

use super::http::{FetchError, Http, Printed, garbage, send};
use super::profile::{ProfileError, Role, SESSION_NAME, SESSION_SECONDS, read_file};
use super::rpc::{form, rpc_signature};
use super::{Credentials, Surroundings};

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Credentials")]
    credentials: Printed,
}

/// Scheme and host of STS for a role.
fn endpoint(surroundings: &Surroundings, role: &Role) -> String {
    if let Some(endpoint) = &surroundings.sts_endpoint {
        return endpoint.trim_end_matches('/').to_string();
    }
    let region = role.sts_region.as_deref();
    let region = region.or_else(|| surroundings.variable("ALIBABA_CLOUD_STS_REGION"));
    let in_vpc = role.in_vpc || surroundings.is_true("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
    match region {
        None => "https://sts.aliyuncs.com".to_string(),
        Some(region) if in_vpc => format!("https://sts-vpc.{region}.aliyuncs.com"),
        Some(region) => format!("https://sts.{region}.aliyuncs.com"),
    }
}

fn timestamp(surroundings: &Surroundings) -> String {
    let now = DateTime::from_timestamp(surroundings.clock.now(), 0).unwrap_or_default();
    now.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Parameters of the role itself.
fn role_parameters(surroundings: &Surroundings, role: &Role) -> Vec<(&'static str, String)> {
    let session = role.session_name.as_deref();
    let session = session.or_else(|| surroundings.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME"));
    let seconds = role.seconds.unwrap_or(SESSION_SECONDS);
    let mut parameters = vec![
        ("RoleArn", role.arn.clone()),
        (
            "RoleSessionName",
            session.unwrap_or(SESSION_NAME).to_string(),
        ),
        ("DurationSeconds", seconds.to_string()),
    ];
    parameters.extend(role.policy.clone().map(|policy| ("Policy", policy)));
    parameters
}

/// Assumes a role with a key.
pub(super) async fn assume(
    http: &Http,
    surroundings: &Surroundings,
    base: &Credentials,
    role: &Role,
    external_id: Option<&str>,
) -> Result<Credentials, FetchError> {
    let random = |n: u8| RandomState::new().hash_one((std::process::id(), n));
    let mut parameters = role_parameters(surroundings, role);
    parameters.extend(external_id.map(|id| ("ExternalId", id.to_string())));
    parameters.extend([
        ("Action", "AssumeRole".to_string()),
        ("Version", "2015-04-01".to_string()),
        ("Format", "JSON".to_string()),
        ("AccessKeyId", base.access_key_id.clone()),
        ("SignatureMethod", "HMAC-SHA1".to_string()),
        ("SignatureVersion", "1.0".to_string()),
        (
            "SignatureNonce",
            format!("{:016x}{:016x}", random(0), random(1)),
        ),
        ("Timestamp", timestamp(surroundings)),
    ]);
    parameters.extend(
        base.token()
            .map(|token| ("SecurityToken", token.to_string())),
    );
    let mut pairs: Vec<(&str, &str)> = parameters
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let signature = rpc_signature("POST", &pairs, base.secret());
    pairs.push(("Signature", &signature));
    post(http, &endpoint(surroundings, role), "", form(&pairs)).await
}

/// Assumes a role with the identity token in a file. The file is replaced every so often, so it is read every time.
pub(super) async fn assume_with_oidc(
    http: &Http,
    surroundings: &Surroundings,
    role: &Role,
    provider_arn: &str,
    token_file: &std::path::Path,
) -> Result<Credentials, FetchError> {
    let unreadable = |error: ProfileError| FetchError::Unreachable(error.to_string());
    let absent = || FetchError::Unreachable(format!("there is no `{}`", token_file.display()));
    let token = read_file(token_file).map_err(unreadable)?;
    let token = token.ok_or_else(absent)?;
    let token = token.trim();
    let own = role_parameters(surroundings, role);
    let mut pairs: Vec<(&str, &str)> = own
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    pairs.extend([("OIDCProviderArn", provider_arn), ("OIDCToken", token)]);
    let now = timestamp(surroundings);
    let query = form(&[
        ("Action", "AssumeRoleWithOIDC"),
        ("Version", "2015-04-01"),
        ("Format", "JSON"),
        ("Timestamp", &now),
    ]);
    // What is secret travels in the body, as the official Go SDK has it, where no log of addresses shows it.
    let query = format!("?{query}");
    post(http, &endpoint(surroundings, role), &query, form(&pairs)).await
}

async fn post(
    http: &Http,
    endpoint: &str,
    query: &str,
    body: String,
) -> Result<Credentials, FetchError> {
    let request = http
        .outside
        .post(format!("{endpoint}/{query}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let body = send(request).await?;
    let answer: Answer = serde_json::from_slice(&body).map_err(garbage)?;
    answer.credentials.credentials()
}
