//! What was different at two instants: who held which address, and what was declared.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Lake, LakeError, read};

use super::over_time;
use super::rows::is_ledger;

/// What became of something between two instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Became {
    /// It was there at the second only.
    Came,
    /// It was there at the first only.
    Went,
    /// It was there at both, and different.
    Changed,
}

impl Became {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Became::Came => "came",
            Became::Went => "went",
            Became::Changed => "changed",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// `holder` of an address or `object`.
    pub of: &'static str,
    /// The cluster.
    pub cluster: String,
    /// Kind of the holder (`pod`) or the object (`NetworkPolicy`).
    pub kind: String,
    /// Namespace, where it has one.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Address of a holder, API group of an object.
    pub at: String,
    /// What became of it.
    pub became: Became,
    /// What of it changed.
    pub what: Vec<&'static str>,
    /// Whether that is sure: at both instants it was surely there, or surely not.
    pub surely: bool,
}

/// Everything that was different at `to` from what it was at `from`, in order.
pub fn diff(
    lake: &Lake,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Difference>, LakeError> {
    let snapshot = lake.snapshot()?;
    let (from, to) = (from.timestamp_micros(), to.timestamp_micros());
    let endpoints = read::rows::<EndpointRow>(lake, &snapshot)?;
    let objects = read::rows::<ObjectRow>(lake, &snapshot)?;
    let mut differences = holders(&endpoints, from, to);
    differences.extend(declared(&objects, from, to));
    differences.sort();
    Ok(differences)
}

fn holders(rows: &[EndpointRow], from: i64, to: i64) -> Vec<Difference> {
    let states = states(
        rows,
        |row| {
            let name = (row.namespace.clone(), row.name.clone(), row.uid.clone());
            (
                row.cluster.clone(),
                row.kind.clone(),
                row.addr.clone(),
                row.vpc_id.clone(),
                name,
            )
        },
        |row, at| {
            let slack = (row.from_slack_ms, row.to_slack_ms);
            there(at, row.valid_from_us, row.valid_to_us, slack)
        },
        [from, to],
    );
    let difference = |(row, became, surely, before): (&EndpointRow, _, _, Option<&EndpointRow>)| {
        let what = before.map(|before| over_time::changes(before, row));
        let what = what.unwrap_or_default();
        (became != Became::Changed || !what.is_empty()).then(|| Difference {
            of: "holder",
            cluster: row.cluster.clone(),
            kind: row.kind.clone(),
            namespace: row.namespace.clone(),
            name: row.name.clone(),
            at: row.addr.clone(),
            became,
            what,
            surely,
        })
    };
    states.into_iter().filter_map(difference).collect()
}

fn declared(rows: &[ObjectRow], from: i64, to: i64) -> Vec<Difference> {
    let rows: Vec<ObjectRow> = rows.iter().filter(|row| !is_ledger(row)).cloned().collect();
    let states = states(
        &rows,
        |row| {
            let name = (row.namespace.clone(), row.name.clone());
            (
                row.cluster.clone(),
                row.group.clone(),
                row.kind.clone(),
                name,
            )
        },
        |row, at| {
            let slack = (row.from_slack_ms, row.to_slack_ms);
            there(at, row.valid_from_us, row.valid_to_us, slack)
        },
        [from, to],
    );
    let difference = |(row, became, surely, before): (&ObjectRow, _, _, Option<&ObjectRow>)| {
        let mut what = Vec::new();
        if let Some(before) = before {
            what.extend((before.uid != row.uid).then_some("uid"));
            what.extend((before.spec != row.spec).then_some("spec"));
        }
        (became != Became::Changed || !what.is_empty()).then(|| Difference {
            of: "object",
            cluster: row.cluster.clone(),
            kind: row.kind.clone(),
            namespace: row.namespace.clone(),
            name: row.name.clone(),
            at: row.group.clone(),
            became,
            what,
            surely,
        })
    };
    states.into_iter().filter_map(difference).collect()
}

/// Whether something was there at an instant: surely, or possibly.
fn there(
    at: i64,
    from: i64,
    to: Option<i64>,
    (before_ms, after_ms): (Option<i64>, Option<i64>),
) -> Option<bool> {
    let us = |ms: i64| ms.saturating_mul(1000);
    let low = before_ms.map_or(i64::MIN, |slack| from.saturating_sub(us(slack)));
    let end = to.unwrap_or(i64::MAX);
    let high = after_ms.map_or(i64::MAX, |slack| end.saturating_add(us(slack)));
    match at {
        at if (from..=end).contains(&at) => Some(true),
        at if (low..=high).contains(&at) => Some(false),
        _ => None,
    }
}

type State<'r, R> = (&'r R, Became, bool, Option<&'r R>);

/// What became of each thing: its row at the second instant (or at the first, if it went), and the one before it.
fn states<'r, R, K: Ord>(
    rows: &'r [R],
    key: impl Fn(&R) -> K,
    there: impl Fn(&R, i64) -> Option<bool>,
    instants: [i64; 2],
) -> Vec<State<'r, R>> {
    let mut known: BTreeMap<K, [Option<(bool, &'r R)>; 2]> = BTreeMap::new();
    for row in rows {
        for (n, at) in instants.into_iter().enumerate() {
            let Some(surely) = there(row, at) else {
                continue;
            };
            let [before, after] = known.entry(key(row)).or_default();
            let state = if n == 0 { before } else { after };
            // Of two versions that may have held the one that surely did.
            if state.is_none_or(|(sure, _)| surely && !sure) {
                *state = Some((surely, row));
            }
        }
    }
    let became = |[before, after]: [Option<(bool, &'r R)>; 2]| match (before, after) {
        (None, Some((surely, row))) => Some((row, Became::Came, surely, None)),
        (Some((surely, row)), None) => Some((row, Became::Went, surely, None)),
        (Some((sure, before)), Some((surely, row))) => {
            Some((row, Became::Changed, sure && surely, Some(before)))
        }
        (None, None) => None,
    };
    known.into_values().filter_map(became).collect()
}

#[cfg(test)]
mod tests {
    use super::super::over_time::tests::pod;
    use super::*;

    #[test]
    fn holders_come_go_and_change() {
        let relabelled = EndpointRow {
            labels: Some(r#"{"a":"b"}"#.into()),
            ..pod("cart", "10.0.0.1", 150, Some(300))
        };
        let rows = [
            pod("cart", "10.0.0.1", 0, Some(140)),
            relabelled,
            pod("redis", "10.0.0.2", 0, Some(150)),
            pod("web", "10.0.0.2", 160, None),
            pod("same", "10.0.0.3", 0, None),
            EndpointRow {
                to_slack_ms: None,
                ..pod("lost", "10.0.0.4", 0, Some(150))
            },
        ];
        let told = |from, to| -> Vec<String> {
            let differences = holders(&rows, from, to);
            let mut told: Vec<String> = differences
                .iter()
                .map(|one| {
                    format!(
                        "{} {} {:?} {}",
                        one.became.as_str(),
                        one.name,
                        one.what,
                        one.surely
                    )
                })
                .collect();
            told.sort();
            told
        };
        assert_eq!(
            told(100, 200),
            [
                "came web [] true",
                "changed cart [\"labels\"] true",
                "went redis [] true"
            ]
        );
        assert_eq!(told(100, 100), [""; 0]);
        assert_eq!(
            told(-1, 150),
            [
                "came cart [] true",
                "came lost [] true",
                "came redis [] true",
                "came same [] true"
            ]
        );
    }

    #[test]
    fn declared_objects_change_by_their_text() {
        let policy = |spec: &str, from, to| ObjectRow {
            group: "networking.k8s.io".into(),
            kind: "NetworkPolicy".into(),
            namespace: Some("shop".into()),
            name: "p".into(),
            uid: None,
            valid_from_us: from,
            valid_to_us: to,
            from_slack_ms: Some(0),
            to_slack_ms: Some(0),
            spec: spec.into(),
            origin: String::new(),
            cluster: "c".into(),
        };
        let rows = [policy("a", 0, Some(100)), policy("b", 101, None)];
        let differences = declared(&rows, 50, 150);
        assert_eq!(differences.len(), 1);
        assert_eq!(
            (differences[0].became, &differences[0].what),
            (Became::Changed, &vec!["spec"])
        );
        assert_eq!(declared(&rows, 150, 250), []);
    }
}
