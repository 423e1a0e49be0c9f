//! A ClusterIP in the log → the pods behind it at that time, as EndpointSlices say.
//!
//! Addresses of Services are translated before the interface, so one in the log is rare: a node that did not translate, or
//! somebody outside who tried it. Which pod it would have been nobody can tell; who it may have been stands beside it.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_rules::kubernetes::{self, Body};

use crate::identify::{CANDIDATES_MAX, Stretch};

/// Pods behind a Service, and when they possibly were.
type Behind = Vec<(Stretch, BTreeSet<String>)>;

/// Names the pods behind each Service that stands in an edge. `apart_us` is how far clocks may be apart.
pub fn name_backends(edges: &mut [EdgeRow], objects: &[ObjectRow], apart_us: i64) {
    let is_service = |edge: &EdgeRow| edge.server_kind == "service";
    if !edges.iter().any(is_service) {
        return;
    }
    let behind = behind(objects, apart_us);
    for edge in edges.iter_mut().filter(|edge| is_service(edge)) {
        let (Some(cluster), Some(namespace), Some(name)) = (
            &edge.server_cluster,
            &edge.server_namespace,
            &edge.server_name,
        ) else {
            continue;
        };
        let seen = Stretch {
            from: edge.first_seen_us,
            to: edge.last_seen_us,
        };
        let key = (cluster.clone(), namespace.clone(), name.clone());
        let slices = behind.get(&key).into_iter().flatten();
        let then = slices.filter(|(when, _)| when.touches(seen));
        let pods: BTreeSet<&String> = then.flat_map(|(_, pods)| pods).collect();
        let pods: Vec<&String> = pods.into_iter().take(CANDIDATES_MAX).collect();
        let list = serde_json::to_string(&pods).ok();
        edge.server_candidates = list.filter(|_| !pods.is_empty());
    }
}

fn behind(objects: &[ObjectRow], apart_us: i64) -> BTreeMap<(String, String, String), Behind> {
    let mut behind: BTreeMap<_, Behind> = BTreeMap::new();
    for row in objects.iter().filter(|row| row.kind == "EndpointSlice") {
        let (_, outer) = Stretch::core_and_outer(
            row.valid_from_us,
            row.valid_to_us,
            row.from_slack_ms,
            row.to_slack_ms,
        );
        for object in kubernetes::read("", &row.spec).objects {
            let Body::EndpointSlice(slice) = object.body else {
                continue;
            };
            let Some(service) = slice.service else {
                continue;
            };
            let pods = slice.endpoints.into_iter().filter(|one| one.serving);
            let pods = pods.filter_map(|one| {
                let target = one.target.filter(|target| target.kind == "Pod")?;
                let namespace = target.namespace.unwrap_or_else(|| slice.namespace.clone());
                Some(format!("{namespace}/{}", target.name))
            });
            behind
                .entry((row.cluster.clone(), slice.namespace.clone(), service))
                .or_default()
                .push((outer.widened(apart_us), pods.collect()));
        }
    }
    behind
}
