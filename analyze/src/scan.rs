//! Flow records of one hour → distinct tuples of one bucket.
//!
//! Threads take row groups from a queue, turn the dictionary of each address column into holdings once, and fold
//! rows into a table of their own; the tables are merged at the end. The bucket of a record is a symmetric hash of its
//! two addresses, so that every record of a conversation, from both interfaces and in both directions, is in one.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use flowaudit_lake::read::TableFile;

use crate::columns::{COLUMNS, Columns, Dictionaries, End};
use crate::error::AnalyzeError;
use crate::fanin::FanIn;
use crate::fold::{BLOCK, Observation, TUPLE_BYTES, Tuple, TupleKey, TupleTable, Way};
use crate::identify::{Book, Held, Stretch};
use crate::timeline::{Spans, Timeline};

/// The seed is fixed: the bucket of an address pair is the same on every machine and in every run.
const HASHER: foldhash::fast::FixedState = foldhash::fast::FixedState::with_seed(0x0061_7564_6974);

/// A part of the address pairs: those whose symmetric hash ends in `prefix`, `bits` bits long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Number of bits; 0 takes everything.
    pub bits: u32,
    /// The bits.
    pub prefix: u64,
}

impl Bucket {
    /// Everything in one bucket.
    pub const ALL: Bucket = Bucket { bits: 0, prefix: 0 };

    fn holds(self, pair: u64) -> bool {
        pair & ((1 << self.bits) - 1) == self.prefix
    }
}

/// One address in one VPC.
#[derive(Debug)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The VPC of the records; part of what makes the address this one.
    pub vpc: Option<String>,
    /// Stable hash of address and VPC.
    pub hash: u64,
    /// Instants at which its holder may change within the hour; empty for most.
    cuts: Vec<i64>,
    /// The holding where there are no cuts.
    whole: u32,
}

impl Address {
    /// Its holding, unless its holder changes within the hour.
    pub(crate) fn whole(&self) -> Option<u32> {
        self.cuts.is_empty().then_some(self.whole)
    }
}

/// An address as held by one holder (or none that is known) for the windows of some records.
#[derive(Debug)]
pub struct Holding {
    /// Number of the address.
    pub address: u32,
    /// Who held it.
    pub held: Held,
}

/// All addresses and holdings that the records of one hour name.
#[derive(Debug, Default)]
pub struct Parties {
    addresses: Vec<Address>,
    holdings: Vec<Holding>,
    numbers: HashMap<(IpAddr, Option<String>), u32>,
    slices: HashMap<(u32, Held), u32>,
}

impl Parties {
    /// The holding with that number.
    pub fn holding(&self, number: u32) -> &Holding {
        &self.holdings[number as usize]
    }

    /// The address of a holding.
    pub fn address_of(&self, holding: u32) -> &Address {
        &self.addresses[self.holding(holding).address as usize]
    }

    /// Whether the address of a holding has one holder (or none) all hour.
    pub fn is_constant(&self, holding: u32) -> bool {
        self.address_of(holding).cuts.is_empty()
    }

    /// The address with its number; noted if it is new.
    pub(crate) fn address(
        &mut self,
        text: IpAddr,
        vpc: Option<&str>,
        book: &Book,
        within: Stretch,
    ) -> (u32, &Address) {
        let key = (text, vpc.map(str::to_owned));
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => self.note(key, book, within),
        };
        (number, &self.addresses[number as usize])
    }

    fn note(&mut self, key: (IpAddr, Option<String>), book: &Book, within: Stretch) -> u32 {
        let number = self.addresses.len() as u32;
        self.addresses.push(Address {
            address: key.0,
            vpc: key.1.clone(),
            hash: HASHER.hash_one((key.0, key.1.as_deref())),
            cuts: book.cuts(key.0, within),
            whole: 0,
        });
        self.numbers.insert(key, number);
        let whole = self.slice(number, book, within);
        self.addresses[number as usize].whole = whole;
        number
    }

    /// The holding of an address for one window.
    fn slice(&mut self, address: u32, book: &Book, window: Stretch) -> u32 {
        let known = &self.addresses[address as usize];
        let held = book.held(known.address, known.vpc.as_deref(), window);
        let next = self.holdings.len() as u32;
        let number = *self.slices.entry((address, held.clone())).or_insert(next);
        if number == next {
            self.holdings.push(Holding { address, held });
        }
        number
    }
}

/// What an hour's scan needs to know; shared by all threads.
#[derive(Debug)]
pub struct Hour<'a> {
    /// Files of the hour, footers read.
    pub files: &'a [TableFile],
    /// Who held what.
    pub book: &'a Book,
    /// What was declared.
    pub timeline: &'a Timeline,
    /// The time that windows of the hour's records may touch.
    pub within: Stretch,
    /// Threads to use.
    pub threads: usize,
    /// Memory for tuples, bytes.
    pub memory: usize,
    parties: Mutex<Parties>,
    spans: Mutex<Spans>,
}

/// The tuples of one bucket; `bucket` is smaller than asked for where memory ran out.
#[derive(Debug)]
pub struct Scanned {
    /// What was folded.
    pub bucket: Bucket,
    /// Distinct tuples, in no meaningful order.
    pub tuples: Vec<Tuple>,
}

impl<'a> Hour<'a> {
    /// An hour that has not been scanned yet.
    pub fn new(
        files: &'a [TableFile],
        book: &'a Book,
        timeline: &'a Timeline,
        within: Stretch,
    ) -> Hour<'a> {
        Hour {
            files,
            book,
            timeline,
            within,
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

    /// Hands out what the scans met.
    pub fn into_parties(self) -> (Parties, Spans) {
        let parties = self
            .parties
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        (
            parties,
            self.spans
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Looks at what the scans met so far.
    pub fn with_parties<R>(&self, look: impl FnOnce(&Parties, &Spans) -> R) -> R {
        look(&lock(&self.parties), &lock(&self.spans))
    }

    /// Folds the records of `bucket`. Where they need more memory than is allowed, the bucket is halved until they fit.
    pub fn fold(&self, bucket: Bucket) -> Result<Scanned, AnalyzeError> {
        let shared = Shared {
            bits: AtomicU64::new(u64::from(bucket.bits)),
            tuples_max: (self.memory / TUPLE_BYTES / self.threads.max(1)).max(4 * BLOCK),
            bucket,
        };
        let tables = self.each_row_group(
            || Folder::new(self, &shared),
            |folder, batch, file| folder.rows(batch, file),
            |folder| {
                let mut folder = folder;
                folder.finish();
                folder.table
            },
        )?;
        let bits = shared.bits.load(Ordering::SeqCst) as u32;
        let bucket = Bucket { bits, ..bucket };
        let mut tables = tables.into_iter();
        let mut all = tables.next().unwrap_or_default();
        for table in tables {
            all.merge(table);
        }
        if bits > shared.bucket.bits {
            // A thread may have finished before another one halved the bucket.
            let parties = lock(&self.parties);
            all.retain(|tuple| bucket.holds(pair_of(&parties, &tuple.key)));
        }
        Ok(Scanned {
            bucket,
            tuples: all.into_tuples(),
        })
    }

    /// The fan-in of the whole hour, from its records: needed only where the hour does not fit into one bucket.
    pub fn fan_in(&self) -> Result<FanIn, AnalyzeError> {
        let parts = self.each_row_group(
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

    /// Runs `rows` over the batches of all row groups, on several threads with a state each.
    fn each_row_group<S, R: Send>(
        &self,
        start: impl Fn() -> S + Sync,
        rows: impl Fn(&mut S, &RecordBatch, &TableFile) -> Result<(), AnalyzeError> + Sync,
        finish: impl Fn(S) -> R + Sync,
    ) -> Result<Vec<R>, AnalyzeError> {
        let units: Vec<(&TableFile, usize)> = self
            .files
            .iter()
            .flat_map(|file| (0..file.row_groups()).map(move |group| (file, group)))
            .collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<R, AnalyzeError> {
            let mut state = start();
            while let Some((file, group)) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                for batch in file.batches(COLUMNS, *group)? {
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

/// Adds the fan-in that tuples show. Adding the same again changes nothing.
pub fn note_tuples(sketch: &mut FanIn, parties: &Parties, tuples: &[Tuple]) {
    for tuple in tuples {
        let (a, b) = (
            parties.address_of(tuple.key.a).hash,
            parties.address_of(tuple.key.b).hash,
        );
        note_fan_in(
            sketch,
            (a, tuple.key.port_a),
            (b, tuple.key.port_b),
            tuple.key.protocol,
        );
    }
}

/// What [`FanIn`] calls a service: an address and a port of a protocol.
pub fn service_hash(address: u64, port: u16, protocol: u8) -> u64 {
    address.rotate_left(17)
        ^ (u64::from(port) << 8 | u64::from(protocol)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn note_fan_in(sketch: &mut FanIn, a: (u64, u16), b: (u64, u16), protocol: u8) {
    let (a, b) = (
        service_hash(a.0, a.1, protocol),
        service_hash(b.0, b.1, protocol),
    );
    sketch.note(a, b);
    sketch.note(b, a);
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

/// State shared by the threads of one fold.
struct Shared {
    /// Bits of the bucket that all threads still fold.
    bits: AtomicU64,
    tuples_max: usize,
    bucket: Bucket,
}

/// One thread's fold.
struct Folder<'h, 'a> {
    hour: &'h Hour<'a>,
    shared: &'h Shared,
    bucket: Bucket,
    table: TupleTable,
    dictionaries: Dictionaries,
    keys: Vec<TupleKey>,
    records: Vec<Observation>,
    /// Holdings of addresses whose holder changes within the hour, by the stretches a window's ends lie in.
    slices: HashMap<(u32, usize, usize), u32>,
    spans: HashMap<(u16, u16), u16>,
}

impl<'h, 'a> Folder<'h, 'a> {
    fn new(hour: &'h Hour<'a>, shared: &'h Shared) -> Self {
        Folder {
            hour,
            shared,
            bucket: shared.bucket,
            table: TupleTable::default(),
            dictionaries: Dictionaries::default(),
            keys: Vec::with_capacity(BLOCK),
            records: Vec::with_capacity(BLOCK),
            slices: HashMap::new(),
            spans: HashMap::new(),
        }
    }

    fn rows(&mut self, batch: &RecordBatch, file: &TableFile) -> Result<(), AnalyzeError> {
        let columns = Columns::of(batch);
        self.dictionaries.update(self.hour, &columns, file)?;
        let constant = self.hour.timeline.is_constant();
        let everything = self.span(Stretch {
            from: self.hour.within.from,
            to: self.hour.within.from,
        });
        for row in 0..batch.num_rows() {
            let (src, dst) = self.dictionaries.ends(&columns, row);
            if !self.bucket.holds(pair(src.hash, dst.hash)) {
                continue;
            }
            let window = Stretch {
                from: columns.start[row],
                to: columns.end[row],
            };
            let (src_holding, dst_holding) = (self.holding(src, window), self.holding(dst, window));
            let span = if constant {
                everything
            } else {
                self.span(window)
            };
            let (src_port, dst_port, protocol) = columns.ports(row);
            let forth = (src.address, src_port) <= (dst.address, dst_port);
            let (a, b, port_a, port_b) = if forth {
                (src_holding, dst_holding, src_port, dst_port)
            } else {
                (dst_holding, src_holding, dst_port, src_port)
            };
            self.keys.push(TupleKey {
                a,
                b,
                port_a,
                port_b,
                span,
                protocol,
            });
            self.records.push(Observation {
                way: if forth { Way::Forth } else { Way::Back },
                at_source: self.dictionaries.is_out[columns.direction.keys().value(row) as usize],
                rejected: self.dictionaries.is_reject[columns.action.keys().value(row) as usize],
                packets: columns.packets[row],
                bytes: columns.bytes[row],
                tcp_flags: columns.flags(row),
                start_us: window.from,
                end_us: window.to,
            });
            if self.keys.len() == BLOCK {
                self.flush();
            }
        }
        self.flush();
        Ok(())
    }

    fn flush(&mut self) {
        self.table.fold(&self.keys, &self.records);
        self.keys.clear();
        self.records.clear();
        let bits = self.shared.bits.load(Ordering::Relaxed) as u32;
        if bits > self.bucket.bits {
            self.shrink(bits);
        }
        while self.table.tuples().len() > self.shared.tuples_max && self.bucket.bits < 48 {
            let bits = u64::from(self.bucket.bits) + 1;
            self.shared.bits.fetch_max(bits, Ordering::SeqCst);
            self.shrink(bits as u32);
        }
    }

    fn finish(&mut self) {
        let bits = self.shared.bits.load(Ordering::SeqCst) as u32;
        if bits > self.bucket.bits {
            self.shrink(bits);
        }
    }

    fn shrink(&mut self, bits: u32) {
        self.bucket.bits = bits;
        let bucket = self.bucket;
        let parties = lock(&self.hour.parties);
        self.table
            .retain(|tuple| bucket.holds(pair_of(&parties, &tuple.key)));
    }

    fn holding(&mut self, end: End, window: Stretch) -> u32 {
        if let Some(whole) = end.whole {
            return whole;
        }
        let hour = self.hour;
        let stretches = {
            let parties = lock(&hour.parties);
            let cuts = &parties.addresses[end.address as usize].cuts;
            (
                cuts.partition_point(|cut| *cut <= window.from),
                cuts.partition_point(|cut| *cut <= window.to),
            )
        };
        let slice = || lock(&hour.parties).slice(end.address, hour.book, window);
        *self
            .slices
            .entry((end.address, stretches.0, stretches.1))
            .or_insert_with(slice)
    }

    fn span(&mut self, window: Stretch) -> u16 {
        let hour = self.hour;
        let span = hour.timeline.span(window);
        *self
            .spans
            .entry((span.first, span.last))
            .or_insert_with(|| lock(&hour.spans).number(span))
    }
}
