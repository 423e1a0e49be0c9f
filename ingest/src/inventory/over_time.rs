//! What the rows of `endpoints` say about one holder or one address over time, and what they rest on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::{Lake, LakeError, read};
use serde::Deserialize;

/// What the column `evidence` says, as far as it can be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rests {
    /// Kinds of evidence: `snapshot`, `watch` and so on.
    pub by: BTreeSet<String>,
    /// Kinds of evidence that gave times only.
    pub dated_by: BTreeSet<String>,
    /// The first time it was seen so.
    pub first_seen: Option<DateTime<Utc>>,
    /// The last time it was seen so.
    pub last_seen: Option<DateTime<Utc>>,
}

impl Rests {
    /// What a row rests on; nothing where others than the inventory wrote it.
    #[must_use]
    pub fn of(row: &EndpointRow) -> Rests {
        serde_json::from_str(&row.evidence).unwrap_or_default()
    }

    /// The kinds of evidence, in a row.
    #[must_use]
    pub fn words(&self) -> String {
        let words: BTreeSet<&str> = self.by.union(&self.dated_by).map(String::as_str).collect();
        words.into_iter().collect::<Vec<_>>().join("+")
    }
}

/// Whose past is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Everyone who held an address.
    Address(IpAddr),
    /// Every pod of a namespace and name, one after the other.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Whatever has that name and no namespace: a node.
    Name(String),
}

impl Of {
    /// Reads an address, `namespace/pod`, or the name of a node.
    #[must_use]
    pub fn parse(text: &str) -> Of {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Of::Address(address.to_canonical());
        }
        match text.split_once('/') {
            Some((namespace, name)) => Of::Pod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            None => Of::Name(text.to_owned()),
        }
    }

    fn is(&self, row: &EndpointRow) -> bool {
        match self {
            Of::Address(address) => row
                .addr
                .parse::<IpAddr>()
                .is_ok_and(|addr| addr.to_canonical() == *address),
            Of::Pod { namespace, name } => {
                row.namespace.as_deref() == Some(namespace) && row.name == *name
            }
            Of::Name(name) => row.namespace.is_none() && row.name == *name,
        }
    }
}

/// One stretch of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The row.
    pub row: EndpointRow,
    /// What is different from the stretch before, of the same holder at the same address; nothing for the first.
    pub changed: Vec<&'static str>,
}

/// The past of a holder or an address, by time.
pub fn past(lake: &Lake, of: &Of) -> Result<Vec<Past>, LakeError> {
    let rows = read::rows::<EndpointRow>(lake, &lake.snapshot()?)?;
    Ok(in_order(
        rows.into_iter().filter(|row| of.is(row)).collect(),
    ))
}

fn in_order(mut rows: Vec<EndpointRow>) -> Vec<Past> {
    rows.sort_by(|a, b| {
        (a.valid_from_us, a.valid_to_us, a).cmp(&(b.valid_from_us, b.valid_to_us, b))
    });
    let mut past: Vec<Past> = Vec::with_capacity(rows.len());
    for row in rows {
        let before = past.iter().rev().find(|before| is_same(&before.row, &row));
        let changed = before.map(|before| changes(&before.row, &row));
        past.push(Past {
            changed: changed.unwrap_or_default(),
            row,
        });
    }
    past
}

/// Whether two rows are about one holder at one address.
#[must_use]
pub fn is_same(a: &EndpointRow, b: &EndpointRow) -> bool {
    let key = |row: &EndpointRow| {
        (
            row.addr.clone(),
            row.vpc_id.clone(),
            row.kind.clone(),
            row.cluster.clone(),
            row.namespace.clone(),
            row.name.clone(),
            row.uid.clone(),
        )
    };
    key(a) == key(b)
}

/// The names of what differs between two rows of one holder.
#[must_use]
pub fn changes(a: &EndpointRow, b: &EndpointRow) -> Vec<&'static str> {
    [
        ("labels", a.labels != b.labels),
        ("node", a.node != b.node),
        (
            "workload",
            (&a.workload_kind, &a.workload) != (&b.workload_kind, &b.workload),
        ),
        ("ports", a.container_ports != b.container_ports),
        ("service account", a.service_account != b.service_account),
        ("network", a.host_network != b.host_network),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(name, _)| name)
    .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pod in `shop` that surely held an address between two instants, microseconds since the epoch.
    pub(in super::super) fn pod(name: &str, addr: &str, from: i64, to: Option<i64>) -> EndpointRow {
        EndpointRow {
            addr: addr.into(),
            vpc_id: None,
            valid_from_us: from,
            valid_to_us: to,
            from_slack_ms: Some(0),
            to_slack_ms: Some(0),
            kind: "pod".into(),
            cluster: "c".into(),
            namespace: Some("shop".into()),
            name: name.into(),
            uid: Some(format!("uid-{name}")),
            workload_kind: None,
            workload: None,
            labels: None,
            host_network: false,
            node: Some("n1".into()),
            container_ports: None,
            service_account: None,
            eni_id: None,
            evidence: r#"{"by":["snapshot","watch"],"last_seen":"2026-11-24T08:00:00Z"}"#.into(),
        }
    }

    #[test]
    fn the_past_of_an_address_is_in_order_and_says_what_changed() {
        let relabelled = EndpointRow {
            labels: Some(r#"{"a":"b"}"#.into()),
            ..pod("cart", "10.0.0.1", 50, Some(100))
        };
        let rows = vec![
            relabelled,
            pod("redis", "10.0.0.1", 110, None),
            pod("cart", "10.0.0.1", 0, Some(40)),
        ];
        let past = in_order(rows);
        let told: Vec<(&str, Vec<&str>)> = past
            .iter()
            .map(|past| (past.row.name.as_str(), past.changed.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("cart", vec![]),
                ("cart", vec!["labels"]),
                ("redis", vec![])
            ]
        );
        assert_eq!(Rests::of(&past[0].row).words(), "snapshot+watch");
    }

    #[test]
    fn whose_past_is_meant() {
        let row = pod("cart", "10.0.0.1", 0, None);
        for text in ["10.0.0.1", "::ffff:10.0.0.1", "shop/cart"] {
            assert!(Of::parse(text).is(&row), "{text}");
        }
        for text in ["10.0.0.2", "shop/redis", "web/cart", "cart"] {
            assert!(!Of::parse(text).is(&row), "{text}");
        }
    }
}
