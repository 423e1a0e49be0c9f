//! Holes of the log as rows of `gaps`: while nobody told of pods, an address may have had any holder.

use std::collections::BTreeSet;

use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::{Batch, Hour, Lake, LakeError, Partition, Snapshot, Table, read};

/// As an analysis and `inventory health` look for them.
const REASON: &str = "inventory";

/// The rows for holes of a cluster's log that the lake does not have yet, microseconds since the epoch.
pub(crate) fn new(
    lake: &Lake,
    base: &Snapshot,
    cluster: &str,
    holes: &[(i64, i64)],
) -> Result<Vec<GapRow>, LakeError> {
    if holes.is_empty() {
        return Ok(Vec::new());
    }
    let mut known: BTreeSet<(String, i64, i64)> = BTreeSet::new();
    for entry in base.files(Table::Gaps) {
        let rows: Vec<GapRow> = read::rows_with(lake, entry, "reason", REASON)?;
        known.extend(
            rows.into_iter()
                .map(|row| (row.source, row.from_us, row.to_us)),
        );
    }
    let source = format!("inventory/{cluster}//Pod");
    let rows = holes.iter().filter_map(|(from_us, to_us)| {
        let is_new = known.insert((source.clone(), *from_us, *to_us));
        is_new.then(|| GapRow {
            eni_id: None,
            from_us: *from_us,
            to_us: *to_us,
            reason: REASON.to_owned(),
            source: source.clone(),
            source_position: 0,
        })
    });
    Ok(rows.collect())
}

/// Adds the rows to a batch; what was analysed of that time is due again.
pub(crate) fn write(batch: &mut Batch, rows: &[GapRow]) -> Result<(), LakeError> {
    for row in rows {
        let partition = Partition::Date(Hour::of_us(row.from_us).date());
        batch.write_rows(partition, std::slice::from_ref(row))?;
        batch.reopen(
            row.from_us.saturating_sub(HOUR_MARGIN_US),
            row.to_us.saturating_add(HOUR_MARGIN_US),
        );
    }
    Ok(())
}
