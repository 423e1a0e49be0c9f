//! Flow records of one hour, and those beside it, → distinct tuples of one bucket.
//!
//! Threads take row groups from a queue, turn the dictionary of each address column into holdings once, and fold
//! rows into a table of their own; the tables are merged at the end. The bucket of a record is a symmetric hash of its
//! two addresses, so that every record of a conversation, from both interfaces and in both directions, is in one.
//!
//! Records of the neighbouring hours within [`HOUR_MARGIN_US`] are evidence for tuples of this hour (an opening before
//! it, an answer after it) and are counted in their own hour only. Those that cannot concern a tuple of this hour are
//! not kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use flowaudit_lake::Hour;
use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::read::TableFile;

use crate::columns::{COLUMNS, COLUMNS_AND_ENI, Columns, Dictionaries, End};
use crate::error::AnalyzeError;
use crate::fanin::{FanIn, note_fan_in};
use crate::fold::{BLOCK, Observation, TUPLE_BYTES, Tuple, TupleKey, TupleTable, Way};
use crate::identify::{Site, Stretch};
use crate::parties::{Known, Parties, Windows};
use crate::timeline::Spans;

/// A part of the address pairs: those whose symmetric hash ends in `prefix`, `bits` bits long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Number of bits; 0 takes everything.
    pub bits: u32,
    /// The bits.
    pub prefix: u64,
}

/// A bucket is not halved further than this; address pairs that share so many bits are one pair.
const BITS_MAX: u32 = 48;

impl Bucket {
    /// Everything in one bucket.
    pub const ALL: Bucket = Bucket { bits: 0, prefix: 0 };

    fn holds(self, pair: u64) -> bool {
        pair & ((1 << self.bits) - 1) == self.prefix
    }
}

/// What a scan of one hour needs to know; shared by all threads.
#[derive(Debug)]
pub struct Scan<'a> {
    /// The hour.
    pub hour: Hour,
    /// Its files, footers read.
    pub files: &'a [TableFile],
    /// Files of the hours beside it.
    pub beside: &'a [TableFile],
    /// Who held what, what was declared.
    pub known: Known<'a>,
    /// Threads to use.
    pub threads: usize,
    /// Memory for tuples, bytes.
    pub memory: usize,
    parties: Mutex<Parties>,
    spans: Mutex<Spans>,
}

/// The tuples of one bucket; `bucket` is smaller than asked for where memory ran out.
#[derive(Debug, Default)]
pub struct Scanned {
    /// What was folded.
    pub bucket: Bucket,
    /// Distinct tuples of the hour, in no meaningful order. Those of which another table holds something are marked
    /// [`Tuple::is_at_edge`].
    pub tuples: Vec<Tuple>,
    /// Of the hour before and of the hour after, what may concern these tuples.
    pub beside: [TupleTable; 2],
    /// What of the hour before reaches into this hour, and what of this hour reaches into the next: records whose
    /// packets may stand in the other hour as well, where the other interface logged them.
    pub straddling: [TupleTable; 2],
}

impl Default for Bucket {
    fn default() -> Self {
        Bucket::ALL
    }
}

impl<'a> Scan<'a> {
    /// An hour that has not been scanned yet.
    pub fn new(
        hour: Hour,
        files: &'a [TableFile],
        beside: &'a [TableFile],
        known: Known<'a>,
    ) -> Scan<'a> {
        Scan {
            hour,
            files,
            beside,
            known,
            threads: 1,
            memory: usize::MAX,
            parties: Mutex::default(),
            spans: Mutex::default(),
        }
    }

    /// The parties met so far, to be added to.
    pub(crate) fn parties(&self) -> MutexGuard<'_, Parties> {
        lock(&self.parties)
    }

    /// Records in the hour.
    pub fn records(&self) -> u64 {
        self.files.iter().map(TableFile::row_count).sum()
    }

    /// Looks at what the scans met so far.
    pub fn with_parties<R>(&self, look: impl FnOnce(&Parties, &Spans) -> R) -> R {
        look(&lock(&self.parties), &lock(&self.spans))
    }

    /// Folds the records of `bucket`. Where they need more memory than is allowed, the bucket is halved until they fit.
    pub fn fold(&self, bucket: Bucket) -> Result<Scanned, AnalyzeError> {
        let shared = Shared {
            bits: AtomicU64::new(u64::from(bucket.bits)),
            // A quarter is left for what stands beside the hour.
            tuples_max: (self.memory / TUPLE_BYTES / self.threads.max(1) / 4 * 3).max(4 * BLOCK),
            bucket,
        };
        let tables = self.each_row_group(
            &self.units(),
            self.columns(),
            || {
                let mut folder = Folder::new(self, &shared);
                // About as many records share a tuple as windows of two interfaces in two directions.
                let tuples = self.records() as usize / self.threads.max(1) / 8;
                folder.table = TupleTable::with_room_for(tuples.min(shared.tuples_max));
                folder
            },
            |folder, batch, file| folder.rows(batch, file),
            Folder::finish,
        )?;
        let mut tables = tables.into_iter();
        let (mut own, mut reaching) = tables.next().unwrap_or_default();
        for (table, straddling) in tables {
            own.merge(table);
            reaching.merge(straddling);
        }
        let mut beside: [TupleTable; 2] = Default::default();
        let mut straddling = [TupleTable::default(), reaching];
        let parts = self.each_row_group(
            &self.units_beside(),
            self.columns(),
            || BesideFolder::new(Folder::new(self, &shared), &own),
            |folder, batch, file| folder.rows(batch, file),
            BesideFolder::finish,
        )?;
        for ([before, after], reaching) in parts {
            beside[0].merge(before);
            beside[1].merge(after);
            straddling[0].merge(reaching);
        }
        let bits = shared.bits.load(Ordering::SeqCst) as u32;
        let bucket = Bucket { bits, ..bucket };
        if bits > shared.bucket.bits {
            // A thread may have finished before another one halved the bucket.
            let parties = lock(&self.parties);
            let [before, after] = &mut beside;
            let [from_before, into_next] = &mut straddling;
            for table in [&mut own, before, after, from_before, into_next] {
                table.retain(|tuple| bucket.holds(pair_of(&parties, &tuple.key)));
            }
        }
        for table in beside.iter().chain(&straddling) {
            own.mark_edges(table);
        }
        Ok(Scanned {
            bucket,
            tuples: own.into_tuples(),
            beside,
            straddling,
        })
    }

    /// The columns that folding reads: interfaces only where they tell something.
    fn columns(&self) -> &'static [&'static str] {
        match self.known.book.has_enis() {
            true => COLUMNS_AND_ENI,
            false => COLUMNS,
        }
    }

    /// The fan-in of the whole hour, from its records: needed only where the hour does not fit into one bucket.
    pub fn fan_in(&self) -> Result<FanIn, AnalyzeError> {
        let parts = self.each_row_group(
            &self.units(),
            COLUMNS,
            || (FanIn::for_records(self.records()), Dictionaries::default()),
            |(sketch, dictionaries), batch, file| {
                let columns = Columns::of(batch);
                dictionaries.update(self, &columns, file)?;
                for row in 0..batch.num_rows() {
                    let (src, dst) = dictionaries.ends(&columns, row);
                    let (src_port, dst_port, protocol) = columns.ports(row);
                    note_fan_in(sketch, (src.hash, src_port), (dst.hash, dst_port), protocol);
                }
                Ok(())
            },
            |(sketch, _)| sketch,
        )?;
        let mut all = FanIn::for_records(self.records());
        for part in &parts {
            all.merge(part);
        }
        Ok(all)
    }

    /// All row groups of the hour.
    pub(crate) fn units(&self) -> Vec<(&'a TableFile, usize)> {
        let groups = |file: &'a TableFile| (0..file.row_groups()).map(move |group| (file, group));
        self.files.iter().flat_map(groups).collect()
    }

    /// The row groups beside the hour that may hold records within its margin.
    pub(crate) fn units_beside(&self) -> Vec<(&'a TableFile, usize)> {
        let margin = self.margin();
        let groups = |file: &'a TableFile| (0..file.row_groups()).map(move |group| (file, group));
        let near = |(file, group): &(&TableFile, usize)| {
            file.times_in(*group)
                .is_none_or(|(from, to)| margin.touches(Stretch { from, to }))
        };
        self.beside.iter().flat_map(groups).filter(near).collect()
    }

    /// The hour with its margins: records that begin in it are looked at.
    fn margin(&self) -> Stretch {
        Stretch {
            from: self.hour.start_us().saturating_sub(HOUR_MARGIN_US),
            to: self.hour.end_us().saturating_add(HOUR_MARGIN_US - 1),
        }
    }

    /// Runs `rows` over the batches of row groups, on several threads with a state each.
    pub(crate) fn each_row_group<S, R: Send>(
        &self,
        units: &[(&TableFile, usize)],
        columns: &[&str],
        start: impl Fn() -> S + Sync,
        rows: impl Fn(&mut S, &RecordBatch, &TableFile) -> Result<(), AnalyzeError> + Sync,
        finish: impl Fn(S) -> R + Sync,
    ) -> Result<Vec<R>, AnalyzeError> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<R, AnalyzeError> {
            let mut state = start();
            while let Some((file, group)) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                for batch in file.batches(columns, *group)? {
                    rows(&mut state, &batch?, file)?;
                }
            }
            Ok(finish(state))
        };
        let threads = self.threads.clamp(1, units.len().max(1));
        if threads == 1 {
            return Ok(vec![work()?]);
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        })
    }
}

fn pair_of(parties: &Parties, key: &TupleKey) -> u64 {
    pair(
        parties.address_of(key.a).hash,
        parties.address_of(key.b).hash,
    )
}

/// Symmetric, and different from zero for a pair of equal addresses.
fn pair(a: u64, b: u64) -> u64 {
    let sum = u128::from(a.wrapping_add(b)) * 0xd1b5_4a32_d192_ed03;
    (sum as u64) ^ (sum >> 64) as u64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both are append-only: sound even if a thread panicked while it held the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The holding of an end that has one all the time, unless a record made at `on` speaks against it.
#[inline]
fn whole(end: End, on: Site) -> Option<u32> {
    end.whole.filter(|_| !end.site.is_other_than(on))
}

/// State shared by the threads of one fold.
struct Shared {
    /// Bits of the bucket that all threads still fold.
    bits: AtomicU64,
    tuples_max: usize,
    bucket: Bucket,
}

/// One thread's fold.
struct Folder<'s, 'a> {
    scan: &'s Scan<'a>,
    shared: &'s Shared,
    bucket: Bucket,
    table: TupleTable,
    /// Records of the hour that end after it.
    straddling: TupleTable,
    dictionaries: Dictionaries,
    keys: Vec<TupleKey>,
    records: Vec<Observation>,
    /// Holdings of addresses whose holder changes meanwhile, by address and the place a record speaks of.
    windows: HashMap<(u32, Site), Windows, foldhash::fast::FixedState>,
    spans: HashMap<(u16, u16), u16>,
}

impl<'s, 'a> Folder<'s, 'a> {
    fn new(scan: &'s Scan<'a>, shared: &'s Shared) -> Self {
        Folder {
            scan,
            shared,
            bucket: shared.bucket,
            table: TupleTable::default(),
            straddling: TupleTable::default(),
            dictionaries: Dictionaries::default(),
            keys: Vec::with_capacity(BLOCK),
            records: Vec::with_capacity(BLOCK),
            windows: HashMap::default(),
            spans: HashMap::new(),
        }
    }

    fn rows(&mut self, batch: &RecordBatch, file: &TableFile) -> Result<(), AnalyzeError> {
        let end_us = self.scan.hour.end_us();
        self.each_row(batch, file, None, |folder, key, record, _| {
            if record.end_us > end_us {
                folder.straddling.fold(&[key], &[record]);
            }
            folder.keys.push(key);
            folder.records.push(record);
            if folder.keys.len() == BLOCK {
                folder.flush();
            }
        })?;
        self.flush();
        Ok(())
    }

    /// Hands out the rows of the bucket (those that begin in `wanted`) as what they add to which tuple. The last
    /// argument of `add` tells whether the whole five-tuple can only be that one tuple.
    #[inline]
    fn each_row(
        &mut self,
        batch: &RecordBatch,
        file: &TableFile,
        wanted: Option<Stretch>,
        mut add: impl FnMut(&mut Self, TupleKey, Observation, bool),
    ) -> Result<(), AnalyzeError> {
        let columns = Columns::of(batch);
        self.dictionaries.update(self.scan, &columns, file)?;
        let near = Stretch {
            from: self.scan.hour.start_us().saturating_add(HOUR_MARGIN_US),
            to: self.scan.hour.end_us().saturating_sub(HOUR_MARGIN_US),
        };
        for row in 0..batch.num_rows() {
            let window = Stretch {
                from: columns.start[row],
                to: columns.end[row],
            };
            if wanted.is_some_and(|wanted| !(wanted.from..=wanted.to).contains(&window.from)) {
                continue;
            }
            let (src, dst) = self.dictionaries.ends(&columns, row);
            if !self.bucket.holds(pair(src.hash, dst.hash)) {
                continue;
            }
            let (at_source, rejected) = self.dictionaries.signs(&columns, row);
            // One end is where the record was made.
            let on = self.dictionaries.site(&columns, row);
            let [src_on, dst_on] = match at_source {
                true => [on, Site::ANYWHERE],
                false => [Site::ANYWHERE, on],
            };
            let (src_whole, dst_whole) = (whole(src, src_on), whole(dst, dst_on));
            let src_holding = src_whole.unwrap_or_else(|| self.slice(src, window, src_on));
            let dst_holding = dst_whole.unwrap_or_else(|| self.slice(dst, window, dst_on));
            let span = if src.concerned || dst.concerned {
                self.span(window)
            } else {
                Spans::ANY
            };
            let (src_port, dst_port, protocol) = columns.ports(row);
            let forth = (src.address, src_port) <= (dst.address, dst_port);
            let (a, b, port_a, port_b) = if forth {
                (src_holding, dst_holding, src_port, dst_port)
            } else {
                (dst_holding, src_holding, dst_port, src_port)
            };
            let key = TupleKey {
                a,
                b,
                port_a,
                port_b,
                span,
                protocol,
            };
            let record = Observation {
                way: if forth { Way::Forth } else { Way::Back },
                at_source,
                rejected,
                packets: columns.packets[row],
                bytes: columns.bytes[row],
                tcp_flags: columns.flags(row),
                start_us: window.from,
                end_us: window.to,
                near_border: [window.from < near.from, window.from >= near.to],
            };
            let is_whole = span == Spans::ANY && src_whole.is_some() && dst_whole.is_some();
            add(self, key, record, is_whole);
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.table.fold(&self.keys, &self.records);
        self.keys.clear();
        self.records.clear();
        let tuples = self.table.tuples().len() + self.straddling.tuples().len();
        if let Some(bits) = self.shrink_to(tuples, self.shared.tuples_max) {
            self.shrink(bits);
        }
    }

    /// How far to halve the bucket now that `tuples` are held: as far as any thread did, and a bit more if they are
    /// too many.
    fn shrink_to(&self, tuples: usize, tuples_max: usize) -> Option<u32> {
        let mut bits = self.shared.bits.load(Ordering::Relaxed) as u32;
        if tuples > tuples_max && bits == self.bucket.bits && bits < BITS_MAX {
            bits += 1;
            self.shared
                .bits
                .fetch_max(u64::from(bits), Ordering::SeqCst);
        }
        (bits > self.bucket.bits).then_some(bits)
    }

    fn finish(mut self) -> (TupleTable, TupleTable) {
        let bits = self.shared.bits.load(Ordering::SeqCst) as u32;
        if bits > self.bucket.bits {
            self.shrink(bits);
        }
        (self.table, self.straddling)
    }

    fn shrink(&mut self, bits: u32) {
        self.bucket.bits = bits;
        let bucket = self.bucket;
        let parties = lock(&self.scan.parties);
        for table in [&mut self.table, &mut self.straddling] {
            table.retain(|tuple| bucket.holds(pair_of(&parties, &tuple.key)));
        }
    }

    /// The holding of an address whose holder changes meanwhile, or that a record speaks against.
    fn slice(&mut self, end: End, window: Stretch, on: Site) -> u32 {
        let scan = self.scan;
        let windows = self
            .windows
            .entry((end.address, on))
            .or_insert_with(|| lock(&scan.parties).windows_of(end.address));
        windows.get(window).unwrap_or_else(|| {
            let holding = lock(&scan.parties).slice(end.address, &scan.known, window, on);
            windows.put(window, holding);
            holding
        })
    }

    fn span(&mut self, window: Stretch) -> u16 {
        let scan = self.scan;
        let span = scan.known.timeline.span(window);
        *self
            .spans
            .entry((span.first, span.last))
            .or_insert_with(|| lock(&scan.spans).number(span))
    }
}

/// One thread's fold of what stands beside the hour.
struct BesideFolder<'s, 'a, 'o> {
    folder: Folder<'s, 'a>,
    kept: Beside<'o>,
}

/// What is kept of it.
struct Beside<'o> {
    /// The tuples of the hour.
    own: &'o TupleTable,
    before: TupleTable,
    after: TupleTable,
    /// Records of the hour before that end in this hour.
    straddling: TupleTable,
    /// Per row of the block, whether its five-tuple can only be one tuple.
    is_whole: Vec<bool>,
}

impl<'s, 'a, 'o> BesideFolder<'s, 'a, 'o> {
    fn new(folder: Folder<'s, 'a>, own: &'o TupleTable) -> Self {
        BesideFolder {
            folder,
            kept: Beside {
                own,
                before: TupleTable::default(),
                after: TupleTable::default(),
                straddling: TupleTable::default(),
                is_whole: Vec::with_capacity(BLOCK),
            },
        }
    }

    fn rows(&mut self, batch: &RecordBatch, file: &TableFile) -> Result<(), AnalyzeError> {
        let BesideFolder { folder, kept } = self;
        let margin = folder.scan.margin();
        folder.each_row(
            batch,
            file,
            Some(margin),
            |folder, key, record, is_whole| {
                folder.keys.push(key);
                folder.records.push(record);
                kept.is_whole.push(is_whole);
                if kept.is_whole.len() == BLOCK {
                    kept.flush(folder);
                }
            },
        )?;
        kept.flush(folder);
        Ok(())
    }

    fn finish(self) -> ([TupleTable; 2], TupleTable) {
        ([self.kept.before, self.kept.after], self.kept.straddling)
    }
}

impl Beside<'_> {
    fn flush(&mut self, folder: &mut Folder<'_, '_>) {
        let start_us = folder.scan.hour.start_us();
        let known = self.own.which(&folder.keys);
        for (n, (key, record)) in folder.keys.iter().zip(&folder.records).enumerate() {
            // Parts of a five-tuple that is several are found when it is looked at as one.
            if self.is_whole[n] && !known[n] {
                continue;
            }
            if record.start_us >= start_us {
                self.after.fold(&[*key], &[*record]);
                continue;
            }
            self.before.fold(&[*key], &[*record]);
            if record.end_us > start_us {
                self.straddling.fold(&[*key], &[*record]);
            }
        }
        folder.keys.clear();
        folder.records.clear();
        self.is_whole.clear();
        let tables = [&mut self.before, &mut self.after, &mut self.straddling];
        let tuples = tables.iter().map(|table| table.tuples().len()).sum();
        if let Some(bits) = folder.shrink_to(tuples, folder.shared.tuples_max / 3) {
            folder.bucket.bits = bits;
            let bucket = folder.bucket;
            let parties = lock(&folder.scan.parties);
            for table in tables {
                table.retain(|tuple| bucket.holds(pair_of(&parties, &tuple.key)));
            }
        }
    }
}
