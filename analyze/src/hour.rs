//! One hour: scan it and what stands beside it, decide bucket by bucket, hand out its edges and coverage.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use flowaudit_lake::layout::HOUR_MARGIN_US;
use flowaudit_lake::table::coverage::CoverageRow;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::{FileEntry, Hour, Lake, Partition, Snapshot, Table, read};
use flowaudit_rules::kubernetes::{self, Body};

use crate::backends::name_backends;
use crate::context::Context;
use crate::coverage::Coverage;
use crate::decide::decide;
use crate::edges::Edges;
use crate::error::AnalyzeError;
use crate::fanin::{self, FanIn};
use crate::gaps::{Blind, Gaps};
use crate::identify::ranges;
use crate::identify::unseen::{self, Unseen};
use crate::identify::{Book, Stretch};
use crate::judge::{Judge, node_of, pod_of};
use crate::legs::{self, NAT_GATEWAY, Places};
use crate::parties::Known;
use crate::scan::{Bucket, Scan};
use crate::settings::Settings;
use crate::timeline::Timeline;
use crate::worlds::InhabitantsOf;

/// Windows begin in their hour or within its margin, and last 10 minutes at most; twice that is allowed for.
const WINDOW_MAX_US: i64 = 20 * 60 * 1_000_000;

/// Everything but the inventory that the analysis of one hour looks at.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The hour.
    pub hour: Hour,
    /// The files that hold its records.
    pub files: Vec<FileEntry>,
    /// Files of the hours beside it that may hold records within its margin.
    pub beside: Vec<FileEntry>,
    /// What the log lost around it.
    pub gaps: Gaps,
}

impl Unit {
    /// The hour as it stands in a snapshot, with the gaps of its day.
    pub fn of(snapshot: &Snapshot, hour: Hour, gaps: &Gaps) -> Unit {
        let files = |hour| snapshot.files_in(Table::Flows, Partition::Hour(hour));
        let beside = [hour.previous(), hour.next()].into_iter().flat_map(files);
        let near = |entry: &&FileEntry| match (entry.min_us, entry.max_us) {
            (Some(min), Some(max)) => hour.is_concerned_by(min, max.saturating_add(1)),
            _ => true,
        };
        Unit {
            hour,
            files: files(hour).to_vec(),
            beside: beside.filter(near).cloned().collect(),
            gaps: gaps.near(hour),
        }
    }
}

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
    /// When nobody watched; rows of other gaps do no harm.
    pub gaps: Vec<GapRow>,
}

/// How far back gaps of the inventory are looked for. An outage may be longer than the day that it began on.
const GAPS_DAYS: i64 = 32;

impl Inventory {
    /// All that is known, and when nobody watched around `within`.
    pub fn read(
        lake: &Lake,
        snapshot: &Snapshot,
        within: Stretch,
    ) -> Result<Inventory, AnalyzeError> {
        let day = |at_us: i64| Hour::of_us(at_us).date().0;
        let days = day(within.from).saturating_sub(GAPS_DAYS)..=day(within.to).saturating_add(1);
        let mut gaps = Vec::new();
        for entry in snapshot.files(Table::Gaps) {
            let Partition::Date(date) = entry.partition else {
                continue;
            };
            if days.contains(&date.0) {
                gaps.extend(unseen::read(lake, entry)?);
            }
        }
        Ok(Inventory {
            endpoints: read::rows(lake, snapshot)?,
            objects: read::rows(lake, snapshot)?,
            gaps,
        })
    }

    /// Who held what.
    pub fn book(&self, settings: &Settings) -> Book {
        let apart_us = settings.apart_us();
        Book::new(self.endpoints.clone(), apart_us, &settings.cluster_ranges)
            .with_grace(settings.enforcement_grace_us)
            .with_instances(self.instances())
            .with_unseen(Unseen::new(&self.gaps, apart_us))
            .with_ranges(settings.ranges.iter().cloned().chain(ranges::built_in()))
    }

    /// Until when each cluster was seen, microseconds since the epoch.
    pub fn seen_until(&self) -> BTreeMap<String, i64> {
        let endpoints = self.endpoints.iter();
        let endpoints = endpoints.map(|row| (&row.cluster, row.valid_to_us));
        let objects = self.objects.iter();
        let objects = objects.map(|row| (&row.cluster, row.valid_to_us));
        let mut until: BTreeMap<String, i64> = BTreeMap::new();
        for (cluster, to) in endpoints.chain(objects) {
            let known = until.entry(cluster.clone()).or_insert(i64::MIN);
            *known = (*known).max(to.unwrap_or(i64::MIN));
        }
        until
    }

    /// ECS instances of nodes, with cluster and name, as the objects of nodes say.
    fn instances(&self) -> Vec<(String, String, String)> {
        let nodes = self.objects.iter().filter(|row| row.kind == "Node");
        let instances = nodes.flat_map(|row| {
            let objects = kubernetes::read("", &row.spec).objects;
            objects.into_iter().filter_map(|object| match object.body {
                Body::Node(node) => {
                    Some((node.instance_id?, row.cluster.clone(), row.name.clone()))
                }
                _ => None,
            })
        });
        instances.collect()
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
        let mut inhabitants = InhabitantsOf::new();
        for row in self.endpoints.iter().filter(live) {
            let of_cluster = || row.cluster.clone();
            match row.kind.as_str() {
                "pod" => inhabitants
                    .entry(of_cluster())
                    .or_default()
                    .pods
                    .push(pod_of(row)),
                "node" => inhabitants
                    .entry(of_cluster())
                    .or_default()
                    .nodes
                    .push(node_of(row)),
                _ => {}
            }
        }
        Timeline::new(
            &self.objects,
            Stretch {
                from,
                to: within.to,
            },
            settings.enforcement_grace_us,
            inhabitants,
        )
    }
}

/// Analyses one hour.
pub fn analyse_hour(
    lake: &Lake,
    unit: &Unit,
    inventory: &Inventory,
    book: &Book,
    settings: &Settings,
) -> Result<Analysed, AnalyzeError> {
    let hour = unit.hour;
    let open = |entries: &[FileEntry]| {
        let files = entries.iter().map(|entry| read::open(lake, entry));
        files.collect::<Result<Vec<_>, _>>()
    };
    let (files, beside) = (open(&unit.files)?, open(&unit.beside)?);
    let within = Stretch {
        from: hour.start_us().saturating_sub(HOUR_MARGIN_US),
        to: hour.end_us().saturating_add(HOUR_MARGIN_US + WINDOW_MAX_US),
    };
    let timeline = inventory.timeline(within, settings);
    let known = Known {
        book,
        timeline: &timeline,
        within,
    };
    let mut scan = Scan::new(hour, &files, &beside, known);
    scan.threads = settings.threads;
    scan.memory = settings.tuple_memory_bytes;

    let mut judge = Judge::new(book, &timeline, settings.engine);
    let mut edges = Edges::new(settings.external_addresses_max);
    let mut coverage = Coverage::default();
    let mut blind = Blind::new(&unit.gaps);
    let mut interfaces_known = false;
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
        if !interfaces_known && scanned.tuples.iter().any(|tuple| blind.matters_to(tuple)) {
            blind.find_interfaces(&scan)?;
            interfaces_known = true;
        }
        scan.with_parties(|parties, spans| {
            let whole_hour = || {
                let mut sketch = FanIn::for_records(scan.records());
                fanin::note_tuples(&mut sketch, parties, &scanned.tuples);
                sketch
            };
            let context = Context {
                hour,
                apart_us: settings.apart_us(),
                book,
                timeline: &timeline,
                parties,
                spans,
                blind: &blind,
                fan_in: &|| fan_in.get_or_init(whole_hour),
            };
            decide(&context, &mut judge, &scanned, &mut edges, &mut coverage);
        });
    }
    coverage.check(hour, scan.records())?;
    let mut edges = scan.with_parties(|parties, _| edges.rows(hour, book, &judge, parties));
    name_backends(&mut edges, &inventory.objects, settings.apart_us());
    let node_ports = legs::node_ports(timeline.services(), timeline.inhabitants());
    if !node_ports.is_empty() || edges.iter().any(|edge| edge.client_kind == NAT_GATEWAY) {
        let places = Places::new(&inventory.endpoints);
        legs::link(&mut edges, &node_ports, &places, settings.apart_us());
    }
    Ok(Analysed {
        hour,
        edges,
        coverage,
        passes,
    })
}
