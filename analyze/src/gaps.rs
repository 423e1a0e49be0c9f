//! Stretches that the log lost, and what they may have hidden.
//!
//! `SKIPDATA` says that an interface saw packets of which there is no record. An answer or a rejection among them looks
//! as if nothing had come back. So "unanswered" is said only where no such stretch is near.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::DictionaryArray;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::table::Row;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::{Date, Hour, Lake, Partition, Snapshot, Table, read};

use crate::columns::{COLUMNS_AND_ENI, Columns, Dictionaries};
use crate::error::AnalyzeError;
use crate::fold::{Traffic, Tuple, Way};
use crate::identify::unseen::Times;
use crate::identify::{Held, Stretch};
use crate::parties::Parties;
use crate::scan::Scan;

/// Reasons in the table `gaps` that hide no packets: the interface had none, or it is the inventory that has a gap.
const HIDES_NOTHING: [&str; 2] = ["nodata", "inventory"];

/// Stretches of which the log lost records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Per interface; `None` where a whole source was not seen.
    by_eni: BTreeMap<Option<String>, Vec<Stretch>>,
}

impl Gaps {
    /// The gaps that the hours of a day may have to know: those that begin on it, on the day before or on the day after.
    pub fn read(lake: &Lake, snapshot: &Snapshot, date: Date) -> Result<Gaps, AnalyzeError> {
        let columns: Vec<&str> = GapRow::TABLE
            .columns()
            .iter()
            .map(|column| column.name)
            .collect();
        let mut gaps = Gaps::default();
        for day in [date.0.saturating_sub(1), date.0, date.0.saturating_add(1)] {
            for entry in snapshot.files_in(Table::Gaps, Partition::Date(Date(day))) {
                let file = read::open(lake, entry)?;
                // Batch by batch: nearly all rows say that an interface had nothing to log.
                for group in 0..file.row_groups() {
                    for batch in file.batches(&columns, group)? {
                        gaps.add(&GapRow::from_batch(&batch?)?);
                    }
                }
            }
        }
        Ok(gaps)
    }

    /// Adds the rows that may hide packets.
    pub fn add(&mut self, rows: &[GapRow]) {
        let hides = |row: &&GapRow| !HIDES_NOTHING.contains(&row.reason.as_str());
        for row in rows.iter().filter(hides) {
            let gap = Stretch {
                from: row.from_us,
                to: row.to_us.saturating_sub(1).max(row.from_us),
            };
            self.by_eni.entry(row.eni_id.clone()).or_default().push(gap);
        }
    }

    /// Those that can matter to records of an hour.
    pub fn near(&self, hour: Hour) -> Gaps {
        // Windows of the hour may end in the margin after it, and what is near them further on.
        let near = Stretch {
            from: hour.start_us().saturating_sub(HOUR_MARGIN_US),
            to: hour.end_us().saturating_add(3 * HOUR_MARGIN_US),
        };
        let near = |gaps: &Vec<Stretch>| -> Vec<Stretch> {
            let gaps = gaps.iter().copied();
            gaps.filter(|gap| gap.touches(near)).collect()
        };
        let by_eni = self.by_eni.iter();
        Gaps {
            by_eni: by_eni
                .map(|(eni, gaps)| (eni.clone(), near(gaps)))
                .filter(|(_, gaps)| !gaps.is_empty())
                .collect(),
        }
    }
}

/// The gaps near one hour, by the addresses whose interfaces have them.
#[derive(Debug, Default)]
pub struct Blind {
    any: Times,
    everywhere: Times,
    enis: Vec<(String, Times)>,
    /// By number of the address, the interfaces with gaps that logged for it, by number in `enis`; absent where no
    /// interface is known to have logged for it at all.
    interfaces: HashMap<u32, BTreeSet<u32>>,
}

impl Blind {
    /// The gaps of an hour, interfaces not yet looked up.
    pub fn new(gaps: &Gaps) -> Blind {
        let named = gaps.by_eni.iter();
        Blind {
            any: Times::new(gaps.by_eni.values().flatten().copied()),
            everywhere: Times::new(gaps.by_eni.get(&None).into_iter().flatten().copied()),
            enis: named
                .filter_map(|(eni, gaps)| Some((eni.clone()?, Times::new(gaps.iter().copied()))))
                .collect(),
            interfaces: HashMap::new(),
        }
    }

    /// Whether a gap is near a tuple that looks as if nothing had come back.
    pub fn matters_to(&self, tuple: &Tuple) -> bool {
        let answered = tuple.accepted(Way::Forth) && tuple.accepted(Way::Back);
        !answered && !self.any.is_empty() && self.any.touch(around(tuple))
    }

    /// Reads from the records which interfaces log for which addresses: a second pass, to be made only where
    /// [`matters_to`](Self::matters_to) says so.
    pub fn find_interfaces(&mut self, scan: &Scan<'_>) -> Result<(), AnalyzeError> {
        let mut units = scan.units();
        units.extend(scan.units_beside());
        let numbers: HashMap<&str, u32> = self
            .enis
            .iter()
            .zip(0..)
            .map(|((eni, _), n)| (eni.as_str(), n))
            .collect();
        let parts = scan.each_row_group(
            &units,
            COLUMNS_AND_ENI,
            || (HashMap::new(), Dictionaries::default()),
            |(interfaces, dictionaries), batch, file| {
                let columns = Columns::of(batch);
                dictionaries.update(scan, &columns, file)?;
                let enis: &DictionaryArray<Int32Type> =
                    batch.column(COLUMNS_AND_ENI.len() - 1).as_dictionary();
                let names = enis.values().as_string::<i32>().iter();
                let numbers: Vec<Option<u32>> = names
                    .map(|name| numbers.get(name.unwrap_or_default()).copied())
                    .collect();
                let mut last = None;
                for row in 0..batch.num_rows() {
                    let (src, dst) = dictionaries.ends(&columns, row);
                    let (at_source, _) = dictionaries.signs(&columns, row);
                    let address = if at_source { src.address } else { dst.address };
                    let logged = (address, numbers[enis.keys().value(row) as usize]);
                    if last != Some(logged) {
                        last = Some(logged);
                        let known: &mut BTreeSet<u32> = interfaces.entry(address).or_default();
                        known.extend(logged.1);
                    }
                }
                Ok(())
            },
            |(interfaces, _)| interfaces,
        )?;
        for (address, known) in parts.into_iter().flatten() {
            self.interfaces.entry(address).or_default().extend(known);
        }
        Ok(())
    }

    /// Whether an answer to packets of `tuple` that went `forward`, or their rejection, may be in a gap.
    ///
    /// The server's interface logs answers and rejections. The client's logs answers, too; where the server's logged
    /// what came and has no gap, a gap at the client's hides nothing.
    pub fn may_hide_answer(&self, tuple: &Tuple, forward: Way, parties: &Parties) -> bool {
        let near = around(tuple);
        if !self.any.touch(near) {
            return false;
        }
        let (client, server) = match forward {
            Way::Forth => (tuple.key.a, tuple.key.b),
            Way::Back => (tuple.key.b, tuple.key.a),
        };
        let logged_at_server = tuple.seen[forward as usize][1] != Traffic::default();
        self.is_blind(server, near, parties)
            || !logged_at_server && self.is_blind(client, near, parties)
    }

    /// Whether an interface that logs for a party has a gap there.
    fn is_blind(&self, holding: u32, near: Stretch, parties: &Parties) -> bool {
        let holding = parties.holding(holding);
        let has_gap = |eni: &u32| self.enis[*eni as usize].1.touch(near);
        self.everywhere.touch(near)
            || match self.interfaces.get(&holding.address) {
                Some(known) => known.iter().any(has_gap),
                // An address of the cluster for which no interface logged: any of them may be its own.
                None => !matches!(holding.held, Held::External | Held::Range { .. }),
            }
    }
}

/// A lost window may hold what belongs to packets of the windows beside it.
fn around(tuple: &Tuple) -> Stretch {
    let seen = Stretch {
        from: tuple.first_us,
        to: tuple.last_us,
    };
    seen.widened(HOUR_MARGIN_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(eni: Option<&str>, from: i64, to: i64, reason: &str) -> GapRow {
        GapRow {
            eni_id: eni.map(str::to_owned),
            from_us: from,
            to_us: to,
            reason: reason.into(),
            source: "test".into(),
            source_position: 0,
        }
    }

    #[test]
    fn only_what_lost_records_hides_anything() {
        let mut gaps = Gaps::default();
        gaps.add(&[
            gap(Some("eni-1"), 0, 60, "nodata"),
            gap(None, 0, 60, "inventory"),
        ]);
        assert_eq!(gaps, Gaps::default());
        gaps.add(&[
            gap(Some("eni-1"), 0, 60, "skipdata"),
            gap(None, 0, 60, "cursor-expired"),
        ]);
        assert_eq!(gaps.by_eni.len(), 2);
    }

    #[test]
    fn an_hour_knows_the_gaps_near_it() {
        let hour = Hour(1);
        let (start, end) = (hour.start_us(), hour.end_us());
        let near = |from, to| {
            let mut gaps = Gaps::default();
            gaps.add(&[gap(Some("eni-1"), from, to, "skipdata")]);
            gaps.near(hour) != Gaps::default()
        };
        assert!(near(start, end));
        assert!(near(start - HOUR_MARGIN_US - 1, start - HOUR_MARGIN_US + 1));
        assert!(!near(start - HOUR_MARGIN_US - 1, start - HOUR_MARGIN_US));
        assert!(near(end + HOUR_MARGIN_US, end + 2 * HOUR_MARGIN_US));
    }

    #[test]
    fn times_touch_where_any_stretch_does() {
        let stretches = [(50, 60), (0, 10), (5, 20), (30, 30)];
        let stretches = stretches.map(|(from, to)| Stretch { from, to });
        let times = Times::new(stretches);
        for from in -5..70 {
            for to in from..70 {
                let window = Stretch { from, to };
                let plain = stretches.iter().any(|stretch| stretch.touches(window));
                assert_eq!(times.touch(window), plain, "{window:?}");
            }
        }
    }
}
