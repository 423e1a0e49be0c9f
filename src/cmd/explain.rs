//! `explain`: what the declared policies mean for a connection, and why.

use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use flowaudit_analyze::explain::{Answer, Question, explain_at};
use flowaudit_rules::cluster::Protocol;
use flowaudit_rules::kubernetes::{Issue, Severity};
use flowaudit_rules::security_group::{self, LayeredVerdict, SecurityGroupManifest, SecuritySide};
use flowaudit_rules::verdict::{Decision, Outcome, Side, Unspecified};
use serde::Serialize;

use crate::cmd::{explain_bulk, inventory};
use crate::exit::Exit;
use crate::failure::{Failure, Mistake, Word, say};
use crate::manifests;
use crate::output::{self, Format};
use crate::settings::{self, Everywhere, Typed};
use crate::when::{self, When, rfc3339};

/// What the declared policies mean for a connection, and why.
///
/// One question is answered from the lake, as things were at the time asked for. Many are answered from manifests,
/// without a lake: --probes holds one JSON object per line, `{"src":"ns/pod or ADDR","dst":"ns/pod or
/// ADDR","port":80,"protocol":"TCP"}`, and each gets one line, in order. What the API server would refuse is named on
/// standard error and left out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit explain --from shop/cart-7d9f --to shop/redis-0 --port 6379 --at 2026-11-23T08:30:00Z
  flowaudit explain --from shop/cart-7d9f --to shop/redis-0 --port 6379 --cluster production
  flowaudit explain --from 10.0.3.7 --to 198.51.100.7 --port 443
  flowaudit explain --from shop/cart-7d9f --to shop/redis-0 --port 6379 --security-groups sg/ interfaces.json
  flowaudit explain --inventory manifests/ --probes probes.jsonl -o ndjson")]
pub(crate) struct Explain {
    /// The client: namespace/pod or an address
    #[arg(long, value_name = "POD|ADDR", required_unless_present = "probes")]
    from: Option<String>,
    /// The server: namespace/pod or an address
    #[arg(long, value_name = "POD|ADDR", required_unless_present = "probes")]
    to: Option<String>,
    /// The server's port
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// TCP, UDP, SCTP, ICMP or the protocol's number
    #[arg(long, default_value = "TCP", value_parser = protocol)]
    protocol: Protocol,
    /// When: RFC 3339, or how long ago [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<When>,
    /// Files and directories of JSON from the ECS API, to judge security groups, too: what DescribeSecurityGroupAttribute
    /// and DescribeNetworkInterfaces answer, and DescribeSecurityGroups and DescribePrefixListAttributes where they matter
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "probes")]
    security_groups: Vec<PathBuf>,
    /// Files and directories of Kubernetes YAML or JSON to answer --probes from
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "probes")]
    inventory: Vec<PathBuf>,
    /// Probes, one JSON object per line; `-` for standard input
    #[arg(long, value_name = "FILE", requires = "inventory", conflicts_with_all = ["from", "to", "port", "protocol", "at"])]
    probes: Option<PathBuf>,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Asked>,
}

#[derive(Serialize)]
struct Report<'a> {
    from: &'a str,
    to: &'a str,
    port: u16,
    protocol: String,
    at: String,
    verdict: Outcome,
    unspecified: &'a [Unspecified],
    default_reading: Decision,
    egress: SideReport,
    ingress: SideReport,
    /// The other layer, if it was asked for and the connection passes an interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    security_groups: Option<SecurityReport>,
}

#[derive(Serialize)]
struct SecurityReport {
    verdict: Outcome,
    unspecified: Vec<&'static str>,
    egress: SecuritySideReport,
    ingress: SecuritySideReport,
    /// Whether the connection gets through both layers.
    both_layers: Outcome,
}

#[derive(Serialize)]
struct SecuritySideReport {
    verdict: Outcome,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct SideReport {
    verdict: Outcome,
    tier: &'static str,
    reasons: Vec<String>,
}

impl From<&Side> for SideReport {
    fn from(side: &Side) -> Self {
        SideReport {
            verdict: side.outcome,
            tier: side.tier.as_str(),
            reasons: side.reasons.iter().map(ToString::to_string).collect(),
        }
    }
}

impl SecurityReport {
    fn of(layered: &LayeredVerdict) -> Option<Self> {
        let groups = layered.security_groups.as_ref()?;
        let side = |side: &SecuritySide| SecuritySideReport {
            verdict: side.outcome,
            reasons: side.reasons.iter().map(ToString::to_string).collect(),
        };
        Some(SecurityReport {
            verdict: groups.outcome,
            unspecified: groups.unspecified.iter().map(|why| why.as_str()).collect(),
            egress: side(&groups.egress),
            ingress: side(&groups.ingress),
            both_layers: layered.outcome(),
        })
    }
}

/// Security groups as they were read.
struct Read {
    manifest: SecurityGroupManifest,
    /// Whether nothing had to be left out.
    is_whole: bool,
}

impl Explain {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let settings = Typed::new(everywhere)?.cluster(&self.cluster.0).check()?;
        if let Some(probes) = &self.probes {
            if everywhere
                .output
                .is_some_and(|format| format != Format::Ndjson)
            {
                let mistake = Mistake("answers to --probes are lines of JSON".to_owned());
                return Err(Failure::usage(
                    mistake,
                    Some("write `-o ndjson`, or leave it out".to_owned()),
                ));
            }
            manifests::check_stdin_once(self.inventory.iter().chain([probes]))?;
            return explain_bulk::run(&self.inventory, probes, settings.analyze.engine);
        }
        let (Some(from), Some(to)) = (&self.from, &self.to) else {
            // Clap asks for both; were it not so, this says what it would have said.
            return Err(Failure::usage(
                Mistake("--from and --to are needed".to_owned()),
                None,
            ));
        };
        let port = match self.port {
            None if self.protocol.has_ports() => {
                let mistake = Mistake(format!("a question about {} needs a port", self.protocol));
                return Err(Failure::usage(mistake, Some("add `--port N`".to_owned())));
            }
            port => port.unwrap_or_default(),
        };
        let lake = settings.open_lake()?;
        let question = Question {
            from,
            to,
            cluster: settings.cluster_if_set(),
            port,
            protocol: self.protocol,
            at_us: when::or_now(self.at, Utc::now()).timestamp_micros(),
        };
        let groups = self.read_security_groups()?;
        let layer = groups
            .as_ref()
            .map(|read| (&read.manifest.groups, &read.manifest.interfaces));
        let Answer { verdict, text } = explain_at(&lake, &settings.analyze, &question, layer)?;
        let security_groups = SecurityReport::of(&verdict);
        let verdict = verdict.policy;
        let report = Report {
            from,
            to,
            port,
            protocol: self.protocol.to_string(),
            at: rfc3339(question.at_us),
            verdict: verdict.outcome,
            unspecified: &verdict.unspecified,
            default_reading: verdict.default_reading,
            egress: SideReport::from(&verdict.egress),
            ingress: SideReport::from(&verdict.ingress),
            security_groups,
        };
        output::one(settings.output, &report, || text)?;
        Ok(match groups.is_none_or(|read| read.is_whole) {
            true => Exit::Clean,
            false => Exit::Failed,
        })
    }

    /// The other layer, if it is asked for.
    fn read_security_groups(&self) -> Result<Option<Read>, Failure> {
        if self.security_groups.is_empty() {
            return Ok(None);
        }
        manifests::check_stdin_once(self.security_groups.iter())?;
        let mut texts = Vec::new();
        let is_whole = manifests::read(&self.security_groups, |name, text| {
            texts.push((name.to_owned(), text.to_owned()));
        })?;
        let texts = texts.iter().map(|(name, text)| (&**name, &**text));
        let manifest = security_group::read(texts);
        inventory::issues(&manifest.issues);
        if manifest.interfaces.is_empty() {
            say(
                Word::Warning,
                "no interface was read, so nobody knows which groups an address has",
            );
            say(
                Word::Help,
                "add what `aliyun ecs DescribeNetworkInterfaces` answers",
            );
        }
        let is_broken = |issue: &Issue| issue.severity == Severity::Error;
        Ok(Some(Read {
            is_whole: is_whole && !manifest.issues.iter().any(is_broken),
            manifest,
        }))
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an IP protocol: write TCP, UDP, SCTP, ICMP or its number")
    })
}
