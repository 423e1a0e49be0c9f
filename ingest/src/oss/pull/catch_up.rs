//! Reading once more what lies before the watermark: its objects are remembered no longer, so they are read again.
//!
//! Flows and gaps that the lake holds already are known by their content. A reject is not, so those that the lake holds of
//! this bucket are looked up by place.

use std::collections::HashSet;
use std::hash::BuildHasher;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use flowaudit_lake::{Lake, LakeError, Table, read};
use foldhash::quality::RandomState;

/// Places of rejects: object and position in it.
#[derive(Debug, Default)]
pub(super) struct KeptRejects {
    hashes: RandomState,
    places: HashSet<u64>,
}

impl KeptRejects {
    /// Those of the lake whose source begins so.
    pub(super) fn load(lake: &Lake, source: &str) -> Result<Self, LakeError> {
        let mut kept = KeptRejects::default();
        for entry in lake.snapshot()?.files(Table::Rejects) {
            let file = read::open(lake, entry)?;
            for row_group in 0..file.row_groups() {
                for batch in file.batches(&["source", "source_position"], row_group)? {
                    let batch = batch?;
                    let sources = batch.column(0).as_dictionary_opt::<Int32Type>();
                    let names = sources.and_then(|sources| sources.values().as_string_opt::<i32>());
                    let positions = batch.column(1).as_primitive_opt::<Int64Type>();
                    let (Some(sources), Some(names), Some(positions)) = (sources, names, positions)
                    else {
                        return Err(LakeError::Damaged {
                            key: entry.path.clone(),
                            reason: "its columns have other types".to_owned(),
                        });
                    };
                    for row in 0..batch.num_rows() {
                        let Some(name) = sources.key(row).filter(|name| *name < names.len()) else {
                            continue;
                        };
                        let name = names.value(name);
                        if name.starts_with(source) {
                            let at = u64::try_from(positions.value(row)).unwrap_or_default();
                            let place = kept.place(name, at);
                            kept.places.insert(place);
                        }
                    }
                }
            }
        }
        Ok(kept)
    }

    /// Whether the lake has one from there.
    pub(super) fn has(&self, source: &str, position: u64) -> bool {
        !self.places.is_empty() && self.places.contains(&self.place(source, position))
    }

    fn place(&self, source: &str, position: u64) -> u64 {
        self.hashes.hash_one((source, position))
    }
}
