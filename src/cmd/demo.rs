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
use crate::failure::{Failure, tell};
use crate::findings_view;
use crate::output;
use crate::settings::{Everywhere, Typed};

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
  flowaudit demo --keep /tmp/flowaudit-demo")]
pub(crate) struct Demo {
    /// Keep the lake and the sample logs in this folder, to try other commands on
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Demo {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let temporary =
            tempfile::tempdir().map_err(|error| cannot_write("a temporary folder", error))?;
        let dir = self.keep.as_deref().unwrap_or(temporary.path());
        unpack(dir)?;
        let mut settings = Typed::new(everywhere)?.check()?;
        settings.lake = dir.join("lake");
        let named = |folder: &str| [Input::from(dir.join(folder).as_path())];
        let lake = settings.create_or_open_lake()?;

        let read = ingest::ingest(&lake, &named("flows"), &settings)?;
        output::print(&format!("== flow logs → lake\n{}\n", ingest::said(&read)))?;

        let imported = import(
            &lake,
            &named("inventory"),
            &ImportSettings::default(),
            Utc::now(),
        )?;
        inventory::told(&imported);
        output::print(&format!(
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
        output::print(&format!(
            "== findings\n{}\n",
            findings_view::list(&findings)
        ))?;
        if let Some(gravest) = findings.first() {
            let text = output::printable(&findings_view::text(gravest)).into_owned();
            output::print(&format!("== the gravest one\n{text}\n"))?;
        }
        output::print(&format!("== what was seen\n{}", analyze::said(&analysed)))?;
        output::print(NOT_SEEN)?;
        output::print(&next(self.keep.as_deref()))?;
        Ok(Exit::Clean)
    }
}

const NOT_SEEN: &str = "\
never in a flow log: traffic between pods of one node; denied egress that was dropped; who is behind a NAT
";

fn next(kept: Option<&Path>) -> String {
    match kept {
        Some(dir) => {
            let dir = dir.display();
            format!(
                "\n== try next\n  export FLOWAUDIT_LAKE={dir}/lake\n  \
                 flowaudit findings list --severity high\n  \
                 flowaudit findings show ID\n  \
                 flowaudit inventory who ADDR --at 2026-11-23T09:00:00Z\n  \
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
    tell(format!(
        "sample logs of a made-up cluster, {} files",
        SET.len()
    ));
    Ok(())
}

fn cannot_write(name: &str, error: std::io::Error) -> Failure {
    let error = anyhow::Error::new(error).context(format!("cannot write `{name}`"));
    Failure::outside(
        error,
        Some("check that the folder can be written and has room".to_owned()),
    )
}
