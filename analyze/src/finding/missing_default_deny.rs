//! `default-deny-missing`: namespaces in which pods run that no policy isolates.
//!
//! ## What it finds
//! A namespace with running pods of their own network, at least one of which no NetworkPolicy isolates for ingress, or
//! for egress.
//! ## Why it matters
//! Whatever is not isolated accepts, and may send, everything; pods that come tomorrow are open too.
//! ## When it is wrong
//! Namespaces that are open on purpose.
//! ## What to do
//! Apply a default-deny policy for the direction, after policies that admit what is needed.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::findings::FindingRow;
use flowaudit_rules::policy;

use super::remedy::{Direction, default_deny};
use super::{Detection, Evidence, Statement, Subject, Totals, Workloads, keep};
use crate::judge::pod_of;
use crate::worlds::World;

/// The findings for the pods of a cluster that ran at `at_us`, under the policies then in force.
pub fn missing_default_deny<'r>(
    rows: impl IntoIterator<Item = &'r EndpointRow>,
    world: &World,
    workloads: &Workloads,
    at_us: i64,
) -> Vec<FindingRow> {
    let mut open: BTreeMap<(&str, &str, Direction), (Evidence, BTreeSet<&str>)> = BTreeMap::new();
    for row in rows
        .into_iter()
        .filter(|row| row.kind == "pod" && !row.host_network && ran_at(row, at_us))
    {
        let pod = pod_of(row);
        for direction in [Direction::Ingress, Direction::Egress] {
            let wanted = match direction {
                Direction::Ingress => policy::Direction::Ingress,
                Direction::Egress => policy::Direction::Egress,
            };
            let isolated = world.policies.isolates(&pod, &world.cluster, wanted);
            if !isolated {
                let namespace = row.namespace.as_deref().unwrap_or_default();
                let about = (row.cluster.as_str(), namespace, direction);
                let (evidence, pods) = open.entry(about).or_default();
                pods.insert(&row.name);
                keep(&mut evidence.pods, format!("{namespace}/{}", row.name));
            }
        }
    }
    let statement = |((cluster, namespace, direction), (evidence, pods)): (
        (&str, &str, Direction),
        (Evidence, BTreeSet<&str>),
    )| {
        let number = pods.len();
        let (are, pods) = if number == 1 {
            ("is", "pod")
        } else {
            ("are", "pods")
        };
        let server = Subject::namespace(cluster, namespace);
        let name = workloads.name(&server);
        Statement {
            detection: Detection::DefaultDenyMissing,
            client: None,
            server: Some(server),
            port: None,
            protocol: None,
            aspect: direction.as_str(),
            title: format!("{name}: no default deny for {}", direction.as_str()),
            explanation: format!(
                "{number} {pods} of {name} {are} not isolated for {} by any NetworkPolicy, so everything is allowed in that direction",
                direction.as_str()
            ),
            remedy: default_deny(namespace, direction),
            evidence,
        }
        .into_row(Totals { first_us: at_us, last_us: at_us, ..Totals::default() })
    };
    open.into_iter().map(statement).collect()
}

/// Held its address for certain, or was seen shortly before and not known to have ended.
fn ran_at(row: &EndpointRow, at_us: i64) -> bool {
    let to = match (row.valid_to_us, row.to_slack_ms) {
        (None, _) | (_, None) => i64::MAX,
        (Some(to), Some(_)) => to,
    };
    row.valid_from_us <= at_us && at_us <= to
}
