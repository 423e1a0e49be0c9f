//! `inventory history`: what is known of a pod, a node or an address over time.

use clap::Args;
use flowaudit_ingest::inventory::over_time::{Of, Past, Rests, past};
use serde::Serialize;

use super::who::with_slack;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::settings::{Everywhere, Typed};
use crate::when::rfc3339;

/// Tells what is known of a pod, a node or an address over time: who held what when, and what changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit inventory history shop/redis-0
  flowaudit inventory history 10.0.3.7
  flowaudit inventory history cn-hangzhou.10.0.3.5 -o json")]
pub(crate) struct History {
    /// namespace/pod, an address or a node
    #[arg(value_name = "POD|ADDR|NODE")]
    of: String,
}

#[derive(Serialize)]
struct Row {
    addr: String,
    vpc: Option<String>,
    kind: String,
    cluster: String,
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
    workload: Option<String>,
    node: Option<String>,
    labels: Option<serde_json::Value>,
    valid_from: String,
    valid_to: Option<String>,
    from_slack_ms: Option<i64>,
    to_slack_ms: Option<i64>,
    changed: Vec<&'static str>,
    evidence: String,
}

impl History {
    pub(super) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let past = past(&settings.open_lake()?, &Of::parse(&self.of))?;
        if past.is_empty() {
            settings.tell(format!("nothing is known of `{}`", self.of));
            if settings.output == Format::Table {
                return Ok(Exit::Clean);
            }
        }
        let rows: Vec<Row> = past.into_iter().map(row).collect();
        let headers = [
            "address", "kind", "name", "node", "from", "to", "changed", "evidence",
        ];
        output::list(settings.output, &rows, &headers, |row| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            vec![
                row.addr.clone(),
                row.kind.clone(),
                match &row.namespace {
                    Some(namespace) => format!("{namespace}/{}", row.name),
                    None => row.name.clone(),
                },
                or_dash(&row.node),
                with_slack(row.valid_from.clone(), row.from_slack_ms, '-'),
                with_slack(or_dash(&row.valid_to), row.to_slack_ms, '+'),
                row.changed.join(", "),
                row.evidence.clone(),
            ]
        })?;
        Ok(Exit::Clean)
    }
}

fn row(Past { row, changed }: Past) -> Row {
    Row {
        evidence: Rests::of(&row).words(),
        addr: row.addr,
        vpc: row.vpc_id,
        kind: row.kind,
        cluster: row.cluster,
        namespace: row.namespace,
        name: row.name,
        uid: row.uid,
        workload: row.workload,
        node: row.node,
        labels: row
            .labels
            .and_then(|labels| serde_json::from_str(&labels).ok()),
        valid_from: rfc3339(row.valid_from_us),
        valid_to: row.valid_to_us.map(rfc3339),
        from_slack_ms: row.from_slack_ms,
        to_slack_ms: row.to_slack_ms,
        changed,
    }
}
