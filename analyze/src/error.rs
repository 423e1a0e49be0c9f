//! What can go wrong in an analysis. All of it lies outside: the lake is left as it was.

use flowaudit_lake::{Hour, LakeError};

/// Why an analysis, or a question about the past, could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The lake could not be read or written.
    #[error(transparent)]
    Lake(#[from] LakeError),

    /// A column holds what its table does not allow; the file was not written by flowaudit.
    #[error("`{file}` holds `{value}` in column `{column}`, which is not {wanted}")]
    Value {
        /// Key of the file in the lake.
        file: String,
        /// Name of the column.
        column: &'static str,
        /// The value as it stands there.
        value: String,
        /// What the column holds.
        wanted: &'static str,
    },

    /// The outcomes of a step do not add up to the records of the hour. A mistake of ours; nothing is published.
    #[error("hour `{hour}`: step `{step}` accounts for {counted} records of {records}")]
    Coverage {
        /// The hour.
        hour: Hour,
        /// The step.
        step: &'static str,
        /// Records that the step accounts for.
        counted: u64,
        /// Records of the hour.
        records: u64,
    },

    /// A party named in a question does not exist at that time.
    #[error("nobody called `{party}` is known at {at}")]
    UnknownParty {
        /// As it was asked for.
        party: String,
        /// The instant, RFC 3339.
        at: String,
    },

    /// A cluster named in a question is in no inventory of that time.
    #[error("no cluster called `{cluster}` is known at {at}")]
    UnknownCluster {
        /// As it was asked for.
        cluster: String,
        /// The instant, RFC 3339.
        at: String,
        /// Those that are known.
        clusters: Vec<String>,
    },

    /// A pod whose name is one in several clusters.
    #[error("`{party}` was in several clusters at {at}: {}", clusters.join(", "))]
    PartyOfSeveralClusters {
        /// As it was asked for.
        party: String,
        /// The instant, RFC 3339.
        at: String,
        /// Names of the clusters.
        clusters: Vec<String>,
    },

    /// An address whose holder at that time is not certain.
    #[error("it is not certain who held `{party}` at {at}: {reason}")]
    UncertainParty {
        /// As it was asked for.
        party: String,
        /// The instant, RFC 3339.
        at: String,
        /// Why.
        reason: String,
    },
}

impl AnalyzeError {
    /// What the reader may do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            AnalyzeError::Lake(error) => error.help(),
            AnalyzeError::Value { .. } => {
                Some("remove that file with `flowaudit lake verify`'s advice, or restore it, and repeat".into())
            }
            AnalyzeError::Coverage { .. } => Some(
                "nothing was written for that day; this is a mistake in flowaudit, please report it with the output of `flowaudit lake stats`"
                    .into(),
            ),
            AnalyzeError::UnknownParty { .. } => Some(
                "name a pod as `namespace/name`, or import an inventory that covers that time with `flowaudit inventory import`"
                    .into(),
            ),
            AnalyzeError::UnknownCluster { clusters, .. } => Some(match clusters.is_empty() {
                true => "import an inventory that covers that time with `flowaudit inventory import`".into(),
                false => format!("known are: {}", clusters.join(", ")),
            }),
            AnalyzeError::PartyOfSeveralClusters { .. } => {
                Some("say which one is meant with `--cluster NAME`, or ask with the pod's address".into())
            }
            AnalyzeError::UncertainParty { .. } => {
                Some("see `flowaudit inventory who ADDR --at T`, and ask with a pod's name instead".into())
            }
        }
    }
}
