//! `lake`: what is in it, and is it whole?

use clap::Subcommand;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::output;
use crate::settings::{Everywhere, Typed};
use crate::when::rfc3339;

/// Looks after the lake.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  flowaudit lake stats
  flowaudit lake verify --lake /data/lake -o ndjson")]
pub(crate) enum LakeCommand {
    /// Rows, files, bytes and times of each table
    Stats,
    /// Reads everything and holds it against the log; exit code 3 if something is damaged
    Verify,
}

#[derive(Serialize)]
struct TableRow {
    table: &'static str,
    rows: u64,
    files: u64,
    bytes: u64,
    partitions: u64,
    first: Option<String>,
    last: Option<String>,
}

#[derive(Serialize)]
struct ProblemRow {
    problem: String,
    help: Option<String>,
}

impl LakeCommand {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let lake = settings.open_lake()?;
        match self {
            LakeCommand::Stats => {
                let stats = lake.stats()?;
                let rows = stats.tables.iter().map(|(table, sums)| TableRow {
                    table: table.name(),
                    rows: sums.rows,
                    files: sums.files,
                    bytes: sums.bytes,
                    partitions: sums.partitions,
                    first: sums.min_us.map(rfc3339),
                    last: sums.max_us.map(rfc3339),
                });
                let rows: Vec<TableRow> = rows.collect();
                output::list(
                    settings.output,
                    &rows,
                    &[
                        "table",
                        "rows",
                        "files",
                        "size",
                        "partitions",
                        "first",
                        "last",
                    ],
                    |row| {
                        vec![
                            row.table.to_owned(),
                            output::count(row.rows),
                            output::count(row.files),
                            output::bytes(row.bytes),
                            output::count(row.partitions),
                            row.first.clone().unwrap_or_else(|| "-".to_owned()),
                            row.last.clone().unwrap_or_else(|| "-".to_owned()),
                        ]
                    },
                )?;
                settings.tell(format!(
                    "{} at `{}`",
                    output::counted(stats.commits, "commit", "commits"),
                    lake.name()
                ));
                Ok(Exit::Clean)
            }
            LakeCommand::Verify => {
                let problems = lake.verify()?;
                let rows = problems.iter().map(|problem| ProblemRow {
                    problem: problem.to_string(),
                    help: problem.help(),
                });
                let rows: Vec<ProblemRow> = rows.collect();
                if rows.is_empty() {
                    settings.tell(format!(
                        "everything in `{}` is as its log says",
                        lake.name()
                    ));
                    return Ok(Exit::Clean);
                }
                output::list(settings.output, &rows, &["problem", "help"], |row| {
                    vec![row.problem.clone(), row.help.clone().unwrap_or_default()]
                })?;
                say(
                    Word::Error,
                    format!(
                        "{} in `{}`",
                        output::counted(rows.len() as u64, "problem", "problems"),
                        lake.name()
                    ),
                );
                Ok(Exit::Failed)
            }
        }
    }
}
