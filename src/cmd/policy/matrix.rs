//! `policy matrix`: who may reach whom, as table, CSV, JSON or a graph.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use flowaudit_rules::cluster::{Cluster, Owners, Protocol};
use flowaudit_rules::kubernetes::{self, Severity};
use flowaudit_rules::matrix::{self, Ask, Cell, Matrix as Cells, Reach, WorkloadId};
use flowaudit_rules::policy_set::PolicySet;

use crate::cmd::inventory;
use crate::exit::Exit;
use crate::failure::{Failure, Word, say};
use crate::manifests;
use crate::output::{self, Format, counted};
use crate::settings::{self, Everywhere, Typed};

/// Some seconds' work, and more than anyone reads.
const JUDGEMENTS_MAX: u64 = 500_000;
/// Workloads named one by one in a note.
const NAMED: usize = 10;

/// Shows who may reach whom: every workload to every workload, port by port.
///
/// Ports are those that the server's containers declare or its Services lead to, or those given. What depends on the
/// engine is shown apart, and so are workloads of which some pods get another answer than others. Pods of the host
/// network are left out: to policies they are their nodes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowaudit policy matrix --inventory cluster.yaml policies/
  flowaudit policy matrix --inventory cluster.yaml --namespace shop --engine felix
  flowaudit policy matrix --inventory cluster.yaml --to-namespace payments --port 5432 -o csv
  flowaudit policy matrix --inventory cluster.yaml --namespace shop -o dot | dot -Tsvg > shop.svg

Formats: table, csv, json, ndjson, dot.")]
pub(crate) struct Matrix {
    /// Files and directories of Kubernetes YAML or JSON: pods, namespaces, policies, ReplicaSets, Services
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    inventory: Vec<PathBuf>,
    /// Only workloads of this namespace, as client and as server; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["from_namespace", "to_namespace"])]
    namespace: Vec<String>,
    /// Only clients of this namespace; may be repeated
    #[arg(long, value_name = "NAME")]
    from_namespace: Vec<String>,
    /// Only servers of this namespace; may be repeated
    #[arg(long, value_name = "NAME")]
    to_namespace: Vec<String>,
    /// This port of every server, as in `80` or `53/UDP`; may be repeated [default: those that are declared]
    #[arg(long = "port", value_name = "PORT[/PROTOCOL]", value_parser = port)]
    ports: Vec<(u16, Protocol)>,
    #[command(flatten)]
    cluster: settings::Heeds<settings::Enforced>,
}

const FORMATS: &[Format] = &[
    Format::Table,
    Format::Csv,
    Format::Json,
    Format::Ndjson,
    Format::Dot,
];

impl Matrix {
    /// Runs the command.
    pub(crate) fn run(&self, everywhere: &Everywhere) -> Result<Exit, Failure> {
        let typed = Typed::new(everywhere)?.cluster(&self.cluster.0);
        let settings = typed.formats(FORMATS).check()?;
        manifests::check_stdin_once(self.inventory.iter())?;
        let (mut objects, mut issues) = (Vec::new(), Vec::new());
        let is_whole = manifests::read(&self.inventory, |name, text| {
            let manifest = kubernetes::read(name, text);
            objects.extend(manifest.objects);
            issues.extend(manifest.issues);
        })?;
        let (cluster, odd) = Cluster::from_objects(&objects);
        issues.extend(odd);
        let (policies, odd) = PolicySet::from_objects(&objects);
        issues.extend(odd);
        inventory::issues(&issues);
        let either = |names: &[String]| match self.namespace.is_empty() {
            true => names.to_vec(),
            false => self.namespace.clone(),
        };
        let ask = Ask {
            ports: self.ports.clone(),
            from: either(&self.from_namespace),
            to: either(&self.to_namespace),
            judgements_max: JUDGEMENTS_MAX,
        };
        let owners = Owners::from_objects(&objects);
        let engine = settings.analyze.engine;
        let matrix =
            matrix::matrix(&policies, &cluster, &owners, engine, &ask).map_err(|error| {
                let help = error.help().map(|help| {
                    format!("{help}: --namespace, --from-namespace, --to-namespace, --port")
                });
                Failure::usage(error, help)
            })?;
        match settings.output {
            Format::Csv => output::print(&output::printable(&csv(&matrix.cells)))?,
            Format::Dot => output::print(&output::printable(&dot(&matrix.cells)))?,
            Format::Table => output::print(&table(&matrix.cells))?,
            format => output::json(format, &matrix.cells)?,
        }
        notes(&matrix);
        settings.tell(said(&matrix));
        let unreadable = issues
            .iter()
            .any(|issue| issue.severity == Severity::Error && issue.object.is_none());
        Ok(match is_whole && !unreadable {
            true => Exit::Clean,
            false => Exit::Failed,
        })
    }
}

/// What the cells do not show.
fn notes(matrix: &Cells) {
    for (workloads, what) in [
        (
            &matrix.without_ports,
            "declare no port and are no servers here; --port asks about one",
        ),
        (
            &matrix.on_host_network,
            "are on the host network and left out: to policies they are their nodes",
        ),
        (
            &matrix.not_all_asked,
            "have pods of many kinds, and not all were asked about",
        ),
    ] {
        if !workloads.is_empty() {
            let names: Vec<String> = workloads
                .iter()
                .take(NAMED)
                .map(WorkloadId::to_string)
                .collect();
            let more = match workloads.len() - names.len() {
                0 => String::new(),
                more => format!(" and {} more", output::count(more as u64)),
            };
            say(
                Word::Note,
                format!("{}{more}: these {what}", names.join(", ")),
            );
        }
    }
}

fn said(matrix: &Cells) -> String {
    let of = |reach| {
        matrix
            .cells
            .iter()
            .filter(|cell| cell.verdict == reach)
            .count()
    };
    let mut text = counted(matrix.cells.len() as u64, "cell", "cells");
    let mut separator = ": ";
    for reach in [
        Reach::Allowed,
        Reach::Denied,
        Reach::Unspecified,
        Reach::Mixed,
    ] {
        if of(reach) > 0 {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{separator}{} {reach}",
                output::count(of(reach) as u64)
            );
            separator = ", ";
        }
    }
    text
}

/// One row a pair, its ports by verdict.
fn table(cells: &[Cell]) -> String {
    let mut pairs: BTreeMap<(&WorkloadId, &WorkloadId), [Vec<String>; 4]> = BTreeMap::new();
    for cell in cells {
        let columns = pairs.entry((&cell.client, &cell.server)).or_default();
        let [allowed, denied, unspecified, mixed] = columns;
        let column = match cell.verdict {
            Reach::Allowed => allowed,
            Reach::Denied => denied,
            Reach::Unspecified => unspecified,
            Reach::Mixed => mixed,
        };
        column.push(port_of(cell));
    }
    let headers = [
        "client",
        "server",
        "allowed",
        "denied",
        "unspecified",
        "differs by pod",
    ];
    let rows = pairs.iter().map(|((client, server), columns)| {
        let mut row = vec![client.to_string(), server.to_string()];
        row.extend(columns.iter().map(|ports| ports.join(", ")));
        row
    });
    output::table(&headers, rows)
}

/// `TCP 80`, and what it depends on.
fn port_of(cell: &Cell) -> String {
    let port = format!("{} {}", cell.protocol, cell.port);
    match cell.unspecified.is_empty() {
        true => port,
        false => format!("{port} ({})", depends_on(cell)),
    }
}

fn depends_on(cell: &Cell) -> String {
    let points: Vec<&str> = cell
        .unspecified
        .iter()
        .map(|point| point.as_str())
        .collect();
    points.join(" ")
}

fn csv(cells: &[Cell]) -> String {
    let mut text = String::from(
        "client_namespace,client_kind,client,server_namespace,server_kind,server,port,protocol,verdict,unspecified\n",
    );
    for cell in cells {
        let (client, server) = (&cell.client, &cell.server);
        let fields = [
            &client.namespace,
            &client.kind,
            &client.name,
            &server.namespace,
            &server.kind,
            &server.name,
            &cell.port.to_string(),
            &cell.protocol.to_string(),
            cell.verdict.as_str(),
            &depends_on(cell),
        ];
        text += &fields.map(field).join(",");
        text.push('\n');
    }
    text
}

/// One field as RFC 4180 has it.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Arrows where something is allowed, broken ones where it depends; what is denied has none.
fn dot(cells: &[Cell]) -> String {
    let mut namespaces: BTreeMap<&str, BTreeMap<String, &WorkloadId>> = BTreeMap::new();
    let mut arrows: BTreeMap<(&WorkloadId, &WorkloadId, Reach), Vec<String>> = BTreeMap::new();
    for cell in cells {
        for end in [&cell.client, &cell.server] {
            let workloads = namespaces.entry(&end.namespace).or_default();
            workloads.insert(end.to_string(), end);
        }
        if cell.verdict != Reach::Denied {
            let ports = arrows
                .entry((&cell.client, &cell.server, cell.verdict))
                .or_default();
            ports.push(port_of(cell));
        }
    }
    let mut text = String::from("digraph reach {\n  rankdir=LR;\n  node [shape=box];\n");
    for (number, (namespace, workloads)) in namespaces.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  subgraph cluster_{number} {{\n    label={};",
            quoted(namespace)
        );
        for (id, workload) in workloads {
            let label = format!("{} {}", workload.kind, workload.name);
            let _ = writeln!(text, "    {} [label={}];", quoted(id), quoted(&label));
        }
        text += "  }\n";
    }
    for ((client, server, reach), ports) in arrows {
        let style = match reach {
            Reach::Unspecified => ", style=dashed, color=orange",
            Reach::Mixed => ", style=dotted, color=blue",
            Reach::Allowed | Reach::Denied => "",
        };
        let (client, server) = (quoted(&client.to_string()), quoted(&server.to_string()));
        let label = quoted(&ports.join(", "));
        let _ = writeln!(text, "  {client} -> {server} [label={label}{style}];");
    }
    text + "}\n"
}

/// A text as Graphviz quotes it.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace(['\n', '\r'], " "))
}

fn port(text: &str) -> Result<(u16, Protocol), String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let protocol = protocol.to_ascii_uppercase().parse::<Protocol>().ok();
    match (number.parse(), protocol) {
        (Ok(port), Some(protocol)) if port > 0 && protocol.has_ports() => Ok((port, protocol)),
        _ => Err(format!(
            "`{text}` is not a port: write a number from 1 to 65535, and TCP, UDP or SCTP after a slash, as in `53/UDP`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(port("80"), Ok((80, Protocol::Tcp)));
        assert_eq!(port("53/udp"), Ok((53, Protocol::Udp)));
        for text in ["", "0", "65536", "80/ICMP", "http", "/TCP", "80/"] {
            assert!(port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_stay_within_their_field() {
        assert_eq!(field("a"), "a");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("a\\\"b\nc"), "\"a\\\\\\\"b c\"");
    }
}
