//! A statement that the service applies before it sends: what it leaves out does not come, and positions go on all the same.

use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::{Event, PullSettings, pull};

use crate::common::{Place, RECEIVED, client, flows_of, quick};
use crate::fake::records::{self, START};

/// One record in so many is a refusal.
const REFUSALS: u64 = 97;

fn refused() -> PullSettings {
    PullSettings {
        query: Some("* | where action = 'REJECT' and type != 'IPv6'".to_owned()),
        ..quick()
    }
}

fn put(place: &Place, range: std::ops::Range<u64>, refusals: u64) {
    let record = |n: u64| {
        let mut pairs = records::record(n);
        for (name, value) in &mut pairs {
            if *name == "action" && n.is_multiple_of(refusals) {
                "REJECT".clone_into(value);
            }
        }
        pairs
    };
    let all: Vec<_> = range.map(record).collect();
    for group in all.chunks(20) {
        let group = records::group(group, START as u32);
        place.fake.world().put(&group, RECEIVED);
    }
}

/// How far the lake has read each shard, and how far there is something.
fn positions(place: &Place) -> Vec<(u64, u64)> {
    let snapshot = place.lake.snapshot().unwrap();
    let world = place.fake.world();
    let shards = snapshot.checkpoints().shards("sls:flow-proj/vpc-flow");
    let of = |(shard, position): (&str, &flowaudit_lake::checkpoint::Position)| {
        let shard = &world.shards[&shard.parse().unwrap()];
        (position.at, shard.number(shard.groups.len()))
    };
    shards.map(of).collect()
}

#[test]
fn only_what_the_statement_leaves_comes_and_all_of_it_is_read() {
    let place = Place::new(2);
    // Some replies are empty, and their cursors move.
    place.fake.world().groups_max = 3;
    put(&place, 0..4000, REFUSALS);
    let summary = place.pull(&refused()).unwrap();
    let expected = (0..4000_u64).filter(|n| n.is_multiple_of(REFUSALS)).count() as u64;
    assert_eq!(
        (summary.counts.records, summary.counts.flows),
        (expected, expected)
    );
    let found = flows_of(&place.lake);
    assert!(
        found
            .keys()
            .all(|(port, _)| (*port as u64).is_multiple_of(REFUSALS))
    );
    for (at, end) in positions(&place) {
        assert_eq!(at, end);
    }

    // Nothing of what is new comes, and it is read all the same.
    put(&place, 4000..5000, u64::MAX);
    let calls = |place: &Place| place.fake.world().calls["PullLogs"];
    let before = calls(&place);
    let summary = place.pull(&refused()).unwrap();
    assert_eq!(summary.counts.records, 0);
    assert!(calls(&place) - before >= 16);
    for (at, end) in positions(&place) {
        assert_eq!(at, end);
    }
    let before = calls(&place);
    place.pull(&refused()).unwrap();
    assert!(calls(&place) - before <= 4, "it was not read again");
}

#[test]
fn what_a_statement_cannot_be_applied_to_is_told() {
    let place = Place::new(1);
    put(&place, 0..100, 2);
    place.fake.world().failing_lines = 7;
    let mut told = Vec::new();
    let summary = pull(
        &place.lake,
        &client(&place.fake),
        &refused(),
        &mut |event| {
            if let Event::LeftOut { shard, records } = event {
                told.push((shard, records));
            }
        },
        &Stop::default(),
    )
    .unwrap();
    assert_eq!((told, summary.left_out), (vec![(0, 7)], 7));
}

#[test]
fn a_statement_that_is_none_is_named() {
    let place = Place::new(1);
    put(&place, 0..100, 2);
    let settings = PullSettings {
        query: Some("action: REJECT".to_owned()),
        ..quick()
    };
    let error = place.pull(&settings).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    assert!(text.contains("cannot be understood"), "{text}");
    let help = error.help().unwrap();
    assert!(help.contains("`query`") && help.contains("SPL"), "{help}");
}
