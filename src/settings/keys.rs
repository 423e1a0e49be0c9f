//! What can be set: each setting once, with its key in the file, its flag, its variable and its meaning.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use flowaudit_rules::evaluate::Engine;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::fail_on::FailOn;
use super::place::Oss;
use super::size::Size;
use crate::output::Format;
use crate::when::Span;

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Everywhere {
    /// Settings file [default: flowaudit.yaml, if it is there]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "FLOWAUDIT_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// The lake: a directory, `oss://bucket/prefix` or `s3://bucket/prefix` [default: flowaudit-lake]
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "FLOWAUDIT_LAKE",
        hide_env_values = true
    )]
    pub lake: Option<String>,
    /// How results are printed: table, json or ndjson [default: table]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        env = "FLOWAUDIT_OUTPUT",
        hide_env_values = true,
        value_enum,
        hide_possible_values = true
    )]
    pub output: Option<Format>,
    /// No progress and no closing words on standard error; errors and warnings stay
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(flatten)]
    pub oss: Oss,
}

/// The cluster: `cluster:` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[group(skip)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Cluster {
    /// Name of the cluster [default: default; of a question: any]
    #[arg(
        id = "cluster-name",
        long = "cluster",
        value_name = "NAME",
        env = "FLOWAUDIT_CLUSTER",
        hide_env_values = true
    )]
    pub name: Option<String>,
    /// The VPC in which the cluster's addresses are meant, where several VPCs use the same ones [default: as known already]
    #[arg(
        id = "cluster-vpc",
        long = "cluster-vpc",
        value_name = "VPC",
        env = "FLOWAUDIT_CLUSTER_VPC",
        hide_env_values = true
    )]
    pub vpc: Option<String>,
    /// What enforces NetworkPolicy: felix, cilium, none or unknown [default: unknown]
    #[arg(long = "engine", value_name = "ENGINE", env = "FLOWAUDIT_ENGINE", hide_env_values = true, value_parser = engine)]
    #[serde(deserialize_with = "text")]
    pub engine: Option<Engine>,
    /// Ranges of the cluster's addresses: one that nobody is known to hold is unidentified there, not external
    #[arg(
        long = "cluster-ranges",
        value_name = "CIDR,…",
        env = "FLOWAUDIT_CLUSTER_RANGES",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub ranges: Option<Vec<IpNet>>,
}

/// Reading flow logs: `ingest:` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[group(skip)]
#[command(next_help_heading = "Reading")]
pub(crate) struct Ingest {
    /// Order of space-separated values where the files do not say: field names separated by blanks or commas
    #[arg(
        long = "fields",
        value_name = "NAMES",
        env = "FLOWAUDIT_FIELDS",
        hide_env_values = true
    )]
    pub fields: Option<String>,
    /// A longer record is set aside, as in `1MiB` [default: 1MiB]
    #[arg(
        long = "record-size-max",
        value_name = "SIZE",
        env = "FLOWAUDIT_RECORD_SIZE_MAX",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub record_size_max: Option<Size>,
}

/// Analysing: `analyze:` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[group(skip)]
#[command(next_help_heading = "Analysing")]
pub(crate) struct Analyze {
    /// How far each clock may be off [default: 3s]
    #[arg(
        long = "skew",
        value_name = "SPAN",
        env = "FLOWAUDIT_SKEW",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub skew: Option<Span>,
    /// Names for ranges of addresses outside the cluster, a YAML file: databases, offices, partners
    #[arg(
        long = "cidr-sets",
        value_name = "FILE",
        env = "FLOWAUDIT_CIDR_SETS",
        hide_env_values = true
    )]
    pub cidr_sets: Option<PathBuf>,
    /// How long nodes may take to enforce a change of policy [default: 10s]
    #[arg(
        long = "enforcement-grace",
        value_name = "SPAN",
        env = "FLOWAUDIT_ENFORCEMENT_GRACE",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub enforcement_grace: Option<Span>,
    /// How far back a connection may have been opened whose opening was not seen [default: 6h]
    #[arg(
        long = "opened-lookback",
        value_name = "SPAN",
        env = "FLOWAUDIT_OPENED_LOOKBACK",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub opened_lookback: Option<Span>,
    /// Memory for the tuples of one pass over an hour [default: 1GiB]
    #[arg(
        long = "tuple-memory",
        value_name = "SIZE",
        env = "FLOWAUDIT_TUPLE_MEMORY",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub tuple_memory: Option<Size>,
    /// Threads [default: as many as there are cores]
    #[arg(
        long = "threads",
        value_name = "N",
        env = "FLOWAUDIT_THREADS",
        hide_env_values = true
    )]
    pub threads: Option<usize>,
    /// External addresses per server, port and hour above which they are folded [default: 256]
    #[arg(
        long = "external-addresses-max",
        value_name = "N",
        env = "FLOWAUDIT_EXTERNAL_ADDRESSES_MAX",
        hide_env_values = true
    )]
    pub external_addresses_max: Option<usize>,
}

/// When findings make the exit code 1: `fail-on:` in the file.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub(crate) struct Fail {
    /// Exit with 1 if there is an open finding of this severity or a graver one: low, medium, high, critical or never
    /// [default: never]
    #[arg(
        long,
        value_name = "SEVERITY",
        env = "FLOWAUDIT_FAIL_ON",
        hide_env_values = true
    )]
    pub fail_on: Option<FailOn>,
}

/// The engine's error carries its help apart; on the command line both belong together.
fn engine(word: &str) -> Result<Engine, String> {
    word.parse().map_err(|_| {
        format!("`{word}` is not an enforcement engine: write felix, cilium, none or unknown")
    })
}

/// A value that is written as text, checked where it stands, so that the message has its line.
pub(super) fn text<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}
