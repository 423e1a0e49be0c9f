//! What the lake knows of the cloud, and what one more look at it adds: the histories of [`crate::inventory`], with objects
//! that are not of Kubernetes.
//!
//! A thing belongs to its region, which stands where Kubernetes has the namespace; the cluster is empty. Addresses follow
//! from the versions of the things that hold them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use serde::Serialize;
use serde_json::Value;

use super::addresses::{Address, addresses};
use super::reply::Kind;
use crate::inventory::history::{By, Facts, History, Interval, Run};
use crate::inventory::ledger::{Coverage, Covered, Ledger, Subject};
use crate::inventory::rows::{LEDGER_GROUP, LEDGER_KIND};

/// The cluster of what belongs to none.
pub(super) const CLUSTER: &str = "";

/// What the rows of the cloud say.
#[derive(Debug, Default)]
pub(super) struct Known {
    ledger: Ledger,
    histories: BTreeMap<Subject, History<String>>,
    origins: BTreeMap<(Subject, String), String>,
    /// Rows without a cluster that others wrote.
    others: (Vec<EndpointRow>, Vec<ObjectRow>),
}

/// One look at a region.
#[derive(Debug)]
pub(super) struct Look<'l> {
    pub(super) region: &'l str,
    /// Microseconds since the epoch.
    pub(super) at: i64,
    pub(super) objects: &'l BTreeMap<(Kind, String), String>,
    /// Kinds of which everything there is was seen.
    pub(super) whole: &'l BTreeSet<Kind>,
    pub(super) origin: &'l str,
}

/// What an endpoint rests on.
#[derive(Serialize)]
struct Evidence<'e> {
    by: [By; 1],
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    /// Of an interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'e str>,
}

impl Known {
    /// From the rows that have no cluster.
    pub(super) fn from_rows(endpoints: &[EndpointRow], objects: &[ObjectRow]) -> Known {
        let mut known = Known::default();
        for row in endpoints {
            // Ours are made anew from the objects.
            if !matches!(row.kind.as_str(), "eni" | "load-balancer" | "nat-gateway") {
                known.others.0.push(row.clone());
            }
        }
        let mut versions = Vec::new();
        for row in objects {
            let is_ledger = row.group == LEDGER_GROUP && row.kind == LEDGER_KIND;
            match serde_json::from_str::<Covered>(&row.spec) {
                Ok(covered) if is_ledger => known.ledger.add(row.valid_from_us, covered),
                _ if Kind::from_text(&row.group, &row.kind).is_some() => versions.push(row),
                _ => known.others.1.push(row.clone()),
            }
        }
        for row in versions {
            let subject = Subject {
                group: row.group.clone(),
                kind: row.kind.clone(),
                namespace: row.namespace.clone(),
                name: row.name.clone(),
                uid: String::new(),
            };
            let covering = known.ledger.covering(&subject);
            let version = (subject.clone(), row.spec.clone());
            known.origins.insert(version, row.origin.clone());
            let history = known.histories.entry(subject).or_default();
            history.learn(&facts(&row.spec));
            let run = Run {
                content: row.spec.clone(),
                first: row.valid_from_us,
                last: row.valid_to_us.unwrap_or(row.valid_from_us),
                by: BTreeSet::from([By::Snapshot]),
            };
            history.restore(run, &covering);
        }
        known
    }

    /// Adds what was seen at one time.
    pub(super) fn learn(&mut self, look: &Look<'_>) {
        let subject = |kind: Kind, name: &str| Subject {
            group: kind.group().to_owned(),
            kind: kind.as_str().to_owned(),
            namespace: Some(look.region.to_owned()),
            name: name.to_owned(),
            uid: String::new(),
        };
        let mut covered = Covered::default();
        let (mut alone, mut seen) = (Vec::new(), BTreeSet::new());
        for kind in look.whole {
            covered.cover_namespace(kind.group(), kind.as_str(), look.region);
        }
        for ((kind, id), spec) in look.objects {
            let subject = subject(*kind, id);
            let covering = self.ledger.covering(&subject);
            let history = self.histories.entry(subject.clone()).or_default();
            history.learn(&facts(spec));
            history.see(look.at, spec.clone(), By::Snapshot, &covering);
            let version = (subject.clone(), spec.clone());
            let origin = || look.origin.to_owned();
            self.origins.entry(version).or_insert_with(origin);
            if !look.whole.contains(kind) {
                alone.push(subject.clone());
            }
            seen.insert(subject);
        }
        covered.add(alone.iter(), false, Coverage::Partial);
        for (subject, history) in &mut self.histories {
            if !seen.contains(subject) && covered.covers(subject) {
                history.miss(look.at, &self.ledger.covering(subject));
            }
        }
        self.ledger.add(look.at, covered);
    }

    /// The rows, in order.
    pub(super) fn into_rows(mut self) -> (Vec<EndpointRow>, Vec<ObjectRow>) {
        let (mut endpoints, mut objects) = std::mem::take(&mut self.others);
        for (subject, history) in &self.histories {
            let covering = self.ledger.covering(subject);
            let intervals = history.intervals(&covering);
            for interval in &intervals {
                let version = (subject.clone(), interval.run.content.clone());
                objects.push(ObjectRow {
                    group: subject.group.clone(),
                    kind: subject.kind.clone(),
                    namespace: subject.namespace.clone(),
                    name: subject.name.clone(),
                    uid: None,
                    valid_from_us: interval.start,
                    valid_to_us: Some(interval.end),
                    from_slack_ms: slack(interval.start_low, Some(interval.start)),
                    to_slack_ms: slack(Some(interval.end), interval.end_high),
                    spec: interval.run.content.clone(),
                    origin: self.origins.get(&version).cloned().unwrap_or_default(),
                    cluster: CLUSTER.to_owned(),
                });
            }
            endpoints.extend(endpoint_rows(subject, &intervals));
        }
        objects.extend(self.ledger.snapshots().map(|(at, covered)| ObjectRow {
            group: LEDGER_GROUP.to_owned(),
            kind: LEDGER_KIND.to_owned(),
            namespace: None,
            name: time(at).to_rfc3339_opts(SecondsFormat::AutoSi, true),
            uid: None,
            valid_from_us: at,
            valid_to_us: Some(at),
            from_slack_ms: Some(0),
            to_slack_ms: Some(0),
            spec: serde_json::to_string(covered).unwrap_or_default(),
            origin: String::new(),
            cluster: CLUSTER.to_owned(),
        }));
        endpoints.sort();
        objects.sort();
        (endpoints, objects)
    }
}

/// When a thing says it was made; it cannot be older. What it was like then nobody knows.
fn facts(spec: &str) -> Facts {
    let spec: Value = serde_json::from_str(spec).unwrap_or_default();
    let made = ["CreationTime", "CreateTime"]
        .iter()
        .find_map(|key| spec.get(*key)?.as_str());
    let made = made.and_then(|made| DateTime::parse_from_rfc3339(made).ok());
    Facts {
        not_before: made.map(|made| made.timestamp_micros()),
        ..Facts::default()
    }
}

/// Who held which address: versions of a thing that follow each other without a miss between them are one holding of
/// what address both have.
fn endpoint_rows(subject: &Subject, intervals: &[Interval<'_, String>]) -> Vec<EndpointRow> {
    let kind = Kind::from_text(&subject.group, &subject.kind);
    let mut rows: Vec<EndpointRow> = Vec::new();
    // Of each address: its last row, and the number of the version that it ends with.
    let mut last: BTreeMap<Address, (usize, usize)> = BTreeMap::new();
    for (number, interval) in intervals.iter().enumerate() {
        let spec: Value = serde_json::from_str(&interval.run.content).unwrap_or_default();
        let Some((endpoint, held)) = kind.and_then(|kind| addresses(kind, &spec)) else {
            continue;
        };
        let r#type = spec.get("Type").and_then(Value::as_str);
        let r#type = r#type.filter(|_| endpoint == "eni");
        for address in held {
            let before = last.get(&address).copied();
            let follows = before.filter(|(_, version)| {
                let earlier = intervals.get(*version);
                *version + 1 == number
                    && earlier.is_some_and(|earlier| earlier.end_high == Some(interval.start))
            });
            let to_slack_ms = slack(Some(interval.end), interval.end_high);
            if let Some((row, _)) = follows
                && let Some(row) = rows.get_mut(row)
            {
                row.valid_to_us = Some(interval.end);
                row.to_slack_ms = to_slack_ms;
                row.evidence = evidence(row.valid_from_us, interval.end, r#type);
                last.entry(address)
                    .and_modify(|(_, version)| *version = number);
                continue;
            }
            last.insert(address.clone(), (rows.len(), number));
            rows.push(EndpointRow {
                addr: address.addr,
                vpc_id: address.vpc_id,
                valid_from_us: interval.start,
                valid_to_us: Some(interval.end),
                from_slack_ms: slack(interval.start_low, Some(interval.start)),
                to_slack_ms,
                kind: endpoint.to_owned(),
                cluster: CLUSTER.to_owned(),
                namespace: None,
                name: subject.name.clone(),
                uid: None,
                workload_kind: None,
                workload: None,
                labels: None,
                host_network: false,
                node: None,
                container_ports: None,
                service_account: None,
                eni_id: None,
                evidence: evidence(interval.start, interval.end, r#type),
            });
        }
    }
    rows
}

fn evidence(first: i64, last: i64, r#type: Option<&str>) -> String {
    let evidence = Evidence {
        by: [By::Snapshot],
        first_seen: time(first),
        last_seen: time(last),
        r#type,
    };
    serde_json::to_string(&evidence).unwrap_or_default()
}

/// Milliseconds between two times, rounded up: what is possible must not become smaller.
fn slack(from: Option<i64>, to: Option<i64>) -> Option<i64> {
    let us = to?.saturating_sub(from?);
    Some(us / 1000 + i64::from(us % 1000 > 0))
}

fn time(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eni(addr: &str, group: &str) -> String {
        format!(r#"{{"PrivateIpAddress":"{addr}","SecurityGroupIds":["{group}"],"VpcId":"vpc-1"}}"#)
    }

    /// Sees interfaces at times, each time through the rows.
    fn rows(looks: &[(i64, &[(&str, String)])]) -> (Vec<EndpointRow>, Vec<ObjectRow>) {
        let mut rows = (Vec::new(), Vec::new());
        for (at, seen) in looks {
            let objects = seen
                .iter()
                .map(|(id, spec)| ((Kind::NetworkInterface, (*id).to_owned()), spec.clone()))
                .collect();
            let mut known = Known::from_rows(&rows.0, &rows.1);
            known.learn(&Look {
                region: "cn-hangzhou",
                at: at * 1_000_000,
                objects: &objects,
                whole: &BTreeSet::from([Kind::NetworkInterface]),
                origin: "test",
            });
            rows = known.into_rows();
        }
        rows
    }

    type Row<'r> = (&'r str, i64, i64, Option<i64>, Option<i64>);

    fn endpoints(rows: &[EndpointRow]) -> Vec<Row<'_>> {
        let seconds = |us: i64| us / 1_000_000;
        let row = |row: &'_ EndpointRow| {
            let to = row.valid_to_us.unwrap();
            (
                seconds(row.valid_from_us),
                seconds(to),
                row.from_slack_ms,
                row.to_slack_ms,
            )
        };
        rows.iter()
            .map(|one| {
                let (from, to, before, after) = row(one);
                (one.name.as_str(), from, to, before, after)
            })
            .collect()
    }

    #[test]
    fn an_address_is_held_through_a_change_of_groups() {
        let looks: [(i64, &[(&str, String)]); 3] = [
            (10, &[("eni-1", eni("10.0.0.1", "sg-1"))]),
            (20, &[("eni-1", eni("10.0.0.1", "sg-2"))]),
            (30, &[("eni-2", eni("10.0.0.1", "sg-2"))]),
        ];
        let expected = [
            ("eni-1", 10, 20, None, Some(10_000)),
            ("eni-2", 30, 30, Some(10_000), None),
        ];
        let (found, objects) = rows(&looks);
        assert_eq!(endpoints(&found), expected);
        assert_eq!(found[0].vpc_id.as_deref(), Some("vpc-1"));
        // Two versions of the first, one of the second, three looks.
        assert_eq!(objects.len(), 6);
        let mut backwards = looks;
        backwards.reverse();
        assert_eq!(endpoints(&rows(&backwards).0), expected, "in any order");
    }

    #[test]
    fn looking_again_changes_nothing() {
        let look: (i64, &[(&str, String)]) = (10, &[("eni-1", eni("10.0.0.1", "sg-1"))]);
        assert_eq!(rows(&[look]), rows(&[look, look]));
    }
}
