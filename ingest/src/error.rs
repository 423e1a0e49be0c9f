//! Why data could not be brought in.

use std::io;

use flowaudit_lake::LakeError;
use thiserror::Error;

use crate::kubernetes::KubernetesError;
use crate::oss::OssReadError;
use crate::sls::SlsError;
use crate::source::InputError;
use crate::summary::Counts;

/// Why a run stopped.
#[derive(Debug, Error)]
pub enum IngestError {
    /// An input that cannot be meant. Nothing was read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The lake failed. What was published before stays.
    #[error("cannot write to the lake")]
    Lake(#[from] LakeError),
    /// The log service failed, or refused. What was published before stays.
    #[error("cannot read from the log service")]
    Sls(#[from] SlsError),
    /// The bucket cannot be read. What was published before stays.
    #[error("cannot read from the bucket")]
    Oss(#[from] OssReadError),
    /// The API server of a cluster failed, or refused. What was published before stays.
    #[error("cannot watch the cluster")]
    Kubernetes(#[from] KubernetesError),
    /// A newer version read the source.
    #[error("{0}")]
    Newer(String),
    /// No threads.
    #[error("no threads can be started")]
    Runtime(#[source] io::Error),
    /// A mistake of ours: records are not accounted for.
    #[error(
        "{} records were read, but {} flows, {} gaps, {} rejects and {} duplicates written",
        counts.records, counts.flows, counts.gaps, counts.rejects, counts.duplicates
    )]
    Unaccounted {
        /// The figures.
        counts: Counts,
    },
}

impl IngestError {
    /// Whether the arguments were at fault, and nothing was read or written.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            IngestError::Input(_) => true,
            IngestError::Kubernetes(error) => error.is_usage(),
            _ => false,
        }
    }

    /// What the reader of the message can do.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            IngestError::Input(error) => error.help(),
            IngestError::Lake(error) => error.help(),
            IngestError::Sls(error) => error.help(),
            IngestError::Oss(error) => error.help(),
            IngestError::Kubernetes(error) => error.help(),
            IngestError::Newer(_) => Some("use that version or a later one".to_owned()),
            IngestError::Runtime(_) => {
                Some("nothing was read; see how many threads this user may have".to_owned())
            }
            IngestError::Unaccounted { .. } => {
                Some("this is a mistake in flowaudit: please report it with the input".to_owned())
            }
        }
    }
}
