//! Everything that goes wrong on the way: got over, or a clear error, and nothing lost.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use chrono::TimeDelta;
use flowaudit_ingest::Stop;
use flowaudit_ingest::oss::{Event, PullSettings, pull};
use flowaudit_ingest::{IngestError, oss::Form};
use flowaudit_lake::read;
use flowaudit_lake::table::gaps::GapRow;

use crate::common::{Place, key, settings};
use crate::fake_oss::Fault;
use crate::fake_oss::http::Request;
use crate::records::{gzip, lines};

/// What is asked of objects.
fn of_object(request: &Request) -> bool {
    request.method == "GET" && request.path.contains("/sls/")
}

fn filled() -> Place {
    let place = Place::new();
    for n in 0..10 {
        place.put(&key(5, n, ".json"), lines(n * 500..n * 500 + 500));
    }
    place
}

#[test]
fn what_passes_is_got_over() {
    for fault in [
        Fault::Refused(503, "ServiceUnavailable"),
        Fault::Refused(500, "InternalError"),
        Fault::Reset,
        Fault::AnswerLost,
        Fault::CutAfter(10_000),
        Fault::Slow(Duration::from_millis(20)),
        Fault::Html(200),
        Fault::Html(302),
        Fault::Html(404),
    ] {
        let place = filled();
        // The first, fourth, … time that an object or the list is asked for: never all tries of one request.
        let asked = Mutex::new(HashMap::<String, u64>::new());
        place.fake.fail(fault, 0, u64::MAX, move |request| {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(request.path.clone()).or_default();
            *times += 1;
            request.method == "GET" && *times % 3 == 1
        });
        let summary = place.pull(&settings()).unwrap();
        assert_eq!((summary.objects, summary.failed), (10, 0), "{fault:?}");
        place.check_once(0..5000);
    }
}

#[test]
fn a_wrong_clock_is_corrected() {
    let place = filled();
    place.fake.set_ahead(TimeDelta::hours(2));
    assert_eq!(place.pull(&settings()).unwrap().objects, 10);
    place.check_once(0..5000);
}

#[test]
fn what_does_not_pass_ends_the_run_and_nothing_is_lost() {
    for (fault, word) in [
        (Fault::Refused(403, "AccessDenied"), "AccessDenied"),
        (
            Fault::Refused(503, "ServiceUnavailable"),
            "ServiceUnavailable",
        ),
        (
            Fault::Refused(403, "SecurityTokenExpired"),
            "SecurityTokenExpired",
        ),
        (Fault::Reset, "connection"),
        (Fault::Flipped, "checksum"),
        (Fault::Html(200), "not understood"),
        (Fault::Html(404), "HTTP 404 without an error of OSS"),
    ] {
        let place = filled();
        // The first objects come, then everything is refused.
        place.fake.fail(fault, 4, u64::MAX, of_object);
        let error = place
            .pull(&PullSettings {
                parallel: 1,
                ..settings()
            })
            .unwrap_err();
        assert!(matches!(error, IngestError::Oss(_)), "{error:?}");
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(
            text.contains(word) && text.contains("oss://flow-bucket/sls/vpc/"),
            "{text}"
        );
        assert!(error.help().is_some(), "{text}");
        place.fake.calm();
        place.pull(&settings()).unwrap();
        place.check_once(0..5000);
    }
}

/// Nobody knows which records of such an object are what was stored: none is kept, and all of it is asked for again.
#[test]
fn an_object_that_was_damaged_on_its_way_is_read_again() {
    for times in [1, 3] {
        let place = filled();
        place.fake.fail(Fault::Flipped, 4, times, of_object);
        let summary = place.pull(&settings()).unwrap();
        assert_eq!((summary.failed, summary.counts.rejects), (0, 0));
        assert_eq!(place.fake.calm(), 0);
        place.check_once(0..5000);
    }
}

#[test]
fn a_listing_that_is_damaged_is_asked_for_again_and_no_object_is_passed_over() {
    let lists = |request: &Request| request.query.contains("list-type");
    for fault in [
        Fault::Halved,
        Fault::Html(200),
        Fault::Html(404),
        Fault::CutAfter(700),
    ] {
        let place = filled();
        place.fake.fail(fault, 0, 2, lists);
        assert_eq!(place.pull(&settings()).unwrap().objects, 10, "{fault:?}");
        place.check_once(0..5000);
        let place = filled();
        place.fake.fail(fault, 0, u64::MAX, lists);
        let error = place.pull(&settings()).unwrap_err();
        assert!(error.help().is_some(), "{fault:?}");
        place.fake.calm();
        assert_eq!(place.pull(&settings()).unwrap().objects, 10, "{fault:?}");
    }
}

#[test]
fn an_object_without_a_record_is_finished() {
    use flowaudit_ingest::decode::Format;
    let place = Place::new();
    let blank = [
        String::new(),
        "\n".to_owned(),
        " \r\n\t\n".repeat(50),
        "\u{feff}\n\n".to_owned(),
        "\n".repeat(300_000),
    ];
    for (n, text) in (0..).zip(&blank) {
        place.put(&key(5, n, ".json"), text.clone());
        place.put(&key(5, n, ".gz"), gzip(text));
    }
    // Records may come after any number of blank lines.
    place.put(&key(5, 9, ".json"), "\n".repeat(300_000) + &lines(0..100));
    let (summary, told) = place.pull_telling(&settings());
    let summary = summary.unwrap();
    assert_eq!((summary.objects, summary.failed), (11, 0), "{told:?}");
    place.check_once(0..100);
    assert_eq!(place.pull(&settings()).unwrap().objects, 0);
    for form in [Form::Lines(Format::JsonLines), Form::Parquet] {
        let place = Place::new();
        place.put(&key(5, 1, ".x"), "");
        let settings = PullSettings { form, ..settings() };
        let summary = place.pull(&settings).unwrap();
        assert_eq!((summary.objects, summary.failed), (1, 0));
    }
}

#[test]
fn a_right_that_is_missing_is_named_with_the_policy_of_a_source() {
    for denied in ["flow-bucket/", "flow-bucket/sls/"] {
        let place = filled();
        place.fake.deny(denied);
        let error = place.pull(&settings()).unwrap_err();
        let help = error.help().unwrap();
        assert!(help.contains("docs/ram/oss-source.json"), "{help}");
    }
}

#[test]
fn a_listing_that_is_refused_names_the_bucket() {
    let place = filled();
    place.fake.deny("flow-bucket/");
    let error = place.pull(&settings()).unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(
        text.contains("listing `oss://flow-bucket/sls/vpc/` failed"),
        "{text}"
    );
}

/// What was read is published, and nobody waits for a bucket that does not answer.
#[test]
fn the_wish_to_end_is_heard_while_a_bucket_is_silent() {
    for (slow, spared) in [("list-type", 0), ("", 5)] {
        let place = filled();
        let silence = Fault::Slow(Duration::from_secs(60));
        place.fake.fail(silence, spared, u64::MAX, move |request| {
            request.method == "GET" && request.query.contains(slow)
        });
        let stop = Stop::default();
        let begun = std::time::Instant::now();
        std::thread::scope(|scope| {
            let running =
                scope.spawn(|| pull(&place.lake, &place.oss, &settings(), &mut |_| {}, &stop));
            std::thread::sleep(Duration::from_millis(700));
            stop.stop();
            running.join().unwrap().unwrap();
        });
        assert!(begun.elapsed() < Duration::from_secs(3));
        place.fake.calm();
        place.pull(&settings()).unwrap();
        place.check_once(0..5000);
    }
}

#[test]
fn following_waits_for_a_bucket_that_is_away() {
    let place = filled();
    // More than one look at the bucket takes, several objects at a time.
    place
        .fake
        .fail(Fault::Refused(503, "ServiceUnavailable"), 3, 50, of_object);
    let stop = Stop::default();
    let follow = PullSettings {
        follow: true,
        ..settings()
    };
    let (mut waited, mut objects) = (0, 0);
    pull(
        &place.lake,
        &place.oss,
        &follow,
        &mut |event| match event {
            Event::Waiting(_) => waited += 1,
            Event::Batch(batch) => {
                objects += batch.objects;
                if objects == 10 {
                    stop.stop();
                }
            }
            Event::Problem(problem) => panic!("{problem}"),
        },
        &stop,
    )
    .unwrap();
    assert!(waited > 0);
    place.check_once(0..5000);
}

#[test]
fn an_object_that_goes_away_is_a_gap() {
    let place = filled();
    let gone = key(5, 3, ".json");
    // It is listed, and gone when it is asked for.
    let end = gone.clone();
    place.fake.fail(
        Fault::Refused(404, "NoSuchKey"),
        0,
        u64::MAX,
        move |request| request.path.ends_with(&end),
    );
    let (summary, told) = place.pull_telling(&settings());
    let summary = summary.unwrap();
    assert_eq!((summary.objects, summary.missed, summary.failed), (9, 1, 0));
    assert!(told[0].contains("was gone before it was read"), "{told:?}");
    let gaps: Vec<GapRow> = read::rows(&place.lake, &place.lake.snapshot().unwrap()).unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].reason, "object-gone");
    place.remove(&gone);
    assert_eq!(place.pull(&settings()).unwrap().missed, 0);
}

#[test]
fn an_object_replaced_while_it_is_read_is_read_next_time() {
    let place = Place::new();
    let name = key(5, 1, ".json");
    place.put(&name, lines(0..5000));
    place.fake.fail(Fault::CutAfter(200_000), 0, 1, of_object);
    place
        .fake
        .fail(Fault::Refused(412, "PreconditionFailed"), 0, 1, of_object);
    let (summary, told) = place.pull_telling(&settings());
    let summary = summary.unwrap();
    assert_eq!((summary.objects, summary.failed), (0, 1));
    assert!(
        told[0].contains("was replaced while it was read"),
        "{told:?}"
    );
    place.put(&name, lines(0..6000));
    let summary = place.pull(&settings()).unwrap();
    assert_eq!((summary.objects, summary.changed), (1, 1));
    assert!(summary.counts.duplicates > 100);
    place.check_once(0..6000);
}

#[test]
fn an_archived_object_is_named_and_read_when_it_is_restored() {
    let place = filled();
    let end = key(5, 3, ".json");
    place.fake.fail(
        Fault::Refused(403, "InvalidObjectState"),
        0,
        u64::MAX,
        move |request| request.path.ends_with(&end),
    );
    let (summary, told) = place.pull_telling(&settings());
    assert_eq!(summary.unwrap().failed, 1);
    assert!(
        told[0].contains("is archived") && told[0].contains("restore it"),
        "{told:?}"
    );
    place.fake.calm();
    assert_eq!(place.pull(&settings()).unwrap().objects, 1);
    place.check_once(0..5000);
}

#[test]
fn a_large_object_goes_on_where_it_was_left() {
    let place = Place::new();
    place.put(&key(5, 1, ".json.gz"), gzip(lines(0..50_000)));
    place.put(&key(5, 2, ".json"), lines(50_000..100_000));
    let small = PullSettings {
        batch_rows_max: 3000,
        ..settings()
    };
    for _ in 0..40 {
        let stop = Stop::default();
        let mut batches = 0;
        pull(
            &place.lake,
            &place.oss,
            &small,
            &mut |event| {
                if let Event::Batch(_) = event {
                    batches += 1;
                    if batches == 2 {
                        stop.stop();
                    }
                }
            },
            &stop,
        )
        .unwrap();
    }
    let summary = place.pull(&small).unwrap();
    assert_eq!(summary.counts.records, 0, "it was all read before");
    place.check_once(0..100_000);
}

#[test]
fn parquet_over_a_shaky_connection() {
    let place = Place::new();
    place.put(&key(5, 1, ".parquet"), "PAR1 and no more");
    let parquet = PullSettings {
        form: Form::Parquet,
        ..settings()
    };
    place
        .fake
        .fail(Fault::Refused(503, "ServiceUnavailable"), 0, 2, of_object);
    assert_eq!(place.pull(&parquet).unwrap().failed, 1);
    place.fake.fail(
        Fault::Refused(503, "ServiceUnavailable"),
        0,
        u64::MAX,
        of_object,
    );
    assert!(matches!(place.pull(&parquet), Err(IngestError::Oss(_))));
}
