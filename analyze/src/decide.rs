//! Tuples of one bucket → edges: orient, judge, observe and classify each, and count every connection once.
//!
//! A tuple that is all there is of its five-tuple is decided alone ([`crate::alike`]), the others together with what
//! else is known of the five-tuple ([`crate::group`]).

use std::collections::HashMap;

use crate::alike::Alike;
use crate::context::{Context, FiveTuple};
use crate::coverage::Coverage;
use crate::edges::Edges;
use crate::fold::{BLOCK, Tuple};
use crate::group::{Group, Part, Role};
use crate::judge::Judge;
use crate::scan::Scanned;

/// Decides all tuples of a bucket.
pub fn decide(
    context: &Context<'_>,
    judge: &mut Judge<'_>,
    scanned: &Scanned,
    edges: &mut Edges,
    coverage: &mut Coverage,
) {
    let mut groups: HashMap<FiveTuple, Group, foldhash::fast::FixedState> = HashMap::default();
    let mut alike = Alike::default();
    let mut whole: Vec<&Tuple> = Vec::with_capacity(BLOCK);
    for tuple in &scanned.tuples {
        if context.is_whole(tuple) {
            whole.push(tuple);
            if whole.len() == BLOCK {
                alike.add(context, judge, &whole);
                whole.clear();
            }
        } else {
            let group = groups.entry(context.five_tuple(tuple)).or_default();
            group.add(Part {
                tuple: *tuple,
                role: Role::Own,
            });
        }
    }
    alike.add(context, judge, &whole);
    alike.finish(judge, edges, coverage);
    for (role, table) in [Role::Before, Role::After].into_iter().zip(&scanned.beside) {
        for tuple in table.tuples() {
            if let Some(group) = groups.get_mut(&context.five_tuple(tuple)) {
                let tuple = *tuple;
                group.add(Part { tuple, role });
            }
        }
    }
    for (border, table) in scanned.straddling.iter().enumerate() {
        for tuple in table.tuples() {
            if let Some(group) = groups.get_mut(&context.five_tuple(tuple)) {
                group.add_straddling(border, tuple);
            }
        }
    }
    for group in groups.into_values() {
        group.decide(context, judge, edges, coverage);
    }
}
