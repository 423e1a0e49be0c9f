//! Three ingesters share a logstore as a consumer group; one is killed, one is stopped past its lease and goes on.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flowaudit_ingest::Stop;
use flowaudit_ingest::sls::{GroupSettings, PullSettings, pull};
use flowaudit_lake::{Lake, Table};

use crate::common::{Place, check_once, client, quick};
use crate::crash::client_of;

const DIR: &str = "FLOWAUDIT_SLS_GROUP_DIR";
const PROXY: &str = "FLOWAUDIT_SLS_GROUP_PROXY";
const NAME: &str = "FLOWAUDIT_SLS_GROUP_CONSUMER";
const GROUP: &str = "flowaudit";

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
        batch_rows_max: 2_000,
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
    while !done() {
        assert!(
            begun.elapsed() < Duration::from_secs(180),
            "{what}: not after three minutes"
        );
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
    place.fake.world().groups_max = 20;
    place.put(0..20_000);
    let mut killed = spawn(&place, "pod-0");
    wait_until("the first reads", || flows(&place.lake) > 0);
    let sleeping = spawn(&place, "pod-1");
    let third = spawn(&place, "pod-2");
    wait_until("all three have shards", || assigned(&place).0 == 3);
    place.put(20_000..40_000);
    place.fake.world().split(0);
    signal(&sleeping, "-STOP");
    killed.kill().unwrap();
    killed.wait().unwrap();
    place.put(40_000..60_000);
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
    place.put(60_000..80_000);
    wait_until("everything is in the lake", || flows(&place.lake) >= 80_000);
    for mut child in [sleeping, third] {
        signal(&child, "-TERM");
        assert!(
            child.wait().unwrap().success(),
            "SIGTERM is a wish, not a failure"
        );
    }
    check_once(&place.lake, 0..80_000);
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
