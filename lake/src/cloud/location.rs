//! Where a lake outside this machine is: `oss://bucket/prefix`, or `s3://bucket/prefix` for stores that speak S3.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use object_store::path::Path;

use super::Objects;
use super::credentials::{Chain, Surroundings};
use super::oss::{Address, AddressError, Oss, OssError, Retries, Style};
use super::s3::{self, S3Error};

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    scheme: Scheme,
    bucket: String,
    prefix: Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Oss,
    S3,
}

/// How to get to a bucket. The first three are for OSS.
#[derive(Clone, Default)]
pub struct Access {
    /// The endpoint, such as `oss-cn-hangzhou-internal.aliyuncs.com`; without one it is made from the region.
    pub endpoint: Option<String>,
    /// The region of the bucket, such as `cn-hangzhou`; without one the endpoint tells it.
    pub region: Option<String>,
    /// Where the bucket's name goes; without one the endpoint decides.
    pub style: Option<Style>,
    /// What the variables `AWS_…` say, for stores that speak S3.
    pub s3: BTreeMap<String, String>,
}

/// The variables hold keys.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("style", &self.style)
            .field("s3", &self.s3.keys())
            .finish()
    }
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
    /// A store that speaks S3 cannot be asked.
    #[error(transparent)]
    S3(#[from] S3Error),
}

impl LocationError {
    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Unknown(_) => "write it like `oss://bucket/prefix` or `s3://bucket/prefix`",
            Self::Scheme { .. } => {
                "name a directory, `oss://bucket/prefix` or `s3://bucket/prefix`"
            }
            Self::Nowhere(_) => "set `oss.region`, or `oss.endpoint` where it is not the usual one",
            Self::Address(error) => return error.help(),
            Self::Client(error) => return error.help(),
            Self::S3(error) => return error.help(),
        };
        Some(text.to_string())
    }
}

impl Location {
    /// Reads `oss://bucket/prefix` or `s3://bucket/prefix`; `None` where `text` is a path on this machine.
    pub fn parse(text: &str) -> Option<Result<Self, LocationError>> {
        let (scheme, rest) = text.split_once("://")?;
        let unknown = || LocationError::Unknown(text.chars().take(200).collect());
        let scheme = match scheme {
            "oss" => Scheme::Oss,
            "s3" => Scheme::S3,
            scheme => {
                let scheme = scheme.chars().take(20).collect();
                return Some(Err(LocationError::Scheme { scheme }));
            }
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let odd = |c: char| c.is_control() || "?#\\".contains(c);
        Some(match Path::parse(prefix.trim_end_matches('/')) {
            Ok(prefix) if !bucket.is_empty() && !rest.contains(odd) => Ok(Self {
                scheme,
                bucket: bucket.to_string(),
                prefix,
            }),
            _ => Err(unknown()),
        })
    }

    /// Whether everything is said that is needed to get there: nobody is asked yet.
    pub fn check(&self, access: &Access, surroundings: Surroundings) -> Result<(), LocationError> {
        self.objects(access, surroundings).map(drop)
    }

    fn oss(&self, access: &Access, surroundings: Surroundings) -> Result<Oss, LocationError> {
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
        let prefix = self.prefix.clone();
        Ok(match self.scheme {
            Scheme::Oss => Objects::on_oss(self.oss(access, surroundings)?, prefix, clock),
            Scheme::S3 => {
                let bucket = s3::bucket(&self.bucket, &access.s3)?;
                let name = format!("s3://{}", self.bucket);
                Objects::on_s3(Arc::new(bucket), prefix, name, clock)
            }
        })
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
        let s3 = Location::parse("s3://logs/a").unwrap().unwrap();
        assert_eq!((s3.scheme, s3.prefix.as_ref()), (Scheme::S3, "a"));
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
        let bucket = |access: Access| location.oss(&access, surroundings());
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
