//! Files that others have put into a table: what of them is taken up, and what stays.
//!
//! What was taken up is written anew in our tail, so the file it came from is replaced by what else was in it.

use std::collections::{BTreeSet, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, BooleanArray, RecordBatch};
use flowaudit_lake::table::Row;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::{Batch, FileEntry, Lake, LakeError, Partition, Snapshot, Table, read};

/// What remains of a file of so many rows or fewer is kept in the tail instead of a file of its own.
const SMALL_ROWS: u64 = 16 * 1024;
/// A file with so few rows, all of our cluster and by a watch, is what is left of a tail: it is kept in ours.
const CRUMB_ROWS: u64 = 256;

/// One of the two tables, as far as it concerns us.
#[derive(Debug)]
pub(super) struct Side<R> {
    /// Files in which there is nothing to take up.
    known: HashSet<String>,
    /// Files that the last commit wrote and the next one replaces.
    pub(super) tails: Vec<String>,
    /// Files of which something was taken up.
    foreign: Vec<Foreign<R>>,
    /// Rows that are in the tail and say nothing that can change.
    pub(super) carried: Vec<R>,
}

#[derive(Debug)]
struct Foreign<R> {
    entry: FileEntry,
    /// Numbers of the rows that were taken up.
    taken: BTreeSet<u64>,
    /// The others, where they are few.
    rest: Option<Vec<R>>,
}

impl<R> Default for Side<R> {
    fn default() -> Self {
        Side {
            known: HashSet::new(),
            tails: Vec::new(),
            foreign: Vec::new(),
            carried: Vec::new(),
        }
    }
}

impl<R: Row + Clone> Side<R> {
    /// Whether others have replaced the tail; then what was in it is theirs to keep.
    pub(super) fn has_lost_tail(&mut self, base: &Snapshot) -> bool {
        let files = base.files_in(R::TABLE, Partition::None);
        let is_there = |path: &String| files.iter().any(|file| file.path == *path);
        self.foreign.retain(|foreign| is_there(&foreign.entry.path));
        if self.tails.iter().all(is_there) {
            return false;
        }
        self.tails.clear();
        self.carried.clear();
        true
    }

    /// Whether something of others was taken up and is not written yet.
    pub(super) fn has_foreign(&self) -> bool {
        !self.foreign.is_empty()
    }

    fn unknown(&self, base: &Snapshot) -> Vec<FileEntry> {
        let files = base.files_in(R::TABLE, Partition::None).iter();
        let is_unknown = |file: &&FileEntry| {
            let foreign = self
                .foreign
                .iter()
                .any(|foreign| foreign.entry.path == file.path);
            !foreign && !self.known.contains(&file.path) && !self.tails.contains(&file.path)
        };
        files.filter(is_unknown).cloned().collect()
    }

    /// Shows the rows of files that are new, as far as they may be of the cluster.
    pub(super) fn peek(
        &self,
        lake: &Lake,
        base: &Snapshot,
        cluster: &str,
        mut see: impl FnMut(&R),
    ) -> Result<(), LakeError> {
        for entry in self.unknown(base) {
            let file = read::open(lake, &entry)?;
            for group in 0..file.row_groups() {
                if has_any(&file, group, &[("cluster", cluster), ("kind", "Watch")])? {
                    for batch in file.batches(&columns::<R>(), group)? {
                        R::from_batch(&batch?)?.iter().for_each(&mut see);
                    }
                }
            }
        }
        Ok(())
    }

    /// Shows the rows of files that are new, as far as they may be of the cluster; those that `adopt` takes are ours from now on.
    /// `is_begin` says that only rows whose end is open can be of use.
    pub(super) fn look(
        &mut self,
        lake: &Lake,
        base: &Snapshot,
        (cluster, is_begin): (&str, bool),
        is_ours: impl Fn(&R) -> bool,
        mut adopt: impl FnMut(&R) -> bool,
    ) -> Result<(), LakeError> {
        for entry in self.unknown(base) {
            let file = read::open(lake, &entry)?;
            let is_small = entry.rows <= SMALL_ROWS;
            let mut concerned = Vec::new();
            for group in 0..file.row_groups() {
                let is_cluster = has_any(&file, group, &[("cluster", cluster)])?;
                concerned.push(is_cluster && (!is_begin || is_small || has_open(&file, group)?));
            }
            let (mut number, mut taken, mut rest) = (0, BTreeSet::new(), Vec::new());
            for (group, is_concerned) in concerned.iter().enumerate() {
                if !is_concerned && !is_small {
                    number += rows_in(&file, group)?;
                    continue;
                }
                if !concerned.contains(&true) {
                    break;
                }
                for batch in file.batches(&columns::<R>(), group)? {
                    for row in R::from_batch(&batch?)? {
                        if adopt(&row) {
                            taken.insert(number);
                        } else if is_small {
                            rest.push(row);
                        }
                        number += 1;
                    }
                }
            }
            let is_crumb = entry.rows <= CRUMB_ROWS
                && entry.path.contains("/part-inventory-watch-")
                && concerned.contains(&true)
                && rest.iter().all(&is_ours);
            if taken.is_empty() && !is_crumb {
                self.known.insert(entry.path);
                continue;
            }
            self.foreign.push(Foreign {
                entry,
                taken,
                rest: is_small.then_some(rest),
            });
        }
        Ok(())
    }

    /// Takes the files away of which something was taken up, and writes what else is in the large ones.
    pub(super) fn replace_foreign(&self, lake: &Lake, batch: &mut Batch) -> Result<(), LakeError> {
        for foreign in &self.foreign {
            batch.remove(&foreign.entry);
            if foreign.rest.is_some() {
                continue;
            }
            let file = read::open(lake, &foreign.entry)?;
            let mut number = 0;
            for group in 0..file.row_groups() {
                for rows in file.batches(&columns::<R>(), group)? {
                    let rows = rows?;
                    let stays: BooleanArray = (0..rows.num_rows() as u64)
                        .map(|n| Some(!foreign.taken.contains(&(number + n))))
                        .collect();
                    number += rows.num_rows() as u64;
                    let rest = filtered(&rows, &stays)?;
                    batch.write(R::TABLE, Partition::None, &rest)?;
                }
            }
        }
        Ok(())
    }

    /// The rows that the tail carries: those that it had, and what is left of small files of others.
    pub(super) fn to_carry(&self) -> impl Iterator<Item = &R> {
        let rests = self
            .foreign
            .iter()
            .filter_map(|foreign| foreign.rest.as_ref());
        self.carried.iter().chain(rests.flatten())
    }

    /// A file that we wrote for good.
    pub(super) fn know(&mut self, path: String) {
        self.known.insert(path);
    }

    /// All of it is in the lake, and the tails are these.
    pub(super) fn published(&mut self, tails: Vec<String>, for_good: bool) {
        let rests = self.foreign.drain(..).filter_map(|foreign| foreign.rest);
        self.carried.extend(rests.flatten());
        if for_good {
            self.carried.clear();
        }
        self.tails = tails;
    }
}

fn columns<R: Row>() -> Vec<&'static str> {
    R::TABLE
        .columns()
        .iter()
        .map(|column| column.name)
        .collect()
}

fn filtered(rows: &RecordBatch, stays: &BooleanArray) -> Result<RecordBatch, LakeError> {
    arrow_select::filter::filter_record_batch(rows, stays).map_err(|error| LakeError::Encode {
        key: "rows that stay".to_owned(),
        cause: error.into(),
    })
}

fn rows_in(file: &read::TableFile, group: usize) -> Result<u64, LakeError> {
    let mut rows = 0;
    for batch in file.batches(&["cluster"], group)? {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}

/// Whether each of these columns has this word somewhere in the row group.
fn has_any(
    file: &read::TableFile,
    group: usize,
    words: &[(&str, &str)],
) -> Result<bool, LakeError> {
    for (column, word) in words {
        let mut has = false;
        for batch in file.batches(&[column], group)? {
            let batch = batch?;
            let keys = batch.column(0).as_dictionary_opt::<Int32Type>();
            let texts = keys.and_then(|keys| keys.values().as_string_opt::<i32>());
            has |= texts.is_none_or(|texts| texts.iter().any(|text| text == Some(word)));
        }
        if !has {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the end of some row in the group is open.
fn has_open(file: &read::TableFile, group: usize) -> Result<bool, LakeError> {
    for batch in file.batches(&["to_slack_ms"], group)? {
        if batch?.column(0).null_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which of these pods have rows, by uid and address.
pub(super) fn rows_of_pods(
    lake: &Lake,
    base: &Snapshot,
    uids: &HashSet<&str>,
) -> Result<HashSet<(String, String)>, LakeError> {
    let mut known = HashSet::new();
    for entry in base.files_in(Table::Endpoints, Partition::None) {
        let file = read::open(lake, entry)?;
        for group in 0..file.row_groups() {
            let mut is_there = false;
            for batch in file.batches(&["uid"], group)? {
                let batch = batch?;
                let keys = batch.column(0).as_dictionary_opt::<Int32Type>();
                let texts = keys.and_then(|keys| keys.values().as_string_opt::<i32>());
                is_there |= texts.is_none_or(|texts| {
                    let mut texts = texts.iter().flatten();
                    texts.any(|text| uids.contains(text))
                });
            }
            if !is_there {
                continue;
            }
            for batch in file.batches(&columns::<EndpointRow>(), group)? {
                for row in EndpointRow::from_batch(&batch?)? {
                    if let Some(uid) = row.uid.filter(|uid| uids.contains(uid.as_str())) {
                        known.insert((uid, row.addr));
                    }
                }
            }
        }
    }
    Ok(known)
}
