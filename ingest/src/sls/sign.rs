//! Signatures of the log service: V1 (`hmac-sha1`) and V4 (`SLS4-HMAC-SHA256`), with and without STS. Pure.
//!
//! Both schemes choose the headers they sign by rule, so whatever is added after signing breaks a request: [`sign`]
//! gives all headers of the service at once. Source: the official Go and Python SDKs, whose results are the vectors in
//! the tests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Version of the API, as every request names it.
const API_VERSION: &str = "0.6.0";

/// How requests are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// HMAC-SHA1 over the request as it reads.
    V1,
    /// HMAC-SHA256 with a key of the day, the region and the product.
    V4 {
        /// Region of the project, as in `cn-hangzhou`.
        region: String,
    },
}

/// What a request is signed with. Never printed.
#[derive(Clone, Copy)]
pub struct Keys<'k> {
    /// Access key id.
    pub id: &'k str,
    /// Access key secret.
    pub secret: &'k str,
    /// Security token, with temporary keys.
    pub token: Option<&'k str>,
}

/// A request before it is signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// `GET`, `POST` …
    pub method: &'r str,
    /// The host as it will be sent in `Host`.
    pub host: &'r str,
    /// Path, not encoded.
    pub path: &'r str,
    /// Query parameters, not encoded.
    pub query: &'r [(&'r str, &'r str)],
    /// The body as it will be sent; JSON where there is one.
    pub body: &'r [u8],
}

/// Name (lower case) and value of a header.
pub type Header = (&'static str, String);

/// Every header of the service that the request needs, `authorization` included; `host` is left to the transport.
#[must_use]
pub fn sign(
    request: &Request<'_>,
    scheme: &Scheme,
    keys: Keys<'_>,
    now: DateTime<Utc>,
) -> Vec<Header> {
    let mut headers = vec![
        ("x-log-apiversion", API_VERSION.to_owned()),
        ("x-log-bodyrawsize", request.body.len().to_string()),
    ];
    if !request.body.is_empty() {
        headers.push(("content-type", "application/json".to_owned()));
    }
    if let Some(token) = keys.token {
        headers.push(("x-acs-security-token", token.to_owned()));
    }
    let authorization = match scheme {
        Scheme::V1 => {
            headers.push(("date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()));
            headers.push(("x-log-signaturemethod", "hmac-sha1".to_owned()));
            if !request.body.is_empty() {
                headers.push(("content-md5", hex_upper(&Md5::digest(request.body))));
            }
            let signature = v1(request, &headers, keys.secret);
            format!("LOG {}:{signature}", keys.id)
        }
        Scheme::V4 { region } => {
            headers.push(("x-log-date", now.format("%Y%m%dT%H%M%SZ").to_string()));
            headers.push(("x-log-content-sha256", hex(&Sha256::digest(request.body))));
            headers.push(("host", request.host.to_owned()));
            let (scope, signature) = v4(request, &headers, region, keys.secret);
            headers.pop();
            format!(
                "SLS4-HMAC-SHA256 Credential={}/{scope},Signature={signature}",
                keys.id
            )
        }
    };
    headers.push(("authorization", authorization));
    headers
}

fn value<'h>(headers: &'h [Header], name: &str) -> &'h str {
    headers
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, value)| value)
}

/// The headers of the service and whatever `and` chooses, sorted, one `name:value` per line.
fn canonical_headers(headers: &[Header], and: &[&str]) -> (String, String) {
    let mut chosen: Vec<_> = headers
        .iter()
        .filter(|(name, _)| {
            let ours = name.starts_with("x-log-") || name.starts_with("x-acs-");
            (ours && !name.starts_with("x-log-meta-")) || and.contains(name)
        })
        .collect();
    chosen.sort();
    let lines = chosen
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let names: Vec<_> = chosen.iter().map(|(name, _)| *name).collect();
    (lines, names.join(";"))
}

fn v1(request: &Request<'_>, headers: &[Header], secret: &str) -> String {
    let mut query = request.query.to_vec();
    query.sort_unstable();
    let query: Vec<_> = query
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut text = [
        request.method,
        value(headers, "content-md5"),
        value(headers, "content-type"),
        value(headers, "date"),
        "",
    ]
    .join("\n");
    text += &canonical_headers(headers, &[]).0;
    text += request.path;
    if !query.is_empty() {
        text += "?";
        text += &query.join("&");
    }
    STANDARD.encode(mac::<Hmac<Sha1>>(secret.as_bytes(), text.as_bytes()))
}

/// Scope and signature.
fn v4(request: &Request<'_>, headers: &[Header], region: &str, secret: &str) -> (String, String) {
    let date = value(headers, "x-log-date");
    let day = date.get(..8).unwrap_or(date);
    let scope = format!("{day}/{region}/sls/aliyun_v4_request");
    let text = format!(
        "SLS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(canonical_request(request, headers)))
    );
    let mut key = format!("aliyun_v4{secret}").into_bytes();
    for part in [day, region, "sls", "aliyun_v4_request"] {
        key = mac::<Hmac<Sha256>>(&key, part.as_bytes());
    }
    let signature = hex(&mac::<Hmac<Sha256>>(&key, text.as_bytes()));
    (scope, signature)
}

fn canonical_request(request: &Request<'_>, headers: &[Header]) -> String {
    let mut query = request.query.to_vec();
    query.sort_unstable();
    let query: Vec<_> = query
        .iter()
        .map(|(key, value)| match *value {
            "" => (*key).to_owned(),
            value => format!("{key}={}", encode(value)),
        })
        .collect();
    let (lines, names) = canonical_headers(headers, &["content-type", "host"]);
    [
        request.method,
        request.path,
        &query.join("&"),
        &lines,
        &names,
        value(headers, "x-log-content-sha256"),
    ]
    .join("\n")
}

/// Percent-encoding of RFC 3986: everything but `A-Za-z0-9-._~`.
///
/// ```
/// assert_eq!(flowaudit_ingest::sls::sign::encode("a b*~"), "a%20b%2A~");
/// ```
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                out += &hex_upper(&[byte]);
            }
        }
    }
    out
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_upper(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests;
