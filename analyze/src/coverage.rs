//! What was and was not seen: records by the outcome of each step.
//!
//! Every step accounts for every record of the hour, so the outcomes of each step add up to the same number.

use std::collections::BTreeMap;

use flowaudit_lake::Hour;
use flowaudit_lake::table::coverage::CoverageRow;

use crate::error::AnalyzeError;

/// The steps, in the order in which a record takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Read from the lake.
    Read,
    /// Both ends identified, or why not.
    Identify,
    /// Client and server told apart, by which evidence.
    Orient,
    /// What is declared.
    Judge,
    /// What the wire shows.
    Observe,
    /// What the two mean together.
    Classify,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Step; 6] = [
        Step::Read,
        Step::Identify,
        Step::Orient,
        Step::Judge,
        Step::Observe,
        Step::Classify,
    ];

    /// The word in the column `step`.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Read => "read",
            Step::Identify => "identify",
            Step::Orient => "orient",
            Step::Judge => "judge",
            Step::Observe => "observe",
            Step::Classify => "classify",
        }
    }
}

/// Records by step and outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    records: BTreeMap<(Step, &'static str), u64>,
}

impl Coverage {
    /// Counts records.
    pub fn count(&mut self, step: Step, outcome: &'static str, records: u64) {
        if records > 0 {
            *self.records.entry((step, outcome)).or_default() += records;
        }
    }

    /// Adds the records of other hours or buckets.
    pub fn merge(&mut self, other: &Coverage) {
        for ((step, outcome), records) in &other.records {
            self.count(*step, outcome, *records);
        }
    }

    /// Records that a step accounts for.
    pub fn total(&self, step: Step) -> u64 {
        self.records
            .iter()
            .filter(|((of, _), _)| *of == step)
            .map(|(_, records)| records)
            .sum()
    }

    /// Refuses an hour in which some step does not account for each of its `records`: what is not accounted for was
    /// lost or doubled on the way, and figures that do not add up are not published.
    pub fn check(&self, hour: Hour, records: u64) -> Result<(), AnalyzeError> {
        match Step::ALL
            .into_iter()
            .find(|step| self.total(*step) != records)
        {
            None => Ok(()),
            Some(step) => Err(AnalyzeError::Coverage {
                hour,
                step: step.as_str(),
                counted: self.total(step),
                records,
            }),
        }
    }

    /// Records of one outcome.
    pub fn records(&self, step: Step, outcome: &str) -> u64 {
        let counts = self
            .records
            .iter()
            .filter(|((of, word), _)| *of == step && *word == outcome);
        counts.map(|(_, records)| records).sum()
    }

    /// All counts, in the order of the steps.
    pub fn iter(&self) -> impl Iterator<Item = (Step, &'static str, u64)> {
        self.records
            .iter()
            .map(|((step, outcome), records)| (*step, *outcome, *records))
    }

    /// The rows of an hour.
    pub fn rows(&self, hour: Hour) -> Vec<CoverageRow> {
        let row = |(step, outcome, records): (Step, &str, u64)| CoverageRow {
            hour_us: hour.start_us(),
            step: step.as_str().into(),
            outcome: outcome.into(),
            records: i64::try_from(records).unwrap_or(i64::MAX),
        };
        self.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_loses_or_doubles_a_record_is_refused() {
        let hour = Hour::of_us(0);
        let mut coverage = Coverage::default();
        assert!(coverage.check(hour, 0).is_ok());
        for step in Step::ALL {
            coverage.count(step, "some", 2);
            coverage.count(step, "others", 1);
        }
        assert!(coverage.check(hour, 3).is_ok());
        for step in Step::ALL {
            let mut one_more = coverage.clone();
            one_more.count(step, "some", 1);
            let Err(AnalyzeError::Coverage {
                step: named,
                counted: 4,
                records: 3,
                ..
            }) = one_more.check(hour, 3)
            else {
                panic!("{step:?} counts a record twice");
            };
            assert_eq!(named, step.as_str());
            assert!(one_more.check(hour, 4).is_err(), "all others lack one");
        }
    }
}
