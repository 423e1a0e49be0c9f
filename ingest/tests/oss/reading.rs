//! Which objects are read, when, and what is remembered of them.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use flowaudit_ingest::IngestError;
use flowaudit_ingest::Stop;
use flowaudit_ingest::oss::{Event, PathFormat, PullSettings, Start, pull};
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::rejects::RejectRow;
use flowaudit_lake::{LakeError, read};

use crate::common::{Place, key, settings};
use crate::records::{gzip, lines};

#[test]
fn objects_are_read_once_and_new_ones_as_they_come() {
    let place = Place::new();
    for n in 0..20 {
        place.put(&key(5, n, ".json"), lines(n * 100..n * 100 + 100));
    }
    let summary = place.pull(&settings()).unwrap();
    assert_eq!(
        (summary.listed, summary.objects, summary.batches),
        (20, 20, 1)
    );
    assert_eq!((summary.counts.flows, summary.counts.duplicates), (2000, 0));
    place.check_once(0..2000);
    let again = place.pull(&settings()).unwrap();
    assert_eq!(
        (again.listed, again.objects, again.counts.records),
        (20, 0, 0)
    );
    // One that appears under an earlier minute is found too.
    place.put(&key(30, 7, ".json.gz"), gzip(lines(2000..2100)));
    place.put(&key(0, 8, ".json"), lines(2100..2200));
    assert_eq!(place.pull(&settings()).unwrap().objects, 2);
    place.check_once(0..2200);
    let gets = place
        .fake
        .take_log()
        .iter()
        .filter(|line| line.starts_with("GET /flow-bucket/sls"))
        .count();
    assert_eq!(gets, 22, "each object was fetched once");
}

#[test]
fn what_was_read_is_forgotten_when_its_time_is_over() {
    let place = Place::new();
    for n in 0..50 {
        place.put(
            &key(60 * 24 * 40 - n as i64, n, ".json"),
            lines(n * 10..n * 10 + 10),
        );
    }
    for n in 50..60 {
        place.put(&key(60, n, ".json"), lines(n * 10..n * 10 + 10));
    }
    place.pull(&settings()).unwrap();
    // What the first run read is forgotten by the next; nothing of it is listed again.
    place.put(&key(1, 60, ".json"), lines(600..610));
    let summary = place.pull(&settings()).unwrap();
    assert_eq!((summary.listed, summary.objects), (11, 1));
    let shortened = PullSettings {
        look_back: TimeDelta::minutes(30),
        ..settings()
    };
    place.pull(&shortened).unwrap();
    let shards = place.shards();
    assert_eq!(shards.len(), 2, "{shards:?}");
    assert_eq!(shards[0], "/watermark");
    place.check_once(0..610);
    // Objects before the watermark are not looked at, whatever they are.
    place.put(&key(60 * 24 * 40, 99, ".json"), lines(610..620));
    assert_eq!(place.pull(&settings()).unwrap().objects, 0);
}

#[test]
fn what_came_later_than_the_look_back_is_found_by_hand() {
    let place = Place::new();
    let no_flow = "{\"srcaddr\":\"x\"}\n";
    for n in 0..10 {
        let bytes = lines(n * 10..n * 10 + 10) + no_flow;
        place.put(&key(60 * 48 - n as i64, n, ".json"), bytes);
    }
    let given_up = key(60 * 47, 98, ".json");
    place.put(&given_up, "given up");
    let settings = PullSettings {
        skip: [given_up].into(),
        ..settings()
    };
    assert_eq!(place.pull(&settings).unwrap().objects, 10);
    // The watermark moves on, and what the first run read is forgotten.
    let settings = PullSettings {
        look_back: TimeDelta::hours(4),
        ..settings
    };
    assert_eq!(place.pull(&settings).unwrap().objects, 0);
    assert_eq!(place.shards(), ["/watermark"]);
    place.put(&key(60 * 30, 99, ".json"), lines(100..110) + no_flow);
    assert_eq!(place.pull(&settings).unwrap().objects, 0);
    let watermark = place.watermark();
    let wide = PullSettings {
        catch_up: Some(TimeDelta::hours(72)),
        ..settings.clone()
    };
    let summary = place.pull(&wide).unwrap();
    assert_eq!((summary.objects, summary.missed), (11, 0));
    let counts = summary.counts;
    assert_eq!(
        (counts.flows, counts.rejects, counts.duplicates),
        (10, 1, 110)
    );
    // Nothing is doubled by looking again, and the watermark stays where it is.
    place.pull(&wide).unwrap();
    place.pull(&settings).unwrap();
    place.check_once(0..110);
    assert_eq!(place.watermark(), watermark);
    let snapshot = place.lake.snapshot().unwrap();
    let rejects: Vec<RejectRow> = read::rows(&place.lake, &snapshot).unwrap();
    let gaps: Vec<GapRow> = read::rows(&place.lake, &snapshot).unwrap();
    assert_eq!((rejects.len(), gaps.len()), (11, 1));
}

#[test]
fn months_of_objects_leave_no_trace_but_themselves() {
    let place = Place::new();
    // Two pages of listings.
    for n in 0..1500_u64 {
        place.put(&key(60 * 24 * 90 - n as i64, n, ".json"), lines(n..n + 1));
    }
    let small = PullSettings {
        batch_rows_max: 100,
        ..settings()
    };
    let summary = place.pull(&small).unwrap();
    assert_eq!(summary.objects, 1500);
    assert!(summary.batches >= 15);
    place.pull(&small).unwrap();
    // The first page was left behind while the second was read, that one by the second run.
    assert!(place.shards().len() <= 501, "{}", place.shards().len());
    place.check_once(0..1500);
}

#[test]
fn a_replaced_object_is_read_again_and_told_of() {
    let place = Place::new();
    place.put(&key(5, 1, ".json"), lines(0..100));
    place.put(&key(5, 2, ".json"), lines(100..200));
    place.pull(&settings()).unwrap();
    let before = place.shards().len();
    let replaced = key(5, 1, ".json");
    place.put(&replaced, lines(0..150));
    let (summary, told) = place.pull_telling(&settings());
    let summary = summary.unwrap();
    assert_eq!(
        (summary.objects, summary.changed, summary.failed),
        (1, 1, 0)
    );
    assert_eq!((summary.counts.flows, summary.counts.duplicates), (0, 150));
    assert!(
        told[0].contains("was replaced since it was read"),
        "{told:?}"
    );
    assert_eq!(place.shards().len(), before);
    place.put(&replaced, lines(200..250));
    assert_eq!(place.pull(&settings()).unwrap().counts.flows, 50);
    place.check_once(0..250);
}

#[test]
fn where_a_prefix_begins_that_was_never_read() {
    for (start, records) in [
        (Start::Begin, 0..300),
        (Start::At(Utc::now() - TimeDelta::minutes(90)), 100..300),
        (Start::End, 200..300),
    ] {
        let place = Place::new();
        let settings = PullSettings {
            start,
            ..settings()
        };
        place.put(&key(120, 1, ".json"), lines(0..100));
        place.put(&key(60, 2, ".json"), lines(100..200));
        place.pull(&settings).unwrap();
        place.put(&key(-1, 3, ".json"), lines(200..300));
        place.pull(&settings).unwrap();
        place.check_once(records);
    }
}

#[test]
fn a_run_up_to_a_time_leaves_the_rest_for_the_next() {
    let place = Place::new();
    for (n, ago) in [(0, 180), (1, 120), (2, 60), (3, 0)] {
        place.put(&key(ago, n, ".json"), lines(n * 10..n * 10 + 10));
    }
    let until = |minutes| PullSettings {
        until: Some(Utc::now() - TimeDelta::minutes(minutes)),
        look_back: TimeDelta::zero(),
        ..settings()
    };
    assert_eq!(place.pull(&until(90)).unwrap().objects, 2);
    place.check_once(0..20);
    assert_eq!(place.pull(&until(30)).unwrap().objects, 1);
    assert_eq!(place.pull(&settings()).unwrap().objects, 1);
    place.check_once(0..40);
}

#[test]
fn other_objects_are_left_out_and_counted() {
    let place = Place::new();
    place.put(&key(5, 1, ".json"), lines(0..10));
    place.put("sls/vpc/1.txt", "no flow log");
    place.put("sls/vpc/zzz/else.json", "no flow log");
    place.put("sls/other/2025/01/01/00/00_1_1.json", lines(10..20));
    let (summary, told) = place.pull_telling(&settings());
    let summary = summary.unwrap();
    assert_eq!((summary.objects, summary.foreign), (1, 2));
    assert!(told[0].contains("holds 2 other objects"), "{told:?}");
    let format = PathFormat::new("%Y%m%d", "+0800").unwrap();
    let wrong = PullSettings {
        path_format: format,
        ..settings()
    };
    let summary = place.pull(&wrong).unwrap();
    assert_eq!(summary.listed, 0);
}

#[test]
fn following_ends_with_what_was_read_when_it_is_told_to() {
    let place = Place::new();
    place.put(&key(5, 1, ".json"), lines(0..100));
    let stop = Stop::default();
    let follow = PullSettings {
        follow: true,
        ..settings()
    };
    let (told, batches) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| {
            pull(
                &place.lake,
                &place.oss,
                &follow,
                &mut |event| {
                    if let Event::Batch(batch) = event {
                        told.send(batch.counts.flows).unwrap();
                    }
                },
                &stop,
            )
        });
        assert_eq!(batches.recv_timeout(Duration::from_secs(20)), Ok(100));
        place.put(&key(0, 2, ".json"), lines(100..150));
        assert_eq!(batches.recv_timeout(Duration::from_secs(20)), Ok(50));
        stop.stop();
        assert_eq!(pulling.join().unwrap().unwrap().objects, 2);
    });
    place.check_once(0..150);
}

#[test]
fn of_two_that_read_the_same_objects_one_is_refused() {
    let place = Place::new();
    for n in 0..10 {
        place.put(&key(5, n, ".json"), lines(n * 100..n * 100 + 100));
    }
    let small = PullSettings {
        batch_rows_max: 150,
        ..settings()
    };
    let mut inner = None;
    // The other one reads everything while the first has published its first batch.
    let result = pull(
        &place.lake,
        &place.oss,
        &small,
        &mut |event| {
            if matches!(event, Event::Batch(_)) && inner.is_none() {
                inner = Some(place.pull(&settings()).unwrap());
            }
        },
        &Stop::default(),
    );
    let error = result.unwrap_err();
    assert!(
        matches!(error, IngestError::Lake(LakeError::Refused { .. })),
        "{error:?}"
    );
    place.check_once(0..1000);
}

#[test]
fn keys_that_are_given_up_become_gaps() {
    let place = Place::new();
    place.put(&key(5, 1, ".json"), lines(0..10));
    place.put(&key(5, 2, ".json.gz"), &gzip(lines(10..20))[..60]);
    let summary = place.pull(&settings()).unwrap();
    assert_eq!((summary.objects, summary.failed), (1, 1));
    let skip = PullSettings {
        skip: [key(5, 2, ".json.gz")].into(),
        ..settings()
    };
    let summary = place.pull(&skip).unwrap();
    assert_eq!((summary.failed, summary.missed), (0, 1));
    assert_eq!(place.pull(&skip).unwrap().missed, 0);
    let gaps: Vec<GapRow> = read::rows(&place.lake, &place.lake.snapshot().unwrap()).unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (gaps[0].reason.as_str(), gaps[0].eni_id.as_deref()),
        ("object-skipped", None)
    );
    assert!(gaps[0].source.starts_with("oss://flow-bucket/sls/vpc/"));
}
