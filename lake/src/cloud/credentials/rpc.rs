//! The signature of Alibaba Cloud's RPC calls, version 1: HMAC-SHA1 over the sorted parameters. Pure.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The value of the parameter `Signature` for a call to the path `/`. `parameters` are all others, of query and form.
pub fn rpc_signature(method: &str, parameters: &[(&str, &str)], secret: &str) -> String {
    let mut sorted = parameters.to_vec();
    sorted.sort_unstable();
    let pairs: Vec<String> = sorted
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    let text = format!("{method}&%2F&{}", encode(&pairs.join("&")));
    let key = format!("{secret}&");
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Name-value pairs as a form or query carries them.
pub(super) fn form(parameters: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| format!("{}={}", encode(key), encode(value));
    let pairs: Vec<String> = parameters.iter().map(pair).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: [(&str, &str); 7] = [
        ("AccessKeyId", "LTAI5tExampleKeyId000001"),
        ("Format", "JSON"),
        ("RegionId", "cn-hangzhou"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
        ("SignatureVersion", "1.0"),
        ("Timestamp", "2025-08-01T08:30:00Z"),
    ];

    fn signature(method: &str, own: &[(&str, &str)]) -> String {
        let all: Vec<_> = PUBLIC.iter().chain(own).copied().collect();
        rpc_signature(method, &all, "exampleSecret0000000000000000")
    }

    // Made by `alibabacloud-openapi-util` 0.2.4, the second also by `aliyun-python-sdk-core` 2.16.1.
    #[test]
    fn the_vectors_of_the_official_sdks() {
        let assume = [
            ("Action", "AssumeRole"),
            ("Version", "2015-04-01"),
            ("DurationSeconds", "3600"),
            ("RoleArn", "acs:ram::123456789012****:role/flow-reader"),
            ("RoleSessionName", "flow-ingest"),
        ];
        assert_eq!(signature("GET", &assume), "DlkPSoqnTAP/pstImnAYp3kv+fo=");
        let interfaces = [
            ("Action", "DescribeNetworkInterfaces"),
            ("Version", "2014-05-26"),
            ("MaxResults", "500"),
            ("VpcId", "vpc-bp1cznkxxxxxxxxvv"),
            ("NetworkInterfaceId.1", "eni-bp166tg9uk1ryf000001"),
            ("Tag.1.Key", "a b*~"),
            ("Tag.1.Value", "日志"),
        ];
        assert_eq!(
            signature("GET", &interfaces),
            "5XzwhE/ud3YWlfQywsD0haWQrNg="
        );
        assert_eq!(
            signature("POST", &interfaces),
            "B/lgP074j9i136oRWX4DfXLMnZ0="
        );
        let mut with_token = interfaces.to_vec();
        with_token.push(("SecurityToken", "CAISexampleStsToken=="));
        assert_eq!(
            signature("GET", &with_token),
            "XFFlOnpkdo4eo4Tzcrc6nGNsWoE="
        );
        assert_eq!(
            signature("POST", &with_token),
            "k21ZQKLrusJBlDW7ycbo+GMuE/w="
        );
    }
}
