//! What is known, written to the lake.
//!
//! What has ended, and can be changed by nothing that comes, is written once, to files that are not touched again. What is open is a tail: one
//! file per table, which each commit replaces. What has ended lately is in the tail as well, until there is enough of it for a file.
//!
//! Another writer may replace the tables meanwhile, an import for instance. Then the commit is refused, what is open is taken out of the
//! files that are new ([`foreign`](super::foreign)), and the commit is tried again: what was heard is in memory all the time. A run that is
//! killed loses what it heard since its last commit; the lists of the next one give the same, or say that they do not.

use std::collections::HashSet;

use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::table::Row;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{Batch, Conflict, Lake, LakeError, Partition, Snapshot, Table};

use super::foreign::{Side, rows_of_pods};
use super::heard::Heard;
use super::state::State;
use crate::inventory::rows::is_ledger;
use crate::kubernetes::Record;

/// Who the log says has written.
const WRITER: &str = "inventory-watch";
/// So many rows that have ended make a file.
const FILE_ROWS: usize = 16 * 1024;
/// Rows that are made at once.
const CHUNK_ROWS: usize = 4096;
/// Versions that nothing happens to are written anew this often, so that others see that they are still in force.
const VERSIONS_EVERY_US: i64 = 600_000_000;
/// How often a commit is tried at once because another writer was faster; then it is left to the next one.
const TRIES: usize = 8;

/// What a watch records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderSettings {
    /// The cluster the objects are from.
    pub cluster: String,
    /// The VPC in which its addresses are meant; as known already where it is not set.
    pub vpc: Option<String>,
}

/// Takes down what a live watch hears, and commits it to a lake.
#[derive(Debug)]
pub struct Recorder<'l> {
    lake: &'l Lake,
    cluster: String,
    vpc: Option<String>,
    state: State,
    endpoints: Side<EndpointRow>,
    objects: Side<ObjectRow>,
    /// The two tails of objects: versions in force, and spans in which kinds are watched.
    versions: Option<String>,
    spans: Option<String>,
    /// When the tail of versions was written.
    versions_at: i64,
    /// A batch of which it is not known whether it was published, with what it would have made.
    unsure: Option<(String, Made)>,
    /// What was heard since.
    waiting: Vec<Heard>,
}

/// What a commit makes.
#[derive(Debug, Clone, Default)]
struct Made {
    /// The tail of endpoints.
    endpoints: Option<String>,
    /// Which of what has ended is written down for good, if any is.
    for_good: Option<Vec<bool>>,
    /// The tail of versions, if it is a new one.
    versions: Option<Versions>,
    /// The tail of spans.
    spans: Option<String>,
}

#[derive(Debug, Clone)]
struct Versions {
    path: Option<String>,
    at: i64,
    /// Whether what is over is written down for good.
    for_good: bool,
}

impl<'l> Recorder<'l> {
    /// Reads once what the lake has of the cluster, to go on from there.
    pub fn open(lake: &'l Lake, settings: &RecorderSettings) -> Result<Recorder<'l>, LakeError> {
        let mut recorder = Recorder {
            lake,
            cluster: settings.cluster.clone(),
            vpc: settings.vpc.clone(),
            state: State::new(),
            endpoints: Side::default(),
            objects: Side::default(),
            versions: None,
            spans: None,
            versions_at: i64::MIN,
            unsure: None,
            waiting: Vec::new(),
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match recorder.take_up(&lake.snapshot()?) {
                // A file went away while it was read.
                Err(LakeError::Stale { .. }) if tries < TRIES => {}
                taken => return taken.map(|()| recorder),
            }
        }
    }

    /// Takes out of files that are new what is open of the cluster.
    fn take_up(&mut self, base: &Snapshot) -> Result<(), LakeError> {
        let (lake, state, cluster) = (self.lake, &mut self.state, self.cluster.as_str());
        let is_begin = !state.has_listed();
        if self.objects.has_lost_tail(base) {
            (self.versions, self.spans) = (None, None);
        }
        if self.endpoints.has_lost_tail(base) {
            state.settled.forget_published();
        }
        // How far the run before came says how long what it left open surely held.
        let is_ours = |row: &ObjectRow| row.cluster == cluster;
        self.objects.peek(lake, base, cluster, |row| {
            if is_ours(row) && is_ledger(row) {
                state.adopt_object(row);
            }
        })?;
        let adopt = |row: &ObjectRow| is_ours(row) && state.adopt_object(row);
        self.objects
            .look(lake, base, (cluster, is_begin), is_ours, adopt)?;
        let is_ours = |row: &EndpointRow| row.cluster == cluster;
        let vpc = &mut self.vpc;
        let adopt = |row: &EndpointRow| {
            let is_taken = is_ours(row) && state.adopt_endpoint(row);
            if is_taken && vpc.is_none() && row.eni_id.is_none() {
                vpc.clone_from(&row.vpc_id);
            }
            is_taken
        };
        self.endpoints
            .look(lake, base, (cluster, is_begin), is_ours, adopt)
    }

    /// Publishes all that is known, on what is visible now.
    fn publish(&mut self, now: i64) -> Result<u64, LakeError> {
        let base = self.lake.snapshot()?;
        self.take_up(&base)?;
        if !self.state.doubtful.is_empty() {
            let doubtful = self.state.doubtful.iter();
            let uids: HashSet<&str> = doubtful.map(|closed| &*closed.hold.uid).collect();
            let known = rows_of_pods(self.lake, &base, &uids)?;
            let is_known =
                |uid: &str, addr: &str| known.contains(&(uid.to_owned(), addr.to_owned()));
            self.state.settle_doubtful(is_known);
        }
        let mut batch = self.lake.batch_on(WRITER, base.clone());
        let id = batch.id().to_string();
        let mut made = Made::default();
        self.write_endpoints(&base, &mut batch, &mut made)?;
        self.write_objects(&base, &mut batch, &mut made, now)?;
        for gap in &self.state.gaps {
            let day = Partition::date_of_us(gap.from);
            batch.write_rows(day, &[gap.row(&self.cluster)])?;
        }
        batch.expect_unchanged(Table::Endpoints, Partition::None);
        batch.expect_unchanged(Table::Objects, Partition::None);
        if let Some(from) = self.state.changed_from() {
            // An hour rests on records that begin within its margin, and these may last as long again.
            batch.reopen(from.saturating_sub(HOUR_MARGIN_US), i64::MAX);
        }
        match batch.publish() {
            Ok(commit) => {
                self.published(made);
                for file in commit.added {
                    match file.table {
                        Table::Endpoints if !self.endpoints.tails.contains(&file.path) => {
                            self.endpoints.know(file.path);
                        }
                        Table::Objects if !self.objects.tails.contains(&file.path) => {
                            self.objects.know(file.path);
                        }
                        _ => {}
                    }
                }
                Ok(commit.number)
            }
            Err(error) if is_faster(&error) => Err(error),
            Err(error) => {
                // It may be there all the same.
                self.unsure = Some((id, made));
                self.find_out()?.ok_or(error)
            }
        }
    }

    /// Finds out whether the batch was published of which that is not known; the number of the head if it was.
    fn find_out(&mut self) -> Result<Option<u64>, LakeError> {
        let Some((id, _)) = &self.unsure else {
            return Ok(None);
        };
        let part = format!("/part-{id}-");
        let head = self.lake.snapshot()?;
        let mut files = head
            .files(Table::Endpoints)
            .chain(head.files(Table::Objects));
        let is_there = files.any(|file| file.path.contains(&part));
        if let Some((_, made)) = self.unsure.take().filter(|_| is_there) {
            self.published(made);
        }
        for heard in std::mem::take(&mut self.waiting) {
            self.state.hear(heard);
        }
        Ok(is_there.then_some(head.number))
    }

    fn write_endpoints(
        &self,
        base: &Snapshot,
        batch: &mut Batch,
        made: &mut Made,
    ) -> Result<(), LakeError> {
        let (state, cluster) = (&self.state, self.cluster.as_str());
        let of_vpc = |row: EndpointRow| EndpointRow {
            vpc_id: row.vpc_id.or_else(|| self.vpc.clone()),
            ..row
        };
        remove(base, batch, Table::Endpoints, &self.endpoints.tails);
        self.endpoints.replace_foreign(self.lake, batch)?;
        let ripe = state.settled.ripe(state.latest());
        let carried = self.endpoints.to_carry().count();
        let is_ripe = ripe.iter().filter(|is_ripe| **is_ripe).count() + carried >= FILE_ROWS;
        let ended = state.settled.iter().zip(&ripe);
        if is_ripe {
            let for_good = ended.clone().filter(|(_, is_ripe)| **is_ripe);
            let for_good = for_good
                .flat_map(|(closed, _)| closed.rows(cluster))
                .map(of_vpc);
            write(batch, for_good.chain(self.endpoints.to_carry().cloned()))?;
            made.for_good = Some(ripe.clone());
        }
        batch.end(Table::Endpoints, Partition::None)?;
        let ended = ended.filter(|(_, ripe)| !is_ripe || !**ripe);
        let ended = ended
            .flat_map(|(closed, _)| closed.rows(cluster))
            .map(of_vpc);
        let carried = self.endpoints.to_carry().filter(|_| !is_ripe).cloned();
        let open = state.holds();
        let open = open
            .flat_map(|(hold, seen)| hold.rows(hold.span(seen), cluster, &state.owners))
            .map(of_vpc);
        write(batch, ended.chain(carried).chain(open))?;
        made.endpoints = batch.end(Table::Endpoints, Partition::None)?;
        Ok(())
    }

    fn write_objects(
        &self,
        base: &Snapshot,
        batch: &mut Batch,
        made: &mut Made,
        now: i64,
    ) -> Result<(), LakeError> {
        let (state, cluster) = (&self.state, self.cluster.as_str());
        let is_due = state.is_declared
            || self.objects.has_foreign()
            || !state.spans.is_empty()
            || self.versions_at.saturating_add(VERSIONS_EVERY_US) <= now;
        remove(base, batch, Table::Objects, &self.spans);
        if is_due {
            remove(base, batch, Table::Objects, &self.versions);
            self.objects.replace_foreign(self.lake, batch)?;
            let carried = self.objects.to_carry().cloned();
            let over: Vec<ObjectRow> = carried.chain(self.rows_over()).collect();
            let for_good = over.len() >= FILE_ROWS;
            write(batch, over.into_iter())?;
            if for_good {
                batch.end(Table::Objects, Partition::None)?;
            }
            let in_force = state.in_force();
            let in_force = in_force.map(|one| {
                let (version, span) = (one.version, one.span);
                version.row(one.kind, one.name, one.uid, span, cluster)
            });
            write(batch, in_force)?;
            made.versions = Some(Versions {
                path: batch.end(Table::Objects, Partition::None)?,
                at: now,
                for_good,
            });
        }
        write(batch, state.open_spans().map(|span| span.row(cluster)))?;
        made.spans = batch.end(Table::Objects, Partition::None)?;
        Ok(())
    }

    /// Versions and spans that are over since the last commit.
    fn rows_over(&self) -> impl Iterator<Item = ObjectRow> {
        let versions = self.state.versions.iter();
        let spans = self.state.spans.iter();
        versions
            .map(|closed| closed.row(&self.cluster))
            .chain(spans.map(|span| span.row(&self.cluster)))
    }

    /// What was made is in the lake.
    fn published(&mut self, made: Made) {
        let tails = made.endpoints.into_iter().collect();
        self.endpoints.published(tails, made.for_good.is_some());
        self.spans = made.spans;
        if let Some(versions) = made.versions {
            let over: Vec<ObjectRow> = self.rows_over().collect();
            self.objects.carried.extend(over);
            self.objects.published(Vec::new(), versions.for_good);
            (self.versions, self.versions_at) = (versions.path, versions.at);
        }
        let tails = self.versions.iter().chain(&self.spans);
        self.objects.tails = tails.cloned().collect();
        self.state.published(made.for_good.as_deref());
    }
}

impl Record for Recorder<'_> {
    fn hear(&mut self, heard: Heard) -> Result<(), LakeError> {
        match self.unsure {
            None => self.state.hear(heard),
            Some(_) => self.waiting.push(heard),
        }
        Ok(())
    }

    fn commit(&mut self, now: i64) -> Result<Option<u64>, LakeError> {
        self.find_out()?;
        if !self.state.is_changed {
            return Ok(None);
        }
        for _ in 0..TRIES {
            match self.publish(now) {
                Err(error) if is_faster(&error) => {}
                published => return published.map(Some),
            }
        }
        // Nothing is lost: the next commit has it all.
        Ok(None)
    }
}

/// Another writer was faster.
fn is_faster(error: &LakeError) -> bool {
    matches!(
        error,
        LakeError::Stale { .. }
            | LakeError::Refused {
                cause: Conflict::Partition { .. } | Conflict::Removed { .. },
                ..
            }
    )
}

/// Takes files away, as far as they are there.
fn remove<'p>(
    base: &Snapshot,
    batch: &mut Batch,
    table: Table,
    paths: impl IntoIterator<Item = &'p String>,
) {
    let files = base.files_in(table, Partition::None);
    for path in paths {
        if let Some(file) = files.iter().find(|file| file.path == *path) {
            batch.remove(file);
        }
    }
}

/// Writes rows that are made as they are written.
fn write<R: Row>(batch: &mut Batch, mut rows: impl Iterator<Item = R>) -> Result<(), LakeError> {
    loop {
        let chunk: Vec<R> = rows.by_ref().take(CHUNK_ROWS).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        batch.write_rows(Partition::None, &chunk)?;
    }
}
