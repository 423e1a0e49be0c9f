//! Answers that contradict themselves: asked for again, and in the end an error. What was not read is never passed over.

use std::sync::Arc;
use std::time::Duration;

use flowaudit_ingest::sls::{Class, Client, Fixed, PullSettings, PullSummary, SlsError, pull};
use flowaudit_ingest::{IngestError, Stop};
use flowaudit_lake::checkpoint::Position;

use crate::common::{Place, client_settings, credentials, quick};
use crate::fake::world::{Fault, Lie};

const ALL: [Lie; 8] = [
    Lie::Stays,
    Lie::Hollow,
    Lie::Back(1),
    Lie::CountsMore,
    Lie::CountsLess,
    Lie::CountsNothing,
    Lie::LastBehind,
    Lie::Nothing,
];

fn lie(place: &Place, call: &'static str, lie: Lie, times: usize) {
    let faults = std::iter::repeat_n((call, Fault::Lie(lie)), times);
    place.fake.world().faults.extend(faults);
}

fn positions(place: &Place) -> Vec<(String, Position)> {
    let snapshot = place.lake.snapshot().unwrap();
    let shards = snapshot.checkpoints().shards("sls:flow-proj/vpc-flow");
    shards
        .map(|(shard, position)| (shard.to_owned(), position.clone()))
        .collect()
}

/// Pulls as long as it takes: what ends it is no lack of patience.
fn pull_patiently(place: &Place, settings: &PullSettings) -> Result<PullSummary, IngestError> {
    let mut client = client_settings(&place.fake);
    client.patience = None;
    let client = Client::new(client, Arc::new(Fixed::new(credentials()))).unwrap();
    pull(
        &place.lake,
        &client,
        settings,
        &mut |_| {},
        &Stop::default(),
    )
}

#[track_caller]
fn error(pulled: Result<PullSummary, IngestError>) -> SlsError {
    match pulled {
        Err(IngestError::Sls(error)) => error,
        other => panic!("no error of the service: {other:?}"),
    }
}

#[test]
fn a_few_are_got_over_and_nothing_is_lost() {
    for told in ALL {
        let place = Place::new(2);
        place.put(0..600);
        lie(&place, "PullLogs", told, 3);
        let summary = place.pull(&quick()).unwrap();
        assert!(place.fake.world().faults.is_empty(), "{told:?}");
        assert_eq!(summary.counts.flows, 600, "{told:?}");
        place.check(0..600);
    }
}

#[test]
fn one_that_stays_ends_the_run_with_a_reason_and_the_position_where_it_was() {
    for (follow, told) in [false, true]
        .into_iter()
        .flat_map(|follow| ALL.map(|told| (follow, told)))
    {
        if follow && told == Lie::Nothing || told == Lie::CountsNothing {
            // More may come at any time, and then it is seen. An answer without a count is a proxy's perhaps, and waited out.
            continue;
        }
        let place = Place::new(2);
        place.put(0..300);
        place.pull(&quick()).unwrap();
        let before = positions(&place);
        place.put(300..600);
        lie(&place, "PullLogs", told, 1000);
        let settings = PullSettings { follow, ..quick() };
        let error = error(pull_patiently(&place, &settings));
        assert!(
            error.help().unwrap().contains("nothing was lost"),
            "{told:?}"
        );
        let said = error.contradiction();
        assert!(said.is_some(), "{told:?}: {error:?}");
        assert_eq!(positions(&place), before, "{told:?}");
        place.fake.world().faults.clear();
        assert_eq!(place.pull(&quick()).unwrap().counts.flows, 300, "{told:?}");
        place.check(0..600);
    }
}

/// A shard that was split is finished once and for all: that it has an end is believed only if its cursor says so too.
#[test]
fn a_parent_is_not_finished_on_one_word() {
    for follow in [false, true] {
        let place = Place::new(1);
        place.put(0..400);
        place.fake.world().split(0);
        place.fake.world().groups_max = 5;
        lie(&place, "PullLogs", Lie::Nothing, 1000);
        let settings = PullSettings { follow, ..quick() };
        let error = error(pull_patiently(&place, &settings));
        assert!(
            error.cause.to_string().contains("the end of the shard is"),
            "{}",
            error.cause
        );
        place.fake.world().faults.clear();
        assert_eq!(place.pull(&quick()).unwrap().counts.flows, 400);
        place.check(0..400);
    }
}

#[test]
fn what_a_statement_left_must_come() {
    let settings = PullSettings {
        query: Some("* | where action = 'ACCEPT'".to_owned()),
        ..quick()
    };
    for told in [Lie::LeavesMore, Lie::Stays, Lie::Back(3), Lie::Nothing] {
        let place = Place::new(1);
        place.put(0..400);
        lie(&place, "PullLogs", told, 2);
        assert_eq!(place.pull(&settings).unwrap().counts.flows, 400, "{told:?}");
        lie(&place, "PullLogs", told, 1000);
        place.put(400..500);
        assert!(
            error(pull_patiently(&place, &settings))
                .contradiction()
                .is_some()
        );
        place.fake.world().faults.clear();
        place.pull(&settings).unwrap();
        place.check(0..500);
    }
}

#[test]
fn no_shards_and_no_cursor_are_no_answers() {
    for call in ["ListShards", "GetCursor"] {
        let place = Place::new(2);
        place.put(0..100);
        lie(&place, call, Lie::Empty, 3);
        assert_eq!(place.pull(&quick()).unwrap().counts.flows, 100, "{call}");
        let place = Place::new(2);
        place.put(0..100);
        lie(&place, call, Lie::Empty, 10_000);
        let mut settings = client_settings(&place.fake);
        settings.patience = Some(Duration::from_millis(300));
        let client = Client::new(settings, Arc::new(Fixed::new(credentials()))).unwrap();
        let stop = Stop::default();
        let error = error(pull(&place.lake, &client, &quick(), &mut |_| {}, &stop));
        assert_eq!(error.class(), Class::Retry, "{call}");
        assert_eq!(positions(&place), [], "{call}");
    }
}

/// What the retention took away before it was read may also show in a cursor that goes on over nothing.
#[test]
fn what_outlived_its_time_within_a_leap_is_a_gap() {
    let place = Place::new(1);
    place.put(0..200);
    place.pull(&quick()).unwrap();
    place.put(200..400);
    lie(&place, "PullLogs", Lie::Hollow, 8);
    // The cursor itself stays valid: only asking for the beginning tells.
    place.fake.world().begin_hides = true;
    place.fake.world().expire(0, 10 + 5);
    let summary = place.pull(&quick()).unwrap();
    assert_eq!((summary.counts.flows, summary.missed), (100, 1));
    assert_eq!(place.gaps()[0].reason, "cursor-expired");
}

#[test]
fn a_position_that_is_there_is_not_given_up_on_one_word() {
    let place = Place::new(1);
    place.put(0..200);
    place.pull(&quick()).unwrap();
    place.put(200..400);
    let expired = Fault::Refuse(400, "InvalidCursor", "the cursor is out of range");
    for times in [1, 3] {
        let faults = std::iter::repeat_n(("PullLogs", expired.clone()), times);
        place.fake.world().faults.extend(faults);
        let summary = place.pull(&quick()).unwrap();
        assert_eq!((summary.missed, summary.counts.duplicates), (0, 0));
    }
    let faults = std::iter::repeat_n(("PullLogs", expired), 100);
    place.fake.world().faults.extend(faults);
    let before = positions(&place);
    assert_eq!(error(place.pull(&quick())).class(), Class::Cursor);
    assert_eq!(positions(&place), before);
    place.check(0..400);
    assert_eq!(place.gaps().len(), 0);
}

/// A logstore that was removed and made anew has the same shard numbers.
#[test]
fn a_finished_shard_that_takes_more_again_is_read_again() {
    let place = Place::new(1);
    place.put(0..100);
    place.fake.world().split(0);
    place.put(100..200);
    place.pull(&quick()).unwrap();
    {
        let mut world = place.fake.world();
        world.shards.clear();
        world.add_shard();
        // Cursors are times: those of before are too old.
        world.shards.get_mut(&0).unwrap().base += 1_000_000;
    }
    place.put(200..300);
    let summary = place.pull(&quick()).unwrap();
    assert_eq!(summary.counts.flows, 100);
    // What lies between was perhaps never read: shards 0, 1 and 2 of before.
    assert!(summary.missed > 0);
    place.check(0..300);
}
