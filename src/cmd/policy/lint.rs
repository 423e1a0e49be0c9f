//! `policy lint`: mistakes in manifests of policies, with file, line and fix.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use flowaudit_rules::kubernetes::{self, Severity as IssueSeverity, read_with_places};
use flowaudit_rules::lint::{self, Finding, Input, Report, Severity};

use crate::cmd::inventory;
use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::output::{self, Format, counted};
use crate::settings::{self, Everywhere, Typed};
use crate::{manifests, sarif};

/// Looks for mistakes in manifests of policies.
///
/// Objects that the API server would refuse, a dash too many that makes two peers of one, selectors that select nothing,
/// port names that no pod has, rules that others cover, egress without DNS, kinds and numbers that ACK does not bear. Each
/// finding has its file and line, and what to do. What --inventory names counts as what the cluster holds already and is
/// not checked itself; without pods and namespaces, some checks do not run, and the command says which.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit policy lint policies/
  flowaudit policy lint policies/ --inventory cluster.yaml --fail-on medium
  kubectl get networkpolicies,pods,namespaces -A -o yaml | flowaudit policy lint -
  flowaudit policy lint policies/ -o sarif > flowaudit.sarif

Formats: table, json, ndjson, sarif. Every check is explained in docs/policy-lint.md.
Exit code 3: something could not be read, and what stands in it was not checked.")]
pub(crate) struct Lint {
    /// Files and directories of Kubernetes YAML or JSON to check; `-` for standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Files and directories that say what the cluster holds: pods, namespaces, other policies
    #[arg(long, value_name = "PATH", num_args = 1..)]
    inventory: Vec<PathBuf>,
    #[command(flatten)]
    fail: settings::Fail,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Enforced>,
}

const FORMATS: &[Format] = &[Format::Table, Format::Json, Format::Ndjson, Format::Sarif];

impl Lint {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let typed = Typed::new(everywhere)?.cluster(&self.cluster.0);
        let settings = typed.fail(&self.fail).formats(FORMATS).check()?;
        manifests::check_stdin_once(self.paths.iter().chain(&self.inventory))?;
        let mut input = Input::default();
        let mut files = 0_u64;
        let mut is_whole = manifests::read(&self.paths, |name, text| {
            files += 1;
            let (manifest, places) = read_with_places(name, text);
            input.check(manifest, places);
        })?;
        let mut odd = Vec::new();
        if !self.inventory.is_empty() {
            is_whole &= manifests::read(&self.inventory, |name, text| {
                let mut manifest = kubernetes::read(name, text);
                odd.append(&mut manifest.issues);
                input.context(manifest);
            })?;
        }
        inventory::issues(&odd);
        is_whole &= !odd
            .iter()
            .any(|issue| issue.severity == IssueSeverity::Error && issue.object.is_none());
        let report = lint::lint(&input, settings.analyze.engine);
        print(settings.output, &report)?;
        for not in &report.not_checked {
            say(
                Word::Note,
                format!("not checked: {} ({})", not.lints.join(", "), not.because),
            );
        }
        settings.tell(said(&report, files));
        let unreadable = |finding: &Finding| finding.lint.id == "unreadable";
        let is_reached =
            |finding: &Finding| settings.fail_on.is_reached_by(finding.severity.as_str());
        Ok(if !is_whole || report.findings.iter().any(unreadable) {
            Exit::Failed
        } else if report.findings.iter().any(is_reached) {
            Exit::Findings
        } else {
            Exit::Clean
        })
    }
}

fn print(format: Format, report: &Report) -> std::io::Result<()> {
    match format {
        Format::Table => output::print(&output::printable(&text(&report.findings))),
        Format::Sarif => output::one(Format::Json, &sarif::log(report), String::new),
        format => output::json(format, &report.findings),
    }
}

/// For people, and for editors that jump to `file:line`.
fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{}:{}: {} {}: ",
            finding.file, finding.line, finding.severity, finding.lint.id
        );
        for part in [&finding.object, &finding.field].into_iter().flatten() {
            let _ = write!(text, "{part}: ");
        }
        let _ = writeln!(text, "{}", finding.message);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "  help: {fix}");
        }
    }
    text
}

/// `3 findings in 2 files: 1 high, 2 low`
fn said(report: &Report, files: u64) -> String {
    let of = |severity| {
        let findings = report.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let counts: Vec<String> = [Severity::High, Severity::Medium, Severity::Low]
        .into_iter()
        .map(|severity| (of(severity), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| format!("{} {severity}", output::count(count as u64)))
        .collect();
    let mut text = format!(
        "{} in {}",
        counted(report.findings.len() as u64, "finding", "findings"),
        counted(files, "file", "files"),
    );
    if !counts.is_empty() {
        text += &format!(": {}", counts.join(", "));
    }
    text
}
