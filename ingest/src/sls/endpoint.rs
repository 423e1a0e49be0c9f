//! Endpoint, project and logstore as a user names them → where requests go. Pure.

use std::net::IpAddr;

use thiserror::Error;

/// Where a project is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme and host to connect to: `https://project.cn-hangzhou.log.aliyuncs.com`.
    pub base: String,
    /// What `Host` says, and V4 signs.
    pub host: String,
    /// Whether `host` differs from the host of `base`: an endpoint given as an address carries the project in `Host`.
    pub is_address: bool,
    /// Region, as far as the endpoint tells.
    pub region: Option<String>,
}

/// An endpoint, project or logstore that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// No such scheme.
    #[error("endpoint `{endpoint}` is neither https nor http")]
    Scheme {
        /// What was given.
        endpoint: String,
    },
    /// Records in the clear.
    #[error("endpoint `{endpoint}` is http: records and security tokens would travel unencrypted")]
    Insecure {
        /// What was given.
        endpoint: String,
    },
    /// Not a host.
    #[error("endpoint `{endpoint}` is not a host such as `cn-hangzhou.log.aliyuncs.com`")]
    Host {
        /// What was given.
        endpoint: String,
    },
    /// Not a name.
    #[error("{what} `{name}` is no name: letters, digits, `-` and `_` make one")]
    Name {
        /// `project`, `logstore` or `consumer group`.
        what: &'static str,
        /// What was given.
        name: String,
    },
}

impl EndpointError {
    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(
            match self {
                EndpointError::Scheme { .. } => "leave the scheme out, https is meant then",
                EndpointError::Insecure { .. } => {
                    "use https, or allow it with `--insecure` where nobody else is on the way"
                }
                EndpointError::Host { .. } => {
                    "name the endpoint of the region without the project, as the console shows it under the project's overview"
                }
                EndpointError::Name { .. } => "copy the name from the console",
            }
            .to_owned(),
        )
    }
}

impl Endpoint {
    /// The endpoint of a project. Without a scheme https is meant; http is refused unless `insecure`.
    pub fn new(endpoint: &str, project: &str, insecure: bool) -> Result<Self, EndpointError> {
        let given = || endpoint.to_owned();
        check_name("project", project)?;
        let (scheme, rest) = match endpoint.split_once("://") {
            None => ("https", endpoint),
            Some(("https", rest)) => ("https", rest),
            Some(("http", rest)) if insecure => ("http", rest),
            Some(("http", _)) => return Err(EndpointError::Insecure { endpoint: given() }),
            Some(_) => return Err(EndpointError::Scheme { endpoint: given() }),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
            _ => (authority, None),
        };
        let is_label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_address = bare.parse::<IpAddr>().is_ok();
        if !is_address && !host.split('.').all(is_label) {
            return Err(EndpointError::Host { endpoint: given() });
        }
        // Some consoles show the endpoint with the project before it.
        let host = host.strip_prefix(&format!("{project}.")).unwrap_or(host);
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let full = format!("{project}.{host}{port}");
        Ok(Endpoint {
            base: match is_address {
                true => format!("{scheme}://{authority}"),
                false => format!("{scheme}://{full}"),
            },
            host: full,
            is_address,
            region: region(host),
        })
    }
}

/// The region that a public or internal endpoint names.
fn region(host: &str) -> Option<String> {
    let name = host.strip_suffix(".log.aliyuncs.com")?;
    let name = name.strip_suffix("-intranet").unwrap_or(name);
    // A region has a `-`; the accelerated endpoint has no region in its name.
    let is_region = name.contains('-') && !name.contains('.') && name != "log-global";
    is_region.then(|| name.to_owned())
}

/// A name that stands in a path or a host.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), EndpointError> {
    let is_name = !name.is_empty()
        && name.len() <= 128
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    match is_name {
        true => Ok(()),
        false => Err(EndpointError::Name {
            what,
            name: name.chars().take(128).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(endpoint: &str) -> (String, String, Option<String>) {
        let endpoint = Endpoint::new(endpoint, "flow-proj", true).unwrap();
        (endpoint.base, endpoint.host, endpoint.region)
    }

    #[test]
    fn endpoints_as_they_are_given() {
        let public = "flow-proj.cn-hangzhou.log.aliyuncs.com";
        let expected = (
            format!("https://{public}"),
            public.to_owned(),
            Some("cn-hangzhou".to_owned()),
        );
        for given in [
            "cn-hangzhou.log.aliyuncs.com",
            "https://cn-hangzhou.log.aliyuncs.com/",
            public,
        ] {
            assert_eq!(base(given), expected, "{given}");
        }
        let (inner, _, region) = base("cn-hangzhou-intranet.log.aliyuncs.com");
        assert_eq!(
            inner,
            "https://flow-proj.cn-hangzhou-intranet.log.aliyuncs.com"
        );
        assert_eq!(region.as_deref(), Some("cn-hangzhou"));
        assert_eq!(base("log-global.aliyuncs.com").2, None);
        assert_eq!(
            base("http://sls.example:8080"),
            (
                "http://flow-proj.sls.example:8080".to_owned(),
                "flow-proj.sls.example:8080".to_owned(),
                None
            )
        );
        assert_eq!(
            base("http://127.0.0.1:8080"),
            (
                "http://127.0.0.1:8080".to_owned(),
                "flow-proj.127.0.0.1:8080".to_owned(),
                None
            )
        );
    }

    #[test]
    fn endpoints_that_cannot_be_meant() {
        let error = |endpoint: &str| Endpoint::new(endpoint, "p", false).unwrap_err();
        for (endpoint, words) in [
            ("http://cn-hangzhou.log.aliyuncs.com", "is http"),
            ("ftp://x", "neither"),
            ("", "is not a host"),
            ("a b", "is not a host"),
            ("cn-hangzhou.log.aliyuncs.com/path", "is not a host"),
            ("user@host", "is not a host"),
        ] {
            let error = error(endpoint);
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.help().is_some());
        }
        for name in ["", "a/b", "a.b", "a?b", "日志"] {
            assert!(check_name("logstore", name).is_err());
        }
    }
}
