//! What findings are about: workloads rather than pods, so that a finding outlives a restart.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::endpoints::EndpointRow;

use crate::described::labels_of;
use crate::identify::ranges::is_range;

/// One side of a finding. Empty text where something does not apply.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// `pod` (a workload's pods), `node`, `external`, `namespace` and so on.
    pub kind: String,
    /// Cluster.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Kind of the workload.
    pub workload_kind: String,
    /// Name of the workload; of the range, for an external address that lies in one with a name.
    pub workload: String,
    /// Name, for what is no workload: a node, a namespace, an address or network.
    pub name: String,
}

impl Subject {
    /// The client of an edge.
    pub fn client(edge: &EdgeRow) -> Subject {
        subject(
            &edge.client_kind,
            [
                &edge.client_cluster,
                &edge.client_namespace,
                &edge.client_workload_kind,
                &edge.client_workload,
                &edge.client_name,
            ],
            &edge.client_addr,
        )
    }

    /// The server of an edge.
    pub fn server(edge: &EdgeRow) -> Subject {
        subject(
            &edge.server_kind,
            [
                &edge.server_cluster,
                &edge.server_namespace,
                &edge.server_workload_kind,
                &edge.server_workload,
                &edge.server_name,
            ],
            &edge.server_addr,
        )
    }

    /// The subject of a finding: all external addresses together are one, or a scan would make a thousand findings.
    pub fn collapsed(&self) -> Subject {
        match self.kind.as_str() {
            "external" => Subject {
                kind: self.kind.clone(),
                ..Subject::default()
            },
            _ => self.clone(),
        }
    }

    /// A namespace as a whole.
    pub fn namespace(cluster: &str, name: &str) -> Subject {
        Subject {
            kind: "namespace".into(),
            cluster: cluster.into(),
            namespace: name.into(),
            ..Subject::default()
        }
    }

    /// Whether it is the pods of a workload.
    pub fn is_pods(&self) -> bool {
        self.kind == "pod"
    }

    /// For fingerprints.
    pub fn key(&self) -> String {
        [
            &self.kind,
            &self.cluster,
            &self.namespace,
            &self.workload_kind,
            &self.workload,
            &self.name,
        ]
        .map(String::as_str)
        .join("\u{1}")
    }

    /// Within its cluster: `shop/cart`, `node cn-hangzhou.10.0.3.5`, `198.51.100.0/24`.
    fn name(&self) -> String {
        match (self.kind.as_str(), self.workload.as_str()) {
            ("pod", "") => format!("{}/{}", self.namespace, self.name),
            ("pod", workload) => format!("{}/{workload}", self.namespace),
            ("namespace", _) => format!("namespace {}", self.namespace),
            ("external", _) if self.name.is_empty() => "external addresses".into(),
            ("external", range) if !range.is_empty() => format!("{range} ({})", self.name),
            ("external" | "unidentified" | "ambiguous", _) => self.name.clone(),
            (kind, _) if self.namespace.is_empty() => format!("{kind} {}", self.name),
            (kind, _) => format!("{kind} {}/{}", self.namespace, self.name),
        }
    }
}

fn subject(
    kind: &str,
    [cluster, namespace, workload_kind, workload, name]: [&Option<String>; 5],
    addr: &str,
) -> Subject {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if is_range(kind) {
        // Outside, whatever it is called: policies can admit its addresses only.
        return Subject {
            kind: "external".into(),
            workload: text(name),
            name: network_of(addr),
            ..Subject::default()
        };
    }
    let name = match (kind, name, workload) {
        ("pod", _, Some(_)) => String::new(),
        (_, Some(name), _) => name.clone(),
        ("external", None, _) => network_of(addr),
        _ => addr.to_owned(),
    };
    Subject {
        kind: kind.into(),
        cluster: text(cluster),
        namespace: text(namespace),
        workload_kind: text(workload_kind),
        workload: text(workload),
        name,
    }
}

/// The network an external address belongs to, or the text itself.
fn network_of(addr: &str) -> String {
    match addr.parse::<IpAddr>() {
        Ok(address) => crate::identify::neighbourhood(address).to_string(),
        Err(_) => addr.to_owned(),
    }
}

/// What findings say of workloads beyond their edges: how they are called, and the labels that select the pods of each. These
/// are those that all its pods share, without those that the controller adds to tell its pods or generations apart.
#[derive(Debug, Default)]
pub struct Workloads {
    /// Names must say of which cluster they are.
    several_clusters: bool,
    /// By cluster, namespace, kind and name.
    labels: HashMap<[String; 4], BTreeMap<String, String>>,
    /// By cluster, namespace and name.
    node_of: HashMap<[String; 3], String>,
}

/// Labels that controllers add.
const CONTROLLERS_OWN: [&str; 9] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "job-name",
    "batch.kubernetes.io/job-name",
];

impl Workloads {
    /// What the inventory says about all workloads.
    pub fn new(rows: &[EndpointRow]) -> Workloads {
        let mut all = Workloads::default();
        // What is of none has no name of a cluster.
        let clusters = rows.iter().map(|row| &row.cluster);
        let mut clusters = clusters.filter(|cluster| !cluster.is_empty());
        if let Some(first) = clusters.next() {
            all.several_clusters = clusters.any(|other| other != first);
        }
        for row in rows
            .iter()
            .filter(|row| row.kind == "pod" && !row.host_network)
        {
            let namespace = row.namespace.clone().unwrap_or_default();
            if let Some(node) = &row.node {
                let pod = [row.cluster.clone(), namespace.clone(), row.name.clone()];
                all.node_of.insert(pod, node.clone());
            }
            let mut labels = labels_of(row);
            labels.retain(|key, _| !CONTROLLERS_OWN.contains(&key.as_str()));
            let (Some(kind), Some(workload)) = (&row.workload_kind, &row.workload) else {
                continue;
            };
            all.labels
                .entry([
                    row.cluster.clone(),
                    namespace,
                    kind.clone(),
                    workload.clone(),
                ])
                .and_modify(|known| known.retain(|key, value| labels.get(key) == Some(value)))
                .or_insert(labels);
        }
        all
    }

    /// The labels of a workload's pods; `None` where nothing is known of it.
    pub fn of(&self, subject: &Subject) -> Option<&BTreeMap<String, String>> {
        let key = [
            &subject.cluster,
            &subject.namespace,
            &subject.workload_kind,
            &subject.workload,
        ];
        self.labels.get(&key.map(String::clone))
    }

    /// The node a pod ran on.
    pub fn node_of(&self, cluster: &str, namespace: &str, pod: &str) -> Option<&str> {
        let pod = [cluster, namespace, pod].map(str::to_owned);
        self.node_of.get(&pod).map(String::as_str)
    }

    /// For titles and sentences: `shop/cart`, or `shop/cart of cluster a` where there are several; `node
    /// cn-hangzhou.10.0.3.5`, `198.51.100.0/24`.
    pub fn name(&self, subject: &Subject) -> String {
        let name = subject.name();
        match subject.cluster.as_str() {
            cluster if self.several_clusters && !cluster.is_empty() => {
                format!("{name} of cluster {cluster}")
            }
            _ => name,
        }
    }
}
