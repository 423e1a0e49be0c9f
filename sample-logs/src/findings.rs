//! What an analysis of the whole run is to find: from the scenario's words and what happened, nothing else.

use std::collections::BTreeMap;

use crate::run::Run;
use crate::scenario::{Direction, Egress, Ingress, Intended, Protocol};
use crate::time::SECOND_MS;
use crate::traffic::Connection;
use crate::truth::{ConnectionTruth, ExpectedFinding, Identity, Observation, Subject};
use crate::world::World;

/// Everything about a finding but its certainty.
type About = (
    &'static str,
    Option<Subject>,
    Option<Subject>,
    Option<(u16, Protocol)>,
    Option<&'static str>,
);

pub(crate) fn expected(run: &Run<'_>) -> Vec<ExpectedFinding> {
    let mut found: BTreeMap<About, bool> = BTreeMap::new();
    for (truth, connection) in run.connection_truths().zip(&run.connections) {
        if !truth.visible {
            continue;
        }
        for about in of_connection(&truth) {
            let certain = found.entry(about).or_default();
            *certain = *certain || is_certain(&run.world, &truth, connection);
        }
    }
    for about in missing_default_deny(&run.world) {
        found.insert(about, true);
    }
    let finding = |((detection, client, server, service, direction), certain): (About, bool)| {
        ExpectedFinding {
            detection: detection.into(),
            client,
            server,
            port: service.map(|(port, _)| port),
            protocol: service.map(|(_, protocol)| protocol),
            direction: direction.map(str::to_owned),
            certain,
        }
    };
    let mut findings: Vec<ExpectedFinding> = found.into_iter().map(finding).collect();
    findings.sort();
    findings
}

/// What a visible connection means: the words of its line held against what became of it.
fn of_connection(truth: &ConnectionTruth) -> Vec<About> {
    let (client, server) = (Some(subject(&truth.client)), Some(subject(&truth.server)));
    let service = Some((truth.server_port, truth.protocol));
    let is_through = matches!(
        truth.observation,
        Observation::Established | Observation::Refused
    );
    let between = |detection| vec![(detection, client.clone(), server.clone(), service, None)];
    match (truth.intended, truth.observation) {
        // What the client's own side denies should never have come to an interface.
        (Intended::Denied, _) if truth.egress == Egress::Denied || is_through => {
            between("policy-not-enforced")
        }
        (Intended::Denied, _) => between("blocked-attempt"),
        (Intended::Allowed, Observation::Rejected) => {
            let is_by_rule =
                truth.egress == Egress::AllowedByRule || truth.ingress == Ingress::AllowedByRule;
            if is_by_rule {
                between("security-group-contradicts-policy")
            } else {
                Vec::new()
            }
        }
        (Intended::Allowed, Observation::Unanswered) => Vec::new(),
        (Intended::Allowed, Observation::Established | Observation::Refused) => {
            let mut found = Vec::new();
            if truth.ingress == Ingress::AllowedNotIsolated {
                found.push(("unprotected-ingress", None, server, None, None));
            }
            if truth.egress == Egress::AllowedNotIsolated {
                found.push(("unprotected-egress", client, None, None, None));
            }
            found
        }
    }
}

/// Whether the log and the inventory are enough to see what happened.
fn is_certain(world: &World<'_>, truth: &ConnectionTruth, connection: &Connection) -> bool {
    let start_s = connection.opened_ms.div_euclid(SECOND_MS);
    let end_s = -(-connection.closed_ms.min(world.scenario.end_ms())).div_euclid(SECOND_MS);
    let ends = [
        (connection.client_addr, connection.client),
        (connection.server_addr, connection.server),
    ];
    !truth.spans_policy_change
        && ends
            .into_iter()
            .all(|(address, party)| world.is_identifiable(address, party, start_s, end_s))
}

/// The namespaces the scenario names, where a pod of its own network runs at the end.
fn missing_default_deny(world: &World<'_>) -> Vec<About> {
    let end_ms = world.scenario.end_ms();
    let mut found = Vec::new();
    for namespace in &world.scenario.namespaces {
        let name = &namespace.name.value;
        let runs = world.pods.iter().any(|pod| {
            let is_here = world.workload_spec(pod).namespace() == name && !pod.host_network;
            is_here && pod.life.started_ms <= end_ms && pod.life.finished_ms() > end_ms
        });
        for direction in namespace.default_deny_missing.iter().filter(|_| runs) {
            let direction = match direction {
                Direction::Ingress => "ingress",
                Direction::Egress => "egress",
            };
            let namespace = Subject::Namespace {
                namespace: name.clone(),
            };
            found.push((
                "default-deny-missing",
                None,
                Some(namespace),
                None,
                Some(direction),
            ));
        }
    }
    found
}

fn subject(identity: &Identity) -> Subject {
    match identity {
        Identity::Pod {
            namespace,
            workload_kind,
            workload,
            name,
            ..
        } => Subject::Workload {
            namespace: namespace.clone(),
            workload_kind: workload_kind.clone(),
            // A pod that no one owns is itself, also where the scenario makes several.
            workload: if workload_kind == "Pod" {
                name.clone()
            } else {
                workload.clone()
            },
        },
        Identity::Node { name, .. } => Subject::Node { name: name.clone() },
        Identity::External { .. } => Subject::External,
    }
}
