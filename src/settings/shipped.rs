//! A bucket that a shipping job of the log service writes to, as a source.

use chrono::{DateTime, Utc};
use flowaudit_ingest::decode::Format;
use flowaudit_ingest::decode::compressed::Compression;
use flowaudit_ingest::decode::csv::CsvDecoder;
use flowaudit_ingest::decode::snappy::Framing;
use flowaudit_ingest::decode::text::Layout;
use flowaudit_ingest::oss::{Form, LayoutError, PathFormat, PullSettings};
use flowaudit_lake::cloud::LocationError;
use flowaudit_lake::cloud::credentials::{Chain, Surroundings};
use flowaudit_lake::cloud::oss::{Address, Oss, Retries};
use serde::Deserialize;

use super::keys::text;
use super::size::Size;
use super::sources::{Start, enough};
use crate::failure::{Failure, Mistake};
use crate::when::Span;

/// Objects fetched at a time: more do not help, and hold memory.
const PARALLEL_MAX: usize = 64;

/// A bucket that a shipping job writes to. The words are those of the shipping job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Shipped {
    /// Bucket.
    pub bucket: String,
    /// What the keys begin with.
    #[serde(default)]
    pub prefix: String,
    /// Region of the bucket, where the endpoint does not tell.
    pub region: Option<String>,
    /// Endpoint, without the bucket.
    pub endpoint: Option<String>,
    /// Whether http will do.
    #[serde(default)]
    pub insecure: bool,
    /// How keys go on after the prefix.
    pub path_format: Option<String>,
    /// The zone in which the path format is rendered.
    pub time_zone: Option<String>,
    /// How the objects are written.
    #[serde(default)]
    pub format: Written,
    /// Of CSV without a header: its columns, in order.
    pub columns: Option<Vec<String>>,
    /// Of CSV without a header: what stands between values.
    #[serde(default)]
    pub delimiter: Delimiter,
    /// How the objects are packed.
    #[serde(default)]
    pub compression: Packed,
    /// Where a prefix begins that was never read: `begin`, `end`, a time, or how long ago.
    #[serde(default, deserialize_with = "text")]
    pub start: Option<Start>,
    /// For so long objects of an earlier time may still appear.
    #[serde(default, deserialize_with = "text")]
    pub look_back: Option<Span>,
    /// Keys that are given up.
    #[serde(default)]
    pub skip: Vec<String>,
    /// What reading may hold in memory.
    #[serde(default, deserialize_with = "text")]
    pub memory: Option<Size>,
    /// Objects fetched at a time.
    pub parallel: Option<usize>,
    /// A batch is published after this long, however small it is.
    #[serde(default, deserialize_with = "text")]
    pub batch_interval: Option<Span>,
    /// The bucket is listed this often.
    #[serde(default, deserialize_with = "text")]
    pub list_interval: Option<Span>,
}

/// How objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Written {
    #[default]
    Auto,
    Json,
    Csv,
    Parquet,
    Orc,
}

/// How objects are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Packed {
    #[default]
    Auto,
    None,
    Snappy,
    Gzip,
    Zstd,
}

/// What stands between values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum Delimiter {
    #[default]
    #[serde(rename = ",")]
    Comma,
    #[serde(rename = "|")]
    Bar,
    #[serde(rename = "space")]
    Space,
    #[serde(rename = "tab")]
    Tab,
}

impl Shipped {
    /// The bucket. Nobody is asked yet.
    pub(crate) fn bucket(&self) -> Result<Oss, Failure> {
        if self.bucket.contains("://") || self.bucket.contains('/') {
            let mistake = format!("`{}` is no bucket", self.bucket);
            let help = "name it without `oss://`; what comes after it is `prefix`".to_owned();
            return Err(Failure::usage(Mistake(mistake), Some(help)));
        }
        let from_region = self
            .region
            .as_ref()
            .map(|region| format!("oss-{region}.aliyuncs.com"));
        let Some(endpoint) = self.endpoint.clone().or(from_region) else {
            let mistake = format!(
                "neither region nor endpoint of bucket `{}` is set",
                self.bucket
            );
            let help = "a bucket is known in its own region only: set `region`, or `endpoint` where it is not the usual one".to_owned();
            return Err(Failure::usage(Mistake(mistake), Some(help)));
        };
        let surroundings = Surroundings::of_process();
        let clock = surroundings.clock.clone();
        let address = Address::new(&self.bucket, &endpoint, None, self.region.as_deref());
        let address = address.map_err(LocationError::from)?;
        let oss = Oss::new(address, Chain::new(surroundings), clock, Retries::default());
        Ok(oss.map_err(LocationError::from)?)
    }

    /// Whether it may be read as the endpoint says: http only if that was said to do.
    pub(crate) fn check_secure(&self, insecure: bool) -> Result<(), Failure> {
        let endpoint = self.endpoint.as_deref().unwrap_or_default().trim();
        let scheme = endpoint.get(..7).unwrap_or_default();
        if insecure || self.insecure || !scheme.eq_ignore_ascii_case("http://") {
            return Ok(());
        }
        let mistake = format!(
            "endpoint `{endpoint}` is http: records and security tokens would travel unencrypted"
        );
        let help = "use https, or `--insecure` on a network of your own";
        Err(Failure::usage(Mistake(mistake), Some(help.to_owned())))
    }

    /// How it is read.
    pub(crate) fn pull(
        &self,
        follow: bool,
        until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<PullSettings, Failure> {
        let path_format = self.path_format.as_deref().unwrap_or(PathFormat::DEFAULT);
        let zone = self.time_zone.as_deref().unwrap_or("+0800");
        let path_format = PathFormat::new(path_format, zone).map_err(|error: LayoutError| {
            let help = error.help();
            Failure::usage(error, help)
        })?;
        let prefix = match self.prefix.as_str() {
            "" => String::new(),
            prefix if prefix.ends_with('/') => prefix.to_owned(),
            prefix => format!("{prefix}/"),
        };
        let mut settings = PullSettings {
            follow,
            until,
            form: self.form()?,
            packing: match self.compression {
                Packed::Auto => None,
                Packed::None => Some(Compression::None),
                Packed::Snappy => Some(Compression::Snappy(Framing::Hadoop)),
                Packed::Gzip => Some(Compression::Gzip),
                Packed::Zstd => Some(Compression::Zstd),
            },
            start: match self.start {
                None | Some(Start::Begin) => flowaudit_ingest::oss::Start::Begin,
                Some(Start::End) => flowaudit_ingest::oss::Start::End,
                Some(Start::At(when)) => flowaudit_ingest::oss::Start::At(when.seen_from(now)),
            },
            skip: self.skip.iter().cloned().collect(),
            signals: true,
            ..PullSettings::new(&prefix, path_format)
        };
        if let Some(span) = self.look_back {
            settings.look_back = span.0;
        }
        if let Some(size) = self.memory {
            settings.memory_bytes = enough(size)?;
        }
        if let Some(parallel) = self.parallel {
            settings.parallel = super::within("parallel", parallel, 1, PARALLEL_MAX)?;
        }
        if let Some(span) = self.batch_interval {
            settings.batch_pause = span.0.to_std().unwrap_or(settings.batch_pause);
        }
        if let Some(span) = self.list_interval {
            settings.list_pause = span.0.to_std().unwrap_or(settings.list_pause);
        }
        Ok(settings)
    }

    fn form(&self) -> Result<Form, Failure> {
        let refuse = |mistake: String, help: &str| {
            Err(Failure::usage(Mistake(mistake), Some(help.to_owned())))
        };
        let columns = match (&self.columns, self.format) {
            (Some(columns), Written::Auto | Written::Csv) => columns,
            (Some(_), _) => {
                return refuse(
                    "`columns` are of CSV only".to_owned(),
                    "leave them out, or set `format: csv`",
                );
            }
            (None, Written::Orc) => {
                return refuse(
                    "ORC is not read".to_owned(),
                    "set the storage format (`contentType`) of the shipping job to parquet, json or csv",
                );
            }
            (None, Written::Json) => return Ok(Form::Lines(Format::JsonLines)),
            (None, Written::Parquet) => return Ok(Form::Parquet),
            // A header tells the rest.
            (None, Written::Auto | Written::Csv) => return Ok(Form::Recognised),
        };
        if self.delimiter == Delimiter::Space {
            let layout = Layout::from_names(&columns.join(" "));
            return match layout {
                Some(layout) => Ok(Form::Lines(Format::Text { layout })),
                None => refuse(
                    "`columns` do not name three fields of a flow log".to_owned(),
                    "name all columns of the shipping job in their order",
                ),
            };
        }
        let delimiter = match self.delimiter {
            Delimiter::Bar => "|",
            Delimiter::Tab => "\t",
            _ => ",",
        };
        let header = columns.join(delimiter);
        match CsvDecoder::new(header.as_bytes()) {
            Ok(decoder) if decoder.columns() == columns.len() => {
                Ok(Form::Lines(Format::Csv { header }))
            }
            Ok(_) => refuse(
                "a name of `columns` holds the delimiter".to_owned(),
                "write one name per entry of the list",
            ),
            Err(error) => refuse(
                format!("`columns` cannot be used: {error}"),
                "name all columns of the shipping job in their order",
            ),
        }
    }
}
