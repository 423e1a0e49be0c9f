//! Buckets of stores that speak S3, by object_store's own client.
//!
//! Where the store is and who asks is said by the variables that every client of S3 knows (`AWS_ENDPOINT_URL`,
//! `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; on EKS `AWS_WEB_IDENTITY_TOKEN_FILE`).

use std::collections::BTreeMap;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};

use super::oss::host_name;

/// One of these says who asks; without any the client would try to reach the metadata service of a machine of AWS.
const IDENTITIES: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// Nobody said who asks.
    #[error("no credentials for S3: none of {} is set", IDENTITIES.join(", "))]
    NoCredentials,
    /// Keys and data would go over the wire for all to read.
    #[error("the endpoint `{0}` is not encrypted")]
    Insecure(String),
    /// The client refuses what is set.
    #[error("bucket `{bucket}` cannot be used by S3: {reason}")]
    Unusable {
        /// The bucket.
        bucket: String,
        /// The client's words.
        reason: String,
    },
}

impl S3Error {
    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::NoCredentials => {
                "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and `AWS_ENDPOINT_URL` if the store is not AWS"
            }
            Self::Insecure(_) => {
                "write `https://`; plain `http://` is for this machine, or say `AWS_ALLOW_HTTP=true`"
            }
            Self::Unusable { .. } => "look at the `AWS_…` variables",
        };
        Some(text.to_string())
    }
}

/// The variables `AWS_…` of this process.
pub fn variables_of_process() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("AWS_"))
        .collect()
}

/// The client of a bucket: nobody is asked yet.
pub(super) fn bucket(
    bucket: &str,
    variables: &BTreeMap<String, String>,
) -> Result<AmazonS3, S3Error> {
    if !IDENTITIES.iter().any(|name| variables.contains_key(*name)) {
        return Err(S3Error::NoCredentials);
    }
    let mut builder = AmazonS3Builder::new();
    for (name, value) in variables {
        // The client knows its own; the others are for other programs.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    if let Some(host) = endpoint
        .as_deref()
        .and_then(|url| url.strip_prefix("http://"))
    {
        let allowed = variables
            .get("AWS_ALLOW_HTTP")
            .is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
        if !allowed && !is_loopback(host) {
            return Err(S3Error::Insecure(endpoint.unwrap_or_default()));
        }
        builder = builder.with_allow_http(true);
    }
    builder
        .with_bucket_name(bucket)
        .build()
        .map_err(|error| S3Error::Unusable {
            bucket: bucket.to_string(),
            reason: error.to_string(),
        })
}

/// What can be done about an error of the client, by the code in the store's answer.
pub(super) fn help(error: &str) -> Option<String> {
    const HELP: [(&str, &str); 4] = [
        ("NoSuchBucket", "make the bucket first, or correct its name"),
        (
            "InvalidAccessKeyId",
            "the store does not know `AWS_ACCESS_KEY_ID`; is `AWS_ENDPOINT_URL` the right store?",
        ),
        (
            "SignatureDoesNotMatch",
            "`AWS_SECRET_ACCESS_KEY` is not the secret of `AWS_ACCESS_KEY_ID`",
        ),
        (
            "AccessDenied",
            "the key may not do this in the bucket: reading needs GetObject and ListBucket, writing PutObject and DeleteObject too",
        ),
    ];
    HELP.iter()
        .find(|(code, _)| error.contains(code))
        .map(|(_, help)| (*help).to_string())
}

fn is_loopback(rest: &str) -> bool {
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // What stands before an `@` is a user, whatever it looks like.
    let name = host_name(host.rsplit('@').next().unwrap_or(host));
    let ip: Option<std::net::IpAddr> = name.parse().ok();
    name == "localhost" || ip.is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<AmazonS3, S3Error> {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
        ];
        let pairs = keys.iter().chain(pairs);
        let variables = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
        bucket("logs", &variables.collect())
    }

    #[test]
    fn what_is_missing_is_said_before_anybody_is_asked() {
        let error = bucket("logs", &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"));
        for plain in [
            "http://s3.example.org:9000",
            "http://localhost:1@s3.example.org/",
            "http://127.0.0.1@s3.example.org",
            "http://s3.example.org?@127.0.0.1",
        ] {
            let error = with(&[("AWS_ENDPOINT_URL", plain)]).unwrap_err();
            assert!(matches!(error, S3Error::Insecure(_)), "{error}");
            assert!(error.help().unwrap().contains("AWS_ALLOW_HTTP"));
        }
        for fine in [
            [("AWS_ENDPOINT_URL", "http://127.0.0.1:8333")].as_slice(),
            &[("AWS_ENDPOINT_URL", "http://[::1]:8333")],
            &[("AWS_ENDPOINT_URL", "https://s3.example.org")],
            &[
                ("AWS_ENDPOINT_URL", "http://s3.example.org"),
                ("AWS_ALLOW_HTTP", "true"),
            ],
            &[("AWS_REGION", "eu-central-1"), ("AWS_PROFILE", "work")],
        ] {
            let store = with(fine).unwrap();
            assert!(!format!("{store:?}").contains("s3cret"));
        }
    }
}
