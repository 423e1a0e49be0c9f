//! Where a bucket is: from its name and an endpoint to URLs, and which region signs. Pure.
//!
//! | endpoint | style |
//! |---|---|
//! | `oss-cn-hangzhou.aliyuncs.com`, `oss-cn-hangzhou-internal.aliyuncs.com`, `cn-hangzhou.oss.aliyuncs.com` | bucket in the host |
//! | `oss-accelerate.aliyuncs.com` | bucket in the host; the region must be given |
//! | an IP address | bucket in the path |
//! | a domain of one's own | [`Style::OwnDomain`] must be asked for; the region must be given |

use std::net::IpAddr;

use super::sign::{canonical_query, encode};

/// Where the bucket's name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `https://bucket.endpoint/key`, what the public service wants.
    VirtualHost,
    /// `https://endpoint/bucket/key`.
    Path,
    /// `https://endpoint/key`: a domain bound to the bucket (CNAME).
    OwnDomain,
}

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    bucket: String,
    region: String,
    /// Scheme and host, with the bucket's name where it belongs; without a slash at the end.
    base: String,
}

/// Why there is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a name a bucket can have.
    #[error("`{0}` is no name of a bucket: 3 to 63 of a-z, 0-9 and `-`, with no `-` at either end")]
    Bucket(String),
    /// Not a host.
    #[error("`{0}` is no endpoint")]
    Endpoint(String),
    /// Keys would travel in the open.
    #[error("the endpoint `{0}` is without TLS")]
    Insecure(String),
    /// The endpoint does not say in which region the bucket is.
    #[error("the endpoint `{0}` does not tell the region of the bucket")]
    NoRegion(String),
}

impl AddressError {
    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Bucket(_) => return None,
            Self::Endpoint(_) => "write it like `oss-cn-hangzhou-internal.aliyuncs.com`",
            Self::Insecure(_) => {
                "begin it with `https://`; only loopback addresses are spoken to without TLS"
            }
            Self::NoRegion(_) => "set the region too, such as `cn-hangzhou`",
        };
        Some(text.to_string())
    }
}

impl Address {
    /// The address of a bucket. Without a style an IP address takes the path and everything else the host; without
    /// a region the endpoint must tell it.
    pub fn new(
        bucket: &str,
        endpoint: &str,
        style: Option<Style>,
        region: Option<&str>,
    ) -> Result<Self, AddressError> {
        check_bucket(bucket)?;
        let wrong = || AddressError::Endpoint(endpoint.to_string());
        let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
        let host = host.strip_suffix('/').unwrap_or(host);
        let fitting = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if host.is_empty() || !host.chars().all(fitting) || !["http", "https"].contains(&scheme) {
            return Err(wrong());
        }
        let name = host_name(host);
        let ip: Option<IpAddr> = name.parse().ok();
        let loopback = ip.is_some_and(|ip| ip.is_loopback()) || name == "localhost";
        if scheme == "http" && !loopback {
            return Err(AddressError::Insecure(endpoint.to_string()));
        }
        let style = style.unwrap_or(match ip {
            Some(_) => Style::Path,
            None => Style::VirtualHost,
        });
        let region = region.map(str::to_string).or_else(|| region_of(name));
        let region = region.ok_or_else(|| AddressError::NoRegion(endpoint.to_string()))?;
        let base = match style {
            Style::VirtualHost => format!("{scheme}://{bucket}.{host}"),
            Style::Path => format!("{scheme}://{host}/{bucket}"),
            Style::OwnDomain => format!("{scheme}://{host}"),
        };
        Ok(Self {
            bucket: bucket.to_string(),
            region,
            base,
        })
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The region that signs, such as `cn-hangzhou`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The URL of an object, or of the bucket.
    pub fn url(&self, key: Option<&str>, query: &[(String, String)]) -> String {
        let path = encode(key.unwrap_or_default(), true);
        let query = canonical_query(query);
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/{path}{mark}{query}", self.base)
    }
}

fn check_bucket(bucket: &str) -> Result<(), AddressError> {
    let fitting = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(fitting)
        && !bucket.starts_with('-')
        && !bucket.ends_with('-');
    if good {
        Ok(())
    } else {
        Err(AddressError::Bucket(bucket.chars().take(100).collect()))
    }
}

/// The host without its port.
pub(crate) fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

fn region_of(host: &str) -> Option<String> {
    let name = host.strip_suffix(".aliyuncs.com")?;
    if name.starts_with("oss-accelerate") {
        return None;
    }
    let region = match name.strip_suffix(".oss") {
        Some(region) => region,
        None => {
            let region = name.strip_prefix("oss-")?;
            region.strip_suffix("-internal").unwrap_or(region)
        }
    };
    (!region.is_empty() && !region.contains('.')).then(|| region.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(endpoint: &str, style: Option<Style>, region: Option<&str>) -> Address {
        Address::new("flow-bucket", endpoint, style, region).unwrap()
    }

    #[test]
    fn every_style_of_address() {
        for (endpoint, style, region, url) in [
            (
                "oss-cn-hangzhou.aliyuncs.com",
                None,
                None,
                "https://flow-bucket.oss-cn-hangzhou.aliyuncs.com/a/b",
            ),
            (
                "https://oss-cn-hangzhou-internal.aliyuncs.com/",
                None,
                None,
                "https://flow-bucket.oss-cn-hangzhou-internal.aliyuncs.com/a/b",
            ),
            (
                "cn-hangzhou.oss.aliyuncs.com",
                None,
                None,
                "https://flow-bucket.cn-hangzhou.oss.aliyuncs.com/a/b",
            ),
            (
                "oss-accelerate.aliyuncs.com",
                None,
                Some("cn-hangzhou"),
                "https://flow-bucket.oss-accelerate.aliyuncs.com/a/b",
            ),
            (
                "logs.example.com",
                Some(Style::OwnDomain),
                Some("cn-hangzhou"),
                "https://logs.example.com/a/b",
            ),
            (
                "oss-cn-hangzhou.aliyuncs.com",
                Some(Style::Path),
                None,
                "https://oss-cn-hangzhou.aliyuncs.com/flow-bucket/a/b",
            ),
            (
                "http://127.0.0.1:8080",
                None,
                Some("cn-hangzhou"),
                "http://127.0.0.1:8080/flow-bucket/a/b",
            ),
            (
                "http://[::1]:8080",
                None,
                Some("cn-hangzhou"),
                "http://[::1]:8080/flow-bucket/a/b",
            ),
        ] {
            let address = address(endpoint, style, region);
            assert_eq!(address.url(Some("a/b"), &[]), url);
            assert_eq!(address.region(), "cn-hangzhou");
        }
    }

    #[test]
    fn keys_and_queries_are_encoded() {
        let address = address("oss-cn-hangzhou.aliyuncs.com", None, None);
        let query = [
            ("uploads".to_string(), String::new()),
            ("prefix".to_string(), "a/b c".to_string()),
        ];
        assert_eq!(
            address.url(None, &query),
            "https://flow-bucket.oss-cn-hangzhou.aliyuncs.com/?prefix=a%2Fb%20c&uploads"
        );
        assert!(
            address
                .url(Some("日/%41 +?#"), &[])
                .ends_with("/%E6%97%A5/%2541%20%2B%3F%23")
        );
    }

    #[test]
    fn what_is_no_address() {
        let refused = |bucket: &str, endpoint: &str| {
            let error = Address::new(bucket, endpoint, None, None).unwrap_err();
            let _ = error.help();
            error
        };
        for bucket in ["ab", "Flow", "a_b", "-ab", "ab-", "a.b", &"a".repeat(64)] {
            assert!(matches!(
                refused(bucket, "oss-cn-hangzhou.aliyuncs.com"),
                AddressError::Bucket(_)
            ));
        }
        for endpoint in [
            "",
            "ftp://x",
            "https://user@host",
            "https://host/path",
            "a b",
        ] {
            assert!(
                matches!(refused("abc", endpoint), AddressError::Endpoint(_)),
                "{endpoint}"
            );
        }
        assert!(matches!(
            refused("abc", "http://oss-cn-hangzhou.aliyuncs.com"),
            AddressError::Insecure(_)
        ));
        for endpoint in [
            "oss-accelerate.aliyuncs.com",
            "example.com",
            "https://10.0.0.1",
        ] {
            assert!(matches!(
                refused("abc", endpoint),
                AddressError::NoRegion(_)
            ));
        }
    }
}
