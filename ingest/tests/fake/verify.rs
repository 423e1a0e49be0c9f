//! The service's side of the signatures, by code of its own: it starts from the bytes that came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::http::Request;

/// Who may call.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// Token that must come along, if any.
    pub(crate) token: Option<String>,
    pub(crate) region: String,
}

/// A refusal: status, code, message.
pub(crate) type Refused = (u16, &'static str, String);

const SKEW_S: i64 = 15 * 60;

/// Whether the request is signed as it should be.
pub(crate) fn verify(
    request: &Request,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    let no_match = |why: &str| {
        (
            401,
            "SignatureNotMatch",
            format!("signature does not match: {why}"),
        )
    };
    // `x-log-bodyrawsize` is not looked at: the Python SDK says 0 with some of its JSON bodies, and nothing with others.
    if request.header("x-log-apiversion") != "0.6.0" {
        return Err((
            400,
            "InvalidAPIVersion",
            request.header("x-log-apiversion").to_owned(),
        ));
    }
    let authorization = request.header("authorization");
    let signed_at = if let Some(rest) = authorization.strip_prefix("LOG ") {
        let (id, signature) = rest.split_once(':').ok_or_else(|| no_match("form"))?;
        check_id(id, account)?;
        if request.header("x-log-signaturemethod") != "hmac-sha1" {
            return Err(no_match("method"));
        }
        let md5 = match request.body.is_empty() {
            true => String::new(),
            false => Md5::digest(&request.body)
                .iter()
                .map(|byte| format!("{byte:02X}"))
                .collect(),
        };
        if request.header("content-md5") != md5 {
            return Err(no_match("content-md5"));
        }
        if v1(request, &account.secret) != signature {
            return Err(no_match("V1"));
        }
        let date = DateTime::parse_from_rfc2822(request.header("date"));
        date.map_err(|_| no_match("date"))?.to_utc()
    } else if let Some(rest) = authorization.strip_prefix("SLS4-HMAC-SHA256 Credential=") {
        let (credential, signature) = rest
            .split_once(",Signature=")
            .ok_or_else(|| no_match("form"))?;
        let (id, scope) = credential
            .split_once('/')
            .ok_or_else(|| no_match("scope"))?;
        check_id(id, account)?;
        let date = request.header("x-log-date");
        let day = date.get(..8).unwrap_or_default();
        if scope != format!("{day}/{}/sls/aliyun_v4_request", account.region) {
            return Err(no_match("scope"));
        }
        if request.header("x-log-content-sha256") != hex(&Sha256::digest(&request.body)) {
            return Err(no_match("x-log-content-sha256"));
        }
        if v4(request, &account.secret, scope) != signature {
            return Err(no_match("V4"));
        }
        let date = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ");
        date.map_err(|_| no_match("x-log-date"))?.and_utc()
    } else {
        return Err((401, "MissAccessKeyId", "no authorization".to_owned()));
    };
    if (signed_at - now).num_seconds().abs() > SKEW_S {
        return Err((
            400,
            "RequestTimeExpired",
            format!("the request of {signed_at} is too old"),
        ));
    }
    if request.header("x-acs-security-token") != account.token.as_deref().unwrap_or_default() {
        let message = "The security token you provided has expired.";
        return Err((401, "Unauthorized", message.to_owned()));
    }
    Ok(())
}

fn check_id(id: &str, account: &Account) -> Result<(), Refused> {
    match id == account.id {
        true => Ok(()),
        false => Err((401, "Unauthorized", format!("AccessKeyId not found: {id}"))),
    }
}

fn v1(request: &Request, secret: &str) -> String {
    let mut text = String::new();
    for part in [
        &request.method,
        request.header("content-md5"),
        request.header("content-type"),
        request.header("date"),
    ] {
        text = text + part + "\n";
    }
    // A BTreeMap is in order.
    for (name, value) in &request.headers {
        // The Python SDK adds it after signing, for proxies that take `Date` away.
        let is_copy = name == "x-log-date";
        if (name.starts_with("x-log-") || name.starts_with("x-acs-")) && !is_copy {
            text = text + name + ":" + value + "\n";
        }
    }
    text += &super::http::decode(&request.path);
    let mut query = request.query.clone();
    query.sort();
    for (at, (key, value)) in query.iter().enumerate() {
        text = text + if at == 0 { "?" } else { "&" } + key + "=" + value;
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn v4(request: &Request, secret: &str, scope: &str) -> String {
    let mut query: Vec<String> = request
        .query
        .iter()
        .map(|(key, value)| {
            let encoded: String = value.bytes().map(quoted).collect();
            if value.is_empty() {
                key.clone()
            } else {
                format!("{key}={encoded}")
            }
        })
        .collect();
    query.sort();
    let signed: Vec<(&String, &String)> = request
        .headers
        .iter()
        .filter(|(name, _)| {
            name.starts_with("x-log-")
                || name.starts_with("x-acs-")
                || *name == "content-type"
                || *name == "host"
        })
        .collect();
    let lines: String = signed
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{}\n{}",
        request.method,
        request.path,
        query.join("&"),
        names.join(";"),
        request.header("x-log-content-sha256"),
    );
    let date = request.header("x-log-date");
    let text = format!(
        "SLS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let mut key = format!("aliyun_v4{secret}").into_bytes();
    for part in scope.split('/').chain([text.as_str()]) {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(part.as_bytes());
        key = mac.finalize().into_bytes().to_vec();
    }
    hex(&key)
}

fn quoted(byte: u8) -> String {
    match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
