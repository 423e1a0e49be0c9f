//! The two signatures of OSS. Pure: the time is an argument.
//!
//! Version 4 is what new buckets ask for; version 1 remains for old ones, and for the tests of the fake.
//! Both sign the bucket in the resource (`/bucket/key`) whatever the address looks like.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::cloud::credentials::Credentials;

/// What V4 signs in place of the hash of the body.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// A request as the signature sees it: nothing is percent-encoded yet.
#[derive(Debug, Clone, Default)]
pub struct Signable<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// The bucket; none to list buckets.
    pub bucket: Option<&'a str>,
    /// The key of the object; none for the bucket itself.
    pub key: Option<&'a str>,
    /// Query parameters; an empty value is a key alone.
    pub query: &'a [(String, String)],
    /// Headers by their name in lower case.
    pub headers: BTreeMap<String, String>,
}

/// `/bucket/key`, decoded.
fn resource(request: &Signable<'_>) -> String {
    let key = request.key.unwrap_or_default();
    match request.bucket {
        Some(bucket) => format!("/{bucket}/{key}"),
        None => "/".to_string(),
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, in upper case; a slash is kept in a path.
pub(super) fn encode(text: &str, in_path: bool) -> String {
    let mut encoded = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        let kept = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if kept || in_path && byte == b'/' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The query as V4 signs it and as it is sent: encoded, sorted by encoded key.
pub(super) fn canonical_query(query: &[(String, String)]) -> String {
    let encoded = query
        .iter()
        .map(|(key, value)| (encode(key, false), encode(value, false)));
    let mut pairs: Vec<(String, String)> = encoded.collect();
    pairs.sort_unstable();
    let shown = pairs.iter().map(|(key, value)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    });
    shown.collect::<Vec<_>>().join("&")
}

/// The canonical request of V4. No additional headers are signed: proxies may touch them.
pub(super) fn canonical_request(request: &Signable<'_>) -> String {
    let uri = encode(&resource(request), true);
    let query = canonical_query(request.query);
    let mut headers = String::new();
    for (name, value) in &request.headers {
        let signed = name.starts_with("x-oss-") || name == "content-type" || name == "content-md5";
        if signed {
            let _ = writeln!(headers, "{name}:{}", value.trim());
        }
    }
    let method = request.method;
    format!("{method}\n{uri}\n{query}\n{headers}\n\n{UNSIGNED_PAYLOAD}")
}

/// The time as V4 carries it in `x-oss-date`.
pub(super) fn v4_time(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// `20250801/cn-hangzhou/oss/aliyun_v4_request`.
pub(super) fn v4_scope(at: DateTime<Utc>, region: &str) -> String {
    format!("{}/{region}/oss/aliyun_v4_request", at.format("%Y%m%d"))
}

/// The V4 signature over a canonical request, in hexadecimal.
pub(super) fn v4_signature(
    canonical: &str,
    at: DateTime<Utc>,
    region: &str,
    secret: &str,
) -> String {
    let scope = v4_scope(at, region);
    let hash = hex(&Sha256::digest(canonical));
    let text = format!("OSS4-HMAC-SHA256\n{}\n{scope}\n{hash}", v4_time(at));
    let mut key = format!("aliyun_v4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac_sha256(&key, part);
    }
    hex(&hmac_sha256(&key, &text))
}

/// The `Authorization` of V4. `x-oss-date` and, with a token, `x-oss-security-token` are among the headers already.
pub fn v4(
    request: &Signable<'_>,
    at: DateTime<Utc>,
    region: &str,
    credentials: &Credentials,
) -> String {
    let signature = v4_signature(
        &canonical_request(request),
        at,
        region,
        credentials.secret(),
    );
    let id = &credentials.access_key_id;
    let scope = v4_scope(at, region);
    format!("OSS4-HMAC-SHA256 Credential={id}/{scope},Signature={signature}")
}

/// Query parameters that V1 signs; all others it leaves out. Sorted.
const V1_SIGNED: [&str; 26] = [
    "acl",
    "append",
    "bucketInfo",
    "continuation-token",
    "delete",
    "location",
    "objectMeta",
    "partNumber",
    "position",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "security-token",
    "stat",
    "symlink",
    "tagging",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "x-oss-process",
];

/// The string that V1 signs. The date is `x-oss-date` where that is sent, else `date`.
pub(super) fn v1_string(request: &Signable<'_>) -> String {
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    let date = match header("x-oss-date") {
        "" => header("date"),
        date => date,
    };
    let mut own = String::new();
    for (name, value) in &request.headers {
        if name.starts_with("x-oss-") {
            let _ = writeln!(own, "{name}:{}", value.trim());
        }
    }
    let mut signed: Vec<&(String, String)> = request
        .query
        .iter()
        .filter(|(key, _)| V1_SIGNED.contains(&key.as_str()))
        .collect();
    signed.sort_unstable();
    let shown = signed.iter().map(|(key, value)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    });
    let query = shown.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!(
        "{}\n{}\n{}\n{date}\n{own}{}{mark}{query}",
        request.method,
        header("content-md5"),
        header("content-type"),
        resource(request),
    )
}

/// The `Authorization` of V1.
pub fn v1(request: &Signable<'_>, credentials: &Credentials) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac =
        Hmac::<Sha1>::new_from_slice(credentials.secret().as_bytes()).expect("a key of any length");
    mac.update(v1_string(request).as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    format!("OSS {}:{signature}", credentials.access_key_id)
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
#[path = "sign_vectors.rs"]
mod vectors;
