//! Where a lake outside this machine is: `oss://bucket/prefix`.

use object_store::path::Path;

use super::Objects;
use super::credentials::{Chain, Surroundings};
use super::oss::{Address, AddressError, Oss, OssError, Retries, Style};

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    bucket: String,
    prefix: Path,
}

/// How to get to a bucket.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The endpoint, such as `oss-cn-hangzhou-internal.aliyuncs.com`; without one it is made from the region.
    pub endpoint: Option<String>,
    /// The region of the bucket, such as `cn-hangzhou`; without one the endpoint tells it.
    pub region: Option<String>,
    /// Where the bucket's name goes; without one the endpoint decides.
    pub style: Option<Style>,
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Not a place in a bucket.
    #[error("`{0}` is no place in a bucket")]
    Unknown(String),
    /// Of a kind that is not spoken.
    #[error("`{scheme}://` is not supported")]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// Nobody said where the bucket is.
    #[error("neither endpoint nor region of bucket `{0}` is set")]
    Nowhere(String),
    /// The bucket or the endpoint is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No connection can be made at all.
    #[error(transparent)]
    Client(#[from] OssError),
}

impl LocationError {
    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Unknown(_) => "write it like `oss://bucket/prefix`",
            Self::Scheme { .. } => "name a directory or `oss://bucket/prefix`",
            Self::Nowhere(_) => "set `oss.region`, or `oss.endpoint` where it is not the usual one",
            Self::Address(error) => return error.help(),
            Self::Client(error) => return error.help(),
        };
        Some(text.to_string())
    }
}

impl Location {
    /// Reads `oss://bucket/prefix`; `None` where `text` is a path on this machine.
    pub fn parse(text: &str) -> Option<Result<Self, LocationError>> {
        let (scheme, rest) = text.split_once("://")?;
        let unknown = || LocationError::Unknown(text.chars().take(200).collect());
        Some(match scheme {
            "oss" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let odd = |c: char| c.is_control() || "?#\\".contains(c);
                let prefix = Path::parse(prefix.trim_end_matches('/'));
                match prefix {
                    Ok(prefix) if !bucket.is_empty() && !rest.contains(odd) => Ok(Self {
                        bucket: bucket.to_string(),
                        prefix,
                    }),
                    _ => Err(unknown()),
                }
            }
            scheme => Err(LocationError::Scheme {
                scheme: scheme.chars().take(20).collect(),
            }),
        })
    }

    /// The bucket as this place needs it: nobody is asked yet.
    pub fn bucket(
        &self,
        access: &Access,
        surroundings: Surroundings,
    ) -> Result<Oss, LocationError> {
        let from_region = access
            .region
            .as_ref()
            .map(|region| format!("oss-{region}.aliyuncs.com"));
        let endpoint = access.endpoint.clone().or(from_region);
        let endpoint = endpoint.ok_or_else(|| LocationError::Nowhere(self.bucket.clone()))?;
        let region = access.region.as_deref();
        let address = Address::new(&self.bucket, &endpoint, access.style, region)?;
        let clock = surroundings.clock.clone();
        let chain = Chain::new(surroundings);
        Ok(Oss::new(address, chain, clock, Retries::default())?)
    }

    /// The store of a lake at this place: nobody is asked yet.
    pub fn objects(
        &self,
        access: &Access,
        surroundings: Surroundings,
    ) -> Result<Objects, LocationError> {
        let clock = surroundings.clock.clone();
        let oss = self.bucket(access, surroundings)?;
        Ok(Objects::on_oss(oss, self.prefix.clone(), clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_buckets_and_other_places() {
        for path in ["lake", "/data/lake", "C:lake", "a:b/c"] {
            assert!(Location::parse(path).is_none(), "{path}");
        }
        for (text, bucket, prefix) in [
            ("oss://logs", "logs", ""),
            ("oss://logs/", "logs", ""),
            ("oss://logs/a/b/", "logs", "a/b"),
            ("oss://logs/a/日 b", "logs", "a/日 b"),
        ] {
            let location = Location::parse(text).unwrap().unwrap();
            assert_eq!(location.bucket, bucket);
            assert_eq!(location.prefix.as_ref(), prefix);
        }
        for text in [
            "oss://",
            "oss:///a",
            "oss://b/a//c",
            "oss://b/a?x",
            "oss://b/../c",
            "gs://b/c",
        ] {
            let error = Location::parse(text).unwrap().unwrap_err();
            assert!(error.help().is_some(), "{text}");
        }
    }

    #[test]
    fn endpoint_or_region() {
        let surroundings = || Surroundings {
            variables: Default::default(),
            home: None,
            metadata_endpoint: String::new(),
            sts_endpoint: None,
            clock: super::super::credentials::Clock::system(),
        };
        let location = Location::parse("oss://logs/a").unwrap().unwrap();
        let bucket = |access: Access| location.bucket(&access, surroundings());
        let region = Some("cn-beijing".to_string());
        let found = bucket(Access {
            region,
            ..Access::default()
        })
        .unwrap();
        assert_eq!(
            found.address().url(None, &[]),
            "https://logs.oss-cn-beijing.aliyuncs.com/"
        );
        let endpoint = Some("oss-cn-beijing-internal.aliyuncs.com".to_string());
        let found = bucket(Access {
            endpoint,
            ..Access::default()
        })
        .unwrap();
        assert_eq!(found.address().region(), "cn-beijing");
        let error = bucket(Access::default()).unwrap_err();
        assert!(error.help().unwrap().contains("oss.region"));
    }
}
