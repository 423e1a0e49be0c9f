//! Settings, in two steps: what was typed (flags, `FLOWAUDIT_*`, file), then what is meant.
//!
//! Each setting is said once, in [`keys`]. Flags go before variables, these before the file, this before the default. A
//! key that is unknown is refused with its line; so mistakes surface before the first byte is read.
//!
//! Variables that are not settings are left alone: Kubernetes gives a pod beside a Service called `flowaudit` variables
//! like `FLOWAUDIT_PORT`. For that reason no setting may be called so.

mod cidr_sets;
mod cloud;
mod fail_on;
mod file;
mod heeds;
mod keys;
mod place;
mod shipped;
mod size;
mod sources;
mod watch;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};
use flowaudit_ingest::decode::text::Layout;
use flowaudit_lake::Lake;
use flowaudit_lake::cloud::Access;
use ipnet::IpNet;

pub(crate) use self::cloud::Cloud;
pub(crate) use self::fail_on::FailOn;
use self::file::File;
pub(crate) use self::heeds::{Asked, Enforced, Heeds, Identified, Placed, Ranges, Whose};
pub(crate) use self::keys::{Analyze, Cluster, Everywhere, Fail, Ingest};
pub(crate) use self::place::Place;
pub(crate) use self::shipped::Shipped;
use self::size::Size;
pub(crate) use self::sources::{Sls, Source, Sources};
pub(crate) use self::watch::{Watch, Watching};
use crate::failure::{Failure, Mistake, tell};
use crate::output::Format;
use crate::when::Span;

/// Where the lake is unless another place is named.
pub(crate) const LAKE: &str = "flowaudit-lake";

/// What was typed, from all places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Typed {
    everywhere: Everywhere,
    cluster: Cluster,
    ingest: Ingest,
    analyze: Analyze,
    fail: Fail,
    watch: Watch,
    formats: Option<&'static [Format]>,
    file: File,
}

impl Typed {
    /// What every command was given, and the settings file.
    pub(crate) fn new(everywhere: &Everywhere) -> Result<Self, Failure> {
        let file = match &everywhere.config {
            Some(path) => file::read(path)?,
            None if Path::new(file::NAME).exists() => file::read(Path::new(file::NAME))?,
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

    /// With what a command was told about watching.
    pub(crate) fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// With the formats in which a command prints, if not the common ones.
    pub(crate) fn formats(mut self, formats: &'static [Format]) -> Self {
        self.formats = Some(formats);
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
            watch,
            formats,
            file,
        } = self;
        let mut origins = Origins::default();
        let mut ingest = flowaudit_ingest::Settings::default();
        let theirs = file.ingest;
        if let Some(names) = origins.pick("ingest.fields", reading.fields, theirs.fields) {
            let layout = Layout::from_names(&names);
            ingest.fields = Some(layout.ok_or_else(|| {
                let mistake = Mistake(format!("`{names}` does not name three fields of a flow log"));
                let help = "write names as in `srcaddr dstaddr srcport dstport protocol start end action`, `-` for a value to pass over";
                Failure::usage(mistake, Some(help.to_owned()))
            })?);
        }
        let size = (reading.record_size_max, theirs.record_size_max);
        if let Some(size) = origins.pick("ingest.record-size-max", size.0, size.1) {
            ingest.record_bytes_max = at_least("record-size-max", size, 1 << 10)?;
        }
        let mut analyze = flowaudit_analyze::Settings::default();
        let theirs = file.cluster;
        if let Some(engine) = origins.pick("cluster.engine", cluster.engine, theirs.engine) {
            analyze.engine = engine;
        }
        if let Some(ranges) = origins.pick("cluster.ranges", cluster.ranges, theirs.ranges) {
            analyze.cluster_ranges = ranges;
        }
        let name = origins.pick("cluster.name", cluster.name, theirs.name);
        let vpc = origins.pick("cluster.vpc", cluster.vpc, theirs.vpc);
        let theirs = file.analyze;
        if let Some(span) = origins.pick("analyze.skew", analysing.skew, theirs.skew) {
            analyze.skew_us = span.us();
        }
        let key = "analyze.cidr-sets";
        let named = origins.pick(key, analysing.cidr_sets, theirs.cidr_sets);
        if let Some(path) = &named {
            analyze.ranges = cidr_sets::read(path)?;
        }
        let grace = (analysing.enforcement_grace, theirs.enforcement_grace);
        if let Some(span) = origins.pick("analyze.enforcement-grace", grace.0, grace.1) {
            analyze.enforcement_grace_us = span.us();
        }
        let lookback = (analysing.opened_lookback, theirs.opened_lookback);
        if let Some(span) = origins.pick("analyze.opened-lookback", lookback.0, lookback.1) {
            analyze.opened_lookback_us = span.us();
        }
        let memory = (analysing.tuple_memory, theirs.tuple_memory);
        if let Some(size) = origins.pick("analyze.tuple-memory", memory.0, memory.1) {
            analyze.tuple_memory_bytes = at_least("tuple-memory", size, 16 << 20)?;
        }
        if let Some(threads) = origins.pick("analyze.threads", analysing.threads, theirs.threads) {
            analyze.threads = within("threads", threads, 1, 1024)?;
        }
        let key = "analyze.external-addresses-max";
        let addresses = (
            analysing.external_addresses_max,
            theirs.external_addresses_max,
        );
        if let Some(addresses) = origins.pick(key, addresses.0, addresses.1) {
            analyze.external_addresses_max =
                within("external-addresses-max", addresses, 1, 1 << 20)?;
        }
        let lake = origins.pick("lake", everywhere.lake, file.lake);
        let access = Access {
            endpoint: origins.pick("oss.endpoint", everywhere.oss.endpoint, file.oss.endpoint),
            region: origins.pick("oss.region", everywhere.oss.region, file.oss.region),
            style: None,
            s3: flowaudit_lake::cloud::s3::variables_of_process(),
        };
        let output = origins.pick("output", everywhere.output, file.output);
        let output = printable(
            output.unwrap_or_default(),
            formats.unwrap_or(Format::COMMON),
        )?;
        for (name, source) in &file.sources {
            source
                .check(Utc::now())
                .map_err(|failure| failure.within(name))?;
        }
        let region = file.cloud.region.clone();
        origins.pick("cloud.region", None, region);
        let theirs = file.watch;
        let kubeconfig = (watch.kubeconfig, theirs.kubeconfig);
        let namespace = (watch.lease_namespace, theirs.lease_namespace);
        let watch = Watch {
            kubeconfig: origins.pick("watch.kubeconfig", kubeconfig.0, kubeconfig.1),
            context: origins.pick("watch.context", watch.context, theirs.context),
            every: origins.pick("watch.every", watch.every, theirs.every),
            patience: origins.pick("watch.patience", watch.patience, theirs.patience),
            lease: origins.pick("watch.lease", watch.lease, theirs.lease),
            lease_namespace: origins.pick("watch.lease-namespace", namespace.0, namespace.1),
        };
        let fail_on = origins.pick("fail-on", fail.fail_on, file.fail_on);
        Ok(Settings {
            lake: Place::parse(lake.as_deref().unwrap_or(LAKE), access.clone())?,
            access,
            output,
            quiet: everywhere.quiet,
            fail_on: fail_on.unwrap_or_default(),
            cluster: name.unwrap_or_else(|| "default".to_owned()),
            vpc: vpc.filter(|vpc| !vpc.is_empty()),
            ingest,
            analyze,
            cidr_sets: named,
            cloud: file.cloud,
            sources: file.sources,
            watch: watch.check()?,
            origins,
        })
    }
}

/// Where the values come from, by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(BTreeMap<&'static str, &'static str>);

impl Origins {
    /// The value that goes first, if any was given.
    fn pick<T>(&mut self, key: &'static str, typed: Option<T>, file: Option<T>) -> Option<T> {
        let origin = match (&typed, &file) {
            (Some(_), _) => "flag or variable",
            (None, Some(_)) => "file",
            (None, None) => "default",
        };
        self.0.insert(key, origin);
        typed.or(file)
    }

    /// Where the value of `key` comes from.
    pub(crate) fn of(&self, key: &str) -> &'static str {
        self.0.get(key).copied().unwrap_or("default")
    }
}

/// Settings that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The lake.
    pub lake: Place,
    /// How to get to buckets.
    pub access: Access,
    /// How results are printed.
    pub output: Format,
    /// Whether standard error is for errors and warnings only.
    pub quiet: bool,
    /// When findings make the exit code 1.
    pub fail_on: FailOn,
    /// The cluster the inventory is from.
    pub cluster: String,
    /// The VPC in which its addresses are meant.
    pub vpc: Option<String>,
    /// How files are read.
    pub ingest: flowaudit_ingest::Settings,
    /// How hours are analysed.
    pub analyze: flowaudit_analyze::Settings,
    /// Where ranges outside the cluster are given names.
    pub cidr_sets: Option<PathBuf>,
    /// Where the control plane of the cloud is.
    pub cloud: Cloud,
    /// Where flow logs come from besides files.
    pub sources: Sources,
    /// How a cluster is watched.
    pub watch: Watching,
    /// Where the values come from.
    pub origins: Origins,
}

impl Settings {
    /// The cluster, if one was named.
    pub(crate) fn cluster_if_set(&self) -> Option<&str> {
        let is_set = self.origins.of("cluster.name") != "default";
        is_set.then_some(self.cluster.as_str())
    }

    /// Opens the lake, which must be there.
    pub(crate) fn open_lake(&self) -> Result<Lake, Failure> {
        self.lake.open()
    }

    /// Opens the lake, or makes it.
    pub(crate) fn create_or_open_lake(&self) -> Result<Lake, Failure> {
        self.lake.create_or_open()
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
        let mut rows = vec![
            ("lake", self.lake.to_string()),
            ("oss.region", self.access.region.clone().unwrap_or_default()),
            (
                "oss.endpoint",
                self.access.endpoint.clone().unwrap_or_default(),
            ),
            ("output", self.output.as_str().to_owned()),
            ("fail-on", self.fail_on.to_string()),
            ("cluster.name", self.cluster.clone()),
            ("cluster.vpc", self.vpc.clone().unwrap_or_default()),
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
                "analyze.cidr-sets",
                self.cidr_sets
                    .as_ref()
                    .map(|path| path.display().to_string())
                    .unwrap_or_default(),
            ),
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
            (
                "cloud.region",
                self.cloud.region.clone().unwrap_or_default(),
            ),
        ];
        rows.extend(self.watch.rows());
        rows
    }
}

fn at_least(key: &str, size: Size, least: usize) -> Result<usize, Failure> {
    let bytes = usize::try_from(size.0).unwrap_or(usize::MAX);
    within(key, bytes, least, usize::MAX)
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

/// The format, if it is one of these.
fn printable(format: Format, formats: &[Format]) -> Result<Format, Failure> {
    if formats.contains(&format) {
        return Ok(format);
    }
    let words: Vec<&str> = formats.iter().map(|format| format.as_str()).collect();
    let mistake = Mistake(format!("this command does not print `{}`", format.as_str()));
    let help = match words.as_slice() {
        [rest @ .., last] => format!("write {} or {last}", rest.join(", ")),
        [] => String::new(),
    };
    Err(Failure::usage(mistake, Some(help)))
}

#[cfg(test)]
mod tests {
    use flowaudit_rules::evaluate::Engine;

    use super::file::parse;
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
        assert_eq!(settings.lake.to_string(), "/data/lake");
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
        assert_eq!(settings.lake.to_string(), "b");
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
}
