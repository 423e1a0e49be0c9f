//! Settings, in two steps: what was typed (flags, `FLOWAUDIT_*`, file), then what is meant.
//!
//! Each setting is said once, as a field of one of the sections below: its key in the file, its flag, its variable and
//! its meaning. Flags go before variables, these before the file, this before the default. A key that is unknown is
//! refused with its line; so mistakes surface before the first byte is read.
//!
//! Variables that are not settings are left alone: Kubernetes gives a pod beside a Service called `flowaudit` variables
//! like `FLOWAUDIT_PORT`. For that reason no setting may be called so.

use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::TimeDelta;
use clap::Args;
use flowaudit_analyze::finding::Severity;
use flowaudit_ingest::decode::text::Layout;
use flowaudit_lake::Lake;
use flowaudit_rules::evaluate::Engine;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use crate::failure::{Failure, Mistake, tell};
use crate::output::Format;
use crate::when::Span;

/// Where the lake is unless another place is named.
pub(crate) const LAKE: &str = "flowaudit-lake";
/// The settings file that is read if it is there.
pub(crate) const FILE: &str = "flowaudit.yaml";
/// A longer settings file is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    /// The lake: a directory [default: flowaudit-lake]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
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
}

/// The cluster: `cluster:` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[group(skip)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Cluster {
    /// Name of the cluster the inventory is from [default: default]
    #[arg(
        long = "cluster",
        value_name = "NAME",
        env = "FLOWAUDIT_CLUSTER",
        hide_env_values = true
    )]
    pub name: Option<String>,
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
    /// How far clocks may be apart [default: 3s]
    #[arg(
        long = "skew",
        value_name = "SPAN",
        env = "FLOWAUDIT_SKEW",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "text")]
    pub skew: Option<Span>,
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

/// The settings file as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    lake: Option<String>,
    #[serde(deserialize_with = "text")]
    output: Option<Format>,
    #[serde(deserialize_with = "text")]
    fail_on: Option<FailOn>,
    cluster: Cluster,
    ingest: Ingest,
    analyze: Analyze,
}

/// What was typed, from all places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Typed {
    everywhere: Everywhere,
    cluster: Cluster,
    ingest: Ingest,
    analyze: Analyze,
    fail: Fail,
    file: File,
}

impl Typed {
    /// What every command was given, and the settings file.
    pub(crate) fn new(everywhere: &Everywhere) -> Result<Self, Failure> {
        let file = match &everywhere.config {
            Some(path) => read(path)?,
            None if Path::new(FILE).exists() => read(Path::new(FILE))?,
            None => File::default(),
        };
        Ok(Typed {
            everywhere: everywhere.clone(),
            file,
            ..Typed::default()
        })
    }

    /// With what a command was told about the cluster.
    pub(crate) fn cluster(mut self, cluster: &Cluster) -> Self {
        self.cluster = cluster.clone();
        self
    }

    /// With what a command was told about reading.
    pub(crate) fn ingest(mut self, ingest: &Ingest) -> Self {
        self.ingest = ingest.clone();
        self
    }

    /// With what a command was told about analysing.
    pub(crate) fn analyze(mut self, analyze: &Analyze) -> Self {
        self.analyze = analyze.clone();
        self
    }

    /// With what a command was told about failing.
    pub(crate) fn fail(mut self, fail: &Fail) -> Self {
        self.fail = fail.clone();
        self
    }

    /// What is meant.
    pub(crate) fn check(self) -> Result<Settings, Failure> {
        let Typed {
            everywhere,
            cluster,
            ingest: reading,
            analyze: analysing,
            fail,
            file,
        } = self;
        let mut ingest = flowaudit_ingest::Settings::default();
        if let Some(names) = reading.fields.or(file.ingest.fields) {
            let layout = Layout::from_names(&names);
            ingest.fields = Some(layout.ok_or_else(|| {
                let mistake = Mistake(format!("`{names}` does not name three fields of a flow log"));
                let help = "write names as in `srcaddr dstaddr srcport dstport protocol start end action`, `-` for a value to pass over";
                Failure::usage(mistake, Some(help.to_owned()))
            })?);
        }
        if let Some(size) = reading.record_size_max.or(file.ingest.record_size_max) {
            ingest.record_bytes_max = size.at_least("record-size-max", 1 << 10)?;
        }
        let mut analyze = flowaudit_analyze::Settings::default();
        if let Some(engine) = cluster.engine.or(file.cluster.engine) {
            analyze.engine = engine;
        }
        if let Some(ranges) = cluster.ranges.or(file.cluster.ranges) {
            analyze.cluster_ranges = ranges;
        }
        let theirs = file.analyze;
        if let Some(span) = analysing.skew.or(theirs.skew) {
            analyze.skew_us = span.us();
        }
        if let Some(span) = analysing.enforcement_grace.or(theirs.enforcement_grace) {
            analyze.enforcement_grace_us = span.us();
        }
        if let Some(span) = analysing.opened_lookback.or(theirs.opened_lookback) {
            analyze.opened_lookback_us = span.us();
        }
        if let Some(size) = analysing.tuple_memory.or(theirs.tuple_memory) {
            analyze.tuple_memory_bytes = size.at_least("tuple-memory", 16 << 20)?;
        }
        if let Some(threads) = analysing.threads.or(theirs.threads) {
            analyze.threads = within("threads", threads, 1, 1024)?;
        }
        let addresses = analysing.external_addresses_max;
        if let Some(addresses) = addresses.or(theirs.external_addresses_max) {
            analyze.external_addresses_max =
                within("external-addresses-max", addresses, 1, 1 << 20)?;
        }
        let lake = everywhere
            .lake
            .or(file.lake)
            .unwrap_or_else(|| LAKE.to_owned());
        Ok(Settings {
            lake: place(&lake)?,
            output: everywhere.output.or(file.output).unwrap_or_default(),
            quiet: everywhere.quiet,
            fail_on: fail.fail_on.or(file.fail_on).unwrap_or_default(),
            cluster: cluster
                .name
                .or(file.cluster.name)
                .unwrap_or_else(|| "default".to_owned()),
            ingest,
            analyze,
        })
    }
}

/// Settings that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The lake.
    pub lake: PathBuf,
    /// How results are printed.
    pub output: Format,
    /// Whether standard error is for errors and warnings only.
    pub quiet: bool,
    /// When findings make the exit code 1.
    pub fail_on: FailOn,
    /// The cluster the inventory is from.
    pub cluster: String,
    /// How files are read.
    pub ingest: flowaudit_ingest::Settings,
    /// How hours are analysed.
    pub analyze: flowaudit_analyze::Settings,
}

impl Settings {
    /// Opens the lake, which must be there.
    pub(crate) fn open_lake(&self) -> Result<Lake, Failure> {
        Ok(Lake::open(&self.lake)?)
    }

    /// Opens the lake, or makes it.
    pub(crate) fn create_or_open_lake(&self) -> Result<Lake, Failure> {
        Ok(Lake::create_or_open(&self.lake)?)
    }

    /// A closing word on standard error, unless none is wanted.
    pub(crate) fn tell(&self, text: impl Display) {
        if !self.quiet {
            tell(text);
        }
    }

    /// Every setting with its key and value, in the order of the file.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let (ingest, analyze) = (&self.ingest, &self.analyze);
        let seconds = |us: i64| Span(TimeDelta::microseconds(us)).to_string();
        let ranges: Vec<String> = analyze
            .cluster_ranges
            .iter()
            .map(IpNet::to_string)
            .collect();
        vec![
            ("lake", self.lake.display().to_string()),
            ("output", format!("{:?}", self.output).to_lowercase()),
            ("fail-on", self.fail_on.to_string()),
            ("cluster.name", self.cluster.clone()),
            ("cluster.engine", analyze.engine.to_string()),
            ("cluster.ranges", ranges.join(",")),
            (
                "ingest.fields",
                ingest
                    .fields
                    .as_ref()
                    .map(Layout::names)
                    .unwrap_or_default(),
            ),
            (
                "ingest.record-size-max",
                Size(ingest.record_bytes_max as u64).to_string(),
            ),
            ("analyze.skew", seconds(analyze.skew_us)),
            (
                "analyze.enforcement-grace",
                seconds(analyze.enforcement_grace_us),
            ),
            (
                "analyze.opened-lookback",
                seconds(analyze.opened_lookback_us),
            ),
            (
                "analyze.tuple-memory",
                Size(analyze.tuple_memory_bytes as u64).to_string(),
            ),
            ("analyze.threads", analyze.threads.to_string()),
            (
                "analyze.external-addresses-max",
                analyze.external_addresses_max.to_string(),
            ),
        ]
    }
}

/// The severity from which on findings make the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FailOn {
    /// Findings are no failure.
    #[default]
    Never,
    /// This severity or a graver one.
    Severity(Severity),
}

impl FailOn {
    /// Whether a finding of that severity counts.
    pub(crate) fn is_reached_by(self, severity: &str) -> bool {
        match (self, Severity::from_word(severity)) {
            (FailOn::Severity(least), Some(severity)) => severity >= least,
            _ => false,
        }
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, Severity::from_word(text)) {
            ("never", _) => Ok(FailOn::Never),
            (_, Some(severity)) => Ok(FailOn::Severity(severity)),
            _ => Err(format!(
                "`{text}` is not a severity: write low, medium, high, critical or never"
            )),
        }
    }
}

impl Display for FailOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FailOn::Never => "never",
            FailOn::Severity(severity) => severity.as_str(),
        })
    }
}

/// A number of bytes: `512KiB`, `64MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Size {
    fn at_least(self, key: &str, least: usize) -> Result<usize, Failure> {
        let bytes = usize::try_from(self.0).unwrap_or(usize::MAX);
        within(key, bytes, least, usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sized = UNITS.iter().find_map(|(unit, bytes)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(*bytes)
        });
        sized.map(Size).ok_or_else(|| {
            format!("`{text}` is not a size: write a number and B, KiB, MiB or GiB, as in `64MiB`")
        })
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, bytes)| self.0.is_multiple_of(*bytes));
        let (unit, bytes) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

fn within(key: &str, value: usize, least: usize, most: usize) -> Result<usize, Failure> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let help = match most {
        usize::MAX => format!("the least is {least}"),
        _ => format!("write a number from {least} to {most}"),
    };
    Err(Failure::usage(
        Mistake(format!("setting `{key}` cannot be {value}")),
        Some(help),
    ))
}

fn place(lake: &str) -> Result<PathBuf, Failure> {
    if lake.contains("://") {
        let mistake = Mistake(format!("a lake at `{lake}` is not supported yet"));
        return Err(Failure::usage(
            mistake,
            Some("name a directory; object storage comes later".to_owned()),
        ));
    }
    Ok(PathBuf::from(lake))
}

fn read(path: &Path) -> Result<File, Failure> {
    let failed = |source| {
        let name = path.display();
        let error =
            anyhow::Error::new(source).context(format!("cannot read settings file `{name}`"));
        let help = "check `--config`; without it, `flowaudit.yaml` is read if it is there";
        Failure::usage(error, Some(help.to_owned()))
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    parse(&path.display().to_string(), &text)
}

fn parse(file: &str, text: &str) -> Result<File, Failure> {
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let message = error.to_string().replace('\n', " ");
        // The place comes first in our messages, and what the reader of this one could set is not there to set.
        let message = message.split(" at line ").next().unwrap_or_default();
        let message = match message.strip_prefix("duplicate mapping key: ") {
            Some(rest) => {
                let key = rest.split(',').next().unwrap_or_default();
                format!("the key `{key}` is there twice")
            }
            None => message.to_owned(),
        };
        let help = "`flowaudit config show` lists every key with its value; `flowaudit config check` tries a file";
        Failure::usage(
            Mistake(format!("{file}:{line}: {message}")),
            Some(help.to_owned()),
        )
    })
}

/// The engine's error carries its help apart; on the command line both belong together.
fn engine(word: &str) -> Result<Engine, String> {
    word.parse().map_err(|_| {
        format!("`{word}` is not an enforcement engine: write felix, cilium, none or unknown")
    })
}

/// A value that is written as text, checked where it stands, so that the message has its line.
fn text<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Settings, Failure> {
        let file = parse("flowaudit.yaml", text)?;
        Typed {
            file,
            ..Typed::default()
        }
        .check()
    }

    #[test]
    fn a_file_sets_what_it_names_and_leaves_the_rest() {
        let settings = checked(
            "lake: /data/lake\nfail-on: high\ncluster: {engine: felix, ranges: [10.0.0.0/8]}\nanalyze:\n  threads: 1\n  skew: 5s\n  tuple-memory: 64MiB\n",
        )
        .unwrap();
        assert_eq!(settings.lake, Path::new("/data/lake"));
        assert_eq!(settings.analyze.engine, Engine::Felix);
        assert_eq!(settings.analyze.skew_us, 5_000_000);
        assert_eq!(settings.analyze.tuple_memory_bytes, 64 << 20);
        assert_eq!(settings.analyze.cluster_ranges.len(), 1);
        assert_eq!(settings.cluster, "default");
        assert!(settings.fail_on.is_reached_by("critical"));
        assert!(!settings.fail_on.is_reached_by("medium"));
    }

    #[test]
    fn flags_go_before_the_file() {
        let file = parse("flowaudit.yaml", "lake: a\ncluster: {engine: felix}").unwrap();
        let everywhere = Everywhere {
            lake: Some("b".to_owned()),
            ..Everywhere::default()
        };
        let cluster = Cluster {
            engine: Some(Engine::Cilium),
            ..Cluster::default()
        };
        let typed = Typed {
            everywhere,
            cluster,
            file,
            ..Typed::default()
        };
        let settings = typed.check().unwrap();
        assert_eq!(settings.lake, Path::new("b"));
        assert_eq!(settings.analyze.engine, Engine::Cilium);
    }

    #[test]
    fn every_shown_setting_is_a_key_of_the_file() {
        let mut typed = Typed::default();
        typed.file.ingest.fields = Some("srcaddr dstaddr action".to_owned());
        typed.file.cluster.ranges = Some(vec!["10.0.0.0/8".parse().unwrap()]);
        let rows = typed.check().unwrap().rows();
        let mut text = String::new();
        let mut section = "";
        for (key, value) in &rows {
            match key.split_once('.') {
                None => text += &format!("{key}: {value}\n"),
                Some((of, key)) => {
                    if of != section {
                        text += &format!("{of}:\n");
                        section = of;
                    }
                    let value = if key == "ranges" {
                        format!("[{value}]")
                    } else {
                        value.clone()
                    };
                    text += &format!("  {key}: {value}\n");
                }
            }
        }
        let again = checked(&text).unwrap_or_else(|failure| panic!("{failure:?}\n{text}"));
        assert_eq!(again.rows(), rows);
    }

    #[test]
    fn sizes_are_whole_units() {
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!(Size(1536 << 10).to_string(), "1536KiB");
        for wrong in [
            "",
            "64",
            "MiB",
            "-1MiB",
            "1.5GiB",
            "99999999999999999GiB",
            "64MB",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
