//! When nobody watched who held which address: gaps of the inventory.
//!
//! A pod that was born and ended while nobody watched is in no row. So where a gap is, an address has the holder that is
//! known only if that holder's core goes on through it.

use std::collections::BTreeMap;

use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::{FileEntry, Lake, read as lake_read};

use super::Stretch;
use crate::error::AnalyzeError;

/// The reason of such rows in `gaps`.
pub const REASON: &str = "inventory";

/// What the source of such a row begins with: `inventory/<cluster>/<group>/<Kind>`.
const SOURCE: &str = "inventory/";

/// Stretches of time, disjoint and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times(Vec<Stretch>);

impl Times {
    /// What these have in them, in whatever order they come.
    pub fn new(stretches: impl IntoIterator<Item = Stretch>) -> Times {
        let mut sorted: Vec<Stretch> = stretches.into_iter().collect();
        sorted.sort_unstable_by_key(|stretch| (stretch.from, stretch.to));
        let mut times: Vec<Stretch> = Vec::new();
        for stretch in sorted {
            match times.last_mut() {
                Some(last) if stretch.from <= last.to => last.to = last.to.max(stretch.to),
                _ => times.push(stretch),
            }
        }
        Times(times)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them has an instant in common with `window`.
    pub fn touch(&self, window: Stretch) -> bool {
        let at = self.0.partition_point(|stretch| stretch.to < window.from);
        self.0
            .get(at)
            .is_some_and(|stretch| stretch.from <= window.to)
    }

    /// The stretches.
    pub fn iter(&self) -> std::slice::Iter<'_, Stretch> {
        self.0.iter()
    }
}

/// When nobody watched pods, by cluster.
#[derive(Debug, Clone, Default)]
pub struct Unseen {
    by_cluster: BTreeMap<String, Times>,
    anywhere: Times,
    never: Times,
}

impl Unseen {
    /// What rows of `gaps` say; others than those of the inventory's pods are passed over. Clocks may be `apart_us` apart.
    pub fn new(rows: &[GapRow], apart_us: i64) -> Unseen {
        let mut by_cluster: BTreeMap<String, Vec<Stretch>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.reason == REASON) {
            let Some(cluster) = pods_of(&row.source) else {
                continue;
            };
            let gap = Stretch {
                from: row.from_us,
                to: row.to_us.saturating_sub(1).max(row.from_us),
            };
            let gaps = by_cluster.entry(cluster.to_owned()).or_default();
            gaps.push(gap.widened(apart_us));
        }
        Unseen {
            anywhere: Times::new(by_cluster.values().flatten().copied()),
            by_cluster: by_cluster
                .into_iter()
                .map(|(cluster, gaps)| (cluster, Times::new(gaps)))
                .collect(),
            never: Times::default(),
        }
    }

    /// When nobody watched the pods of a cluster, and as far around that as clocks may be apart.
    pub fn of(&self, cluster: &str) -> &Times {
        self.by_cluster.get(cluster).unwrap_or(&self.never)
    }

    /// When the pods of some cluster were not watched.
    pub fn anywhere(&self) -> &Times {
        &self.anywhere
    }

    /// All ends that matter: those of each cluster, and of all together.
    pub fn all(&self) -> Vec<Stretch> {
        let each = self.by_cluster.values().flat_map(Times::iter);
        each.chain(self.anywhere.iter()).copied().collect()
    }
}

/// The rows of a file of `gaps` that tell of the inventory.
pub(crate) fn read(lake: &Lake, entry: &FileEntry) -> Result<Vec<GapRow>, AnalyzeError> {
    Ok(lake_read::rows_with(lake, entry, "reason", REASON)?)
}

/// The cluster, if it is the watch of pods that has the gap (or the watch as a whole).
fn pods_of(source: &str) -> Option<&str> {
    let mut parts = source.strip_prefix(SOURCE)?.split('/');
    let cluster = parts.next()?;
    match (parts.next(), parts.next()) {
        (None, _) | (Some(""), Some("Pod")) => Some(cluster),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gaps_of_pods_hide_holders() {
        let row = |source: &str, reason: &str| GapRow {
            eni_id: None,
            from_us: 100,
            to_us: 200,
            reason: reason.into(),
            source: source.into(),
            source_position: 0,
        };
        let rows = [
            row("inventory/a//Pod", "inventory"),
            row("inventory/b/networking.k8s.io/NetworkPolicy", "inventory"),
            row("inventory/c", "inventory"),
            row("inventory/d//Pod", "skipdata"),
            row("logs", "inventory"),
        ];
        let unseen = Unseen::new(&rows, 10);
        let at = |at| Stretch { from: at, to: at };
        let seen = ["a", "b", "c", "d"].map(|cluster| unseen.of(cluster).touch(at(150)));
        assert_eq!(seen, [true, false, true, false]);
        assert!(unseen.anywhere().touch(at(90)) && unseen.anywhere().touch(at(209)));
        assert!(!unseen.anywhere().touch(at(89)) && !unseen.anywhere().touch(at(210)));
    }
}
