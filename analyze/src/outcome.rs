//! What became of records, step by step, as `coverage` counts it.

use crate::classify::Class;
use crate::coverage::{Coverage, Step};
use crate::edges::{EdgeKey, Party};
use crate::identify::Doubt;
use crate::judge::Judge;
use crate::observe::Observed;
use crate::orient::Evidence;

/// What one step after the other said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Outcome {
    doubt: Option<Doubt>,
    evidence: Evidence,
    judged: u32,
    observed: Observed,
    class: Class,
}

impl Outcome {
    pub(crate) fn of(key: &EdgeKey, evidence: Evidence) -> Outcome {
        let doubt = |party| match party {
            Party::Unclear { doubt, .. } => Some(doubt),
            _ => None,
        };
        Outcome {
            doubt: doubt(key.client).or(doubt(key.server)),
            evidence,
            judged: key.judged,
            observed: key.observed,
            class: key.class,
        }
    }
}

/// Counts records under what became of them.
pub(crate) fn cover(outcome: Outcome, records: u64, judge: &Judge<'_>, coverage: &mut Coverage) {
    let identified = outcome.doubt.map_or("identified", Doubt::as_str);
    coverage.count(Step::Read, "flow", records);
    coverage.count(Step::Identify, identified, records);
    coverage.count(Step::Orient, outcome.evidence.as_str(), records);
    coverage.count(Step::Judge, judge.judged(outcome.judged).verdict, records);
    coverage.count(Step::Observe, outcome.observed.as_str(), records);
    coverage.count(Step::Classify, outcome.class.as_str(), records);
}
