//! `inventory who`: who held an address at a time.

use std::net::IpAddr;

use chrono::Utc;
use clap::Args;
use flowaudit_ingest::inventory::who;
use flowaudit_lake::Lake;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Everywhere, Typed};
use crate::when::{self, When, rfc3339};

/// Tells who held an address.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// The address
    addr: IpAddr,
    /// When: RFC 3339, or how long ago [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<When>,
}

#[derive(Serialize)]
struct Held {
    addr: String,
    certainty: &'static str,
    kind: String,
    cluster: String,
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
    workload_kind: Option<String>,
    workload: Option<String>,
    node: Option<String>,
    valid_from: String,
    valid_to: Option<String>,
}

impl Who {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let lake: Lake = settings.open_lake()?;
        let at = when::or_now(self.at, Utc::now());
        let held = who(&lake, self.addr, at)?.into_iter().map(|held| Held {
            addr: held.row.addr,
            certainty: if held.surely { "surely" } else { "possibly" },
            kind: held.row.kind,
            cluster: held.row.cluster,
            namespace: held.row.namespace,
            name: held.row.name,
            uid: held.row.uid,
            workload_kind: held.row.workload_kind,
            workload: held.row.workload,
            node: held.row.node,
            valid_from: rfc3339(held.row.valid_from_us),
            valid_to: held.row.valid_to_us.map(rfc3339),
        });
        let held: Vec<Held> = held.collect();
        if held.is_empty() {
            let at = rfc3339(at.timestamp_micros());
            settings.tell(format!(
                "nobody is known to have held {} at {at}",
                self.addr
            ));
            if settings.output == output::Format::Table {
                return Ok(Exit::Clean);
            }
        }
        let headers = ["held", "kind", "name", "workload", "node", "from", "to"];
        output::list(settings.output, &held, &headers, |row| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let workload = match (&row.workload_kind, &row.workload) {
                (Some(kind), Some(name)) => format!("{kind} {name}"),
                _ => "-".to_owned(),
            };
            let name = match &row.namespace {
                Some(namespace) => format!("{namespace}/{}", row.name),
                None => row.name.clone(),
            };
            vec![
                row.certainty.to_owned(),
                row.kind.clone(),
                name,
                workload,
                or_dash(&row.node),
                row.valid_from.clone(),
                or_dash(&row.valid_to),
            ]
        })?;
        Ok(Exit::Clean)
    }
}
