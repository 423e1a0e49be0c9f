//! Everything that goes wrong on the way: recovered from, or a clear error with nothing lost.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use flowaudit_ingest::IngestError;
use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::credentials::Getting;
use flowaudit_ingest::sls::{
    Chain, Class, Client, ClientSettings, Credentials, Event, Provider, pull,
};
use flowaudit_lake::cloud::credentials::{Clock, Surroundings};

use crate::common::{Place, client_settings, credentials, quick};
use crate::fake::world::Fault;

/// Pulls of two shards with 600 records go wrong in this way; all records come.
#[track_caller]
fn recovers_from(fault: Fault) {
    let place = Place::new(2);
    place.put(0..600);
    // What is slow comes all the same, and is not asked for again.
    let times = if matches!(fault, Fault::Slow(_)) {
        2
    } else {
        3
    };
    for _ in 0..times {
        place
            .fake
            .world()
            .faults
            .push_back(("PullLogs", fault.clone()));
    }
    let summary = place.pull(&quick()).unwrap();
    assert!(
        place.fake.world().faults.is_empty(),
        "{fault:?} was not met"
    );
    assert_eq!(summary.counts.flows, 600, "{fault:?}");
    place.check(0..600);
}

#[test]
fn every_fault_of_a_pull_is_recovered_from() {
    for fault in [
        Fault::Refuse(500, "InternalServerError", "x"),
        Fault::Refuse(503, "ServerBusy", "x"),
        Fault::Refuse(403, "ReadQuotaExceed", "x"),
        Fault::Refuse(
            403,
            "ShardReadQuotaExceed",
            "shard read qps exceed quota limits",
        ),
        Fault::Html(502),
        Fault::Html(302),
        Fault::Html(403),
        Fault::Html(404),
        Fault::Html(200),
        Fault::Drop,
        Fault::Reset,
        Fault::Slow(Duration::from_millis(20)),
        Fault::Truncate,
        Fault::Corrupt,
        Fault::RawSize(1),
        Fault::RawSize(-1),
        Fault::Nonsense,
    ] {
        recovers_from(fault);
    }
}

#[test]
fn every_other_call_is_tried_again_too() {
    let place = Place::new(2);
    place.put(0..100);
    for call in ["ListShards", "GetCursor", "GetCursorTime"] {
        for fault in [Fault::Drop, Fault::Html(504), Fault::Reset] {
            place.fake.world().faults.push_back((call, fault));
        }
    }
    assert_eq!(place.pull(&quick()).unwrap().counts.flows, 100);
    assert!(place.fake.world().faults.is_empty());
}

#[test]
fn a_shard_that_splits_in_mid_read_is_read_whole() {
    let place = Place::new(1);
    place.put(0..400);
    place.fake.world().groups_max = 5;
    place
        .fake
        .world()
        .faults
        .push_back(("PullLogs", Fault::Split));
    assert_eq!(place.pull(&quick()).unwrap().counts.flows, 400);
    place.put(400..600);
    assert_eq!(place.pull(&quick()).unwrap().counts.flows, 200);
    place.check(0..600);
}

#[test]
fn everything_at_once_for_a_long_time() {
    let place = Place::new(4);
    place.put(0..8000);
    {
        let mut world = place.fake.world();
        world.fault_every = 3;
        world.groups_max = 8;
    }
    let summary = place.pull(&quick()).unwrap();
    assert_eq!(summary.counts.flows, 8000);
    assert!(summary.throttled > 0);
    place.check(0..8000);
}

#[test]
fn a_clock_that_is_wrong_is_corrected_once_by_the_service() {
    let place = Place::new(2);
    for (hours, from) in [(3, 0), (-3, 100)] {
        place.put(from..from + 100);
        place.fake.world().clock_offset = TimeDelta::hours(hours);
        let mut clock = None;
        let summary = place
            .pull_with(&quick(), &mut |event| {
                if let Event::Clock(seconds) = event {
                    clock = Some(seconds);
                }
            })
            .unwrap();
        assert_eq!(summary.counts.flows, 100);
        assert!(
            clock.is_some_and(|seconds| (seconds - hours * 3600).abs() < 60),
            "{clock:?}"
        );
    }
}

/// Gives the next of its keys whenever the one before was refused.
#[derive(Debug)]
struct Rotating(Mutex<Vec<Arc<Credentials>>>);

impl Provider for Rotating {
    fn get(&self) -> Getting<'_> {
        let first = self.0.lock().unwrap()[0].clone();
        Box::pin(std::future::ready(Ok(first)))
    }

    fn reject(&self, refused: &Arc<Credentials>) {
        let mut keys = self.0.lock().unwrap();
        if keys.len() > 1 && Arc::ptr_eq(&keys[0], refused) {
            keys.remove(0);
        }
    }
}

fn rotating(tokens: &[&str]) -> Arc<Rotating> {
    let keys = tokens
        .iter()
        .map(|token| Arc::new(credentials().with_token(*token)));
    Arc::new(Rotating(Mutex::new(keys.collect())))
}

#[test]
fn an_expired_token_is_exchanged_once_and_then_the_run_fails_loudly() {
    let place = Place::new(2);
    place.put(0..100);
    place.fake.world().account.token = Some("second".to_owned());
    let run = |tokens: &[&str]| {
        let client = Client::new(client_settings(&place.fake), rotating(tokens)).unwrap();
        pull(
            &place.lake,
            &client,
            &quick(),
            &mut |_| {},
            &Stop::default(),
        )
    };
    assert_eq!(run(&["first", "second"]).unwrap().counts.flows, 100);
    place.put(100..200);
    let Err(IngestError::Sls(error)) = run(&["first", "third"]) else {
        panic!("a token that is not valid");
    };
    assert_eq!(error.class(), Class::Credentials);
    assert!(
        error
            .cause
            .to_string()
            .contains("security token you provided has expired")
    );
    assert!(!format!("{error:?}").contains("third"));
    // Nothing was lost by it.
    assert_eq!(run(&["second"]).unwrap().counts.flows, 100);
    place.check(0..200);
}

#[test]
fn a_service_that_stays_away_is_given_up_on_with_a_reason() {
    let place = Place::new(1);
    place.put(0..100);
    for _ in 0..10_000 {
        place
            .fake
            .world()
            .faults
            .push_back(("PullLogs", Fault::Html(503)));
    }
    let mut settings = client_settings(&place.fake);
    settings.patience = Some(Duration::from_millis(300));
    let keys = Arc::new(flowaudit_ingest::sls::Fixed::new(credentials()));
    let client = Client::new(settings, keys).unwrap();
    let run = || {
        pull(
            &place.lake,
            &client,
            &quick(),
            &mut |_| {},
            &Stop::default(),
        )
    };
    let Err(IngestError::Sls(error)) = run() else {
        panic!("the service does not answer");
    };
    assert!(
        error.cause.to_string().starts_with("gave up after "),
        "{}",
        error.cause
    );
    assert_eq!(error.class(), Class::Retry);
    assert!(error.help().unwrap().contains("nothing was lost"));
    place.fake.world().faults.clear();
    assert_eq!(run().unwrap().counts.flows, 100);
}

/// More shards than pulls may be under way cannot be read for long; those that can be are, meanwhile.
#[test]
fn shards_that_cannot_be_read_do_not_keep_the_others_waiting() {
    let place = Place::new(9);
    place.fake.world().sick = (0..8).collect();
    place.put(0..180 * 9);
    let settings = ClientSettings {
        patience: None,
        ..client_settings(&place.fake)
    };
    let keys = Arc::new(flowaudit_ingest::sls::Fixed::new(credentials()));
    let client = Client::new(settings, keys).unwrap();
    let follow = flowaudit_ingest::sls::PullSettings {
        follow: true,
        wait_factor: 0.02,
        ..quick()
    };
    let stop = Stop::default();
    let flows = || {
        place
            .lake
            .snapshot()
            .unwrap()
            .rows(flowaudit_lake::Table::Flows)
    };
    let wait = |wanted: u64| {
        let begun = Instant::now();
        while flows() < wanted {
            assert!(begun.elapsed() < Duration::from_secs(60), "{wanted} flows");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| pull(&place.lake, &client, &follow, &mut |_| {}, &stop));
        wait(180);
        place.fake.world().sick.clear();
        wait(180 * 9);
        stop.stop();
        running.join().unwrap().unwrap();
    });
    place.check(0..180 * 9);
}

#[test]
fn a_body_that_trickles_is_not_waited_for() {
    let place = Place::new(1);
    place.put(0..20);
    // Eight pieces of a kilobyte in all.
    let trickle = Fault::Slow(Duration::from_millis(70));
    for _ in 0..3 {
        place
            .fake
            .world()
            .faults
            .push_back(("PullLogs", trickle.clone()));
    }
    let settings = ClientSettings {
        read_timeout: Duration::from_millis(100),
        ..client_settings(&place.fake)
    };
    let keys = Arc::new(flowaudit_ingest::sls::Fixed::new(credentials()));
    let client = Client::new(settings, keys).unwrap();
    let stop = Stop::default();
    let summary = pull(&place.lake, &client, &quick(), &mut |_| {}, &stop).unwrap();
    assert_eq!(summary.counts.flows, 20);
    let world = place.fake.world();
    assert!(world.faults.is_empty());
    assert!(world.calls["PullLogs"] >= 4, "{:?}", world.calls);
}

#[test]
fn one_shard_that_cannot_be_read_does_not_cost_what_the_others_gave() {
    let place = Place::new(1);
    place.put(0..100);
    place.pull(&quick()).unwrap();
    place.put(100..200);
    place.fake.world().faults.push_back((
        "PullLogs",
        Fault::Refuse(
            401,
            "Unauthorized",
            "denied by sts or ram, action: log:GetCursorOrData, resource: x",
        ),
    ));
    let Err(error) = place.pull(&quick()) else {
        panic!("denied");
    };
    assert!(!error.is_usage());
    assert!(error.help().unwrap().contains("grant the action"));
    assert_eq!(place.pull(&quick()).unwrap().counts.flows, 100);
    place.check(0..200);
}

/// Surroundings without keys.
fn nothing() -> Surroundings {
    Surroundings {
        variables: [(
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED".to_owned(),
            "true".to_owned(),
        )]
        .into(),
        home: None,
        metadata_endpoint: "http://127.0.0.1:1".to_owned(),
        sts_endpoint: None,
        clock: Clock::system(),
    }
}

/// Has keys, or not, or does not answer, by turns; the last turn stays.
#[derive(Debug)]
struct Moody(Mutex<Vec<Mood>>);

#[derive(Debug, Clone, Copy)]
enum Mood {
    Given,
    None,
    Silent,
}

impl Provider for Moody {
    fn get(&self) -> Getting<'_> {
        let mut moods = self.0.lock().unwrap();
        let mood = match moods.len() {
            1 => moods[0],
            _ => moods.remove(0),
        };
        Box::pin(async move {
            match mood {
                Mood::Given => Ok(Arc::new(credentials())),
                Mood::None => Chain::new(nothing()).get().await,
                Mood::Silent => std::future::pending().await,
            }
        })
    }

    fn reject(&self, _: &Arc<Credentials>) {}
}

#[test]
fn whoever_gives_out_keys_may_be_away_for_a_while_but_not_for_ever() {
    let run = |place: &Place, moods: &[Mood], stop: &Stop| {
        let settings = ClientSettings {
            patience: Some(Duration::from_secs(2)),
            ..client_settings(&place.fake)
        };
        let keys = Arc::new(Moody(Mutex::new(moods.to_vec())));
        let client = Client::new(settings, keys).unwrap();
        pull(&place.lake, &client, &quick(), &mut |_| {}, stop)
    };
    let place = Place::new(2);
    place.put(0..100);
    let moods = [
        Mood::Given,
        Mood::None,
        Mood::Silent,
        Mood::None,
        Mood::Given,
    ];
    let summary = run(&place, &moods, &Stop::default()).unwrap();
    assert_eq!(summary.counts.flows, 100);
    // Who never had any is not kept waiting.
    let begun = Instant::now();
    let Err(IngestError::Sls(error)) = run(&place, &[Mood::None], &Stop::default()) else {
        panic!("there are no keys");
    };
    assert_eq!(error.class(), Class::Denied);
    assert!(error.help().is_some() && begun.elapsed() < Duration::from_secs(1));
    for moods in [&[Mood::Silent][..], &[Mood::Given, Mood::Given, Mood::None]] {
        assert!(run(&place, moods, &Stop::default()).is_err());
    }
    // The wish to end is heard meanwhile.
    let stop = Stop::default();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&place, &[Mood::Given, Mood::Silent], &stop));
        std::thread::sleep(Duration::from_millis(300));
        stop.stop();
        running.join().unwrap().unwrap();
    });
    assert!(begun.elapsed() < Duration::from_secs(1));
    place.check(0..100);
}
