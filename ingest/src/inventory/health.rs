//! How good the inventory is: how old, from what, with which holes and contradictions.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::coverage::CoverageRow;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Lake, LakeError, Table, read};
use flowaudit_rules::evaluate::Engine;
use flowaudit_rules::kubernetes::{self, Body};

use super::contradiction::Contradiction;
use super::live::watch_of;
use super::over_time::Rests;
use super::rows::{Known, LEDGER_KIND, is_ledger};
use super::sighting::UNKNOWN;
use super::unseen::is_unseen;
use crate::cloud::{self, flow_logs};

/// The reason of gaps of the inventory.
const REASON: &str = "inventory";

/// What is known of all clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// By name of the cluster.
    pub clusters: BTreeMap<String, OfCluster>,
    /// The newest record of the log, microseconds since the epoch.
    pub newest_flow_us: Option<i64>,
    /// Records whose ends are identified, and all that were analysed.
    pub identified: (i64, i64),
    /// Records by what became of identifying their ends.
    pub by_outcome: BTreeMap<String, i64>,
    /// What flow logs cannot contain, a sentence each, as the last look at the cloud showed them.
    pub unlogged: Vec<String>,
}

/// What is known of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfCluster {
    /// When anything was last seen, microseconds since the epoch.
    pub last_seen_us: Option<i64>,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Addresses that somebody is known to have held, by kind of holder.
    pub addresses: BTreeMap<String, u64>,
    /// The last sighting of each kind of evidence, microseconds since the epoch.
    pub evidence: BTreeMap<String, i64>,
    /// The engine that the newest configuration of Terway names.
    pub engine: Option<Engine>,
    /// Kinds that a live watch follows, or followed, by name.
    pub watched: BTreeMap<String, Watched>,
    /// When nobody watched, with the source that says so, by time.
    pub gaps: Vec<Gap>,
    /// What cannot all be true.
    pub contradictions: Vec<Contradiction>,
}

/// How a live watch of one kind stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// When it was last heard, microseconds since the epoch; nothing where it never could be had.
    pub heard_us: Option<i64>,
    /// Why it cannot be had since.
    pub lost: Option<String>,
    /// Begin of the last stretch without a gap, microseconds since the epoch.
    since_us: i64,
}

/// A stretch in which nobody watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// First instant, microseconds since the epoch.
    pub from_us: i64,
    /// First instant seen again.
    pub to_us: i64,
    /// What was not watched, `<group>/<Kind>`; empty for everything.
    pub what: String,
}

/// Looks at all that the lake knows.
pub fn health(lake: &Lake) -> Result<Health, LakeError> {
    let snapshot = lake.snapshot()?;
    let endpoints = read::rows::<EndpointRow>(lake, &snapshot)?;
    let objects = read::rows::<ObjectRow>(lake, &snapshot)?;
    let mut gaps: Vec<GapRow> = Vec::new();
    for entry in snapshot.files(Table::Gaps) {
        gaps.extend(read::rows_with(lake, entry, "reason", REASON)?);
    }
    let mut health = Health {
        newest_flow_us: snapshot
            .files(Table::Flows)
            .filter_map(|entry| entry.max_us)
            .max(),
        ..Health::of(&endpoints, &objects, &gaps)
    };
    for row in read::rows::<CoverageRow>(lake, &snapshot)? {
        if row.step == "identify" {
            *health.by_outcome.entry(row.outcome).or_default() += row.records;
        }
    }
    health.identified = (
        health.by_outcome.get("identified").copied().unwrap_or(0),
        health.by_outcome.values().sum(),
    );
    Ok(health)
}

impl Health {
    fn of(endpoints: &[EndpointRow], objects: &[ObjectRow], gaps: &[GapRow]) -> Health {
        let mut health = Health {
            unlogged: unlogged(objects),
            ..Health::default()
        };
        let mut addresses: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for row in endpoints {
            let of = health.clusters.entry(row.cluster.clone()).or_default();
            let rests = Rests::of(row);
            let seen = rests.last_seen.map(|at| at.timestamp_micros());
            let seen = seen.max(row.valid_to_us);
            of.last_seen_us = of.last_seen_us.max(seen);
            for by in rests.by.iter().chain(&rests.dated_by) {
                let last = of.evidence.entry(by.clone()).or_insert(i64::MIN);
                *last = (*last).max(seen.unwrap_or(row.valid_from_us));
            }
            let of_kind = addresses.entry((&row.cluster, &row.kind)).or_default();
            of_kind.insert(&row.addr);
        }
        for ((cluster, kind), addresses) in addresses {
            let of = health.clusters.entry(cluster.to_owned()).or_default();
            of.addresses.insert(kind.to_owned(), addresses.len() as u64);
        }
        let mut configured: BTreeMap<&str, i64> = BTreeMap::new();
        for row in objects {
            let of = health.clusters.entry(row.cluster.clone()).or_default();
            let seen = row.valid_to_us.filter(|_| !is_unseen(row));
            of.last_seen_us = of.last_seen_us.max(seen);
            of.snapshots += u64::from(is_ledger(row) && row.kind == LEDGER_KIND);
            if let Some(spec) = watch_of(row) {
                let watched = of.watched.entry(row.name.clone()).or_default();
                if watched.since_us <= row.valid_from_us {
                    watched.since_us = row.valid_from_us;
                    watched.lost = spec.lost.clone();
                }
                let heard = row.valid_to_us.filter(|_| spec.is_listed());
                watched.heard_us = watched.heard_us.max(heard);
            }
            if row.kind != "ConfigMap" {
                continue;
            }
            let at = row.valid_to_us.unwrap_or(i64::MAX);
            let known = configured.get(row.cluster.as_str());
            if known.is_some_and(|known| *known > at) {
                continue;
            }
            // What it was changed to may not be known: then nothing is.
            let read = kubernetes::read("", &row.spec).objects.into_iter().next();
            let engine = read.and_then(|object| match object.body {
                Body::Terway(terway) => Some(terway.engine()),
                _ => None,
            });
            if engine.is_some() || row.spec == UNKNOWN {
                configured.insert(&row.cluster, at);
                of.engine = engine;
            }
        }
        for row in gaps {
            let Some((cluster, what)) = row
                .source
                .strip_prefix("inventory/")
                .map(|source| source.split_once('/').unwrap_or((source, "")))
            else {
                continue;
            };
            let of = health.clusters.entry(cluster.to_owned()).or_default();
            of.gaps.push(Gap {
                from_us: row.from_us,
                to_us: row.to_us,
                what: what.trim_start_matches('/').to_owned(),
            });
        }
        for (cluster, of) in &mut health.clusters {
            of.gaps.sort();
            of.gaps.dedup();
            let of_cluster = |one: &str| one == cluster;
            let endpoints = endpoints.iter().filter(|row| of_cluster(&row.cluster));
            let objects = objects.iter().filter(|row| of_cluster(&row.cluster));
            let endpoints: Vec<EndpointRow> = endpoints.cloned().collect();
            let objects: Vec<ObjectRow> = objects.cloned().collect();
            let mut known = Known::from_rows(&endpoints, &objects);
            of.contradictions = known.to_rows(cluster).contradictions;
        }
        health
    }
}

/// What the flow logs that were there at the last look cannot contain.
fn unlogged(objects: &[ObjectRow]) -> Vec<String> {
    let mut latest: BTreeMap<(cloud::Kind, String), &ObjectRow> = BTreeMap::new();
    for row in objects {
        let Some(kind) = cloud::Kind::from_text(&row.group, &row.kind) else {
            continue;
        };
        // What has an end was missed by a later look, or looked different then.
        if row.to_slack_ms.is_some() {
            continue;
        }
        let known = latest.entry((kind, row.name.clone())).or_insert(row);
        if known.valid_to_us < row.valid_to_us {
            *known = row;
        }
    }
    let specs = latest.into_iter().map(|(key, row)| (key, row.spec.clone()));
    flow_logs::limits(&specs.collect())
}

#[cfg(test)]
mod tests {
    use super::super::over_time::tests::pod;
    use super::*;

    #[test]
    fn age_evidence_and_holes_are_counted() {
        let rows = [
            pod("cart", "10.0.0.1", 0, Some(1_795_507_200_000_000)),
            pod("redis", "10.0.0.2", 0, None),
            EndpointRow {
                evidence: r#"{"by":["audit"]}"#.into(),
                ..pod("web", "10.0.0.2", 0, Some(5))
            },
        ];
        let gap = |source: &str| GapRow {
            eni_id: None,
            from_us: 10,
            to_us: 20,
            reason: REASON.into(),
            source: source.into(),
            source_position: 0,
        };
        let gaps = [gap("inventory/c//Pod"), gap("inventory/c//Pod"), gap("sls")];
        let watch = |name: &str, from: i64, to: i64, spec: &str| ObjectRow {
            group: "flowaudit".into(),
            kind: "Watch".into(),
            namespace: None,
            name: name.into(),
            uid: None,
            valid_from_us: from,
            valid_to_us: Some(to),
            from_slack_ms: Some(0),
            to_slack_ms: Some(0),
            spec: spec.into(),
            origin: String::new(),
            cluster: "c".into(),
        };
        let listed = r#"{"kinds":{"/Pod":["*"]}}"#;
        let objects = [
            watch("Pod", 30, 50, r#"{"kinds":{"/Pod":["*"]},"lost":"410"}"#),
            watch("Pod", 10, 20, listed),
            watch("Node", 10, 60, listed),
            watch("batch/Job", 10, 10, r#"{"kinds":{},"lost":"forbidden"}"#),
        ];
        let health = Health::of(&rows, &objects, &gaps);
        let of = &health.clusters["c"];
        assert_eq!(of.last_seen_us, Some(1_795_507_200_000_000));
        assert_eq!(of.addresses["pod"], 2);
        assert_eq!(of.evidence["audit"], 5);
        assert_eq!(of.evidence["watch"], 1_795_507_200_000_000);
        let watched = |name: &str| {
            let watched = &of.watched[name];
            (watched.heard_us, watched.lost.as_deref())
        };
        assert_eq!(watched("Pod"), (Some(50), Some("410")));
        assert_eq!(watched("Node"), (Some(60), None));
        assert_eq!(watched("batch/Job"), (None, Some("forbidden")));
        assert_eq!(of.snapshots, 0);
        assert_eq!(of.gaps.len(), 1);
        assert_eq!(of.gaps[0].what, "Pod");
        assert_eq!(health.clusters.len(), 1);
    }

    #[test]
    fn flow_logs_are_judged_as_they_were_last() {
        let row = |name: &str, status: &str, to_slack_ms| ObjectRow {
            group: "vpc.aliyuncs.com".into(),
            kind: "FlowLog".into(),
            namespace: Some("cn-hangzhou".into()),
            name: name.into(),
            uid: None,
            valid_from_us: 0,
            valid_to_us: Some(10),
            from_slack_ms: None,
            to_slack_ms,
            spec: format!(
                r#"{{"ResourceType":"VPC","ResourceId":"vpc-1","Status":"{status}","TrafficType":"All"}}"#
            ),
            origin: String::new(),
            cluster: String::new(),
        };
        let rows = [
            row("fl-1", "Inactive", Some(5)),
            row("fl-1", "Active", None),
            row("fl-2", "Inactive", None),
            row("fl-3", "Inactive", Some(5)),
        ];
        let said = Health::of(&[], &rows, &[]).unlogged;
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("`fl-2`"), "{said:?}");
    }
}
