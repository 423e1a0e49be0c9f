//! Who held an address at a time.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::{Lake, LakeError, read};

/// One who held, or possibly held, an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// The row that says so.
    pub row: EndpointRow,
    /// Whether it surely held the address then; else it possibly did.
    pub surely: bool,
}

/// Everyone who held `addr` at `at`, those who surely did first.
///
/// Several who surely held it are pods on one node's network with their node, or a contradiction in what is known; one
/// who possibly did beside another means that the address cannot be told to one of them.
pub fn who(lake: &Lake, addr: IpAddr, at: DateTime<Utc>) -> Result<Vec<HeldBy>, LakeError> {
    let addr = addr.to_canonical().to_string();
    let at = at.timestamp_micros();
    let mut held: Vec<HeldBy> = read::rows::<EndpointRow>(lake, &lake.snapshot()?)?
        .into_iter()
        .filter(|row| row.addr == addr && possibly(row, at))
        .map(|row| HeldBy {
            surely: row.valid_from_us <= at && row.valid_to_us.is_none_or(|to| at <= to),
            row,
        })
        .collect();
    held.sort_by(|a, b| b.surely.cmp(&a.surely).then_with(|| a.row.cmp(&b.row)));
    Ok(held)
}

/// The last who held `addr` before `at` and the first who held it after, as far as that is sure.
pub fn neighbours(
    lake: &Lake,
    addr: IpAddr,
    at: DateTime<Utc>,
) -> Result<[Option<EndpointRow>; 2], LakeError> {
    let addr = addr.to_canonical().to_string();
    let at = at.timestamp_micros();
    let rows = read::rows::<EndpointRow>(lake, &lake.snapshot()?)?;
    let other = rows
        .iter()
        .filter(|row| row.addr == addr && !possibly(row, at));
    let before = other
        .clone()
        .filter(|row| row.valid_to_us.is_some_and(|to| to < at))
        .max_by_key(|row| row.valid_to_us);
    let after = other
        .filter(|row| row.valid_from_us > at)
        .min_by_key(|row| row.valid_from_us);
    Ok([before.cloned(), after.cloned()])
}

fn possibly(row: &EndpointRow, at: i64) -> bool {
    let us = |ms: i64| ms.saturating_mul(1000);
    let from = row
        .from_slack_ms
        .map(|slack| row.valid_from_us.saturating_sub(us(slack)));
    let to = row
        .valid_to_us
        .and_then(|to| Some(to.saturating_add(us(row.to_slack_ms?))));
    from.is_none_or(|from| from <= at) && to.is_none_or(|to| at <= to)
}
