//! Pods of which an audit log holds statuses and no labels: whoever shows the labels shows what they were all the time. Pure.
//!
//! What was only sent names a pod that nobody else names, with labels that are not known. That sighting stands in for one with labels:
//! where
//! a snapshot or another log shows them, it takes these, in whichever order the two come. Where somebody wrote labels in between, the log
//! says so, and what is not known stays unknown: such sightings rest on more than what was sent.

use std::collections::BTreeSet;

use super::history::{By, History, Run};
use super::sighting::Shape;

/// A holder was seen to be like this.
pub(super) fn see(history: &mut History<Shape>, at: i64, shape: &Shape, by: By, covering: &[i64]) {
    if !shape.is_labelled() {
        let labelled = history.runs().iter().find(|run| run.content.is_labelled());
        let labelled = labelled.filter(|_| by == By::AuditRequest);
        let shape = labelled.map_or(shape, |run| &run.content).clone();
        return history.see(at, shape, by, covering);
    }
    let only_sent = BTreeSet::from([By::AuditRequest]);
    let is_stand_in = |run: &Run<Shape>| !run.content.is_labelled() && run.by == only_sent;
    let stand_ins = history.take_out(is_stand_in);
    history.see(at, shape.clone(), by, covering);
    for run in stand_ins {
        for at in [run.first, run.last] {
            history.see(at, shape.clone(), By::AuditRequest, covering);
        }
    }
}
