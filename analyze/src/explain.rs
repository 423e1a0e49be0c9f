//! One question about the past: what did the declared policies mean for a connection at an instant?

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use flowaudit_lake::Lake;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_rules::cluster::{Cluster, Pod, Protocol};
use flowaudit_rules::evaluate::{Connection, Holder, Party, evaluate};
use flowaudit_rules::security_group::{
    Interface, InterfaceConnection, Interfaces, LayeredVerdict, Membership, SecurityGroups,
};

use crate::error::AnalyzeError;
use crate::hour::Inventory;
use crate::identify::{Book, Held, Stretch};
use crate::judge::{node_of, pod_of};
use crate::settings::Settings;
use crate::unknown;

/// A question as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'q> {
    /// `namespace/pod` or an address.
    pub from: &'q str,
    /// `namespace/pod` or an address.
    pub to: &'q str,
    /// In which cluster pods are meant; without it a name must be one in a single cluster.
    pub cluster: Option<&'q str>,
    /// Port at the server.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// When.
    pub at_us: i64,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What policies declare, and security groups if they were given and the connection passes an interface.
    pub verdict: LayeredVerdict,
    /// The same in several lines.
    pub text: String,
}

/// Who an end of a question is, and of which cluster; of none, its name is empty.
struct End {
    who: Who,
    cluster: String,
}

enum Who {
    Pod(Box<Pod>, Option<IpAddr>),
    Node(Box<flowaudit_rules::cluster::Node>, IpAddr),
    Address(IpAddr),
}

/// Answers from the inventory in the lake, and from security groups with the interfaces that have them, which the lake does
/// not hold.
pub fn explain_at(
    lake: &Lake,
    settings: &Settings,
    question: &Question<'_>,
    security_groups: Option<(&SecurityGroups, &Interfaces)>,
) -> Result<Answer, AnalyzeError> {
    let snapshot = lake.snapshot()?;
    let instant = Stretch {
        from: question.at_us,
        to: question.at_us,
    };
    let inventory = Inventory::read(lake, &snapshot, instant)?;
    let book = inventory.book(settings);
    is_known(&book, question)?;
    let timeline = inventory.timeline(instant, settings);
    let worlds = timeline.worlds(timeline.span(instant).last);
    let (from, to) = (
        end(&book, question, question.from)?,
        end(&book, question, question.to)?,
    );
    // A Service that is asked for by its address is looked up where the other end is.
    let world_of = |end: &End, other: &End| match end.cluster.as_str() {
        "" => worlds.of(&other.cluster),
        cluster => worlds.of(cluster),
    };
    let connection = Connection {
        client: party(&from.who, &world_of(&from, &to).cluster),
        server: party(&to.who, &world_of(&to, &from).cluster),
        port: question.port,
        protocol: question.protocol,
    };
    let policy = worlds.between([&from.cluster, &to.cluster], |world, known| {
        let mut seen = connection;
        for (party, is_known) in [&mut seen.client, &mut seen.server].into_iter().zip(known) {
            if !is_known {
                party.holder = Holder::External;
            }
        }
        let engine = world.engine(settings.engine);
        evaluate(&world.policies, &world.cluster, engine, &seen)
    });
    let node_of_both = from.node().filter(|_| from.node() == to.node());
    let verdict = LayeredVerdict {
        policy,
        security_groups: security_groups.filter(|_| node_of_both.is_none()).map(
            |(groups, interfaces)| {
                let interface = |party: &Party<'_>| Interface {
                    address: party.address,
                    membership: party.address.map_or(Membership::Unknown, |address| {
                        interfaces.membership(address)
                    }),
                };
                groups.judge(&InterfaceConnection {
                    client: interface(&connection.client),
                    server: interface(&connection.server),
                    port: question.port,
                    client_port: None,
                    protocol: question.protocol,
                })
            },
        ),
    };
    let mut text = verdict.explain(&connection);
    if let (Some((_, node)), Some(_)) = (node_of_both, security_groups) {
        text += &format!("security groups do not see what stays on node {node}\n");
    }
    Ok(Answer { verdict, text })
}

impl End {
    /// The node that it is on, if that is known, with its cluster.
    fn node(&self) -> Option<(&str, &str)> {
        let node = match &self.who {
            Who::Pod(pod, _) => pod.node.as_deref()?,
            Who::Node(node, _) => &node.name,
            Who::Address(_) => return None,
        };
        Some((&self.cluster, node))
    }
}

fn party<'a>(who: &'a Who, cluster: &'a Cluster) -> Party<'a> {
    match who {
        Who::Pod(pod, address) => Party {
            address: *address,
            holder: Holder::Pod(pod),
        },
        Who::Node(node, address) => Party {
            address: Some(*address),
            holder: Holder::Node(node),
        },
        Who::Address(address) => {
            // Services are found by their address; a pod or node would have been found in the book.
            let holder = cluster
                .holders(*address)
                .into_iter()
                .find(|holder| matches!(holder, Holder::Service(_)));
            Party {
                address: Some(*address),
                holder: holder.unwrap_or(Holder::External),
            }
        }
    }
}

fn end(book: &Book, question: &Question<'_>, text: &str) -> Result<End, AnalyzeError> {
    let at = Stretch {
        from: question.at_us,
        to: question.at_us,
    };
    let Ok(address) = text.parse::<IpAddr>() else {
        return pod_named(book, question.cluster, text, at);
    };
    let address = address.to_canonical();
    match book.held(address, None, at) {
        Held::By { versions, .. } => {
            if versions.iter().any(|row| book.is_perhaps_of_a_pod(*row)) {
                return Err(AnalyzeError::UncertainParty {
                    party: text.into(),
                    at: rfc3339(at.from),
                    reason: unknown::HOLDER.into(),
                });
            }
            // `held` never gives an empty list.
            let row = versions.last().map(|row| book.row(*row));
            let cluster = row.map(|row| row.cluster.clone()).unwrap_or_default();
            let who = match row {
                Some(row) if row.kind == "pod" && !row.host_network => {
                    Who::Pod(Box::new(pod_of(row)), Some(address))
                }
                Some(row) if matches!(row.kind.as_str(), "pod" | "node") => {
                    Who::Node(Box::new(node_of(row)), address)
                }
                _ => Who::Address(address),
            };
            Ok(End { who, cluster })
        }
        Held::Range { .. } | Held::External => Ok(End {
            who: Who::Address(address),
            cluster: String::new(),
        }),
        Held::Unclear(doubt) => Err(AnalyzeError::UncertainParty {
            party: text.into(),
            at: rfc3339(at.from),
            reason: doubt.as_str().into(),
        }),
    }
}

/// Whether there is a cluster of the name that was asked for.
fn is_known(book: &Book, question: &Question<'_>) -> Result<(), AnalyzeError> {
    let clusters = book.rows().iter().map(|row| row.cluster.as_str());
    let clusters: BTreeSet<&str> = clusters.filter(|cluster| !cluster.is_empty()).collect();
    match question.cluster {
        Some(cluster) if !clusters.contains(cluster) => Err(AnalyzeError::UnknownCluster {
            cluster: cluster.to_owned(),
            at: rfc3339(question.at_us),
            clusters: clusters.into_iter().map(str::to_owned).collect(),
        }),
        _ => Ok(()),
    }
}

fn pod_named(
    book: &Book,
    cluster: Option<&str>,
    text: &str,
    at: Stretch,
) -> Result<End, AnalyzeError> {
    let unknown = || AnalyzeError::UnknownParty {
        party: text.into(),
        at: rfc3339(at.from),
    };
    let (namespace, name) = text.split_once('/').ok_or_else(unknown)?;
    let rows = book.rows().iter().filter(|row| {
        row.kind == "pod"
            && row.namespace.as_deref() == Some(namespace)
            && row.name == name
            && cluster.is_none_or(|cluster| row.cluster == cluster)
    });
    let possibly = |row: &&EndpointRow| {
        Stretch::core_and_outer(
            row.valid_from_us,
            row.valid_to_us,
            row.from_slack_ms,
            row.to_slack_ms,
        )
        .1
        .touches(at)
    };
    let rows: Vec<&EndpointRow> = rows.filter(possibly).collect();
    let clusters: BTreeSet<&String> = rows.iter().map(|row| &row.cluster).collect();
    if clusters.len() > 1 {
        return Err(AnalyzeError::PartyOfSeveralClusters {
            party: text.into(),
            at: rfc3339(at.from),
            clusters: clusters.into_iter().cloned().collect(),
        });
    }
    let row = rows
        .into_iter()
        .max_by_key(|row| row.valid_from_us)
        .ok_or_else(unknown)?;
    let pod = pod_of(row);
    let address = pod.addresses.first().copied();
    Ok(End {
        who: Who::Pod(Box::new(pod), address),
        cluster: row.cluster.clone(),
    })
}

fn rfc3339(at_us: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(at_us).map_or_else(
        || at_us.to_string(),
        |at| at.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}
