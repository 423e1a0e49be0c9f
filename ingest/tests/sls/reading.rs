//! From shards to the lake: up to now, up to a time, followed, through splits and merges, too late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::DateTime;
use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::unpack::Packing;
use flowaudit_ingest::sls::{Event, Place as At, PullSettings, pull};

use flowaudit_ingest::IngestError;
use flowaudit_lake::store::{FailAt, Failure, Local};
use flowaudit_lake::{Hour, Lake, Table};

use crate::common::{Place, RECEIVED, check_once, client, quick};
use crate::fake::records::{self, START};

#[test]
fn once_reads_what_is_there_and_nothing_twice() {
    let place = Place::new(3);
    place.put(0..3000);
    let first = place.pull(&quick()).unwrap();
    assert_eq!(
        (first.counts.flows, first.shards, first.missed),
        (3000, 3, 0)
    );
    assert!(first.packed_bytes > 0 && first.packed_bytes < first.bytes);
    place.check(0..3000);
    assert_eq!(place.pull(&quick()).unwrap().counts.records, 0);
    place.put(3000..3100);
    let settings = PullSettings {
        packing: Packing::Zstd,
        ..quick()
    };
    assert_eq!(place.pull(&settings).unwrap().counts.flows, 100);
    place.check(0..3100);
    let snapshot = place.lake.snapshot().unwrap();
    let shards = snapshot
        .checkpoints()
        .shards("sls:flow-proj/vpc-flow")
        .count();
    assert_eq!((shards, snapshot.checkpoints().gaps().len()), (3, 0));
}

#[test]
fn up_to_a_time_and_from_a_time_or_the_end() {
    let place = Place::new(1);
    place.put(0..1000);
    let until = |seconds| PullSettings {
        until: DateTime::from_timestamp(RECEIVED + seconds, 0),
        start: At::Received(RECEIVED + 10),
        ..quick()
    };
    // Shards that were split are not finished when a time is reached.
    place.fake.world().split(0);
    assert_eq!(place.pull(&until(20)).unwrap().counts.flows, 200);
    place.check(200..400);
    assert_eq!(place.pull(&until(30)).unwrap().counts.flows, 200);
    assert_eq!(place.pull(&quick()).unwrap().counts.flows, 400);
    place.check(200..1000);

    let other = Place::new(2);
    other.put(0..100);
    let at_end = PullSettings {
        start: At::End,
        ..quick()
    };
    assert_eq!(other.pull(&at_end).unwrap().counts.records, 0);
    other.put(100..200);
    // The end was settled at the first run.
    assert_eq!(other.pull(&at_end).unwrap().counts.flows, 100);
    other.check(100..200);
}

#[test]
fn parents_are_read_to_their_end_and_children_from_their_beginning() {
    let place = Place::new(2);
    place.put(0..400);
    place.pull(&quick()).unwrap();
    place.put(400..800);
    place.fake.world().split(0);
    place.put(800..1600);
    assert_eq!(place.pull(&quick()).unwrap().counts.flows, 1200);
    let merged = place.fake.world().merge(1, 2);
    place.put(1600..2000);
    assert_eq!(merged, 4);
    assert_eq!(place.pull(&quick()).unwrap().counts.flows, 400);
    place.check(0..2000);
    // Finished shards are not pulled again.
    let before = place.fake.world().calls["PullLogs"];
    place.pull(&quick()).unwrap();
    assert_eq!(place.fake.world().calls["PullLogs"] - before, 2);
}

#[test]
fn following_goes_on_through_splits_until_it_is_told_to_stop() {
    let place = Place::new(2);
    let (stop, flows) = (Stop::default(), Arc::new(AtomicU64::new(0)));
    let settings = PullSettings {
        follow: true,
        ..quick()
    };
    let lags = Mutex::new(Vec::new());
    let summary = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let client = client(&place.fake);
            let mut events = |event: Event<'_>| {
                if let Event::Batch(batch) = event {
                    flows.fetch_add(batch.counts.flows, Ordering::SeqCst);
                    lags.lock().unwrap().push(batch.lags.clone());
                }
            };
            pull(&place.lake, &client, &settings, &mut events, &stop)
        });
        let wait = |wanted| {
            let begun = Instant::now();
            while flows.load(Ordering::SeqCst) < wanted {
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "{wanted} flows do not come"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        place.put(0..500);
        wait(500);
        place.fake.world().split(1);
        place.put(500..1500);
        wait(1500);
        let children = place.fake.world().split(0);
        place.put(1500..2000);
        place.fake.world().merge(children[0], children[1]);
        place.put(2000..2600);
        wait(2600);
        stop.stop();
        running.join().unwrap().unwrap()
    });
    assert_eq!(summary.counts.flows, 2600);
    assert!(summary.batches >= 3);
    assert!(lags.lock().unwrap().iter().any(|lags| !lags.is_empty()));
    place.check(0..2600);
}

#[test]
fn a_position_that_is_too_old_is_a_gap_and_never_a_silent_jump() {
    let place = Place::new(2);
    place.put(0..400);
    place.pull(&quick()).unwrap();
    place.put(400..1000);
    // Of the 15 new groups of shard 1 the first five outlive their time.
    place.fake.world().expire(1, 10 + 5);
    let first = Hour::of_us(RECEIVED * 1_000_000);
    let analysed = [first, Hour(first.0 + 1)];
    let mut batch = place.lake.batch("analyze").unwrap();
    for hour in &analysed {
        batch.note_analysed(*hour, batch.base().number);
    }
    batch.publish().unwrap();
    let mut said = Vec::new();
    let mut events = |event: Event<'_>| {
        if let Event::Missed { shard, from, to } = event {
            said.push((shard, from <= to));
        }
    };
    let summary = place.pull_with(&quick(), &mut events).unwrap();
    assert_eq!((summary.counts.flows, summary.missed), (500, 1));
    assert_eq!(said, [(1, true)]);
    let gaps = place.gaps();
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (gaps[0].reason.as_str(), gaps[0].eni_id.as_deref()),
        ("cursor-expired", None)
    );
    assert_eq!(gaps[0].source, "sls:flow-proj/vpc-flow");
    assert!(gaps[0].from_us <= gaps[0].to_us);
    let snapshot = place.lake.snapshot().unwrap();
    // What looks unanswered in these hours may not have been.
    assert!(analysed.iter().any(|hour| snapshot.is_open(*hour)));
    let skipped = snapshot.checkpoints().gaps();
    assert_eq!((skipped.len(), skipped[0].shard.as_str()), (1, "1"));
    assert_eq!(place.pull(&quick()).unwrap().counts.records, 0);
}

#[test]
fn a_shard_that_the_service_forgot_is_a_gap() {
    let place = Place::new(2);
    place.put(0..100);
    place.pull(&quick()).unwrap();
    place.fake.world().split(0);
    place.fake.world().shards.remove(&0);
    let summary = place.pull(&quick()).unwrap();
    assert_eq!(summary.missed, 1);
    assert_eq!(place.gaps()[0].reason, "cursor-expired");
    assert_eq!(place.pull(&quick()).unwrap().missed, 0);
}

#[test]
fn what_is_no_flow_is_kept_with_its_reason_and_the_counts_add_up() {
    let place = Place::new(1);
    let with = |changes: &[(&'static str, &str)]| {
        let mut record = records::record(1);
        for (key, value) in changes {
            record.retain(|(known, _)| known != key);
            record.push((key, (*value).to_owned()));
        }
        record
    };
    let records = [
        records::record(0),
        with(&[("log-status", "NODATA"), ("srcaddr", "-"), ("dstaddr", "-")]),
        with(&[("log-status", "SKIPDATA"), ("srcaddr", "-")]),
        with(&[("action", "-")]),
        with(&[("srcaddr", "日志")]),
        vec![("message", "hello".to_owned())],
        records::record(0),
    ];
    let group = records::group(&records, 1_720_776_000);
    place.fake.world().put(&group, RECEIVED);
    let summary = place.pull(&quick()).unwrap();
    let counts = summary.counts;
    assert_eq!(
        (
            counts.records,
            counts.flows,
            counts.gaps,
            counts.rejects,
            counts.duplicates
        ),
        (7, 1, 2, 3, 1)
    );
    let rejects = place.rejects();
    assert!(
        rejects
            .iter()
            .any(|reject| reject.raw == r#"{"message":"hello"}"#)
    );
    assert!(
        rejects
            .iter()
            .all(|reject| reject.source == "sls:flow-proj/vpc-flow")
    );
    let first = place.fake.world().shards[&0].number(0);
    assert!(
        rejects
            .iter()
            .all(|reject| reject.source_position as u64 == first)
    );
}

#[test]
fn the_same_records_in_two_shards_and_again_later_are_duplicates() {
    let place = Place::new(2);
    let group = &records::groups(0..20, 20)[0];
    for shard in [0, 1] {
        place.fake.world().put_into(shard, group, RECEIVED);
    }
    let counts = place.pull(&quick()).unwrap().counts;
    assert_eq!((counts.flows, counts.duplicates), (20, 20));
    place.fake.world().put_into(0, group, RECEIVED + 5);
    let counts = place.pull(&quick()).unwrap().counts;
    assert_eq!((counts.flows, counts.duplicates), (0, 20));
    check_once(&place.lake, 0..20);
}

#[test]
fn records_of_very_many_hours_in_one_reply() {
    let place = Place::new(1);
    let mut records = Vec::new();
    for hour in 0..900 {
        let mut record = records::record(hour);
        for (key, value) in &mut record {
            if *key == "start" || *key == "end" {
                *value = (1_700_000_000 + hour * 3600).to_string();
            }
        }
        records.push(record);
    }
    let group = records::group(&records, 1_720_776_000);
    place.fake.world().put(&group, RECEIVED);
    let summary = place.pull(&quick()).unwrap();
    assert_eq!(summary.counts.flows, 900);
    assert!(
        summary.batches >= 3,
        "one batch holds a bounded number of hours"
    );
    assert_eq!(place.pull(&quick()).unwrap().counts.records, 0);
}

#[test]
fn replies_larger_than_memory_allows_are_asked_for_in_smaller_ones() {
    let place = Place::new(1);
    // 60 groups of 400 records, about 12 MB: a reply may hold 4 MiB.
    let mut world = place.fake.world();
    for group in records::groups(0..24_000, 400) {
        world.put(&group, RECEIVED);
    }
    drop(world);
    let settings = PullSettings {
        memory_bytes: 16 << 20,
        ..quick()
    };
    let summary = place.pull(&settings).unwrap();
    assert_eq!(summary.counts.flows, 24_000);
    assert!(summary.batches >= 3);
    place.check(0..24_000);
}

/// One reply of so many hours that it takes several commits, with records that are no flows among them.
#[test]
fn rejects_of_a_scattered_reply_are_kept_once_whenever_it_dies() {
    const HOURS: u64 = 300;
    let log = |n: u64| {
        let mut pairs = records::record(n);
        for (name, value) in &mut pairs {
            match *name {
                "start" => *value = (START + n * 3600).to_string(),
                "end" => *value = (START + n * 3600 + 60).to_string(),
                "action" if n.is_multiple_of(10) => "PERHAPS".clone_into(value),
                _ => {}
            }
        }
        pairs
    };
    let logs: Vec<_> = (0..HOURS).map(log).collect();
    let (mut deaths, mut halfway) = (0, 0);
    for at in (0..).step_by(150) {
        let place = Place::new(1);
        place
            .fake
            .world()
            .put(&records::group(&logs, START as u32), RECEIVED);
        let store = Local::open(&place.lake_path()).unwrap();
        let store = FailAt::new(store, at, Failure::KilledAfter);
        let client = client(&place.fake);
        let read = |lake: &Lake| pull(lake, &client, &quick(), &mut |_| {}, &Stop::default());
        let died = Lake::open_on(Arc::new(store))
            .map_err(IngestError::from)
            .and_then(|lake| read(&lake))
            .is_err();
        let flows = || -> u64 {
            let snapshot = Lake::open(place.lake_path()).unwrap().snapshot().unwrap();
            snapshot.files(Table::Flows).map(|file| file.rows).sum()
        };
        halfway += u64::from((1..270).contains(&flows()));
        read(&place.lake).unwrap();
        assert_eq!(
            (flows(), place.rejects().len()),
            (270, 30),
            "died at call {at}"
        );
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(
        deaths > 5 && halfway > 0,
        "{deaths} deaths, {halfway} halfway"
    );
}
