//! The role of an ECS instance, from the metadata service: with a session token first (v2), without (v1) when that
//! fails.

use super::http::{FetchError, Http, Printed, send};
use super::{Credentials, Surroundings};

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
/// The longest life there is; a token is used for one refresh only, as in the official SDK.
const TTL_SECONDS: &str = "21600";

/// The credentials of the instance's role.
pub(super) async fn fetch(
    http: &Http,
    surroundings: &Surroundings,
    name: Option<&str>,
) -> Result<Credentials, FetchError> {
    let name = name.or_else(|| surroundings.variable("ALIBABA_CLOUD_ECS_METADATA"));
    let endpoint = surroundings.metadata_endpoint.trim_end_matches('/');
    let with_token = async {
        let request = http
            .metadata
            .put(format!("{endpoint}{TOKEN_PATH}"))
            .header(TTL_HEADER, TTL_SECONDS);
        let token = text(send(request).await?)?;
        of_role(http, endpoint, name, Some(&token)).await
    };
    match with_token.await {
        Err(_) if !surroundings.is_true("ALIBABA_CLOUD_IMDSV1_DISABLED") => {
            of_role(http, endpoint, name, None).await
        }
        other => other,
    }
}

async fn of_role(
    http: &Http,
    endpoint: &str,
    name: Option<&str>,
    token: Option<&str>,
) -> Result<Credentials, FetchError> {
    let get = |path: &str| {
        let request = http.metadata.get(format!("{endpoint}{ROLE_PATH}{path}"));
        match token {
            Some(token) => request.header(TOKEN_HEADER, token),
            None => request,
        }
    };
    let name = match name {
        Some(name) => name.to_string(),
        None => match send(get("")).await {
            Err(FetchError::Refused { status: 404, .. }) => {
                let text = "no RAM role is attached to this instance".to_string();
                return Err(FetchError::Unreachable(text));
            }
            other => text(other?)?,
        },
    };
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || !name.chars().all(harmless) {
        let text = "the name of the role has characters that no role has".to_string();
        return Err(FetchError::Garbage(text));
    }
    Printed::parse(&send(get(&name)).await?)
}

fn text(body: Vec<u8>) -> Result<String, FetchError> {
    let text = String::from_utf8(body).ok();
    let text = text.map(|text| text.trim().to_string());
    text.filter(|text| text.chars().all(|c| c.is_ascii_graphic()))
        .ok_or_else(|| FetchError::Garbage("it is no line of text".to_string()))
}
