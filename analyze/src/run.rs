//! The one loop: hours not yet analysed (or re-opened) → edges, coverage, findings.
//!
//! Hours of one day are published together with the day's findings, in one commit: killed at any instant, a day is
//! analysed or is not.

use std::collections::{BTreeMap, BTreeSet};

use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::findings::FindingRow;
use flowaudit_lake::{Date, Hour, Lake, Partition, Snapshot, Table, read};

use crate::coverage::Coverage;
use crate::error::AnalyzeError;
use crate::finding::{self, FindingsOfDay, Workloads, missing_default_deny};
use crate::gaps::Gaps;
use crate::hour::{Inventory, Unit, analyse_hour};
use crate::identify::{Book, Stretch};
use crate::settings::Settings;

/// Which hours to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only hours that end after this instant, microseconds since the epoch.
    pub since_us: Option<i64>,
    /// Only hours that begin before this instant.
    pub until_us: Option<i64>,
    /// Also hours that are analysed already and have not changed.
    pub again: bool,
}

/// How far the analysis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The hour that comes next.
    pub hour: Hour,
    /// Hours done.
    pub done: usize,
    /// Hours to do in all.
    pub hours: usize,
    /// Records done.
    pub records: u64,
}

/// What an analysis did.
#[derive(Debug, Default)]
pub struct Summary {
    /// Hours analysed.
    pub hours: Vec<Hour>,
    /// Records in them.
    pub records: u64,
    /// Edges written.
    pub edges: u64,
    /// What was and was not seen.
    pub coverage: Coverage,
    /// The findings of the days concerned.
    pub findings: Vec<FindingRow>,
    /// Until when each cluster's inventory was seen, microseconds since the epoch.
    pub seen_until: BTreeMap<String, i64>,
    /// The end of the last record analysed, microseconds since the epoch.
    pub flows_until_us: Option<i64>,
}

/// Analyses what is due and publishes it.
pub fn run(
    lake: &Lake,
    settings: &Settings,
    selection: &Selection,
    mut progress: impl FnMut(Progress),
) -> Result<Summary, AnalyzeError> {
    let snapshot = lake.snapshot()?;
    let hours = due(&snapshot, selection);
    let within = Stretch {
        from: hours.first().map_or(0, |hour| hour.start_us()),
        to: hours.last().map_or(0, |hour| hour.end_us()),
    };
    let inventory = Inventory::read(lake, &snapshot, within)?;
    let book = inventory.book(settings);
    let workloads = Workloads::new(&inventory.endpoints);
    let mut by_day: BTreeMap<Date, Vec<Hour>> = BTreeMap::new();
    for hour in hours {
        by_day.entry(hour.date()).or_default().push(hour);
    }
    let hours = by_day.values().map(Vec::len).sum();
    let mut summary = Summary {
        seen_until: inventory.seen_until(),
        ..Summary::default()
    };
    for (date, due) in by_day {
        let mut day = Day {
            lake,
            settings,
            snapshot: &snapshot,
            inventory: &inventory,
            book: &book,
            workloads: &workloads,
        };
        day.analyse(date, &due, &mut summary, &mut |hour, summary: &Summary| {
            progress(Progress {
                hour,
                done: summary.hours.len(),
                hours,
                records: summary.records,
            });
        })?;
    }
    finding::sort(&mut summary.findings);
    Ok(summary)
}

/// The hours of `selection` whose records or inventory changed since they were analysed, in order. Whoever adds records or
/// gaps within the margin of the hour beside theirs reopens that stretch.
pub fn due(snapshot: &Snapshot, selection: &Selection) -> Vec<Hour> {
    let wanted = |hour: &Hour| {
        selection.since_us.is_none_or(|since| hour.end_us() > since)
            && selection
                .until_us
                .is_none_or(|until| hour.start_us() < until)
    };
    let stale = |hour: &Hour| {
        let analysed = snapshot.analysed(*hour);
        selection.again
            || snapshot.is_open(*hour)
            || snapshot.changed_at(Table::Flows, Partition::Hour(*hour)) > analysed
    };
    // An hour whose records have all gone still has edges to take back.
    let hours: BTreeSet<Hour> = snapshot
        .hours(Table::Flows)
        .into_iter()
        .chain(snapshot.hours(Table::Edges))
        .collect();
    hours.into_iter().filter(wanted).filter(stale).collect()
}

struct Day<'a> {
    lake: &'a Lake,
    settings: &'a Settings,
    snapshot: &'a Snapshot,
    inventory: &'a Inventory,
    book: &'a Book,
    workloads: &'a Workloads,
}

impl Day<'_> {
    fn analyse(
        &mut self,
        date: Date,
        due: &[Hour],
        summary: &mut Summary,
        progress: &mut dyn FnMut(Hour, &Summary),
    ) -> Result<(), AnalyzeError> {
        let mut batch = self.lake.batch_on("analyze", self.snapshot.clone());
        let gaps = Gaps::read(self.lake, self.snapshot, date)?;
        let mut findings = FindingsOfDay::default();
        let hours: BTreeSet<Hour> = self
            .hours_of(date)
            .into_iter()
            .chain(due.iter().copied())
            .collect();
        for hour in hours {
            let partition = Partition::Hour(hour);
            if !due.contains(&hour) {
                // The day's findings rest on the edges of all its hours.
                batch.expect_unchanged(Table::Edges, partition);
                for edge in read::rows_in::<EdgeRow>(self.lake, self.snapshot, partition)? {
                    findings.add(&edge, self.workloads);
                }
                continue;
            }
            progress(hour, summary);
            let unit = Unit::of(self.snapshot, hour, &gaps);
            let analysed =
                analyse_hour(self.lake, &unit, self.inventory, self.book, self.settings)?;
            for edge in &analysed.edges {
                summary.flows_until_us = summary.flows_until_us.max(Some(edge.last_seen_us));
                findings.add(edge, self.workloads);
            }
            batch.replace(Table::Edges, partition);
            batch.write_rows(partition, &analysed.edges)?;
            batch.replace(Table::Coverage, partition);
            batch.write_rows(partition, &analysed.coverage_rows())?;
            batch.note_analysed(hour, self.snapshot.number);
            summary.records += analysed.coverage.total(crate::coverage::Step::Read);
            summary.edges += analysed.edges.len() as u64;
            summary.coverage.merge(&analysed.coverage);
            summary.hours.push(hour);
        }
        let mut rows = findings.rows(self.workloads);
        if let Some(at_us) = findings.last_us() {
            let instant = Stretch {
                from: at_us,
                to: at_us,
            };
            let timeline = self.inventory.timeline(instant, self.settings);
            for (cluster, world) in timeline.worlds(timeline.span(instant).last).iter() {
                let endpoints = self.inventory.endpoints.iter();
                let here = endpoints.filter(|row| row.cluster == cluster);
                rows.extend(missing_default_deny(here, world, self.workloads, at_us));
            }
        }
        finding::sort(&mut rows);
        batch.replace(Table::Findings, Partition::Date(date));
        batch.write_rows(Partition::Date(date), &rows)?;
        batch.publish()?;
        summary.findings.extend(rows);
        Ok(())
    }

    fn hours_of(&self, date: Date) -> Vec<Hour> {
        self.snapshot
            .hours(Table::Edges)
            .into_iter()
            .filter(|hour| hour.date() == date)
            .collect()
    }
}
