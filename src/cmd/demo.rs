//! `demo`: the whole walk on sample logs, in a temporary lake.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::Args;
use flowaudit_analyze::Selection;
use flowaudit_ingest::Input;
use flowaudit_ingest::inventory::{ImportSettings, import};

use crate::cmd::{analyze, ingest, inventory};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::findings_view::{self, Finding};
use crate::output::{self, Format};
use crate::settings::{self, Everywhere, Typed};

/// The sample logs, their inventory and a word on both: `sample-logs/sets/small`, as it was built in.
static SET: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sample_set.rs"));

/// Shows the whole walk on sample logs.
///
/// A made-up cluster ran for two and a half hours. Its flow logs and the snapshots of its inventory, which are built
/// in, go into a lake, are analysed, and what was found is shown.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit demo
  flowaudit demo --keep /tmp/flowaudit-demo
  flowaudit demo --fail-on critical -o ndjson")]
pub(crate) struct Demo {
    /// Keep the lake and the sample logs in this folder, to try other commands on
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    #[command(flatten)]
    fail: settings::Fail,
}

impl Demo {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let mut settings = Typed::new(everywhere)?.fail(&self.fail).check()?;
        let temporary =
            tempfile::tempdir().map_err(|error| cannot_write("a temporary folder", error))?;
        let dir = self.keep.as_deref().unwrap_or(temporary.path());
        unpack(dir)?;
        settings.tell(format!(
            "sample logs of a made-up cluster, {} files",
            SET.len()
        ));
        settings.lake = dir.join("lake").as_path().into();
        let named = |folder: &str| [Input::from(dir.join(folder).as_path())];
        // Programs get the findings, people the walk to them.
        let show = |text: &str| match settings.output {
            Format::Table => output::print(text),
            _ => Ok(()),
        };
        let lake = settings.create_or_open_lake()?;

        let read = ingest::ingest(&lake, &named("flows"), &settings)?;
        show(&format!("== flow logs → lake\n{}\n", ingest::said(&read)))?;

        let imported = import(
            &lake,
            &named("inventory"),
            &ImportSettings::default(),
            Utc::now(),
        )?;
        inventory::told(&imported);
        show(&format!(
            "== inventory → lake\n{}\n",
            inventory::said(&imported)
        ))?;

        let analysed = analyze::analyze(
            &lake,
            &settings,
            &Selection {
                again: true,
                ..Selection::default()
            },
        )?;
        let findings = findings_view::over_days(analysed.findings.clone());
        match settings.output {
            Format::Table => output::print(&format!(
                "== findings\n{}\n",
                findings_view::list(&findings)
            ))?,
            format => {
                let items: Vec<Finding<'_>> = findings.iter().map(Finding::from).collect();
                output::json(format, &items)?;
            }
        }
        let gravest = findings.first();
        if let Some(gravest) = gravest {
            let text = output::printable(&findings_view::text(gravest)).into_owned();
            show(&format!("== the gravest one\n{text}\n"))?;
        }
        show(&format!("== what was seen\n{}", analyze::said(&analysed)))?;
        show(NOT_SEEN)?;
        let id = gravest.map_or("ID", |gravest| findings_view::short(gravest));
        show(&next(self.keep.as_deref(), id))?;
        let reached = findings
            .iter()
            .any(|row| settings.fail_on.is_reached_by(&row.severity));
        Ok(match reached {
            true => Exit::Findings,
            false => Exit::Clean,
        })
    }
}

const NOT_SEEN: &str = "\
never in a flow log: traffic between pods of one node; denied egress that was dropped; who is behind a NAT
";

/// Commands that work as they stand, on the kept lake or on one's own logs.
fn next(kept: Option<&Path>, id: &str) -> String {
    match kept {
        Some(dir) => {
            let dir = dir.display();
            format!(
                "\n== try next\n  export FLOWAUDIT_LAKE={dir}/lake\n  \
                 flowaudit findings list --severity high\n  \
                 flowaudit findings show {id}\n  \
                 flowaudit explain --from payments/ledger-0 --to shop/redis-0 --port 6379 --at 2026-11-23T09:00:00Z\n  \
                 flowaudit inventory who 10.0.3.5 --at 2026-11-23T09:00:00Z\n  \
                 flowaudit lake stats\n  \
                 duckdb -c \"select client_workload, server_workload, server_port, sum(connections) from '{dir}/lake/edges/**/*.parquet' group by all\"\n"
            )
        }
        None => "\n== try next\n  \
                 flowaudit demo --keep /tmp/flowaudit-demo     keep this lake, and see what to do with it\n  \
                 flowaudit ingest YOUR-LOGS/                   your own flow logs\n  \
                 flowaudit inventory import -                  and `kubectl get nodes,namespaces,pods,services,networkpolicies -A -o yaml`\n  \
                 flowaudit analyze && flowaudit findings list\n"
            .to_owned(),
    }
}

fn unpack(dir: &Path) -> Result<(), Failure> {
    for (name, bytes) in SET {
        let path = dir.join(name);
        let folder = path.parent().unwrap_or(dir);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
        written.map_err(|error| cannot_write(&path.display().to_string(), error))?;
    }
    Ok(())
}

fn cannot_write(name: &str, error: std::io::Error) -> Failure {
    let error = anyhow::Error::new(error).context(format!("cannot write `{name}`"));
    Failure::outside(
        error,
        Some("check that the folder can be written and has room".to_owned()),
    )
}
