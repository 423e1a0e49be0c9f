//! `findings`: what was found, why, and what to do.

use chrono::Utc;
use clap::{Args, Subcommand};
use flowaudit_analyze::finding::{Detection, Severity};
use flowaudit_lake::table::findings::FindingRow;
use flowaudit_lake::{Lake, read};

use crate::exit::Exit;
use crate::failure::{Failure, Mistake};
use crate::findings_view::{self, Finding};
use crate::output::{self, Format, counted};
use crate::settings::{self, Everywhere, Typed};
use crate::when::Window;

/// What was found, why, and what to do.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  flowaudit findings list --since 7d
  flowaudit findings list --severity high --fail-on critical -o ndjson
  flowaudit findings show 3fa85f64")]
pub(crate) enum Findings {
    /// Lists findings, gravest first
    List(List),
    /// Explains one finding and prints what would end it
    Show(Show),
}

/// Lists findings, gravest first.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only findings of this severity or a graver one: low, medium, high or critical
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    severity: Option<Severity>,
    /// Only findings of this detection, as in `policy-not-enforced`
    #[arg(long, value_name = "ID", value_parser = detection)]
    detection: Option<Detection>,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    fail: settings::Fail,
}

/// Explains one finding.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The id, or its beginning
    id: String,
}

impl Findings {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        match self {
            Findings::List(command) => command.run(everywhere),
            Findings::Show(command) => command.run(everywhere),
        }
    }
}

impl List {
    fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.fail(&self.fail).check()?;
        let (since, until) = self.window.us(Utc::now())?;
        let is_wanted = |row: &FindingRow| {
            since.is_none_or(|since| row.last_seen_us >= since)
                && until.is_none_or(|until| row.first_seen_us < until)
                && self
                    .severity
                    .is_none_or(|least| Severity::from_word(&row.severity) >= Some(least))
                && self
                    .detection
                    .is_none_or(|detection| row.detection == detection.as_str())
        };
        let mut rows = all(&settings.open_lake()?)?;
        rows.retain(is_wanted);
        let rows = findings_view::over_days(rows);
        match settings.output {
            Format::Table if rows.is_empty() => {}
            Format::Table => output::print(&findings_view::list(&rows))?,
            format => {
                let items: Vec<Finding<'_>> = rows.iter().map(Finding::from).collect();
                output::json(format, &items)?;
            }
        }
        settings.tell(counted(rows.len() as u64, "finding", "findings"));
        let reached = rows
            .iter()
            .any(|row| row.status == "open" && settings.fail_on.is_reached_by(&row.severity));
        Ok(match reached {
            true => Exit::Findings,
            false => Exit::Clean,
        })
    }
}

impl Show {
    fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.check()?;
        let mut rows = findings_view::over_days(all(&settings.open_lake()?)?);
        rows.retain(|row| row.fingerprint.starts_with(&self.id));
        let help = Some("`flowaudit findings list` names them".to_owned());
        match rows.as_slice() {
            [] => Err(Failure::usage(
                Mistake(format!("there is no finding `{}`", self.id)),
                help,
            )),
            [row] => {
                output::one(settings.output, &Finding::from(row), || {
                    findings_view::text(row)
                })?;
                Ok(Exit::Clean)
            }
            several => {
                let mistake = format!("{} findings begin with `{}`", several.len(), self.id);
                Err(Failure::usage(Mistake(mistake), help))
            }
        }
    }
}

fn all(lake: &Lake) -> Result<Vec<FindingRow>, Failure> {
    Ok(read::rows::<FindingRow>(lake, &lake.snapshot()?)?)
}

fn severity(word: &str) -> Result<Severity, String> {
    Severity::from_word(word)
        .ok_or_else(|| format!("`{word}` is not a severity: write low, medium, high or critical"))
}

fn detection(id: &str) -> Result<Detection, String> {
    let known = Detection::ALL
        .into_iter()
        .find(|detection| detection.as_str() == id);
    known.ok_or_else(|| {
        let ids = Detection::ALL.map(Detection::as_str);
        format!("`{id}` is not a detection: there are {}", ids.join(", "))
    })
}
