//! Where the lake is: a directory, or a place in a bucket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use flowaudit_lake::Lake;
use flowaudit_lake::cloud::credentials::Surroundings;
use flowaudit_lake::cloud::{Access, Location, LocationError};
use serde::Deserialize;

use crate::failure::Failure;

/// Buckets of OSS: `oss:` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[group(skip)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Oss {
    /// Region of the bucket, such as `cn-hangzhou` [default: as the endpoint tells]
    #[arg(
        long = "oss-region",
        global = true,
        value_name = "REGION",
        env = "FLOWAUDIT_OSS_REGION",
        hide_env_values = true
    )]
    pub region: Option<String>,
    /// Host of OSS, as inside a VPC `oss-cn-hangzhou-internal.aliyuncs.com` [default: the region's public one]
    #[arg(
        long = "oss-endpoint",
        global = true,
        value_name = "HOST",
        env = "FLOWAUDIT_OSS_ENDPOINT",
        hide_env_values = true
    )]
    pub endpoint: Option<String>,
}

/// Where the lake is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a directory.
    Directory(PathBuf),
    /// In a bucket: as it was written, what that means, and how to get there.
    Bucket(String, Location, Access),
}

impl Place {
    /// Reads what was written.
    pub(super) fn parse(text: &str, access: Access) -> Result<Self, Failure> {
        match Location::parse(text) {
            None => Ok(Self::Directory(PathBuf::from(text))),
            Some(Ok(location)) => {
                // Mistakes in endpoint and region surface before the first byte is read.
                location.check(&access, Surroundings::of_process())?;
                Ok(Self::Bucket(text.to_owned(), location, access))
            }
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Opens the lake, which must be there.
    pub(super) fn open(&self) -> Result<Lake, Failure> {
        match self {
            Self::Directory(path) => Ok(Lake::open(path)?),
            Self::Bucket(_, location, access) => {
                let objects = location.objects(access, Surroundings::of_process())?;
                Ok(Lake::open_on(Arc::new(objects))?)
            }
        }
    }

    /// Opens the lake, or makes it.
    pub(super) fn create_or_open(&self) -> Result<Lake, Failure> {
        match self {
            Self::Directory(path) => Ok(Lake::create_or_open(path)?),
            Self::Bucket(_, location, access) => {
                let objects = location.objects(access, Surroundings::of_process())?;
                Ok(Lake::create_or_open_on(Arc::new(objects))?)
            }
        }
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::Directory(path.to_path_buf())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket(text, ..) => f.write_str(text),
        }
    }
}

impl From<LocationError> for Failure {
    fn from(error: LocationError) -> Self {
        let help = error.help();
        match error {
            LocationError::Client(_) => Failure::outside(error, help),
            _ => Failure::usage(error, help),
        }
    }
}
