//! Three ingesters share a logstore as a consumer group; one is killed, one is stopped past its lease and goes on.
//!
//! `FLOWAUDIT_CRASH_RECORDS=2000000` makes it the size of a day.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::{Class, Client, Fixed, GroupSettings, PullSettings, PullSummary, pull};
use flowaudit_lake::{Lake, Table};

use crate::common::{Place, check_once, client, client_settings, credentials, quick};
use crate::crash::{client_of, size_or};
use crate::fake::world::Fault;

const DIR: &str = "FLOWAUDIT_SLS_GROUP_DIR";
const PROXY: &str = "FLOWAUDIT_SLS_GROUP_PROXY";
const NAME: &str = "FLOWAUDIT_SLS_GROUP_CONSUMER";
const GROUP: &str = "flowaudit";

/// How many records three consumers share; the children inherit the variable.
fn size() -> u64 {
    size_or(80_000)
}

fn settings(consumer: &str) -> PullSettings {
    PullSettings {
        follow: true,
        signals: true,
        group: Some(GroupSettings {
            group: GROUP.to_owned(),
            consumer: consumer.to_owned(),
            heartbeat: Duration::from_millis(300),
            timeout: Duration::from_secs(2),
        }),
        batch_rows_max: (size() / 40) as usize,
        memory_bytes: 64 << 20,
        ..quick()
    }
}

/// What a child process does; in an ordinary run of the tests there is no directory and nothing to do.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let lake = Lake::create_or_open(dir).unwrap();
    let client = client_of(std::env::var(PROXY).unwrap());
    let settings = settings(&std::env::var(NAME).unwrap());
    pull(&lake, &client, &settings, &mut |_| {}, &Stop::default()).unwrap();
}

fn spawn(place: &Place, consumer: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "groups::child", "--test-threads=1"])
        .env(DIR, place.lake_path())
        .env(PROXY, place.fake.proxy())
        .env(NAME, consumer)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    let longest = Duration::from_secs(180 + size() / 2_000);
    while !done() {
        assert!(begun.elapsed() < longest, "{what}: not after {longest:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn flows(lake: &Lake) -> u64 {
    lake.snapshot().unwrap().rows(Table::Flows)
}

/// How many consumers have shards, and how many shards are assigned.
fn assigned(place: &Place) -> (usize, usize) {
    let world = place.fake.world();
    let Some(group) = world.groups.get(GROUP) else {
        return (0, 0);
    };
    let mut names: Vec<&String> = group.assigned.values().collect();
    names.sort();
    names.dedup();
    (names.len(), group.assigned.len())
}

#[test]
fn three_share_a_logstore_and_lose_nothing_when_one_dies_and_one_sleeps() {
    let place = Place::new(6);
    let quarter = size() / 4;
    let put = |number: u64| place.put(number * quarter..(number + 1) * quarter);
    place.fake.world().groups_max = 20;
    put(0);
    let mut killed = spawn(&place, "pod-0");
    wait_until("the first reads", || flows(&place.lake) > 0);
    let sleeping = spawn(&place, "pod-1");
    let third = spawn(&place, "pod-2");
    wait_until("all three have shards", || assigned(&place).0 == 3);
    put(1);
    place.fake.world().split(0);
    signal(&sleeping, "-STOP");
    killed.kill().unwrap();
    killed.wait().unwrap();
    put(2);
    // The last one takes over when the leases of the others are over.
    wait_until("the third has all shards", || {
        let world = place.fake.world();
        let group = &world.groups[GROUP];
        let open = world
            .shards
            .values()
            .filter(|shard| !shard.readonly)
            .count();
        group.assigned.len() >= open && group.assigned.values().all(|by| by == "pod-2")
    });
    signal(&sleeping, "-CONT");
    put(3);
    wait_until("everything is in the lake", || {
        flows(&place.lake) >= 4 * quarter
    });
    for mut child in [sleeping, third] {
        signal(&child, "-TERM");
        assert!(
            child.wait().unwrap().success(),
            "SIGTERM is a wish, not a failure"
        );
    }
    check_once(&place.lake, 0..4 * quarter);
    // The service's checkpoints followed the lake's.
    let world = place.fake.world();
    let snapshot = place.lake.snapshot().unwrap();
    for (id, shard) in &world.shards {
        let (saved, _) = &world.groups[GROUP].checkpoints[id];
        let position = snapshot
            .checkpoints()
            .get("sls:flow-proj/vpc-flow", &id.to_string());
        let index = shard.index(saved).unwrap() as u64;
        let reached = position.unwrap().at - shard.number(0);
        assert!(
            index <= reached && reached == shard.groups.len() as u64,
            "shard {id}"
        );
    }
}

#[test]
fn a_consumer_alone_is_told_about_children_when_their_parents_are_finished() {
    let place = Place::new(2);
    place.put(0..400);
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let client = client(&place.fake);
            let settings = PullSettings {
                signals: false,
                ..settings("pod-0")
            };
            pull(&place.lake, &client, &settings, &mut |_| {}, &stop)
        });
        wait_until("the first records", || flows(&place.lake) >= 400);
        place.fake.world().split(0);
        place.put(400..800);
        wait_until("the records of the children", || flows(&place.lake) >= 800);
        // The parent was read to its end, and the service knows.
        wait_until("the parent is finished", || {
            let world = place.fake.world();
            !world.groups[GROUP].assigned.contains_key(&0)
        });
        stop.stop();
        running.join().unwrap().unwrap();
    });
    check_once(&place.lake, 0..800);
}

/// Reads alone in a group while `while_it_runs` happens; what came of it.
fn alone(
    place: &Place,
    while_it_runs: impl FnOnce(),
) -> Result<PullSummary, flowaudit_ingest::IngestError> {
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let mut client = client_settings(&place.fake);
            client.patience = None;
            let client = Client::new(client, Arc::new(Fixed::new(credentials()))).unwrap();
            let settings = PullSettings {
                signals: false,
                ..settings("pod-0")
            };
            pull(&place.lake, &client, &settings, &mut |_| {}, &stop)
        });
        while_it_runs();
        stop.stop();
        running.join().unwrap()
    })
}

fn calls(place: &Place, name: &str) -> u64 {
    let world = place.fake.world();
    world.calls.get(name).copied().unwrap_or_default()
}

#[test]
fn a_group_that_somebody_removes_is_made_again_without_haste() {
    let place = Place::new(2);
    place.put(0..400);
    let summary = alone(&place, || {
        wait_until("the first records", || flows(&place.lake) >= 400);
        let before = calls(&place, "HeartBeat");
        let begun = Instant::now();
        place.fake.world().groups.remove(GROUP);
        place.put(400..800);
        wait_until("the group is there again", || assigned(&place) == (1, 2));
        wait_until("the records of after", || flows(&place.lake) >= 800);
        let beats = calls(&place, "HeartBeat") - before;
        let expected = begun.elapsed().as_millis() as u64 / 300 + 5;
        assert!(beats <= expected, "{beats} heartbeats, {expected} expected");
    });
    assert_eq!(summary.unwrap().counts.flows, 800);
    check_once(&place.lake, 0..800);
}

#[test]
fn a_group_that_never_comes_back_ends_the_run_with_a_reason() {
    let place = Place::new(2);
    place.put(0..400);
    let ended = alone(&place, || {
        wait_until("the first records", || flows(&place.lake) >= 400);
        let gone = Fault::Refuse(404, "ConsumerGroupNotExist", "consumer group not exist");
        let faults = std::iter::repeat_n(("HeartBeat", gone), 10_000);
        place.fake.world().faults.extend(faults);
        wait_until("it is given up", || {
            calls(&place, "CreateConsumerGroup") > 5
        });
        std::thread::sleep(Duration::from_secs(1));
    });
    let Err(flowaudit_ingest::IngestError::Sls(error)) = ended else {
        panic!("no error of the service: {ended:?}");
    };
    assert_eq!((error.call, error.class()), ("HeartBeat", Class::Group));
    assert!(calls(&place, "HeartBeat") < 60);
    check_once(&place.lake, 0..400);
}

#[test]
fn a_lease_is_kept_however_long_checkpoints_take() {
    let place = Place::new(2);
    place.put(0..400);
    let busy = Fault::Refuse(500, "InternalServerError", "x");
    let faults = std::iter::repeat_n(("UpdateCheckPoint", busy), 1_000_000);
    place.fake.world().faults.extend(faults);
    let summary = alone(&place, || {
        wait_until("the first records", || flows(&place.lake) >= 400);
        // Much longer than the lease.
        for n in 0..12 {
            std::thread::sleep(Duration::from_millis(500));
            place.put(400 + n * 40..440 + n * 40);
            let world = place.fake.world();
            let beaten = world.groups[GROUP].consumers["pod-0"].0.elapsed();
            assert!(
                beaten < Duration::from_secs(2),
                "no heartbeat for {beaten:?}"
            );
        }
        wait_until("all records", || flows(&place.lake) >= 880);
        place.fake.world().faults.clear();
        wait_until("the checkpoints", || {
            place.fake.world().groups[GROUP].checkpoints.len() == 2
        });
    });
    assert_eq!(summary.unwrap().counts.flows, 880);
    check_once(&place.lake, 0..880);
}

/// Whoever gives two processes one name has both read everything: the lake takes each record once all the same.
#[test]
fn two_of_one_name_double_nothing() {
    let place = Place::new(3);
    place.fake.world().groups_max = 20;
    place.put(0..10_000);
    let twins = [spawn(&place, "pod-0"), spawn(&place, "pod-0")];
    wait_until("the first reads", || flows(&place.lake) > 0);
    place.put(10_000..20_000);
    wait_until("everything is in the lake", || flows(&place.lake) >= 20_000);
    for mut child in twins {
        signal(&child, "-TERM");
        assert!(child.wait().unwrap().success());
    }
    check_once(&place.lake, 0..20_000);
    assert_eq!((place.gaps().len(), place.rejects().len()), (0, 0));
}
