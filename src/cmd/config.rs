//! `config`: are the settings usable, and what are they?

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::settings::{self, Everywhere, Settings, Typed};

/// Checks and shows the settings.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  flowaudit config check --config flowaudit.yaml
  FLOWAUDIT_ENGINE=felix flowaudit config show")]
pub(crate) enum Config {
    /// Says whether the settings can be used; reads and writes nothing else
    Check(All),
    /// Prints every setting with its value and where that comes from
    Show(All),
}

/// Every setting there is.
#[derive(Debug, Args)]
pub(crate) struct All {
    #[command(flatten)]
    cluster: settings::Cluster,
    #[command(flatten)]
    ingest: settings::Ingest,
    #[command(flatten)]
    analyze: settings::Analyze,
    #[command(flatten)]
    fail: settings::Fail,
    #[command(flatten)]
    watch: settings::Watch,
}

impl All {
    fn check(&self, everywhere: &Everywhere) -> Result<Settings, Failure> {
        Typed::new(everywhere)?
            .cluster(&self.cluster)
            .ingest(&self.ingest)
            .analyze(&self.analyze)
            .fail(&self.fail)
            .watch(&self.watch)
            .check()
    }
}

impl Config {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        match self {
            Config::Check(all) => {
                let settings = all.check(everywhere)?;
                settings.tell("the settings can be used");
            }
            Config::Show(all) => {
                let settings = all.check(everywhere)?;
                let rows = settings.rows();
                let values = rows.iter().map(|(key, value)| {
                    let value = json!({"value": value, "from": settings.origins.of(key)});
                    ((*key).to_owned(), value)
                });
                let sources: Vec<(String, String)> = settings
                    .sources
                    .iter()
                    .map(|(name, source)| (format!("sources.{name}"), source.to_string()))
                    .collect();
                let values =
                    values.chain(sources.iter().map(|(key, value)| {
                        (key.clone(), json!({"value": value, "from": "file"}))
                    }));
                let object: Map<String, Value> = values.collect();
                output::one(settings.output, &object, || {
                    let cells = rows.iter().map(|(key, value)| {
                        let from = settings.origins.of(key).to_owned();
                        vec![(*key).to_owned(), value.clone(), from]
                    });
                    let cells =
                        cells.chain(sources.iter().map(|(key, value)| {
                            vec![key.clone(), value.clone(), "file".to_owned()]
                        }));
                    output::table(&["setting", "value", "from"], cells)
                })?;
            }
        }
        Ok(Exit::Clean)
    }
}
