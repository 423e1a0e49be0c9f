//! The process dies at any call to the lake or to the bucket, and runs again: nothing is lost and nothing doubled.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use flowaudit_ingest::oss::{PullSettings, PullSummary, pull};
use flowaudit_ingest::{IngestError, Stop};
use flowaudit_lake::cloud::Objects;
use flowaudit_lake::cloud::credentials::Clock;
use flowaudit_lake::store::{FailAt, Failure, Memory, Store};
use flowaudit_lake::table::gaps::GapRow;
use flowaudit_lake::table::rejects::RejectRow;
use flowaudit_lake::{Lake, read};
use object_store::path::Path;

use crate::common::{Place, key, owner, settings};
use crate::fake_oss::Fault;
use crate::parquet_objects::{self, Compression};
use crate::records::{START, flows_of, gzip, json};

/// Records of this many hours.
const HOURS: u64 = 3;
/// As many of each hour in each object.
const EACH: u64 = 9;
/// The record numbers of an hour.
const HOUR: u64 = 60_000 * 60;

/// The records of an object: some of every hour, so that its batches touch several partitions.
fn numbers(object: u64) -> impl Iterator<Item = u64> {
    (0..HOURS * EACH).map(move |n| n % HOURS * HOUR + object * EACH + n / HOURS)
}

/// A bucket with an object of each kind, one of them given up, and two lines that are no flows; and how it is read:
/// batches of a few records, so that objects end within them and they within objects, and one object at a time, so that
/// the n-th call is the same one each time.
fn filled() -> (Place, PullSettings) {
    let place = Place::new();
    let text = |object| -> String { numbers(object).map(|n| json(n) + "\n").collect() };
    place.put(&key(9, 0, ".json"), text(0) + "{\"srcaddr\":\"x\"}\n");
    place.put(
        &key(8, 1, ".json.gz"),
        gzip("{\"dstaddr\":\"y\"}\n".to_owned() + &text(1)),
    );
    let parquet = parquet_objects::of(numbers(2), Compression::SNAPPY, true, 10);
    place.put(&key(7, 2, ".parquet"), parquet);
    let given_up = key(6, 3, ".json");
    place.put(&given_up, "given up");
    place.put(&key(5, 4, ".json"), text(4));
    let small = PullSettings {
        batch_rows_max: 20,
        parallel: 1,
        skip: [given_up].into(),
        ..settings()
    };
    (place, small)
}

fn read(lake: &Lake, place: &Place, settings: &PullSettings) -> Result<PullSummary, IngestError> {
    pull(lake, &place.oss, settings, &mut |_| {}, &Stop::default())
}

/// How many flows there are.
fn flows(lake: &Lake) -> usize {
    flows_of(lake).len()
}

#[track_caller]
fn check_all_once(lake: &Lake, death: &str) {
    let start = |n: u64| (START + (n / 60_000 * 60) as i64) * 1_000_000;
    let expected: BTreeMap<(i32, i64), u32> = [0, 1, 2, 4]
        .into_iter()
        .flat_map(numbers)
        .map(|n| (((n % 60_000) as i32, start(n)), 1))
        .collect();
    assert!(
        flows_of(lake) == expected,
        "{death}: a record is missing or doubled"
    );
    let snapshot = lake.snapshot().unwrap();
    let rejects: Vec<RejectRow> = read::rows(lake, &snapshot).unwrap();
    let gaps: Vec<GapRow> = read::rows(lake, &snapshot).unwrap();
    assert_eq!((rejects.len(), gaps.len()), (2, 1), "{death}");
}

/// Lets the lake die at every call of a run; how often it died, and how often with some of the flows there.
fn dying_lakes<S: Store + Clone + 'static>(
    mut fresh: impl FnMut() -> S,
    failure: Failure,
) -> (u64, u64) {
    let (place, settings) = filled();
    let (mut deaths, mut halfway) = (0, 0);
    for at in 0.. {
        let store = fresh();
        Lake::create_or_open_on(Arc::new(store.clone())).unwrap();
        let failing = FailAt::new(store.clone(), at, failure);
        let died = Lake::open_on(Arc::new(failing.clone()))
            .map_err(IngestError::from)
            .and_then(|lake| read(&lake, &place, &settings));
        let lake = Lake::open_on(Arc::new(store)).unwrap();
        halfway += u64::from((1..(4 * HOURS * EACH) as usize).contains(&flows(&lake)));
        read(&lake, &place, &settings).unwrap();
        check_all_once(&lake, &format!("{failure:?} at call {at}"));
        if !failing.has_failed() {
            died.unwrap();
            break;
        }
        deaths += 1;
    }
    (deaths, halfway)
}

#[test]
fn the_lake_dies_at_any_call() {
    for failure in [Failure::KilledBefore, Failure::KilledAfter] {
        let (deaths, halfway) = dying_lakes(Memory::default, failure);
        assert!(
            deaths > 100 && halfway > 50,
            "{failure:?}: {deaths} deaths, {halfway} halfway"
        );
    }
}

#[test]
fn a_single_call_to_the_lake_fails() {
    for failure in [
        Failure::Once(ErrorKind::StorageFull),
        Failure::OnceAfter(ErrorKind::TimedOut),
    ] {
        let (deaths, _) = dying_lakes(Memory::default, failure);
        assert!(deaths > 100, "{failure:?}: {deaths} failures");
    }
}

/// What the bucket does from the n-th request on.
#[derive(Debug, Clone, Copy)]
enum From {
    /// Nothing is done, nothing is answered.
    Gone,
    /// The n-th is done and not answered, and then the bucket is gone.
    GoneAfter,
    /// The answer of the n-th breaks off, and then the bucket is gone.
    CutShort,
    /// Everything is refused.
    Denied,
}

impl From {
    fn strike(self, place: &Place, at: u64) {
        let first = match self {
            From::Gone => None,
            From::GoneAfter => Some(Fault::AnswerLost),
            From::CutShort => Some(Fault::CutAfter(700)),
            From::Denied => None,
        };
        if let Some(first) = first {
            place.fake.fail(first, at, 1, |_| true);
        }
        let then = match self {
            From::Denied => Fault::Refused(403, "AccessDenied"),
            _ => Fault::Reset,
        };
        let spared = if first.is_some() { 0 } else { at };
        place.fake.fail(then, spared, 1 << 40, |_| true);
    }
}

#[test]
fn the_bucket_goes_away_at_any_request() {
    let (place, settings) = filled();
    for from in [From::Gone, From::GoneAfter, From::CutShort, From::Denied] {
        let (mut deaths, mut halfway) = (0, 0);
        for at in 0.. {
            let lake = Lake::create_or_open_on(Arc::new(Memory::default())).unwrap();
            from.strike(&place, at);
            let died = read(&lake, &place, &settings).is_err();
            place.fake.calm();
            halfway += u64::from((1..(4 * HOURS * EACH) as usize).contains(&flows(&lake)));
            read(&lake, &place, &settings).unwrap();
            check_all_once(&lake, &format!("{from:?} at request {at}"));
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 5 && halfway > 3, "{from:?}: {deaths}, {halfway}");
    }
}

/// There are hundreds of requests, so not every one is tried; `FLOWAUDIT_DEATHS=every` tries each.
#[test]
fn source_and_lake_in_one_bucket_go_away_at_any_request() {
    let (place, settings) = filled();
    let step = match std::env::var("FLOWAUDIT_DEATHS").as_deref() {
        Ok("every") => 1,
        _ => 7,
    };
    let lake = |name: &str| {
        let path = Path::from(format!("lakes/{name}"));
        Arc::new(Objects::on_oss(
            owner(&place.fake.endpoint),
            path,
            Clock::system(),
        ))
    };
    for from in [From::Gone, From::GoneAfter] {
        let (mut deaths, mut halfway) = (0, 0);
        for at in (0..).step_by(step) {
            let name = format!("{from:?}-{at}");
            Lake::create_or_open_on(lake(&name)).unwrap();
            from.strike(&place, at);
            let died = Lake::open_on(lake(&name))
                .map_err(IngestError::from)
                .and_then(|lake| read(&lake, &place, &settings))
                .is_err();
            place.fake.calm();
            let lake = Lake::open_on(lake(&name)).unwrap();
            halfway += u64::from((1..(4 * HOURS * EACH) as usize).contains(&flows(&lake)));
            read(&lake, &place, &settings).unwrap();
            check_all_once(&lake, &format!("{from:?} at request {at}"));
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 10 && halfway > 5, "{from:?}: {deaths}, {halfway}");
    }
}
