//! Who may reach whom: every workload to every workload, port by port, as the evaluator judges.
//!
//! Pods that no policy can tell apart are one class, and one pod of each class is asked about. Where the pods of a
//! workload belong to several classes and the answers differ, the cell is [`Reach::Mixed`].

mod classes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::bulk::Bulk;
use crate::cluster::{Cluster, Owners, Pod, Protocol};
use crate::evaluate::{Connection, Party};
use crate::policy_set::PolicySet;
use crate::reading::Engine;
use crate::verdict::{Outcome, Unspecified};
use classes::{Class, Seen};

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// These ports of every server; empty: those that its pods declare or its Services lead to.
    pub ports: Vec<(u16, Protocol)>,
    /// Clients of these namespaces only; empty: of all.
    pub from: Vec<String>,
    /// Servers of these namespaces only; empty: of all.
    pub to: Vec<String>,
    /// More judgements than this are refused.
    pub judgements_max: u64,
}

/// Who may reach whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// By client, server and port.
    pub cells: Vec<Cell>,
    /// Servers of which no port is known.
    pub without_ports: Vec<WorkloadId>,
    /// Workloads of the host network: policies treat them as their nodes.
    pub on_host_network: Vec<WorkloadId>,
    /// Workloads whose pods are of so many classes that not all were asked about.
    pub not_all_asked: Vec<WorkloadId>,
}

/// One client, one server, one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Who connects.
    pub client: WorkloadId,
    /// To whom.
    pub server: WorkloadId,
    /// To which port.
    pub port: u16,
    /// By which protocol.
    #[serde(serialize_with = "as_text")]
    pub protocol: Protocol,
    /// Whether it may.
    pub verdict: Reach,
    /// On what it depends, where it does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unspecified: Vec<Unspecified>,
}

/// Whether a workload may reach another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// All of its pods may, on every engine in question.
    Allowed,
    /// None of its pods may.
    Denied,
    /// It depends on the engine.
    Unspecified,
    /// Some pods may, or to some pods, and others not.
    Mixed,
}

impl Reach {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unspecified => "unspecified",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A workload of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkloadId {
    /// Its namespace.
    pub namespace: String,
    /// `Deployment`, `StatefulSet` … `Pod` for a pod without a controller.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for WorkloadId {
    /// `shop/Deployment/cart`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

/// Why there is no matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// There would be too many cells to judge, and to read.
    #[error(
        "{clients} workloads to {servers} workloads are {judgements} judgements, more than {judgements_max}"
    )]
    TooLarge {
        /// Clients.
        clients: usize,
        /// Servers.
        servers: usize,
        /// What it would take.
        judgements: u64,
        /// What was allowed.
        judgements_max: u64,
    },
}

impl MatrixError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } => Some(
                "ask about fewer namespaces, on one side or both, or about fewer ports".to_owned(),
            ),
        }
    }
}

/// Judges every client to every server. Finished pods are left out.
pub fn matrix(
    policies: &PolicySet,
    cluster: &Cluster,
    owners: &Owners,
    engine: Engine,
    ask: &Ask,
) -> Result<Matrix, MatrixError> {
    let is_in = |names: &[String], namespace: &str| {
        names.is_empty() || names.iter().any(|name| name == namespace)
    };
    let seen = classes::workloads(policies, cluster, owners, |namespace| {
        is_in(&ask.from, namespace) || is_in(&ask.to, namespace)
    });
    let mut matrix = Matrix {
        on_host_network: seen.on_host_network,
        ..Matrix::default()
    };
    let workloads = seen.workloads.iter();
    matrix.not_all_asked = workloads
        .filter(|workload| workload.has_more)
        .map(|workload| workload.id.clone())
        .collect();
    let of = |names: &[String]| -> Vec<&Seen<'_>> {
        let workloads = seen.workloads.iter();
        workloads
            .filter(|seen| is_in(names, &seen.id.namespace))
            .collect()
    };
    let (clients, servers) = (of(&ask.from), of(&ask.to));
    let ports: Vec<BTreeSet<(u16, Protocol)>> = servers
        .iter()
        .map(|server| match ask.ports.is_empty() {
            true => server.ports(cluster),
            false => ask.ports.iter().copied().collect(),
        })
        .collect();
    check_size(&clients, &servers, &ports, ask)?;
    let bulk = Bulk::new(policies, cluster, engine);
    for client in &clients {
        for (server, ports) in servers.iter().zip(&ports) {
            let ends = ends(client, server);
            for &(port, protocol) in ports {
                matrix
                    .cells
                    .extend(cell(&bulk, (client, server), &ends, port, protocol));
            }
        }
    }
    let silent = servers
        .iter()
        .zip(&ports)
        .filter(|(_, ports)| ports.is_empty());
    matrix.without_ports = silent.map(|(server, _)| server.id.clone()).collect();
    Ok(matrix)
}

fn check_size(
    clients: &[&Seen<'_>],
    servers: &[&Seen<'_>],
    ports: &[BTreeSet<(u16, Protocol)>],
    ask: &Ask,
) -> Result<(), MatrixError> {
    let asking: u64 = clients
        .iter()
        .map(|client| client.classes.len() as u64)
        .sum();
    let asked: u64 = servers
        .iter()
        .zip(ports)
        .map(|(server, ports)| server.classes.len() as u64 * ports.len() as u64)
        .sum();
    let judgements = asking.saturating_mul(asked);
    if judgements <= ask.judgements_max {
        return Ok(());
    }
    Err(MatrixError::TooLarge {
        clients: clients.len(),
        servers: servers.len(),
        judgements,
        judgements_max: ask.judgements_max,
    })
}

/// The pods to ask about: one of each class of the client with one of each class of the server, and never a pod with
/// itself, which nothing can keep apart.
fn ends<'a>(client: &Seen<'a>, server: &Seen<'a>) -> Vec<(&'a Pod, &'a Pod)> {
    let pair = |from: &Class<'a>, to: &Class<'a>| {
        let is_same = |pod: &Pod| std::ptr::eq(pod, from.first);
        match is_same(to.first) {
            false => Some((from.first, to.first)),
            true => to.second.map(|second| (from.first, second)),
        }
    };
    let classes = client.classes.iter();
    classes
        .flat_map(|from| server.classes.iter().filter_map(move |to| pair(from, to)))
        .collect()
}

/// `None` where there is nobody to ask: a workload of one pod and itself.
fn cell<'a>(
    bulk: &Bulk<'a>,
    (client, server): (&Seen<'_>, &Seen<'_>),
    ends: &[(&'a Pod, &'a Pod)],
    port: u16,
    protocol: Protocol,
) -> Option<Cell> {
    let mut verdict = None;
    let mut unspecified = BTreeSet::new();
    for (from, to) in ends {
        let answer = bulk.evaluate(&Connection {
            client: Party::pod(from),
            server: Party::pod(to),
            port,
            protocol,
        });
        let reach = match answer.outcome {
            Outcome::Allowed => Reach::Allowed,
            Outcome::Denied => Reach::Denied,
            Outcome::Unspecified => Reach::Unspecified,
        };
        unspecified.extend(answer.unspecified);
        verdict = match verdict {
            Some(other) if other != reach => Some(Reach::Mixed),
            _ => Some(reach),
        };
    }
    Some(Cell {
        client: client.id.clone(),
        server: server.id.clone(),
        port,
        protocol,
        verdict: verdict?,
        unspecified: unspecified.into_iter().collect(),
    })
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
