//! Rows become batches, files and rows again without loss.

use std::sync::Arc;

use flowaudit_lake::store::Memory;
use flowaudit_lake::table::Row;
use flowaudit_lake::table::endpoints::EndpointRow;
use flowaudit_lake::table::flows::{self, FlowRow, FlowsBuilder};
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::objects::ObjectRow;
use flowaudit_lake::table::rejects::RejectRow;
use flowaudit_lake::{Hour, Lake, LakeError, Partition, Table, read};
use proptest::prelude::*;

/// Text that collides, is empty, or is of any letters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ab]{1,2}",
        Just("10.0.3.7".to_string()),
        any::<String>()
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), any::<i64>()]
}

fn endpoint() -> impl Strategy<Value = EndpointRow> {
    let texts = proptest::array::uniform5(text());
    let options = proptest::array::uniform10(proptest::option::of(text()));
    let numbers = proptest::array::uniform3(proptest::option::of(number()));
    (texts, options, number(), numbers, any::<bool>()).prop_map(
        |([addr, kind, cluster, name, evidence], options, valid_from_us, numbers, host_network)| {
            let [
                vpc_id,
                namespace,
                uid,
                workload_kind,
                workload,
                labels,
                node,
                container_ports,
                service_account,
                eni_id,
            ] = options;
            let [valid_to_us, from_slack_ms, to_slack_ms] = numbers;
            EndpointRow {
                addr,
                vpc_id,
                valid_from_us,
                valid_to_us,
                from_slack_ms,
                to_slack_ms,
                kind,
                cluster,
                namespace,
                name,
                uid,
                workload_kind,
                workload,
                labels,
                host_network,
                node,
                container_ports,
                service_account,
                eni_id,
                evidence,
            }
        },
    )
}

fn store_and_read<R: Row>(rows: &[R], partition: Partition) -> Vec<R> {
    let lake = Lake::create_or_open_on(Arc::new(Memory::default())).unwrap();
    let mut batch = lake.batch("test").unwrap();
    batch.write_rows(partition, rows).unwrap();
    batch.publish().unwrap();
    read::rows(&lake, &lake.snapshot().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn endpoints_come_back(rows in proptest::collection::vec(endpoint(), 0..20)) {
        let batch = EndpointRow::to_batch(&rows);
        prop_assert_eq!(batch.schema(), Table::Endpoints.schema());
        prop_assert_eq!(&EndpointRow::from_batch(&batch).unwrap(), &rows);
        prop_assert_eq!(store_and_read(&rows, Partition::None), rows);
    }

    #[test]
    fn flows_come_back(
        texts in proptest::collection::vec(proptest::array::uniform8(text()), 1..30),
        options in proptest::collection::vec(proptest::array::uniform5(proptest::option::of(text())), 30),
        numbers in proptest::collection::vec((number(), number(), any::<i32>(), proptest::option::of(any::<i32>())), 30),
        times in proptest::collection::vec(0..3_600_000_000i64, 30),
    ) {
        let hour = Hour(495_974);
        let rows: Vec<FlowRow<'_>> = texts.iter().enumerate().map(|(n, texts)| {
            let [eni_id, direction, src_addr, dst_addr, action, log_status, source, _] = texts;
            let [vm_id, vpc_id, vswitch_id, account_id, region] = &options[n];
            let (packets, bytes, small, maybe) = numbers[n];
            FlowRow {
                start_us: hour.start_us() + times[n],
                end_us: packets,
                ingest_us: bytes,
                eni_id,
                vm_id: vm_id.as_deref(),
                vpc_id: vpc_id.as_deref(),
                vswitch_id: vswitch_id.as_deref(),
                account_id: account_id.as_deref(),
                region: region.as_deref(),
                direction,
                src_addr,
                src_port: small,
                dst_addr,
                dst_port: small,
                protocol: small,
                packets,
                bytes,
                tcp_flags: maybe,
                action,
                log_status,
                traffic_path: maybe,
                source,
                source_position: packets,
            }
        }).collect();
        let mut builder = FlowsBuilder::default();
        rows.iter().for_each(|row| builder.push(row));
        prop_assert_eq!(builder.len(), rows.len());
        let batch = builder.finish();
        prop_assert!(builder.is_empty());
        prop_assert_eq!(&flows::rows(&batch).unwrap(), &rows);
        let lake = Lake::create_or_open_on(Arc::new(Memory::default())).unwrap();
        let mut writing = lake.batch("test").unwrap();
        writing.write(Table::Flows, Partition::Hour(hour), &batch).unwrap();
        let commit = writing.publish().unwrap();
        let entry = &commit.added[0];
        let starts = || rows.iter().map(|row| row.start_us);
        prop_assert_eq!((entry.rows, entry.min_us, entry.max_us), (rows.len() as u64, starts().min(), starts().max()));
        let columns: Vec<_> = Table::Flows.columns().iter().map(|column| column.name).collect();
        let found: Vec<_> = read::batches(&lake, entry, &columns, 0).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&flows::rows(&found[0]).unwrap(), &rows);
    }

    #[test]
    fn small_tables_come_back(a in text(), b in proptest::option::of(text()), n in number(), at in 0..250_000_000_000_000_000i64) {
        let day = Partition::date_of_us(at);
        let gap = GapRow { eni_id: b.clone(), from_us: at, to_us: n, reason: a.clone(), source: a.clone(), source_position: n };
        prop_assert_eq!(store_and_read(std::slice::from_ref(&gap), day), [gap]);
        let reject = RejectRow { ingest_time_us: at, raw: a.clone(), reason: a.clone(), source: a.clone(), source_position: n };
        prop_assert_eq!(store_and_read(std::slice::from_ref(&reject), day), [reject]);
        let object = ObjectRow {
            group: a.clone(), kind: a.clone(), namespace: b.clone(), name: a.clone(), uid: b, valid_from_us: n,
            valid_to_us: Some(n), from_slack_ms: None, to_slack_ms: Some(n), spec: a.clone(), origin: a.clone(), cluster: a,
        };
        prop_assert_eq!(store_and_read(std::slice::from_ref(&object), Partition::None), [object]);
    }
}

#[test]
fn what_does_not_fit_the_table_is_refused_and_the_batch_goes_on() {
    let lake = Lake::create_or_open_on(Arc::new(Memory::default())).unwrap();
    let gap = GapRow {
        eni_id: None,
        from_us: 0,
        to_us: 1,
        reason: String::new(),
        source: String::new(),
        source_position: 0,
    };
    let rows = GapRow::to_batch(&[gap]);
    let mut batch = lake.batch("test").unwrap();
    let day = Partition::date_of_us(0);
    let refuse = |batch: &mut flowaudit_lake::Batch, table, partition, rows| {
        batch.write(table, partition, rows).unwrap_err()
    };
    assert!(matches!(
        refuse(&mut batch, Table::Gaps, Partition::None, &rows),
        LakeError::WrongPartition { .. }
    ));
    assert!(matches!(
        refuse(&mut batch, Table::Rejects, day, &rows),
        LakeError::UnknownColumn { .. }
    ));
    let fewer = rows.project(&[0, 1, 2]).unwrap();
    assert!(matches!(
        refuse(&mut batch, Table::Gaps, day, &fewer),
        LakeError::ColumnMismatch { .. }
    ));
    for far in [i64::MAX, i64::MIN] {
        let error = refuse(&mut batch, Table::Gaps, Partition::date_of_us(far), &rows);
        assert!(matches!(error, LakeError::TimeOutOfRange { .. }));
        assert!(error.help().unwrap().contains("unit"));
    }
    let mut flow = FlowsBuilder::default();
    flow.push(&crate::numbers::flow(0, "x"));
    let flow = flow.finish();
    let error = refuse(&mut batch, Table::Flows, Partition::Hour(Hour(0)), &flow);
    assert!(
        matches!(error, LakeError::OutsidePartition { .. }),
        "{error:?}"
    );
    batch.write(Table::Gaps, day, &rows).unwrap();
    assert_eq!(batch.publish().unwrap().added.len(), 1);
}

#[test]
fn hours_before_the_epoch_and_at_the_ends_of_the_calendar() {
    for at in [
        -1,
        -3_600_000_001,
        -62_135_596_800_000_000,
        253_402_300_799_999_999,
        -62_167_219_200_000_000,
    ] {
        let gap = GapRow {
            eni_id: None,
            from_us: at,
            to_us: at,
            reason: String::new(),
            source: String::new(),
            source_position: 0,
        };
        let day = Partition::date_of_us(at);
        assert!(day.is_writable(), "{day}");
        assert_eq!(store_and_read(std::slice::from_ref(&gap), day), [gap]);
    }
    assert_eq!(
        Partition::hour_of_us(-1).to_string(),
        "date=1969-12-31/hour=23"
    );
    assert!(!Partition::hour_of_us(253_402_300_800_000_000).is_writable());
    assert!(!Partition::hour_of_us(-62_167_219_200_000_001).is_writable());
}

#[test]
fn long_lists_of_long_rows_are_cut() {
    let row = |n: i64| ObjectRow {
        group: String::new(),
        kind: "NetworkPolicy".to_string(),
        namespace: None,
        name: n.to_string(),
        uid: None,
        valid_from_us: n,
        valid_to_us: None,
        from_slack_ms: None,
        to_slack_ms: None,
        spec: "x".repeat(1_500_000),
        origin: String::new(),
        cluster: String::new(),
    };
    let rows: Vec<_> = (0..100).map(row).collect();
    assert_eq!(store_and_read(&rows, Partition::None), rows);
}
