//! Rows of `endpoints` → the pods and nodes that policies speak of. Pure.

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_rules::cluster::{ContainerPort, Labels, Node, Phase, Pod, PortOwner};
use serde::Deserialize;

/// A declared port as the column `container_ports` holds it.
#[derive(Deserialize)]
struct PortColumn {
    #[serde(default)]
    name: Option<String>,
    port: u16,
    protocol: String,
    #[serde(default)]
    owner: Option<String>,
}

/// The labels that an endpoint row says; none where nobody knows them.
pub(crate) fn labels_of(row: &EndpointRow) -> Labels {
    let labels = row.labels.as_deref();
    let labels = labels.and_then(|text| serde_json::from_str(text).ok());
    labels.unwrap_or_default()
}

/// The pod that an endpoint row describes.
pub fn pod_of(row: &EndpointRow) -> Pod {
    let ports: Vec<PortColumn> = row
        .container_ports
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let port = |port: PortColumn| {
        Some(ContainerPort {
            name: port.name,
            port: port.port,
            protocol: port.protocol.parse().ok()?,
            host_port: None,
            owner: match port.owner.as_deref() {
                Some("init") => PortOwner::Init,
                Some("restartable-init") => PortOwner::RestartableInit,
                _ => PortOwner::Container,
            },
        })
    };
    Pod {
        namespace: row.namespace.clone().unwrap_or_default(),
        name: row.name.clone(),
        uid: row.uid.clone().unwrap_or_default(),
        labels: labels_of(row),
        addresses: row.addr.parse().into_iter().collect(),
        host_addresses: Vec::new(),
        ports: ports.into_iter().filter_map(port).collect(),
        host_network: row.host_network,
        node: row.node.clone(),
        service_account: row.service_account.clone(),
        phase: Phase::Running,
        ..Pod::default()
    }
}

/// The node that an endpoint row describes; a host-network pod's row describes the node it runs on.
pub fn node_of(row: &EndpointRow) -> Node {
    Node {
        name: if row.kind == "node" {
            row.name.clone()
        } else {
            row.node.clone().unwrap_or_default()
        },
        uid: row.uid.clone().unwrap_or_default(),
        labels: labels_of(row),
        addresses: row.addr.parse().into_iter().collect(),
        ..Node::default()
    }
}
