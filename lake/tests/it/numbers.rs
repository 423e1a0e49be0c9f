//! Numbered rows: what was written is known from how far it was read.

use std::collections::BTreeMap;

use flowaudit_lake::checkpoint::Position;
use flowaudit_lake::table::edges::EdgeRow;
use flowaudit_lake::table::flows::{self, FlowRow, FlowsBuilder};
use flowaudit_lake::{Batch, Hour, Lake, LakeError, Partition, Snapshot, Table, read};

pub(crate) const SOURCE: &str = "numbers";
/// 2026-11-24T08:00:00Z
pub(crate) const START_US: i64 = 1_795_507_200_000_000;

/// Their hour.
pub(crate) const HOUR: Hour = Hour(START_US / 3_600_000_000);
/// Two and a half minutes: 24 numbers to the hour.
const STEP_US: i64 = 150_000_000;

pub(crate) fn time_us(number: u64) -> i64 {
    START_US + number as i64 * STEP_US
}

/// The flow with this number.
pub(crate) fn flow(number: u64, text: &str) -> FlowRow<'_> {
    FlowRow {
        start_us: time_us(number),
        end_us: time_us(number) + 60_000_000,
        ingest_us: START_US,
        eni_id: "eni-1",
        vm_id: None,
        vpc_id: Some("vpc-1"),
        vswitch_id: None,
        account_id: None,
        region: None,
        direction: flows::DIRECTION_IN,
        src_addr: text,
        src_port: 40_000,
        dst_addr: "10.0.3.7",
        dst_port: 443,
        protocol: 6,
        packets: 1,
        bytes: number as i64,
        tcp_flags: Some(2),
        action: "ACCEPT",
        log_status: "OK",
        traffic_path: None,
        source: SOURCE,
        source_position: number as i64,
    }
}

/// Puts the flows `from..to` into a batch, hour by hour, and moves the checkpoint of `shard`.
pub(crate) fn fill(batch: &mut Batch, shard: &str, from: u64, to: u64) -> Result<(), LakeError> {
    let mut hours: BTreeMap<Hour, FlowsBuilder> = BTreeMap::new();
    let texts: Vec<String> = (from..to)
        .map(|number| format!("{shard}/{number}"))
        .collect();
    for (number, text) in (from..to).zip(&texts) {
        hours
            .entry(Hour::of_us(time_us(number)))
            .or_default()
            .push(&flow(number, text));
    }
    for (hour, mut rows) in hours {
        batch.write(Table::Flows, Partition::Hour(hour), &rows.finish())?;
    }
    batch.advance(SOURCE, shard, Position::at(from), Position::at(to));
    Ok(())
}

/// One batch of the flows `from..to`.
pub(crate) fn ingest(lake: &Lake, shard: &str, from: u64, to: u64) -> Result<u64, LakeError> {
    let mut batch = lake.batch("ingest")?;
    fill(&mut batch, shard, from, to)?;
    Ok(batch.publish()?.number)
}

/// How far a shard was read.
pub(crate) fn read_up_to(snapshot: &Snapshot, shard: &str) -> u64 {
    snapshot
        .checkpoints()
        .get(SOURCE, shard)
        .map_or(0, |position| position.at)
}

/// Every flow as `shard/number`, sorted.
pub(crate) fn flows_in(lake: &Lake, snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for entry in snapshot.files(Table::Flows) {
        let file = read::open(lake, entry).unwrap();
        for row_group in 0..file.row_groups() {
            for batch in file
                .batches(&["src_addr", "start_time"], row_group)
                .unwrap()
            {
                let batch = batch.unwrap();
                let text = arrow_array::cast::AsArray::as_dictionary::<arrow_array::types::Int32Type>(
                    batch.column(0),
                );
                let values: &arrow_array::StringArray =
                    arrow_array::cast::AsArray::as_string(text.values());
                found.extend(
                    text.keys()
                        .values()
                        .iter()
                        .map(|key| values.value(*key as usize).to_string()),
                );
            }
        }
    }
    found.sort_unstable();
    found
}

/// The flows that the checkpoints say are there, sorted.
pub(crate) fn flows_due(snapshot: &Snapshot) -> Vec<String> {
    let mut due = Vec::new();
    for (shard, position) in snapshot.checkpoints().shards(SOURCE) {
        due.extend((0..position.at).map(|number| format!("{shard}/{number}")));
    }
    due.sort_unstable();
    due
}

/// Asserts that the lake is whole: rows are exactly those the checkpoints promise, and nothing else is wrong.
#[track_caller]
pub(crate) fn check_whole(lake: &Lake) {
    let snapshot = lake.snapshot().unwrap();
    assert_eq!(flows_in(lake, &snapshot), flows_due(&snapshot));
    assert_eq!(lake.verify().unwrap(), []);
}

/// An edge, of which only the hour and the number of records matter.
pub(crate) fn edge(hour: Hour, records: i64) -> EdgeRow {
    let text = || "x".to_string();
    EdgeRow {
        hour_us: hour.start_us(),
        vpc_id: None,
        client_kind: text(),
        client_cluster: None,
        client_namespace: None,
        client_workload_kind: None,
        client_workload: None,
        client_name: None,
        client_uid: None,
        client_addr: text(),
        server_kind: text(),
        server_cluster: None,
        server_namespace: None,
        server_workload_kind: None,
        server_workload: None,
        server_name: None,
        server_uid: None,
        server_addr: text(),
        server_port: 443,
        protocol: 6,
        connections: 1,
        forward_packets: 1,
        forward_bytes: 1,
        forward_flags: None,
        reverse_packets: 0,
        reverse_bytes: 0,
        reverse_flags: None,
        observation: text(),
        verdict: text(),
        class: text(),
        reasons: "[]".to_string(),
        oriented_by: text(),
        client_identified_by: text(),
        server_identified_by: text(),
        client_candidates: None,
        server_candidates: None,
        link: None,
        first_seen_us: hour.start_us(),
        last_seen_us: hour.start_us(),
        records,
        client_addrs: None,
        server_addrs: None,
    }
}

/// Goes on where the checkpoint says, batch by batch, until the process is killed.
pub(crate) fn go_on_for_ever(lake: &Lake) -> ! {
    loop {
        let from = read_up_to(&lake.snapshot().unwrap(), "0");
        let to = from + 1 + from % 29;
        let mut batch = lake.batch("ingest").unwrap();
        fill(&mut batch, "0", from, to).unwrap();
        // The same batch replaces a partition, so that dying between renaming and removing is met too.
        batch.replace(Table::Edges, Partition::Hour(HOUR));
        batch
            .write_rows(Partition::Hour(HOUR), &[edge(HOUR, to as i64)])
            .unwrap();
        batch.publish().unwrap();
    }
}
