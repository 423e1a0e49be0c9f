//! The signature of calls to the control plane, ACS3-HMAC-SHA256. Pure.
//!
//! Section 6.1 of the notes on the cloud's API. What is signed is `host`, `accept` and every `x-acs-` header: no header that
//! a proxy may touch.

use flowaudit_lake::cloud::credentials::Credentials;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::sls::sign::encode;

/// A call, as far as it is signed. The body is empty.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c> {
    /// Host without scheme, with the port where it is not the usual one.
    pub host: &'c str,
    /// As in `DescribeNetworkInterfaces`.
    pub action: &'c str,
    /// Version of the API, as in `2014-05-26`.
    pub version: &'c str,
    /// Parameters, in any order.
    pub query: &'c [(String, String)],
    /// `YYYY-MM-DDThh:mm:ssZ`.
    pub date: &'c str,
    /// Another one for each attempt.
    pub nonce: &'c str,
}

/// The query as it is sent and signed: sorted, values encoded.
#[must_use]
pub fn query(parameters: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    let pairs: Vec<String> = sorted
        .into_iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    pairs.join("&")
}

/// The headers of a `POST` with an empty body, `authorization` among them and without `host`.
#[must_use]
pub fn headers(call: &Call<'_>, credentials: &Credentials) -> Vec<(&'static str, String)> {
    let empty = hex(&Sha256::digest([]));
    let mut headers = vec![
        ("accept", "application/json".to_owned()),
        ("host", call.host.to_owned()),
        ("x-acs-action", call.action.to_owned()),
        ("x-acs-content-sha256", empty.clone()),
        ("x-acs-date", call.date.to_owned()),
        ("x-acs-signature-nonce", call.nonce.to_owned()),
        ("x-acs-version", call.version.to_owned()),
    ];
    if let Some(token) = credentials.token() {
        headers.push(("x-acs-accesskey-id", credentials.access_key_id.clone()));
        headers.push(("x-acs-security-token", token.to_owned()));
    }
    headers.sort();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let canonical = format!("POST\n/\n{}\n{lines}\n{names}\n{empty}", query(call.query));
    let text = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical)));
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(credentials.secret().as_bytes())
        .expect("a key of any length");
    mac.update(text.as_bytes());
    let signature = hex(&mac.finalize().into_bytes());
    let authorization = format!(
        "ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}",
        credentials.access_key_id
    );
    headers.retain(|(name, _)| *name != "host");
    headers.push(("authorization", authorization));
    headers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(
        host: &str,
        action: &str,
        version: &str,
        query: &[(&str, &str)],
        sts: bool,
    ) -> String {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let query: Vec<(String, String)> = query.iter().map(own).collect();
        let call = Call {
            host,
            action,
            version,
            query: &query,
            date: "2025-08-01T08:30:00Z",
            nonce: "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        };
        let keys =
            Credentials::lasting("LTAI5tExampleKeyId000001", "exampleSecret0000000000000000");
        let keys = match sts {
            true => keys.with_token("CAISexampleStsToken=="),
            false => keys,
        };
        let headers = headers(&call, &keys);
        let (_, authorization) = headers
            .iter()
            .find(|(name, _)| *name == "authorization")
            .unwrap();
        authorization
            .rsplit_once("Signature=")
            .unwrap()
            .1
            .to_owned()
    }

    // A1 and A2 of the notes, made by `alibabacloud-openapi-util` 0.2.4.
    #[test]
    fn the_vectors_of_the_official_sdk() {
        let flow_logs = [
            ("PageNumber", "1"),
            ("PageSize", "50"),
            ("RegionId", "cn-hangzhou"),
            ("ResourceType", "VPC"),
        ];
        let interfaces = [
            ("MaxResults", "500"),
            ("NetworkInterfaceId.1", "eni-bp166tg9uk1ryf000001"),
            ("RegionId", "cn-hangzhou"),
            ("Tag.1.Key", "a b*~"),
            ("Tag.1.Value", "日志"),
        ];
        let a1 = |sts| {
            signature(
                "vpc.cn-hangzhou.aliyuncs.com",
                "DescribeFlowLogs",
                "2016-04-28",
                &flow_logs,
                sts,
            )
        };
        let a2 = |sts| {
            signature(
                "ecs.cn-hangzhou.aliyuncs.com",
                "DescribeNetworkInterfaces",
                "2014-05-26",
                &interfaces,
                sts,
            )
        };
        assert_eq!(
            a1(false),
            "dc6ea96bd711952519c84c5ed72e7dbdb24b39773b785d6b4b730367fc413a15"
        );
        assert_eq!(
            a1(true),
            "19420c0b668b603f234ee450ab1b98f22bc00e698b7d4ccc29ff5fb57c6edc10"
        );
        assert_eq!(
            a2(false),
            "c869cfd40a8d721f84c5559071bbf60bb55e8f9928fbdb531b763e3a3dfca12e"
        );
        assert_eq!(
            a2(true),
            "4d2c11e8d09eb355d71d9b1bbe6be167867b81d1cd508c198f7e5f4b6a963b16"
        );
    }
}
