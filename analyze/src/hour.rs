//! One hour: scan, decide bucket by bucket, hand out its edges and coverage.

use std::cell::OnceCell;

use flowaudit_lake::table::coverage::CoverageRow;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{FileEntry, Hour, Lake, read};

use crate::coverage::Coverage;
use crate::decide::{Context, decide};
use crate::edges::Edges;
use crate::error::AnalyzeError;
use crate::fanin::FanIn;
use crate::identify::{Book, Stretch};
use crate::judge::{Judge, node_of, pod_of};
use crate::scan::{self, Bucket};
use crate::settings::Settings;
use crate::timeline::Timeline;

/// Windows begin in their hour and last 10 minutes at most; twice that is allowed for.
const WINDOW_MAX_US: i64 = 20 * 60 * 1_000_000;

/// What became of an hour.
#[derive(Debug)]
pub struct Analysed {
    /// The hour.
    pub hour: Hour,
    /// Its edges, in a fixed order.
    pub edges: Vec<EdgeRow>,
    /// Its coverage.
    pub coverage: Coverage,
    /// Passes over the records: 1 unless they did not fit into memory.
    pub passes: usize,
}

impl Analysed {
    /// The rows for the table `coverage`.
    pub fn coverage_rows(&self) -> Vec<CoverageRow> {
        self.coverage.rows(self.hour)
    }
}

/// Everything known about holders and declared objects at all times, as read from a snapshot of the lake.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Endpoints.
    pub endpoints: Vec<EndpointRow>,
    /// Objects.
    pub objects: Vec<ObjectRow>,
}

impl Inventory {
    /// Who held what.
    pub fn book(&self, settings: &Settings) -> Book {
        Book::new(
            self.endpoints.clone(),
            settings.skew_us,
            &settings.cluster_ranges,
        )
    }

    /// What was declared around `within`.
    pub fn timeline(&self, within: Stretch, settings: &Settings) -> Timeline {
        let from = within.from.saturating_sub(settings.opened_lookback_us);
        let live = |row: &&EndpointRow| {
            row.valid_from_us <= within.to
                && row
                    .valid_to_us
                    .is_none_or(|to| to >= from || row.to_slack_ms.is_none())
        };
        let pods = self
            .endpoints
            .iter()
            .filter(live)
            .filter(|row| row.kind == "pod")
            .map(pod_of)
            .collect();
        let nodes = self
            .endpoints
            .iter()
            .filter(live)
            .filter(|row| row.kind == "node")
            .map(node_of)
            .collect();
        Timeline::new(
            &self.objects,
            Stretch {
                from,
                to: within.to,
            },
            settings.enforcement_grace_us,
            pods,
            nodes,
        )
    }
}

/// Analyses the records of one hour, given the files that hold them.
pub fn analyse_hour(
    lake: &Lake,
    hour: Hour,
    files: &[FileEntry],
    inventory: &Inventory,
    book: &Book,
    settings: &Settings,
) -> Result<Analysed, AnalyzeError> {
    let files = files
        .iter()
        .map(|entry| read::open(lake, entry))
        .collect::<Result<Vec<_>, _>>()?;
    let within = Stretch {
        from: hour.start_us(),
        to: hour.end_us().saturating_add(WINDOW_MAX_US),
    };
    let timeline = inventory.timeline(within, settings);
    let mut scan = scan::Hour::new(&files, book, &timeline, within);
    scan.threads = settings.threads;
    scan.memory = settings.tuple_memory_bytes;

    let mut judge = Judge::new(book, &timeline, settings.engine);
    let mut edges = Edges::new(settings.external_addresses_max);
    let mut coverage = Coverage::default();
    let fan_in: OnceCell<FanIn> = OnceCell::new();
    let mut todo = vec![Bucket::ALL];
    let mut passes = 0;
    while let Some(bucket) = todo.pop() {
        let scanned = scan.fold(bucket)?;
        passes += 1;
        for bits in bucket.bits..scanned.bucket.bits {
            todo.push(Bucket {
                bits: bits + 1,
                prefix: bucket.prefix | 1 << bits,
            });
        }
        // Asked for only where neither flags nor declared ports tell which end is the server.
        if fan_in.get().is_none() && scanned.bucket != Bucket::ALL {
            let _ = fan_in.set(scan.fan_in()?);
        }
        scan.with_parties(|parties, spans| {
            let whole_hour = || {
                let mut sketch = FanIn::for_records(scan.records());
                scan::note_tuples(&mut sketch, parties, &scanned.tuples);
                sketch
            };
            let context = Context {
                book,
                timeline: &timeline,
                parties,
                spans,
                fan_in: &|| fan_in.get_or_init(whole_hour),
            };
            decide(
                &context,
                &mut judge,
                &scanned.tuples,
                &mut edges,
                &mut coverage,
            );
        });
    }
    coverage.check(hour, scan.records())?;
    Ok(Analysed {
        hour,
        edges: edges.rows(hour, book, &judge),
        coverage,
        passes,
    })
}
