//! `inventory diff`: what came, went and changed between two instants.

use chrono::Utc;
use clap::Args;
use flowaudit_ingest::inventory::diff::diff;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, Mistake};
use crate::output::{self, Format};
use crate::settings::{Everywhere, Typed};
use crate::when::When;

/// Tells what came, went and changed between two instants: holders of addresses and declared objects.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit inventory diff 2026-11-23T08:00:00Z 2026-11-23T09:00:00Z
  flowaudit inventory diff 2h 1h --kind NetworkPolicy -o json")]
pub(crate) struct Diff {
    /// The first instant: RFC 3339, or how long ago
    #[arg(value_name = "TIME")]
    from: When,
    /// The second instant
    #[arg(value_name = "TIME")]
    to: When,
    /// Only this kind, such as pod or NetworkPolicy
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only this namespace
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

#[derive(Serialize)]
struct Row {
    became: &'static str,
    of: &'static str,
    cluster: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    /// Address of a holder, API group of an object.
    at: String,
    changed: Vec<&'static str>,
    surely: bool,
}

impl Diff {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let now = Utc::now();
        let (from, to) = (self.from.seen_from(now), self.to.seen_from(now));
        if from > to {
            let mistake = Mistake("the first instant is later than the second".to_owned());
            let help = "write the earlier one first".to_owned();
            return Err(Failure::usage(mistake, Some(help)));
        }
        let rows: Vec<Row> = diff(&settings.open_lake()?, from, to)?
            .into_iter()
            .filter(|one| self.kind.as_ref().is_none_or(|kind| *kind == one.kind))
            .filter(|one| self.namespace.is_none() || self.namespace == one.namespace)
            .map(|one| Row {
                became: one.became.as_str(),
                of: one.of,
                cluster: one.cluster,
                kind: one.kind,
                namespace: one.namespace,
                name: one.name,
                at: one.at,
                changed: one.what,
                surely: one.surely,
            })
            .collect();
        if rows.is_empty() {
            settings.tell("nothing is known to have changed");
            if settings.output == Format::Table {
                return Ok(Exit::Clean);
            }
        }
        let headers = ["", "kind", "name", "at", "changed", "sure"];
        output::list(settings.output, &rows, &headers, |row| {
            vec![
                row.became.to_owned(),
                row.kind.clone(),
                match &row.namespace {
                    Some(namespace) => format!("{namespace}/{}", row.name),
                    None => row.name.clone(),
                },
                row.at.clone(),
                row.changed.join(", "),
                if row.surely { "yes" } else { "no" }.to_owned(),
            ]
        })?;
        Ok(Exit::Clean)
    }
}
