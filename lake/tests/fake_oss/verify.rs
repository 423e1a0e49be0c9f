//! Who is it? Both signatures, worked out from the request as it arrived, with nothing of the code under test.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::http::{Request, escape, unescape};

/// An access key of the account.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) expired: bool,
}

/// Why a request is turned away: status, code, message.
pub(crate) type Denied = (u16, &'static str, String);

const SKEW_SECONDS_MAX: i64 = 15 * 60;

/// What V1 signs of the query.
const V1_QUERY: &str = "acl append bucketInfo continuation-token delete location partNumber position tagging uploadId \
                        uploads versionId versioning versions stat objectMeta restore symlink";

/// Checks the signature of a request to `bucket` and `key`, both decoded.
pub(crate) fn check(
    request: &Request,
    keys: &[Key],
    bucket: &str,
    object: &str,
    region: &str,
    now: DateTime<Utc>,
) -> Result<(), Denied> {
    let no_match = |text: String| (403, "SignatureDoesNotMatch", text);
    let resource = match bucket {
        "" => "/".to_string(),
        bucket => format!("/{bucket}/{object}"),
    };
    let authorization = request.header("authorization").unwrap_or_default();
    if let Some(rest) = authorization.strip_prefix("OSS ") {
        let (id, given) = rest.split_once(':').unwrap_or_default();
        let key = find(keys, id)?;
        check_token(key, request.header("x-oss-security-token"))?;
        let date = request.header("x-oss-date").or(request.header("date"));
        let date = date.unwrap_or_default();
        let at = DateTime::parse_from_rfc2822(date)
            .map(|at| at.to_utc())
            .ok();
        check_time(at, now)?;
        let text = v1_text(request, &resource, date);
        let mut mac = Hmac::<Sha1>::new_from_slice(key.secret.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let expected = STANDARD.encode(mac.finalize().into_bytes());
        return match expected == given {
            true => Ok(()),
            false => Err(no_match(text)),
        };
    }
    let Some(rest) = authorization.strip_prefix("OSS4-HMAC-SHA256 ") else {
        return Err((
            403,
            "AccessDenied",
            "You have no right to access".to_string(),
        ));
    };
    // One SDK writes a space after the commas, the other none.
    let part = |name: &str| {
        let mut parts = rest.split(',').map(str::trim);
        parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    let credential = part("Credential").unwrap_or_default();
    let given = part("Signature").unwrap_or_default();
    let additional: Vec<&str> = part("AdditionalHeaders")
        .map(|names| names.split(';').collect())
        .unwrap_or_default();
    let (id, scope) = credential.split_once('/').unwrap_or_default();
    let key = find(keys, id)?;
    check_token(key, request.header("x-oss-security-token"))?;
    let date = request.header("x-oss-date").unwrap_or_default();
    let at = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ").ok();
    check_time(at.map(|at| at.and_utc()), now)?;
    let day = &date[..8];
    if scope != format!("{day}/{region}/oss/aliyun_v4_request") {
        let text = format!("Invalid credential in Authorization header: {scope}");
        return Err((400, "InvalidArgument", text));
    }
    let canonical = v4_canonical(request, &resource, &additional);
    let hash: String = hex(&Sha256::digest(canonical.as_bytes()));
    let text = format!("OSS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
    let mut derived = hmac(format!("aliyun_v4{}", key.secret).as_bytes(), day);
    for step in [region, "oss", "aliyun_v4_request"] {
        derived = hmac(&derived, step);
    }
    match hex(&hmac(&derived, &text)) == given {
        true => Ok(()),
        false => Err(no_match(canonical)),
    }
}

fn find<'a>(keys: &'a [Key], id: &str) -> Result<&'a Key, Denied> {
    let found = keys.iter().find(|key| key.id == id);
    found.ok_or((
        403,
        "InvalidAccessKeyId",
        "The OSS Access Key Id you provided does not exist in our records.".to_string(),
    ))
}

fn check_token(key: &Key, given: Option<&str>) -> Result<(), Denied> {
    if key.token.as_deref() != given {
        let text = "The security token you provided is invalid.".to_string();
        return Err((403, "InvalidSecurityToken", text));
    }
    if key.expired {
        let text = "The security token you provided has expired.".to_string();
        return Err((403, "SecurityTokenExpired", text));
    }
    Ok(())
}

fn check_time(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), Denied> {
    match at {
        None => Err((403, "AccessDenied", "a Date is required".to_string())),
        Some(at) if (at - now).num_seconds().abs() > SKEW_SECONDS_MAX => Err((
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large."
                .to_string(),
        )),
        Some(_) => Ok(()),
    }
}

fn v1_text(request: &Request, resource: &str, date: &str) -> String {
    let header = |name| request.header(name).unwrap_or_default();
    let mut lines = vec![
        request.method.clone(),
        header("content-md5").to_string(),
        header("content-type").to_string(),
        date.to_string(),
    ];
    let own = request.headers.iter();
    lines.extend(
        own.filter(|(name, _)| name.starts_with("x-oss-"))
            .map(|(name, value)| format!("{name}:{value}")),
    );
    let signed: Vec<String> = request
        .parameters()
        .iter()
        .filter(|(key, _)| V1_QUERY.split_whitespace().any(|signed| signed == *key))
        .map(|(key, value)| match value.is_empty() {
            true => key.clone(),
            false => format!("{key}={value}"),
        })
        .collect();
    let mark = if signed.is_empty() { "" } else { "?" };
    lines.push(format!("{resource}{mark}{}", signed.join("&")));
    lines.join("\n")
}

fn v4_canonical(request: &Request, resource: &str, additional: &[&str]) -> String {
    let mut query: Vec<(String, String)> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                escape(&unescape(key), ""),
                escape(&unescape(&value.replace('+', "%20")), ""),
            )
        })
        .collect();
    query.sort();
    let query: Vec<String> = query
        .into_iter()
        .map(|(key, value)| match value.is_empty() {
            true => key,
            false => format!("{key}={value}"),
        })
        .collect();
    let signed = |name: &str| {
        name.starts_with("x-oss-")
            || name == "content-type"
            || name == "content-md5"
            || additional.contains(&name)
    };
    let headers: String = request
        .headers
        .iter()
        .filter(|(name, _)| signed(name))
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    [
        request.method.clone(),
        escape(resource, "/"),
        query.join("&"),
        headers,
        additional.join(";"),
        "UNSIGNED-PAYLOAD".to_string(),
    ]
    .join("\n")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
