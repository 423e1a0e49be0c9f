//! Findings of the classification table, from the edges of a day.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::findings::FindingRow;

use super::remedy::{self, Direction, Observed};
use super::{Detection, Evidence, Statement, Subject, Totals, Workloads, keep};
use crate::classify::Class;
use crate::judge::{Reasons, SideSummary};

/// Collects edges; gives findings at the end of the day.
#[derive(Debug, Default)]
pub struct FindingsOfDay {
    found: BTreeMap<About, Collected>,
    /// Allowed traffic of each workload, by direction: what a policy for it has to admit.
    used: BTreeMap<(Subject, Direction), Observed>,
    /// The latest instant of any edge, microseconds.
    last_us: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct About {
    detection: Detection,
    client: Option<Subject>,
    server: Option<Subject>,
    port: Option<i32>,
    protocol: Option<i32>,
}

#[derive(Debug, Default)]
struct Collected {
    totals: Totals,
    evidence: Evidence,
    sides: BTreeSet<Direction>,
}

impl FindingsOfDay {
    /// The latest instant of the day's edges, microseconds since the epoch.
    pub fn last_us(&self) -> Option<i64> {
        self.last_us
    }

    /// Adds an edge. Edges of a day may come in any number of calls, hours in order.
    pub fn add(&mut self, edge: &EdgeRow, workloads: &Workloads) {
        self.last_us = self.last_us.max(Some(edge.last_seen_us));
        let Some(class) = Class::from_word(&edge.class) else {
            return;
        };
        let reasons: Option<Reasons> = serde_json::from_str(&edge.reasons).ok();
        let (client, server) = (Subject::client(edge), Subject::server(edge));
        let port = Some(edge.server_port);
        let between = |detection| About {
            detection,
            client: Some(client.collapsed()),
            server: Some(server.collapsed()),
            port,
            protocol: Some(edge.protocol),
        };
        let open = |side: fn(&Reasons) -> &SideSummary| {
            reasons
                .as_ref()
                .is_some_and(|reasons| side(reasons).tier == "default")
        };
        match class {
            Class::PolicyNotEnforced => self.collect(
                between(Detection::PolicyNotEnforced),
                edge,
                &reasons,
                workloads,
            ),
            Class::BlockedAttempt => self.collect(
                between(Detection::BlockedAttempt),
                edge,
                &reasons,
                workloads,
            ),
            Class::SecurityGroupContradictsPolicy => {
                self.collect(
                    between(Detection::SecurityGroupContradictsPolicy),
                    edge,
                    &reasons,
                    workloads,
                );
            }
            Class::Unprotected => {
                if open(|reasons| &reasons.ingress) {
                    let about = alone(Detection::UnprotectedIngress, None, Some(server.clone()));
                    self.collect(about, edge, &reasons, workloads);
                }
                if open(|reasons| &reasons.egress) {
                    let about = alone(Detection::UnprotectedEgress, Some(client.clone()), None);
                    self.collect(about, edge, &reasons, workloads);
                }
            }
            _ => {}
        }
        if matches!(class, Class::Unprotected | Class::InOrder | Class::Unjudged)
            && edge.server_port != 0
        {
            let ports = (edge.server_port, edge.protocol);
            if server.is_pods() {
                let used = self
                    .used
                    .entry((server.clone(), Direction::Ingress))
                    .or_default();
                used.entry(client.clone()).or_default().insert(ports);
            }
            if client.is_pods() {
                let used = self.used.entry((client, Direction::Egress)).or_default();
                used.entry(server).or_default().insert(ports);
            }
        }
    }

    /// The findings.
    pub fn rows(&self, workloads: &Workloads) -> Vec<FindingRow> {
        self.found
            .iter()
            .map(|(about, collected)| {
                self.statement(about, collected, workloads)
                    .into_row(collected.totals)
            })
            .collect()
    }

    fn collect(
        &mut self,
        about: About,
        edge: &EdgeRow,
        reasons: &Option<Reasons>,
        workloads: &Workloads,
    ) {
        let detection = about.detection;
        let collected = self.found.entry(about).or_default();
        let totals = &mut collected.totals;
        totals.first_us = totals.first_us.min(edge.first_seen_us);
        totals.last_us = totals.last_us.max(edge.last_seen_us);
        totals.connections = totals.connections.saturating_add(edge.connections);
        totals.packets = totals
            .packets
            .saturating_add(edge.forward_packets)
            .saturating_add(edge.reverse_packets);
        totals.bytes = totals
            .bytes
            .saturating_add(edge.forward_bytes)
            .saturating_add(edge.reverse_bytes);

        let evidence = &mut collected.evidence;
        evidence.edges += 1;
        *evidence
            .observed
            .entry(edge.observation.clone())
            .or_default() += edge.connections;
        let service = format!("{} {}", protocol_word(edge.protocol), edge.server_port);
        match detection {
            Detection::UnprotectedIngress => keep(
                &mut evidence.peers,
                format!("{} → {service}", workloads.name(&Subject::client(edge))),
            ),
            Detection::UnprotectedEgress => keep(
                &mut evidence.peers,
                format!("→ {} {service}", workloads.name(&Subject::server(edge))),
            ),
            _ => {
                let externals = [Subject::client(edge), Subject::server(edge)]
                    .into_iter()
                    .filter(|end| end.kind == "external");
                externals.for_each(|end| keep(&mut evidence.peers, workloads.name(&end)));
            }
        }
        // A side is enforced on the node of its pod; where none denies, both nodes may matter.
        let denied = |side: fn(&Reasons) -> &SideSummary| {
            reasons
                .as_ref()
                .is_some_and(|reasons| side(reasons).verdict == "denied")
        };
        let (egress, ingress) = (
            denied(|reasons| &reasons.egress),
            denied(|reasons| &reasons.ingress),
        );
        let ends = [
            (
                &edge.client_kind,
                [
                    &edge.client_cluster,
                    &edge.client_namespace,
                    &edge.client_name,
                ],
                (
                    detection != Detection::UnprotectedIngress,
                    egress || !ingress,
                ),
            ),
            (
                &edge.server_kind,
                [
                    &edge.server_cluster,
                    &edge.server_namespace,
                    &edge.server_name,
                ],
                (
                    detection != Detection::UnprotectedEgress,
                    ingress || !egress,
                ),
            ),
        ];
        for (kind, [cluster, namespace, name], (concerned, enforces)) in ends {
            if let (true, "pod", Some(namespace), Some(name)) =
                (concerned, kind.as_str(), namespace, name)
            {
                let cluster = cluster.as_deref().unwrap_or_default();
                keep(&mut evidence.pods, format!("{namespace}/{name}"));
                let node = workloads.node_of(cluster, namespace, name);
                if let Some(node) = node.filter(|_| enforces) {
                    keep(&mut evidence.nodes, node.to_owned());
                }
            }
        }
        let Some(reasons) = reasons else { return };
        for (direction, side) in [
            (Direction::Egress, &reasons.egress),
            (Direction::Ingress, &reasons.ingress),
        ] {
            if side.verdict == "denied" {
                collected.sides.insert(direction);
            }
            let wanted = match detection {
                Detection::SecurityGroupContradictsPolicy => side.verdict == "allowed",
                Detection::PolicyNotEnforced | Detection::BlockedAttempt => {
                    side.verdict == "denied"
                }
                _ => false,
            };
            for part in side.policies.iter().filter(|_| wanted) {
                let what = match (&part.rule, &part.nearest) {
                    (Some(rule), _) => format!("{} rule {rule} admits it", direction.as_str()),
                    (None, Some(admits)) => format!(
                        "isolates for {} and comes nearest by admitting {admits}",
                        direction.as_str()
                    ),
                    (None, None) => {
                        format!("isolates for {} and admits none of it", direction.as_str())
                    }
                };
                keep(
                    &mut evidence.policies,
                    format!("NetworkPolicy {} {what}", part.policy),
                );
            }
        }
    }

    fn statement(&self, about: &About, collected: &Collected, workloads: &Workloads) -> Statement {
        let evidence = &collected.evidence;
        let name = |subject: &Option<Subject>| {
            subject
                .as_ref()
                .map(|subject| workloads.name(subject))
                .unwrap_or_default()
        };
        let (client, server) = (name(&about.client), name(&about.server));
        let service = about
            .port
            .zip(about.protocol)
            .map(|(port, protocol)| format!("{} {port}", protocol_word(protocol)));
        let service = service.unwrap_or_default();
        let said = list(&evidence.policies, "; ");
        let counts = |observed: &str| evidence.observed.get(observed).copied().unwrap_or(0);
        let (title, explanation) = match about.detection {
            Detection::PolicyNotEnforced => (
                format!("{client} → {server} {service}: denied by policy, not stopped"),
                format!(
                    "{said}. All the same there were {} between them, {} of them established{}{}",
                    plural(collected.totals.connections, "connection"),
                    counts("established"),
                    if collected.sides.contains(&Direction::Egress) {
                        "; what a pod's egress policy denies never reaches its network interface, so the records alone prove it"
                    } else {
                        ""
                    },
                    nodes(evidence, ", on nodes "),
                ),
            ),
            Detection::BlockedAttempt => (
                format!("{client} → {server} {service}: tried, denied by policy"),
                format!(
                    "{said}. {} went unanswered or was rejected",
                    plural(collected.totals.connections, "attempt")
                ),
            ),
            Detection::SecurityGroupContradictsPolicy => (
                format!(
                    "{client} → {server} {service}: allowed by policy, rejected by a security group or network ACL"
                ),
                format!(
                    "{said}. A security group or network ACL rejected {}",
                    plural(collected.totals.connections, "connection")
                ),
            ),
            Detection::UnprotectedIngress => (
                format!("{server}: reachable only because no policy isolates it"),
                format!(
                    "no NetworkPolicy selects the pods of {server} for ingress, so anyone may reach them; {} came from {}",
                    plural(collected.totals.connections, "connection"),
                    list(&evidence.peers, ", ")
                ),
            ),
            Detection::UnprotectedEgress => (
                format!("{client}: reaches out only because no policy isolates it"),
                format!(
                    "no NetworkPolicy selects the pods of {client} for egress, so they may reach anything; {} went {}",
                    plural(collected.totals.connections, "connection"),
                    list(&evidence.peers, ", ")
                ),
            ),
            // Made from the world rather than from edges.
            Detection::DefaultDenyMissing => (String::new(), String::new()),
        };
        Statement {
            detection: about.detection,
            client: about.client.clone(),
            server: about.server.clone(),
            port: about.port,
            protocol: about.protocol,
            aspect: "",
            title,
            explanation,
            remedy: self.remedy(about, collected, workloads),
            evidence: evidence.clone(),
        }
    }

    fn remedy(&self, about: &About, collected: &Collected, workloads: &Workloads) -> String {
        let nothing = Observed::new();
        let used = |subject: &Subject, direction| {
            self.used
                .get(&(subject.clone(), direction))
                .unwrap_or(&nothing)
        };
        match (about.detection, &about.client, &about.server) {
            (Detection::UnprotectedIngress, _, Some(server)) => remedy::admit_observed(
                server,
                Direction::Ingress,
                used(server, Direction::Ingress),
                workloads,
            ),
            (Detection::UnprotectedEgress, Some(client), _) => remedy::admit_observed(
                client,
                Direction::Egress,
                used(client, Direction::Egress),
                workloads,
            ),
            (Detection::PolicyNotEnforced, Some(client), Some(server)) => {
                let enforce = format!(
                    "# Make the policy hold: check enforcement{} (Terway: `disable_network_policy` in ConfigMap\n# kube-system/eni-config, exclusive-ENI node pools, the policy agent's health).\n",
                    nodes(&collected.evidence, " on nodes ")
                );
                enforce + &if_wanted(about, collected, client, server, workloads)
            }
            (Detection::BlockedAttempt, Some(client), Some(server)) => {
                format!(
                    "# Nothing to do if {} has no business there; otherwise find out what makes it try.\n{}",
                    workloads.name(client),
                    if_wanted(about, collected, client, server, workloads)
                )
            }
            (Detection::SecurityGroupContradictsPolicy, Some(client), Some(server)) => format!(
                "# Either allow {} {} from {} in the security group and network ACL of {}, or remove\n# the rule from the NetworkPolicy named above: the two should say the same.\n",
                about.protocol.map(protocol_word).unwrap_or_default(),
                about.port.unwrap_or_default(),
                workloads.name(client),
                workloads.name(server)
            ),
            _ => String::new(),
        }
    }
}

/// The policy that would admit denied traffic, on the side that denies it.
fn if_wanted(
    about: &About,
    collected: &Collected,
    client: &Subject,
    server: &Subject,
    workloads: &Workloads,
) -> String {
    let port = (
        about.port.unwrap_or_default(),
        about.protocol.unwrap_or_default(),
    );
    let mut text = String::from("# If the traffic is wanted, admit it:\n");
    for (n, direction) in collected.sides.iter().enumerate() {
        if n > 0 {
            text.push_str("---\n");
        }
        let (subject, peer) = match direction {
            Direction::Ingress => (server, client),
            Direction::Egress => (client, server),
        };
        // Of findings with two ends, the peers in the evidence are the networks of the external one.
        let networks = &collected.evidence.peers;
        text.push_str(&remedy::admit_peer(
            subject, *direction, peer, networks, port, workloads,
        ));
    }
    text
}

fn alone(detection: Detection, client: Option<Subject>, server: Option<Subject>) -> About {
    About {
        detection,
        client,
        server,
        port: None,
        protocol: None,
    }
}

fn nodes(evidence: &Evidence, lead: &str) -> String {
    if evidence.nodes.is_empty() {
        String::new()
    } else {
        format!("{lead}{}", list(&evidence.nodes, ", "))
    }
}

fn list(entries: &BTreeSet<String>, separator: &str) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = entries.iter().take(SHOWN).map(String::as_str).collect();
    let more = entries.len().saturating_sub(SHOWN);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    shown.join(separator) + &rest
}

fn plural(number: i64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

fn protocol_word(protocol: i32) -> String {
    match protocol {
        6 => "TCP".into(),
        17 => "UDP".into(),
        132 => "SCTP".into(),
        1 => "ICMP".into(),
        58 => "ICMPv6".into(),
        other => format!("protocol {other}"),
    }
}
